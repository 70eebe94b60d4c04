//! From the body of an event that the platform posted to what is kept of it.

use crate::elevenlabs::{Reading, read_event};
use crate::model::{EventOutcome, NewEvent};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::panic::catch_unwind;

/// Reads an event. Every body can be kept: what cannot be read is kept as it came, to be read again by a later version.
///
/// Takes some milliseconds for each megabyte.
pub fn of_body(body: Bytes) -> NewEvent {
    let digest = Sha256::digest(&body).into();
    // A defect in a reader must not cost the event.
    let Ok(event) = catch_unwind(|| read_event(&body)) else {
        return NewEvent {
            digest,
            event_type: None,
            conversation_id: None,
            event_time: None,
            outcome: EventOutcome::Unreadable,
            error: Some("reading it met a defect in this program".to_owned()),
            record: None,
            answered_by: None,
            body,
        };
    };
    let remarks = (!event.remarks.is_empty()).then(|| event.remarks.join("; "));
    let (outcome, error, record) = match event.reading {
        Reading::Record(record) => (EventOutcome::Applied, remarks, Some(record)),
        Reading::Other => (EventOutcome::Ignored, remarks, None),
        Reading::Unreadable(why) => (EventOutcome::Unreadable, Some(why), None),
    };
    NewEvent {
        digest,
        event_type: event.event_type,
        conversation_id: event.conversation_id,
        event_time: event.event_time,
        outcome,
        error,
        record,
        answered_by: event.answered_by,
        body,
    }
}
