//! A conversation in ElevenLabs' form, from its record or from the stored turns.

use crate::domain::repair;
use crate::domain::{self, BoundedJson, PlacedToolCall, Speaker, Timestamp, ToolPurpose, Turn, TurnKind};
use poem_openapi::Enum;
use poem_openapi::types::{ParseFromJSON as _, ToJSON as _};
use serde_json::{Value, json};

/// Status of a conversation, in ElevenLabs' form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "kebab-case")]
pub(in crate::api) enum ConversationStatus {
    /// The call has not begun. Calls here never have this status.
    Initiated,
    /// The call is running.
    InProgress,
    /// The call is over and is being analysed. Calls here never have this status.
    Processing,
    /// The call is over.
    Done,
    /// The call could not be placed, or was cut off.
    Failed,
}

impl From<domain::CallStatus> for ConversationStatus {
    fn from(status: domain::CallStatus) -> Self {
        match status {
            domain::CallStatus::InProgress => Self::InProgress,
            domain::CallStatus::Completed => Self::Done,
            domain::CallStatus::Failed => Self::Failed,
        }
    }
}

impl ConversationStatus {
    /// Returns the corresponding status of calls, if there is one.
    pub(in crate::api) const fn to_call_status(self) -> Option<domain::CallStatus> {
        match self {
            Self::InProgress => Some(domain::CallStatus::InProgress),
            Self::Done => Some(domain::CallStatus::Completed),
            Self::Failed => Some(domain::CallStatus::Failed),
            Self::Initiated | Self::Processing => None,
        }
    }
}

/// Maximum memory of a conversation's value beside its texts, in MiB.
const MAX_VALUE_MIB: usize = 96;

/// Maximum number of turns, and of tool calls and results, of a conversation that is returned as ElevenLabs sent it.
/// Each of them gets the fields that it lacks.
const MAX_COMPLETED: usize = 10_000;

/// Returns the conversation in the body of an event, if the event contains one in ElevenLabs' form, whose size is that
/// of a call.
pub(in crate::api) fn conversation_in(body: &[u8]) -> Option<Value> {
    let (event, _) = repair::read::<BoundedJson<MAX_VALUE_MIB>>(body).ok()?;
    let mut event = Some(event).filter(|event| event.left_out == 0)?.value;
    let turns = event.pointer("/data/transcript").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let tools = |turn: &Value| {
        let lists =
            ["tool_calls", "tool_results"].map(|name| turn.get(name).and_then(Value::as_array).map_or(0, Vec::len));
        lists.iter().sum::<usize>()
    };
    if turns.iter().map(|turn| 1 + tools(turn)).sum::<usize>() > MAX_COMPLETED {
        return None;
    }
    let whole = event.get("type")?.as_str()?.trim().eq_ignore_ascii_case("post_call_transcription");
    whole.then(|| event.get_mut("data").map(Value::take))?.filter(Value::is_object)
}

/// Sets the fields that ElevenLabs' SDKs require, if the record lacks them. The required fields are those of the SDKs'
/// model `GetConversationResponseModel`.
pub(in crate::api) fn fill_in(data: &mut Value, call: &domain::Call, has_audio: bool) {
    data["has_audio"] = has_audio.into();
    let mut required = |pointer: &[&str], default: Value, fits: fn(&Value) -> bool| {
        let mut target = &mut *data;
        for name in pointer {
            if !target.is_object() {
                *target = json!({});
            }
            target = &mut target[*name];
        }
        if !fits(target) {
            *target = default;
        }
    };
    for name in ["has_user_audio", "has_response_audio", "has_auxiliary_audio"] {
        required(&[name], false.into(), Value::is_boolean);
    }
    required(&["agent_id"], call.report.agent_id.clone().unwrap_or_default().into(), Value::is_string);
    required(&["conversation_id"], call.conversation_id.as_str().into(), Value::is_string);
    required(&["status"], status(call), |status| ConversationStatus::parse_from_json(Some(status.clone())).is_ok());
    required(&["transcript"], json!([]), Value::is_array);
    required(&["metadata", "start_time_unix_secs"], seconds(call.call_start_time).into(), Value::is_i64);
    required(&["metadata", "call_duration_secs"], duration(call).into(), Value::is_i64);
    if let Some(Value::Number(number)) = data.get("user_id") {
        data["user_id"] = number.to_string().into();
    }
    complete(data.get_mut("analysis"), &["call_successful", "transcript_summary"], &[]);
    for name in ["evaluation_criteria_results", "data_collection_results"] {
        null_unless(data.pointer_mut(&format!("/analysis/{name}")), Value::is_object);
    }
    let metadata = &mut data["metadata"];
    complete(metadata.get_mut("phone_call"), &PHONE_CALL, &[]);
    complete(metadata.get_mut("batch_call"), &["batch_call_id", "batch_call_recipient_id"], &[]);
    null_unless(metadata.get_mut("error"), |error| error["code"].is_i64());
    for turn in data["transcript"].as_array_mut().into_iter().flatten().filter(|turn| turn.is_object()) {
        complete_turn(turn);
    }
}

/// Texts that the SDKs' models of telephone calls require. Each model requires some of them.
const PHONE_CALL: [&str; 7] =
    ["type", "direction", "phone_number_id", "agent_number", "external_number", "stream_sid", "call_sid"];

fn complete_turn(turn: &mut Value) {
    let time = &mut turn["time_in_call_secs"];
    if !time.is_i64() {
        // The models have whole seconds.
        #[expect(clippy::cast_possible_truncation, reason = "a number out of range saturates")]
        let whole = time.as_f64().map_or(0, |seconds| seconds as i64);
        *time = whole.into();
    }
    null_unless(turn.get_mut("message"), Value::is_string);
    for name in ["interrupted", "ignored_as_backchannel"] {
        null_unless(turn.get_mut(name), Value::is_boolean);
    }
    for name in ["conversation_turn_metrics", "llm_usage", "rag_retrieval_info", "agent_metadata"] {
        null_unless(turn.get_mut(name), Value::is_object);
    }
    for (name, texts, flags) in [
        ("tool_calls", ["request_id", "tool_name", "params_as_json"], &["tool_has_been_called"][..]),
        ("tool_results", ["request_id", "tool_name", "result_value"], &["is_error", "tool_has_been_called"]),
    ] {
        null_unless(turn.get_mut(name), Value::is_array);
        for tool in turn.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten() {
            if !tool.is_object() {
                *tool = json!({});
            }
            complete(Some(tool), &texts, flags);
        }
    }
}

/// Adds the texts and flags to an object that its model requires. Anything but an object becomes null.
fn complete(place: Option<&mut Value>, texts: &[&str], flags: &[&str]) {
    let Some(place) = place else { return };
    let Some(fields) = place.as_object_mut() else {
        *place = Value::Null;
        return;
    };
    for name in texts {
        let text = fields.entry(*name).or_insert(Value::Null);
        if text.is_null() {
            *text = "".into();
        } else if !text.is_string() {
            *text = text.to_string().into();
        }
    }
    for name in flags {
        let flag = fields.entry(*name).or_insert(Value::Null);
        if !flag.is_boolean() {
            *flag = false.into();
        }
    }
}

fn null_unless(place: Option<&mut Value>, fits: fn(&Value) -> bool) {
    if let Some(place) = place.filter(|value| !fits(value)) {
        *place = Value::Null;
    }
}

/// Returns whether a conversation has turns and the SDKs can parse all of them. Otherwise the words may still be known
/// from live turns, for example if a record has no transcript.
pub(in crate::api) fn has_known_turns(data: &Value) -> bool {
    let turns = data["transcript"].as_array().map_or(&[][..], Vec::as_slice);
    let other_forms = ["text", "content", "parts", "transcript", "utterance"];
    let known = |turn: &Value| {
        let spoken = turn["message"].is_string() || other_forms.iter().all(|name| turn.get(name).is_none());
        let message = turn.get("message").is_none_or(|message| message.is_string() || message.is_null());
        matches!(turn["role"].as_str(), Some("user" | "agent")) && spoken && message
    };
    !turns.is_empty() && turns.iter().all(known)
}

/// Returns a conversation that is built from the stored turns.
pub(in crate::api) fn partial_conversation(
    call: &domain::Call,
    turns: &[Turn],
    tools: &[PlacedToolCall],
    has_audio: bool,
) -> Value {
    let transcript: Vec<_> = turns
        .iter()
        .map(|turn| {
            let role = match turn.speaker {
                Speaker::Agent => "agent",
                Speaker::Driver => "user",
            };
            json!({
                "role": role,
                "message": turn.final_text.as_ref().unwrap_or(&turn.message).as_str(),
                "time_in_call_secs": call.offset_micros(turn) / 1_000_000,
                "interrupted": turn.interrupted.unwrap_or(false),
                "ignored_as_backchannel": turn.kind == TurnKind::Backchannel,
                "source_medium": source_medium(turn),
                "conversation_turn_metrics": turn_metrics(turn),
                "tool_calls": tools_after(tools, turn).map(tool_call).collect::<Vec<_>>(),
                "tool_results": tools_after(tools, turn).filter_map(tool_result).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "agent_id": call.report.agent_id.as_deref().unwrap_or_default(),
        "conversation_id": call.conversation_id.as_str(),
        "status": status(call),
        "user_id": call.report.user_id.clone().or_else(|| call.driver_id.map(|id| id.to_string())),
        "transcript": transcript,
        "metadata": {
            "start_time_unix_secs": seconds(call.call_start_time),
            "accepted_time_unix_secs": call.report.accepted_time.map(seconds),
            "call_duration_secs": duration(call),
            "cost": call.report.cost,
            "cost_fiat": call.report.cost_usd,
            "main_language": call.report.main_language,
            "termination_reason": call.report.termination_reason,
            "conversation_initiation_source": call.report.initiation_source,
        },
        "agent_name": call.report.agent_name,
        "branch_id": call.report.branch_id,
        "version_id": call.report.version_id,
        "environment": call.report.environment,
        "conversation_product": call.report.conversation_product,
        "tag_ids": call.report.tags,
        "analysis": null,
        "has_audio": has_audio,
        "has_user_audio": false,
        "has_response_audio": false,
        "has_auxiliary_audio": false,
    })
}

/// Returns the medium of a turn of the driver, in ElevenLabs' words.
fn source_medium(turn: &Turn) -> Option<&'static str> {
    match (turn.speaker, turn.kind) {
        (Speaker::Agent, _) => None,
        (Speaker::Driver, TurnKind::Keypad) => Some("dtmf"),
        (Speaker::Driver, TurnKind::Text) => Some("text"),
        (Speaker::Driver, _) => Some("audio"),
    }
}

/// Returns the measurements of a turn in ElevenLabs' form.
fn turn_metrics(turn: &Turn) -> Option<Value> {
    let by_name: serde_json::Map<String, Value> = serde_json::from_str(turn.metrics.as_ref()?).ok()?;
    let metrics = by_name
        .into_iter()
        .filter(|(_, seconds)| seconds.is_number())
        .map(|(name, seconds)| (name, json!({ "elapsed_time": seconds })));
    Some(json!({ "metrics": metrics.collect::<serde_json::Map<_, _>>() }))
}

/// Returns the tool calls that belong to a turn: those after it, and those before all turns to the first one.
fn tools_after<'a>(tools: &'a [PlacedToolCall], turn: &Turn) -> impl Iterator<Item = &'a PlacedToolCall> {
    let place = turn.place;
    tools
        .iter()
        .filter(|tool| tool.call.purpose != ToolPurpose::Guardrail)
        .filter(move |tool| place == Some(tool.after_place.max(1)))
}

fn tool_call(placed: &PlacedToolCall) -> Value {
    let call = &placed.call;
    json!({
        "type": call.tool_type,
        "request_id": call.request_id.as_deref().unwrap_or_default(),
        "tool_name": call.name,
        "params_as_json": call.arguments.as_deref().unwrap_or_default(),
        "tool_has_been_called": true,
    })
}

/// Returns the result of a tool call, if there is one.
fn tool_result(placed: &PlacedToolCall) -> Option<Value> {
    let call = &placed.call;
    let is_error = call.is_error?;
    #[expect(clippy::cast_precision_loss, reason = "no tool takes 2^52 ms")]
    let latency = call.latency_ms.map(|milliseconds| milliseconds as f64 / 1000.0);
    // The SDKs have other models for the results of system tools and workflows, with required fields of their own.
    let tool_type = call.tool_type.as_deref().filter(|name| matches!(*name, "client" | "webhook" | "mcp"));
    Some(json!({
        "type": tool_type,
        "request_id": call.request_id.as_deref().unwrap_or_default(),
        "tool_name": call.name,
        "result_value": call.result.as_deref().unwrap_or_default(),
        "is_error": is_error,
        "tool_has_been_called": true,
        "tool_latency_secs": latency,
    }))
}

fn status(call: &domain::Call) -> Value {
    ConversationStatus::from(call.status).to_json().expect("an enumeration has a value")
}

/// Returns a time in seconds since 1970.
pub(in crate::api) fn seconds(time: Timestamp) -> i64 {
    time.unix_micros().div_euclid(1_000_000)
}

/// Returns the duration of a call, in seconds: up to its end, or up to its last turn.
pub(in crate::api) fn duration(call: &domain::Call) -> i64 {
    let end = call.call_end_time.or(call.last_turn_time).unwrap_or(call.call_start_time);
    call.report.duration_seconds.unwrap_or((seconds(end) - seconds(call.call_start_time)).max(0))
}
