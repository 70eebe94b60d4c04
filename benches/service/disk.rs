//! The parts below the service by themselves: the store without HTTP, and the disk without SQLite.

use crate::machine::{self, Clock};
use crate::stats::{float, percentile};
use crate::workload::{self, Script, TURNS_PER_CALL};
use anyhow::{Result, ensure};
use serde::Serialize;
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use transcribe_hook::domain::Timestamp;
use transcribe_hook::store::sqlite::{Options, SqliteStore};
use transcribe_hook::store::{Commands as _, Write};

/// The store, fed directly with batches of one size.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BareStore {
    pub(crate) batch: usize,
    pub(crate) turns_per_second: f64,
    pub(crate) commit_p50_us: f64,
    pub(crate) commit_p99_us: f64,
    /// Processor time of this process for one turn, making the turn included, which is some microseconds.
    pub(crate) cpu_us_per_turn: f64,
}

/// Feeds a new database. Only the time within the store counts.
pub(crate) fn bare_store(place: &Path, batch: usize, measured: Duration) -> Result<BareStore> {
    machine::wait_for_quiet(Duration::from_secs(20));
    let folder = TempDir::new_in(place)?;
    let path = folder.path().join("calls.db");
    let store = SqliteStore::open(&Options { path, busy_timeout: Duration::from_secs(10), readers: 4 })?;
    let mut script = Script::new(workload::TURN_WEBHOOK_PATH, batch, Some(TURNS_PER_CALL), 0);
    let mut commits = Vec::new();
    let mut inside = Duration::ZERO;
    let (start, clock) = (Instant::now(), Clock::read(std::process::id()));
    while inside < measured && start.elapsed() < measured * 2 {
        let writes: Vec<_> = (0..batch).map(|call| Write::AppendTurn(script.next_turn(call))).collect();
        let begun = Instant::now();
        let outcomes = store.apply(Timestamp::now(), &writes)?;
        let took = begun.elapsed();
        ensure!(outcomes.iter().all(Result::is_ok), "the store refused a turn");
        inside += took;
        commits.push(took);
    }
    let cpu = Clock::read(std::process::id()).since(&clock).client * start.elapsed().as_secs_f64();
    commits.sort_unstable();
    let turns = float(u64::try_from(commits.len() * batch)?);
    Ok(BareStore {
        batch,
        turns_per_second: turns / inside.as_secs_f64(),
        commit_p50_us: percentile(&commits, 0.5),
        commit_p99_us: percentile(&commits, 0.99),
        cpu_us_per_turn: cpu * 1e6 / turns,
    })
}

/// The sync that grows a file, as a commit does.
pub(crate) const APPENDED: &str = "4 KiB appended";

/// The durations of a sync.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sync {
    pub(crate) round: usize,
    /// The file grows, or is written over.
    pub(crate) what: &'static str,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) per_second: f64,
}

/// Measures writes of 4 KiB with `fdatasync`: at the end of a growing file, and over an existing file, as SQLite's WAL
/// is after its first checkpoint.
pub(crate) fn syncs(place: &Path, round: usize, measured: Duration) -> Result<Vec<Sync>> {
    const BLOCK: [u8; 4096] = [0x5A; 4096];
    const BLOCKS: u64 = 1024;
    machine::wait_for_quiet(Duration::from_secs(20));
    let folder = TempDir::new_in(place)?;
    let mut results = Vec::new();
    for what in [APPENDED, "4 KiB written over"] {
        let overwrite = what == "4 KiB written over";
        let mut file = File::create(folder.path().join(what))?;
        if overwrite {
            for _ in 0..BLOCKS {
                file.write_all(&BLOCK)?;
            }
            file.sync_all()?;
        }
        let mut took = Vec::new();
        let start = Instant::now();
        for n in 0.. {
            if overwrite {
                file.seek(SeekFrom::Start(n % BLOCKS * 4096))?;
            }
            let begun = Instant::now();
            file.write_all(&BLOCK)?;
            file.sync_data()?;
            took.push(begun.elapsed());
            if start.elapsed() > measured {
                break;
            }
        }
        let per_second = float(u64::try_from(took.len())?) / start.elapsed().as_secs_f64();
        took.sort_unstable();
        results.push(Sync { round, what, p50_us: percentile(&took, 0.5), p99_us: percentile(&took, 0.99), per_second });
    }
    Ok(results)
}
