//! Benchmarks of a large database: storing more turns, reading and starting, compared with a small database.

use crate::fill::{self, Filled};
use crate::filters::{self, Filtered};
use crate::load::{self, Load, Run};
use crate::reads::{Latency, Reader};
use crate::server::Server;
use crate::stats::median;
use crate::summary::Summary;
use crate::target::Target;
use crate::{machine, progress};
use anyhow::Result;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// Size of the small database for the comparison, in turns.
pub(crate) const SMALL_TURNS: u64 = 10_000;

/// Number of turns in flight.
pub(crate) const IN_FLIGHT: usize = 64;

/// Names of the read requests.
pub(crate) const READS: [&str; 3] = ["first page of a call's turns", "list of calls", "list of calls in progress"];

/// Measurements over a large database and a small one.
#[derive(Debug, Serialize)]
pub(crate) struct Large {
    pub(crate) large: Filled,
    pub(crate) small: Filled,
    /// Turns per transaction when the database was filled.
    pub(crate) batch: usize,
    pub(crate) reads: Vec<Read>,
    pub(crate) filters: Vec<Filtered>,
    pub(crate) stats: Vec<Filtered>,
    /// Time from exec until the service answers 200 at `/readyz`.
    pub(crate) large_ready_ms: f64,
    pub(crate) small_ready_ms: f64,
    pub(crate) summary: Vec<Summary>,
    pub(crate) runs: Vec<Run>,
}

/// One kind of read.
#[derive(Debug, Serialize)]
pub(crate) struct Read {
    pub(crate) what: &'static str,
    pub(crate) large: Latency,
    pub(crate) small: Latency,
}

/// Fills missing databases, reads from both, starts over both, and stores more turns in the large one, compared with an
/// empty one.
pub(crate) fn measure(place: &Path, turns: u64, rounds: usize, measured: Duration) -> Result<Large> {
    let large = fill::fill(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("large.db"), turns)?;
    let small = fill::fill(&place.join("small.db"), SMALL_TURNS)?;
    for filled in [&large, &small] {
        filters::set_facts(filled)?;
    }
    progress("reading from a large database and a small one");
    machine::wait_for_quiet(Duration::from_mins(1));
    let reads = reads(place, &large, &small)?;
    progress("listing calls by each filter");
    let server = Server::start_on(Target::Large, &large.path, place)?;
    let mut reader = Reader::connect(server.address())?;
    let (filters, stats) = (filters::measure(&mut reader)?, filters::measure_stats(&mut reader)?);
    drop(reader);
    server.stop(0)?;
    progress("starting over both");
    let [large_ready_ms, small_ready_ms] = starts(place, [&large, &small])?;
    let mut runs = Vec::new();
    let load = Load { in_flight: IN_FLIGHT, long_calls: None, pace: None };
    let mut targets = [Target::Large, Target::Service];
    for round in 0..rounds {
        for target in targets {
            let start = || match target {
                Target::Large => Server::start_on(target, &large.path, place),
                _ => Server::start(target, place),
            };
            let run = load::run(&start, load, round, measured)?;
            progress(&run.line());
            runs.push(run);
        }
        targets.reverse();
    }
    let summary = Summary::from_runs(&runs);
    Ok(Large {
        large,
        small,
        batch: fill::BATCH_TURNS,
        reads,
        filters,
        stats,
        large_ready_ms,
        small_ready_ms,
        summary,
        runs,
    })
}

/// Measures reads of both services in turn, some requests at a time, so that both see the same machine.
fn reads(place: &Path, large: &Filled, small: &Filled) -> Result<Vec<Read>> {
    const REQUESTS: usize = 3000;
    const AT_A_TIME: usize = 100;
    let servers =
        [Server::start_on(Target::Large, &large.path, place)?, Server::start_on(Target::Large, &small.path, place)?];
    let mut readers = [Reader::connect(servers[0].address())?, Reader::connect(servers[1].address())?];
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut of_turns = Vec::new();
    for filled in [large, small] {
        let numbers = std::iter::repeat_with(|| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random >> 16
        });
        let calls = fill::conversations(filled, numbers.take(REQUESTS))?;
        of_turns.push(calls.iter().map(|id| format!("/api/v1/calls/{id}/transcriptions")).collect::<Vec<_>>());
    }
    let same = |path: &str| vec![vec![path.to_owned(); REQUESTS]; 2];
    let paths = [of_turns, same("/api/v1/calls"), same("/api/v1/calls?status=in_progress")];
    let mut reads = Vec::new();
    for (what, paths) in READS.into_iter().zip(paths) {
        for (reader, paths) in readers.iter_mut().zip(&paths) {
            for path in &paths[..AT_A_TIME] {
                reader.get(path)?; // warms up
            }
        }
        let mut took = [Vec::new(), Vec::new()];
        for begin in (0..REQUESTS).step_by(AT_A_TIME) {
            for ((reader, paths), took) in readers.iter_mut().zip(&paths).zip(&mut took) {
                for path in &paths[begin..begin + AT_A_TIME] {
                    took.push(reader.get(path)?);
                }
            }
        }
        let [large, small] = took.map(Latency::from_durations);
        reads.push(Read { what, large, small });
    }
    drop(readers);
    for server in servers {
        server.stop(0)?;
    }
    Ok(reads)
}

/// Returns medians of the times until the service is ready, in milliseconds.
fn starts(place: &Path, databases: [&Filled; 2]) -> Result<[f64; 2]> {
    const STARTS: usize = 7;
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..STARTS {
        for (filled, took) in databases.into_iter().zip(&mut took) {
            machine::wait_for_quiet(Duration::from_secs(5));
            let server = Server::start_on(Target::Large, &filled.path, place)?;
            took.push(server.until_ready()?.as_secs_f64() * 1000.0);
            server.stop(0)?;
        }
    }
    Ok(took.map(|took| median(took).unwrap_or(0.0)))
}
