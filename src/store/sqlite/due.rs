//! Calls whose turns and records are to be reconciled: the note that is written with what makes a call due.

use super::error::Context as _;
use crate::domain::ConversationId;
use crate::domain::reconcile::Base;
use crate::store::{Due, Result};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

const DOING: &str = "noting that a call is due";

/// Notes that a call is due; `facts` says whether a record came, which has the call's facts written again.
pub(super) fn note(connection: &Connection, call_id: i64, facts: bool) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO due_reconciliations (call_id, since, slices, facts) \
             SELECT ?1, coalesce(d.since, d.version), ifnull(d.slices, 0), max(?2, ifnull(d.facts, 0)) \
             FROM (SELECT 1) LEFT JOIN due_reconciliations d ON d.call_id = ?1",
        )
        .and_then(|mut insert| insert.execute(params![call_id, facts]))
        .map(drop)
        .doing(DOING)
}

/// The state of a call that is due by its note, and whether its facts are to be written.
pub(super) fn of(connection: &Connection, call_id: i64) -> Result<Option<(Base, bool)>> {
    connection
        .prepare_cached(
            "SELECT d.version, coalesce(d.since, d.version), d.slices, d.facts, c.turn_count \
             FROM due_reconciliations d JOIN calls c ON c.id = d.call_id WHERE d.call_id = ?1",
        )
        .and_then(|mut select| {
            let base = |row: &rusqlite::Row<'_>| {
                let (version, since, slices) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok((Base { call_id, version, since, slices, turn_count: row.get(4)? }, row.get(3)?))
            };
            select.query_row([call_id], base).optional()
        })
        .doing("asking whether a call is due")
}

/// Counts a slice that was stored of a call that stays due.
pub(super) fn count_slice(transaction: &Transaction<'_>, call_id: i64) -> Result<()> {
    transaction
        .prepare_cached("UPDATE due_reconciliations SET slices = slices + 1 WHERE call_id = ?1")
        .and_then(|mut update| update.execute([call_id]))
        .map(drop)
        .doing(DOING)
}

/// Puts a call behind all others that are due, since more came while it had its turn.
pub(super) fn put_last(transaction: &Transaction<'_>, call_id: i64) -> Result<()> {
    // A call that is due by its turns alone may not have been noted anew.
    note(transaction, call_id, false)?;
    transaction
        .prepare_cached("UPDATE due_reconciliations SET since = NULL, slices = slices + 1 WHERE call_id = ?1")
        .and_then(|mut update| update.execute([call_id]))
        .map(drop)
        .doing(DOING)
}

/// Takes a call's note away, since it is reconciled.
pub(super) fn clear(transaction: &Transaction<'_>, call_id: i64) -> Result<()> {
    transaction
        .prepare_cached("DELETE FROM due_reconciliations WHERE call_id = ?1")
        .and_then(|mut delete| delete.execute([call_id]))
        .map(drop)
        .doing(DOING)
}

/// Some calls that are due, and how many there are. One that is erased or restored in slices is not listed.
pub(super) fn list(connection: &Connection, noted_after: i64, noted_until: i64, limit: usize) -> Result<Due> {
    const DOING: &str = "looking for calls that are due";
    let (count, last) = connection
        .prepare_cached("SELECT count(*), ifnull(max(version), 0) FROM due_reconciliations")
        .and_then(|mut select| select.query_row([], |row| Ok((row.get(0)?, row.get(1)?))))
        .doing(DOING)?;
    // What has been due for longest comes first. Of what was left from before, that is the order of the notes, which need
    // not be sorted.
    let order = if noted_after > 0 { "coalesce(d.since, d.version)" } else { "d.version" };
    let calls: Vec<ConversationId> = connection
        .prepare_cached(&format!(
            "SELECT c.conversation_id FROM due_reconciliations d JOIN calls c ON c.id = d.call_id \
             WHERE d.version > ?1 AND d.version <= ?2 AND NOT EXISTS \
                (SELECT 1 FROM unfinished_calls u WHERE u.conversation_id = c.conversation_id) \
             ORDER BY {order} LIMIT ?3"
        ))
        .and_then(|mut select| {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            select.query_map(params![noted_after, noted_until, limit], |row| row.get(0))?.collect()
        })
        .doing(DOING)?;
    Ok(Due { calls, count, last })
}
