//! Restores exported rows unchanged, each item completely or not at all.
//!
//! An existing equal row stays untouched, and a different one is never overwritten. A row must keep the rules of the
//! domain ([`super::rules`]) and of its table, and must read back as a domain value, so that the service can return
//! everything that it stores. Derived data (search index, changes, statistics) is rebuilt.
//!
//! A call with up to some hundred turns is restored in one transaction. A longer one is checked before a transaction
//! begins, noted as unfinished, and restored in slices ([`restore_next_slice`]). If a crash interrupts this, the call
//! is erased.

use super::read;
use super::rows::{CONTEXT, RestoreError, check_readable, conversion_error, insert, read_back, value};
use crate::domain::validation::FieldError;
use crate::domain::{ConversationId, READER_VERSION, Record};
use crate::store::sqlite::batch::reconcile::DETAIL_COLUMNS;
use crate::store::sqlite::due::{self, DueReason};
use crate::store::sqlite::error::Context as _;
use crate::store::sqlite::statement::Statements as _;
use crate::store::sqlite::{erase, row};
use crate::store::{ArchiveRecord, ArchivedCall, Outcome, Rejection, Result, Row as Columns, Write, Written};
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, Row, Transaction, params};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;

/// Maximum number of turns that one transaction restores.
const MAX_SLICE_TURNS: usize = 500;

/// Columns that exports of older versions lack, in addition to [`DETAIL_COLUMNS`]. They are computed from the records.
const LATER_COLUMNS: [&str; 12] = [
    "has_audio",
    "tool_error",
    "last_message_id",
    "record_time",
    "in_record",
    "uncompared",
    "answered_by",
    "answered_by_source",
    "answered_by_conflict",
    "channel",
    "kind",
    "metrics",
];

/// Converts a broken rule to an outcome. Returns a database failure as the error.
fn settled(done: Result<Written, RestoreError>) -> Result<Outcome> {
    match done {
        Ok(written) => Ok(Ok(written)),
        Err(RestoreError::InvalidRow(problem)) => Ok(Err(Rejection::Unfit(problem))),
        Err(RestoreError::Database(error)) => Err(error),
    }
}

/// Checks the long calls of a batch before its transaction begins, because that takes longer than other writes may
/// wait. Returns the outcomes of calls that break a rule or already exist, by index.
pub(in crate::store::sqlite) fn check_long_calls(
    connection: &Connection,
    batch: &[Write],
) -> Result<BTreeMap<usize, Outcome>> {
    let mut outcomes = BTreeMap::new();
    for (n, write) in batch.iter().enumerate() {
        let Write::Restore(archived) = write else { continue };
        let ArchiveRecord::Call(call) = &**archived else { continue };
        if call.turns.len() <= MAX_SLICE_TURNS {
            continue;
        }
        match check_long_call(connection, call) {
            Ok(false) => {}
            Ok(true) => drop(outcomes.insert(n, Ok(Written::Restored(false)))),
            Err(failed) => drop(outcomes.insert(n, settled(Err(failed))?)),
        }
    }
    Ok(outcomes)
}

/// Restores an item, unless it exists.
pub(in crate::store::sqlite) fn restore(transaction: &Transaction<'_>, archived: &ArchiveRecord) -> Result<Outcome> {
    in_savepoint(transaction, || match archived {
        ArchiveRecord::Driver(driver) => restore_driver(transaction, driver),
        ArchiveRecord::Dispatch(dispatch) => restore_dispatch(transaction, dispatch),
        ArchiveRecord::Event(event) => restore_event(transaction, event),
        ArchiveRecord::Call(call) => restore_call(transaction, call),
    })
}

/// Runs `restore` in a savepoint, so that it takes effect completely or not at all.
fn in_savepoint(
    transaction: &Transaction<'_>,
    restore: impl FnOnce() -> Result<Written, RestoreError>,
) -> Result<Outcome> {
    transaction.execute_batch("SAVEPOINT restore").context(CONTEXT)?;
    let outcome = settled(restore())?;
    let end = if outcome.is_ok() { "RELEASE restore" } else { "ROLLBACK TO restore; RELEASE restore" };
    transaction.execute_batch(end).context(CONTEXT)?;
    Ok(outcome)
}

fn restore_driver(connection: &Connection, driver: &Columns) -> Result<Written, RestoreError> {
    super::rules::driver(&super::rules::Table::read(connection, "drivers")?, driver)?;
    let id = value(driver, "id")?;
    if exists_identical(connection, "SELECT * FROM drivers WHERE id = ?1", &id, driver)? {
        return Ok(Written::Restored(false));
    }
    insert(connection, "drivers", driver)?;
    read_back(connection, "SELECT * FROM drivers WHERE id = ?1", &id, row::driver)?;
    Ok(Written::Restored(true))
}

fn restore_dispatch(connection: &Connection, dispatch: &Columns) -> Result<Written, RestoreError> {
    super::rules::dispatch(&super::rules::Table::read(connection, "call_dispatches")?, dispatch)?;
    let id = value(dispatch, "conversation_id")?;
    if exists_identical(connection, "SELECT * FROM call_dispatches WHERE conversation_id = ?1", &id, dispatch)? {
        return Ok(Written::Restored(false));
    }
    not_erased(connection, dispatch)?;
    insert(connection, "call_dispatches", dispatch)?;
    read_back(connection, "SELECT * FROM call_dispatches WHERE conversation_id = ?1", &id, row::dispatch)?;
    Ok(Written::Restored(true))
}

fn restore_event(connection: &Connection, event: &Columns) -> Result<Written, RestoreError> {
    super::rules::event(&super::rules::Table::read(connection, "webhook_events")?, event)?;
    let id = value(event, "id")?;
    if exists_identical(connection, "SELECT * FROM webhook_events WHERE id = ?1", &id, event)? {
        return Ok(Written::Restored(false));
    }
    not_erased(connection, event)?;
    finished(connection, event)?;
    insert(connection, "webhook_events", event)?;
    let outcome = |row: &Row<'_>| {
        let _: Option<ConversationId> = row.get("conversation_id")?;
        row.get::<_, crate::domain::EventOutcome>("outcome").map(drop)
    };
    read_back(connection, "SELECT * FROM webhook_events WHERE id = ?1", &id, outcome)?;
    // The event was parsed by an older version, which read less of it.
    let record = event.get("record").and_then(Value::as_str).and_then(|text| serde_json::from_str::<Record>(text).ok());
    if record.is_none_or(|record| record.reader < READER_VERSION) {
        connection
            .prepare_cached("INSERT OR IGNORE INTO event_rereads (event_id) VALUES (?1)")
            .and_then(|mut insert| insert.execute([&id]))
            .context(CONTEXT)?;
    }
    Ok(Written::Restored(true))
}

const CALL: &str = "SELECT * FROM calls WHERE conversation_id = ?1";
const HISTORY: &str = "SELECT * FROM call_histories WHERE conversation_id = ?1";
const TOOL_CALLS: &str = "SELECT * FROM tool_calls WHERE conversation_id = ?1 ORDER BY position";
const TURNS: &str = "SELECT * FROM call_transcriptions WHERE conversation_id = ?1 ORDER BY sequence_number";

fn restore_call(connection: &Transaction<'_>, call: &ArchivedCall) -> Result<Written, RestoreError> {
    let ArchivedCall { row: columns, history, turns, tools } = call;
    let is_long = turns.len() > MAX_SLICE_TURNS;
    if !is_long && check_long_call(connection, call)? {
        return Ok(Written::Restored(false));
    }
    not_erased(connection, columns)?;
    let slice = 0..turns.len().min(MAX_SLICE_TURNS);
    let mut columns = columns.clone();
    columns.insert("turn_count".to_owned(), slice.end.into());
    insert(connection, "calls", &columns)?;
    if let Some(history) = history {
        prefix_line_field("history", insert(connection, "call_histories", history))?;
    }
    for (n, tool) in tools.iter().flatten().enumerate() {
        prefix_line_field(&format!("tool_calls[{n}]"), insert(connection, "tool_calls", &row_of(call, tool)))?;
    }
    let of_the_domain = format!("SELECT {} FROM {} WHERE c.conversation_id = ?1", row::CALL, row::CALLS);
    let id = value(&columns, "conversation_id")?;
    let read = read_back(connection, &of_the_domain, &id, row::call)?;
    insert_turns(connection, call, slice)?;
    if is_long {
        erase::record_unfinished(connection, &read.conversation_id, erase::Kind::Restore)?;
        reserve_ids(connection, turns)?;
        return Ok(Written::Begun);
    }
    finish_call(connection, call)
}

/// Marks a completely restored call as due if necessary.
fn finish_call(connection: &Connection, call: &ArchivedCall) -> Result<Written, RestoreError> {
    let row_id = call.row.get("id").and_then(Value::as_i64).expect("checked by the rules");
    connection
        .execute_cached(
            &format!(
                "UPDATE calls SET last_message_id = (SELECT id FROM {}) WHERE conversation_id = ?1",
                row::LAST_MESSAGE
            ),
            [value(&call.row, "conversation_id")?],
        )
        .context(CONTEXT)?;
    // An older export lacks columns that are computed from records, and does not say whether the call was due.
    if call.history.is_some() || call.row.get("record_event_id").is_some_and(|event| !event.is_null()) {
        due::mark_due(connection, row_id, DueReason::Turns)?;
    }
    Ok(Written::Restored(true))
}

/// Advances the counter of turn ids, so that a turn that arrives between two slices does not get the id of one that is
/// still to be restored.
fn reserve_ids(connection: &Connection, turns: &[Columns]) -> Result<()> {
    let last = turns.iter().filter_map(|turn| turn.get("id")?.as_i64()).max();
    connection
        .execute_cached("UPDATE sqlite_sequence SET seq = max(seq, ?1) WHERE name = 'call_transcriptions'", [last])
        .map(drop)
        .context(CONTEXT)
}

/// Restores the next slice of a long call. `restored` is the number of turns that are already restored.
pub(in crate::store::sqlite) fn restore_next_slice(
    transaction: &Transaction<'_>,
    call: &ArchivedCall,
    restored: usize,
) -> Result<Outcome> {
    in_savepoint(transaction, || {
        let id = value(&call.row, "conversation_id")?;
        let as_left: bool = transaction
            .has_row(
                "SELECT 1 FROM unfinished_calls JOIN calls USING (conversation_id) \
                 WHERE conversation_id = ?1 AND kind = 'restore' AND turn_count = ?2",
                params![id, restored],
            )
            .context(CONTEXT)?;
        if !as_left {
            return conversion_error(
                "conversation_id",
                "belongs to a call that a service erased during its restore; import it again",
            );
        }
        let slice = restored..call.turns.len().min(restored + MAX_SLICE_TURNS);
        let is_last = slice.end == call.turns.len();
        transaction
            .execute_cached("UPDATE calls SET turn_count = ?2 WHERE conversation_id = ?1", params![id, slice.end])
            .context(CONTEXT)?;
        insert_turns(transaction, call, slice)?;
        if !is_last {
            return Ok(Written::Begun);
        }
        transaction
            .execute_cached("DELETE FROM unfinished_calls WHERE conversation_id = ?1", [&id])
            .context(CONTEXT)?;
        finish_call(transaction, call)
    })
}

/// Checks a call by the rules, and returns whether an equal call exists.
fn check_long_call(connection: &Connection, call: &ArchivedCall) -> Result<bool, RestoreError> {
    let ArchivedCall { row: columns, history, turns, tools } = call;
    super::rules::call(&super::rules::CallTables::read(connection)?, call)?;
    let id = value(columns, "conversation_id")?;
    finished(connection, columns)?;
    if !exists_identical(connection, CALL, &id, columns)? {
        return Ok(false);
    }
    ensure_equal("history", read::query_one(connection, HISTORY, &id)?.as_ref(), history.as_ref())?;
    if let Some(tools) = tools {
        let stored = read::query_all(connection, TOOL_CALLS, &id)?;
        if stored.len() != tools.len() {
            return conversion_error("tool_calls", format!("the existing call has {} of them", stored.len()));
        }
        for (n, (stored, tool)) in stored.iter().zip(tools).enumerate() {
            ensure_equal(&format!("tool_calls[{n}]"), Some(stored), Some(&row_of(call, tool)))?;
        }
    }
    let stored = read::query_all(connection, TURNS, &id)?;
    if stored.len() != turns.len() {
        return conversion_error("transcriptions", format!("the existing call has {} of them", stored.len()));
    }
    for (n, (stored, turn)) in stored.iter().zip(turns).enumerate() {
        ensure_equal(&format!("transcriptions[{n}]"), Some(stored), Some(&row_of(call, turn)))?;
    }
    Ok(true)
}

/// Returns the row of a turn or a tool call with the conversation id, which the export leaves out.
fn row_of(call: &ArchivedCall, row: &Columns) -> Columns {
    let mut row = row.clone();
    row.insert("conversation_id".to_owned(), call.row["conversation_id"].clone());
    row
}

fn insert_turns(connection: &Connection, call: &ArchivedCall, slice: Range<usize>) -> Result<(), RestoreError> {
    for n in slice.clone() {
        let turn = row_of(call, &call.turns[n]);
        prefix_line_field(&format!("transcriptions[{n}]"), insert(connection, "call_transcriptions", &turn))?;
    }
    let id = value(&call.row, "conversation_id")?;
    turns_read_back(connection, &id, &slice)?;
    Ok(index(connection, &id, &slice)?)
}

fn turns_read_back(connection: &Connection, id: &SqlValue, slice: &Range<usize>) -> Result<(), RestoreError> {
    let sql = format!(
        "SELECT {} FROM call_transcriptions t WHERE conversation_id = ?1 AND sequence_number > ?2 \
         ORDER BY sequence_number",
        row::TURN
    );
    let mut select = connection.prepare_cached(&sql).context(CONTEXT)?;
    let mut rows = select.query(params![id, slice.start]).context(CONTEXT)?;
    for n in slice.clone() {
        let Some(row) = rows.next().context(CONTEXT)? else { break };
        prefix_line_field(&format!("transcriptions[{n}]"), row::turn(row).map_err(|error| check_readable(row, error)))?;
    }
    Ok(())
}

/// Indexes restored turns whose ids are below the indexer's position, which it would otherwise skip.
fn index(connection: &Connection, id: &SqlValue, slice: &Range<usize>) -> Result<()> {
    connection
        .execute_cached(
            "INSERT INTO search_changes (turn_id) SELECT id FROM call_transcriptions \
             WHERE conversation_id = ?1 AND sequence_number BETWEEN ?2 + 1 AND ?3 ORDER BY id",
            params![id, slice.start, slice.end],
        )
        .map(drop)
        .context(CONTEXT)
}

/// Refuses rows of a call that was erased here, because an old export must not undo an erasure.
fn not_erased(connection: &Connection, columns: &Columns) -> Result<(), RestoreError> {
    let id = columns.get("conversation_id").and_then(Value::as_str).and_then(|id| ConversationId::new(id).ok());
    match id {
        Some(id) if erase::is_erased(connection, &id)? => {
            conversion_error("conversation_id", "belongs to a call that was erased here")
        }
        _ => Ok(()),
    }
}

/// Refuses rows of a call that is unfinished here.
fn finished(connection: &Connection, columns: &Columns) -> Result<(), RestoreError> {
    let id = columns.get("conversation_id").and_then(Value::as_str).and_then(|id| ConversationId::new(id).ok());
    match id {
        Some(id) if erase::is_unfinished(connection, &id)? => conversion_error(
            "conversation_id",
            "belongs to a call that is being erased or restored; import it again later",
        ),
        _ => Ok(()),
    }
}

/// Returns whether an equal row exists.
fn exists_identical(
    connection: &Connection,
    sql: &str,
    key: &SqlValue,
    columns: &Columns,
) -> Result<bool, RestoreError> {
    let Some(stored) = read::query_one(connection, sql, key)? else { return Ok(false) };
    ensure_equal("", Some(&stored), Some(columns)).map(|()| true)
}

/// Refuses a row that differs from the existing one, naming the first different column.
fn ensure_equal(within: &str, stored: Option<&Columns>, wanted: Option<&Columns>) -> Result<(), RestoreError> {
    let (stored, wanted) = match (stored, wanted) {
        (None, None) => return Ok(()),
        (Some(stored), Some(wanted)) => (stored, wanted),
        _ => return conversion_error(within, "differs from the existing row"),
    };
    let is_later = |name: &str| LATER_COLUMNS.contains(&name) || DETAIL_COLUMNS.contains(&name);
    let may_differ = |name: &str| is_later(name) && !wanted.contains_key(name);
    let differs =
        stored.iter().find(|(name, value)| wanted.get(*name).unwrap_or(&Value::Null) != *value && !may_differ(name));
    let unknown = wanted.keys().find(|name| !stored.contains_key(*name));
    match differs.map(|(name, _)| name).or(unknown) {
        None => Ok(()),
        Some(name) if within.is_empty() => conversion_error(name, "differs from the existing row"),
        Some(name) => conversion_error(&format!("{within}.{name}"), "differs from the existing row"),
    }
}

/// Prefixes the failed field with its position in the exported line.
fn prefix_line_field<T>(place: &str, done: Result<T, RestoreError>) -> Result<T, RestoreError> {
    done.map_err(|failed| match failed {
        RestoreError::InvalidRow(FieldError { field, rule }) => {
            RestoreError::InvalidRow(FieldError { field: format!("{place}.{field}"), rule })
        }
        database @ RestoreError::Database(_) => database,
    })
}
