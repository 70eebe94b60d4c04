//! What goes on beside the calls: readers, bursts, and housekeeping.

use super::caller::deliver;
use super::script::{Chance, DRIVERS};
use super::{BURST, Run};
use crate::harness::{open, run as run_command};
use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// Reads whatever can be read, again and again.
pub fn read(run: &Run, reader: usize) {
    let mut chance = Chance::of(100 + reader);
    while run.goes_on() {
        let call = format!("conv_soak_{}_{}", chance.below(super::CALLERS as u64), chance.below(20));
        let (path, may_be_missing) = match chance.below(11) {
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
pub fn back_up(run: &Run, folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let pause = (run.length / 20).clamp(Duration::from_secs(1), Duration::from_mins(2));
    while run.goes_on() {
        let newest = run.ledger.lock().unwrap().newest;
        let copy = folder.join("copy.db");
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
