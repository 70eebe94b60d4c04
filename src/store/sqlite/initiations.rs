//! Initiations: the drivers whose calls ElevenLabs announced before the first word.
//!
//! An initiation names a call by the telephone provider's id of it (`call_sid`). The conversation becomes known with
//! the first turn or history that carries this id, or with ElevenLabs' record. From then on the initiation is one of
//! the sources of the call's driver ([`super::batch::driver_match`]). [`super::new_initiations`] stores them.

use super::error::Context as _;
use super::statement::Statements as _;
use crate::domain::{CallSid, Caller, ConversationId, DriverId, LastCall, PhoneNumber};
use crate::store::Result;
use rusqlite::{Connection, Transaction, params};

const LOOK_UP: &str = "looking up a call's initiation";

/// Notes the conversation of an initiation, unless it has one.
pub(super) fn bind(transaction: &Transaction<'_>, call_sid: &CallSid, id: &ConversationId) -> Result<()> {
    transaction
        .execute_cached(
            "UPDATE call_initiations SET conversation_id = ?2 WHERE call_sid = ?1 AND conversation_id IS NULL",
            params![call_sid, id],
        )
        .map(drop)
        .context("linking an initiation")
}

/// Returns the driver of the initiation that was linked with a conversation.
pub(super) fn driver_of(transaction: &Transaction<'_>, id: &ConversationId) -> Result<Option<DriverId>> {
    transaction
        .fetch_optional(
            "SELECT driver_id FROM call_initiations WHERE conversation_id = ?1 ORDER BY initiated_at, call_sid LIMIT 1",
            [id],
            |row| row.get(0),
        )
        .context(LOOK_UP)
}

/// Returns the driver of the initiation with the id that a signed record says.
pub(super) fn driver_of_signed(transaction: &Transaction<'_>, call_sid: &str) -> Result<Option<DriverId>> {
    transaction
        .fetch_optional("SELECT driver_id FROM call_initiations WHERE call_sid = ?1", [call_sid], |row| row.get(0))
        .context(LOOK_UP)
}

/// Deletes the initiations of a call.
pub(super) fn delete_of(transaction: &Transaction<'_>, id: &ConversationId) -> Result<()> {
    transaction
        .execute_cached(
            "DELETE FROM call_initiations WHERE conversation_id = ?1 \
             OR call_sid = (SELECT call_sid FROM calls WHERE conversation_id = ?1)",
            [id],
        )
        .map(drop)
        .context("erasing a call's initiation")
}

/// Returns the driver with a number, and the driver's last call that is over.
pub(super) fn caller(connection: &Connection, number: &PhoneNumber) -> Result<Option<Caller>> {
    const CONTEXT: &str = "looking up a caller";
    let driver: Option<(DriverId, String)> = connection
        .fetch_optional("SELECT id, name FROM drivers WHERE phone_number = ?1", [number], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .context(CONTEXT)?;
    let Some((driver_id, name)) = driver else { return Ok(None) };
    let last_call = connection
        .fetch_optional(
            "SELECT call_start_time, summary, outcome FROM calls WHERE driver_id = ?1 AND status <> 'in_progress' \
             ORDER BY call_start_time DESC, id DESC LIMIT 1",
            [driver_id],
            |row| Ok(LastCall { at: row.get(0)?, summary: row.get(1)?, outcome: row.get(2)? }),
        )
        .context(CONTEXT)?;
    Ok(Some(Caller { driver_id, name, phone_number: number.clone(), last_call }))
}
