//! The tools that an agent of the platform calls during a call, as the platform's API takes them
//! (`POST /v1/convai/tools`, field `tool_config`).
//!
//! Both are called asynchronously and silently, so that they neither delay the agent's speech nor are heard when they
//! fail. What names the call comes from the platform's own variables, not from its language model.

use serde_json::{Value, json};

/// Which tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Sends one turn, in words that the agent's language model writes, so it may reword or leave out.
    Turn,
    /// Sends the conversation so far, in the platform's own words; a call that is lost is healed by the next.
    History,
}

/// What differs from one installation to another.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// Where the platform reaches the service, without a slash at its end.
    pub base_url: &'a str,
    /// The platform's name for the workspace secret that holds the ingest token.
    pub secret_id: Option<&'a str>,
    /// The dynamic variable that holds the driver's number. The agent must have it in every call: the platform does not
    /// start a call that lacks one.
    pub driver_variable: Option<&'a str>,
}

/// Seconds in which the tool must answer; the least that the platform takes.
const RESPONSE_TIMEOUT_SECONDS: u32 = 5;

impl Kind {
    /// The tool's name, which the agent's instructions use.
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

/// The tool's configuration.
pub fn configuration(kind: Kind, settings: Settings<'_>) -> Value {
    let variable = |name: &str| json!({"type": "string", "dynamic_variable": name});
    let mut properties = json!({ "conversation_id": variable("system__conversation_id") });
    let required = match kind {
        Kind::Turn => {
            properties["speaker"] = json!({
                "type": "string",
                "enum": ["agent", "user"],
                "description": "'user' for what the driver just said, 'agent' for what you said",
            });
            properties["message"] =
                json!({"type": "string", "description": "The exact words of that one turn, verbatim"});
            json!(["conversation_id", "speaker", "message", "timestamp"])
        }
        Kind::History => {
            properties["agent_id"] = variable("system__agent_id");
            if let Some(name) = settings.driver_variable {
                properties["driver_id"] = variable(name);
            }
            json!(["conversation_id", "timestamp", "history"])
        }
    };
    properties["timestamp"] = variable("system__time_utc");
    if kind == Kind::History {
        properties["history"] = variable("system__conversation_history");
    }
    let headers = match settings.secret_id {
        Some(id) => json!({"X-Webhook-Token": {"secret_id": id}}),
        None => json!({}),
    };
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
