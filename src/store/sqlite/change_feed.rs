//! The changes after a feed position: the sequences of turns and of changes of calls, merged in the order of commits.
//!
//! Turns need no table of changes, because their ids grow with each commit. A change stores the last turn before it,
//! which allows merging the two sequences. Nothing is stored for a stream, and a position keeps its meaning after a
//! restart. Each read is limited in rows and bytes.

use super::call_filter::Conditions;
use super::calls;
use super::error::Context as _;
use super::row::{self, CALL, CALLS, TURN};
use super::statement::Statements as _;
use super::tool_calls;
use crate::domain::{Call, CallStatus, ConversationId, Turn};
use crate::store::{CallFilter, Change, ChangeBatch, ChangedCalls, FeedPosition, Result, Scope};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Params, Row, Transaction, params, params_from_iter};
use std::collections::HashMap;

const CONTEXT: &str = "reading changes";

/// Maximum number of turns, and of changes, in one read.
const MAX_ROWS: usize = 64;

/// Size of texts at which a read ends, in bytes.
const MAX_TEXT_BYTES: usize = 24 * 1024;

/// Maximum number of turns in one read that only looks for their calls.
const MAX_SCANNED_TURNS: i64 = 10_000;

/// Returns the position after everything that is committed.
pub(super) fn current_position(connection: &Connection) -> Result<FeedPosition> {
    connection
        .fetch_one(
            "SELECT ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'call_transcriptions'), 0), \
             (SELECT seq FROM sqlite_sequence WHERE name = 'call_changes')",
            [],
            |row| Ok(FeedPosition { turn: row.get(0)?, change: row.get(1)?, call: None }),
        )
        .context(CONTEXT)
}

/// Returns changes after one position and up to another.
pub(super) fn changes_since(
    connection: &mut Connection,
    scope: &Scope,
    after: FeedPosition,
    until: FeedPosition,
) -> Result<ChangeBatch> {
    let snapshot = connection.transaction().context(CONTEXT)?;
    let mut batch = changes_in_scope(&snapshot, scope, after, until)?;
    for (_, change) in &mut batch.changes {
        let (Change::Started(call) | Change::Updated(call) | Change::Ended(call) | Change::Alerted(call)) = change
        else {
            continue;
        };
        call.transferred = tool_calls::transferred(&snapshot, std::slice::from_ref(&call.conversation_id))?.pop();
    }
    Ok(batch)
}

fn changes_in_scope(
    snapshot: &Transaction<'_>,
    scope: &Scope,
    after: FeedPosition,
    until: FeedPosition,
) -> Result<ChangeBatch> {
    match scope {
        Scope::Matching(filter) => match after.call {
            Some(told) => changes_of_running_calls(snapshot, filter, after, told),
            None => changes_of_matching(snapshot, filter, after, until),
        },
        Scope::Call { conversation_id, call_id } => {
            let call = calls::get(snapshot, conversation_id)?.filter(|call| call.id == *call_id);
            match call {
                Some(call) => changes_of_call(snapshot, &call, after),
                None => erased(snapshot, *call_id, after),
            }
        }
    }
}

/// Returns the calls that changed after one position and up to another.
pub(super) fn calls_changed_between(
    connection: &mut Connection,
    after: FeedPosition,
    until: FeedPosition,
) -> Result<ChangedCalls> {
    let snapshot = connection.transaction().context(CONTEXT)?;
    let mut touched = ChangedCalls { end: until, ..ChangedCalls::default() };
    let turns: Vec<(i64, ConversationId)> = snapshot
        .fetch_all(
            "SELECT id, conversation_id FROM call_transcriptions WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
            params![after.turn, until.turn, MAX_SCANNED_TURNS],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .context(CONTEXT)?;
    if i64::try_from(turns.len()) == Ok(MAX_SCANNED_TURNS) {
        touched.end.turn = turns.last().map_or(until.turn, |(id, _)| *id);
    }
    touched.calls.extend(turns.into_iter().map(|(_, id)| id));
    touched.calls.dedup();
    let changed: Vec<(i64, i64, Option<_>)> = snapshot
        .fetch_all(
            "SELECT n.id, n.call_id, c.conversation_id FROM call_changes n LEFT JOIN calls c ON c.id = n.call_id \
             WHERE n.id > ?1 AND n.id <= ?2 ORDER BY n.id LIMIT ?3",
            params![after.change, until.change, MAX_SCANNED_TURNS],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .context(CONTEXT)?;
    if i64::try_from(changed.len()) == Ok(MAX_SCANNED_TURNS) {
        touched.end.change = changed.last().map_or(until.change, |(id, ..)| *id);
    }
    for (_, call_id, conversation_id) in changed {
        match conversation_id {
            Some(id) => touched.calls.push(id),
            None => touched.erased.push(call_id),
        }
    }
    Ok(touched)
}

/// Returns the calls that were running at a position, by row id. Calls that started later appear as changes.
fn changes_of_running_calls(
    snapshot: &Transaction<'_>,
    filter: &CallFilter,
    at: FeedPosition,
    told: i64,
) -> Result<ChangeBatch> {
    let conditions = Conditions::of_calls(filter);
    // Named, because the planner may choose the index of a condition that most calls meet.
    let calls = CALLS.replacen("calls c", "calls c INDEXED BY calls_status_start", 1);
    let sql = format!(
        "SELECT {CALL} FROM {calls} WHERE c.status = ? AND +c.id > ? AND NOT EXISTS \
            (SELECT 1 FROM call_changes n WHERE n.call_id = c.id AND n.kind = 'started' AND n.id > ?){} \
         ORDER BY +c.id LIMIT {}",
        conditions.sql(),
        row_limit()
    );
    let first = [CallStatus::InProgress.as_str().to_owned().into(), told.into(), at.change.into()];
    let (calls, has_more) =
        read(snapshot, &sql, params_from_iter(first.iter().chain(conditions.values())), row::call, call_bytes)?;
    let place = |call: Option<i64>| FeedPosition { call, ..at };
    let end = if has_more { place(calls.last().map(|call| call.id)) } else { place(None) };
    let changes = calls.into_iter().map(|call| (place(Some(call.id)), Change::Started(Box::new(call)))).collect();
    Ok(ChangeBatch { changes, end, has_more: true, over: false })
}

/// A row of the table of changes.
struct ChangeRow {
    id: i64,
    call_id: i64,
    kind: String,
    turn_id: i64,
}

fn change_row(row: &Row<'_>) -> rusqlite::Result<ChangeRow> {
    Ok(ChangeRow {
        id: row.get("id")?,
        call_id: row.get("call_id")?,
        kind: row.get("kind")?,
        turn_id: row.get("turn_id")?,
    })
}

/// Tells which calls match a filter. Each is looked up once.
struct Matching<'a> {
    snapshot: &'a Transaction<'a>,
    conditions: Conditions,
    known: HashMap<ConversationId, bool>,
}

impl Matching<'_> {
    fn contains(&mut self, id: &ConversationId) -> Result<bool> {
        if self.conditions.sql().is_empty() {
            return Ok(true);
        }
        if let Some(matches) = self.known.get(id) {
            return Ok(*matches);
        }
        let sql = format!("SELECT EXISTS (SELECT 1 FROM calls c WHERE c.conversation_id = ?{})", self.conditions.sql());
        let id_value = Value::from(id.as_str().to_owned());
        let values = params_from_iter(std::iter::once(&id_value).chain(self.conditions.values()));
        let mut select = self.snapshot.prepare_cached(&sql).context(CONTEXT)?;
        let matches = select.query_row(values, |row| row.get(0)).context(CONTEXT)?;
        self.known.insert(id.clone(), matches);
        Ok(matches)
    }
}

/// Returns the changes of the calls that match a filter. Everything is read, because no index has the turns of such
/// calls by id.
fn changes_of_matching(
    snapshot: &Transaction<'_>,
    filter: &CallFilter,
    after: FeedPosition,
    until: FeedPosition,
) -> Result<ChangeBatch> {
    let turns = read(
        snapshot,
        &format!(
            "SELECT {TURN} FROM call_transcriptions t WHERE id BETWEEN ?1 + 1 AND ?2 ORDER BY id LIMIT {}",
            row_limit()
        ),
        params![after.turn, until.turn],
        row::turn,
        turn_bytes,
    )?;
    let (notes, more) = read(
        snapshot,
        &format!("SELECT * FROM call_changes WHERE id BETWEEN ?1 + 1 AND ?2 ORDER BY id LIMIT {}", row_limit()),
        params![after.change, until.change],
        change_row,
        |_| 0,
    )?;
    let mut matching = Matching { snapshot, conditions: Conditions::of_calls(filter), known: HashMap::new() };
    let conditions = Conditions::of_calls(filter);
    let sql = format!("SELECT {CALL} FROM {CALLS} WHERE c.id = ?{}", conditions.sql());
    let mut select = snapshot.prepare_cached(&sql).context(CONTEXT)?;
    let mut bytes = 0;
    let mut change = |note: &ChangeRow| {
        if note.kind == "erased" {
            return Ok(Reported::Change(Change::Erased(note.call_id)));
        }
        if bytes > MAX_TEXT_BYTES {
            return Ok(Reported::Later);
        }
        // The call does not match, or it was erased since, which a later change says.
        let id = Value::from(note.call_id);
        let values = params_from_iter(std::iter::once(&id).chain(conditions.values()));
        let Some(call) = select.query_row(values, row::call).optional().context(CONTEXT)? else {
            return Ok(Reported::Nothing);
        };
        bytes += call_bytes(&call);
        Ok(Reported::Change(change_of_kind(&note.kind, call)))
    };
    let mut since =
        merge(after, turns, (notes, more), &mut |turn| matching.contains(&turn.conversation_id), &mut change)?;
    if !since.has_more {
        since.end = FeedPosition {
            turn: until.turn.max(since.end.turn),
            change: until.change.max(since.end.change),
            call: None,
        };
    }
    Ok(since)
}

fn changes_of_call(snapshot: &Transaction<'_>, call: &Call, after: FeedPosition) -> Result<ChangeBatch> {
    // Finds the last sent turn's sequence number, if that turn belongs to this call.
    let told: i64 = snapshot
        .fetch_optional(
            "SELECT sequence_number FROM call_transcriptions WHERE id = ?1 AND conversation_id = ?2",
            params![after.turn, call.conversation_id],
            |row| row.get(0),
        )
        .context(CONTEXT)?
        .unwrap_or(0);
    let turns = read(
        snapshot,
        &format!(
            "SELECT {TURN} FROM call_transcriptions t WHERE conversation_id = ?1 AND sequence_number > ?2 AND id > ?3 \
         ORDER BY sequence_number LIMIT {}",
            row_limit()
        ),
        params![call.conversation_id, told, after.turn],
        row::turn,
        turn_bytes,
    )?;
    if after.change == 0 {
        let mut since = merge(after, turns, (Vec::new(), false), &mut |_| Ok(true), &mut |_| Ok(Reported::Nothing))?;
        if !since.has_more {
            since.end.change = current_position(snapshot)?.change;
            let kind = if call.status == CallStatus::InProgress { "started" } else { "ended" };
            since.changes.push((since.end, change_of_kind(kind, call.clone())));
        }
        return Ok(since);
    }
    let notes = read(
        snapshot,
        "SELECT * FROM call_changes WHERE call_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
        params![call.id, after.change, row_limit()],
        change_row,
        |_| call_bytes(call),
    )?;
    merge(after, turns, notes, &mut |_| Ok(true), &mut |note| {
        Ok(Reported::Change(change_of_kind(&note.kind, call.clone())))
    })
}

fn erased(snapshot: &Transaction<'_>, call_id: i64, after: FeedPosition) -> Result<ChangeBatch> {
    let change: Option<i64> = snapshot
        .fetch_optional(
            "SELECT id FROM call_changes WHERE call_id = ?1 AND kind = 'erased' AND id > ?2",
            [call_id, after.change],
            |row| row.get(0),
        )
        .context(CONTEXT)?;
    let end = FeedPosition { change: change.unwrap_or(after.change), ..after };
    let changes = change.map(|_| (end, Change::Erased(call_id))).into_iter().collect();
    Ok(ChangeBatch { changes, end, has_more: false, over: true })
}

/// The meaning of a change for a stream.
enum Reported {
    Change(Change),
    /// The change is not shown.
    Nothing,
    /// The read has reached its limit.
    Later,
}

/// Merges turns and changes in the order of commits. Both lists are sorted and may be truncated. Only turns that
/// `shows` accepts are returned.
fn merge(
    after: FeedPosition,
    (turns, more_turns): (Vec<Turn>, bool),
    (notes, more_notes): (Vec<ChangeRow>, bool),
    shows: &mut dyn FnMut(&Turn) -> Result<bool>,
    change: &mut dyn FnMut(&ChangeRow) -> Result<Reported>,
) -> Result<ChangeBatch> {
    let (mut turns, mut notes) = (turns.into_iter().peekable(), notes.into_iter().peekable());
    let mut since = ChangeBatch { changes: Vec::new(), end: after, has_more: more_turns || more_notes, over: false };
    loop {
        // The rest of a truncated list is unknown, so nothing after its end may be returned.
        let turn_next = match (turns.peek(), notes.peek()) {
            (Some(turn), Some(note)) => turn.id <= note.turn_id,
            (Some(_), None) if !more_notes => true,
            (None, Some(_)) if !more_turns => false,
            _ => break,
        };
        if turn_next {
            let Some(turn) = turns.next() else { break };
            since.end.turn = turn.id;
            if shows(&turn)? {
                since.changes.push((since.end, Change::Turn(turn)));
            }
        } else {
            let Some(note) = notes.next() else { break };
            let told = change(&note)?;
            if matches!(told, Reported::Later) {
                since.has_more = true;
                break;
            }
            since.end.change = note.id;
            if let Reported::Change(change) = told {
                since.changes.push((since.end, change));
            }
        }
    }
    Ok(since)
}

fn change_of_kind(kind: &str, call: Call) -> Change {
    let call = Box::new(call);
    match kind {
        "started" => Change::Started(call),
        "ended" => Change::Ended(call),
        "alert" => Change::Alerted(call),
        _ => Change::Updated(call),
    }
}

fn row_limit() -> i64 {
    i64::try_from(MAX_ROWS + 1).expect("a small number")
}

/// Reads rows up to the limits, and returns whether there are more.
fn read<T>(
    snapshot: &Transaction<'_>,
    sql: &str,
    values: impl Params,
    from_row: fn(&Row<'_>) -> rusqlite::Result<T>,
    weight: impl Fn(&T) -> usize,
) -> Result<(Vec<T>, bool)> {
    let mut select = snapshot.prepare_cached(sql).context(CONTEXT)?;
    let mut rows = select.query(values).context(CONTEXT)?;
    let (mut read, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next().context(CONTEXT)? {
        if read.len() == MAX_ROWS || bytes > MAX_TEXT_BYTES {
            return Ok((read, true));
        }
        let value = from_row(row).context(CONTEXT)?;
        bytes += weight(&value);
        read.push(value);
    }
    Ok((read, false))
}

fn turn_bytes(turn: &Turn) -> usize {
    turn.message.as_str().len() + turn.final_text.as_ref().map_or(0, |text| text.as_str().len())
}

/// Returns the approximate length of a call's texts, in bytes.
fn call_bytes(call: &Call) -> usize {
    let long = [&call.report.analysis, &call.report.summary, &call.report.termination_reason];
    let words = call
        .last_message
        .as_ref()
        .map_or(0, |last| last.message.as_str().len() + last.final_text.as_ref().map_or(0, |text| text.as_str().len()));
    1000 + words + long.into_iter().flatten().map(String::len).sum::<usize>()
}
