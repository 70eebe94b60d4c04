//! ElevenLabs: parsers of what it sends, its API, the configuration of its agents' tools, and a sample call.
//!
//! The parsers are lenient, because ElevenLabs adds and removes fields without notice. A field that is missing, null or
//! of an unexpected type is treated as unknown, and does not affect other fields. Each unreadable field is recorded as
//! a remark in the stored event. Only an event without a conversation id cannot be parsed at all.
//!
//! This module does not depend on HTTP, the database or the clock.

pub mod agent_tool;
mod batch;
pub mod client;
mod conversation;
mod event;
mod history;
pub mod initiation;
mod lenient;
mod made_event;
mod options;
mod otel_traces;
pub mod sample_call;
pub mod signature;
mod tools;
pub mod turn;
mod turn_details;
mod utterance;
pub mod workspace;

pub use batch::{ParsedBatch, parse_batch};
pub use event::{Event, ParsedEvent, parse_event, parse_event_with};
pub use history::parse_history;
pub use made_event::{RecordingNote, TEST_EVENT_TYPE, fetched_event, unreadable_recording_note};
pub use options::{EventOptions, ToolDetails};
