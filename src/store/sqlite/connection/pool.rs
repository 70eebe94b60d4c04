//! The pool of read-only connections, whose reads have a time limit.
//!
//! The WAL index is a file that needs disk space. If a start finds none, one connection reads with the index in its
//! memory (`locking_mode=EXCLUSIVE`), and turns are answered 503 until there is space.

use super::functions::add_functions;
use super::place::OpenFiles;
use crate::store::deadline::deadline;
use crate::store::sqlite::error::Context as _;
use crate::store::{Error, ErrorKind, Result};
use parking_lot::RwLock;
use r2d2::ManageConnection;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::OpenFlags;
use rusqlite::config::DbConfig;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Maximum time that a read waits for a free connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum duration of a read without a deadline of its own. A longer snapshot would prevent checkpoints from
/// finishing.
pub(in crate::store::sqlite) const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Number of SQLite's virtual machine instructions between two checks of the time limit.
pub(in crate::store::sqlite) const INSTRUCTIONS_PER_CHECK: i32 = 10_000;

pub(in crate::store::sqlite) struct Readers {
    pool: RwLock<Option<r2d2::Pool<Manager>>>,
    /// Cloned once for each open connection, to count them. The pool's manager and this struct hold one clone each.
    open: Arc<()>,
}

/// The access mode of a pool's connections.
#[derive(Debug, Clone)]
pub(in crate::store::sqlite) enum AccessMode {
    /// Several connections that read while others write, as long as the files are at their path.
    Beside(Arc<OpenFiles>),
    /// One connection that excludes everybody else and needs no disk space, because the WAL index is in its memory.
    Alone,
}

impl Readers {
    /// Opens the first connection now and the others on demand.
    pub(in crate::store::sqlite) fn open(path: &Path, size: u32, way: AccessMode) -> Result<Self> {
        let open = Arc::new(());
        let pool = pool(path, size, way, open.clone())?;
        Ok(Self { pool: RwLock::new(Some(pool)), open })
    }

    /// Returns a connection for one read, which is interrupted at its time limit.
    pub(in crate::store::sqlite) fn get(&self) -> Result<Reader> {
        let pool = self.pool.read().clone();
        let busy = |error: &str| Error::new(ErrorKind::Busy, "waiting for a read connection", error.to_owned());
        let pool = pool.ok_or_else(|| busy("the connections are being opened"))?;
        let wait = deadline().map_or(CONNECTION_TIMEOUT, |end| end.saturating_duration_since(Instant::now()));
        let connection = pool.get_timeout(wait).map_err(|error| busy(&error.to_string()))?;
        let end = deadline().unwrap_or_else(|| Instant::now() + READ_TIMEOUT);
        limit_reading(&connection.0, end)?;
        Ok(Reader(connection))
    }

    /// Opens connections in another mode, after [`Readers::close`] has closed the current ones.
    pub(in crate::store::sqlite) fn reopen(&self, path: &Path, size: u32, way: AccessMode) -> Result<()> {
        let pool = pool(path, size, way, self.open.clone())?;
        *self.pool.write() = Some(pool);
        Ok(())
    }

    /// Closes all connections and waits for it, because the pool closes them in its own threads.
    pub(in crate::store::sqlite) fn close(&self) {
        drop(self.pool.write().take());
        let end = Instant::now() + CONNECTION_TIMEOUT;
        while Arc::strong_count(&self.open) > 1 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Interrupts reads of a connection after `end`.
pub(in crate::store::sqlite) fn limit_reading(connection: &rusqlite::Connection, end: Instant) -> Result<()> {
    connection
        .progress_handler(INSTRUCTIONS_PER_CHECK, Some(move || Instant::now() > end))
        .context("setting the time limit of a read")
}

fn pool(path: &Path, size: u32, way: AccessMode, open: Arc<()>) -> Result<r2d2::Pool<Manager>> {
    let (access, locking, size) = match way {
        AccessMode::Beside(_) => (OpenFlags::SQLITE_OPEN_READ_ONLY, "NORMAL", size),
        // Read-only connections take no exclusive lock.
        AccessMode::Alone => (OpenFlags::SQLITE_OPEN_READ_WRITE, "EXCLUSIVE", 1),
    };
    let manager = SqliteConnectionManager::file(path)
        .with_flags(access | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .with_init(move |connection| set_up(connection, locking));
    r2d2::Pool::builder()
        .max_size(size)
        .min_idle(Some(1))
        .connection_timeout(CONNECTION_TIMEOUT)
        // Connections to a local file do not go stale, so they are neither renewed nor tested.
        .idle_timeout(None)
        .max_lifetime(None)
        .test_on_check_out(false)
        // The caller gets the error of a failed connection, so the pool need not log it.
        .error_handler(Box::new(r2d2::NopErrorHandler))
        .build(Manager { connections: manager, way, open })
        .map_err(|error| Error::new(ErrorKind::Other, "opening a read connection", error))
}

fn set_up(connection: &rusqlite::Connection, locking: &str) -> rusqlite::Result<()> {
    connection.busy_timeout(CONNECTION_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    add_functions(connection)?;
    // The cache is small because another connection's commit invalidates it.
    connection.execute_batch(&format!(
        "PRAGMA locking_mode = {locking}; PRAGMA query_only = ON; PRAGMA cache_size = -1000; \
         PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF; PRAGMA mmap_size = 0;"
    ))
}

/// Opens a reading connection outside the pool, without a time limit.
pub(in crate::store::sqlite) fn reader(path: &Path) -> Result<rusqlite::Connection> {
    const CONTEXT: &str = "opening a read connection";
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = rusqlite::Connection::open_with_flags(path, flags).context(CONTEXT)?;
    set_up(&connection, "NORMAL").context(CONTEXT)?;
    Ok(connection)
}

impl Drop for Readers {
    /// Closes the readers before the writer, because only a last connection that may write removes the WAL.
    fn drop(&mut self) {
        self.close();
    }
}

/// A connection manager that counts open connections.
struct Manager {
    connections: SqliteConnectionManager,
    way: AccessMode,
    open: Arc<()>,
}

impl ManageConnection for Manager {
    /// The connection is the first field, so it is closed before it is no longer counted.
    type Connection = (rusqlite::Connection, Arc<()>);
    type Error = Error;

    fn connect(&self) -> Result<Self::Connection> {
        // SQLite would open any file that is at the path now, and create files beside it.
        if let AccessMode::Beside(place) = &self.way {
            place.check()?;
        }
        let connection = self.connections.connect().context("opening a read connection")?;
        Ok((connection, self.open.clone()))
    }

    fn is_valid(&self, (connection, _): &mut Self::Connection) -> Result<()> {
        self.connections.is_valid(connection).context("testing a read connection")
    }

    fn has_broken(&self, (connection, _): &mut Self::Connection) -> bool {
        self.connections.has_broken(connection)
    }
}

/// A connection borrowed from the pool.
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
