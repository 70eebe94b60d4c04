//! Events that the service makes itself, in the form of ElevenLabs' own.

use crate::domain::ConversationId;
use serde_json::{Value, json};

/// Type of an event that `doctor` sends to test the way of deliveries. It is verified, and not stored.
pub const TEST_EVENT_TYPE: &str = "transcribe_hook_test";

/// Type of an event about a recording.
const RECORDING: &str = "post_call_audio";

/// A note that is stored in place of a recording's event.
#[derive(Debug, Clone, Copy)]
pub struct RecordingNote<'a> {
    /// Event type as received.
    pub event_type: Option<&'a str>,
    /// Conversation that was recorded.
    pub conversation_id: &'a ConversationId,
    /// Size of the decoded audio, in bytes.
    pub audio_bytes: u64,
    /// True if the recording is stored.
    pub kept: bool,
}

impl RecordingNote<'_> {
    /// Returns the body of the event.
    pub fn body(&self) -> String {
        let id = self.conversation_id.as_str();
        let data = json!({"conversation_id": id, "audio_bytes": self.audio_bytes, "kept": self.kept});
        let named = self.event_type.filter(|named| named.to_ascii_lowercase().contains("audio"));
        json!({"type": named.unwrap_or(RECORDING), "data": data}).to_string()
    }
}

/// Returns the body of the event that is stored in place of a recording that cannot be parsed.
pub fn unreadable_recording_note(error: &str) -> String {
    json!({"type": RECORDING, "data": {"kept": false, "error": error}}).to_string()
}

/// Returns the event that ElevenLabs would have posted at the end of a call, from the conversation in its API. It does
/// not depend on the time of the request, so a repeated one is a duplicate.
pub fn fetched_event(conversation: &Value) -> String {
    let seconds = |field: &str| conversation["metadata"][field].as_i64().unwrap_or_default();
    let end = seconds("start_time_unix_secs").saturating_add(seconds("call_duration_secs"));
    json!({"type": "post_call_transcription", "event_timestamp": end, "origin": "backfill", "data": conversation})
        .to_string()
}
