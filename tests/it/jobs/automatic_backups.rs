//! The copies that the service makes by itself: `--backup-every` and `--snapshot-every`.

use crate::support::database::{lengthen, names_in, whole};
use crate::support::recorder::{Moment, Recorder};
use crate::support::service::{Service, binary, wait_for};
use crate::support::turns::turn;
use std::collections::BTreeSet;
use std::path::Path;
use transcribe_hook::domain::Timestamp;

/// The name of a backup of `calls.db` from so many seconds ago.
fn name_of(seconds_ago: i64) -> String {
    let text = Timestamp::now().plus_seconds(-seconds_ago).unwrap().to_string();
    format!("calls-{}Z.db", text[..19].replace(['-', ':'], ""))
}

fn backups(folder: &Path) -> Vec<String> {
    names_in(folder).into_iter().filter(|name| name.starts_with("calls-2") && name.ends_with("Z.db")).collect()
}

#[test]
fn backups_are_made_at_their_interval_whole_and_the_last_ones_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (database, dir) = (folder.path().join("calls.db"), folder.path().join("made/for/backups"));
    let flags = ["--backup-every", "1s", "--backup-keep", "2", "--backup-dir", dir.to_str().unwrap()];
    std::fs::create_dir_all(&dir).unwrap();
    let others = ["calls-20200101T000000Z.db.bak", "calls-before-upgrade.db", "other-20200101T000000Z.db"];
    for other in others {
        std::fs::write(dir.join(other), "not a backup of this database").unwrap();
    }
    // As a killed service left it.
    std::fs::write(dir.join("calls-20200101T000000Z.db.partial"), "half").unwrap();
    let service = Service::start_on(&database, &flags);
    for n in 0..50 {
        service.deliver(&turn("conv_a", n)).expect(201);
    }
    let before = backups(&dir);
    let mut seen = BTreeSet::new();
    wait_for("three more backups", || {
        seen.extend(backups(&dir).into_iter().filter(|name| !before.contains(name)));
        (seen.len() >= 3).then_some(())
    });
    service.stop();
    let kept = backups(&dir);
    assert_eq!(kept.len(), 2, "{kept:?}");
    // On a slow machine another one has come meanwhile.
    seen.extend(kept.iter().cloned());
    assert_eq!(kept, seen.iter().rev().take(2).rev().cloned().collect::<Vec<_>>(), "the last ones");
    for name in &kept {
        assert_eq!(whole(&dir.join(name)), 50);
    }
    let mut left: Vec<_> = names_in(&dir).into_iter().filter(|name| !kept.contains(name)).collect();
    left.sort();
    assert_eq!(left, others, "nothing else is touched, and nothing is half done");
}

#[test]
fn a_backup_that_fails_is_logged_and_costs_no_older_one() {
    let folder = tempfile::tempdir().unwrap();
    let (database, dir) = (folder.path().join("calls.db"), folder.path().join("backups"));
    let flags = ["--backup-every", "1s", "--backup-keep", "1", "--backup-dir", dir.to_str().unwrap()];
    let service = Service::start_on(&database, &flags);
    service.deliver(&turn("conv_a", 1)).expect(201);
    let good = wait_for("a backup", || backups(&dir).pop());
    // A copy of a file that is damaged would be damaged too.
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection.execute_batch("UPDATE calls SET turn_count = 7").unwrap();
    let failed = service.wait_logged("error", "backup::rotation");
    assert!(failed["error"].as_str().unwrap().contains("turn_count"), "{failed}");
    let metrics = |name: &str| {
        let text = service.get("/metrics").expect(200).text;
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a metric").trim().to_owned();
        line.parse::<f64>().expect("a number")
    };
    assert!(metrics("transcribe_hook_backup_failures_total ") >= 1.0);
    let seconds = metrics("transcribe_hook_backup_last_success_timestamp_seconds ");
    let now = f64::from(i32::try_from(Timestamp::now().unix_micros() / 1_000_000).unwrap());
    assert!((now - 600.0..now + 1.0).contains(&seconds), "{seconds}");
    let after =
        wait_for("another failure", || (service.logged("error", "backup::rotation").len() >= 2).then(|| backups(&dir)));
    assert_eq!(after.len(), 1, "{after:?}");
    let kept = backups(&dir).pop().unwrap();
    assert!(kept >= good);
    whole(&dir.join(&kept));
    connection.execute_batch("UPDATE calls SET turn_count = 1").unwrap();
    wait_for("a newer backup", || backups(&dir).into_iter().find(|name| *name > kept));
}

#[test]
fn a_restart_neither_repeats_a_backup_nor_puts_it_off() {
    let folder = tempfile::tempdir().unwrap();
    let (database, dir) = (folder.path().join("calls.db"), folder.path().join("backups"));
    std::fs::create_dir_all(&dir).unwrap();
    let young = name_of(1800);
    assert!(binary().args(["migrate", "--create", "--database"]).arg(&database).output().unwrap().status.success());
    let made = binary().arg("backup").arg(dir.join(&young)).arg("--database").arg(&database).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let flags = |every: &'static str| {
        ["--backup-every", every, "--snapshot-every", "1s", "--backup-dir", dir.to_str().unwrap()].map(str::to_owned)
    };
    let start = |every| {
        let flags = flags(every);
        Service::start_on(&database, &flags.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let service = start("1h");
    // The same thread makes both, so a backup that were due would be made by then.
    wait_for("two snapshots", || (service.logged("info", "backup::rotation").len() >= 2).then_some(()));
    assert_eq!(backups(&dir), std::slice::from_ref(&young));
    service.stop();
    let service = start("20m");
    wait_for("a backup", || (backups(&dir).len() == 2).then_some(()));
    service.stop();
}

#[test]
fn a_plain_cp_of_latest_db_is_whole_at_any_time_under_load() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_with(&["--snapshot-every", "1s", "--log-level", "info,http=off"]);
    let latest = service.database().with_file_name("latest.db");
    service.while_turns_come(|| {
        wait_for("a first copy", || latest.exists().then_some(()));
        let (mut states, mut copies, mut last) = (0, 0, 0);
        let copy = folder.path().join("copy.db");
        while states < 4 {
            let cp = std::process::Command::new("cp").arg(&latest).arg(&copy).status().unwrap();
            assert!(cp.success());
            let turns = whole(&copy);
            assert!(turns >= last, "{turns} turns after {last}");
            states += usize::from(turns > last);
            (last, copies) = (turns, copies + 1);
        }
        assert!(copies >= 4);
    });
    assert_eq!(std::fs::read(&latest).unwrap()[18..20], [1, 1], "it needs no second file");
}

#[test]
fn a_stop_does_not_wait_for_a_backup_and_leaves_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (database, dir) = (folder.path().join("calls.db"), folder.path().join("backups"));
    assert!(binary().args(["migrate", "--create", "--database"]).arg(&database).output().unwrap().status.success());
    lengthen(&database, 60);
    let flags = ["--backup-every", "1h", "--backup-dir", dir.to_str().unwrap()];
    let mut left = Vec::new();
    for _ in 0..5 {
        let service = Service::start_on(&database, &flags);
        wait_for("a backup to begin", || dir.exists().then(|| names_in(&dir).pop()).flatten());
        service.signal("TERM");
        let (status, _) = service.wait();
        assert!(status.success(), "{status}");
        left = names_in(&dir);
        if !left.iter().any(|name| name.ends_with("Z.db")) {
            break;
        }
        // It was made before the signal came. A service that waits for it makes it each time.
        std::fs::remove_dir_all(&dir).unwrap();
    }
    assert!(left.is_empty(), "{left:?}");
    assert!(!database.with_extension("db-wal").exists(), "the log is folded in");
}

#[test]
fn what_cannot_be_done_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let serve = |flags: &[&str]| {
        let out =
            binary().args(["serve", "--listen", "127.0.0.1:0"]).args(flags).current_dir(&folder).output().unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (code, text) = serve(&["--backup-every", "24h"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--backup-dir"), "{text}");
    let (code, text) = serve(&["--backup-every", "10ms", "--backup-dir", "b"]);
    assert_eq!(code, Some(2), "{text}");
    std::fs::write(folder.path().join("taken"), "").unwrap();
    let (code, text) = serve(&["--backup-every", "24h", "--backup-dir", "taken/b"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--backup-dir") && text.contains("taken/b"), "{text}");
    assert!(!text.contains("listening"), "it does not say that it serves: {text}");
    let (code, text) = serve(&["--snapshot-every", "15m", "--database", "latest.db"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("latest.db"), "{text}");
}

#[test]
fn a_backup_that_cannot_be_used_is_neither_the_last_success_nor_one_of_those_that_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (database, dir) = (folder.path().join("calls.db"), folder.path().join("backups"));
    std::fs::create_dir_all(&dir).unwrap();
    let service = Service::start_on(&database, &[]);
    for n in 0..50 {
        service.deliver(&turn("conv_a", n)).expect(201);
    }
    let good = dir.join(name_of(7200));
    let made = binary().arg("backup").arg(&good).arg("--database").arg(&database).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    service.stop();
    let bytes = std::fs::read(&good).unwrap();
    let bad = |seconds_ago: i64, bytes: &[u8]| std::fs::write(dir.join(name_of(seconds_ago)), bytes).unwrap();
    bad(60, b"");
    bad(120, &bytes[..bytes.len() / 2]);
    // What only a check of all its pages shows.
    let mut damaged = bytes.clone();
    damaged[4096..].fill(0x5a);
    bad(180, &damaged);
    let flags = ["--backup-every", "1h", "--backup-keep", "2", "--backup-dir", dir.to_str().unwrap()];
    let service = Service::start_on(&database, &flags);
    let last = || crate::support::metrics::Scrape::take(&service).get::<f64>("backup_last_success_timestamp_seconds");
    // Since the last good one is two hours old, one is due at once.
    wait_for("a backup", || (last() > 0.0 && backups(&dir).len() == 5).then_some(()));
    let made = backups(&dir).pop().unwrap();
    assert_eq!(whole(&dir.join(made)), 50);
    assert!(good.exists(), "it is one of the two that can be used");
    service.stop();
    // The same, when only a bad one is young.
    let service = Service::start_on(&database, &flags);
    let told = wait_for("the last success", || {
        Some(crate::support::metrics::Scrape::take(&service).get::<f64>("backup_last_success_timestamp_seconds"))
            .filter(|at| *at > 0.0)
    });
    let now = f64::from(i32::try_from(Timestamp::now().unix_micros() / 1_000_000).unwrap());
    assert!((now - 600.0..now + 1.0).contains(&told), "{told}");
    assert_eq!(backups(&dir).len(), 5);
}

#[test]
fn a_backup_killed_at_any_sync_has_its_name_and_is_whole_or_has_none_and_no_older_one_is_harmed() {
    let made = tempfile::tempdir().unwrap();
    let database = made.path().join("calls.db");
    let service = Service::start_on(&database, &[]);
    for n in 0..20 {
        service.deliver(&turn("conv_a", n)).expect(201);
    }
    service.stop();
    lengthen(&database, 12);
    let recorder = Recorder::build();
    let mut kills = 0;
    for moment in [Moment::BeforeSync, Moment::AfterSync] {
        for n in 1.. {
            let folder = tempfile::tempdir().unwrap();
            let copy = folder.path().join(name_of(60));
            let backup = || {
                let mut command = binary();
                command.arg("backup").arg(&copy).arg("--database").arg(&database);
                command
            };
            let out = recorder.killing(backup(), folder.path(), n, moment).output().unwrap();
            let case = format!("killed at sync {n}, {moment:?}");
            if copy.exists() {
                assert_eq!(whole(&copy), 20, "{case}");
                assert_eq!(names_in(folder.path()).len(), 1, "{case}: under one name: {:?}", names_in(folder.path()));
            } else {
                assert!(backup().output().unwrap().status.success(), "{case}");
                assert_eq!(whole(&copy), 20, "{case}");
            }
            if out.status.success() {
                break;
            }
            kills += 1;
        }
    }
    assert!(kills >= 2 * 3, "{kills} kills");

    // As a file system that only links leaves it: the next start takes the second name away, and nothing else.
    let dir = made.path().join("backups");
    std::fs::create_dir_all(&dir).unwrap();
    let good = dir.join(name_of(60));
    assert!(binary().arg("backup").arg(&good).arg("--database").arg(&database).output().unwrap().status.success());
    let mut partial = good.clone().into_os_string();
    partial.push(".partial");
    std::fs::hard_link(&good, &partial).unwrap();
    let flags = ["--backup-every", "1h", "--backup-dir", dir.to_str().unwrap()];
    let service = Service::start_on(&database, &flags);
    wait_for("the last success", || {
        (crate::support::metrics::Scrape::take(&service).get::<f64>("backup_last_success_timestamp_seconds") > 0.0)
            .then_some(())
    });
    assert_eq!(names_in(&dir), [good.file_name().unwrap().to_str().unwrap()]);
    assert_eq!(whole(&good), 20);
}
