//! Opening a database: locks, identity, settings of the writing connection, and migrations.
//!
//! Nothing is written to a file before it is known to be a database of this program with a supported schema. A new
//! database is created under another name and renamed when complete.

use super::checkpoint::{self, Checkpoints, WalOwner};
use super::header::{self, check_identity};
use super::lock::{self, Attempt, Lock};
use super::migrations::{known_schema, migrate};
use super::open_error::OpenError;
use super::options::Options;
use super::place::{self, OpenFiles};
use super::pool::{AccessMode, Readers};
use super::probe;
use super::vfs;
use crate::store::sqlite::batch::call_cache::CallCache;
use crate::store::sqlite::database::SqliteStore;
use crate::store::sqlite::error::Context as _;
use crate::store::sqlite::held::WriterState;
use crate::store::sqlite::maintenance::backup::{backup, examine};
use crate::store::sqlite::search::SearchIndex;
use crate::store::{BackupSource, Error, ErrorKind, Result};
use crate::sys::files;
use crate::sys::paths::{sync_parent_dir, with_suffix};
use parking_lot::Mutex;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::error::Error as _;
use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// The first SQLite version without the WAL-reset bug, which could lose a committed transaction
/// (<https://www.sqlite.org/wal.html#walresetbug>).
const OLDEST_SQLITE: i32 = 3_051_003;

/// Size of the writer's page cache, in KiB: enough for the pages of running calls. A larger cache is slower, because
/// pages that are used once then take fresh memory instead of reusing that of old pages. Evicted pages are still in the
/// operating system's cache.
///
/// A transaction stays in memory until its commit (`cache_spill`), so a failed one leaves nothing in the WAL. Its size
/// is bounded by the limits of the writer's queue and of the slices for erasure, restore and reconciliation.
const PAGE_CACHE_KIB: u32 = 2000;

/// Maximum size of a migration in memory, in pages (62.5 MiB). A migration may change a whole database.
///
/// SQLite also reads the lowest eight bits as a boolean, so a multiple of 256 would mean "no limit".
const MAX_MIGRATION_PAGES: u32 = 16_000;

/// Value of `PRAGMA synchronous` that syncs the WAL on each commit.
const SYNCHRONOUS_FULL: u8 = 2;

impl SqliteStore {
    /// Opens the database as its only service. Creates or migrates it if necessary, and checkpoints the WAL of a
    /// crashed process.
    ///
    /// # Errors
    /// See [`OpenError`]. A file that is not ours, or is newer, stays unchanged.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        Self::open_as_owner(options, Checkpoints::Own)
    }

    /// Opens the database as [`Self::open`] does, but leaves checkpoints to Litestream, which copies the WAL first.
    ///
    /// # Errors
    /// Like [`Self::open`].
    pub fn open_for_litestream(options: &Options) -> Result<Self, OpenError> {
        Self::open_as_owner(options, Checkpoints::Foreign)
    }

    fn open_as_owner(options: &Options, checkpoints: Checkpoints) -> Result<Self, OpenError> {
        let (path, attempt) = lock_path(options)?;
        match attempt {
            Attempt::Locked(lock) => Self::open_locked(&path, Some(lock), options, checkpoints),
            Attempt::HeldBy(by) => Err(OpenError::InUse { path, by }),
        }
    }

    /// Opens the database for one change. Works while its service is running; otherwise it is like [`Self::open`].
    ///
    /// The service lets others write between its transactions and notices what they committed.
    ///
    /// # Errors
    /// Like [`Self::open`], but never [`OpenError::InUse`].
    pub fn open_for_command(options: &Options) -> Result<Self, OpenError> {
        let (path, attempt) = lock_path(options)?;
        match attempt {
            Attempt::Locked(lock) => Self::open_locked(&path, Some(lock), options, Checkpoints::Own),
            Attempt::HeldBy(_) => Self::open_locked(&path, None, options, Checkpoints::Foreign),
        }
    }

    fn open_locked(
        path: &Path,
        mut lock: Option<Lock>,
        options: &Options,
        checkpoints: Checkpoints,
    ) -> Result<Self, OpenError> {
        let database = |source| OpenError::Database { path: path.to_owned(), source };
        let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
        if let Some(lock) = &mut lock {
            if !path.exists() {
                create_database(path, options.busy_timeout)?;
            }
            let file = header::open(path)?;
            warn_of_readers(path, &file).map_err(unusable)?;
            if !lock.hold(file).map_err(unusable)? {
                return Err(OpenError::InUse { path: path.to_owned(), by: None });
            }
        }
        let owner = lock.is_some();
        let place = Arc::new(OpenFiles::default());
        let begun = begin(path, &place, options, lock.as_ref(), checkpoints);
        let (writing, way) = match begun {
            Err(OpenError::Database { source, .. }) if owner && source.kind() == ErrorKind::Full => {
                tracing::error!(error = %source, "disk is full; calls can be read, turns are refused");
                (None, AccessMode::Alone)
            }
            begun => (Some(begun?), AccessMode::Beside(place.clone())),
        };
        let readers = Readers::open(path, options.readers, way).map_err(database)?;
        if writing.is_none() {
            readers.get().and_then(|reader| super::schema::expect_newest(&reader)).map_err(database)?;
        }
        let options = Options { path: path.to_owned(), ..options.clone() };
        Ok(Self {
            readers,
            reconciler: Mutex::new(None),
            caller: Mutex::new(None),
            writer: Mutex::new(writing),
            index_is_broken: AtomicBool::new(false),
            copier: copier(path, place.clone()),
            place,
            checkpoints,
            options,
            lock,
        })
    }

    /// Opens the database for writing, if the disk has space for it now.
    pub(in crate::store::sqlite) fn begin_writing(&self) -> Result<WriterState> {
        const CONTEXT: &str = "opening the database for writing";
        let Options { path, readers, .. } = &self.options;
        let unready = |error: String| Error::new(ErrorKind::Unready, CONTEXT, error);
        let free = checkpoint::sizes(path).map_err(|error| unready(error.to_string()))?.free;
        if free < MIN_FREE_BYTES {
            return Err(unready(format!("the disk has only {free} bytes free")));
        }
        self.readers.close();
        let begun = begin(path, &self.place, &self.options, self.lock.as_ref(), self.checkpoints);
        let way = if begun.is_ok() { AccessMode::Beside(self.place.clone()) } else { AccessMode::Alone };
        self.readers.reopen(path, *readers, way)?;
        let writing = begun.map_err(|error| {
            unready(format!("{error}: {}", error.source().map_or(String::new(), ToString::to_string)))
        })?;
        tracing::info!("disk has space again; storing turns");
        Ok(writing)
    }
}

/// Minimum free space to retry opening a database for writing, in bytes.
const MIN_FREE_BYTES: u64 = 1 << 20;

/// Opens the writing connection, migrates the database and checkpoints its WAL.
fn begin(
    path: &Path,
    place: &OpenFiles,
    options: &Options,
    lock: Option<&Lock>,
    checkpoints: Checkpoints,
) -> Result<WriterState, OpenError> {
    let database = |source| OpenError::Database { path: path.to_owned(), source };
    let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
    let mut connection = connect(path, options.busy_timeout).map_err(database)?;
    let schema = check_contents(&connection, path)?;
    if lock.is_none() && schema != known_schema() {
        return Err(OpenError::SchemaTooOld { path: path.to_owned() });
    }
    if lock.is_some() {
        sync_leftover_wal(path).map_err(unusable)?;
    }
    configure(&connection, checkpoints).map_err(database)?;
    if lock.is_some() {
        migrate_in_little_memory(&mut connection, path)?;
        probe::set_numbers_back(&mut connection).map_err(database)?;
    }
    if checkpoints == Checkpoints::Own {
        match checkpoint::checkpoint_truncate(&connection, WalOwner::Database, options.busy_timeout) {
            // The WAL's content is on disk; a later checkpoint moves it.
            Err(error) if error.kind() == ErrorKind::Full => {}
            folded => drop(folded.map_err(database)?),
        }
    }
    let opened = place.note(path).map_err(unusable)?;
    if lock.is_some_and(|lock| !lock.holds(opened)) {
        return Err(unusable(io::Error::other("the file was replaced while it was opened")));
    }
    let index = if lock.is_some() { SearchIndex::of_service(path) } else { SearchIndex::beside_service(path) };
    Ok(WriterState { index, connection, live: CallCache::new() })
}

/// Resolves the path of a database, checks that no other path leads to the file, and tries to lock it.
pub(in crate::store::sqlite) fn lock_path(options: &Options) -> Result<(PathBuf, Attempt), OpenError> {
    let path = &options.path;
    let path = place::canonical_path(path).map_err(|source| OpenError::Unusable { path: path.clone(), source })?;
    match place::alias(&path) {
        Ok(None) => {}
        Ok(Some(alias)) => return Err(OpenError::Aliased { path, why: alias.to_string() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(OpenError::Unusable { path, source }),
    }
    match lock::try_lock(&path) {
        Ok(attempt) => Ok((path, attempt)),
        Err(source) => Err(OpenError::Lock { path: lock::lock_path(&path), source }),
    }
}

/// Creates the backup source, which copies the database only while it is at its path.
fn copier(path: &Path, place: Arc<OpenFiles>) -> BackupSource {
    BackupSource::new(path, examine, move |path, partial, watch| {
        place.check()?;
        let report = backup(path, partial, watch)?;
        place.check()?;
        Ok(report)
    })
}

/// Warns if other users may read the database. The file mode is the operator's choice.
fn warn_of_readers(path: &Path, file: &File) -> io::Result<()> {
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        let (database, mode) = (path.display(), format!("{mode:04o}"));
        tracing::warn!(%database, mode, "other users of this machine can read the database; run `chmod 600` on it");
    }
    Ok(())
}

/// Creates a new database under another name and renames it when it is complete and on disk. A power cut while the
/// first page is written could otherwise leave a broken file that no later start would touch.
fn create_database(path: &Path, busy_timeout: Duration) -> Result<(), OpenError> {
    let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
    let database = |source| OpenError::Database { path: path.to_owned(), source };
    let beside = |ending: &str| with_suffix(path, ending);
    // SQLite would take such a WAL for the new file's own and write the old database's pages into it.
    for ending in ["-wal", "-journal"] {
        if header::not_empty(&beside(ending)).map_err(unusable)?.is_some() {
            return Err(OpenError::OrphanedWal { file: beside(ending) });
        }
    }
    let aside = beside(".new");
    // Remove the files of an interrupted attempt.
    for ending in [".new", ".new-wal", ".new-shm", ".new-journal"] {
        match std::fs::remove_file(beside(ending)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable(error)),
            _ => {}
        }
    }
    // SQLite gives the files beside a database its mode and owner.
    let heir = place::owner_metadata(path).map_err(unusable)?;
    files::create(&aside).and_then(|file| files::give_to_owner_of(&file, &heir)).map_err(unusable)?;
    let mut connection = connect(&aside, busy_timeout).map_err(database)?;
    configure(&connection, Checkpoints::Own).map_err(database)?;
    migrate_in_little_memory(&mut connection, path)?;
    connection.close().map_err(|(_, error)| error).context("closing the new file").map_err(database)?;
    File::open(&aside).and_then(|file| file.sync_all()).map_err(unusable)?;
    // The lock prevents another process from creating the database meanwhile.
    std::fs::rename(&aside, path).and_then(|()| sync_parent_dir(path)).map_err(unusable)
}

pub(in crate::store::sqlite) fn connect(path: &Path, busy_timeout: Duration) -> Result<Connection> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        let found = format!("SQLite {} can lose committed data; 3.51.3 is the oldest that cannot", rusqlite::version());
        return Err(Error::new(ErrorKind::Other, "checking SQLite's version", found));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags_and_vfs(path, flags, vfs::name()).context("opening the file")?;
    connection.busy_timeout(busy_timeout).context("setting the lock timeout")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Repeats the checks of [`header::open`] through SQLite, because the WAL may be newer than the header in the file.
/// Returns the schema version, which is 0 before the first migration.
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
        .context("checking the file's identity")
        .map_err(|source| OpenError::Database { path: path.to_owned(), source })?;
    if application_id == 0 && has_tables {
        return Err(OpenError::NotOurs { path: path.to_owned(), what: "another program's database" });
    }
    check_identity(path, application_id, user_version).map(|()| user_version)
}

/// Syncs the WAL of a crashed process, which may not have done so, before its turns count as stored. A repeated
/// delivery of such a turn will be acknowledged without being written again.
fn sync_leftover_wal(path: &Path) -> io::Result<()> {
    match header::not_empty(&with_suffix(path, "-wal"))? {
        Some(wal) => wal.sync_all(),
        None => Ok(()),
    }
}

/// Runs the migrations with a limit on the pages in memory.
fn migrate_in_little_memory(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    const CONTEXT: &str = "limiting the memory of a migration";
    let database = |source| OpenError::Database { path: path.to_owned(), source };
    connection.pragma_update(None, "cache_spill", MAX_MIGRATION_PAGES).context(CONTEXT).map_err(database)?;
    migrate(connection, path)?;
    connection.pragma_update(None, "cache_spill", false).context(CONTEXT).map_err(database)
}

/// Configures the writing connection, and reads back the settings that the promises depend on.
fn configure(connection: &Connection, checkpoints: Checkpoints) -> Result<()> {
    const CONTEXT: &str = "configuring the writing connection";
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).context(CONTEXT)?;
    let synchronous = wanted_synchronous();
    connection
        .execute_batch(&format!(
            "PRAGMA synchronous = {synchronous}; PRAGMA foreign_keys = ON; PRAGMA cache_size = -{PAGE_CACHE_KIB}; \
             PRAGMA cache_spill = OFF; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF; PRAGMA mmap_size = 0; \
             PRAGMA journal_size_limit = 67108864; PRAGMA secure_delete = ON;"
        ))
        .context(CONTEXT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).context(CONTEXT)?;
    // At most one connection runs checkpoints at any time.
    connection.pragma_update(None, "wal_autocheckpoint", 0).context(CONTEXT)?;
    if checkpoints == Checkpoints::Own {
        checkpoint::checkpoint_on_growth(connection, WalOwner::Database);
    }
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, checkpoints == Checkpoints::Foreign)
        .context(CONTEXT)?;
    let in_force: u8 = connection.pragma_query_value(None, "synchronous", |row| row.get(0)).context(CONTEXT)?;
    let spill: u32 = connection.pragma_query_value(None, "cache_spill", |row| row.get(0)).context(CONTEXT)?;
    if mode != "wal" || in_force != synchronous || spill != 0 {
        let found = format!("journal_mode is {mode}, synchronous is {in_force}, cache_spill is {spill}");
        return Err(Error::new(ErrorKind::Other, CONTEXT, found));
    }
    Ok(())
}

/// Returns the `PRAGMA synchronous` value to set, which is [`SYNCHRONOUS_FULL`].
///
/// A debug build can be told to sync at checkpoints only (`NORMAL`), so that the power-cut test can show that it
/// detects lost commits. A release build cannot.
fn wanted_synchronous() -> u8 {
    const NORMAL: u8 = 1;
    let weakened = cfg!(debug_assertions) && std::env::var_os("TRANSCRIBE_HOOK_TEST_SYNCHRONOUS_NORMAL").is_some();
    if weakened { NORMAL } else { SYNCHRONOUS_FULL }
}
