//! A search of a database, with the index or without it.

use super::attach::{MAX_ATTEMPTS, attach};
use super::page_search::PageSearch;
use super::reach::{CONTEXT, Reach};
use super::state::IndexState;
use super::{file, time_blocks};
use crate::store::sqlite::connection::{read_only, schema};
use crate::store::sqlite::error::Context as _;
use crate::store::{Error, ErrorKind, HitPage, Result, SearchQuery};
use rusqlite::Connection;
use std::path::Path;

/// First schema version with the index in a separate file.
const SEPARATE_FILE_SCHEMA: u32 = 12;

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
    if number("application_id").context(OPENING)? != schema::APPLICATION_ID {
        return wrong("it is not a database of transcribe-hook");
    }
    if number("user_version").context(OPENING)? < SEPARATE_FILE_SCHEMA {
        return wrong("it has an older schema without search; run `transcribe-hook migrate`");
    }
    find(&mut connection, &path, query, Reach::All).map(|found| found.page)
}

/// A page of a search, and the state of the index that it used.
pub(in crate::store::sqlite) struct Found {
    pub(in crate::store::sqlite) page: HitPage,
    /// True if the index is damaged.
    pub(in crate::store::sqlite) index_is_broken: bool,
}

/// Searches on a connection that reads the database.
pub(in crate::store::sqlite) fn find(
    connection: &mut Connection,
    database: &Path,
    query: &SearchQuery,
    reach: Reach,
) -> Result<Found> {
    match with_index(connection, database, query, reach) {
        Ok(Some(page)) => Ok(Found { page, index_is_broken: false }),
        Err(error) if error.kind() == ErrorKind::TooSlow => Err(error),
        without => {
            let index_is_broken = without.as_ref().is_err_and(file::is_broken);
            // Do not keep a useless file open.
            let _ = connection.execute_batch("DETACH search");
            let snapshot = connection.transaction().context(CONTEXT)?;
            let page = PageSearch::begin(&snapshot, query, None, reach)?.page()?;
            Ok(Found { page, index_is_broken })
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
