//! The `backfill` command: fetches calls from the ElevenLabs API that no webhook delivered. Works while the service
//! runs.

use super::args::database::NewDatabaseArgs;
use super::args::elevenlabs::ElevenLabsArgs;
use super::args::event_options::EventArgs;
use super::args::redaction::RedactionArgs;
use super::args::values::since;
use super::output::{eprint_line, print_line};
use super::usage_error::OrUsage as _;
use crate::domain::Timestamp;
use crate::elevenlabs::client::{Client, ClientError, RetryPolicy};
use crate::ingest::event::EventParser;
use crate::ingest::executor::StoreWriter;
use crate::ingest::reconciler::reconcile_all_due_in;
use crate::jobs::backfill::{
    self, BackfillError, BackfillMode, BackfillReport, BackfillTarget, EmptyTarget, Progress, StoreTarget,
};
use crate::store::Store;
use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::Arc;

#[derive(Debug, Args)]
pub(super) struct BackfillArgs {
    #[command(flatten)]
    elevenlabs: ElevenLabsArgs,
    #[command(flatten)]
    database: NewDatabaseArgs,
    /// Fetch only calls that started since this time
    ///
    /// A date and time, or an age such as 7d.
    #[arg(long, env = "TRANSCRIBE_HOOK_SINCE", value_name = "TIME", default_value = "30d", value_parser = since)]
    since: Timestamp,
    /// Store only this batch's recipients, as dispatches
    #[arg(long, alias = "batch", env = "TRANSCRIBE_HOOK_BATCH_ID", value_name = "ID")]
    batch_id: Option<String>,
    #[command(flatten)]
    redact: RedactionArgs,
    #[command(flatten)]
    events: EventArgs,
    /// Print what would be fetched, and change nothing
    #[arg(long, env = "TRANSCRIBE_HOOK_DRY_RUN")]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long, env = "TRANSCRIBE_HOOK_JSON")]
    json: bool,
}

pub(super) fn run(args: &BackfillArgs) -> Result<()> {
    let client = args
        .elevenlabs
        .client_with(RetryPolicy { fails_unconnected: true, ..RetryPolicy::default() })?
        .context("no API key; pass --elevenlabs-api-key or --elevenlabs-api-key-file")
        .or_usage()?;
    let path = &args.database.database;
    if args.dry_run && !path.exists() {
        eprint_line(format_args!("there is no database {} yet", path.display()));
        return fetch(args, &client, &EmptyTarget);
    }
    let store: Arc<dyn Store> = Arc::new(args.database.open()?);
    // Finishes what a killed run left half done.
    reconcile_all_due_in(&*store)?;
    let parser = EventParser { redactor: args.redact.redactor(), options: args.events.options() };
    let keeper = StoreTarget::new(&store, parser, Box::new(StoreWriter(store.clone())));
    let fetched = fetch(args, &client, &keeper);
    reconcile_all_due_in(&*store)?;
    fetched
}

fn fetch(args: &BackfillArgs, client: &Client, keeper: &impl BackfillTarget) -> Result<()> {
    let mode = if args.dry_run { BackfillMode::DryRun } else { BackfillMode::Store };
    if let Some(id) = &args.batch_id {
        let report = backfill::batch(client, keeper, id, mode).map_err(|error| failure(&error))?;
        let numbers =
            [("recipients", report.recipients), ("not_called", report.not_called), ("dispatched", report.dispatched)];
        return finish(args, &numbers, &report.failed);
    }
    let bar = ProgressBar::new_spinner();
    let listing = ProgressStyle::with_template("{spinner} {msg} conversations listed").context("a template")?;
    let fetching = ProgressStyle::with_template("{bar:40} {pos}/{len} fetched, {eta} left").context("a template")?;
    bar.set_style(listing);
    let mut fetches = false;
    let since = args.since.unix_micros().div_euclid(1_000_000);
    let run = backfill::conversations(client, keeper, Some(since), mode, |progress| match progress {
        Progress::Listed(count) => {
            bar.set_message(count.to_string());
            bar.tick();
        }
        Progress::Fetched { done, of } => {
            if !fetches {
                fetches = true;
                bar.set_style(fetching.clone());
                bar.set_length(of as u64);
            }
            bar.set_position(done as u64);
        }
    });
    bar.finish_and_clear();
    let BackfillReport { listed, complete, running, fetched, failed, .. } = run.map_err(|error| failure(&error))?;
    let numbers = [("listed", listed), ("complete", complete), ("running", running), ("fetched", fetched)];
    finish(args, &numbers, &failed)
}

/// Returns the error of a run that was cancelled.
fn failure(error: &BackfillError) -> anyhow::Error {
    match error {
        BackfillError::Api(ClientError::NotConnected { .. }) => {
            return anyhow!("{error}; check the network and --elevenlabs-base-url");
        }
        BackfillError::Api(ClientError::NotFound | ClientError::Malformed(_)) => {
            return anyhow!("{error}; check --elevenlabs-base-url");
        }
        _ => {}
    }
    anyhow!("{error}; calls fetched so far are stored, and the next run continues")
}

fn finish(args: &BackfillArgs, numbers: &[(&str, usize)], failed: &[String]) -> Result<()> {
    for failure in failed {
        eprint_line(format_args!("{failure}"));
    }
    if args.json {
        let mut report: serde_json::Map<_, _> =
            numbers.iter().map(|(name, number)| ((*name).to_owned(), (*number).into())).collect();
        report.insert("failed".to_owned(), failed.len().into());
        report.insert("dry_run".to_owned(), args.dry_run.into());
        print_line(format_args!("{}", serde_json::Value::from(report)))?;
    } else {
        let numbers: Vec<_> =
            numbers.iter().map(|(name, number)| format!("{number} {}", name.replace('_', " "))).collect();
        let would = if args.dry_run { " (dry run: nothing was changed)" } else { "" };
        print_line(format_args!("{}, {} failed{would}", numbers.join(", "), failed.len()))?;
    }
    if failed.is_empty() { Ok(()) } else { bail!("{} calls could not be fetched or stored", failed.len()) }
}
