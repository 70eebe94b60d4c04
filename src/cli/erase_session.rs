//! A database that items are erased from, and its purge.

use super::args::database::DatabaseArgs;
use super::output::eprint_line;
use crate::ingest::direct_erasure::SliceEraser;
use crate::jobs::retention::{EraseCounts, EraseError, Eraser};
use crate::recordings::Recordings;
use crate::store::{ErrorKind, Forgotten, OtherWriters, Store};
use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
pub(super) struct EraseSession {
    store: Arc<dyn Store>,
    recordings: Option<Recordings>,
    others: OtherWriters,
}

impl EraseSession {
    pub(super) fn open(database: &DatabaseArgs, audio_dir: Option<&Path>) -> Result<Self> {
        let store = database.open()?;
        let others = store.other_writers();
        let recordings = audio_dir.map(|folder| {
            Recordings::open_shared(folder)
                .with_context(|| format!("cannot use the recordings in {}", folder.display()))
        });
        Ok(Self { store: Arc::new(store), recordings: recordings.transpose()?, others })
    }

    pub(super) fn eraser(&self) -> Eraser {
        let executor = SliceEraser::new(self.store.clone(), self.others);
        Eraser::new(&self.store, self.recordings.clone(), Box::new(executor), self.others)
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

    fn purge(&self) -> Result<()> {
        let mut end = Instant::now() + PURGE_TIMEOUT;
        loop {
            match self.store.purge(Duration::from_millis(25)) {
                Ok(Forgotten::All) => return Ok(()),
                // The service rewrites the index in the background.
                Ok(Forgotten::ButIndex) if self.others == OtherWriters::Some && Instant::now() > end => {
                    eprint_line("the service is still purging erased words from the search index");
                    return Ok(());
                }
                Ok(Forgotten::ButIndex) if self.others == OtherWriters::Some => {}
                Ok(Forgotten::ButIndex) => {
                    while self.store.catch_up()?.erased_words {}
                    end = Instant::now() + PURGE_TIMEOUT;
                    continue;
                }
                Ok(Forgotten::Held) => {}
                // The service writes to the search index at the moment.
                Err(error) if error.kind() == ErrorKind::Busy => {}
                Err(error) => return Err(error.into()),
            }
            if Instant::now() > end {
                bail!(
                    "erased bytes are still in the WAL because another process holds a read transaction open; the \
                     service purges them once that ends"
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Purges erased bytes from the files, even if some of the erasure failed, and returns the result of the erasure.
    pub(super) fn finish(
        &self,
        erased: Result<EraseCounts, EraseError>,
        confirmation: &Confirmation,
    ) -> Result<EraseCounts> {
        if confirmation.dry_run {
            return erased.map_err(Into::into);
        }
        match (erased, self.purge()) {
            (Ok(erased), purged) => purged.map(|()| erased),
            (Err(error), purged) => {
                let left = purged.err().map(|why| format!("; {why:#}")).unwrap_or_default();
                Err(anyhow!(error).context(format!("calls erased before the error remain erased{left}")))
            }
        }
    }
}

/// Runs an erasure, and returns its counts unless it failed.
pub(super) fn counted(
    erase: impl FnOnce(&mut EraseCounts) -> Result<(), EraseError>,
) -> Result<EraseCounts, EraseError> {
    let mut erased = EraseCounts::default();
    erase(&mut erased).map(|()| erased)
}
