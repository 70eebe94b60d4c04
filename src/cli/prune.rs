//! Retention of calls: the flag of `serve`, and the `prune` command, which erases expired calls once.

use super::args::database::DatabaseArgs;
use super::args::values::age;
use super::erase_session::{Confirmation, EraseSession};
use super::output::{count, print_line};
use crate::domain::Timestamp;
use crate::jobs::retention::{EraseCounts, check_arrival, cutoff};
use anyhow::{Context as _, Result};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct PruneArgs {
    /// Erase calls whose last activity is this long ago, such as 90d
    ///
    /// The last activity is the end of the call, or a turn that arrived later.
    #[arg(long, env = "TRANSCRIBE_HOOK_OLDER_THAN", value_name = "DURATION", value_parser = age)]
    older_than: Duration,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Erase recordings in this folder, as given to the service
    ///
    /// Without it recordings are not erased.
    #[arg(long, env = "TRANSCRIBE_HOOK_AUDIO_DIR", value_name = "FOLDER")]
    audio_dir: Option<PathBuf>,
    #[command(flatten)]
    confirmation: Confirmation,
    /// Trust the clock even if no recent event confirms it
    #[arg(long, env = "TRANSCRIBE_HOOK_TRUST_CLOCK")]
    trust_clock: bool,
    /// Print the result as JSON
    #[arg(long, env = "TRANSCRIBE_HOOK_JSON")]
    json: bool,
}

pub(super) fn run(args: &PruneArgs) -> Result<()> {
    let before = cutoff(args.older_than).context("--older-than: too long ago")?;
    let work = EraseSession::open(&args.database, args.audio_dir.as_deref())?;
    if !args.trust_clock && !args.confirmation.dry_run {
        let checked = check_arrival(Timestamp::now(), work.eraser().newest_arrival()?);
        checked.context("nothing was erased; pass --trust-clock if the clock is right")?;
    }
    let erased = if args.confirmation.dry_run {
        work.eraser().count_expired(before)
    } else {
        EraseSession::with_progress(|done| work.eraser().prune(before, done))
    };
    let EraseCounts { calls, turns, events, dispatches, .. } = work.finish(erased, &args.confirmation)?;
    if args.json {
        let dry_run = args.confirmation.dry_run;
        let report = serde_json::json!({
            "calls": calls, "transcriptions": turns, "events": events, "dispatches": dispatches,
            "before": before.to_string(), "dry_run": dry_run
        });
        print_line(format_args!("{report}"))?;
    } else {
        let counts = format!(
            "{} with {}, {} of no call and {} of no call from before {before}",
            count(calls, "call"),
            count(turns, "turn"),
            count(events, "event"),
            count(dispatches, "dispatch")
        );
        print_line(format_args!("{} {counts}", args.confirmation.verb()))?;
    }
    Ok(())
}
