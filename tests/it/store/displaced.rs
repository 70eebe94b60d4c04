//! One database has one path: what is reached by another one is refused, and what is moved, replaced or linked under
//! the running service takes no turn until it is back.

use crate::support::database::{expected, names_in, stored};
use crate::support::process::said;
use crate::support::service::{Service, binary, wait_for};
use crate::support::turns::turn;
use crate::support::wording::Wording;
use insta::assert_snapshot;
use std::fs;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A service over a database with some turns in its WAL, in a folder of its own below a folder.
struct Case {
    folder: TempDir,
    service: Service,
    acknowledged: Vec<(String, i64, i64)>,
    next: usize,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        let service = Service::start_on(&folder.path().join("data/calls.db"), &["--snapshot-every", "1s"]);
        let mut case = Self { folder, service, acknowledged: Vec::new(), next: 0 };
        wait_for("some turns in the WAL", || {
            case.deliver();
            (case.next > 20 && case.at("calls.db-wal").metadata().is_ok_and(|wal| wal.len() > 0)).then_some(())
        });
        case
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join("data").join(name)
    }

    fn deliver(&mut self) {
        let turn = turn("conv_a", self.next);
        let answer = self.service.deliver(&turn).expect(201);
        self.acknowledged.push(expected(&turn, &answer));
        self.next += 1;
    }

    /// Copies the database with `backup`, while the WAL has turns, which a pause of two seconds would fold in.
    fn copied(&mut self) -> PathBuf {
        let copy = self.folder.path().join("copy.db");
        wait_for("a copy and turns in the WAL", || {
            self.deliver();
            let _ = fs::remove_file(&copy);
            let out =
                binary().arg("backup").arg(&copy).arg("--database").arg(self.service.database()).output().unwrap();
            assert!(out.status.success(), "{}", said(&out));
            self.at("calls.db-wal").metadata().is_ok_and(|wal| wal.len() > 10_000).then_some(())
        });
        copy
    }

    /// Nothing is acknowledged, and it is said.
    fn is_refused(&self, what: &str) {
        let began = Instant::now();
        wait_for("the service not to be ready", || (self.service.get("/readyz").status == 503).then_some(()));
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        for n in 0..20 {
            let answer = self.service.deliver(&turn("conv_b", n));
            assert!(answer.header("retry-after").is_some(), "{what}: {answer:?}");
            answer.expect_error(503);
        }
        self.service.wait_logged("error", "place");
        assert_eq!(self.service.logged("error", "place").len(), 1, "{what}: {:?}", self.service.log());
        self.service.get("/healthz").expect(200);
    }

    fn goes_on(&mut self, what: &str) {
        wait_for("the service to be ready", || (self.service.get("/readyz").status == 200).then_some(()));
        self.deliver();
        assert_eq!(stored(self.service.database()), self.acknowledged, "{what}");
    }
}

#[test]
fn a_database_that_is_moved_takes_no_turn_until_it_is_back() {
    let mut case = Case::new();
    for (from, to) in [("calls.db", "old.db"), ("calls.db-wal", "old-wal"), ("calls.db-shm", "old-shm")] {
        fs::rename(case.at(from), case.at(to)).unwrap();
        case.is_refused(from);
        // Neither the service nor its copies make anything at the old path.
        let since = Instant::now();
        wait_for("a snapshot to be due", || (since.elapsed() > Duration::from_millis(1500)).then_some(()));
        assert!(!case.at(from).exists(), "{from} is not made anew: {:?}", names_in(&case.at("")));
        fs::rename(case.at(to), case.at(from)).unwrap();
        case.goes_on(from);
        case.service.stop();
        // What is told once is counted.
        case = Case::new();
    }
    let data = case.folder.path().join("data");
    fs::rename(&data, case.folder.path().join("away")).unwrap();
    case.is_refused("its folder");
    assert!(!data.exists());
    fs::rename(case.folder.path().join("away"), &data).unwrap();
    case.goes_on("its folder");
    fs::hard_link(case.at("calls.db"), case.at("twin.db")).unwrap();
    wait_for("the service not to be ready", || (case.service.get("/readyz").status == 503).then_some(()));
    case.service.deliver(&turn("conv_b", 1)).expect_error(503);
    fs::remove_file(case.at("twin.db")).unwrap();
    case.goes_on("a second name");
}

#[test]
fn a_database_that_is_replaced_or_removed_keeps_what_is_put_in_its_place() {
    for what in ["replaced", "removed"] {
        let case = Case::new();
        let copy = case.folder.path().join("copy.db");
        let out = binary().arg("backup").arg(&copy).arg("--database").arg(case.service.database()).output().unwrap();
        assert!(out.status.success(), "{}", said(&out));
        fs::remove_file(case.at("calls.db")).unwrap();
        if what == "replaced" {
            fs::copy(&copy, case.at("calls.db")).unwrap();
        }
        case.is_refused(what);
        let (folder, database) = (case.folder, case.service.database().to_owned());
        // SQLite has no part in the file that is there now.
        case.service.stop();
        if what == "replaced" {
            assert!(fs::read(&copy).unwrap() == fs::read(&database).unwrap());
        } else {
            assert!(!database.exists());
        }
        drop(folder);
    }
}

#[test]
fn what_only_a_removed_wal_held_is_in_the_database_after_a_stop_and_after_a_kill() {
    for names in [&["calls.db-wal"][..], &["calls.db-shm"], &["calls.db-wal", "calls.db-shm"]] {
        for signal in ["TERM", "KILL"] {
            let case = Case::new();
            for name in names {
                fs::remove_file(case.at(name)).unwrap();
            }
            case.is_refused(names[0]);
            case.service.signal(signal);
            let database = case.service.database().to_owned();
            case.service.wait();
            let service = Service::start_on(&database, &[]);
            assert_eq!(stored(&database), case.acknowledged, "{names:?}, {signal}");
            service.deliver(&turn("conv_a", case.next)).expect(201);
            service.stop();
        }
    }
}

#[test]
fn a_copy_that_is_written_over_the_running_services_file_takes_no_turn_and_is_not_written_into() {
    let mut case = Case::new();
    let copy = case.copied();
    // As `cp` does it: the file stays the same one.
    fs::write(case.at("calls.db"), fs::read(&copy).unwrap()).unwrap();
    case.is_refused("overwritten");
    let (_folder, database) = (case.folder, case.service.database().to_owned());
    case.service.stop();
    assert!(fs::read(&copy).unwrap() == fs::read(&database).unwrap(), "nothing was folded into it");
    let out = binary().args(["restore", "--yes", "--database"]).arg(&database).arg(&copy).output().unwrap();
    assert!(out.status.success(), "{}", said(&out));
    let service = Service::start_on(&database, &[]);
    assert_eq!(stored(&database), case.acknowledged);
    service.deliver(&turn("conv_a", case.next)).expect(201);
}

/// A change of a file by somebody else.
type Change<'a> = &'a dyn Fn(&Path);

#[test]
fn a_database_or_wal_that_is_cut_off_takes_no_turn_and_nothing_is_damaged_further() {
    let cut = |path: &Path, length: u64| fs::File::options().write(true).open(path).unwrap().set_len(length).unwrap();
    let clear = |path: &Path| {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.write_all_at(&[0; 10_000], 0).unwrap();
    };
    let changes: [(&str, &str, Change<'_>); 4] = [
        ("the WAL emptied", "calls.db-wal", &|wal| cut(wal, 0)),
        ("the WAL without its end", "calls.db-wal", &|wal| cut(wal, 5_000)),
        ("the WAL written over", "calls.db-wal", &clear),
        ("the database without its end", "calls.db", &|database| cut(database, 8_192)),
    ];
    for (what, file, change) in changes {
        let mut case = Case::new();
        let copy = case.copied();
        let database = case.at("calls.db");
        let before = fs::read(&database).unwrap();
        change(&case.at(file));
        wait_for(what, || (case.service.get("/readyz").status == 503).then_some(()));
        for n in 0..20 {
            // What cannot even be read is 500.
            let status = case.service.deliver(&turn("conv_b", n)).status;
            assert!([500, 503].contains(&status), "{what}: {status}");
        }
        let (_folder, acknowledged, next) = (case.folder, case.acknowledged, case.next);
        case.service.stop();
        if file != "calls.db" {
            assert!(fs::read(&database).unwrap() == before, "{what}: nothing was folded into it");
        }
        let out = binary().args(["restore", "--yes", "--database"]).arg(&database).arg(&copy).output().unwrap();
        assert!(out.status.success(), "{what}: {}", said(&out));
        let service = Service::start_on(&database, &[]);
        assert_eq!(stored(&database), acknowledged, "{what}");
        service.deliver(&turn("conv_a", next)).expect(201);
    }
}

#[test]
fn a_wal_that_other_programs_fold_in_and_empty_is_no_reason_to_refuse_turns() {
    let mut case = Case::new();
    let other = rusqlite::Connection::open(case.at("calls.db")).unwrap();
    for sql in ["PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA wal_checkpoint(RESTART)", "VACUUM"] {
        for _ in 0..3 {
            wait_for(sql, || other.query_row(sql, [], |row| row.get::<_, i64>(0)).or_else(none).ok());
            case.goes_on(sql);
            // What a vacuum leaves out is cut off when it is folded in.
            other
                .execute_batch("CREATE TABLE IF NOT EXISTS theirs (x); INSERT INTO theirs VALUES (zeroblob(300000))")
                .unwrap();
            case.goes_on(sql);
            other.execute_batch("DELETE FROM theirs").unwrap();
        }
    }
    other.execute_batch("DROP TABLE theirs").unwrap();
    case.goes_on("all");
}

/// Returns 0 if a statement had no rows, and any other error.
fn none(error: rusqlite::Error) -> rusqlite::Result<i64> {
    if error == rusqlite::Error::QueryReturnedNoRows { Ok(0) } else { Err(error) }
}

#[test]
fn a_file_system_that_is_unmounted_or_covered_under_the_service_takes_no_turn() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let script = "mount -t tmpfs tmpfs \"$0\" && touch \"$0/mounted\" && exec sleep 600";
    let mut holder = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script])
        .arg(&data)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let inside = PathBuf::from(format!("/proc/{}/root", holder.id())).join(data.strip_prefix("/").unwrap());
    wait_for("the mount", || inside.join("mounted").exists().then_some(()));
    let target = holder.id().to_string();
    let enter = ["--user", "--preserve-credentials", "--mount", "--target", &target, "--"];
    let mut command = Command::new("nsenter");
    command.args(enter).arg(env!("CARGO_BIN_EXE_transcribe-hook"));
    let service = Service::start_command(command, &data.join("calls.db"), &[]);
    service.deliver(&turn("conv_a", 1)).expect(201);
    let mount = |args: &[&str]| {
        let done = Command::new("nsenter").args(enter).args(args).arg(&data).status().unwrap();
        assert!(done.success(), "{args:?}");
    };
    mount(&["mount", "-t", "tmpfs", "tmpfs"]);
    wait_for("the service not to be ready", || (service.get("/readyz").status == 503).then_some(()));
    service.deliver(&turn("conv_a", 2)).expect_error(503);
    mount(&["umount"]);
    wait_for("the service to be ready", || (service.get("/readyz").status == 200).then_some(()));
    assert_eq!(service.deliver(&turn("conv_a", 3)).expect(201).json()["sequence_number"], 2);
    mount(&["umount", "-l"]);
    wait_for("the service not to be ready", || (service.get("/readyz").status == 503).then_some(()));
    service.deliver(&turn("conv_a", 4)).expect_error(503);
    assert!(names_in(&data).is_empty(), "nothing is made where it was: {:?}", names_in(&data));
    drop(service);
    holder.kill().unwrap();
    holder.wait().unwrap();
}

/// Tries to serve, to migrate and to prune a database. Each must be refused; returns the reason.
fn refused(by: &mut dyn FnMut() -> Command, database: &Path) -> String {
    let mut reasons = Vec::new();
    for args in [&["serve", "--listen", "127.0.0.1:0"][..], &["migrate"], &["prune", "--older-than", "9d", "--yes"]] {
        let mut command = by();
        command.args(args).arg("--database").arg(database).stdin(Stdio::null());
        let out = command.output().unwrap();
        assert_eq!(out.status.code(), Some(1), "{args:?}: {}", said(&out));
        let said = said(&out);
        reasons.push(said.lines().find(|line| line.starts_with("error: ")).expect("a reason").to_owned());
    }
    assert!(reasons.iter().all(|reason| *reason == reasons[0]), "{reasons:#?}");
    reasons.remove(0)
}

#[test]
fn a_second_service_by_a_hard_link_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    assert!(binary().args(["migrate", "--create", "--database"]).arg(&database).output().unwrap().status.success());
    let twin = folder.path().join("twin.db");
    fs::hard_link(&database, &twin).unwrap();
    let mut why = Wording::default();
    why.hide(folder.path().display(), "[folder]");
    for name in [&database, &twin] {
        why.add(name.file_name().unwrap().display(), &refused(&mut binary, name));
        let out =
            binary().arg("backup").arg(folder.path().join("copy.db")).arg("--database").arg(name).output().unwrap();
        assert_eq!(out.status.code(), Some(1), "its other name may have a WAL: {}", said(&out));
    }
    fs::remove_file(&twin).unwrap();
    let service = Service::start_on(&database, &[]);
    // The file itself is locked, by whatever name it is reached.
    fs::create_dir(folder.path().join("other")).unwrap();
    symlink(&database, folder.path().join("other/link.db")).unwrap();
    symlink(folder.path(), folder.path().join("other/folder")).unwrap();
    for name in ["other/link.db", "other/folder/calls.db"] {
        let mut command = binary();
        command.args(["serve", "--listen", "127.0.0.1:0", "--database"]).arg(folder.path().join(name));
        let out = command.output().unwrap();
        assert_eq!(out.status.code(), Some(1), "{name}: {}", said(&out));
        assert!(said(&out).contains(&service.pid().to_string()), "{name}: {}", said(&out));
    }
    service.deliver(&turn("conv_a", 1)).expect(201);
    let renamed = folder.path().join("renamed.db");
    fs::rename(&database, &renamed).unwrap();
    why.hide(service.pid(), "[pid]");
    why.add("renamed while it is in use", &refused(&mut binary, &renamed));
    assert_snapshot!("hard_link", why);
}

#[test]
fn a_second_service_by_a_bind_mount_of_the_file_is_refused_and_one_of_the_folder_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["data", "mounted"] {
        fs::create_dir(at(name)).unwrap();
    }
    fs::write(at("alias.db"), "").unwrap();
    let database = at("data/calls.db");
    let service = Service::start_on(&database, &[]);
    service.deliver(&turn("conv_a", 1)).expect(201);
    let script = "mount --bind \"$1/data/calls.db\" \"$1/alias.db\" && mount --bind \"$1/data\" \"$1/mounted\" && \
        shift && exec \"$@\"";
    let mut inside = || {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(folder.path());
        command.arg(env!("CARGO_BIN_EXE_transcribe-hook"));
        command
    };
    let mut why = Wording::default();
    why.hide(folder.path().display(), "[folder]");
    why.add("a mount of the file", &refused(&mut inside, &at("alias.db")));
    assert_snapshot!("bind_mount", why);
    let mut command = inside();
    let out = command.args(["serve", "--listen", "127.0.0.1:0", "--database"]).arg(at("mounted/calls.db")).output();
    let out = out.unwrap();
    assert!(!out.status.success() && said(&out).contains(&service.pid().to_string()), "{}", said(&out));
    service.stop();
    // Also when nobody else has it open.
    refused(&mut inside, &at("alias.db"));
    assert!(!at("alias.db-wal").exists() && !at("alias.db.lock").exists());
}
