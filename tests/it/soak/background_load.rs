//! Load beside the calls: readers, bursts, and housekeeping.

use super::caller::deliver;
use super::ledger::{Ledger, Turn};
use super::workload::{Chance, DRIVERS, turn};
use super::{BURST, Run};
use crate::support::service::{Service, open, run as run_command};
use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use transcribe_hook::domain::Timestamp;

/// Reads whatever can be read, again and again.
pub fn read(run: &Run, reader: usize) {
    let mut chance = Chance::of(100 + reader);
    while run.goes_on() {
        let call = format!("conv_soak_{}_{}", chance.below(super::CALLERS as u64), chance.below(20));
        let (path, may_be_missing) = match chance.below(13) {
            0 => ("/api/v1/calls?limit=50".to_owned(), false),
            1 => ("/api/v1/calls?status=in_progress&order=asc".to_owned(), false),
            2 => (format!("/api/v1/calls?driver_id={}", 1 + chance.below(DRIVERS)), false),
            3 => (format!("/api/v1/calls/{call}"), true),
            4 => (format!("/api/v1/calls/{call}/transcriptions?limit=5"), true),
            5 => ("/v1/convai/conversations".to_owned(), false),
            6 => (format!("/v1/convai/conversations/{call}"), true),
            7 => ("/api/v1/drivers".to_owned(), false),
            8 => ("/readyz".to_owned(), false),
            9 => ("/metrics".to_owned(), false),
            10 => ("/api/v1/search?q=reefer".to_owned(), false),
            11 => (format!("/api/v1/calls/{call}/events?follow=false"), true),
            _ => ("/openapi.json".to_owned(), false),
        };
        let answer = run.ask(|| run.service.get(&path));
        assert!(answer.status == 200 || (may_be_missing && answer.status == 404), "{path}: {}", answer.text);
        run.tally.reads.fetch_add(1, SeqCst);
        run.pause(Duration::from_millis(chance.below(30)));
    }
}

/// From time to time, more clients at once than the queue has room for. Each gets its turn stored in the end.
pub fn burst(run: &Run, _: usize) {
    let pause = (run.length / 20).clamp(Duration::from_secs(2), Duration::from_mins(1));
    loop {
        run.pause(pause);
        if !run.goes_on() {
            return;
        }
        let burst = run.bursts.load(SeqCst);
        run.bursting.fetch_add(1, SeqCst);
        std::thread::scope(|scope| {
            for client in 0..BURST {
                scope.spawn(move || {
                    let _watch = super::Watch(run);
                    let call = format!("conv_burst_{burst}_{}", client % 4);
                    let stored = deliver(run, &call, client, None, false);
                    run.ledger.lock().unwrap().acknowledge(&call, stored);
                });
            }
        });
        run.bursts.fetch_add(1, SeqCst);
        run.bursting.fetch_sub(1, SeqCst);
    }
}

/// Copies the database again and again. Each copy is whole, and has all that was acknowledged when it was begun.
pub fn back_up(run: &Run, _: usize) {
    let pause = (run.length / 20).clamp(Duration::from_secs(1), Duration::from_mins(2));
    while run.goes_on() {
        let newest = run.ledger.lock().unwrap().newest;
        let copy = run.folder.path().join("copy.db");
        let database = run.service.database().to_str().unwrap();
        let out = run_command(&["backup", "--database", database, copy.to_str().unwrap()]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let copied: i64 =
            open(&copy).query_row("SELECT ifnull(max(id), 0) FROM call_transcriptions", [], |row| row.get(0)).unwrap();
        assert!(copied >= newest, "the copy ends at {copied}, but {newest} was acknowledged before");
        std::fs::remove_file(copy).unwrap();
        run.tally.backups.fetch_add(1, SeqCst);
        run.pause(pause);
    }
}

/// Number of calls that are old when a run begins, the first of them the oldest.
pub const OLD_CALLS: u32 = 40;

/// Returns the age of the call of this number, in days.
fn age(n: u32) -> u32 {
    100 + OLD_CALLS - n
}

fn old_call(n: u32) -> String {
    format!("conv_old_{n}")
}

/// Makes calls that were held long ago, before the run: by a service that is stopped, since no service takes another
/// time than now for the present.
pub fn hold_old_calls(database: &Path, ledger: &mut Ledger) {
    let service = Service::start_on(database, &[]);
    for (call, said) in (0..OLD_CALLS).flat_map(|n| (0..5).map(move |said| (n, said))) {
        let call = old_call(call);
        let answer = service.deliver(&turn(&call, said)).expect(201).json();
        let number = |field: &str| answer[field].as_i64().unwrap();
        let (id, sequence_number) = (number("transcription_id"), number("sequence_number"));
        ledger.acknowledge_old(&call, Turn { said: u32::try_from(said).unwrap(), id, sequence_number });
    }
    service.stop();
    let connection = rusqlite::Connection::open(database).unwrap();
    for n in 0..OLD_CALLS {
        let micros = i64::from(age(n)) * 86_400_000_000;
        let time = Timestamp::from_unix_micros(Timestamp::now().unix_micros() - micros).unwrap().to_string();
        for change in [
            "UPDATE calls SET call_start_time = ?2, call_end_time = ?2, first_turn_time = ?2, last_turn_time = ?2, \
             created_at = ?2, updated_at = ?2, status = 'completed' WHERE conversation_id = ?1",
            "UPDATE call_transcriptions SET timestamp = ?2, created_at = ?2 WHERE conversation_id = ?1",
        ] {
            connection.execute(change, [&old_call(n), &time]).unwrap();
        }
    }
}

/// Erases the old calls, some at a time, but for the last quarter.
pub fn prune(run: &Run, _: usize) {
    const STEPS: u32 = 5;
    for step in 1..=STEPS {
        run.pause(run.length / (STEPS + 1));
        let oldest_kept = OLD_CALLS * 3 / 4 * step / STEPS;
        // Half a day from any call's age.
        let older_than = format!("{}h", age(oldest_kept) * 24 + 12);
        let database = run.service.database().to_str().unwrap();
        let out =
            run_command(&["prune", "--older-than", &older_than, "--yes", "--trust-clock", "--database", database]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        for n in 0..oldest_kept {
            run.ledger.lock().unwrap().erase(&old_call(n));
        }
        run.tally.prunes.fetch_add(1, SeqCst);
        if !run.goes_on() {
            return;
        }
    }
}
