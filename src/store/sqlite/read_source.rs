//! Sources of connections that read a database: the pool of an open store, and a file that another process may serve.

use super::connection::pool::{READ_TIMEOUT, Reader, limit_reading};
use super::connection::{read_only, schema};
use super::database::SqliteStore;
use super::error::Context as _;
use crate::store::Result;
use crate::store::deadline::deadline;
use rusqlite::Connection;
use std::ops::DerefMut;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

/// A source of connections for reading. [`crate::store::Reads`] is implemented for each source.
pub(in crate::store::sqlite) trait ReadSource: Send + Sync + 'static {
    /// A connection that is borrowed for one read.
    type Connection: DerefMut<Target = Connection>;

    /// Returns a connection for one read, which is interrupted at its time limit.
    fn connection(&self) -> Result<Self::Connection>;

    /// Returns the path of the database.
    fn path(&self) -> &Path;

    /// Records that a search found the search index damaged.
    fn note_broken_index(&self) {}

    /// Reads due calls without waiting for other reads.
    fn read_due<T>(&self, read: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        read(&mut *self.connection()?)
    }

    /// Reads who is calling without waiting for other reads.
    fn read_caller<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        read(&*self.connection()?)
    }
}

impl ReadSource for SqliteStore {
    type Connection = Reader;

    fn connection(&self) -> Result<Reader> {
        self.readers.get()
    }

    fn path(&self) -> &Path {
        &self.options.path
    }

    fn note_broken_index(&self) {
        self.index_is_broken.store(true, Ordering::Relaxed);
    }

    fn read_due<T>(&self, read: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        self.read_reserved(read)
    }

    fn read_caller<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.read_of_caller(read)
    }
}

/// A database file that is only read. A service may write to it meanwhile, and it may be replaced: each read opens the
/// file at its path anew, which takes about a millisecond.
pub struct ReadOnlyFile {
    path: PathBuf,
}

impl ReadOnlyFile {
    /// Opens a database with the schema of this version.
    ///
    /// # Errors
    /// The file does not exist, is something else, or has another schema version.
    pub fn open(path: &Path) -> Result<Self> {
        let file = Self { path: path.to_owned() };
        file.connection()?;
        Ok(file)
    }
}

impl ReadSource for ReadOnlyFile {
    type Connection = Box<Connection>;

    fn connection(&self) -> Result<Box<Connection>> {
        const CONTEXT: &str = "opening the database";
        let connection = read_only::open(&self.path)?;
        connection
            .execute_batch(
                "PRAGMA query_only = ON; PRAGMA cache_size = -1000; PRAGMA temp_store = MEMORY; \
                 PRAGMA trusted_schema = OFF; PRAGMA mmap_size = 0",
            )
            .context(CONTEXT)?;
        schema::expect_newest(&connection)?;
        limit_reading(&connection, deadline().unwrap_or_else(|| Instant::now() + READ_TIMEOUT))?;
        Ok(Box::new(connection))
    }

    fn path(&self) -> &Path {
        &self.path
    }
}
