//! Output: lines to standard output and standard error.

use crate::sys::terminal::Visible;
use anyhow::Context as _;
use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

/// Prints a line to standard output. That whoever reads it has seen enough, such as `head`, is no failure.
pub(super) fn print_line(line: impl Display) -> anyhow::Result<()> {
    match writeln!(standard_output(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.context("cannot print"),
    }
}

/// Prints a line to standard error. There is nowhere to report that it cannot be printed.
pub(super) fn eprint_line(line: impl Display) {
    let mut err = io::stderr().lock();
    let _ = if err.is_terminal() { writeln!(Visible::new(err), "{line}") } else { writeln!(err, "{line}") };
}

/// Standard output, for whatever may hold words of callers: a terminal is shown only what it does not obey.
pub(super) fn standard_output() -> Box<dyn io::Write> {
    let out = io::stdout().lock();
    if out.is_terminal() { Box::new(Visible::new(out)) } else { Box::new(out) }
}
