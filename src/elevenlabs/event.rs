//! Parses the events that ElevenLabs posts after a call: `{"type", "event_timestamp", "data"}`.

use super::conversation::{OtherEnd, conversation, conversation_id};
use super::lenient::{JsonField, Remarks};
use super::options::EventOptions;
use super::otel_traces::traces;
use super::utterance::place_of_conversation;
use crate::domain::repair;
use crate::domain::validation::FieldError;
use crate::domain::{
    AnswerClaims, AnsweredBy, BoundedJson, CallDetails, CallStatus, Channel, ConversationId, DriverClaims, Facts,
    READER_VERSION, Record, RecordKind, Remark, Timestamp,
};
use serde_json::Value;

/// A parsed post-call event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Event type, as named by ElevenLabs.
    pub event_type: Option<String>,
    /// Conversation of the event, if it names one.
    pub conversation_id: Option<ConversationId>,
    /// Time of the event, according to ElevenLabs.
    pub event_time: Option<Timestamp>,
    /// Result of an `answering_machine_detection`, such as `machine_end_beep`. Its form is not documented.
    pub answered_by: Option<String>,
    /// Parsed content.
    pub reading: ParsedEvent,
    /// Warnings about fields that could not be read.
    pub remarks: Vec<Remark>,
}

/// The content of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParsedEvent {
    /// A record of a call.
    Record(Box<Record>),
    /// An event of a type that is not used.
    Other,
    /// An event that cannot be read, with the reason.
    Unreadable(String),
}

/// Maximum memory of an event's value beside its texts, in MiB. A turn with all of ElevenLabs' fields has about 760
/// bytes and takes 8 KiB, so the longest call of the default `--post-call-max-body` has room. The rest of a longer
/// event is not read.
const MAX_VALUE_MIB: usize = 192;

/// Maximum length of a stored event type, in characters.
const MAX_TYPE_CHARS: usize = 200;

/// Parses the body of an event with the default options. Never fails.
pub fn parse_event(body: &[u8]) -> Event {
    parse_event_with(body, EventOptions::default())
}

/// Parses the body of an event. Never fails.
pub fn parse_event_with(body: &[u8], options: EventOptions) -> Event {
    let mut event = Event {
        event_type: None,
        conversation_id: None,
        event_time: None,
        answered_by: None,
        reading: ParsedEvent::Other,
        remarks: Vec::new(),
    };
    let (value, left_out, repairs) = match repair::read::<BoundedJson<MAX_VALUE_MIB>>(body) {
        Ok((BoundedJson { value, left_out }, repairs)) => (value, left_out, repairs),
        Err(error) => {
            event.reading = ParsedEvent::Unreadable(format!("body: not valid JSON: {error}"));
            return event;
        }
    };
    let mut remarks = Remarks::default();
    repairs.remarks().for_each(|remark| remarks.push(remark));
    if left_out > 0 {
        let rule = format!("{left_out} values are too many and are not read; the stored event contains all of them");
        remarks.add_lost_words("body", &rule);
    }
    let at = JsonField::new("body", &value);
    let data = value.get("data").map_or_else(|| at.get("data"), |data| JsonField::new("data", data));
    event.event_type = at.get("type").text(&mut remarks).map(|text| text.chars().take(MAX_TYPE_CHARS).collect());
    event.event_time = at.get("event_timestamp").unix_seconds(&mut remarks);
    event.conversation_id = conversation_id(&data).ok();
    let read = match event.event_type.as_deref().map(str::to_ascii_lowercase).as_deref() {
        Some("post_call_transcription") => conversation(&data, event.event_time, options, &mut remarks),
        Some("post_call_transcription_otel") => traces(&data, event.event_time, &mut remarks),
        Some("call_initiation_failure") => failure(&data, event.event_time, &mut remarks),
        Some(other) => {
            if other.contains("answering_machine_detection") {
                event.answered_by = answered_by(data.value(), MAX_SEARCH_DEPTH);
                let verdict = event.answered_by.as_deref().and_then(verdict);
                if let Some(record) = event.conversation_id.clone().zip(verdict) {
                    event.reading = ParsedEvent::Record(Box::new(detection(record, event.event_time)));
                }
            }
            // ElevenLabs sends an unredacted copy beside the redacted record. Its form is not documented.
            let has_words = data.get("transcript").value().is_some_and(Value::is_array);
            if options.keep_unredacted && other.contains("unredacted") && has_words {
                if let Ok(mut record) = conversation(&data, event.event_time, options, &mut remarks) {
                    record.unredacted = true;
                    event.reading = ParsedEvent::Record(Box::new(record));
                    event.remarks = remarks.into_vec();
                    return event;
                }
            }
            // What stands here of a recording that was received says whether it is kept.
            if other.contains("audio") && data.get("kept").value().is_none() {
                remarks.add("data.full_audio", "no readable recording");
            }
            let transcript = data.get("transcript");
            let listed = transcript.value().and_then(Value::as_array).is_some_and(|list| !list.is_empty());
            let listed = listed.then(|| transcript.place().to_owned());
            if let Some(place) = listed.or_else(|| place_of_conversation(&at)) {
                remarks.add_lost_words(&place, "ignored because the event's type is unknown");
            }
            event.remarks = remarks.into_vec();
            return event;
        }
        None => Err(FieldError { field: "body.type".to_owned(), rule: "is required".to_owned() }),
    };
    if let Ok(record) = &read {
        event.conversation_id = Some(record.conversation_id.clone());
        // What was found where words usually are is remarked already.
        let found = record.entries.as_ref().is_some_and(|entries| !entries.is_empty()) || remarks.has_words();
        if let Some(place) = if found { None } else { place_of_conversation(&at) } {
            remarks.add_lost_words(&place, "may be a conversation; it is not read");
        }
    }
    event.reading = match read {
        Ok(record) => ParsedEvent::Record(Box::new(record)),
        Err(problem) => ParsedEvent::Unreadable(problem.to_string()),
    };
    event.remarks = remarks.into_vec();
    event
}

/// Maximum depth at which a detection result is searched in an event, for example inside data of the telephone
/// provider.
const MAX_SEARCH_DEPTH: usize = 4;

/// Returns who answered the call, from any field that ElevenLabs or a telephone provider uses for it.
///
/// Only a short identifier is accepted, because the value is logged and words of calls must not be.
fn answered_by(data: Option<&Value>, depth: usize) -> Option<String> {
    let deeper = |below: &Value| answered_by(Some(below), depth.checked_sub(1)?);
    let fields = match data? {
        Value::Array(elements) => return elements.iter().find_map(deeper),
        Value::Object(fields) => fields,
        _ => return None,
    };
    let is_named = |name: &str| name.replace('_', "").eq_ignore_ascii_case("answeredby");
    let here = fields.iter().filter(|(name, _)| is_named(name)).filter_map(|(_, value)| verdict_word(value));
    here.chain(fields.values().filter_map(deeper)).next()
}

/// Returns the first verdict of a value, which may be a list.
fn verdict_word(value: &Value) -> Option<String> {
    match value {
        Value::Array(elements) => elements.iter().find_map(|element| short_word(element.as_str()?)),
        value => short_word(value.as_str()?),
    }
}

/// Returns a short identifier in lower case, such as `machine_start`.
fn short_word(text: &str) -> Option<String> {
    let text = text.trim();
    let is_word = (1..=40).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-'));
    is_word.then(|| text.to_ascii_lowercase().replace('-', "_"))
}

/// Returns who answered, from a verdict of the telephone provider; `None` for an unknown word.
fn verdict(answered_by: &str) -> Option<AnsweredBy> {
    match answered_by {
        "human" => Some(AnsweredBy::Human),
        "fax" => Some(AnsweredBy::Fax),
        "unknown" => Some(AnsweredBy::Unknown),
        machine if machine.starts_with("machine") => Some(AnsweredBy::Voicemail),
        _ => None,
    }
}

/// Returns the record of a verdict.
fn detection((conversation_id, verdict): (ConversationId, AnsweredBy), event_time: Option<Timestamp>) -> Record {
    let answer = AnswerClaims { amd: Some(verdict), ..AnswerClaims::default() };
    Record {
        conversation_id,
        kind: RecordKind::Detection,
        event_time,
        facts: Facts { answer, ..Facts::default() },
        entries: None,
        tools: Vec::new(),
        unredacted: false,
        reader: READER_VERSION,
    }
}

/// Parses an outbound call that was not established. `metadata.body` is the unchanged message of the telephone
/// provider.
fn failure(data: &JsonField<'_>, event_time: Option<Timestamp>, remarks: &mut Remarks) -> Result<Record, FieldError> {
    let conversation_id = conversation_id(data)?;
    let provider = data.get("metadata").get("body");
    let mut called = OtherEnd::default();
    for name in ["To", "to_number", "Called", "to", "called_number", "external_number"] {
        let at = provider.get(name);
        called.take(at.text(remarks), at.phone(remarks));
    }
    let reason = data.get("failure_reason").text(remarks);
    let answered_by = match reason.as_deref().map(|reason| reason.to_ascii_lowercase().replace('-', "_")).as_deref() {
        Some("busy") => AnsweredBy::Busy,
        Some("no_answer") => AnsweredBy::NoAnswer,
        _ => AnsweredBy::Failed,
    };
    let facts = Facts {
        status: Some(CallStatus::Failed),
        agent_id: data.get("agent_id").text(remarks),
        termination_reason: reason,
        answer: AnswerClaims { initiation_failure: Some(answered_by), ..AnswerClaims::default() },
        details: CallDetails {
            channel: Some(Channel::Phone),
            call_sid: provider.get_any(&["CallSid", "call_sid"]).text(remarks),
            agent_number: provider.get_any(&["From", "from_number", "Caller"]).text(remarks),
            ..CallDetails::default()
        },
        // Only outbound calls can fail to be established.
        direction: Some(crate::domain::Direction::Outbound),
        external_number: called.text,
        claims: DriverClaims { phone_number: called.number, ..DriverClaims::default() },
        ..Facts::default()
    };
    let (kind, tools, unredacted) = (RecordKind::Failure, Vec::new(), false);
    let (entries, reader) = (None, READER_VERSION);
    Ok(Record { conversation_id, kind, event_time, facts, entries, tools, unredacted, reader })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_a_record_something_else_or_unreadable() {
        let data = json!({"conversation_id": "c", "transcript": []});
        for (event_type, wanted) in [
            (json!("post_call_transcription"), "record"),
            (json!("POST_CALL_TRANSCRIPTION"), "record"),
            (json!("post_call_transcription_otel"), "record"),
            (json!("call_initiation_failure"), "record"),
            (json!("voice_removed"), "other"),
            (json!(null), "unreadable"),
            (json!([]), "unreadable"),
        ] {
            let event = parse_event(json!({"type": event_type, "data": data}).to_string().as_bytes());
            let read = match event.reading {
                ParsedEvent::Record(_) => "record",
                ParsedEvent::Other => "other",
                ParsedEvent::Unreadable(_) => "unreadable",
            };
            assert_eq!(read, wanted, "{event_type}");
        }
        for body in ["", "{", "nothing", "[1,"] {
            assert!(matches!(parse_event(body.as_bytes()).reading, ParsedEvent::Unreadable(_)), "{body:?}");
        }
    }

    #[test]
    fn a_failed_call_has_the_number_that_was_called_from_any_provider() {
        for field in ["To", "to_number", "Called", "called_number"] {
            let metadata = json!({"body": {field: "+15550100042"}});
            let data = json!({"conversation_id": "c", "failure_reason": "busy", "metadata": metadata});
            let event = parse_event(json!({"type": "call_initiation_failure", "data": data}).to_string().as_bytes());
            let ParsedEvent::Record(record) = event.reading else { panic!("{field}: {:?}", event.reading) };
            assert_eq!(record.facts.external_number.as_deref(), Some("+15550100042"), "{field}");
            assert_eq!(record.facts.status, Some(CallStatus::Failed), "{field}");
            assert_eq!(record.facts.termination_reason.as_deref(), Some("busy"), "{field}");
        }
    }

    #[test]
    fn who_answered_is_a_short_identifier_at_some_depth() {
        let deep = |levels: usize| (0..levels).fold(json!({"answered_by": "human"}), |inner, _| json!({"x": inner}));
        for (data, answered) in [
            (json!({"answered_by": "machine_end_beep"}), Some("machine_end_beep")),
            (json!({"body": {"AnsweredBy": "human"}}), Some("human")),
            (deep(MAX_SEARCH_DEPTH), Some("human")),
            (deep(MAX_SEARCH_DEPTH + 1), None),
            (json!({"answered_by": "Words of a call"}), None),
            (json!({"answered_by": ""}), None),
            (json!({"answered_by": 1}), None),
            (json!([]), None),
            (json!({"AnsweredBy": "MACHINE_START"}), Some("machine_start")),
            (json!({"answeredBy": " Human "}), Some("human")),
            (json!({"answered_by": "", "AnsweredBy": "fax"}), Some("fax")),
            (json!({"answered_by": 1, "body": {"AnsweredBy": "human"}}), Some("human")),
            (json!({"results": [{"x": 1}, {"answered_by": "human"}]}), Some("human")),
            (json!([{"answered_by": "machine-end-beep"}]), Some("machine_end_beep")),
            (json!({"answered_by": ["human"]}), Some("human")),
            (json!({"answered_by": ["Words of a call"]}), None),
        ] {
            assert_eq!(answered_by(Some(&data), MAX_SEARCH_DEPTH).as_deref(), answered, "{data}");
        }
    }
}
