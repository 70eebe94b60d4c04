//! Search in the words of turns: the index, turns that are not in it yet, and the pages made from both.
//!
//! # Index
//!
//! The index is SQLite's FTS5 over both texts of a turn, keyed by row id, in a separate file beside the database
//! ([`mod@file`]). Erased words leave it by a rewrite of its segments ([`purge`]), because FTS5 can purge them at once
//! only in a format that SQLite before 3.42 cannot open.
//!
//! Indexing within the transaction that stores a turn would cost a third to a half of the throughput. The writer
//! therefore indexes turns afterwards, in slices with a bounded size and share of its time ([`indexer`],
//! [`crate::ingest::index_schedule`]). [`IndexState`] says how far the index is. Turns that were stored since (the
//! tail) and turns that changed are searched in an index in memory ([`fresh`]), so no stored turn is missed.
//!
//! # Queries
//!
//! The index only says which turns match, newest first. Filters, ranks and snippets are computed for as many turns as a
//! page needs ([`mod@page`]), so the cost of a page does not depend on the number of matches. FTS5's own ranking would
//! have to read every turn that matches a common word.
//!
//! A prefix is expanded to the words that begin with it, for the same reason. If there are too many words, the newest
//! turns themselves are read first ([`scan`]). FTS5's prefix indexes would make the index up to three times as large.
//! Accents that FTS5 does not fold are expanded in the query ([`accents`]).
//!
//! Without an index that belongs to the database, the service searches the newest turns and returns how many it did not
//! search. The command line then reads all turns.

mod accents;
mod check;
mod collector;
mod file;
mod filter;
mod fresh;
pub(super) mod fts_query;
mod indexer;
mod memory_index;
mod page;
mod page_search;
mod purge;
mod reach;
mod scan;
mod segments;
mod state;
mod time_blocks;

pub(super) use check::check;
pub(super) use file::SearchIndex;
use reach::CONTEXT;
pub(super) use reach::Reach;

use super::connection::read_only;
use super::error::Context as _;
use crate::store::{Error, ErrorKind, HitPage, Result, SearchQuery};
use crate::sys::paths::with_suffix;
use page_search::PageSearch;
use rusqlite::{Connection, ErrorCode};
use state::IndexState;
use std::path::Path;

/// Searches a database without changing it. Works while a service is running.
///
/// # Errors
/// The file does not exist, is not ours, or is older than search.
pub fn search_file(path: &Path, query: &SearchQuery) -> Result<HitPage> {
    const OPENING: &str = "opening the database";
    let path = path.canonicalize().map_err(|error| Error::new(ErrorKind::Other, OPENING, error))?;
    let mut connection = read_only::open(&path)?;
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
    let wrong = |what| Err(Error::new(ErrorKind::Other, OPENING, what));
    if number("application_id").context(OPENING)? != super::connection::schema::APPLICATION_ID {
        return wrong("it is not a database of transcribe-hook");
    }
    if number("user_version").context(OPENING)? < SEPARATE_FILE_SCHEMA {
        return wrong("it has an older schema without search; run `transcribe-hook migrate`");
    }
    find(&mut connection, &path, query, Reach::All).map(|(found, _)| found)
}

/// First schema version with the index in a separate file.
const SEPARATE_FILE_SCHEMA: u32 = 12;

/// Maximum number of attempts to get a snapshot in which database and index are in step.
const MAX_ATTEMPTS: usize = 3;

/// Searches on a connection that reads the database. Also returns whether the index is damaged.
pub(super) fn find(
    connection: &mut Connection,
    database: &Path,
    query: &SearchQuery,
    reach: Reach,
) -> Result<(HitPage, bool)> {
    match with_index(connection, database, query, reach) {
        Ok(Some(found)) => Ok((found, false)),
        Err(error) if error.kind() == ErrorKind::TooSlow => Err(error),
        without => {
            let broken = without.as_ref().is_err_and(file::is_broken);
            // Do not keep a useless file open.
            let _ = connection.execute_batch("DETACH search");
            let snapshot = connection.transaction().context(CONTEXT)?;
            let found = PageSearch::begin(&snapshot, query, None, reach)?.page()?;
            Ok((found, broken))
        }
    }
}

/// Searches with the index, or returns `None` if no index belongs to the database.
fn with_index(
    connection: &mut Connection,
    database: &Path,
    query: &SearchQuery,
    reach: Reach,
) -> Result<Option<HitPage>> {
    for attempt in 1..=MAX_ATTEMPTS {
        // A reused connection may still have an index open that was replaced.
        if attempt == MAX_ATTEMPTS {
            let _ = connection.execute_batch("DETACH search");
        }
        if !attach(connection, database)? {
            return Ok(None);
        }
        let snapshot = connection.transaction().context(CONTEXT)?;
        let Some(state) = IndexState::in_step(&snapshot)? else { continue };
        if reach == Reach::All && state.changes(&snapshot)? > time_blocks::MAX_CHANGES {
            return Ok(None);
        }
        return PageSearch::begin(&snapshot, query, Some(state), reach)?.page().map(Some);
    }
    Ok(None)
}

fn attach_file(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    connection.execute("ATTACH ?1 AS search", [name])?;
    connection.query_row("SELECT count(*) FROM search.sqlite_schema", [], |_| Ok(()))
}

/// Attaches the index to a connection that reads the database. Returns false if there is no index.
fn attach(connection: &Connection, database: &Path) -> Result<bool> {
    let is_attached: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM pragma_database_list WHERE name = 'search')")
        .and_then(|mut select| select.query_row([], |row| row.get(0)))
        .context(CONTEXT)?;
    if is_attached {
        return Ok(true);
    }
    let path = file::index_path(database);
    if !path.symlink_metadata().is_ok_and(|file| file.is_file()) {
        return Ok(false);
    }
    // Checks without opening the file, because closing it would release SQLite's locks in this process.
    if rustix::fs::access(&path, rustix::fs::Access::READ_OK).is_err() {
        return Ok(false);
    }
    let path = path.to_str().ok_or_else(|| Error::new(ErrorKind::Other, CONTEXT, "the file's name is not UTF-8"))?;
    match attach_file(connection, path) {
        // If this user may not write, a file that nobody changes is read as immutable, like the database itself.
        Err(error) if matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly)) => {
            let _ = connection.execute_batch("DETACH search");
            let wal = with_suffix(Path::new(path), "-wal");
            if wal.symlink_metadata().is_ok_and(|wal| wal.len() > 0) {
                return Ok(false);
            }
            attach_file(connection, &read_only::immutable(Path::new(path))).context(CONTEXT)?;
        }
        attached => attached.context(CONTEXT)?,
    }
    connection.execute_batch("PRAGMA search.cache_size = -200").context(CONTEXT)?;
    if file::has_form(connection, "search")? {
        return Ok(true);
    }
    connection.execute_batch("DETACH search").context(CONTEXT)?;
    Ok(false)
}
