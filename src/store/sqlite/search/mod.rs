//! Searching the words of turns: the index, what is not in it yet, and what is made of both.
//!
//! The index is SQLite's FTS5 over both texts of a turn, by row number. Turns come into it after they are stored, some
//! hundred at a time ([`index`]); [`State`] says how far it is, in the same transaction. What was stored since, the
//! tail, is searched in memory ([`scratch`]), so that nothing that is stored is missed. Where a turn loses or changes
//! its words, triggers of the schema have the index forget the old ones in the same statement.
//!
//! The index only says which turns match, newest first. Whatever takes more than that, filters, ranks and snippets, is
//! done with as many of them as a page needs ([`mod@find`]), so that a page costs the same however many match.

mod expression;
mod filter;
mod find;
mod index;
mod scratch;
mod spans;
mod variants;
mod walk;

pub(super) use find::find;
pub(super) use index::catch_up;
pub(super) use spans::note_call;

use super::error::Context as _;
use super::{open, reading};
use crate::store::{Error, ErrorKind, Found, Result, SearchQuery};
use rusqlite::{Connection, OptionalExtension as _};
use std::path::Path;

const DOING: &str = "searching";

/// Searches a file, be it in use or not, and changes nothing in it.
///
/// # Errors
/// The file is not there, is none of ours, or is older than search.
pub fn search_file(path: &Path, query: &SearchQuery) -> Result<Found> {
    let mut connection = reading::open(path)?;
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
    let wrong = |what| Err(Error::new(ErrorKind::Other, "opening the database", what));
    if number("application_id").doing("opening the database")? != open::APPLICATION_ID {
        return wrong("it is another program's file");
    }
    if number("user_version").doing("opening the database")? < SINCE {
        return wrong("it is older than search; `transcribe-hook migrate` brings it up to date");
    }
    find(&mut connection, query)
}

/// The schema that brought the index as it is.
const SINCE: u32 = 8;

/// The index holds the turns with `after < id <= to`.
#[derive(Debug, Clone, Copy)]
struct State {
    after: i64,
    to: i64,
    /// Of these, those up to this one are in no span yet ([`spans`]).
    unspanned_to: i64,
}

impl State {
    fn read(connection: &Connection) -> Result<Self> {
        connection
            .prepare_cached("SELECT after_id, to_id, unspanned_to FROM turn_search_state")
            .and_then(|mut select| {
                let state = |row: &rusqlite::Row<'_>| {
                    Ok(Self { after: row.get(0)?, to: row.get(1)?, unspanned_to: row.get(2)? })
                };
                select.query_row([], state)
            })
            .doing("reading how far the index is")
    }

    /// At most how many turns are older than what is indexed.
    fn older(self, connection: &Connection) -> Result<u64> {
        let oldest: Option<i64> = connection
            .prepare_cached("SELECT id FROM call_transcriptions ORDER BY id LIMIT 1")
            .and_then(|mut select| select.query_row([], |row| row.get(0)).optional())
            .doing("looking for turns that are not indexed")?;
        Ok(oldest.map_or(0, |oldest| count(oldest, self.after)))
    }

    /// At most how many turns were stored since.
    fn newer(self, connection: &Connection) -> Result<u64> {
        let newest: Option<i64> = connection
            .prepare_cached("SELECT id FROM call_transcriptions ORDER BY id DESC LIMIT 1")
            .and_then(|mut select| select.query_row([], |row| row.get(0)).optional())
            .doing("looking for turns that are not indexed")?;
        Ok(newest.map_or(0, |newest| count(self.to + 1, newest)))
    }
}

/// How many numbers there are from the first to the last, both counted.
fn count(first: i64, last: i64) -> u64 {
    u64::try_from(last - first + 1).unwrap_or(0)
}
