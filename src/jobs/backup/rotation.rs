//! Copies that the service makes of its database by itself: backups under names of their own, of which the last ones are
//! kept, and one under the same name that always shows a late state.
//!
//! - A backup is whole, checked and on disk before it has its name; one that is cut off has none, and does not count. Nor does
//!   one that was damaged later: the last one is checked at the start, and those that are kept must open.
//! - Old backups go only after a new one is there.
//! - When one is due follows from those that are there, so that restarts neither put it off nor repeat it.
//! - A failure is logged, counted, and tried again soon.

use crate::domain::Timestamp;
use crate::store::{BackupReport, BackupWatch, Copier};
use crate::sys::atomic_file::{Aside, AsideError};
use crate::sys::files;
use crate::telemetry::metrics::METRICS;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// The name of the copy that shows a late state, beside the database.
pub const LATEST: &str = "latest.db";

/// How soon what failed is tried again at the latest.
const RETRY: Duration = Duration::from_mins(10);

/// The name of a backup of `database` that is begun at this time.
pub fn name(database: &Path, time: Timestamp) -> String {
    super::file_name::of(database, time)
}

/// Which copies to make.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Backups.
    pub backups: Option<Backups>,
    /// How often [`LATEST`] is made anew.
    pub snapshot_every: Option<Duration>,
    /// Where unfinished backups may stand besides.
    pub folder: Option<PathBuf>,
}

/// Backups under names of their own.
#[derive(Debug, Clone)]
pub struct Backups {
    /// Where they are kept.
    pub folder: PathBuf,
    /// How often one is made.
    pub every: Duration,
    /// How many are kept.
    pub keep: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Backup,
    Snapshot,
}

/// The thread that makes the copies. Dropped, it ends, and what it is making is given up.
#[derive(Debug)]
pub struct Periodic {
    end: Option<Sender<()>>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Periodic {
    /// Begins to make copies, at once if one is due; `None` if none are planned.
    ///
    /// # Errors
    /// The folder for backups cannot be made or written, the database has the name [`LATEST`], or there is no thread.
    pub fn start(plan: &Plan, copier: Copier) -> io::Result<Option<Self>> {
        if plan.backups.is_none() && plan.snapshot_every.is_none() {
            return Ok(None);
        }
        let database = copier.database().ok_or_else(|| io::Error::other("the database is not one file"))?.to_owned();
        if let Some(backups) = &plan.backups {
            files::create_folder(&backups.folder)?;
            // Now rather than when the first one is due. A full disk may have room by then.
            match Aside::over(&backups.folder.join(super::file_name::of(&database, Timestamp::now()))) {
                Err(AsideError::Io(_, error)) if error.kind() == io::ErrorKind::StorageFull => {}
                tried => drop(tried.map_err(io::Error::other)?),
            }
        }
        if plan.snapshot_every.is_some() && latest(&database) == database {
            return Err(io::Error::other(format!("{LATEST} is the name of the copy, and not free for the database")));
        }
        let (end, ended) = channel();
        let ending = Arc::new(AtomicBool::new(false));
        let maker = Maker { copier, database, backups: plan.backups.clone(), ending: ending.clone() };
        let snapshot_every = plan.snapshot_every;
        let thread = std::thread::Builder::new().name("backups".to_owned()).spawn(move || {
            let mut tasks = maker.tasks(snapshot_every);
            while let Some(next) = tasks.iter_mut().min_by_key(|task| task.due) {
                let wait = next.due.saturating_duration_since(Instant::now());
                if ended.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                let good = maker.make(next.kind);
                next.due = Instant::now() + if good { next.every } else { next.every.min(RETRY) };
            }
        })?;
        Ok(Some(Self { end: Some(end), ending, thread: Some(thread) }))
    }
}

impl Drop for Periodic {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A panic was reported when it happened.
            let _ = thread.join();
        }
    }
}

struct Task {
    kind: Kind,
    every: Duration,
    due: Instant,
}

impl Task {
    fn new(kind: Kind, every: Duration, last: Option<Timestamp>) -> Self {
        let wait = last.map_or(Duration::ZERO, |last| {
            let since = Timestamp::now().unix_micros().saturating_sub(last.unix_micros());
            // One from the future, by a clock that was set back, is as good as one from now.
            every.saturating_sub(Duration::from_micros(u64::try_from(since).unwrap_or(0)))
        });
        Self { kind, every, due: Instant::now() + wait }
    }
}

struct Maker {
    copier: Copier,
    database: PathBuf,
    backups: Option<Backups>,
    ending: Arc<AtomicBool>,
}

impl Maker {
    /// What is to be made, each when it is due after the last one that can be used.
    fn tasks(&self, snapshot_every: Option<Duration>) -> Vec<Task> {
        let mut tasks = Vec::new();
        if let Some(every) = snapshot_every {
            let latest = latest(&self.database);
            let made = || fs::metadata(&latest).and_then(|file| file.modified()).ok().and_then(timestamp);
            let last = self.copier.examine(&latest, false, self.watch()).ok().and_then(|()| made());
            tasks.push(Task::new(Kind::Snapshot, every, last));
        }
        if let Some(backups) = &self.backups {
            let last = self.last_whole(backups);
            last.into_iter().for_each(note_success);
            tasks.push(Task::new(Kind::Backup, backups.every, last));
        }
        tasks
    }

    /// When the last backup was made that can be used. Others are told of.
    fn last_whole(&self, backups: &Backups) -> Option<Timestamp> {
        let made = super::file_name::list(&backups.folder, &self.database).unwrap_or_default();
        made.into_iter().rev().find(|(_, file)| self.can_be_used(file, true)).map(|(time, _)| time)
    }

    fn can_be_used(&self, file: &Path, thorough: bool) -> bool {
        let examined = self.copier.examine(file, thorough, self.watch());
        if let Err(error) = &examined
            && !self.ending.load(Ordering::Acquire)
        {
            tracing::warn!(file = %file.display(), %error, "a backup cannot be used, and does not count");
        }
        examined.is_ok()
    }

    /// Ends the work when the service stops.
    fn watch(&self) -> BackupWatch {
        let ending = self.ending.clone();
        Box::new(
            move |_| if ending.load(Ordering::Acquire) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) },
        )
    }

    /// Says whether it went well.
    fn make(&self, kind: Kind) -> bool {
        let (began, now) = (Instant::now(), Timestamp::now());
        let made = match (kind, &self.backups) {
            (Kind::Backup, Some(backups)) => self.back_up(backups, now),
            _ => self.publish_latest(),
        };
        match made {
            Ok((file, report)) => {
                if kind == Kind::Backup {
                    note_success(now);
                }
                let BackupReport { calls, turns, bytes } = report;
                let milliseconds = began.elapsed().as_millis();
                tracing::info!(file = %file.display(), calls, turns, bytes, milliseconds, "copied the database");
                true
            }
            Err(_) if self.ending.load(Ordering::Acquire) => false,
            Err(error) => {
                if kind == Kind::Backup {
                    METRICS.backup_failures_total.inc();
                }
                let what = if kind == Kind::Backup { "the backup" } else { LATEST };
                let folder = self.backups.as_ref().filter(|_| kind == Kind::Backup).map(|backups| &*backups.folder);
                let folder = folder.or_else(|| self.database.parent()).unwrap_or(Path::new("")).display();
                tracing::error!(%folder, %error, "{what} could not be made; it will be tried again");
                false
            }
        }
    }

    fn back_up(&self, backups: &Backups, now: Timestamp) -> io::Result<(PathBuf, BackupReport)> {
        let target = backups.folder.join(super::file_name::of(&self.database, now));
        let aside = Aside::new(&target).map_err(io::Error::other)?;
        let report = self.copy(&aside)?;
        aside.publish().map_err(io::Error::other)?;
        let mut whole = 0;
        for (_, file) in super::file_name::list(&backups.folder, &self.database)?.into_iter().rev() {
            if whole >= backups.keep {
                fs::remove_file(&file)?;
            } else {
                whole += usize::from(self.can_be_used(&file, false));
            }
        }
        Ok((target, report))
    }

    fn publish_latest(&self) -> io::Result<(PathBuf, BackupReport)> {
        let target = latest(&self.database);
        let aside = Aside::over(&target).map_err(io::Error::other)?;
        let report = self.copy(&aside)?;
        // SQLite would take them for the new file's own, and write what is in them into it.
        for ending in ["-wal", "-journal"] {
            let mut log = target.as_os_str().to_owned();
            log.push(ending);
            if fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
                let log = Path::new(&log).display();
                return Err(io::Error::other(format!("somebody writes to {LATEST}: {log} belongs to it")));
            }
        }
        aside.replace().map_err(io::Error::other)?;
        Ok((target, report))
    }

    fn copy(&self, aside: &Aside) -> io::Result<BackupReport> {
        self.copier.copy(aside, self.watch()).map_err(io::Error::other)
    }
}

/// Takes away the unfinished copies that a killed service left, whatever it was told to make: beside the database, and where
/// backups are kept.
pub fn remove_leftovers(database: &Path, plan: &Plan) {
    Aside::remove_leftover(database);
    Aside::remove_leftover(&latest(database));
    for folder in [Some(files::folder_of(database)), plan.folder.as_deref()].into_iter().flatten() {
        if let Err(error) = super::file_name::remove_leftovers(folder, database)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %folder.display(), %error, "unfinished copies may be left");
        }
    }
}

fn note_success(time: Timestamp) {
    // Exact: seconds and microseconds of any time to come fit the 53 bits.
    #[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 stay below 2^53 until the year 2255")]
    METRICS.backup_last_success_timestamp_seconds.set(time.unix_micros() as f64 / 1e6);
}

fn latest(database: &Path) -> PathBuf {
    database.with_file_name(LATEST)
}

fn timestamp(time: SystemTime) -> Option<Timestamp> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Timestamp::from_unix_micros(i64::try_from(since.as_micros()).ok()?)
}
