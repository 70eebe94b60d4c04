//! Output: lines to standard output and standard error.

use crate::sys::terminal::Sanitizer;
use anyhow::Context as _;
use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

/// Prints a line to standard output. A closed pipe, as left by `head`, is no error.
pub(super) fn print_line(line: impl Display) -> anyhow::Result<()> {
    match writeln!(standard_output(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.context("cannot print"),
    }
}

/// Returns a number with its noun: `1 call`, `2 calls`, `2 dispatches`.
pub(super) fn count(number: impl TryInto<u64>, noun: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    let ending = match number {
        1 => "",
        _ if noun.ends_with("ch") => "es",
        _ => "s",
    };
    format!("{number} {noun}{ending}")
}

/// Prints a line to standard error. Failures are ignored, because there is nowhere to report them.
pub(super) fn eprint_line(line: impl Display) {
    let mut err = io::stderr().lock();
    let _ = if err.is_terminal() { writeln!(Sanitizer::new(err), "{line}") } else { writeln!(err, "{line}") };
}

/// Returns standard output for text that may contain words of callers, sanitized if it is a terminal.
pub(super) fn standard_output() -> Box<dyn io::Write> {
    let out = io::stdout().lock();
    if out.is_terminal() { Box::new(Sanitizer::new(out)) } else { Box::new(out) }
}
