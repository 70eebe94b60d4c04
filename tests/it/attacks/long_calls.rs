//! Repeats within calls of any length: once, also behind what the service remembers, after restarts, and at a bounded
//! cost.

use crate::support::database::with_long_call;
use crate::support::service::{Service, binary, open};
use crate::support::turns::turn;
use sha2::{Digest as _, Sha256};
use std::time::{Duration, Instant};

#[test]
fn a_repeat_is_known_wherever_it_stands_in_a_long_call_also_after_a_restart_and_between_others() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    // Two calls that are so long already that what is sent is far behind what is remembered.
    for id in ["conv_a", "conv_b"] {
        with_long_call(&database, id, 2_500, "words");
    }
    let deliver = |service: &Service, id: &str, n: usize| {
        let answer = service.deliver(&turn(id, n)).expect(201);
        let replayed = answer.header("idempotent-replayed") == Some("true");
        (answer.json()["sequence_number"].as_u64().unwrap(), replayed)
    };
    let service = Service::start_on(&database, &["--log-level", "info,http=off"]);
    for n in 0..50 {
        for id in ["conv_a", "conv_b", "conv_short"] {
            let before = if id == "conv_short" { 0 } else { 2_500 };
            assert_eq!(deliver(&service, id, n), (before + n as u64 + 1, false));
        }
    }
    let all_are_repeats = |service: &Service| {
        for n in (0..50).rev() {
            for id in ["conv_b", "conv_short", "conv_a"] {
                let before = if id == "conv_short" { 0 } else { 2_500 };
                assert_eq!(deliver(service, id, n), (before + n as u64 + 1, true), "{id} {n}");
            }
        }
    };
    all_are_repeats(&service);
    drop(service);
    let service = Service::start_on(&database, &["--log-level", "info,http=off"]);
    all_are_repeats(&service);
    // A call that crosses the border while the service knows it.
    with_border(&service, 990..1010, false);
    with_border(&service, 990..1010, true);
    drop(service);
    let service = Service::start_on(&database, &["--log-level", "info,http=off"]);
    with_border(&service, 990..1010, true);
    let check = binary().args(["check", "--database"]).arg(&database).output().unwrap();
    assert!(check.status.success(), "{check:?}");
}

#[test]
fn a_repeat_late_in_a_call_of_an_earlier_version_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let connection = crate::support::database::of_schema(9, folder.path(), &database);
    let said = turn("conv_a", 1);
    let (words, time) = (said["message"].as_str().unwrap(), "2026-09-28T12:00:00.001000Z");
    let digest = Sha256::digest(format!("agent\0{time}\0{words}"));
    let key = (1_i64 << 32) | i64::from(u32::from_be_bytes(digest[..4].try_into().unwrap()));
    connection
        .execute_batch(&format!(
            "INSERT INTO calls (conversation_id, call_start_time, turn_count, first_turn_time, last_turn_time, \
             created_at, updated_at) VALUES ('conv_a', '{time}', 1500, '{time}', '{time}', '{time}', '{time}'); \
             WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1500) \
             INSERT INTO call_transcriptions (conversation_id, speaker_type, message_text, timestamp, sequence_number, \
                created_at, repeat_key) SELECT 'conv_a', 'agent', iif(n = 1400, '{words}', 'words ' || n), '{time}', \
                n, '{time}', iif(n = 1400, {key}, 1 << 32 | n) FROM n"
        ))
        .unwrap();
    drop(connection);
    let service = Service::start_on(&database, &[]);
    let answer = service.deliver(&said).expect(201);
    assert_eq!((answer.header("idempotent-replayed"), &answer.json()["sequence_number"]), (Some("true"), &1400.into()));
    assert_eq!(service.deliver(&turn("conv_a", 2)).expect(201).json()["sequence_number"], 1501);
}

/// Delivers these turns of a call that had a turn for each number before.
fn with_border(service: &Service, numbers: std::ops::Range<usize>, repeats: bool) {
    let id = "conv_border";
    if !repeats {
        (1..numbers.start).for_each(|n| drop(service.deliver(&turn(id, n)).expect(201)));
    }
    for n in numbers {
        let answer = service.deliver(&turn(id, n)).expect(201);
        assert_eq!(answer.json()["sequence_number"], n);
        assert_eq!(answer.header("idempotent-replayed").is_some(), repeats, "{n}");
    }
}

#[test]
fn turns_into_two_huge_calls_by_turns_cost_no_more_than_others() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    for id in ["conv_a", "conv_b"] {
        with_long_call(&database, id, 112_000, "words");
    }
    let service = Service::start_on(&database, &["--log-level", "info,http=off"]);
    // Each is taken up once.
    for id in ["conv_a", "conv_b", "conv_c", "conv_d"] {
        service.deliver(&turn(id, 0)).expect(201);
    }
    let time = |id: &str, n: usize| {
        let start = Instant::now();
        service.deliver(&turn(id, n)).expect(201);
        start.elapsed()
    };
    // In between each other, so that what else the machine does makes both slow.
    let (mut short, mut long) = (Duration::ZERO, Duration::ZERO);
    for n in 1..=100 {
        short += time(["conv_c", "conv_d"][n % 2], n) / 100;
        long += time(["conv_a", "conv_b"][n % 2], n) / 100;
    }
    println!("a turn takes {short:?} in short calls and {long:?} in huge ones");
    assert!(long < short * 4 + Duration::from_millis(10), "{short:?} {long:?}");
    let count: i64 = open(&database)
        .query_row("SELECT turn_count FROM calls WHERE conversation_id = 'conv_a'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, 112_051);
}
