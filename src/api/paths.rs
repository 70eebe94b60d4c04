//! Paths that more than one module names.

/// Path of the turn webhook, the only operation that is called once per turn.
pub const TURN_WEBHOOK_PATH: &str = "/webhooks/elevenlabs/transcription";

/// Path of the webhook for the conversation so far.
pub const HISTORY_WEBHOOK_PATH: &str = "/webhooks/elevenlabs/history";

/// Path of the webhook that tells ElevenLabs who is calling.
pub const INITIATION_WEBHOOK_PATH: &str = "/webhooks/elevenlabs/initiation";

/// Path of the webhook for ElevenLabs' signed events.
pub const POST_CALL_WEBHOOK_PATH: &str = "/webhooks/elevenlabs/post-call";

/// Path of the MCP server.
pub const MCP_PATH: &str = "/mcp";
