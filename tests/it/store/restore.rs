//! `restore`, and starts over files that do not belong together: a copy beside the WAL or journal of another state.

use crate::support::database::{names_in, whole};
use crate::support::process::{NOBODY, is_root, said};
use crate::support::recorder::{Moment, Recorder};
use crate::support::service::{Service, binary};
use crate::support::turns::turn;
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A folder with a database of 20 turns whose service was killed, so that they are in its WAL, and a copy of its first
/// 10.
fn killed() -> (TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (database, copy) = (folder.path().join("calls.db"), folder.path().join("copy.db"));
    let service = Service::start_on(&database, &[]);
    for n in 0..20 {
        if n == 10 {
            let out = binary().arg("backup").arg(&copy).arg("--database").arg(&database).output().unwrap();
            assert!(out.status.success(), "{}", said(&out));
        }
        service.deliver(&turn("conv_a", n)).expect(201);
    }
    service.signal("KILL");
    service.wait();
    assert!(database.with_extension("db-wal").metadata().unwrap().len() > 0);
    (folder, database, copy)
}

fn restore_command(copy: &Path, database: &Path) -> Command {
    let mut command = binary();
    command.arg("restore").arg(copy).arg("--database").arg(database);
    command
}

fn restore(copy: &Path, database: &Path, flags: &[&str]) -> Output {
    restore_command(copy, database).args(flags).output().unwrap()
}

fn kept(database: &Path) -> Vec<PathBuf> {
    let folder = database.parent().unwrap();
    let prefix = format!("{}.replaced-", database.file_name().unwrap().to_str().unwrap());
    names_in(folder).into_iter().filter(|name| name.starts_with(&prefix)).map(|name| folder.join(name)).collect()
}

fn migrates(database: &Path) -> Output {
    binary().args(["migrate", "--database"]).arg(database).output().unwrap()
}

#[test]
fn a_restored_copy_is_the_database_and_what_was_there_is_kept_whole() {
    let (folder, database, copy) = killed();
    fs::set_permissions(&database, fs::Permissions::from_mode(0o640)).unwrap();
    if is_root() {
        chown(&database, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    for derived in ["calls.db.search", "calls.db.search-wal"] {
        fs::write(folder.path().join(derived), "made of the old one").unwrap();
    }
    let before = names_in(folder.path());
    let out = restore(&copy, &database, &["--dry-run"]);
    assert!(out.status.success(), "{}", said(&out));
    let out = restore(&copy, &database, &[]);
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    assert!(said(&out).contains("--yes"), "{}", said(&out));
    assert_eq!(names_in(folder.path()), before, "nothing was done");
    let out = restore(&copy, &database, &["--yes", "--json"]);
    assert!(out.status.success(), "{}", said(&out));
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&report["transcriptions"], &report["moved"]), (&json!(10), &json!([])), "{report}");
    let newest: String = rusqlite::Connection::open(&copy)
        .unwrap()
        .query_row("SELECT max(created_at) FROM call_transcriptions", [], |row| row.get(0))
        .unwrap();
    assert_eq!(report["newest"], newest);
    assert_eq!(whole(&database), 10);
    let kept = kept(&database);
    assert_eq!(report["kept"], json!(kept[0].to_str().unwrap()));
    assert_eq!((kept.len(), whole(&kept[0])), (1, 20), "its WAL was folded in");
    for file in [&database, &kept[0]] {
        let metadata = file.metadata().unwrap();
        assert_eq!(metadata.mode() & 0o777, 0o640);
        assert!(!is_root() || metadata.uid() == NOBODY);
    }
    let mut names = names_in(folder.path());
    names.retain(|name| !name.contains(".replaced-"));
    assert_eq!(names, ["calls.db", "calls.db.lock", "copy.db"]);
    let service = Service::start_on(&database, &[]);
    assert_eq!(service.deliver(&turn("conv_a", 15)).expect(201).json()["sequence_number"], 11);
}

#[test]
fn a_copy_becomes_the_database_where_there_is_none() {
    let (folder, database, copy) = killed();
    // The database was lost, and its WAL was not: no service begins with an empty file then.
    fs::remove_file(&database).unwrap();
    let out = migrates(&database);
    assert!(!out.status.success() && said(&out).contains("transcribe-hook restore"), "{}", said(&out));
    let out = restore(&copy, &database, &[]);
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!((whole(&database), database.metadata().unwrap().mode() & 0o777), (10, 0o600));
    let moved: Vec<_> = names_in(folder.path()).into_iter().filter(|name| name.contains("-wal.replaced-")).collect();
    assert_eq!(moved.len(), 1, "what may be nowhere else is kept: {:?}", names_in(folder.path()));
    assert!(migrates(&database).status.success());
    // Into a folder of its own.
    let new = folder.path().join("new.db");
    assert!(restore(&copy, &new, &[]).status.success());
    assert_eq!(whole(&new), 10);
}

#[test]
fn what_must_not_take_the_place_of_a_database_is_refused_and_changes_nothing() {
    let (folder, database, copy) = killed();
    let at = |name: &str| folder.path().join(name);
    let damaged = at("damaged.db");
    let mut bytes = fs::read(&copy).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8192].fill(0x5a);
    fs::write(&damaged, &bytes).unwrap();
    fs::write(at("cut.db"), &bytes[..middle]).unwrap();
    fs::write(at("empty.db"), "").unwrap();
    fs::write(at("text.db"), "no database at all").unwrap();
    rusqlite::Connection::open(at("foreign.db")).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    let changed = |name: &str, sql: &str| {
        fs::copy(&copy, at(name)).unwrap();
        rusqlite::Connection::open(at(name)).unwrap().execute_batch(sql).unwrap();
    };
    changed("newer.db", "PRAGMA user_version = 9999");
    changed("gap.db", "UPDATE calls SET turn_count = 11");
    let bytes_of =
        || names_in(folder.path()).into_iter().map(|name| (fs::read(at(&name)).unwrap(), name)).collect::<Vec<_>>();
    let before = bytes_of();
    let bad =
        ["damaged.db", "cut.db", "empty.db", "text.db", "foreign.db", "newer.db", "gap.db", "missing.db", "calls.db"];
    for name in bad {
        let out = restore(&at(name), &database, &["--yes"]);
        assert_eq!(out.status.code(), Some(1), "{name}: {}", said(&out));
        assert!(said(&out).contains(name), "{name}: {}", said(&out));
    }
    // Another program's database was named by mistake.
    let connection = rusqlite::Connection::open(at("foreign.db")).unwrap();
    connection.execute_batch("PRAGMA application_id = 7").unwrap();
    drop(connection);
    let foreign = fs::read(at("foreign.db")).unwrap();
    let out = restore(&copy, &at("foreign.db"), &["--yes"]);
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    assert!(fs::read(at("foreign.db")).unwrap() == foreign);
    let relevant = |files: Vec<(Vec<u8>, String)>| {
        files
            .into_iter()
            .filter(|(_, name)| ["calls.db", "calls.db-wal", "copy.db"].contains(&&**name))
            .collect::<Vec<_>>()
    };
    assert!(relevant(bytes_of()) == relevant(before), "{:?}", names_in(folder.path()));
    let service = Service::start_on(&database, &[]);
    let out = restore(&copy, &database, &["--yes"]);
    assert!(!out.status.success() && said(&out).contains(&service.pid().to_string()), "{}", said(&out));
    assert_eq!(service.deliver(&turn("conv_a", 20)).expect(201).json()["sequence_number"], 21);
}

#[test]
fn a_broken_database_is_replaced_and_kept_with_what_belonged_to_it() {
    let (folder, database, copy) = killed();
    let wal = fs::read(database.with_extension("db-wal")).unwrap();
    fs::write(&database, "overwritten by something else").unwrap();
    let out = restore(&copy, &database, &["--yes"]);
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(whole(&database), 10);
    assert!(fs::read(&kept(&database)[0]).unwrap() == b"overwritten by something else");
    let moved = names_in(folder.path()).into_iter().find(|name| name.contains("-wal.replaced-")).unwrap();
    assert!(fs::read(folder.path().join(moved)).unwrap() == wal, "its WAL is as it was");
    assert!(migrates(&database).status.success());
}

#[test]
fn a_restore_killed_at_any_sync_leaves_the_old_state_or_the_new_one() {
    let (made, ..) = killed();
    let recorder = Recorder::build();
    let mut kills = 0;
    for moment in [Moment::BeforeSync, Moment::AfterSync] {
        for n in 1.. {
            let folder = tempfile::tempdir().unwrap();
            for name in names_in(made.path()) {
                fs::copy(made.path().join(&name), folder.path().join(&name)).unwrap();
            }
            let (database, copy) = (folder.path().join("calls.db"), folder.path().join("copy.db"));
            let mut command = restore_command(&copy, &database);
            command.arg("--yes");
            let out = recorder.killing(command, folder.path(), n, moment).output().unwrap();
            if out.status.success() {
                break;
            }
            let case = format!("killed at sync {n}, {moment:?}");
            assert_eq!(out.status.signal(), Some(9), "{case}: {}", said(&out));
            let next = migrates(&database);
            assert!(next.status.success(), "{case}: {}, {:?}", said(&next), names_in(folder.path()));
            let turns = whole(&database);
            assert!([10, 20].contains(&turns), "{case}: {turns} turns");
            if turns == 10 {
                assert_eq!(whole(&kept(&database)[0]), 20, "{case}");
            }
            let again = restore(&copy, &database, &["--yes"]);
            assert!(again.status.success(), "{case}: {}", said(&again));
            assert_eq!(whole(&database), 10, "{case}");
            assert!(kept(&database).iter().any(|kept| whole(kept) == 20), "{case}: the old one is still there");
            assert!(!names_in(folder.path()).iter().any(|name| name.ends_with(".partial")), "{case}");
            kills += 1;
        }
    }
    assert!(kills >= 2 * 6, "{kills} kills");
}

#[test]
fn a_copy_that_was_put_beside_an_old_wal_or_journal_by_hand_is_not_served() {
    // In rollback mode, as `backup` makes it.
    let (_folder, database, copy) = killed();
    fs::copy(&copy, &database).unwrap();
    let before = fs::read(&database).unwrap();
    let out = migrates(&database);
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    assert!(said(&out).contains("calls.db-wal") && said(&out).contains("transcribe-hook restore"), "{}", said(&out));
    assert!(fs::read(&database).unwrap() == before, "it is left untouched");
    assert!(restore(&copy, &database, &["--yes"]).status.success());
    assert_eq!(whole(&database), 10);

    // In WAL mode: a file that was copied while its service rested, older than what is in the WAL by a restart.
    let folder = tempfile::tempdir().unwrap();
    let (database, copy) = (folder.path().join("calls.db"), folder.path().join("copy.db"));
    for round in 0..3 {
        let service = Service::start_on(&database, &[]);
        for n in 0..40 {
            let mut turn = turn(&format!("conv_{round}"), n);
            turn["message"] = json!(format!("{n} {}", "words ".repeat(300)));
            service.deliver(&turn).expect(201);
        }
        if round < 2 {
            service.stop();
        } else {
            service.signal("KILL");
            service.wait();
        }
        if round == 0 {
            fs::copy(&database, &copy).unwrap();
        }
    }
    assert_eq!(fs::read(&copy).unwrap()[18..20], [2, 2]);
    let own = fs::read(&database).unwrap();
    fs::copy(&copy, &database).unwrap();
    let out = migrates(&database);
    assert!(said(&out).contains("calls.db-wal") && !out.status.success(), "{}", said(&out));
    // With the database that it belongs to, it is recovered.
    fs::write(&database, own).unwrap();
    assert!(migrates(&database).status.success());
    assert_eq!(whole(&database), 120);

    // The rollback journal of another state.
    let (_folder, database, copy) = killed();
    assert!(restore(&copy, &database, &["--yes"]).status.success());
    let journal = database.with_extension("db-journal");
    let mut old = fs::read(&copy).unwrap()[..4096].to_vec();
    old[24..28].copy_from_slice(&900_u32.to_be_bytes());
    let mut head = vec![0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    for number in [1_u32, 7, 1, 512, 4096] {
        head.extend(number.to_be_bytes());
    }
    head.resize(512, 0);
    let mut file = fs::File::create(&journal).unwrap();
    file.write_all(&[&head[..], &1_u32.to_be_bytes(), &old, &[0; 4]].concat()).unwrap();
    let out = migrates(&database);
    assert!(said(&out).contains("calls.db-journal") && !out.status.success(), "{}", said(&out));
    assert!(restore(&copy, &database, &["--yes"]).status.success());
    assert!(migrates(&database).status.success());
    assert_eq!(whole(&database), 10);
}
