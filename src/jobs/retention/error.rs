//! Errors of erasing.

use crate::domain::ConversationId;
use crate::ingest::WriteError;
use crate::store;
use std::fmt;
use std::io;

/// A failure that stopped an erasure. Completed parts stay erased.
#[derive(Debug)]
pub enum EraseError {
    /// The service is stopping.
    Stopping,
    /// The store could not be read.
    Read(store::Error),
    /// A write was not executed.
    Write(WriteError),
    /// The recording of this call could not be deleted.
    Recording(ConversationId, io::Error),
}

impl EraseError {
    /// Returns whether the failure is temporary: the queue is full, the service is stopping, or the database is busy.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Stopping | Self::Write(WriteError::Overloaded | WriteError::Stopping) => true,
            Self::Read(error) => matches!(error.kind(), store::ErrorKind::Busy | store::ErrorKind::TooSlow),
            Self::Write(WriteError::Rejected(_) | WriteError::Failed(_)) | Self::Recording(..) => false,
        }
    }
}

impl fmt::Display for EraseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopping => f.write_str("the service is stopping"),
            Self::Read(error) => error.fmt(f),
            Self::Write(error) => error.fmt(f),
            Self::Recording(id, error) => write!(f, "could not delete the recording of {id}: {error}"),
        }
    }
}

impl std::error::Error for EraseError {}

impl From<WriteError> for EraseError {
    fn from(error: WriteError) -> Self {
        Self::Write(error)
    }
}

impl From<store::Error> for EraseError {
    fn from(error: store::Error) -> Self {
        Self::Read(error)
    }
}
