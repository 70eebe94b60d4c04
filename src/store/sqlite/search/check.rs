//! Checks that the search index is intact and in step with the database.

use super::super::error::Context as _;
use super::attach::{MAX_ATTEMPTS, attach};
use super::state::IndexState;
use crate::store::{IntegrityIssue, Result};
use rusqlite::{Connection, Row};
use std::path::Path;
use std::time::Duration;

const CONTEXT: &str = "checking the search index";

/// Time to wait before the next attempt.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Maximum number of problems that each check reports.
const MAX_FINDINGS: usize = 100;

/// Checks the index beside a database, if there is one, on a connection that reads the database.
pub(in super::super) fn check(connection: &mut Connection, database: &Path) -> Result<Vec<IntegrityIssue>> {
    let finding = |what: String| Ok(vec![IntegrityIssue { check: "search", what }]);
    // The index is beside the file itself, whatever links lead to it.
    let database = &database.canonicalize().unwrap_or_else(|_| database.to_owned());
    match attach(connection, database) {
        Ok(true) => {}
        Ok(false) => return Ok(Vec::new()),
        Err(error) => return finding(format!("the search index cannot be opened: {error}")),
    }
    for _ in 0..MAX_ATTEMPTS {
        let snapshot = connection.transaction().context(CONTEXT)?;
        match IndexState::in_step(&snapshot) {
            Ok(Some(state)) => {
                let problems = pages(&snapshot);
                return if problems.is_empty() { words(&snapshot, state) } else { Ok(problems) };
            }
            // The service may be rebuilding the index, or may be ahead, at this moment.
            Ok(None) => std::thread::sleep(RETRY_PAUSE),
            Err(error) => return finding(format!("the search index cannot be read: {error}")),
        }
    }
    finding("the search index does not belong to the database; `serve` rebuilds it".to_owned())
}

/// Checks pages and rows, and runs FTS5's own check.
fn pages(connection: &Connection) -> Vec<IntegrityIssue> {
    let texts: rusqlite::Result<Vec<String>> = connection
        .prepare(&format!("PRAGMA search.integrity_check({MAX_FINDINGS})"))
        .and_then(|mut check| check.query_map([], |row| row.get(0))?.collect());
    let texts = match texts {
        Ok(texts) => texts,
        Err(error) => vec![error.to_string()],
    };
    texts.into_iter().filter(|text| text != "ok").map(|what| IntegrityIssue { check: "search", what }).collect()
}

/// Finds turns whose words differ between index and database, and turns that only one of them contains.
fn words(connection: &Connection, IndexState { after, to, changes_to }: IndexState) -> Result<Vec<IntegrityIssue>> {
    let sql = format!(
        "SELECT turn.id FROM (
            SELECT t.id FROM call_transcriptions t LEFT JOIN search.turn_search_content f ON f.id = t.id
            WHERE t.id > ?1 AND t.id <= ?2 AND (f.id IS NULL OR f.c0 IS NOT t.final_text OR f.c1 IS NOT t.message_text)
            UNION ALL
            SELECT f.id FROM search.turn_search_content f
            WHERE NOT EXISTS (SELECT 1 FROM call_transcriptions t WHERE t.id = f.id) OR f.id <= ?1 OR f.id > ?2
         ) AS turn WHERE NOT EXISTS (SELECT 1 FROM search_changes s WHERE s.turn_id = turn.id AND s.id > ?3) LIMIT \
         {MAX_FINDINGS}"
    );
    let finding = |row: &Row<'_>| {
        let id: i64 = row.get(0)?;
        Ok(IntegrityIssue {
            check: "search",
            what: format!("turn {id}: the words in the search index differ from the database"),
        })
    };
    connection
        .prepare(&sql)
        .and_then(|mut select| select.query_map([after, to, changes_to], finding)?.collect())
        .context(CONTEXT)
}
