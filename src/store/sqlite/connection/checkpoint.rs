//! Checkpoints and the sizes of the files.
//!
//! A checkpoint moves the WAL into the database file. Only the writing connection of the service runs one: when the WAL
//! has grown, after two idle seconds, and when the service stops, so that the one file is complete then. Each one is
//! measured.
//!
//! Litestream reads the WAL and runs the checkpoints itself, so with `--litestream` the service never does. Litestream
//! writes pages unchanged, so copies of erased words may remain in unused parts of pages.

use crate::store::sqlite::error::Context as _;
use crate::store::{DatabaseSizes, Result};
use crate::sys::paths::with_suffix;
use crate::telemetry::metrics::METRICS;
use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;
use rusqlite::{Connection, ErrorCode};
use std::ffi::c_int;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io};

/// Size of the WAL that triggers a checkpoint, in pages (8 MB). Turns wait during a checkpoint, so it determines the
/// 99th percentile of latency under load. A larger WAL would gain little throughput and lengthen that wait.
const CHECKPOINT_PAGES: c_int = 2000;

/// Owner of a WAL. Only the database's WAL is measured and logged, because a search index can be rebuilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store::sqlite) enum WalOwner {
    Database,
    SearchIndex,
}

/// Owner of the checkpoints of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store::sqlite) enum Checkpoints {
    /// This store.
    Own,
    /// Litestream, or the service beside a command.
    Foreign,
}

/// Installs a checkpoint on growth, like `PRAGMA wal_autocheckpoint`, but measured.
pub(in crate::store::sqlite) fn checkpoint_on_growth(connection: &Connection, of: WalOwner) {
    // An error returned here would make a durable commit look failed.
    connection.wal_hook(Some(match of {
        WalOwner::Database => |wal: &Wal, pages| {
            if pages >= CHECKPOINT_PAGES {
                let started = Instant::now();
                record_result(started, wal.checkpoint().err().as_ref());
            }
            Ok(())
        },
        WalOwner::SearchIndex => |wal: &Wal, pages| {
            if pages >= CHECKPOINT_PAGES {
                let _ = wal.checkpoint();
            }
            Ok(())
        },
    }));
}

/// Checkpoints the whole WAL and truncates it. Returns false if a reader or another process prevents it, and does not
/// wait for them, because new turns would wait as well.
pub(in crate::store::sqlite) fn checkpoint_truncate(
    connection: &Connection,
    of: WalOwner,
    busy_timeout: Duration,
) -> Result<bool> {
    run_checkpoint(connection, of, Duration::ZERO, busy_timeout)
}

/// Purges erased bytes: moves older versions of pages out of the WAL and out of the memory that SQLite reuses for
/// pages. Returns whether it could, and waits for readers for at most `wait`.
pub(in crate::store::sqlite) fn purge_erased(
    connection: &Connection,
    of: WalOwner,
    wait: Duration,
    busy_timeout: Duration,
) -> Result<bool> {
    const CONTEXT: &str = "purging erased bytes from the WAL";
    // Does most of the work while other processes may write.
    connection.query_row("PRAGMA main.wal_checkpoint(PASSIVE)", [], |_| Ok(())).context(CONTEXT)?;
    let done = run_checkpoint(connection, of, wait, busy_timeout)?;
    if done {
        connection.execute_batch("PRAGMA shrink_memory").context(CONTEXT)?;
    }
    Ok(done)
}

fn run_checkpoint(connection: &Connection, of: WalOwner, wait: Duration, busy_timeout: Duration) -> Result<bool> {
    const CONTEXT: &str = "checkpointing the WAL";
    connection.busy_timeout(wait).context(CONTEXT)?;
    let started = Instant::now();
    let busy: rusqlite::Result<bool> =
        connection.query_row("PRAGMA main.wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    if of == WalOwner::Database {
        record_result(started, busy.as_ref().err());
    }
    connection.busy_timeout(busy_timeout).context(CONTEXT)?;
    busy.map(|busy| !busy).context(CONTEXT)
}

/// Checkpoints an open WAL whose name is gone.
pub(in crate::store::sqlite) fn rescue(connection: &Connection) {
    let passive = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get(1)?, row.get(2)?)));
    match passive {
        Ok((pages, moved)) if pages != moved => {
            let (pages, moved): (i64, i64) = (pages, moved);
            tracing::warn!(pages, moved, "a reader prevents the checkpoint of the removed WAL");
        }
        Ok(_) => {}
        Err(error) => tracing::error!(%error, "checkpoint of the removed WAL failed"),
    }
}

/// Prevents closing the connection from removing the WAL.
pub(in crate::store::sqlite) fn keep_wal(connection: &Connection) {
    if let Err(error) = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
        tracing::error!(%error, "could not protect the WAL from removal");
    }
}

/// Minimum size of a WAL that Litestream should checkpoint and that is reported, in bytes. Litestream's own limit is
/// half of it.
const LONG_WAL_BYTES: u64 = 1 << 30;

/// Warns if a WAL that Litestream should checkpoint keeps growing.
pub(in crate::store::sqlite) fn warn_if_wal_large(path: &Path) {
    /// Suppresses repeated warnings until the WAL has been short again.
    static WAS_LONG: AtomicBool = AtomicBool::new(false);
    let Ok(sizes) = sizes(path) else { return };
    let long = sizes.wal > LONG_WAL_BYTES;
    if long && !WAS_LONG.swap(true, Ordering::Relaxed) {
        tracing::warn!(bytes = sizes.wal, "WAL is large and not checkpointed; is Litestream running?");
    }
    if !long {
        WAS_LONG.store(false, Ordering::Relaxed);
    }
}

fn record_result(started: Instant, error: Option<&rusqlite::Error>) {
    /// Suppresses repeated log messages, because each commit may fail.
    static FAILING: AtomicBool = AtomicBool::new(false);
    let busy = error.is_some_and(|error| error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy));
    match error {
        Some(error) if !busy => {
            METRICS.checkpoint_failures_total.inc();
            if !FAILING.swap(true, Ordering::Relaxed) {
                tracing::error!(%error, "WAL checkpoint failed; the WAL grows until one succeeds");
            }
        }
        _ => {
            METRICS.checkpoint_duration_seconds.observe(started.elapsed().as_secs_f64());
            FAILING.store(false, Ordering::Relaxed);
        }
    }
}

/// Implements [`crate::store::Maintenance::sizes`].
pub(in crate::store::sqlite) fn sizes(path: &Path) -> io::Result<DatabaseSizes> {
    let wal = match fs::metadata(with_suffix(path, "-wal")) {
        Ok(wal) => wal.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let system = rustix::fs::statvfs(path)?;
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    Ok(DatabaseSizes { database: fs::metadata(path)?.len(), wal, free })
}
