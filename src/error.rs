//! The library's error type: what happened, with the values involved, and a hint with a command that works.

use std::fmt;
use std::io;
use std::panic::{self, AssertUnwindSafe};

/// An error of any crate.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The kind of an error, for the exit code and the run record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Something failed.
    Failure,
    /// The user asked to stop (Ctrl-C); work so far is kept.
    Interrupted,
    /// The computation gave no valid result, although nothing around it failed: the same run would end in the same
    /// way, but other runs may succeed.
    Diverged,
}

/// An error that a person can act on. Invariant: `what` names the values and places involved.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    what: String,
    hint: Option<String>,
    cause: Option<Cause>,
}

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Makes a failure; `what` is one sentence without a full stop.
    pub fn new(what: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Failure, what: what.into(), hint: None, cause: None }
    }

    /// Makes an interruption by the user; add a hint that says how to continue.
    pub fn interrupted(what: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Interrupted, what: what.into(), hint: None, cause: None }
    }

    /// Makes the error of a computation that diverged.
    pub fn diverged(what: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Diverged, what: what.into(), hint: None, cause: None }
    }

    /// Adds what to try next, with a command in backticks if there is one. If the error already has a hint, the first
    /// hint stays.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Keeps the error that caused this one.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Cause>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Returns the kind of the input or output error that caused this one, if one did.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        let mut causes = std::iter::successors(std::error::Error::source(self), |error| error.source());
        causes.find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind)
    }

    /// Returns whether a full disk or an exceeded quota caused this error.
    pub fn is_disk_full(&self) -> bool {
        matches!(self.io_kind(), Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    /// Puts the context in front: `context: what`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.what = format!("{context}: {}", self.what);
        self
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The sentence without the hint.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The hint alone.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl Error {
    /// Ends the computation with this error, from where no result can be returned, such as an operation on a tensor.
    /// [`caught`] returns it.
    pub fn raise(self) -> ! {
        // Without the panic hook: this is no programming error, so it prints nothing.
        panic::resume_unwind(Box::new(self))
    }
}

/// Calls `body`. An error that was raised in it is returned; other panics go on.
///
/// # Errors
/// Those of `body`, returned or raised.
pub fn caught<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    panic::catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| match panic.downcast::<Error>() {
        Ok(error) => Err(*error),
        Err(panic) => panic::resume_unwind(panic),
    })
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "\n\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// Converts any error to an [`Error`], with the place where it happened.
pub trait Context<T> {
    /// `context: error`. The context names the file, member or key.
    fn context(self, context: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<Cause>> Context<T> for std::result::Result<T, E> {
    fn context(self, context: impl fmt::Display) -> Result<T> {
        self.map_err(|error| {
            let cause = error.into();
            Error::new(format!("{context}: {cause}")).caused_by(cause)
        })
    }
}

/// Returns a word of a shell command for hints and reports, quoted if necessary.
pub fn shell(word: &str) -> String {
    let plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_=./:,@%+".contains(c));
    if plain { word.to_string() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_with_its_hint() {
        let error = Error::new("no such set: `cifar`").hint("run `sempair data list`").context("table transfer");
        assert_eq!(error.to_string(), "table transfer: no such set: `cifar`\n\nhint: run `sempair data list`");
    }

    #[test]
    fn the_cause_of_an_error_is_kept_behind_every_context() {
        let failed = |kind: io::ErrorKind| Err::<(), _>(io::Error::from(kind)).context("cannot write a").unwrap_err();
        let full =
            Err::<(), _>(failed(io::ErrorKind::StorageFull).context("stage probe")).context("run 1").unwrap_err();
        assert_eq!(full.what(), "run 1: stage probe: cannot write a: no storage space");
        assert!(full.is_disk_full() && failed(io::ErrorKind::QuotaExceeded).is_disk_full());
        assert!(
            !failed(io::ErrorKind::PermissionDenied).is_disk_full() && !Error::new("no storage space").is_disk_full()
        );
    }

    #[test]
    fn a_word_is_quoted_where_a_shell_would_change_it() {
        assert_eq!(
            (shell("a-b/c=1"), shell("a b'c"), shell("")),
            ("a-b/c=1".into(), r"'a b'\''c'".into(), "''".into())
        );
    }
}
