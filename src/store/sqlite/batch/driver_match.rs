//! The driver of a call.
//!
//! The driver is looked up when the first turn creates the call, and again when a dispatch, an event or a driver is
//! stored. The surest source decides: the dispatch with the same `conversation_id`, then what ElevenLabs' events say
//! ([`crate::domain::reconcile::match_driver_of_closed_call`]). Other sources that name someone else are shown as the
//! conflict. A call with an unknown driver is stored with NULL and a warning, because a dialler's own record often
//! arrives after the first words.

use crate::domain::reconcile::{Candidate, DriverMatch};
use crate::domain::{ConversationId, DriverClaims, DriverId, DriverSource, Timestamp};
use crate::store::Result;
use crate::store::sqlite::error::Context as _;
use crate::store::sqlite::initiations;
use crate::store::sqlite::json_column::parsed;
use crate::store::sqlite::records::claims_by_tools;
use crate::store::sqlite::statement::Statements as _;
use rusqlite::{Transaction, params};

const CONTEXT: &str = "identifying a call's driver";

/// Sets the call's driver from all available sources. After a signed record, unsigned claims decide nothing. If no
/// source is left, the call keeps its driver.
pub(in crate::store::sqlite) fn match_driver(
    transaction: &Transaction<'_>,
    now: Timestamp,
    id: &ConversationId,
) -> Result<()> {
    let call = transaction
        .fetch_optional(
            "SELECT driver_id, driver_source, driver_conflict, driver_claims, record_event_id IS NOT NULL, call_sid \
             FROM calls \
             WHERE conversation_id = ?1",
            [id],
            |row| {
                let before: CurrentMatch = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok((before, row.get::<_, Option<String>>(3)?, row.get::<_, bool>(4)?, row.get::<_, Option<String>>(5)?))
            },
        )
        .context(CONTEXT)?;
    let Some((before, claims, signed, call_sid)) = call else { return Ok(()) };
    let claims: DriverClaims = claims.map_or(Ok(DriverClaims::default()), |claims| parsed(&claims, CONTEXT))?;
    let tool_claims = if signed { claims_by_tools(transaction, id)?.claims } else { DriverClaims::default() };
    let initiated = match (signed, &call_sid) {
        (false, _) => initiations::driver_of(transaction, id)?,
        // The record's id decides alone, because anybody who may send turns can claim one.
        (true, Some(call_sid)) => initiations::driver_of_signed(transaction, call_sid)?,
        (true, None) => None,
    };
    let DriverMatch { driver, conflict } = crate::domain::reconcile::match_driver_of_closed_call(
        &candidates(transaction, dispatched(transaction, id)?, initiated, &claims)?,
        &candidates(transaction, None, None, &tool_claims)?,
    );
    let after = match driver {
        Some((id, source)) => (Some(id), Some(source), conflict),
        None if signed && before.0.is_none() => (None, None, conflict),
        None => return Ok(()),
    };
    if before == after {
        return Ok(());
    }
    transaction
        .execute_cached(
            "UPDATE calls SET driver_id = ?2, driver_source = ?3, driver_conflict = ?4, updated_at = ?5 \
             WHERE conversation_id = ?1",
            params![id, after.0, after.1, after.2, now],
        )
        .map(drop)
        .context(CONTEXT)
}

/// The call's driver, its source, and the conflicting claims.
type CurrentMatch = (Option<DriverId>, Option<DriverSource>, Option<String>);

/// Returns the driver that a call's dispatch names.
fn dispatched(transaction: &Transaction<'_>, id: &ConversationId) -> Result<Option<DriverId>> {
    let driver_id: Option<Option<DriverId>> = transaction
        .fetch_optional("SELECT driver_id FROM call_dispatches WHERE conversation_id = ?1", [id], |row| row.get(0))
        .context(CONTEXT)?;
    Ok(driver_id.flatten())
}

/// Looks up the driver of each call that lacks one but has claims, after drivers were added.
pub(in crate::store::sqlite) fn match_unknown_drivers(transaction: &Transaction<'_>, now: Timestamp) -> Result<()> {
    let ids: Vec<ConversationId> = transaction
        .fetch_all(
            "SELECT conversation_id FROM calls WHERE driver_id IS NULL AND driver_claims IS NOT NULL ORDER BY id",
            [],
            |row| row.get(0),
        )
        .context(CONTEXT)?;
    ids.iter().try_for_each(|id| match_driver(transaction, now, id))
}

/// Returns a candidate for each source that names a driver.
fn candidates(
    transaction: &Transaction<'_>,
    dispatched: Option<DriverId>,
    initiated: Option<DriverId>,
    claims: &DriverClaims,
) -> Result<Vec<Candidate>> {
    let by_phone: Option<DriverId> = match &claims.phone_number {
        None => None,
        Some(number) => transaction
            .fetch_optional("SELECT id FROM drivers WHERE phone_number = ?1", [number], |row| row.get(0))
            .context(CONTEXT)?,
    };
    let named = [
        (DriverSource::Dispatch, dispatched),
        (DriverSource::DynamicVariable, claims.dynamic_variable),
        (DriverSource::UserId, claims.user_id),
        (DriverSource::BatchRecipient, claims.batch_recipient),
        (DriverSource::Initiation, initiated),
        (DriverSource::PhoneNumber, by_phone),
    ];
    let mut candidates = Vec::new();
    for (source, driver_id) in named {
        let Some(driver_id) = driver_id else { continue };
        let known = transaction.has_row("SELECT 1 FROM drivers WHERE id = ?1", [driver_id]).context(CONTEXT)?;
        candidates.push(Candidate { source, driver_id, known });
    }
    Ok(candidates)
}
