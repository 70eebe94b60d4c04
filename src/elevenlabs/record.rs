//! The platform's record of a conversation: the `data` of `post_call_transcription`, which is also what
//! `GET /v1/convai/conversations/{id}` answers.
//!
//! <https://elevenlabs.io/docs/eleven-agents/workflows/post-call-webhooks>

use super::lenient::{At, Remarks};
use crate::model::{
    CallOutcome, CallStatus, ConversationId, Direction, DriverClaims, Entry, Facts, Record, RecordKind, Speaker,
    Timestamp,
};
use serde_json::Value;

/// Reads a conversation as `GET /v1/convai/conversations/{id}` answers it. `event_time` says how new it is.
///
/// # Errors
/// Why it cannot be told which conversation it is.
pub fn read_conversation(data: &Value, event_time: Option<Timestamp>) -> Result<(Record, Vec<String>), String> {
    let mut remarks = Remarks::default();
    let record = conversation(&At::new("data", data), event_time, &mut remarks)?;
    Ok((record, remarks.into_vec()))
}

/// How long a call may be, in seconds: at most some hundred years, which can be added to a time.
pub(super) const DURATIONS: std::ops::Range<i64> = 0..1 << 33;

pub(super) fn conversation_id(data: &At<'_>) -> Result<ConversationId, String> {
    match data.get("conversation_id").value() {
        None => Err("data.conversation_id: is missing".to_owned()),
        Some(Value::String(text)) => ConversationId::new(text).map_err(|rule| format!("data.conversation_id: {rule}")),
        Some(_) => Err("data.conversation_id: must be a string".to_owned()),
    }
}

pub(super) fn conversation(
    data: &At<'_>,
    event_time: Option<Timestamp>,
    remarks: &mut Remarks,
) -> Result<Record, String> {
    let conversation_id = conversation_id(data)?;
    let facts = facts(data, remarks);
    let entries = data.get("transcript").elements(remarks).map(|elements| transcript(elements, facts.start, remarks));
    Ok(Record { conversation_id, kind: RecordKind::Conversation, event_time, facts, entries })
}

fn facts(data: &At<'_>, remarks: &mut Remarks) -> Facts {
    let (metadata, analysis) = (data.get("metadata"), data.get("analysis"));
    let client = data.get("conversation_initiation_client_data");
    let (phone, batch) = (metadata.get("phone_call"), metadata.get("batch_call"));
    let duration = metadata.get("call_duration_secs").whole(remarks).filter(|seconds| DURATIONS.contains(seconds));
    let user_ids = [data.get("user_id"), client.get("user_id")];
    Facts {
        status: status(&data.get("status"), remarks),
        start: metadata.get("start_time_unix_secs").unix_seconds(remarks),
        duration_seconds: duration,
        agent_id: data.get("agent_id").text(remarks),
        user_id: user_ids.iter().find_map(|id| id.text(remarks)),
        direction: direction(&phone.get("direction"), remarks),
        termination_reason: termination_reason(&metadata, remarks),
        outcome: outcome(&analysis.get("call_successful"), remarks),
        summary: analysis.get("transcript_summary").text(remarks),
        title: analysis.get("call_summary_title").text(remarks),
        main_language: metadata.get("main_language").text(remarks),
        cost: metadata.get("cost").whole(remarks),
        external_number: phone.get("external_number").text(remarks),
        batch_id: batch.get("batch_call_id").text(remarks),
        analysis: analysis.value().filter(|value| value.is_object()).map(ToString::to_string),
        claims: DriverClaims {
            dynamic_variable: client.get("dynamic_variables").get("driver_id").driver(remarks),
            user_id: user_ids.iter().find_map(|id| id.driver(remarks)),
            batch_recipient: batch.get("batch_call_recipient_id").driver(remarks),
            phone_number: phone.get("external_number").phone(remarks),
        },
    }
}

/// `done` and `failed` say that the call is over; everything else, that it is not yet known to be.
fn status(status: &At<'_>, remarks: &mut Remarks) -> Option<CallStatus> {
    match status.text(remarks)?.as_str() {
        "done" => Some(CallStatus::Completed),
        "failed" => Some(CallStatus::Failed),
        "initiated" | "in-progress" | "in_progress" | "processing" => None,
        _ => status.unread("is no status that is known", remarks),
    }
}

pub(super) fn direction(direction: &At<'_>, remarks: &mut Remarks) -> Option<Direction> {
    Direction::from_stored(&direction.text(remarks)?).or_else(|| direction.unread("is no known direction", remarks))
}

pub(super) fn outcome(outcome: &At<'_>, remarks: &mut Remarks) -> Option<CallOutcome> {
    CallOutcome::from_stored(&outcome.text(remarks)?).or_else(|| outcome.unread("is no known outcome", remarks))
}

/// The platform's words for the end, or for the error by which the call ended.
fn termination_reason(metadata: &At<'_>, remarks: &mut Remarks) -> Option<String> {
    metadata.get("termination_reason").text(remarks).or_else(|| metadata.get("error").get("reason").text(remarks))
}

fn transcript(elements: &[Value], start: Option<Timestamp>, remarks: &mut Remarks) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (index, element) in (0..).zip(elements) {
        let at = At::new(&format!("data.transcript[{index}]"), element);
        // Turns without words are the agent's calls of tools.
        let Some(message) = at.get("message").message(remarks) else { continue };
        let Some(speaker) = speaker(&at.get("role"), remarks) else { continue };
        let offset = at.get("time_in_call_secs").whole(remarks);
        let time = at.get("created_at_unix_ms").unix_millis(remarks);
        entries.push(Entry {
            index,
            speaker,
            message,
            original: at.get("original_message").message(remarks),
            interrupted: at.get("interrupted").boolean(remarks),
            time: time.or_else(|| start?.plus_seconds(offset?)),
            cut_off: false,
        });
    }
    entries
}

pub(super) fn speaker(role: &At<'_>, remarks: &mut Remarks) -> Option<Speaker> {
    let Some(text) = role.text(remarks) else { return role.unread("does not say who spoke", remarks) };
    Speaker::from_platform(&text).ok().or_else(|| role.unread("is neither agent nor user", remarks))
}
