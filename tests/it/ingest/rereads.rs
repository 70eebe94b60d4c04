//! Events that an older version stored are parsed again in the background after an upgrade, or at once by `replay`.

use crate::support::database::{assert_sound, of_schema};
use crate::support::metrics::Scrape;
use crate::support::samples::sample;
use crate::support::service::{Service, binary, open, run, wait_for};
use crate::support::turns::turn;
use crate::support::whole_call::{CALL, SECRET, event, post_signed};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// A connection that changes a database as another version of the program would.
fn older(database: &Path) -> Connection {
    let connection = Connection::open(database).unwrap();
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    connection
}

fn number(connection: &Connection, sql: &str) -> i64 {
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Fills a new database with failed calls whose records an older version read without the agent.
fn with_older_calls(database: &Path, calls: u32) {
    assert!(binary().args(["migrate", "--create", "--database"]).arg(database).status().unwrap().success());
    let body = sample(2);
    let id = body["data"]["conversation_id"].as_str().unwrap().to_owned();
    let mut record: Value = serde_json::from_str(&event(&body).record.unwrap().json).unwrap();
    assert!(record["facts"]["agent_id"].is_string());
    record["facts"]["agent_id"] = Value::Null;
    let connection = older(database);
    connection.execute_batch("PRAGMA synchronous = OFF; CREATE TEMP TABLE n (n INTEGER PRIMARY KEY); BEGIN").unwrap();
    let numbers =
        "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < ?1) INSERT INTO n SELECT n FROM r";
    connection.execute(numbers, [calls]).unwrap();
    let time = "2026-09-28T12:01:00.000000Z";
    connection
        .execute(
            "INSERT INTO webhook_events (id, digest, event_type, conversation_id, received_at, outcome, record, body) \
             SELECT n, randomblob(32), 'call_initiation_failure', 'conv_' || n, ?1, 'applied', \
                replace(?2, ?4, 'conv_' || n), replace(?3, ?4, 'conv_' || n) FROM n",
            rusqlite::params![time, record.to_string(), body.to_string(), id],
        )
        .unwrap();
    connection
        .execute(
            "INSERT INTO calls (id, conversation_id, call_start_time, call_end_time, status, created_at, updated_at, \
                record_event_id) SELECT n, 'conv_' || n, ?1, ?1, 'failed', ?1, ?1, n FROM n",
            [time],
        )
        .unwrap();
    connection.execute_batch("INSERT INTO event_rereads SELECT n FROM n; COMMIT").unwrap();
}

/// Waits until everything is parsed again and reconciled, as long as it goes on.
fn wait_until_understood(service: &Service) {
    let mut left = i64::MAX;
    while left > 0 {
        left = wait_for("the events to be parsed again", || {
            let sql = "SELECT (SELECT 2 * count(*) FROM event_rereads) + (SELECT count(*) FROM due_reconciliations)";
            Some(number(&service.sqlite(), sql)).filter(|now| *now < left)
        });
    }
}

fn rereading(service: &Service) -> i64 {
    service.get("/api/v1/stats").expect(200).json()["events"]["rereading"].as_i64().unwrap()
}

fn logged(service: &Service, message: &str) -> Vec<Value> {
    let lines = service.log().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    lines.filter(|line| line.to_string().contains(message)).collect()
}

#[test]
fn ten_thousand_events_are_parsed_again_newest_first_while_a_call_is_erased_and_no_stream_shows_it() {
    const CALLS: u32 = 10_000;
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    with_older_calls(&database, CALLS);
    let changes = number(&open(&database), "SELECT seq FROM sqlite_sequence WHERE name = 'call_changes'");
    let service = Service::start_on(&database, &["--write-timeout", "60s"]);
    let mut seen = 0;
    let erased = wait_for("some events to be parsed again", || {
        let connection = service.sqlite();
        // In one statement, as the service goes on.
        let sql = "SELECT count(*), ifnull(max(event_id), 0) FROM event_rereads";
        let (left, newest): (i64, i64) = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        // The events have the numbers from 1, so the oldest ones are left.
        assert_eq!(newest, left);
        seen += 1;
        (left < i64::from(CALLS)).then_some(left / 2)
    });
    assert!(erased > 0, "{seen}");
    assert!(rereading(&service) > 0 && Scrape::take(&service).whole("events_rereading") > 0);
    service.delete(&format!("/api/v1/calls/conv_{erased}")).expect(204);
    wait_until_understood(&service);
    assert_eq!((rereading(&service), Scrape::take(&service).whole("events_rereading")), (0, 0));
    let connection = service.sqlite();
    assert_eq!(number(&connection, "SELECT count(*) FROM calls WHERE agent_id IS NOT NULL"), i64::from(CALLS) - 1);
    for of_the_erased in ["SELECT count(*) FROM calls", "SELECT count(*) FROM webhook_events"] {
        let sql = format!("{of_the_erased} WHERE conversation_id = 'conv_{erased}'");
        assert_eq!(number(&connection, &sql), 0, "{sql}");
    }
    // The erased call is the only one that live streams hear of.
    let shown = format!("SELECT count(*) FROM call_changes WHERE id > {changes} AND kind <> 'erased'");
    assert_eq!(number(&connection, &shown), 0);
    let told = wait_for("the log", || Some(logged(&service, "parsed stored events again")).filter(|t| !t.is_empty()));
    assert_eq!((told.len(), &told[0]["left"]), (1, &json!(0)));
    service.stop();
    assert_sound(&database, "parsed again");
}

#[test]
fn a_killed_service_goes_on_with_the_events_that_are_left() {
    const CALLS: u32 = 1_000;
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    with_older_calls(&database, CALLS);
    let mut left = i64::from(CALLS);
    let mut kills = 0;
    while left > 0 && kills < 5 {
        let service = Service::start_on(&database, &[]);
        wait_for("some events to be parsed again", || {
            let now = number(&service.sqlite(), "SELECT count(*) FROM event_rereads");
            (now < left || now == 0).then_some(())
        });
        service.signal("KILL");
        service.wait();
        let connection = open(&database);
        left = number(&connection, "SELECT count(*) FROM event_rereads");
        kills += 1;
        // Each event is listed still, or its call is due, or its call is complete.
        let lost = "SELECT count(*) FROM calls WHERE agent_id IS NULL \
                    AND id NOT IN (SELECT event_id FROM event_rereads) AND id NOT IN (SELECT call_id \
                    FROM due_reconciliations)";
        assert_eq!(number(&connection, lost), 0);
    }
    let service = Service::start_on(&database, &[]);
    wait_until_understood(&service);
    assert_eq!(number(&service.sqlite(), "SELECT count(*) FROM calls WHERE agent_id IS NULL"), 0);
    assert_eq!(number(&service.sqlite(), "SELECT count(*) FROM webhook_events WHERE attempts <> 2"), 0);
}

#[test]
fn replay_parses_all_events_at_once_also_beside_a_service_that_does_the_same() {
    for beside in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("calls.db");
        with_older_calls(&database, 300);
        let bodies: Vec<(i64, String)> = {
            let connection = open(&database);
            let mut select = connection.prepare("SELECT id, body FROM webhook_events").unwrap();
            select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
        };
        // Replaying compares the digest, as of events that a service stored.
        let connection = older(&database);
        for (id, body) in bodies {
            let digest = event(&serde_json::from_str(&body).unwrap()).digest;
            connection.execute("UPDATE webhook_events SET digest = ?2 WHERE id = ?1", (id, digest)).unwrap();
        }
        drop(connection);
        let service = beside.then(|| Service::start_on(&database, &[]));
        let out = run(&["replay", "--json", "--database", database.to_str().unwrap()]);
        let report: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("{error}: {out:?}"));
        assert_eq!(report, json!({"applied": 300, "ignored": 0, "unreadable": 0}));
        assert_eq!(number(&open(&database), "SELECT count(*) FROM event_rereads"), 0);
        if let Some(service) = &service {
            wait_until_understood(service);
        }
        assert_eq!(number(&open(&database), "SELECT count(*) FROM calls WHERE agent_id IS NULL"), 0);
        assert_eq!(number(&open(&database), "SELECT count(*) FROM due_reconciliations"), 0);
    }
}

#[test]
fn a_call_without_new_facts_keeps_what_was_changed_by_hand_and_when() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    post_signed(&service, &sample(0).to_string()).expect(200);
    wait_until_understood(&service);
    let by_hand = json!({"status": "failed", "call_end_time": "2026-12-01T00:00:00Z"});
    service.patch(&format!("/api/v1/calls/{CALL}"), &by_hand).expect(200);
    let call = |service: &Service| service.get(&format!("/api/v1/calls/{CALL}")).expect(200).json();
    let before = call(&service);
    let database = service.database().to_owned();
    let _folder = service.stop();
    let connection = older(&database);
    // An equal record; then one that lacks what is no column of the call, and what decides nothing here.
    for record in ["record", "json_set(record, '$.facts.claims.phone_number', '+15550100077')"] {
        connection
            .execute_batch(&format!(
                "UPDATE webhook_events SET record = {record}; INSERT INTO event_rereads SELECT id FROM webhook_events"
            ))
            .unwrap();
        let service = Service::start_on(&database, &["--elevenlabs-secret", SECRET]);
        wait_until_understood(&service);
        assert_eq!(call(&service), before, "{record}");
        service.stop();
    }
    // A record that lacked a fact of the call.
    connection
        .execute_batch(
            "UPDATE webhook_events SET record = json_remove(record, '$.facts.title'); UPDATE calls SET title = NULL; \
             INSERT INTO event_rereads SELECT id FROM webhook_events",
        )
        .unwrap();
    let service = Service::start_on(&database, &["--elevenlabs-secret", SECRET]);
    wait_until_understood(&service);
    let after = call(&service);
    assert!(after["title"].is_string() && after["title"] == before["title"], "{after}");
    assert_ne!(after["updated_at"], before["updated_at"]);
}

#[test]
fn events_that_cannot_be_parsed_any_more_keep_their_form_and_hold_up_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    with_older_calls(&database, 20);
    let connection = older(&database);
    // The newest event is damaged, another one has nothing but noise of some megabytes, a third one is gone.
    connection
        .execute_batch(
            "UPDATE webhook_events SET body = 'no event' WHERE id = 20; \
             UPDATE webhook_events SET body = randomblob(3000000), outcome = 'unreadable', record = NULL WHERE \
             id = 10; PRAGMA foreign_keys = OFF; DELETE FROM webhook_events WHERE id = 5",
        )
        .unwrap();
    let record = "SELECT record FROM webhook_events WHERE id = 20";
    let before: String = connection.query_row(record, [], |row| row.get(0)).unwrap();
    let service = Service::start_on(&database, &[]);
    wait_until_understood(&service);
    let kept: String = service.sqlite().query_row(record, [], |row| row.get(0)).unwrap();
    assert_eq!(kept, before);
    assert_eq!(number(&service.sqlite(), "SELECT count(*) FROM calls WHERE agent_id IS NOT NULL"), 17);
}

#[test]
fn a_lock_of_another_program_only_delays_the_events() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    with_older_calls(&database, 50);
    let service = Service::start_on(&database, &["--write-timeout", "100ms"]);
    let lock = older(&database);
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    lock.execute_batch("INSERT OR IGNORE INTO event_rereads SELECT id FROM webhook_events").unwrap();
    lock.execute_batch("COMMIT; BEGIN IMMEDIATE").unwrap();
    wait_for("a pause", || Some(logged(&service, "retrying")).filter(|told| !told.is_empty()));
    lock.execute_batch("COMMIT").unwrap();
    wait_until_understood(&service);
    assert_eq!(number(&service.sqlite(), "SELECT count(*) FROM calls WHERE agent_id IS NULL"), 0);
    // A write may take longer than its short time-out on a slow machine.
    wait_for("a turn to be taken", || (service.deliver(&turn("conv_after", 1)).status == 201).then_some(()));
}

#[test]
fn what_a_service_of_schema_13_has_stored_is_parsed_by_the_present_reader() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let connection = of_schema(13, folder.path(), &database);
    connection.execute_batch(include_str!("../../fixtures/schema/V13.sql")).unwrap();
    drop(connection);
    let before: Vec<Value> = {
        let service = Service::start_on(&database, &[]);
        wait_until_understood(&service);
        ["conv_voicemail", "conv_busy", "conv_running"]
            .map(|id| service.get(&format!("/api/v1/calls/{id}")).expect(200).json())
            .into()
    };
    assert_eq!((&before[0]["status"], &before[1]["status"]), (&json!("completed"), &json!("failed")));
    assert_eq!((&before[0]["turn_count"], &before[2]["turn_count"]), (&json!(3), &json!(2)));
    let connection = open(&database);
    let texts = |sql: &str| -> Vec<String> {
        let mut select = connection.prepare(sql).unwrap();
        select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let answered = "SELECT ifnull(answered_by || ' by ' || answered_by_source, 'unknown') FROM calls ORDER BY id";
    assert_eq!(texts(answered), ["voicemail by call_result", "busy by initiation_failure", "unknown"]);
    let kinds = "SELECT kind FROM call_transcriptions WHERE conversation_id = 'conv_voicemail' ORDER BY place";
    assert_eq!(texts(kinds), ["speech", "silence", "speech"]);
    let tools = "SELECT name FROM tool_calls WHERE conversation_id = 'conv_voicemail'";
    assert_eq!(texts(tools), ["voicemail_detection"]);
    let details = "SELECT channel || ' ' || environment FROM calls WHERE conversation_id = 'conv_voicemail'";
    assert_eq!(texts(details), ["phone production"]);
    assert_sound(&database, "parsed again");
}
