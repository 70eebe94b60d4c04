//! A database that is open: its connections, and what they share.

use super::connection::options::Options;
use super::connection::place::Place;
use super::connection::pool::Readers;
use super::connection::{checkpoint, lock, pool};
use super::held::{Writer, Writing};
use crate::store::{Copier, Result};
use rusqlite::Connection;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

/// A database file that is open for the service.
pub struct SqliteStore {
    // Fields are dropped in this order: the writing connection goes last but for the lock, so that it is the one that
    // folds the log in and removes it.
    pub(super) readers: Readers,
    /// What reads calls that are due, so that other reads do not hold reconciliation up, nor the other way round. Opened
    /// when it is first used.
    pub(super) reconciler: Mutex<Option<Connection>>,
    /// Nothing while the disk has no room for what opening it takes.
    pub(super) writer: Mutex<Option<Writing>>,
    pub(super) copier: Copier,
    pub(super) place: Arc<Place>,
    /// Whether the log is this service's own to move, and not Litestream's.
    pub(super) folds: bool,
    pub(super) options: Options,
    /// Set by a search that finds the search index broken, so that the writer makes it anew.
    pub(super) index_is_broken: AtomicBool,
    pub(super) lock: Option<lock::Lock>,
}

impl SqliteStore {
    /// Whether a service has it open beside this.
    pub fn is_shared(&self) -> bool {
        self.lock.is_none()
    }

    pub(super) fn check_place(&self) -> Result<()> {
        if self.lock.as_ref().is_some_and(|lock| !lock.holds_database()) {
            self.place.note_overwritten();
        }
        self.place.check()
    }

    /// Reads calls that are due.
    pub(super) fn read_due<T>(&self, read: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        self.check_place()?;
        let mut reconciler = self.reconciler.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = match &mut *reconciler {
            Some(connection) => connection,
            none => none.insert(pool::reader(&self.options.path)?),
        };
        read(connection)
    }

    /// The writing connection; opens it if that could not be done yet.
    pub(super) fn writer(&self) -> Result<Writer<'_>> {
        // A panic while the connection was held leaves at most an open transaction, which the next `apply` rolls back.
        let mut writing = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writing.is_none() {
            *writing = Some(self.begin_writing()?);
        }
        Ok(Writer(writing))
    }
}

impl Drop for SqliteStore {
    /// Closing must not touch files that are not this database's any more: SQLite would remove the WAL at its path.
    fn drop(&mut self) {
        let checked = self.check_place();
        let writing = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let (Some(writing), Err(_)) = (writing, checked) {
            if self.lock.is_some() && self.place.only_log_is_gone() {
                checkpoint::rescue(&writing.connection);
            }
            checkpoint::leave_log(&writing.connection);
        }
    }
}
