//! Erasing: a call with all that is kept about it, and what has become old.
//!
//! What a transaction deletes is overwritten with zeros in the pages (`secure_delete`), what remains in them
//! otherwise by [`super::page_scrub`], and [`super::checkpoint::forget`] takes the older states of those pages out of the log.

use super::error::Context as _;
use super::found;
use crate::model::{ConversationId, DriverId, PhoneNumber, Timestamp};
use crate::store::{CallKey, OldCall, OldCalls, Outcome, Rejection, Result, Written};
use rusqlite::{Connection, Transaction, params};
use sha2::{Digest as _, Sha256};

const DOING: &str = "erasing a call";

/// Erases a call for good: the platform's records of it are not taken any more.
pub(super) fn call(transaction: &Transaction<'_>, now: Timestamp, id: &ConversationId) -> Result<Outcome> {
    if !all_of(transaction, id)? {
        return Ok(Err(Rejection::NotFound));
    }
    transaction
        .prepare_cached(
            "INSERT INTO erased_calls (digest, erased_at) VALUES (?1, ?2) \
             ON CONFLICT (digest) DO UPDATE SET erased_at = excluded.erased_at",
        )
        .and_then(|mut insert| insert.execute(params![digest(id), now]))
        .doing(DOING)?;
    Ok(Ok(Written::Done))
}

/// Erases a call if nothing came of it since `before`.
pub(super) fn old_call(transaction: &Transaction<'_>, id: &ConversationId, before: Timestamp) -> Result<Outcome> {
    let old = transaction
        .prepare_cached(&format!("SELECT 1 FROM calls c WHERE conversation_id = ?1 AND {LAST_SIGN} < ?2"))
        .and_then(|mut select| select.exists(params![id, before]))
        .doing(DOING)?;
    Ok(if old && all_of(transaction, id)? { Ok(Written::Done) } else { Err(Rejection::NotFound) })
}

/// Deletes all that is kept about a call, and says whether there was anything but a dispatch.
fn all_of(transaction: &Transaction<'_>, id: &ConversationId) -> Result<bool> {
    let delete = |sql| transaction.prepare_cached(sql).and_then(|mut delete| delete.execute([id])).doing(DOING);
    let events = delete("DELETE FROM webhook_events WHERE conversation_id = ?1")?;
    // Its turns and histories go with it.
    let calls = delete("DELETE FROM calls WHERE conversation_id = ?1")?;
    if events + calls == 0 {
        return Ok(false);
    }
    delete("DELETE FROM call_dispatches WHERE conversation_id = ?1")?;
    // What could not be read may be about it all the same.
    delete(
        "DELETE FROM webhook_events WHERE conversation_id IS NULL \
         AND instr(CAST(body AS BLOB), CAST('\"' || ?1 || '\"' AS BLOB)) > 0",
    )?;
    Ok(true)
}

fn digest(id: &ConversationId) -> [u8; 32] {
    Sha256::digest(id.as_str()).into()
}

/// Whether a call was erased for good.
pub(super) fn is_erased(connection: &Connection, id: &ConversationId) -> Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM erased_calls WHERE digest = ?1")
        .and_then(|mut select| select.exists([digest(id)]))
        .doing("asking whether a call was erased")
}

/// When the last sign of life of call `c` was: its end, or else its last turn, and whenever a turn of it arrived while it
/// ran. Senders' clocks may be wrong, and language models invent times: what lies after its own arrival counts as
/// then, and what was heard does not grow old by what its sender says. What is fetched later is as old as it says.
const LAST_SIGN: &str = "max(min(coalesce(c.call_end_time, c.last_turn_time, c.call_start_time), c.updated_at), ifnull( \
    (SELECT t.created_at FROM call_transcriptions t WHERE t.conversation_id = c.conversation_id \
     AND (c.status = 'in_progress' OR t.source IN ('live', 'history')) ORDER BY t.sequence_number DESC LIMIT 1), \
    iif(c.status = 'in_progress', c.created_at, '')))";

pub(super) fn old_calls(connection: &Connection, query: &OldCalls) -> Result<Vec<OldCall>> {
    let (after_start, after_id) = query.after.map_or((String::new(), 0), |key| (key.start.to_string(), key.id));
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    connection
        .prepare_cached(&format!(
            "SELECT call_start_time, id, conversation_id, turn_count FROM calls c \
             WHERE (call_start_time, id) > (?1, ?2) AND call_start_time < ?3 AND {LAST_SIGN} < ?4 \
             ORDER BY call_start_time, id LIMIT ?5"
        ))
        .and_then(|mut select| {
            let call = |row: &rusqlite::Row<'_>| {
                let key = CallKey { start: row.get(0)?, id: row.get(1)? };
                Ok(OldCall { key, conversation_id: row.get(2)?, turns: row.get(3)? })
            };
            let below = query.started_before.map_or_else(|| "A".to_owned(), |time| time.to_string());
            select.query_map(params![after_start, after_id, below, query.before, limit], call)?.collect()
        })
        .doing("looking for old calls")
}

/// The events among the next `limit` ones after number `after` that came before `before` and belong to no call, and the
/// number to go on after, if more may follow.
pub(super) fn old_events(
    connection: &Connection,
    before: Timestamp,
    after: i64,
    limit: usize,
) -> Result<(Vec<i64>, Option<i64>)> {
    let read: Vec<(i64, Timestamp, bool)> = connection
        .prepare_cached(
            "SELECT id, received_at, NOT EXISTS (SELECT 1 FROM calls c WHERE c.conversation_id = e.conversation_id) \
             FROM webhook_events e WHERE id > ?1 ORDER BY id LIMIT ?2",
        )
        .and_then(|mut select| {
            let event = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            select.query_map(params![after, i64::try_from(limit).unwrap_or(i64::MAX)], event)?.collect()
        })
        .doing("looking for old events")?;
    let next = read.last().filter(|_| read.len() == limit).filter(|(_, at, _)| *at < before).map(|(id, ..)| *id);
    let old = read.into_iter().filter(|(_, at, orphaned)| *at < before && *orphaned).map(|(id, ..)| id);
    Ok((old.collect(), next))
}

/// Erases events, as far as they belong to no call.
pub(super) fn events(transaction: &Transaction<'_>, ids: &[i64]) -> Result<Outcome> {
    for id in ids {
        transaction
            .prepare_cached(
                "DELETE FROM webhook_events WHERE id = ?1 AND NOT EXISTS \
                 (SELECT 1 FROM calls c WHERE c.conversation_id = webhook_events.conversation_id)",
            )
            .and_then(|mut delete| delete.execute([id]))
            .doing("erasing events")?;
    }
    Ok(Ok(Written::Done))
}

/// Up to `limit` dispatches, in the order of their conversations after `after`, that were placed before `before` and never
/// became a call.
pub(super) fn old_dispatches(
    connection: &Connection,
    before: Timestamp,
    after: Option<&ConversationId>,
    limit: usize,
) -> Result<Vec<ConversationId>> {
    connection
        .prepare_cached(
            "SELECT conversation_id FROM call_dispatches d WHERE conversation_id > ?1 AND dispatched_at < ?2 \
             AND NOT EXISTS (SELECT 1 FROM calls c WHERE c.conversation_id = d.conversation_id) \
             ORDER BY conversation_id LIMIT ?3",
        )
        .and_then(|mut select| {
            let after = after.map_or("", ConversationId::as_str);
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            select.query_map(params![after, before, limit], |row| row.get(0))?.collect()
        })
        .doing("looking for old dispatches")
}

/// Erases dispatches, as far as they never became a call.
pub(super) fn dispatches(transaction: &Transaction<'_>, ids: &[ConversationId]) -> Result<Outcome> {
    for id in ids {
        transaction
            .prepare_cached(
                "DELETE FROM call_dispatches WHERE conversation_id = ?1 \
                 AND NOT EXISTS (SELECT 1 FROM calls c WHERE c.conversation_id = ?1)",
            )
            .and_then(|mut delete| delete.execute([id]))
            .map(found)
            .doing("erasing dispatches")?
            .ok();
    }
    Ok(Ok(Written::Done))
}

/// The conversations of up to `limit` dispatches of a driver, or that went to this number and name no driver any more.
pub(super) fn dispatches_of(
    connection: &Connection,
    id: DriverId,
    number: Option<&PhoneNumber>,
    limit: usize,
) -> Result<Vec<ConversationId>> {
    connection
        .prepare_cached(
            "SELECT conversation_id FROM call_dispatches WHERE driver_id = ?1 OR (driver_id IS NULL AND phone_number = ?2) \
             LIMIT ?3",
        )
        .and_then(|mut select| {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            select.query_map(params![id, number, limit], |row| row.get(0))?.collect()
        })
        .doing("looking for a driver's dispatches")
}
