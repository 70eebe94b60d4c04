//! Automatic backups: a number of retained ones with a time in their names, and one snapshot with a fixed name.
//!
//! - A backup gets its name only after it is complete, checked and on disk, so an interrupted one does not count. Nor
//!   does one that was damaged later: the last one is checked at the start, and retained ones must open.
//! - Old backups are deleted only after a new one exists.
//! - The next backup is due after the last existing one, so restarts neither delay nor repeat it.
//! - A failure is logged, counted, and soon retried.

use crate::domain::Timestamp;
use crate::jobs::interval_thread::IntervalThread;
use crate::store::{BackupReport, BackupSource, CopyCheck, ProgressFn};
use crate::sys::atomic_file::{PartialFile, PartialFileError};
use crate::sys::files;
use crate::sys::paths::{parent_dir, with_suffix};
use crate::telemetry::metrics::METRICS;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};
use thiserror::Error;

/// Name of the snapshot, which is beside the database.
pub const LATEST: &str = "latest.db";

/// Maximum delay until a failed backup is retried.
const MAX_RETRY_INTERVAL: Duration = Duration::from_mins(10);

/// Returns the name of a backup of `database` that starts at this time.
pub fn name(database: &Path, time: Timestamp) -> String {
    super::file_name::file_name(database, time)
}

/// The configured backups.
#[derive(Debug, Clone, Default)]
pub struct BackupSchedule {
    /// Retained backups.
    pub backups: Option<RotatingBackups>,
    /// Interval between snapshots named [`LATEST`].
    pub snapshot_every: Option<Duration>,
    /// Another folder that may contain unfinished backups.
    pub folder: Option<PathBuf>,
}

/// A reason why backups cannot be made as configured.
#[derive(Debug, Error)]
pub enum ScheduleError {
    /// The folder cannot be created.
    #[error("cannot create the folder {}", .0.display())]
    Folder(PathBuf, #[source] io::Error),
    /// No backup can be created in the folder.
    #[error(transparent)]
    File(PartialFileError),
    /// The database has the name of the snapshot.
    #[error("the database must not be named {LATEST}, the name of the snapshot")]
    Named,
}

impl BackupSchedule {
    /// Creates the backup folder, and checks that backups of `database` can be written. So a mistake shows at the start
    /// instead of at the first backup.
    ///
    /// # Errors
    /// See [`ScheduleError`]. A full disk is none, because it may be freed in time.
    pub fn prepare(&self, database: &Path) -> Result<(), ScheduleError> {
        if let Some(RotatingBackups { folder, .. }) = &self.backups {
            files::create_folder(folder).map_err(|error| ScheduleError::Folder(folder.clone(), error))?;
            match PartialFile::over(&folder.join(name(database, Timestamp::now()))) {
                Err(PartialFileError::Io(_, error)) if error.kind() == io::ErrorKind::StorageFull => {}
                tried => drop(tried.map_err(ScheduleError::File)?),
            }
        }
        if self.snapshot_every.is_some() && latest(database) == database {
            return Err(ScheduleError::Named);
        }
        Ok(())
    }
}

/// Schedule of retained backups.
#[derive(Debug, Clone)]
pub struct RotatingBackups {
    /// Folder of the backups.
    pub folder: PathBuf,
    /// Interval between backups.
    pub every: Duration,
    /// Number of retained backups.
    pub keep: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BackupKind {
    Backup,
    Snapshot,
}

/// A backup thread. Dropping it cancels a backup in progress and ends the thread.
#[derive(Debug)]
pub struct Periodic {
    ending: Arc<AtomicBool>,
    thread: Option<IntervalThread>,
}

impl Periodic {
    /// Starts to make backups, immediately if one is due. Returns `None` if none are configured.
    ///
    /// # Errors
    /// The database is not one file, or no thread could be started.
    pub fn start(plan: &BackupSchedule, copier: BackupSource) -> io::Result<Option<Self>> {
        if plan.backups.is_none() && plan.snapshot_every.is_none() {
            return Ok(None);
        }
        let database = copier.database().ok_or_else(|| io::Error::other("the database is not one file"))?.to_owned();
        let ending = Arc::new(AtomicBool::new(false));
        let maker = BackupWorker { copier, database, backups: plan.backups.clone(), ending: ending.clone() };
        let snapshot_every = plan.snapshot_every;
        let mut tasks = None;
        let thread = IntervalThread::start("backups", Duration::ZERO, move || {
            // In the thread, because it examines the last backup, which may take long.
            let tasks = tasks.get_or_insert_with(|| maker.tasks(snapshot_every));
            maker.make_due(tasks)
        })?;
        Ok(Some(Self { ending, thread: Some(thread) }))
    }
}

impl Drop for Periodic {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.join();
        }
    }
}

struct BackupTask {
    kind: BackupKind,
    every: Duration,
    due: Instant,
}

impl BackupTask {
    fn new(kind: BackupKind, every: Duration, last: Option<Timestamp>) -> Self {
        let wait = last.map_or(Duration::ZERO, |last| {
            let since = Timestamp::now().unix_micros().saturating_sub(last.unix_micros());
            // A backup from the future, after the clock was set back, counts as current.
            every.saturating_sub(Duration::from_micros(u64::try_from(since).unwrap_or(0)))
        });
        Self { kind, every, due: Instant::now() + wait }
    }
}

struct BackupWorker {
    copier: BackupSource,
    database: PathBuf,
    backups: Option<RotatingBackups>,
    ending: Arc<AtomicBool>,
}

impl BackupWorker {
    /// Returns the tasks, each due after the last usable backup of its kind.
    fn tasks(&self, snapshot_every: Option<Duration>) -> Vec<BackupTask> {
        let mut tasks = Vec::new();
        if let Some(every) = snapshot_every {
            let latest = latest(&self.database);
            let made = || fs::metadata(&latest).and_then(|file| file.modified()).ok().and_then(timestamp);
            let last = self.copier.examine(&latest, CopyCheck::Length, self.watch()).ok().and_then(|()| made());
            tasks.push(BackupTask::new(BackupKind::Snapshot, every, last));
        }
        if let Some(backups) = &self.backups {
            let last = self.last_whole(backups);
            last.into_iter().for_each(note_success);
            tasks.push(BackupTask::new(BackupKind::Backup, backups.every, last));
        }
        tasks
    }

    /// Makes the next backup if it is due. Returns the time until the next one is due.
    fn make_due(&self, tasks: &mut [BackupTask]) -> Duration {
        let left = |task: &BackupTask| task.due.saturating_duration_since(Instant::now());
        if let Some(next) = tasks.iter_mut().min_by_key(|task| task.due).filter(|next| left(next).is_zero()) {
            let good = self.make(next.kind);
            next.due = Instant::now() + if good { next.every } else { next.every.min(MAX_RETRY_INTERVAL) };
        }
        tasks.iter().map(left).min().expect("no thread is started without a task")
    }

    /// Returns the time of the last usable backup. Unusable ones are logged.
    fn last_whole(&self, backups: &RotatingBackups) -> Option<Timestamp> {
        let made = super::file_name::list(&backups.folder, &self.database).unwrap_or_default();
        made.into_iter().rev().find(|(_, file)| self.can_be_used(file, CopyCheck::Content)).map(|(time, _)| time)
    }

    fn can_be_used(&self, file: &Path, depth: CopyCheck) -> bool {
        let examined = self.copier.examine(file, depth, self.watch());
        if let Err(error) = &examined
            && !self.ending.load(Ordering::Acquire)
        {
            tracing::warn!(file = %file.display(), %error, "unusable backup ignored");
        }
        examined.is_ok()
    }

    /// Returns a callback that cancels a backup when the service stops.
    fn watch(&self) -> ProgressFn {
        let ending = self.ending.clone();
        Box::new(
            move |_| if ending.load(Ordering::Acquire) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) },
        )
    }

    /// Makes a backup, and returns whether it succeeded.
    fn make(&self, kind: BackupKind) -> bool {
        let (began, now) = (Instant::now(), Timestamp::now());
        let made = match (kind, &self.backups) {
            (BackupKind::Backup, Some(backups)) => self.back_up(backups, now),
            _ => self.publish_latest(),
        };
        match made {
            Ok((file, report)) => {
                if kind == BackupKind::Backup {
                    note_success(now);
                }
                let BackupReport { calls, turns, bytes } = report;
                let milliseconds = began.elapsed().as_millis();
                tracing::info!(file = %file.display(), calls, turns, bytes, milliseconds, "database backed up");
                true
            }
            Err(_) if self.ending.load(Ordering::Acquire) => false,
            Err(error) => {
                if kind == BackupKind::Backup {
                    METRICS.backup_failures_total.inc();
                }
                let kind_name = if kind == BackupKind::Backup { "backup" } else { LATEST };
                let folder =
                    self.backups.as_ref().filter(|_| kind == BackupKind::Backup).map(|backups| &*backups.folder);
                let folder = folder.or_else(|| self.database.parent()).unwrap_or(Path::new("")).display();
                tracing::error!(kind = kind_name, %folder, %error, "backup failed; retrying");
                false
            }
        }
    }

    fn back_up(&self, backups: &RotatingBackups, now: Timestamp) -> io::Result<(PathBuf, BackupReport)> {
        let target = backups.folder.join(super::file_name::file_name(&self.database, now));
        let partial = PartialFile::new(&target).map_err(io::Error::other)?;
        let report = self.copy(&partial)?;
        partial.publish().map_err(io::Error::other)?;
        let mut whole = 0;
        for (_, file) in super::file_name::list(&backups.folder, &self.database)?.into_iter().rev() {
            if whole >= backups.keep {
                fs::remove_file(&file)?;
            } else {
                whole += usize::from(self.can_be_used(&file, CopyCheck::Length));
            }
        }
        Ok((target, report))
    }

    fn publish_latest(&self) -> io::Result<(PathBuf, BackupReport)> {
        let target = latest(&self.database);
        let partial = PartialFile::over(&target).map_err(io::Error::other)?;
        let report = self.copy(&partial)?;
        // SQLite would apply a WAL or journal of this name to the new file.
        for ending in ["-wal", "-journal"] {
            let log = with_suffix(&target, ending);
            if fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
                let log = log.display();
                return Err(io::Error::other(format!("another process writes to {LATEST}: found {log}")));
            }
        }
        partial.replace().map_err(io::Error::other)?;
        Ok((target, report))
    }

    fn copy(&self, partial: &PartialFile) -> io::Result<BackupReport> {
        self.copier.copy(partial, self.watch()).map_err(io::Error::other)
    }
}

/// Deletes unfinished backups of a killed service, in the database's folder and in the configured folders, even if
/// backups are disabled now.
pub fn remove_leftovers(database: &Path, plan: &BackupSchedule) {
    PartialFile::remove_leftover(database);
    PartialFile::remove_leftover(&latest(database));
    for folder in [Some(parent_dir(database)), plan.folder.as_deref()].into_iter().flatten() {
        if let Err(error) = super::file_name::remove_leftovers(folder, database)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %folder.display(), %error, "cannot delete unfinished backups");
        }
    }
}

fn note_success(time: Timestamp) {
    // Exact until 2255: microseconds since 1970 fit 53 bits.
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
