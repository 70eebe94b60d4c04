//! Storing of initiations, and deletion of old ones.

use super::batch::driver_match;
use super::erase;
use super::error::Context as _;
use super::statement::Statements as _;
use crate::domain::{NewInitiation, Timestamp};
use crate::store::{Outcome, Result, Written};
use rusqlite::{Transaction, params};

/// Age at which an initiation is deleted, in microseconds: 30 days. By then the record of its call has come.
const MAX_AGE_MICROS: i64 = 30 * 24 * 3_600_000_000;

/// Maximum number of old initiations that a new one deletes.
const MAX_PRUNED_ROWS: usize = 20;

/// Stores an initiation, unless it is stored already. Deletes a few old ones.
pub(super) fn store(transaction: &Transaction<'_>, now: Timestamp, initiation: &NewInitiation) -> Result<Outcome> {
    const CONTEXT: &str = "storing an initiation";
    let NewInitiation { call_sid, conversation_id, driver_id } = initiation;
    if let Some(before) = Timestamp::from_unix_micros(now.unix_micros() - MAX_AGE_MICROS) {
        transaction
            .execute_cached(
                "DELETE FROM call_initiations WHERE call_sid IN (SELECT call_sid FROM call_initiations \
                 WHERE initiated_at < ?1 ORDER BY initiated_at, call_sid LIMIT ?2)",
                params![before, MAX_PRUNED_ROWS],
            )
            .context(CONTEXT)?;
    }
    let is_erased = conversation_id.as_ref().map(|id| erase::is_erased(transaction, id)).transpose()?;
    // The driver may have been deleted since the look-up.
    let is_known = transaction.has_row("SELECT 1 FROM drivers WHERE id = ?1", [driver_id]).context(CONTEXT)?;
    if is_erased == Some(true) || !is_known {
        return Ok(Ok(Written::Done));
    }
    transaction
        .execute_cached(
            "INSERT INTO call_initiations (call_sid, conversation_id, driver_id, initiated_at) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (call_sid) DO UPDATE SET conversation_id = ifnull(conversation_id, excluded.conversation_id)",
            params![call_sid, conversation_id, driver_id, now],
        )
        .context(CONTEXT)?;
    if let Some(id) = conversation_id {
        driver_match::match_driver(transaction, now, id)?;
    }
    Ok(Ok(Written::Done))
}
