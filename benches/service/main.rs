//! Benchmarks of the service, compared with the same machine without it: `cargo bench --bench service`.
//!
//! Arguments come after `--`; `-- --help` lists them. Every comparison runs side by side, round by round, because the
//! machine's other work changes from minute to minute. Databases lie below the target folder, on a real disk.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the report goes to the terminal, and progress beside it"
)]

mod baseline_servers;
mod client;
mod contention;
mod disk;
mod fill;
mod filters;
mod goals;
mod large;
mod load;
mod machine;
mod measurements;
mod outreach;
mod peers;
mod reads;
mod report;
mod rereads;
mod search;
mod server;
mod stats;
mod streams;
mod summary;
mod target;
mod workload;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use load::Load;
use machine::Machine;
use measurements::{Measurements, Process};
use report::Report;
use server::Server;
use stats::{float, median};
use std::path::{Path, PathBuf};
use std::time::Duration;
use summary::Summary;
use target::Target;

/// Measures the service, its parts, and the service without them.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench service --")]
struct Args {
    /// Seconds to measure each run
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Number of rounds
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only these parts
    #[arg(long, value_delimiter = ',', default_values_t = Part::value_variants().to_vec())]
    only: Vec<Part>,
    /// Numbers of turns in flight
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 500])]
    in_flight: Vec<usize>,
    /// Turns of the one very long call
    #[arg(long, default_value_t = 100_000)]
    long_call_turns: usize,
    /// Turns in the large database, which the next run reuses
    #[arg(long, default_value_t = 10_000_000)]
    large_turns: u64,
    /// Turns in the database for searches
    #[arg(long, default_value_t = 1_000_000)]
    search_turns: u64,
    /// Also write the report to this file, as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Also write all measurements to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Variant of the service to run as
    #[arg(long, hide = true)]
    serve_without: Option<target::Without>,
    /// Database of that variant, if it has one
    #[arg(long, hide = true, default_value = "unused.db")]
    database: PathBuf,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Size, start and idle memory of the service
    Process,
    /// The service under load
    Service,
    /// The service under load, without a log line a request
    Quiet,
    /// The service without its database, and without its writer
    Ceiling,
    /// One call of very many turns
    LongCall,
    /// The store by itself
    Store,
    /// The disk by itself
    Disk,
    /// The service beside its alternatives
    Peers,
    /// The service over a database of very many turns
    Large,
    /// The service while its database is copied, exported and searched, and while old calls are erased
    Beside,
    /// The service while live streams are open
    Streams,
    /// The service while it sends notices, compares turns with alerts, and is asked about inbound calls
    Outreach,
    /// Parsing stored records again, and ingest beside it
    Rereads,
    /// Searching, and the service beside one that does not index
    Search,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.to_possible_value().expect("no value is hidden").get_name())
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(without) = args.serve_without {
        return baseline_servers::run(without, &args.database);
    }
    if !args.bench {
        // `cargo test --all-targets` runs this: it can only check that the benchmark builds.
        println!("this is a benchmark: cargo bench --bench service");
        return Ok(());
    }
    ensure!(args.seconds > 0.0 && args.rounds > 0, "there must be something to measure");
    ensure!(args.long_call_turns >= 10, "the long call is measured in tenths");
    ensure!(args.large_turns >= 2 * large::SMALL_TURNS, "a large database is larger than a small one");
    let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let report = measure(&args, folder.path())?;
    println!("{report}");
    if let Some(file) = &args.markdown {
        std::fs::write(file, report.to_string())?;
    }
    if let Some(file) = &args.json {
        std::fs::write(file, serde_json::to_string_pretty(&report)? + "\n")?;
    }
    Ok(())
}

fn measure(args: &Args, place: &Path) -> Result<Report> {
    let wants = |part| args.only.contains(&part);
    let measured = Duration::from_secs_f64(args.seconds);
    let process = if wants(Part::Process) { Some(idle_process(place)?) } else { None };
    let (runs, syncs) = under_load(args, place, measured)?;
    let mut one_call = None;
    if wants(Part::LongCall) {
        progress("one very long call");
        one_call = Some(load::one_call(place, args.long_call_turns)?);
    }
    let mut bare_store = Vec::new();
    if wants(Part::Store) {
        for batch in [1, 16, 64, 256] {
            progress(&format!("bare store, batches of {batch}"));
            bare_store.push(disk::bare_store(place, batch, measured)?);
        }
    }
    let peers = if wants(Part::Peers) { Some(peers::measure(place, args.rounds, measured)?) } else { None };
    let beside = if wants(Part::Beside) { Some(contention::measure(place, args.rounds, measured)?) } else { None };
    let streams = if wants(Part::Streams) { Some(streams::measure(place, args.rounds, measured)?) } else { None };
    let outreach = if wants(Part::Outreach) { Some(outreach::measure(place, args.rounds, measured)?) } else { None };
    let rereads = if wants(Part::Rereads) { Some(rereads::measure(place, args.rounds, measured)?) } else { None };
    let mut large = None;
    if wants(Part::Large) {
        large = Some(large::measure(place, args.large_turns, args.rounds, measured)?);
    }
    let search = if wants(Part::Search) {
        Some(search::measure(place, args.search_turns, args.rounds, measured)?)
    } else {
        None
    };
    let measurements = Measurements {
        machine: Machine::read(place),
        seconds: args.seconds,
        rounds: args.rounds,
        process,
        summary: Summary::from_runs(&runs),
        runs,
        one_call,
        bare_store,
        syncs,
        peers,
        large,
        beside,
        streams,
        outreach,
        rereads,
        search,
    };
    Ok(Report { goals: goals::derive(&measurements), measurements })
}

/// Measures all targets under all loads. Targets that are compared run one right after the other, and so does the disk,
/// because its speed changes from minute to minute.
fn under_load(args: &Args, place: &Path, measured: Duration) -> Result<(Vec<load::Run>, Vec<disk::Sync>)> {
    const LONG_CALLS: usize = 8;
    let mut targets = Vec::new();
    for (part, of_part) in [
        (Part::Service, &[Target::Service][..]),
        (Part::Ceiling, &[Target::NoStore, Target::NoQueue]),
        (Part::Quiet, &[Target::Quiet]),
    ] {
        if args.only.contains(&part) {
            targets.extend_from_slice(of_part);
        }
    }
    let mut loads: Vec<_> =
        args.in_flight.iter().map(|&in_flight| Load { in_flight, long_calls: None, pace: None }).collect();
    loads.push(Load { in_flight: 64, long_calls: Some(LONG_CALLS), pace: None });
    let (mut runs, mut syncs) = (Vec::new(), Vec::new());
    for round in 0..args.rounds {
        if args.only.contains(&Part::Disk) {
            progress(&format!("round {}, fdatasync", round + 1));
            syncs.extend(disk::syncs(place, round, measured.min(Duration::from_secs(2)))?);
        }
        for &load in &loads {
            for &target in &targets {
                // The calls' number concerns the database only.
                if load.long_calls.is_some() && target == Target::NoQueue {
                    continue;
                }
                let run = load::run(&|| Server::start(target, place), load, round, measured)?;
                progress(&run.line());
                runs.push(run);
            }
            // In reverse order next time, so no target always runs after the same one.
            targets.reverse();
        }
    }
    Ok((runs, syncs))
}

fn idle_process(place: &Path) -> Result<Process> {
    const STARTS: usize = 7;
    progress("starting and idling");
    let (mut listening, mut ready, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STARTS {
        machine::wait_for_quiet(Duration::from_secs(5));
        let server = Server::start(Target::Service, place)?;
        listening.push(server.until_listening.as_secs_f64() * 1000.0);
        ready.push(server.until_ready()?.as_secs_f64() * 1000.0);
        std::thread::sleep(Duration::from_millis(500));
        memory.push(float(server.memory().0));
        server.stop(0)?;
    }
    Ok(Process {
        binary_bytes: std::fs::metadata(env!("CARGO_BIN_EXE_transcribe-hook"))?.len(),
        until_listening_ms: median(listening).unwrap_or(0.0),
        until_ready_ms: median(ready).unwrap_or(0.0),
        idle_memory_kib: median(memory).unwrap_or(0.0),
    })
}

/// Prints progress.
pub(crate) fn progress(what: &str) {
    eprintln!("{what}");
}
