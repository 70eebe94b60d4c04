//! What must hold of a database that was found after a power cut.

use super::recorder::Event;
use crate::ingest::turn;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use std::path::Path;

/// A turn that the service has promised to keep, and under which numbers.
#[derive(Debug, Clone)]
pub(super) struct Promise {
    pub(super) conversation: String,
    pub(super) n: usize,
    pub(super) transcription_id: i64,
    pub(super) sequence_number: i64,
    /// Whether it answered a repeat.
    pub(super) replayed: bool,
}

/// What is wrong with a database.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Harm {
    /// A promise was broken.
    Lost(String),
    /// The file is unreadable, or contradicts itself.
    Corrupt(String),
}

impl Promise {
    /// The name that a client gives the delivery of a turn, from which the answer tells which one it answers.
    pub(super) fn request_id(conversation: &str, n: usize) -> String {
        format!("{conversation}.{n}")
    }

    /// The promise that an event makes, if it makes one.
    pub(super) fn of(event: &Event) -> Option<Self> {
        let Event::Answered(bytes) = event else { return None };
        let answer = std::str::from_utf8(bytes).expect("an answer in text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
        if !head.starts_with("HTTP/1.1 201 ") {
            return None;
        }
        let header = |wanted: &str| {
            head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case(wanted).then(|| value.trim())
            })
        };
        let (conversation, n) =
            header("x-request-id").and_then(|id| id.rsplit_once('.')).expect("the request's own name comes back");
        let body: Value = serde_json::from_str(body).expect("the body left together with the head");
        Some(Self {
            conversation: conversation.to_owned(),
            n: n.parse().expect("the turn's number"),
            transcription_id: body["transcription_id"].as_i64().expect("a number"),
            sequence_number: body["sequence_number"].as_i64().expect("a number"),
            replayed: header("idempotent-replayed") == Some("true"),
        })
    }
}

/// Opens the database, which recovers it, and holds it against the promises.
pub(super) fn examine(database: &Path, promises: &[Promise]) -> Result<(), Harm> {
    if !database.exists() {
        return if promises.is_empty() { Ok(()) } else { Err(Harm::Lost("there is no database".to_owned())) };
    }
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE).expect("the file opens");
    let unreadable = |error: rusqlite::Error| Harm::Corrupt(error.to_string());
    connection.execute_batch("PRAGMA synchronous = OFF").map_err(unreadable)?;
    let findings = column(&connection, "PRAGMA integrity_check").map_err(unreadable)?;
    if findings != ["ok"] {
        return Err(Harm::Corrupt(findings.join("; ")));
    }
    let has_tables: bool = connection
        .query_row("SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'call_transcriptions')", [], |row| {
            row.get(0)
        })
        .map_err(unreadable)?;
    if !has_tables {
        return if promises.is_empty() { Ok(()) } else { Err(Harm::Lost("there are no tables".to_owned())) };
    }
    for (what, query) in CONTRADICTIONS {
        let found = column(&connection, query).map_err(unreadable)?;
        if !found.is_empty() {
            return Err(Harm::Corrupt(format!("{what}: {}", found.join(", "))));
        }
    }
    promises.iter().try_for_each(|promise| is_kept(&connection, promise).map_err(unreadable)?)
}

/// Each query names what breaks its rule.
const CONTRADICTIONS: [(&str, &str); 3] = [
    (
        "calls whose turns are not 1, 2, 3 … turn_count",
        "SELECT c.conversation_id FROM calls c LEFT JOIN call_transcriptions t USING (conversation_id) \
         GROUP BY c.conversation_id \
         HAVING count(t.id) <> c.turn_count OR count(DISTINCT t.sequence_number) <> c.turn_count \
         OR min(t.sequence_number) <> 1 OR max(t.sequence_number) <> c.turn_count OR c.turn_count = 0",
    ),
    (
        "turns without a call",
        "SELECT conversation_id FROM call_transcriptions WHERE conversation_id NOT IN (SELECT conversation_id FROM calls)",
    ),
    (
        "turns that were stored twice",
        "SELECT conversation_id || ': ' || message_text FROM call_transcriptions \
         GROUP BY conversation_id, message_text HAVING count(*) > 1",
    ),
];

/// The first column as text.
fn column(connection: &Connection, query: &str) -> rusqlite::Result<Vec<String>> {
    connection.prepare(query)?.query_map([], |row| row.get(0))?.collect()
}

fn is_kept(connection: &Connection, promise: &Promise) -> rusqlite::Result<Result<(), Harm>> {
    let mut select = connection.prepare_cached(
        "SELECT conversation_id, sequence_number, message_text FROM call_transcriptions WHERE id = ?1",
    )?;
    let found: Vec<(String, i64, String)> = select
        .query_map([promise.transcription_id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let delivered = turn(&promise.conversation, promise.n);
    let message = delivered["message"].as_str().expect("a text").to_owned();
    let expected = (promise.conversation.clone(), promise.sequence_number, message);
    Ok(if found == [expected] { Ok(()) } else { Err(Harm::Lost(format!("{promise:?} is {found:?}"))) })
}
