//! Words that stand where nothing looks for them: each is read, or remarked where an operator sees it.

use crate::support::service::{Service, run};
use crate::support::whole_call::{SECRET, post_signed_bytes};
use serde_json::{Value, json};
use transcribe_hook::domain::{CallStatus, RemarkKind, Speaker};
use transcribe_hook::elevenlabs::{Event, ParsedEvent, parse_event};

const WORDS: &str = "Where are you now?";

fn event_of(event_type: &str, data: &Value) -> Value {
    json!({"type": event_type, "event_timestamp": 1_795_752_100, "data": data})
}

/// A record whose transcript is these elements.
fn record_of(elements: &Value) -> Value {
    event_of("post_call_transcription", &json!({"conversation_id": "c", "status": "done", "transcript": elements}))
}

fn read(event: &Value) -> Event {
    parse_event(event.to_string().as_bytes())
}

fn said(event: &Event) -> Vec<(Speaker, &str)> {
    let ParsedEvent::Record(record) = &event.reading else { panic!("no record: {event:?}") };
    record.entries.iter().flatten().map(|entry| (entry.speaker, entry.message.as_str())).collect()
}

fn remarks_on_words(event: &Event) -> usize {
    event.remarks.iter().filter(|remark| remark.kind == RemarkKind::Words).count()
}

fn turns() -> Value {
    json!([{"role": "agent", "message": WORDS}, {"role": "user", "message": "At dock four."}])
}

/// Traces with a span of the conversation and others, each with its name and its attributes.
fn traces(root: &Value, spans: &[(&str, Value)]) -> Value {
    let span = |name: &str, attributes: &Value| {
        json!({"name": name, "parentSpanId": "1",
        "startTimeUnixNano": "1795752000000000000", "attributes": attributes})
    };
    let mut all = vec![json!({"name": "elevenlabs.conversation", "attributes": root})];
    all.extend(spans.iter().map(|(name, attributes)| span(name, attributes)));
    event_of(
        "post_call_transcription_otel",
        &json!({"conversation_id": "c", "otlp_traces": {"resourceSpans": [{"scopeSpans": [{"spans": all}]}]}}),
    )
}

#[test]
fn words_in_a_new_field_are_remarked_although_a_known_field_is_blank_or_explains_the_element() {
    const UNREAD: &str = "you now?";
    for (element, read_words) in [
        (json!({"role": "agent", "message": "", "spoken": WORDS}), None),
        (json!({"role": "agent", "message": "", "streamed": {"chunks": [{"t": WORDS}]}}), None),
        (json!({"role": "agent", "message": null, "tool_calls": [{"tool_name": "x"}], "spoken": WORDS}), None),
        (json!({"role": "agent", "multivoice_message": {"parts": [{"text": ""}, {"spoken": WORDS}]}}), None),
        (
            json!({"role": "agent", "multivoice_message": {"parts": [{"text": "Where are"}, {"spoken": UNREAD}]}}),
            Some("Where are"),
        ),
        (json!({"agent": "Where are you?", "user": "At dock four."}), Some("Where are you?")),
    ] {
        let event = read(&record_of(&json!([element])));
        assert_eq!(remarks_on_words(&event), 1, "{element}: {:?}", event.remarks);
        assert!(!event.remarks[0].text.contains(UNREAD), "{:?}", event.remarks);
        assert_eq!(said(&event).first().map(|(_, words)| *words), read_words, "{element}");
    }
    for (element, count) in [
        (json!({"role": "agent", "message": "", "tool_calls": [], "language": "en"}), 0),
        (json!({"role": "agent", "message": "", "original_message": WORDS, "producing_llm": "gpt 5"}), 0),
        (json!({"role": "agent", "tool_calls": [{"params_as_json": "{\"said\": \"some words\"}"}]}), 0),
        (
            json!({"role": "agent", "multivoice_message": {"parts": [{"text": "", "voice_label": "Joe from \
                dispatch"}]}}),
            0,
        ),
        (json!({"role": "agent", "message": WORDS, "new_field": {"about": "something else"}}), 1),
        (
            json!({"role": "agent", "content": [{"type": "thinking", "thinking": "Which dock is \
                it?"}, {"type": "text", "text": WORDS}]}),
            1,
        ),
    ] {
        let event = read(&record_of(&json!([element])));
        assert_eq!((remarks_on_words(&event), said(&event).len()), (0, count), "{element}: {:?}", event.remarks);
    }
}

#[test]
fn a_speaker_is_told_in_whatever_way_it_is_written() {
    for element in [
        json!({"role": "AI Agent", "message": WORDS}),
        json!({"role": "voice-agent", "message": WORDS}),
        json!({"type": "ai", "content": WORDS}),
    ] {
        let event = read(&record_of(&json!([element])));
        assert_eq!((said(&event), remarks_on_words(&event)), (vec![(Speaker::Agent, WORDS)], 0), "{element}");
    }
}

#[test]
fn a_conversation_in_another_place_is_read_or_remarked() {
    let data = |field: &str, value: Value| {
        let mut data = json!({"conversation_id": "c", "status": "done"});
        data[field] = value;
        data
    };
    let otel = traces(&json!([]), &[("elevenlabs.recv.agent_response", json!([]))])["data"].clone();
    for unread in [
        event_of("unredacted_transcript", &data("transcript", json!({"entries": turns()}))),
        event_of("unredacted_transcript", &data("transcript", json!(turns().to_string()))),
        event_of("unredacted_transcript", &data("messages", turns())),
        event_of("unredacted_transcript", &data("conversation", json!({"transcript": turns()}))),
        event_of("answering_machine_detection", &data("messages", turns())),
        event_of("call_initiation_failure", &data("transcript", turns())),
        event_of("unredacted_otel", &otel),
        event_of("post_call_transcription", &data("transcription", turns())),
        event_of("post_call_transcription", &data("otlp_traces", otel["otlp_traces"].clone())),
        json!({"type": "other", "conversation_id": "c", "transcript": turns()}),
    ] {
        let event = read(&unread);
        assert_eq!(remarks_on_words(&event), 1, "{unread}: {:?}", event.remarks);
        assert!(!event.remarks[0].text.contains("dock"), "{:?}", event.remarks);
    }
    let history = json!({"system__conversation_history": json!({"entries": turns()}).to_string()});
    let mut beside_an_empty_list = data("transcript", json!([]));
    beside_an_empty_list["messages"] = turns();
    for data in [
        data("conversation_initiation_client_data", json!({"dynamic_variables": history})),
        data("transcript", json!({"entries": [], "messages": turns()})),
        beside_an_empty_list,
    ] {
        let event = read(&event_of("post_call_transcription", &data));
        assert_eq!((said(&event).len(), remarks_on_words(&event)), (2, 0), "{data}: {:?}", event.remarks);
    }
    let prompts = json!({"agent": {"prompt": {"messages": turns()}}});
    for silent in [
        event_of("agent_qa", &json!({"results": [{"model": "gpt-5", "name": "some words here"}]})),
        event_of("post_call_transcription", &data("transcript", json!([]))),
        event_of(
            "post_call_transcription",
            &data("conversation_initiation_client_data", json!({"conversation_config_override": prompts})),
        ),
    ] {
        assert_eq!(read(&silent).remarks, [], "{silent}");
    }
}

#[test]
fn a_span_of_words_that_cannot_be_read_is_remarked_and_every_form_of_a_value_is_read() {
    let user = (
        "elevenlabs.recv.user_transcript",
        json!([{"key": "elevenlabs.user.text", "value": {"stringValue": "At dock four."}}]),
    );
    let agent = |attributes: Value| traces(&json!([]), &[("elevenlabs.recv.agent_response", attributes), user.clone()]);
    for attributes in [
        json!([{"key": "elevenlabs.agent.text", "value": {"boolValue": null, "stringValue": WORDS}}]),
        json!([{"key": "elevenlabs.agent.text", "value": {"arrayValue": {"values": [{"stringValue": "Where \
            are"}, {"stringValue": "you now?"}]}}}]),
        json!({"elevenlabs.agent.text": {"stringValue": WORDS}}),
        json!({"elevenlabs.agent.text": WORDS}),
    ] {
        let event = read(&agent(attributes.clone()));
        assert_eq!(said(&event)[0], (Speaker::Agent, WORDS), "{attributes}");
        assert_eq!(event.remarks, [], "{attributes}");
    }
    for attributes in [
        json!([{"key": "elevenlabs.agent.message", "value": {"stringValue": WORDS}}]),
        json!([{"key": "elevenlabs.agent.text", "value": {"boolValue": true}}]),
        json!([]),
    ] {
        let event = read(&agent(attributes.clone()));
        assert_eq!((said(&event).len(), remarks_on_words(&event)), (1, 1), "{attributes}: {:?}", event.remarks);
    }
    let blank = read(&agent(json!([{"key": "elevenlabs.agent.text", "value": {"stringValue": ""}}])));
    assert_eq!(blank.remarks, []);
    // A call that failed may have words all the same.
    let failed = json!([{"key": "elevenlabs.status", "value": {"arrayValue": null, "stringValue": "failed"}}]);
    let event = read(&traces(&failed, &[("elevenlabs.recv.agent_response", json!([]))]));
    let ParsedEvent::Record(record) = &event.reading else { panic!("{event:?}") };
    assert_eq!((record.facts.status, remarks_on_words(&event)), (Some(CallStatus::Failed), 1));
}

#[test]
fn words_of_an_event_of_an_unknown_type_are_shown_to_an_operator() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    let event = event_of("unredacted_transcript", &json!({"conversation_id": "c", "messages": turns()}));
    post_signed_bytes(&service, event.to_string().as_bytes()).expect(200);
    assert_eq!(service.get("/api/v1/stats").expect(200).json()["events"]["remarked"], 1);
    let metrics = service.get("/metrics").expect(200).text;
    assert!(metrics.lines().any(|line| line == "transcribe_hook_remarks_total{kind=\"words\"} 1"), "{metrics}");
    let out = run(&["check", "--json", "--database", service.database().to_str().unwrap()]);
    assert!(out.status.success(), "{out:?}");
    assert!(!service.log().join("\n").contains("dock"));
}

#[test]
fn a_recording_that_cannot_be_read_is_shown_to_an_operator() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    for (n, data) in [
        json!({"conversation_id": "c", "full_audio": "%%%"}),
        json!({"conversation_id": "c", "audio": "SUQzBAAA"}),
        json!({"conversation_id": "c", "full_audio": null}),
    ]
    .into_iter()
    .enumerate()
    {
        post_signed_bytes(&service, event_of("post_call_audio", &data).to_string().as_bytes()).expect(200);
        assert_eq!(service.get("/api/v1/stats").expect(200).json()["events"]["remarked"], n + 1, "{data}");
    }
    let whole = event_of("post_call_audio", &json!({"conversation_id": "c", "full_audio": "SUQzBAAA"}));
    post_signed_bytes(&service, whole.to_string().as_bytes()).expect(200);
    assert_eq!(service.get("/api/v1/stats").expect(200).json()["events"]["remarked"], 3);
}

#[test]
fn a_number_from_a_spreadsheet_is_the_same_driver_and_two_numbers_are_none() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    for (id, number) in [(1, "+15550100042"), (2, "+155501000420")] {
        service.put(&format!("/api/v1/drivers/{id}"), &json!({"name": "Maria", "phone_number": number})).expect(201);
    }
    for (n, (metadata, driver)) in [
        (json!({"phone_call": {"external_number": "15550100042.0"}}), json!(1)),
        (json!({"phone_call": {"external_number": "'+15550100042"}}), json!(1)),
        (json!({"phone_call": {"external_number": "sip:5550100042;phone-context=+1@example.com"}}), json!(1)),
        (json!({"whatsapp": {"whatsapp_user_id": "whatsapp:15550100042"}}), json!(1)),
        (json!({"phone_call": {"external_number": "+15550100042, +4930123456"}}), Value::Null),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("conv_{n}");
        let event = event_of(
            "post_call_transcription",
            &json!({"conversation_id": id, "status": "done", "metadata": metadata}),
        );
        post_signed_bytes(&service, event.to_string().as_bytes()).expect(200);
        assert_eq!(service.get(&format!("/api/v1/calls/{id}")).expect(200).json()["driver_id"], driver, "{metadata}");
    }
}

#[test]
fn placeholders_of_other_templates_are_no_call_and_dates_of_other_libraries_are_read() {
    let service = Service::start();
    let turn = |id: &str, timestamp: &str| {
        json!({"conversation_id": id, "speaker": "user", "message": "Hello",
        "timestamp": timestamp})
    };
    for id in [
        "{{1.conversation_id}}",
        "={{ $('Webhook').item.json.id }}",
        "{{conversation_id",
        "{$id}",
        "%%id%%",
        "__CONVERSATION_ID__",
        "conv_undefined",
        "false",
    ] {
        let error = service.deliver(&turn(id, "2026-09-28T12:00:05Z")).expect_error(400);
        assert!(error["details"].as_str().unwrap().starts_with("conversation_id: "), "{id}: {error}");
    }
    for (n, date) in [
        "Mon Sep 28 2026 12:00:05 GMT+0000 (Coordinated Universal Time)",
        "Mon Sep 28 12:00:05 UTC 2026",
        "28-Sep-2026 12:00:05 UTC",
        "September 28, 2026 at 12:00:05\u{202F}PM UTC",
    ]
    .into_iter()
    .enumerate()
    {
        service.deliver(&turn(&format!("conv_{n}"), date)).expect(201);
        let page = service.get(&format!("/api/v1/calls/conv_{n}/transcriptions")).expect(200).json();
        assert_eq!(page["data"][0]["timestamp"], "2026-09-28T12:00:05.000000Z", "{date}");
    }
}
