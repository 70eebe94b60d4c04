//! `post_call_transcription_otel`: the conversation as OpenTelemetry traces (OTLP in JSON), which some workspaces send
//! instead of the record.
//!
//! The envelope, the spans' names and `elevenlabs.user.text`, `elevenlabs.agent.text` are documented; the names of the other
//! attributes were seen in captured payloads. Attributes are cut off after 4 KB by the platform, so that words of that
//! length are marked as perhaps without their end.

use super::lenient::{At, Remarks};
use super::record::{DURATIONS, conversation_id, direction, outcome};
use crate::model::{CallStatus, DriverClaims, Entry, Facts, Record, RecordKind, Speaker, Timestamp};
use serde_json::{Map, Value};

/// Greatest number of spans that are read of one report.
const MAX_SPANS: usize = 100_000;

/// From this length on, in bytes, words may have been cut off: at 4000 or at 4096, in bytes or in characters.
const CUT_OFF: usize = 3990;

pub(super) fn traces(data: &At<'_>, event_time: Option<Timestamp>, remarks: &mut Remarks) -> Result<Record, String> {
    let conversation_id = conversation_id(data)?;
    let mut spans = spans(&data.get("otlp_traces"), remarks);
    // In time; spans of one instant stay as they came.
    spans.sort_by_key(|span| span.start);
    let mut facts = Facts { agent_id: data.get("agent_id").text(remarks), ..Facts::default() };
    let mut entries = Vec::new();
    for (index, span) in (0..).zip(&spans) {
        let attributes = At::new("span", &span.attributes);
        for (name, speaker) in [("elevenlabs.user.text", Speaker::Driver), ("elevenlabs.agent.text", Speaker::Agent)] {
            if let Some(message) = attributes.get(name).message(remarks) {
                let cut_off = message.as_str().len() >= CUT_OFF;
                let (original, interrupted, time) = (None, None, span.start);
                entries.push(Entry { index, speaker, message, original, interrupted, time, cut_off });
            }
        }
        if span.name == "elevenlabs.conversation" {
            facts = conversation_span(facts, span, &attributes, remarks);
        }
    }
    let entries = (!entries.is_empty()).then_some(entries);
    Ok(Record { conversation_id, kind: RecordKind::Traces, event_time, facts, entries })
}

fn conversation_span(facts: Facts, span: &Span, attributes: &At<'_>, remarks: &mut Remarks) -> Facts {
    let millis = attributes.get("elevenlabs.session.duration_ms").whole(remarks);
    let seconds = millis.and_then(|millis| Some(millis.checked_add(500)? / 1000));
    let phone = attributes.get("elevenlabs.telephony.external_number");
    Facts {
        // These traces are sent once a conversation is over.
        status: Some(CallStatus::Completed),
        start: span.start,
        duration_seconds: seconds.filter(|seconds| DURATIONS.contains(seconds)),
        direction: direction(&attributes.get("elevenlabs.telephony.direction"), remarks),
        termination_reason: attributes.get("elevenlabs.termination_reason").text(remarks),
        outcome: outcome(&attributes.get("elevenlabs.analysis.call_successful"), remarks),
        user_id: attributes.get("elevenlabs.user_id").text(remarks),
        summary: attributes.get("elevenlabs.analysis.transcript_summary").text(remarks),
        external_number: phone.text(remarks),
        claims: DriverClaims {
            dynamic_variable: attributes.get("elevenlabs.dynamic_variable.driver_id").driver(remarks),
            user_id: attributes.get("elevenlabs.user_id").driver(remarks),
            batch_recipient: None,
            phone_number: phone.phone(remarks),
        },
        ..facts
    }
}

struct Span {
    name: String,
    start: Option<Timestamp>,
    /// By name, each as a plain value.
    attributes: Value,
}

fn spans(traces: &At<'_>, remarks: &mut Remarks) -> Vec<Span> {
    let mut found = Vec::new();
    for resource in traces.get("resourceSpans").elements(remarks).unwrap_or_default() {
        for scope in At::new("resourceSpans[]", resource).get("scopeSpans").elements(remarks).unwrap_or_default() {
            for span in At::new("scopeSpans[]", scope).get("spans").elements(remarks).unwrap_or_default() {
                if found.len() == MAX_SPANS {
                    return found;
                }
                let at = At::new("spans[]", span);
                let nanos = at.get("startTimeUnixNano").whole(remarks);
                found.push(Span {
                    name: at.get("name").text(remarks).unwrap_or_default(),
                    start: nanos.and_then(|nanos| Timestamp::from_unix_micros(nanos / 1000)),
                    attributes: attributes(at.get("attributes").elements(remarks).unwrap_or_default()),
                });
            }
        }
    }
    found
}

/// `[{"key": …, "value": {"stringValue": …}}]` as an object. Numbers of 64 bits stand as text, which is kept.
fn attributes(list: &[Value]) -> Value {
    let pairs = list.iter().filter_map(|attribute| {
        let key = attribute.get("key")?.as_str()?;
        let value = attribute.get("value")?.as_object()?.values().next()?;
        Some((key.to_owned(), value.clone()))
    });
    Value::Object(pairs.collect::<Map<_, _>>())
}
