//! Parses the body of a post-call event into the row that is stored for it.

use crate::domain::{EventOutcome, NewEvent, RemarkKind, StoredRecord, describe_remarks};
use crate::elevenlabs::{EventOptions, ParsedEvent, parse_event_with};
use crate::redaction::{Redactor, redact_body};
use crate::telemetry::metrics::METRICS;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::panic::catch_unwind;

/// Counts a stored event in the service's metrics.
pub fn count_event(outcome: EventOutcome, remarks: &[RemarkKind]) {
    let label = match outcome {
        EventOutcome::Applied if !remarks.is_empty() => "remarked",
        outcome => outcome.as_str(),
    };
    METRICS.events_total.with_label_values(&[label]).inc();
    count_remarks(remarks);
}

/// Counts the fields that could not be read.
pub fn count_remarks(remarks: &[RemarkKind]) {
    for kind in remarks {
        METRICS.remarks_total.with_label_values(&[kind.as_str()]).inc();
    }
}

/// A parser of events' bodies, as configured.
#[derive(Debug, Clone, Copy, Default)]
pub struct EventParser {
    /// Redaction of the body before it is parsed and stored.
    pub redactor: Option<Redactor>,
    /// Options of parsing.
    pub options: EventOptions,
}

/// Parses an event with the default options; see [`EventParser::parse`].
pub fn parse_body(body: Bytes) -> NewEvent {
    EventParser::default().parse(body)
}

impl EventParser {
    /// Parses an event. Never fails: a body that cannot be read is stored unchanged, so a later version can read it.
    ///
    /// Takes some milliseconds per megabyte.
    pub fn parse(&self, body: Bytes) -> NewEvent {
        parse_redacted(redact_body(self.redactor, body), self.options)
    }
}

fn parse_redacted(body: Bytes, options: EventOptions) -> NewEvent {
    let digest = Sha256::digest(&body).into();
    // A panic in a parser must not lose the event.
    let Ok(event) = catch_unwind(|| parse_event_with(&body, options)) else {
        return NewEvent {
            digest,
            event_type: None,
            conversation_id: None,
            event_time: None,
            outcome: EventOutcome::Unreadable,
            error: Some("internal error while the event was parsed".to_owned()),
            remarks: Vec::new(),
            record: None,
            answered_by: None,
            body,
        };
    };
    let remarks = describe_remarks(&event.remarks);
    let (outcome, error, record) = match event.reading {
        ParsedEvent::Record(record) => (EventOutcome::Applied, remarks, Some(StoredRecord::from(&*record))),
        ParsedEvent::Other => (EventOutcome::Ignored, remarks, None),
        ParsedEvent::Unreadable(why) => (EventOutcome::Unreadable, Some(why), None),
    };
    NewEvent {
        digest,
        event_type: event.event_type,
        conversation_id: event.conversation_id,
        event_time: event.event_time,
        outcome,
        error,
        remarks: event.remarks.iter().map(|remark| remark.kind).collect(),
        record,
        answered_by: event.answered_by,
        body,
    }
}
