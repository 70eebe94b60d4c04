//! Erasing a call with everything stored about it, and events and dispatches that belong to no call.
//!
//! # Slices
//!
//! A call with up to some hundred turns is erased in one transaction. A longer one is noted in `unfinished_calls` and
//! erased in slices, and other writes are executed between the slices. The last slice deletes the call's row and the
//! note. While the note exists, nothing new is stored for the conversation, exports skip it, and a start of the service
//! continues the erasure. Turns are deleted from the last one backwards, so the rest has no gaps. Restoring a long call
//! uses the same note: an interrupted restore is erased.
//!
//! # Bytes
//!
//! The bytes of a deleted row can survive in three places:
//!
//! - In its page. SQLite overwrites them with zeros (`secure_delete`).
//! - In the unused part of pages that were split. The VFS of the writing connection zeroes it
//!   ([`super::connection::page_scrub`]).
//! - In older versions of the pages in the WAL and in memory. The writer purges them a second after an erasure, even
//!   under load ([`super::connection::checkpoint::purge_erased`]). Readers never wait for this; if readers are always
//!   active, the writer waits for them for up to 25 ms per second. A command beside the service does this on its own
//!   connection.
//!
//! The search index and its WAL are treated alike, after the index has processed the erasure. If it cannot, its file is
//! deleted.
//!
//! # Late events
//!
//! An erased call leaves a digest of its id, and later events of ElevenLabs with that id are dropped. Otherwise
//! ElevenLabs' retries would undo the erasure within the hour, and `backfill` at any time. A pruned call leaves
//! nothing.

use super::error::Context as _;
use super::expired::LAST_ACTIVITY;
use super::initiations;
use super::row::outcome_of_change;
use super::statement::Statements as _;
use crate::domain::{ConversationId, Timestamp};
use crate::store::{ErasedSlice, Outcome, Rejection, Result, Unfinished, Written};
use rusqlite::{Connection, Transaction, params};
use sha2::{Digest as _, Sha256};

const CONTEXT: &str = "erasing a call";

/// Maximum number of turns and events that one transaction erases. A limit by time would make copies of the data
/// differ.
const MAX_SLICE_ROWS: usize = 250;

/// Maximum length of the texts that one transaction erases, in bytes, unless a single row is longer.
const MAX_SLICE_BYTES: usize = 512 * 1024;

/// The work that one transaction may still do.
struct Budget {
    rows: usize,
    bytes: usize,
}

impl Budget {
    const fn new() -> Self {
        Self { rows: MAX_SLICE_ROWS, bytes: MAX_SLICE_BYTES }
    }

    /// Subtracts a row of this length and returns whether it fits. The first row always fits.
    fn fits(&mut self, bytes: usize) -> bool {
        let first = self.rows == MAX_SLICE_ROWS;
        if !first && (self.rows == 0 || self.bytes < bytes) {
            return false;
        }
        self.rows -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
        true
    }
}

/// Erases a call for good: events that ElevenLabs sends later are dropped. A long call only loses its first slice.
pub(super) fn call(transaction: &Transaction<'_>, now: Timestamp, id: &ConversationId) -> Result<Outcome> {
    if !is_unfinished(transaction, id)? && !exists(transaction, id)? {
        return Ok(Err(Rejection::NotFound));
    }
    transaction
        .execute_cached(
            "INSERT INTO erased_calls (digest, erased_at) VALUES (?1, ?2) \
             ON CONFLICT (digest) DO UPDATE SET erased_at = excluded.erased_at",
            params![digest(id), now],
        )
        .context(CONTEXT)?;
    begin(transaction, id)
}

/// Erases a call if nothing of it has arrived since `before`.
pub(super) fn erase_expired_call(
    transaction: &Transaction<'_>,
    id: &ConversationId,
    before: Timestamp,
) -> Result<Outcome> {
    let is_old = is_unfinished(transaction, id)?
        || transaction
            .has_row(
                &format!("SELECT 1 FROM calls c WHERE conversation_id = ?1 AND {LAST_ACTIVITY} < ?2"),
                params![id, before],
            )
            .context(CONTEXT)?;
    if is_old { begin(transaction, id) } else { Ok(Err(Rejection::NotFound)) }
}

/// Returns whether a call or an event of this conversation is stored.
fn exists(transaction: &Transaction<'_>, id: &ConversationId) -> Result<bool> {
    transaction
        .has_row(
            "SELECT 1 FROM calls WHERE conversation_id = ?1 UNION ALL \
             SELECT 1 FROM webhook_events WHERE conversation_id = ?1",
            [id],
        )
        .context(CONTEXT)
}

/// Erases the first slice of a call. If something is left, the call is noted for [`erase_next_slice`] and the next
/// start.
fn begin(transaction: &Transaction<'_>, id: &ConversationId) -> Result<Outcome> {
    // Deletes the dispatch first, because a dispatch that arrives during the erasure must not be lost.
    delete(transaction, "DELETE FROM call_dispatches WHERE conversation_id = ?1", id)?;
    delete(transaction, "DELETE FROM waiting_recordings WHERE conversation_id = ?1", id)?;
    initiations::delete_of(transaction, id)?;
    if slice(transaction, id, Kind::Erase)? {
        return Ok(Ok(Written::Done));
    }
    record_unfinished(transaction, id, Kind::Erase)?;
    Ok(Ok(Written::Begun))
}

/// Reason why a call is unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The call is being erased.
    Erase,
    /// The call is being restored. An interrupted restore erases the call, but not its events and dispatch, which were
    /// restored before.
    Restore,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Erase => "erase",
            Self::Restore => "restore",
        }
    }
}

/// Notes that a call is unfinished.
pub(super) fn record_unfinished(transaction: &Transaction<'_>, id: &ConversationId, kind: Kind) -> Result<()> {
    transaction
        .execute_cached(
            "INSERT INTO unfinished_calls (conversation_id, kind) VALUES (?1, ?2) \
             ON CONFLICT (conversation_id) DO UPDATE SET kind = excluded.kind",
            params![id, kind.as_str()],
        )
        .map(drop)
        .context(CONTEXT)
}

/// Erases the next slice of an unfinished call: of this call, or of the one that was noted first.
pub(super) fn erase_next_slice(transaction: &Transaction<'_>, which: Unfinished<'_>) -> Result<Option<ErasedSlice>> {
    let (only, kind) = match which {
        Unfinished::Call(id) => (Some(id), None),
        Unfinished::Erasures => (None, Some(Kind::Erase.as_str())),
        Unfinished::All => (None, None),
    };
    let found: Option<(ConversationId, String)> = transaction
        .fetch_optional(
            "SELECT conversation_id, kind FROM unfinished_calls WHERE conversation_id = ifnull(?1, conversation_id) \
             AND kind = ifnull(?2, kind) ORDER BY rowid LIMIT 1",
            params![only, kind],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .context(CONTEXT)?;
    let Some((conversation_id, kind)) = found else { return Ok(None) };
    let kind = if kind == Kind::Restore.as_str() { Kind::Restore } else { Kind::Erase };
    let finished = slice(transaction, &conversation_id, kind)?;
    Ok(Some(ErasedSlice { conversation_id, finished }))
}

/// Erases as much of a call as one transaction may. Returns whether nothing is left. Turns are deleted from the last
/// one backwards, so the rest is numbered without gaps.
fn slice(transaction: &Transaction<'_>, id: &ConversationId, kind: Kind) -> Result<bool> {
    let mut budget = Budget::new();
    if kind == Kind::Erase && !slice_of_events(transaction, id, &mut budget)? {
        return Ok(false);
    }
    if let Some(left) = slice_of_turns(transaction, id, &mut budget)? {
        transaction
            .execute_cached("UPDATE calls SET turn_count = ?2 WHERE conversation_id = ?1", params![id, left])
            .context(CONTEXT)?;
        return Ok(false);
    }
    // Deleting the row also deletes the call's last turns and its history.
    delete(transaction, "DELETE FROM calls WHERE conversation_id = ?1", id)?;
    delete(transaction, "DELETE FROM unfinished_calls WHERE conversation_id = ?1", id)?;
    Ok(true)
}

/// Erases events of a call. Returns whether none is left.
fn slice_of_events(transaction: &Transaction<'_>, id: &ConversationId, budget: &mut Budget) -> Result<bool> {
    let events: Vec<(i64, usize)> = transaction
        .fetch_all(
            "SELECT id, octet_length(body) + ifnull(octet_length(record), 0) FROM webhook_events \
             WHERE conversation_id = ?1 ORDER BY id LIMIT ?2",
            params![id, MAX_SLICE_ROWS + 1],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .context(CONTEXT)?;
    for (event, bytes) in events {
        if !budget.fits(bytes) {
            return Ok(false);
        }
        transaction.execute_cached("DELETE FROM webhook_events WHERE id = ?1", [event]).context(CONTEXT)?;
    }
    Ok(true)
}

/// Erases the last turns of a call. Returns how many are left, or `None` if they are few enough to be deleted with the
/// call.
fn slice_of_turns(transaction: &Transaction<'_>, id: &ConversationId, budget: &mut Budget) -> Result<Option<i64>> {
    let left = last_that_stays(transaction, id, budget)?;
    if left.is_some() {
        transaction
            .execute_cached(
                "DELETE FROM call_transcriptions WHERE conversation_id = ?1 AND sequence_number > ?2",
                params![id, left],
            )
            .context(CONTEXT)?;
    }
    Ok(left)
}

/// Returns the number of the last turn that one transaction leaves, or `None` if it may erase all.
fn last_that_stays(transaction: &Transaction<'_>, id: &ConversationId, budget: &mut Budget) -> Result<Option<i64>> {
    let mut select = transaction
        .prepare_cached(
            "SELECT sequence_number, octet_length(message_text) + ifnull(octet_length(final_text), 0) \
             FROM call_transcriptions WHERE conversation_id = ?1 ORDER BY sequence_number DESC",
        )
        .context(CONTEXT)?;
    let mut turns = select.query([id]).context(CONTEXT)?;
    while let Some(turn) = turns.next().context(CONTEXT)? {
        if !budget.fits(turn.get(1).context(CONTEXT)?) {
            return turn.get(0).map(Some).context(CONTEXT);
        }
    }
    Ok(None)
}

fn delete(transaction: &Transaction<'_>, sql: &str, id: &ConversationId) -> Result<usize> {
    transaction.execute_cached(sql, [id]).context(CONTEXT)
}

/// Returns whether a call is being erased or restored in slices, so that nothing new may be stored for it.
pub(super) fn is_unfinished(connection: &Connection, id: &ConversationId) -> Result<bool> {
    connection
        .has_row("SELECT 1 FROM unfinished_calls WHERE conversation_id = ?1", [id])
        .context("reading whether a call is unfinished")
}

fn digest(id: &ConversationId) -> [u8; 32] {
    Sha256::digest(id.as_str()).into()
}

/// Returns whether a call was erased for good.
pub(super) fn is_erased(connection: &Connection, id: &ConversationId) -> Result<bool> {
    connection
        .has_row("SELECT 1 FROM erased_calls WHERE digest = ?1", [digest(id)])
        .context("reading whether a call was erased")
}

/// Erases the events with these ids that belong to no call.
pub(super) fn events(transaction: &Transaction<'_>, ids: &[i64]) -> Result<Outcome> {
    for id in ids {
        transaction
            .execute_cached(
                "DELETE FROM webhook_events WHERE id = ?1 AND NOT EXISTS \
                 (SELECT 1 FROM calls c WHERE c.conversation_id = webhook_events.conversation_id)",
                [id],
            )
            .context("erasing events")?;
    }
    Ok(Ok(Written::Done))
}

/// Erases the dispatches of these conversations that never became a call.
pub(super) fn dispatches(transaction: &Transaction<'_>, ids: &[ConversationId]) -> Result<Outcome> {
    for id in ids {
        transaction
            .execute_cached(
                "DELETE FROM call_dispatches WHERE conversation_id = ?1 \
                 AND NOT EXISTS (SELECT 1 FROM calls c WHERE c.conversation_id = ?1)",
                [id],
            )
            .map(outcome_of_change)
            .context("erasing dispatches")?
            .ok();
    }
    Ok(Ok(Written::Done))
}
