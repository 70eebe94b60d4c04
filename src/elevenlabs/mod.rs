//! Reads what the platform sends and gives about whole conversations.
//!
//! The readers are lenient, since fields come and go without notice: what is missing, null or of another type than
//! expected is not known, and nothing else is lost by it. They say what they could not read, so that it can be seen in
//! the stored event. Only a report that does not name its conversation cannot be read at all.
//!
//! Nothing here knows HTTP, the database or the clock.

pub mod agent_tool;
mod batch;
pub mod client;
mod conversation;
mod event;
mod history;
mod lenient;
mod otel_traces;
pub mod sample_call;
pub mod signature;
pub mod turn;
mod utterance;

pub use batch::{BatchReading, read_batch};
pub use event::{Event, Reading, read_event};
pub use history::read_history;
