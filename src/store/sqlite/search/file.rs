//! The file of the search index beside the database, `<database>.search`.
//!
//! The file contains only data that is derived from the database, so it is never repaired. An index that is missing,
//! damaged or does not belong to the database is deleted and rebuilt in slices. The database stores the random name of
//! its index, which changes with each new file, and the changes that the index does not know yet (`search_changes`,
//! filled by triggers whoever writes). Both files also store how far they have counted, which reveals an index of an
//! older state of the file.
//!
//! - The index is committed and on disk before the database deletes the changes that it processed. A process killed in
//!   between processes them again, which has no effect.
//! - No failure here prevents a turn from being stored.

use super::super::error::Context as _;
use super::state::{IndexState, LAST_CHANGE};
use super::{indexer, purge};
use crate::store::sqlite::connection::checkpoint::{self, WalOwner};
use crate::store::sqlite::connection::vfs;
use crate::store::{Backlog, Error, ErrorKind, Forgotten, Result};
use crate::sys::paths::with_suffix;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const CONTEXT: &str = "opening the search index";

/// Value of `PRAGMA application_id` in the index's header.
const APPLICATION_ID: u32 = u32::from_be_bytes(*b"TRHS");

/// Format version of the index, stored as `PRAGMA user_version`. An index with another format is rebuilt.
const FORMAT_VERSION: u32 = 2;

/// Tables of the index. All names begin with `turn_search`, which no name in the database does.
const SCHEMA: &str = "
    PRAGMA application_id = 1414678611; -- 'TRHS'
    PRAGMA user_version = 2;
    CREATE VIRTUAL TABLE turn_search USING fts5 (
        final_text, message_text, tokenize = \"unicode61 remove_diacritics 2 categories 'L* N* Co M*'\"
    );
    -- Segments are merged by the service, some pages at a time.
    INSERT INTO turn_search (turn_search, rank) VALUES ('automerge', 0);
    -- All words in the index, in order.
    CREATE VIRTUAL TABLE turn_search_words USING fts5vocab (turn_search, instance);
    CREATE TABLE turn_search_state (
        only            INTEGER PRIMARY KEY CHECK (only = 1), -- the table has one row
        index_id        TEXT NOT NULL, -- search_index.index_id of the database to which the index belongs
        after_id        INTEGER NOT NULL CHECK (after_id >= 0), -- the index holds the turns behind this one
        to_id           INTEGER NOT NULL CHECK (to_id >= after_id), -- up to this one
        to_created_at   TEXT, -- created_at of the turn to_id
        changes_to      INTEGER NOT NULL, -- search_changes.id of the last change that the index has taken in
        owes_rewrite    INTEGER NOT NULL DEFAULT 0, -- 1: words were erased since the last rewrite of all segments began
        rewritten_level INTEGER -- while all segments are rewritten: the level on which FTS5 merges them
    ) STRICT;
    -- When the turns in the index were said and when their calls began, of 1,024 neighbours at a time.
    CREATE TABLE turn_search_spans (
        block        INTEGER PRIMARY KEY, -- call_transcriptions.id >> 10
        said_from    TEXT NOT NULL, -- no turn of these that is in the index was said before
        said_to      TEXT NOT NULL, -- or after
        started_from TEXT NOT NULL, -- none of their calls began before
        started_to   TEXT NOT NULL -- or after
    ) STRICT;
";

/// Suffixes of the index and of SQLite's files beside it.
const SUFFIXES: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// Maximum time that one call of [`SearchIndex::purge`] spends on changes, because new turns wait meanwhile.
const PURGE_TIMEOUT: Duration = Duration::from_millis(50);

/// Returns the path of the index of a database.
pub(super) fn index_path(database: &Path) -> PathBuf {
    with_suffix(database, ".search")
}

/// The index as the writer sees it. It is opened on first use.
pub(in super::super) struct SearchIndex {
    database: PathBuf,
    path: PathBuf,
    /// True if this process is the database's service. Only the service rebuilds the index and checkpoints its WAL.
    is_owner: bool,
    open: Option<OpenIndex>,
}

struct OpenIndex {
    connection: Connection,
    /// Device and inode of the file, to detect a replaced file.
    file: (u64, u64),
}

impl SearchIndex {
    /// Creates the index of a database that this process serves.
    pub(in super::super) fn of_service(database: &Path) -> Self {
        Self::new(database, true)
    }

    /// Creates the index of a database that another process serves.
    pub(in super::super) fn beside_service(database: &Path) -> Self {
        Self::new(database, false)
    }

    fn new(database: &Path, is_owner: bool) -> Self {
        Self { database: database.to_owned(), path: index_path(database), is_owner, open: None }
    }

    /// Indexes a slice of changes and turns, and purges a slice of erased words. Returns the remaining work. `database`
    /// is the connection that writes the database.
    pub(in super::super) fn catch_up(&mut self, database: &Connection) -> Result<Backlog> {
        if !self.open_or_make(database)? {
            return Ok(Backlog::default());
        }
        let slice = self.open.as_mut().map(|open| indexer::catch_up(&mut open.connection));
        let Some(slice) = slice.transpose().inspect_err(|error| self.discard_if_unusable(error))? else {
            return Ok(Backlog::default());
        };
        indexer::delete_changes(database, slice.state)?;
        Ok(slice.left)
    }

    /// Purges words from the index's bytes that the database no longer contains, and returns whether all are gone.
    /// Waits for readers for at most `wait`.
    ///
    /// If the index cannot purge them, for example on a full disk, its file is deleted.
    pub(in super::super) fn purge(&mut self, database: &Connection, wait: Duration) -> Result<Forgotten> {
        match self.purge_changes(database, wait) {
            Err(error) if error.kind() != ErrorKind::Busy && self.is_owner => {
                tracing::warn!(%error, "search index could not be purged of erased words; rebuilding it");
                self.open = None;
                self.remove().map(|()| Forgotten::All)
            }
            // The service rebuilds it.
            Err(error) if is_unusable(&error) => {
                self.open = None;
                Ok(Forgotten::Held)
            }
            purged => purged,
        }
    }

    fn purge_changes(&mut self, database: &Connection, wait: Duration) -> Result<Forgotten> {
        self.open_existing()?;
        let Some(OpenIndex { connection, .. }) = &mut self.open else {
            // An index that does not belong to the database may contain erased words.
            return if self.is_owner { self.remove().map(|()| Forgotten::All) } else { Ok(Forgotten::All) };
        };
        let end = Instant::now() + PURGE_TIMEOUT;
        loop {
            let Some(state) = indexer::take_changes_in(connection)? else { break };
            indexer::delete_changes(database, state)?;
            if Instant::now() > end {
                return Ok(Forgotten::Held);
            }
        }
        if purge::is_owed(connection)? {
            return Ok(Forgotten::ButIndex);
        }
        let done = checkpoint::purge_erased(connection, WalOwner::SearchIndex, wait, Duration::ZERO)?;
        Ok(if done { Forgotten::All } else { Forgotten::Held })
    }

    /// Checkpoints the index's WAL and frees memory. Returns whether it could.
    pub(in super::super) fn idle(&self) -> Result<bool> {
        match &self.open {
            Some(OpenIndex { connection, .. }) if self.is_owner => {
                connection.execute_batch("PRAGMA shrink_memory").context("resting")?;
                checkpoint::checkpoint_truncate(connection, WalOwner::SearchIndex, Duration::ZERO)
            }
            _ => Ok(true),
        }
    }

    /// Deletes the index, which is rebuilt later.
    pub(in super::super) fn discard(&mut self) {
        self.open = None;
        if let Err(error) = self.remove() {
            tracing::warn!(%error, "could not delete the search index");
        }
    }

    fn discard_if_unusable(&mut self, error: &Error) {
        if is_unusable(error) {
            self.open = None;
            if self.is_owner {
                tracing::warn!(%error, "search index is unusable; rebuilding it");
                self.discard();
            }
        }
    }

    /// Opens the index or creates a new one. Returns whether there is one.
    fn open_or_make(&mut self, database: &Connection) -> Result<bool> {
        self.open_existing()?;
        if self.open.is_none() && self.is_owner {
            self.remove()?;
            self.open = Some(self.make(database)?);
        }
        Ok(self.open.is_some())
    }

    /// Opens an existing index if it belongs to the database. Closes an index whose file is gone.
    fn open_existing(&mut self) -> Result<()> {
        let there = identity(&self.path).map_err(file_error)?;
        if self.open.as_ref().is_some_and(|open| Some(open.file) == there) {
            return Ok(());
        }
        self.open = None;
        if there.is_some() {
            match self.existing() {
                Ok(opened) => self.open = opened,
                Err(error) if matches!(error.kind(), ErrorKind::Busy | ErrorKind::Full) => return Err(error),
                // Any failure is harmless, because the index can be rebuilt.
                Err(error) => tracing::warn!(%error, "could not open the search index"),
            }
        }
        Ok(())
    }

    /// Opens the existing index if it belongs to the database.
    fn existing(&self) -> Result<Option<OpenIndex>> {
        let connection = self.connect()?;
        if !has_form(&connection, "main")? {
            return Ok(None);
        }
        // The index must not contain a table that could hide one of the database.
        let foreign: bool = connection
            .query_row(
                "SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE name NOT GLOB 'turn_search*' \
                 AND name NOT GLOB 'sqlite_autoindex_turn_search*')",
                [],
                |row| row.get(0),
            )
            .context(CONTEXT)?;
        if foreign {
            return Ok(None);
        }
        self.attach_database(&connection)?;
        match IndexState::in_step(&connection)? {
            Some(_) => self.opened(connection).map(Some),
            None => Ok(None),
        }
    }

    /// Creates an empty index with a new name that begins after all stored turns.
    fn make(&self, database: &Connection) -> Result<OpenIndex> {
        let of_database = fs::metadata(&self.database).map_err(file_error)?;
        let mode = of_database.mode() & 0o666;
        let file = File::options().write(true).create_new(true).mode(0o600).open(&self.path).map_err(file_error)?;
        // The file gets the database's mode, whoever runs this command.
        file.set_permissions(Permissions::from_mode(mode)).map_err(file_error)?;
        if file.metadata().map_err(file_error)?.uid() != of_database.uid() {
            std::os::unix::fs::fchown(&file, Some(of_database.uid()), Some(of_database.gid())).map_err(file_error)?;
        }
        drop(file);
        database
            .execute("REPLACE INTO search_index (only, index_id) VALUES (1, lower(hex(randomblob(16))))", [])
            .context("naming the search index")?;
        let connection = self.connect()?;
        self.attach_database(&connection)?;
        connection
            .execute_batch(&format!(
                "BEGIN; {SCHEMA} \
                 INSERT INTO turn_search_state (only, index_id, after_id, to_id, to_created_at, changes_to) \
                 SELECT 1, index_id, ifnull(t.id, 0), ifnull(t.id, 0), t.created_at, \
                    {LAST_CHANGE} \
                 FROM search_index LEFT JOIN (SELECT id, created_at FROM call_transcriptions ORDER BY id DESC LIMIT 1) \
                 t; COMMIT;"
            ))
            .context("creating the search index")?;
        self.opened(connection)
    }

    fn opened(&self, connection: Connection) -> Result<OpenIndex> {
        if self.is_owner {
            checkpoint::checkpoint_on_growth(&connection, WalOwner::SearchIndex);
        }
        let file = identity(&self.path).map_err(file_error)?;
        let file = file.ok_or_else(|| file_error(io::Error::from(io::ErrorKind::NotFound)))?;
        Ok(OpenIndex { connection, file })
    }

    fn connect(&self) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW
            | OpenFlags::SQLITE_OPEN_URI;
        let connection =
            Connection::open_with_flags_and_vfs(uri(&self.path, "rw"), flags, vfs::name()).context(CONTEXT)?;
        // Does not wait for the lock, because new turns would wait as well.
        connection.busy_timeout(Duration::ZERO).context(CONTEXT)?;
        connection.set_prepared_statement_cache_capacity(32);
        // A commit must be on disk before the database deletes the changes that it contains, hence `synchronous =
        // FULL`.
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -1000; \
                 PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF; PRAGMA mmap_size = 0; \
                 PRAGMA journal_size_limit = 67108864; PRAGMA secure_delete = ON; PRAGMA wal_autocheckpoint = 0;",
            )
            .context(CONTEXT)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).context(CONTEXT)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !self.is_owner).context(CONTEXT)?;
        Ok(connection)
    }

    /// Attaches the database for reading. A transaction that begins with the index's lock takes no lock on the
    /// database.
    fn attach_database(&self, connection: &Connection) -> Result<()> {
        connection.execute("ATTACH ?1 AS database", [uri(&self.database, "ro")]).context(CONTEXT)?;
        connection.execute_batch("PRAGMA database.cache_size = -200").context(CONTEXT)
    }

    fn remove(&self) -> Result<()> {
        for ending in SUFFIXES {
            match fs::remove_file(with_suffix(&self.path, ending)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(file_error(error)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Returns whether an attached file is an index of this format.
pub(super) fn has_form(connection: &Connection, file: &str) -> Result<bool> {
    let number = |name| connection.pragma_query_value(Some(file), name, |row| row.get::<_, u32>(0)).context(CONTEXT);
    Ok((number("application_id")?, number("user_version")?) == (APPLICATION_ID, FORMAT_VERSION))
}

/// Returns whether SQLite considers a file damaged.
pub(super) fn is_broken(error: &Error) -> bool {
    matches!(code(error), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Returns whether the index is damaged or lacks a table or column.
fn is_unusable(error: &Error) -> bool {
    is_broken(error) || code(error) == Some(ErrorCode::Unknown)
}

fn code(error: &Error) -> Option<ErrorCode> {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<rusqlite::Error>());
    source.and_then(rusqlite::Error::sqlite_error_code)
}

fn file_error(error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull => ErrorKind::Full,
        _ => ErrorKind::Other,
    };
    Error::new(kind, CONTEXT, error)
}

/// Returns device and inode of the file at this path, if there is one. Does not follow links.
fn identity(path: &Path) -> io::Result<Option<(u64, u64)>> {
    match fs::symlink_metadata(path) {
        Ok(file) => Ok(Some((file.dev(), file.ino()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns a path as a URI that says how SQLite opens the file (<https://www.sqlite.org/uri.html>).
pub(super) fn uri(path: &Path, mode: &str) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt as _;
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            write!(uri, "%{byte:02X}").expect("a String takes all");
        }
    }
    uri.push_str("?mode=");
    uri.push_str(mode);
    uri
}
