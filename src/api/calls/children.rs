//! The conversations that a call started, in the API's representation of a call.

use super::schema::{CallStatus, example_instant};
use crate::api::date_time::DateTime;
use crate::domain;
use poem_openapi::Object;
use poem_openapi::types::Example;

/// Maximum number of conversations in a call's response.
pub(super) const MAX_CHILDREN: usize = 100;

/// A conversation that a sub-agent held for another one.
#[derive(Debug, Object)]
#[oai(example)]
pub(in crate::api) struct ChildConversation {
    /// ElevenLabs' id of the conversation.
    conversation_id: String,
    status: CallStatus,
    /// Start of the conversation.
    call_start_time: DateTime,
    /// End of the conversation; null if not known.
    #[oai(nullable)]
    call_end_time: Option<DateTime>,
    /// Duration, in whole seconds: from ElevenLabs, else from start to end; null if not known.
    #[oai(nullable)]
    duration_seconds: Option<i64>,
    /// Number of stored turns.
    turn_count: i64,
    /// ElevenLabs' id of the agent.
    #[oai(nullable)]
    agent_id: Option<String>,
    /// Name of the agent.
    #[oai(nullable)]
    agent_name: Option<String>,
    /// Title, from ElevenLabs.
    #[oai(nullable)]
    title: Option<String>,
}

impl From<domain::Call> for ChildConversation {
    fn from(call: domain::Call) -> Self {
        Self {
            duration_seconds: call.duration_seconds(),
            conversation_id: call.conversation_id.as_str().to_owned(),
            status: call.status.into(),
            call_start_time: DateTime(call.call_start_time),
            call_end_time: call.call_end_time.map(DateTime),
            turn_count: call.turn_count,
            agent_id: call.report.agent_id,
            agent_name: call.report.agent_name,
            title: call.report.title,
        }
    }
}

impl Example for ChildConversation {
    fn example() -> Self {
        Self {
            conversation_id: "conv_5501kaj5a2w8f0m7c3d9h1t6q4xz".to_owned(),
            status: CallStatus::Completed,
            call_start_time: example_instant("2026-09-28T12:01:10Z"),
            call_end_time: Some(example_instant("2026-09-28T12:01:41Z")),
            duration_seconds: Some(31),
            turn_count: 4,
            agent_id: Some("agent_7701k9d2m4x0q8w6e5r3t1y9u7io".to_owned()),
            agent_name: Some("Dock appointments".to_owned()),
            title: Some("Looks up a dock time".to_owned()),
        }
    }
}
