//! The access log: who read, heard, searched, exported or erased which call, and how long that is kept.

use crate::support::files::memmem;
use crate::support::mcp::tool_call;
use crate::support::metrics::Scrape;
use crate::support::openapi::{Sent, send};
use crate::support::service::{Service, TURNS, binary, open, wait_for};
use crate::support::tools::faketime;
use crate::support::turns::turn;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;
use transcribe_hook::domain::Timestamp;

const LOG: &str = "/api/v1/access-log";
const CALLS: &str = "/api/v1/calls";
const JSON: (&str, &str) = ("Content-Type", "application/json");
const READER: &str = "reader_0123456789abcdef";
const MANAGER: &str = "manager_0123456789abcdef";
const PLAIN: &str = "plain_token_0123456789abcdef";
const USER: &str = "bea@example.com";

/// Flags of a service with a named reader and manager, a token without a name, and users of a proxy.
const FLAGS: [&str; 10] = [
    "--api-token",
    "anna:read:reader_0123456789abcdef",
    "--api-token",
    "boss:manage:manager_0123456789abcdef",
    "--api-token",
    PLAIN,
    "--trusted-proxy",
    "127.0.0.1",
    "--user-header",
    "X-User",
];

fn send_as(service: &Service, token: &str, method: &str, path: &str) -> Sent {
    send(service, method, path, &[JSON, ("Authorization", &format!("Bearer {token}"))], b"")
}

#[track_caller]
fn get_as(service: &Service, token: &str, path: &str) -> Sent {
    let sent = send_as(service, token, "GET", path);
    assert_eq!(sent.status, 200, "{path}: {}", sent.text);
    sent
}

fn deliver(service: &Service, call: &str) {
    service.post(TURNS, &turn(call, 1)).expect(201);
}

/// Delivers a turn whose sender's clock says this many days from now.
fn deliver_at(service: &Service, call: &str, days: i64) {
    let mut turn = turn(call, 1);
    turn["timestamp"] = json!(Timestamp::now().plus_seconds(days * 86_400).unwrap().to_string());
    service.post(TURNS, &turn).expect(201);
}

/// Returns a page of the log.
#[track_caller]
fn page(service: &Service, query: &str) -> Value {
    serde_json::from_str(&get_as(service, MANAGER, &format!("{LOG}{query}")).text).unwrap()
}

/// Returns the newest entries as who, what and which call, the oldest first.
fn entries(service: &Service, query: &str) -> Vec<String> {
    let page = page(service, query);
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or("-").to_owned();
    let line =
        |entry: &Value| ["user", "credential", "action", "conversation_id"].map(|name| text(entry, name)).join(" ");
    page["data"].as_array().unwrap().iter().rev().map(line).collect()
}

#[track_caller]
fn expect_entries(service: &Service, wanted: &[&str]) {
    wait_for("the entries", || (entries(service, "").len() >= wanted.len()).then_some(()));
    assert_eq!(entries(service, ""), wanted);
}

#[test]
fn an_access_is_logged_with_who_and_what_and_which_call_and_without_the_query() {
    const WORD: &str = "quizzaciously";
    let audio = tempfile::tempdir().unwrap();
    let service = Service::start_with(&[&FLAGS[..], &["--audio-dir", audio.path().to_str().unwrap()]].concat());
    for call in ["conv_a", "conv_b"] {
        deliver(&service, call);
    }
    std::fs::write(audio.path().join("conv_a.mp3"), "0123").unwrap();
    get_as(&service, READER, "/api/v1/calls/conv_a/transcriptions");
    get_as(&service, READER, "/api/v1/calls/conv_a/audio");
    get_as(&service, PLAIN, "/api/v1/calls/conv_a");
    get_as(&service, READER, "/v1/convai/conversations/conv_b");
    get_as(&service, READER, "/api/v1/calls/conv_b/events?follow=false");
    get_as(&service, MANAGER, "/v1/convai/conversations/conv_a/audio");
    get_as(&service, MANAGER, "/api/v1/events?follow=false");
    get_as(&service, READER, &format!("/api/v1/search?q={WORD}"));
    get_as(&service, PLAIN, &format!("/api/v1/search?q={WORD}&conversation_id=conv_b"));
    get_as(&service, MANAGER, &format!("{CALLS}?q={WORD}"));
    get_as(&service, PLAIN, &format!("/v1/convai/conversations?search={WORD}"));
    get_as(&service, READER, "/api/v1/export?format=csv");
    get_as(&service, READER, "/api/v1/export?conversation_id=conv_b");
    get_as(&service, PLAIN, "/api/v1/backup");
    let by_proxy = send(&service, "GET", "/api/v1/calls/conv_b/tool_calls", &[("X-User", USER)], b"");
    assert_eq!(by_proxy.status, 200, "{}", by_proxy.text);
    let signed_in = send(&service, "POST", "/session", &[JSON], json!({"token": READER}).to_string().as_bytes());
    let cookie = signed_in.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(send(&service, "GET", "/api/v1/calls/conv_b", &[("Cookie", &cookie)], b"").status, 200);
    assert_eq!(send_as(&service, MANAGER, "DELETE", "/api/v1/calls/conv_b").status, 204);
    let by_proxy = format!("{USER} proxy read conv_b");
    let wanted = [
        "anna token read conv_a",
        "anna token listen conv_a",
        "- token read conv_a",
        "anna token read conv_b",
        "boss token listen conv_a",
        "boss token read -",
        "anna token search -",
        "- token search conv_b",
        "boss token search -",
        "- token search -",
        "anna token export -",
        "anna token export conv_b",
        "- token backup -",
        &by_proxy,
        "anna session read conv_b",
        "boss token erase conv_b",
    ];
    expect_entries(&service, &wanted);
    let entry = &page(&service, "?limit=1")["data"][0];
    assert_eq!(entry["role"], "manage");
    assert!(entry["at"].is_string() && entry["id"].is_i64(), "{entry}");
    let stored = Scrape::of(&get_as(&service, MANAGER, "/metrics").text);
    assert_eq!(stored.whole("access_log_entries_total{outcome=\"stored\"}"), wanted.len() as u64);
    assert_eq!(stored.whole("access_log_entries_total{outcome=\"dropped\"}"), 0);
    let database = service.database().to_owned();
    let _folder = service.stop();
    assert!(!memmem(&std::fs::read(database).unwrap(), WORD.as_bytes()), "the query is not stored");
}

#[test]
fn what_tells_nothing_of_a_single_call_and_what_is_refused_is_not_logged() {
    let service = Service::start_with(&FLAGS);
    deliver(&service, "conv_a");
    for path in ["/api/v1/stats", "/api/v1/drivers", LOG, "/metrics", "/session"] {
        get_as(&service, MANAGER, path);
    }
    assert_eq!(send_as(&service, MANAGER, "GET", "/api/v1/calls/conv_none").status, 404);
    assert_eq!(send_as(&service, MANAGER, "DELETE", "/api/v1/calls/conv_none").status, 404);
    assert_eq!(send_as(&service, MANAGER, "GET", "/api/v1/search?q=(").status, 400);
    assert_eq!(send_as(&service, READER, "DELETE", "/api/v1/calls/conv_a").status, 403);
    assert_eq!(send(&service, "GET", "/api/v1/calls/conv_a", &[], b"").status, 401);
    // Entries are in order, so that one is the first.
    get_as(&service, READER, "/api/v1/calls/conv_a");
    expect_entries(&service, &["anna token read conv_a"]);
}

#[test]
fn a_list_with_words_of_calls_is_one_entry_and_a_list_without_words_is_none() {
    const LISTER: &str = "lister_0123456789abcdef";
    let lister = ["--api-token", "lena:list:lister_0123456789abcdef"];
    let service = Service::start_with(&[&FLAGS[..], &lister].concat());
    for call in ["conv_a", "conv_b"] {
        deliver(&service, call);
    }
    assert!(!get_as(&service, LISTER, CALLS).text.contains("message_text"));
    get_as(&service, LISTER, &format!("{CALLS}?order=longest"));
    for path in [CALLS, "/api/v1/calls?limit=1", "/api/v1/calls?order=longest", "/v1/convai/conversations"] {
        get_as(&service, READER, path);
    }
    get_as(&service, MANAGER, "/v1/convai/conversations?page_size=1");
    expect_entries(&service, &["anna token list -", "boss token list -"]);
    get_as(&service, LISTER, &format!("{CALLS}/conv_a"));
    expect_entries(&service, &["anna token list -", "boss token list -", "lena token read conv_a"]);
}

#[test]
fn what_a_tool_of_an_assistant_finds_is_logged_by_call_where_it_is_one() {
    let service = Service::start_with(&FLAGS);
    let driver = json!({"name": "Jo Brandt"}).to_string();
    let authorization = format!("Bearer {MANAGER}");
    let headers = [JSON, ("Authorization", authorization.as_str())];
    assert_eq!(send(&service, "PUT", "/api/v1/drivers/7", &headers, driver.as_bytes()).status, 201);
    deliver(&service, "conv_a");
    let tool = |token: &str, name: &str, arguments: Value| {
        let headers = [JSON, ("Authorization", &format!("Bearer {token}"))];
        let sent = send(&service, "POST", "/mcp", &headers, tool_call(name, arguments).to_string().as_bytes());
        assert_eq!(sent.status, 200, "{}", sent.text);
        serde_json::from_str::<Value>(&sent.text).unwrap()["result"]["isError"] == true
    };
    assert!(!tool(READER, "driver_history", json!({ "driver_id": 7 })));
    assert!(tool(MANAGER, "driver_history", json!({ "driver_id": 8 })), "what fails is not logged");
    assert!(tool(MANAGER, "get_call", json!({ "conversation_id": "conv_none" })));
    assert!(!tool(READER, "get_call", json!({ "conversation_id": "conv_a" })));
    assert!(!tool(READER, "stats", json!({})));
    assert!(!tool(MANAGER, "list_calls", json!({})));
    assert!(!tool(MANAGER, "list_calls", json!({ "q": "reefer" })));
    assert!(!tool(READER, "search_turns", json!({ "q": "reefer" })));
    expect_entries(
        &service,
        &[
            "anna token read -",
            "anna token read conv_a",
            "boss token list -",
            "boss token search -",
            "anna token search -",
        ],
    );
}

#[test]
fn a_change_and_statistics_that_tell_contents_are_reads() {
    let service = Service::start_with(&FLAGS);
    deliver(&service, "conv_a");
    let mcp = |token: &str, arguments: Value| {
        let headers = [JSON, ("Authorization", &format!("Bearer {token}"))];
        let body = tool_call("stats", arguments).to_string();
        assert_eq!(send(&service, "POST", "/mcp", &headers, body.as_bytes()).status, 200);
    };
    // What tells nothing, or is refused.
    get_as(&service, READER, "/api/v1/stats?include=metrics&by=agent");
    mcp(PLAIN, json!({ "include": ["metrics"] }));
    mcp(PLAIN, json!({ "include": ["results", "more"] }));
    assert_eq!(send_as(&service, READER, "GET", "/api/v1/stats?include=results&by=mood").status, 400);
    get_as(&service, READER, "/api/v1/stats?include=metrics&include=results");
    mcp(PLAIN, json!({ "include": ["metrics", "results"] }));
    // The answer to a change is the call with its words.
    let headers = [JSON, ("Authorization", &format!("Bearer {MANAGER}"))];
    let changed = send(&service, "PATCH", "/api/v1/calls/conv_a", &headers, br#"{"status": "completed"}"#);
    assert!(changed.status == 200 && changed.text.contains("message_text"), "{}", changed.text);
    expect_entries(&service, &["anna token read -", "- token read -", "boss token read conv_a"]);
}

#[test]
fn a_filter_by_alert_is_a_search() {
    for filter in ["alert=fire", "has_alert=true"] {
        for operation in ["calls", "stats"] {
            let service = Service::start_with(&FLAGS);
            get_as(&service, READER, &format!("/api/v1/{operation}?{filter}"));
            expect_entries(&service, &["anna token search -"]);
        }
    }
    for arguments in [json!({ "alert": ["fire"] }), json!({ "has_alert": true })] {
        for tool in ["list_calls", "stats"] {
            let service = Service::start_with(&FLAGS);
            let headers = [JSON, ("Authorization", &format!("Bearer {READER}"))];
            let body = tool_call(tool, arguments.clone()).to_string();
            let sent = send(&service, "POST", "/mcp", &headers, body.as_bytes());
            assert!(sent.status == 200 && sent.text.contains("\"isError\":false"), "{}", sent.text);
            expect_entries(&service, &["anna token search -"]);
        }
    }
}

#[test]
fn an_erasure_whose_client_hangs_up_is_logged() {
    let service = Service::start_with(&FLAGS);
    deliver(&service, "conv_a");
    // Another process holds the lock, so the erasure waits.
    let holder = rusqlite::Connection::open(service.database()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut client = TcpStream::connect(service.address()).unwrap();
    let head = "DELETE /api/v1/calls/conv_a HTTP/1.1\r\nHost: x\r\n";
    client.write_all(format!("{head}Authorization: Bearer {MANAGER}\r\n\r\n").as_bytes()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    assert!(client.read(&mut [0]).is_err(), "there is no answer while the erasure waits");
    drop(client);
    let hung_up = "transcribe_hook_http_request_duration_seconds_count{method=\"DELETE\",\
                   route=\"/api/v1/calls/{conversation_id}\",status=\"499\"}";
    let is_noticed = || Scrape::of(&get_as(&service, PLAIN, "/metrics").text).0.contains_key(hung_up);
    wait_for("the hang-up to be noticed", || is_noticed().then_some(()));
    holder.execute_batch("ROLLBACK").unwrap();
    let calls = || -> i64 { service.sqlite().query_row("SELECT count(*) FROM calls", [], |row| row.get(0)).unwrap() };
    wait_for("the call to be gone", || (calls() == 0).then_some(()));
    expect_entries(&service, &["boss token erase conv_a"]);
}

#[test]
fn the_same_access_within_a_minute_is_one_entry_but_each_export_counts() {
    let service = Service::start_with(&FLAGS);
    deliver(&service, "conv_a");
    for _ in 0..5 {
        get_as(&service, READER, "/api/v1/calls/conv_a");
        get_as(&service, READER, "/api/v1/calls/conv_a/transcriptions");
    }
    get_as(&service, MANAGER, "/api/v1/calls/conv_a");
    for _ in 0..2 {
        get_as(&service, READER, "/api/v1/export?conversation_id=conv_a");
    }
    let export = "anna token export conv_a";
    expect_entries(&service, &["anna token read conv_a", "boss token read conv_a", export, export]);
}

#[test]
fn the_log_is_read_in_pages_and_by_call_and_by_user() {
    let service = Service::start_with(&FLAGS);
    for n in 0..7 {
        deliver(&service, &format!("conv_{n}"));
        get_as(&service, if n % 2 == 0 { READER } else { MANAGER }, &format!("{CALLS}/conv_{n}"));
    }
    get_as(&service, MANAGER, &format!("{CALLS}/conv_2"));
    wait_for("all entries", || (entries(&service, "").len() == 8).then_some(()));
    assert_eq!(entries(&service, "?conversation_id=conv_2"), ["anna token read conv_2", "boss token read conv_2"]);
    assert_eq!(entries(&service, "?conversation_id=conv_2&user=boss"), ["boss token read conv_2"]);
    assert_eq!(entries(&service, "?user=anna").len(), 4);
    assert!(entries(&service, "?user=nobody").is_empty() && entries(&service, "?conversation_id=conv_x").is_empty());
    assert_eq!(entries(&service, "?action=read").len(), 8);
    assert!(entries(&service, "?action=erase").is_empty() && entries(&service, "?action=read&user=nobody").is_empty());
    // Times are from one entry on, and before another one.
    let all = page(&service, "");
    let at = |n: usize| all["data"][n]["at"].as_str().unwrap().to_owned();
    let some = page(&service, &format!("?accessed_after={}&accessed_before={}", at(5), at(2)));
    assert_eq!(some["data"].as_array().unwrap(), &all["data"].as_array().unwrap()[3..=5]);
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = page(&service, &format!("?limit=3{cursor}"));
        seen.extend(page["data"].as_array().unwrap().iter().map(|entry| entry["id"].as_i64().unwrap()));
        assert_eq!(page["has_more"], page["next_cursor"].is_string());
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen.len(), 8);
    assert!(seen.is_sorted_by(|a, b| a > b), "the newest first: {seen:?}");
    for bad in [
        "?limit=0",
        "?user=",
        "?action=peek",
        "?accessed_after=noon",
        "?cursor=x",
        "?query=a",
        "?include_total=true",
        "?conversation_id=",
    ] {
        assert_eq!(send_as(&service, MANAGER, "GET", &format!("{LOG}{bad}")).status, 400, "{bad}");
    }
}

#[test]
fn an_erased_call_keeps_the_note_of_who_erased_it_also_with_its_driver() {
    let service = Service::start_with(&FLAGS);
    let driver = json!({"name": "Jo Brandt"}).to_string();
    let manager = format!("Bearer {MANAGER}");
    let headers = [JSON, ("Authorization", manager.as_str())];
    assert_eq!(send(&service, "PUT", "/api/v1/drivers/7", &headers, driver.as_bytes()).status, 201);
    for call in ["conv_a", "conv_b"] {
        let dispatch = format!("/api/v1/dispatches/{call}");
        assert_eq!(send(&service, "PUT", &dispatch, &headers, br#"{"driver_id": 7}"#).status, 201);
    }
    for call in ["conv_a", "conv_b", "conv_c"] {
        deliver(&service, call);
    }
    get_as(&service, READER, "/api/v1/calls/conv_c");
    wait_for("the entry", || (entries(&service, "").len() == 1).then_some(()));
    assert_eq!(send_as(&service, MANAGER, "DELETE", "/api/v1/calls/conv_c").status, 204);
    wait_for("the entry", || (entries(&service, "").len() == 2).then_some(()));
    assert_eq!(send_as(&service, MANAGER, "DELETE", "/api/v1/drivers/7?erase_calls=true").status, 204);
    wait_for("the entries", || (entries(&service, "").len() == 4).then_some(()));
    let wanted =
        ["anna token read conv_c", "boss token erase conv_c", "boss token erase conv_a", "boss token erase conv_b"];
    expect_entries(&service, &wanted);
    assert_eq!(entries(&service, "?conversation_id=conv_c").len(), 2);
    let stats: Value = serde_json::from_str(&get_as(&service, MANAGER, "/api/v1/stats").text).unwrap();
    assert_eq!(stats["all"]["calls"], 0);
}

/// Returns the number of entries in a file.
fn stored(database: &Path) -> i64 {
    open(database).query_row("SELECT count(*) FROM access_log", [], |row| row.get(0)).unwrap()
}

#[test]
fn entries_are_stored_before_the_service_stops_and_erased_after_their_time() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let service = Service::start_on(&database, &FLAGS);
    for n in 0..300 {
        let call = format!("conv_{n}");
        deliver(&service, &call);
        get_as(&service, READER, &format!("{CALLS}/{call}"));
    }
    service.stop();
    assert_eq!(stored(&database), 300);
    // Kept for a time that has not passed, and then for one that has.
    let service = Service::start_on(&database, &[&FLAGS[..], &["--access-log-keep", "30d"]].concat());
    get_as(&service, READER, &format!("{CALLS}/conv_0"));
    wait_for("one more entry", || (stored(&database) == 301).then_some(()));
    service.stop();
    let service = Service::start_on(&database, &[&FLAGS[..], &["--access-log-keep", "1ms"]].concat());
    // Something arrives that agrees with the clock.
    deliver_at(&service, "conv_today", 0);
    wait_for("old entries to go", || (stored(&database) == 0).then_some(()));
    service.stop();
}

#[test]
fn a_clock_that_is_far_ahead_erases_no_entries_until_it_is_confirmed() {
    const DAYS: i64 = 400;
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let flags = [&FLAGS[..], &["--access-log-keep", "1h"]].concat();
    let service = Service::start_on(&database, &flags);
    deliver_at(&service, "conv_a", 0);
    get_as(&service, READER, "/api/v1/calls/conv_a");
    service.stop();
    assert_eq!(stored(&database), 1);
    let start = || {
        let mut command = binary();
        command.env("LD_PRELOAD", faketime()).env("FAKETIME", format!("+{DAYS}d"));
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        Service::start_command(command, &database, &flags)
    };
    let service = start();
    service.wait_logged("warn", "access_log");
    get_as(&service, READER, "/api/v1/calls/conv_a");
    wait_for("another entry", || (stored(&database) == 2).then_some(()));
    // A sender whose clock is as far ahead.
    deliver_at(&service, "conv_b", DAYS);
    service.stop();
    let service = start();
    wait_for("the old entry to go", || (stored(&database) == 1).then_some(()));
    service.stop();
}

#[test]
fn nothing_is_logged_where_that_is_off_and_what_was_logged_before_goes() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let service = Service::start_on(&database, &FLAGS);
    deliver(&service, "conv_a");
    get_as(&service, READER, "/api/v1/calls/conv_a");
    service.stop();
    assert_eq!(stored(&database), 1);
    let service = Service::start_on(&database, &["--no-token"]);
    service.get("/api/v1/calls/conv_a").expect(200);
    assert_eq!(service.get("/api/v1/setup").expect(200).json()["access_log_keep_seconds"], Value::Null);
    service.stop();
    assert_eq!(stored(&database), 1, "nobody is known, so nobody is noted");
    let service = Service::start_on(&database, &[&FLAGS[..], &["--access-log-keep", "0"]].concat());
    wait_for("the entry to go", || (stored(&database) == 0).then_some(()));
    get_as(&service, READER, "/api/v1/calls/conv_a");
    assert_eq!(send_as(&service, MANAGER, "DELETE", "/api/v1/calls/conv_a").status, 204);
    assert_eq!(page(&service, "")["data"], json!([]));
    service.stop();
    assert_eq!(stored(&database), 0);
}

#[test]
fn a_write_that_waits_delays_no_answer_and_is_stored_later() {
    let service = Service::start_with(&[&FLAGS[..], &["--write-timeout", "200ms"]].concat());
    // On a slow machine it may take longer than a write may here.
    wait_for("the turn", || (service.post(TURNS, &turn("conv_a", 1)).status == 201).then_some(()));
    // Another process holds the lock, so nothing can be stored.
    let holder = rusqlite::Connection::open(service.database()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    get_as(&service, READER, "/api/v1/calls/conv_a");
    service.wait_logged("warn", "access_log");
    get_as(&service, MANAGER, "/api/v1/calls/conv_a");
    holder.execute_batch("ROLLBACK").unwrap();
    expect_entries(&service, &["anna token read conv_a", "boss token read conv_a"]);
}
