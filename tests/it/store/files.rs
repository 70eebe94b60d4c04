//! The files that the service and its commands make: their owner's alone, never behind a link, and not left to root.

use crate::support::database::names_in;
use crate::support::process::{NOBODY, is_root, said};
use crate::support::service::{Service, binary, wait_for};
use crate::support::turns::turn;
use crate::support::whole_call::{SECRET, post_signed};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The built binary under this umask.
fn under_umask(umask: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("umask {umask}; exec \"$@\""), "sh", env!("CARGO_BIN_EXE_transcribe-hook")]);
    command
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o777
}

#[test]
fn everything_that_is_made_is_its_owners_alone_whatever_the_umask() {
    for umask in ["000", "022", "777"] {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (audio, backups) = (at("audio"), at("backups"));
        let flags = [
            ["--elevenlabs-secret", SECRET],
            ["--audio-dir", audio.to_str().unwrap()],
            ["--backup-dir", backups.to_str().unwrap()],
            ["--backup-every", "1h"],
            ["--snapshot-every", "1h"],
        ];
        let service = Service::start_command(under_umask(umask), &at("calls.db"), flags.as_flattened());
        service.deliver(&turn("conv_a", 1)).expect(201);
        let audio_of =
            |id: &str| json!({"type": "post_call_audio", "data": {"conversation_id": id, "full_audio": "SUQz"}});
        post_signed(&service, &audio_of("conv_a").to_string()).expect(200);
        wait_for("a backup and a snapshot", || {
            let made = backups.exists() && names_in(&backups).iter().any(|name| name.ends_with("Z.db"));
            (made && at("latest.db").exists()).then_some(())
        });
        for (command, name) in [("backup", "copy.db"), ("export", "calls.jsonl")] {
            let mut command_line = under_umask(umask);
            let out = command_line.arg(command).arg(at(name)).arg("--database").arg(service.database()).output();
            assert!(out.as_ref().unwrap().status.success(), "{}", said(&out.unwrap()));
        }
        let mut files = 0;
        for inside in [folder.path(), &audio, &backups] {
            for entry in inside.read_dir().unwrap() {
                let path = entry.unwrap().path();
                // What the running service made for a moment may be gone.
                let Ok(found) = path.metadata() else { continue };
                let wanted = if found.is_dir() { 0o700 } else { 0o600 };
                assert_eq!(found.mode() & 0o777, wanted, "{} under {umask}", path.display());
                files += 1;
            }
        }
        // Database, WAL, its index, lock, latest, copy, export, two folders, recording, backup.
        assert!(files >= 11, "{files} files");
    }
}

#[test]
fn a_mode_that_the_operator_gave_a_database_stays_and_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let service = Service::start_on(&database, &[]);
    let warned = |service: &Service| service.logged("warn", "connection::open").into_iter().next();
    assert_eq!(warned(&service), None);
    service.stop();
    fs::set_permissions(&database, fs::Permissions::from_mode(0o644)).unwrap();
    let service = Service::start_on(&database, &[]);
    assert_eq!(warned(&service).unwrap()["mode"], "0644");
    assert_eq!(mode(&database), 0o644);
    let out = folder.path().join("calls.jsonl");
    assert!(binary().arg("export").arg(&out).arg("--database").arg(&database).status().unwrap().success());
    assert_eq!(mode(&out), 0o600);
}

/// Runs a command that must end soon, and gives its exit code and what it said.
fn ends(mut command: Command) -> (Option<i32>, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > Duration::from_mins(1) {
            child.kill().unwrap();
            panic!("{command:?} does not end");
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let out = child.wait_with_output().unwrap();
    (out.status.code(), said(&out))
}

#[test]
fn what_is_no_regular_file_is_refused_at_once_by_every_command_and_never_followed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let precious = at("precious");
    let good = at("good.db");
    assert!(binary().args(["migrate", "--create", "--database"]).arg(&good).output().unwrap().status.success());
    let plant = |path: &Path, kind: &str| {
        let _ = fs::remove_file(path);
        let _ = fs::remove_dir(path);
        fs::write(&precious, "kept").unwrap();
        match kind {
            "fifo" => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
            "link" => symlink(&precious, path).unwrap(),
            "dangling" => symlink(at("nowhere"), path).unwrap(),
            "hard link" => fs::hard_link(&precious, path).unwrap(),
            "socket" => drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
            _ => fs::create_dir(path).unwrap(),
        }
    };
    let database = at("calls.db");
    let serve = |database: &Path| {
        let mut command = binary();
        command.args(["serve", "--listen", "127.0.0.1:0", "--database"]).arg(database);
        command
    };
    let command = |name: &str, out: Option<&Path>, database: &Path| {
        let mut command = binary();
        command.arg(name).args(out).arg("--database").arg(database);
        command
    };
    for kind in ["fifo", "dangling", "socket", "folder"] {
        plant(&database, kind);
        let commands = [
            serve(&database),
            command("migrate", None, &database),
            command("check", None, &database),
            command("export", Some(&at("out.jsonl")), &database),
            command("backup", Some(&at("out.db")), &database),
        ];
        for command in commands {
            let shown = format!("{command:?}");
            let (code, said) = ends(command);
            assert_eq!(code, Some(1), "{kind}: {shown}: {said}");
            assert!(said.contains("calls.db"), "{kind}: {shown}: {said}");
            assert!(!at("nowhere").exists() && !at("out.db").exists(), "{kind}: {shown}");
        }
        assert!(database.symlink_metadata().is_ok(), "{kind}: it is still there");
    }
    for kind in ["fifo", "link", "dangling", "hard link", "socket", "folder"] {
        for (name, command) in [
            ("good.db.lock", command("migrate", None, &good)),
            ("copy.db.partial", command("backup", Some(&at("copy.db")), &good)),
            ("out.jsonl.partial", command("export", Some(&at("out.jsonl")), &good)),
        ] {
            plant(&at(name), kind);
            let (code, said) = ends(command);
            assert_eq!(code, Some(1), "{kind} as {name}: {said}");
            assert!(said.contains(name), "{kind} as {name}: {said}");
            assert_eq!(fs::read(&precious).unwrap(), b"kept", "{kind} as {name}");
            assert!(!at("nowhere").exists(), "{kind} as {name}");
            let _ = fs::remove_file(at(name));
            let _ = fs::remove_dir(at(name));
        }
    }
    // SQLite's own files are reached by their names, too.
    for name in ["good.db-wal", "good.db-shm", "good.db-journal"] {
        plant(&at(name), "link");
        let (code, said) = ends(command("migrate", None, &good));
        assert_eq!(fs::read(&precious).unwrap(), b"kept", "{name}: {code:?}: {said}");
        let _ = fs::remove_file(at(name));
    }
}

#[test]
fn a_link_in_the_place_of_a_recording_is_neither_read_nor_written_through() {
    let folder = tempfile::tempdir().unwrap();
    let (audio, precious) = (folder.path().join("audio"), folder.path().join("precious"));
    fs::create_dir(&audio).unwrap();
    fs::write(&precious, "kept").unwrap();
    symlink(&precious, audio.join("conv_a.mp3")).unwrap();
    let flags = ["--elevenlabs-secret", SECRET, "--audio-dir", audio.to_str().unwrap()];
    let service = Service::start_on(&folder.path().join("calls.db"), &flags);
    service.deliver(&turn("conv_a", 1)).expect(201);
    for path in ["/api/v1/calls/conv_a/audio", "/v1/convai/conversations/conv_a/audio"] {
        assert_eq!(service.get(path).status, 404, "{path}");
    }
    let audio_of_a = json!({"type": "post_call_audio", "data": {"conversation_id": "conv_a", "full_audio": "SUQz"}});
    post_signed(&service, &audio_of_a.to_string()).expect(200);
    assert_eq!(fs::read(&precious).unwrap(), b"kept");
    assert_eq!(service.get("/api/v1/calls/conv_a/audio").expect(200).text, "ID3");
}

#[test]
fn unfinished_copies_of_a_killed_service_go_at_the_next_start_whatever_its_flags() {
    let folder = tempfile::tempdir().unwrap();
    let backups = folder.path().join("backups");
    fs::create_dir(&backups).unwrap();
    let beside =
        ["calls.db.partial", "calls.db.download.partial", "latest.db.partial", "calls-20260101T000000Z.db.partial"];
    for path in
        beside.map(|name| folder.path().join(name)).iter().chain([&backups.join("calls-20260102T000000Z.db.partial")])
    {
        fs::write(path, "erased words").unwrap();
    }
    fs::write(folder.path().join("film.partial"), "somebody else's").unwrap();
    let service = Service::start_on(&folder.path().join("calls.db"), &["--backup-dir", backups.to_str().unwrap()]);
    service.get("/readyz").expect(200);
    let left: Vec<_> = names_in(folder.path()).into_iter().filter(|name| name.ends_with(".partial")).collect();
    assert_eq!(left, ["film.partial"]);
    assert!(names_in(&backups).is_empty(), "{:?}", names_in(&backups));
}

#[test]
fn what_root_does_to_a_stopped_service_leaves_no_file_that_keeps_its_user_out() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let as_nobody = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", env!("CARGO_BIN_EXE_transcribe-hook")]);
        command
    };
    let csv = folder.path().join("drivers.csv");
    fs::write(&csv, "id,name,phone_number\n7,Jo Brandt,\n").unwrap();
    let owners = || -> Vec<(String, u32)> {
        let owner = |name: String| (name.clone(), folder.path().join(&name).symlink_metadata().unwrap().uid());
        names_in(folder.path()).into_iter().filter(|name| name.starts_with("calls.db")).map(owner).collect()
    };
    let root = |args: &[&str]| {
        let out = binary().args(args).arg("--database").arg(&database).output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", said(&out));
        assert!(owners().iter().all(|(_, owner)| *owner == NOBODY), "{args:?}: {:?}", owners());
    };
    // A database that root makes in the folder of the service's user is that user's.
    root(&["migrate", "--create"]);
    let service = Service::start_command(as_nobody(), &database, &[]);
    service.deliver(&turn("conv_a", 1)).expect(201);
    service.signal("KILL");
    service.wait();
    fs::remove_file(folder.path().join("calls.db.lock")).unwrap();
    root(&["import", "drivers", csv.to_str().unwrap()]);
    root(&["replay"]);
    root(&["prune", "--older-than", "365d", "--trust-clock", "--yes"]);
    let copy = folder.path().join("copy.db");
    root(&["backup", copy.to_str().unwrap()]);
    root(&["restore", copy.to_str().unwrap(), "--yes"]);
    root(&["erase", "--driver", "7", "--yes"]);
    let service = Service::start_command(as_nobody(), &database, &[]);
    service.deliver(&turn("conv_a", 2)).expect(201);
    service.stop();
    // As root, a service makes files for that user too, such as its token.
    fs::remove_file(folder.path().join("calls.db.token")).unwrap_or_default();
    let service = Service::start_guarded_on(&database, &[]);
    let token = [("authorization", &*format!("Bearer {}", service.token()))];
    wait_for("the search index", || {
        let index = folder.path().join("calls.db.search");
        service.get_with("/api/v1/search?q=reefer", &token).expect(200);
        index.exists().then_some(())
    });
    service.stop();
    assert!(owners().iter().all(|(_, owner)| *owner == NOBODY), "{:?}", owners());
    // A lock file that does keep the service out is named, with its owner.
    let lock = folder.path().join("calls.db.lock");
    fs::write(&lock, "").unwrap();
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o600)).unwrap();
    chown(&lock, Some(0), Some(0)).unwrap();
    let out = as_nobody().args(["migrate", "--create", "--database"]).arg(&database).output().unwrap();
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    assert!(said(&out).contains("calls.db.lock"), "{}", said(&out));
    // The next command of root's gives it away.
    root(&["migrate"]);
    let service = Service::start_command(as_nobody(), &database, &[]);
    service.deliver(&turn("conv_a", 3)).expect(201);
}
