//! Database files: what is in them, made long, made old, filled, checked.

use crate::support::service::{Answer, Service, binary, open};
use crate::support::turns::turn;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use transcribe_hook::store::sqlite::check;

/// Makes a database so long that copying it takes a while: some events of a megabyte each.
pub fn lengthen(database: &Path, megabytes: usize) {
    let connection = Connection::open(database).unwrap();
    connection.execute_batch("PRAGMA synchronous = OFF").unwrap();
    for _ in 0..megabytes {
        connection
            .execute(
                "INSERT INTO webhook_events (digest, received_at, outcome, body) \
                 VALUES (randomblob(32), '2026-09-28T12:00:00.000000Z', 'unreadable', randomblob(1000000))",
                [],
            )
            .unwrap();
    }
}

pub fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Returns the number of turns in a file, after a check that it is whole.
pub fn whole(database: &Path) -> usize {
    let connection = open(database);
    let integrity: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
    let gaps: i64 = connection
        .query_row(
            "SELECT count(*) FROM (SELECT conversation_id FROM call_transcriptions GROUP BY conversation_id \
             HAVING count(*) <> max(sequence_number))",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(gaps, 0);
    connection.query_row("SELECT count(*) FROM call_transcriptions", [], |row| row.get(0)).unwrap()
}

pub fn stored(database: &Path) -> Vec<(String, i64, i64)> {
    let connection = open(database);
    let integrity: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
    let mut select =
        connection.prepare("SELECT message_text, id, sequence_number FROM call_transcriptions ORDER BY id").unwrap();
    select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap().map(Result::unwrap).collect()
}

/// Returns the row that an acknowledged delivery of `turn` must have left in the file.
pub fn expected(turn: &Value, answer: &Answer) -> (String, i64, i64) {
    let body = answer.json();
    let number = |field: &str| body[field].as_i64().unwrap();
    (turn["message"].as_str().unwrap().to_owned(), number("transcription_id"), number("sequence_number"))
}

/// Delivers turns until one is refused; returns those that were acknowledged.
pub fn fill(service: &Service, from: usize, acknowledged: &mut Vec<(String, i64, i64)>) -> Answer {
    for n in from.. {
        let mut turn = turn("conv_a", n);
        turn["message"] = json!(format!("{n} {}", "words ".repeat(5_000)));
        let answer = service.deliver(&turn);
        if answer.status != 201 {
            return answer;
        }
        acknowledged.push(expected(&turn, &answer));
        assert!(n < from + 5_000, "the disk does not fill");
    }
    unreachable!()
}

/// A database as the schema of this number left it.
pub fn of_schema(number: u32, folder: &Path, database: &Path) -> Connection {
    let newest = folder.join("newest.db");
    assert!(binary().args(["migrate", "--create", "--database"]).arg(&newest).status().unwrap().success());
    let connection = Connection::open(database).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite");
    let of = |n| format!("V{n}__");
    for n in 1..=number {
        let is_it = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(&of(n));
        let file = std::fs::read_dir(&migrations).unwrap().map(|entry| entry.unwrap().path()).find(is_it).unwrap();
        connection.execute_batch(&std::fs::read_to_string(file).unwrap()).unwrap();
    }
    // What the runner of migrations noted then is what it notes today.
    connection.execute("ATTACH ?1 AS newest", [newest.to_str().unwrap()]).unwrap();
    let history: String = connection
        .query_row("SELECT sql FROM newest.sqlite_master WHERE name = 'refinery_schema_history'", [], |row| row.get(0))
        .unwrap();
    connection.execute_batch(&history).unwrap();
    let noted =
        "INSERT INTO main.refinery_schema_history SELECT * FROM newest.refinery_schema_history WHERE version <= ?1";
    assert_eq!(connection.execute(noted, [number]).unwrap(), number as usize);
    connection.execute("DETACH newest", []).unwrap();
    connection
}

/// Asserts that `check` finds nothing wrong with a database.
#[track_caller]
pub fn assert_sound(database: &Path, case: &str) {
    let problems = check(database).unwrap_or_else(|error| panic!("{case}: {error}")).problems;
    assert!(problems.is_empty(), "{case}: {problems:?}");
}

/// Creates a database with a call of so many turns, which all have these words.
pub fn with_long_call(database: &Path, id: &str, turns: u32, words: &str) {
    assert!(binary().args(["migrate", "--create", "--database"]).arg(database).status().unwrap().success());
    let connection = Connection::open(database).unwrap();
    let time = "2026-09-28T12:00:00.000000Z";
    let call = "INSERT INTO calls (conversation_id, call_start_time, turn_count, first_turn_time, last_turn_time, \
        created_at, updated_at) VALUES (?1, ?2, ?3, ?2, ?2, ?2, ?2)";
    connection.execute(call, rusqlite::params![id, time, turns]).unwrap();
    let call_id = connection.last_insert_rowid();
    connection
        .execute(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?3) \
             INSERT INTO call_transcriptions (conversation_id, speaker_type, message_text, timestamp, sequence_number, \
                created_at, repeat_key) SELECT ?1, 'driver', ?4 || ' ' || n, ?2, n, ?2, ?5 << 32 | n FROM n",
            rusqlite::params![id, time, turns, words, call_id],
        )
        .unwrap();
}
