//! Whole calls on their way back in: rows as they were, each thing wholly or not at all.
//!
//! What is there already as it is to be stays untouched; what is there otherwise is never overwritten. A row must keep the
//! rules of the domain ([`super::rules`]) and of its table, and it must read back as a value of the domain, so that nothing
//! gets in that the service could not give out.
//!
//! A call of some hundred turns is restored in one transaction. A longer one is looked at before a transaction begins, noted as
//! unfinished, and restored in slices ([`go_on`]). What a crash cuts off is erased again.

use super::read;
use super::rows::{DOING, Failed, insert, read_back, readable, unfit, value};
use crate::domain::ConversationId;
use crate::domain::validation::Problem;
use crate::store::sqlite::error::Context as _;
use crate::store::sqlite::{due, erase, row};
use crate::store::{Archived, ArchivedCall, Outcome, Rejection, Result, Row as Columns, Write, Written};
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, Row, Transaction, params};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;

/// Maximum number of turns that one transaction restores.
const MAX_SLICE_TURNS: usize = 500;

/// Columns that exports of older versions lack, and that are made of the records here.
const MADE_LATER: [&str; 3] = ["record_time", "in_record", "uncompared"];

/// Returns the outcome of what failed, unless the database did.
fn settled(done: Result<Written, Failed>) -> Result<Outcome> {
    match done {
        Ok(written) => Ok(Ok(written)),
        Err(Failed::Unfit(problem)) => Ok(Err(Rejection::Unfit(problem))),
        Err(Failed::Database(error)) => Err(error),
    }
}

/// Looks at the long calls of a batch that are to be restored, before its transaction begins, because that takes longer than
/// others may wait. Returns the outcomes, by place, of those that break a rule or are there already.
pub(in crate::store::sqlite) fn look_at_long_calls(
    connection: &Connection,
    batch: &[Write],
) -> Result<BTreeMap<usize, Outcome>> {
    let mut outcomes = BTreeMap::new();
    for (n, write) in batch.iter().enumerate() {
        let Write::Restore(archived) = write else { continue };
        let Archived::Call(call) = &**archived else { continue };
        if call.turns.len() <= MAX_SLICE_TURNS {
            continue;
        }
        match look_at(connection, call) {
            Ok(false) => {}
            Ok(true) => drop(outcomes.insert(n, Ok(Written::Restored(false)))),
            Err(failed) => drop(outcomes.insert(n, settled(Err(failed))?)),
        }
    }
    Ok(outcomes)
}

/// Stores it, unless it is there.
pub(in crate::store::sqlite) fn restore(transaction: &Transaction<'_>, archived: &Archived) -> Result<Outcome> {
    in_savepoint(transaction, || match archived {
        Archived::Driver(driver) => driver_(transaction, driver),
        Archived::Dispatch(dispatch) => dispatch_(transaction, dispatch),
        Archived::Event(event) => event_(transaction, event),
        Archived::Call(call) => call_(transaction, call),
    })
}

/// Does something wholly or not at all within a transaction.
fn in_savepoint(transaction: &Transaction<'_>, restore: impl FnOnce() -> Result<Written, Failed>) -> Result<Outcome> {
    transaction.execute_batch("SAVEPOINT restore").doing(DOING)?;
    let outcome = settled(restore())?;
    let end = if outcome.is_ok() { "RELEASE restore" } else { "ROLLBACK TO restore; RELEASE restore" };
    transaction.execute_batch(end).doing(DOING)?;
    Ok(outcome)
}

fn driver_(connection: &Connection, driver: &Columns) -> Result<Written, Failed> {
    super::rules::driver(&super::rules::Table::read(connection, "drivers")?, driver)?;
    let id = value(driver, "id")?;
    if there(connection, "SELECT * FROM drivers WHERE id = ?1", &id, driver)? {
        return Ok(Written::Restored(false));
    }
    insert(connection, "drivers", driver)?;
    read_back(connection, "SELECT * FROM drivers WHERE id = ?1", &id, row::driver)?;
    Ok(Written::Restored(true))
}

fn dispatch_(connection: &Connection, dispatch: &Columns) -> Result<Written, Failed> {
    super::rules::dispatch(&super::rules::Table::read(connection, "call_dispatches")?, dispatch)?;
    let id = value(dispatch, "conversation_id")?;
    if there(connection, "SELECT * FROM call_dispatches WHERE conversation_id = ?1", &id, dispatch)? {
        return Ok(Written::Restored(false));
    }
    not_erased(connection, dispatch)?;
    insert(connection, "call_dispatches", dispatch)?;
    read_back(connection, "SELECT * FROM call_dispatches WHERE conversation_id = ?1", &id, row::dispatch)?;
    Ok(Written::Restored(true))
}

fn event_(connection: &Connection, event: &Columns) -> Result<Written, Failed> {
    super::rules::event(&super::rules::Table::read(connection, "webhook_events")?, event)?;
    let id = value(event, "id")?;
    if there(connection, "SELECT * FROM webhook_events WHERE id = ?1", &id, event)? {
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
    Ok(Written::Restored(true))
}

const CALL: &str = "SELECT * FROM calls WHERE conversation_id = ?1";
const HISTORY: &str = "SELECT * FROM call_histories WHERE conversation_id = ?1";
const TURNS: &str = "SELECT * FROM call_transcriptions WHERE conversation_id = ?1 ORDER BY sequence_number";

fn call_(connection: &Transaction<'_>, call: &ArchivedCall) -> Result<Written, Failed> {
    let ArchivedCall { row: columns, history, turns } = call;
    let is_long = turns.len() > MAX_SLICE_TURNS;
    if !is_long && look_at(connection, call)? {
        return Ok(Written::Restored(false));
    }
    not_erased(connection, columns)?;
    let slice = 0..turns.len().min(MAX_SLICE_TURNS);
    let mut columns = columns.clone();
    columns.insert("turn_count".to_owned(), slice.end.into());
    insert(connection, "calls", &columns)?;
    if let Some(history) = history {
        at("history", insert(connection, "call_histories", history))?;
    }
    let of_the_domain = format!("SELECT {} FROM calls c WHERE conversation_id = ?1", row::CALL);
    let id = value(&columns, "conversation_id")?;
    let read = read_back(connection, &of_the_domain, &id, row::call)?;
    insert_turns(connection, call, slice)?;
    if is_long {
        erase::note(connection, &read.conversation_id, erase::Kind::Restore)?;
        reserve_ids(connection, turns)?;
        return Ok(Written::Begun);
    }
    whole(connection, call)
}

/// Notes what is to be done with a call that is wholly restored.
fn whole(connection: &Connection, call: &ArchivedCall) -> Result<Written, Failed> {
    let row_id = call.row.get("id").and_then(Value::as_i64).expect("checked by the rules");
    // An older export lacks what is made of records here, and what was due there is not told.
    if call.history.is_some() || call.row.get("record_event_id").is_some_and(|event| !event.is_null()) {
        due::note(connection, row_id, false)?;
    }
    Ok(Written::Restored(true))
}

/// Sees to it that no turn that arrives between two slices gets the number of one that is still to be restored.
fn reserve_ids(connection: &Connection, turns: &[Columns]) -> Result<()> {
    let last = turns.iter().filter_map(|turn| turn.get("id")?.as_i64()).max();
    connection
        .prepare_cached("UPDATE sqlite_sequence SET seq = max(seq, ?1) WHERE name = 'call_transcriptions'")
        .and_then(|mut update| update.execute([last]))
        .map(drop)
        .doing(DOING)
}

/// Restores the next slice of a long call, of which so many turns are restored.
pub(in crate::store::sqlite) fn go_on(
    transaction: &Transaction<'_>,
    call: &ArchivedCall,
    restored: usize,
) -> Result<Outcome> {
    in_savepoint(transaction, || {
        let id = value(&call.row, "conversation_id")?;
        let as_left: bool = transaction
            .prepare_cached(
                "SELECT 1 FROM unfinished_calls JOIN calls USING (conversation_id) \
                 WHERE conversation_id = ?1 AND kind = 'restore' AND turn_count = ?2",
            )
            .and_then(|mut select| select.exists(params![id, restored]))
            .doing(DOING)?;
        if !as_left {
            return unfit(
                "conversation_id",
                "is of a call that a service erased while it was restored; import it again",
            );
        }
        let slice = restored..call.turns.len().min(restored + MAX_SLICE_TURNS);
        let is_last = slice.end == call.turns.len();
        transaction
            .prepare_cached("UPDATE calls SET turn_count = ?2 WHERE conversation_id = ?1")
            .and_then(|mut update| update.execute(params![id, slice.end]))
            .doing(DOING)?;
        insert_turns(transaction, call, slice)?;
        if !is_last {
            return Ok(Written::Begun);
        }
        transaction
            .prepare_cached("DELETE FROM unfinished_calls WHERE conversation_id = ?1")
            .and_then(|mut delete| delete.execute([&id]))
            .doing(DOING)?;
        whole(transaction, call)
    })
}

/// Checks a call by the rules, and returns whether it is there as it is to be.
fn look_at(connection: &Connection, call: &ArchivedCall) -> Result<bool, Failed> {
    let ArchivedCall { row: columns, history, turns } = call;
    super::rules::call(&super::rules::CallTables::read(connection)?, call)?;
    let id = value(columns, "conversation_id")?;
    finished(connection, columns)?;
    if !there(connection, CALL, &id, columns)? {
        return Ok(false);
    }
    same("history", read::one(connection, HISTORY, &id)?.as_ref(), history.as_ref())?;
    let stored = read::all(connection, TURNS, &id)?;
    if stored.len() != turns.len() {
        return unfit("transcriptions", format!("the call is here with {} of them", stored.len()));
    }
    for (n, (stored, turn)) in stored.iter().zip(turns).enumerate() {
        same(&format!("transcriptions[{n}]"), Some(stored), Some(&turn_of(call, turn)))?;
    }
    Ok(true)
}

/// A turn's row, which leaves without the conversation's id.
fn turn_of(call: &ArchivedCall, turn: &Columns) -> Columns {
    let mut turn = turn.clone();
    turn.insert("conversation_id".to_owned(), call.row["conversation_id"].clone());
    turn
}

fn insert_turns(connection: &Connection, call: &ArchivedCall, slice: Range<usize>) -> Result<(), Failed> {
    for n in slice.clone() {
        let turn = turn_of(call, &call.turns[n]);
        at(&format!("transcriptions[{n}]"), insert(connection, "call_transcriptions", &turn))?;
    }
    let id = value(&call.row, "conversation_id")?;
    turns_read_back(connection, &id, &slice)?;
    Ok(index(connection, &id, &slice)?)
}

fn turns_read_back(connection: &Connection, id: &SqlValue, slice: &Range<usize>) -> Result<(), Failed> {
    let sql = format!(
        "SELECT {} FROM call_transcriptions t WHERE conversation_id = ?1 AND sequence_number > ?2 \
         ORDER BY sequence_number",
        row::TURN
    );
    let mut select = connection.prepare_cached(&sql).doing(DOING)?;
    let mut rows = select.query(params![id, slice.start]).doing(DOING)?;
    for n in slice.clone() {
        let Some(row) = rows.next().doing(DOING)? else { break };
        at(&format!("transcriptions[{n}]"), row::turn(row).map_err(|error| readable(row, error)))?;
    }
    Ok(())
}

/// Tells the search index of turns that it would take to be in it already by their numbers.
fn index(connection: &Connection, id: &SqlValue, slice: &Range<usize>) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO search_changes (turn_id) SELECT id FROM call_transcriptions \
             WHERE conversation_id = ?1 AND sequence_number BETWEEN ?2 + 1 AND ?3 ORDER BY id",
        )
        .and_then(|mut insert| insert.execute(params![id, slice.start, slice.end]))
        .map(drop)
        .doing(DOING)
}

/// Refuses what belongs to a call that was erased here: whoever had it erased does not expect an old copy to bring it back.
fn not_erased(connection: &Connection, columns: &Columns) -> Result<(), Failed> {
    let id = columns.get("conversation_id").and_then(Value::as_str).and_then(|id| ConversationId::new(id).ok());
    match id {
        Some(id) if erase::is_erased(connection, &id)? => unfit("conversation_id", "is of a call that was erased here"),
        _ => Ok(()),
    }
}

/// Refuses what belongs to a call that is unfinished here.
fn finished(connection: &Connection, columns: &Columns) -> Result<(), Failed> {
    let id = columns.get("conversation_id").and_then(Value::as_str).and_then(|id| ConversationId::new(id).ok());
    match id {
        Some(id) if erase::is_unfinished(connection, &id)? => {
            unfit("conversation_id", "is of a call that is being erased or restored here; import it again later")
        }
        _ => Ok(()),
    }
}

/// Whether the row is there as it is to be.
fn there(connection: &Connection, sql: &str, key: &SqlValue, columns: &Columns) -> Result<bool, Failed> {
    let Some(stored) = read::one(connection, sql, key)? else { return Ok(false) };
    same("", Some(&stored), Some(columns)).map(|()| true)
}

/// Refuses what is there otherwise, by the first column that differs.
fn same(within: &str, stored: Option<&Columns>, wanted: Option<&Columns>) -> Result<(), Failed> {
    let (stored, wanted) = match (stored, wanted) {
        (None, None) => return Ok(()),
        (Some(stored), Some(wanted)) => (stored, wanted),
        _ => return unfit(within, "is otherwise in what is here already"),
    };
    let made_later = |name: &str| MADE_LATER.contains(&name) && !wanted.contains_key(name);
    let differs =
        stored.iter().find(|(name, value)| wanted.get(*name).unwrap_or(&Value::Null) != *value && !made_later(name));
    let unknown = wanted.keys().find(|name| !stored.contains_key(*name));
    match differs.map(|(name, _)| name).or(unknown) {
        None => Ok(()),
        Some(name) if within.is_empty() => unfit(name, "is otherwise in what is here already"),
        Some(name) => unfit(&format!("{within}.{name}"), "is otherwise in what is here already"),
    }
}

/// Says where in a line a field stands.
fn at<T>(place: &str, done: Result<T, Failed>) -> Result<T, Failed> {
    done.map_err(|failed| match failed {
        Failed::Unfit(Problem { field, rule }) => Failed::Unfit(Problem { field: format!("{place}.{field}"), rule }),
        database @ Failed::Database(_) => database,
    })
}
