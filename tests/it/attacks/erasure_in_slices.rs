//! Erasing calls of any length: others hardly wait, nothing comes back, and a crash only puts the end off.

use crate::support::database::with_long_call;
use crate::support::files::memmem;
use crate::support::service::{Service, binary, open, wait_for};
use crate::support::turns::turn;
use crate::support::whole_call::{SECRET, post_signed};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use transcribe_hook::elevenlabs::sample_call;

fn unfinished(database: &Path) -> Vec<String> {
    let connection = open(database);
    let mut select = connection.prepare("SELECT conversation_id FROM unfinished_calls").unwrap();
    select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// Counts the rows of all tables about a call.
fn rows_about(database: &Path, id: &str) -> i64 {
    let connection = open(database);
    let tables =
        ["calls", "call_transcriptions", "call_histories", "webhook_events", "call_dispatches", "unfinished_calls"];
    let count = |table: &&str| -> i64 {
        let sql = format!("SELECT count(*) FROM {table} WHERE conversation_id = ?1");
        connection.query_row(&sql, [id], |row| row.get(0)).unwrap()
    };
    tables.iter().map(count).sum()
}

fn assert_healthy(database: &Path) {
    let out = binary().args(["check", "--database"]).arg(database).output().unwrap();
    assert!(out.status.success(), "{out:?}");
}

fn record(id: &str) -> String {
    sample_call::post_call(id, 1_790_000_000).to_string()
}

#[test]
fn turns_of_other_calls_do_not_wait_for_the_erasure_of_a_call_of_a_hundred_thousand() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    with_long_call(&database, "conv_long", 100_000, "zanzibar by the sea");
    let service = Service::start_on(&database, &["--log-level", "info,http=off"]);
    service.deliver(&turn("conv_other", 0)).expect(201);
    let done = AtomicBool::new(false);
    let mut waits = Vec::new();
    let took = std::thread::scope(|scope| {
        let erasing = scope.spawn(|| {
            let start = Instant::now();
            let answer = service.delete("/api/v1/calls/conv_long");
            done.store(true, Ordering::Relaxed);
            answer.expect(204);
            start.elapsed()
        });
        let mut n = 1;
        while !done.load(Ordering::Relaxed) {
            let start = Instant::now();
            service.deliver(&turn("conv_other", n)).expect(201);
            waits.push(start.elapsed());
            n += 1;
        }
        erasing.join().unwrap()
    });
    waits.sort();
    let (count, longest, median) = (waits.len(), waits[waits.len() - 1], waits[waits.len() / 2]);
    println!("{count} turns beside the erasure, which took {took:?}; the slowest {longest:?}, the median {median:?}");
    // The promise is 100 ms for each. A machine that many tests share may take the processor away for longer, but not
    // from most turns; and an erasure in one piece would make one turn wait for nearly all of its time.
    assert!(count > 20 && longest * 4 < took, "{count} turns, the slowest {longest:?} of {took:?}");
    assert!(median < Duration::from_millis(100), "{median:?}");
    assert_eq!(rows_about(&database, "conv_long"), 0);
    let words = || {
        let files = ["calls.db", "calls.db-wal"].map(|name| std::fs::read(folder.path().join(name)).unwrap());
        files.iter().any(|bytes| memmem(bytes, b"zanzibar"))
    };
    let start = Instant::now();
    wait_for("the words to be gone", || (!words()).then_some(()));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    drop(service);
    assert_healthy(&database);
}

#[test]
fn what_arrives_while_a_call_is_erased_is_neither_lost_nor_brings_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    with_long_call(&database, "conv_long", 60_000, "zanzibar by the sea");
    let service = Service::start_on(&database, &["--elevenlabs-secret", SECRET, "--log-level", "info,http=off"]);
    service.put("/api/v1/drivers/7", &json!({"name": "Jo"})).expect(201);
    std::thread::scope(|scope| {
        let erasing = scope.spawn(|| service.delete("/api/v1/calls/conv_long").expect(204));
        wait_for("the erasure to begin", || (!unfinished(&database).is_empty()).then_some(()));
        let refused = service.deliver(&turn("conv_long", 1));
        if refused.status != 201 {
            assert!(refused.header("retry-after").is_some());
            assert_eq!(refused.expect_error(503)["code"], "call_locked");
            post_signed(&service, &record("conv_long")).expect(200);
            assert_eq!(service.events_stored(), 0, "it is dropped");
            let exported =
                binary().args(["export", "--format", "jsonl", "--database"]).arg(&database).output().unwrap();
            assert!(exported.status.success(), "{exported:?}");
            let lines = String::from_utf8(exported.stdout).unwrap();
            assert!(!lines.contains("zanzibar") || unfinished(&database).is_empty(), "no half call leaves");
        }
        // What is taken meanwhile is there afterwards.
        let dispatched = service.put("/api/v1/dispatches/conv_long", &json!({"driver_id": 7}));
        assert!([200, 201].contains(&dispatched.status), "{dispatched:?}");
        let answer = wait_for("a turn to be taken", || {
            let answer = service.deliver(&turn("conv_long", 2));
            if answer.status == 201 {
                Some(answer)
            } else {
                answer.expect_error(503);
                None
            }
        });
        erasing.join().unwrap();
        let number = answer.json()["sequence_number"].as_u64().unwrap();
        assert!(number <= 2, "a new call: {number}");
    });
    let call = service.get("/api/v1/calls/conv_long").expect(200).json();
    assert_eq!(call["driver_id"], 7, "the dispatch was not lost");
    let turns = service.get("/api/v1/calls/conv_long/transcriptions").expect(200).text;
    assert!(!turns.contains("zanzibar"), "{turns}");
    drop(service);
    assert_healthy(&database);
}

#[test]
fn an_erasure_that_is_killed_is_understood_and_ends_with_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    for (round, command) in ["serve", "erase"].into_iter().enumerate() {
        let id = format!("conv_{round}");
        with_long_call(&database, &id, 60_000, "zanzibar by the sea");
        if command == "serve" {
            let service = Service::start_on(&database, &["--log-level", "info,http=off"]);
            std::thread::scope(|scope| {
                let url = service.url(&format!("/api/v1/calls/{id}"));
                let asked = scope.spawn(move || ureq::delete(&url).call().map(drop));
                wait_for("the erasure to begin", || (!unfinished(&database).is_empty()).then_some(()));
                service.signal("KILL");
                assert!(asked.join().unwrap().is_err(), "nobody said that it is done");
            });
        } else {
            let mut erase = binary();
            erase.args(["erase", "--yes", "--conversation", &id, "--database"]).arg(&database);
            let mut child = erase.spawn().unwrap();
            wait_for("the erasure to begin", || (!unfinished(&database).is_empty()).then_some(()));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(unfinished(&database), std::slice::from_ref(&id), "it is killed in its midst");
        assert_healthy(&database);
        let service = Service::start_on(&database, &[]);
        wait_for("the rest to be gone", || (rows_about(&database, &id) == 0).then_some(()));
        service.get(&format!("/api/v1/calls/{id}")).expect_error(404);
        service.deliver(&turn(&id, 1)).expect(201);
        drop(service);
        assert_healthy(&database);
    }
}

#[test]
fn pruning_and_the_erasure_of_a_driver_take_long_calls_too() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    with_long_call(&database, "conv_old", 3_000, "zanzibar by the sea");
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection
        .execute_batch(
            "UPDATE calls SET status = 'completed', call_end_time = '2020-01-01T00:00:00.000000Z', \
                call_start_time = '2020-01-01T00:00:00.000000Z', updated_at = '2020-01-01T00:00:00.000000Z'; \
             UPDATE call_transcriptions SET created_at = '2020-01-01T00:00:00.000000Z'",
        )
        .unwrap();
    drop(connection);
    let out = binary()
        .args(["prune", "--older-than", "90d", "--yes", "--trust-clock", "--json", "--database"])
        .arg(&database)
        .output()
        .unwrap();
    assert!(out.status.success(), "{out:?}");
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&report["calls"], &report["transcriptions"]), (&json!(1), &json!(3000)));
    assert_eq!(rows_about(&database, "conv_old"), 0);
    with_long_call(&database, "conv_driver", 3_000, "zanzibar by the sea");
    let service = Service::start_on(&database, &[]);
    service.put("/api/v1/drivers/7", &json!({"name": "Jo"})).expect(201);
    service.put("/api/v1/dispatches/conv_driver", &json!({"driver_id": 7})).expect(201);
    service.delete("/api/v1/drivers/7?erase_calls=true").expect(204);
    assert_eq!(rows_about(&database, "conv_driver"), 0);
    drop(service);
    assert_healthy(&database);
}

#[test]
fn an_erasure_beside_the_service_waits_for_whoever_writes_to_the_search_index() {
    let service = Service::start();
    service.deliver(&turn("conv_a", 1)).expect(201);
    wait_for("the turn to be found", || {
        let found = service.get("/api/v1/search?q=number").expect(200).json();
        (found["data"].as_array().unwrap().len() == 1).then_some(())
    });
    let mut index = service.database().as_os_str().to_owned();
    index.push(".search");
    let index = rusqlite::Connection::open(index).unwrap();
    index.busy_timeout(Duration::from_secs(5)).unwrap();
    index.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut command = binary();
    command.args(["erase", "--conversation", "conv_a", "--yes", "--database"]).arg(service.database());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    wait_for("the call to be gone", || (rows_about(service.database(), "conv_a") == 0).then_some(()));
    // It tries many times a second.
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(500) {
        assert_eq!(child.try_wait().unwrap(), None, "it waits");
        std::thread::yield_now();
    }
    index.execute_batch("ROLLBACK").unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{out:?}");
}
