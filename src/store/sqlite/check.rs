//! Looks for what should not be: broken pages and indexes, references to nothing, gaps in calls, counters that are wrong.
//!
//! Only reads, and in the background's way, so that a service beside it is not held up; the log cannot be emptied until a
//! statement here has come to its end.

use super::error::Context as _;
use super::migrations::known_schema;
use super::open::APPLICATION_ID;
use super::restore::rules::MAX_LAST_ROW_ID;
use super::{events, reading, search};
use crate::background::Background;
use crate::model::ConversationId;
use crate::store::{CheckReport, Error, ErrorKind, Finding, Result, UnreadEvents};
use rusqlite::{Connection, Row};
use std::path::Path;

const DOING: &str = "checking the database";

/// How many steps SQLite's machine makes between two pauses.
const STEPS: i32 = 20_000;

/// Of how many problems each check tells.
const MOST: usize = 100;

/// Checks a database of this program's, in use or not.
///
/// # Errors
/// It cannot be read, or is something else. That it is broken is no error but what the report says.
pub fn check(path: &Path) -> Result<CheckReport> {
    std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            let mut connection = reading::open(path)?;
            connection.execute_batch("PRAGMA cache_size = -2000; PRAGMA mmap_size = 0").doing(DOING)?;
            let version = expect_own(&connection)?;
            // The log of a database in use grows until a check of it is done.
            let mut background = Background::that_ends();
            connection
                .progress_handler(
                    STEPS,
                    Some(move || {
                        background.pause();
                        false
                    }),
                )
                .doing(DOING)?;
            let mut report = all(&connection, version)?;
            if report.problems.is_empty() && version == known_schema() {
                report.problems = search::check(&mut connection, path)?;
            }
            Ok(report)
        });
        work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Makes sure that what is read is a database of this program's, of this version or an older one.
pub(super) fn expect_own(connection: &Connection) -> Result<u32> {
    const DOING: &str = "reading what the file is";
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0)).doing(DOING);
    let (application_id, version, known) = (pragma("application_id")?, pragma("user_version")?, known_schema());
    let wrong = |what: String| Err(Error::new(ErrorKind::Other, DOING, what));
    if application_id != APPLICATION_ID {
        return wrong("it is no database of transcribe-hook".to_owned());
    }
    if version > known {
        return wrong(format!(
            "it was written by a newer transcribe-hook (schema {version}, this one knows up to {known})"
        ));
    }
    Ok(version)
}

/// The same, of this version only.
pub(super) fn expect_newest(connection: &Connection) -> Result<()> {
    if expect_own(connection)? < known_schema() {
        let what = "it is of an older version; `transcribe-hook migrate` brings it up to date";
        return Err(Error::new(ErrorKind::Other, "reading what the file is", what));
    }
    Ok(())
}

/// Tells of each call's name, in no order.
///
/// # Errors
/// The database cannot be read.
pub fn each_call(path: &Path, tell: &mut dyn FnMut(&ConversationId)) -> Result<()> {
    let connection = reading::open(path)?;
    let mut select = connection.prepare("SELECT conversation_id FROM calls").doing(DOING)?;
    let mut rows = select.query([]).doing(DOING)?;
    while let Some(row) = rows.next().doing(DOING)? {
        tell(&row.get(0).doing(DOING)?);
    }
    Ok(())
}

fn all(connection: &Connection, version: u32) -> Result<CheckReport> {
    // The first and last turn, and turns that others stand for, of calls that are erased in slices are gone.
    let unfinished = if version < 11 { "SELECT NULL LIMIT 0" } else { "SELECT conversation_id FROM unfinished_calls" };
    let mut problems = integrity(connection)?;
    // What is broken below need not make sense above, and may not even be readable.
    if problems.is_empty() {
        problems.extend(references(connection)?);
        problems.extend(counts(connection)?);
        problems.extend(numbers(connection)?);
        problems.extend(exhausted_numbers(connection)?);
        problems.extend(spans(connection, unfinished)?);
        problems.extend(stand_ins(connection, unfinished)?);
    }
    let rows = |table: &str| {
        let count = format!("SELECT count(*) FROM {table}");
        connection.query_row(&count, [], |row| row.get(0)).doing(DOING)
    };
    let (calls, turns) = if problems.is_empty() {
        (Some(rows("calls")?), Some(rows("call_transcriptions")?))
    } else {
        (rows("calls").ok(), rows("call_transcriptions").ok())
    };
    let unread = if problems.is_empty() { events::unread(connection)? } else { UnreadEvents::default() };
    Ok(CheckReport { calls, turns, problems, unread })
}

/// Pages, rows, rules and indexes.
pub(super) fn integrity(connection: &Connection) -> Result<Vec<Finding>> {
    let texts: rusqlite::Result<Vec<String>> = connection
        .prepare(&format!("PRAGMA integrity_check({MOST})"))
        .and_then(|mut check| check.query_map([], |row| row.get(0))?.collect());
    match texts {
        Ok(texts) if texts == ["ok"] => Ok(Vec::new()),
        Ok(texts) => Ok(texts.into_iter().map(|what| Finding { check: "integrity", what }).collect()),
        // Too broken even to be checked.
        Err(error)
            if matches!(
                error.sqlite_error_code(),
                Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
            ) =>
        {
            Ok(vec![Finding { check: "integrity", what: error.to_string() }])
        }
        Err(error) => Err(error).doing(DOING),
    }
}

/// Rows that refer to rows that are not there.
fn references(connection: &Connection) -> Result<Vec<Finding>> {
    let what = |row: &Row<'_>| {
        let (table, id, parent): (String, Option<i64>, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let id = id.map_or(String::new(), |id| format!(" {id}"));
        Ok(format!("the row{id} of {table} refers to one of {parent} that is not there"))
    };
    findings(connection, "foreign_keys", "SELECT * FROM pragma_foreign_key_check", what)
}

/// A call's turns are numbered 1, 2, 3 … to the number that its row counts.
pub(super) fn counts(connection: &Connection) -> Result<Vec<Finding>> {
    // Numbers are at least 1 and unique within a call, by rules of the table, so these three say that there is no gap.
    findings(
        connection,
        "sequence",
        "SELECT * FROM (SELECT conversation_id, turn_count, \
         (SELECT count(*) FROM call_transcriptions t WHERE t.conversation_id = c.conversation_id) AS turns, \
         (SELECT ifnull(max(sequence_number), 0) FROM call_transcriptions t \
            WHERE t.conversation_id = c.conversation_id) AS last FROM calls c) \
         WHERE turn_count <> turns OR turn_count <> last",
        |row| {
            let (call, counted, turns, last): (String, i64, i64, i64) =
                (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            Ok(format!("call {call} counts {counted} turns, has {turns}, and the last one's number is {last}"))
        },
    )
}

/// What the numbers that rows get must be above, so that none is given twice.
fn numbers(connection: &Connection) -> Result<Vec<Finding>> {
    findings(
        connection,
        "numbers",
        "SELECT s.name, s.seq, m.last FROM sqlite_sequence s JOIN ( \
            SELECT 'calls' AS name, max(id) AS last FROM calls \
            UNION ALL SELECT 'call_transcriptions', max(id) FROM call_transcriptions) m \
         ON m.name = s.name WHERE m.last > s.seq",
        |row| {
            let (table, next, last): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(format!("{table} has the row {last}, and would number the next one {}", next + 1))
        },
    )
}

/// New rows get numbers that every JSON reader keeps exactly. An import could once bring greater ones.
fn exhausted_numbers(connection: &Connection) -> Result<Vec<Finding>> {
    findings(
        connection,
        "numbers",
        &format!(
            "SELECT name, seq, CASE name \
                WHEN 'call_transcriptions' THEN (SELECT conversation_id FROM call_transcriptions WHERE id > {MAX_LAST_ROW_ID}) \
                WHEN 'calls' THEN (SELECT conversation_id FROM calls WHERE id > {MAX_LAST_ROW_ID}) END \
             FROM sqlite_sequence WHERE seq > {MAX_LAST_ROW_ID} AND name IN ('calls', 'call_transcriptions', 'webhook_events')"
        ),
        |row| {
            let (table, last, call): (String, i64, Option<String>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let remedy = match call {
                Some(call) => format!("erase the call {call}, and then start the service again"),
                None => "start the service again".to_owned(),
            };
            Ok(format!("{table} numbers its next row behind {last}, which leaves too few numbers; {remedy}"))
        },
    )
}

/// A call knows its earliest and its latest turn.
fn spans(connection: &Connection, unfinished: &str) -> Result<Vec<Finding>> {
    findings(
        connection,
        "times",
        &format!(
            "SELECT conversation_id FROM (SELECT c.conversation_id, c.first_turn_time, c.last_turn_time, \
         min(t.timestamp) AS first, max(t.timestamp) AS last FROM calls c \
         LEFT JOIN call_transcriptions t ON t.conversation_id = c.conversation_id GROUP BY c.conversation_id) \
         WHERE conversation_id NOT IN ({unfinished}) AND (first_turn_time IS NOT first OR last_turn_time IS NOT last)"
        ),
        |row| {
            let call: String = row.get(0)?;
            Ok(format!("call {call} has other times of its first and last turn than its turns have"))
        },
    )
}

/// A turn that another one stands for says which, and that one stands for itself.
fn stand_ins(connection: &Connection, unfinished: &str) -> Result<Vec<Finding>> {
    findings(
        connection,
        "stand_ins",
        &format!(
            "SELECT conversation_id, sequence_number, superseded_by FROM call_transcriptions t \
         WHERE superseded_by IS NOT NULL AND NOT EXISTS (SELECT 1 FROM call_transcriptions o \
            WHERE o.conversation_id = t.conversation_id AND o.sequence_number = t.superseded_by \
            AND o.superseded_by IS NULL) \
         AND conversation_id NOT IN ({unfinished})"
        ),
        |row| {
            let (call, turn, by): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(format!("turn {turn} of call {call} is stood for by turn {by}, which does not stand in its transcript"))
        },
    )
}

fn findings(
    connection: &Connection,
    check: &'static str,
    sql: &str,
    mut what: impl FnMut(&Row<'_>) -> rusqlite::Result<String>,
) -> Result<Vec<Finding>> {
    let finding = |row: &Row<'_>| Ok(Finding { check, what: what(row)? });
    connection
        .prepare(&format!("{sql} LIMIT {MOST}"))
        .and_then(|mut select| select.query_map([], finding)?.collect())
        .doing(DOING)
}
