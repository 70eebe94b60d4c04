//! Storing of initiations, and deletion of old ones.

use super::batch::driver_match;
use super::erase;
use super::error::Context as _;
use super::expired;
use super::statement::Statements as _;
use crate::domain::{CallSid, DriverId, NewInitiation, Timestamp};
use crate::store::{Outcome, Result, Written};
use rusqlite::{Transaction, params};

/// Age at which an initiation is deleted, in microseconds: 30 days. By then the record of its call has come.
const MAX_AGE_MICROS: i64 = 30 * 24 * 3_600_000_000;

/// Maximum number of old initiations that a new one deletes.
const MAX_PRUNED_ROWS: usize = 20;

/// Maximum number of initiations of a driver that belong to no conversation yet. Whoever asks with many ids of calls
/// for one known number replaces only these.
const MAX_UNLINKED_ROWS: usize = 100;

const CONTEXT: &str = "storing an initiation";

/// Stores an initiation, unless it is stored already. Deletes a few old ones, and the driver's beyond the maximum.
pub(super) fn store(transaction: &Transaction<'_>, now: Timestamp, initiation: &NewInitiation) -> Result<Outcome> {
    let NewInitiation { call_sid, conversation_id, driver_id } = initiation;
    delete_old(transaction, now)?;
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
    delete_surplus(transaction, *driver_id, call_sid)?;
    if let Some(id) = conversation_id {
        driver_match::match_driver(transaction, now, id)?;
    }
    Ok(Ok(Written::Done))
}

/// Deletes a few initiations that are too old, unless the clock may be ahead.
fn delete_old(transaction: &Transaction<'_>, now: Timestamp) -> Result<()> {
    let Some(before) = Timestamp::from_unix_micros(now.unix_micros() - MAX_AGE_MICROS) else { return Ok(()) };
    let is_old = "SELECT 1 FROM call_initiations WHERE initiated_at < ?1 LIMIT 1";
    if !transaction.has_row(is_old, [before]).context(CONTEXT)? || !expired::is_clock_confirmed(transaction, now)? {
        return Ok(());
    }
    transaction
        .execute_cached(
            "DELETE FROM call_initiations WHERE call_sid IN (SELECT call_sid FROM call_initiations \
             WHERE initiated_at < ?1 ORDER BY initiated_at, call_sid LIMIT ?2)",
            params![before, MAX_PRUNED_ROWS],
        )
        .map(drop)
        .context(CONTEXT)
}

/// Deletes the oldest initiations of a driver that belong to no conversation, beyond the maximum, but not this one.
fn delete_surplus(transaction: &Transaction<'_>, driver: DriverId, this: &CallSid) -> Result<()> {
    transaction
        .execute_cached(
            "DELETE FROM call_initiations WHERE call_sid IN (SELECT call_sid FROM call_initiations \
             WHERE driver_id = ?1 AND conversation_id IS NULL AND call_sid <> ?2 \
             ORDER BY initiated_at DESC, call_sid DESC LIMIT -1 OFFSET ?3)",
            params![driver, this, MAX_UNLINKED_ROWS - 1],
        )
        .map(drop)
        .context(CONTEXT)
}
