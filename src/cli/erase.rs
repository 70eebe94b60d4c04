//! The `erase` command: permanently erases a call, or everything about a driver. Works while the service runs.

use super::DatabaseArgs;
use super::print_line;
use crate::model::{ConversationId, DriverId, Timestamp};
use crate::recording::Recordings;
use crate::retention::{EraseError, Erased, Eraser};
use crate::store::sqlite::{Options, SqliteStore};
use crate::store::{self, Outcome, Store, Unfinished, Write, Written};
use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Debug, Args)]
pub(super) struct EraseArgs {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Erase recordings in this folder, as given to the service
    ///
    /// Without it recordings are not erased.
    #[arg(long, env = "TRANSCRIBE_HOOK_AUDIO_DIR", value_name = "FOLDER")]
    audio_dir: Option<PathBuf>,
    #[command(flatten)]
    confirmation: Confirmation,
    /// Print the result as JSON
    #[arg(long, env = "TRANSCRIBE_HOOK_JSON")]
    json: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Erase this call, with everything about it
    #[arg(long, env = "TRANSCRIBE_HOOK_CONVERSATION", value_name = "ID", value_parser = conversation)]
    conversation: Option<ConversationId>,
    /// Erase this driver, with all calls and dispatches
    #[arg(long, env = "TRANSCRIBE_HOOK_DRIVER", value_name = "NUMBER", value_parser = driver)]
    driver: Option<DriverId>,
}

fn conversation(text: &str) -> Result<ConversationId, String> {
    ConversationId::new(text).map_err(|rule| rule.to_string())
}

fn driver(text: &str) -> Result<DriverId, String> {
    DriverId::new(text.parse().unwrap_or(0)).map_err(|rule| rule.to_string())
}

/// Requires exactly one of `--yes` and `--dry-run`.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Confirmation {
    /// Erase without asking; this cannot be undone
    #[arg(long, env = "TRANSCRIBE_HOOK_YES")]
    pub(super) yes: bool,
    /// Print what would be erased, and change nothing
    #[arg(long, env = "TRANSCRIBE_HOOK_DRY_RUN")]
    pub(super) dry_run: bool,
}

impl Confirmation {
    pub(super) fn verb(&self) -> &'static str {
        if self.dry_run { "would erase" } else { "erased" }
    }
}

/// Maximum wait for readers that block the purge of erased bytes from the WAL.
const PURGE_TIMEOUT: Duration = Duration::from_secs(10);

/// An open database to erase from, and its recordings.
pub(super) struct Work {
    store: Arc<dyn Store>,
    recordings: Option<Recordings>,
    shared: bool,
}

impl Work {
    pub(super) fn open(database: &DatabaseArgs, audio_dir: Option<&Path>) -> Result<Self> {
        let path = database.database.clone();
        anyhow::ensure!(path.exists(), "there is no database {}", path.display());
        let options = Options { path, busy_timeout: Duration::from_secs(10), readers: 1 };
        let store = SqliteStore::open_beside_service(&options)?;
        let shared = store.is_shared();
        let recordings = audio_dir.map(|folder| {
            Recordings::beside_service(folder)
                .with_context(|| format!("cannot use the recordings in {}", folder.display()))
        });
        Ok(Self { store: Arc::new(store), recordings: recordings.transpose()?, shared })
    }

    pub(super) fn eraser(&self) -> Eraser<impl Fn(Write) -> Result<Outcome, EraseError>> {
        let (store, shared) = (self.store.clone(), self.shared);
        let write = move |write: Write| {
            let outcome = store.apply(Timestamp::now(), std::slice::from_ref(&write))?.remove(0);
            if let (Ok(Written::Begun), Write::EraseCall(id) | Write::PruneCall(id, _)) = (&outcome, &write) {
                erase_slices(&*store, Unfinished::Call(id), shared)?;
            }
            Ok(outcome)
        };
        Eraser::new(&self.store, self.recordings.clone(), write, self.shared)
    }

    /// Shows the number of erased calls on a terminal while `work` runs.
    pub(super) fn with_progress<T>(work: impl FnOnce(&mut dyn FnMut(u64)) -> T) -> T {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} calls erased") {
            bar.set_style(style);
        }
        let result = work(&mut |calls| bar.set_position(calls));
        bar.finish_and_clear();
        result
    }

    /// Purges erased bytes from the WAL, even if some of the erasure failed, and returns the result of the erasure.
    pub(super) fn ended(&self, erased: Result<Erased, EraseError>, confirmation: &Confirmation) -> Result<Erased> {
        if !confirmation.dry_run {
            let end = Instant::now() + PURGE_TIMEOUT;
            while !self.store.forget(Duration::from_millis(25))? {
                if Instant::now() > end {
                    bail!(
                        "erased, but its bytes are still in the WAL because another process holds a read transaction \
                         open; the service purges them once that ends"
                    );
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        erased.map_err(|error| anyhow!(error).context("calls erased before the error remain erased"))
    }
}

/// Runs an erasure, and returns its counts unless it failed.
fn counted(erase: impl FnOnce(&mut Erased) -> Result<(), EraseError>) -> Result<Erased, EraseError> {
    let mut erased = Erased::default();
    erase(&mut erased).map(|()| erased)
}

/// Pause after each slice while a service also writes, as a multiple of the slice's duration.
const PAUSE_FACTOR: u32 = 4;

/// Maximum pause after a slice.
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// Erases the remaining rows of unfinished calls in slices, with pauses if a service also writes.
pub(super) fn erase_slices(store: &dyn Store, which: Unfinished<'_>, shared: bool) -> Result<(), store::Error> {
    loop {
        let start = Instant::now();
        // The service may have erased the last slice.
        if store.go_on_erasing(which)?.is_none() {
            return Ok(());
        }
        if shared {
            std::thread::sleep((start.elapsed() * PAUSE_FACTOR).min(MAX_PAUSE));
        }
    }
}

pub(super) fn run(args: &EraseArgs) -> Result<()> {
    let work = Work::open(&args.database, args.audio_dir.as_deref())?;
    let dry_run = args.confirmation.dry_run;
    let erased = match (&args.what.conversation, args.what.driver) {
        (Some(id), _) if dry_run => work.eraser().of_call(id),
        (None, Some(id)) if dry_run => work.eraser().of_driver(id),
        (Some(id), _) => counted(|erased| work.eraser().call(id, erased)),
        (None, Some(id)) => Work::with_progress(|done| counted(|erased| work.eraser().driver(id, erased, done))),
        (None, None) => unreachable!("one of them is required"),
    };
    let erased = work.ended(erased, &args.confirmation)?;
    if erased == Erased::default() {
        bail!("nothing to erase");
    }
    let Erased { drivers, calls, events, dispatches, unproven, .. } = erased;
    if args.json {
        let mut report = serde_json::json!({
            "drivers": drivers, "calls": calls, "events": events, "dispatches": dispatches, "dry_run": dry_run
        });
        if unproven > 0 {
            report["unproven"] = unproven.into();
        }
        print_line(format_args!("{report}"))?;
    } else {
        let counts = format!(
            "{drivers} drivers, {calls} calls, {events} unreadable events and {dispatches} dispatches of no call"
        );
        print_line(format_args!("{} {counts}", args.confirmation.verb()))?;
        if unproven > 0 {
            print_line(format_args!("{unproven} calls were not erased: only an unsigned history names this driver"))?;
        }
    }
    Ok(())
}
