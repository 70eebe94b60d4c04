//! Instruction counts of the service's own work, compared with a baseline: `cargo bench --bench instructions`.
//!
//! Times on a shared machine vary; the instructions that valgrind's callgrind counts differ by less than a percent
//! between runs. Each kind of work is done N times in one process and 2 N times in another; the difference is the cost
//! of N without that of the start. The benchmark fails if a kind of work takes more than [`TOLERANCE`] times its
//! baseline in `baseline.json`. Waiting for the disk takes no instructions, so this finds slower code, not a slower
//! disk.
//!
//! `-- --renew` writes the counts into `baseline.json`, after a change that saves instructions or is worth more.
#![expect(clippy::print_stdout, reason = "the report goes to the terminal")]

mod work;
#[expect(dead_code, reason = "here nothing is sent")]
#[path = "../service/workload.rs"]
mod workload;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum as _};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use work::Work;

/// Ratio to the baseline above which the benchmark fails.
const TOLERANCE: f64 = 1.25;

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions/baseline.json");

/// Counts instructions, and compares them with the baseline.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench instructions --")]
struct Args {
    /// Save the results as the baseline
    #[arg(long)]
    renew: bool,
    /// Work of this process when the benchmark runs itself under valgrind
    #[arg(long, hide = true, requires = "times")]
    work: Option<Work>,
    #[arg(long, hide = true)]
    times: Option<usize>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let folder = tempfile::Builder::new().prefix("instructions-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    if let (Some(work), Some(times)) = (args.work, args.times) {
        work.run(times, folder.path())?;
        return Ok(ExitCode::SUCCESS);
    }
    if !args.bench {
        // `cargo test --all-targets` runs this: it can only check that the benchmark builds.
        println!("this is a benchmark: cargo bench --bench instructions");
        return Ok(ExitCode::SUCCESS);
    }
    let mut found = BTreeMap::new();
    for work in Work::value_variants() {
        let [once, twice] = [1, 2].map(|n| count(*work, n * work.times(), folder.path()));
        let each = twice?.checked_sub(once?).context("more work took fewer instructions")? / work.times() as u64;
        found.insert(work.name(), each);
    }
    if args.renew {
        std::fs::write(BASELINE, serde_json::to_string_pretty(&found)? + "\n")?;
        println!("{BASELINE} is renewed");
    }
    compare(&found)
}

/// Returns the number of instructions of a process that does the work `times` times.
fn count(work: Work, times: usize, folder: &Path) -> Result<u64> {
    let counts = folder.join("counts");
    let mut out = std::ffi::OsString::from("--callgrind-out-file=");
    out.push(&counts);
    let output = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind"])
        .arg(out)
        .arg(std::env::current_exe()?)
        .args(["--work", &work.name(), "--times", &times.to_string()])
        .stdin(Stdio::null())
        .output()
        .context("cannot run valgrind (Debian's package of that name)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} under valgrind failed: {}", work.name(), said.trim());
    let counts = std::fs::read_to_string(counts)?;
    let summary =
        counts.lines().find_map(|line| line.strip_prefix("summary: ")).context("callgrind reported no sum")?;
    Ok(summary.trim().parse()?)
}

fn compare(found: &BTreeMap<String, u64>) -> Result<ExitCode> {
    let text = std::fs::read_to_string(BASELINE).context("there is no baseline; create it with --renew")?;
    let baseline: BTreeMap<String, u64> = serde_json::from_str(&text)?;
    let mut code = ExitCode::SUCCESS;
    println!("| instructions | baseline | now | ratio |\n|---|---:|---:|---:|");
    for (name, now) in found {
        let then =
            *baseline.get(name).with_context(|| format!("there is no baseline of {name}; create it with --renew"))?;
        let ratio = float(*now) / float(then);
        println!("| {name} | {then} | {now} | {ratio:.3} |");
        if ratio > TOLERANCE {
            println!("\n{name} takes more than {TOLERANCE} times its baseline. If it must: -- --renew\n");
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

#[expect(clippy::cast_precision_loss, reason = "no work here takes 2^52 instructions")]
fn float(number: u64) -> f64 {
    number as f64
}
