//! Paths that more than one part names.

/// The path of the one operation that is called for every turn.
pub const TURNS: &str = "/webhooks/elevenlabs/transcription";
