//! Disks that are really full: while turns come, while the log is moved into the database, while copies are made, and
//! while calls leave. Nothing that was acknowledged is lost, nothing half done has the name of something whole, and
//! with room again everything goes on.

use crate::support::database::{expected, fill, lengthen, names_in, stored, whole};
use crate::support::metrics::Scrape;
use crate::support::service::{Service, binary, wait_for};
use crate::support::turns::turn;
use crate::support::wording::Wording;
use insta::assert_snapshot;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// A file system of its own, which only those see whose commands are made here. It is there as long as one process that
/// holds it.
struct SmallDisk {
    holder: Child,
    mount_point: TempDir,
}

impl SmallDisk {
    fn of(megabytes: usize) -> Self {
        let mount_point = tempfile::tempdir().unwrap();
        let script =
            format!("mount -t tmpfs -o size={megabytes}m tmpfs \"$0\" && touch \"$0/mounted\" && exec sleep 3600");
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", &script]).arg(mount_point.path());
        let holder = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let disk = Self { holder, mount_point };
        wait_for("the disk", || std::fs::remove_file(disk.seen_from_here("mounted")).ok());
        disk
    }

    /// The built binary as a process that sees the disk.
    fn binary(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--user", "--preserve-credentials", "--mount", "--target", &self.holder.id().to_string()]);
        command.args(["--", binary().get_program().to_str().unwrap()]);
        command
    }

    /// The path of a file on the disk, for those who see it.
    fn path(&self, name: &str) -> PathBuf {
        self.mount_point.path().join(name)
    }

    /// The path of a file on the disk, for this process.
    fn seen_from_here(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.holder.id())).join(self.path(name).strip_prefix("/").unwrap())
    }

    /// All names on the disk, but for the ballast's.
    fn names(&self) -> Vec<String> {
        names_in(&self.seen_from_here("")).into_iter().filter(|name| name != "ballast").collect()
    }

    /// Takes all room that there is.
    fn fill(&self) {
        let mut ballast = File::options().create(true).append(true).open(self.seen_from_here("ballast")).unwrap();
        loop {
            match ballast.write(&[1; 4096]) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::StorageFull);
                    return;
                }
            }
        }
    }

    fn empty(&self) {
        std::fs::remove_file(self.seen_from_here("ballast")).unwrap();
    }

    /// A copy, outside, of a database that nobody writes to. SQLite would resolve the way in to a path that means
    /// another folder here.
    fn take_out(&self, name: &str) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("calls.db");
        std::fs::copy(self.seen_from_here(name), &copy).unwrap();
        (folder, copy)
    }

    /// Waits until the log of a database is folded in.
    fn folded_in(&self, name: &str) {
        let log = self.seen_from_here(&format!("{name}-wal"));
        wait_for("the log to be folded in", || log.metadata().is_ok_and(|log| log.len() == 0).then_some(()));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Waits for a log line with this value of a field, and returns the first.
fn logged(service: &Service, field: &str, value: impl Into<Value>) -> Value {
    let value = value.into();
    wait_for("a line in the log", || service.events().into_iter().find(|line| line[field] == value))
}

fn errors(out: &Output) -> String {
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    String::from_utf8_lossy(&out.stderr).into_owned()
}

#[test]
fn a_full_disk_is_500_loses_nothing_and_is_recovered_from_when_space_is_back() {
    let disk = SmallDisk::of(8);
    std::fs::write(disk.seen_from_here("ballast"), vec![1; 3 << 20]).unwrap();
    let service = Service::start_command(disk.binary(), &disk.path("calls.db"), &[]);
    let mut acknowledged = Vec::new();
    fill(&service, 0, &mut acknowledged).expect_error(500);
    assert!(acknowledged.len() > 20, "{}", acknowledged.len());
    // As long as those before: a short turn may find its place in a page that is there.
    let mut other = turn("conv_b", 1);
    other["message"] = json!("words ".repeat(5_000));
    service.deliver(&other).expect_error(500);
    assert_eq!(service.get("/api/v1/calls/conv_a").expect(200).json()["turn_count"], acknowledged.len());
    assert!(logged(&service, "status", 500)["error"].is_string());

    disk.empty();
    let turn = turn("conv_a", 1_000_000);
    let answer = service.deliver(&turn).expect(201);
    acknowledged.push(expected(&turn, &answer));
    service.get("/readyz").expect(200);
    disk.folded_in("calls.db");
    let (_folder, copy) = disk.take_out("calls.db");
    assert_eq!(stored(&copy), acknowledged);
}

/// Four clients deliver turns at once, each until one is refused or it is told enough; adds those that were
/// acknowledged.
fn deliver(
    service: &Service,
    acknowledged: &Mutex<Vec<(String, i64, i64)>>,
    first: usize,
    enough: usize,
    fill: impl FnOnce(),
) {
    let taken = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let taken = &taken;
            scope.spawn(move || {
                for n in first.. {
                    let mut turn = turn(&format!("conv_{client}"), n);
                    turn["message"] = json!(format!("{client} {n} {}", "words ".repeat(500)));
                    let answer = service.deliver(&turn);
                    if answer.status != 201 {
                        answer.expect_error(500);
                        return;
                    }
                    acknowledged.lock().unwrap().push(expected(&turn, &answer));
                    if taken.fetch_add(1, Ordering::Relaxed) > enough {
                        return;
                    }
                }
            });
        }
        wait_for("some turns", || (taken.load(Ordering::Relaxed) > 100).then_some(()));
        fill();
    });
}

#[test]
fn a_log_that_cannot_be_moved_for_a_full_disk_loses_nothing_that_came_meanwhile() {
    let disk = SmallDisk::of(24);
    let service = Service::start_command(disk.binary(), &disk.path("calls.db"), &["--log-level", "info,http=off"]);
    let acknowledged = Mutex::new(Vec::new());
    let size = || disk.seen_from_here("calls.db").metadata().unwrap().len();
    let before = size();
    // The turns are in the log and not in the database, whose file cannot grow.
    deliver(&service, &acknowledged, 0, usize::MAX, || disk.fill());
    assert!(service.wait_logged("error", "checkpoint")["error"].is_string());
    assert!(Scrape::take(&service).whole("checkpoint_failures_total") > 0);
    assert_eq!(size(), before, "nothing of it was moved");
    let found = service.get("/api/v1/calls?limit=4").expect(200).json();
    let counts = found["data"].as_array().unwrap().iter().map(|call| call["turn_count"].as_u64().unwrap());
    assert_eq!(counts.sum::<u64>(), acknowledged.lock().unwrap().len() as u64, "all are there to be read");
    disk.empty();
    deliver(&service, &acknowledged, 1_000_000, 200, || {});
    disk.folded_in("calls.db");
    assert!(size() > before);
    let (_folder, copy) = disk.take_out("calls.db");
    let mut acknowledged = acknowledged.into_inner().unwrap();
    acknowledged.sort_by_key(|(_, id, _)| *id);
    assert_eq!(stored(&copy), acknowledged);
    whole(&copy);
}

#[test]
fn a_backup_for_which_the_disk_has_no_room_is_refused_before_it_takes_any() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_on(&folder.path().join("calls.db"), &[]);
    service.deliver(&turn("conv_a", 1)).expect(201);
    lengthen(service.database(), 10);
    // The copy would fit, but what must be left would not.
    let disk = SmallDisk::of(40);
    let back_up =
        || disk.binary().arg("backup").arg(disk.path("copy.db")).arg("--database").arg(service.database()).output();
    let said = errors(&back_up().unwrap());
    let place = disk.path("copy.db");
    assert!(said.contains(place.to_str().unwrap()), "{said}");
    let mut errors = Wording::default();
    errors.hide(service.database().display(), "[database]");
    errors.hide(place.display(), "[copy]");
    errors.hide(disk.mount_point.path().display(), "[disk]");
    errors.add_without_numbers("backup", &said);
    assert!(disk.names().is_empty(), "{:?}", disk.names());
    let roomy = SmallDisk::of(60);
    let out =
        roomy.binary().arg("backup").arg(roomy.path("copy.db")).arg("--database").arg(service.database()).output();
    assert!(out.unwrap().status.success());
    assert_eq!(whole(&roomy.take_out("copy.db").1), 1);

    // A download is made beside the database, and a backup of the service where that is to be.
    let inside = Service::start_command(disk.binary(), &disk.path("calls.db"), &[]);
    inside.deliver(&turn("conv_a", 1)).expect(201);
    std::fs::write(disk.seen_from_here("ballast"), vec![1; 10 << 20]).unwrap();
    let answer = inside.get("/api/v1/backup").expect_error(503);
    assert_eq!(answer["code"], "storage_unavailable");
    errors.add("GET /api/v1/backup", answer["message"].as_str().unwrap());
    assert_snapshot!("no_room", errors);
    let names: Vec<_> = disk.names().into_iter().filter(|name| !name.starts_with("calls.db")).collect();
    assert!(names.is_empty(), "{names:?}");
    inside.deliver(&turn("conv_a", 2)).expect(201);
    disk.empty();
    assert_eq!(ureq::get(inside.url("/api/v1/backup")).call().unwrap().status(), 200);
}

#[test]
fn a_disk_that_fills_up_while_a_backup_is_made_leaves_nothing_of_it_and_the_next_one_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_on(&folder.path().join("calls.db"), &[]);
    service.deliver(&turn("conv_a", 1)).expect(201);
    lengthen(service.database(), 40);
    let disk = SmallDisk::of(120);
    let begin = || {
        let mut command = disk.binary();
        command.arg("backup").arg(disk.path("copy.db")).arg("--database").arg(service.database());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let partial = disk.seen_from_here("copy.db.partial");
    let out = wait_for("the disk to be full before the copy is whole", || {
        let child = begin();
        let signal = |name: &str| {
            Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
        };
        wait_for("some of the copy", || {
            let length = partial.metadata().map_or(0, |partial| partial.len());
            (length > 4_000_000 || disk.names() == ["copy.db"]).then_some(())
        });
        signal("-STOP");
        disk.fill();
        signal("-CONT");
        let out = child.wait_with_output().unwrap();
        disk.empty();
        if out.status.success() {
            std::fs::remove_file(disk.seen_from_here("copy.db")).unwrap();
            return None;
        }
        Some(out)
    });
    let said = errors(&out);
    assert!(said.contains(disk.path("copy.db").to_str().unwrap()), "{said}");
    assert!(disk.names().is_empty(), "{:?}", disk.names());
    let out = begin().wait_with_output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(whole(&disk.take_out("copy.db").1), 1);
}

#[test]
fn a_full_disk_for_backups_costs_no_older_one_and_no_turn_and_is_recovered_from() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk::of(60);
    let dir = disk.path("backups");
    let flags = ["--backup-every", "1s", "--backup-keep", "1", "--backup-dir", dir.to_str().unwrap()];
    let service = Service::start_command(disk.binary(), &folder.path().join("calls.db"), &flags);
    let backups = || names_in(&disk.seen_from_here("backups"));
    let whole_ones = || -> Vec<String> { backups().into_iter().filter(|name| name.ends_with("Z.db")).collect() };
    service.deliver(&turn("conv_a", 1)).expect(201);
    wait_for("a backup with the turn", || {
        let scrape = Scrape::take(&service);
        (scrape.get::<f64>("backup_last_success_timestamp_seconds") > 0.0 && whole_ones().len() == 1).then_some(())
    });
    disk.fill();
    let told = logged(&service, "kind", "backup");
    assert_eq!(told["folder"], dir.to_str().unwrap(), "{told}");
    assert!(told["error"].is_string(), "{told}");
    let failures = || Scrape::take(&service).whole("backup_failures_total");
    let before = failures();
    wait_for("another failure", || (failures() > before).then_some(()));
    // From here on no backup can be under way that began before.
    let kept = whole_ones();
    assert_eq!(kept.len(), 1, "{kept:?}");
    for n in 2..20 {
        service.deliver(&turn("conv_a", n)).expect(201);
    }
    let before = failures();
    wait_for("more failures", || (failures() > before + 1).then_some(()));
    assert_eq!(backups(), kept, "the older one, and no half");
    disk.empty();
    wait_for("a newer backup alone", || (backups().len() == 1 && backups() != kept).then_some(()));
    service.stop();
    let last = whole_ones().pop().unwrap();
    assert_eq!(whole(&disk.take_out(&format!("backups/{last}")).1), 19);
}

#[test]
fn a_full_disk_leaves_the_snapshot_beside_the_database_as_it_was() {
    let disk = SmallDisk::of(60);
    let flags = ["--snapshot-every", "1s"];
    let service = Service::start_command(disk.binary(), &disk.path("calls.db"), &flags);
    let mut acknowledged = Vec::new();
    for n in 0..20 {
        let turn = turn("conv_a", n);
        acknowledged.push(expected(&turn, &service.deliver(&turn).expect(201)));
    }
    let turns_in_latest = || disk.seen_from_here("latest.db").exists().then(|| whole(&disk.take_out("latest.db").1));
    wait_for("a snapshot with the turns", || (turns_in_latest() == Some(20)).then_some(()));
    disk.fill();
    let told = logged(&service, "kind", "latest.db");
    assert_eq!(told["folder"], disk.mount_point.path().to_str().unwrap(), "{told}");
    // Turns need the same disk: they are taken or refused, and the snapshot stays whole.
    fill(&service, 20, &mut acknowledged).expect_error(500);
    assert!(turns_in_latest().is_some_and(|turns| (20..=acknowledged.len()).contains(&turns)));
    assert!(!disk.names().contains(&"latest.db.partial".to_owned()), "{:?}", disk.names());
    disk.empty();
    let turn = turn("conv_a", 1_000_000);
    acknowledged.push(expected(&turn, &service.deliver(&turn).expect(201)));
    wait_for("a snapshot with the last turn", || (turns_in_latest() == Some(acknowledged.len())).then_some(()));
    assert_eq!(stored(&disk.take_out("latest.db").1), acknowledged);
    service.stop();
    assert_eq!(stored(&disk.take_out("calls.db").1), acknowledged);
}

#[test]
fn a_disk_that_fills_up_while_calls_are_exported_leaves_no_file_and_holds_no_turn_up() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_on(&folder.path().join("calls.db"), &[]);
    for n in 0..60 {
        let mut turn = turn("conv_a", n);
        turn["message"] = json!(format!("{n} {}", "words ".repeat(5_000)));
        service.deliver(&turn).expect(201);
    }
    let disk = SmallDisk::of(1);
    for name in ["calls.jsonl", "calls.csv", "calls.txt", "calls.md"] {
        let export =
            || disk.binary().arg("export").arg(disk.path(name)).arg("--database").arg(service.database()).output();
        let said = errors(&export().unwrap());
        assert!(said.contains(disk.path(name).to_str().unwrap()), "{said}");
        assert!(disk.names().is_empty(), "{name}: {:?}", disk.names());
    }
    service.deliver(&turn("conv_a", 60)).expect(201);
    let roomy = SmallDisk::of(8);
    let out =
        roomy.binary().arg("export").arg(roomy.path("calls.csv")).arg("--database").arg(service.database()).output();
    assert!(out.unwrap().status.success());
    let rows =
        csv::Reader::from_path(roomy.seen_from_here("calls.csv")).unwrap().into_records().map(Result::unwrap).count();
    assert_eq!(rows, 61);
}

#[test]
fn a_start_on_a_full_disk_serves_reads_and_takes_turns_when_there_is_room() {
    // Stopped in order, when the file is all there is, and killed, when turns are in the WAL only.
    for killed in [false, true] {
        let disk = SmallDisk::of(8);
        let start = |flags: &[&str]| Service::start_command(disk.binary(), &disk.path("calls.db"), flags);
        let service = start(&[]);
        let mut acknowledged = Vec::new();
        for n in 0..20 {
            let turn = turn("conv_a", n);
            acknowledged.push(expected(&turn, &service.deliver(&turn).expect(201)));
        }
        if killed {
            service.signal("KILL");
            service.wait();
            std::fs::remove_file(disk.seen_from_here("calls.db-shm")).unwrap();
        } else {
            service.stop();
        }
        disk.fill();
        let (audio, backups) = (disk.path("audio"), disk.path("backups"));
        for folder in ["audio", "backups"] {
            std::fs::create_dir(disk.seen_from_here(folder)).unwrap();
        }
        let flags = [
            ["--audio-dir", audio.to_str().unwrap()],
            ["--backup-every", "1h"],
            ["--backup-dir", backups.to_str().unwrap()],
        ];
        let service = start(flags.as_flattened());
        for _ in 0..2 {
            let refused = service.deliver(&turn("conv_a", 20));
            assert!(refused.header("retry-after").is_some(), "{refused:?}");
            refused.expect_error(503);
            service.get("/readyz").expect_error(503);
            service.get("/healthz").expect(200);
            assert_eq!(service.get("/api/v1/calls/conv_a").expect(200).json()["turn_count"], 20, "killed: {killed}");
        }
        disk.empty();
        wait_for("the service to be ready", || (service.get("/readyz").status == 200).then_some(()));
        let turn = turn("conv_a", 20);
        acknowledged.push(expected(&turn, &service.deliver(&turn).expect(201)));
        assert_eq!(service.get("/api/v1/calls/conv_a").expect(200).json()["turn_count"], 21);
        service.stop();
        assert_eq!(stored(&disk.take_out("calls.db").1), acknowledged);
    }
}
