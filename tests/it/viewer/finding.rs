//! Finding calls on the page, what it shows of what is understood of a call, and its page on the set-up.

use super::page::{ago, say, some_calls};
use crate::support::browser::Page;
use crate::support::fake_elevenlabs::{FakeElevenLabs, KEY, workspace};
use crate::support::openapi::send;
use crate::support::receiver::{Receiver, Reply, WEBHOOK_SECRET};
use crate::support::service::{Service, TURNS, wait_for};
use crate::support::whole_call::{CALL, CUT_OFF, POST_CALL, SECRET, post_signed, record};
use serde_json::json;
use std::process::Command;

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
fn words_are_searched_by_who_said_them() {
    let service = some_calls(&[]);
    wait_for("the index", || (service.get("/api/v1/search?q=reefer").json()["data"][1]).is_object().then_some(()));
    let page = Page::open(&service.url("/"), json!({}));
    let jo = json!({"name": "Jo Brandt", "number": "1 hit", "seconds": ["1:00"]});
    let maria = json!({"name": "Maria Kowalski", "number": "1 hit", "seconds": ["0:11"]});
    for (speaker, groups) in [("driver", json!([jo])), ("agent", json!([maria])), ("", json!([jo, maria]))] {
        page.step("grouped", json!({"words": "reefer", "speaker": speaker, "groups": groups}));
    }
    let shared = Page::open(&service.url("/?q=reefer&speaker=driver"), json!({}));
    shared.step("grouped", json!({"words": "reefer", "groups": [jo]}));
}

#[test]
fn what_was_received_last_is_found_first_as_the_order_says() {
    let service = some_calls(&[]);
    // As an import does: the turns of an old call arrive after all others.
    for (words, time) in
        [("Is the reefer on?", "2020-01-01T08:00:00Z"), ("The reefer was fine.", "2020-01-01T08:00:20Z")]
    {
        say(&service, "conv_old", "user", words, time);
    }
    wait_for("the index", || (service.get("/api/v1/search?q=reefer").json()["data"][3]).is_object().then_some(()));
    let groups = json!([
        {"name": "Unknown driver conv_old", "number": "2 hits", "seconds": ["0:00", "0:20"]},
        {"name": "Jo Brandt", "number": "1 hit", "seconds": ["1:00"]},
        {"name": "Maria Kowalski", "number": "1 hit", "seconds": ["0:11"]},
    ]);
    let page = Page::open(&service.url("/"), json!({}));
    page.step("grouped", json!({"words": "reefer", "groups": groups, "order": "Last received first"}));
}

#[test]
fn a_sub_agent_is_asked_by_a_request_not_by_the_driver() {
    let service = some_calls(&[]);
    let child = std::fs::read_to_string("tests/fixtures/elevenlabs/understood/subagent.json").unwrap();
    post_signed(&service, &child).expect(200);
    let stored =
        || service.get("/api/v1/calls/conv_subagent").json()["parent_conversation_id"].is_string().then_some(());
    wait_for("the record", stored);
    let page = Page::open(&service.url("/?call=conv_subagent"), json!({}));
    page.step("see", json!({"selector": ".turn .who", "texts": ["Request", "Agent"]}));
    page.step("copied", json!({"lines": ["[0:00] Request: Find the next rest area near Gary."]}));
    // The list has no sub-agents' conversations, but shows the one that is open.
    page.step("see", json!({"selector": ".row a[aria-current] .chip", "texts": ["Text", "Sub-agent"]}));
    let driver = Page::open(&service.url("/?call=conv_live"), json!({}));
    driver.step("see", json!({"selector": ".turn .who", "texts": ["Agent", "Driver"]}));
}

#[test]
fn a_search_without_hits_offers_the_beginnings_of_all_of_its_words() {
    let service = some_calls(&[]);
    wait_for("the index", || (service.get("/api/v1/search?q=reefer").json()["data"][1]).is_object().then_some(()));
    let page = Page::open(&service.url("/"), json!({}));
    let both = ["Jo Brandt", "Maria Kowalski"];
    for (words, query) in [
        ("reeferings", "reefer*"),
        ("reeferings \"reefered\"", "reefer* reefe*"),
        ("(reeferings OR \"zebra NOT\")", "( reefer* OR zeb* not* )"),
        ("(reeferings OR zebra-4711) NOT zebu", "( reefer* OR zeb* 4711 ) NOT zebu"),
    ] {
        let name = if query.contains(' ') { "Search by prefixes" } else { "Search by prefix" };
        page.step("wider", json!({"words": words, "name": name, "query": query, "groups": both}));
    }
    // Beginnings of what is excluded would find less.
    for words in ["zebra NOT (reeferings)", "88999"] {
        page.step("wider", json!({"words": words, "name": "Search by prefix", "query": null}));
    }
}

#[test]
fn a_record_without_turns_is_not_told_as_missing() {
    let service = some_calls(&[]);
    let mut busy = record("conv_busy", "");
    busy["data"]["transcript"] = json!([]);
    busy["data"]["metadata"]["cost"] = json!(12);
    post_signed(&service, &busy.to_string()).expect(200);
    let stored = || service.get("/api/v1/calls/conv_busy").json()["cost"].is_number().then_some(());
    wait_for("the record", stored);
    let page = Page::open(&service.url("/?call=conv_busy"), json!({}));
    page.step("recordSays", json!({"text": "ElevenLabs’ record has no turns."}));
    let waiting = Page::open(&service.url("/?call=conv_failed"), json!({}));
    waiting.step("recordSays", json!({"text": "ElevenLabs’ record has not arrived; only live turns are shown."}));
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
fn a_call_that_is_marked_as_completed_ends_with_its_last_turn_and_has_a_length() {
    let service = Service::start();
    for (speaker, minutes) in [("agent", 12), ("user", 10)] {
        say(&service, "conv_1", speaker, "Hello?", &ago(minutes));
    }
    let page = Page::open(&service.url("/?call=conv_1"), json!({}));
    page.step("live", json!({}));
    page.step("markCompleted", json!({"length": "2:00"}));
    let call = service.get("/api/v1/calls/conv_1").expect(200).json();
    assert_eq!((&call["status"], &call["duration_seconds"]), (&json!("completed"), &json!(120)));
    assert!(call["call_end_time"].is_string());
    assert_eq!(call["call_end_time"], call["last_turn_time"]);
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

#[test]
fn the_set_up_page_has_the_findings_about_elevenlabs_settings_with_their_remedies() {
    let mut off = workspace("https://calls.example.com");
    off["webhooks"][0]["is_auto_disabled"] = json!(true);
    off["settings"]["webhooks"]["transcript_format"] = json!("opentelemetry");
    let elevenlabs = FakeElevenLabs::start(Vec::new(), 10);
    elevenlabs.put_workspace(off);
    let url = elevenlabs.url();
    let service = Service::start_with(&["--elevenlabs-api-key", KEY, "--elevenlabs-base-url", &url]);
    let check = wait_for("the check", || {
        let check = service.get("/api/v1/setup").expect(200).json()["elevenlabs_check"].clone();
        check.is_object().then_some(check)
    });
    let wrong = check["findings"].as_array().unwrap().iter().filter(|finding| finding["severity"] != "ok");
    let found: Vec<_> = wrong.map(|finding| json!([finding["text"], finding["remedy"]])).collect();
    assert_eq!(found.len(), 2, "{check}");
    let missing =
        ["--elevenlabs-secret-file", "--ingest-token-file", "--api-token-file", "--backup-every", "--audio-dir"];
    for phone in [false, true] {
        let page = Page::open(&service.url("/?view=setup"), json!({"phone": phone, "dark": phone}));
        page.step("findings", json!({"found": found, "missing": missing}));
    }
}

#[test]
fn a_webhook_that_elevenlabs_switched_off_is_not_shown_as_working() {
    let mut off = workspace("https://calls.example.com");
    off["webhooks"][0]["is_auto_disabled"] = json!(true);
    let elevenlabs = FakeElevenLabs::start(Vec::new(), 10);
    elevenlabs.put_workspace(off);
    let (url, key) = (elevenlabs.url(), ["--elevenlabs-api-key", KEY]);
    let flags = ["--elevenlabs-secret", SECRET, "--elevenlabs-base-url", &url];
    let service = Service::start_with(&[&flags[..], &key].concat());
    let checked_at = wait_for("the check", || {
        let setup = service.get("/api/v1/setup").expect(200).json();
        Some(setup["elevenlabs_check"]["checked_at"].as_str()?.to_owned())
    });
    post_signed(&service, &record("conv_1", "Hello.").to_string()).expect(200);
    let page = Page::open(&service.url("/?view=setup"), json!({}));
    let name = "Post-call events";
    // An event that arrived after the check may mean that the webhook is on again.
    page.step(
        "hookState",
        json!({"name": name, "state": "Switched off by ElevenLabs at the last check", "kind": "warn"}),
    );
    let accepted = json!({"/webhooks/elevenlabs/post-call": {"last_accepted_at": "2026-09-28T12:00:00Z"}});
    assert!(checked_at.as_str() > "2026-09-28T12:00:00Z", "{checked_at}");
    page.step("setUpWith", json!({"setup": {}, "webhooks": accepted}));
    page.step("hookState", json!({"name": name, "state": "Switched off by ElevenLabs", "kind": "bad"}));
    page.step("hookState", json!({"name": "Single turns", "state": "Nothing received yet", "kind": ""}));
}

#[test]
fn commands_of_the_set_up_page_are_those_of_the_service_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().canonicalize().unwrap().join("it's mine.db");
    let service = Service::start_on(&database, &[]);
    let page = Page::open(&service.url("/?view=setup"), json!({"phone": true}));
    let commands = page.step("setUpCommands", json!({}));
    let [command] = &commands.as_array().unwrap()[..] else { panic!("{commands}") };
    // A shell reads the path as it is.
    let print = format!("set -- {}; printf %s \"$4\"", command.as_str().unwrap());
    let out = Command::new("sh").args(["-euc", &print]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), database.to_str().unwrap(), "{command}");

    let missing = json!([{"part": "ingest_token", "flag": "--ingest-token-file /etc/transcribe-hook/ingest-token"},
        {"part": "backups", "flag": "--backup-every 1d --backup-dir /var/backups/transcribe-hook"}]);
    let setup = json!({"systemd_unit": "hook@two.service", "missing": missing});
    page.step("setUpWith", json!({"setup": setup, "webhooks": {}}));
    let lines = "[Service]\nLoadCredential=ingest-token:/etc/transcribe-hook/ingest-token\n\
        Environment=TRANSCRIBE_HOOK_INGEST_TOKEN_FILE=%d/ingest-token\n\
        Environment=TRANSCRIBE_HOOK_BACKUP_EVERY=1d\n\
        Environment=TRANSCRIBE_HOOK_BACKUP_DIR=/var/backups/transcribe-hook\n\
        ReadWritePaths=/var/backups/transcribe-hook";
    let expected = ["sudo systemctl edit hook@two.service", lines, "sudo systemctl restart hook@two.service"];
    assert_eq!(page.step("setUpCommands", json!({})), json!(expected));
}

#[test]
fn the_access_log_is_read_by_call_name_action_and_days() {
    const MANAGER: &str = "manager_0123456789abcdef";
    let flags = ["--api-token", "anna:read:reader_0123456789abcdef", "--api-token"];
    let service = Service::start_with(&[&flags[..], &[&format!("boss:manage:{MANAGER}")]].concat());
    for call in ["conv_a", "conv_b"] {
        say(&service, call, "agent", "Hello.", &ago(1));
    }
    let as_anna = [("Authorization", "Bearer reader_0123456789abcdef")];
    for path in ["calls/conv_a", "calls/conv_b/transcriptions", "export", "search?q=hello"] {
        assert_eq!(send(&service, "GET", &format!("/api/v1/{path}"), &as_anna, b"").status, 200, "{path}");
    }
    let as_boss = [("Authorization", "Bearer manager_0123456789abcdef")];
    assert_eq!(send(&service, "DELETE", "/api/v1/calls/conv_b", &as_boss, b"").status, 204);
    wait_for("the entries", || {
        let log = send(&service, "GET", "/api/v1/access-log", &as_boss, b"").text;
        let log: serde_json::Value = serde_json::from_str(&log).unwrap();
        (log["data"].as_array().unwrap().len() == 5).then_some(())
    });
    let [erased, searched, exported, read_b, read_a] = [
        ["boss", "Erased", "conv_b"],
        ["anna", "Searched", "Several calls"],
        ["anna", "Exported", "Several calls"],
        ["anna", "Read", "conv_b"],
        ["anna", "Read", "conv_a"],
    ];
    // The page itself watches all calls, so it is in the log too.
    let filters = json!([
        {"path": "/?view=accesses&call=conv_b", "rows": [erased, read_b]},
        {"label": "Who", "value": "anna", "rows": [read_b]},
        {"label": "Call", "value": "", "rows": [searched, exported, read_b, read_a]},
        {"label": "What", "value": "export", "rows": [exported]},
        {"label": "From", "value": "2020-01-01", "rows": [exported]},
        {"label": "To", "value": "2020-01-31", "rows": []},
    ]);
    for phone in [false, true] {
        let page = Page::open(&service.url(&format!("/#token={MANAGER}")), json!({"phone": phone, "dark": phone}));
        page.step("live", json!({}));
        page.step("accesses", json!({ "filters": filters }));
        page.step("goTo", json!({"path": "/?view=accesses&call=conv_b"}));
        page.step("wideCells", json!({"phone": phone}));
    }
    // The page of a call leads there.
    let page = Page::open(&service.url(&format!("/?call=conv_a#token={MANAGER}")), json!({}));
    page.step("live", json!({}));
    let by_boss = ["boss", "Read", "conv_a"];
    page.step("readers", json!({"rows": [by_boss, read_a]}));
}
