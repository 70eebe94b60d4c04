//! Stores what the present reader parses of an event that an older version stored.
//!
//! Live streams do not show the new facts of a call ([`DueReason::Reread`]). Otherwise, after an upgrade, each open
//! page would receive a change of every stored call.

use super::batch::turns;
use super::due::DueReason;
use super::error::Context as _;
use super::statement::Statements as _;
use super::{erase, events, reread_list};
use crate::domain::{ConversationId, EventOutcome, Facts, NewEvent, RecordKind, Timestamp};
use crate::store::{Outcome, Receipt, Rejection, Result, Written};
use rusqlite::{Transaction, params};
use serde::Deserialize;

const CONTEXT: &str = "parsing a stored event again";

/// The stored parsed form of an event.
struct Parsed {
    outcome: EventOutcome,
    conversation_id: Option<ConversationId>,
    record: Option<String>,
    is_same: bool,
}

/// Stores what the present reader parses of a listed event, and deletes it from the list. Changes nothing if the event
/// is no longer listed, if the parsed form is the stored one, or if an older reader understood more.
pub(super) fn store_reread(
    transaction: &Transaction<'_>,
    turns: &mut turns::Batch<'_>,
    now: Timestamp,
    id: i64,
    event: &NewEvent,
) -> Result<Outcome> {
    let unchanged = Ok(Ok(Written::Receipt(Receipt { event_id: Some(id), replayed: true, due: false })));
    let stored = transaction
        .fetch_optional(
            "SELECT outcome, conversation_id, record, \
                (event_type, conversation_id, event_time, outcome, error, record) IS (?2, ?3, ?4, ?5, ?6, ?7) \
             FROM webhook_events WHERE id = ?1",
            params![
                id,
                event.event_type,
                event.conversation_id,
                event.event_time,
                event.outcome,
                event.error,
                event.record.as_ref().map(|record| &record.json),
            ],
            |row| {
                let (outcome, conversation_id, record) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(Parsed { outcome, conversation_id, record, is_same: row.get(3)? })
            },
        )
        .context(CONTEXT)?;
    let named_before = stored.as_ref().and_then(|stored| stored.conversation_id.as_ref());
    for call in [event.conversation_id.as_ref(), named_before].into_iter().flatten() {
        if erase::is_unfinished(transaction, call)? {
            return Ok(Err(Rejection::Unfinished));
        }
    }
    if !reread_list::delete(transaction, id)? {
        return unchanged;
    }
    let Some(stored) = stored else { return Ok(Err(Rejection::NotFound)) };
    if let Some(call) = &event.conversation_id {
        if erase::is_erased(transaction, call)? {
            return Ok(Err(Rejection::Erased));
        }
    }
    let understood_before = event.outcome == EventOutcome::Unreadable && stored.outcome != EventOutcome::Unreadable;
    if stored.is_same || understood_before {
        return unchanged;
    }
    events::update_parsed(transaction, id, event)?;
    let reason = match (&stored.record, &event.record) {
        (Some(before), Some(after)) if have_same_facts(before, &after.json) => DueReason::Reread,
        (Some(_), _) => DueReason::RereadFacts,
        // Earlier versions parsed no detections. They are many, and create no call.
        (None, Some(after)) if after.kind == RecordKind::Detection => DueReason::Reread,
        (None, _) => DueReason::Record,
    };
    let due = events::mark_due(transaction, turns, now, event, reason)?;
    Ok(Ok(Written::Receipt(Receipt { event_id: Some(id), replayed: false, due })))
}

/// Returns whether two stored records agree in the facts that users may change. If so, writing the facts again would
/// only undo a user's change.
fn have_same_facts(before: &str, after: &str) -> bool {
    #[derive(Deserialize)]
    struct WithFacts {
        facts: Facts,
    }
    let facts = |record: &str| serde_json::from_str::<WithFacts>(record).map(|record| record.facts);
    matches!((facts(before), facts(after)), (Ok(before), Ok(after)) if before.has_same_columns(&after))
}
