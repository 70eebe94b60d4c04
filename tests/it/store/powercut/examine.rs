//! Checks of a database after a power cut.

use crate::support::recorder::Event;
use crate::support::turns::turn;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use std::path::Path;

/// A turn that the service has promised to keep, and under which numbers.
#[derive(Debug, Clone)]
pub(super) struct Promise {
    pub(super) conversation: String,
    pub(super) n: usize,
    pub(super) transcription_id: i64,
    pub(super) sequence_number: i64,
    /// True if it answered a repeat.
    pub(super) replayed: bool,
}

/// An event that the service has promised to keep.
#[derive(Debug, Clone)]
pub(super) struct Report {
    pub(super) n: usize,
}

/// A fault of a database.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Harm {
    /// A promise was broken.
    Lost(String),
    /// The file is unreadable, or contradicts itself.
    Corrupt(String),
}

/// An answer of this status: its request's own name, and the rest.
fn answered(event: &Event, status: u16) -> Option<(&str, &str, &str)> {
    let Event::Answered(bytes) = event else { return None };
    let answer = std::str::from_utf8(bytes).expect("an answer in text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
    if !head.starts_with(&format!("HTTP/1.1 {status} ")) {
        return None;
    }
    Some((header(head, "x-request-id").expect("the request's own name comes back"), head, body))
}

fn header<'a>(head: &'a str, wanted: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case(wanted).then(|| value.trim())
    })
}

impl Report {
    /// Number of turns of an event.
    const TURNS: usize = 3;

    pub(super) fn request_id(n: usize) -> String {
        format!("event.{n}")
    }

    /// The body of an event, which is a call's record.
    pub(super) fn body(n: usize) -> String {
        let entries: Vec<_> = (0..Self::TURNS)
            .map(|i| json!({"role": "user", "message": format!("Words {i} of event {n}"), "time_in_call_secs": i}))
            .collect();
        let data = json!({"conversation_id": format!("event_{n}"), "status": "done", "transcript": entries,
            "metadata": {"start_time_unix_secs": 1_790_596_800}});
        json!({"type": "post_call_transcription", "event_timestamp": 1_790_596_855, "data": data}).to_string()
    }

    /// The promise that an answer makes, if it makes one.
    pub(super) fn of(event: &Event) -> Option<Self> {
        let (request_id, _, _) = answered(event, 200)?;
        let n = request_id.strip_prefix("event.").expect("only events are answered 200");
        Some(Self { n: n.parse().expect("the event's number") })
    }

    fn is_kept(&self, connection: &Connection) -> rusqlite::Result<Result<(), Harm>> {
        let found: i64 = connection.query_row(
            "SELECT count(*) FROM webhook_events WHERE body = ?1",
            [Self::body(self.n)],
            |row| row.get(0),
        )?;
        Ok(if found == 1 { Ok(()) } else { Err(Harm::Lost(format!("event {} is there {found} times", self.n))) })
    }
}

impl Promise {
    /// The name that a client gives the delivery of a turn. The answer repeats it.
    pub(super) fn request_id(conversation: &str, n: usize) -> String {
        format!("{conversation}.{n}")
    }

    /// The promise that an event makes, if it makes one.
    pub(super) fn of(event: &Event) -> Option<Self> {
        let (request_id, head, body) = answered(event, 201)?;
        let (conversation, n) = request_id.rsplit_once('.').expect("a name and a number");
        let body: Value = serde_json::from_str(body).expect("the body left together with the head");
        Some(Self {
            conversation: conversation.to_owned(),
            n: n.parse().expect("the turn's number"),
            transcription_id: body["transcription_id"].as_i64().expect("a number"),
            sequence_number: body["sequence_number"].as_i64().expect("a number"),
            replayed: header(head, "idempotent-replayed") == Some("true"),
        })
    }
}

/// Opens the database, which recovers it, and holds it against the promises.
pub(super) fn examine(database: &Path, promises: &[Promise], reports: &[Report]) -> Result<(), Harm> {
    let nothing = promises.is_empty() && reports.is_empty();
    if !database.exists() {
        return if nothing { Ok(()) } else { Err(Harm::Lost("there is no database".to_owned())) };
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
        return if nothing { Ok(()) } else { Err(Harm::Lost("there are no tables".to_owned())) };
    }
    for (what, query) in CONTRADICTIONS {
        let found = column(&connection, query).map_err(unreadable)?;
        if !found.is_empty() {
            return Err(Harm::Corrupt(format!("{what}: {}", found.join(", "))));
        }
    }
    reports.iter().try_for_each(|report| report.is_kept(&connection).map_err(unreadable)?)?;
    promises.iter().try_for_each(|promise| is_kept(&connection, promise).map_err(unreadable)?)
}

/// Each query names what breaks its rule.
const CONTRADICTIONS: [(&str, &str); 4] = [
    (
        "calls whose turns are not 1, 2, 3 … turn_count",
        "SELECT c.conversation_id FROM calls c LEFT JOIN call_transcriptions t USING (conversation_id) \
         GROUP BY c.conversation_id \
         HAVING count(t.id) <> c.turn_count OR count(DISTINCT t.sequence_number) <> c.turn_count \
         OR min(t.sequence_number) <> 1 OR max(t.sequence_number) <> c.turn_count \
         OR (c.turn_count = 0 AND c.id NOT IN (SELECT call_id FROM due_reconciliations))",
    ),
    (
        "events that are neither in their calls with all that they say nor noted as due, and such calls without their \
         event",
        "SELECT e.conversation_id FROM webhook_events e LEFT JOIN calls c USING (conversation_id) \
         LEFT JOIN due_reconciliations d ON d.call_id = c.id WHERE d.call_id IS NULL \
         AND (c.record_event_id IS NOT e.id OR c.status <> 'completed' OR c.turn_count <> 3 OR c.added <> 3) \
         UNION SELECT conversation_id FROM calls WHERE conversation_id LIKE 'event%' \
         AND id NOT IN (SELECT call_id FROM due_reconciliations WHERE facts = 1) \
         AND (record_event_id IS NULL OR record_event_id NOT IN (SELECT id FROM webhook_events))",
    ),
    (
        "turns without a call",
        "SELECT conversation_id FROM call_transcriptions WHERE conversation_id NOT IN (SELECT conversation_id \
         FROM calls)",
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
