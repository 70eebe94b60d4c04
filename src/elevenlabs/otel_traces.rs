//! Parses `post_call_transcription_otel`: the conversation as OpenTelemetry traces (OTLP in JSON), which some
//! workspaces receive instead of the record.
//!
//! The envelope, the names of spans, `elevenlabs.user.text` and `elevenlabs.agent.text` are documented. The names of
//! other attributes were seen in captured payloads, so attributes are found by their suffix. ElevenLabs truncates
//! attributes to 4 KB, so words of that length are marked as possibly incomplete.

use super::conversation::{
    DURATIONS, OtherEnd, analysis_json, call_result, conversation_id, direction, outcome, status,
};
use super::lenient::{JsonField, Remarks};
use super::utterance::{MAX_DEPTH, shown_by_variable, words};
use crate::domain::validation::FieldError;
use crate::domain::{
    AnswerClaims, CallDetails, CallStatus, Channel, DriverClaims, Entry, Facts, READER_VERSION, Record, RecordKind,
    Speaker, Timestamp, TurnKind,
};
use serde_json::{Map, Value};

/// Maximum number of spans that are read of one event.
const MAX_SPANS: usize = 100_000;

/// Minimum length of words that may be truncated, in bytes. ElevenLabs truncates to 4000 or 4096 bytes or characters.
const MIN_TRUNCATED_BYTES: usize = 3990;

/// Endings of the names of spans that contain an utterance.
const SPOKEN: [&str; 2] = [".user_transcript", ".agent_response"];

/// Name of the span of the whole conversation.
const ROOT_SPAN: &str = "elevenlabs.conversation";

pub(super) fn traces(
    data: &JsonField<'_>,
    event_time: Option<Timestamp>,
    remarks: &mut Remarks,
) -> Result<Record, FieldError> {
    let Traces { mut spans, resource } = Traces::read(&data.get("otlp_traces"), remarks);
    let named = Value::Object(beneath(&resource, "elevenlabs."));
    let conversation_id = conversation_id(data).or_else(|missing| match data.get("conversation_id").value() {
        None => conversation_id(&JsonField::new("resource", &named)).map_err(|_| missing),
        Some(_) => Err(missing),
    })?;
    // The sort is stable: spans with equal times retain their order.
    spans.sort_by_key(|span| span.start);
    let mut entries = Vec::new();
    for (index, span) in (0..).zip(&spans) {
        let (read, mut said_nothing) = (entries.len(), false);
        for (ending, speaker) in [("user.text", Speaker::Driver), ("agent.text", Speaker::Agent)] {
            let at = span.attribute(&[ending]);
            let Some(said) = at.value().and_then(|value| words(value, MAX_DEPTH)) else { continue };
            said_nothing |= said.trim().is_empty();
            if let Some(message) = at.words(&said, remarks) {
                let cut_off = message.as_str().len() >= MIN_TRUNCATED_BYTES;
                let kind = TurnKind::of_words(message.as_str());
                let (original, interrupted, metrics, time) = (None, None, None, span.start);
                entries.push(Entry { index, speaker, message, original, interrupted, time, cut_off, kind, metrics });
            }
        }
        if entries.len() == read && !said_nothing && SPOKEN.iter().any(|name| span.name.ends_with(name)) {
            remarks.add_lost_words("spans[]", "a span of somebody's words has none that can be read");
        }
    }
    let root = spans.iter().find(|span| span.name == ROOT_SPAN).or_else(|| spans.iter().find(|span| span.is_root));
    if entries.is_empty() {
        entries = root.map_or(Vec::new(), |root| {
            shown_by_variable(&JsonField::new("span.dynamic_variable", &root.variables), remarks)
        });
    }
    let mut facts = root.map_or_else(Facts::default, |root| facts(root, remarks));
    facts.agent_id = data.get("agent_id").name(remarks).or(facts.agent_id);
    let status = *facts.status.get_or_insert(CallStatus::Completed);
    // A failed call may have no words.
    if entries.is_empty() && status == CallStatus::Completed {
        remarks.add_lost_words("data.otlp_traces", "no span with readable words");
    }
    let entries = (!entries.is_empty()).then_some(entries);
    let (kind, tools, unredacted, reader) = (RecordKind::Traces, Vec::new(), false, READER_VERSION);
    Ok(Record { conversation_id, kind, event_time, facts, entries, tools, unredacted, reader })
}

/// Returns the facts about the call from the conversation's span. They have the fields of a record.
fn facts(root: &Span, remarks: &mut Remarks) -> Facts {
    let millis = root.attribute(&["session.duration_ms", "duration_ms"]).whole(remarks);
    let seconds = millis.and_then(|millis| Some(millis.checked_add(500)? / 1000));
    let seconds = seconds.or_else(|| root.attribute(&["call_duration_secs", "duration_secs"]).whole(remarks));
    let direction = direction(&root.attribute(&["telephony.direction", "phone_call.direction"]), remarks);
    let variables = JsonField::new("span.dynamic_variable", &root.variables);
    let mut line = OtherEnd::default();
    let number = root.attribute(&["external_number", "sms_user_phone_number", "caller_number"]);
    line.take(number.text(remarks), number.phone(remarks));
    line.take_variable(&variables, direction, remarks);
    let user_id = root.attribute(&["elevenlabs.user_id", "conversation.user_id"]);
    let analysis = Some(root.beneath("elevenlabs.analysis.")).filter(|fields| !fields.is_empty()).map(Value::Object);
    let analysis = analysis.and_then(|value| analysis_json(&JsonField::new("span.analysis", &value), remarks));
    // Traces are only sent after a conversation has ended.
    let said = status(&root.attribute(&["elevenlabs.status", "conversation.status", "call.status"]), remarks);
    Facts {
        status: Some(if root.failed { CallStatus::Failed } else { said }),
        start: root.start,
        duration_seconds: seconds.filter(|seconds| DURATIONS.contains(seconds)),
        agent_id: root.attribute(&["elevenlabs.agent_id", "agent.id"]).name(remarks),
        direction,
        termination_reason: root.attribute(&["termination_reason", "error.reason"]).text(remarks),
        outcome: outcome(&root.attribute(&["analysis.call_successful"]), remarks),
        user_id: user_id.name(remarks),
        summary: root.attribute(&["analysis.transcript_summary"]).text(remarks),
        title: root.attribute(&["call_summary_title"]).text(remarks),
        main_language: root.attribute(&["main_language"]).text(remarks),
        cost: root.attribute(&["elevenlabs.cost", "metadata.cost", "session.cost"]).whole(remarks),
        batch_id: root.attribute(&["batch_call_id"]).text(remarks),
        analysis,
        external_number: line.text,
        claims: DriverClaims {
            dynamic_variable: variables.get("driver_id").driver(remarks),
            user_id: user_id.driver(remarks),
            batch_recipient: root.attribute(&["batch_call_recipient_id"]).driver(remarks),
            phone_number: line.number,
        },
        answer: AnswerClaims {
            call_result: call_result(&root.attribute(&["call_result"]), remarks),
            ..AnswerClaims::default()
        },
        details: details(root, remarks),
        counted_turns: None,
    }
}

fn details(root: &Span, remarks: &mut Remarks) -> CallDetails {
    let mut text = |endings: &[&str]| root.attribute(endings).text(remarks);
    let is_telephone =
        !root.beneath("elevenlabs.telephony.").is_empty() || !root.beneath("elevenlabs.phone_call.").is_empty();
    CallDetails {
        channel: is_telephone.then_some(Channel::Phone),
        environment: text(&["environment"]),
        branch_id: text(&["branch_id"]),
        version_id: text(&["version_id"]),
        call_sid: text(&["call_sid"]),
        agent_number: text(&["agent_number"]),
        agent_name: text(&["agent_name", "agent.name"]),
        conversation_product: text(&["conversation_product"]),
        initiation_source: text(&["conversation_initiation_source", "initiation_source"]),
        cost_usd: root.attribute(&["cost_fiat"]).number(remarks),
        queue_wait_seconds: root.attribute(&["queue_wait_secs"]).number(remarks),
        accepted_time: root.attribute(&["accepted_time_unix_secs"]).unix_seconds(remarks),
        ..CallDetails::default()
    }
}

struct Traces {
    spans: Vec<Span>,
    /// Attributes of the resource that produced the spans.
    resource: Value,
}

struct Span {
    name: String,
    start: Option<Timestamp>,
    is_root: bool,
    /// True if the span's status is an error.
    failed: bool,
    /// Attributes by name, as plain values.
    attributes: Value,
    /// Dynamic variables by name, from the attributes.
    variables: Value,
}

impl Span {
    /// Returns the first attribute whose name is a suffix of this list, or ends with it after a dot.
    fn attribute(&self, endings: &[&str]) -> JsonField<'_> {
        let at = JsonField::new("span", &self.attributes);
        let names = self.attributes.as_object().into_iter().flat_map(Map::keys);
        let mut names: Vec<_> = names.filter(|name| !name.contains("dynamic_variable.")).collect();
        // The shortest name is the most general one.
        names.sort_by_key(|name| name.len());
        let ends = |name: &str, ending: &str| {
            name.strip_suffix(ending).is_some_and(|before| before.is_empty() || before.ends_with('.'))
        };
        let found = endings.iter().find_map(|ending| names.iter().find(|name| ends(name, ending)));
        at.get(found.map_or("", |name| name))
    }

    /// Returns the attributes with this prefix, without the prefix.
    fn beneath(&self, beginning: &str) -> Map<String, Value> {
        beneath(&self.attributes, beginning)
    }
}

fn beneath(attributes: &Value, beginning: &str) -> Map<String, Value> {
    let all = attributes.as_object().into_iter().flatten();
    all.filter_map(|(name, value)| Some((name.strip_prefix(beginning)?.to_owned(), value.clone()))).collect()
}

impl Traces {
    fn read(traces: &JsonField<'_>, remarks: &mut Remarks) -> Self {
        let mut read = Self { spans: Vec::new(), resource: Value::Null };
        for resource in traces.get_any(&["resourceSpans", "resource_spans"]).elements(remarks).unwrap_or_default() {
            let at = JsonField::new("resourceSpans[]", resource);
            if read.resource.is_null() {
                read.resource = attributes(&at.get("resource").get("attributes"));
            }
            let scopes = at.get_any(&["scopeSpans", "scope_spans", "instrumentationLibrarySpans"]);
            for scope in scopes.elements(remarks).unwrap_or_default() {
                for span in JsonField::new("scopeSpans[]", scope).get("spans").elements(remarks).unwrap_or_default() {
                    if read.spans.len() == MAX_SPANS {
                        remarks.add_lost_words("data.otlp_traces", "more than 100000 spans; the others are ignored");
                        return read;
                    }
                    read.spans.push(span_of(&JsonField::new("spans[]", span), remarks));
                }
            }
        }
        read
    }
}

fn span_of(at: &JsonField<'_>, remarks: &mut Remarks) -> Span {
    let nanos = at.get_any(&["startTimeUnixNano", "start_time_unix_nano"]).whole(remarks);
    let attributes = attributes(&at.get("attributes"));
    let code = at.get("status").get("code").text(remarks).unwrap_or_default().to_ascii_uppercase();
    Span {
        name: at.get("name").text(remarks).unwrap_or_default(),
        start: nanos.and_then(|nanos| Timestamp::from_unix_micros(nanos / 1000)),
        is_root: at.get_any(&["parentSpanId", "parent_span_id"]).text(remarks).is_none(),
        failed: matches!(&*code, "2" | "ERROR" | "STATUS_CODE_ERROR"),
        variables: Value::Object(beneath(&attributes, "elevenlabs.dynamic_variable.")),
        attributes,
    }
}

/// Converts `[{"key": …, "value": {"stringValue": …}}]` to an object. 64-bit numbers remain text, as in OTLP.
fn attributes(at: &JsonField<'_>) -> Value {
    match at.value() {
        Some(Value::Array(list)) => Value::Object(pairs(list, MAX_DEPTH)),
        Some(Value::Object(fields)) => {
            let plain = |(name, value): (&String, &Value)| Some((name.clone(), plain(value, MAX_DEPTH)?));
            Value::Object(fields.iter().filter_map(plain).collect())
        }
        _ => Value::Null,
    }
}

fn pairs(list: &[Value], depth: usize) -> Map<String, Value> {
    let pair =
        |attribute: &Value| Some((attribute.get("key")?.as_str()?.to_owned(), plain(attribute.get("value")?, depth)?));
    list.iter().filter_map(pair).collect()
}

/// Returns the plain value of `{"stringValue": …}`, `{"arrayValue": {"values": […]}}` and similar.
fn plain(value: &Value, depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    // Some writers name every kind, with null for those that the value is not.
    let mut kinds = value.as_object().into_iter().flatten().filter(|(_, inner)| !inner.is_null());
    let Some((kind, inner)) = kinds.next() else {
        return Some(value.clone());
    };
    let values = || inner.get("values").and_then(Value::as_array);
    match &**kind {
        "arrayValue" | "array_value" => {
            Some(Value::Array(values()?.iter().filter_map(|value| plain(value, depth)).collect()))
        }
        "kvlistValue" | "kvlist_value" => Some(Value::Object(pairs(values()?, depth))),
        _ => Some(inner.clone()),
    }
}
