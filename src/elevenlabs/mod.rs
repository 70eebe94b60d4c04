//! Parsers for what ElevenLabs sends and returns about whole conversations.
//!
//! The parsers are lenient, because ElevenLabs adds and removes fields without notice. A field that is missing, null or
//! of an unexpected type is treated as unknown, and does not affect other fields. Each unreadable field is recorded as
//! a remark in the stored event. Only an event without a conversation id cannot be parsed at all.
//!
//! This module does not depend on HTTP, the database or the clock.

mod batch;
mod event;
mod history;
mod lenient;
mod record;
mod traces;
mod utterance;

pub use batch::{BatchReading, read_batch};
pub use event::{Event, Reading, read_event};
pub use history::read_history;
