//! Errors of erasing.

use crate::ingest::WriteError;
use crate::store;

/// A failure that stopped an erasure. Completed parts stay erased.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct EraseError {
    /// Description of the failure.
    pub reason: String,
    /// True if the failure is temporary: the queue is full, or the service is stopping.
    pub passes: bool,
}

impl From<WriteError> for EraseError {
    fn from(error: WriteError) -> Self {
        let passes = matches!(error, WriteError::Overloaded | WriteError::Stopping);
        Self { reason: error.to_string(), passes }
    }
}

impl From<store::Error> for EraseError {
    fn from(error: store::Error) -> Self {
        let passes = matches!(error.kind(), store::ErrorKind::Busy | store::ErrorKind::TooSlow);
        Self { reason: error.to_string(), passes }
    }
}
