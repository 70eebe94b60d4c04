//! Tools that an ElevenLabs agent calls during a call, in the form of ElevenLabs' API (`POST /v1/convai/tools`, field
//! `tool_config`).
//!
//! They are called asynchronously and silently, so they do not delay the agent's speech, and the caller does not notice
//! failures. The call is identified by ElevenLabs' own variables, not by the language model.

use serde_json::{Value, json};

/// A kind of tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolKind {
    /// Sends one turn in the words of the agent's language model, which may reword or omit some.
    Turn,
    /// Sends the conversation so far, as recorded by ElevenLabs. A lost request is compensated by the next one.
    History,
}

/// Settings that differ between installations.
#[derive(Debug, Clone, Copy)]
pub struct ToolOptions<'a> {
    /// Public URL of the service, without a trailing slash.
    pub base_url: &'a str,
    /// ElevenLabs' id of the workspace secret that contains the ingest token.
    pub secret_id: Option<&'a str>,
    /// Dynamic variable with the driver's number. Every call must define it, because ElevenLabs does not start a call
    /// that lacks a variable.
    pub driver_variable: Option<&'a str>,
    /// True if the tool sends the telephone provider's id of the call. Only calls by telephone have one.
    pub call_sid: bool,
}

/// Timeout of the tool's request, in seconds: the minimum that ElevenLabs accepts.
const RESPONSE_TIMEOUT_SECONDS: u32 = 5;

impl ToolKind {
    /// Returns the tool's name, which the agent's instructions use.
    pub const fn tool_name(self) -> &'static str {
        match self {
            Self::Turn => "log_dialogue",
            Self::History => "log_turn",
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Turn => "/webhooks/elevenlabs/transcription",
            Self::History => "/webhooks/elevenlabs/history",
        }
    }

    const fn description(self) -> &'static str {
        match self {
            Self::Turn => {
                "Record one turn of the conversation. After every user message call it silently twice: once with \
                 speaker=user and the user's exact words, once with speaker=agent and your exact reply."
            }
            Self::History => {
                "Record the conversation so far. Call it silently after every user reply and once before ending the \
                 call."
            }
        }
    }
}

/// Returns the tool's configuration.
pub fn configuration(kind: ToolKind, settings: ToolOptions<'_>) -> Value {
    let variable = |name: &str| json!({"type": "string", "dynamic_variable": name});
    let mut properties = json!({ "conversation_id": variable("system__conversation_id") });
    let required = match kind {
        ToolKind::Turn => {
            properties["speaker"] = json!({
                "type": "string",
                "enum": ["agent", "user"],
                "description": "'user' for what the driver just said, 'agent' for what you said",
            });
            properties["message"] =
                json!({"type": "string", "description": "The exact words of that one turn, verbatim"});
            json!(["conversation_id", "speaker", "message", "timestamp"])
        }
        ToolKind::History => {
            properties["agent_id"] = variable("system__agent_id");
            if let Some(name) = settings.driver_variable {
                properties["driver_id"] = variable(name);
            }
            json!(["conversation_id", "timestamp", "history"])
        }
    };
    if settings.call_sid {
        properties["call_sid"] = variable("system__call_sid");
    }
    properties["timestamp"] = variable("system__time_utc");
    if kind == ToolKind::History {
        properties["history"] = variable("system__conversation_history");
    }
    let headers = headers(settings.secret_id);
    json!({
        "type": "webhook",
        "name": kind.tool_name(),
        "description": kind.description(),
        "response_timeout_secs": RESPONSE_TIMEOUT_SECONDS,
        "execution_mode": "async",
        "pre_tool_speech": "off",
        "tool_error_handling_mode": "hide",
        "interruption_mode": "allow",
        "api_schema": {
            "url": format!("{}{}", settings.base_url, kind.path()),
            "method": "POST",
            "content_type": "application/json",
            "request_headers": headers,
            "request_body_schema": {"type": "object", "required": required, "properties": properties},
        },
    })
}

/// Returns the headers that carry the ingest token, which is in this workspace secret.
fn headers(secret_id: Option<&str>) -> Value {
    match secret_id {
        Some(id) => json!({"X-Webhook-Token": {"secret_id": id}}),
        None => json!({}),
    }
}

/// Returns the workspace setting of the initiation webhook, in the form of `PATCH /v1/convai/settings`. Each agent must
/// also permit it, in `platform_settings.overrides.enable_conversation_initiation_client_data_from_webhook`.
pub fn initiation_settings(base_url: &str, secret_id: Option<&str>) -> Value {
    json!({
        "conversation_initiation_client_data_webhook": {
            "url": format!("{base_url}/webhooks/elevenlabs/initiation"),
            "request_headers": headers(secret_id),
        },
    })
}
