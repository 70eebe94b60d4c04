//! Searching the words of turns: the index, what is not in it yet, and what is made of both.
//!
//! The index is SQLite's FTS5 over both texts of a turn, by row number, in a file of its own beside the database ([`mod@file`]).
//! Words that are erased leave its bytes by a rewrite ([`purge`]), and the database itself holds plain tables only. Turns
//! come into the index after they are stored, some hundred at a time ([`index`]); [`State`] says how far it is. What was
//! stored since, the tail, and what changed is searched in memory ([`fresh`]), so that nothing that is stored is missed.
//!
//! The index only says which turns match, newest first. Whatever takes more than that, filters, ranks and snippets, is
//! done with as many of them as a page needs ([`mod@find`]), so that a page costs the same however many match.
//!
//! Without an index that belongs to the database, the service searches the newest turns and says how many it did not; the
//! command line looks at all turns.

mod check;
mod expression;
mod file;
mod filter;
mod find;
mod fresh;
mod index;
mod look;
mod purge;
mod scratch;
mod spans;
mod state;
mod variants;
mod walk;

pub(super) use check::check;
pub(super) use file::SearchIndex;

use super::error::Context as _;
use super::{open, reading};
use crate::files;
use crate::store::{Error, ErrorKind, Found, Result, SearchQuery};
use find::Search;
use rusqlite::{Connection, ErrorCode};
use state::State;
use std::path::Path;

const DOING: &str = "searching";

/// Which turns a search looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those that are indexed, and the newest others.
    Indexed,
    /// All, however long it takes.
    All,
}

/// Searches a file, be it in use or not, and changes nothing in it.
///
/// # Errors
/// The file is not there, is none of ours, or is older than the search.
pub fn search_file(path: &Path, query: &SearchQuery) -> Result<Found> {
    const OPENING: &str = "opening the database";
    let path = path.canonicalize().map_err(|error| Error::new(ErrorKind::Other, OPENING, error))?;
    let mut connection = reading::open(&path)?;
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
    let wrong = |what| Err(Error::new(ErrorKind::Other, OPENING, what));
    if number("application_id").doing(OPENING)? != open::APPLICATION_ID {
        return wrong("it is another program's file");
    }
    if number("user_version").doing(OPENING)? < SINCE {
        return wrong("it is older than search; `transcribe-hook migrate` brings it up to date");
    }
    find(&mut connection, &path, query, Reach::All).map(|(found, _)| found)
}

/// The schema in which the database and its index are two files.
const SINCE: u32 = 12;

/// How often a snapshot of the database and the index is taken until they are in step.
const TRIES: usize = 3;

/// Searches by a connection that reads the database, and returns, too, whether the index is broken.
pub(super) fn find(
    connection: &mut Connection,
    database: &Path,
    query: &SearchQuery,
    reach: Reach,
) -> Result<(Found, bool)> {
    match with_index(connection, database, query, reach) {
        Ok(Some(found)) => Ok((found, false)),
        Err(error) if error.kind() == ErrorKind::TooSlow => Err(error),
        without => {
            let broken = without.as_ref().is_err_and(file::is_broken);
            // What is not of use is not held open.
            let _ = connection.execute_batch("DETACH search");
            let snapshot = connection.transaction().doing(DOING)?;
            let found = Search::begin(&snapshot, query, None, reach)?.page()?;
            Ok((found, broken))
        }
    }
}

/// Searches in the index; `None` where there is none that belongs to the database.
fn with_index(
    connection: &mut Connection,
    database: &Path,
    query: &SearchQuery,
    reach: Reach,
) -> Result<Option<Found>> {
    for attempt in 1..=TRIES {
        // A connection that is used again may have an index open that was replaced.
        if attempt == TRIES {
            let _ = connection.execute_batch("DETACH search");
        }
        if !attach(connection, database)? {
            return Ok(None);
        }
        let snapshot = connection.transaction().doing(DOING)?;
        let Some(state) = State::in_step(&snapshot)? else { continue };
        if reach == Reach::All && state.changes(&snapshot)? > spans::MAX_CHANGES {
            return Ok(None);
        }
        return Search::begin(&snapshot, query, Some(state), reach)?.page().map(Some);
    }
    Ok(None)
}

fn attach_file(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    connection.execute("ATTACH ?1 AS search", [name])?;
    connection.query_row("SELECT count(*) FROM search.sqlite_schema", [], |_| Ok(()))
}

/// Lets a connection that reads the database read the index too, and returns whether there is one.
fn attach(connection: &Connection, database: &Path) -> Result<bool> {
    let is_attached: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM pragma_database_list WHERE name = 'search')")
        .and_then(|mut select| select.query_row([], |row| row.get(0)))
        .doing(DOING)?;
    if is_attached {
        return Ok(true);
    }
    let path = file::path_beside(database);
    if !path.symlink_metadata().is_ok_and(|file| file.is_file()) {
        return Ok(false);
    }
    // Asked without opening it: closing it would give up the locks that SQLite holds in this process.
    if rustix::fs::access(&path, rustix::fs::Access::READ_OK).is_err() {
        return Ok(false);
    }
    let path = path.to_str().ok_or_else(|| Error::new(ErrorKind::Other, DOING, "the file's name is not UTF-8"))?;
    match attach_file(connection, path) {
        // Where this user may not write, a file that nobody changes is read as it is, like the database itself.
        Err(error) if matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly)) => {
            let _ = connection.execute_batch("DETACH search");
            let wal = files::beside(Path::new(path), "-wal");
            if wal.symlink_metadata().is_ok_and(|wal| wal.len() > 0) {
                return Ok(false);
            }
            attach_file(connection, &reading::immutable(Path::new(path))).doing(DOING)?;
        }
        attached => attached.doing(DOING)?,
    }
    connection.execute_batch("PRAGMA search.cache_size = -200").doing(DOING)?;
    if file::has_form(connection, "search")? {
        return Ok(true);
    }
    connection.execute_batch("DETACH search").doing(DOING)?;
    Ok(false)
}
