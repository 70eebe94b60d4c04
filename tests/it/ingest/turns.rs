//! The per-turn webhook: what it takes, what it refuses, and what a repeat is.

use crate::support::service::{Service, TURNS};
use crate::support::turns::turn;
use crate::support::wording::Wording;
use insta::assert_snapshot;
use proptest::prelude::{ProptestConfig, Strategy, any};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// A turn with one field changed; `Null` takes the field away.
fn turn_with(field: &str, value: Value) -> Value {
    let mut turn = turn("conv_a", 1);
    match value {
        Value::Null => drop(turn.as_object_mut().unwrap().remove(field)),
        value => turn[field] = value,
    }
    turn
}

const JSON: (&str, &str) = ("content-type", "application/json");

fn turns(service: &Service, conversation: &str) -> Vec<Value> {
    let page = service
        .get(&format!("/api/v1/calls/{conversation}/transcriptions?order=sequence&limit=1000"))
        .expect(200)
        .json();
    page["data"].as_array().unwrap().clone()
}

#[test]
fn a_turn_is_stored_and_answered_with_its_numbers() {
    let service = Service::start();
    let answer = service.deliver(&turn("conv_a", 1)).expect(201);
    assert_eq!(
        answer.json(),
        json!({"status": "success", "message": "transcription stored", "transcription_id": 1, "sequence_number": 1})
    );
    assert_eq!(answer.header("idempotent-replayed"), None);
    assert_eq!(service.deliver(&turn("conv_a", 2)).expect(201).json()["sequence_number"], 2);
    assert_eq!(service.deliver(&turn("conv_b", 1)).expect(201).json()["sequence_number"], 1);
}

#[test]
fn a_turn_reads_back_as_it_was_sent_with_elevenlabs_user_as_driver() {
    let service = Service::start();
    service.deliver(&turn("conv_a", 1)).expect(201);
    service.deliver(&turn("conv_a", 2)).expect(201);
    let stored = turns(&service, "conv_a");
    let shown: Vec<_> = stored
        .iter()
        .map(|t| {
            (t["speaker_type"].as_str().unwrap(), t["message_text"].as_str().unwrap(), t["timestamp"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("agent", "Turn number 1: the reefer reads forty five degrees.", "2026-09-28T12:00:00.001000Z"),
            ("driver", "Turn number 2: the reefer reads forty five degrees.", "2026-09-28T12:00:00.002000Z"),
        ]
    );
    assert_eq!(stored[0]["source"], "live");
}

#[test]
fn the_first_turn_makes_the_call_and_later_turns_make_no_second_one() {
    let service = Service::start();
    for n in [5, 3, 9] {
        service.deliver(&turn("conv_a", n)).expect(201);
    }
    let calls = service.get("/api/v1/calls?include_total=true").expect(200).json();
    assert_eq!(calls["total"], 1);
    let call = &calls["data"][0];
    assert_eq!(call["conversation_id"], "conv_a");
    assert_eq!(call["status"], "in_progress");
    assert_eq!(call["driver_id"], Value::Null);
    assert_eq!(call["turn_count"], 3);
    assert_eq!(call["call_start_time"], "2026-09-28T12:00:00.005000Z", "the first turn's, whatever comes later");
    assert_eq!(call["first_turn_time"], "2026-09-28T12:00:00.003000Z");
    assert_eq!(call["last_turn_time"], "2026-09-28T12:00:00.009000Z");
}

#[test]
fn a_turn_for_a_call_that_is_over_is_stored_and_leaves_its_status() {
    let service = Service::start();
    service.deliver(&turn("conv_a", 1)).expect(201);
    service.patch("/api/v1/calls/conv_a", &json!({"status": "failed"})).expect(200);
    assert_eq!(service.deliver(&turn("conv_a", 2)).expect(201).json()["sequence_number"], 2);
    let call = service.get("/api/v1/calls/conv_a").expect(200).json();
    assert_eq!((&call["status"], &call["turn_count"]), (&json!("failed"), &json!(2)));
}

#[test]
fn every_broken_rule_of_a_field_is_400_and_named() {
    let service = Service::start();
    let long_id = "c".repeat(257);
    let long_message = "m".repeat(64 * 1024 + 1);
    let cases = [
        ("conversation_id", Value::Null),
        ("conversation_id", json!("")),
        ("conversation_id", json!(" \t\n")),
        ("conversation_id", json!("{{system__conversation_id}}")),
        ("conversation_id", json!("undefined")),
        ("conversation_id", json!(7)),
        ("conversation_id", json!(long_id)),
        ("conversation_id", json!("a\u{0}b")),
        ("speaker", Value::Null),
        ("speaker", json!("driver")),
        ("speaker", json!("{{speaker}}")),
        ("speaker", json!("Agent")),
        ("speaker", json!("user ")),
        ("speaker", json!(["user"])),
        ("message", Value::Null),
        ("message", json!("")),
        ("message", json!(" \u{3000}\n")),
        ("message", json!({"text": "hello"})),
        ("message", json!(true)),
        ("message", json!(long_message)),
        ("timestamp", Value::Null),
        ("timestamp", json!(1_790_596_805)),
        ("timestamp", json!("2026-09-28")),
        ("timestamp", json!("{{system__time_utc}}")),
        ("timestamp", json!("yesterday")),
        ("timestamp", json!("2026-09-28T24:61:00Z")),
    ];
    let mut errors = Wording::default();
    for (field, value) in cases {
        let error = service.deliver(&turn_with(field, value.clone())).expect_error(400);
        let details = error["details"].as_str().unwrap();
        assert!(details.starts_with(&format!("{field}: ")), "{field} = {value}: {details}");
        let value = if value.is_null() { "(missing)".to_owned() } else { value.to_string() };
        errors.add_error(format!("{field} = {value}"), details);
    }
    let null = json!({"conversation_id": null, "speaker": "user", "message": "x", "timestamp": "2026-09-28T12:00:00Z"});
    let error = service.deliver(&null).expect_error(400);
    let details = error["details"].as_str().unwrap();
    assert!(details.starts_with("conversation_id: "), "{details}");
    errors.add_error("conversation_id = null", details);
    assert_snapshot!("errors", errors);
    assert_eq!(service.get("/api/v1/calls").expect(200).json()["data"], json!([]), "nothing was stored");
}

#[test]
fn all_broken_rules_are_named_at_once() {
    let service = Service::start();
    let error = service.deliver(&json!({"speaker": "robot", "timestamp": "soon"})).expect_error(400);
    let details = error["details"].as_str().unwrap();
    for field in ["conversation_id: ", "speaker: ", "message: ", "timestamp: "] {
        assert!(details.contains(field), "{details}");
    }
}

#[test]
fn the_greatest_lengths_are_taken() {
    let service = Service::start();
    let id = "ü".repeat(256);
    let message = "é".repeat(32 * 1024);
    let turn =
        json!({"conversation_id": id, "speaker": "user", "message": message, "timestamp": "2026-09-28T12:00:00Z"});
    service.deliver(&turn).expect(201);
    // Written with an escape for each character, it is three times as long and still the same message.
    let escaped = serde_json::to_string(&turn).unwrap().replace('é', "\\u00e9").replace('ü', "\\u00fc");
    let again = service.post_raw(TURNS, &[JSON], escaped.as_bytes()).expect(201);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    let stored = service.get(&format!("/api/v1/calls/{}/transcriptions", "%C3%BC".repeat(256))).expect(200).json();
    assert_eq!(stored["data"][0]["message_text"], message);
}

#[test]
fn a_body_that_is_no_json_object_is_400() {
    let service = Service::start();
    for body in ["", "{", "[]", "null", "\"text\"", "{\"speaker\":\"user\",}", "{} {}"] {
        let error = service.post_raw(TURNS, &[JSON], body.as_bytes()).expect_error(400);
        assert!(error["details"].as_str().unwrap().starts_with("body: "), "{body}: {error}");
    }
    service.post_raw(TURNS, &[JSON], b"{\"message\":\"\xff\"}").expect_error(400);
    let twice = br#"{"conversation_id":"a","conversation_id":"b","speaker":"user","message":"x","timestamp":"2026-09-28T12:00:00Z"}"#;
    let error = service.post_raw(TURNS, &[JSON], twice).expect_error(400);
    assert!(error["details"].as_str().unwrap().contains("conversation_id"), "{error}");
    let deep = format!("{{\"extra\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    service.post_raw(TURNS, &[JSON], deep.as_bytes()).expect_error(400);
}

#[test]
fn unknown_fields_are_ignored() {
    let service = Service::start();
    let mut turn = turn("conv_a", 1);
    turn["agent_turns"] = json!({"deep": [1, 2, {"a": null}]});
    turn["parameters"] = json!("not an envelope");
    turn["tool_call_id"] = json!("not a key outside an envelope");
    service.deliver(&turn).expect(201);
}

#[test]
fn only_a_json_content_type_is_taken() {
    let service = Service::start();
    let body = turn("conv_a", 1).to_string();
    for other in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "nonsense"] {
        service.post_raw(TURNS, &[("content-type", other)], body.as_bytes()).expect_error(415);
    }
    for json in ["application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.platform+json"] {
        service.post_raw(TURNS, &[("content-type", json)], body.as_bytes()).expect(201);
    }
    assert_eq!(turns(&service, "conv_a").len(), 1);
}

#[test]
fn a_body_over_the_limit_is_413() {
    let service = Service::start_with(&["--max-body", "64KiB"]);
    let error = service.deliver(&turn_with("message", json!("m".repeat(64 * 1024)))).expect_error(413);
    assert!(error["details"].as_str().unwrap().contains("65536"), "{error}");
    service.deliver(&turn("conv_a", 1)).expect(201);
}

#[test]
fn elevenlabs_envelope_is_taken_with_the_conversation_inside_or_outside() {
    let service = Service::start();
    let inside = json!({"tool_call_id": "toolu_1", "tool_name": "log_dialogue", "parameters": turn("conv_a", 1)});
    assert_eq!(service.deliver(&inside).expect(201).json()["sequence_number"], 1);
    let mut parameters = turn("conv_a", 2);
    parameters.as_object_mut().unwrap().remove("conversation_id");
    let outside = json!({"tool_call_id": "toolu_2", "parameters": parameters, "conversation_id": "conv_a"});
    assert_eq!(service.deliver(&outside).expect(201).json()["sequence_number"], 2);
    let error = service.deliver(&json!({"parameters": {"speaker": "user"}})).expect_error(400);
    assert!(error["details"].as_str().unwrap().contains("message: "), "{error}");
}

#[test]
fn without_a_key_a_repeat_is_the_same_conversation_speaker_time_and_words() {
    let service = Service::start();
    let first = service.deliver(&turn("conv_a", 1)).expect(201).json();
    let again = service.deliver(&turn("conv_a", 1)).expect(201);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.json()["transcription_id"], first["transcription_id"]);
    assert_eq!(again.json()["sequence_number"], first["sequence_number"]);
    // The same instant written otherwise is the same turn.
    let mut offset = turn("conv_a", 1);
    offset["timestamp"] = json!("2026-09-28T14:30:00.001000+02:30");
    assert_eq!(service.deliver(&offset).expect(201).header("idempotent-replayed"), Some("true"));
    for (field, value) in [
        ("speaker", json!("user")),
        ("message", json!("Other words.")),
        ("timestamp", json!("2026-09-28T12:00:00.002Z")),
    ] {
        let other = service.deliver(&turn_with(field, value)).expect(201);
        assert_eq!(other.header("idempotent-replayed"), None, "{field}");
    }
    assert_eq!(service.deliver(&turn("conv_b", 1)).expect(201).header("idempotent-replayed"), None);
    assert_eq!(turns(&service, "conv_a").len(), 4);
}

#[test]
fn a_delivery_key_names_a_delivery_within_its_conversation() {
    let service = Service::start();
    let post = |key: &str, turn: &Value| {
        service.post_raw(TURNS, &[JSON, ("idempotency-key", key)], turn.to_string().as_bytes())
    };
    let first = post("k-1", &turn("conv_a", 1)).expect(201).json();
    let again = post("k-1", &turn("conv_a", 1)).expect(201);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.json()["transcription_id"], first["transcription_id"]);
    // Another key makes the same words another turn: the driver said yes twice.
    assert_eq!(post("k-2", &turn("conv_a", 1)).expect(201).json()["sequence_number"], 2);
    // The same key in another conversation is another key.
    assert_eq!(post("k-1", &turn("conv_b", 1)).expect(201).json()["sequence_number"], 1);
    // The same key for another turn is a mistake of the sender.
    post("k-1", &turn("conv_a", 2)).expect_error(422);
    // Without a key, the words decide.
    assert_eq!(service.deliver(&turn("conv_a", 1)).expect(201).json()["transcription_id"], first["transcription_id"]);
    assert_eq!(turns(&service, "conv_a").len(), 2);
}

#[test]
fn the_envelopes_tool_call_id_is_no_delivery_key_since_language_models_repeat_it() {
    let service = Service::start();
    let long = "x".repeat(4572);
    let ids = [
        json!("call_0"),
        json!("log_dialogue"),
        Value::Null,
        json!(""),
        json!(5),
        json!([1]),
        json!("a\nb"),
        json!(long),
    ];
    let envelope =
        |id: &Value, n| json!({"tool_call_id": id, "tool_name": "log_dialogue", "parameters": turn("conv_a", n)});
    let mut stored = 0;
    for id in &ids {
        // The same id with other words is another turn; the same turn again is a repeat, whatever its id is.
        for _ in 0..2 {
            stored += 1;
            let first = service.deliver(&envelope(id, stored)).expect(201);
            assert_eq!((first.header("idempotent-replayed"), &first.json()["sequence_number"]), (None, &json!(stored)));
            for again in [id, &json!("another")] {
                let again = service.deliver(&envelope(again, stored)).expect(201);
                assert_eq!(again.header("idempotent-replayed"), Some("true"));
                assert_eq!(again.json()["sequence_number"], stored);
            }
        }
    }
    // Of one id and the same words at another time, two turns: a driver who says yes twice has said it twice.
    let mut later = envelope(&ids[0], 1);
    later["parameters"]["timestamp"] = json!("2026-09-28T12:30:00Z");
    assert_eq!(service.deliver(&later).expect(201).json()["sequence_number"], stored + 1);
    // The header is a key as ever, also around an envelope.
    let keyed =
        |n| service.post_raw(TURNS, &[JSON, ("idempotency-key", "k-9")], envelope(&ids[0], n).to_string().as_bytes());
    assert_eq!(keyed(90).expect(201).json()["sequence_number"], stored + 2);
    keyed(91).expect_error(422);
}

#[test]
fn a_delivery_key_that_breaks_a_rule_is_400() {
    let service = Service::start();
    let body = turn("conv_a", 1).to_string();
    for key in [" ", &"k".repeat(257)] {
        let error = service.post_raw(TURNS, &[JSON, ("idempotency-key", key)], body.as_bytes()).expect_error(400);
        assert!(error["details"].as_str().unwrap().starts_with("Idempotency-Key: "), "{error}");
    }
}

#[test]
fn a_repeat_is_known_after_a_restart_too() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let service = Service::start_on(&database, &[]);
    let first = service.deliver(&turn("conv_a", 1)).expect(201).json();
    service.stop();
    let service = Service::start_on(&database, &[]);
    let again = service.deliver(&turn("conv_a", 1)).expect(201);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.json()["transcription_id"], first["transcription_id"]);
    assert_eq!(service.deliver(&turn("conv_a", 2)).expect(201).json()["sequence_number"], 2);
}

#[test]
fn a_repeat_of_an_early_turn_is_known_in_a_long_call_too() {
    let service = Service::start_with(&["--log-level", "info,http=off"]);
    for n in 0..400 {
        service.deliver(&turn("conv_a", n)).expect(201);
    }
    for n in [0, 1, 255, 256, 257, 399] {
        let again = service.deliver(&turn("conv_a", n)).expect(201);
        assert_eq!(again.header("idempotent-replayed"), Some("true"), "turn {n}");
        assert_eq!(again.json()["sequence_number"], n + 1);
    }
    assert_eq!(service.deliver(&turn("conv_a", 400)).expect(201).json()["sequence_number"], 401);
}

#[test]
fn what_another_process_does_to_a_running_call_is_seen_by_its_next_turn() {
    let service = Service::start();
    for n in 0..3 {
        service.deliver(&turn("conv_a", n)).expect(201);
    }
    let other = rusqlite::Connection::open(service.database()).unwrap();
    other.execute_batch("PRAGMA foreign_keys = ON; DELETE FROM calls").unwrap();
    let anew = service.deliver(&turn("conv_a", 1)).expect(201);
    assert_eq!(anew.header("idempotent-replayed"), None);
    assert_eq!(anew.json()["sequence_number"], 1);
}

/// Checks `check` for many values, each in a conversation of its own, with one service for all.
fn for_any<S: Strategy>(values: &S, check: impl Fn(&Service, &str, S::Value)) {
    let service = Service::start_with(&["--log-level", "info,http=off"]);
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    let cases = std::cell::Cell::new(0);
    let checked = TestRunner::new(config).run(values, |value| {
        cases.set(cases.get() + 1);
        check(&service, &format!("conv_{}", cases.get()), value);
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn any_instant_with_any_offset_survives_to_the_microsecond() {
    let instants = (-62_135_596_800_i64 + 86_400..253_402_300_800 - 86_400, 0_u32..1_000_000_000, -1439_i32..=1439);
    for_any(&instants, |service, conversation, (seconds, nanos, offset_minutes)| {
        let offset = UtcOffset::from_whole_seconds(offset_minutes * 60).unwrap();
        let instant = OffsetDateTime::from_unix_timestamp(seconds).unwrap() + time::Duration::nanoseconds(nanos.into());
        let sent = instant.to_offset(offset).format(&Rfc3339).unwrap();
        let mut turn = turn(conversation, 1);
        turn["timestamp"] = json!(sent);
        service.deliver(&turn).expect(201);
        let stored = turns(service, conversation)[0]["timestamp"].as_str().unwrap().to_owned();
        assert_eq!(stored.len(), "2026-09-28T12:00:00.000000Z".len(), "{sent} became {stored}");
        let read = OffsetDateTime::parse(&stored, &Rfc3339).unwrap();
        assert_eq!(read, instant.replace_nanosecond(nanos / 1000 * 1000).unwrap(), "{sent} became {stored}");
    });
}

#[test]
fn any_text_comes_back_the_same() {
    // Not only likely characters: control characters, all planes, unassigned ones, right-to-left marks.
    let texts = proptest::collection::vec(any::<char>(), 1..200)
        .prop_map(|chars| chars.into_iter().collect::<String>())
        .prop_filter("not blank", |text| !text.trim().is_empty());
    for_any(&texts, |service, conversation, text| {
        let mut turn = turn(conversation, 1);
        turn["message"] = json!(text);
        service.deliver(&turn).expect(201);
        assert_eq!(turns(service, conversation)[0]["message_text"], text.replace('\0', "\u{FFFD}"));
        assert_eq!(service.deliver(&turn).expect(201).header("idempotent-replayed"), Some("true"));
    });
}
