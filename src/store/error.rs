//! How a database fails, without naming one.

use std::fmt;

/// What kind of trouble it is; all that a caller may act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Another process holds the database, or no reader is free. It may pass.
    Busy,
    /// The disk is full.
    Full,
    /// The database's files are not where they were opened, or could not be opened for writing yet. It may pass.
    Unready,
    /// A read took longer than it may.
    TooSlow,
    /// Anything else.
    Other,
}

/// A database failure: its kind, what was being done, and the engine's own words.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    doing: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// What a [`super::Store`] returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(
        kind: ErrorKind,
        doing: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { kind, doing, source: source.into() }
    }

    /// What kind of trouble it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.source)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}
