//! Benchmark of parsing stored events again in the background after an upgrade: its rate, and ingest beside it.

use crate::load::{self, Load, Run};
use crate::server::Server;
use crate::stats::float;
use crate::summary::Summary;
use crate::target::Target;
use crate::{fill, machine, progress};
use anyhow::{Context as _, Result, ensure};
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use transcribe_hook::domain::Timestamp;
use transcribe_hook::ingest::event::parse_body;
use transcribe_hook::store::{Commands as _, Write};

/// Number of calls with a record.
pub(crate) const CALLS: usize = 10_000;

/// Number of turns in flight.
pub(crate) const IN_FLIGHT: usize = 64;

/// A record as ElevenLabs sends it.
const RECORD: &str = include_str!("../../tests/fixtures/elevenlabs/post_call_transcription.json");
const RECORD_CALL: &str = "conv_1901kaj4pr1penza6bbkscg6hgkc";

/// Maximum time until all calls are done.
const TIMEOUT: Duration = Duration::from_mins(10);

/// Measurements of parsing stored records again.
#[derive(Debug, Serialize)]
pub(crate) struct Rereads {
    /// Rate while nothing else happens.
    pub(crate) calls_per_minute: f64,
    /// Number of calls that were parsed beside ingest, in all rounds.
    pub(crate) beside_ingest: u64,
    pub(crate) summary: Vec<Summary>,
    pub(crate) runs: Vec<Run>,
}

/// Measures the rate without ingest, then ingest with calls to parse again and without, in alternating order.
pub(crate) fn measure(place: &Path, rounds: usize, measured: Duration) -> Result<Rereads> {
    let folder = TempDir::new_in(place)?;
    let upgraded = folder.path().join("upgraded.db");
    progress(&format!("storing {CALLS} records"));
    store_records(&upgraded)?;
    until_done(&upgraded, place)?;
    let done = fill::copy(&upgraded, &folder.path().join("done.db"))?;
    list_all(&upgraded)?;
    progress("parsing them again");
    machine::wait_for_quiet(Duration::from_secs(20));
    let idle = fill::copy(&upgraded, &folder.path().join("idle.db"))?;
    let took = until_done(&idle, place)?;
    let (mut beside_ingest, mut runs) = (0, Vec::new());
    let load = Load { in_flight: IN_FLIGHT, long_calls: None, pace: None };
    let mut targets = [Target::Filled, Target::BesideRereads];
    for round in 0..rounds {
        for target in targets {
            machine::wait_for_quiet(Duration::from_secs(20));
            let from = if target == Target::BesideRereads { &upgraded } else { &done };
            let database = fill::copy(from, &folder.path().join("calls.db"))?;
            let server = Server::start_on(target, &database, place)?;
            let run = load::run_once(server, load, round, measured)?;
            progress(&run.line());
            runs.push(run);
            if target == Target::BesideRereads {
                beside_ingest += CALLS as u64 - left(&database)?;
            }
        }
        targets.reverse();
    }
    ensure!(beside_ingest > 0, "nothing was parsed beside ingest");
    Ok(Rereads {
        calls_per_minute: float(CALLS as u64) / took.as_secs_f64() * 60.0,
        beside_ingest,
        summary: Summary::from_runs(&runs),
        runs,
    })
}

/// Stores a record of each call. The service creates the calls when it runs.
fn store_records(path: &Path) -> Result<()> {
    const BATCH: usize = 64;
    let store = fill::open(path)?;
    let calls: Vec<usize> = (0..CALLS).collect();
    for batch in calls.chunks(BATCH) {
        let record = |n| RECORD.replace(RECORD_CALL, &format!("conv_{n:028}"));
        let writes: Vec<_> =
            batch.iter().map(|n| Write::KeepEvent(Box::new(parse_body(record(n).into_bytes().into())))).collect();
        let outcomes = store.apply(Timestamp::now(), &writes)?;
        ensure!(outcomes.iter().all(Result::is_ok), "the store refused a record");
    }
    Ok(())
}

/// Lists all records for parsing, like the migration of a version that parses more facts.
fn list_all(path: &Path) -> Result<()> {
    open(path)?.execute_batch(
        "BEGIN; UPDATE webhook_events SET record = json_remove(record, '$.facts'); \
         INSERT INTO event_rereads (event_id) SELECT id FROM webhook_events ORDER BY +id; COMMIT;",
    )?;
    Ok(())
}

/// Runs the service until no record is listed and no call is due. Returns the time from its start.
fn until_done(path: &Path, place: &Path) -> Result<Duration> {
    let begun = Instant::now();
    let database = open(path)?;
    let number = |sql| database.query_row(sql, [], |row| row.get::<_, u64>(0));
    let before = number("SELECT count(*) FROM call_transcriptions")?;
    let server = Server::start_on(Target::Filled, path, place)?;
    while number("SELECT (SELECT count(*) FROM event_rereads) + (SELECT count(*) FROM due_reconciliations)")? > 0 {
        ensure!(begun.elapsed() < TIMEOUT, "{} records are left", left(path)?);
        std::thread::sleep(Duration::from_millis(20));
    }
    let took = begun.elapsed();
    let after = number("SELECT count(*) FROM call_transcriptions")?;
    drop(database);
    server.stop(after - before)?;
    Ok(took)
}

/// Returns the number of records that are still listed.
fn left(path: &Path) -> Result<u64> {
    open(path)?.query_row("SELECT count(*) FROM event_rereads", [], |row| row.get(0)).context("counting records")
}

fn open(path: &Path) -> Result<Connection> {
    // Not read-only, because the last connection should leave no WAL behind.
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    database.busy_timeout(Duration::from_secs(10))?;
    Ok(database)
}
