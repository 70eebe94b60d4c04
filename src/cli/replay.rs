//! The `replay` command: reprocesses stored ElevenLabs events, for example after an upgrade that reads more of them.

use super::args::database::DatabaseArgs;
use super::args::event_options::EventArgs;
use super::output::{eprint_line, print_line};
use crate::domain::{EventOutcome, Timestamp};
use crate::ingest::event::EventParser;
use crate::ingest::reconciler::reconcile_all_due_in;
use crate::store::command::{self, ReplayEvent};
use crate::store::{EventSelection, Reads as _, Rejection};
use anyhow::{Context as _, Result, bail};
use clap::Args;

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
    // Stored bodies are redacted already.
    let parser = EventParser { redactor: None, options: args.events.options() };
    let (mut applied, mut ignored, mut unreadable) = (0, 0, 0);
    let mut replay = |id: i64| -> Result<()> {
        let Some(stored) = store.event(id)? else { bail!("no event {id}") };
        let event = parser.parse(stored.body.into());
        match event.outcome {
            EventOutcome::Applied => applied += 1,
            EventOutcome::Ignored => ignored += 1,
            EventOutcome::Unreadable => {
                unreadable += 1;
                eprint_line(format_args!("event {id}: {}", event.error.as_deref().unwrap_or("cannot be read")));
            }
        }
        match command::execute(&store, Timestamp::now(), ReplayEvent(id, Box::new(event)))? {
            Ok(_) => Ok(()),
            Err(Rejection::Unfinished) => bail!("event {id} belongs to a call that is being erased or restored"),
            Err(_) => bail!("event {id} was erased in the meantime"),
        }
    };
    if let Some(id) = args.event {
        replay(id)?;
    } else {
        let selection = if args.failed { EventSelection::Unreadable } else { EventSelection::All };
        let mut after = 0;
        loop {
            let ids = store.event_ids(selection, after, PAGE_SIZE)?;
            let Some(last) = ids.last() else { break };
            after = *last;
            for id in ids {
                replay(id).context("events reprocessed before the error are stored")?;
            }
        }
    }
    reconcile_all_due_in(&store)?;
    if args.json {
        let report = serde_json::json!({ "applied": applied, "ignored": ignored, "unreadable": unreadable });
        print_line(format_args!("{report}"))?;
    } else {
        print_line(format_args!("{applied} applied, {ignored} of other types, {unreadable} unreadable"))?;
    }
    Ok(())
}
