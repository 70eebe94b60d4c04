//! Database failures, independent of any particular database.

/// The kind of a failure. It holds all that a caller may act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Another process holds the database, or no read connection is free. Temporary.
    Busy,
    /// The disk is full.
    Full,
    /// The database's files are not where they were opened, or could not be opened for writing yet. Temporary.
    Unready,
    /// A read exceeded its time limit.
    TooSlow,
    /// The data breaks a rule of the schema.
    Constraint,
    /// Anything else.
    Other,
}

impl ErrorKind {
    /// Returns whether every copy of the data fails in the same way. All other failures concern only this machine: its
    /// disk, its locks, its load.
    pub const fn is_of_the_data(self) -> bool {
        matches!(self, Self::Constraint)
    }
}

/// A database failure: its kind, the operation, and the message of the database engine.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {source}")]
pub struct Error {
    kind: ErrorKind,
    doing: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Result of a [`super::Store`] method.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(
        kind: ErrorKind,
        doing: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { kind, doing, source: source.into() }
    }

    /// Returns the kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}
