//! Conversion of SQLite errors to store errors.

use crate::store::{Error, ErrorKind};
use rusqlite::{ErrorCode, ffi};

/// Adds the current operation to a SQLite error.
pub(super) trait Context<T> {
    fn context(self, doing: &'static str) -> Result<T, Error>;
}

impl<T> Context<T> for rusqlite::Result<T> {
    fn context(self, doing: &'static str) -> Result<T, Error> {
        self.map_err(|error| Error::new(kind(&error), doing, error))
    }
}

fn kind(error: &rusqlite::Error) -> ErrorKind {
    // The file of the WAL index could not grow.
    if error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_IOERR_SHMSIZE) {
        return ErrorKind::Full;
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ErrorKind::Busy,
        Some(ErrorCode::DiskFull) => ErrorKind::Full,
        Some(ErrorCode::OperationInterrupted) => ErrorKind::TooSlow,
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig) => ErrorKind::Constraint,
        _ => ErrorKind::Other,
    }
}
