//! `backup`: a consistent copy at any time, and when the live file itself is whole.

use crate::support::database::{lengthen, names_in, whole};
use crate::support::service::{Service, binary, run, wait_for};
use crate::support::turns::turn;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn backup(database: &Path, out: &Path, flags: &[&str]) -> Output {
    binary().arg("backup").arg(out).arg("--database").arg(database).args(flags).output().unwrap()
}

#[test]
fn a_backup_of_a_database_under_load_is_whole_and_holds_all_that_was_acknowledged_before() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_with(&["--log-level", "info,http=off"]);
    service.while_turns_come(|| {
        for round in 0..5 {
            let before =
                wait_for("more turns", || Some(service.turns_stored()).filter(|count| *count > 50 * (round + 1)));
            let copy = folder.path().join(format!("copy{round}.db"));
            let out = backup(service.database(), &copy, &[]);
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            assert!(whole(&copy) >= before);
        }
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
    assert!(String::from_utf8_lossy(&out.stderr).contains("taken.db"), "{out:?}");
    assert_eq!(std::fs::read(&taken).unwrap(), b"precious");
    let out = backup(&folder.path().join("missing.db"), &folder.path().join("copy.db"), &[]);
    assert_eq!(out.status.code(), Some(1));
    let out = backup(&taken, &folder.path().join("copy.db"), &[]);
    assert_eq!(out.status.code(), Some(1), "what is no database is not copied");
    let names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["taken.db"]);
}

#[test]
fn a_backup_takes_no_name_under_which_another_databases_wal_or_journal_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start();
    service.deliver(&turn("conv_a", 1)).expect(201);
    let copy = folder.path().join("copy.db");
    // A WAL that is whole: SQLite would read it over the copy.
    let connection = rusqlite::Connection::open(&copy).unwrap();
    connection
        .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)")
        .unwrap();
    let wal = std::fs::read(folder.path().join("copy.db-wal")).unwrap();
    assert!(!wal.is_empty());
    drop(connection);
    std::fs::remove_file(&copy).unwrap();
    for log in ["copy.db-wal", "copy.db-journal"] {
        let log = folder.path().join(log);
        std::fs::write(&log, &wal).unwrap();
        let out = backup(service.database(), &copy, &[]);
        assert_eq!(out.status.code(), Some(1), "{out:?}");
        assert!(String::from_utf8_lossy(&out.stderr).contains(log.to_str().unwrap()), "{out:?}");
        assert!(!copy.exists());
        assert_eq!(std::fs::read(&log).unwrap(), wal);
        // An empty one is nobody's.
        std::fs::write(&log, "").unwrap();
    }
    let out = backup(service.database(), &copy, &[]);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
}

#[test]
fn a_backup_that_is_killed_leaves_nothing_under_its_name_and_the_next_one_works() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start();
    service.deliver(&turn("conv_a", 1)).expect(201);
    lengthen(service.database(), 30);
    let copy = folder.path().join("copy.db");
    let partial = folder.path().join("copy.db.partial");
    let mut kills = 0;
    wait_for("three that are killed on the way", || {
        let mut backup = binary();
        backup.arg("backup").arg(&copy).arg("--database").arg(service.database());
        let mut child = backup.stdout(Stdio::null()).spawn().unwrap();
        let some = || partial.metadata().is_ok_and(|file| file.len() > 5_000_000);
        wait_for("some of the copy", || (some() || child.try_wait().unwrap().is_some()).then_some(()));
        child.kill().unwrap();
        if child.wait().unwrap().success() || copy.exists() {
            // On a slow machine it may be whole before it is seen here.
            std::fs::remove_file(&copy).unwrap();
            return None;
        }
        assert_eq!(names_in(folder.path()), ["copy.db.partial"]);
        kills += 1;
        (kills == 3).then_some(())
    });
    let out = backup(service.database(), &copy, &[]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(whole(&copy), 1);
    assert_eq!(names_in(folder.path()), ["copy.db"]);
    service.deliver(&turn("conv_a", 2)).expect(201);
}

#[test]
fn two_backups_under_one_name_do_not_meet() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start();
    lengthen(service.database(), 20);
    let copy = folder.path().join("copy.db");
    let outs: Vec<Output> = std::thread::scope(|scope| {
        let backups: Vec<_> = (0..2).map(|_| scope.spawn(|| backup(service.database(), &copy, &[]))).collect();
        backups.into_iter().map(|backup| backup.join().unwrap()).collect()
    });
    let failed: Vec<_> = outs.iter().filter(|out| !out.status.success()).collect();
    assert_eq!(failed.len(), 1, "{outs:?}");
    let reason = String::from_utf8_lossy(&failed[0].stderr).into_owned();
    assert!(reason.contains("copy.db"), "{reason}");
    whole(&copy);
    assert_eq!(names_in(folder.path()), ["copy.db"]);
}

#[test]
fn a_backup_that_cannot_be_written_fails_by_name_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start();
    lengthen(service.database(), 10);
    let copy = folder.path().join("copy.db");
    // Without the signal, a write past the limit fails as on a full disk.
    let command = "trap '' XFSZ; ulimit -f 4000; exec \"$@\"";
    let mut limited = Command::new("bash");
    limited.args(["-c", command, "bash", env!("CARGO_BIN_EXE_transcribe-hook"), "backup"]);
    let out = limited.arg(&copy).arg("--database").arg(service.database()).output().unwrap();
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("copy.db"), "{out:?}");
    assert!(names_in(folder.path()).is_empty(), "{:?}", names_in(folder.path()));
    service.deliver(&turn("conv_a", 1)).expect(201);
}

#[test]
fn a_copy_may_be_read_by_those_who_may_read_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start();
    let copy = folder.path().join("copy.db");
    std::fs::set_permissions(service.database(), std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(backup(service.database(), &copy, &[]).status.success());
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_backup_shows_on_a_terminal_how_far_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start();
    lengthen(service.database(), 20);
    let command = format!(
        "{} backup {} --database {}",
        env!("CARGO_BIN_EXE_transcribe-hook"),
        folder.path().join("copy.db").display(),
        service.database().display()
    );
    let out = Command::new("script").args(["-qec", &command, "/dev/null"]).output().unwrap();
    let shown = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(shown.contains("MiB"), "{shown:?}");
    // Who is no terminal is told the result only.
    let out = backup(service.database(), &folder.path().join("other.db"), &[]);
    assert!(out.stderr.is_empty(), "{out:?}");
}

#[test]
fn a_backup_put_in_the_place_of_a_lost_database_is_that_database() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let service = Service::start_on(&database, &[]);
    for n in 0..20 {
        service.deliver(&turn("conv_a", n)).expect(201);
    }
    let copy = folder.path().join("copy.db");
    assert!(backup(&database, &copy, &[]).status.success());
    let call = service.get("/api/v1/calls/conv_a").expect(200).json();
    let turns = service.get("/api/v1/calls/conv_a/transcriptions?limit=1000").expect(200).json();
    service.deliver(&turn("conv_a", 20)).expect(201);
    service.signal("KILL");
    service.wait();
    for ending in ["db", "db-wal", "db-shm"] {
        let _ = std::fs::remove_file(database.with_extension(ending));
    }
    std::fs::copy(&copy, &database).unwrap();
    let service = Service::start_on(&database, &[]);
    assert_eq!(service.get("/api/v1/calls/conv_a").expect(200).json(), call);
    assert_eq!(service.get("/api/v1/calls/conv_a/transcriptions?limit=1000").expect(200).json(), turns);
    let next = service.deliver(&turn("conv_a", 20)).expect(201);
    assert_eq!(next.json()["sequence_number"], 21, "what came after the copy is not there, and comes again");
    assert_eq!(next.header("idempotent-replayed"), None);
}

#[test]
fn after_some_quiet_seconds_everything_is_in_the_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start();
    let log = service.database().with_extension("db-wal");
    let length = || log.metadata().map_or(0, |log| log.len());
    let mut delivered = 0;
    wait_for("turns in the log", || {
        service.deliver(&turn("conv_a", delivered)).expect(201);
        delivered += 1;
        (delivered >= 20 && length() > 0).then_some(())
    });
    wait_for("the log to be folded in", || (length() == 0).then_some(()));
    let copy = folder.path().join("copy.db");
    std::fs::copy(service.database(), &copy).unwrap();
    assert_eq!(whole(&copy), delivered);
}

#[test]
fn the_command_line_says_what_is_missing() {
    let out = run(&["backup"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("<OUT>"));
}
