//! The file works in the tools that people have, in whatever state the service has brought it: SQLite from 3.38 to the
//! newest, each a real one, Debian's shell, Python, DuckDB, Datasette, sqlite-utils.

use crate::support::database::of_schema;
use crate::support::documents::blocks_in_chapter;
use crate::support::search::{compare, found, indexed, with_index};
use crate::support::service::{Service, binary, open, run, wait_for};
use crate::support::tools::{blocks, output, tool};
use crate::support::turns::turn;
use crate::support::whole_call::{SECRET, post_signed, record};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use transcribe_hook::domain::Timestamp;
use transcribe_hook::elevenlabs::turn::parse_turn;
use transcribe_hook::store::sqlite::{Options, SqliteStore};
use transcribe_hook::store::{Commands as _, Write};

/// The versions of apsw that `tests/run` installs, and of SQLite in them.
const VERSIONS: [(&str, &str); 3] = [("3.39.2.1", "3.39.2"), ("3.40.1.0", "3.40.1"), ("3.54.1.0", "3.54.1")];

const V9: &str = include_str!("../../fixtures/schema/V9.sql");

/// A database of schema 9 with data in it, and with an index that old versions of SQLite refuse.
fn of_schema_9(folder: &Path, database: &Path) {
    of_schema(9, folder, database).execute_batch(V9).unwrap();
}

/// A turn that arrived long ago.
fn old_turn(database: &Path) {
    let options = Options { path: database.to_owned(), busy_timeout: Duration::from_secs(5), readers: 1 };
    let store = SqliteStore::open(&options).unwrap();
    let long_ago = Timestamp::from_unix_micros(Timestamp::now().unix_micros() - 200 * 86_400 * 1_000_000).unwrap();
    let body = json!({"conversation_id": "conv_old", "speaker": "user", "message": "Long ago.",
        "timestamp": long_ago.to_string()});
    let turn = parse_turn(body.to_string().as_bytes(), None).unwrap();
    assert!(store.apply(long_ago, &[Write::AppendTurn(turn)]).unwrap()[0].is_ok());
}

/// A file for each state that the service brings about.
fn states(folder: &Path) -> Vec<PathBuf> {
    let file = |name: &str| folder.join(name);
    let name = |path: &Path| path.to_str().unwrap().to_owned();
    let fresh = file("fresh.db");
    assert!(run(&["migrate", "--create", "--database", &name(&fresh)]).status.success());
    let migrated = file("migrated.db");
    of_schema_9(folder, &migrated);
    assert!(run(&["migrate", "--create", "--database", &name(&migrated)]).status.success());

    let database = file("calls.db");
    old_turn(&database);
    let service = Service::start_on(&database, &["--elevenlabs-secret", SECRET, "--log-level", "info,http=off"]);
    let copy = |of: &str| {
        let copy = file(of);
        assert!(run(&["backup", &name(&copy), "--database", &name(&database)]).status.success(), "{of}");
        copy
    };
    service.put("/api/v1/drivers/1042", &json!({"name": "Maria Kowalski", "phone_number": "+15550100042"})).expect(201);
    service.put("/api/v1/dispatches/conv_0", &json!({"driver_id": 1042})).expect(201);
    for n in 0..30 {
        service.deliver(&turn(&format!("conv_{}", n % 3), n)).expect(201);
    }
    let with_turns = copy("with_turns.db");
    indexed(&service);
    assert_eq!(found(&service, "reefer", "").len(), 30);
    let searched = copy("searched.db");
    let out = binary().args(["simulate", "--elevenlabs-secret", SECRET, "--url", &service.url("")]).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    let corrected = copy("corrected.db");
    indexed(&service);
    service.delete("/api/v1/calls/conv_1").expect(204);
    indexed(&service);
    let erased = copy("erased.db");
    let out = run(&["prune", "--older-than", "90d", "--yes", "--json", "--database", &name(&database)]);
    assert_eq!(serde_json::from_slice::<Value>(&out.stdout).unwrap()["calls"], 1, "{out:?}");
    let pruned = copy("pruned.db");
    service.stop();
    // The service's own file, which is in WAL mode.
    let stopped = file("stopped.db");
    std::fs::copy(&database, &stopped).unwrap();
    vec![fresh, migrated, with_turns, searched, corrected, erased, pruned, stopped]
}

#[test]
fn every_state_of_the_file_works_in_every_tool() {
    let folder = tempfile::tempdir().unwrap();
    let states = states(folder.path());
    let queries = folder.path().join("queries.sql");
    let [sql] = &blocks("sql")[..] else { panic!("one block of SQL") };
    let without_comments: Vec<_> = sql.lines().filter(|line| !line.starts_with("--")).collect();
    std::fs::write(&queries, without_comments.join("\n")).unwrap();
    let script = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools").join(name);
    let every_sqlite =
        |python: &mut Command| output(python.arg(script("every_sqlite.py")).arg(&queries).args(&states), folder.path());
    for (apsw, sqlite) in VERSIONS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/sqlite").join(apsw);
        assert_eq!(every_sqlite(Command::new("python3").env("PYTHONPATH", path)).trim(), sqlite);
    }
    // Python's own, and the system's shell.
    every_sqlite(&mut Command::new("python3"));
    let versions = output(tool("python").arg(script("duckdb_all.py")).args(&states), folder.path());
    assert_eq!(versions.lines().count(), states.len());
    for state in &states {
        let counts = output(tool("sqlite-utils").args(["tables", "--counts", state.to_str().unwrap()]), folder.path());
        let counts: Value = serde_json::from_str(&counts).unwrap();
        assert!(counts.as_array().unwrap().len() >= 12, "{counts}");
        let stem = state.file_stem().unwrap().to_str().unwrap();
        for path in
            [format!("/{stem}/calls"), format!("/{stem}/transcript"), format!("/{stem}/search_changes"), "/".to_owned()]
        {
            let page = output(tool("datasette").args([state.to_str().unwrap(), "--get", &path]), folder.path());
            assert!(page.contains("<html") && page.contains(stem), "{path}: {page}");
        }
    }
}

/// Returns the result of the documented query of the index, or `None` if it fails. All versions of SQLite must agree.
fn found_by_query(folder: &Path) -> Option<Vec<(String, String)>> {
    let [query] = &blocks_in_chapter("migrations/README.md", "Search", "sql")[..] else { panic!("one query") };
    let apsw = "import apsw, json, sys; file = apsw.Connection('transcribe-hook.db', flags=apsw.SQLITE_OPEN_READONLY); \
        print(json.dumps(list(file.cursor().execute(sys.argv[1]))))";
    let own = "import json, sqlite3, sys; file = sqlite3.connect('transcribe-hook.db', isolation_level=None); \
        attach, select = sys.argv[1].split(';', 1); file.execute(attach); \
        print(json.dumps(list(file.execute(select))))";
    let mut commands: Vec<_> = VERSIONS
        .iter()
        .map(|(apsw_version, _)| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/sqlite").join(apsw_version);
            let mut python = Command::new("python3");
            python.env("PYTHONPATH", path).args(["-c", apsw, query]);
            python
        })
        .collect();
    commands.push(Command::new("python3"));
    commands[VERSIONS.len()].args(["-c", own, query]);
    let mut answers = commands.iter_mut().map(|command| {
        let out = command.current_dir(folder).output().unwrap();
        out.status.success().then(|| serde_json::from_slice(&out.stdout).unwrap())
    });
    let first = answers.next().unwrap();
    answers.for_each(|answer| assert_eq!(answer, first));
    // The shell.
    let shell =
        Command::new("sqlite3").args(["-json", "-readonly", "transcribe-hook.db", query]).current_dir(folder).output();
    let shell = shell.unwrap();
    assert_eq!(shell.status.success(), first.is_some(), "{shell:?}");
    first
}

#[test]
fn the_query_of_the_documents_finds_turns_in_the_index_by_every_sqlite_in_every_state() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("transcribe-hook.db");
    old_turn(&database);
    let flags = ["--elevenlabs-secret", SECRET, "--log-level", "info,http=off"];
    let service = Service::start_on(&database, &flags);
    let ask = || found_by_query(folder.path()).unwrap();
    assert_eq!(ask(), []);
    for n in 0..3 {
        let mut parked = turn(&format!("conv_{n}"), n);
        parked["message"] = json!("I am parked at the Pilot in Gary.");
        service.deliver(&parked).expect(201);
        service.deliver(&turn("conv_0", 10 + n)).expect(201);
    }
    indexed(&service);
    let said = |n: usize| (format!("conv_{n}"), "I am parked at the Pilot in Gary.".to_owned());
    assert_eq!(ask(), [said(0), said(1), said(2)]);
    let mut event = record("conv_0", "");
    event["data"]["transcript"] =
        json!([{"role": "user", "message": "I am parked at the Pilot in Gary, spoken.", "time_in_call_secs": 0}]);
    event["data"]["metadata"]["start_time_unix_secs"] = json!(1_790_596_800);
    assert_eq!(post_signed(&service, &event.to_string()).status, 200);
    wait_for("the correction", || (!found(&service, "spoken", "").is_empty()).then_some(()));
    indexed(&service);
    assert_eq!(ask().len(), 3, "corrected");
    let is_gone = |word: &str| {
        let index = folder.path().join("transcribe-hook.db.search");
        !std::fs::read(index).unwrap().windows(word.len()).any(|bytes| bytes == word.as_bytes())
    };
    service.delete("/api/v1/calls/conv_1").expect(204);
    indexed(&service);
    assert_eq!(ask().len(), 2, "erased");
    service.delete("/api/v1/calls/conv_0").expect(204);
    wait_for("the words to be rewritten", || is_gone("spoken").then_some(()));
    assert_eq!(ask(), [said(2)], "rewritten");
    let prune = ["prune", "--older-than", "90d", "--trust-clock", "--yes", "--json", "--database"];
    let out = run(&[&prune[..], &[database.to_str().unwrap()]].concat());
    assert_eq!(serde_json::from_slice::<Value>(&out.stdout).unwrap()["calls"], 1, "{out:?}");
    indexed(&service);
    assert_eq!(ask(), [said(2)], "pruned");
    service.stop();
    assert_eq!(ask(), [said(2)], "stopped");

    // As earlier versions made it.
    let old = Connection::open(folder.path().join("transcribe-hook.db.search")).unwrap();
    old.execute_batch(
        "INSERT INTO turn_search (turn_search, rank) VALUES ('secure-delete', 1);
         UPDATE turn_search SET message_text = 'parked';
         PRAGMA user_version = 1; PRAGMA wal_checkpoint(TRUNCATE)",
    )
    .unwrap();
    drop(old);
    let newest = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/sqlite").join(VERSIONS[2].0);
    let apsw = "import apsw; file = apsw.Connection('transcribe-hook.db.search'); \
        print(list(file.cursor().execute(\"SELECT v FROM turn_search_config WHERE k = 'version'\")))";
    let version = output(Command::new("python3").env("PYTHONPATH", newest).args(["-c", apsw]), folder.path());
    assert_eq!(version.trim(), "[(5,)]");
    let service = Service::start_on(&database, &flags);
    indexed(&service);
    assert_eq!(ask(), [said(2)], "made anew");
}

/// Tables, views, indexes and triggers with their text.
fn schema(database: &Path) -> BTreeMap<String, Option<String>> {
    let connection = open(database);
    let mut select = connection.prepare("SELECT type || ' ' || name, sql FROM sqlite_schema").unwrap();
    select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

type Column = (String, String, bool, Option<String>, i64, i64);

/// All columns of a table or view, by what SQLite makes of its text.
fn columns(connection: &Connection, table: &str) -> Vec<Column> {
    let sql = format!("SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo('{table}')");
    let mut select = connection.prepare(&sql).unwrap();
    let column =
        |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?));
    select.query_map([], column).unwrap().map(Result::unwrap).collect()
}

fn names(connection: &Connection, kind: &str) -> Vec<String> {
    let sql = format!("SELECT name FROM sqlite_schema WHERE type = '{kind}' AND name NOT GLOB 'sqlite_*'");
    let mut select = connection.prepare(&sql).unwrap();
    select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_migrated_file_has_the_schema_of_a_new_one_and_the_columns_that_it_had() {
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().join("new.db");
    assert!(run(&["migrate", "--create", "--database", new.to_str().unwrap()]).status.success());
    for (from, data) in [(1, include_str!("../../fixtures/schema/V1.sql")), (9, V9)] {
        let database = folder.path().join(format!("from_{from}.db"));
        let connection = of_schema(from, folder.path(), &database);
        connection.execute_batch(data).unwrap();
        let before: BTreeMap<_, _> = names(&connection, "table")
            .into_iter()
            .map(|table| (table.clone(), columns(&connection, &table)))
            .collect();
        drop(connection);
        assert!(run(&["migrate", "--create", "--database", database.to_str().unwrap()]).status.success());
        assert_eq!(schema(&database), schema(&new), "from {from}");
        let connection = open(&database);
        for (table, columns_before) in before.iter().filter(|(table, _)| !table.starts_with("turn_search")) {
            let now = columns(&connection, table);
            assert_eq!(&now[..columns_before.len()], columns_before, "{table} from {from}");
        }
        for (pragma, right) in [("integrity_check", Some("ok".to_owned())), ("foreign_key_check", None)] {
            let said: Option<String> = connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0)).ok();
            assert_eq!(said, right, "{pragma} from {from}");
        }
    }
}

#[test]
fn every_column_has_its_comment_and_no_table_needs_more_than_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("new.db");
    let service = Service::start_on(&database, &[]);
    service.deliver(&turn("conv_a", 1)).expect(201);
    indexed(&service);
    let connection = with_index(&database);
    for (kind, file) in [("table", "main"), ("view", "main"), ("table", "search")] {
        let sql = format!(
            "SELECT name, sql FROM {file}.sqlite_schema WHERE type = '{kind}' AND name NOT GLOB 'sqlite_*' \
             AND name NOT GLOB 'turn_search' AND name NOT GLOB 'turn_search_[cdi]*' AND name <> 'turn_search_words'"
        );
        let mut select = connection.prepare(&sql).unwrap();
        let all: Vec<(String, String)> =
            select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
        assert!(!all.is_empty());
        for (table, sql) in all {
            assert!(!sql.contains("VIRTUAL") || file == "search", "{table}");
            for (column, ..) in columns(&connection, &table) {
                // The line on which a column's definition ends, for it may begin on one before.
                let line = sql.lines().find(|line| {
                    let (code, _) = line.split_once(" -- ").or_else(|| line.split_once(" /* ")).unwrap_or((line, ""));
                    let code = code.trim().trim_end_matches(',');
                    let first = code.split([' ', '(']).next().unwrap();
                    let last = code.rsplit([' ', '.']).next().unwrap();
                    if kind == "view" { last == column } else { first == column }
                });
                let line = line.unwrap_or_else(|| panic!("{table}.{column} stands on no line of its own: {sql}"));
                assert!(line.contains(" -- ") || line.contains(" /* "), "{table}.{column} has no comment: {line}");
            }
        }
    }
}

#[test]
fn durations_in_the_overview_are_those_of_the_calendar() {
    let service = Service::start();
    let connection = Connection::open(service.database()).unwrap();
    connection
        .execute_batch(
            "WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 5000),
             moments (n, start, seconds) AS MATERIALIZED (SELECT n, -60000000000.0 + abs(random() % 120000000000),
                abs(random() % 1000000000) / 1000.0 * (n % 100) FROM n)
             INSERT INTO calls (conversation_id, call_start_time, call_end_time, created_at, updated_at)
             SELECT 'conv_' || n, strftime('%Y-%m-%dT%H:%M:%f000Z', start, 'unixepoch'),
                strftime('%Y-%m-%dT%H:%M:%f000Z', start + seconds, 'unixepoch'),
                '2026-09-28T12:00:00.000000Z', '2026-09-28T12:00:00.000000Z' FROM moments;
             INSERT INTO calls (conversation_id, call_start_time, call_end_time, created_at, updated_at)
             VALUES ('leap', '2024-02-28T23:59:59.250000Z', '2024-03-01T00:00:00.000000Z',
                '2026-09-28T12:00:00.000000Z', '2026-09-28T12:00:00.000000Z');",
        )
        .unwrap();
    let (calls, wrong): (i64, i64) = connection
        .query_row(
            "SELECT count(*), sum(abs(duration_seconds
                - (julianday(call_end_time) - julianday(call_start_time)) * 86400) > 0.501) FROM call_overview",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    assert_eq!((calls, wrong), (5002, 0));
    let leap: i64 = connection
        .query_row("SELECT duration_seconds FROM call_overview WHERE conversation_id = 'leap'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(leap, 86_401);
}

#[test]
fn what_a_file_of_before_had_in_its_index_is_found_and_can_be_erased() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    of_schema_9(folder.path(), &database);
    let service = Service::start_on(&database, &[]);
    indexed(&service);
    compare(&database);
    assert_eq!(found(&service, "zanzibar", "").len(), 3);
    assert_eq!(service.get("/api/v1/calls").expect(200).json()["data"].as_array().unwrap().len(), 3);
    service.delete("/api/v1/calls/conv_running").expect(204);
    let anywhere = |word: &str| {
        std::fs::read_dir(folder.path()).unwrap().any(|entry| {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap_or_default();
            bytes.to_ascii_lowercase().windows(word.len()).any(|bytes| bytes == word.as_bytes())
        })
    };
    assert!(anywhere("compressor"));
    // The old index's pages stand in the file, but for what was in them.
    wait_for("the words to be gone", || (!anywhere("zanzibar")).then_some(()));
}
