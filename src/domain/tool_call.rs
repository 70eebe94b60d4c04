//! Calls of tools, and guardrails that were triggered.

use super::Timestamp;
use super::stored_text::stored_as;
use serde::{Deserialize, Serialize};

/// Maximum number of tool calls that are read of a record, so that one transaction can store them.
pub const MAX_TOOL_CALLS: usize = 1000;

/// A call of a tool with its result, or a triggered guardrail, in a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Index in ElevenLabs' list of the element with the call.
    pub index: u32,
    /// ElevenLabs' id, which joins call and result. May be repeated or empty, because language models invent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Name of the tool or guardrail.
    pub name: String,
    /// Type of the tool in ElevenLabs' words, such as `webhook`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub tool_type: Option<String>,
    /// Purpose of the call.
    pub purpose: ToolPurpose,
    /// Arguments, mostly JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<String>,
    /// Result, mostly JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// True if the tool failed; `None` without a result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_error: Option<bool>,
    /// Duration of the tool's request, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<i64>,
    /// Time of the call, as exactly as known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// The purpose of a tool call. Stored and returned as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ToolPurpose {
    /// Anything that the customer's tools do.
    Tool,
    /// Ends the call.
    EndCall,
    /// Transfers the call to a telephone number.
    TransferToNumber,
    /// Transfers the call to another agent.
    TransferToAgent,
    /// Reports that a voicemail answered.
    VoicemailDetection,
    /// A guardrail stopped the agent.
    Guardrail,
}

stored_as!(ToolPurpose {
    Tool => "tool",
    EndCall => "end_call",
    TransferToNumber => "transfer_to_number",
    TransferToAgent => "transfer_to_agent",
    VoicemailDetection => "voicemail_detection",
    Guardrail => "guardrail",
});

/// A stored call of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedToolCall {
    /// Number in its call: 1, 2, 3 ….
    pub position: i64,
    /// Place of the turn before it; 0 if it is before all turns.
    pub after_place: i64,
    /// The call and its result.
    pub call: ToolCall,
}
