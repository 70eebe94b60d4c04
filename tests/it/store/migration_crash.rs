//! A process that is killed at any sync while it makes, migrates or recovers its database leaves one that the next
//! start takes as if nothing had been.
//!
//! On Linux only, where a library can be loaded into the unmodified program.

#![cfg(target_os = "linux")]

use crate::support::recorder::{Moment, Recorder};
use crate::support::service::{Service, binary, open};
use crate::support::turns::turn;
use serde_json::Value;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;

const DATABASE: &str = "calls.db";

#[test]
fn a_first_start_killed_at_any_sync_is_followed_by_one_that_works() {
    let kills = kill_at_each_sync(
        |_| {},
        |database| {
            let service = Service::start_on(database, &[]);
            let stored = service.deliver(&turn("conv_first", 1)).expect(201).json();
            assert_eq!(stored["sequence_number"], 1);
            assert_eq!(stored["transcription_id"], 1);
            service.stop();
        },
    );
    // The journal of the file's first page, that page, the log's header, the migrations, and the folding in.
    assert!(kills >= 2 * 6, "{kills} kills");
}

#[test]
fn a_recovery_killed_at_any_sync_keeps_all_that_was_stored() {
    const TURNS: usize = 40;
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::start_on(&folder.path().join(DATABASE), &[]);
    let stored: Vec<_> = (1..=TURNS).map(|n| service.deliver(&turn("conv_old", n)).expect(201).json()).collect();
    // Killed, so that the turns are in the log, which the next start folds into the database.
    service.signal("KILL");
    service.wait();
    let kills = kill_at_each_sync(|empty| copy(folder.path(), empty), |database| holds_all(database, &stored));
    // Of the log that was found, of the log again before it is folded in, and of the database.
    assert!(kills >= 2 * 3, "{kills} kills");
}

fn holds_all(database: &Path, stored: &[Value]) {
    let service = Service::start_on(database, &[]);
    for (n, first) in (1..).zip(stored) {
        let repeat = service.deliver(&turn("conv_old", n)).expect(201);
        assert_eq!(repeat.header("idempotent-replayed"), Some("true"));
        assert_eq!(repeat.json()["transcription_id"], first["transcription_id"]);
        assert_eq!(repeat.json()["sequence_number"], first["sequence_number"]);
    }
    let next = service.deliver(&turn("conv_old", stored.len() + 1)).expect(201);
    assert_eq!(next.json()["sequence_number"], stored.len() + 1);
    service.stop();
}

/// Kills `migrate` before and after its first sync, its second one and so on, each time over the files that `prepare`
/// puts into an empty folder, until it gets through. After each kill the next `migrate` must succeed, and then `check`.
/// Returns the number of kills.
#[expect(clippy::print_stdout, reason = "shown when a test fails, to say at which kill")]
fn kill_at_each_sync(prepare: impl Fn(&Path), check: impl Fn(&Path)) -> usize {
    let recorder = Recorder::build();
    let mut kills = 0;
    for moment in [Moment::BeforeSync, Moment::AfterSync] {
        for n in 1.. {
            let folder = tempfile::tempdir().expect("a folder");
            prepare(folder.path());
            let database = folder.path().join(DATABASE);
            let killed = recorder.killing(migrate(&database), folder.path(), n, moment).output().expect("starts");
            if killed.status.success() {
                break;
            }
            let case = format!("killed at sync {n}, {moment:?}");
            assert_eq!(killed.status.signal(), Some(9), "{case}: {}", String::from_utf8_lossy(&killed.stderr));
            let next = migrate(&database).output().expect("starts");
            assert!(next.status.success(), "{case}: {}", String::from_utf8_lossy(&next.stderr));
            println!("{case}");
            check(&database);
            let sound: String =
                open(&database).query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a finding");
            assert_eq!(sound, "ok", "{case}");
            kills += 1;
        }
    }
    kills
}

fn migrate(database: &Path) -> Command {
    let mut command = binary();
    command.args(["migrate", "--create", "--database"]).arg(database);
    command
}

fn copy(from: &Path, to: &Path) {
    for file in from.read_dir().expect("a folder") {
        let file = file.expect("a file");
        std::fs::copy(file.path(), to.join(file.file_name())).expect("room for a copy");
    }
}
