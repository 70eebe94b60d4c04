//! Clients of ElevenLabs: its API, the configuration of its agents' tools, and a sample call.

pub mod client;
pub mod rehearsal;
pub mod tool;
