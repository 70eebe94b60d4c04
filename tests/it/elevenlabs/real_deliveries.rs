//! Bodies as senders really write them: damaged text, numbers that JSON cannot hold, other names for the same things.
//! Nothing that a person could read in them is lost, and what is not understood is remarked where an operator sees it.

use crate::support::random::for_any;
use crate::support::service::{Service, TURNS, binary, run, wait_for};
use crate::support::whole_call::{SECRET, post_signed_bytes};
use insta::assert_snapshot;
use proptest::prelude::{Strategy as _, any};
use serde_json::{Value, json};
use transcribe_hook::domain::{CallStatus, Direction, Record, RecordKind, RemarkKind, Speaker};
use transcribe_hook::elevenlabs::{Event, ParsedEvent, parse_event, parse_history};

const JSON: (&str, &str) = ("content-type", "application/json");
const HISTORY: &str = "/webhooks/elevenlabs/history";

/// A multi-voice agent's record.
const MULTI_VOICE: &str = include_str!("../../fixtures/elevenlabs/multi_voice.json");

fn start() -> Service {
    Service::start_with(&["--elevenlabs-secret", SECRET])
}

/// A record of a call with this transcript.
fn record_with(id: &str, transcript: &Value) -> Value {
    json!({"type": "post_call_transcription", "event_timestamp": 1_795_752_100, "data": {
        "conversation_id": id, "status": "done",
        "metadata": {"start_time_unix_secs": 1_795_752_000, "call_duration_secs": 20}, "transcript": transcript,
    }})
}

fn record_of(event: &Event) -> &Record {
    match &event.reading {
        ParsedEvent::Record(record) => record,
        other => panic!("no record: {other:?}"),
    }
}

/// Speakers and words, as a record's reader understands it.
fn said(event: &Event) -> Vec<(Speaker, String)> {
    let entries = record_of(event).entries.iter().flatten();
    entries.map(|entry| (entry.speaker, entry.message.as_str().to_owned())).collect()
}

fn kinds(event: &Event) -> Vec<RemarkKind> {
    event.remarks.iter().map(|remark| remark.kind).collect()
}

fn read(value: &Value) -> Event {
    parse_event(value.to_string().as_bytes())
}

fn words(service: &Service, id: &str) -> Vec<String> {
    let page = service.get(&format!("/api/v1/calls/{id}/transcriptions?order=time")).expect(200).json();
    page["data"].as_array().unwrap().iter().map(|turn| turn["message_text"].as_str().unwrap().to_owned()).collect()
}

fn metric(service: &Service, name: &str) -> u64 {
    let text = service.get("/metrics").expect(200).text;
    let name = format!("transcribe_hook_{name} ");
    text.lines().find_map(|line| line.strip_prefix(&*name)?.parse().ok()).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn the_words_of_a_multi_voice_agent_are_read() {
    let event = parse_event(MULTI_VOICE.as_bytes());
    let wanted = [(Speaker::Agent, "Hello, this is dispatch."), (Speaker::Driver, "I am at dock four.")];
    assert_eq!(said(&event), wanted.map(|(speaker, words)| (speaker, words.to_owned())));
    assert_eq!(event.remarks, []);
}

#[test]
fn words_are_read_in_every_form_in_which_they_stand() {
    for element in [
        json!({"role": "agent", "message": "Where are you?"}),
        json!({"role": "agent", "message": null, "multivoice_message": {"parts": [{"text": "Where "}, {"text": "are \
            you?"}]}}),
        json!({"role": "agent", "message": "", "multivoice_message": {"parts": [{"text": "Where are \
            you?", "voice_label": "Joe"}]}}),
        json!({"speaker": "agent", "text": "Where are you?"}),
        json!({"role": "assistant", "content": "Where are you?"}),
        json!({"role": "Assistant", "content": [{"type": "text", "text": "Where are you?"}]}),
        json!({"role": "assistant", "content": ["Where", "are you?"]}),
        json!({"role": "assistant", "content": [{"type": "output_audio", "transcript": "Where are you?"}]}),
        json!({"role": "model", "parts": [{"text": "Where are you?"}]}),
        json!({"message": {"role": "assistant", "content": "Where are you?"}}),
        json!({"role": "agent", "message": {"text": "Where are you?"}}),
        json!({"role": "agent", "message": {"parts": [{"text": "Where are you?"}]}}),
        json!({"author": {"role": "ai"}, "content": {"parts": ["Where are you?"]}}),
        json!({"agent": "Where are you?"}),
        json!({"role": "agent", "transcript": "Where are you?"}),
    ] {
        let event = read(&record_with("c", &json!([element])));
        assert_eq!(said(&event), [(Speaker::Agent, "Where are you?".to_owned())], "{element}");
        assert_eq!(event.remarks, [], "{element}");
        // The same in a history.
        let history = json!({"conversation_id": "c", "timestamp": "2026-09-28T12:00:00Z", "history": [element]});
        let history = parse_history(history.to_string().as_bytes()).unwrap();
        assert_eq!(history.history.0[&0].message.as_str(), "Where are you?", "{element}");
    }
    for role in ["user", "User", "human", "customer", "caller", "driver"] {
        let event = read(&record_with("c", &json!([{"role": role, "message": "Here."}])));
        assert_eq!(said(&event), [(Speaker::Driver, "Here.".to_owned())], "{role}");
    }
    let turns = json!([{"role": "user", "message": "Here."}]);
    for transcript in [json!({"entries": turns}), json!({"turns": turns}), json!(turns.to_string())] {
        assert_eq!(said(&read(&record_with("c", &transcript))).len(), 1, "{transcript}");
    }
}

#[test]
fn an_element_in_which_nothing_is_understood_is_remarked_without_its_words() {
    const WORDS: &str = "secret words";
    for element in [
        json!({"role": "agent", "message": null, "spoken": WORDS}),
        json!({"role": "agent", "message": null, "new_field": {"said": WORDS}, "secret words as a name": 1}),
        json!({"role": "narrator", "message": WORDS}),
        json!({"message": WORDS}),
        json!({"role": "agent"}),
        json!(WORDS),
        json!(null),
    ] {
        let event = read(&record_with("c", &json!([element, {"role": "user", "message": "Yes."}])));
        assert_eq!(kinds(&event), [RemarkKind::Words], "{element}: {:?}", event.remarks);
        assert!(!event.remarks[0].text.contains(WORDS), "{element}: {:?}", event.remarks);
        assert!(event.remarks[0].text.contains("transcript[0]"), "{:?}", event.remarks);
        assert_eq!(said(&event).len(), 1);
    }
    for silent in [
        json!({"role": "agent", "message": null, "tool_calls": [{"tool_name": "end_call"}]}),
        json!({"role": "agent", "message": null, "tool_results": [{"tool_name": "end_call"}]}),
        json!({"role": "user", "message": null, "platform_event": "user_turn_timeout"}),
        json!({"role": "user", "message": ""}),
        json!({"role": "user", "message": "..."}),
    ] {
        assert_eq!(read(&record_with("c", &json!([silent]))).remarks, [], "{silent}");
    }
    let unknown =
        json!({"type": "unredacted_transcript", "data": {"conversation_id": "c", "transcript": [{"role": "user"}]}});
    assert_eq!(kinds(&read(&unknown)), [RemarkKind::Words], "words of a type that is not known");
    assert_eq!(kinds(&read(&record_with("c", &json!("no list")))), [RemarkKind::Words]);
}

/// A record with the placeholders `MESSAGE`, a driver's words, and `NUMBER`, a number.
const TEMPLATE: &str = r#"{"type": "post_call_transcription", "event_timestamp": NUMBER, "data": {"conversation_id": "CALL",
    "status": "done", "metadata": {"start_time_unix_secs": 1795752000, "cost": NUMBER}, "analysis": {"score": NUMBER},
    "transcript": [{"role": "user", "message": "MESSAGE", "time_in_call_secs": NUMBER}]}}"#;

fn from_template(call: &str, message: &str, number: &str) -> String {
    TEMPLATE.replace("CALL", call).replace("MESSAGE", message).replace("NUMBER", number)
}

#[test]
fn a_damaged_body_costs_what_is_damaged_only() {
    let service = start();
    let utf16 = |text: &str| -> Vec<u8> {
        [0xFF, 0xFE].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect()
    };
    let plain = |message: &str, call: &str| from_template(call, message, "1").into_bytes();
    for (n, (damage, wanted)) in [
        (&(|call: &str| plain("ok \\ud83d", call)) as &dyn Fn(&str) -> Vec<u8>, "ok \u{FFFD}"),
        (&|call| plain("\\ude00 ok", call), "\u{FFFD} ok"),
        (&|call| plain("a\tb", call), "a\tb"),
        (&|call| [b"\xEF\xBB\xBF", &*plain("ok", call)].concat(), "ok"),
        (&|call| utf16(&from_template(call, "Grüße", "1")), "Grüße"),
        (&|call| [&*plain("ok", call), b"\0\0\n"].concat(), "ok"),
        (&|call| from_template(call, "ok", "NaN").into_bytes(), "ok"),
        (&|call| from_template(call, "ok", "-Infinity").into_bytes(), "ok"),
        (&|call| from_template(call, "ok", "1e999").into_bytes(), "ok"),
        (&|call| from_template(call, "ok", &"9".repeat(400)).into_bytes(), "ok"),
        (
            &|call| [&plain("XX", call)[..]].concat().iter().map(|b| if *b == b'X' { 0xFC } else { *b }).collect(),
            "\u{FFFD}\u{FFFD}",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let call = format!("conv_{n}");
        let body = damage(&call);
        post_signed_bytes(&service, &body).expect(200);
        assert_eq!(words(&service, &call), [wanted], "{}", String::from_utf8_lossy(&body));
        let stored: Vec<u8> = service
            .sqlite()
            .query_row("SELECT CAST(body AS BLOB) FROM webhook_events WHERE conversation_id = ?1", [&call], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(stored, body, "the body stays as it came");
        // ElevenLabs' SDKs get JSON.
        service.get(&format!("/v1/convai/conversations/{call}")).expect(200).json();
    }
    let unreadable: i64 = service
        .sqlite()
        .query_row("SELECT count(*) FROM webhook_events WHERE outcome <> 'applied'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(unreadable, 0);
    assert_eq!((metric(&service, "events_total{outcome=\"applied\"}"), metric(&service, "events_unreadable")), (4, 0));
    assert!(metric(&service, "remarks_total{kind=\"number\"}") >= 4);
}

#[test]
fn a_damaged_turn_and_a_damaged_history_are_stored() {
    let service = start();
    let turn = r#"{"conversation_id": "conv_a", "speaker": "user", "message": "MESSAGE", "timestamp": "2026-09-28T12:00:0SZ"}"#;
    for (n, (message, wanted)) in [
        ("ok \\ud83d", "ok \u{FFFD}"),
        ("\\udfff\\ud83d\\ude00", "\u{FFFD}\u{1F600}"),
        ("line\nbreak", "line\nbreak"),
        ("it\\'s", "it's"),
    ]
    .into_iter()
    .enumerate()
    {
        let body = turn.replace("MESSAGE", message).replace('S', &n.to_string());
        service.post_raw(TURNS, &[JSON], body.as_bytes()).expect(201);
        assert_eq!(words(&service, "conv_a")[n], wanted);
        let with_mark = format!("\u{FEFF}{body}\0");
        let again = service.post_raw(TURNS, &[JSON], with_mark.as_bytes()).expect(201);
        assert_eq!(again.header("idempotent-replayed"), Some("true"), "the same turn");
    }
    let history = r#"{"entries": [{"role": "user", "message": "ok \ud83d", "confidence": NaN}]}"#;
    for history in [history.to_owned(), json!(history).to_string()] {
        let body = format!(
            "\u{FEFF}{{\"conversation_id\": \"conv_h\", \"timestamp\": \"2026-09-28T12:00:00Z\", \"n\": \
             NaN, \"history\": {history}}}"
        );
        service.post_raw(HISTORY, &[JSON], body.as_bytes()).expect(200);
        assert_eq!(words(&service, "conv_h"), ["ok \u{FFFD}"]);
    }
    wait_for("the remark in the log", || {
        service.log().iter().any(|line| line.contains("\"remarks\":") && line.contains("conv_h")).then_some(())
    });
}

#[test]
fn a_history_in_which_nothing_can_be_read_is_400_and_one_with_something_is_stored_with_a_remark() {
    let service = start();
    let body = |entries: Value| {
        json!({"conversation_id": "conv_h", "timestamp": "2026-09-28T12:00:00Z",
        "history": {"entries": entries}})
    };
    for (entries, status) in [
        (json!([{"role": "narrator", "message": "Hello"}]), 400),
        (json!([{"who": "agent", "what": "Hello"}]), 400),
        (json!([]), 200),
        (json!([{"role": "agent", "message": null, "tool_calls": [{"tool_name": "x"}]}]), 200),
        (json!([{"role": "narrator", "message": "Hello"}, {"role": "user", "message": "Yes"}]), 200),
    ] {
        assert_eq!(service.post(HISTORY, &body(entries.clone())).status, status, "{entries}");
    }
    assert_eq!(words(&service, "conv_h"), ["Yes"]);
    let unfilled = json!({"conversation_id": "conv_h", "timestamp": "2026-09-28T12:00:00Z",
        "history": "{{system__conversation_history}}"});
    let error = service.post(HISTORY, &unfilled).expect_error(400);
    assert!(error["details"].as_str().unwrap().contains("system__conversation_history"), "{error}");
}

#[test]
fn a_placeholder_is_no_name_of_a_call_and_blanks_around_one_do_not_matter() {
    let service = start();
    let turn = |id: &str, message: &str| {
        json!({"conversation_id": id, "speaker": "user", "message": message,
        "timestamp": "2026-09-28T12:00:00Z"})
    };
    for id in [
        "{{system__conversation_id}}",
        " {{ conversation_id }} ",
        "{conversation_id}",
        "${conversation_id}",
        "%conversation_id%",
        "<conversation_id>",
        "conv_{{id}}",
        "undefined",
        "null",
        "None",
        "nil",
        "NaN",
        "[object Object]",
        "conversation_id",
        "system__conversation_id",
    ] {
        let error = service.deliver(&turn(id, "Hello")).expect_error(400);
        let details = error["details"].as_str().unwrap();
        assert!(details.starts_with("conversation_id: "), "{id}: {details}");
        let history = json!({"conversation_id": id, "timestamp": "2026-09-28T12:00:00Z", "history": []});
        service.post(HISTORY, &history).expect_error(400);
    }
    assert_eq!(service.get("/api/v1/calls").expect(200).json()["data"], json!([]));
    for id in ["conv_a", " conv_a", "conv_a\n", "\tconv_a ", "\u{FEFF}conv_a"] {
        service.deliver(&turn(id, &format!("From {id:?}"))).expect(201);
    }
    assert_eq!(words(&service, "conv_a").len(), 5);
    service.put("/api/v1/drivers/7", &json!({"name": "Maria"})).expect(201);
    service.put("/api/v1/dispatches/%20conv_a%20", &json!({"driver_id": 7})).expect(201);
    assert_eq!(service.get("/api/v1/calls/conv_a").expect(200).json()["driver_id"], 7);
    // Words are never lost, be they what a template would have.
    service.deliver(&turn("conv_b", "{{message}}")).expect(201);
    assert_eq!(words(&service, "conv_b"), ["{{message}}"]);
}

#[test]
fn a_call_that_an_older_version_stored_under_a_placeholder_can_be_read_and_erased() {
    let service = start();
    service
        .deliver(&json!({"conversation_id": "conv_a", "speaker": "user", "message": "x",
        "timestamp": "2026-09-28T12:00:00Z"}))
        .expect(201);
    let older = rusqlite::Connection::open(service.database()).unwrap();
    older
        .execute_batch(
            "PRAGMA foreign_keys = OFF; PRAGMA busy_timeout = 10000; BEGIN IMMEDIATE; \
             UPDATE calls SET conversation_id = '{{id}}'; UPDATE call_transcriptions SET conversation_id = '{{id}}'; \
             COMMIT",
        )
        .unwrap();
    drop(older);
    let path = "/api/v1/calls/%7B%7Bid%7D%7D";
    assert_eq!(service.get(path).expect(200).json()["conversation_id"], "{{id}}");
    service.delete(path).expect(204);
    service.get(path).expect_error(404);
}

#[test]
fn that_a_record_is_posted_says_that_the_call_is_over() {
    for (status, wanted) in [
        (Value::Null, CallStatus::Completed),
        (json!("done"), CallStatus::Completed),
        (json!("processing"), CallStatus::Completed),
        (json!("in-progress"), CallStatus::Completed),
        (json!("ended_by_aliens"), CallStatus::Completed),
        (json!(7), CallStatus::Completed),
        (json!("failed"), CallStatus::Failed),
        (json!("FAILED"), CallStatus::Failed),
    ] {
        let mut event = record_with("c", &json!([]));
        event["data"]["status"] = status.clone();
        assert_eq!(record_of(&read(&event)).facts.status, Some(wanted), "{status}");
        if status.is_null() {
            event["data"].as_object_mut().unwrap().shift_remove("status");
            assert_eq!(record_of(&read(&event)).facts.status, Some(wanted));
        }
    }
}

#[test]
fn a_number_finds_its_driver_in_every_form_and_on_every_channel() {
    let service = start();
    service.put("/api/v1/drivers/7", &json!({"name": "Maria", "phone_number": "+15550100042"})).expect(201);
    let phone = |number: Value| json!({"phone_call": {"direction": "outbound", "external_number": number}});
    for (n, metadata) in [
        phone(json!("+15550100042")),
        phone(json!(15_550_100_042_i64)),
        phone(json!(15_550_100_042.0)),
        phone(json!("0015550100042")),
        phone(json!("tel:+1-555-010-0042;ext=5")),
        phone(json!("sip:+15550100042@sip.example.com;user=phone")),
        phone(json!(" +1 (555) 010-0042 x12 ")),
        phone(json!("1-555-010-0042")),
        json!({"sms": {"sms_user_phone_number": "+15550100042", "direction": "inbound"}}),
        json!({"whatsapp": {"direction": "inbound", "whatsapp_user_id": "15550100042"}}),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("conv_{n}");
        let mut event = record_with(&id, &json!([]));
        event["data"]["metadata"] = metadata.clone();
        post_signed_bytes(&service, event.to_string().as_bytes()).expect(200);
        let call = service.get(&format!("/api/v1/calls/{id}")).expect(200).json();
        assert_eq!((&call["driver_id"], &call["driver_source"]), (&json!(7), &json!("phone_number")), "{metadata}");
        assert_ne!((&call["external_number"], &call["direction"]), (&Value::Null, &Value::Null), "{metadata}");
    }
    let failure = json!({"type": "call_initiation_failure", "data": {"conversation_id": "conv_f",
        "failure_reason": "busy",
        "metadata": {"type": "sip", "body": {"to_number": 15_550_100_042_i64}}}});
    post_signed_bytes(&service, failure.to_string().as_bytes()).expect(200);
    assert_eq!(service.get("/api/v1/calls/conv_f").expect(200).json()["driver_id"], 7);
}

/// The traces of a conversation whose root span has these attributes, and its status.
fn traces(attributes: &[(&str, Value)], code: &Value, spans: Vec<Value>) -> Value {
    let attributes: Vec<_> = attributes.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
    let root = json!({"name": "elevenlabs.conversation", "startTimeUnixNano": "1795752000000000000",
        "status": {"code": code},
        "attributes": attributes});
    let spans: Vec<_> = [root].into_iter().chain(spans).collect();
    json!({"type": "post_call_transcription_otel", "event_timestamp": 1_795_752_100, "data": {"conversation_id": "c",
        "otlp_traces": {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}}})
}

#[test]
fn traces_say_the_same_of_a_call_as_a_record() {
    let text = |text: &str| json!({"stringValue": text});
    let event = read(&traces(
        &[
            ("elevenlabs.status", text("failed")),
            ("elevenlabs.agent_id", text("agent_1")),
            ("elevenlabs.user_id", text("driver_7")),
            ("elevenlabs.telephony.direction", text("inbound")),
            ("elevenlabs.telephony.external_number", json!({"intValue": "15550100042"})),
            ("elevenlabs.main_language", text("en")),
            ("elevenlabs.cost", json!({"intValue": "296"})),
            ("elevenlabs.batch_call.batch_call_id", text("btcal_1")),
            ("elevenlabs.batch_call.batch_call_recipient_id", text("driver_8")),
            ("elevenlabs.termination_reason", text("hung up")),
            ("elevenlabs.session.duration_ms", json!({"intValue": 47_000})),
            ("elevenlabs.analysis.call_successful", text("failure")),
            ("elevenlabs.analysis.transcript_summary", text("A summary.")),
            ("elevenlabs.analysis.call_summary_title", text("A title")),
            ("elevenlabs.dynamic_variable.driver_id", json!({"intValue": "9"})),
        ],
        &json!(1),
        vec![],
    ));
    let record = record_of(&event);
    let facts = &record.facts;
    assert_eq!((record.kind, facts.status), (RecordKind::Traces, Some(CallStatus::Failed)));
    assert_eq!(facts.title.as_deref(), Some("A title"));
    assert_eq!(facts.summary.as_deref(), Some("A summary."));
    assert_eq!((facts.agent_id.as_deref(), facts.user_id.as_deref()), (Some("agent_1"), Some("driver_7")));
    assert_eq!((facts.main_language.as_deref(), facts.cost, facts.duration_seconds), (Some("en"), Some(296), Some(47)));
    assert_eq!((facts.direction, facts.batch_id.as_deref()), (Some(Direction::Inbound), Some("btcal_1")));
    assert_eq!(facts.claims.phone_number.as_ref().unwrap().as_str(), "+15550100042");
    let claimed = [facts.claims.dynamic_variable, facts.claims.user_id, facts.claims.batch_recipient];
    assert_eq!(claimed.map(|id| id.unwrap().get()), [9, 7, 8]);
    let analysis: Value = serde_json::from_str(facts.analysis.as_ref().unwrap()).unwrap();
    assert_eq!(analysis["call_successful"], "failure");
    for (code, wanted) in [
        (json!(2), CallStatus::Failed),
        (json!("STATUS_CODE_ERROR"), CallStatus::Failed),
        (json!("ERROR"), CallStatus::Failed),
        (json!(0), CallStatus::Completed),
        (json!("STATUS_CODE_OK"), CallStatus::Completed),
        (Value::Null, CallStatus::Completed),
    ] {
        assert_eq!(record_of(&read(&traces(&[], &code, vec![]))).facts.status, Some(wanted), "{code}");
    }
}

#[test]
fn traces_without_words_have_those_of_the_history_also_when_it_was_cut_off() {
    const NAME: &str = "elevenlabs.dynamic_variable.system__conversation_history";
    let history = json!({"x-elevenlabs-history": true, "entries": [
        {"role": "agent", "message": "Are you parked?"}, {"role": "user", "message": "Yes } I \
            am."}, {"role": "agent", "message": "Good."},
    ]})
    .to_string();
    let with = |history: &str| read(&traces(&[(NAME, json!({"stringValue": history}))], &json!(1), vec![]));
    let whole = with(&history);
    assert_eq!((said(&whole).len(), whole.remarks.len()), (3, 0), "{:?}", whole.remarks);
    let cut = with(&history[..history.len() - 12]);
    assert_eq!(said(&cut), said(&whole)[..2]);
    assert_eq!(kinds(&cut), [RemarkKind::Words]);
    let words = json!({"name": "elevenlabs.recv.user_transcript", "startTimeUnixNano": 1_795_752_003_000_000_000_i64,
        "attributes": [{"key": "elevenlabs.user.text", "value": {"stringValue": "Yes."}}]});
    let spoken = read(&traces(&[(NAME, json!({"stringValue": history}))], &json!(1), vec![words]));
    assert_eq!(said(&spoken), [(Speaker::Driver, "Yes.".to_owned())], "words of spans go first");
    assert_eq!(kinds(&read(&traces(&[], &json!(1), vec![]))), [RemarkKind::Words], "no words at all are remarked");
}

#[test]
fn what_cannot_be_read_is_seen_in_metrics_check_statistics_and_log_and_healed_by_replay() {
    let service = start();
    post_signed_bytes(&service, b"{\"type\": \"post_call_transcription\", ").expect(200);
    post_signed_bytes(
        &service,
        record_with("conv_r", &json!([{"role": "narrator", "message": "x"}])).to_string().as_bytes(),
    )
    .expect(200);
    // As the version before left them, which could read none of these.
    let damaged = [
        format!("\u{FEFF}{}", from_template("conv_1", "bom", "1")),
        from_template("conv_2", "half \\ud83d", "1"),
        from_template("conv_3", "number", "NaN"),
    ];
    let older = rusqlite::Connection::open(service.database()).unwrap();
    older.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    for body in &damaged {
        older
            .execute(
                "INSERT INTO webhook_events (digest, received_at, outcome, error, body) \
                 VALUES (?1, '2026-09-28T12:01:00.000000Z', 'unreadable', 'the body is not JSON', ?2)",
                rusqlite::params![<[u8; 32]>::from(<sha2::Sha256 as sha2::Digest>::digest(body)), body],
            )
            .unwrap();
    }
    let database = service.database().to_str().unwrap().to_owned();
    let check = || -> Value {
        let out = run(&["check", "--json", "--database", &database]);
        assert_eq!(out.status.code(), Some(0), "{out:?}");
        serde_json::from_slice(&out.stdout).unwrap()
    };
    let before = check();
    assert_eq!((&before["unreadable_events"], &before["remarked_events"]), (&json!(4), &json!(1)));
    assert_eq!(before["unreadable_event_ids"], json!([1, 3, 4, 5]));
    let text = String::from_utf8(run(&["check", "--database", &database]).stdout).unwrap();
    assert_snapshot!("check", text);
    let stats = || service.get("/api/v1/stats").expect(200).json()["events"].clone();
    assert_eq!(stats(), json!({"unreadable": 4, "ids": [1, 3, 4, 5], "remarked": 1, "rereading": 0}));
    assert_eq!(metric(&service, "events_unreadable"), 4);
    assert_eq!(metric(&service, "events_total{outcome=\"unreadable\"}"), 1);
    assert_eq!(metric(&service, "events_total{outcome=\"remarked\"}"), 1);
    assert_eq!(metric(&service, "remarks_total{kind=\"words\"}"), 1);
    let out = run(&["replay", "--failed", "--json", "--database", &database]);
    assert_eq!(String::from_utf8_lossy(&out.stdout), "{\"applied\":3,\"ignored\":0,\"unreadable\":1}\n", "{out:?}");
    assert_eq!(stats()["ids"], json!([1]));
    for (call, wanted) in [("conv_1", "bom"), ("conv_2", "half \u{FFFD}"), ("conv_3", "number")] {
        assert_eq!(words(&service, call), [wanted]);
    }
    assert!(!service.log().join("\n").contains("narrator"));
}

/// Writes 40 conversations as Python does, by each combination of its switches, and the words that are in each.
const PYTHON: &str = r"
import json, random, re, sys
random.seed(json.load(sys.stdin))
characters = ['a', ' ', 'é', '\u20ac', '\U0001f69a', '\ud83d', '\ude00', '\x00', '\x1f', '\x7f', '\u2028', '\ufeff', '\uffff', '\\', '/', '\x22', '{{x}}', 'NaN']
numbers = [0, 1, -1.5, 1e300, float('nan'), float('inf'), float('-inf'), 10**30, 10**400, True, None, 5e-324]
def text():
    return 'w' + ''.join(random.choice(characters) for _ in range(random.randrange(12)))
def whole(words):
    # Two halves that stand beside each other are a character, one alone is none.
    words = re.sub('[\ud800-\udbff][\udc00-\udfff]', lambda pair: pair[0].encode('utf-16', 'surrogatepass').decode('utf-16'), words)
    return re.sub('[\ud800-\udfff\x00]', '\ufffd', words)
out = []
for n in range(40):
    turns = [{'role': random.choice(['agent', 'user']), 'message': text(), 'time_in_call_secs': random.choice(numbers), 'extra': {text(): random.choice(numbers)}}
             for _ in range(random.randrange(1, 5))]
    data = {'conversation_id': 'conv_%d' % n, 'status': 'done', 'transcript': turns,
            'metadata': {'start_time_unix_secs': random.choice(numbers), 'cost': random.choice(numbers), 'call_duration_secs': random.choice(numbers)},
            'analysis': {'score': random.choice(numbers), 'transcript_summary': text()}}
    body = {'type': 'post_call_transcription', 'event_timestamp': random.choice(numbers), 'data': data}
    for ensure_ascii in (True, False):
        for indent in (None, 2):
            dumped = json.dumps(body, ensure_ascii=ensure_ascii, indent=indent)
            for encoding in ('utf-8', 'utf-8-sig', 'utf-16', 'utf-32'):
                out.append({'body': dumped.encode(encoding, 'surrogatepass').hex(), 'roles': [t['role'] for t in turns],
                            'words': [whole(t['message']) for t in turns]})
print(json.dumps(out))
";

#[test]
fn whatever_python_writes_of_a_conversation_is_understood() {
    let cases = crate::support::service::sdk_python(PYTHON, &json!(20_260_928));
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 640);
    for case in cases {
        let hex = case["body"].as_str().unwrap();
        let body: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        let event = parse_event(&body);
        let shown = || String::from_utf8_lossy(&body).into_owned();
        let said: Vec<_> = said(&event)
            .into_iter()
            .map(|(speaker, words)| (if speaker == Speaker::Agent { "agent" } else { "user" }, words))
            .collect();
        let pairs = case["roles"].as_array().unwrap().iter().zip(case["words"].as_array().unwrap());
        let wanted: Vec<_> =
            pairs.map(|(role, words)| (role.as_str().unwrap(), words.as_str().unwrap().to_owned())).collect();
        assert_eq!(said, wanted, "{}", shown());
        assert_eq!(record_of(&event).facts.status, Some(CallStatus::Completed), "{}", shown());
    }
}

#[test]
fn no_damage_to_the_text_of_any_conversation_costs_its_words() {
    let words = proptest::collection::vec(any::<char>(), 0..30)
        .prop_map(|chars| format!("HALF{}", chars.into_iter().collect::<String>()));
    let turns = proptest::collection::vec((any::<bool>(), words, 0..5_usize), 1..6);
    for_any(400, &(turns, 0..6_usize, any::<bool>()), |(turns, encoding, escaped)| {
        let element = |(agent, words, form): &(bool, String, usize)| {
            let role = if *agent { "agent" } else { "user" };
            match form {
                0 => json!({"role": role, "message": words, "n": "NUMBER"}),
                1 => {
                    json!({"role": role, "message": null, "multivoice_message": {"parts": [{"text": words}]},
                        "n": "NUMBER"})
                }
                2 => json!({"speaker": role, "text": words, "n": "NUMBER"}),
                3 => json!({"role": role, "content": [{"type": "text", "text": words}], "n": "NUMBER"}),
                _ => json!({"message": {"role": role, "content": words}, "n": "NUMBER"}),
            }
        };
        let transcript: Vec<_> = turns.iter().map(element).collect();
        let mut text = record_with("c", &json!(transcript)).to_string();
        for number in ["NaN", "-Infinity", "1e999", "007"] {
            text = text.replacen("\"NUMBER\"", number, 1);
        }
        // Half of a pair at the beginning of each message.
        text = text.replace("HALF", "\\ud83d");
        if escaped {
            let ascii = |c: char| {
                let mut units = [0; 2];
                let units = c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}"));
                if c.is_ascii() { c.to_string() } else { units.collect() }
            };
            text = text.chars().map(ascii).collect();
        }
        let body: Vec<u8> = match encoding {
            0 => text.into_bytes(),
            1 => [b"\xEF\xBB\xBF", text.as_bytes()].concat(),
            2 => [0xFF, 0xFE].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect(),
            3 => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            4 => text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect(),
            _ => [text.as_bytes(), b"\0\0\n"].concat(),
        };
        let wanted: Vec<_> = turns
            .iter()
            .map(|(agent, words, _)| {
                let words = words.replace("HALF", "\u{FFFD}").replace('\0', "\u{FFFD}");
                (if *agent { Speaker::Agent } else { Speaker::Driver }, words)
            })
            .collect();
        assert_eq!(said(&parse_event(&body)), wanted);
    });
}

#[test]
fn a_secret_that_cannot_be_what_is_meant_is_refused_at_the_start_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let start = |variable: &str, value: &str| {
        let out = binary()
            .args(["serve", "--listen", "127.0.0.1:0", "--database"])
            .arg(folder.path().join("calls.db"))
            .env(variable, value)
            .output()
            .unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (secret, token, key) =
        ("TRANSCRIBE_HOOK_ELEVENLABS_SECRET", "TRANSCRIBE_HOOK_API_TOKEN", "TRANSCRIBE_HOOK_INGEST_TOKEN");
    for (variable, value) in [
        (secret, "\"wsec_0123456789abcdef\""),
        (secret, "'wsec_0123456789abcdef'"),
        (secret, " wsec_0123456789abcdef"),
        (secret, "wsec_0123456789abcdef "),
        (secret, "wsec_0123456789abcdef,wsec_fedcba9876543210"),
        (secret, "wsec_0123456789abcdef;wsec_fedcba9876543210"),
        (secret, "wsec_0123456789abcdef|wsec_fedcba9876543210"),
        (secret, "wsec_0123456789abcdefwsec_fedcba9876543210"),
        (secret, "wsec_0123456789abcdef\\n"),
        (secret, "Bearer wsec_0123456789abcdef"),
        (secret, "wsec_"),
        (secret, "sk_0123456789abcdef0123456789abcdef"),
        (secret, "${WSEC_0123456789abcdef}"),
        (token, "\"0123456789abcdef0123456789abcdef\""),
        (token, "0123456789abcdef0123456789abcdef,fedcba9876543210fedcba9876543210"),
        (key, "'0123456789abcdef0123456789abcdef'"),
    ] {
        let (code, said) = start(variable, value);
        assert_eq!(code, Some(2), "{variable}={value}: {said}");
        assert!(said.contains(variable), "{variable}={value}: {said}");
        assert!(!said.contains("0123456789abcdef"), "{variable}={value}: {said}");
        // The same from a file; a file may end in a line break and have blanks around its lines.
        if value.trim() == value {
            std::fs::write(&file, format!("{value}\n")).unwrap();
            let (code, said) = start(&format!("{variable}_FILE"), file.to_str().unwrap());
            assert!(code == Some(2) && !said.contains("0123456789abcdef"), "{variable}={value}: {said}");
        }
    }
}
