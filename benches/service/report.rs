//! From measurements to what is printed: medians over the rounds, ratios of what ran side by side, Markdown and JSON.

use crate::disk::{BareStore, Sync};
use crate::load::{Load, OneCall, Run, Tenth};
use crate::machine::Machine;
use crate::server::Target;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

/// All that one run of the benchmark found; what was not asked for is empty.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) seconds: f64,
    pub(crate) rounds: usize,
    pub(crate) process: Option<Process>,
    pub(crate) summary: Vec<Summary>,
    pub(crate) runs: Vec<Run>,
    pub(crate) one_call: Option<OneCall>,
    pub(crate) bare_store: Vec<BareStore>,
    pub(crate) syncs: Vec<Sync>,
}

/// The service's process when it has nothing to do; medians of some starts over an empty database.
#[derive(Serialize)]
pub(crate) struct Process {
    pub(crate) binary_bytes: u64,
    pub(crate) until_listening_ms: f64,
    pub(crate) until_ready_ms: f64,
    pub(crate) idle_memory_kib: f64,
}

/// The rounds of one target under one load in one line.
#[derive(Serialize)]
pub(crate) struct Summary {
    target: Target,
    load: Load,
    turns_per_second: f64,
    /// Medians of the ratios within each round.
    ratio_to_no_store: Option<f64>,
    ratio_to_no_queue: Option<f64>,
    p50_us: f64,
    p99_us: f64,
    /// The greatest of all rounds.
    max_us: f64,
    not_201: u64,
    cpu_server: f64,
    cpu_client: f64,
    cpu_others: f64,
    cpu_us_per_turn: f64,
    peak_memory_kib: f64,
}

impl Summary {
    /// One for each load and target among the runs, in their order.
    pub(crate) fn of(runs: &[Run]) -> Vec<Self> {
        let mut groups: Vec<(Load, Target)> = Vec::new();
        for run in runs {
            if !groups.contains(&(run.load, run.target)) {
                groups.push((run.load, run.target));
            }
        }
        let rank = |(load, target): &(Load, Target)| (load.long_calls, load.in_flight, *target as usize);
        groups.sort_by_key(rank);
        groups.into_iter().map(|(load, target)| Self::of_group(runs, load, target)).collect()
    }

    fn of_group(runs: &[Run], load: Load, target: Target) -> Self {
        let ours: Vec<_> = runs.iter().filter(|run| run.load == load && run.target == target).collect();
        let over_rounds = |value: fn(&Run) -> f64| median(ours.iter().map(|run| value(run)).collect()).unwrap_or(0.0);
        let ratio_to = |other: Target| {
            let pairs = ours.iter().filter_map(|run| {
                let beside = runs.iter().find(|r| r.load == load && r.target == other && r.round == run.round)?;
                Some(run.turns_per_second / beside.turns_per_second)
            });
            if other == target { None } else { median(pairs.collect()) }
        };
        Self {
            target,
            load,
            turns_per_second: over_rounds(|run| run.turns_per_second),
            ratio_to_no_store: ratio_to(Target::NoStore),
            ratio_to_no_queue: ratio_to(Target::NoQueue),
            p50_us: over_rounds(|run| run.p50_us),
            p99_us: over_rounds(|run| run.p99_us),
            max_us: ours.iter().map(|run| run.max_us).fold(0.0, f64::max),
            not_201: ours.iter().map(|run| run.not_201).sum(),
            cpu_server: over_rounds(|run| run.cpu.server),
            cpu_client: over_rounds(|run| run.cpu.client),
            cpu_others: over_rounds(|run| run.cpu.others),
            cpu_us_per_turn: over_rounds(|run| run.cpu.server * 1e6 / run.turns_per_second),
            peak_memory_kib: over_rounds(|run| float(run.peak_memory_kib)),
        }
    }
}

/// As Markdown.
impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Machine { cpu, cores, memory_mib, kernel, file_system, sqlite, journal, commit } = &self.machine;
        writeln!(f, "# Benchmark\n")?;
        writeln!(f, "- Commit: {}", commit.as_deref().unwrap_or("unknown"))?;
        writeln!(f, "- Machine: {cpu}, {cores} cores, {memory_mib} MiB, Linux {kernel}")?;
        writeln!(f, "- File system: {file_system}")?;
        writeln!(f, "- SQLite: {sqlite}, {journal}")?;
        writeln!(f, "- {} s a run after a warm-up, {} rounds; medians of the rounds", self.seconds, self.rounds)?;
        if let Some(process) = &self.process {
            process.fmt(f)?;
        }
        if !self.summary.is_empty() {
            self.fmt_load(f)?;
        }
        if let Some(call) = &self.one_call {
            call.fmt(f)?;
        }
        if !self.bare_store.is_empty() {
            writeln!(f, "\n## Bare store\n\nThe store by itself, fed with batches; a batch is one commit.\n")?;
            writeln!(f, "| batch | turns/s | commit p50 | p99 | CPU a turn |\n|---:|---:|---:|---:|---:|")?;
            for row in &self.bare_store {
                writeln!(
                    f,
                    "| {} | {:.0} | {} | {} | {:.1} µs |",
                    row.batch,
                    row.turns_per_second,
                    Time(row.commit_p50_us),
                    Time(row.commit_p99_us),
                    row.cpu_us_per_turn
                )?;
            }
        }
        if !self.syncs.is_empty() {
            writeln!(f, "\n## fdatasync\n\n| | p50 | p99 | a second |\n|---|---:|---:|---:|")?;
            for row in &self.syncs {
                writeln!(f, "| {} | {} | {} | {:.0} |", row.what, Time(row.p50_us), Time(row.p99_us), row.per_second)?;
            }
        }
        Ok(())
    }
}

impl Report {
    fn fmt_load(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n## Under load\n\n\
             Each connection sends one turn and waits for its answer; the client shares the cores with the server.\n\n\
             - *service*: the release binary, each turn committed before its 201. Its rows were counted afterwards: as \
             many as answers with 201.\n\
             - *service, no log line a request*: the same with `http=off` in `--log-level`.\n\
             - *no store*: the same HTTP stack, writer's thread and log, over a store that keeps nothing.\n\
             - *no queue*: the same server, outermost layer, log and reading of the body, answered by the handler \
             itself: no writer's thread, no generated operation.\n\n\
             CPU is in cores: 1.00 is one core all the while. *Others* are other processes and the system; a run that they \
             took much from was repeated, up to twice.\n"
        )?;
        writeln!(
            f,
            "| in flight | target | turns/s | of *no store* | of *no queue* | p50 | p99 | max | not 201 | server's CPU \
             a turn | CPU: server | client | others | peak memory |"
        )?;
        writeln!(f, "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")?;
        let percent = |ratio: Option<f64>| ratio.map_or("–".to_owned(), |ratio| format!("{:.0} %", ratio * 100.0));
        for row in &self.summary {
            writeln!(
                f,
                "| {} | {} | {:.0} | {} | {} | {} | {} | {} | {} | {:.1} µs | {:.2} | {:.2} | {:.2} | {:.1} MiB |",
                row.load.name(),
                row.target.name(),
                row.turns_per_second,
                percent(row.ratio_to_no_store),
                percent(row.ratio_to_no_queue),
                Time(row.p50_us),
                Time(row.p99_us),
                Time(row.max_us),
                row.not_201,
                row.cpu_us_per_turn,
                row.cpu_server,
                row.cpu_client,
                row.cpu_others,
                row.peak_memory_kib / 1024.0,
            )?;
        }
        Ok(())
    }
}

impl Display for Process {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mib = |bytes: f64| bytes / 1024.0 / 1024.0;
        writeln!(f, "\n## Process\n\n| | |\n|---|---:|")?;
        writeln!(f, "| binary | {:.1} MiB |", mib(float(self.binary_bytes)))?;
        writeln!(
            f,
            "| from exec to the log line that it listens, empty database | {:.1} ms |",
            self.until_listening_ms
        )?;
        writeln!(f, "| from exec to 200 on `/readyz` | {:.1} ms |", self.until_ready_ms)?;
        writeln!(f, "| memory when idle | {:.1} MiB |", mib(self.idle_memory_kib * 1024.0))
    }
}

impl Display for OneCall {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { in_flight, turns, tenths, not_201 } = self;
        writeln!(f, "\n## One very long call\n")?;
        writeln!(f, "{turns} turns appended to one conversation, {in_flight} in flight; {not_201} answers not 201.\n")?;
        writeln!(f, "| tenth | turns/s | server's CPU a turn | CPU: others |\n|---:|---:|---:|---:|")?;
        for (n, tenth) in tenths.iter().enumerate() {
            let Tenth { turns_per_second, cpu_us_per_turn, cpu_others } = tenth;
            writeln!(f, "| {} | {turns_per_second:.0} | {cpu_us_per_turn:.1} µs | {cpu_others:.2} |", n + 1)?;
        }
        if let (Some(first), Some(last)) = (tenths.first(), tenths.last()) {
            let (rate, cpu) =
                (last.turns_per_second / first.turns_per_second, last.cpu_us_per_turn / first.cpu_us_per_turn);
            let (rate, cpu) = (rate * 100.0, cpu * 100.0);
            writeln!(
                f,
                "\nThe last tenth ran at {rate:.0} % of the first one's rate, with {cpu:.0} % of its CPU a turn."
            )?;
        }
        Ok(())
    }
}

/// Microseconds in the unit that reads best.
struct Time(f64);

impl Display for Time {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            micros if micros < 1000.0 => write!(f, "{micros:.0} µs"),
            micros if micros < 10_000.0 => write!(f, "{:.2} ms", micros / 1000.0),
            micros => write!(f, "{:.1} ms", micros / 1000.0),
        }
    }
}

/// For counts and sizes, which stay far below 2^52.
#[expect(clippy::cast_precision_loss, reason = "nothing that is counted here reaches 2^52")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len().is_multiple_of(2) { f64::midpoint(values[middle - 1], upper) } else { upper })
}

/// Of durations in ascending order, in microseconds: the least one that `part` of all do not exceed.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a length is between 0 and the length"
)]
pub(crate) fn percentile(ascending: &[Duration], part: f64) -> f64 {
    let count = float(u64::try_from(ascending.len()).expect("a length"));
    let rank = (count * part).ceil() as usize;
    ascending.get(rank.saturating_sub(1)).map_or(0.0, |duration| duration.as_secs_f64() * 1e6)
}
