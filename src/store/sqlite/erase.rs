//! Erasing: a call with all that is stored about it, and events and dispatches that belong to none.
//!
//! A call of some hundred turns goes in one transaction. A longer one is noted in `unfinished_calls` and goes in slices, between
//! which others write; the transaction of the last slice deletes the call's row and the note. While the note is there,
//! nothing new is stored for the conversation.
//!
//! What a transaction deletes is overwritten with zeros in the pages (`secure_delete`), what remains in them
//! otherwise by [`super::connection::page_scrub`], and [`super::connection::checkpoint::forget`] takes the older states of those pages out of the log.

use super::error::Context as _;
use super::expired::LAST_SIGN;
use super::row::found;
use crate::domain::{ConversationId, Timestamp};
use crate::store::{ErasedSlice, Outcome, Rejection, Result, Unfinished, Written};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use sha2::{Digest as _, Sha256};
use std::time::{Duration, Instant};

const DOING: &str = "erasing a call";

/// Maximum number of turns and events that one transaction erases.
const MAX_SLICE_ROWS: usize = 500;

/// Maximum length of the texts that one transaction erases, in bytes, unless a single row is longer.
const MAX_SLICE_BYTES: usize = 512 * 1024;

/// Maximum time for which one transaction goes on erasing turns. The first [`PIECE_ROWS`] go in any case.
const MAX_SLICE_TIME: Duration = Duration::from_millis(20);

/// Number of turns that are erased between two looks at the clock.
const PIECE_ROWS: usize = 50;

/// What one transaction may still erase.
struct Budget {
    rows: usize,
    bytes: usize,
}

impl Budget {
    const fn new() -> Self {
        Self { rows: MAX_SLICE_ROWS, bytes: MAX_SLICE_BYTES }
    }

    /// Takes a row of this length out of the budget and returns whether it fitted. The first row always fits.
    fn take(&mut self, bytes: usize) -> bool {
        let first = self.rows == MAX_SLICE_ROWS;
        if !first && (self.rows == 0 || self.bytes < bytes) {
            return false;
        }
        self.rows -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
        true
    }
}

/// Erases a call for good: records that ElevenLabs sends later are dropped. A long call is only begun.
pub(super) fn call(transaction: &Transaction<'_>, now: Timestamp, id: &ConversationId) -> Result<Outcome> {
    if !is_unfinished(transaction, id)? && !exists(transaction, id)? {
        return Ok(Err(Rejection::NotFound));
    }
    transaction
        .prepare_cached(
            "INSERT INTO erased_calls (digest, erased_at) VALUES (?1, ?2) \
             ON CONFLICT (digest) DO UPDATE SET erased_at = excluded.erased_at",
        )
        .and_then(|mut insert| insert.execute(params![digest(id), now]))
        .doing(DOING)?;
    begin(transaction, id)
}

/// Erases a call if nothing of it has arrived since `before`.
pub(super) fn old_call(transaction: &Transaction<'_>, id: &ConversationId, before: Timestamp) -> Result<Outcome> {
    let is_old = is_unfinished(transaction, id)?
        || transaction
            .prepare_cached(&format!("SELECT 1 FROM calls c WHERE conversation_id = ?1 AND {LAST_SIGN} < ?2"))
            .and_then(|mut select| select.exists(params![id, before]))
            .doing(DOING)?;
    if is_old { begin(transaction, id) } else { Ok(Err(Rejection::NotFound)) }
}

/// Returns whether a call or an event of this conversation is stored.
fn exists(transaction: &Transaction<'_>, id: &ConversationId) -> Result<bool> {
    transaction
        .prepare_cached(
            "SELECT 1 FROM calls WHERE conversation_id = ?1 UNION ALL \
             SELECT 1 FROM webhook_events WHERE conversation_id = ?1",
        )
        .and_then(|mut select| select.exists([id]))
        .doing(DOING)
}

/// Erases the first slice of a call. What is left is noted, so that [`go_on`] and the next start find it.
fn begin(transaction: &Transaction<'_>, id: &ConversationId) -> Result<Outcome> {
    // At the beginning, because a dispatch that arrives during the erasure must not be lost.
    delete(transaction, "DELETE FROM call_dispatches WHERE conversation_id = ?1", id)?;
    if slice(transaction, id, Kind::Erase)? {
        return Ok(Ok(Written::Done));
    }
    note(transaction, id, Kind::Erase)?;
    Ok(Ok(Written::Begun))
}

/// Why a call is unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is being erased.
    Erase,
    /// It is being restored. When that was cut off, the call is erased, but not the events and the dispatch, which were
    /// restored before it.
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
pub(super) fn note(transaction: &Transaction<'_>, id: &ConversationId, kind: Kind) -> Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO unfinished_calls (conversation_id, kind) VALUES (?1, ?2) \
             ON CONFLICT (conversation_id) DO UPDATE SET kind = excluded.kind",
        )
        .and_then(|mut insert| insert.execute(params![id, kind.as_str()]))
        .map(drop)
        .doing(DOING)
}

/// Erases the next slice of an unfinished call: of this one, or of the one that was noted first.
pub(super) fn go_on(transaction: &Transaction<'_>, which: Unfinished<'_>) -> Result<Option<ErasedSlice>> {
    let (only, kind) = match which {
        Unfinished::Call(id) => (Some(id), None),
        Unfinished::Erasures => (None, Some(Kind::Erase.as_str())),
        Unfinished::All => (None, None),
    };
    let found: Option<(ConversationId, String)> = transaction
        .prepare_cached(
            "SELECT conversation_id, kind FROM unfinished_calls WHERE conversation_id = ifnull(?1, conversation_id) \
             AND kind = ifnull(?2, kind) ORDER BY rowid LIMIT 1",
        )
        .and_then(|mut select| select.query_row(params![only, kind], |row| Ok((row.get(0)?, row.get(1)?))).optional())
        .doing(DOING)?;
    let Some((conversation_id, kind)) = found else { return Ok(None) };
    let kind = if kind == Kind::Restore.as_str() { Kind::Restore } else { Kind::Erase };
    let finished = slice(transaction, &conversation_id, kind)?;
    Ok(Some(ErasedSlice { conversation_id, finished }))
}

/// Erases as much of a call as one transaction may, and returns whether nothing is left. Turns go from the last one
/// backwards, so that what is left is numbered without gaps.
fn slice(transaction: &Transaction<'_>, id: &ConversationId, kind: Kind) -> Result<bool> {
    let mut budget = Budget::new();
    if kind == Kind::Erase && !slice_of_events(transaction, id, &mut budget)? {
        return Ok(false);
    }
    if let Some(left) = slice_of_turns(transaction, id, &mut budget)? {
        transaction
            .prepare_cached("UPDATE calls SET turn_count = ?2 WHERE conversation_id = ?1")
            .and_then(|mut update| update.execute(params![id, left]))
            .doing(DOING)?;
        return Ok(false);
    }
    // Its last turns and its history go with it.
    delete(transaction, "DELETE FROM calls WHERE conversation_id = ?1", id)?;
    delete(transaction, "DELETE FROM unfinished_calls WHERE conversation_id = ?1", id)?;
    Ok(true)
}

/// Erases events of a call, and returns whether none is left.
fn slice_of_events(transaction: &Transaction<'_>, id: &ConversationId, budget: &mut Budget) -> Result<bool> {
    let events: Vec<(i64, usize)> = transaction
        .prepare_cached(
            "SELECT id, octet_length(body) + ifnull(octet_length(record), 0) FROM webhook_events \
             WHERE conversation_id = ?1 ORDER BY id LIMIT ?2",
        )
        .and_then(|mut select| {
            select.query_map(params![id, MAX_SLICE_ROWS + 1], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
        .doing(DOING)?;
    for (event, bytes) in events {
        if !budget.take(bytes) {
            return Ok(false);
        }
        transaction
            .prepare_cached("DELETE FROM webhook_events WHERE id = ?1")
            .and_then(|mut delete| delete.execute([event]))
            .doing(DOING)?;
    }
    Ok(true)
}

/// Erases the last turns of a call and returns how many are left, or `None` when all are few enough to go with the call.
fn slice_of_turns(transaction: &Transaction<'_>, id: &ConversationId, budget: &mut Budget) -> Result<Option<i64>> {
    let start = Instant::now();
    loop {
        let (left, fits) = match piece_of_turns(transaction, id, budget)? {
            Piece::All => return Ok(None),
            Piece::DownTo(left) => (left, true),
            Piece::Last(left) => (left, false),
        };
        transaction
            .prepare_cached("DELETE FROM call_transcriptions WHERE conversation_id = ?1 AND sequence_number > ?2")
            .and_then(|mut delete| delete.execute(params![id, left]))
            .doing(DOING)?;
        // How long it takes depends on the index of words, too.
        if !fits || start.elapsed() > MAX_SLICE_TIME {
            return Ok(Some(left));
        }
    }
}

/// The last turns of a call that are erased by one statement.
enum Piece {
    /// All that are left.
    All,
    /// Those behind this number.
    DownTo(i64),
    /// Those behind this number, with which the budget is used up.
    Last(i64),
}

fn piece_of_turns(transaction: &Transaction<'_>, id: &ConversationId, budget: &mut Budget) -> Result<Piece> {
    let mut select = transaction
        .prepare_cached(
            "SELECT sequence_number, octet_length(message_text) + ifnull(octet_length(final_text), 0) \
             FROM call_transcriptions WHERE conversation_id = ?1 ORDER BY sequence_number DESC",
        )
        .doing(DOING)?;
    let mut turns = select.query([id]).doing(DOING)?;
    for n in 0.. {
        let Some(turn) = turns.next().doing(DOING)? else { break };
        let number = turn.get(0).doing(DOING)?;
        if n == PIECE_ROWS {
            return Ok(Piece::DownTo(number));
        }
        if !budget.take(turn.get(1).doing(DOING)?) {
            return Ok(Piece::Last(number));
        }
    }
    Ok(Piece::All)
}

fn delete(transaction: &Transaction<'_>, sql: &str, id: &ConversationId) -> Result<usize> {
    transaction.prepare_cached(sql).and_then(|mut delete| delete.execute([id])).doing(DOING)
}

/// Returns whether a call is being erased or restored in slices, so that nothing new may be stored for it.
pub(super) fn is_unfinished(connection: &Connection, id: &ConversationId) -> Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM unfinished_calls WHERE conversation_id = ?1")
        .and_then(|mut select| select.exists([id]))
        .doing("looking for an unfinished erasure")
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
