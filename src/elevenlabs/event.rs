//! The events that the platform posts after a call: `{"type", "event_timestamp", "data"}`.

use super::lenient::{At, Remarks};
use super::record::{OtherEnd, conversation, conversation_id};
use super::traces::traces;
use super::utterance::place_of_conversation;
use crate::model::{CallStatus, ConversationId, DriverClaims, Facts, Record, RecordKind, Remark, Timestamp};
use crate::repair;
use serde_json::Value;

/// A posted event, as far as it could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its type, in the platform's words.
    pub event_type: Option<String>,
    /// The call that it is about, if it names one.
    pub conversation_id: Option<ConversationId>,
    /// When the platform says that it came about.
    pub event_time: Option<Timestamp>,
    /// Of an `answering_machine_detection`, whose form is not documented: who answered, such as `machine_end_beep`.
    pub answered_by: Option<String>,
    /// What it says.
    pub reading: Reading,
    /// What could not be read of it, each with its place.
    pub remarks: Vec<Remark>,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// This about a call.
    Record(Box<Record>),
    /// Nothing that is made use of: its type is another one.
    Other,
    /// It cannot be told, for this reason.
    Unreadable(String),
}

/// Longest type that is kept, in characters.
const MAX_TYPE: usize = 200;

/// Reads an event's body. There is no body that cannot be taken.
pub fn read_event(body: &[u8]) -> Event {
    let mut event = Event {
        event_type: None,
        conversation_id: None,
        event_time: None,
        answered_by: None,
        reading: Reading::Other,
        remarks: Vec::new(),
    };
    let (value, repairs) = match repair::read::<Value>(body) {
        Ok(read) => read,
        Err(error) => {
            event.reading = Reading::Unreadable(format!("the body is not JSON: {error}"));
            return event;
        }
    };
    let mut remarks = Remarks::default();
    repairs.remarks().for_each(|remark| remarks.push(remark));
    let at = At::new("body", &value);
    let data = value.get("data").map_or_else(|| at.get("data"), |data| At::new("data", data));
    event.event_type = at.get("type").text(&mut remarks).map(|text| text.chars().take(MAX_TYPE).collect());
    event.event_time = at.get("event_timestamp").unix_seconds(&mut remarks);
    event.conversation_id = conversation_id(&data).ok();
    let read = match event.event_type.as_deref().map(str::to_ascii_lowercase).as_deref() {
        Some("post_call_transcription") => conversation(&data, event.event_time, &mut remarks),
        Some("post_call_transcription_otel") => traces(&data, event.event_time, &mut remarks),
        Some("call_initiation_failure") => failure(&data, event.event_time, &mut remarks),
        Some(other) => {
            if other.contains("answering_machine_detection") {
                event.answered_by = answered_by(data.value(), DEEPEST);
            }
            // What stands here of a recording that was received says whether it is kept.
            if other.contains("audio") && data.get("kept").value().is_none() {
                remarks.add("data.full_audio", "is no recording that can be read");
            }
            let transcript = data.get("transcript");
            let listed = transcript.value().and_then(Value::as_array).is_some_and(|list| !list.is_empty());
            let listed = listed.then(|| transcript.place().to_owned());
            if let Some(place) = listed.or_else(|| place_of_conversation(&at)) {
                remarks.add_words(&place, "is not read, since the event's type is not known");
            }
            event.remarks = remarks.into_vec();
            return event;
        }
        None => Err("body.type: is missing".to_owned()),
    };
    if let Ok(record) = &read {
        event.conversation_id = Some(record.conversation_id.clone());
        // What was found where words usually are is remarked already.
        let found = record.entries.as_ref().is_some_and(|entries| !entries.is_empty()) || remarks.has_words();
        if let Some(place) = if found { None } else { place_of_conversation(&at) } {
            remarks.add_words(&place, "may be a conversation; it is not read");
        }
    }
    event.reading = read.map_or_else(Reading::Unreadable, |record| Reading::Record(Box::new(record)));
    event.remarks = remarks.into_vec();
    event
}

/// How deep a verdict is looked for in the data of an event: in what a telephone provider said, for example.
const DEEPEST: usize = 4;

/// The verdict on who answered, by the platform's or the telephone provider's name for it, wherever it stands. Only a
/// word as verdicts are: it goes into the log, where nothing that was said may.
fn answered_by(data: Option<&Value>, depth: usize) -> Option<String> {
    let fields = data?.as_object()?;
    let word = |text: &str| text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let here = ["answered_by", "AnsweredBy"].iter().find_map(|name| fields.get(*name)?.as_str());
    here.filter(|text| !text.is_empty() && word(text)).map(str::to_owned).or_else(|| {
        let depth = depth.checked_sub(1)?;
        fields.values().find_map(|below| answered_by(Some(below), depth))
    })
}

/// An outbound call that was not established. `metadata.body` is what the telephone provider said, in its own words.
fn failure(data: &At<'_>, event_time: Option<Timestamp>, remarks: &mut Remarks) -> Result<Record, String> {
    let conversation_id = conversation_id(data)?;
    let provider = data.get("metadata").get("body");
    let mut called = OtherEnd::default();
    for name in ["To", "to_number", "Called", "to", "called_number", "external_number"] {
        let at = provider.get(name);
        called.take(at.text(remarks), at.phone(remarks));
    }
    let facts = Facts {
        status: Some(CallStatus::Failed),
        agent_id: data.get("agent_id").text(remarks),
        termination_reason: data.get("failure_reason").text(remarks),
        // The agent calls: an inbound call is there or is not.
        direction: Some(crate::model::Direction::Outbound),
        external_number: called.text,
        claims: DriverClaims { phone_number: called.number, ..DriverClaims::default() },
        ..Facts::default()
    };
    Ok(Record { conversation_id, kind: RecordKind::Failure, event_time, facts, entries: None })
}
