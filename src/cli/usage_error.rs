//! Errors of usage and configuration. They end the program with exit code 2, because no restart mends them.

use anyhow::{Error, anyhow};
use std::error::Error as StdError;
use std::fmt::{self, Display, Formatter};

/// An error that only another flag, variable or configured file mends.
#[derive(Debug)]
pub(super) struct UsageError(Error);

impl Display for UsageError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for UsageError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

/// Returns an error of usage with this message.
pub(super) fn usage(message: impl Display) -> Error {
    UsageError(anyhow!("{message}")).into()
}

/// Marks errors as errors of usage.
pub(super) trait OrUsage<T> {
    /// Marks the error, if there is one, as an error of usage.
    fn or_usage(self) -> anyhow::Result<T>;
}

impl<T, E: Into<Error>> OrUsage<T> for Result<T, E> {
    fn or_usage(self) -> anyhow::Result<T> {
        self.map_err(|error| UsageError(error.into()).into())
    }
}

/// Returns whether an error, or a cause of it, is an error of usage.
pub(super) fn is_usage(error: &Error) -> bool {
    error.is::<UsageError>()
}

/// Returns an error with its causes in one line. Many messages already contain their cause, which is not repeated.
pub(super) fn error_line(error: &Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        let last = cause.rsplit(": ").next().unwrap_or_default();
        if line.is_empty() {
            line = cause;
        } else if !line.contains(last) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;
    use std::io;

    #[test]
    fn an_error_of_usage_is_recognised_below_any_context_and_shows_its_causes() {
        let caused = || Err::<(), _>(io::Error::other("taken")).context("cannot bind");
        let error = caused().or_usage().context("--listen").unwrap_err();
        assert!(is_usage(&error) && is_usage(&usage("wrong")));
        assert_eq!(error_line(&error), "--listen: cannot bind: taken");
        assert!(!is_usage(&caused().unwrap_err()));
    }

    #[test]
    fn a_cause_that_was_already_told_is_not_told_again() {
        let error = anyhow!("disk full").context("opening the file: disk full").context("cannot open calls.db");
        assert_eq!(error_line(&error), "cannot open calls.db: opening the file: disk full");
        let error = anyhow!("code 26: no database").context("opening the file: no database");
        assert_eq!(error_line(&error), "opening the file: no database");
    }
}
