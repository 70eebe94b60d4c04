//! The sample calls of `tests/samples`: runs their loader and reads the results that it expects.

use crate::support::service::{Service, wait_for};
use crate::support::whole_call::SECRET;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// End of the thirty days of sample calls.
pub const NOW: &str = "2026-09-30T12:00:00Z";

/// Runs the loader with these arguments, and returns the file that it writes for `--expected`.
#[track_caller]
pub fn run_loader(args: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let expected = folder.path().join("expected.json");
    let loader = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/load.py");
    let mut command = Command::new("python3");
    command.arg(loader).args(["--now", NOW]).args(args).arg("--expected").arg(&expected);
    let out = command.output().expect("python3 starts");
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&std::fs::read(expected).unwrap()).unwrap()
}

/// Loads sample calls into a service whose signing secret is [`SECRET`], waits until all are reconciled, and returns
/// the expected results.
#[track_caller]
pub fn load_sample_calls(service: &Service, count: u32) -> Value {
    let expected = run_loader(&["--url", &service.url(""), "--secret", SECRET, "--calls", &count.to_string()]);
    let database = service.sqlite();
    wait_for("all calls to be reconciled", || {
        let due = database.query_row("SELECT count(*) FROM due_reconciliations", [], |row| row.get::<_, i64>(0));
        (due.unwrap() == 0).then_some(())
    });
    expected
}
