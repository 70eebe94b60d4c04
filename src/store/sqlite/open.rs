//! Opening a database: who may, what it must be, how the writing connection is set, and the migrations.
//!
//! Nothing is written to a file before it is known to be ours and not newer than this program.

use super::checkpoint::{self, Of};
use super::error::Context as _;
use super::live::LiveCalls;
use super::lock::{self, Attempt, Lock};
use super::log_file;
use super::migrations::{known_schema, migrate};
use super::pool::Readers;
use super::search::SearchIndex;
use super::{SqliteStore, Writing, Written, backup};
use crate::store::{Copier, Error, Outcome, Result};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// In the file's header: `PRAGMA application_id`.
pub(super) const APPLICATION_ID: u32 = u32::from_be_bytes(*b"TRHK");

/// The first SQLite without the WAL-reset bug, which could lose a committed transaction
/// (<https://www.sqlite.org/wal.html#walresetbug>).
const OLDEST_SQLITE: i32 = 3_051_003;

/// The writer's page cache, in KiB: room for the pages that running calls touch. More is slower, since pages that are
/// used once then take fresh memory instead of that of pages that are done with: 2 MB stored 14 % more turns a second at
/// 64 in flight than 8 MB, and as many at 500. What falls out is in the system's cache.
const CACHE_KIB: u32 = 2000;

/// `PRAGMA synchronous`: each commit syncs the log.
const FULL: u8 = 2;

/// How to open a database.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file; made when there is none.
    pub path: PathBuf,
    /// How long a write waits for another process that holds the database's write lock.
    pub busy_timeout: Duration,
    /// Greatest number of reading connections.
    pub readers: u32,
}

/// Why a database could not be opened. Each text names the file and says what to do.
#[derive(Debug)]
pub enum OpenError {
    /// The folder is missing or the file cannot be reached or written.
    Unusable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it open for writing.
    InUse {
        /// The file.
        path: PathBuf,
        /// The other process, when it could be told.
        by: Option<u32>,
    },
    /// The file is something else.
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A newer version of this program has written it.
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema's version.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// There is no file, but the log of one, which may hold turns that are nowhere else.
    OrphanedLog {
        /// The log.
        log: PathBuf,
    },
    /// A running service of an older version has it open.
    Older {
        /// The file.
        path: PathBuf,
    },
    /// SQLite failed, or is too old.
    Database {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: Error,
    },
    /// The migrations failed; the file is as it was.
    Migration {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: Box<refinery::Error>,
    },
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unusable { path, .. } => write!(f, "cannot use the database {}", path.display()),
            Self::InUse { path, by: Some(pid) } => {
                write!(f, "the database {} is in use by another transcribe-hook (process {pid})", path.display())
            }
            Self::InUse { path, by: None } => {
                write!(f, "the database {} is in use by another transcribe-hook", path.display())
            }
            Self::Foreign { path, what } => write!(f, "{} is {what}; it was left untouched", path.display()),
            Self::Newer { path, found, known } => write!(
                f,
                "the database {} was written by a newer transcribe-hook (schema {found}, this one knows up to {known}); \
                 it was left untouched",
                path.display()
            ),
            Self::OrphanedLog { log } => write!(
                f,
                "{} belongs to a database that is not there; put the database back beside it, since the log may hold \
                 turns that are nowhere else, or move the log away",
                log.display()
            ),
            Self::Older { path } => write!(
                f,
                "the database {} is in use by an older transcribe-hook; stop it, or use its own version",
                path.display()
            ),
            Self::Database { path, .. } => write!(f, "cannot open the database {}", path.display()),
            Self::Migration { path, .. } => write!(f, "cannot bring the database {} up to date", path.display()),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unusable { source, .. } => Some(source),
            Self::Database { source, .. } => Some(source),
            Self::Migration { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl SqliteStore {
    /// Opens the database as its one service, makes or migrates it where needed, and folds a log that a crash left
    /// into it.
    ///
    /// # Errors
    /// See [`OpenError`]; a file that is not ours, or is newer, is not changed.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        Self::open_as_owner(options, true)
    }

    /// The same, but leaves the log to Litestream, which copies it and then moves it into the database file itself.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_for_litestream(options: &Options) -> Result<Self, OpenError> {
        Self::open_as_owner(options, false)
    }

    fn open_as_owner(options: &Options, folds: bool) -> Result<Self, OpenError> {
        let path = resolved(&options.path);
        match lock::try_lock(&path) {
            Ok(Attempt::Locked(lock)) => Self::open_locked(&path, Some(lock), options, folds),
            Ok(Attempt::HeldBy(by)) => Err(OpenError::InUse { path, by }),
            Err(source) => Err(OpenError::Unusable { path, source }),
        }
    }

    /// Opens the database for one change while its service may be running, or as [`Self::open`] when it is not.
    ///
    /// The service leaves room for others between its transactions, and sees what they committed.
    ///
    /// # Errors
    /// As [`Self::open`], but for [`OpenError::InUse`].
    pub fn open_beside_service(options: &Options) -> Result<Self, OpenError> {
        let path = resolved(&options.path);
        match lock::try_lock(&path) {
            Ok(Attempt::Locked(lock)) => Self::open_locked(&path, Some(lock), options, true),
            Ok(Attempt::HeldBy(_)) => Self::open_locked(&path, None, options, false),
            Err(source) => Err(OpenError::Unusable { path, source }),
        }
    }

    fn open_locked(path: &Path, lock: Option<Lock>, options: &Options, folds: bool) -> Result<Self, OpenError> {
        let database = |source| OpenError::Database { path: path.to_owned(), source };
        if lock.is_some() && !path.exists() {
            make(path, options.busy_timeout)?;
        }
        check_header(path)?;
        let mut connection = connect(path, options.busy_timeout).map_err(database)?;
        let schema = check_contents(&connection, path)?;
        let owner = lock.is_some();
        if !owner && schema != known_schema() {
            return Err(OpenError::Older { path: path.to_owned() });
        }
        if owner {
            sync_leftover_log(path).map_err(|source| OpenError::Unusable { path: path.to_owned(), source })?;
        }
        configure(&connection, folds).map_err(database)?;
        if owner {
            migrate(&mut connection, path)?;
        }
        if folds {
            checkpoint::fold_log_in(&connection, Of::Database, options.busy_timeout).map_err(database)?;
        }
        let readers = Readers::open(path, options.readers).map_err(database)?;
        Ok(Self {
            readers,
            writer: Mutex::new(Writing { index: SearchIndex::of(path, owner), connection, live: LiveCalls::new() }),
            index_is_broken: AtomicBool::new(false),
            copier: Copier::new(path, backup),
            busy_timeout: options.busy_timeout,
            folds,
            path: path.to_owned(),
            lock,
        })
    }
}

/// Makes a new database aside and gives it its name once it is whole and on disk: a power cut while its first page is
/// written could otherwise leave a file that is no database, which no later start would touch.
fn make(path: &Path, busy_timeout: Duration) -> Result<(), OpenError> {
    let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
    let database = |source| OpenError::Database { path: path.to_owned(), source };
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    // SQLite would take a log of that name for the new file's own, and write the old database's pages into it.
    for ending in ["-wal", "-journal"] {
        if beside(ending).metadata().is_ok_and(|log| log.len() > 0) {
            return Err(OpenError::OrphanedLog { log: beside(ending) });
        }
    }
    let aside = beside(".new");
    // What an attempt that was cut off left.
    for ending in [".new", ".new-wal", ".new-shm", ".new-journal"] {
        match std::fs::remove_file(beside(ending)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable(error)),
            _ => {}
        }
    }
    let mut connection = connect(&aside, busy_timeout).map_err(database)?;
    configure(&connection, true).map_err(database)?;
    migrate(&mut connection, path)?;
    connection.close().map_err(|(_, error)| error).doing("closing the new file").map_err(database)?;
    File::open(&aside).and_then(|file| file.sync_all()).map_err(unusable)?;
    std::fs::rename(&aside, path).map_err(unusable)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(unusable)
}

/// The file's own path, so that one database has one lock file whatever links lead to it.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Looks at the file's first bytes without SQLite, which might roll a foreign file's journal back.
fn check_header(path: &Path) -> Result<(), OpenError> {
    let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
    let mut header = Vec::with_capacity(100);
    let length = match File::options().read(true).write(true).open(path) {
        Ok(file) => file.take(100).read_to_end(&mut header).map_err(unusable)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(unusable(error)),
    };
    if length == 0 {
        return Ok(());
    }
    if length < 100 || !header.starts_with(b"SQLite format 3\0") {
        return Err(OpenError::Foreign { path: path.to_owned(), what: "no SQLite database" });
    }
    let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes"));
    // https://www.sqlite.org/fileformat.html: user_version stands at 60, application_id at 68. Both are 0 in a file
    // that was being made when its process died.
    check_identity(path, number(68), number(60))
}

fn check_identity(path: &Path, application_id: u32, user_version: u32) -> Result<(), OpenError> {
    if application_id != 0 && application_id != APPLICATION_ID {
        return Err(OpenError::Foreign { path: path.to_owned(), what: "another program's database" });
    }
    let known = known_schema();
    if application_id == APPLICATION_ID && user_version > known {
        return Err(OpenError::Newer { path: path.to_owned(), found: user_version, known });
    }
    Ok(())
}

fn connect(path: &Path, busy_timeout: Duration) -> Result<Connection> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        let found = format!("SQLite {} can lose committed data; 3.51.3 is the oldest that cannot", rusqlite::version());
        return Err(Error::new(crate::store::ErrorKind::Other, "checking SQLite's version", found));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // Only a commit that syncs the log makes its gathered writes seen.
    let opened = if wanted_synchronous() == FULL {
        Connection::open_with_flags_and_vfs(path, flags, log_file::vfs())
    } else {
        Connection::open_with_flags(path, flags)
    };
    let connection = opened.doing("opening the file")?;
    connection.busy_timeout(busy_timeout).doing("setting the time to wait for locks")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// The same as [`check_header`], now with what the log holds, which the header may lag behind. Returns the schema's
/// version, 0 before the first migration.
fn check_contents(connection: &Connection, path: &Path) -> Result<u32, OpenError> {
    let read = || -> rusqlite::Result<(u32, u32, bool)> {
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get(0));
        let foreign_tables: bool = connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name <> 'refinery_schema_history')",
            [],
            |row| row.get(0),
        )?;
        Ok((pragma("application_id")?, pragma("user_version")?, foreign_tables))
    };
    let (application_id, user_version, has_tables) = read()
        .doing("reading what the file is")
        .map_err(|source| OpenError::Database { path: path.to_owned(), source })?;
    if application_id == 0 && has_tables {
        return Err(OpenError::Foreign { path: path.to_owned(), what: "another program's database" });
    }
    check_identity(path, application_id, user_version).map(|()| user_version)
}

/// Sees to it that what a crashed process wrote to the log, but perhaps did not sync, is on disk before anything in it
/// is taken as stored: a sender's repeat of such a turn will be acknowledged without being written again.
fn sync_leftover_log(path: &Path) -> io::Result<()> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    match File::open(log) {
        Ok(file) => file.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Sets the writing connection up and reads the settings that promises rest on back.
fn configure(connection: &Connection, folds: bool) -> Result<()> {
    const DOING: &str = "setting the writing connection up";
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).doing(DOING)?;
    let synchronous = wanted_synchronous();
    connection
        .execute_batch(&format!(
            "PRAGMA synchronous = {synchronous}; PRAGMA foreign_keys = ON; PRAGMA cache_size = -{CACHE_KIB}; \
             PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF; PRAGMA mmap_size = 0; \
             PRAGMA journal_size_limit = 67108864; PRAGMA secure_delete = ON;"
        ))
        .doing(DOING)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).doing(DOING)?;
    // One connection at most moves the log into the database, at any time.
    connection.pragma_update(None, "wal_autocheckpoint", 0).doing(DOING)?;
    if folds {
        checkpoint::whenever_grown(connection, Of::Database);
    }
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !folds).doing(DOING)?;
    let in_force: u8 = connection.pragma_query_value(None, "synchronous", |row| row.get(0)).doing(DOING)?;
    if mode != "wal" || in_force != synchronous {
        let found = format!("journal_mode is {mode}, synchronous is {in_force}");
        return Err(Error::new(crate::store::ErrorKind::Other, DOING, found));
    }
    Ok(())
}

/// [`FULL`].
///
/// A debug build can be told to sync at checkpoints only (`NORMAL`), so that the power-cut test can show that it would
/// notice. A release build cannot.
fn wanted_synchronous() -> u8 {
    const NORMAL: u8 = 1;
    let weakened = cfg!(debug_assertions) && std::env::var_os("TRANSCRIBE_HOOK_TEST_SYNCHRONOUS_NORMAL").is_some();
    if weakened { NORMAL } else { FULL }
}

/// Writes the schema's version over itself: a real write with a real sync that changes nothing.
pub(super) fn probe(transaction: &Transaction<'_>) -> Result<Outcome> {
    transaction
        .pragma_update(None, "user_version", known_schema())
        .doing("trying whether the disk takes a write")
        .map(|()| Ok(Written::Done))
}
