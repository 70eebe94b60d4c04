//! Erased words leave the search index's bytes, though FTS5 keeps them in its segments until these are rewritten.

use crate::support::files::with_any;
use crate::support::search::{compare, found, indexed, try_with_index};
use crate::support::service::{Service, run, wait_for};
use crate::support::turns::turn;
use crate::support::whole_call::{SECRET, post_signed, record};
use rusqlite::Connection;
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use transcribe_hook::domain::Timestamp;
use transcribe_hook::elevenlabs::turn::parse_turn;
use transcribe_hook::store::sqlite::{Options, SqliteStore};
use transcribe_hook::store::{Commands as _, Maintenance as _, Write};

/// Stores so many turns, which arrived long ago, of calls of 40 turns, and indexes them in many segments.
fn fill(database: &Path, turns: usize) {
    let options = Options { path: database.to_owned(), busy_timeout: Duration::from_secs(5), readers: 1 };
    let store = SqliteStore::open(&options).unwrap();
    let long_ago = Timestamp::from_unix_micros(Timestamp::now().unix_micros() - 200 * 86_400 * 1_000_000).unwrap();
    let of = |n: usize| {
        let body = json!({"conversation_id": format!("conv_{:05}", n / 40), "speaker": "user",
            "message": format!("The reefer of load {n} stands at dock{} with oldquartz{:05}.", n % 97, n / 40),
            "timestamp": format!("2026-01-01T12:{:02}:{:02}Z", n % 40, n % 60)});
        Write::AppendTurn(parse_turn(body.to_string().as_bytes(), None).unwrap())
    };
    for begin in (0..turns).step_by(1000) {
        let batch: Vec<_> = (begin..turns.min(begin + 1000)).map(of).collect();
        assert!(store.apply(long_ago, &batch).unwrap().iter().all(Result::is_ok));
        while store.catch_up().unwrap().turns > 0 {}
    }
}

/// Whether the index is still to be rewritten, as an index is that is made anew at this moment.
fn is_owed(database: &Path) -> bool {
    let sql = "SELECT owes_rewrite = 1 OR rewritten_level IS NOT NULL FROM turn_search_state";
    try_with_index(database).and_then(|index| index.query_row(sql, [], |row| row.get(0)).ok()).unwrap_or(true)
}

fn words_gone(database: &Path, words: &[&str]) {
    let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
    wait_for(&format!("{words:?} to be gone"), || {
        (!is_owed(database) && with_any(database.parent().unwrap(), &words).is_empty()).then_some(())
    });
}

#[test]
fn words_of_corrected_erased_and_pruned_turns_leave_the_index_while_turns_are_indexed() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    fill(&database, 1500);
    let service = Service::start_on(&database, &["--elevenlabs-secret", SECRET, "--log-level", "info,http=off"]);
    let say = |id: &str, words: &str| {
        let mut said = turn(id, 1);
        said["message"] = json!(words);
        service.deliver(&said).expect(201);
    };
    say("conv_corrected", "heardquartz in the first turn");
    say("conv_command", "commandquartz in a turn");
    indexed(&service);
    for (n, words) in ["firstquartz", "secondquartz"].into_iter().enumerate() {
        let mut event = record("conv_corrected", &format!("heardquartz {words}"));
        event["event_timestamp"] = json!(event["event_timestamp"].as_u64().unwrap() + n as u64);
        assert_eq!(post_signed(&service, &event.to_string()).status, 200);
        wait_for("the words to be found", || (!found(&service, words, "").is_empty()).then_some(()));
        indexed(&service);
    }
    let name = database.to_str().unwrap();
    service.while_turns_come(|| {
        service.delete("/api/v1/calls/conv_corrected").expect(204);
        words_gone(&database, &["heardquartz", "firstquartz", "secondquartz"]);
        service.delete("/api/v1/calls/conv_00020").expect(204);
        words_gone(&database, &["oldquartz00020"]);
        let out = run(&["erase", "--conversation", "conv_command", "--yes", "--database", name]);
        assert!(out.status.success(), "{out:?}");
        words_gone(&database, &["commandquartz"]);
        let out = run(&["prune", "--older-than", "90d", "--trust-clock", "--yes", "--database", name]);
        assert!(out.status.success(), "{out:?}");
        words_gone(&database, &["oldquartz"]);
    });
    indexed(&service);
    wait_for("the rewrite to end", || (!is_owed(&database)).then_some(()));
    compare(&database);
    assert!(!found(&service, "reefer", "").is_empty());
}

#[test]
fn a_rewrite_that_kill_9_cuts_off_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    fill(&database, 6000);
    for round in 0..3 {
        let service = Service::start_on(&database, &["--log-level", "info,http=off"]);
        let (call, word) = (format!("conv_{:05}", 30 * round), format!("oldquartz{:05}", 30 * round));
        service.while_turns_come(|| {
            service.delete(&format!("/api/v1/calls/{call}")).expect(204);
            let sql = "SELECT NOT EXISTS (SELECT 1 FROM turn_search_content WHERE c1 LIKE '%' || ?1 || '%')";
            let is_taken_in =
                || try_with_index(&database)?.query_row(sql, [&word], |row| row.get(0)).ok().filter(|&is: &bool| is);
            wait_for("the rewrite to begin", is_taken_in);
        });
        service.signal("KILL");
        service.wait();
        let service = Service::start_on(&database, &[]);
        words_gone(&database, &[&word]);
        indexed(&service);
        wait_for("the rewrite to end", || (!is_owed(&database)).then_some(()));
        compare(&database);
        service.stop();
    }
}

#[test]
fn an_index_is_rewritten_whatever_segments_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    fill(&database, 400);
    let index = format!("{}.search", database.display());
    for (n, merge) in ["('optimize', 0)", "('merge', -1)", "('merge', 1)", "('usermerge', 4)"].into_iter().enumerate() {
        let other = Connection::open(&index).unwrap();
        other.execute_batch(&format!("INSERT INTO turn_search (turn_search, rank) VALUES {merge}")).unwrap();
        drop(other);
        let id = format!("conv_{n:05}");
        let out = run(&["erase", "--conversation", &id, "--yes", "--database", database.to_str().unwrap()]);
        assert!(out.status.success(), "{out:?}");
        let word = format!("oldquartz{n:05}");
        assert_eq!(with_any(folder.path(), &[word]), vec![], "after {merge}");
        assert!(!is_owed(&database));
        compare(&database);
    }
    // Until nothing is left.
    for n in 4..10 {
        let id = format!("conv_{n:05}");
        let out = run(&["erase", "--conversation", &id, "--yes", "--database", database.to_str().unwrap()]);
        assert!(out.status.success(), "{out:?}");
    }
    assert_eq!(with_any(folder.path(), &["oldquartz".to_owned(), "reefer".to_owned()]), vec![]);
}
