//! `backup`: a consistent copy at any time, and when the live file itself is whole.

use crate::harness::{Service, binary, open, run, wait_for};
use crate::ingest::turn;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};

fn backup(database: &Path, out: &Path, flags: &[&str]) -> Output {
    binary().arg("backup").arg(out).arg("--database").arg(database).args(flags).output().unwrap()
}

/// How many turns a file holds, after making sure that it is whole.
fn whole(database: &Path) -> usize {
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

#[test]
fn a_backup_of_a_database_under_load_is_whole_and_holds_all_that_was_acknowledged_before() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_with(&["--log-level", "info,http=off"]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (service, done) = (&service, &done);
            scope.spawn(move || {
                for n in 0.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    service.deliver(&turn(&format!("conv_{client}_{}", n % 5), n)).expect(201);
                }
            });
        }
        let count = || -> usize {
            service.sqlite().query_row("SELECT count(*) FROM call_transcriptions", [], |row| row.get(0)).unwrap()
        };
        for round in 0..5 {
            let before = wait_for("more turns", || Some(count()).filter(|count| *count > 50 * (round + 1)));
            let copy = folder.path().join(format!("copy{round}.db"));
            let out = backup(service.database(), &copy, &[]);
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            assert!(whole(&copy) >= before);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_backup_is_one_file_that_opens_read_only_anywhere_and_can_be_served() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    let service = Service::start();
    service.deliver(&turn("conv_a", 1)).expect(201);
    let out = backup(service.database(), &copy, &["--json"]);
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&report["calls"], &report["transcriptions"]), (&1.into(), &1.into()));
    assert_eq!(report["bytes"].as_u64(), Some(copy.metadata().unwrap().len()));
    let names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["copy.db"], "nothing is left beside the copy");
    // Bytes 18 and 19 of the header: 1 is rollback mode, which needs no second file.
    assert_eq!(std::fs::read(&copy).unwrap()[18..20], [1, 1]);
    let restored = Service::start_on(&copy, &[]);
    assert_eq!(restored.deliver(&turn("conv_a", 1)).expect(201).header("idempotent-replayed"), Some("true"));
}

#[test]
fn a_backup_refuses_to_overwrite_and_leaves_nothing_when_it_fails() {
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("taken.db");
    std::fs::write(&taken, "precious").unwrap();
    let service = Service::start();
    let out = backup(service.database(), &taken, &[]);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("taken.db exists"), "{out:?}");
    assert_eq!(std::fs::read(&taken).unwrap(), b"precious");
    let out = backup(&folder.path().join("missing.db"), &folder.path().join("copy.db"), &[]);
    assert_eq!(out.status.code(), Some(1));
    let out = backup(&taken, &folder.path().join("copy.db"), &[]);
    assert_eq!(out.status.code(), Some(1), "what is no database is not copied");
    let names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["taken.db"]);
}

#[test]
fn after_some_quiet_seconds_everything_is_in_the_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start();
    for n in 0..20 {
        service.deliver(&turn("conv_a", n)).expect(201);
    }
    let log = service.database().with_extension("db-wal");
    assert!(log.metadata().unwrap().len() > 0);
    wait_for("the log to be folded in", || log.metadata().is_ok_and(|log| log.len() == 0).then_some(()));
    let copy = folder.path().join("copy.db");
    std::fs::copy(service.database(), &copy).unwrap();
    assert_eq!(whole(&copy), 20);
}

#[test]
fn the_command_line_says_what_is_missing() {
    let out = run(&["backup"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("<OUT>"));
}
