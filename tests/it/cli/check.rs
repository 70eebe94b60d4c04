//! `check`: what is wrong with a database is found and named, and a good one is left in peace.

use crate::support::service::{Service, binary};
use crate::support::turns::turn;
use crate::support::wording::Wording;
use insta::assert_snapshot;
use serde_json::{Value, json};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn check(database: &Path, flags: &[&str]) -> (Option<i32>, Value) {
    let out = binary().args(["check", "--json", "--database"]).arg(database).args(flags).output().unwrap();
    let report = serde_json::from_slice(&out.stdout).unwrap_or(Value::Null);
    (out.status.code(), report)
}

/// A database of two calls and fifty turns, not in use.
fn made() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let service = Service::start_on(&database, &[]);
    for n in 0..50 {
        service.deliver(&turn(if n % 5 == 0 { "conv_a" } else { "conv_b" }, n)).expect(201);
    }
    service.stop();
    (folder, database)
}

#[test]
fn a_good_database_passes_also_while_it_is_written_to() {
    let service = Service::start();
    for n in 0..20 {
        service.deliver(&turn("conv_a", n)).expect(201);
    }
    let (code, report) = std::thread::scope(|scope| {
        let checking = scope.spawn(|| check(service.database(), &[]));
        let mut n = 20;
        while !checking.is_finished() {
            service.deliver(&turn("conv_a", n)).expect(201);
            n += 1;
        }
        checking.join().unwrap()
    });
    assert_eq!((code, &report["ok"], &report["calls"]), (Some(0), &json!(true), &json!(1)), "{report}");
    assert!(report["transcriptions"].as_u64().is_some_and(|turns| turns >= 20), "{report}");
    let out = binary().args(["check", "--database"]).arg(service.database()).output().unwrap();
    let mut shown = Wording::default();
    shown.hide(service.database().display(), "[database]");
    shown.add_without_numbers("check", &String::from_utf8(out.stdout).unwrap());
    assert_snapshot!("report", shown);
}

#[test]
fn each_kind_of_damage_is_found_and_named() {
    let (folder, database) = made();
    let mut problems_found = Wording::default();
    for (kind, sql, named) in [
        ("sequence", "DELETE FROM call_transcriptions WHERE sequence_number = 4", "conv_a"),
        ("sequence", "UPDATE call_transcriptions SET sequence_number = 90 WHERE sequence_number = 40", "conv_b"),
        ("sequence", "UPDATE calls SET turn_count = turn_count + 1 WHERE conversation_id = 'conv_a'", "conv_a"),
        ("foreign_keys", "DELETE FROM calls WHERE conversation_id = 'conv_a'", "call_transcriptions"),
        ("foreign_keys", "UPDATE calls SET driver_id = 1042", "drivers"),
        ("times", "UPDATE calls SET last_turn_time = '2030-01-01T00:00:00.000000Z' WHERE id = 1", "conv_a"),
        ("times", "UPDATE calls SET first_turn_time = NULL WHERE id = 2", "conv_b"),
        ("numbers", "UPDATE sqlite_sequence SET seq = 3 WHERE name = 'call_transcriptions'", "call_transcriptions"),
        ("last_messages", "UPDATE calls SET last_message_id = 1 WHERE conversation_id = 'conv_b'", "conv_b"),
        ("stand_ins", "UPDATE call_transcriptions SET superseded_by = 99 WHERE id = 7", "99"),
    ] {
        let damaged = folder.path().join("damaged.db");
        std::fs::copy(&database, &damaged).unwrap();
        let connection = rusqlite::Connection::open(&damaged).unwrap();
        connection.execute_batch(&format!("PRAGMA foreign_keys = OFF; {sql}")).unwrap();
        drop(connection);
        let (code, report) = check(&damaged, &[]);
        assert_eq!((code, &report["ok"]), (Some(1), &json!(false)), "{sql}: {report}");
        let problems = report["problems"].as_array().unwrap();
        assert!(
            problems.iter().any(|p| p["check"] == kind && p["problem"].as_str().unwrap().contains(named)),
            "{sql}: {report}"
        );
        let out = binary().args(["check", "--database"]).arg(&damaged).output().unwrap();
        assert_eq!(out.status.code(), Some(1));
        let shown = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(shown.contains(&format!("{kind}: ")), "{shown}");
        problems_found.add(sql, &shown);
        assert!(String::from_utf8_lossy(&out.stderr).contains("damaged.db: "), "{out:?}");
    }
    assert_snapshot!("problems", problems_found);
}

#[test]
fn broken_pages_are_found_and_what_is_no_database_is_an_error() {
    let (folder, database) = made();
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_call_transcriptions_1'";
    let page: u64 = rusqlite::Connection::open(&database).unwrap().query_row(root, [], |row| row.get(0)).unwrap();
    let mut file = std::fs::OpenOptions::new().write(true).open(&database).unwrap();
    file.seek(SeekFrom::Start(4096 * (page - 1))).unwrap();
    file.write_all(&[0x55; 4096]).unwrap();
    let (code, report) = check(&database, &[]);
    assert_eq!((code, &report["problems"][0]["check"]), (Some(1), &json!("integrity")), "{report}");
    let missing = folder.path().join("missing.db");
    for (path, content) in [(&missing, None), (&folder.path().join("notes.txt"), Some("no database at all"))] {
        if let Some(content) = content {
            std::fs::write(path, content).unwrap();
        }
        let (code, report) = check(path, &[]);
        assert_eq!((code, report), (Some(1), Value::Null));
    }
    assert!(!missing.exists(), "nothing is made");
    let other = folder.path().join("other.db");
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    let out = binary().args(["check", "--database"]).arg(&other).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("other.db"), "{out:?}");
}

#[test]
fn recordings_of_no_call_are_found() {
    let (folder, database) = made();
    let audio = folder.path().join("recordings");
    std::fs::create_dir(&audio).unwrap();
    for name in ["conv_a.mp3", "conv_b.mp3", "notes.txt", ".incoming-x.part"] {
        std::fs::write(audio.join(name), "").unwrap();
    }
    let flags = ["--audio-dir", audio.to_str().unwrap()];
    assert_eq!(check(&database, &flags).0, Some(0));
    std::fs::write(audio.join("conv_c.mp3"), "").unwrap();
    let (code, report) = check(&database, &flags);
    assert_eq!(code, Some(1));
    assert_eq!(report["problems"], json!([{"check": "audio", "problem": "recording conv_c.mp3 belongs to no call"}]));
}
