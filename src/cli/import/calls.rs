//! The `import calls` command: imports the JSON Lines that `export` wrote. Works while the service runs.
//!
//! Lines are stored in batches, and each line completely or not at all. Importing a file twice changes nothing.

use crate::cli::args::database::NewDatabaseArgs;
use crate::cli::output::{eprint_line, print_line};
use crate::domain::validation::join_errors;
use crate::domain::{ConversationId, Timestamp};
use crate::export::{MAX_LINE, archived};
use crate::import::JsonLines;
use crate::ingest::direct_erasure::erase_slices;
use crate::ingest::reconciler::reconcile_all_due_in;
use crate::store::command::{self, Completion, ContinueRestore, Restore};
use crate::store::sqlite::SqliteStore;
use crate::store::{ArchiveRecord, ArchivedCall, OtherWriters, Reads as _, Rejection, Unfinished};
use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Debug, Args)]
pub(in crate::cli) struct CallsArgs {
    /// Read this file; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    database: NewDatabaseArgs,
    /// Continue after invalid lines
    #[arg(long, env = "TRANSCRIBE_HOOK_SKIP_BAD")]
    skip_bad: bool,
    /// Print the result as JSON
    #[arg(long, env = "TRANSCRIBE_HOOK_JSON")]
    json: bool,
}

/// Target size of a batch, in rows: some ten milliseconds of work, during which a running service cannot write.
const BATCH_ROWS: usize = 500;

/// Maximum length of the pause after a slice of a long call.
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// Lines that are stored in one transaction, with their line numbers.
#[derive(Default)]
struct Batch {
    lines: Vec<u64>,
    things: Vec<ArchiveRecord>,
    rows: usize,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    stored: u64,
    unchanged: u64,
    bad: u64,
}

pub(in crate::cli) fn run(args: &CallsArgs) -> Result<()> {
    let input = crate::cli::args::input::open(&args.file)?;
    let store = args.database.open()?;
    // A call that a cancelled import left unfinished could not be imported again.
    erase_slices(&store, Unfinished::All, store.other_writers())?;
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {msg}").context("a template")?);
    let mut counts = Counts::default();
    let read = read(args, input, &store, &mut counts, &bar);
    bar.finish_and_clear();
    reconcile_all_due_in(&store)?;
    read.with_context(|| args.file.display().to_string())?;
    let Counts { stored, unchanged, bad } = counts;
    if args.json {
        print_line(format_args!("{}", serde_json::json!({ "stored": stored, "unchanged": unchanged, "bad": bad })))?;
    } else {
        print_line(format_args!("{stored} stored, {unchanged} unchanged, {bad} bad"))?;
    }
    Ok(())
}

fn read(
    args: &CallsArgs,
    input: Box<dyn std::io::Read>,
    store: &SqliteStore,
    counts: &mut Counts,
    bar: &ProgressBar,
) -> Result<()> {
    let mut lines = JsonLines::new(input, MAX_LINE);
    let mut batch = Batch::default();
    loop {
        // Lines before an invalid one are stored.
        let (line, thing) = match lines.next_line() {
            Ok(None) => break,
            Ok(Some((line, text))) => (line, archived(text)),
            Err(error) => {
                store_batch(args, store, &mut batch, counts)?;
                return Err(anyhow!(error).context("all lines before it are stored"));
            }
        };
        let thing = match thing {
            Ok(thing) => thing,
            Err(reason) => {
                store_batch(args, store, &mut batch, counts)?;
                refuse(args, counts, line, &reason.to_string())?;
                continue;
            }
        };
        let rows = match &thing {
            ArchiveRecord::Call(call) => 1 + call.turns.len(),
            _ => 1,
        };
        // A long call is stored alone, in slices.
        if rows > BATCH_ROWS {
            store_batch(args, store, &mut batch, counts)?;
        }
        batch.rows += rows;
        batch.lines.push(line);
        batch.things.push(thing);
        if batch.rows >= BATCH_ROWS {
            store_batch(args, store, &mut batch, counts)?;
            bar.set_message(format!("{} stored, {} unchanged", counts.stored, counts.unchanged));
            bar.tick();
        }
    }
    store_batch(args, store, &mut batch, counts)
}

fn store_batch(args: &CallsArgs, store: &SqliteStore, batch: &mut Batch, counts: &mut Counts) -> Result<()> {
    let Batch { lines, things, .. } = std::mem::take(batch);
    if things.is_empty() {
        return Ok(());
    }
    // A long call is stored alone, in slices.
    let long = match things.as_slice() {
        [ArchiveRecord::Call(call)] => Some(call.clone()),
        _ => None,
    };
    let commands = things.into_iter().map(|thing| Restore(Box::new(thing)));
    let outcomes = command::execute_all(store, Timestamp::now(), commands)?;
    for (line, outcome) in lines.into_iter().zip(outcomes) {
        let outcome = match outcome {
            Ok(Completion::Done(is_new)) => Ok(is_new),
            Ok(Completion::Begun) => restore_slices(store, long.as_ref().context("a short call was stored in part")?)?,
            Err(rejection) => Err(rejection),
        };
        match outcome {
            Ok(true) => counts.stored += 1,
            Ok(false) => counts.unchanged += 1,
            Err(Rejection::Unfit(problem)) => refuse(args, counts, line, &join_errors(&[problem]))?,
            Err(rejection) => bail!("line {line} was refused: {rejection:?}"),
        }
    }
    Ok(())
}

/// Imports the rest of a long call, with pauses for a service that writes. If that fails, the imported part is erased.
fn restore_slices(store: &SqliteStore, call: &Arc<ArchivedCall>) -> Result<Result<bool, Rejection>> {
    let id = call.row.get("conversation_id").and_then(Value::as_str).and_then(|id| ConversationId::new(id).ok());
    let id = id.context("the call has no conversation_id")?;
    loop {
        let start = Instant::now();
        let restored = store.call(&id)?.and_then(|call| usize::try_from(call.turn_count).ok()).unwrap_or(0);
        match command::execute(store, Timestamp::now(), ContinueRestore(call.clone(), restored))? {
            Ok(Completion::Begun) if store.other_writers() == OtherWriters::Some => {
                std::thread::sleep(start.elapsed().min(MAX_PAUSE));
            }
            Ok(Completion::Begun) => {}
            Ok(Completion::Done(is_new)) => return Ok(Ok(is_new)),
            Err(rejection) => {
                erase_slices(store, Unfinished::Call(&id), store.other_writers())?;
                return Ok(Err(rejection));
            }
        }
    }
}

/// Prints an invalid line, and ends the import unless `--skip-bad` is set.
fn refuse(args: &CallsArgs, counts: &mut Counts, line: u64, reason: &str) -> Result<()> {
    counts.bad += 1;
    eprint_line(format_args!("line {line}: {reason}"));
    if args.skip_bad {
        return Ok(());
    }
    bail!(
        "line {line} is invalid; all lines before it are stored, so the file can be imported again; --skip-bad \
         continues after invalid lines"
    )
}
