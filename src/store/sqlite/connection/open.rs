//! Opening a database: who may, what it must be, how the writing connection is set, and the migrations.
//!
//! Nothing is written to a file before it is known to be ours and not newer than this program.

use super::checkpoint::{self, Of};
use super::header::{self, check_identity};
use super::lock::{self, Attempt, Lock};
use super::migrations::{known_schema, migrate};
use super::open_error::OpenError;
use super::options::Options;
use super::place::{self, Place};
use super::pool::{Readers, Way};
use super::probe;
use super::vfs;
use crate::store::sqlite::batch::call_cache::LiveCalls;
use crate::store::sqlite::database::SqliteStore;
use crate::store::sqlite::error::Context as _;
use crate::store::sqlite::held::Writing;
use crate::store::sqlite::maintenance::backup::{backup, examine};
use crate::store::sqlite::search::SearchIndex;
use crate::store::{Copier, Error, ErrorKind, Result};
use crate::sys::files;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::error::Error as _;
use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The first SQLite without the WAL-reset bug, which could lose a committed transaction
/// (<https://www.sqlite.org/wal.html#walresetbug>).
const OLDEST_SQLITE: i32 = 3_051_003;

/// The writer's page cache, in KiB: room for the pages that running calls touch. More is slower, since pages that are
/// used once then take fresh memory instead of that of pages that are done with: 2 MB stored 14 % more turns a second at
/// 64 in flight than 8 MB, and as many at 500. What falls out is in the system's cache.
///
/// A transaction is in memory as a whole until it is committed (`cache_spill`), so that one that fails leaves nothing in the
/// WAL. What waits for the writer and how much is erased, restored and reconciled at once bound it.
const CACHE_KIB: u32 = 2000;

/// Maximum size of a migration that is in memory only, in pages (62.5 MiB): one may change a whole database.
///
/// SQLite reads the lowest eight bits as a truth value as well: a multiple of 256 would mean no limit.
const MIGRATION_PAGES: u32 = 16_000;

/// `PRAGMA synchronous`: each commit syncs the log.
const FULL: u8 = 2;

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
        let (path, attempt) = lock_path(options)?;
        match attempt {
            Attempt::Locked(lock) => Self::open_locked(&path, Some(lock), options, folds),
            Attempt::HeldBy(by) => Err(OpenError::InUse { path, by }),
        }
    }

    /// Opens the database for one change while its service may be running, or as [`Self::open`] when it is not.
    ///
    /// The service leaves room for others between its transactions, and sees what they committed.
    ///
    /// # Errors
    /// As [`Self::open`], but for [`OpenError::InUse`].
    pub fn open_beside_service(options: &Options) -> Result<Self, OpenError> {
        let (path, attempt) = lock_path(options)?;
        match attempt {
            Attempt::Locked(lock) => Self::open_locked(&path, Some(lock), options, true),
            Attempt::HeldBy(_) => Self::open_locked(&path, None, options, false),
        }
    }

    fn open_locked(path: &Path, mut lock: Option<Lock>, options: &Options, folds: bool) -> Result<Self, OpenError> {
        let database = |source| OpenError::Database { path: path.to_owned(), source };
        let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
        if let Some(lock) = &mut lock {
            if !path.exists() {
                make(path, options.busy_timeout)?;
            }
            let file = header::open(path)?;
            warn_of_readers(path, &file).map_err(unusable)?;
            if !lock.hold(file).map_err(unusable)? {
                return Err(OpenError::InUse { path: path.to_owned(), by: None });
            }
        }
        let owner = lock.is_some();
        let place = Arc::new(Place::default());
        let begun = begin(path, &place, options, lock.as_ref(), folds);
        let (writing, way) = match begun {
            Err(OpenError::Database { source, .. }) if owner && source.kind() == ErrorKind::Full => {
                tracing::error!(error = %source, "the disk is full: calls can be read, and turns are refused until there is room");
                (None, Way::Alone)
            }
            begun => (Some(begun?), Way::Beside(place.clone())),
        };
        let readers = Readers::open(path, options.readers, way).map_err(database)?;
        if writing.is_none() {
            readers.get().and_then(|reader| super::schema::expect_newest(&reader)).map_err(database)?;
        }
        let options = Options { path: path.to_owned(), ..options.clone() };
        Ok(Self {
            readers,
            reconciler: Mutex::new(None),
            writer: Mutex::new(writing),
            index_is_broken: AtomicBool::new(false),
            copier: copier(path, place.clone()),
            place,
            folds,
            options,
            lock,
        })
    }

    /// Opens the database for writing at last, if the disk has room for it now.
    pub(in crate::store::sqlite) fn begin_writing(&self) -> Result<Writing> {
        const DOING: &str = "opening the database for writing";
        let Options { path, readers, .. } = &self.options;
        let unready = |error: String| Error::new(ErrorKind::Unready, DOING, error);
        let free = checkpoint::sizes(path).map_err(|error| unready(error.to_string()))?.free;
        if free < ROOM {
            return Err(unready(format!("{free} bytes are free on its disk")));
        }
        self.readers.close();
        let begun = begin(path, &self.place, &self.options, self.lock.as_ref(), self.folds);
        let way = if begun.is_ok() { Way::Beside(self.place.clone()) } else { Way::Alone };
        self.readers.reopen(path, *readers, way)?;
        let writing = begun.map_err(|error| {
            unready(format!("{error}: {}", error.source().map_or(String::new(), ToString::to_string)))
        })?;
        tracing::info!("the disk has room again; turns are stored");
        Ok(writing)
    }
}

/// Free bytes on the disk below which it is not tried to open a database for writing that could not be before.
const ROOM: u64 = 1 << 20;

/// Opens the writing connection, and migrates and folds in what is left to.
fn begin(
    path: &Path,
    place: &Place,
    options: &Options,
    lock: Option<&Lock>,
    folds: bool,
) -> Result<Writing, OpenError> {
    let database = |source| OpenError::Database { path: path.to_owned(), source };
    let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
    let mut connection = connect(path, options.busy_timeout).map_err(database)?;
    let schema = check_contents(&connection, path)?;
    if lock.is_none() && schema != known_schema() {
        return Err(OpenError::Older { path: path.to_owned() });
    }
    if lock.is_some() {
        sync_leftover_log(path).map_err(unusable)?;
    }
    configure(&connection, folds).map_err(database)?;
    if lock.is_some() {
        migrate_in_little_memory(&mut connection, path)?;
        probe::set_numbers_back(&mut connection).map_err(database)?;
    }
    if folds {
        match checkpoint::fold_log_in(&connection, Of::Database, options.busy_timeout) {
            // What is in the log is on disk; it is folded in later.
            Err(error) if error.kind() == ErrorKind::Full => {}
            folded => drop(folded.map_err(database)?),
        }
    }
    let opened = place.note(path).map_err(unusable)?;
    if lock.is_some_and(|lock| !lock.holds(opened)) {
        return Err(unusable(io::Error::other("the file was replaced while it was being opened")));
    }
    Ok(Writing { index: SearchIndex::of(path, lock.is_some()), connection, live: LiveCalls::new() })
}

/// Finds the one path of a database, makes sure that no other one leads to its file, and tries to lock it.
pub(in crate::store::sqlite) fn lock_path(options: &Options) -> Result<(PathBuf, Attempt), OpenError> {
    let path = &options.path;
    let path = place::resolve(path).map_err(|source| OpenError::Unusable { path: path.clone(), source })?;
    match place::alias(&path) {
        Ok(None) => {}
        Ok(Some(alias)) => return Err(OpenError::Aliased { path, why: alias.to_string() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(OpenError::Unusable { path, source }),
    }
    match lock::try_lock(&path) {
        Ok(attempt) => Ok((path, attempt)),
        Err(source) => Err(OpenError::Lock { path: lock::path_beside(&path), source }),
    }
}

/// Copies the database as long as it is in its place.
fn copier(path: &Path, place: Arc<Place>) -> Copier {
    Copier::new(path, examine, move |path, aside, watch| {
        place.check()?;
        let report = backup(path, aside, watch)?;
        place.check()?;
        Ok(report)
    })
}

/// Tells the operator who left a database readable for others. The mode is the operator's choice.
fn warn_of_readers(path: &Path, file: &File) -> io::Result<()> {
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        let (database, mode) = (path.display(), format!("{mode:04o}"));
        tracing::warn!(%database, mode, "other users of this machine may read the database; `chmod 600` prevents it");
    }
    Ok(())
}

/// Makes a new database aside and gives it its name once it is whole and on disk: a power cut while its first page is
/// written could otherwise leave a file that is no database, which no later start would touch.
fn make(path: &Path, busy_timeout: Duration) -> Result<(), OpenError> {
    let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
    let database = |source| OpenError::Database { path: path.to_owned(), source };
    let beside = |ending: &str| files::beside(path, ending);
    // SQLite would take a log of that name for the new file's own, and write the old database's pages into it.
    for ending in ["-wal", "-journal"] {
        if header::not_empty(&beside(ending)).map_err(unusable)?.is_some() {
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
    // SQLite gives the files beside it the same mode and owner.
    let heir = place::heir(path).map_err(unusable)?;
    files::create(&aside).and_then(|file| files::give_to_owner_of(&file, &heir)).map_err(unusable)?;
    let mut connection = connect(&aside, busy_timeout).map_err(database)?;
    configure(&connection, true).map_err(database)?;
    migrate_in_little_memory(&mut connection, path)?;
    connection.close().map_err(|(_, error)| error).doing("closing the new file").map_err(database)?;
    File::open(&aside).and_then(|file| file.sync_all()).map_err(unusable)?;
    // The lock keeps everybody else from making one.
    std::fs::rename(&aside, path).and_then(|()| files::sync_folder_of(path)).map_err(unusable)
}

pub(in crate::store::sqlite) fn connect(path: &Path, busy_timeout: Duration) -> Result<Connection> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        let found = format!("SQLite {} can lose committed data; 3.51.3 is the oldest that cannot", rusqlite::version());
        return Err(Error::new(ErrorKind::Other, "checking SQLite's version", found));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags_and_vfs(path, flags, vfs::name()).doing("opening the file")?;
    connection.busy_timeout(busy_timeout).doing("setting the time to wait for locks")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Looks once more at what [`header::open`] has looked at, now with what the WAL holds, which the header may lag behind.
/// Returns the schema's version, 0 before the first migration.
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
    match header::not_empty(&files::beside(path, "-wal"))? {
        Some(log) => log.sync_all(),
        None => Ok(()),
    }
}

/// Runs the migrations with a limit on the pages that are only in memory.
fn migrate_in_little_memory(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    const DOING: &str = "setting how much of a transaction is in memory";
    let database = |source| OpenError::Database { path: path.to_owned(), source };
    connection.pragma_update(None, "cache_spill", MIGRATION_PAGES).doing(DOING).map_err(database)?;
    migrate(connection, path)?;
    connection.pragma_update(None, "cache_spill", false).doing(DOING).map_err(database)
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
             PRAGMA cache_spill = OFF; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF; PRAGMA mmap_size = 0; \
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
    let spill: u32 = connection.pragma_query_value(None, "cache_spill", |row| row.get(0)).doing(DOING)?;
    if mode != "wal" || in_force != synchronous || spill != 0 {
        let found = format!("journal_mode is {mode}, synchronous is {in_force}, cache_spill is {spill}");
        return Err(Error::new(ErrorKind::Other, DOING, found));
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
