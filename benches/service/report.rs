//! The report of one run of the benchmark, as Markdown and as JSON.

use crate::contention::{Beside, SEARCH_INTERVAL};
use crate::goals::{self, Goal};
use crate::large::Large;
use crate::load::{OneCall, Tenth};
use crate::machine::Machine;
use crate::measurements::{Measurements, Process};
use crate::outreach::Outreach;
use crate::peers::Peers;
use crate::rereads::{self, Rereads};
use crate::stats::{Time, float};
use crate::streams::Streams;
use crate::summary::{rate_ratio, write_comparison};
use crate::target::Target;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};

/// The measurements of one run, and the goals.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) goals: Vec<Goal>,
    #[serde(flatten)]
    pub(crate) measurements: Measurements,
}

/// Formats the report as Markdown.
impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Machine { cpu, cores, memory_mib, kernel, file_system, sqlite, journal, commit } =
            &self.measurements.machine;
        writeln!(f, "# Benchmark\n")?;
        writeln!(f, "- Commit: {}", commit.as_deref().unwrap_or("unknown"))?;
        writeln!(f, "- Machine: {cpu}, {cores} cores, {memory_mib} MiB, Linux {kernel}")?;
        writeln!(f, "- File system: {file_system}")?;
        writeln!(f, "- SQLite: {sqlite}, {journal}")?;
        writeln!(
            f,
            "- {} s a run after a warm-up, {} rounds; medians of the rounds",
            self.measurements.seconds, self.measurements.rounds
        )?;
        goals::write(f, &self.goals)?;
        if let Some(process) = &self.measurements.process {
            process.fmt(f)?;
        }
        if !self.measurements.summary.is_empty() {
            self.fmt_load(f)?;
        }
        if let Some(peers) = &self.measurements.peers {
            peers.fmt(f)?;
        }
        if let Some(large) = &self.measurements.large {
            large.fmt(f)?;
        }
        if let Some(beside) = &self.measurements.beside {
            beside.fmt(f)?;
        }
        if let Some(streams) = &self.measurements.streams {
            streams.fmt(f)?;
        }
        if let Some(outreach) = &self.measurements.outreach {
            outreach.fmt(f)?;
        }
        if let Some(rereads) = &self.measurements.rereads {
            rereads.fmt(f)?;
        }
        if let Some(search) = &self.measurements.search {
            search.fmt(f)?;
        }
        if let Some(call) = &self.measurements.one_call {
            call.fmt(f)?;
        }
        if !self.measurements.bare_store.is_empty() {
            writeln!(f, "\n## Bare store\n\nThe store by itself, fed with batches; a batch is one commit.\n")?;
            writeln!(f, "| batch | turns/s | commit p50 | p99 | CPU a turn |\n|---:|---:|---:|---:|---:|")?;
            for row in &self.measurements.bare_store {
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
        if !self.measurements.syncs.is_empty() {
            writeln!(f, "\n## fdatasync\n\n| | round | p50 | p99 | a second |\n|---|---:|---:|---:|---:|")?;
            for row in &self.measurements.syncs {
                writeln!(
                    f,
                    "| {} | {} | {} | {} | {:.0} |",
                    row.what,
                    row.round + 1,
                    Time(row.p50_us),
                    Time(row.p99_us),
                    row.per_second
                )?;
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
             - *no store*: the same HTTP stack, writer's thread and log, over a store that stores nothing.\n\
             - *no queue*: the same server, outermost layer, log and reading of the body, answered by the handler \
             itself: no writer's thread, no generated operation.\n\n\
             CPU is in cores: 1.00 is one core all the while. *Others* are other processes and the system; a run that \
             they took much from was repeated, up to twice.\n"
        )?;
        writeln!(
            f,
            "| in flight | target | turns/s | of *no store* | of *no queue* | p50 | p99 | max | failed | server's CPU \
             a turn | CPU: server | client | others | peak memory |"
        )?;
        writeln!(f, "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")?;
        let percent = |ratio: Option<f64>| ratio.map_or("–".to_owned(), |ratio| format!("{:.0} %", ratio * 100.0));
        for row in &self.measurements.summary {
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
                row.failed,
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
        let Self { in_flight, turns, tenths, failed } = self;
        writeln!(f, "\n## One very long call\n")?;
        writeln!(f, "{turns} turns appended to one conversation, {in_flight} in flight; {failed} failed.\n")?;
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

impl Display for Peers {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n## Peers\n\n\
             The same client and the same turns, round by round. *PocketBase*: one collection with an index on the \
             conversation, as it comes, which is with `synchronous=NORMAL`: a power cut may take what it acknowledged \
             last. *FastAPI*: `benches/peers/fastapi_app.py` under uvicorn, `synchronous=FULL`. *Failed* are answers \
             other than 2xx.\n"
        )?;
        for missing in &self.missing {
            writeln!(f, "{} did not run: {}\n", missing.peer.name(), missing.why.replace('\n', " "))?;
        }
        write_comparison(f, &self.summary, &self.runs, Target::Service)
    }
}

impl Display for Large {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| float(bytes) / 1024.0 / 1024.0;
        let (large, small) = (&self.large, &self.small);
        writeln!(f, "\n## A large database\n")?;
        writeln!(
            f,
            "{} turns ({:.0} MiB), which took {:.0} s to store in batches of {}, beside {} turns ({:.1} MiB). Reads \
             came one at a time over one connection, of random calls.\n",
            large.turns,
            mib(large.bytes),
            large.seconds,
            self.batch,
            small.turns,
            mib(small.bytes)
        )?;
        writeln!(f, "| | p50, small | p50, large | p99, small | p99, large |\n|---|---:|---:|---:|---:|")?;
        for read in &self.reads {
            let [p50, small_p50] = [Time(read.large.p50_us), Time(read.small.p50_us)];
            let [p99, small_p99] = [Time(read.large.p99_us), Time(read.small.p99_us)];
            writeln!(f, "| {} | {small_p50} | {p50} | {small_p99} | {p99} |", read.what)?;
        }
        let (small, large) = (self.small_ready_ms, self.large_ready_ms);
        writeln!(f, "| from exec to 200 on `/readyz` | {small:.1} ms | {large:.1} ms | | |\n")?;
        writeln!(f, "First page of the list of calls of the large database, by each filter and pair:\n")?;
        writeln!(f, "| filter | p50 | p99 |\n|---|---:|---:|")?;
        for filter in &self.filters {
            let [p50, p99] = [Time(filter.latency.p50_us), Time(filter.latency.p99_us)];
            writeln!(f, "| `{}` | {p50} | {p99} |", filter.query)?;
        }
        writeln!(f, "\nIts statistics, of {} calls:\n", self.large.calls)?;
        writeln!(f, "| query | p50 | max |\n|---|---:|---:|")?;
        for stats in &self.stats {
            let [p50, max] = [Time(stats.latency.p50_us), Time(stats.latency.p99_us)];
            writeln!(f, "| `{}` | {p50} | {max} |", stats.query)?;
        }
        writeln!(f)?;
        write_comparison(f, &self.summary, &self.runs, Target::Large)
    }
}

impl Display for Streams {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n## Beside live streams\n\nWith {} streams of all calls open, whose reader shares the cores too, and \
             without. They were sent {:.1} MB a second in all; a stream that falls behind is sent the rest later.\n",
            self.streams,
            self.bytes_per_second / 1e6
        )?;
        write_comparison(f, &self.summary, &self.runs, Target::BesideStreams)
    }
}

impl Display for Outreach {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { notices, notices_per_second, lag, alerts_matched, initiation, initiations, .. } = self;
        writeln!(
            f,
            "\n## Beside what it tells others\n\nWith outgoing webhooks to three receivers (one answers at once, one \
             slowly, one is away); with a thousand alerts; and while it is asked about {initiations} inbound calls. \
             The receivers share the cores too.\n\nThe good receiver received {notices} notices, \
             {notices_per_second:.0} a second, behind by {} (p50), {} (p99), {} (max). Alerts matched \
             {alerts_matched} times. An inbound call was answered within {} (p50), {} (p99).\n",
            Time(lag.p50_us),
            Time(lag.p99_us),
            Time(lag.max_us),
            Time(initiation.p50_us),
            Time(initiation.p99_us)
        )?;
        write_comparison(f, &self.summary, &self.runs, Target::Service)
    }
}

impl Display for Rereads {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { calls_per_minute, beside_ingest, .. } = self;
        writeln!(
            f,
            "\n## Parsing again after an upgrade\n\nThe records of {} calls, of 13.7 KB each. While nothing else \
             happens, {calls_per_minute:.0} calls a minute are parsed again. Beside ingest, {beside_ingest} calls were \
             parsed in all rounds.\n",
            rereads::CALLS
        )?;
        write_comparison(f, &self.summary, &self.runs, Target::Filled)
    }
}

impl Display for Beside {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { turns, during_backups, beside_other_work, during_prune, .. } = self;
        writeln!(
            f,
            "\n## Beside other work\n\nA database of {turns} turns, with nothing beside the service; with \
             `transcribe-hook backup` run again and again ({} copies in all); with backups ({}), `export` to JSON \
             lines ({}) and {} searches a second ({}) at once; and with `prune`, which erased {} calls meanwhile.\n",
            during_backups.backups,
            beside_other_work.backups,
            beside_other_work.exports,
            1.0 / SEARCH_INTERVAL.as_secs_f64(),
            beside_other_work.searches,
            during_prune.erased_calls
        )?;
        writeln!(f, "| target | turns/s | to nothing beside it | p50 | p99 | max | failed | peak memory |")?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|---:|---:|")?;
        for row in &self.summary {
            let ratio = rate_ratio(&self.runs, row.load, row.target, Target::Filled).unwrap_or(0.0);
            writeln!(
                f,
                "| {} | {:.0} | {ratio:.2} | {} | {} | {} | {} | {:.1} MiB |",
                row.target.name(),
                row.turns_per_second,
                Time(row.p50_us),
                Time(row.p99_us),
                Time(row.max_us),
                row.failed,
                row.peak_memory_kib / 1024.0
            )?;
        }
        Ok(())
    }
}
