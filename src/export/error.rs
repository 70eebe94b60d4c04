//! Errors of exports.

use crate::store;
use std::io;

/// The reason why an export was not completed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The database failed.
    #[error("{0}")]
    Store(store::Error),
    /// The output could not be written.
    #[error("cannot write: {0}")]
    Write(io::Error),
}

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
