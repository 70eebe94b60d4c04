//! The list of stored events that an older version of the reader parsed, and that are parsed again (`event_rereads`).
//!
//! A migration inserts the ids of the events that its version reads better. The row of an event is deleted in the
//! transaction that stores the new parsed form, so a crash neither loses nor repeats anything. Erasing an event deletes
//! its row. An event is never put back, whatever its result, so an event that cannot be parsed does not loop.

use super::error::Context as _;
use super::statement::Statements as _;
use crate::domain::StoredEvent;
use crate::store::Result;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Transaction, params};

const CONTEXT: &str = "listing events to parse again";

/// Returns the newest listed events below `before`, newest first: up to `limit` of them and up to `max_bytes` of
/// bodies, but at least one.
pub(super) fn list(connection: &Connection, before: i64, limit: usize, max_bytes: usize) -> Result<Vec<StoredEvent>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    // A row without its event, which another program may leave, is listed too, so that it is deleted.
    let mut select = connection
        .prepare_cached(
            "SELECT r.event_id, ifnull(e.outcome, 'unreadable'), ifnull(octet_length(e.body), 0), e.body \
             FROM event_rereads r LEFT JOIN webhook_events e ON e.id = r.event_id \
             WHERE r.event_id < ?1 ORDER BY r.event_id DESC LIMIT ?2",
        )
        .context(CONTEXT)?;
    let mut rows = select.query(params![before, limit]).context(CONTEXT)?;
    let (mut listed, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next().context(CONTEXT)? {
        bytes += row.get::<_, usize>(2).context(CONTEXT)?;
        if bytes > max_bytes && !listed.is_empty() {
            break;
        }
        let body = match row.get_ref(3).context(CONTEXT)? {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
            _ => Vec::new(),
        };
        let (id, outcome) = (row.get(0).context(CONTEXT)?, row.get(1).context(CONTEXT)?);
        listed.push(StoredEvent { id, outcome, body });
    }
    Ok(listed)
}

/// Counts the listed events.
pub(super) fn count(connection: &Connection) -> Result<u64> {
    connection.fetch_one("SELECT count(*) FROM event_rereads", [], |row| row.get(0)).context(CONTEXT)
}

/// Deletes an event from the list. Returns whether it was listed.
pub(super) fn delete(transaction: &Transaction<'_>, id: i64) -> Result<bool> {
    let deleted = transaction.execute_cached("DELETE FROM event_rereads WHERE event_id = ?1", [id]).context(CONTEXT)?;
    Ok(deleted > 0)
}
