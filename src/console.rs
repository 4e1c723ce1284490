//! Standard output and standard error: the one place that writes to them.
//!
//! Facts go to standard output, talk to standard error. A stream that cannot be written (closed, on a full disk, a pipe
//! whose reader has gone, a terminal that went away) never stops the work: what was asked for is done and recorded. What
//! became of the facts, [`ending`] says with the exit code. What would command a terminal (names in records and archives
//! come from anybody) is shown as text.

use std::borrow::Cow;
use std::fmt::Arguments;
use std::io;
use std::io::ErrorKind;
use std::io::Write;
use std::process::ExitCode;
use std::sync::OnceLock;

/// Why facts could not be delivered; the first time decides.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Prints a line of facts on standard output, unless one could not be printed before.
pub fn fact(text: Arguments) {
    if LOST.get().is_none() {
        deliver(writeln!(io::stdout(), "{}", shown(&text.to_string())));
    }
}

/// Takes in how the printing of facts ended that another crate printed.
pub fn deliver(result: io::Result<()>) {
    if let Err(error) = result {
        LOST.get_or_init(|| error);
    }
}

/// Prints a line of talk on standard error. There is no place left to say that it cannot be printed.
pub fn talk(text: Arguments) {
    let _ = writeln!(io::stderr(), "{}", shown(&text.to_string()));
}

/// Text without what a terminal obeys, or what turns its direction: such characters stand as `\u{1b}`. Lines stay.
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

/// The exit code of a program that would end with `code`: 2 instead of 0 where facts were lost, but for a reader who had
/// read enough, as in `sempair runs | head`.
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
