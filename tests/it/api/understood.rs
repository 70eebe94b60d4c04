//! The API returns what is understood of calls and turns.

use crate::support::service::Service;
use crate::support::sse::{Events, Step};
use crate::support::turns::turn;
use crate::support::understood::{change, whole};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

fn call(service: &Service, id: &str) -> Value {
    service.get(&format!("/api/v1/calls/{id}")).expect(200).json()
}

#[test]
fn a_call_has_what_is_understood_of_it_wherever_it_is_given_out() {
    let service = whole();
    let expected = json!({
        "answered_by": "human", "answered_by_source": "call_result", "answered_by_conflict": "amd: voicemail",
        "channel": "phone", "parent_conversation_id": null, "environment": "production", "branch_id": "br_1",
        "version_id": "ver_1", "call_sid": "CA1", "agent_number": "+15550100001", "agent_name": "Reefer checks",
        "cost_usd": 0.25, "queue_wait_seconds": 1.5, "accepted_time": "2026-09-28T12:00:00.000000Z",
        "campaign": "Autumn", "tags": ["late", "reefer"], "conversation_product": "agents",
        "sentiment": "positive", "record_complete": true, "initiation_source": "twilio", "end_reason": "hung_up",
    });
    let single = call(&service, "conv_a");
    let listed = service.get("/api/v1/calls").expect(200).json()["data"][0].clone();
    let mut stream = Events::open(service.address(), "/api/v1/calls/conv_a/events?follow=false", None);
    let streamed = loop {
        match stream.step() {
            Step::Event(event) if event.event == "call_ended" => break event.data,
            Step::Event(_) | Step::Heartbeat => {}
            Step::End => panic!("the stream has no call"),
        }
    };
    for given in [&single, &listed, &streamed] {
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&given[name], value, "{name}");
        }
    }
    assert_eq!(single["child_conversations"], json!([]));
    assert_eq!(listed.get("child_conversations"), None);
    // A call that nothing is known of has all fields, as null or empty.
    service.deliver(&turn("conv_b", 1)).expect(201);
    let bare = call(&service, "conv_b");
    for name in expected.as_object().unwrap().keys() {
        let unknown = if name == "tags" { json!([]) } else { Value::Null };
        assert_eq!(bare[name], unknown, "{name}");
    }
}

#[test]
fn a_call_tells_whether_a_tool_failed_and_whether_a_tool_transferred_it() {
    let service = whole();
    service.deliver(&turn("conv_b", 1)).expect(201);
    let listed = |query: &str| {
        let page = service.get(&format!("/api/v1/calls?{query}")).expect(200).json();
        let calls = page["data"].as_array().unwrap().clone();
        ["conv_a", "conv_b"].map(|id| {
            let call = calls.iter().find(|call| call["conversation_id"] == id);
            call.map(|call| (call["tool_error"].as_bool().unwrap(), call.get("transferred").and_then(Value::as_bool)))
        })
    };
    assert_eq!(listed(""), [Some((true, None)), Some((false, None))]);
    let transfer = "INSERT INTO tool_calls (conversation_id, position, after_place, name, purpose, is_error) \
        VALUES ('conv_a', 4, 6, 'transfer_to_number', 'transfer_to_number', 1)";
    for (sql, transferred) in [
        ("", false),
        // A transfer that failed is none.
        (transfer, false),
        ("UPDATE tool_calls SET is_error = 0 WHERE position = 4", true),
        ("UPDATE tool_calls SET is_error = NULL, purpose = 'transfer_to_agent' WHERE position = 4", true),
        ("UPDATE tool_calls SET purpose = 'tool' WHERE position = 4", false),
    ] {
        change(&service, sql);
        let expected = [Some((true, Some(transferred))), Some((false, Some(false)))];
        assert_eq!(listed("include=transfers"), expected, "{sql}");
        assert_eq!(listed("include=transfers&order=asc"), expected, "{sql}");
        assert_eq!(listed("include=transfers&order=longest"), [expected[0], None], "{sql}");
        assert_eq!(call(&service, "conv_a")["transferred"], transferred, "{sql}");
    }
    change(&service, "DELETE FROM tool_calls WHERE is_error = 1");
    assert_eq!(call(&service, "conv_a")["tool_error"], false);
    service.get("/api/v1/calls?include=turns").expect_error(400);
}

#[test]
fn a_turn_tells_its_kind_and_who_said_it() {
    let service = whole();
    let said = |service: &Service| -> Vec<(String, String, Value)> {
        let page = service.get("/api/v1/calls/conv_a/transcriptions?order=sequence").expect(200).json();
        let text = |turn: &Value, name: &str| turn[name].as_str().unwrap().to_owned();
        let turns = page["data"].as_array().unwrap();
        turns.iter().map(|turn| (text(turn, "kind"), text(turn, "said_by"), turn["metrics"].clone())).collect()
    };
    let row = |kind: &str, by: &str, metrics: Value| (kind.to_owned(), by.to_owned(), metrics);
    let expected = |driver: &str| {
        [
            row("silence", "nobody", Value::Null),
            row("speech", "agent", json!({"convai_llm_service_ttfb": 0.25})),
            row("keypad", driver, Value::Null),
            row("context", "nobody", Value::Null),
            row("speech", driver, Value::Null),
            row("speech", "agent", Value::Null),
        ]
    };
    assert_eq!(said(&service), expected("driver"));
    for machine in ["voicemail", "fax"] {
        change(&service, &format!("UPDATE calls SET answered_by = '{machine}'"));
        assert_eq!(said(&service), expected("mailbox"), "{machine}");
        let hits = service.get("/api/v1/search?q=degrees").expect(200).json();
        let hits = hits["data"].as_array().unwrap();
        assert_eq!(hits.len(), 6);
        for hit in hits {
            assert_eq!((&hit["answered_by"], &hit["channel"]), (&json!(machine), &json!("phone")));
            let by = said(&service)[usize::try_from(hit["sequence_number"].as_u64().unwrap()).unwrap() - 1].1.clone();
            assert_eq!(hit["said_by"], by);
        }
        let connection = service.sqlite();
        let mut select = connection.prepare("SELECT kind, said_by FROM transcript ORDER BY sequence_number").unwrap();
        let rows: Vec<(String, String)> =
            select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
        let wanted: Vec<_> = expected("mailbox").into_iter().map(|(kind, by, _)| (kind, by)).collect();
        assert_eq!(rows, wanted, "the view tells the same");
    }
}

#[test]
fn tool_calls_are_listed_in_order_and_in_pages() {
    let service = whole();
    let path = "/api/v1/calls/conv_a/tool_calls";
    let all = service.get(&format!("{path}?include_total=true")).expect(200).json();
    assert_eq!((&all["total"], &all["has_more"], &all["next_cursor"]), (&json!(3), &json!(false), &Value::Null));
    let expected = json!({
        "position": 2, "after_place": 2, "request_id": null, "name": "set_point", "type": "webhook",
        "purpose": "tool", "arguments": "{}", "result": "{\"ok\":true}", "is_error": false, "latency_ms": 412,
        "at": "2026-09-28T12:00:00.005000Z",
    });
    assert_eq!(all["data"][1], expected);
    assert_eq!(all["data"][2]["purpose"], "end_call");
    let mut seen = Vec::new();
    let mut next = format!("{path}?limit=2");
    loop {
        let page = service.get(&next).expect(200).json();
        seen.extend(page["data"].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        next = format!("{path}?limit=2&cursor={cursor}");
    }
    assert_eq!(json!(seen), all["data"]);
    service.deliver(&turn("conv_b", 1)).expect(201);
    assert_eq!(service.get("/api/v1/calls/conv_b/tool_calls").expect(200).json()["data"], json!([]));
    service.get("/api/v1/calls/conv_none/tool_calls").expect_error(404);
    service.get(&format!("{path}?limit=0")).expect_error(400);
}

#[test]
fn each_tool_call_is_on_the_page_with_the_turn_before_it() {
    let service = whole();
    let path = "/api/v1/calls/conv_a/transcriptions?order=time";
    let plain = service.get(path).expect(200).json();
    assert_eq!(plain.get("tool_calls"), None);
    let positions = |page: &Value| -> Vec<i64> {
        page["tool_calls"].as_array().unwrap().iter().map(|call| call["position"].as_i64().unwrap()).collect()
    };
    let all = service.get(&format!("{path}&include=tools")).expect(200).json();
    assert_eq!(positions(&all), [1, 2, 3]);
    assert_eq!(all["data"], plain["data"]);
    let mut pages = Vec::new();
    let mut next = format!("{path}&include=tools&limit=2");
    loop {
        let page = service.get(&next).expect(200).json();
        pages.push(positions(&page));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        next = format!("{path}&include=tools&limit=2&cursor={cursor}");
    }
    assert_eq!(pages, [vec![1, 2], vec![], vec![3]]);
    service.get(&format!("{path}&include=everything")).expect_error(400);
}

#[test]
fn conversations_of_sub_agents_are_shown_under_their_parent() {
    let service = Service::start();
    for (n, id) in ["conv_parent", "conv_second", "conv_first", "conv_other"].into_iter().enumerate() {
        service.deliver(&turn(id, n)).expect(201);
    }
    change(
        &service,
        "UPDATE calls SET parent_conversation_id = 'conv_parent', agent_name = 'Docks', title = 'Dock time' \
            WHERE conversation_id IN ('conv_first', 'conv_second');
         UPDATE calls SET call_start_time = '2026-09-28T11:00:00.000000Z', duration_seconds = 31, \
            status = 'completed' WHERE conversation_id = 'conv_first';",
    );
    let children = call(&service, "conv_parent")["child_conversations"].clone();
    let ids: Vec<_> = children.as_array().unwrap().iter().map(|child| child["conversation_id"].as_str()).collect();
    assert_eq!(ids, [Some("conv_first"), Some("conv_second")]);
    let first = json!({
        "conversation_id": "conv_first", "status": "completed", "call_start_time": "2026-09-28T11:00:00.000000Z",
        "call_end_time": null, "duration_seconds": 31, "turn_count": 1, "agent_id": null, "agent_name": "Docks",
        "title": "Dock time",
    });
    assert_eq!(children[0], first);
    assert_eq!(call(&service, "conv_first")["parent_conversation_id"], "conv_parent");
    assert_eq!(call(&service, "conv_other")["child_conversations"], json!([]));
}

/// Status, reason in ElevenLabs' words, who answered, result of the tool `end_call` if it was called (1: it failed),
/// and the normalised reason.
type EndCase = (&'static str, Option<&'static str>, Option<&'static str>, Option<Option<i64>>, Option<&'static str>);

const END_CASES: [EndCase; 32] = [
    ("in_progress", None, None, None, None),
    ("in_progress", Some("Call ended by remote party"), None, None, None),
    ("completed", None, None, None, None),
    ("completed", Some(""), Some("human"), None, None),
    ("completed", Some("  "), None, None, None),
    ("completed", Some("inactivity"), None, None, Some("inactivity")),
    ("completed", Some("inactivity"), None, Some(Some(0)), Some("inactivity")),
    ("completed", Some("Call ended by remote party"), Some("human"), None, Some("hung_up")),
    ("completed", Some("call ended by REMOTE PARTY."), None, Some(Some(0)), Some("hung_up")),
    ("completed", Some("Client disconnected: 1005"), None, None, Some("hung_up")),
    ("failed", Some("Client disconnected: 1006"), None, None, Some("hung_up")),
    ("completed", Some("end_call tool was called."), None, Some(Some(0)), Some("agent_ended")),
    ("completed", Some("end_call tool was called."), None, None, Some("agent_ended")),
    ("completed", Some("voicemail_detection tool was called."), Some("voicemail"), None, Some("agent_ended")),
    ("completed", Some(""), None, Some(Some(0)), Some("agent_ended")),
    ("completed", None, None, Some(None), Some("agent_ended")),
    ("completed", None, None, Some(Some(1)), None),
    ("completed", Some("Conversation ended due to silence"), None, None, Some("silence")),
    ("completed", Some("Call transferred"), None, None, Some("other")),
    ("completed", Some("Call transferred"), None, Some(Some(0)), Some("agent_ended")),
    ("completed", Some("Exceeded maximum duration of 600 seconds"), None, None, Some("other")),
    ("completed", Some("Internal Error"), None, None, Some("error")),
    ("failed", Some("busy"), None, None, Some("busy")),
    ("failed", Some("Busy "), Some("busy"), None, Some("busy")),
    ("failed", None, Some("busy"), None, Some("busy")),
    ("failed", Some("no-answer"), None, None, Some("no_answer")),
    ("failed", Some("no_answer"), Some("no_answer"), None, Some("no_answer")),
    ("failed", None, Some("no_answer"), None, Some("no_answer")),
    ("completed", None, Some("busy"), None, None),
    ("failed", Some("unknown"), Some("failed"), None, Some("error")),
    ("failed", None, None, None, Some("error")),
    ("failed", Some("Le correspondant a raccroché. 界"), None, None, Some("error")),
];

#[test]
fn the_reason_of_an_end_is_the_same_in_the_api_and_in_the_view() {
    let service = Service::start();
    let connection = Connection::open(service.database()).unwrap();
    for (n, (status, reason, by, end_call, _)) in END_CASES.into_iter().enumerate() {
        let id = format!("conv_{n:02}");
        let time = format!("2026-09-28T12:00:{n:02}.000000Z");
        connection
            .execute(
                "INSERT INTO calls (conversation_id, call_start_time, status, termination_reason, answered_by, \
                 created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?2, ?2)",
                params![id, time, status, reason, by],
            )
            .unwrap();
        if let Some(is_error) = end_call {
            connection
                .execute(
                    "INSERT INTO tool_calls (conversation_id, position, after_place, name, purpose, is_error) \
                     VALUES (?1, 1, 0, 'end_call', 'end_call', ?2)",
                    params![id, is_error],
                )
                .unwrap();
        }
    }
    let listed = service.get("/api/v1/calls?order=asc&limit=1000").expect(200).json();
    let mut select = connection.prepare("SELECT end_reason FROM call_overview ORDER BY conversation_id").unwrap();
    let viewed: Vec<Option<String>> = select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(viewed.len(), END_CASES.len());
    for (n, case) in END_CASES.iter().enumerate() {
        assert_eq!(listed["data"][n]["end_reason"].as_str(), case.4, "the API on {case:?}");
        assert_eq!(viewed[n].as_deref(), case.4, "the view on {case:?}");
    }
}

#[test]
fn a_record_of_a_voicemail_is_understood_from_event_to_answer() {
    use crate::support::whole_call::{SECRET, post_signed, record};
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    let mut event = record("conv_v", "Hello");
    event["data"]["metadata"]["phone_call"]["call_result"] = json!("voicemail");
    event["data"]["metadata"]["termination_reason"] = json!("voicemail_detection tool was called.");
    event["data"]["transcript"] = json!([
        {"role": "user", "message": "You have reached Maria. Leave a message.", "time_in_call_secs": 0},
        {"role": "agent", "message": "Please call dispatch.", "time_in_call_secs": 4, "tool_calls": [{
            "request_id": "r1", "tool_name": "voicemail_detection", "params_as_json": "{\"reason\":\"greeting\"}",
            "tool_has_been_called": true, "type": "system"}]},
        {"role": "user", "message": "...", "time_in_call_secs": 9},
    ]);
    post_signed(&service, &event.to_string()).expect(200);
    crate::support::service::wait_for("the record to be understood", || {
        (call(&service, "conv_v")["answered_by"] == "voicemail").then_some(())
    });
    let call = call(&service, "conv_v");
    assert_eq!((&call["channel"], &call["end_reason"]), (&json!("phone"), &json!("agent_ended")));
    let page = service.get("/api/v1/calls/conv_v/transcriptions?include=tools").expect(200).json();
    let said: Vec<_> = page["data"].as_array().unwrap().iter().map(|turn| (&turn["kind"], &turn["said_by"])).collect();
    let row = |kind, by| (kind, by);
    let (speech, silence) = (&json!("speech"), &json!("silence"));
    let (mailbox, agent, nobody) = (&json!("mailbox"), &json!("agent"), &json!("nobody"));
    assert_eq!(said, [row(speech, mailbox), row(speech, agent), row(silence, nobody)]);
    assert_eq!(page["tool_calls"][0]["purpose"], "voicemail_detection");
    assert_eq!(page["tool_calls"][0]["after_place"], 2);
    let all = service.get("/api/v1/stats?by=answered_by").expect(200).json();
    assert_eq!((&all["all"]["driver"]["turns"], &all["all"]["agent"]["turns"]), (&json!(0), &json!(1)));
    assert_eq!((&all["all"]["reached"], &all["groups"][0]["value"]), (&json!(0), &json!("voicemail")));
}
