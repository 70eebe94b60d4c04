//! Parses ElevenLabs' record of a conversation: the `data` of `post_call_transcription`, which is also the response of
//! `GET /v1/convai/conversations/{id}`.
//!
//! <https://elevenlabs.io/docs/eleven-agents/workflows/post-call-webhooks>

use super::lenient::{JsonField, Remarks};
use super::options::EventOptions;
use super::tools::ToolReader;
use super::turn_details::{metrics, turn_kind};
use super::utterance::{elements, shown_by_variable, utterance};
use crate::domain::validation::FieldError;
use crate::domain::{
    AnswerClaims, AnsweredBy, CallDetails, CallOutcome, CallResult, CallStatus, Channel, ConversationId, Direction,
    DriverClaims, Entry, Facts, Finite, PhoneNumber, READER_VERSION, Record, RecordKind, Timestamp,
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
    options: EventOptions,
    remarks: &mut Remarks,
) -> Result<Record, FieldError> {
    let conversation_id = conversation_id(data)?;
    let mut facts = facts(data, remarks);
    let mut tools = Vec::new();
    let places = ["transcript", "messages", "turns"].map(|name| data.get(name));
    let found: Vec<_> = places.iter().filter_map(|at| Some((at, elements(at.value()?)))).collect();
    let filled = found.iter().find_map(|(_, list)| list.as_deref().filter(|list| !list.is_empty()));
    let entries = if let Some(elements) = filled {
        let (entries, read) = transcript(elements, &facts, is_typed(data, &facts), options, remarks);
        let (calls, reports_voicemail) = read.finish();
        tools = calls;
        facts.answer.tool = reports_voicemail.then_some(AnsweredBy::Voicemail);
        Some(entries)
    } else {
        if let Some((at, _)) = found.iter().find(|(_, elements)| elements.is_none()) {
            remarks.add_lost_words(at.place(), "no readable transcript");
        }
        let variables = data.get("conversation_initiation_client_data").get("dynamic_variables");
        let shown = shown_by_variable(&variables, remarks);
        // An empty transcript says nothing about the call, so the history in a variable is preferred.
        if shown.is_empty() { found.first().map(|_| Vec::new()) } else { Some(shown) }
    };
    let (kind, unredacted, reader) = (RecordKind::Conversation, false, READER_VERSION);
    Ok(Record { conversation_id, kind, event_time, facts, entries, tools, unredacted, reader })
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
    let details = details(data, remarks);
    let call_result = [phone.get("call_result"), whatsapp.get("call_result")];
    let start = metadata.get("start_time_unix_secs").unix_seconds(remarks);
    // A call that waited in the queue began when it was accepted; the duration leaves out the queue.
    let accepted = details.accepted_time.zip(start).filter(|_| details.queue_wait_seconds.is_some());
    // A time outside the call, such as one of another unit, is no start.
    let waited = details.queue_wait_seconds.map_or(0.0, Finite::get).clamp(0.0, 1e9);
    #[expect(clippy::cast_possible_truncation, reason = "a whole number up to a billion")]
    let longest = (waited.ceil() as i64).saturating_add(duration.unwrap_or(DURATIONS.end));
    let is_within = |(accepted, start): &(Timestamp, Timestamp)| {
        accepted >= start && start.plus_seconds(longest).is_none_or(|end| *accepted <= end)
    };
    let accepted = accepted.filter(is_within).map(|(accepted, _)| accepted);
    Facts {
        status: Some(status(&data.get("status"), remarks)),
        start: accepted.or(start),
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
        analysis: analysis_json(&analysis, remarks),
        claims: DriverClaims {
            dynamic_variable: client.get("dynamic_variables").get("driver_id").driver(remarks),
            user_id: user_ids.iter().find_map(|id| id.driver(remarks)),
            batch_recipient: batch.get("batch_call_recipient_id").driver(remarks),
            phone_number: line.number,
        },
        answer: AnswerClaims {
            call_result: call_result.iter().find_map(|at| self::call_result(at, remarks)),
            ..AnswerClaims::default()
        },
        details,
        counted_turns: counted_turns(data, remarks),
    }
}

/// Maximum length of a stored analysis, in bytes.
const MAX_ANALYSIS_BYTES: usize = 1024 * 1024;

/// Returns the JSON of an analysis, unless it is too long.
pub(super) fn analysis_json(at: &JsonField<'_>, remarks: &mut Remarks) -> Option<String> {
    let text = at.value().filter(|value| value.is_object()).map(ToString::to_string)?;
    if text.len() > MAX_ANALYSIS_BYTES {
        return at.unread("longer than 1 MiB; the stored event contains it", remarks);
    }
    Some(text)
}

/// Returns the number of turns with words that ElevenLabs counted.
fn counted_turns(data: &JsonField<'_>, remarks: &mut Remarks) -> Option<u64> {
    let [user, agent] = ["user_message_count", "agent_message_count"].map(|name| data.get(name).whole(remarks));
    u64::try_from(user?.checked_add(agent?)?).ok()
}

pub(super) fn call_result(at: &JsonField<'_>, remarks: &mut Remarks) -> Option<CallResult> {
    let text = at.text(remarks)?.to_ascii_lowercase().replace('-', "_");
    CallResult::from_stored(&text).or_else(|| at.unread("unknown result of the call", remarks))
}

fn details(data: &JsonField<'_>, remarks: &mut Remarks) -> CallDetails {
    let metadata = data.get("metadata");
    let client = data.get("conversation_initiation_client_data");
    let (phone, sms) = (metadata.get("phone_call"), metadata.get("sms"));
    let either =
        |name: &str, remarks: &mut Remarks| data.get(name).name(remarks).or_else(|| client.get(name).name(remarks));
    let source = metadata.get("conversation_initiation_source").text(remarks);
    let source = source.or_else(|| client.get("source_info").get("source").text(remarks));
    let campaign = metadata.get("batch_call").get("campaign");
    let parents = [data, &metadata, &client].map(|at| at.get("parent_conversation_id"));
    let sentiment = [data, &data.get("analysis"), &metadata].map(|at| at.get_any(&["sentiment_analysis", "sentiment"]));
    CallDetails {
        channel: Some(channel(&metadata, source.as_deref(), remarks)),
        parent_conversation_id: parents.iter().find_map(|at| ConversationId::from_sender(&at.text(remarks)?).ok()),
        environment: either("environment", remarks),
        branch_id: either("branch_id", remarks),
        version_id: either("version_id", remarks),
        call_sid: phone.get_any(&["call_sid", "call_id"]).text(remarks),
        agent_number: phone.get("agent_number").text(remarks).or_else(|| sms.get("agent_phone_number").text(remarks)),
        agent_name: data.get("agent_name").text(remarks),
        cost_usd: metadata.get("cost_fiat").number(remarks),
        queue_wait_seconds: metadata.get("queue_wait_secs").number(remarks),
        accepted_time: metadata.get("accepted_time_unix_secs").unix_seconds(remarks),
        campaign: match campaign.value() {
            Some(Value::Object(_)) => campaign.get_any(&["campaign_id", "id", "name"]).text(remarks),
            _ => campaign.text(remarks),
        },
        tags: tags(&data.get("tag_ids"), remarks),
        conversation_product: data.get("conversation_product").text(remarks),
        sentiment: sentiment.iter().find_map(|at| match at.value() {
            Some(Value::Object(_)) => at.get_any(&["overall_label", "label", "sentiment"]).text(remarks),
            _ => at.text(remarks),
        }),
        initiation_source: source,
    }
}

/// Maximum number of tags of a conversation.
const MAX_TAGS: usize = 100;

/// Maximum length of a tag, in bytes.
const MAX_TAG_BYTES: usize = 256;

/// Returns the tags in order, without duplicates. `None` if there are none, so that a record without tags removes no
/// stored ones.
fn tags(at: &JsonField<'_>, remarks: &mut Remarks) -> Option<Vec<String>> {
    let mut tags = Vec::new();
    for tag in at.elements(remarks)?.iter().filter_map(Value::as_str) {
        if tags.len() == MAX_TAGS || tag.len() > MAX_TAG_BYTES {
            let rule = format!("more than {MAX_TAGS} tags, or a tag is longer than {MAX_TAG_BYTES} bytes");
            remarks.add_once(at.place(), &rule);
        } else if !tag.trim().is_empty() && !tag.contains('\0') && !tags.iter().any(|known| known == tag) {
            tags.push(tag.to_owned());
        }
    }
    (!tags.is_empty()).then_some(tags)
}

/// Returns the channel of a conversation.
fn channel(metadata: &JsonField<'_>, source: Option<&str>, remarks: &mut Remarks) -> Channel {
    let has = |name: &str| metadata.get(name).value().is_some_and(Value::is_object);
    let source = source.unwrap_or_default();
    let is_of = |names: &[&str]| names.contains(&source);
    if has("whatsapp") || is_of(&["whatsapp"]) {
        Channel::Whatsapp
    } else if has("sms") || is_of(&["twilio_sms"]) {
        Channel::Sms
    } else if has("phone_call") || is_of(&["twilio", "sip_trunk", "exotel", "genesys", "avaya", "audiocodes"]) {
        Channel::Phone
    } else if metadata.get("text_only").boolean(remarks) == Some(true) || source.ends_with("_integration") {
        Channel::Text
    } else if is_of(&["widget", "template_preview"]) || source.ends_with("_sdk") {
        Channel::Web
    } else {
        Channel::Unknown
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

/// Returns the status of a posted call: failed, or else completed, because ElevenLabs posts calls when they are over.
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

/// Returns whether a conversation is typed, not spoken.
fn is_typed(data: &JsonField<'_>, facts: &Facts) -> bool {
    // Its remark is made when the channel is read.
    data.get("metadata").get("text_only").boolean(&mut Remarks::default()) == Some(true)
        || matches!(facts.details.channel, Some(Channel::Sms | Channel::Text))
}

/// Returns the entries of a transcript, and the reader of its tool calls.
fn transcript(
    elements: &[Value],
    facts: &Facts,
    is_typed: bool,
    options: EventOptions,
    remarks: &mut Remarks,
) -> (Vec<Entry>, ToolReader) {
    let mut entries = Vec::new();
    let mut tools = ToolReader::new(options.tool_details);
    for (index, element) in (0..).zip(elements) {
        let at = JsonField::new(&format!("data.transcript[{index}]"), element);
        let offset = at.get("time_in_call_secs").whole(remarks);
        let time = at.get("created_at_unix_ms").unix_millis(remarks);
        let time = time.or_else(|| facts.start?.plus_seconds(offset?));
        tools.read(&at, index, time, remarks);
        // Elements without words are tool calls, for example.
        let Some((speaker, message)) = utterance(&at, remarks) else { continue };
        entries.push(Entry {
            index,
            speaker,
            original: at.get("original_message").message(remarks),
            interrupted: at.get("interrupted").boolean(remarks),
            time,
            cut_off: false,
            kind: turn_kind(&at, speaker, message.as_str(), is_typed, remarks),
            metrics: metrics(&at.get("conversation_turn_metrics")),
            message,
        });
    }
    (entries, tools)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(data: &Value) -> Record {
        let mut data = data.clone();
        data["conversation_id"] = json!("c");
        let at = JsonField::new("data", &data);
        conversation(&at, None, EventOptions::default(), &mut Remarks::default()).unwrap()
    }

    #[test]
    fn the_channel_is_read_from_the_source_and_the_kind_of_metadata() {
        for (metadata, channel) in [
            (json!({"phone_call": {"type": "twilio"}, "conversation_initiation_source": "twilio"}), Channel::Phone),
            (json!({"conversation_initiation_source": "sip_trunk"}), Channel::Phone),
            (json!({"conversation_initiation_source": "widget"}), Channel::Web),
            (json!({"conversation_initiation_source": "react_native_sdk"}), Channel::Web),
            (json!({"conversation_initiation_source": "js_sdk", "text_only": true}), Channel::Text),
            (json!({"conversation_initiation_source": "slack_integration"}), Channel::Text),
            (json!({"sms": {"sms_user_phone_number": "+15550100042"}, "text_only": true}), Channel::Sms),
            (json!({"conversation_initiation_source": "twilio_sms"}), Channel::Sms),
            (json!({"whatsapp": {"whatsapp_user_id": "15550100042"}}), Channel::Whatsapp),
            (json!({"conversation_initiation_source": "subagent_tool"}), Channel::Unknown),
            (json!({"phone_call": 5, "text_only": "yes"}), Channel::Unknown),
            (json!({"text_only": "true"}), Channel::Text),
            (json!({"text_only": 1}), Channel::Text),
            (json!({"text_only": "false"}), Channel::Unknown),
            (json!({}), Channel::Unknown),
        ] {
            let record = read(&json!({"metadata": metadata}));
            assert_eq!(record.facts.details.channel, Some(channel), "{metadata}");
        }
    }

    #[test]
    fn the_talk_of_a_queued_call_starts_when_it_is_accepted() {
        for (metadata, start) in [
            (json!({"start_time_unix_secs": 1000}), 1000),
            (json!({"start_time_unix_secs": 1000, "accepted_time_unix_secs": 1001}), 1000),
            (json!({"start_time_unix_secs": 1000, "queue_wait_secs": 30.5}), 1000),
            (json!({"start_time_unix_secs": 1000, "accepted_time_unix_secs": 1031, "queue_wait_secs": 30.5}), 1031),
            (json!({"start_time_unix_secs": 1000, "accepted_time_unix_secs": "?", "queue_wait_secs": 30.5}), 1000),
            (json!({"start_time_unix_secs": 1000, "accepted_time_unix_secs": 999, "queue_wait_secs": 30.5}), 1000),
            (
                json!({"start_time_unix_secs": 1000, "accepted_time_unix_secs": 1_000_000, "queue_wait_secs": 30.5,
                    "call_duration_secs": 60}),
                1000,
            ),
            (
                json!({"start_time_unix_secs": 1000, "accepted_time_unix_secs": 1031, "queue_wait_secs": 30.5,
                    "call_duration_secs": 60}),
                1031,
            ),
        ] {
            let transcript = json!([{"role": "user", "message": "Hello", "time_in_call_secs": 2}]);
            let record = read(&json!({"metadata": metadata, "transcript": transcript}));
            let at = |second: i64| Timestamp::from_unix_micros(second * 1_000_000);
            assert_eq!(record.facts.start, at(start), "{metadata}");
            assert_eq!(record.entries.unwrap()[0].time, at(start + 2), "{metadata}");
        }
    }

    #[test]
    fn facts_of_other_types_are_unknown_and_do_not_affect_others() {
        let other = json!([1, {"a": []}]);
        let record = read(&json!({
            "agent_name": other, "environment": 5, "branch_id": other, "version_id": "v1", "tag_ids": ["a", 5, "a",
                "b", " "],
            "user_message_count": 2, "agent_message_count": "1", "parent_conversation_id": "conv_parent",
            "analysis": {"sentiment_analysis": {"overall_label": "negative"}},
            "metadata": {"cost_fiat": "0.25", "queue_wait_secs": other, "phone_call": {"call_result": "no-answer",
                "call_sid": "CA1", "agent_number": 15_550_100_001_i64},
                    "batch_call": {"campaign": {"campaign_id": "c1"}}},
        }));
        let Facts { details, answer, counted_turns, .. } = record.facts;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        assert_eq!(
            [&details.agent_name, &details.environment, &details.branch_id, &details.version_id].map(text),
            ["", "5", "", "v1"]
        );
        assert_eq!(
            [&details.call_sid, &details.agent_number, &details.campaign, &details.sentiment].map(text),
            ["CA1", "15550100001", "c1", "negative"]
        );
        assert_eq!(details.tags, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(details.cost_usd.map(Finite::get), Some(0.25));
        assert_eq!(details.queue_wait_seconds, None);
        assert_eq!(details.parent_conversation_id.unwrap().as_str(), "conv_parent");
        assert_eq!((answer.call_result, counted_turns), (Some(CallResult::NoAnswer), Some(3)));
    }
}
