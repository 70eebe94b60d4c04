//! The database check: damaged pages and indexes, dangling references, gaps in calls, wrong counters.
//!
//! The check only reads, at low priority, so that it does not slow a running service. Each of its statements prevents
//! the WAL from being reset until it ends.

use crate::domain::ConversationId;
use crate::store::sqlite::connection::migrations::known_schema;
use crate::store::sqlite::connection::read_only;
use crate::store::sqlite::connection::schema::expect_own;
use crate::store::sqlite::error::Context as _;
use crate::store::sqlite::row::MAX_LAST_ROW_ID;
use crate::store::sqlite::{events, search};
use crate::store::{CheckReport, IntegrityIssue, Result, UnreadEvents};
use crate::sys::low_priority::Background;
use rusqlite::{Connection, Row};
use std::path::Path;

const CONTEXT: &str = "checking the database";

/// Number of SQLite's virtual machine instructions between two pauses.
const INSTRUCTIONS_PER_PAUSE: i32 = 20_000;

/// Maximum number of problems that each check reports.
const MAX_FINDINGS: usize = 100;

/// Checks a database of this program. Works while a service is running.
///
/// # Errors
/// The database cannot be read, or is something else. Damage is not an error; it is in the report.
pub fn check(path: &Path) -> Result<CheckReport> {
    std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            let mut connection = read_only::open(path)?;
            connection.execute_batch("PRAGMA cache_size = -2000; PRAGMA mmap_size = 0").context(CONTEXT)?;
            let version = expect_own(&connection)?;
            // The WAL of a database in use grows until a check of it ends.
            let mut background = Background::that_ends();
            connection
                .progress_handler(
                    INSTRUCTIONS_PER_PAUSE,
                    Some(move || {
                        background.pause();
                        false
                    }),
                )
                .context(CONTEXT)?;
            let mut report = run_all(&connection, version)?;
            if report.problems.is_empty() && version == known_schema() {
                report.problems = search::check(&mut connection, path)?;
            }
            Ok(report)
        });
        work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Passes the id of each call to `tell`, in no particular order.
///
/// # Errors
/// The database cannot be read.
pub fn for_each_call(path: &Path, tell: &mut dyn FnMut(&ConversationId)) -> Result<()> {
    let connection = read_only::open(path)?;
    let mut select = connection.prepare("SELECT conversation_id FROM calls").context(CONTEXT)?;
    let mut rows = select.query([]).context(CONTEXT)?;
    while let Some(row) = rows.next().context(CONTEXT)? {
        tell(&row.get(0).context(CONTEXT)?);
    }
    Ok(())
}

fn run_all(connection: &Connection, version: u32) -> Result<CheckReport> {
    // Calls that are erased in slices lack their last turns, so checks of first and last turns skip them.
    let unfinished = if version < 11 { "SELECT NULL LIMIT 0" } else { "SELECT conversation_id FROM unfinished_calls" };
    let mut problems = integrity(connection)?;
    // With damage at this level, the other checks may fail or be meaningless.
    if problems.is_empty() {
        problems.extend(check_references(connection)?);
        problems.extend(counts(connection)?);
        problems.extend(check_sequences(connection)?);
        problems.extend(check_exhausted_ids(connection)?);
        problems.extend(check_turn_times(connection, unfinished)?);
        problems.extend(check_superseded_turns(connection, unfinished)?);
        if version >= 18 {
            problems.extend(check_last_messages(connection, unfinished)?);
        }
    }
    let rows = |table: &str| {
        let count = format!("SELECT count(*) FROM {table}");
        connection.query_row(&count, [], |row| row.get(0)).context(CONTEXT)
    };
    let (calls, turns) = if problems.is_empty() {
        (Some(rows("calls")?), Some(rows("call_transcriptions")?))
    } else {
        (rows("calls").ok(), rows("call_transcriptions").ok())
    };
    let unread = if problems.is_empty() { events::unread(connection)? } else { UnreadEvents::default() };
    Ok(CheckReport { calls, turns, problems, unread })
}

/// Checks pages, rows, constraints and indexes.
pub(in crate::store::sqlite) fn integrity(connection: &Connection) -> Result<Vec<IntegrityIssue>> {
    let texts: rusqlite::Result<Vec<String>> = connection
        .prepare(&format!("PRAGMA integrity_check({MAX_FINDINGS})"))
        .and_then(|mut check| check.query_map([], |row| row.get(0))?.collect());
    match texts {
        Ok(texts) if texts == ["ok"] => Ok(Vec::new()),
        Ok(texts) => Ok(texts.into_iter().map(|what| IntegrityIssue { check: "integrity", what }).collect()),
        // The database is too damaged for this check.
        Err(error)
            if matches!(
                error.sqlite_error_code(),
                Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
            ) =>
        {
            Ok(vec![IntegrityIssue { check: "integrity", what: error.to_string() }])
        }
        Err(error) => Err(error).context(CONTEXT),
    }
}

/// Finds rows that refer to missing rows.
fn check_references(connection: &Connection) -> Result<Vec<IntegrityIssue>> {
    let what = |row: &Row<'_>| {
        let (table, id, parent): (String, Option<i64>, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let id = id.map_or(String::new(), |id| format!(" {id}"));
        Ok(format!("{table}: row{id} refers to a missing row of {parent}"))
    };
    findings(connection, "foreign_keys", "SELECT * FROM pragma_foreign_key_check", what)
}

/// Checks that a call's turns are numbered from 1 to the count in its row.
pub(in crate::store::sqlite) fn counts(connection: &Connection) -> Result<Vec<IntegrityIssue>> {
    // The table's constraints make numbers unique within a call and at least 1, so these three conditions exclude gaps.
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
            Ok(format!(
                "call {call}: turn_count is {counted}, but it has {turns} turns, the last with sequence_number {last}"
            ))
        },
    )
}

/// Checks that `sqlite_sequence` is not below the largest id in use.
fn check_sequences(connection: &Connection) -> Result<Vec<IntegrityIssue>> {
    findings(
        connection,
        "numbers",
        "SELECT s.name, s.seq, m.last FROM sqlite_sequence s JOIN ( \
            SELECT 'calls' AS name, max(id) AS last FROM calls \
            UNION ALL SELECT 'call_transcriptions', max(id) FROM call_transcriptions) m \
         ON m.name = s.name WHERE m.last > s.seq",
        |row| {
            let (table, next, last): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(format!("{table}: row {last} exists, but the next id is {}", next + 1))
        },
    )
}

/// Checks that new ids stay exact in every JSON reader. Older versions could import larger ones.
fn check_exhausted_ids(connection: &Connection) -> Result<Vec<IntegrityIssue>> {
    findings(
        connection,
        "numbers",
        &format!(
            "SELECT name, seq, CASE name \
                WHEN 'call_transcriptions' THEN (SELECT conversation_id FROM call_transcriptions WHERE \
                id > {MAX_LAST_ROW_ID}) \
                WHEN 'calls' THEN (SELECT conversation_id FROM calls WHERE id > {MAX_LAST_ROW_ID}) END \
             FROM sqlite_sequence WHERE seq > {MAX_LAST_ROW_ID} AND name IN ('calls', 'call_transcriptions', \
             'webhook_events')"
        ),
        |row| {
            let (table, last, call): (String, i64, Option<String>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let remedy = match call {
                Some(call) => format!("erase call {call} and restart the service"),
                None => "restart the service".to_owned(),
            };
            Ok(format!("{table}: the last id is {last}, which leaves too few ids for new rows; {remedy}"))
        },
    )
}

/// Checks that a call's row has the times of its first and last turn.
fn check_turn_times(connection: &Connection, unfinished: &str) -> Result<Vec<IntegrityIssue>> {
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
            Ok(format!("call {call}: first_turn_time or last_turn_time does not match its turns"))
        },
    )
}

/// Checks that the last message of a call is one of its turns.
fn check_last_messages(connection: &Connection, unfinished: &str) -> Result<Vec<IntegrityIssue>> {
    findings(
        connection,
        "last_messages",
        &format!(
            "SELECT conversation_id FROM calls c WHERE last_message_id IS NOT NULL AND NOT EXISTS ( \
            SELECT 1 FROM call_transcriptions t WHERE t.id = c.last_message_id \
            AND t.conversation_id = c.conversation_id) \
         AND conversation_id NOT IN ({unfinished})"
        ),
        |row| {
            let call: String = row.get(0)?;
            Ok(format!("call {call}: last_message_id is not the id of one of its turns"))
        },
    )
}

/// Checks that a superseded turn names a turn that exists and is not superseded itself.
fn check_superseded_turns(connection: &Connection, unfinished: &str) -> Result<Vec<IntegrityIssue>> {
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
            Ok(format!("call {call}: turn {turn} is superseded by turn {by}, which is missing or superseded itself"))
        },
    )
}

fn findings(
    connection: &Connection,
    check: &'static str,
    sql: &str,
    mut what: impl FnMut(&Row<'_>) -> rusqlite::Result<String>,
) -> Result<Vec<IntegrityIssue>> {
    let finding = |row: &Row<'_>| Ok(IntegrityIssue { check, what: what(row)? });
    connection
        .prepare(&format!("{sql} LIMIT {MAX_FINDINGS}"))
        .and_then(|mut select| select.query_map([], finding)?.collect())
        .context(CONTEXT)
}
