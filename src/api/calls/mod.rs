//! Operations on calls: lists, transcripts, audio, live events, search, statistics, export.

pub(super) mod audio;
pub(super) mod events;
pub(super) mod export;
pub(super) mod filter;
pub(super) mod operations;
pub(super) mod schema;
pub(super) mod search;
mod speaker;
pub(super) mod stats;
mod stats_details;
pub(super) mod tool_calls;
pub(super) mod transcriptions;
mod understood;

pub use events::encode_event;
