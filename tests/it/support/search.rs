//! The search, and the state of its index.

use crate::support::service::{Answer, Service, open, wait_for};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// The answer to a search; `more` are further parameters, as they stand in a query.
pub fn ask(service: &Service, q: &str, more: &str) -> Answer {
    service.get(&format!("/api/v1/search?q={}{more}", utf8_percent_encode(q, NON_ALPHANUMERIC)))
}

pub fn search(service: &Service, q: &str, more: &str) -> Value {
    ask(service, q, more).expect(200).json()
}

pub fn hits(page: &Value) -> &[Value] {
    page["data"].as_array().unwrap()
}

/// The row numbers of what is found.
pub fn found(service: &Service, q: &str, more: &str) -> BTreeSet<i64> {
    hits(&search(service, q, more)).iter().map(|hit| hit["id"].as_i64().unwrap()).collect()
}

/// A connection that reads a database with its search index, as an analyst would attach it.
pub fn with_index(database: &Path) -> rusqlite::Connection {
    let connection = open(database);
    let index = format!("{}.search", database.display());
    assert!(Path::new(&index).is_file(), "{index} is there");
    attach(&connection, &index).unwrap();
    connection
}

/// As [`with_index`], unless the index is made anew at this moment.
pub fn try_with_index(database: &Path) -> Option<rusqlite::Connection> {
    let index = format!("{}.search", database.display());
    if !Path::new(&index).is_file() {
        return None;
    }
    let connection = open(database);
    attach(&connection, &index).ok()?;
    Some(connection)
}

fn attach(connection: &rusqlite::Connection, index: &str) -> rusqlite::Result<usize> {
    connection.execute("ATTACH ?1 AS search", [index])
}

/// Returns the progress of the index if it belongs to the database: the turns before and at the end of what is indexed,
/// and the last change.
pub fn index_state(database: &Path) -> Option<(i64, i64, i64)> {
    let sql = "SELECT s.after_id, s.to_id, s.changes_to FROM search_index i JOIN turn_search_state s USING (index_id)";
    let connection = try_with_index(database)?;
    connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).ok()
}

/// Waits until every turn is in the index as it is.
pub fn indexed(service: &Service) {
    wait_for("the index to hold all turns", || {
        let (oldest, newest, changes): (i64, i64, i64) = service
            .sqlite()
            .query_row(
                "SELECT ifnull(min(id), 9223372036854775807), ifnull(max(id), 0), \
                 (SELECT count(*) FROM search_changes) FROM call_transcriptions",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .unwrap();
        let (after, to, _) = index_state(service.database())?;
        (after < oldest && to >= newest && changes == 0).then_some(())
    });
}

/// Makes sure that the index is whole, and has each turn with the words that the database has. All of it must be
/// indexed.
pub fn compare(database: &Path) {
    let connection = with_index(database);
    for file in ["main", "search"] {
        // Of the index, FTS5 compares each word with the texts.
        let integrity: String =
            connection.query_row(&format!("PRAGMA {file}.integrity_check"), [], |row| row.get(0)).unwrap();
        assert_eq!(integrity, "ok", "{file}");
    }
    let differ: i64 = connection
        .query_row(
            "SELECT count(*) FROM (SELECT id, final_text, message_text FROM call_transcriptions) t
             FULL JOIN (SELECT id, c0, c1 FROM search.turn_search_content) f ON f.id = t.id
             WHERE t.id IS NULL OR f.id IS NULL OR c0 IS NOT final_text OR c1 IS NOT message_text",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(differ, 0);
}
