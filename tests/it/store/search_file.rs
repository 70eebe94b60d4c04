//! The search index's own file beside the database: whatever becomes of it, turns are stored and found, and it is made
//! anew.

use crate::support::search::{compare, found, index_state, indexed, search};
use crate::support::service::{Service, binary, run, wait_for};
use crate::support::turns::turn;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

fn beside(database: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}{ending}", database.display()))
}

fn say(service: &Service, call: &str, n: usize, words: &str) -> i64 {
    let mut turn = turn(call, n);
    turn["message"] = json!(words);
    service.deliver(&turn).expect(201).json()["transcription_id"].as_i64().unwrap()
}

/// A stopped service's database of forty turns, with its index.
fn made() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let service = Service::start_on(&database, &[]);
    for n in 0..40 {
        say(&service, &format!("conv_{}", n % 4), n, &format!("Turn {n}, the reefer is at dock{n}."));
    }
    indexed(&service);
    service.stop();
    assert!(index_state(&database).is_some());
    (folder, database)
}

/// Opens a file as its owner might.
fn open_to_write(file: &Path) -> Connection {
    let connection = Connection::open(file).unwrap();
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    connection
}

/// Everything is found, in an index that is whole.
fn assert_found(service: &Service, database: &Path, turns: usize) {
    // New turns are found at once, whatever is indexed.
    say(service, "conv_new", turns, &format!("A new turn, the reefer is at docknew{turns}."));
    assert_eq!(found(service, &format!("docknew{turns}"), "").len(), 1);
    indexed(service);
    compare(database);
    assert_eq!(found(service, "reefer", "&limit=1000").len(), turns + 1);
    assert_eq!(search(service, "reefer", "&include_total=true")["total"], turns + 1);
    let checked = run(&["check", "--database", database.to_str().unwrap()]);
    assert!(checked.status.success(), "{checked:?}");
}

/// A damage to an index, given another database's.
type Damage = (&'static str, fn(&Path, &Path));

#[test]
fn an_index_that_does_not_belong_to_the_database_is_made_anew() {
    let (_other_folder, other) = made();
    let damages: [Damage; 10] = [
        ("missing", |index, _| fs::remove_file(index).unwrap()),
        ("empty", |index, _| fs::write(index, "").unwrap()),
        ("no database", |index, _| fs::write(index, "This is a note of somebody's. ".repeat(500)).unwrap()),
        ("cut off", |index, _| {
            let bytes = fs::read(index).unwrap();
            fs::write(index, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("of another database", |index, other| assert!(fs::copy(other, index).unwrap() > 0)),
        ("of another form", |index, _| open_to_write(index).pragma_update(None, "user_version", 99).unwrap()),
        ("without its state", |index, _| open_to_write(index).execute_batch("DELETE FROM turn_search_state").unwrap()),
        ("with tables of the database's names", |index, _| {
            let tables = "CREATE TABLE call_transcriptions (id INTEGER PRIMARY KEY, message_text, final_text)";
            open_to_write(index).execute_batch(tables).unwrap();
        }),
        ("of a database whose tables were copied", |index, _| {
            let database = index.with_extension("");
            open_to_write(&database).execute_batch("DELETE FROM sqlite_sequence; DELETE FROM search_index").unwrap();
        }),
        ("a link", |index, _| {
            let target = index.with_file_name("precious");
            fs::rename(index, &target).unwrap();
            std::os::unix::fs::symlink(&target, index).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let (folder, database) = made();
        let index = beside(&database, ".search");
        damage(&index, &beside(&other, ".search"));
        let precious = folder.path().join("precious");
        let before = fs::read(&precious).ok();
        let service = Service::start_on(&database, &[]);
        assert_found(&service, &database, 40);
        service.stop();
        assert_eq!(fs::read(&precious).ok(), before, "{what}: a link is not followed");
        assert!(fs::symlink_metadata(&index).unwrap().is_file(), "{what}");
    }
}

#[test]
fn an_index_that_is_older_or_newer_than_the_database_is_made_anew() {
    let (folder, database) = made();
    let index = beside(&database, ".search");
    let (old_index, old_database) = (folder.path().join("old.search"), folder.path().join("old.db"));
    fs::copy(&index, &old_index).unwrap();
    fs::copy(&database, &old_database).unwrap();
    let service = Service::start_on(&database, &[]);
    service.delete("/api/v1/calls/conv_1").expect(204);
    open_to_write(&database)
        .execute("UPDATE call_transcriptions SET final_text = 'The reefer is at dockother.' WHERE id = 1", [])
        .unwrap();
    say(&service, "conv_0", 100, "One more, the reefer is at dock100.");
    indexed(&service);
    service.stop();
    let (newer_index, newer_database) = (folder.path().join("newer.search"), folder.path().join("newer.db"));
    fs::copy(&index, &newer_index).unwrap();
    fs::copy(&database, &newer_database).unwrap();
    // The old index knows words that were erased since.
    fs::copy(&old_index, &index).unwrap();
    let searched = run(&["search", "dock1", "--json", "--database", database.to_str().unwrap()]);
    let page: Value = serde_json::from_slice(&searched.stdout).unwrap();
    assert_eq!((&page["data"], &page["unindexed"]), (&json!([]), &json!(0)));
    let checked = run(&["check", "--json", "--database", database.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&checked.stdout).contains("\"search\""), "{checked:?}");
    let service = Service::start_on(&database, &[]);
    assert_eq!(found(&service, "dock1", "").len(), 0);
    assert_found(&service, &database, 31);
    assert_eq!(found(&service, "dockother", "").len(), 1);
    service.stop();
    // A copy is restored, and the index beside it is ahead.
    fs::copy(&old_database, &database).unwrap();
    fs::copy(&newer_index, &index).unwrap();
    let service = Service::start_on(&database, &[]);
    assert_eq!(found(&service, "dockother", "").len(), 0);
    assert_found(&service, &database, 40);
    service.stop();
    // Both are restored together.
    fs::copy(&newer_database, &database).unwrap();
    fs::copy(&newer_index, &index).unwrap();
    let before = index_state(&database);
    assert!(before.is_some());
    let service = Service::start_on(&database, &[]);
    assert_eq!(index_state(&database), before, "it is used as it is");
    assert_found(&service, &database, 31);
}

#[test]
fn an_index_whose_pages_are_broken_costs_no_turn_and_no_search_and_heals() {
    let (_folder, database) = made();
    let index = beside(&database, ".search");
    let service = Service::start_on(&database, &[]);
    assert_eq!(found(&service, "dock7", "").len(), 1);
    service.stop();
    // All but the first page, so that it is only found out when it is used.
    let mut bytes = fs::read(&index).unwrap();
    bytes[4096..].fill(0xA5);
    fs::write(&index, bytes).unwrap();
    let service = Service::start_on(&database, &[]);
    for _ in 0..20 {
        assert_eq!(search(&service, "dock7", "")["has_more"], false);
    }
    assert_found(&service, &database, 40);
    assert_eq!(found(&service, "dock7", "").len(), 1);
}

#[test]
fn without_any_place_for_the_index_turns_are_stored_and_found_and_what_is_not_searched_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let place = beside(&database, ".search");
    fs::create_dir(&place).unwrap();
    fs::write(place.join("a file"), "in the way").unwrap();
    let service = Service::start_on(&database, &[]);
    for n in 0..600 {
        say(&service, &format!("conv_{}", n % 7), n, &format!("Turn {n}, the reefer."));
    }
    let page = search(&service, "reefer", "&include_total=true");
    assert_eq!(page["total"].as_u64().unwrap() + page["unindexed"].as_u64().unwrap(), 600, "{page}");
    assert_eq!(found(&service, "\"turn 599\"", "").len(), 1);
    service.get("/readyz").expect(200);
    service.delete("/api/v1/calls/conv_1").expect(204);
    let told = service.wait_logged("warn", "writer");
    assert!(told["error"].is_string(), "{told}");
    // The command line looks at all turns.
    let out = run(&["search", "\"turn 0\"", "--json", "--database", database.to_str().unwrap()]);
    let page: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((page["data"].as_array().unwrap().len(), &page["unindexed"]), (1, &json!(0)));
    fs::remove_dir_all(&place).unwrap();
    let left = service.turns_stored();
    indexed(&service);
    compare(&database);
    assert_eq!(found(&service, "reefer", "&order=newest&limit=1000").len(), left);
    assert_eq!(service.logged("warn", "writer").len(), 1, "it is told once");
}

#[test]
fn an_index_that_is_taken_away_from_a_running_service_is_made_anew() {
    let (_folder, database) = made();
    let service = Service::start_on(&database, &[]);
    let index = beside(&database, ".search");
    let inode = fs::metadata(&index).map(|index| index.ino()).unwrap();
    assert_eq!(found(&service, "dock7", "").len(), 1);
    for ending in [".search", ".search-wal", ".search-shm"] {
        let _ = fs::remove_file(beside(&database, ending));
    }
    assert_found(&service, &database, 40);
    wait_for("another file", || fs::metadata(&index).is_ok_and(|index| index.ino() != inode).then_some(()));
    assert_found(&service, &database, 41);
}

#[test]
fn changed_turns_are_found_by_their_new_words_alone_though_the_index_cannot_follow() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let service = Service::start_on(&database, &["--log-level", "info,http=off"]);
    for n in 0..300 {
        say(&service, &format!("conv_{}", n % 5), n, &format!("Turn {n}, the reefer is cold."));
    }
    indexed(&service);
    // Nobody else can write the index now.
    let index = open_to_write(&beside(&database, ".search"));
    index.execute_batch("BEGIN IMMEDIATE").unwrap();
    open_to_write(&database)
        .execute_batch(
            "UPDATE call_transcriptions SET final_text = 'Turn ' || (id - 1) || ', the trailer is warm.',
                message_text = 'It was heard otherwise.' WHERE id % 3 = 0;
             UPDATE calls SET call_start_time = '2026-09-01T12:00:00.000000Z' WHERE conversation_id = 'conv_2';",
        )
        .unwrap();
    say(&service, "conv_0", 1000, "Turn 300, the trailer is warm.");
    service.delete("/api/v1/calls/conv_1").expect(204);
    let all_pages = |q: &str, more: &str| {
        let (mut ids, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = search(&service, q, &format!("&limit=17{more}{cursor}"));
            assert_eq!(page["unindexed"], 0, "{page}");
            ids.extend(page["data"].as_array().unwrap().iter().map(|hit| hit["id"].as_i64().unwrap()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return ids,
            }
        }
    };
    let stored = |condition: &str| -> BTreeSet<i64> {
        let connection = service.sqlite();
        let sql =
            format!("SELECT t.id FROM call_transcriptions t JOIN calls c USING (conversation_id) WHERE {condition}");
        let mut select = connection.prepare(&sql).unwrap();
        select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    for state in ["behind", "in step"] {
        for (q, more, condition) in [
            ("cold", "", "message_text LIKE '%cold%'"),
            ("warm", "", "final_text LIKE '%warm%' OR message_text LIKE '%warm%'"),
            ("otherwise", "", "message_text LIKE '%otherwise%'"),
            ("turn*", "", "TRUE"),
            ("t* NOT otherwise", "", "message_text NOT LIKE '%otherwise%'"),
            ("turn", "&started_before=2026-09-02T00:00:00Z", "c.conversation_id = 'conv_2'"),
            ("warm", "&conversation_id=conv_3", "c.conversation_id = 'conv_3' AND final_text LIKE '%warm%'"),
        ] {
            let expected = stored(condition);
            for order in ["newest", "best"] {
                let ids = all_pages(q, &format!("&order={order}{more}"));
                assert_eq!(ids.len(), expected.len(), "{state}: {q}, {order}");
                assert_eq!(ids.iter().copied().collect::<BTreeSet<_>>(), expected, "{state}: {q}, {order}");
                if order == "newest" {
                    assert!(ids.is_sorted_by(|a, b| a > b), "{state}: {q}: {ids:?}");
                }
            }
            let total = search(&service, q, &format!("&include_total=true{more}"))["total"].clone();
            assert_eq!(total, expected.len(), "{state}: {q}");
        }
        if state == "behind" {
            index.execute_batch("ROLLBACK").unwrap();
            indexed(&service);
        }
    }
    compare(&database);
}

#[test]
fn kill_9_between_the_two_files_leaves_the_index_in_step() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    for round in 0..4 {
        let service = Service::start_on(&database, &["--log-level", "info,http=off"]);
        std::thread::scope(|scope| {
            for client in 0..3 {
                let service = &service;
                scope.spawn(move || {
                    for n in 0.. {
                        let n = round * 1_000_000 + client * 100_000 + n;
                        let call = format!("conv_{client}_{}", n / 50);
                        if !service.try_deliver(&turn(&call, n)).is_ok_and(|answer| answer.status == 201) {
                            break;
                        }
                    }
                });
            }
            // By hand, as quickly as it goes, so that there is always a change to be taken in.
            let connection = open_to_write(&database);
            let mut taken_in = 0;
            wait_for("changes to be taken in", || {
                connection
                    .execute_batch(
                        "PRAGMA foreign_keys = ON;
                         UPDATE call_transcriptions SET final_text = hex(randomblob(8))
                         WHERE id IN (SELECT id FROM call_transcriptions ORDER BY random() LIMIT 20);
                         DELETE FROM calls WHERE id IN (SELECT id FROM calls ORDER BY random() LIMIT 1)
                            AND (SELECT count(*) FROM calls) > 6;",
                    )
                    .unwrap();
                let (.., changes_to) = index_state(&database)?;
                taken_in += 1;
                (changes_to > 100 && taken_in > 20).then_some(())
            });
            service.signal("KILL");
        });
        service.wait();
    }
    let before = index_state(&database);
    assert!(before.is_some(), "the index was not given up");
    let service = Service::start_on(&database, &[]);
    indexed(&service);
    compare(&database);
    assert_eq!(service.logged("warn", "search::file"), [] as [Value; 0]);
}

#[test]
fn erased_words_are_gone_from_the_index_also_when_it_is_of_an_older_state_or_locked() {
    let (folder, database) = made();
    let index = beside(&database, ".search");
    let anywhere = |word: &str| {
        fs::read_dir(folder.path())
            .unwrap()
            .filter_map(|entry| fs::read(entry.unwrap().path()).ok())
            .any(|bytes| bytes.windows(word.len()).any(|bytes| bytes == word.as_bytes()))
    };
    let service = Service::start_on(&database, &[]);
    say(&service, "conv_secret", 1, "It is xylophonequartz.");
    indexed(&service);
    // In this order, as the log may be moved into the file in between.
    let old_wal = fs::read(beside(&database, ".search-wal")).unwrap_or_default();
    let old_index = fs::read(&index).unwrap();
    assert!(anywhere("xylophonequartz"));
    // Somebody holds the index's lock while the call is erased.
    let other = open_to_write(&index);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    service.delete("/api/v1/calls/conv_secret").expect(204);
    assert_eq!(found(&service, "xylophonequartz", "").len(), 0);
    service.deliver(&turn("conv_0", 500)).expect(201);
    other.execute_batch("ROLLBACK").unwrap();
    drop(other);
    wait_for("the word to be gone", || (!anywhere("xylophonequartz")).then_some(()));
    service.stop();
    assert!(!anywhere("xylophonequartz"));
    fs::write(&index, old_index).unwrap();
    fs::write(beside(&database, ".search-wal"), old_wal).unwrap();
    assert!(anywhere("xylophonequartz"));
    let service = Service::start_on(&database, &[]);
    wait_for("the word to be gone again", || (!anywhere("xylophonequartz")).then_some(()));
    assert_found(&service, &database, 41);
    // The command does the same for a service that does not run, and says so only then.
    say(&service, "conv_secret", 2, "It is zeppelinquartz.");
    indexed(&service);
    service.stop();
    assert!(anywhere("zeppelinquartz"));
    let out = binary()
        .args(["erase", "--conversation", "conv_secret", "--yes", "--database", database.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(out.status.success(), "{out:?}");
    assert!(!anywhere("zeppelinquartz"));
    assert!(index_state(&database).is_some(), "the rest of the index is as it was");
}

#[test]
fn a_service_that_stops_right_after_an_erasure_leaves_no_word_in_the_index() {
    let (folder, database) = made();
    let service = Service::start_on(&database, &[]);
    service.delete("/api/v1/calls/conv_1").expect(204);
    service.stop();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(6).any(|bytes| bytes == b"dock37"), "{path:?}");
    }
}

#[test]
fn the_command_searches_a_copy_and_leaves_nothing_beside_it() {
    let (folder, database) = made();
    let place = tempfile::tempdir().unwrap();
    let copy = place.path().join("copy.db");
    assert!(run(&["backup", copy.to_str().unwrap(), "--database", database.to_str().unwrap()]).status.success());
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "a backup is one file");
    let searched = |database: &Path, args: &[&str]| -> Value {
        let out = run(&[&["search", "--json", "--database", database.to_str().unwrap()], args].concat());
        assert!(out.status.success(), "{out:?}");
        serde_json::from_slice(&out.stdout).unwrap()
    };
    for args in [
        &["reefer", "--limit", "7"][..],
        &["reefer", "--limit", "7", "--order", "newest"],
        &["dock1*", "--limit", "100"],
        &["dock1* NOT dock11", "--order", "newest"],
        &["reefer", "--conversation-id", "conv_2"],
        &["\"turn 3\" OR \"turn 30\""],
        &["nothing"],
    ] {
        assert_eq!(searched(&copy, args), searched(&database, args), "{args:?}");
    }
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    // An index of another file beside it does not matter.
    fs::copy(folder.path().join("calls.db.search"), place.path().join("copy.db.search")).unwrap();
    open_to_write(&copy).execute("UPDATE search_index SET index_id = lower(hex(zeroblob(16)))", []).unwrap();
    assert_eq!(searched(&copy, &["dock7"])["data"].as_array().unwrap().len(), 1);
}

#[test]
fn the_check_finds_an_index_with_other_words() {
    let (_folder, database) = made();
    let check = || {
        let out = run(&["check", "--json", "--database", database.to_str().unwrap()]);
        let report: Value = serde_json::from_slice(&out.stdout).unwrap();
        (out.status.code(), report["problems"].clone())
    };
    assert_eq!(check(), (Some(0), json!([])));
    let index = open_to_write(&beside(&database, ".search"));
    index.execute("UPDATE turn_search SET message_text = 'Other words.' WHERE rowid = 3", []).unwrap();
    index.execute("DELETE FROM turn_search WHERE rowid = 9", []).unwrap();
    drop(index);
    let (code, problems) = check();
    assert_eq!((code, problems.as_array().unwrap().len()), (Some(1), 2), "{problems}");
    assert!(problems.as_array().unwrap().iter().all(|problem| problem["check"] == "search"), "{problems}");
}

#[test]
fn the_index_may_be_read_by_those_who_may_read_the_database() {
    let (_folder, database) = made();
    for mode in [0o600, 0o640] {
        fs::set_permissions(&database, fs::Permissions::from_mode(mode)).unwrap();
        let _ = fs::remove_file(beside(&database, ".search"));
        let service = Service::start_on(&database, &[]);
        indexed(&service);
        for ending in [".search", ".search-wal", ".search-shm"] {
            assert_eq!(fs::metadata(beside(&database, ending)).unwrap().mode() & 0o777, mode, "{ending}");
        }
        service.stop();
    }
}
