//! Why an export failed.

use crate::store;
use std::fmt;
use std::io;

/// The reason why an export was not completed.
#[derive(Debug)]
pub enum ExportError {
    /// The database failed.
    Store(store::Error),
    /// The output could not be written.
    Write(io::Error),
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Write(error) => write!(f, "cannot write: {error}"),
        }
    }
}

impl std::error::Error for ExportError {}

impl From<store::Error> for ExportError {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}
