//! The reading connections: few, read-only, each read limited in time.

use super::error::Context as _;
use crate::store::deadline::deadline;
use crate::store::{Error, ErrorKind, Result};
use r2d2::ManageConnection;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::OpenFlags;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a read may wait for a free connection.
const WAIT: Duration = Duration::from_secs(5);

/// How long a read may run that has no deadline of its own. A reader that holds its snapshot longer keeps the log from being folded in.
const RUN: Duration = Duration::from_secs(5);

/// How many steps SQLite's machine makes between two looks at the clock.
const STEPS: i32 = 10_000;

pub(super) struct Readers {
    pool: Option<r2d2::Pool<Manager>>,
    /// Held once by each connection, besides here and in the pool's manager.
    open: Arc<()>,
}

impl Readers {
    /// Opens the first connection now and the others when they are wanted.
    pub(super) fn open(path: &Path, size: u32) -> Result<Self> {
        let manager = SqliteConnectionManager::file(path)
            .with_flags(OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .with_init(|connection| {
                connection.busy_timeout(WAIT)?;
                connection.set_prepared_statement_cache_capacity(64);
                // A small cache: what it holds is of no more use once another connection has committed.
                connection.execute_batch(
                    "PRAGMA query_only = ON; PRAGMA cache_size = -1000; PRAGMA temp_store = MEMORY; \
                     PRAGMA trusted_schema = OFF; PRAGMA mmap_size = 0;",
                )
            });
        let open = Arc::new(());
        let pool = r2d2::Pool::builder()
            .max_size(size)
            .min_idle(Some(1))
            .connection_timeout(WAIT)
            // A connection to a local file does not go stale: nothing to renew, nothing to probe.
            .idle_timeout(None)
            .max_lifetime(None)
            .test_on_check_out(false)
            .build(Manager { connections: manager, open: open.clone() })
            .map_err(|error| Error::new(ErrorKind::Other, "opening a reader", error))?;
        Ok(Self { pool: Some(pool), open })
    }

    /// A connection for one read, which is cut off when it runs too long.
    pub(super) fn get(&self) -> Result<Reader> {
        let pool = self.pool.as_ref().expect("taken only when dropped");
        let wait = deadline().map_or(WAIT, |end| end.saturating_duration_since(Instant::now()));
        let connection =
            pool.get_timeout(wait).map_err(|error| Error::new(ErrorKind::Busy, "waiting for a free reader", error))?;
        let end = deadline().unwrap_or_else(|| Instant::now() + RUN);
        connection.0.progress_handler(STEPS, Some(move || Instant::now() > end)).doing("limiting a read")?;
        Ok(Reader(connection))
    }
}

impl Drop for Readers {
    /// Waits until the connections are closed, which the pool leaves to its own threads: the writer must be the last to
    /// close the database, since only the last one that may write removes the log.
    fn drop(&mut self) {
        drop(self.pool.take());
        let end = Instant::now() + WAIT;
        while Arc::strong_count(&self.open) > 1 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Opens connections that can be counted.
struct Manager {
    connections: SqliteConnectionManager,
    open: Arc<()>,
}

impl ManageConnection for Manager {
    /// The connection comes first, so that it is closed before it is no longer counted.
    type Connection = (rusqlite::Connection, Arc<()>);
    type Error = rusqlite::Error;

    fn connect(&self) -> Result<Self::Connection, rusqlite::Error> {
        Ok((self.connections.connect()?, self.open.clone()))
    }

    fn is_valid(&self, (connection, _): &mut Self::Connection) -> Result<(), rusqlite::Error> {
        self.connections.is_valid(connection)
    }

    fn has_broken(&self, (connection, _): &mut Self::Connection) -> bool {
        self.connections.has_broken(connection)
    }
}

/// A reading connection on loan.
pub(super) struct Reader(r2d2::PooledConnection<Manager>);

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
