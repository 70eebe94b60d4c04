//! However a stream is cut and resumed, also by kill -9 of the service, it tells each turn and each change once, in the
//! order of commit.

use crate::support::service::Service;
use crate::support::sse::{Event, Events, Step};
use crate::support::turns::turn;
use proptest::prelude::{ProptestConfig, any, prop};
use proptest::test_runner::TestRunner;
use serde_json::json;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

const ALL: &str = "/api/v1/events";

const CALLS: usize = 3;

/// The place before everything, in a database that is empty.
const BEGINNING: &str = "0-1";

/// Writes to the service while streams are read.
fn write(service: &Service, client: usize, stop: &AtomicBool) {
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let conversation = format!("conv_{}", (client + n) % CALLS);
        let n = client * 10_000 + n;
        let patch = |change| service.try_patch(&format!("/api/v1/calls/{conversation}"), &change).is_ok();
        let done = match n % 7 {
            5 => patch(json!({"status": if n.is_multiple_of(2) { "completed" } else { "in_progress" }})),
            6 => patch(json!({"call_end_time": "2026-09-29T00:00:00Z", "status": "failed"})),
            _ => service.try_deliver(&turn(&conversation, n)).is_ok(),
        };
        if !done {
            return;
        }
    }
}

/// Reads one stream again and again, each time cut after some events, until nobody writes any more and all is told.
fn read(
    address: &Mutex<SocketAddr>,
    path: &str,
    mut last: Option<String>,
    cuts: &[u8],
    stop: &AtomicBool,
) -> Vec<Event> {
    let mut told: Vec<Event> = Vec::new();
    for cut in cuts.iter().cycle() {
        let over = stop.load(Ordering::SeqCst);
        let path = if over { format!("{path}?follow=false") } else { path.to_owned() };
        let address = *address.lock().unwrap();
        // It may be down just now.
        let Ok(mut stream) = Events::try_open(address, &path, last.as_deref()) else {
            std::thread::yield_now();
            continue;
        };
        let mut left = if over { usize::MAX } else { usize::from(*cut) % 24 };
        while left > 0 {
            match stream.step() {
                Step::Event(event) => {
                    last = Some(event.id.clone());
                    told.push(event);
                    left -= 1;
                }
                // Nothing more may come.
                Step::Heartbeat if !stop.load(Ordering::SeqCst) => {}
                _ => break,
            }
        }
        if over {
            break;
        }
    }
    told
}

/// Returns the turns and the numbers of changes in the file, of all calls or of one.
fn committed(database: &Path, conversation: Option<&str>) -> (Vec<i64>, Vec<i64>) {
    let connection = crate::support::service::open(database);
    let numbers = |sql: &str| -> Vec<i64> {
        let mut select = connection.prepare(sql).unwrap();
        select.query_map([conversation], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    (
        numbers("SELECT id FROM call_transcriptions WHERE ?1 IS NULL OR conversation_id = ?1 ORDER BY id"),
        numbers(
            "SELECT id FROM call_changes WHERE ?1 IS NULL \
             OR call_id = (SELECT id FROM calls WHERE conversation_id = ?1) ORDER BY id",
        ),
    )
}

/// Checks what a stream told against what is committed, and that each event is one step further.
fn check(told: &[Event], (turns, changes): (Vec<i64>, Vec<i64>), what: &str) {
    let mut at = told[0].place();
    let (mut turns_told, mut changes_told) = (Vec::new(), Vec::new());
    for (n, event) in told.iter().enumerate() {
        let place = event.place();
        if event.event == "transcription" {
            assert_eq!(event.data["id"], place.0, "{what}: {}", event.id);
            turns_told.push(place.0);
            assert!(n == 0 || (place.0 > at.0 && place.1 == at.1), "{what}: {} after {at:?}", event.id);
        } else {
            changes_told.push(place.1);
            assert!(n == 0 || (place.1 > at.1 && place.0 == at.0), "{what}: {} after {at:?}", event.id);
        }
        at = place;
    }
    let missing: Vec<_> = turns.iter().filter(|id| !turns_told.contains(id)).collect();
    assert_eq!(turns_told, turns, "{what}: turns, {missing:?} are missing");
    assert_eq!(changes_told, changes, "{what}: changes");
}

#[test]
fn a_stream_that_is_cut_anywhere_tells_each_event_once() {
    let config = ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() };
    let cases = prop::collection::vec(any::<u8>(), 1..40);
    TestRunner::new(config)
        .run(&cases, |cuts| {
            let folder = tempfile::tempdir().unwrap();
            let database = folder.path().join("calls.db");
            let quiet = ["--log-level", "info,http=off", "--stream-heartbeat", "100ms"];
            let service = Service::start_on(&database, &quiet);
            let address = Mutex::new(service.address());
            let stop = AtomicBool::new(false);
            for n in 0..CALLS {
                service.deliver(&turn(&format!("conv_{n}"), 9_999 + n)).expect(201);
            }
            let mut running = Some(service);
            let told = std::thread::scope(|scope| {
                let all = scope.spawn(|| read(&address, ALL, Some(BEGINNING.to_owned()), &cuts, &stop));
                let one = scope.spawn(|| read(&address, "/api/v1/calls/conv_1/events", None, &cuts, &stop));
                for round in 0..3 {
                    let service = running.as_ref().expect("it runs");
                    let pause = AtomicBool::new(false);
                    std::thread::scope(|scope| {
                        for client in 0..4 {
                            let pause = &pause;
                            scope.spawn(move || write(service, round * 4 + client, pause));
                        }
                        let enough = 60 + usize::from(cuts[0]);
                        crate::support::service::wait_for("enough to be written", || {
                            let (turns, changes) = committed(&database, None);
                            (turns.len() + changes.len() > enough * (round + 1)).then_some(())
                        });
                        if round < 2 {
                            service.signal("KILL");
                        }
                        pause.store(true, Ordering::Relaxed);
                    });
                    if round < 2 {
                        running.take().expect("it runs").wait();
                        let next = Service::start_on(&database, &quiet);
                        *address.lock().unwrap() = next.address();
                        running = Some(next);
                    }
                }
                stop.store(true, Ordering::SeqCst);
                (all.join().unwrap(), one.join().unwrap())
            });
            check(&told.0, committed(&database, None), "all calls");
            // Of one call, what there is stands for what was changed before.
            let (turns, changes) = committed(&database, Some("conv_1"));
            let first = told.1.iter().find(|event| event.event != "transcription").unwrap().place().1;
            let later = changes.into_iter().filter(|id| *id > first);
            let changes: BTreeSet<i64> = std::iter::once(first).chain(later).collect();
            check(&told.1, (turns, changes.into_iter().collect()), "one call");
            Ok(())
        })
        .unwrap();
}
