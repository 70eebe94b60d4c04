//! Calls with a text in a message, by the search index.

use super::attach::{MAX_ATTEMPTS, attach};
use super::fts_query::FtsQuery;
use super::reach::CONTEXT;
use super::state::IndexState;
use super::time_blocks::MAX_CHANGES;
use crate::domain::{SearchExpr, begins_at_word};
use crate::store::Result;
use crate::store::sqlite::call_filter::containing;
use crate::store::sqlite::error::Context as _;
use crate::store::sqlite::statement::Statements as _;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::path::Path;

/// Maximum number of turns that are looked up.
const MAX_TURNS: usize = 10_000;

/// Maximum number of turns that the index lacks and that are read instead.
const MAX_UNINDEXED_TURNS: u64 = 20_000;

/// Attaches the index to a connection that reads the database, if there is one that belongs to it.
pub(in crate::store::sqlite) fn attach_index(connection: &mut Connection, database: &Path) -> Result<()> {
    for attempt in 1..=MAX_ATTEMPTS {
        // A reused connection may still have an index open that was replaced.
        if attempt == MAX_ATTEMPTS {
            let _ = connection.execute_batch("DETACH search");
        }
        if !attach(connection, database)? {
            break;
        }
        let snapshot = connection.transaction().context(CONTEXT)?;
        if IndexState::in_step(&snapshot)?.is_some() {
            break;
        }
    }
    Ok(())
}

/// Returns the row ids of all calls that may have a text in a message, some of them more than once, or `None` if there
/// are too many, or if the index cannot tell.
///
/// The index has words, so it finds texts that begin at the beginning of a word. The words that it finds are those of
/// the text in any case and with any accents, and the last may be longer.
pub(in crate::store::sqlite) fn calls_with_words(snapshot: &Connection, text: &str) -> Result<Option<Vec<i64>>> {
    let may_begin_within_word = !begins_at_word(text) && !text.starts_with(|c: char| c.is_ascii());
    if may_begin_within_word || !text.chars().any(char::is_alphanumeric) || !is_attached(snapshot)? {
        return Ok(None);
    }
    let Some(state) = IndexState::in_step(snapshot)? else { return Ok(None) };
    let is_complete = state.older(snapshot)? == 0
        && state.newer(snapshot)? <= MAX_UNINDEXED_TURNS
        && state.changes(snapshot)? <= MAX_CHANGES;
    if !is_complete {
        return Ok(None);
    }
    let words = SearchExpr::Words { text: text.to_owned(), prefix: true };
    let query = FtsQuery::new(&words, Some(snapshot)).context(CONTEXT)?;
    if query.broad.is_some() {
        return Ok(None);
    }
    let to_call = "CROSS JOIN calls c ON c.conversation_id = t.conversation_id";
    let limit = MAX_TURNS + 1;
    let queries: [(String, Vec<Value>); 3] = [
        // A turn that was erased since counts too, or the limit would hide another one.
        (
            format!(
                "SELECT c.id FROM (SELECT rowid AS turn_id FROM turn_search WHERE turn_search MATCH ? LIMIT {limit}) s \
                 LEFT JOIN call_transcriptions t ON t.id = s.turn_id \
                 LEFT JOIN calls c ON c.conversation_id = t.conversation_id"
            ),
            vec![query.exact.into()],
        ),
        (
            format!(
                "SELECT c.id FROM call_transcriptions t {to_call} \
                 WHERE t.id > ? AND t.message_text LIKE ? ESCAPE '\\' LIMIT {limit}"
            ),
            vec![state.to.into(), containing(text).into()],
        ),
        (
            format!(
                "SELECT c.id FROM search_changes x CROSS JOIN call_transcriptions t ON t.id = x.turn_id {to_call} \
                 WHERE x.id > ? LIMIT {limit}"
            ),
            vec![state.changes_to.into()],
        ),
    ];
    let mut calls = Vec::new();
    for (sql, values) in queries {
        let found: Vec<Option<i64>> =
            snapshot.fetch_all(&sql, params_from_iter(values), |row| row.get(0)).context(CONTEXT)?;
        if found.len() > MAX_TURNS {
            return Ok(None);
        }
        calls.extend(found.into_iter().flatten());
    }
    Ok(Some(calls))
}

/// Returns whether the connection has an index attached.
fn is_attached(connection: &Connection) -> Result<bool> {
    let attached = "SELECT EXISTS (SELECT 1 FROM pragma_database_list WHERE name = 'search')";
    connection.fetch_one(attached, [], |row| row.get(0)).context(CONTEXT)
}
