//! Notes of calls that are due for reconciliation. A note is written in the transaction that makes the call due.

use super::error::Context as _;
use super::statement::Statements as _;
use crate::domain::ConversationId;
use crate::domain::reconcile::Base;
use crate::store::{Due, Result};
use rusqlite::{Connection, Transaction, params};

const CONTEXT: &str = "marking a call as due";

/// Reason why a call becomes due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DueReason {
    /// A record arrived, so the call's facts must be written again.
    Record,
    /// Turns or a history arrived.
    Turns,
    /// A stored event was parsed again, without a change of the facts that users may have changed.
    Reread,
    /// A stored event was parsed again, and the call's facts must be written again.
    RereadFacts,
}

impl DueReason {
    /// Returns whether the call's facts must be written.
    fn writes_facts(self) -> bool {
        matches!(self, Self::Record | Self::RereadFacts)
    }

    /// Returns the reason for a record that has none of the facts that are written together.
    pub(super) fn without_facts(self) -> Self {
        if self.is_quiet() { Self::Reread } else { Self::Turns }
    }

    /// Returns whether nothing arrived, so that live streams need not show the result.
    fn is_quiet(self) -> bool {
        matches!(self, Self::Reread | Self::RereadFacts)
    }
}

/// A due call according to its note.
pub(super) struct DueCall {
    pub(super) base: Base,
    /// True if the call's facts must be written.
    pub(super) facts: bool,
    /// True if stored events were only parsed again.
    pub(super) quiet: bool,
}

/// Marks a call as due.
pub(super) fn mark_due(connection: &Connection, call_id: i64, reason: DueReason) -> Result<()> {
    connection
        .execute_cached(
            "INSERT OR REPLACE INTO due_reconciliations (call_id, since, slices, facts, quiet) \
             SELECT ?1, coalesce(d.since, d.version), ifnull(d.slices, 0), max(?2, ifnull(d.facts, 0)), \
                min(?3, ifnull(d.quiet, 1)) \
             FROM (SELECT 1) LEFT JOIN due_reconciliations d ON d.call_id = ?1",
            params![call_id, reason.writes_facts(), reason.is_quiet()],
        )
        .map(drop)
        .context(CONTEXT)
}

/// Returns a due call according to its note.
pub(super) fn get(connection: &Connection, call_id: i64) -> Result<Option<DueCall>> {
    connection
        .fetch_optional(
            "SELECT d.version, coalesce(d.since, d.version), d.slices, d.facts, c.turn_count, d.quiet \
             FROM due_reconciliations d JOIN calls c ON c.id = d.call_id WHERE d.call_id = ?1",
            [call_id],
            |row| {
                let (version, since, slices) = (row.get(0)?, row.get(1)?, row.get(2)?);
                let base = Base { call_id, version, since, slices, turn_count: row.get(4)? };
                Ok(DueCall { base, facts: row.get(3)?, quiet: row.get(5)? })
            },
        )
        .context("reading whether a call is due")
}

/// Counts a slice that was stored while the call stays due.
pub(super) fn count_slice(transaction: &Transaction<'_>, call_id: i64) -> Result<()> {
    transaction
        .execute_cached("UPDATE due_reconciliations SET slices = slices + 1 WHERE call_id = ?1", [call_id])
        .map(drop)
        .context(CONTEXT)
}

/// Moves a call behind all other due calls, because more arrived while it was reconciled.
pub(super) fn put_last(transaction: &Transaction<'_>, call_id: i64) -> Result<()> {
    // A call that is due only because of turns may have no new note. This reason leaves an existing note as it is.
    mark_due(transaction, call_id, DueReason::Reread)?;
    transaction
        .execute_cached(
            "UPDATE due_reconciliations SET since = NULL, slices = slices + 1 WHERE call_id = ?1",
            [call_id],
        )
        .map(drop)
        .context(CONTEXT)
}

/// Deletes a call's note, because the call is reconciled.
pub(super) fn unmark(transaction: &Transaction<'_>, call_id: i64) -> Result<()> {
    transaction
        .execute_cached("DELETE FROM due_reconciliations WHERE call_id = ?1", [call_id])
        .map(drop)
        .context(CONTEXT)
}

/// Returns some due calls and the number of all. Leaves out calls that are being erased or restored in slices.
pub(super) fn list(connection: &Connection, noted_after: i64, noted_until: i64, limit: usize) -> Result<Due> {
    const CONTEXT: &str = "listing due calls";
    let (count, last) = connection
        .fetch_one("SELECT count(*), ifnull(max(version), 0) FROM due_reconciliations", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .context(CONTEXT)?;
    // The call that has been due for longest comes first. For calls left from before a restart that is the order of the
    // notes, which need not be sorted.
    let order = if noted_after > 0 { "coalesce(d.since, d.version)" } else { "d.version" };
    let calls: Vec<ConversationId> = connection
        .fetch_all(
            &format!(
                "SELECT c.conversation_id FROM due_reconciliations d JOIN calls c ON c.id = d.call_id \
             WHERE d.version > ?1 AND d.version <= ?2 AND NOT EXISTS \
                (SELECT 1 FROM unfinished_calls u WHERE u.conversation_id = c.conversation_id) \
             ORDER BY {order} LIMIT ?3"
            ),
            params![noted_after, noted_until, i64::try_from(limit).unwrap_or(i64::MAX)],
            |row| row.get(0),
        )
        .context(CONTEXT)?;
    Ok(Due { calls, count, last })
}
