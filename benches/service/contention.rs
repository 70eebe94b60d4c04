//! Benchmarks of writes beside the service's other work: backups, exports, searches, and erasing old calls.

use crate::fill;
use crate::load::{self, Load, Run};
use crate::reads::Reader;
use crate::server::Server;
use crate::summary::Summary;
use crate::target::{self, Target};
use crate::{machine, progress};
use anyhow::{Result, ensure};
use rusqlite::Connection;
use serde::Serialize;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Number of turns in the database.
const TURNS: u64 = 200_000;

/// Number of turns in flight.
pub(crate) const IN_FLIGHT: usize = 64;

/// Time from the start of one search to that of the next.
pub(crate) const SEARCH_INTERVAL: Duration = Duration::from_millis(50);

/// Queries in rotation: frequent words and rare ones.
const SEARCHES: [&str; 4] = ["joliet", "reefer%20degrees", "%22forty%20five%22", "lumper%20NOT%20columbus"];

/// Measurements with other work beside the service, and without.
#[derive(Debug, Serialize)]
pub(crate) struct Beside {
    pub(crate) turns: u64,
    /// Backups of all rounds.
    pub(crate) during_backups: Done,
    pub(crate) beside_other_work: Done,
    pub(crate) during_prune: Done,
    pub(crate) summary: Vec<Summary>,
    pub(crate) runs: Vec<Run>,
}

/// Counts of other work that was completed.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Done {
    pub(crate) backups: u64,
    pub(crate) exports: u64,
    pub(crate) searches: u64,
    pub(crate) erased_calls: u64,
}

impl Done {
    fn add(&mut self, other: Self) {
        self.backups += other.backups;
        self.exports += other.exports;
        self.searches += other.searches;
        self.erased_calls += other.erased_calls;
    }
}

/// Measures ingest beside each kind of other work, and without. Each run begins with the same database.
pub(crate) fn measure(place: &Path, rounds: usize, measured: Duration) -> Result<Beside> {
    let filled = fill::fill(&place.join("filled.db"), TURNS)?;
    let load = Load { in_flight: IN_FLIGHT, long_calls: None, pace: None };
    let mut beside = Beside {
        turns: filled.turns,
        during_backups: Done::default(),
        beside_other_work: Done::default(),
        during_prune: Done::default(),
        summary: Vec::new(),
        runs: Vec::new(),
    };
    let mut targets = [Target::Filled, Target::DuringBackups, Target::BesideOtherWork, Target::DuringPrune];
    for round in 0..rounds {
        for target in targets {
            machine::wait_for_quiet(Duration::from_secs(20));
            let folder = TempDir::new_in(place)?;
            let database = fill::copy(&filled.path, &folder.path().join("calls.db"))?;
            let server = Server::start_on(target, &database, place)?;
            let work = Work { address: server.address(), database, calls: filled.calls, stop: AtomicBool::new(false) };
            let (kinds, done): (&[Kind], _) = match target {
                Target::DuringBackups => (&[Work::back_up], &mut beside.during_backups),
                Target::DuringPrune => (&[Work::prune], &mut beside.during_prune),
                Target::BesideOtherWork => {
                    (&[Work::back_up, Work::export, Work::search], &mut beside.beside_other_work)
                }
                _ => (&[], &mut Done::default()),
            };
            // A run is not repeated if others use the processors, because the other work does so on purpose.
            let run = std::thread::scope(|scope| {
                let running: Vec<_> = kinds.iter().map(|kind| scope.spawn(|| kind(&work))).collect();
                let run = load::run_beside(server, load, round, measured, || work.stop.store(true, Ordering::Relaxed));
                for work in running {
                    done.add(work.join().expect("no panic in it")?);
                }
                run
            })?;
            progress(&run.line());
            beside.runs.push(run);
        }
        targets.reverse();
    }
    beside.summary = Summary::from_runs(&beside.runs);
    Ok(beside)
}

/// A kind of work, which runs until it is stopped.
type Kind = fn(&Work) -> Result<Done>;

/// Work beside the service.
struct Work {
    address: SocketAddr,
    database: PathBuf,
    /// Number of calls before the load.
    calls: u64,
    stop: AtomicBool,
}

impl Work {
    fn is_running(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Copies the database repeatedly.
    fn back_up(&self) -> Result<Done> {
        let copy = self.database.with_file_name("copy.db");
        Ok(Done { backups: self.repeat_command("backup", &copy)?, ..Done::default() })
    }

    /// Writes all calls to a file repeatedly.
    fn export(&self) -> Result<Done> {
        let file = self.database.with_file_name("calls.jsonl");
        Ok(Done { exports: self.repeat_command("export", &file)?, ..Done::default() })
    }

    fn repeat_command(&self, command: &str, out: &Path) -> Result<u64> {
        let mut done = 0;
        while self.is_running() || done == 0 {
            let output = target::service()
                .arg(command)
                .arg(out)
                .arg("--database")
                .arg(&self.database)
                .stdin(Stdio::null())
                .output()?;
            ensure!(output.status.success(), "{command} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
            fs::remove_file(out)?;
            done += 1;
        }
        Ok(done)
    }

    /// Searches at a steady rate.
    fn search(&self) -> Result<Done> {
        let mut reader = Reader::connect(self.address)?;
        let mut searches = 0;
        let mut next = Instant::now();
        for q in SEARCHES.iter().cycle() {
            if !self.is_running() {
                break;
            }
            reader.get(&format!("/api/v1/search?q={q}"))?;
            searches += 1;
            next += SEARCH_INTERVAL;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        Ok(Done { searches, ..Done::default() })
    }

    /// Erases the calls from before the load, which takes longer than any run.
    fn prune(&self) -> Result<Done> {
        let mut prune = target::service();
        prune.args(["prune", "--older-than", "1d", "--yes", "--trust-clock", "--database"]).arg(&self.database);
        let mut prune = prune.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        while self.is_running() {
            std::thread::sleep(Duration::from_millis(20));
        }
        let ended = prune.try_wait()?;
        prune.kill()?;
        prune.wait()?;
        ensure!(ended.is_none(), "prune ended before the load did, with {ended:?}");
        let database = Connection::open(&self.database)?;
        let kept = database.query_row("SELECT count(*) FROM calls WHERE id <= ?1", [self.calls], |row| row.get(0))?;
        let erased_calls = self.calls.saturating_sub(kept);
        ensure!(erased_calls > 0, "prune erased nothing");
        Ok(Done { erased_calls, ..Done::default() })
    }
}
