//! The `replay` command: reprocesses stored ElevenLabs events, for example after an upgrade that reads more of them.

use super::args::database::DatabaseArgs;
use super::args::event_options::EventArgs;
use super::output::{eprint_line, print_line};
use crate::domain::{EventOutcome, Timestamp};
use crate::ingest::event::EventParser;
use crate::ingest::reconciler::reconcile_all_due_in;
use crate::ingest::reread;
use crate::store::command::{self, ReplayEvent};
use crate::store::sqlite::SqliteStore;
use crate::store::{EventSelection, Reads as _, Rejection};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    events: EventArgs,
    /// Reprocess only the event of this number
    ///
    /// The number is in the log, and in the table `webhook_events`.
    #[arg(long, env = "TRANSCRIBE_HOOK_EVENT", value_name = "NUMBER", conflicts_with = "failed")]
    event: Option<i64>,
    /// Reprocess only events that could not be read
    #[arg(long, env = "TRANSCRIBE_HOOK_FAILED")]
    failed: bool,
    /// Print the result as JSON
    #[arg(long, env = "TRANSCRIBE_HOOK_JSON")]
    json: bool,
}

/// Number of event ids that are read at once.
const PAGE_SIZE: usize = 500;

pub(super) fn run(args: &ReplayArgs) -> Result<()> {
    let store = args.database.open()?;
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {human_pos} {msg}").context("a template")?);
    bar.set_message("events reprocessed");
    let parser = EventParser { redactor: None, options: args.events.options() };
    let mut replay = Replay { store, parser, bar, counts: Counts::default() };
    if let Some(id) = args.event {
        match replay.run(vec![id])?.pop() {
            None => {}
            Some((_, Rejection::Unfinished)) => {
                bail!("event {id} belongs to a call that is being erased or restored")
            }
            Some(_) => bail!("no event {id}"),
        }
    } else {
        let selection = if args.failed { EventSelection::Unreadable } else { EventSelection::All };
        replay.run_all(selection).context("events reprocessed before the error are stored")?;
    }
    let Replay { store, bar, counts, .. } = replay;
    bar.set_message("events reprocessed, reconciling their calls");
    reconcile_all_due_in(&store)?;
    bar.finish_and_clear();
    let Counts { applied, ignored, unreadable } = counts;
    if args.json {
        let report = serde_json::json!({ "applied": applied, "ignored": ignored, "unreadable": unreadable });
        print_line(format_args!("{report}"))?;
    } else {
        print_line(format_args!("{applied} applied, {ignored} of other types, {unreadable} unreadable"))?;
    }
    Ok(())
}

/// Numbers of events by outcome.
#[derive(Default)]
struct Counts {
    applied: u64,
    ignored: u64,
    unreadable: u64,
}

struct Replay {
    store: SqliteStore,
    parser: EventParser,
    bar: ProgressBar,
    counts: Counts,
}

impl Replay {
    /// Reprocesses all selected events. Leaves out those of calls that are being erased or restored.
    fn run_all(&mut self, selection: EventSelection) -> Result<()> {
        let mut after = 0;
        loop {
            let ids = self.store.event_ids(selection, after, PAGE_SIZE)?;
            let Some(last) = ids.last() else { return Ok(()) };
            after = *last;
            for (id, why) in self.run(ids)? {
                if why == Rejection::Unfinished {
                    eprint_line(format_args!("event {id} belongs to a call that is being erased or restored"));
                }
            }
        }
    }

    /// Reprocesses events in small transactions, between which a running service can write. Returns those that were
    /// refused or do not exist.
    fn run(&mut self, ids: Vec<i64>) -> Result<Vec<(i64, Rejection)>> {
        let mut refused = Vec::new();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for id in ids {
            let Some(stored) = self.store.event(id)? else {
                refused.push((id, Rejection::NotFound));
                continue;
            };
            bytes += stored.body.len();
            batch.push(reread::replay(self.parser, stored));
            if batch.len() >= reread::MAX_EVENTS || bytes >= reread::MAX_BYTES {
                refused.extend(self.store(std::mem::take(&mut batch))?);
                bytes = 0;
            }
        }
        refused.extend(self.store(batch)?);
        Ok(refused)
    }

    fn store(&mut self, batch: Vec<ReplayEvent>) -> Result<Vec<(i64, Rejection)>> {
        let mut refused = Vec::new();
        let parsed: Vec<_> =
            batch.iter().map(|ReplayEvent(id, event)| (*id, event.outcome, event.error.clone())).collect();
        let results = command::execute_all(&self.store, Timestamp::now(), batch)?;
        for ((id, outcome, error), result) in parsed.into_iter().zip(results) {
            if let Err(why) = result {
                refused.push((id, why));
                continue;
            }
            match outcome {
                EventOutcome::Applied => self.counts.applied += 1,
                EventOutcome::Ignored => self.counts.ignored += 1,
                EventOutcome::Unreadable => {
                    self.counts.unreadable += 1;
                    let error = error.as_deref().unwrap_or("cannot be read");
                    self.bar.suspend(|| eprint_line(format_args!("event {id}: {error}")));
                }
            }
            self.bar.inc(1);
        }
        Ok(refused)
    }
}
