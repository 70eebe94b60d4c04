//! `--litestream`: the real program replicates the file under load, and what it restores is the same.

use crate::support::database::whole;
use crate::support::service::{Service, open, wait_for};
use crate::support::turns::turn;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// As `tests/run` installs it.
fn litestream() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/copies/bin/litestream")
}

struct Replicating(Child);

impl Drop for Replicating {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// All rows of the tables that hold what was sent.
fn rows(database: &Path) -> Vec<String> {
    let connection = open(database);
    let mut rows = Vec::new();
    for table in ["calls", "call_transcriptions", "webhook_events"] {
        let mut select = connection.prepare(&format!("SELECT * FROM {table} ORDER BY id")).unwrap();
        let columns = select.column_count();
        let row = |row: &rusqlite::Row<'_>| {
            (0..columns).map(|at| Ok(format!("{:?}", row.get_ref(at)?))).collect::<rusqlite::Result<Vec<_>>>()
        };
        rows.extend(select.query_map([], row).unwrap().map(|row| format!("{table} {}", row.unwrap().join(" "))));
    }
    rows
}

#[test]
fn litestream_replicates_under_load_and_restores_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (database, replica) = (folder.path().join("calls.db"), folder.path().join("replica"));
    let config = folder.path().join("litestream.yml");
    let text = format!(
        "dbs:\n  - path: {}\n    replicas:\n      - type: file\n        path: {}\n        sync-interval: 100ms\n",
        database.display(),
        replica.display()
    );
    std::fs::write(&config, text).unwrap();
    let flags = ["--litestream", "--log-level", "info,http=off"];
    let service = Service::start_on(&database, &flags);
    service.deliver(&turn("conv_first", 0)).expect(201);
    let mut command = Command::new(litestream());
    command.args(["replicate", "-config"]).arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
    let replicating = Replicating(command.spawn().expect("tests/run has installed litestream"));
    service.while_turns_come(|| {
        wait_for("turns, and a replica", || (service.turns_stored() > 1500 && replica.exists()).then_some(()));
    });
    // The service moves nothing, neither in quiet nor at its end: all of it is Litestream's to see.
    let (status, _) = {
        service.signal("TERM");
        service.wait()
    };
    assert!(status.success(), "{status}");
    // Litestream's own tables are there by now, and are no trouble to a start.
    let service = Service::start_on(&database, &flags);
    service.deliver(&turn("conv_last", 0)).expect(201);
    let expected = rows(&database);
    let restored = folder.path().join("restored.db");
    wait_for("the last turn to be in the replica", || {
        let _ = std::fs::remove_file(&restored);
        let out = Command::new(litestream())
            .args(["restore", "-config"])
            .arg(&config)
            .arg("-o")
            .arg(&restored)
            .arg(&database)
            .output()
            .unwrap();
        (out.status.success() && rows(&restored).len() >= expected.len()).then_some(())
    });
    assert_eq!(rows(&restored), expected);
    assert_eq!(whole(&restored), whole(&database));
    drop(replicating);
    let again = Service::start_on(&restored, &[]);
    assert_eq!(again.deliver(&turn("conv_last", 0)).expect(201).header("idempotent-replayed"), Some("true"));
}

#[test]
fn with_litestream_the_service_never_moves_the_log_itself() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let service = Service::start_on(&database, &["--litestream"]);
    for n in 0..200 {
        service.deliver(&turn("conv_a", n)).expect(201);
    }
    let log = database.with_extension("db-wal");
    let length = log.metadata().unwrap().len();
    service.signal("TERM");
    let (status, _) = service.wait();
    assert!(status.success(), "{status}");
    assert!(log.metadata().unwrap().len() >= length && length > 0, "the log is as long as it was");
    // Without it the next start does.
    Service::start_on(&database, &[]).stop();
    assert!(!log.exists());
    assert_eq!(whole(&database), 200);
}
