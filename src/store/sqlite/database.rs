//! A database that is open: its connections, and what they share.

use super::connection::checkpoint::Checkpoints;
use super::connection::lock::Content;
use super::connection::options::Options;
use super::connection::place::OpenFiles;
use super::connection::pool::{INSTRUCTIONS_PER_CHECK, Readers};
use super::connection::{checkpoint, lock, pool};
use super::error::Context as _;
use super::held::{WriterGuard, WriterState};
use crate::store::deadline::deadline;
use crate::store::{BackupSource, Error, ErrorKind, OtherWriters, Result};
use parking_lot::Mutex;
use rusqlite::Connection;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Maximum time of a look-up of a caller without a deadline, and of its waiting for a lock of the file.
const CALLER_TIMEOUT: Duration = Duration::from_millis(250);

/// An open database file.
pub struct SqliteStore {
    // Fields are dropped in this order. The writing connection must be dropped after the readers, because the last
    // connection runs the final checkpoint and removes the WAL.
    pub(super) readers: Readers,
    /// Connection that reads due calls, so that reconciliation and other reads do not delay each other. Opened on first
    /// use.
    pub(super) reconciler: Mutex<Option<Connection>>,
    /// Connection that reads who is calling, because a telephone call waits for it. Opened on first use.
    pub(super) caller: Mutex<Option<Connection>>,
    /// `None` while the disk has no space to open the database for writing.
    pub(super) writer: Mutex<Option<WriterState>>,
    pub(super) copier: BackupSource,
    pub(super) place: Arc<OpenFiles>,
    pub(super) checkpoints: Checkpoints,
    pub(super) options: Options,
    /// Set by a search that finds the search index damaged; the writer then rebuilds the index.
    pub(super) index_is_broken: AtomicBool,
    pub(super) lock: Option<lock::Lock>,
}

impl SqliteStore {
    /// Returns the other writers: the service, if it has the database open as well.
    pub fn other_writers(&self) -> OtherWriters {
        if self.lock.is_none() { OtherWriters::Some } else { OtherWriters::None }
    }

    pub(super) fn check_place(&self) -> Result<()> {
        match self.lock.as_ref().map(lock::Lock::content) {
            Some(Content::Other) => self.place.note_overwritten(),
            content => self.place.note_cut(content == Some(Content::Cut)),
        }
        self.place.check()
    }

    /// Reads with the connection that is reserved for due calls.
    pub(super) fn read_reserved<T>(&self, read: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        self.check_place()?;
        let mut reconciler = self.reconciler.lock();
        let connection = match &mut *reconciler {
            Some(connection) => connection,
            none => none.insert(pool::reader(&self.options.path)?),
        };
        read(connection)
    }

    /// Reads with the connection that is reserved for callers, until the deadline of the thread's reads.
    pub(super) fn read_of_caller<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        const CONTEXT: &str = "waiting for the connection that reads callers";
        self.check_place()?;
        let end = deadline().unwrap_or_else(|| Instant::now() + CALLER_TIMEOUT);
        let busy = || Error::new(ErrorKind::Busy, CONTEXT, "other look-ups take too long");
        let mut caller = self.caller.try_lock_until(end).ok_or_else(busy)?;
        let connection = match &mut *caller {
            Some(connection) => connection,
            none => {
                let connection = pool::reader(&self.options.path)?;
                connection.busy_timeout(CALLER_TIMEOUT).context(CONTEXT)?;
                none.insert(connection)
            }
        };
        connection
            .progress_handler(INSTRUCTIONS_PER_CHECK, Some(move || Instant::now() > end))
            .context("setting the time limit of a read")?;
        read(connection)
    }

    /// Returns the writing connection, and opens it if that was not possible before.
    pub(super) fn writer(&self) -> Result<WriterGuard<'_>> {
        // After a panic the connection has at most an open transaction, which the next `apply` rolls back.
        let mut writing = self.writer.lock();
        if writing.is_none() {
            *writing = Some(self.begin_writing()?);
        }
        Ok(WriterGuard(writing))
    }
}

impl Drop for SqliteStore {
    /// Leaves files alone that are no longer this database's, because SQLite would remove the WAL at its path.
    fn drop(&mut self) {
        let checked = self.check_place();
        let writing = self.writer.get_mut();
        if let (Some(writing), Err(_)) = (writing, checked) {
            if self.lock.is_some() && self.place.only_wal_is_gone() {
                checkpoint::rescue(&writing.connection);
            }
            checkpoint::keep_wal(&writing.connection);
        }
    }
}
