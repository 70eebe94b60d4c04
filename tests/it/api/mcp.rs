//! The tools of the MCP server over HTTP: what they find, how long it may be, and what they refuse.

use crate::support::mcp::{call, found, post, request};
use crate::support::metrics::Scrape;
use crate::support::samples::sample;
use crate::support::service::{Service, wait_for};
use crate::support::turns::turn;
use crate::support::understood::{change, whole};
use crate::support::whole_call::{self, CALL, post_signed};
use serde_json::{Value, json};

/// A word that only a caller says.
const SECRET: &str = "xylophonist";

fn service() -> Service {
    let service = Service::start();
    service.put("/api/v1/drivers/7", &json!({ "name": "Maria Kowalski", "phone_number": "+15550100042" })).expect(201);
    service.put("/api/v1/drivers/8", &json!({ "name": "Mario Rossi" })).expect(201);
    for n in 0..6 {
        let id = format!("conv_{n}");
        service.put(&format!("/api/v1/dispatches/{id}"), &json!({ "driver_id": 7 + n % 2 })).expect(201);
        for m in 0..=n {
            service.deliver(&turn(&id, 1000 * usize::try_from(n * 10 + m).unwrap())).expect(201);
        }
    }
    service
}

/// The conversations of rows.
fn ids(rows: &Value) -> Vec<String> {
    let rows = rows.as_array().expect("rows").iter();
    rows.map(|row| row["conversation_id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn each_tool_finds_what_the_api_finds() {
    let service = service();
    let api = |path: &str| service.get(path).expect(200).json();
    let calls = found(&service, "list_calls", json!({ "driver_id": 7, "order": "asc" }));
    assert_eq!(ids(&calls["calls"]), ids(&api("/api/v1/calls?driver_id=7&order=asc")["data"]));
    let row = &api("/api/v1/calls?driver_id=7&order=asc")["data"][0];
    for (name, value) in calls["calls"][0].as_object().unwrap() {
        assert_eq!(value, &row[name], "{name}");
    }
    assert_eq!(calls["calls"][0].get("call_end_time"), None, "nulls are left out");

    let turns = found(&service, "search_turns", json!({ "q": "reefer", "kind": ["speech"], "limit": 100 }));
    assert_eq!(turns["turns"].as_array().unwrap().len(), 21);
    let one = found(&service, "get_call", json!({ "conversation_id": "conv_5" }));
    let texts =
        |rows: &Value| rows.as_array().unwrap().iter().map(|row| row["message_text"].clone()).collect::<Vec<_>>();
    assert_eq!(texts(&one["turns"]), texts(&api("/api/v1/calls/conv_5/transcriptions")["data"]));
    assert_eq!(one["call"]["turn_count"], 6);
    let stats = found(&service, "stats", json!({ "by": "channel", "zone": "America/Chicago", "driver_id": 8 }));
    assert_eq!((&stats["all"]["calls"], &stats["zone"]), (&json!(3), &json!("America/Chicago")));
    assert_eq!(stats["groups"], without_nulls(api("/api/v1/stats?by=channel&driver_id=8")["groups"].clone()));
}

#[test]
fn a_call_comes_with_its_first_tool_calls_shortened_if_they_are_long() {
    let service = whole();
    let one = |arguments: Value| found(&service, "get_call", arguments);
    let page = one(json!({ "conversation_id": "conv_a", "limit": 4 }));
    let rows = service.get("/api/v1/calls/conv_a/tool_calls").expect(200).json();
    let (tools, rows) = (page["tool_calls"].as_array().unwrap(), rows["data"].as_array().unwrap());
    assert_eq!((tools.len(), page.get("more_tool_calls"), page.get("shortened")), (3, None, None));
    for (tool, row) in tools.iter().zip(rows) {
        for (name, value) in tool.as_object().unwrap() {
            assert_eq!(value, &row[name], "{name}");
        }
    }
    assert_eq!((&tools[1]["arguments"], &tools[1]["latency_ms"]), (&json!("{}"), &json!(412)));
    assert_eq!((&tools[2]["result"], &tools[2]["is_error"]), (&json!("failed"), &json!(true)));
    let next = one(json!({ "conversation_id": "conv_a", "limit": 4, "cursor": page["next_cursor"] }));
    assert_eq!((next.get("tool_calls"), next["turns"].as_array().unwrap().len()), (None, 2));
    change(
        &service,
        "WITH RECURSIVE n(i) AS (SELECT 4 UNION ALL SELECT i + 1 FROM n WHERE i < 90) \
         INSERT INTO tool_calls (conversation_id, position, after_place, name, purpose, arguments, result) \
         SELECT 'conv_a', i, 6, 'look_up', 'tool', printf('%.3000c', 'x'), printf('%.3000c', 'y') FROM n",
    );
    let many = one(json!({ "conversation_id": "conv_a" }));
    assert_eq!((&many["more_tool_calls"], &many["shortened"]), (&json!(true), &json!(true)));
    let tools = many["tool_calls"].as_array().unwrap();
    assert!((3..=50).contains(&tools.len()) && tools[0]["name"] == "greeting", "{}", tools.len());
    assert!(many["tool_calls"].to_string().len() <= 10_000);
    assert_eq!((many["turns"].as_array().unwrap().len(), &many["call"]["campaign"]), (6, &json!("Autumn")));
}

#[test]
fn a_call_has_the_details_of_tools_that_are_stored_and_says_whether_it_has_a_recording() {
    for (details, has_audio) in [("full", true), ("names", false)] {
        let audio = tempfile::tempdir().unwrap();
        let folder = ["--audio-dir", audio.path().to_str().unwrap()];
        let flags = ["--elevenlabs-secret", whole_call::SECRET, "--tool-details", details];
        let service = Service::start_with(&[&flags[..], if has_audio { &folder } else { &[] }].concat());
        post_signed(&service, &sample(0).to_string()).expect(200);
        std::fs::write(audio.path().join(format!("{CALL}.mp3")), "0123").unwrap();
        let one = wait_for("the record", || {
            let one = call(&service, "get_call", json!({ "conversation_id": CALL }));
            let one = one["structuredContent"].clone();
            one["tool_calls"].as_array().is_some_and(|tools| !tools.is_empty()).then_some(one)
        });
        assert_eq!(one["call"]["has_audio"], has_audio);
        let tool = &one["tool_calls"][0];
        assert_eq!((&tool["name"], tool["is_error"].is_boolean()), (&json!("log_turn"), true), "{tool}");
        for detail in ["arguments", "result"] {
            assert_eq!(tool.get(detail).is_some(), details == "full", "{detail}: {tool}");
        }
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(_, value)| !value.is_null());
            kept.map(|(name, value)| (name, without_nulls(value))).collect()
        }
        Value::Array(elements) => elements.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

#[test]
fn a_driver_is_found_by_id_name_or_number() {
    let service = service();
    for arguments in [json!({ "driver_id": 7 }), json!({ "q": "kowal" }), json!({ "q": "100042" })] {
        let history = found(&service, "driver_history", arguments);
        assert_eq!((&history["driver"]["id"], &history["totals"]["calls"]), (&json!(7), &json!(3)));
        assert_eq!(ids(&history["calls"]), ["conv_4", "conv_2", "conv_0"]);
    }
    let several = found(&service, "driver_history", json!({ "q": "mari" }));
    assert_eq!(several["candidates"].as_array().unwrap().len(), 2);
    assert_eq!(several.get("calls"), None);
    let first = found(&service, "driver_history", json!({ "q": "kowal", "limit": 2 }));
    let cursor = first["next_cursor"].clone();
    let second = found(&service, "driver_history", json!({ "q": "kowal", "limit": 2, "cursor": cursor }));
    assert_eq!((ids(&second["calls"]), second.get("totals")), (vec!["conv_0".to_owned()], None));
    for arguments in
        [json!({}), json!({ "q": "kowal", "driver_id": 7 }), json!({ "q": "nobody" }), json!({ "driver_id": 9 })]
    {
        assert_eq!(call(&service, "driver_history", arguments.clone())["isError"], true, "{arguments}");
    }
}

#[test]
fn long_calls_come_in_short_pages_that_have_every_turn() {
    let service = Service::start();
    let said = |n: usize| format!("{n} {}", "\"reefer\" ".repeat(n * 40));
    for n in 0..60 {
        let mut turn = turn("conv_long", n);
        turn["message"] = said(n).into();
        service.deliver(&turn).expect(201);
    }
    let (mut numbers, mut cursor, mut pages) = (Vec::new(), Value::Null, 0);
    loop {
        let page = found(&service, "get_call", json!({ "conversation_id": "conv_long", "cursor": cursor }));
        assert_eq!(page.get("call").is_some(), cursor.is_null());
        for row in page["turns"].as_array().unwrap() {
            numbers.push(row["sequence_number"].as_u64().unwrap());
            let text = row["message_text"].as_str().unwrap();
            let whole = said(usize::try_from(row["sequence_number"].as_u64().unwrap()).unwrap() - 1);
            assert!(whole.starts_with(text.trim_end_matches('…')), "{text}");
            assert_eq!(text.ends_with('…'), whole.len() > 4000, "{} of {}", text.len(), whole.len());
        }
        pages += 1;
        cursor = page["next_cursor"].clone();
        if page["has_more"] == false {
            break;
        }
    }
    assert_eq!(numbers, (1..=60).collect::<Vec<_>>());
    assert!(pages > 3, "{pages}");
    let hits = found(&service, "search_turns", json!({ "q": "reefer", "limit": 100 }));
    assert_eq!((&hits["shortened"], &hits["has_more"]), (&json!(true), &json!(true)));
}

#[test]
fn a_result_is_short_whatever_it_holds() {
    let service = Service::start();
    let mut huge = turn("conv_huge", 1);
    huge["message"] = "\u{1F69A}\"\u{1}".repeat(10_000).into();
    service.deliver(&huge).expect(201);
    let page = found(&service, "get_call", json!({ "conversation_id": "conv_huge" }));
    assert_eq!((&page["shortened"], page["turns"].as_array().unwrap().len()), (&json!(true), 1));
    for day in 0..600 {
        let mut turn = turn(&format!("conv_{day}"), 1);
        turn["timestamp"] =
            format!("{}-{:02}-{:02}T12:00:00Z", 2020 + day / 336, day / 28 % 12 + 1, day % 28 + 1).into();
        service.deliver(&turn).expect(201);
    }
    let stats = found(&service, "stats", json!({ "include": ["results", "metrics"] }));
    let days = stats["days"].as_array().unwrap();
    assert_eq!((&stats["shortened"], &stats["all"]["calls"]), (&json!(true), &json!(601)));
    assert_eq!(days.last().unwrap()["date"], "2026-09-28", "the newest days stay");
}

#[test]
fn an_error_of_a_tool_names_the_argument_and_its_rule() {
    let service = service();
    for (tool, arguments, names) in [
        ("search_turns", json!({}), &["q"][..]),
        ("search_turns", json!({ "q": "\"open" }), &["q"]),
        ("search_turns", json!({ "q": "x", "kind": ["song"] }), &["kind"]),
        ("search_turns", json!({ "q": "x", "speaker_type": "user" }), &["speaker_type"]),
        ("search_turns", json!({ "q": "x", "said_after": "yesterday" }), &["said_after"]),
        ("list_calls", json!({ "limit": 101, "status": "over", "Driver": 7 }), &["limit", "status", "Driver"]),
        ("list_calls", json!({ "driver_id": 0 }), &["driver_id"]),
        ("list_calls", json!({ "started_after": "2026-13-01" }), &["started_after"]),
        ("list_calls", json!({ "cursor": "x" }), &["cursor"]),
        ("list_calls", json!({ "include_total": true }), &["include_total"]),
        ("list_calls", json!({ "tag": vec!["t"; 21] }), &["tag"]),
        ("get_call", json!({ "conversation_id": "" }), &["conversation_id"]),
        ("get_call", json!({ "conversation_id": " " }), &["conversation_id"]),
        ("get_call", json!({ "conversation_id": "x".repeat(257) }), &["conversation_id"]),
        ("get_call", json!({ "conversation_id": "conv_0", "after_sequence": -1 }), &["after_sequence"]),
        ("stats", json!({ "zone": "Mars/Olympus" }), &["zone"]),
        ("stats", json!({ "by": ["agent"] }), &["by"]),
    ] {
        let result = call(&service, tool, arguments.clone());
        let text = result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{result}"));
        assert_eq!(result["isError"], true, "{arguments}: {text}");
        assert_eq!(result.get("structuredContent"), None, "{result}");
        for name in names {
            assert!(text.contains(&format!("{name}: ")), "{tool} {arguments}: {text}");
        }
    }
    let missing = call(&service, "get_call", json!({ "conversation_id": "conv_none/../x" }));
    assert_eq!(missing["isError"], true, "{missing}");
    let cursor = found(&service, "list_calls", json!({ "limit": 1 }))["next_cursor"].clone();
    let other = call(&service, "list_calls", json!({ "limit": 1, "driver_id": 7, "cursor": cursor }));
    assert_eq!(other["isError"], true, "a cursor belongs to its query: {other}");
}

#[test]
fn what_is_searched_and_found_is_in_no_log_line_and_calls_are_counted() {
    let service = Service::start_with(&["--log-level", "debug"]);
    let mut turn = turn("conv_a", 1);
    turn["message"] = format!("The {SECRET} is here.").into();
    service.deliver(&turn).expect(201);
    assert_eq!(found(&service, "search_turns", json!({ "q": SECRET }))["turns"].as_array().unwrap().len(), 1);
    found(&service, "get_call", json!({ "conversation_id": "conv_a" }));
    found(&service, "list_calls", json!({ "q": SECRET }));
    for arguments in [json!({ "q": format!("\"{SECRET}") }), json!({ "q": "x", SECRET: SECRET })] {
        assert_eq!(call(&service, "search_turns", arguments)["isError"], true);
    }
    post(&service, &request(SECRET, json!({ SECRET: SECRET }))).expect(200);
    post(&service, &request("tools/call", json!({ "name": SECRET }))).expect(200);
    let scrape = Scrape::take(&service);
    let count =
        |tool, outcome| scrape.get::<u64>(&format!("mcp_tool_calls_total{{outcome=\"{outcome}\",tool=\"{tool}\"}}"));
    assert_eq!((count("search_turns", "ok"), count("search_turns", "error")), (1, 2));
    assert_eq!((count("get_call", "ok"), count("stats", "ok")), (1, 0));
    wait_for("the lines of all messages", || {
        (service.events().iter().filter(|line| line["route"] == "/mcp").count() == 7).then_some(())
    });
    assert!(!service.log().iter().any(|line| line.contains(SECRET)), "{:?}", service.log());
}
