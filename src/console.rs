//! Writes to standard output and standard error. No other module writes to them.
//!
//! Facts (results) go to standard output, talk (messages) to standard error. A stream that cannot be written (closed,
//! on a full disk, a pipe whose reader has gone, a terminal that went away) never stops the work: the command
//! completes and records its results. [`ending`] reports lost facts in the exit code. Characters that control a
//! terminal are printed as text, because names in records and archives can come from anyone.

use std::borrow::Cow;
use std::fmt::Arguments;
use std::io;
use std::io::ErrorKind;
use std::io::Write;
use std::process::ExitCode;
use std::sync::OnceLock;

/// The first error that occurred while facts were printed.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Prints a line of facts on standard output, unless an earlier one could not be printed.
pub fn fact(text: Arguments) {
    if LOST.get().is_none() {
        deliver(writeln!(io::stdout(), "{}", shown(&text.to_string())));
    }
}

/// Takes the result of printing facts in another crate, and keeps the error if it is the first one.
pub fn deliver(result: io::Result<()>) {
    if let Err(error) = result {
        LOST.get_or_init(|| error);
    }
}

/// Prints a line of talk on standard error. Errors are ignored, because there is nowhere left to report them.
pub fn talk(text: Arguments) {
    let _ = writeln!(io::stderr(), "{}", shown(&text.to_string()));
}

/// Returns the text with escapes such as `\u{1b}` in place of control characters and of characters that change the
/// direction of text. Line breaks and tabs stay.
pub fn shown(text: &str) -> Cow<'_, str> {
    let commands = |c: char| {
        c.is_control() && !"\n\t".contains(c) || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(commands) {
        return text.into();
    }
    let escape = |c: char| if commands(c) { c.escape_unicode().to_string() } else { c.to_string() };
    text.chars().map(escape).collect::<String>().into()
}

/// The exit code of a program that would end with `code`: 2 instead of 0 if facts were lost. A broken pipe does not
/// count: the reader had read enough, as in `sempair runs | head`.
pub fn ending(code: u8) -> ExitCode {
    deliver(io::stdout().flush());
    match LOST.get() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            talk(format_args!("error: standard output cannot be written: {error}"));
            ExitCode::from(if code == 0 { 2 } else { code })
        }
        _ => ExitCode::from(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commands_a_terminal_is_shown_as_text() {
        assert_eq!(shown("\u{1b}]0;owned\u{7}\u{1b}[31mSimCLR\r"), "\\u{1b}]0;owned\\u{7}\\u{1b}[31mSimCLR\\u{d}");
        assert_eq!(shown("\u{9b}31m \u{202e}txt.exe \u{7f}"), "\\u{9b}31m \\u{202e}txt.exe \\u{7f}");
        assert!(matches!(shown("lines\nof\ttext, also in العربية"), Cow::Borrowed(_)));
    }
}
