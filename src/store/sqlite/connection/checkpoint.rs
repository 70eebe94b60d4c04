//! Moving the log into the database file, which only the writing connection of the database's service does: when the log
//! has grown, and when nothing else is to be done. Each time is measured. And how much room both files take.

use crate::store::sqlite::error::Context as _;
use crate::store::{Result, Sizes};
use crate::telemetry::metrics::METRICS;
use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;
use rusqlite::{Connection, ErrorCode};
use std::ffi::c_int;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io};

/// The log is moved into the database when it has grown to this many pages (8 MB). Turns wait meanwhile, so it is what the
/// slowest in a hundred take under load: twice as much would store 3 % more turns a second, and make those wait a quarter
/// longer.
const PAGES: c_int = 2000;

/// Whose WAL it is. Only that of the database is measured and told of: a search index can be made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store::sqlite) enum Of {
    Database,
    SearchIndex,
}

/// What `PRAGMA wal_autocheckpoint` would do, but measured.
pub(in crate::store::sqlite) fn whenever_grown(connection: &Connection, of: Of) {
    // An error given back here would make a commit that is on disk look failed.
    connection.wal_hook(Some(match of {
        Of::Database => |log: &Wal, pages| {
            if pages >= PAGES {
                let started = Instant::now();
                note(started, log.checkpoint().err().as_ref());
            }
            Ok(())
        },
        Of::SearchIndex => |log: &Wal, pages| {
            if pages >= PAGES {
                let _ = log.checkpoint();
            }
            Ok(())
        },
    }));
}

/// Moves the whole log into the database file and empties it, and returns whether it could: a reader or another
/// process may be in the way, and is not waited for, since new turns would wait too.
pub(in crate::store::sqlite) fn fold_log_in(connection: &Connection, of: Of, busy_timeout: Duration) -> Result<bool> {
    fold(connection, of, Duration::ZERO, busy_timeout)
}

/// Takes older states of pages, in which what was erased still stands, out of the log and out of the memory from which
/// pages are written again. Returns whether it could, as [`fold_log_in`] does, and waits for readers at most for so long.
pub(in crate::store::sqlite) fn forget(
    connection: &Connection,
    of: Of,
    wait: Duration,
    busy_timeout: Duration,
) -> Result<bool> {
    const DOING: &str = "taking what was erased out of the log";
    // Most of the work, during which other processes may write.
    connection.query_row("PRAGMA main.wal_checkpoint(PASSIVE)", [], |_| Ok(())).doing(DOING)?;
    let done = fold(connection, of, wait, busy_timeout)?;
    if done {
        connection.execute_batch("PRAGMA shrink_memory").doing(DOING)?;
    }
    Ok(done)
}

fn fold(connection: &Connection, of: Of, wait: Duration, busy_timeout: Duration) -> Result<bool> {
    const DOING: &str = "folding the log in";
    connection.busy_timeout(wait).doing(DOING)?;
    let started = Instant::now();
    let busy: rusqlite::Result<bool> =
        connection.query_row("PRAGMA main.wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    if of == Of::Database {
        note(started, busy.as_ref().err());
    }
    connection.busy_timeout(busy_timeout).doing(DOING)?;
    busy.map(|busy| !busy).doing(DOING)
}

/// Moves into the database what only an open WAL holds whose name is gone.
pub(in crate::store::sqlite) fn rescue(connection: &Connection) {
    let passive = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get(1)?, row.get(2)?)));
    match passive {
        Ok((pages, moved)) if pages != moved => {
            let (pages, moved): (i64, i64) = (pages, moved);
            tracing::warn!(
                pages,
                moved,
                "a reader keeps what the removed WAL holds from being moved into the database"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::error!(%error, "what the removed WAL holds cannot be moved into the database"),
    }
}

/// Has closing leave the WAL as it is.
pub(in crate::store::sqlite) fn leave_log(connection: &Connection) {
    if let Err(error) = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
        tracing::error!(%error, "the database's WAL may be removed");
    }
}

/// How long a log may become that somebody else is to move, in bytes: twice of what Litestream lets it.
const LONG: u64 = 1 << 30;

/// Says so when a log that Litestream is to move grows without it.
pub(in crate::store::sqlite) fn warn_of_length(path: &Path) {
    /// So that it is said once, and again when it has been short in between.
    static LONG_BEFORE: AtomicBool = AtomicBool::new(false);
    let Ok(sizes) = sizes(path) else { return };
    let long = sizes.log > LONG;
    if long && !LONG_BEFORE.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            bytes = sizes.log,
            "the log is long and nobody moves it into the database: does Litestream run?"
        );
    }
    if !long {
        LONG_BEFORE.store(false, Ordering::Relaxed);
    }
}

fn note(started: Instant, error: Option<&rusqlite::Error>) {
    /// So that the log tells of the first failure of several, and not of each commit's.
    static FAILING: AtomicBool = AtomicBool::new(false);
    let busy = error.is_some_and(|error| error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy));
    match error {
        Some(error) if !busy => {
            METRICS.checkpoint_failures_total.inc();
            if !FAILING.swap(true, Ordering::Relaxed) {
                tracing::error!(%error, "the log cannot be moved into the database file, and grows until it can");
            }
        }
        _ => {
            METRICS.checkpoint_duration_seconds.observe(started.elapsed().as_secs_f64());
            FAILING.store(false, Ordering::Relaxed);
        }
    }
}

/// See [`crate::store::Store::sizes`].
pub(in crate::store::sqlite) fn sizes(path: &Path) -> io::Result<Sizes> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let log = match fs::metadata(log) {
        Ok(log) => log.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let system = rustix::fs::statvfs(path)?;
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    Ok(Sizes { database: fs::metadata(path)?.len(), log, free })
}
