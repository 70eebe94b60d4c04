//! Goals of the service, compared with the measurements of one run of the benchmark. Most are ratios of values that
//! were measured side by side.

use crate::load::{Load, Run};
use crate::measurements::Measurements;
use crate::stats::{float, median};
use crate::summary::{rate_ratio, ratio};
use crate::target::Target;
use crate::{contention, large, outreach, peers, rereads, streams};
use serde::{Serialize, Serializer};
use std::fmt::{self, Display, Formatter, Write};

/// A goal and its result, which is unknown if its part did not run.
#[derive(Debug, Serialize)]
pub(crate) struct Goal {
    what: String,
    #[serde(serialize_with = "as_text")]
    goal: Bound,
    unit: Unit,
    measured: Option<f64>,
    met: Option<bool>,
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Unit {
    Ratio,
    Count,
    Milliseconds,
    /// Units of a million bytes.
    Megabytes,
}

impl Goal {
    fn new(what: impl Into<String>, goal: Bound, unit: Unit, measured: Option<f64>) -> Self {
        let met = measured.map(|measured| match goal {
            Bound::AtLeast(limit) => measured >= limit,
            Bound::AtMost(limit) => measured <= limit,
            Bound::Below(limit) => measured < limit,
        });
        Self { what: what.into(), goal, unit, measured, met }
    }
}

impl Display for Bound {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(limit) => write!(f, "≥ {limit}"),
            Self::AtMost(limit) => write!(f, "≤ {limit}"),
            Self::Below(limit) => write!(f, "< {limit}"),
        }
    }
}

fn as_text<S: Serializer>(bound: &Bound, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(bound)
}

impl Display for Unit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ratio | Self::Count => "",
            Self::Milliseconds => " ms",
            Self::Megabytes => " MB",
        })
    }
}

/// Derives all goals from the measurements of a run.
pub(crate) fn derive(measurements: &Measurements) -> Vec<Goal> {
    use Bound::{AtLeast, AtMost, Below};
    use Unit::{Count, Megabytes, Milliseconds, Ratio};
    let mut goals = Vec::new();
    for in_flight in peers::IN_FLIGHT {
        let measured = rate_ratio(&measurements.runs, load(in_flight), Target::Service, Target::NoStore);
        let what = format!("turns/s at {in_flight} in flight, to the same HTTP stack without a store");
        goals.push(Goal::new(what, AtLeast(0.75), Ratio, measured));
    }
    for (peer, limit) in [(Target::PocketBase, 10.0), (Target::FastApi, 100.0)] {
        for in_flight in peers::IN_FLIGHT {
            let runs = measurements.peers.as_ref().map_or(&[][..], |peers| &peers.runs);
            let measured = rate_ratio(runs, load(in_flight), Target::Service, peer);
            let what = format!("turns/s at {in_flight} in flight, to {}", peer.name());
            goals.push(Goal::new(what, AtLeast(limit), Ratio, measured));
        }
    }
    let p99 = ratio(&measurements.runs, load(64), Target::Service, Target::NoStore, |run| run.p99_us);
    goals.push(Goal::new("p99 at 64 in flight, to that of the stack without a store", AtMost(3.0), Ratio, p99));
    goals.push(Goal::new(
        "p50 of one client, one turn at a time, to one `fdatasync` of a 4 KiB append + p50 without a store",
        AtMost(1.3),
        Ratio,
        one_at_a_time(measurements),
    ));
    goals.extend(large_goals(measurements));
    let runs = measurements.beside.as_ref().map_or(&[][..], |beside| &beside.runs);
    for (what, target) in
        [("backups", Target::DuringBackups), ("backups, exports and searches", Target::BesideOtherWork)]
    {
        let measured = rate_ratio(runs, load(contention::IN_FLIGHT), target, Target::Filled);
        goals.push(Goal::new(format!("turns/s while {what} run, to without"), AtLeast(0.7), Ratio, measured));
    }
    let runs = measurements.streams.as_ref().map_or(&[][..], |streams| &streams.runs);
    goals.push(Goal::new(
        format!("turns/s with {} live streams open, to without", streams::STREAMS),
        AtLeast(0.9),
        Ratio,
        rate_ratio(runs, load(streams::IN_FLIGHT), Target::BesideStreams, Target::Service),
    ));
    goals.extend(outreach_goals(measurements));
    let rereads = measurements.rereads.as_ref();
    let rate = rereads.map(|rereads| rereads.calls_per_minute);
    goals.push(Goal::new("calls parsed again in a minute after an upgrade", AtLeast(10_000.0), Count, rate));
    let runs = rereads.map_or(&[][..], |rereads| &rereads.runs);
    let p99 = ratio(runs, load(rereads::IN_FLIGHT), Target::BesideRereads, Target::Filled, |run| run.p99_us);
    goals.push(Goal::new("p99 of turns meanwhile, to without", AtMost(1.1), Ratio, p99));
    let megabytes = |kib: f64| kib * 1024.0 / 1e6;
    let peak = runs_of(measurements, Target::Service, 500).map(|run| float(run.peak_memory_kib)).reduce(f64::max);
    goals.push(Goal::new("peak memory at 500 in flight", Below(40.0), Megabytes, peak.map(megabytes)));
    let process = measurements.process.as_ref();
    let idle = process.map(|process| megabytes(process.idle_memory_kib));
    goals.push(Goal::new("memory when idle", Below(12.0), Megabytes, idle));
    let binary = process.map(|process| float(process.binary_bytes) / 1e6);
    goals.push(Goal::new("binary, stripped", Below(12.0), Megabytes, binary));
    let ready = measurements.large.as_ref().map(|large| large.large_ready_ms);
    goals.push(Goal::new(
        format!("from exec to ready, {}", describe_stored_turns(measurements)),
        Below(60.0),
        Milliseconds,
        ready,
    ));
    goals
}

fn large_goals(measurements: &Measurements) -> Vec<Goal> {
    let many = describe_stored_turns(measurements);
    let runs = measurements.large.as_ref().map_or(&[][..], |large| &large.runs);
    let measured = rate_ratio(runs, load(large::IN_FLIGHT), Target::Large, Target::Service);
    let what = format!("turns/s, {many}, to an empty database");
    let mut goals = vec![Goal::new(what, Bound::AtLeast(0.85), Unit::Ratio, measured)];
    for (n, what) in large::READS.into_iter().enumerate() {
        let read = measurements.large.as_ref().map(|large| &large.reads[n]);
        let p99 = read.map(|read| read.large.p99_us / 1000.0);
        goals.push(Goal::new(format!("p99 of {what}, {many}"), Bound::Below(5.0), Unit::Milliseconds, p99));
        let ratio = read.map(|read| read.large.p99_us / read.small.p99_us);
        let what = format!("p99 of {what}, to the same at {} turns", large::SMALL_TURNS);
        goals.push(Goal::new(what, Bound::AtMost(1.5), Unit::Ratio, ratio));
    }
    let slowest = measurements
        .large
        .as_ref()
        .and_then(|large| large.filters.iter().map(|filter| filter.latency.p99_us / 1000.0).reduce(f64::max));
    let what = format!("p99 of the first page by each filter and pair, the slowest, {many}");
    goals.push(Goal::new(what, Bound::Below(5.0), Unit::Milliseconds, slowest));
    goals
}

fn outreach_goals(measurements: &Measurements) -> Vec<Goal> {
    let measured = measurements.outreach.as_ref();
    let runs = measured.map_or(&[][..], |outreach| &outreach.runs);
    let rate = |target| rate_ratio(runs, outreach::FULL, target, Target::Service);
    let milliseconds = |us: f64| us / 1000.0;
    vec![
        Goal::new(
            "turns/s of a thousand calls a second with three receivers of notices, one slow and one away, to without",
            Bound::AtLeast(0.95),
            Unit::Ratio,
            rate_ratio(runs, outreach::THOUSAND_CALLS, Target::BesideReceivers, Target::Service),
        ),
        Goal::new(
            "longest delay of a notice to the good receiver",
            Bound::Below(1000.0),
            Unit::Milliseconds,
            measured.map(|outreach| milliseconds(outreach.lag.max_us)),
        ),
        Goal::new(
            format!("turns/s with {} alerts, to without", outreach::ALERTS),
            Bound::AtLeast(0.95),
            Unit::Ratio,
            rate(Target::WithAlerts),
        ),
        Goal::new(
            "p99 of the webhook for inbound calls, beside ingest",
            Bound::Below(20.0),
            Unit::Milliseconds,
            measured.map(|outreach| milliseconds(outreach.initiation.p99_us)),
        ),
    ]
}

/// Describes the number of turns that were stored before the load.
fn describe_stored_turns(measurements: &Measurements) -> String {
    match &measurements.large {
        Some(large) => format!("{} turns stored", large.large.turns),
        None => "10 million turns stored".to_owned(),
    }
}

/// Returns the p50 of one turn at a time, as a ratio to the sum of an append's `fdatasync` and a turn without a store.
///
/// Both are from the same round, because the speed of the disk varies between rounds.
fn one_at_a_time(measurements: &Measurements) -> Option<f64> {
    let of_round = |round: usize| {
        let p50 = |target| runs_of(measurements, target, 1).find(|run| run.round == round).map(|run| run.p50_us);
        let append =
            measurements.syncs.iter().find(|sync| sync.round == round && sync.what == crate::disk::APPENDED)?;
        Some(p50(Target::Service)? / (append.p50_us + p50(Target::NoStore)?))
    };
    median((0..measurements.rounds).filter_map(of_round).collect())
}

fn load(in_flight: usize) -> Load {
    Load { in_flight, long_calls: None, pace: None }
}

fn runs_of(measurements: &Measurements, target: Target, in_flight: usize) -> impl Iterator<Item = &Run> {
    measurements.runs.iter().filter(move |run| run.target == target && run.load == load(in_flight))
}

/// Returns the goals as a table.
pub(crate) fn write(out: &mut impl Write, goals: &[Goal]) -> fmt::Result {
    writeln!(out, "\n## Goals\n\n| what | goal | measured | met |\n|---|---:|---:|---|")?;
    for Goal { what, goal, unit, measured, met } in goals {
        let measured = measured.map_or("not measured".to_owned(), |measured| format!("{measured:.2}{unit}"));
        let met = match met {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "–",
        };
        writeln!(out, "| {what} | {goal}{unit} | {measured} | {met} |")?;
    }
    Ok(())
}
