//! Parses ElevenLabs' record of a conversation: the `data` of `post_call_transcription`, which is also the response of
//! `GET /v1/convai/conversations/{id}`.
//!
//! <https://elevenlabs.io/docs/eleven-agents/workflows/post-call-webhooks>

use super::lenient::{JsonField, Remarks};
use super::utterance::{elements, shown_by_variable, utterance};
use crate::domain::validation::FieldError;
use crate::domain::{
    CallOutcome, CallStatus, ConversationId, Direction, DriverClaims, Entry, Facts, PhoneNumber, Record, RecordKind,
    Timestamp, TurnKind,
};
use serde_json::Value;

/// Accepted durations of a call, in seconds: up to some hundred years, so they can be added to any time.
pub(super) const DURATIONS: std::ops::Range<i64> = 0..1 << 33;

pub(super) fn conversation_id(data: &JsonField<'_>) -> Result<ConversationId, FieldError> {
    let problem = |rule: String| FieldError { field: "data.conversation_id".to_owned(), rule };
    match data.get("conversation_id").value() {
        None => Err(problem("is required".to_owned())),
        Some(Value::String(text)) => ConversationId::from_sender(text).map_err(|rule| problem(rule.to_string())),
        Some(_) => Err(problem("must be a string".to_owned())),
    }
}

pub(super) fn conversation(
    data: &JsonField<'_>,
    event_time: Option<Timestamp>,
    remarks: &mut Remarks,
) -> Result<Record, FieldError> {
    let conversation_id = conversation_id(data)?;
    let facts = facts(data, remarks);
    let places = ["transcript", "messages", "turns"].map(|name| data.get(name));
    let found: Vec<_> = places.iter().filter_map(|at| Some((at, elements(at.value()?)))).collect();
    let filled = found.iter().find_map(|(_, list)| list.as_deref().filter(|list| !list.is_empty()));
    let entries = if let Some(elements) = filled {
        Some(transcript(elements, facts.start, remarks))
    } else {
        if let Some((at, _)) = found.iter().find(|(_, elements)| elements.is_none()) {
            remarks.add_lost_words(at.place(), "no readable transcript");
        }
        let variables = data.get("conversation_initiation_client_data").get("dynamic_variables");
        let shown = shown_by_variable(&variables, remarks);
        // An empty list is no statement about the call.
        if shown.is_empty() { found.first().map(|_| Vec::new()) } else { Some(shown) }
    };
    Ok(Record {
        conversation_id,
        kind: RecordKind::Conversation,
        event_time,
        facts,
        entries,
        tools: Vec::new(),
        unredacted: false,
    })
}

fn facts(data: &JsonField<'_>, remarks: &mut Remarks) -> Facts {
    let (metadata, analysis) = (data.get("metadata"), data.get("analysis"));
    let client = data.get("conversation_initiation_client_data");
    let (phone, batch) = (metadata.get("phone_call"), metadata.get("batch_call"));
    let duration = metadata.get("call_duration_secs").whole(remarks).filter(|seconds| DURATIONS.contains(seconds));
    let user_ids = [data.get("user_id"), client.get("user_id")];
    let (sms, whatsapp) = (metadata.get("sms"), metadata.get("whatsapp"));
    let said_direction = [&phone, &sms, &whatsapp].into_iter().find_map(|at| direction(&at.get("direction"), remarks));
    let line = OtherEnd::new(&phone, &sms, &whatsapp, remarks);
    Facts {
        status: Some(status(&data.get("status"), remarks)),
        start: metadata.get("start_time_unix_secs").unix_seconds(remarks),
        duration_seconds: duration,
        agent_id: data.get("agent_id").name(remarks),
        user_id: user_ids.iter().find_map(|id| id.name(remarks)),
        direction: said_direction,
        termination_reason: termination_reason(&metadata, remarks),
        outcome: outcome(&analysis.get("call_successful"), remarks),
        summary: analysis.get("transcript_summary").text(remarks),
        title: analysis.get("call_summary_title").text(remarks),
        main_language: metadata.get("main_language").text(remarks),
        cost: metadata.get("cost").whole(remarks),
        external_number: line.text,
        batch_id: batch.get("batch_call_id").text(remarks),
        analysis: analysis.value().filter(|value| value.is_object()).map(ToString::to_string),
        claims: DriverClaims {
            dynamic_variable: client.get("dynamic_variables").get("driver_id").driver(remarks),
            user_id: user_ids.iter().find_map(|id| id.driver(remarks)),
            batch_recipient: batch.get("batch_call_recipient_id").driver(remarks),
            phone_number: line.number,
        },
        ..Facts::default()
    }
}

/// The telephone number of the person with whom the agent spoke.
#[derive(Default)]
pub(super) struct OtherEnd {
    /// The number as given in the event.
    pub(super) text: Option<String>,
    /// The number in canonical form.
    pub(super) number: Option<PhoneNumber>,
}

impl OtherEnd {
    fn new(phone: &JsonField<'_>, sms: &JsonField<'_>, whatsapp: &JsonField<'_>, remarks: &mut Remarks) -> Self {
        let mut found = Self::default();
        for at in [
            phone.get("external_number"),
            sms.get_any(&["sms_user_phone_number", "user_phone_number", "external_number"]),
        ] {
            found.take(at.text(remarks), at.phone(remarks));
        }
        // WhatsApp identifies a person by the digits of the international number.
        let at = whatsapp.get_any(&["whatsapp_user_id", "user_phone_number", "external_number"]);
        let text = at.text(remarks);
        let number = text.as_deref().and_then(|text| {
            let digits = text.trim_start_matches("whatsapp:");
            PhoneNumber::from_payload(&format!("whatsapp:{digits}"))
        });
        found.take(text, number);
        found
    }

    /// Uses ElevenLabs' own variables if nothing else contains a number, as is possible in traces.
    pub(super) fn take_variable(
        &mut self,
        variables: &JsonField<'_>,
        direction: Option<Direction>,
        remarks: &mut Remarks,
    ) {
        let at = match direction {
            Some(Direction::Inbound) => variables.get("system__caller_id"),
            Some(Direction::Outbound) => variables.get("system__called_number"),
            None => return,
        };
        self.take(at.text(remarks), at.phone(remarks));
    }

    pub(super) fn take(&mut self, text: Option<String>, number: Option<PhoneNumber>) {
        // Text and number are always replaced together.
        if self.number.is_none() && (number.is_some() || self.text.is_none()) {
            self.text = text.or(self.text.take());
            self.number = number;
        }
    }
}

/// Returns the status of a posted call. It is always over; a status of failure only tells how.
pub(super) fn status(status: &JsonField<'_>, remarks: &mut Remarks) -> CallStatus {
    let text = status.text(remarks).unwrap_or_default().to_ascii_lowercase();
    match &*text {
        "failed" | "failure" | "error" => return CallStatus::Failed,
        "" | "done" | "completed" | "initiated" | "in-progress" | "in_progress" | "processing" => {}
        _ => remarks.add(status.place(), "unknown status; the call is over anyway"),
    }
    CallStatus::Completed
}

pub(super) fn direction(direction: &JsonField<'_>, remarks: &mut Remarks) -> Option<Direction> {
    Direction::from_stored(&direction.text(remarks)?).or_else(|| direction.unread("unknown direction", remarks))
}

pub(super) fn outcome(outcome: &JsonField<'_>, remarks: &mut Remarks) -> Option<CallOutcome> {
    CallOutcome::from_stored(&outcome.text(remarks)?).or_else(|| outcome.unread("unknown outcome", remarks))
}

/// Returns ElevenLabs' reason for the end of the call, or the error that ended it.
fn termination_reason(metadata: &JsonField<'_>, remarks: &mut Remarks) -> Option<String> {
    metadata.get("termination_reason").text(remarks).or_else(|| metadata.get("error").get("reason").text(remarks))
}

fn transcript(elements: &[Value], start: Option<Timestamp>, remarks: &mut Remarks) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (index, element) in (0..).zip(elements) {
        let at = JsonField::new(&format!("data.transcript[{index}]"), element);
        // Elements without words are tool calls, for example.
        let Some((speaker, message)) = utterance(&at, remarks) else { continue };
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
            kind: TurnKind::Speech,
            metrics: None,
        });
    }
    entries
}
