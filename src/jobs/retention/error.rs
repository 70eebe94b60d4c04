//! Why erasing did not come to its end.

use crate::ingest::WriteError;
use crate::store;

/// Why erasing did not come to its end. What is erased already stays erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EraseError {
    /// What hinders it, for a person.
    pub reason: String,
    /// Whether it may pass: too much waits, or the service stops.
    pub passes: bool,
}

impl std::fmt::Display for EraseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for EraseError {}

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
