//! `backfill` against a stand-in of ElevenLabs' API: what is missing or unfinished is fetched once, whatever happens
//! on the way.

use crate::support::fake_elevenlabs::{FakeElevenLabs, Fault, KEY};
use crate::support::service::{Service, binary, wait_for};
use crate::support::tls::free_port;
use crate::support::turns::turn;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};
use transcribe_hook::elevenlabs::sample_call;

const START: i64 = 1_790_000_000;

/// A conversation as ElevenLabs keeps it once it is over.
fn over(id: &str, start: i64) -> Value {
    sample_call::post_call(id, start)["data"].take()
}

/// Four conversations that are over and one that runs, the newest first.
fn some() -> Vec<Value> {
    let mut all: Vec<_> = (1..=4).rev().map(|n| over(&format!("conv_{n}"), START + n)).collect();
    let mut running = over("conv_5", START + 5);
    running["status"] = json!("in-progress");
    all.insert(0, running);
    all
}

fn backfill(elevenlabs: &FakeElevenLabs, database: &Path, flags: &[&str]) -> Output {
    binary()
        .args(["backfill", "--since", "2026-01-01T00:00:00Z", "--elevenlabs-base-url", &elevenlabs.url(), "--database"])
        .arg(database)
        .args(flags)
        .env("TRANSCRIBE_HOOK_ELEVENLABS_API_KEY", KEY)
        .output()
        .unwrap()
}

fn numbers(out: &Output) -> Value {
    assert!(!String::from_utf8_lossy(&out.stderr).contains(KEY), "{out:?}");
    serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("{error} in {out:?}"))
}

/// The conversations that were asked for one by one since the last time.
fn fetched(elevenlabs: &FakeElevenLabs) -> Vec<String> {
    let requests = elevenlabs.requests().into_iter();
    requests.filter_map(|path| path.strip_prefix("/v1/convai/conversations/").map(str::to_owned)).collect()
}

#[test]
fn what_is_missing_or_unfinished_is_fetched_once() {
    let service = Service::start();
    // Of this one live turns came, and its end did not.
    service.deliver(&turn("conv_2", 1)).expect(201);
    let elevenlabs = FakeElevenLabs::start(some(), 2);
    let out = backfill(&elevenlabs, service.database(), &["--json"]);
    assert!(out.status.success(), "{out:?}");
    let expected = json!({"listed": 5, "complete": 0, "running": 1, "fetched": 4, "failed": 0, "dry_run": false});
    assert_eq!(numbers(&out), expected);
    assert_eq!(fetched(&elevenlabs), ["conv_1", "conv_2", "conv_3", "conv_4"], "the oldest first");
    for n in 1..=4 {
        let call = service.get(&format!("/api/v1/calls/conv_{n}")).expect(200).json();
        assert_eq!(call["status"], "completed", "{call}");
        assert_eq!(call["agent_id"], "agent_simulated", "{call}");
    }
    let turns = service.get("/api/v1/calls/conv_1/transcriptions?order=time").expect(200).json();
    let words: Vec<_> = turns["data"].as_array().unwrap().iter().map(|turn| turn["message_text"].clone()).collect();
    assert_eq!(json!(words), json!(sample_call::spoken().iter().map(|(_, words)| *words).collect::<Vec<_>>()));
    service.get("/api/v1/calls/conv_5").expect(404);

    // Again, only the list is asked for; and then what has come to its end meanwhile.
    let again = numbers(&backfill(&elevenlabs, service.database(), &["--json"]));
    assert_eq!((&again["complete"], &again["fetched"]), (&json!(4), &json!(0)));
    assert_eq!(fetched(&elevenlabs), [""; 0]);
    elevenlabs.put(over("conv_5", START + 5));
    let later = numbers(&backfill(&elevenlabs, service.database(), &["--json"]));
    assert_eq!((&later["complete"], &later["fetched"]), (&json!(4), &json!(1)));
    assert_eq!(fetched(&elevenlabs), ["conv_5"]);
}

#[test]
fn a_dry_run_and_a_time_limit_fetch_less() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let elevenlabs = FakeElevenLabs::start(some(), 2);
    let dry = numbers(&backfill(&elevenlabs, &database, &["--dry-run", "--json"]));
    assert_eq!(dry["fetched"], 4, "{dry}");
    assert_eq!(fetched(&elevenlabs), [""; 0]);
    let made: Vec<_> = folder.path().read_dir().unwrap().collect();
    assert!(made.is_empty(), "a dry run makes no file: {made:?}");
    let since = "2026-09-21T14:13:23Z";
    let out = binary()
        .args(["backfill", "--since", since, "--elevenlabs-base-url", &elevenlabs.url(), "--json", "--database"])
        .arg(&database)
        .env("TRANSCRIBE_HOOK_ELEVENLABS_API_KEY", KEY)
        .output()
        .unwrap();
    assert_eq!(numbers(&out)["fetched"], 2, "{out:?}");
    assert_eq!(fetched(&elevenlabs), ["conv_3", "conv_4"]);
}

#[test]
fn what_fails_for_a_while_does_not_fail_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let elevenlabs = FakeElevenLabs::start(some(), 2);
    elevenlabs.fail("page_size", [Fault::Status(500, Some("0"))]);
    elevenlabs.fail("conv_1", [Fault::Status(429, Some("0")), Fault::Status(503, Some("0"))]);
    elevenlabs.fail("conv_3", [Fault::Cut]);
    let out = backfill(&elevenlabs, &folder.path().join("calls.db"), &["--json"]);
    assert!(out.status.success(), "{out:?}");
    assert_eq!(numbers(&out)["fetched"], 4);
}

#[test]
fn a_conversation_whose_words_are_not_there_yet_is_left_for_later() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let mut early = over("conv_1", START);
    let words = std::mem::take(&mut early["transcript"]);
    early["message_count"] = json!(8);
    let elevenlabs = FakeElevenLabs::start(vec![early.clone()], 2);
    let first = numbers(&backfill(&elevenlabs, &database, &["--json"]));
    assert_eq!((&first["running"], &first["fetched"]), (&json!(1), &json!(0)));
    early["transcript"] = words;
    elevenlabs.put(early);
    assert_eq!(numbers(&backfill(&elevenlabs, &database, &["--json"]))["fetched"], 1);
}

#[test]
fn a_run_that_was_interrupted_is_taken_up_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let elevenlabs = FakeElevenLabs::start(some(), 2);
    // The key is withdrawn in the middle.
    elevenlabs.fail("conv_3", [Fault::Status(401, None)]);
    let out = backfill(&elevenlabs, &database, &["--json"]);
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("401"), "{said}");
    assert_eq!(fetched(&elevenlabs), ["conv_1", "conv_2", "conv_3"]);
    let next = numbers(&backfill(&elevenlabs, &database, &["--json"]));
    assert_eq!((&next["complete"], &next["fetched"]), (&json!(2), &json!(2)));
    assert_eq!(fetched(&elevenlabs), ["conv_3", "conv_4"]);
}

#[test]
fn a_run_that_cannot_connect_at_first_fails_at_once_and_names_the_address() {
    let folder = tempfile::tempdir().unwrap();
    let plain = Service::start();
    let no_tls = format!("https://{}", plain.address());
    for url in [format!("http://127.0.0.1:{}", free_port()), "https://api.elevenlabs.invalid".to_owned(), no_tls] {
        for flags in [&[][..], &["--batch-id", "btcal_1"]] {
            let start = Instant::now();
            let out = binary()
                .args(["backfill", "--elevenlabs-base-url", &url, "--database"])
                .arg(folder.path().join("calls.db"))
                .args(flags)
                .env("TRANSCRIBE_HOOK_ELEVENLABS_API_KEY", KEY)
                .output()
                .unwrap();
            assert_eq!(out.status.code(), Some(1), "{out:?}");
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            assert!(said.contains(&url) && said.contains("--elevenlabs-base-url"), "{said}");
            // Seven tries with growing pauses take more than half a minute.
            assert!(start.elapsed() < Duration::from_secs(25), "{:?}", start.elapsed());
        }
    }
}

#[test]
fn a_run_that_was_killed_is_taken_up_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let elevenlabs = FakeElevenLabs::start(some(), 2);
    elevenlabs.fail("conv_3", [Fault::Silence]);
    let mut child = binary()
        .args(["backfill", "--since", "2026-01-01T00:00:00Z", "--elevenlabs-base-url", &elevenlabs.url(), "--database"])
        .arg(&database)
        .env("TRANSCRIBE_HOOK_ELEVENLABS_API_KEY", KEY)
        .spawn()
        .unwrap();
    wait_for("the third to be asked for", || (elevenlabs.seen("/v1/convai/conversations/conv_3") > 0).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    let next = numbers(&backfill(&elevenlabs, &database, &["--json"]));
    assert_eq!((&next["complete"], &next["fetched"]), (&json!(2), &json!(2)));
}

#[test]
fn one_conversation_that_cannot_be_had_does_not_hinder_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let elevenlabs = FakeElevenLabs::start(some(), 2);
    elevenlabs.fail("conv_1", [Fault::Status(404, None)]);
    elevenlabs.fail("conv_2", [Fault::Garbage]);
    let out = backfill(&elevenlabs, &folder.path().join("calls.db"), &["--json"]);
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    let report = numbers(&out);
    assert_eq!((&report["fetched"], &report["failed"]), (&json!(2), &json!(2)));
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("conv_1: ") && said.contains("conv_2: "), "{said}");
}

#[test]
fn a_batchs_recipients_become_dispatches() {
    let service = Service::start();
    service.put("/api/v1/drivers/1042", &json!({"name": "Maria Kowalski"})).expect(201);
    let elevenlabs = FakeElevenLabs::start(vec![], 2);
    let batch: Value = serde_json::from_str(include_str!("../../fixtures/elevenlabs/batch_call.json")).unwrap();
    let id = batch["id"].as_str().unwrap().to_owned();
    elevenlabs.put_batch(batch);
    let flags = ["--json", "--batch", &id];
    let dry = numbers(&backfill(&elevenlabs, service.database(), &[&flags[..], &["--dry-run"]].concat()));
    assert_eq!((&dry["recipients"], &dry["not_called"], &dry["dispatched"]), (&json!(2), &json!(1), &json!(1)));
    service.get("/api/v1/dispatches/conv_1901kaj4pr1penza6bbkscg6hgkc").expect(404);
    let out = backfill(&elevenlabs, service.database(), &flags);
    assert!(out.status.success(), "{out:?}");
    let dispatch = service.get("/api/v1/dispatches/conv_1901kaj4pr1penza6bbkscg6hgkc").expect(200).json();
    assert_eq!((&dispatch["driver_id"], &dispatch["batch_id"]), (&json!(1042), &json!(id)));
    // Nobody is driver 2077 here.
    let mut other: Value = serde_json::from_str(include_str!("../../fixtures/elevenlabs/batch_call.json")).unwrap();
    other["id"] = json!("btcal_other");
    other["recipients"][1]["conversation_id"] = json!("conv_2077");
    elevenlabs.put_batch(other);
    let out = backfill(&elevenlabs, service.database(), &["--json", "--batch-id", "btcal_other"]);
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert_eq!((&numbers(&out)["dispatched"], &numbers(&out)["failed"]), (&json!(1), &json!(1)));
    assert!(String::from_utf8_lossy(&out.stderr).contains("2077"), "{out:?}");
}

#[test]
fn without_a_key_nothing_is_asked_and_the_flag_is_named() {
    let out = binary().args(["backfill", "--database", "/nowhere/calls.db"]).output().unwrap();
    assert_eq!(out.status.code(), Some(2), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("--elevenlabs-api-key"), "{out:?}");
    for (flag, value) in [("--since", "yesterday"), ("--elevenlabs-base-url", "http://api.example.com")] {
        let out = binary().args(["backfill", flag, value]).output().unwrap();
        assert_eq!(out.status.code(), Some(2), "{out:?}");
    }
}

#[test]
fn a_running_service_fetches_the_ends_of_its_calls_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    // Calls of these days: older ones are not waited for any more.
    let now = transcribe_hook::domain::Timestamp::now();
    let start = now.unix_micros() / 1_000_000 - 600;
    let turn = |conversation: &str| {
        json!({"conversation_id": conversation, "speaker": "agent", "message": "Hi \
        Maria.", "timestamp": now.to_string()})
    };
    let mut running = over("conv_1", start);
    running["status"] = json!("in-progress");
    let elevenlabs = FakeElevenLabs::start(vec![over("conv_2", start), running], 2);
    let mut command = binary();
    command.env("TRANSCRIBE_HOOK_ELEVENLABS_API_KEY", KEY);
    let flags = ["--backfill-every", "1s", "--elevenlabs-base-url", &elevenlabs.url()];
    let service = Service::start_command(command, &database, &flags);
    service.deliver(&turn("conv_1")).expect(201);
    service.deliver(&turn("conv_elsewhere")).expect(201);
    wait_for("the call to be asked for twice", || {
        let asked = elevenlabs.seen("/v1/convai/conversations/conv_1");
        (asked >= 2).then_some(())
    });
    let status = |id: &str| service.get(&format!("/api/v1/calls/{id}")).expect(200).json()["status"].clone();
    assert_eq!(status("conv_1"), "in_progress");
    elevenlabs.put(over("conv_1", start));
    wait_for("the call's end", || (status("conv_1") == "completed").then_some(()));
    // What ElevenLabs does not know is asked for once; what never came here, not at all.
    assert_eq!(elevenlabs.seen("/v1/convai/conversations/conv_elsewhere"), 1);
    assert_eq!(elevenlabs.seen("/v1/convai/conversations/conv_2"), 0);
    assert!(!service.log().join("\n").contains(KEY));
    service.stop();
}

#[test]
fn a_service_that_is_to_fetch_needs_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let out = binary()
        .args(["serve", "--listen", "127.0.0.1:0", "--backfill-every", "15m", "--database"])
        .arg(folder.path().join("calls.db"))
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(2), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("--elevenlabs-api-key"), "{out:?}");
}
