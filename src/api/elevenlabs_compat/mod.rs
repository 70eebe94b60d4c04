//! ElevenLabs' own read operations, answered from this store.

pub(super) mod conversation;
pub(super) mod operations;
