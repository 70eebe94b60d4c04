//! A stopped service's database is read where nothing may be written: as another user, and on a read-only mount.

use crate::support::process::{is_root, said};
use crate::support::service::{Service, binary};
use crate::support::turns::turn;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

/// Runs a command that may write nothing: as nobody, and if asked with the folder mounted read-only.
fn as_reader(folder: &Path, mounted: bool, command: &[&str]) -> Output {
    let mount = if mounted { "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && " } else { "" };
    // A user namespace knows no other user than the one that made it, who is root there only.
    let reader = if is_root() { "setpriv --reuid=65534 --regid=65534 --clear-groups" } else { "" };
    let mut sh = Command::new("unshare");
    sh.args(if is_root() { &["--mount"][..] } else { &["--map-root-user", "--mount"] });
    sh.args(["sh", "-c", &format!("{mount}exec {reader} \"$@\"")]).arg(folder).args(command).output().unwrap()
}

#[test]
fn a_reader_who_may_not_write_exports_checks_searches_and_copies_a_stopped_services_file() {
    let folder = tempfile::tempdir().unwrap();
    // What stands in a path may mean something in a URI.
    let data = folder.path().join("calls 100% of?a#b");
    fs::create_dir(&data).unwrap();
    let database = data.join("calls.db");
    let service = Service::start_on(&database, &[]);
    for n in 0..10 {
        service.deliver(&turn("conv_a", n)).expect(201);
    }
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let program = env!("CARGO_BIN_EXE_transcribe-hook");
    let at = database.to_str().unwrap();
    mode(folder.path(), 0o755);
    mode(&data, 0o755);
    mode(&database, 0o644);
    service.stop();
    mode(&data, 0o555);
    let out_folder = tempfile::tempdir().unwrap();
    mode(out_folder.path(), 0o777);
    for mounted in [false, true] {
        let copy = out_folder.path().join(format!("copy{mounted}.db"));
        for (args, wanted) in [
            (&["export", "--format", "jsonl"][..], "conv_a"),
            (&["check"], "1 call with 10 turns, 0 problems"),
            (&["search", "words"], ""),
            (&["backup", copy.to_str().unwrap()], "copied 1 call with 10 turns"),
        ] {
            let out = as_reader(&data, mounted, &[&[program], args, &["--database", at]].concat());
            assert!(said(&out).contains(wanted), "{args:?}, {mounted}: {}", said(&out));
            assert!(out.status.success() || args[0] == "search", "{args:?}, {mounted}: {}", said(&out));
        }
        // As migrations/README.md has it.
        let uri = format!("file:{}?immutable=1", at.replace('%', "%25").replace('?', "%3f").replace('#', "%23"));
        let out = as_reader(&data, mounted, &["sqlite3", &uri, "SELECT count(*) FROM transcript"]);
        assert_eq!(said(&out).trim(), "10", "{mounted}");
    }
    assert_eq!(crate::support::database::names_in(&data), ["calls.db", "calls.db.lock", "calls.db.search"]);
    mode(&data, 0o755);

    // After a crash there is more than the file, which must not be read without it.
    let service = Service::start_on(&database, &[]);
    service.deliver(&turn("conv_a", 10)).expect(201);
    service.signal("KILL");
    service.wait();
    fs::remove_file(data.join("calls.db-shm")).unwrap();
    mode(&data, 0o555);
    let out = as_reader(&data, true, &[program, "check", "--database", at]);
    assert!(!out.status.success() && said(&out).contains("calls.db-wal"), "{}", said(&out));
    mode(&data, 0o755);
    let out = binary().args(["check", "--json", "--database", at]).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&report["ok"], &report["calls"], &report["transcriptions"]), (&true.into(), &1.into(), &11.into()));
}
