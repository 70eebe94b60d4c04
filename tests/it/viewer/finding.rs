//! Finding calls on the page, what it shows of what is understood of a call, and its page on the set-up.

use super::page::{ago, say, some_calls};
use crate::support::browser::Page;
use crate::support::receiver::{Receiver, Reply, WEBHOOK_SECRET};
use crate::support::service::{Service, TURNS, wait_for};
use crate::support::whole_call::{CALL, CUT_OFF, POST_CALL, SECRET};
use serde_json::json;

#[test]
fn one_box_finds_drivers_numbers_calls_and_words() {
    let service = some_calls(&[]);
    let maria = json!({"name": "Maria Kowalski", "phone_number": "+15550100042"});
    service.put("/api/v1/drivers/1042", &maria).expect(200);
    wait_for("the index", || (service.get("/api/v1/search?q=reefer").json()["data"][1]).is_object().then_some(()));
    let page = Page::open(&service.url("/"), json!({}));
    page.step("live", json!({}));
    page.step("offered", json!({"words": "kowal", "offers": ["DriverMaria Kowalski"], "rows": ["Maria Kowalski"]}));
    page.step("clear", json!({"rows": ["Jo Brandt", "Maria Kowalski", "يوسف حداد"]}));
    page.step("offered", json!({"words": "KÓWÁL", "offers": ["DriverMaria Kowalski"]}));
    // A number in any spelling: of a driver, and of calls with it.
    for number in ["(555) 010-0042", "+1 555 010 0042", "555.010.0042"] {
        let offers = ["DriverMaria Kowalski", "Number+15550100042"];
        page.step("offered", json!({"words": number, "offers": offers}));
    }
    page.step("offered", json!({"words": CALL, "offers": ["CallMaria Kowalski …g6hgkc"]}));
    page.step("offered", json!({"words": "g6hgkc", "offers": ["CallMaria Kowalski …g6hgkc"]}));
    let groups = json!([
        {"name": "Jo Brandt", "number": "1 hit", "seconds": ["1:00"]},
        {"name": "Maria Kowalski", "number": "1 hit", "seconds": ["0:11"]},
    ]);
    page.step("grouped", json!({"words": "reefer", "groups": groups}));
    let both = json!([{"name": "Maria Kowalski", "number": "2 hits", "seconds": ["0:02", "0:11"]}]);
    page.step("grouped", json!({"words": "your", "groups": both}));
    assert!(CUT_OFF.contains("Your"));
}

#[test]
fn the_list_is_ordered_filtered_and_counted() {
    let service = some_calls(&[]);
    let page = Page::open(&service.url("/"), json!({}));
    page.step(
        "list",
        json!({"groups": {"Live now": ["Jo Brandt"], "28 Sep": ["Maria Kowalski"], "20 Sep": ["يوسف حداد"]}}),
    );
    let ended = ["Maria Kowalski", "يوسف حداد"];
    page.step("ordered", json!({"order": "longest", "names": ended, "lengths": ["0:47 · 5 turns", "0:00 · 1 turn"]}));
    page.step("ordered", json!({"order": "most_turns", "names": ended}));
    page.step("ordered", json!({"order": "costliest", "names": ["Maria Kowalski"]}));
    page.step("ordered", json!({"order": "asc", "names": ["يوسف حداد", "Maria Kowalski", "Jo Brandt"]}));
    page.step("ordered", json!({"order": "", "names": ["Jo Brandt", "Maria Kowalski", "يوسف حداد"]}));
    page.step("chip", json!({"name": "Goal not met", "rows": []}));
    let met = json!({"label": "Goal", "value": "success", "chip": "Goal met",
        "rows": ["Maria Kowalski"], "sum": "Goal met: 1 call"});
    page.step("moreFilters", met);
    let short = json!({"label": "At most, minutes", "value": "0.5", "chip": "At most 0.5 min",
        "rows": ["يوسف حداد"], "sum": "Failed, At most 0.5 min: 1 call"});
    page.step("status", json!({"name": "Failed", "rows": ["يوسف حداد"]}));
    page.step("moreFilters", short);
    page.step("exportedList", json!({"rows": ["conv_failed"]}));
    page.step("status", json!({"name": "All", "rows": ["Jo Brandt", "Maria Kowalski", "يوسف حداد"]}));
    page.step("exportedList", json!({"rows": [CALL, "conv_failed", "conv_live"]}));
    page.step("firstOption", json!({"typed": "mar", "name": "Maria Kowalski"}));
    page.step("firstOption", json!({"typed": "MÁR", "name": "Maria Kowalski"}));
    page.step("skipLinks", json!({}));
    page.step("targets", json!({}));
    page.step("choose", json!({"name": "Maria Kowalski"}));
    page.step("targets", json!({}));
    let phone = Page::open(&service.url(&format!("/?call={CALL}")), json!({"phone": true}));
    phone.step("targets", json!({}));
}

#[test]
fn a_silent_call_stands_apart_and_is_ended_on_the_page() {
    let service = Service::start();
    say(&service, "conv_0123456789abcdef", "agent", "Hello?", &ago(3 * 24 * 60));
    say(&service, "conv_live", "agent", "Hello.", &ago(0));
    let page = Page::open(&service.url("/"), json!({}));
    page.step("live", json!({}));
    page.step("quiet", json!({"name": "Unknown driver …abcdef", "about": "Silent for 3 days", "dated": ", "}));
    assert_eq!(service.get("/api/v1/calls/conv_0123456789abcdef").json()["status"], "failed");
}

#[test]
fn a_printed_call_has_its_date_zone_number_and_id() {
    let service = some_calls(&[]);
    let page = Page::open(&service.url(&format!("/?call={CALL}")), json!({}));
    page.step("choose", json!({"name": "Maria Kowalski"}));
    let parts = json!({"parts": ["Monday", "28 September 2026", "America/Chicago", "+15550100042", CALL]});
    page.step("paper", parts);
}

#[test]
fn what_is_understood_of_a_call_is_shown_where_it_happened() {
    let service = some_calls(&[]);
    let page = Page::open(&service.url("/"), json!({}));
    page.step("live", json!({}));
    let call = json!({"conversation_id": CALL, "answered_by": "voicemail", "answered_by_source": "call_result",
        "channel": "web", "tool_error": true, "transferred": true, "record_complete": false, "environment": "staging",
            "end_reason": "agent_ended",
        "child_conversations": [{"conversation_id": "conv_child", "title": "Looks up a dock", "agent_name": "Docks",
            "agent_id": null, "duration_seconds": 31, "turn_count": 4}]});
    let metrics = json!({"convai_llm_service_ttf_sentence": 2.4, "convai_tts_service_ttfb": 0.3});
    let turns = json!({"3": {"said_by": "mailbox"}, "4": {"metrics": metrics},
        "5": {"kind": "keypad", "said_by": "driver"}});
    let tool = |position: i64, after: i64, purpose: &str, name: &str, failed: bool| {
        json!({"position": position, "after_place": after, "name": name, "purpose": purpose,
            "arguments": "{\"load\":88123}",
            "result": "503 from the load service", "is_error": failed, "latency_ms": 1240})
    };
    let places: Vec<i64> = service.get(&format!("/api/v1/calls/{CALL}/transcriptions")).json()["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|turn| turn["superseded_by"].is_null())
        .map(|turn| turn["position"].as_i64().unwrap())
        .collect();
    let mut places = places;
    places.sort_unstable();
    let tools = [
        tool(1, places[1], "tool", "lookup_load", true),
        tool(2, places[1], "transfer_to_number", "transfer_to_number", false),
        tool(3, places[3], "guardrail", "no_promises", false),
        tool(4, places[3], "end_call", "end_call", false),
    ];
    let url = service.url(&format!("/?call={CALL}"));
    page.step("understood", json!({"call": call, "turns": turns, "tools": tools, "url": url}));
    page.step(
        "between",
        json!({"items": [
            "Agent", "Mailbox", "Toollookup_loaderror1.2 s", "Transfer to a phone number1.2 s",
            "2.7 s until the agent spoke", "Agent",
            "Driver: keypad", "Guardrailno_promisestriggered1.2 s", "The agent ended the call1.2 s",
        ]}),
    );
    page.step("unfolded", json!({"number": 1, "texts": ["{\n  \"load\": 88123\n}", "503 from the load service"]}));
    let both = ["Voicemail", "Web", "staging", "Incomplete record"];
    let row = [&both[..], &["Transferred", "Tool error"]].concat();
    let head = [&both[..], &["Transferred", "1 tool error", "1 guardrail"]].concat();
    page.step("badges", json!({"name": "Maria Kowalski", "row": row, "head": head}));
    page.step(
        "facts",
        json!({"texts": ["Looks up a dock", "Docks · 0:31 · 4 turns", "Voicemail (the result of the telephone call)"]}),
    );
    page.step("targets", json!({}));
}

#[test]
fn the_set_up_page_tells_what_arrived_what_was_refused_and_what_is_missing() {
    let receiver = Receiver::answering(|_, _| Reply::status(500));
    let (url, pause) = (receiver.url(), "1h");
    let outgoing = ["--webhook-url", &url, "--webhook-secret", WEBHOOK_SECRET, "--webhook-retry-pause", pause];
    let service = Service::start_with(&[&["--elevenlabs-secret", SECRET], &outgoing[..]].concat());
    say(&service, "conv_1", "agent", "Hello.", &ago(1));
    wait_for("a notice", || receiver.requests().pop());
    service.post(POST_CALL, &json!({"type": "post_call_transcription"})).expect_error(401);
    let refused = service.get("/api/v1/setup").expect(200).json()["webhooks"][2]["last_refused"]["reason"].clone();
    let hooks = json!({"Single turns": "Works", "Conversation so far": "Nothing received yet",
        "Post-call events": "Last one refused", "Notices to http://127.0.0.1": "Last one failed"});
    let missing = ["--backup-every", "--ingest-token-file", "--audio-dir", TURNS];
    for phone in [false, true] {
        let page = Page::open(&service.url("/"), json!({"phone": phone, "dark": phone}));
        page.step("setUp", json!({"hooks": hooks, "missing": missing, "reason": refused}));
    }
}
