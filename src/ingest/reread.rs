//! Parses stored events again with the present reader: in the background after an upgrade, or all at once by `replay`.
//!
//! A stored body is already redacted, so it is parsed as it is.

use super::event::EventParser;
use crate::domain::{NewEvent, StoredEvent};
use crate::store::command::{ReplayEvent, RereadEvent};
use bytes::Bytes;

/// Maximum number of events that are parsed at once, and stored in one transaction.
pub const MAX_EVENTS: usize = 64;

/// Maximum size of the bodies of these events, in bytes. A single longer body is also accepted.
pub const MAX_BYTES: usize = 256 * 1024;

/// Parses an event that is listed to be parsed again.
pub fn reread(parser: EventParser, stored: StoredEvent) -> RereadEvent {
    RereadEvent(stored.id, parse(parser, stored))
}

/// Parses any stored event.
pub fn replay(parser: EventParser, stored: StoredEvent) -> ReplayEvent {
    ReplayEvent(stored.id, parse(parser, stored))
}

fn parse(parser: EventParser, stored: StoredEvent) -> Box<NewEvent> {
    let event = EventParser { redactor: None, ..parser }.parse(stored.body.into());
    // The body is stored already, and need not wait in the writer's queue.
    Box::new(NewEvent { body: Bytes::new(), ..event })
}
