//! Facts that are understood of a call: who answered, the kind of conversation, the kinds of turns, tools, redacted
//! copies.

use crate::support::service::{Service, binary, open, sdk_python, wait_for};
use crate::support::whole_call::{SECRET, post_signed};
use rusqlite::types::Value as Column;
use serde_json::{Value, json};
use std::path::Path;

/// Conversations of each channel and source, made from the models of ElevenLabs' SDK.
macro_rules! fixtures {
    ($($name:ident),+ $(,)?) => {
        const FIXTURES: &[(&str, &str)] =
            &[$((stringify!($name), include_str!(concat!("../../fixtures/elevenlabs/understood/", stringify!($name),
                ".json")))),+];
    };
}
fixtures! {
    phone_human, voicemail_call_result, voicemail_tool, amd_machine, busy, no_answer, web, sms, whatsapp, text_only,
    subagent, queue, guardrail, multivoice, dtmf, backchannel, contextual_update, redacted, redacted_copy,
}

fn fixture(name: &str) -> Value {
    let (_, text) = FIXTURES.iter().find(|(of, _)| *of == name).expect("a fixture");
    serde_json::from_str(text).unwrap()
}

fn service(flags: &[&str]) -> Service {
    Service::start_with(&[&["--elevenlabs-secret", SECRET], flags].concat())
}

fn post(service: &Service, event: &Value) {
    post_signed(service, &event.to_string()).expect(200);
}

/// The rows of a query, each as its values in text, with `-` for NULL.
fn rows(database: &Path, sql: &str) -> Vec<String> {
    let connection = open(database);
    let mut select = connection.prepare(sql).unwrap();
    let width = select.column_count();
    let shown = |column: Column| match column {
        Column::Null => "-".to_owned(),
        Column::Integer(number) => number.to_string(),
        Column::Real(number) => number.to_string(),
        Column::Text(text) => text,
        Column::Blob(_) => "blob".to_owned(),
    };
    let row = |row: &rusqlite::Row<'_>| (0..width).map(|at| row.get(at).map(shown)).collect::<Result<Vec<_>, _>>();
    select.query_map([], row).unwrap().map(|row| row.unwrap().join(" ")).collect()
}

fn reconciled(service: &Service) {
    wait_for("no call to be due", || {
        (rows(service.database(), "SELECT count(*) FROM due_reconciliations") == ["0"]).then_some(())
    });
}

fn of_call(service: &Service, columns: &str, id: &str) -> Vec<String> {
    rows(service.database(), &format!("SELECT {columns} FROM calls WHERE conversation_id = '{id}'"))
}

fn detection(id: &str, verdict: &str) -> Value {
    json!({"type": "answering_machine_detection", "event_timestamp": 1_790_596_805,
        "data": {"conversation_id": id, "result": {"AnsweredBy": verdict}}})
}

fn turn(id: &str, speaker: &str, message: &str, second: u32) -> Value {
    json!({"conversation_id": id, "speaker": speaker, "message": message,
        "timestamp": format!("2026-09-28T12:00:{second:02}Z")})
}

#[test]
fn the_samples_of_each_channel_are_conversations_by_the_models_of_the_sdk() {
    let program = r"
import json, sys
from elevenlabs.types.get_conversation_response_model import GetConversationResponseModel as Model
print(json.dumps([Model.model_validate(data).conversation_id for data in json.load(sys.stdin)]))
";
    let data: Vec<Value> = FIXTURES.iter().map(|(name, _)| fixture(name)["data"].clone()).collect();
    let ids: Vec<Value> = data.iter().map(|data| data["conversation_id"].clone()).collect();
    assert_eq!(sdk_python(program, &json!(data)), json!(ids));
}

#[test]
fn calls_of_each_channel_and_source_are_understood() {
    let service = service(&[]);
    service.put("/api/v1/drivers/7", &json!({"name": "Jo", "phone_number": "+15550100042"})).expect(201);
    for (name, _) in FIXTURES {
        post(&service, &fixture(name));
    }
    post(&service, &detection("conv_amd_machine", "machine_end_beep"));
    reconciled(&service);
    let kinds = "(SELECT group_concat(kind, ',') FROM (SELECT kind FROM transcript t \
                  WHERE t.conversation_id = calls.conversation_id ORDER BY place))";
    let columns = format!(
        "status, ifnull(answered_by, '-') || '/' || ifnull(answered_by_source, '-'), channel, direction, \
         record_complete, {kinds}"
    );
    for (name, wanted) in [
        ("phone_human", "completed human/call_result phone outbound 1 speech,speech,speech"),
        ("voicemail_call_result", "completed voicemail/call_result phone outbound 1 speech,speech,speech"),
        ("voicemail_tool", "completed voicemail/tool phone outbound 1 speech,speech"),
        ("amd_machine", "completed voicemail/amd phone outbound 1 speech"),
        ("busy", "failed busy/call_result phone outbound 1 -"),
        ("no_answer", "failed no_answer/call_result phone outbound 1 -"),
        ("web", "completed -/- web - 1 speech,speech"),
        ("sms", "completed -/- sms outbound 1 text,text"),
        ("whatsapp", "completed -/- whatsapp inbound 1 text,text"),
        ("text_only", "completed -/- text - 1 text,text"),
        ("subagent", "completed -/- text - 1 text,text"),
        ("queue", "completed human/call_result phone inbound 1 speech,speech"),
        ("guardrail", "completed human/call_result phone outbound 1 speech,speech,speech"),
        ("multivoice", "completed human/call_result phone outbound 1 speech,speech"),
        ("dtmf", "completed human/call_result phone outbound 1 speech,keypad"),
        ("backchannel", "completed human/call_result phone outbound 1 speech,backchannel,speech,silence,speech,speech"),
        ("contextual_update", "completed -/- web - 1 speech,context,speech"),
        ("redacted", "completed human/call_result phone outbound 1 speech,speech"),
    ] {
        assert_eq!(of_call(&service, &columns, &format!("conv_{name}")), [wanted], "{name}");
    }
    for (columns, name, wanted) in [
        ("termination_reason", "busy", "busy"),
        ("termination_reason", "no_answer", "no_answer"),
        ("environment", "web", "staging"),
        ("parent_conversation_id, initiation_source", "subagent", "conv_phone_human subagent_tool"),
        ("external_number, agent_number", "sms", "+15550100042 +15550100001"),
        ("driver_id, external_number", "whatsapp", "7 15550100042"),
        (
            "call_start_time, call_end_time, queue_wait_seconds, accepted_time",
            "queue",
            "2026-09-28T12:00:30.000000Z 2026-09-28T12:01:00.000000Z 28.5 2026-09-28T12:00:30.000000Z",
        ),
        (
            "branch_id, version_id, call_sid, agent_number, agent_name, cost_usd, campaign, tags, conversation_product",
            "phone_human",
            "agtbrch_main agtvrsn_7 CA0123456789abcdef0123456789abcdef +15550100001 Driver check-in 0.0375 camp_autumn \
             [\"tag_reefer\",\"tag_night\"] agents",
        ),
    ] {
        assert_eq!(of_call(&service, columns, &format!("conv_{name}")), [wanted], "{name}");
    }
    let tools = |name: &str| {
        rows(
            service.database(),
            &format!(
                "SELECT position, after_place, name, type, purpose, arguments, result, is_error, latency_ms \
                 FROM tool_calls WHERE conversation_id = 'conv_{name}' ORDER BY position"
            ),
        )
    };
    assert_eq!(
        tools("phone_human"),
        [
            "1 2 look_up_load webhook tool {\"load_id\":\"88123\"} {\"error\":\"no such load\"} 1 1500",
            "2 3 transfer_to_number system transfer_to_number {\"transfer_number\":\"+15550100077\"} ok 0 250",
        ]
    );
    assert_eq!(
        tools("voicemail_tool"),
        ["1 2 voicemail_detection system voicemail_detection {\"reason\":\"greeting\"} Voicemail detected 0 250"]
    );
    assert_eq!(
        tools("guardrail"),
        ["1 3 No swearing profanity guardrail - {\"type\":\"classifier\",\"score\":0.93,\"threshold\":0.8} - -"]
    );
    let tags = "SELECT tag FROM call_tags JOIN calls ON calls.id = call_id WHERE conversation_id = 'conv_phone_human'";
    assert_eq!(rows(service.database(), &format!("{tags} ORDER BY tag")), ["tag_night", "tag_reefer"]);
    let metrics = "SELECT metrics FROM transcript WHERE conversation_id = 'conv_phone_human' AND place = 1";
    assert_eq!(
        rows(service.database(), metrics),
        ["{\"convai_llm_service_ttfb\":0.41,\"convai_tts_service_ttfb\":0.2}"]
    );
    let said = "SELECT message_text FROM transcript WHERE conversation_id = 'conv_multivoice' AND place = 1";
    assert_eq!(rows(service.database(), said), ["Hello, this is dispatch. And this is Ann."]);
}

#[test]
fn only_words_count_in_talk_shares_and_those_of_a_mailbox_in_none() {
    let service = service(&[]);
    for name in ["voicemail_call_result", "backchannel", "contextual_update", "dtmf", "sms"] {
        post(&service, &fixture(name));
    }
    reconciled(&service);
    let figures = |name: &str| {
        rows(
            service.database(),
            &format!(
                "SELECT agent_turns, driver_turns, driver_characters FROM call_figures \
                 JOIN calls ON calls.id = call_id WHERE conversation_id = 'conv_{name}'"
            ),
        )
    };
    for (name, wanted) in [
        ("voicemail_call_result", "2 0 0"),
        ("backchannel", "3 1 15"),
        ("contextual_update", "1 1 24"),
        ("dtmf", "1 0 0"),
        ("sms", "1 1 3"),
    ] {
        assert_eq!(figures(name), [wanted], "{name}");
    }
    // A verdict that comes later changes them.
    let id = "conv_late_verdict";
    let mut late = fixture("phone_human");
    late["data"]["conversation_id"] = json!(id);
    late["data"]["metadata"]["phone_call"]["call_result"] = Value::Null;
    post(&service, &late);
    reconciled(&service);
    assert_eq!(figures("late_verdict"), ["2 1 24"]);
    post(&service, &detection(id, "machine_start"));
    reconciled(&service);
    assert_eq!(of_call(&service, "answered_by, answered_by_source", id), ["voicemail amd"]);
    assert_eq!(figures("late_verdict"), ["2 0 0"]);
}

#[test]
fn a_detection_creates_no_call_and_is_joined_when_its_call_comes() {
    let service = service(&[]);
    for id in ["conv_live", "conv_amd_machine", "conv_never"] {
        post(&service, &detection(id, "machine_end_silence"));
        service.get(&format!("/api/v1/calls/{id}")).expect_error(404);
    }
    service.deliver(&turn("conv_live", "agent", "Hello?", 1)).expect(201);
    post(&service, &fixture("amd_machine"));
    reconciled(&service);
    for id in ["conv_live", "conv_amd_machine"] {
        assert_eq!(of_call(&service, "answered_by, answered_by_source", id), ["voicemail amd"], "{id}");
    }
    assert_eq!(of_call(&service, "status, record_event_id, matched", "conv_live"), ["in_progress - -"]);
    assert_eq!(rows(service.database(), "SELECT count(*) FROM calls"), ["2"]);
    // Sources that disagree are shown.
    post(&service, &detection("conv_phone_human", "fax"));
    post(&service, &fixture("phone_human"));
    reconciled(&service);
    let columns = "answered_by, answered_by_source, answered_by_conflict";
    assert_eq!(of_call(&service, columns, "conv_phone_human"), ["fax amd call_result: human"]);
}

#[test]
fn a_call_that_nobody_answered_failed_unless_the_driver_said_something() {
    let service = service(&[]);
    post(&service, &fixture("busy"));
    reconciled(&service);
    let columns = "status, termination_reason";
    assert_eq!(of_call(&service, columns, "conv_busy"), ["failed busy"]);
    service.deliver(&turn("conv_busy", "user", "...", 1)).expect(201);
    reconciled(&service);
    assert_eq!(of_call(&service, columns, "conv_busy"), ["failed busy"]);
    service.deliver(&turn("conv_busy", "user", "Hello, who is there?", 2)).expect(201);
    reconciled(&service);
    assert_eq!(of_call(&service, columns, "conv_busy"), ["completed -"]);
    let kinds = "SELECT kind FROM call_transcriptions ORDER BY id";
    assert_eq!(rows(service.database(), kinds), ["silence", "speech"]);
}

#[test]
fn a_record_with_fewer_turns_than_were_counted_is_incomplete() {
    let service = service(&[]);
    let mut excerpt = fixture("phone_human");
    excerpt["data"].as_object_mut().unwrap().shift_remove("transcript");
    post(&service, &excerpt);
    reconciled(&service);
    assert_eq!(of_call(&service, "record_complete", "conv_phone_human"), ["0"]);
    service.wait_logged("warn", "reconciler");
    post(&service, &fixture("phone_human"));
    reconciled(&service);
    assert_eq!(of_call(&service, "record_complete", "conv_phone_human"), ["1"]);
}

#[test]
fn an_unredacted_copy_changes_nothing_unless_it_is_wanted() {
    let words = "SELECT message_text FROM transcript WHERE conversation_id = 'conv_redacted' ORDER BY place";
    let mut unredacted = fixture("redacted_copy");
    unredacted["type"] = json!("post_call_transcription_unredacted");
    let redacted = ["Hi Maria, this is dispatch.", "I am [NAME], parked at [LOCATION]."];
    let open = ["Hi Maria, this is dispatch.", "I am Maria Kowalski, parked at the Pilot in Gary."];
    for (case, flags, events, wanted) in [
        ("a copy", &[][..], [fixture("redacted"), fixture("redacted_copy")], redacted),
        ("a copy that came first", &[], [fixture("redacted_copy"), fixture("redacted")], redacted),
        ("an unredacted type", &[], [fixture("redacted"), unredacted.clone()], redacted),
        ("a wanted one", &["--keep-unredacted"], [fixture("redacted"), unredacted.clone()], open),
        ("a wanted one that came first", &["--keep-unredacted"], [unredacted, fixture("redacted")], open),
    ] {
        let service = service(flags);
        for event in events {
            post(&service, &event);
        }
        reconciled(&service);
        assert_eq!(rows(service.database(), words), wanted, "{case}");
        let summary = of_call(&service, "summary", "conv_redacted");
        assert_eq!(summary[0].contains("Kowalski"), wanted == open, "{case}");
        // The words of a copy that came before the redacted record stay what was received.
        if !case.ends_with("first") {
            let found = service.get("/api/v1/search?q=Kowalski").expect(200).json();
            assert_eq!(found["data"].as_array().map(Vec::len), Some(usize::from(wanted == open)), "{case}");
        }
    }
}

/// A later copy of a record, by one second.
fn later(event: &Value, text: &str, replaced: &str) -> Value {
    let mut later: Value = serde_json::from_str(&event.to_string().replace(text, replaced)).unwrap();
    later["event_timestamp"] = json!(event["event_timestamp"].as_i64().unwrap() + 1);
    later
}

#[test]
fn words_that_one_record_has_redacted_outside_the_transcript_stay_redacted_in_any_order() {
    let mut redacted = fixture("phone_human");
    let data = &mut redacted["data"];
    data["analysis"]["transcript_summary"] = json!("[NAME] is parked.");
    data["analysis"]["call_summary_title"] = json!("[NAME]'s stop");
    data["analysis"]["data_collection_results"] = json!({"who": {"value": "[NAME]"}});
    let tool = |more: Value| {
        let mut tool = json!({"request_id": "r1", "tool_name": "look_up", "type": "webhook"});
        tool.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        tool
    };
    data["transcript"][0]["tool_calls"] = json!([tool(json!({"params_as_json": "{\"driver\": \"[NAME]\"}"}))]);
    data["transcript"][0]["tool_results"] = json!([tool(json!({"result_value": "[NAME] is known"}))]);
    let open_again = later(&redacted, "[NAME]", "Zebediah");
    let text = "title || summary || analysis || (SELECT group_concat(arguments || result) FROM tool_calls)";
    let mut all = Vec::new();
    for events in [[redacted.clone(), open_again.clone()], [open_again, redacted]] {
        let service = service(&[]);
        for event in events {
            post(&service, &event);
        }
        reconciled(&service);
        let texts = of_call(&service, text, "conv_phone_human");
        assert_eq!((texts[0].matches("[NAME]").count(), texts[0].contains("Zebediah")), (7, false), "{texts:?}");
        all.push(texts);
    }
    assert_eq!(all[0], all[1]);
}

#[test]
fn facts_of_a_record_whose_words_look_unredacted_are_used_in_any_order() {
    let mut first = fixture("phone_human");
    let index = first["data"]["transcript"].as_array().unwrap().len() - 1;
    first["data"]["transcript"][index]["message"] = json!("[laughs] sure");
    let mut second = later(&first, "[laughs] sure", "Haha sure");
    second["data"]["status"] = json!("failed");
    second["data"]["analysis"]["call_successful"] = json!("failure");
    second["data"]["metadata"]["phone_call"]["call_result"] = json!("voicemail");
    second["data"]["tag_ids"] = json!(["urgent"]);
    for events in [[first.clone(), second.clone()], [second, first]] {
        let service = service(&[]);
        for event in events {
            post(&service, &event);
        }
        reconciled(&service);
        let columns = "status, outcome, answered_by, tags";
        assert_eq!(of_call(&service, columns, "conv_phone_human"), ["failed failure voicemail [\"urgent\"]"]);
        let words = "SELECT ifnull(final_text, message_text) FROM call_transcriptions WHERE superseded_by IS NULL \
                     ORDER BY place DESC LIMIT 1";
        assert_eq!(rows(service.database(), words), ["[laughs] sure"]);
    }
}

#[test]
fn a_machine_outranks_a_call_that_was_only_picked_up() {
    let columns = "answered_by, answered_by_source, answered_by_conflict";
    let detection = |verdict: &str, time: i64| {
        let mut event = detection("conv_phone_human", verdict);
        event["event_timestamp"] = json!(time);
        event
    };
    let with_tool = || {
        let mut event = fixture("phone_human");
        event["data"]["transcript"][0]["tool_calls"] = json!([{"request_id": "r1", "tool_name": "voicemail_detection",
            "type": "System", "tool_has_been_called": "true"}]);
        event
    };
    for (case, events, wanted) in [
        ("a detection", [fixture("phone_human"), detection("MACHINE_START", 1)], "voicemail amd call_result: human"),
        ("a person", [fixture("phone_human"), detection("Human", 1)], "human call_result -"),
        ("the tool", [with_tool(), detection("human", 1)], "voicemail tool call_result: human, amd: human"),
        ("an undecided one", [fixture("phone_human"), detection("unknown", 1)], "human call_result -"),
    ] {
        let [first, second] = events.clone();
        for events in [events, [second, first]] {
            let service = service(&[]);
            for event in events {
                post(&service, &event);
            }
            reconciled(&service);
            assert_eq!(of_call(&service, columns, "conv_phone_human"), [wanted], "{case}");
        }
    }
}

#[test]
fn the_details_of_tool_calls_are_stored_as_configured_and_redacted() {
    let mut event = fixture("phone_human");
    event["data"]["transcript"][2]["tool_calls"][0]["params_as_json"] =
        json!(json!({"card": "4111 1111 1111 1111", "load_id": "88123"}).to_string());
    event["data"]["transcript"][3]["tool_results"][0]["result_value"] = json!("write to maria@example.com");
    for (flags, wanted) in [
        (&["--tool-details", "names"][..], &["look_up_load - -", "transfer_to_number - -"][..]),
        (&["--tool-details", "off"], &[]),
        (
            &["--redact", "card,email"],
            &[
                "look_up_load {\"card\":\"[card]\",\"load_id\":\"88123\"} write to [email]",
                "transfer_to_number {\"transfer_number\":\"+15550100077\"} ok",
            ],
        ),
    ] {
        let service = service(flags);
        post(&service, &event);
        reconciled(&service);
        let tools = "SELECT name, arguments, result FROM tool_calls ORDER BY position";
        assert_eq!(rows(service.database(), tools), wanted, "{flags:?}");
    }
}

#[test]
fn what_is_understood_is_exported_imported_and_erased_with_its_call() {
    let service = service(&[]);
    for name in ["phone_human", "backchannel", "guardrail"] {
        post(&service, &fixture(name));
    }
    reconciled(&service);
    let folder = tempfile::tempdir().unwrap();
    let (file, other) = (folder.path().join("calls.jsonl"), folder.path().join("other.db"));
    let export = binary().arg("export").arg(&file).arg("--database").arg(service.database()).status().unwrap();
    assert!(export.success());
    let import = |file: &Path, database: &Path| {
        binary().args(["import", "calls"]).arg(file).arg("--database").arg(database).status().unwrap().success()
    };
    assert!(import(&file, &other));
    assert!(import(&file, &other), "again, nothing changes");
    for table in ["calls", "call_transcriptions", "tool_calls", "call_tags"] {
        let all = format!("SELECT * FROM {table} ORDER BY 1, 2");
        assert_eq!(rows(&other, &all), rows(service.database(), &all), "{table}");
    }
    assert_eq!(rows(&other, "SELECT count(*) FROM event_rereads"), ["0"]);
    // An export of an older version has none of it, and its events wait to be parsed again.
    let old = folder.path().join("old.jsonl");
    let is_old = |name: &str| ["tool_calls", "tags", "channel", "answered_by", "kind", "metrics"].contains(&name);
    let lines = std::fs::read_to_string(&file).unwrap();
    let stripped = lines.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        if let Some(record) = line.get("record").and_then(Value::as_str) {
            let mut record: Value = serde_json::from_str(record).unwrap();
            record.as_object_mut().unwrap().retain(|name, _| name != "reader" && name != "tools");
            line["record"] = json!(record.to_string());
        }
        line.as_object_mut().unwrap().retain(|name, _| !is_old(name));
        for turn in line.get_mut("transcriptions").and_then(Value::as_array_mut).into_iter().flatten() {
            turn.as_object_mut().unwrap().retain(|name, _| !is_old(name));
        }
        line.to_string()
    });
    std::fs::write(&old, stripped.collect::<Vec<_>>().join("\n")).unwrap();
    let third = folder.path().join("third.db");
    assert!(import(&old, &third));
    assert_eq!(rows(&third, "SELECT count(*) FROM event_rereads"), ["3"]);
    let replay = binary().args(["replay", "--database"]).arg(&third).status().unwrap();
    assert!(replay.success());
    assert_eq!(rows(&third, "SELECT count(*) FROM event_rereads"), ["0"]);
    for sql in [
        "SELECT conversation_id, channel, answered_by, tags FROM calls ORDER BY 1",
        "SELECT * FROM tool_calls ORDER BY 1, 2",
        "SELECT conversation_id, sequence_number, kind, metrics FROM call_transcriptions ORDER BY 1, 2",
    ] {
        assert_eq!(rows(&third, sql), rows(service.database(), sql), "{sql}");
    }
    for name in ["phone_human", "backchannel", "guardrail"] {
        service.delete(&format!("/api/v1/calls/conv_{name}")).expect(204);
    }
    let left = "SELECT (SELECT count(*) FROM tool_calls) + (SELECT count(*) FROM call_tags)";
    assert_eq!(rows(service.database(), left), ["0"]);
}

#[test]
fn typed_conversations_do_not_end_as_early_as_spoken_ones() {
    let service = service(&["--stale-after", "200ms", "--stale-text-after", "1h"]);
    let entries = json!([{"role": "user", "message": "Where do I deliver?"}]);
    let history = |id: &str, typed: Value| {
        json!({"conversation_id": id, "timestamp": "2026-09-28T12:00:00Z", "is_text_only": typed,
            "history": {"entries": entries}})
    };
    for (id, typed) in [("conv_typed", json!("True")), ("conv_spoken", json!(false))] {
        service.post("/webhooks/elevenlabs/history", &history(id, typed)).expect(200);
    }
    wait_for("the spoken one to end", || (of_call(&service, "status", "conv_spoken") == ["completed"]).then_some(()));
    assert_eq!(of_call(&service, "status, channel", "conv_typed"), ["in_progress text"]);
}
