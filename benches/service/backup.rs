//! What a backup costs those who store turns meanwhile.

use crate::fill::{self, Filled};
use crate::load::{self, Load, Run};
use crate::server::Server;
use crate::summary::Summary;
use crate::target::{self, Target};
use crate::{machine, progress};
use anyhow::{Result, ensure};
use serde::Serialize;
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// Turns in the database.
const TURNS: u64 = 200_000;

/// How many turns are in flight.
pub(crate) const IN_FLIGHT: usize = 64;

/// What was measured with backups beside the service, and without.
#[derive(Debug, Serialize)]
pub(crate) struct Backups {
    pub(crate) turns: u64,
    /// How many were made meanwhile.
    pub(crate) copies: u64,
    pub(crate) summary: Vec<Summary>,
    pub(crate) runs: Vec<Run>,
}

/// Each run begins with the same database.
pub(crate) fn measure(place: &Path, rounds: usize, measured: Duration) -> Result<Backups> {
    let filled = fill::fill(&place.join("filled.db"), TURNS)?;
    let load = Load { in_flight: IN_FLIGHT, long_calls: None };
    let mut targets = [Target::Filled, Target::DuringBackups];
    let (mut copies, mut runs) = (0, Vec::new());
    for round in 0..rounds {
        for target in targets {
            let run = if target == Target::DuringBackups {
                let (run, made) = beside_backups(&filled, place, load, round, measured)?;
                copies += made;
                run
            } else {
                let folder = TempDir::new_in(place)?;
                load::run(&|| over_a_copy(target, &filled, folder.path(), place), load, round, measured)?
            };
            progress(&run.line());
            runs.push(run);
        }
        targets.reverse();
    }
    Ok(Backups { turns: filled.turns, copies, summary: Summary::of(&runs), runs })
}

fn over_a_copy(target: Target, filled: &Filled, folder: &Path, place: &Path) -> Result<Server> {
    let path = folder.join("calls.db");
    fs::copy(&filled.path, &path)?;
    // Or else the system would write it out while the service is measured.
    File::open(&path)?.sync_all()?;
    Server::over(target, &path, place)
}

/// The processor time of the backups is of *others*, so a run with much of that is not repeated here.
fn beside_backups(filled: &Filled, place: &Path, load: Load, round: usize, measured: Duration) -> Result<(Run, u64)> {
    let folder = TempDir::new_in(place)?;
    machine::wait_for_quiet(Duration::from_secs(20));
    let server = over_a_copy(Target::DuringBackups, filled, folder.path(), place)?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let backups = scope.spawn(|| back_up_until(&stop, folder.path()));
        let run = load::run_once(server, load, round, measured);
        stop.store(true, Ordering::Relaxed);
        let copies = backups.join().expect("no panic in it")?;
        ensure!(copies > 0, "no backup came to its end");
        Ok((run?, copies))
    })
}

/// Says how many were made.
fn back_up_until(stop: &AtomicBool, folder: &Path) -> Result<u64> {
    let (database, copy) = (folder.join("calls.db"), folder.join("copy.db"));
    let mut copies = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut backup = target::service();
        backup.arg("backup").arg(&copy).arg("--database").arg(&database);
        let output = backup.stdin(Stdio::null()).output()?;
        ensure!(output.status.success(), "the backup failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        fs::remove_file(&copy)?;
        copies += 1;
    }
    Ok(copies)
}
