//! The `backup` command: a consistent copy at any time. A copy by `cp` is not consistent.

use super::args::database::DatabaseArgs;
use super::output::{count, print_line};
use crate::store::BackupStep;
use crate::store::sqlite;
use crate::sys::atomic_file::PartialFile;
use anyhow::{Context as _, Result};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::ops::ControlFlow;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// Write the backup to this file, which must not exist
    #[arg(value_name = "OUT")]
    out: PathBuf,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Print the result as JSON
    #[arg(long, env = "TRANSCRIBE_HOOK_JSON")]
    json: bool,
}

pub(super) fn run(args: &BackupArgs) -> Result<()> {
    let database = &args.database.database;
    // The bar is only drawn on a terminal.
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template("{msg} {bar:40} {bytes}/{total_bytes}").context("a template")?);
    let shown = bar.clone();
    let watch = move |step| {
        match step {
            BackupStep::Copied { done, of } => {
                shown.set_length(of);
                shown.set_message("copying");
                shown.set_position(done);
            }
            BackupStep::Checking => shown.set_message("checking"),
        }
        ControlFlow::Continue(())
    };
    let copy = || -> Result<_> {
        let partial = PartialFile::new(&args.out)?;
        sqlite::expect_no_wal(&args.out)?;
        let report = sqlite::backup(database, &partial, Box::new(watch))?;
        partial.publish()?;
        Ok(report)
    };
    let copied = copy();
    bar.finish_and_clear();
    let report = copied.with_context(|| format!("cannot copy {} to {}", database.display(), args.out.display()))?;
    if args.json {
        let report =
            serde_json::json!({ "calls": report.calls, "transcriptions": report.turns, "bytes": report.bytes });
        print_line(format_args!("{report}"))?;
    } else {
        print_line(format_args!(
            "copied {} with {} ({} bytes) to {}",
            count(report.calls, "call"),
            count(report.turns, "turn"),
            report.bytes,
            args.out.display()
        ))?;
    }
    Ok(())
}
