//! A database with everything in it, and its export.

use crate::support::samples::sample;
use crate::support::service::{binary, wait_for};
use crate::support::whole_call::{CALL, FIRST, LAST, PARKED, apply, event, history, live, post};
use serde_json::json;
use std::path::Path;
use std::process::Output;
use transcribe_hook::domain::{ConversationId, DriverId, NewDispatch, NewDriver, PhoneNumber};
use transcribe_hook::ingest::event;
use transcribe_hook::store::Write;
use transcribe_hook::store::sqlite::{Options, SqliteStore};

pub fn store(database: &Path) -> SqliteStore {
    let options = Options { path: database.to_owned(), busy_timeout: std::time::Duration::from_secs(10), readers: 1 };
    // A process that another test starts holds the lock of a store that was just closed, until it runs its program.
    wait_for("the store to open", || SqliteStore::open(&options).ok())
}

/// A database with all that there can be: a call with turns as they came, what tools showed and ElevenLabs' record,
/// one whose words are full of signs, drivers and dispatches with and without calls, and an event that nobody could
/// read.
pub fn rich(database: &Path) {
    let store = store(database);
    let driver = |id: i64, name: &str, phone: Option<&str>| NewDriver {
        id: DriverId::new(id).unwrap(),
        name: name.to_owned(),
        phone_number: phone.map(|phone| PhoneNumber::new(phone).unwrap()),
    };
    let drivers =
        vec![driver(1042, "Maria Kowalski", Some("+15550100042")), driver(7, "=Jo \"J\" <Brandt>, Sr.", None)];
    apply(&store, &Write::PutDrivers(drivers));
    let dispatch = |id: &str, driver: i64| NewDispatch {
        conversation_id: ConversationId::new(id).unwrap(),
        driver_id: DriverId::new(driver).unwrap(),
        phone_number: None,
        batch_id: Some("btcal_1".to_owned()),
        dispatched_at: None,
    };
    apply(
        &store,
        &Write::PutDispatches(vec![dispatch(CALL, 1042), dispatch("conv_signs", 7), dispatch("conv_to_come", 7)]),
    );
    apply(&store, &live("agent", FIRST, "2026-09-28T12:00:01Z"));
    apply(&store, &live("user", "Yeah I am parked in Gary", "2026-09-28T12:00:05.25Z"));
    apply(&store, &history(&[("agent", FIRST), ("user", PARKED)], "2026-09-28T12:00:09Z"));
    apply(&store, &post(&sample(0)));
    apply(&store, &live("user", LAST, "2026-09-28T12:00:21Z"));
    apply(&store, &Write::KeepEvent(Box::new(event::parse_body(b"\xff\xfe no JSON"[..].into()))));
    apply(&store, &Write::KeepEvent(Box::new(event(&json!({"type": "workspace_news", "data": {}})))));
    for (n, text) in SIGNS.iter().enumerate() {
        let speaker = if n % 2 == 0 { "agent" } else { "user" };
        let body = json!({
            "conversation_id": "conv_signs", "speaker": speaker, "message": text,
            // Two at one time, and one before the one before it.
            "timestamp": format!("2026-09-28T13:00:{:02}Z", [0, 4, 4, 9, 8, 20, 30, 40, 50][n]),
        });
        let new = transcribe_hook::elevenlabs::turn::parse_turn(body.to_string().as_bytes(), None).unwrap();
        apply(&store, &Write::AppendTurn(new));
    }
}

/// Words that mean something to one form or another.
pub const SIGNS: [&str; 9] = [
    "a < b && c > d, <b>bold</b> <script>alert(1)</script> &amp; &lt;",
    "00:00:01.000 --> 00:00:02.000 position:0%",
    "first line\n\nsecond, after a blank one\r\n  third, indented\n1\n00:00:09,000 --> 00:00:10,000",
    "# no heading\n- no list\n1. no list either\n> no quotation\n=====\n---",
    "*not* _emphasis_ `code` [link](http://x.example) ![image](y) | table | ~~gone~~ \\ back",
    "=SUM(A1), \"quoted\", semicolon; comma, tab\there",
    "WEBVTT NOTE STYLE",
    "Ünïcödé 界 🚚 e\u{301}",
    "    four blanks before, https://calls.example.com and mail@example.com",
];

pub fn export(database: &Path, args: &[&str]) -> Output {
    binary().args(["export", "--database"]).arg(database).args(args).output().unwrap()
}

/// Returns an export to standard output.
pub fn exported(database: &Path, args: &[&str]) -> String {
    let out = export(database, args);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}
