//! Clocks that are set back, and readers that do not let go.

use crate::support::service::{Service, binary, wait_for};
use crate::support::tools::faketime;
use crate::support::turns::turn;
use crate::support::whole_call::{SECRET, post_signed};
use serde_json::json;

#[test]
fn a_clock_that_is_set_back_changes_no_order_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let offset = folder.path().join("offset");
    let set = |seconds: &str| {
        // As a whole, since it is read at any time.
        let aside = folder.path().join("aside");
        std::fs::write(&aside, seconds).unwrap();
        std::fs::rename(&aside, &offset).unwrap();
    };
    let start = || {
        let mut command = binary();
        command
            .env("LD_PRELOAD", faketime())
            .env("FAKETIME_TIMESTAMP_FILE", &offset)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        Service::start_command(command, &database, &["--log-level", "info,http=off"])
    };
    set("+0");
    let service = start();
    let mut ids = Vec::new();
    let mut deliver = |service: &Service, n: usize| {
        let answer = service.deliver(&turn("conv_a", n)).expect(201).json();
        assert_eq!(answer["sequence_number"], ids.len() + 1);
        ids.push(answer["transcription_id"].as_i64().unwrap());
    };
    (0..5).for_each(|n| deliver(&service, n));
    set("-7200");
    (5..10).for_each(|n| deliver(&service, n));
    // A repeat is one, whatever the time.
    assert_eq!(service.deliver(&turn("conv_a", 2)).expect(201).header("idempotent-replayed"), Some("true"));
    service.get("/readyz").expect(200);
    service.stop();
    set("-86400");
    let service = start();
    (10..15).for_each(|n| deliver(&service, n));
    let page = service.get("/api/v1/calls/conv_a/transcriptions?order=sequence&limit=1000").expect(200).json();
    let turns = page["data"].as_array().unwrap();
    let numbers: Vec<_> = turns.iter().map(|turn| turn["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=15).collect::<Vec<_>>());
    let words: Vec<_> = turns.iter().map(|turn| turn["message_text"].clone()).collect();
    assert_eq!(words, (0..15).map(|n| turn("conv_a", n)["message"].clone()).collect::<Vec<_>>());
    assert!(ids.is_sorted(), "{ids:?}");
    let stored: Vec<_> = turns.iter().map(|turn| turn["created_at"].as_str().unwrap()).collect();
    assert!(stored[4] > stored[5] && stored[9] > stored[10], "the clock was set back: {stored:?}");
}

#[test]
fn a_reader_that_does_not_let_go_is_told_of_and_the_log_shrinks_when_it_does() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET, "--log-level", "info,http=off"]);
    service.deliver(&turn("conv_a", 1)).expect(201);
    let reader = service.sqlite();
    reader.execute_batch("BEGIN").unwrap();
    let _: i64 = reader.query_row("SELECT count(*) FROM calls", [], |row| row.get(0)).unwrap();
    let log = service.database().with_extension("db-wal");
    let told = |what: &str| service.log().iter().any(|line| line.contains(what));
    for n in 0..8 {
        let event = json!({"type": "some_large_event", "data": {"n": n, "filler": "words ".repeat(2 << 20)}});
        assert_eq!(post_signed(&service, &event.to_string()).status, 200);
    }
    assert!(log.metadata().unwrap().len() > 64 << 20, "{}", log.metadata().unwrap().len());
    wait_for("the operator to be told", || {
        service.deliver(&turn("conv_a", 2)).expect(201);
        told("WAL is large").then_some(())
    });
    reader.execute_batch("COMMIT").unwrap();
    wait_for("the log to shrink", || (log.metadata().unwrap().len() == 0).then_some(()));
    wait_for("that being told", || {
        service.deliver(&turn("conv_a", 2)).expect(201);
        told("usual size again").then_some(())
    });
}
