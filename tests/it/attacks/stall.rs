//! Reconciling long calls holds up nobody else's turns.

use crate::support::service::{Service, wait_for};
use crate::support::turns::turn;
use crate::support::whole_call::{SECRET, send_signed};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const CALLS: usize = 60;
const TURNS: usize = 2000;

/// The slowest that honest turns may be, but for one of a hundred, on a machine that does nothing else.
const PATIENCE: Duration = Duration::from_millis(100);

/// Delivers turns of ordinary calls for some time; returns how long they took, the quickest first.
fn honest_turns(service: &Service, name: &str, time: Duration) -> Vec<Duration> {
    let (end, mut took) = (Instant::now() + time, Vec::new());
    while Instant::now() < end {
        let began = Instant::now();
        service.deliver(&turn(&format!("conv_{name}_{}", took.len() % 7), took.len())).expect(201);
        took.push(began.elapsed());
        std::thread::sleep(Duration::from_millis(5));
    }
    took.sort();
    took
}

/// All but one of a hundred took no longer.
fn p99(took: &[Duration]) -> Duration {
    took[took.len() * 99 / 100]
}

fn words(call: usize, n: usize) -> String {
    format!("Sentence {n} of call {call}: the reefer reads {} degrees, and the set point is {}.", n % 97, n % 53)
}

fn live(call: usize, n: usize) -> Value {
    let time = format!("2026-09-28T{:02}:{:02}:{:02}Z", 10 + n / 3600, n / 60 % 60, n % 60);
    json!({"conversation_id": format!("conv_long_{call}"),
        "speaker": if n.is_multiple_of(2) { "agent" } else { "user" },
        "message": words(call, n), "timestamp": time})
}

fn history(call: usize) -> Value {
    let entries: Vec<_> = (0..TURNS)
        .map(|n| json!({"role": if n.is_multiple_of(2) { "agent" } else { "user" }, "message": words(call, n)}))
        .collect();
    json!({"conversation_id": format!("conv_long_{call}"), "timestamp": "2026-09-28T11:00:00Z",
        "history": {"entries": entries}})
}

fn record(call: usize) -> Value {
    let transcript: Vec<_> = (0..TURNS)
        .map(|n| {
            json!({"role": if n.is_multiple_of(2) { "agent" } else { "user" }, "message": words(call, n).to_uppercase(),
                "time_in_call_secs": n})
        })
        .collect();
    json!({"type": "post_call_transcription", "event_timestamp": 1_790_600_000, "data": {
        "conversation_id": format!("conv_long_{call}"), "status": "done", "transcript": transcript,
        "metadata": {"start_time_unix_secs": 1_790_589_600, "call_duration_secs": TURNS}}})
}

#[test]
fn honest_turns_are_quick_while_long_recorded_calls_are_under_constant_fire() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET, "--max-body", "2MiB"]);
    std::thread::scope(|scope| {
        for part in 0..8 {
            let service = &service;
            scope.spawn(move || {
                for call in (part..CALLS).step_by(8) {
                    for n in 0..TURNS {
                        service.deliver(&live(call, n)).expect(201);
                    }
                }
            });
        }
    });
    let done = AtomicBool::new(false);
    // Other tests run beside this one.
    let quiet = p99(&honest_turns(&service, "quiet", Duration::from_secs(5)));
    let mut honest = Vec::new();
    std::thread::scope(|scope| {
        for part in 0..4 {
            let (service, done) = (&service, &done);
            scope.spawn(move || {
                for round in 0.. {
                    for call in (part..CALLS).step_by(4) {
                        if done.load(Ordering::Relaxed) {
                            return;
                        }
                        // The answers are right, late or not.
                        match round % 3 {
                            0 => drop(service.post("/webhooks/elevenlabs/history", &history(call)).expect(200)),
                            1 => drop(send_signed(service, record(call).to_string().as_bytes()).expect(200)),
                            _ => drop(service.deliver(&live(call, TURNS + round)).expect(201)),
                        }
                    }
                }
            });
        }
        honest = honest_turns(&service, "honest", Duration::from_secs(20));
        done.store(true, Ordering::Relaxed);
    });
    let slowest = p99(&honest);
    println!(
        "{} honest turns: median {:?}, p99 {slowest:?}, max {:?}; before p99 {quiet:?}",
        honest.len(),
        honest[honest.len() / 2],
        honest[honest.len() - 1]
    );
    assert!(slowest < PATIENCE.max(4 * quiet), "p99 {slowest:?} of {} turns, {quiet:?} before", honest.len());
    // In the end each call is what its record says, once.
    let due = "SELECT count(*) FROM due_reconciliations";
    wait_for("all calls to be reconciled", || {
        let left: i64 = service.sqlite().query_row(due, [], |row| row.get(0)).unwrap();
        (left == 0).then_some(())
    });
    let wrong: i64 = service
        .sqlite()
        .query_row(
            "SELECT count(*) FROM (SELECT c.live_only, c.matched, c.added, c.record_event_id, \
             count(t.place) AS placed, max(t.place) AS last, count(DISTINCT t.place) AS places FROM calls c \
             JOIN call_transcriptions t USING (conversation_id) WHERE c.conversation_id LIKE 'conv_long_%' GROUP BY \
             c.id) \
             WHERE record_event_id IS NOT NULL AND (matched <> 2000 OR added <> 0 OR placed <> live_only + matched \
             OR places <> placed OR last <> placed)",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(wrong, 0);
}
