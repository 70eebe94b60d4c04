//! A clock that is years ahead erases nothing.

use crate::support::service::{Service, binary, wait_for};
use crate::support::tools::faketime;
use crate::support::turns::turn;
use serde_json::json;
use std::path::Path;
use std::process::{Command, Output};
use transcribe_hook::domain::Timestamp;

/// A program whose clock is moved as the file says.
fn moved(offset: &Path) -> Command {
    let mut command = binary();
    command
        .env("LD_PRELOAD", faketime())
        .env("FAKETIME_TIMESTAMP_FILE", offset)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    command
}

fn said_at(id: &str, n: usize, days: i64) -> serde_json::Value {
    let mut turn = turn(id, n);
    turn["timestamp"] = json!(Timestamp::now().plus_seconds(days * 86_400).unwrap().to_string());
    turn
}

#[test]
fn a_clock_that_is_far_ahead_of_all_that_arrived_erases_nothing_until_it_is_confirmed() {
    const DAYS: i64 = 400;
    let folder = tempfile::tempdir().unwrap();
    let (database, offset) = (folder.path().join("calls.db"), folder.path().join("offset"));
    let set = |days: i64| {
        // As a whole, since it is read at any time.
        let aside = folder.path().join("aside");
        std::fs::write(&aside, format!("{:+}", days * 86_400)).unwrap();
        std::fs::rename(&aside, &offset).unwrap();
    };
    set(0);
    let flags = ["--retention", "90d", "--log-level", "info,http=off"];
    let start = || Service::start_command(moved(&offset), &database, &flags);
    let service = start();
    service.deliver(&said_at("conv_old", 1, 0)).expect(201);
    // An old call whose end is known goes while the clock is right.
    service.deliver(&said_at("conv_over", 1, 0)).expect(201);
    drop(service);

    set(DAYS);
    let service = start();
    let held = |service: &Service| {
        let metrics = service.get("/metrics").expect(200).text;
        metrics
            .lines()
            .find_map(|line| line.strip_prefix("transcribe_hook_retention_held ").map(str::to_owned))
            .unwrap()
    };
    wait_for("the retention to be held", || (held(&service) == "1").then_some(()));
    assert!(service.wait_logged("warn", "retention::schedule")["reason"].is_string());
    service.get("/api/v1/calls/conv_old").expect(200);
    // A turn of a sender whose clock is another confirms nothing.
    service.deliver(&said_at("conv_new", 1, 0)).expect(201);
    let prune = |flags: &[&str]| -> Output {
        moved(&offset)
            .args(["prune", "--older-than", "90d", "--json", "--database"])
            .arg(&database)
            .args(flags)
            .output()
            .unwrap()
    };
    let refused = prune(&["--yes"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(prune(&["--dry-run"]).status.success());
    service.get("/api/v1/calls/conv_old").expect(200);
    assert_eq!(held(&service), "1");
    drop(service);

    // After a restart, too.
    let service = start();
    wait_for("the retention to be held", || (held(&service) == "1").then_some(()));
    service.get("/api/v1/calls/conv_over").expect(200);
    // A turn whose sender's clock agrees.
    service.deliver(&said_at("conv_today", 1, DAYS)).expect(201);
    wait_for("the old to be gone", || (service.get("/api/v1/calls/conv_old").status == 404).then_some(()));
    assert_eq!(held(&service), "0");
    service.get("/api/v1/calls/conv_today").expect(200);
    drop(service);

    // The command does it when it is told that the clock is right.
    set(2 * DAYS);
    assert_eq!(prune(&["--yes"]).status.code(), Some(1));
    let out = prune(&["--yes", "--trust-clock"]);
    assert!(out.status.success(), "{out:?}");
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert!(report["calls"].as_u64().unwrap() >= 1, "{report}");
}
