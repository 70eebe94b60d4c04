//! The file as an analyst meets it: its tables, rules, indexes and views.

use crate::support::database::{assert_sound, of_schema};
use crate::support::service::{Service, binary, open};
use crate::support::turns::turn;
use rusqlite::Connection;
use serde_json::{Value, json};

fn columns(connection: &Connection, table: &str) -> Vec<String> {
    let mut select = connection.prepare(&format!("SELECT name FROM pragma_table_info('{table}')")).unwrap();
    select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// A writing connection of somebody else's, with foreign keys kept.
fn somebody_elses(service: &Service) -> Connection {
    let connection = Connection::open(service.database()).unwrap();
    connection.execute_batch("PRAGMA foreign_keys = ON").unwrap();
    connection
}

#[test]
fn the_tables_have_the_columns_that_were_asked_for_and_are_strict() {
    let service = Service::start();
    let connection = service.sqlite();
    for (table, wanted) in [
        ("drivers", &["id", "name", "phone_number", "created_at", "updated_at"][..]),
        (
            "calls",
            &[
                "id",
                "conversation_id",
                "driver_id",
                "call_start_time",
                "call_end_time",
                "status",
                "created_at",
                "updated_at",
            ],
        ),
        (
            "call_transcriptions",
            &["id", "conversation_id", "speaker_type", "message_text", "timestamp", "sequence_number", "created_at"],
        ),
        ("call_dispatches", &["conversation_id", "driver_id", "phone_number", "batch_id", "dispatched_at"]),
    ] {
        let there = columns(&connection, table);
        for column in wanted {
            assert!(there.iter().any(|c| c == column), "{table} has no {column}: {there:?}");
        }
        let strict: bool = connection
            .query_row("SELECT strict FROM pragma_table_list WHERE name = ?1", [table], |row| row.get(0))
            .unwrap();
        assert!(strict, "{table}");
    }
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0)).unwrap();
    assert_eq!(application, i64::from(u32::from_be_bytes(*b"TRHK")));
}

#[test]
fn what_the_rules_forbid_the_file_refuses_whoever_writes() {
    let service = Service::start();
    service.deliver(&turn("conv_a", 1)).expect(201);
    let connection = somebody_elses(&service);
    for (sql, why) in [
        ("UPDATE calls SET status = 'done'", "CHECK"),
        ("UPDATE calls SET call_end_time = '2000-01-01T00:00:00.000000Z'", "CHECK"),
        ("UPDATE calls SET call_start_time = '2026-09-28'", "CHECK"),
        ("UPDATE calls SET driver_id = 5", "FOREIGN KEY"),
        ("UPDATE calls SET turn_count = 'many'", "cannot store TEXT value in INTEGER column"),
        ("UPDATE call_transcriptions SET speaker_type = 'user'", "CHECK"),
        ("UPDATE call_transcriptions SET source = 'rumour'", "CHECK"),
        ("UPDATE call_transcriptions SET conversation_id = 'conv_x'", "FOREIGN KEY"),
        ("UPDATE call_transcriptions SET message_text = NULL", "NOT NULL"),
        (
            "INSERT INTO drivers VALUES (0, 'x', NULL, '2026-09-28T12:00:00.000000Z', '2026-09-28T12:00:00.000000Z')",
            "CHECK",
        ),
        (
            "INSERT INTO call_transcriptions (conversation_id, speaker_type, message_text, timestamp, sequence_number, \
             created_at, repeat_key) SELECT conversation_id, speaker_type, 'other', timestamp, sequence_number, \
             created_at, 0 FROM call_transcriptions",
            "UNIQUE",
        ),
    ] {
        let error = connection.execute(sql, []).expect_err(sql).to_string();
        assert!(error.contains(why), "{sql}: {error}");
    }
}

#[test]
fn the_columns_that_are_looked_up_have_their_indexes() {
    let service = Service::start();
    let connection = service.sqlite();
    let mut select = connection
        .prepare(
            "SELECT l.\"unique\", (SELECT group_concat(name) FROM pragma_index_info(l.name)) \
             FROM pragma_index_list('call_transcriptions') l",
        )
        .unwrap();
    let indexes: Vec<(bool, String)> =
        select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    for wanted in
        [(true, "conversation_id,sequence_number"), (false, "sequence_number"), (true, "conversation_id,delivery_key")]
    {
        assert!(
            indexes.iter().any(|(unique, columns)| (*unique, columns.as_str()) == wanted),
            "{wanted:?} in {indexes:?}"
        );
    }
    for (query, index) in [
        ("SELECT * FROM call_transcriptions WHERE conversation_id = 'x' ORDER BY sequence_number", "sqlite_autoindex"),
        (
            "SELECT * FROM call_transcriptions WHERE conversation_id = 'x' AND delivery_key = 'k'",
            "call_transcriptions_delivery",
        ),
        ("SELECT * FROM calls WHERE status = 'failed' ORDER BY call_start_time DESC, id DESC", "calls_status_start"),
        ("SELECT * FROM calls WHERE driver_id = 5 ORDER BY call_start_time, id", "calls_driver_start"),
        ("SELECT * FROM calls ORDER BY call_start_time, id", "calls_start"),
        (
            "SELECT c.id, call_start_time, status, driver_id, call_end_time, duration_seconds, turn_count, live_only, \
             matched, added, corrected, repeated FROM calls c WHERE status <> 'in_progress' AND call_start_time >= 'x'",
            "COVERING INDEX calls_over",
        ),
    ] {
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
        let plan: Vec<String> = explain.query_map([], |row| row.get("detail")).unwrap().map(Result::unwrap).collect();
        let plan = plan.join("; ");
        assert!(plan.contains(index), "{query}: {plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{query}: {plan}");
    }
}

#[test]
fn the_views_show_a_call_in_one_row_and_a_transcript_in_order() {
    let service = Service::start();
    service.put("/api/v1/drivers/1042", &json!({"name": "Maria Kowalski"})).expect(201);
    service.put("/api/v1/dispatches/conv_a", &json!({"driver_id": 1042})).expect(201);
    for n in 0..5 {
        service.deliver(&turn("conv_a", n * 1000)).expect(201);
    }
    service.deliver(&turn("conv_b", 3)).expect(201);
    let end = json!({"status": "completed", "call_end_time": "2026-09-28T12:02:30.5Z"});
    service.patch("/api/v1/calls/conv_a", &end).expect(200);
    let connection = service.sqlite();
    let overview: (String, i64, i64, i64, String, String) = connection
        .query_row(
            "SELECT driver_name, duration_seconds, agent_turns, driver_turns, first_turn_time, last_turn_time \
             FROM call_overview WHERE conversation_id = 'conv_a'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?)),
        )
        .unwrap();
    let (first, last) = ("2026-09-28T12:00:00.000000Z".to_owned(), "2026-09-28T12:00:04.000000Z".to_owned());
    assert_eq!(overview, ("Maria Kowalski".to_owned(), 151, 0, 5, first, last));
    let without_driver: (Option<String>, Option<i64>, i64) = connection
        .query_row(
            "SELECT driver_name, duration_seconds, agent_turns FROM call_overview WHERE conversation_id = 'conv_b'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    assert_eq!(without_driver, (None, None, 1));
    let mut select = connection
        .prepare(
            "SELECT sequence_number, driver_name FROM transcript WHERE conversation_id = 'conv_a' \
            ORDER BY sequence_number",
        )
        .unwrap();
    let rows: Vec<(i64, String)> =
        select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert!(rows.iter().all(|(_, name)| name == "Maria Kowalski"));
}

#[test]
fn a_database_with_data_is_opened_again_with_all_of_it() {
    // The data of the schema before stands in tests/fixtures/schema, one file a migration.
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let connection = of_schema(1, folder.path(), &database);
    connection.execute_batch(include_str!("../../fixtures/schema/V1.sql")).unwrap();
    drop(connection);
    let service = Service::start_on(&database, &[]);
    let call = service.get("/api/v1/calls/conv_1901kaj4pr1penza6bbkscg6hgkc").expect(200).json();
    assert_eq!(
        (&call["turn_count"], &call["driver_id"], &call["status"]),
        (&json!(3), &json!(1042), &json!("completed"))
    );
    let repeat = json!({
        "conversation_id": "conv_1901kaj4pr1penza6bbkscg6hgkc", "speaker": "user",
        "message": "Yeah, I'm parked at the Joliet terminal.", "timestamp": "2026-09-28T12:00:05.25Z"
    });
    let answer = service.deliver(&repeat).expect(201);
    assert_eq!(answer.header("idempotent-replayed"), Some("true"), "the digest of a stored turn is as it was");
    assert_eq!(answer.json()["sequence_number"], 2);
    let next = turn("conv_1901kaj4pr1penza6bbkscg6hgkc", 1);
    assert_eq!(service.deliver(&next).expect(201).json()["sequence_number"], 4);
    drop(service);
    let version: i64 = open(&database).pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    let migrations = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite")).unwrap();
    let newest = migrations.map(|file| file.unwrap().file_name().into_string().unwrap()).max_by_key(|name| {
        name.strip_prefix('V').and_then(|name| name.split_once("__")?.0.parse::<i64>().ok()).unwrap()
    });
    assert!(newest.unwrap().starts_with(&format!("V{version}__")), "{version}");
}

#[test]
fn calls_of_the_schema_before_last_messages_have_one_and_keep_it_with_their_next_turn() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let connection = of_schema(17, folder.path(), &database);
    connection.execute_batch(include_str!("../../fixtures/schema/V13.sql")).unwrap();
    drop(connection);
    let service = Service::start_on(&database, &[]);
    let last = |id: &str| service.get(&format!("/api/v1/calls/{id}")).expect(200).json()["last_message"].clone();
    assert_eq!(last("conv_voicemail")["message_text"], "Please leave a message after the tone.");
    assert_eq!(last("conv_running")["message_text"], "...", "the version that stored it knew no silence");
    assert_eq!(last("conv_busy"), Value::Null);
    let stored = || -> Option<i64> {
        let id = "SELECT last_message_id FROM calls WHERE conversation_id = 'conv_running'";
        service.sqlite().query_row(id, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(stored(), None);
    // One that was said earlier than the last is not the last.
    let mut next = turn("conv_running", 1);
    next["timestamp"] = json!("2026-09-28T12:59:00Z");
    service.deliver(&next).expect(201);
    assert_eq!(stored(), Some(5));
    assert_eq!(last("conv_running")["message_text"], "...");
    drop(service);
    assert_sound(&database, "migrated");
}

#[test]
fn a_drivers_calls_of_the_schema_before_are_found_by_length_and_number_in_one_index() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let connection = of_schema(22, folder.path(), &database);
    connection.execute_batch(include_str!("../../fixtures/schema/V13.sql")).unwrap();
    connection
        .execute_batch(
            "INSERT INTO drivers (id, name, created_at, updated_at) VALUES (7, 'Ana', '2026-09-28T12:00:00.000000Z', \
             '2026-09-28T12:00:00.000000Z'); \
             UPDATE calls SET driver_id = 7, status = 'completed', external_number = '+1 (312) 555-0104', \
             duration_seconds = id, cost = 10 - id;",
        )
        .unwrap();
    drop(connection);
    let service = Service::start_on(&database, &[]);
    let ids = |query: &str| -> Vec<Value> {
        let page = service.get(&format!("/api/v1/calls?driver_id=7&{query}")).expect(200).json();
        page["data"].as_array().unwrap().iter().map(|call| call["conversation_id"].clone()).collect()
    };
    let longest = ids("order=longest");
    assert_eq!(longest.len(), 3);
    assert_eq!(ids("order=costliest"), longest.iter().rev().cloned().collect::<Vec<_>>());
    assert_eq!(ids("number=5550104").len(), 3);
    let plan: String = service
        .sqlite()
        .query_row(
            "EXPLAIN QUERY PLAN SELECT id FROM calls WHERE driver_id = 7 AND external_number IS NOT NULL \
             ORDER BY duration_seconds, call_end_time, cost",
            [],
            |row| row.get(3),
        )
        .unwrap();
    assert!(plan.contains("COVERING INDEX calls_driver_start"), "{plan}");
    drop(service);
    assert_sound(&database, "migrated");
}

#[test]
fn alerts_of_the_schema_before_are_filters_of_their_calls() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let connection = of_schema(23, folder.path(), &database);
    connection.execute_batch(include_str!("../../fixtures/schema/V13.sql")).unwrap();
    connection
        .execute_batch(
            "INSERT INTO call_alerts (conversation_id, name, transcription_id, at) VALUES \
             ('conv_voicemail', 'message', 3, '2026-09-28T12:00:08.000000Z'), \
             ('conv_voicemail', 'tone', 3, '2026-09-28T12:00:08.000000Z'), \
             ('conv_running', 'trailer', 4, '2026-09-28T13:00:01.000000Z');",
        )
        .unwrap();
    drop(connection);
    let service = Service::start_on(&database, &["--stale-after", "0s"]);
    let ids = |query: &str| -> Vec<String> {
        let page = service.get(&format!("/api/v1/calls?order=asc&{query}")).expect(200).json();
        page["data"].as_array().unwrap().iter().map(|call| call["conversation_id"].as_str().unwrap().into()).collect()
    };
    assert_eq!(ids("has_alert=true"), ["conv_voicemail", "conv_running"]);
    assert_eq!(ids("alert=tone"), ["conv_voicemail"]);
    assert_eq!(ids("alert=tone&alert=trailer&status=in_progress"), ["conv_running"]);
    assert_eq!(ids("has_alert=false"), ["conv_busy"]);
    let listed = "SELECT group_concat(alert || ':' || call_id || ':' || status, ' ') \
                  FROM (SELECT * FROM alerted_calls ORDER BY alert, call_id)";
    let listed: String = service.sqlite().query_row(listed, [], |row| row.get(0)).unwrap();
    assert_eq!(listed, ":1:completed :3:in_progress message:1:completed tone:1:completed trailer:3:in_progress");
    let mut plan = String::new();
    let explained = "EXPLAIN QUERY PLAN SELECT call_start_time, call_id FROM alerted_calls WHERE alert = 'x' \
                     AND status = 'completed' AND is_child = 0 AND (call_start_time, call_id) < ('~', 9) \
                     ORDER BY call_start_time DESC, call_id DESC";
    let connection = service.sqlite();
    for step in connection.prepare(explained).unwrap().query_map([], |row| row.get::<_, String>("detail")).unwrap() {
        plan += &step.unwrap();
    }
    assert!(plan.contains("USING PRIMARY KEY") && !plan.contains("TEMP B-TREE"), "{plan}");
    drop(connection);
    drop(service);
    assert_sound(&database, "migrated");
}

#[test]
fn calls_of_the_schema_before_tools_are_migrated_and_their_events_wait_to_be_parsed_again() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let connection = of_schema(13, folder.path(), &database);
    connection.execute_batch(include_str!("../../fixtures/schema/V13.sql")).unwrap();
    drop(connection);
    assert!(binary().args(["migrate", "--database"]).arg(&database).status().unwrap().success());
    assert_sound(&database, "migrated");
    let connection = open(&database);
    let numbers = |sql: &str| -> Vec<i64> {
        let mut select = connection.prepare(sql).unwrap();
        select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(numbers("SELECT event_id FROM event_rereads ORDER BY event_id"), [1, 2, 3]);
    assert_eq!(numbers("SELECT count(*) FROM call_transcriptions WHERE kind = 'speech' AND metrics IS NULL"), [5]);
    assert_eq!(numbers("SELECT count(*) FROM calls WHERE answered_by IS NULL AND tags IS NULL"), [3]);
    assert_eq!(numbers("SELECT tool_calls FROM call_overview"), [0, 0, 0]);
    assert_eq!(numbers("SELECT count(*) FROM transcript WHERE kind = 'speech' AND answered_by IS NULL"), [5]);
    drop(connection);
    // A migrated file has the columns of a new one.
    let new = folder.path().join("new.db");
    assert!(binary().args(["migrate", "--create", "--database"]).arg(&new).status().unwrap().success());
    let shape = |database| {
        let connection = open(database);
        ["calls", "call_transcriptions", "tool_calls", "call_overview", "transcript"].map(|of| columns(&connection, of))
    };
    assert_eq!(shape(&database), shape(&new));
    let service = Service::start_on(&database, &[]);
    service.deliver(&turn("conv_running", 1)).expect(201);
    let kinds = "SELECT kind FROM call_transcriptions WHERE conversation_id = 'conv_running' ORDER BY sequence_number";
    let connection = service.sqlite();
    let mut select = connection.prepare(kinds).unwrap();
    let kinds: Vec<String> = select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(kinds, ["speech"; 3]);
}

#[test]
fn silence_that_the_schema_before_counted_through_long_pauses_is_computed_again() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let service = Service::start_on(&database, &[]);
    for (n, at) in ["2026-09-28T12:00:00Z", "2026-09-28T12:01:00Z", "2026-09-28T20:00:00Z"].iter().enumerate() {
        let mut said = turn("conv_a", n);
        said["timestamp"] = json!(at);
        service.deliver(&said).expect(201);
    }
    service.patch("/api/v1/calls/conv_a", &json!({"status": "completed"})).expect(200);
    let silence = |service: &Service| -> f64 {
        service.sqlite().query_row("SELECT silence_seconds FROM call_figures", [], |row| row.get(0)).unwrap()
    };
    let expected = silence(&service);
    assert!((1.0..=60.0).contains(&expected), "{expected}");
    service.stop();
    // As the version before stored it.
    Connection::open(&database)
        .unwrap()
        .execute_batch(
            "UPDATE call_figures SET silence_seconds = 28800.0; PRAGMA user_version = 24; \
             DELETE FROM refinery_schema_history WHERE version = 25",
        )
        .unwrap();
    let service = Service::start_on(&database, &[]);
    assert_eq!(silence(&service).to_bits(), expected.to_bits());
    drop(service);
    assert_sound(&database, "migrated");
}
