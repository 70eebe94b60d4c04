//! The search index's own file beside the database, `<database>.search`.
//!
//! All that it holds is derived from the database, so it is never repaired: one that is missing, broken, or does not belong
//! to the database is deleted, and made anew in slices as turns are indexed. The database holds the random name of the index
//! that belongs to it, which changes with each new file, and what that index does not know yet (`search_changes`).
//!
//! - The index is committed and on disk before the database forgets the changes that it took in. A process that is killed
//!   between the two takes them in once more, which changes nothing: the index has a copy of the words that it indexed, and
//!   needs nothing but a turn's number to forget it.
//! - Nothing that goes wrong here keeps a turn from being stored.

use super::super::checkpoint::{self, Of};
use super::super::error::Context as _;
use super::super::page_scrub_vfs;
use super::state::{LAST_CHANGE, State};
use super::{index, purge};
use crate::store::{Backlog, Error, ErrorKind, Forgotten, Result};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const DOING: &str = "opening the search index";

/// In the index's header: `PRAGMA application_id`.
const APPLICATION_ID: u32 = u32::from_be_bytes(*b"TRHS");

/// The form of the index: `PRAGMA user_version`. An index of another form is made anew.
const FORM: u32 = 2;

/// The tables of the index. All names begin with `turn_search`, as none does in the database.
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

/// Endings of the index's file and of what SQLite makes beside it.
const ENDINGS: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// How long one call of [`SearchIndex::forget`] takes in changes, since new turns wait meanwhile.
const FORGETTING: Duration = Duration::from_millis(50);

/// The index's file beside a database.
pub(super) fn path_beside(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".search");
    name.into()
}

/// The index as it is written. It is opened when it is first needed.
pub(in super::super) struct SearchIndex {
    database: PathBuf,
    path: PathBuf,
    /// Whether this process is the database's one service, which alone makes an index anew and moves its WAL.
    is_owner: bool,
    open: Option<Open>,
}

struct Open {
    connection: Connection,
    /// Device and inode, by which it is noticed that the file was replaced.
    file: (u64, u64),
}

impl SearchIndex {
    pub(in super::super) fn of(database: &Path, is_owner: bool) -> Self {
        Self { database: database.to_owned(), path: path_beside(database), is_owner, open: None }
    }

    /// Indexes some turns by the changes that `database` holds and the turns that it has stored, and returns at most how many
    /// of both are left, and whether erased words are. `database` is the connection that writes the database.
    pub(in super::super) fn catch_up(&mut self, database: &Connection) -> Result<Backlog> {
        if !self.open_or_make(database)? {
            return Ok(Backlog::default());
        }
        let slice = self.open.as_mut().map(|open| index::catch_up(&mut open.connection));
        let Some(slice) = slice.transpose().inspect_err(|error| self.discard_if_unusable(error))? else {
            return Ok(Backlog::default());
        };
        index::delete_changes(database, slice.state)?;
        Ok(slice.left)
    }

    /// Takes the words that the database does not hold any more out of the index's WAL, and returns whether all are gone from
    /// the index's bytes. Waits for readers at most for so long.
    ///
    /// Where the index cannot forget them, as on a full disk, its file is deleted.
    pub(in super::super) fn forget(&mut self, database: &Connection, wait: Duration) -> Result<Forgotten> {
        match self.forget_changes(database, wait) {
            Err(error) if error.kind() != ErrorKind::Busy && self.is_owner => {
                tracing::warn!(%error, "the search index cannot forget what was erased, and is made anew");
                self.open = None;
                self.remove().map(|()| Forgotten::All)
            }
            // The service makes it anew.
            Err(error) if is_unusable(&error) => {
                self.open = None;
                Ok(Forgotten::Held)
            }
            forgotten => forgotten,
        }
    }

    fn forget_changes(&mut self, database: &Connection, wait: Duration) -> Result<Forgotten> {
        self.open_existing()?;
        let Some(Open { connection, .. }) = &mut self.open else {
            // One that does not belong to the database may hold what was erased from it.
            return if self.is_owner { self.remove().map(|()| Forgotten::All) } else { Ok(Forgotten::All) };
        };
        let end = Instant::now() + FORGETTING;
        loop {
            let Some(state) = index::take_changes_in(connection)? else { break };
            index::delete_changes(database, state)?;
            if Instant::now() > end {
                return Ok(Forgotten::Held);
            }
        }
        if purge::is_owed(connection)? {
            return Ok(Forgotten::ButIndex);
        }
        let done = checkpoint::forget(connection, Of::SearchIndex, wait, Duration::ZERO)?;
        Ok(if done { Forgotten::All } else { Forgotten::Held })
    }

    /// Moves the index's WAL into its file and gives memory back, and returns whether it could.
    pub(in super::super) fn rest(&self) -> Result<bool> {
        match &self.open {
            Some(Open { connection, .. }) if self.is_owner => {
                connection.execute_batch("PRAGMA shrink_memory").doing("resting")?;
                checkpoint::fold_log_in(connection, Of::SearchIndex, Duration::ZERO)
            }
            _ => Ok(true),
        }
    }

    /// Closes the index, which is then made anew.
    pub(in super::super) fn discard(&mut self) {
        self.open = None;
        if let Err(error) = self.remove() {
            tracing::warn!(%error, "the search index could not be deleted");
        }
    }

    fn discard_if_unusable(&mut self, error: &Error) {
        if is_unusable(error) {
            self.open = None;
            if self.is_owner {
                tracing::warn!(%error, "the search index cannot be used, and is made anew");
                self.discard();
            }
        }
    }

    /// Opens the index, or makes it anew; returns whether there is one.
    fn open_or_make(&mut self, database: &Connection) -> Result<bool> {
        self.open_existing()?;
        if self.open.is_none() && self.is_owner {
            self.remove()?;
            self.open = Some(self.make(database)?);
        }
        Ok(self.open.is_some())
    }

    /// Opens the index that is there, if it belongs to the database, and closes one that is there no more.
    fn open_existing(&mut self) -> Result<()> {
        let there = identity(&self.path).map_err(of_file)?;
        if self.open.as_ref().is_some_and(|open| Some(open.file) == there) {
            return Ok(());
        }
        self.open = None;
        if there.is_some() {
            match self.existing() {
                Ok(opened) => self.open = opened,
                Err(error) if matches!(error.kind(), ErrorKind::Busy | ErrorKind::Full) => return Err(error),
                // Whatever is wrong with it, another one can be made.
                Err(error) => tracing::warn!(%error, "the search index cannot be opened"),
            }
        }
        Ok(())
    }

    /// Opens the index that is there, if it belongs to the database.
    fn existing(&self) -> Result<Option<Open>> {
        let connection = self.connect()?;
        if !has_form(&connection, "main")? {
            return Ok(None);
        }
        // Nothing of it must stand for a table of the database.
        let foreign: bool = connection
            .query_row(
                "SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE name NOT GLOB 'turn_search*' \
                 AND name NOT GLOB 'sqlite_autoindex_turn_search*')",
                [],
                |row| row.get(0),
            )
            .doing(DOING)?;
        if foreign {
            return Ok(None);
        }
        self.attach_database(&connection)?;
        match State::in_step(&connection)? {
            Some(_) => self.opened(connection).map(Some),
            None => Ok(None),
        }
    }

    /// Makes an empty index, under a new name, behind all turns that are stored.
    fn make(&self, database: &Connection) -> Result<Open> {
        let of_database = fs::metadata(&self.database).map_err(of_file)?;
        let mode = of_database.mode() & 0o666;
        let file = File::options().write(true).create_new(true).mode(0o600).open(&self.path).map_err(of_file)?;
        // As readable as the database is, whoever runs this command.
        file.set_permissions(Permissions::from_mode(mode)).map_err(of_file)?;
        if file.metadata().map_err(of_file)?.uid() != of_database.uid() {
            std::os::unix::fs::fchown(&file, Some(of_database.uid()), Some(of_database.gid())).map_err(of_file)?;
        }
        drop(file);
        database
            .execute("REPLACE INTO search_index (only, index_id) VALUES (1, lower(hex(randomblob(16))))", [])
            .doing("naming the search index")?;
        let connection = self.connect()?;
        self.attach_database(&connection)?;
        connection
            .execute_batch(&format!(
                "BEGIN; {SCHEMA} \
                 INSERT INTO turn_search_state (only, index_id, after_id, to_id, to_created_at, changes_to) \
                 SELECT 1, index_id, ifnull(t.id, 0), ifnull(t.id, 0), t.created_at, \
                    {LAST_CHANGE} \
                 FROM search_index LEFT JOIN (SELECT id, created_at FROM call_transcriptions ORDER BY id DESC LIMIT 1) t; \
                 COMMIT;"
            ))
            .doing("making the search index")?;
        self.opened(connection)
    }

    fn opened(&self, connection: Connection) -> Result<Open> {
        if self.is_owner {
            checkpoint::whenever_grown(&connection, Of::SearchIndex);
        }
        let file = identity(&self.path).map_err(of_file)?;
        let file = file.ok_or_else(|| of_file(io::Error::from(io::ErrorKind::NotFound)))?;
        Ok(Open { connection, file })
    }

    fn connect(&self) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW
            | OpenFlags::SQLITE_OPEN_URI;
        let connection =
            Connection::open_with_flags_and_vfs(uri(&self.path, "rw"), flags, page_scrub_vfs::name()).doing(DOING)?;
        // Who holds the lock is not waited for, since new turns would wait too.
        connection.busy_timeout(Duration::ZERO).doing(DOING)?;
        connection.set_prepared_statement_cache_capacity(32);
        // A commit is on disk before the database forgets what was taken in with it. `synchronous = FULL` is also what the
        // files' own way of writing rests on.
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -1000; \
                 PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF; PRAGMA mmap_size = 0; \
                 PRAGMA journal_size_limit = 67108864; PRAGMA secure_delete = ON; PRAGMA wal_autocheckpoint = 0;",
            )
            .doing(DOING)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).doing(DOING)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !self.is_owner).doing(DOING)?;
        Ok(connection)
    }

    /// Lets the connection read the database. A transaction that begins with the index's lock takes no lock there.
    fn attach_database(&self, connection: &Connection) -> Result<()> {
        connection.execute("ATTACH ?1 AS database", [uri(&self.database, "ro")]).doing(DOING)?;
        connection.execute_batch("PRAGMA database.cache_size = -200").doing(DOING)
    }

    fn remove(&self) -> Result<()> {
        for ending in ENDINGS {
            let mut name = self.path.as_os_str().to_owned();
            name.push(ending);
            match fs::remove_file(&name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(of_file(error)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether a file that a connection has open is an index of this form.
pub(super) fn has_form(connection: &Connection, file: &str) -> Result<bool> {
    let number = |name| connection.pragma_query_value(Some(file), name, |row| row.get::<_, u32>(0)).doing(DOING);
    Ok((number("application_id")?, number("user_version")?) == (APPLICATION_ID, FORM))
}

/// Whether SQLite calls a file broken.
pub(super) fn is_broken(error: &Error) -> bool {
    matches!(code(error), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Whether the index is broken or lacks a table or column.
fn is_unusable(error: &Error) -> bool {
    is_broken(error) || code(error) == Some(ErrorCode::Unknown)
}

fn code(error: &Error) -> Option<ErrorCode> {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<rusqlite::Error>());
    source.and_then(rusqlite::Error::sqlite_error_code)
}

fn of_file(error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull => ErrorKind::Full,
        _ => ErrorKind::Other,
    };
    Error::new(kind, DOING, error)
}

/// Device and inode of the file of this name, if there is one. A link is not followed.
fn identity(path: &Path) -> io::Result<Option<(u64, u64)>> {
    match fs::symlink_metadata(path) {
        Ok(file) => Ok(Some((file.dev(), file.ino()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A path as SQLite takes it where it is to say how the file is opened (<https://www.sqlite.org/uri.html>).
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
