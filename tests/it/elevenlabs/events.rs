//! ElevenLabs' reports, read: the samples, and the samples with anything missing, null or of another type.

use crate::support::samples::{SAMPLES, other_types, places, sample, with, without};
use serde_json::{Value, json};
use transcribe_hook::domain::{CallOutcome, CallStatus, Direction, Record, RecordKind, Speaker};
use transcribe_hook::elevenlabs::{Event, ParsedEvent, parse_event, parse_history};

/// End of the third entry as it was before the interruption.
const END_OF_THE_ORIGINAL: &str = "tell me what it shows?";

fn record(event: &Event) -> &Record {
    match &event.reading {
        ParsedEvent::Record(record) => record,
        other => panic!("no record: {other:?}"),
    }
}

fn read(value: &Value) -> Event {
    parse_event(value.to_string().as_bytes())
}

#[test]
fn the_sample_of_a_conversation_is_read_with_all_that_is_kept() {
    let event = read(&sample(0));
    assert_eq!(event.remarks, []);
    let record = record(&event);
    assert_eq!(record.kind, RecordKind::Conversation);
    let facts = &record.facts;
    assert_eq!(facts.status, Some(CallStatus::Completed));
    assert_eq!(facts.start.unwrap().to_string(), "2026-09-28T12:00:00.000000Z");
    assert_eq!(facts.duration_seconds, Some(47));
    assert_eq!(facts.direction, Some(Direction::Outbound));
    assert_eq!(facts.outcome, Some(CallOutcome::Success));
    assert_eq!(facts.termination_reason.as_deref(), Some("Call ended by remote party"));
    assert_eq!(facts.title.as_deref(), Some("Reefer temperature check"));
    assert_eq!((facts.main_language.as_deref(), facts.cost), (Some("en"), Some(296)));
    assert_eq!(facts.external_number.as_deref(), Some("+15550100042"));
    assert_eq!(facts.batch_id.as_deref(), Some("btcal_01k9example"));
    let claims = &facts.claims;
    for claim in [claims.dynamic_variable, claims.user_id, claims.batch_recipient] {
        assert_eq!(claim.unwrap().get(), 1042);
    }
    assert_eq!(claims.phone_number.as_ref().unwrap().as_str(), "+15550100042");
    let entries = record.entries.as_ref().unwrap();
    let shown: Vec<_> =
        entries.iter().map(|e| (e.index, e.speaker, e.interrupted, e.time.unwrap().to_string())).collect();
    assert_eq!(
        shown,
        [
            (0, Speaker::Agent, Some(false), "2026-09-28T12:00:02.120000Z".to_owned()),
            (1, Speaker::Driver, Some(false), "2026-09-28T12:00:08.410000Z".to_owned()),
            (3, Speaker::Agent, Some(true), "2026-09-28T12:00:11.300000Z".to_owned()),
            (4, Speaker::Driver, Some(false), "2026-09-28T12:00:16.900000Z".to_owned()),
        ],
        "the turn without words is left out"
    );
    assert!(entries[2].original.as_ref().unwrap().as_str().ends_with(END_OF_THE_ORIGINAL));
}

#[test]
fn the_samples_of_traces_and_of_failures_are_read() {
    let event = read(&sample(1));
    let traces = record(&event);
    assert_eq!(traces.kind, RecordKind::Traces);
    assert_eq!(traces.facts.duration_seconds, Some(47));
    assert_eq!(traces.facts.claims.dynamic_variable.unwrap().get(), 1042);
    let said: Vec<_> =
        traces.entries.as_ref().unwrap().iter().map(|e| (e.speaker, e.message.as_str().to_owned())).collect();
    assert_eq!(
        said,
        [(Speaker::Driver, "Yeah, I am parked.".to_owned()), (Speaker::Agent, "Great, thanks.".to_owned())]
    );
    for (n, called) in [(2, "+441111111111"), (3, "+11111111111")] {
        let event = read(&sample(n));
        let failure = record(&event);
        assert_eq!((failure.kind, failure.facts.status), (RecordKind::Failure, Some(CallStatus::Failed)));
        assert_eq!(failure.facts.termination_reason.as_deref(), Some("busy"));
        assert_eq!(failure.facts.external_number.as_deref(), Some(called));
        assert_eq!(failure.entries, None);
    }
}

#[test]
fn a_sample_that_lacks_anything_is_read_but_for_what_it_lacks() {
    for (n, (event_type, text)) in SAMPLES.iter().enumerate() {
        let whole = sample(n);
        assert!(text.contains(event_type));
        for place in places(&whole) {
            let mut changed: Vec<_> = other_types().into_iter().map(|other| with(&whole, &place, other)).collect();
            if !place.is_empty() {
                changed.push(without(&whole, &place));
            }
            for changed in changed {
                let event = read(&changed);
                // What names the call or the kind of event is all that is needed.
                let essential = ["", "/type", "/data", "/data/conversation_id"].contains(&place.as_str());
                if !essential {
                    record(&event);
                }
            }
        }
    }
}

#[test]
fn a_body_that_is_no_event_says_what_is_wrong_and_another_type_is_let_be() {
    let unreadable = |body: &str| match parse_event(body.as_bytes()).reading {
        ParsedEvent::Unreadable(why) => why,
        other => panic!("{body}: {other:?}"),
    };
    assert!(unreadable("").starts_with("body: "));
    assert!(unreadable("[1,").starts_with("body: "));
    assert_eq!(unreadable("{}"), "body.type: is required");
    assert_eq!(unreadable(r#"{"type": "post_call_transcription"}"#), "data.conversation_id: is required");
    let unnamed = json!({"type": "call_initiation_failure", "data": {"conversation_id": "x".repeat(300)}});
    assert_eq!(unreadable(&unnamed.to_string()), "data.conversation_id: must be at most 256 characters long");
    let other = read(&json!({"type": "voice_removed", "event_timestamp": "1739537297.5", "data": [1]}));
    assert_eq!((other.reading, other.event_type.as_deref()), (ParsedEvent::Other, Some("voice_removed")));
    assert_eq!(other.event_time.unwrap().to_string(), "2025-02-14T12:48:17.500000Z");
}

#[test]
fn a_history_is_read_as_text_and_as_an_object_and_named_fields_are_required() {
    let history = include_str!("../../fixtures/elevenlabs/conversation_history.json");
    let parsed: Value = serde_json::from_str(history).unwrap();
    for history in [json!(history), parsed.clone(), parsed["entries"].clone()] {
        let body = json!({
            "conversation_id": "conv_a", "timestamp": "2026-09-28T12:00:08.123456+00:00", "history": history,
            "driver_id": "driver_7", "user_id": 9
        });
        for body in [body.clone(), json!({"tool_call_id": "x", "parameters": body})] {
            let report = parse_history(body.to_string().as_bytes()).unwrap();
            let said: Vec<_> = report.history.0.iter().map(|(i, e)| (*i, e.speaker, e.message.as_str())).collect();
            assert_eq!(said, [(0, Speaker::Driver, "Hello"), (1, Speaker::Agent, "Hi, how can I help?")]);
            assert_eq!(report.claims.dynamic_variable.unwrap().get(), 7);
            assert_eq!(report.claims.user_id.unwrap().get(), 9);
        }
    }
    let problems = |body: Value| {
        let problems = parse_history(body.to_string().as_bytes()).unwrap_err();
        problems.iter().map(|problem| problem.field.clone()).collect::<Vec<_>>()
    };
    assert_eq!(problems(json!({})), ["conversation_id", "timestamp", "history"]);
    assert_eq!(problems(json!([])), ["body"]);
    for history in [json!(5), json!("{{system__conversation_history}}"), json!({}), json!("[")] {
        let body = json!({"conversation_id": "c", "timestamp": "2026-09-28T12:00:00Z", "history": history});
        assert_eq!(problems(body), ["history"]);
    }
}
