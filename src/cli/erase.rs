//! `erase`: takes a call, or all of a driver, out of the file for good, also while the service runs.

use super::DatabaseArgs;
use super::print_line;
use crate::model::{ConversationId, DriverId, Timestamp};
use crate::recording::Recordings;
use crate::retention::{EraseError, Erased, Eraser};
use crate::store::sqlite::{Options, SqliteStore};
use crate::store::{self, ErrorKind, Forgotten, Outcome, Store, Unfinished, Write, Written};
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
    /// The folder of recordings, as the service has it; without this they stay
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
    /// The call of this conversation, with all that is kept about it
    #[arg(long, env = "TRANSCRIBE_HOOK_CONVERSATION", value_name = "ID", value_parser = conversation)]
    conversation: Option<ConversationId>,
    /// The driver of this number, with all calls and dispatches of that driver
    #[arg(long, env = "TRANSCRIBE_HOOK_DRIVER", value_name = "NUMBER", value_parser = driver)]
    driver: Option<DriverId>,
}

fn conversation(text: &str) -> Result<ConversationId, String> {
    ConversationId::new(text).map_err(|rule| rule.to_string())
}

fn driver(text: &str) -> Result<DriverId, String> {
    DriverId::new(text.parse().unwrap_or(0)).map_err(|rule| rule.to_string())
}

/// That it is meant.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Confirmation {
    /// Do it: what is erased does not come back
    #[arg(long, env = "TRANSCRIBE_HOOK_YES")]
    pub(super) yes: bool,
    /// Only say what would be erased
    #[arg(long, env = "TRANSCRIBE_HOOK_DRY_RUN")]
    pub(super) dry_run: bool,
}

impl Confirmation {
    pub(super) fn verb(&self) -> &'static str {
        if self.dry_run { "would erase" } else { "erased" }
    }
}

/// How long readers that are in the way of forgetting are waited for.
const FORGET: Duration = Duration::from_secs(10);

/// A database in which things are to be erased, and its recordings.
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

    /// Shows on a terminal how many calls are done.
    pub(super) fn with_progress<T>(work: impl FnOnce(&mut dyn FnMut(u64)) -> T) -> T {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} calls erased") {
            bar.set_style(style);
        }
        let result = work(&mut |calls| bar.set_position(calls));
        bar.finish_and_clear();
        result
    }

    fn forget(&self) -> Result<()> {
        let mut end = Instant::now() + FORGET;
        loop {
            match self.store.forget(Duration::from_millis(25)) {
                Ok(Forgotten::All) => return Ok(()),
                // A service that writes too rewrites the index, as it has time.
                Ok(Forgotten::ButIndex) if self.shared && Instant::now() > end => {
                    super::eprint_line("the service is still taking erased words out of the search index");
                    return Ok(());
                }
                Ok(Forgotten::ButIndex) if self.shared => {}
                Ok(Forgotten::ButIndex) => {
                    while self.store.catch_up()?.erased_words {}
                    end = Instant::now() + FORGET;
                    continue;
                }
                Ok(Forgotten::Held) => {}
                // The service has the index's lock.
                Err(error) if self.shared && error.kind() == ErrorKind::Busy => {}
                Err(error) => return Err(error.into()),
            }
            if Instant::now() > end {
                bail!(
                    "it is erased, but still stands in the log's bytes, since a program keeps reading an older state of \
                     the file; the service takes it out when that ends and something is written"
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Takes what was erased out of the files' bytes, also when not everything could be erased.
    pub(super) fn ended(&self, erased: Result<Erased, EraseError>, confirmation: &Confirmation) -> Result<Erased> {
        if !confirmation.dry_run {
            self.forget()?;
        }
        erased.map_err(|error| anyhow!(error).context("what was erased until here stays erased"))
    }
}

/// Returns what was erased, unless that failed.
fn counted(erase: impl FnOnce(&mut Erased) -> Result<(), EraseError>) -> Result<Erased, EraseError> {
    let mut erased = Erased::default();
    erase(&mut erased).map(|()| erased)
}

/// How much longer than a slice the pause after it is while a service writes too, and at most.
const PAUSE: (u32, Duration) = (4, Duration::from_millis(500));

/// Erases what is left of unfinished calls, with pauses if a service writes too.
pub(super) fn erase_slices(store: &dyn Store, which: Unfinished<'_>, shared: bool) -> Result<(), store::Error> {
    loop {
        let start = Instant::now();
        // The service may have erased the last slice.
        if store.go_on_erasing(which)?.is_none() {
            return Ok(());
        }
        if shared {
            std::thread::sleep((start.elapsed() * PAUSE.0).min(PAUSE.1));
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
        bail!("there is nothing to erase");
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
            print_line(format_args!(
                "{unproven} calls stay: only an unsigned history says that they were with this driver"
            ))?;
        }
    }
    Ok(())
}
