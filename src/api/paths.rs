//! Paths that more than one module names.

/// Path of the turn webhook, the only operation that is called once per turn.
pub const TURN_WEBHOOK_PATH: &str = "/webhooks/elevenlabs/transcription";
