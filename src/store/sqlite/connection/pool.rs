//! The reading connections: few, read-only, each read limited in time.

use super::place::Place;
use crate::store::deadline::deadline;
use crate::store::sqlite::error::Context as _;
use crate::store::{Error, ErrorKind, Result};
use r2d2::ManageConnection;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::OpenFlags;
use rusqlite::config::DbConfig;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// How long a read may wait for a free connection.
const WAIT: Duration = Duration::from_secs(5);

/// How long a read may run that has no deadline of its own. A reader that holds its snapshot longer keeps the log from being folded in.
const RUN: Duration = Duration::from_secs(5);

/// How many steps SQLite's machine makes between two looks at the clock.
const STEPS: i32 = 10_000;

pub(in crate::store::sqlite) struct Readers {
    pool: RwLock<Option<r2d2::Pool<Manager>>>,
    /// Held once by each connection, besides here and in the pool's manager.
    open: Arc<()>,
}

/// How the connections of a pool read.
#[derive(Debug, Clone)]
pub(in crate::store::sqlite) enum Way {
    /// Several at once, beside those who write, as long as the files are in their place.
    Beside(Arc<Place>),
    /// One connection, which keeps everybody else out and needs no room on the disk: the WAL's index is in its memory.
    Alone,
}

impl Readers {
    /// Opens the first connection now and the others when they are wanted.
    pub(in crate::store::sqlite) fn open(path: &Path, size: u32, way: Way) -> Result<Self> {
        let open = Arc::new(());
        let pool = pool(path, size, way, open.clone())?;
        Ok(Self { pool: RwLock::new(Some(pool)), open })
    }

    /// A connection for one read, which is cut off when it runs too long.
    pub(in crate::store::sqlite) fn get(&self) -> Result<Reader> {
        let pool = self.pool.read().unwrap_or_else(PoisonError::into_inner).clone();
        let busy = |error: &str| Error::new(ErrorKind::Busy, "waiting for a free reader", error.to_owned());
        let pool = pool.ok_or_else(|| busy("the readers are being opened"))?;
        let wait = deadline().map_or(WAIT, |end| end.saturating_duration_since(Instant::now()));
        let connection = pool.get_timeout(wait).map_err(|error| busy(&error.to_string()))?;
        let end = deadline().unwrap_or_else(|| Instant::now() + RUN);
        connection.0.progress_handler(STEPS, Some(move || Instant::now() > end)).doing("limiting a read")?;
        Ok(Reader(connection))
    }

    /// Opens connections of another way once those that are open are closed by [`Readers::close`].
    pub(in crate::store::sqlite) fn reopen(&self, path: &Path, size: u32, way: Way) -> Result<()> {
        let pool = pool(path, size, way, self.open.clone())?;
        *self.pool.write().unwrap_or_else(PoisonError::into_inner) = Some(pool);
        Ok(())
    }

    /// Waits until the connections are closed, which the pool leaves to its own threads.
    pub(in crate::store::sqlite) fn close(&self) {
        drop(self.pool.write().unwrap_or_else(PoisonError::into_inner).take());
        let end = Instant::now() + WAIT;
        while Arc::strong_count(&self.open) > 1 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn pool(path: &Path, size: u32, way: Way, open: Arc<()>) -> Result<r2d2::Pool<Manager>> {
    let (access, locking, size) = match way {
        Way::Beside(_) => (OpenFlags::SQLITE_OPEN_READ_ONLY, "NORMAL", size),
        // What is only read is locked by nobody.
        Way::Alone => (OpenFlags::SQLITE_OPEN_READ_WRITE, "EXCLUSIVE", 1),
    };
    let manager = SqliteConnectionManager::file(path)
        .with_flags(access | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .with_init(move |connection| set_up(connection, locking));
    r2d2::Pool::builder()
        .max_size(size)
        .min_idle(Some(1))
        .connection_timeout(WAIT)
        // A connection to a local file does not go stale: nothing to renew, nothing to probe.
        .idle_timeout(None)
        .max_lifetime(None)
        .test_on_check_out(false)
        // Who waits for a connection is told that there was none; the rest is said where the cause is found.
        .error_handler(Box::new(r2d2::NopErrorHandler))
        .build(Manager { connections: manager, way, open })
        .map_err(|error| Error::new(ErrorKind::Other, "opening a reader", error))
}

fn set_up(connection: &rusqlite::Connection, locking: &str) -> rusqlite::Result<()> {
    connection.busy_timeout(WAIT)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // A small cache: what it holds is of no more use once another connection has committed.
    connection.execute_batch(&format!(
        "PRAGMA locking_mode = {locking}; PRAGMA query_only = ON; PRAGMA cache_size = -1000; \
         PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF; PRAGMA mmap_size = 0;"
    ))
}

/// Opens a reading connection outside the pool, whose reads are not cut off.
pub(in crate::store::sqlite) fn reader(path: &Path) -> Result<rusqlite::Connection> {
    const DOING: &str = "opening a reader";
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = rusqlite::Connection::open_with_flags(path, flags).doing(DOING)?;
    set_up(&connection, "NORMAL").doing(DOING)?;
    Ok(connection)
}

impl Drop for Readers {
    /// The writer must be the last to close the database, since only the last one that may write removes the log.
    fn drop(&mut self) {
        self.close();
    }
}

/// Opens connections that can be counted.
struct Manager {
    connections: SqliteConnectionManager,
    way: Way,
    open: Arc<()>,
}

impl ManageConnection for Manager {
    /// The connection comes first, so that it is closed before it is no longer counted.
    type Connection = (rusqlite::Connection, Arc<()>);
    type Error = Error;

    fn connect(&self) -> Result<Self::Connection> {
        // SQLite would open whatever is at the path now, and make files beside it.
        if let Way::Beside(place) = &self.way {
            place.check()?;
        }
        let connection = self.connections.connect().doing("opening a reader")?;
        Ok((connection, self.open.clone()))
    }

    fn is_valid(&self, (connection, _): &mut Self::Connection) -> Result<()> {
        self.connections.is_valid(connection).doing("looking at a reader")
    }

    fn has_broken(&self, (connection, _): &mut Self::Connection) -> bool {
        self.connections.has_broken(connection)
    }
}

/// A reading connection on loan.
pub(in crate::store::sqlite) struct Reader(r2d2::PooledConnection<Manager>);

impl Deref for Reader {
    type Target = rusqlite::Connection;

    fn deref(&self) -> &rusqlite::Connection {
        &self.0.0
    }
}

impl DerefMut for Reader {
    fn deref_mut(&mut self) -> &mut rusqlite::Connection {
        &mut self.0.0
    }
}
