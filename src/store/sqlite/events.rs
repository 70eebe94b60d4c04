//! ElevenLabs' events and histories, and what they say about their calls.
//!
//! Each event is stored raw, once, together with its parsed form. The same transaction marks its call as due for
//! reconciliation and does nothing more.
//!
//! The digest that recognises a repeated event is that of the stored body, which may be redacted. A digest of the
//! received body would reveal a removed number of nine digits to anyone who tries all of them. A delivery that is
//! repeated after the redaction flags changed may therefore be stored twice.

use super::batch::change_log::ChangeLog;
use super::batch::turns;
use super::due::DueReason;
use super::error::Context as _;
use super::json_column::json;
use super::records::{ToolClaims, claims_by_tools, history};
use super::statement::Statements as _;
use super::{erase, initiations, quarantine, reread_list};
use crate::domain::{Channel, HistoryReport, NewEvent, RecordKind, StoredEvent, Timestamp};
use crate::store::{EventSelection, Outcome, Receipt, Rejection, Result, UnreadEvents, Written};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Transaction, params};

const CONTEXT: &str = "storing an event";

/// Stores an event, once, and marks its call as due.
pub(super) fn store_event(
    transaction: &Transaction<'_>,
    turns: &mut turns::Batch<'_>,
    now: Timestamp,
    event: &NewEvent,
) -> Result<Outcome> {
    let known: Option<i64> = transaction
        .fetch_optional("SELECT id FROM webhook_events WHERE digest = ?1", [event.digest], |row| row.get(0))
        .context(CONTEXT)?;
    if let Some(id) = known {
        let receipt = Receipt { event_id: Some(id), replayed: true, due: false };
        return Ok(Ok(Written::Receipt(receipt)));
    }
    if let Some(id) = &event.conversation_id {
        if erase::is_erased(transaction, id)? {
            return Ok(Err(Rejection::Erased));
        }
        if erase::is_unfinished(transaction, id)? {
            return Ok(Err(Rejection::Unfinished));
        }
    } else if quarantine::names_erased(transaction, &event.body)? {
        return Ok(Err(Rejection::Erased));
    }
    let body = match std::str::from_utf8(&event.body) {
        Ok(text) => ValueRef::Text(text.as_bytes()),
        Err(_) => ValueRef::Blob(&event.body),
    };
    transaction
        .execute_cached(
            "INSERT INTO webhook_events (digest, event_type, conversation_id, event_time, received_at, outcome, error, \
             record, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                event.digest,
                event.event_type,
                event.conversation_id,
                event.event_time,
                now,
                event.outcome,
                event.error,
                event.record.as_ref().map(|record| &record.json),
                ToSqlOutput::Borrowed(body),
            ],
        )
        .context(CONTEXT)?;
    let id = transaction.last_insert_rowid();
    let due = mark_due(transaction, turns, now, event, DueReason::Record)?;
    // A recording does not change the call's row, but live streams of the call must show it.
    let is_audio = event.event_type.as_deref().is_some_and(|named| named.to_ascii_lowercase().contains("audio"));
    if let Some(id) = event.conversation_id.as_ref().filter(|_| is_audio) {
        ChangeLog::record_call(transaction, id)?;
    }
    Ok(Ok(Written::Receipt(Receipt { event_id: Some(id), replayed: false, due })))
}

/// Replaces the parsed form of a stored event.
pub(super) fn replace_parsed(
    transaction: &Transaction<'_>,
    turns: &mut turns::Batch<'_>,
    now: Timestamp,
    id: i64,
    event: &NewEvent,
) -> Result<Outcome> {
    if let Some(id) = &event.conversation_id {
        if erase::is_unfinished(transaction, id)? {
            return Ok(Err(Rejection::Unfinished));
        }
    }
    reread_list::delete(transaction, id)?;
    let had_record: Option<bool> = transaction
        .fetch_optional(
            "SELECT record IS NOT NULL FROM webhook_events WHERE id = ?1 AND digest = ?2",
            params![id, event.digest],
            |row| row.get(0),
        )
        .context(CONTEXT)?;
    let Some(had_record) = had_record else { return Ok(Err(Rejection::NotFound)) };
    update_parsed(transaction, id, event)?;
    let reason = if had_record { DueReason::RereadFacts } else { DueReason::Record };
    let due = mark_due(transaction, turns, now, event, reason)?;
    Ok(Ok(Written::Receipt(Receipt { event_id: Some(id), replayed: false, due })))
}

/// Writes the parsed form of a stored event.
pub(super) fn update_parsed(transaction: &Transaction<'_>, id: i64, event: &NewEvent) -> Result<()> {
    transaction
        .execute_cached(
            "UPDATE webhook_events SET event_type = ?2, conversation_id = ?3, event_time = ?4, outcome = ?5, \
             error = ?6, record = ?7, attempts = attempts + 1 WHERE id = ?1",
            params![
                id,
                event.event_type,
                event.conversation_id,
                event.event_time,
                event.outcome,
                event.error,
                event.record.as_ref().map(|record| &record.json),
            ],
        )
        .map(drop)
        .context(CONTEXT)
}

/// Marks the call of an event's record as due. Returns false if the event has no record, the call is unfinished, or the
/// record is a detection and there is no call. Any other record creates its call.
pub(super) fn mark_due(
    transaction: &Transaction<'_>,
    turns: &mut turns::Batch<'_>,
    now: Timestamp,
    event: &NewEvent,
    reason: DueReason,
) -> Result<bool> {
    let Some(record) = &event.record else { return Ok(false) };
    if record.kind == RecordKind::Detection {
        // It waits for its call: see `CallState::create`.
        let Some(call) = turns.find(transaction, &record.conversation_id)? else { return Ok(false) };
        turns.mark_due(transaction, &record.conversation_id, call, reason.without_facts())?;
        return Ok(true);
    }
    let start = record.start.unwrap_or(now);
    // Unfinished calls were refused before, so this only guards against them.
    let Some(call) = turns.get_or_create(transaction, &record.conversation_id, start)? else { return Ok(false) };
    turns.mark_due(transaction, &record.conversation_id, call, reason)?;
    Ok(true)
}

/// Stores the history of a running call.
pub(super) fn store_history(
    transaction: &Transaction<'_>,
    turns: &mut turns::Batch<'_>,
    report: &HistoryReport,
) -> Result<Outcome> {
    const CONTEXT: &str = "storing a history";
    let id = &report.conversation_id;
    if erase::is_erased(transaction, id)? {
        return Ok(Err(Rejection::Erased));
    }
    if let Some(call_sid) = &report.call_sid {
        initiations::bind(transaction, call_sid, id)?;
    }
    let start = report.history.0.values().map(|entry| entry.first_shown).min().unwrap_or(report.timestamp);
    let Some(call) = turns.get_or_create(transaction, id, start)? else { return Ok(Err(Rejection::Unfinished)) };
    let ToolClaims { mut claims, mut agent_id } = claims_by_tools(transaction, id)?;
    claims.update(&report.claims);
    agent_id = report.agent_id.clone().or(agent_id);
    let mut history = history(transaction, id)?;
    history.merge(&report.history);
    transaction
        .execute_cached(
            "INSERT INTO call_histories (conversation_id, agent_id, claims, entries) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (conversation_id) DO UPDATE SET agent_id = excluded.agent_id, claims = excluded.claims, \
             entries = excluded.entries",
            params![id, agent_id, json(&claims), json(&history)],
        )
        .context(CONTEXT)?;
    if report.is_text {
        transaction
            .execute_cached(
                "UPDATE calls SET channel = ?2 WHERE id = ?1 AND channel IS NULL",
                params![call, Channel::Text],
            )
            .context(CONTEXT)?;
    }
    turns.mark_due(transaction, id, call, DueReason::Turns)?;
    let due = true;
    Ok(Ok(Written::Receipt(Receipt { event_id: None, replayed: false, due })))
}

pub(super) fn get(connection: &Connection, id: i64) -> Result<Option<StoredEvent>> {
    connection
        .fetch_optional("SELECT id, outcome, body FROM webhook_events WHERE id = ?1", [id], |row| {
            let body = match row.get_ref("body")? {
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
                _ => Vec::new(),
            };
            Ok(StoredEvent { id: row.get("id")?, outcome: row.get("outcome")?, body })
        })
        .context("reading an event")
}

pub(super) fn ids(connection: &Connection, selection: EventSelection, after: i64, limit: usize) -> Result<Vec<i64>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection
        .fetch_all(
            "SELECT id FROM webhook_events WHERE id > ?1 AND (NOT ?2 OR outcome = 'unreadable') ORDER BY id LIMIT ?3",
            params![after, selection == EventSelection::Unreadable, limit],
            |row| row.get(0),
        )
        .context("listing events")
}

pub(super) fn unread(connection: &Connection) -> Result<UnreadEvents> {
    const CONTEXT: &str = "counting unreadable events";
    const IDS: usize = 100;
    let mut ids: Vec<i64> = connection
        .fetch_all(
            "SELECT id FROM webhook_events WHERE error IS NOT NULL AND outcome = 'unreadable' ORDER BY id LIMIT ?1",
            [UnreadEvents::MAX_LISTED],
            |row| row.get(0),
        )
        .context(CONTEXT)?;
    let unreadable = ids.len() as u64;
    ids.truncate(IDS);
    let remarked = connection
        .fetch_one(
            "SELECT count(*) FROM (SELECT 1 FROM webhook_events WHERE error IS NOT NULL \
             AND outcome IN ('applied', 'ignored') LIMIT ?1)",
            [UnreadEvents::MAX_LISTED],
            |row| row.get(0),
        )
        .context(CONTEXT)?;
    Ok(UnreadEvents { unreadable, ids, remarked, rereading: reread_list::count(connection)? })
}
