//! The platform's events and histories, and what they say of their calls.

use super::changes::Changes;
use super::error::Context as _;
use super::{align, erase, identity, turns};
use crate::model::{
    Combined, ConversationId, DriverClaims, History, HistoryReport, NewEvent, Record, StoredEvent, Timestamp,
};
use crate::store::{Error, ErrorKind, Kept, Outcome, Rejection, Result, UnreadEvents, Written};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

const KEEPING: &str = "keeping an event";
const APPLYING: &str = "taking an event over into its call";

/// Keeps an event, once, and brings its call up to what it says.
pub(super) fn keep(
    transaction: &Transaction<'_>,
    turns: &mut turns::Batch<'_>,
    now: Timestamp,
    event: &NewEvent,
) -> Result<Outcome> {
    let known: Option<i64> = transaction
        .prepare_cached("SELECT id FROM webhook_events WHERE digest = ?1")
        .and_then(|mut select| select.query_row([event.digest], |row| row.get(0)).optional())
        .doing(KEEPING)?;
    if let Some(id) = known {
        let kept = Kept { event_id: Some(id), replayed: true, reconciled: None };
        return Ok(Ok(Written::Kept(kept)));
    }
    if let Some(id) = &event.conversation_id {
        if erase::is_erased(transaction, id)? {
            return Ok(Err(Rejection::Erased));
        }
    }
    let body = match std::str::from_utf8(&event.body) {
        Ok(text) => ValueRef::Text(text.as_bytes()),
        Err(_) => ValueRef::Blob(&event.body),
    };
    transaction
        .prepare_cached(
            "INSERT INTO webhook_events (digest, event_type, conversation_id, event_time, received_at, outcome, error, \
             record, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )
        .and_then(|mut insert| {
            insert.execute(params![
                event.digest,
                event.event_type,
                event.conversation_id,
                event.event_time,
                now,
                event.outcome,
                event.error,
                event.record.as_ref().map(json),
                ToSqlOutput::Borrowed(body),
            ])
        })
        .doing(KEEPING)?;
    let id = transaction.last_insert_rowid();
    let reconciled = match &event.record {
        Some(record) => apply(transaction, turns, now, &record.conversation_id)?,
        None => None,
    };
    // A recording changes nothing in the call's row, but whoever watches the call wants to hear it.
    if let (Some(id), Some("post_call_audio")) = (&event.conversation_id, event.event_type.as_deref()) {
        Changes::tell(transaction, id)?;
    }
    Ok(Ok(Written::Kept(Kept { event_id: Some(id), replayed: false, reconciled })))
}

/// Does the same with an event that is kept already and was read again.
pub(super) fn replay(
    transaction: &Transaction<'_>,
    turns: &mut turns::Batch<'_>,
    now: Timestamp,
    id: i64,
    event: &NewEvent,
) -> Result<Outcome> {
    let changed = transaction
        .prepare_cached(
            "UPDATE webhook_events SET event_type = ?3, conversation_id = ?4, event_time = ?5, outcome = ?6, error = ?7, \
             record = ?8, attempts = attempts + 1 WHERE id = ?1 AND digest = ?2",
        )
        .and_then(|mut update| {
            update.execute(params![
                id,
                event.digest,
                event.event_type,
                event.conversation_id,
                event.event_time,
                event.outcome,
                event.error,
                event.record.as_ref().map(json),
            ])
        })
        .doing(KEEPING)?;
    if changed == 0 {
        return Ok(Err(Rejection::NotFound));
    }
    let reconciled = match &event.record {
        Some(record) => apply(transaction, turns, now, &record.conversation_id)?,
        None => None,
    };
    Ok(Ok(Written::Kept(Kept { event_id: Some(id), replayed: false, reconciled })))
}

/// Stores what a tool shows of a running call.
pub(super) fn keep_history(
    transaction: &Transaction<'_>,
    turns: &mut turns::Batch<'_>,
    now: Timestamp,
    report: &HistoryReport,
) -> Result<Outcome> {
    const DOING: &str = "keeping a history";
    let id = &report.conversation_id;
    if erase::is_erased(transaction, id)? {
        return Ok(Err(Rejection::Erased));
    }
    let start = report.history.0.values().map(|entry| entry.first_shown).min().unwrap_or(report.timestamp);
    turns.align(transaction, id, start, false)?;
    let (mut claims, mut agent_id) = said_by_tools(transaction, id)?;
    claims.update(&report.claims);
    agent_id = report.agent_id.clone().or(agent_id);
    let mut history = history(transaction, id)?;
    history.merge(&report.history);
    transaction
        .prepare_cached(
            "INSERT INTO call_histories (conversation_id, agent_id, claims, entries) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (conversation_id) DO UPDATE SET agent_id = excluded.agent_id, claims = excluded.claims, \
             entries = excluded.entries",
        )
        .and_then(|mut upsert| upsert.execute(params![id, agent_id, json(&claims), json(&history)]))
        .doing(DOING)?;
    let reconciled = apply(transaction, turns, now, id)?;
    Ok(Ok(Written::Kept(Kept { event_id: None, replayed: false, reconciled })))
}

/// Makes the call what all its records together say, whatever it was before.
fn apply(
    transaction: &Transaction<'_>,
    turns: &mut turns::Batch<'_>,
    now: Timestamp,
    id: &ConversationId,
) -> Result<Option<crate::reconcile::Counts>> {
    let (combined, event_ids) = combined(transaction, id)?;
    let (mut claims, agent_id) = said_by_tools(transaction, id)?;
    let facts = &combined.facts;
    claims.update(&facts.claims);
    let with_words = combined.transcript.is_some() || !history(transaction, id)?.0.is_empty();
    let start = facts.start.or(combined.event_time).unwrap_or(now);
    turns.align(transaction, id, start, with_words)?;
    if combined.best.is_some() {
        write_facts(transaction, &now.to_string(), id, &combined, &event_ids, agent_id.as_deref())?;
        turns.reported(id);
    } else if agent_id.is_some() {
        transaction
            .prepare_cached("UPDATE calls SET agent_id = ?2 WHERE conversation_id = ?1 AND agent_id IS NOT ?2")
            .and_then(|mut update| update.execute(params![id, agent_id]))
            .doing(APPLYING)?;
    }
    if !claims.is_empty() {
        transaction
            .prepare_cached("UPDATE calls SET driver_claims = ?2 WHERE conversation_id = ?1")
            .and_then(|mut update| update.execute(params![id, json(&claims)]))
            .doing(APPLYING)?;
    }
    identity::identify(transaction, now, id)?;
    align::counts(transaction, id)
}

/// Takes over what the records say, now that a call has other turns: where none says when it began, its turns do.
pub(super) fn facts_again(transaction: &Transaction<'_>, now: &str, id: &ConversationId) -> Result<()> {
    let (combined, event_ids) = combined(transaction, id)?;
    if combined.facts.start.is_some() {
        return Ok(());
    }
    let (_, agent_id) = said_by_tools(transaction, id)?;
    write_facts(transaction, now, id, &combined, &event_ids, agent_id.as_deref())
}

fn write_facts(
    transaction: &Transaction<'_>,
    now: &str,
    id: &ConversationId,
    combined: &Combined,
    event_ids: &[i64],
    agent_id: Option<&str>,
) -> Result<()> {
    let facts = &combined.facts;
    let Some(event_id) = combined.best.map(|at| event_ids[at]) else { return Ok(()) };
    let last_words = combined.transcript.as_ref().and_then(|(_, entries)| entries.iter().filter_map(|e| e.time).max());
    let end = facts.duration_seconds.and_then(|seconds| facts.start?.plus_seconds(seconds));
    let end = end.or(last_words).or(combined.event_time);
    // A call that the records do not say to be over is left as it is; one that is over does not end before it starts.
    transaction
        .prepare_cached(
            "UPDATE calls SET status = ifnull(:status, status), call_start_time = began.at, \
             call_end_time = iif(:status IS NULL, max(call_end_time, began.at), \
                max(coalesce(:end, call_end_time, began.at), began.at)), \
             duration_seconds = :duration, agent_id = :agent, user_id = ifnull(:user, user_id), direction = :direction, \
             termination_reason = iif(:status IS NULL, ifnull(:reason, termination_reason), :reason), \
             outcome = :outcome, summary = :summary, title = :title, main_language = :language, cost = :cost, \
             external_number = :number, batch_id = :batch, analysis = :analysis, record_event_id = :event, \
             updated_at = :now \
             FROM (SELECT coalesce(:start, first_turn_time, :reported, call_start_time) AS at FROM calls \
                   WHERE conversation_id = :id) began \
             WHERE conversation_id = :id",
        )
        .and_then(|mut update| {
            update.execute(rusqlite::named_params! {
                ":status": facts.status, ":start": facts.start, ":reported": combined.event_time, ":end": end,
                ":duration": facts.duration_seconds, ":agent": facts.agent_id.as_deref().or(agent_id),
                ":user": facts.user_id, ":direction": facts.direction, ":reason": facts.termination_reason,
                ":outcome": facts.outcome, ":summary": facts.summary, ":title": facts.title,
                ":language": facts.main_language, ":cost": facts.cost, ":number": facts.external_number,
                ":batch": facts.batch_id, ":analysis": facts.analysis, ":event": event_id, ":now": now, ":id": id,
            })
        })
        .map(drop)
        .doing(APPLYING)
}

/// What all events say of a call, and their numbers.
pub(super) fn combined(connection: &Connection, id: &ConversationId) -> Result<(Combined, Vec<i64>)> {
    const DOING: &str = "reading a call's records";
    let rows: Vec<(i64, String)> = connection
        .prepare_cached(
            "SELECT id, record FROM webhook_events WHERE conversation_id = ?1 AND record IS NOT NULL ORDER BY id",
        )
        .and_then(|mut select| select.query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
        .doing(DOING)?;
    let (mut records, mut ids) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    for (id, text) in rows {
        match parsed::<Record>(&text, DOING) {
            Ok(record) => {
                records.push(record);
                ids.push(id);
            }
            // Turns of the call must still be stored; `replay` reads the event again.
            Err(error) => {
                tracing::error!(%error, event_id = id, "what was read of an event is not understood any more");
            }
        }
    }
    Ok((Combined::of(&records), ids))
}

/// What tools have shown of a call.
pub(super) fn history(connection: &Connection, id: &ConversationId) -> Result<History> {
    const DOING: &str = "reading a call's history";
    let text: Option<String> = connection
        .prepare_cached("SELECT entries FROM call_histories WHERE conversation_id = ?1")
        .and_then(|mut select| select.query_row([id], |row| row.get(0)).optional())
        .doing(DOING)?;
    text.map_or(Ok(History::default()), |text| parsed(&text, DOING))
}

/// Who was called and which agent spoke, as tools have said.
fn said_by_tools(connection: &Connection, id: &ConversationId) -> Result<(DriverClaims, Option<String>)> {
    const DOING: &str = "reading what tools have said";
    let row: Option<(String, Option<String>)> = connection
        .prepare_cached("SELECT claims, agent_id FROM call_histories WHERE conversation_id = ?1")
        .and_then(|mut select| select.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional())
        .doing(DOING)?;
    row.map_or(Ok(Default::default()), |(claims, agent_id)| Ok((parsed(&claims, DOING)?, agent_id)))
}

pub(super) fn get(connection: &Connection, id: i64) -> Result<Option<StoredEvent>> {
    connection
        .prepare_cached("SELECT id, outcome, body FROM webhook_events WHERE id = ?1")
        .and_then(|mut select| {
            let event = |row: &rusqlite::Row<'_>| {
                let body = match row.get_ref("body")? {
                    ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
                    _ => Vec::new(),
                };
                Ok(StoredEvent { id: row.get("id")?, outcome: row.get("outcome")?, body })
            };
            select.query_row([id], event).optional()
        })
        .doing("reading an event")
}

pub(super) fn ids(connection: &Connection, after: i64, only_unreadable: bool, limit: usize) -> Result<Vec<i64>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "SELECT id FROM webhook_events WHERE id > ?1 AND (NOT ?2 OR outcome = 'unreadable') ORDER BY id LIMIT ?3",
        )
        .and_then(|mut select| select.query_map(params![after, only_unreadable, limit], |row| row.get(0))?.collect())
        .doing("listing events")
}

pub(super) fn unread(connection: &Connection) -> Result<UnreadEvents> {
    const DOING: &str = "counting unreadable events";
    const IDS: usize = 100;
    let mut ids: Vec<i64> = connection
        .prepare_cached(
            "SELECT id FROM webhook_events WHERE error IS NOT NULL AND outcome = 'unreadable' ORDER BY id LIMIT ?1",
        )
        .and_then(|mut select| select.query_map([UnreadEvents::MOST], |row| row.get(0))?.collect())
        .doing(DOING)?;
    let unreadable = ids.len() as u64;
    ids.truncate(IDS);
    let remarked = connection
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM webhook_events WHERE error IS NOT NULL \
             AND outcome IN ('applied', 'ignored') LIMIT ?1)",
        )
        .and_then(|mut select| select.query_row([UnreadEvents::MOST], |row| row.get(0)))
        .doing(DOING)?;
    Ok(UnreadEvents { unreadable, ids, remarked })
}

pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("these values have no maps with keys that are no text")
}

pub(super) fn parsed<T: DeserializeOwned>(text: &str, doing: &'static str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::new(ErrorKind::Other, doing, error))
}
