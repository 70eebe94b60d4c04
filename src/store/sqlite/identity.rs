//! Which driver a call was with.

use super::error::Context as _;
use super::events::parsed;
use crate::model::{ConversationId, DriverClaims, DriverId, DriverSource, Timestamp};
use crate::reconcile::{Candidate, Identity};
use crate::store::Result;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

const DOING: &str = "finding out who was called";

/// Decides who was called by all that says so, as far as the call is known. A driver who was known stays, where
/// nothing says any more who it was.
pub(super) fn identify(transaction: &Transaction<'_>, now: Timestamp, id: &ConversationId) -> Result<()> {
    let call = transaction
        .prepare_cached(
            "SELECT driver_id, driver_source, driver_conflict, driver_claims FROM calls WHERE conversation_id = ?1",
        )
        .and_then(|mut select| {
            let columns = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get::<_, Option<String>>(3)?));
            select.query_row([id], columns).optional()
        })
        .doing(DOING)?;
    let Some((driver_id, source, conflict, claims)) = call else { return Ok(()) };
    let before: (Option<DriverId>, Option<DriverSource>, Option<String>) = (driver_id, source, conflict);
    let claims: DriverClaims = claims.map_or(Ok(DriverClaims::default()), |claims| parsed(&claims, DOING))?;
    let Identity { driver, conflict: new_conflict } =
        crate::reconcile::identify(&candidates(transaction, id, &claims)?);
    let Some((new_id, new_source)) = driver else { return Ok(()) };
    if before == (Some(new_id), Some(new_source), new_conflict.clone()) {
        return Ok(());
    }
    transaction
        .prepare_cached(
            "UPDATE calls SET driver_id = ?2, driver_source = ?3, driver_conflict = ?4, updated_at = ?5 \
             WHERE conversation_id = ?1",
        )
        .and_then(|mut update| update.execute(params![id, new_id, new_source, new_conflict, now]))
        .map(drop)
        .doing(DOING)
}

/// The same for all calls whose driver was named but is not known, now that drivers have come.
pub(super) fn identify_unknown(transaction: &Transaction<'_>, now: Timestamp) -> Result<()> {
    let ids: Vec<ConversationId> = transaction
        .prepare_cached("SELECT conversation_id FROM calls WHERE driver_id IS NULL AND driver_claims IS NOT NULL")
        .and_then(|mut select| select.query_map([], |row| row.get(0))?.collect())
        .doing(DOING)?;
    ids.iter().try_for_each(|id| identify(transaction, now, id))
}

fn candidates(transaction: &Transaction<'_>, id: &ConversationId, claims: &DriverClaims) -> Result<Vec<Candidate>> {
    let dispatched: Option<DriverId> = transaction
        .prepare_cached("SELECT driver_id FROM call_dispatches WHERE conversation_id = ?1")
        .and_then(|mut select| select.query_row([id], |row| row.get(0)).optional())
        .doing(DOING)?
        .flatten();
    let by_phone: Option<DriverId> = match &claims.phone_number {
        None => None,
        Some(number) => transaction
            .prepare_cached("SELECT id FROM drivers WHERE phone_number = ?1")
            .and_then(|mut select| select.query_row([number], |row| row.get(0)).optional())
            .doing(DOING)?,
    };
    let named = [
        (DriverSource::Dispatch, dispatched),
        (DriverSource::DynamicVariable, claims.dynamic_variable),
        (DriverSource::UserId, claims.user_id),
        (DriverSource::BatchRecipient, claims.batch_recipient),
        (DriverSource::PhoneNumber, by_phone),
    ];
    let mut candidates = Vec::new();
    for (source, driver_id) in named {
        let Some(driver_id) = driver_id else { continue };
        let known = transaction
            .prepare_cached("SELECT 1 FROM drivers WHERE id = ?1")
            .and_then(|mut select| select.exists([driver_id]))
            .doing(DOING)?;
        candidates.push(Candidate { source, driver_id, known });
    }
    Ok(candidates)
}
