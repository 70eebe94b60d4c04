//! Summaries of the runs of several rounds: one line for each target and load, and ratios of targets that ran side by
//! side.

use crate::load::{Load, Run};
use crate::stats::{Time, float, median};
use crate::target::Target;
use serde::Serialize;
use std::fmt::{self, Write};

/// Returns the median of the rounds' ratios.
pub(crate) fn ratio(runs: &[Run], load: Load, target: Target, to: Target, value: impl Fn(&Run) -> f64) -> Option<f64> {
    let of = |target| runs.iter().filter(move |run| run.load == load && run.target == target);
    let pairs = of(target).filter_map(|run| {
        let beside = of(to).find(|beside| beside.round == run.round)?;
        Some(value(run) / value(beside))
    });
    median(pairs.collect())
}

/// Returns a ratio of turns per second.
pub(crate) fn rate_ratio(runs: &[Run], load: Load, target: Target, to: Target) -> Option<f64> {
    ratio(runs, load, target, to, |run| run.turns_per_second)
}

/// A summary of the rounds of one target under one load.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) target: Target,
    pub(crate) load: Load,
    pub(crate) turns_per_second: f64,
    /// Medians of the ratios within each round.
    pub(crate) ratio_to_no_store: Option<f64>,
    pub(crate) ratio_to_no_queue: Option<f64>,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Maximum of all rounds.
    pub(crate) max_us: f64,
    pub(crate) failed: u64,
    pub(crate) cpu_server: f64,
    pub(crate) cpu_client: f64,
    pub(crate) cpu_others: f64,
    pub(crate) cpu_us_per_turn: f64,
    pub(crate) peak_memory_kib: f64,
}

impl Summary {
    /// Returns one summary for each load and target of the runs, sorted by load, then by target.
    pub(crate) fn from_runs(runs: &[Run]) -> Vec<Self> {
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
        let ratio_to = |other| if other == target { None } else { rate_ratio(runs, load, target, other) };
        Self {
            target,
            load,
            turns_per_second: over_rounds(|run| run.turns_per_second),
            ratio_to_no_store: ratio_to(Target::NoStore),
            ratio_to_no_queue: ratio_to(Target::NoQueue),
            p50_us: over_rounds(|run| run.p50_us),
            p99_us: over_rounds(|run| run.p99_us),
            max_us: ours.iter().map(|run| run.max_us).fold(0.0, f64::max),
            failed: ours.iter().map(|run| run.failed).sum(),
            cpu_server: over_rounds(|run| run.cpu.server),
            cpu_client: over_rounds(|run| run.cpu.client),
            cpu_others: over_rounds(|run| run.cpu.others),
            cpu_us_per_turn: over_rounds(|run| run.cpu.server * 1e6 / run.turns_per_second),
            peak_memory_kib: over_rounds(|run| float(run.peak_memory_kib)),
        }
    }
}

/// Writes a short table: rates of targets that ran side by side, and their ratios to `first`.
pub(crate) fn write_comparison(out: &mut impl Write, summary: &[Summary], runs: &[Run], first: Target) -> fmt::Result {
    writeln!(out, "| in flight | target | turns/s | {} to it | p50 | p99 | failed | peak memory |", first.name())?;
    writeln!(out, "|---:|---|---:|---:|---:|---:|---:|---:|")?;
    for row in summary {
        let ratio = if row.target == first { None } else { rate_ratio(runs, row.load, first, row.target) };
        writeln!(
            out,
            "| {} | {} | {:.0} | {} | {} | {} | {} | {:.1} MiB |",
            row.load.name(),
            row.target.name(),
            row.turns_per_second,
            ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}")),
            Time(row.p50_us),
            Time(row.p99_us),
            row.failed,
            row.peak_memory_kib / 1024.0
        )?;
    }
    Ok(())
}
