//! Databases with other kinds of pages than the service makes itself: an operator may switch `auto_vacuum` on or off,
//! also while the service runs. Erased words must leave the bytes all the same, and no page may be damaged.

use crate::support::database::{assert_sound, stored};
use crate::support::files::with_any;
use crate::support::random::Random;
use crate::support::service::{Service, wait_for};
use crate::support::turns::turn;
use crate::support::whole_call::{SECRET, post_signed};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use transcribe_hook::elevenlabs::sample_call;

/// Calls that are stored in each round. Every other one is erased.
const CALLS: usize = 32;

/// Sets `auto_vacuum` as an operator would.
fn switch(database: &Path, auto_vacuum: i64) {
    let connection = Connection::open(database).unwrap();
    connection.busy_timeout(Duration::from_secs(30)).unwrap();
    connection.execute_batch(&format!("PRAGMA auto_vacuum = {auto_vacuum}; VACUUM")).unwrap();
    let in_force: i64 = connection.pragma_query_value(None, "auto_vacuum", |row| row.get(0)).unwrap();
    assert_eq!(in_force, auto_vacuum);
}

/// A turn of up to 20 kB, so that there are rows of all lengths, and pages of all kinds.
fn long(dice: &mut Random, id: &str, n: usize) -> Value {
    let mut turn = turn(id, n);
    let words = format!("{id}_said ");
    let repeats = if dice.below(4) == 0 { dice.below(1500) } else { dice.below(30) };
    turn["message"] = json!(format!("{n} {}", words.repeat(1 + repeats)));
    turn
}

/// Stores calls, erases every other one, and waits until their words are gone.
fn store_and_erase(service: &Service, dice: &mut Random, round: usize) {
    let folder = service.database().parent().unwrap();
    let id = |call: usize| format!("{}_{round}_{call}", if call.is_multiple_of(2) { "gone" } else { "kept" });
    let ids: Vec<_> = (0..CALLS).map(id).collect();
    std::thread::scope(|scope| {
        for (client, own) in ids.chunks(CALLS / 4).enumerate() {
            let mut dice = Random::new((round * 10 + client) as u64 * 77 + dice.below(1000) as u64);
            scope.spawn(move || {
                for n in 0..25 {
                    for id in own {
                        service.deliver(&long(&mut dice, id, n)).expect(201);
                    }
                }
                for id in own {
                    let mut record = sample_call::post_call(id, 1_790_596_800);
                    record["data"]["analysis"]["transcript_summary"] = json!(format!("{id} in short. ").repeat(40));
                    post_signed(service, &record.to_string()).expect(200);
                }
            });
        }
    });
    for id in ids.iter().filter(|id| id.starts_with("gone")) {
        service.delete(&format!("/api/v1/calls/{id}")).expect(204);
    }
    let gone = [format!("gone_{round}_")];
    wait_for("the words to be gone", || with_any(folder, &gone).is_empty().then_some(()));
    assert_sound(service.database(), &format!("round {round}"));
}

fn start(database: &Path) -> Service {
    Service::start_on(database, &["--elevenlabs-secret", SECRET, "--log-level", "info,http=off"])
}

#[test]
fn what_is_erased_is_gone_and_nothing_is_damaged_whatever_auto_vacuum_is() {
    for auto_vacuum in [0, 1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("calls.db");
        start(&database).stop();
        switch(&database, auto_vacuum);
        let service = start(&database);
        let mut dice = Random::new(auto_vacuum.unsigned_abs());
        for round in 0..2 {
            store_and_erase(&service, &mut dice, round);
        }
        service.stop();
        assert_sound(&database, &format!("auto_vacuum {auto_vacuum}"));
        assert!(stored(&database).len() >= 2 * CALLS / 2 * 25);
        let connection = Connection::open(&database).unwrap();
        let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        assert!(pages > 822, "the second pointer map is page 822, and there are {pages}");
    }
}

#[test]
fn auto_vacuum_may_be_switched_while_the_service_runs() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let service = start(&database);
    let mut dice = Random::new(1);
    for (round, auto_vacuum) in [1, 0, 2, 1].into_iter().enumerate() {
        store_and_erase(&service, &mut dice, round);
        switch(&database, auto_vacuum);
    }
    store_and_erase(&service, &mut dice, 4);
    service.stop();
    assert_sound(&database, "after all switches");
    assert_eq!(with_any(folder.path(), &["gone_".to_owned()]), []);
}
