//! Calls that contain a text, by indexes, for lists that search ids, names, numbers and messages at once.
//!
//! No index has all of it, and reading every message takes seconds once there are some million. So the indexes name
//! candidates, and a list checks these alone: ids from the index of the column, calls of the drivers with such a name,
//! calls with such a number, and calls with such words from the search index. If too many calls are candidates, the
//! first calls in the order of the list fill its page anyway.

use super::call_filter::{containing, ends_with_number, folded_or_null};
use super::error::Context as _;
use super::search;
use super::statement::Statements as _;
use crate::domain::{NumberEnd, part_of_word};
use crate::store::{CallFilter, ErrorKind, Result};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::collections::BTreeSet;
use std::path::Path;

const CONTEXT: &str = "looking for calls with a text";

/// Maximum number of candidates.
const MAX_CALLS: usize = 20_000;

/// Prepares a connection that reads the database for [`candidates`], before its transaction.
pub(super) fn prepare(connection: &mut Connection, database: &Path) -> Result<()> {
    match search::attach_index(connection, database) {
        Err(error) if error.kind() == ErrorKind::TooSlow => Err(error),
        // Without an index, each call is checked.
        _ => Ok(()),
    }
}

/// Returns the row ids of all calls that may contain the text of a filter, as a JSON array, or `None` if it has no
/// text, if there are too many, or if the search index cannot tell.
pub(super) fn candidates(snapshot: &Connection, filter: &CallFilter) -> Result<Option<Value>> {
    let Some(text) = &filter.text else { return Ok(None) };
    // The search index does not find parts of words.
    if filter.has_few_calls() || part_of_word(text).is_some() {
        return Ok(None);
    }
    let words = match search::calls_with_words(snapshot, text) {
        Err(error) if error.kind() == ErrorKind::TooSlow => return Err(error),
        // Whoever searches words notes an index that is damaged.
        Err(_) | Ok(None) => return Ok(None),
        Ok(Some(words)) => words,
    };
    let mut ids: BTreeSet<i64> = words.into_iter().collect();
    let mut queries = vec![
        (
            "SELECT c.id FROM calls c WHERE c.conversation_id LIKE ? ESCAPE '\\'".to_owned(),
            vec![containing(text).into()],
        ),
        (
            "SELECT c.id FROM drivers d CROSS JOIN calls c INDEXED BY calls_driver_start ON c.driver_id = d.id \
             WHERE instr(folded(d.name), ?) > 0"
                .to_owned(),
            vec![folded_or_null(text)],
        ),
    ];
    if let Ok(number) = NumberEnd::parse(text) {
        let (condition, values) = ends_with_number(&number);
        queries.push((format!("SELECT c.id FROM calls c INDEXED BY calls_number WHERE {condition}"), values.to_vec()));
    }
    for (sql, values) in queries {
        let sql = format!("{sql} LIMIT {}", MAX_CALLS + 1);
        let found: Vec<i64> = snapshot.fetch_all(&sql, params_from_iter(values), |row| row.get(0)).context(CONTEXT)?;
        ids.extend(found);
        if ids.len() > MAX_CALLS {
            return Ok(None);
        }
    }
    let list = serde_json::to_string(&ids).expect("numbers are JSON");
    Ok(Some(list.into()))
}
