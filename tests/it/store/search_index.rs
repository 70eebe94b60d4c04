//! The index behind the search: it follows what is stored, changed and erased, over crashes and upgrades.

use crate::support::database::of_schema;
use crate::support::samples::sample;
use crate::support::search::{compare, found, index_state, indexed, search, with_index};
use crate::support::service::{Service, run, wait_for};
use crate::support::turns::turn;
use crate::support::wording::Wording;
use insta::assert_snapshot;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use transcribe_hook::domain::Timestamp;
use transcribe_hook::elevenlabs::signature::sign;
use transcribe_hook::secret::Secret;

/// Returns the progress of the index.
fn state(service: &Service) -> (i64, i64) {
    index_state(service.database()).map_or((0, 0), |(after, to, _)| (after, to))
}

fn deliver(service: &Service, turns: std::ops::Range<usize>) {
    for n in turns {
        service.deliver(&turn(&format!("conv_{}", n % 7), n)).expect(201);
    }
}

#[test]
fn under_load_the_index_follows_and_what_it_lacks_is_found_too() {
    let service = Service::start_with(&["--log-level", "info,http=off"]);
    let mut turns = 600;
    deliver(&service, 0..turns);
    // Without a quiet moment in between.
    wait_for("the index to follow", || {
        deliver(&service, turns..turns + 20);
        turns += 20;
        (state(&service).1 >= 256).then_some(())
    });
    // A search reads the newest 512 turns itself, and a slow machine may have indexed less of the others.
    let all = i64::try_from(turns).unwrap();
    wait_for("the rest to be read by a search", || (all - state(&service).1 <= 512).then_some(()));
    for n in [0, 255, 256, 511, 598, 599] {
        let page = search(&service, &format!("number {n}"), "");
        assert_eq!(page["data"].as_array().unwrap().len(), 1, "turn {n}");
        assert_eq!(page["unindexed"], 0);
    }
    indexed(&service);
    compare(service.database());
    assert_eq!(search(&service, "reefer", "&include_total=true")["total"], turns);
}

#[test]
fn kill_9_while_indexing_leaves_nothing_missing_and_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    for round in 0..4 {
        let service = Service::start_on(&database, &["--log-level", "info,http=off"]);
        std::thread::scope(|scope| {
            for client in 0..4 {
                let service = &service;
                scope.spawn(move || {
                    for n in 0.. {
                        let n = round * 1_000_000 + client * 100_000 + n;
                        if !service.try_deliver(&turn("conv_a", n)).is_ok_and(|answer| answer.status == 201) {
                            break;
                        }
                    }
                });
            }
            let (_, before) = state(&service);
            wait_for("the index to go on", || (state(&service).1 > before + 512).then_some(()));
            service.signal("KILL");
        });
        service.wait();
    }
    let service = Service::start_on(&database, &[]);
    indexed(&service);
    compare(&database);
    let turns: u64 =
        service.sqlite().query_row("SELECT count(*) FROM call_transcriptions", [], |row| row.get(0)).unwrap();
    assert_eq!(search(&service, "reefer", "&include_total=true")["total"], turns);
}

#[test]
fn erased_words_are_not_in_the_index_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let service = Service::start_on(&database, &[]);
    deliver(&service, 0..40);
    for n in 0..20 {
        let mut turn = turn("conv_secret", n);
        turn["message"] = Value::from(format!("The password is xylophone{n}quartz, reefer."));
        service.deliver(&turn).expect(201);
    }
    indexed(&service);
    deliver(&service, 40..80);
    indexed(&service);
    // One more that is not indexed yet.
    let mut late = turn("conv_secret", 100);
    late["message"] = Value::from("And zeppelinquartz.");
    service.deliver(&late).expect(201);
    assert_eq!(found(&service, "xylophone* OR zeppelin*", "").len(), 21);
    service.delete("/api/v1/calls/conv_secret").expect(204);
    assert_eq!(found(&service, "xylophone* OR zeppelin*", ""), BTreeSet::new());
    assert_eq!(found(&service, "reefer", "&limit=1000").len(), 80);
    indexed(&service);
    compare(&database);
    let connection = with_index(&database);
    let sql =
        "SELECT count(*) FROM turn_search_words WHERE term GLOB 'xylo*' OR term GLOB 'zepp*' OR term = 'password'";
    assert_eq!(connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
    // FTS5's own rows, too.
    let blocks = || -> Vec<Vec<u8>> {
        let mut select = connection
            .prepare("SELECT block FROM turn_search_data UNION ALL SELECT term FROM turn_search_idx")
            .unwrap();
        select.query_map([], |row| Ok(row.get_ref(0)?.as_bytes()?.to_vec())).unwrap().map(Result::unwrap).collect()
    };
    for word in ["quartz", "password", "xylophone"] {
        let is_in = |block: &Vec<u8>| block.windows(word.len()).any(|bytes| bytes == word.as_bytes());
        wait_for("the words to be gone from the index", || (!blocks().iter().any(is_in)).then_some(()));
    }
}

#[test]
fn corrected_words_are_found_as_heard_and_as_spoken_once_each() {
    const SECRET: &str = "wsec_0123456789abcdef0123456789abcdef";
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    let say = |speaker: &str, message: &str, time: &str| {
        let turn = json!({
            "conversation_id": "conv_1901kaj4pr1penza6bbkscg6hgkc", "speaker": speaker, "message": message,
            "timestamp": time,
        });
        service.deliver(&turn).expect(201).json()["transcription_id"].as_i64().unwrap()
    };
    let heard = say("user", "It says thirty four. I'll bump the set pint.", "2026-09-28T12:00:20Z");
    for state in ["in the tail", "in the index"] {
        if state == "in the index" {
            indexed(&service);
        }
        assert_eq!(found(&service, "pint", ""), BTreeSet::from([heard]), "{state}");
        assert_eq!(found(&service, "\"set point\"", ""), BTreeSet::new(), "{state}");
    }
    // ElevenLabs' record has other words for the turn, and more turns.
    let record = sample(0).to_string();
    let now = Timestamp::now().unix_micros() / 1_000_000;
    let signature = sign(&Secret::new(SECRET).unwrap(), now, record.as_bytes());
    let headers = [("content-type", "application/json"), ("elevenlabs-signature", signature.as_str())];
    service.post_raw("/webhooks/elevenlabs/post-call", &headers, record.as_bytes()).expect(200);
    for state in ["as it came", "in the index"] {
        if state == "in the index" {
            indexed(&service);
        }
        assert_eq!(found(&service, "pint", ""), BTreeSet::from([heard]), "{state}: as it was heard");
        let spoken = found(&service, "\"set point\" bump", "");
        assert_eq!(spoken, BTreeSet::from([heard]), "{state}: as the record has it");
    }
    compare(service.database());
    // A turn that comes late takes the place of the row that was made for it.
    let added = found(&service, "\"parked at the pilot\"", "");
    assert_eq!(added.len(), 1);
    let late = say("user", "Yeah, I'm parked at the Pilot in Gary.", "2026-09-28T12:00:06Z");
    assert_eq!(found(&service, "\"parked at the pilot\"", "&include_total=true"), BTreeSet::from([late]));
    assert!(!added.contains(&late));
    assert_eq!(search(&service, "\"parked at the pilot\"", "&include_total=true")["total"], 1);
    indexed(&service);
    assert_eq!(found(&service, "\"parked at the pilot\"", ""), BTreeSet::from([late]));
    compare(service.database());
}

#[test]
fn a_database_from_before_the_search_is_indexed_while_it_is_used_the_newest_turns_first() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    before_search(folder.path(), &database, 3000);
    let service = Service::start_on(&database, &["--log-level", "info,http=off"]);
    let next = service.deliver(&turn("conv_new", 1)).expect(201).json()["transcription_id"].as_i64().unwrap();
    assert_eq!(next, 3001);
    // Whatever is indexed already, what is found and what is said to be missing make up the whole.
    wait_for("all old turns to be searched", || {
        let page = search(&service, "word", "&include_total=true");
        let (total, unsearched) = (page["total"].as_u64().unwrap(), page["unindexed"].as_u64().unwrap());
        assert_eq!(total + unsearched, 3000, "{total} found and {unsearched} not searched");
        (unsearched == 0).then_some(())
    });
    indexed(&service);
    assert_eq!(found(&service, "first", ""), BTreeSet::from([1]));
    compare(&database);
}

#[test]
fn a_file_without_an_index_is_searched_turn_by_turn() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    before_search(folder.path(), &database, 30);
    let name = database.to_str().unwrap();
    let refused = run(&["search", "word", "--database", name]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(run(&["migrate", "--create", "--database", name]).status.success());
    let out = run(&["search", "word", "--database", name, "--json"]);
    let found: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((found["data"].as_array().unwrap().len(), &found["unindexed"]), (20, &json!(0)));
    assert_eq!(found["has_more"], true);
    let out = run(&["search", "first", "--database", name, "--json"]);
    let found: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(found["data"][0]["id"], 1);
}

/// A database as the schema before the search left it: of this many turns, each with `word` in it.
fn before_search(folder: &Path, database: &Path, turns: u32) {
    let connection = of_schema(4, folder, database);
    let time = "2026-09-28T12:00:00.000000Z";
    connection
        .execute(
            "INSERT INTO calls (conversation_id, call_start_time, turn_count, created_at, updated_at) \
             VALUES ('conv_old', ?1, ?2, ?1, ?1)",
            (time, turns),
        )
        .unwrap();
    connection
        .execute(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?2) \
             INSERT INTO call_transcriptions (conversation_id, speaker_type, message_text, timestamp, sequence_number, \
             created_at, repeat_key) SELECT 'conv_old', 'agent', iif(n = 1, 'the first word', 'a word of ' || n), ?1, \
             n, ?1, n FROM n",
            (time, turns),
        )
        .unwrap();
}

#[test]
fn the_command_finds_what_the_api_finds() {
    let service = Service::start();
    service.put("/api/v1/drivers/7", &json!({"name": "Jo Brandt"})).expect(201);
    service.put("/api/v1/dispatches/conv_a", &json!({"driver_id": 7})).expect(201);
    for n in 0..5 {
        service.deliver(&turn("conv_a", n)).expect(201);
    }
    let mut hostile = turn("conv_b", 1);
    hostile["message"] = Value::from("A reefer \u{1b}]0;title\u{7}\u{202e} <b>.");
    service.deliver(&hostile).expect(201);
    let name = service.database().to_str().unwrap().to_owned();
    let command = |args: &[&str]| run(&[&["search", "--database", &name], args].concat());
    let text = |args: &[&str]| String::from_utf8(command(args).stdout).unwrap();
    for state in ["in the tail", "in the index"] {
        let json: Value = serde_json::from_str(&text(&["reefer", "--order", "newest", "--json"])).unwrap();
        let page = search(&service, "reefer", "&order=newest");
        assert_eq!(json["data"], page["data"], "{state}");
        assert_eq!((&json["has_more"], &json["unindexed"]), (&json!(false), &json!(0)));
        indexed(&service);
    }
    let mut shown = Wording::default();
    for args in [&["number", "3"][..], &["reefer", "--conversation-id", "conv_b"], &["nothing"]] {
        shown.add(args.join(" "), &text(args));
    }
    let filtered = text(&["reefer", "--speaker", "driver", "--driver-id", "7", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&filtered).unwrap()["data"].as_array().unwrap().len(), 3);
    let cut = command(&["reefer", "--limit", "2"]);
    assert_eq!(String::from_utf8_lossy(&cut.stdout).lines().count(), 4);
    shown.add("reefer --limit 2", &String::from_utf8_lossy(&cut.stderr));
    assert_snapshot!("command", shown);
    let bad = command(&["reefer OR"]);
    assert_eq!(bad.status.code(), Some(1));
    // As deep as an argument can be long.
    let deep = command(&[&format!("{}a{}", "(".repeat(60_000), ")".repeat(60_000))]);
    assert_eq!(deep.status.code(), Some(1), "{deep:?}");
    assert_eq!(command(&["a", "--status", "done"]).status.code(), Some(2));
    let missing = run(&["search", "a", "--database", "/nowhere/calls.db"]);
    assert_eq!(missing.status.code(), Some(1));
}

/// Calls in the database that is searched by time, one an hour, and the turns of each, one a second.
const HOURS: u32 = 500;
const SECONDS: u32 = 30;

/// Whatever time is asked for, in the database's own words.
fn asked(connection: &Connection, condition: &str) -> BTreeSet<i64> {
    let sql = format!(
        "SELECT t.id FROM call_transcriptions t JOIN calls c USING (conversation_id) WHERE {condition} ORDER BY t.id"
    );
    connection.prepare(&sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// All pages of what is found in a time.
fn all_pages(service: &Service, order: &str, more: &str) -> Vec<i64> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = search(service, "reef*", &format!("&order={order}&limit=37{more}{cursor}"));
        ids.extend(page["data"].as_array().unwrap().iter().map(|hit| hit["id"].as_i64().unwrap()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
}

/// Finds in some times what the database says is of them.
fn assert_found_by_time(service: &Service, state: &str) {
    for (more, condition) in [
        ("&started_before=2026-09-01T04:00:00Z", "c.call_start_time < '2026-09-01T04'"),
        (
            "&started_after=2026-09-08T00:00:00Z&started_before=2026-09-08T05:00:00Z",
            "c.call_start_time >= '2026-09-08T00' AND c.call_start_time < '2026-09-08T05'",
        ),
        (
            "&said_after=2026-09-01T03:00:10Z&said_before=2026-09-01T05:00:03Z",
            "t.timestamp >= '2026-09-01T03:00:10.' AND t.timestamp < '2026-09-01T05:00:03.'",
        ),
        (
            "&started_after=2026-09-01T01:00:00Z&said_before=2026-09-01T03:00:00Z",
            "c.call_start_time >= '2026-09-01T01' AND t.timestamp < '2026-09-01T03'",
        ),
        ("&started_after=2027-01-01T00:00:00Z", "FALSE"),
    ] {
        let expected = asked(&service.sqlite(), condition);
        for order in ["newest", "best"] {
            let ids = all_pages(service, order, more);
            assert_eq!(ids.len(), expected.len(), "{state}, {order}, {more}");
            assert_eq!(ids.into_iter().collect::<BTreeSet<_>>(), expected, "{state}, {order}, {more}");
        }
    }
}

#[test]
fn a_search_within_some_days_finds_what_is_of_them_wherever_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    // With all of it in an index in the same file, as it was then.
    let connection = of_schema(7, folder.path(), &database);
    connection
        .execute_batch(&format!(
            "BEGIN;
             WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n + 1 < {HOURS})
             INSERT INTO calls (conversation_id, call_start_time, turn_count, created_at, updated_at)
             SELECT 'conv_' || n, t, {SECONDS}, t, t
             FROM (SELECT n, strftime('%Y-%m-%dT%H:%M:%S.000000Z', 1788220800 + n * 3600, 'unixepoch') AS t FROM n);
             WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n + 1 < {HOURS} * {SECONDS})
             INSERT INTO call_transcriptions (conversation_id, speaker_type, message_text, timestamp, sequence_number,
                created_at, repeat_key)
             SELECT 'conv_' || (n / {SECONDS}), 'agent', 'the reefer ' || n, t, n % {SECONDS} + 1, t, n
             FROM (SELECT n, strftime('%Y-%m-%dT%H:%M:%S.000000Z', 1788220800 + n / {SECONDS} * 3600 + n % {SECONDS},
                'unixepoch') AS t FROM n);
             INSERT INTO turn_search (rowid, final_text, message_text)
             SELECT id, final_text, message_text FROM call_transcriptions;
             UPDATE turn_search_state SET after_id = 0, to_id = (SELECT max(id) FROM call_transcriptions);
             COMMIT;"
        ))
        .unwrap();
    assert_eq!(asked(&connection, "c.call_start_time < '2026-09-01T04'").len(), 4 * SECONDS as usize);
    drop(connection);
    let name = database.to_str().unwrap();
    assert!(run(&["migrate", "--create", "--database", name]).status.success());
    let out = run(&[
        "search",
        "reefer",
        "--database",
        name,
        "--started-before",
        "2026-09-01T01:00:00Z",
        "--limit",
        "100",
        "--json",
    ]);
    let found: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(found["data"].as_array().unwrap().len(), SECONDS as usize, "{found}");

    let service = Service::start_on(&database, &["--stale-after", "100000h", "--log-level", "info,http=off"]);
    // Without an index, the newest turns are searched, and the others are counted.
    let page = search(&service, "reefer", "&started_before=2026-09-01T04:00:00Z&limit=1000");
    let found = page["data"].as_array().unwrap().len();
    assert!(found == 4 * SECONDS as usize || page["unindexed"].as_u64().unwrap() > 0, "{page}");
    indexed(&service);
    let connection = with_index(&database);
    let spans: i64 = connection.query_row("SELECT count(*) FROM turn_search_spans", [], |row| row.get(0)).unwrap();
    assert_eq!(spans, i64::from(HOURS * SECONDS / 1024 + 1));
    assert_found_by_time(&service, "in spans");

    // What comes late stands far from its call, and other rows change their times.
    let mut late = turn("conv_2", 0);
    late["message"] = Value::from("The reefer, late.");
    late["timestamp"] = Value::from("2026-09-01T02:30:00Z");
    service.deliver(&late).expect(201);
    assert_found_by_time(&service, "a late turn in the tail");
    indexed(&service);
    assert_found_by_time(&service, "a late turn in the index");
    let other = Connection::open(&database).unwrap();
    other.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    other
        .execute_batch(
            "UPDATE calls SET call_start_time = '2026-09-01T01:30:00.000000Z' WHERE conversation_id = 'conv_400';
             UPDATE call_transcriptions SET timestamp = '2026-09-01T04:30:00.000000Z' WHERE conversation_id = 'conv_300'
                AND sequence_number = 7;",
        )
        .unwrap();
    assert_found_by_time(&service, "after changes");
    // Of what is erased no time is left.
    for n in 0..40 {
        service.delete(&format!("/api/v1/calls/conv_{n}")).expect(204);
    }
    assert_found_by_time(&service, "after erasures");
    wait_for("the times of erased turns to be gone", || {
        let sql = "SELECT count(*) FROM turn_search_spans WHERE block = 0";
        (connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() == 0).then_some(())
    });
    indexed(&service);
    assert_found_by_time(&service, "after erasures, in the index");
}
