//! The table of changes (`call_changes`), which the live streams read.
//!
//! Triggers record each step of a change, whoever writes. Before the commit, this module merges the steps of one
//! transaction into one change for each call, deletes old changes, and computes the statistics of calls that ended.
//!
//! A change shows the call as it is when the change is read, so the latest change of a call replaces its earlier ones.

use crate::domain::ConversationId;
use crate::store::Result;
use crate::store::sqlite::call_stats;
use crate::store::sqlite::error::Context as _;
use crate::store::sqlite::statement::Statements as _;
use rusqlite::{Transaction, params};

const CONTEXT: &str = "recording changes of calls";

/// Number of newest changes that are never deleted. An older change is deleted if its call has a later one, and always
/// if it says that a call was erased.
const MIN_KEPT_CHANGES: i64 = 100_000;

/// The changes of one transaction.
#[derive(Default)]
pub(in crate::store::sqlite) struct ChangeLog {
    /// Id of the last change before those of this transaction; `None` while there can be none.
    before: Option<i64>,
}

impl ChangeLog {
    /// Must be called before anything that can change a call in more than one step.
    pub(in crate::store::sqlite) fn begin(&mut self, transaction: &Transaction<'_>) -> Result<()> {
        if self.before.is_none() {
            self.before = Some(Self::last(transaction)?);
        }
        Ok(())
    }

    /// Records a change of a call whose row did not change. Does nothing if the call does not exist.
    pub(in crate::store::sqlite) fn record_call(transaction: &Transaction<'_>, id: &ConversationId) -> Result<()> {
        transaction
            .execute_cached(
                "INSERT INTO call_changes (call_id, kind, turn_id) \
                 SELECT id, 'updated', ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'call_transcriptions'), 0) \
                 FROM calls WHERE conversation_id = ?1",
                [id],
            )
            .map(drop)
            .context(CONTEXT)
    }

    /// Records that the call's turns were reordered or superseded.
    pub(in crate::store::sqlite) fn record_turns(transaction: &Transaction<'_>, call_id: i64) -> Result<()> {
        transaction
            .execute_cached(
                "INSERT INTO call_changes (call_id, kind, turn_id) \
                 SELECT ?1, 'updated', ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'call_transcriptions'), 0)",
                [call_id],
            )
            .context(CONTEXT)?;
        call_stats::invalidate(transaction, call_id)
    }

    /// Returns the id of the last change.
    pub(in crate::store::sqlite) fn last(transaction: &Transaction<'_>) -> Result<i64> {
        transaction
            .fetch_one("SELECT seq FROM sqlite_sequence WHERE name = 'call_changes'", [], |row| row.get(0))
            .context(CONTEXT)
    }

    /// Removes what was recorded of a call after this change, unless the call ended by it or still runs. Live streams
    /// therefore do not show what an ended call gains when stored events are parsed again.
    pub(in crate::store::sqlite) fn silence(transaction: &Transaction<'_>, call_id: i64, after: i64) -> Result<()> {
        // The statistics follow the recorded changes.
        call_stats::refresh(transaction, after)?;
        transaction
            .execute_cached(
                "DELETE FROM call_changes WHERE id > ?2 AND call_id = ?1 AND kind = 'updated' \
                 AND NOT EXISTS (SELECT 1 FROM calls c WHERE c.id = ?1 AND c.status = 'in_progress')",
                [call_id, after],
            )
            .map(drop)
            .context(CONTEXT)
    }

    /// Merges the changes; must be called before the commit.
    pub(in crate::store::sqlite) fn compact(&self, transaction: &Transaction<'_>) -> Result<()> {
        let Some(before) = self.before else { return Ok(()) };
        let any = transaction.has_row("SELECT 1 FROM call_changes WHERE id > ?1", [before]).context(CONTEXT)?;
        if !any {
            return Ok(());
        }
        // The last step of a call replaces the others. If one of them ended the call, the merged change says so, unless
        // the call runs again.
        for sql in [
            "UPDATE call_changes SET kind = 'ended' WHERE id > ?1 AND kind = 'updated' \
             AND EXISTS (SELECT 1 FROM call_changes e WHERE e.call_id = call_changes.call_id AND e.id > ?1 \
                AND e.kind = 'ended') \
             AND EXISTS (SELECT 1 FROM calls c WHERE c.id = call_changes.call_id AND c.status <> 'in_progress')",
            "DELETE FROM call_changes WHERE id > ?1 AND kind IN ('updated', 'ended') \
             AND EXISTS (SELECT 1 FROM call_changes l WHERE l.call_id = call_changes.call_id \
                AND l.id > call_changes.id AND l.kind IN ('updated', 'ended'))",
        ] {
            transaction.execute_cached(sql, [before]).context(CONTEXT)?;
        }
        call_stats::refresh(transaction, before)?;
        if before > MIN_KEPT_CHANGES {
            for sql in [
                "DELETE FROM call_changes WHERE id <= ?2 \
                 AND call_id IN (SELECT call_id FROM call_changes WHERE id > ?1)",
                "DELETE FROM call_changes WHERE kind = 'erased' AND id <= min(?1, ?2)",
            ] {
                let numbers = params![before, before - MIN_KEPT_CHANGES];
                transaction.execute_cached(sql, numbers).context(CONTEXT)?;
            }
        }
        Ok(())
    }
}
