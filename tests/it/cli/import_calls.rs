//! `import calls`: exported calls are restored equal, whole and once, and overwrite nothing.

use crate::support::export::{exported, rich, store};
use crate::support::search::{compare, index_state, indexed};
use crate::support::service::{Service, binary, open, wait_for};
use crate::support::turns::turn;
use crate::support::whole_call::{CALL, apply, live, post};
use crate::support::wording::Wording;
use insta::assert_snapshot;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

fn import(database: &Path, file: &Path, flags: &[&str]) -> Output {
    binary().args(["import", "calls"]).arg(file).arg("--database").arg(database).args(flags).output().unwrap()
}

fn counts(out: &Output) -> [u64; 3] {
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let counts: Value = serde_json::from_slice(&out.stdout).unwrap();
    ["stored", "unchanged", "bad"].map(|name| counts[name].as_u64().unwrap())
}

/// Returns every row of the tables that hold received data.
fn rows(database: &Path) -> Vec<String> {
    let connection = open(database);
    let mut all = Vec::new();
    for table in ["drivers", "call_dispatches", "calls", "call_transcriptions", "webhook_events", "call_histories"] {
        let mut select = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = select.column_count();
        let row = |row: &rusqlite::Row<'_>| {
            (0..columns).map(|at| Ok(format!("{:?}", row.get_ref(at)?))).collect::<rusqlite::Result<Vec<_>>>()
        };
        all.extend(select.query_map([], row).unwrap().map(|row| format!("{table} {}", row.unwrap().join(" "))));
    }
    all.sort();
    all
}

/// Creates a database with data of all kinds, and its export. Returns their folder and their paths.
fn exported_database() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (database, file) = (folder.path().join("calls.db"), folder.path().join("calls.jsonl"));
    rich(&database);
    std::fs::write(&file, exported(&database, &["--format", "jsonl"])).unwrap();
    (folder, database, file)
}

#[test]
fn a_database_that_was_exported_and_imported_is_equal_and_stays_equal() {
    let (folder, database, file) = exported_database();
    let other = folder.path().join("other.db");
    let [stored, unchanged, bad] = counts(&import(&other, &file, &["--json"]));
    assert!(stored >= 9 && unchanged == 0 && bad == 0, "{stored} {unchanged} {bad}");
    assert_eq!(rows(&other), rows(&database));
    assert_eq!(exported(&other, &["--format", "jsonl"]), std::fs::read_to_string(&file).unwrap());
    // Again, nothing changes.
    assert_eq!(counts(&import(&other, &file, &["--json"])), [0, stored, 0]);
    assert_eq!(rows(&other), rows(&database));
    let check = binary().args(["check", "--database"]).arg(&other).output().unwrap();
    assert!(check.status.success(), "{check:?}");
    // Both databases handle further writes alike: a repeat, a new turn, a later record.
    for database in [&database, &other] {
        let store = store(database);
        apply(&store, &live("user", "Yeah I am parked in Gary", "2026-09-28T12:00:05.25Z"));
        apply(&store, &live("agent", "Thank you, drive safely.", "2026-09-28T12:00:40Z"));
        let mut late = crate::support::samples::sample(0);
        late["event_timestamp"] = json!(1_790_600_000);
        apply(&store, &post(&late));
    }
    assert_eq!(rows(&other), rows(&database));
}

#[test]
fn tags_of_control_characters_and_costs_of_many_digits_are_restored_equal() {
    let folder = tempfile::tempdir().unwrap();
    let (database, file) = (folder.path().join("calls.db"), folder.path().join("calls.jsonl"));
    let mut event = crate::support::samples::sample(0);
    event["data"]["tag_ids"] = (0..100).map(|n| format!("{n:03}{}", "\u{1}".repeat(253))).collect();
    event["data"]["metadata"]["cost_fiat"] = json!("122.416294033786585".parse::<f64>().unwrap());
    apply(&store(&database), &post(&event));
    std::fs::write(&file, exported(&database, &["--format", "jsonl"])).unwrap();
    let other = folder.path().join("other.db");
    assert_eq!(counts(&import(&other, &file, &["--json"])), [2, 0, 0]);
    assert_eq!(rows(&other), rows(&database));
    assert_eq!(counts(&import(&other, &file, &["--json"])), [0, 2, 0]);
}

#[test]
fn a_call_that_is_imported_without_its_event_keeps_what_the_event_said_when_a_turn_comes() {
    let (folder, database, file) = exported_database();
    let lines = std::fs::read_to_string(&file).unwrap();
    let is_event = |line: &&str| serde_json::from_str::<Value>(line).unwrap().get("digest").is_some();
    let without: String = lines.lines().filter(|line| !is_event(line)).flat_map(|line| [line, "\n"]).collect();
    assert_ne!(without, lines);
    std::fs::write(&file, without).unwrap();
    let other = folder.path().join("other.db");
    counts(&import(&other, &file, &["--json"]));
    apply(&store(&other), &live("user", "One more thing: the brakes squeak.", "2026-09-28T12:01:40Z"));
    let known = |database: &Path| {
        let sql = "SELECT json_array(driver_id, driver_claims, answered_by, answered_by_source, channel, call_sid, \
            agent_number, record_complete, title, (SELECT json_group_array(json_array(position, name, purpose, \
            result)) \
            FROM tool_calls t WHERE t.conversation_id = c.conversation_id)) FROM calls c WHERE conversation_id = ?1";
        open(database).query_row(sql, [CALL], |row| row.get::<_, String>(0)).unwrap()
    };
    assert_eq!(known(&other), known(&database));
    assert!(known(&other).contains("log_turn"), "{}", known(&other));
}

#[test]
fn what_is_imported_is_found_and_shown_by_a_running_service() {
    let (folder, _, file) = exported_database();
    let service = Service::start_on(&folder.path().join("other.db"), &[]);
    service.deliver(&turn("conv_own", 1)).expect(201);
    // The row ids of the first call and turn are in use.
    let out = import(service.database(), &file, &[]);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).starts_with("line "), "{out:?}");
    service.delete("/api/v1/calls/conv_own").expect(204);
    assert!(import(service.database(), &file, &[]).status.success());
    let call = service.get(&format!("/api/v1/calls/{CALL}")).expect(200).json();
    assert_eq!(call["status"], "completed");
    wait_for("the words to be found", || {
        let found = service.get("/api/v1/search?q=heading").expect(200).json();
        found["data"].as_array().is_some_and(|hits| hits.len() == 1).then_some(())
    });
    let sequence = service.deliver(&turn("conv_signs", 1)).expect(201).json()["sequence_number"].clone();
    assert_eq!(sequence, 10);
}

#[test]
fn an_old_copy_does_not_bring_back_a_call_that_was_erased() {
    let (folder, database, file) = exported_database();
    let erase = ["erase", "--conversation", "conv_signs", "--yes", "--database"];
    let erased = binary().args(erase).arg(&database).output().unwrap();
    assert!(erased.status.success(), "{}", String::from_utf8_lossy(&erased.stderr));
    let before = rows(&database);
    let [stored, _, bad] = counts(&import(&database, &file, &["--skip-bad", "--json"]));
    assert_eq!(stored, 0, "nothing of it came back");
    assert!(bad >= 1);
    assert_eq!(rows(&database), before);
    let said = String::from_utf8_lossy(&import(&database, &file, &[]).stderr).into_owned();
    assert!(said.contains(": conversation_id: "), "{said}");
    // Another database still accepts the call.
    assert!(import(&folder.path().join("other.db"), &file, &[]).status.success());
}

#[test]
fn turns_between_those_that_are_indexed_are_found_too() {
    let (folder, database, file) = exported_database();
    let other = folder.path().join("other.db");
    let only = folder.path().join("only.jsonl");
    std::fs::write(&only, exported(&database, &["--format", "jsonl", "--conversation-id", "conv_signs"])).unwrap();
    assert!(import(&other, &only, &[]).status.success());
    // All stored turns are indexed before the earlier call is imported.
    let service = Service::start_on(&other, &[]);
    let found = |query: &str| {
        let found = service.get(&format!("/api/v1/search?q={query}")).expect(200).json();
        found["data"].as_array().is_some_and(|hits| !hits.is_empty()).then_some(())
    };
    wait_for("the index", || found("heading"));
    wait_for("all to be indexed", || index_state(&other).filter(|(_, to, _)| *to > 5));
    assert!(import(&other, &file, &[]).status.success());
    wait_for("the words", || found("parked"));
    indexed(&service);
    compare(&other);
}

#[test]
fn bad_lines_are_named_by_line_and_field_and_nothing_is_overwritten() {
    let (folder, database, file) = exported_database();
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let signs =
        lines.iter().position(|line| line["type"] == "call" && line["conversation_id"] == "conv_signs").unwrap();
    let changed = |pointer: &str, value: Value| {
        let mut lines = lines.clone();
        *lines[signs].pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
        lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
    };
    let bad = folder.path().join("bad.jsonl");
    let number = signs + 1;
    let mut refusals = Wording::default();
    for (content, field) in [
        (changed("/status", json!("done")), "status"),
        (changed("/call_start_time", json!("2026-09-28T12:00:05Xabcdefg")), "call_start_time"),
        (changed("/turn_count", json!(3)), "turn_count"),
        (changed("/turn_count", json!("many")), "turn_count"),
        (changed("/driver_id", json!(99)), "driver_id"),
        (changed("/conversation_id", json!(null)), "conversation_id"),
        (changed("/transcriptions/3/message_text", json!("  ")), "transcriptions[3].message_text"),
        (changed("/transcriptions/3/speaker_type", json!("user")), "transcriptions[3]"),
        (changed("/transcriptions/3/sequence_number", json!(40)), "transcriptions[3].sequence_number"),
        (changed("/transcriptions/3/repeat_key", json!(5)), "transcriptions[3].repeat_key"),
        (changed("/transcriptions/3", json!("x")), "transcriptions[3]"),
        (changed("/transcriptions", json!(null)), "transcriptions"),
        (changed("/type", json!("truck")), "type"),
        (changed("/summary", json!({"a": 1})), "summary"),
        (text.replace("\"agent_id\":null,\"direction\"", "\"agent_id\":null,\"colour\":1,\"direction\""), "colour"),
        (lines[..signs].iter().map(Value::to_string).collect::<Vec<_>>().join("\n") + "\n{\"type\":", ""),
    ] {
        std::fs::write(&bad, content).unwrap();
        let other = folder.path().join("other.db");
        for ending in ["db", "db-wal", "db-shm"] {
            let _ = std::fs::remove_file(other.with_extension(ending));
        }
        let out = import(&other, &bad, &[]);
        let errors = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(1), "{field}: {errors}");
        let line = errors.lines().find(|line| line.starts_with("line ")).unwrap_or_default();
        assert!(line.contains(&format!(": {field}")), "{field:?} is not in {errors}");
        assert!(line.starts_with(&format!("line {number}: ")) || field == "colour", "{errors}");
        refusals.add(if field.is_empty() { "(no JSON)" } else { field }, line);
        let stored: i64 = open(&other)
            .query_row("SELECT count(*) FROM call_transcriptions WHERE conversation_id = 'conv_signs'", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(stored, 0, "{field}: nothing of the bad call");
    }
    // A row that differs from the stored one is reported, and overwrites nothing.
    let before = rows(&database);
    for pointer in ["/title", "/transcriptions/2/message_text"] {
        std::fs::write(&bad, changed(pointer, json!("something else"))).unwrap();
        let out = import(&database, &bad, &["--skip-bad", "--json"]);
        let errors = String::from_utf8_lossy(&out.stderr).into_owned();
        let field = pointer[1..].replace("/2/", "[2].");
        let line = errors.lines().find(|line| line.starts_with(&format!("line {number}: {field}: ")));
        refusals.add(&field, line.unwrap_or_else(|| panic!("{field}: {errors}")));
        assert_eq!(counts(&out)[2], 1);
        assert_eq!(rows(&database), before);
    }
    assert_snapshot!("bad_lines", refusals);
}

#[test]
fn an_import_that_is_killed_leaves_whole_calls_and_the_next_one_completes_it() {
    let folder = tempfile::tempdir().unwrap();
    let (database, file) = (folder.path().join("calls.db"), folder.path().join("calls.jsonl"));
    let service = Service::start_on(&database, &["--log-level", "info,http=off"]);
    for n in 0..20 {
        service.deliver(&turn("conv_0", n)).expect(201);
    }
    service.stop();
    // Copy the call many times.
    let line: Value = serde_json::from_str(&exported(&database, &["--format", "jsonl"])).unwrap();
    let mut text = String::new();
    for call in 0..400_i64 {
        let mut line = line.clone();
        line["id"] = json!(call + 1);
        line["conversation_id"] = json!(format!("conv_{call}"));
        for (n, turn) in (0_i64..).zip(line["transcriptions"].as_array_mut().unwrap()) {
            turn["id"] = json!(call * 20 + n + 1);
            let digest = turn["repeat_key"].as_i64().unwrap() & 0xffff_ffff;
            turn["repeat_key"] = json!(((call + 1) << 32) | digest);
        }
        text += &line.to_string();
        text.push('\n');
    }
    std::fs::write(&file, text).unwrap();
    let other = folder.path().join("other.db");
    let stored = || -> i64 {
        let connection = rusqlite::Connection::open_with_flags(&other, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY);
        let count = |c: rusqlite::Connection| c.query_row("SELECT count(*) FROM calls", [], |row| row.get(0)).ok();
        connection.ok().and_then(count).unwrap_or(0)
    };
    let mut kills = 0;
    // On a busy machine the import may end before the kill. Then the next one starts with an empty folder.
    for _ in 0..100 {
        if kills == 3 {
            break;
        }
        let mut before = stored();
        if before == 400 {
            before = 0;
            for ending in ["db", "db-wal", "db-shm"] {
                let _ = std::fs::remove_file(other.with_extension(ending));
            }
        }
        let mut command = binary();
        command.args(["import", "calls"]).arg(&file).arg("--database").arg(&other);
        let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        wait_for("some calls to be stored", || {
            std::thread::park_timeout(Duration::from_millis(1));
            (stored() > before || child.try_wait().unwrap().is_some()).then_some(())
        });
        child.kill().unwrap();
        kills += i32::from(!child.wait().unwrap().success());
        let check = binary().args(["check", "--database"]).arg(&other).output().unwrap();
        assert!(check.status.success(), "whole calls only: {check:?}");
        assert!(stored() >= before);
    }
    assert_eq!(kills, 3, "it was killed on the way");
    let out = import(&other, &file, &["--json"]);
    let [new, unchanged, bad] = counts(&out);
    assert_eq!((new + unchanged, bad), (400, 0));
    assert_eq!(exported(&other, &["--format", "jsonl"]), std::fs::read_to_string(&file).unwrap());
}
