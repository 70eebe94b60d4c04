//! Backups and checks of a database.

use super::{Error, ErrorKind, Result};
use crate::sys::atomic_file::PartialFile;
use parking_lot::Mutex;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Summary of a finished copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupReport {
    /// Number of calls in the copy.
    pub calls: u64,
    /// Number of turns in the copy.
    pub turns: u64,
    /// Size of the copy, in bytes.
    pub bytes: u64,
}

/// Progress of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupStep {
    /// Bytes were copied.
    Copied {
        /// Bytes copied so far.
        done: u64,
        /// Bytes to copy in total.
        of: u64,
    },
    /// All is copied and is being verified.
    Checking,
}

/// A progress callback. It stops the work by returning `Break`.
pub type ProgressFn = Box<dyn FnMut(BackupStep) -> ControlFlow<()> + Send>;

/// A source of database backups that makes one copy at a time, because each running copy prevents the WAL from being
/// reset. It holds nothing of the database open, so it may outlive the store.
#[derive(Clone)]
pub struct BackupSource {
    /// Path of the database, the function that copies it, and the function that verifies a copy.
    of: Option<(PathBuf, BackupCopy, Examine)>,
    one_at_a_time: Arc<Mutex<()>>,
}

/// A function that copies a database file into a partial file.
type BackupCopy = Arc<dyn Fn(&Path, &PartialFile, ProgressFn) -> Result<BackupReport> + Send + Sync>;

/// Depth of the check of a finished copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyCheck {
    /// It must open and have its full length.
    Length,
    /// In addition, all of it must be intact.
    Content,
}

/// A function that verifies a finished copy.
type Examine = fn(&Path, CopyCheck, ProgressFn) -> Result<()>;

impl BackupSource {
    pub(super) fn new(
        database: &Path,
        examine: Examine,
        copy: impl Fn(&Path, &PartialFile, ProgressFn) -> Result<BackupReport> + Send + Sync + 'static,
    ) -> Self {
        Self { of: Some((database.to_owned(), Arc::new(copy), examine)), one_at_a_time: Arc::default() }
    }

    /// Creates the copier of a store that is not one file.
    pub(super) fn none() -> Self {
        Self { of: None, one_at_a_time: Arc::default() }
    }

    /// Returns the path of the database.
    pub fn database(&self) -> Option<&Path> {
        self.of.as_ref().map(|(path, ..)| path.as_path())
    }

    /// Copies the current state of the database and verifies the copy. Writers do not wait for it. Waits for a copy
    /// that is already running.
    ///
    /// # Errors
    /// The content of the file is not a usable copy then.
    pub fn copy(&self, to: &PartialFile, watch: ProgressFn) -> Result<BackupReport> {
        let _turn = self.one_at_a_time.lock();
        self.do_copy(to, watch)
    }

    /// Copies the database as [`BackupSource::copy`] does, but does not wait for another copy.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while another copy is running.
    pub fn try_copy(&self, to: &PartialFile, watch: ProgressFn) -> Result<BackupReport> {
        let Some(_turn) = self.one_at_a_time.try_lock() else {
            return Err(Error::new(ErrorKind::Busy, "copying", "another copy is running"));
        };
        self.do_copy(to, watch)
    }

    /// Checks that a finished copy is usable.
    ///
    /// # Errors
    /// The copy is unusable, or `watch` stopped the work.
    pub fn examine(&self, copy: &Path, depth: CopyCheck, watch: ProgressFn) -> Result<()> {
        match &self.of {
            Some((.., examine)) => examine(copy, depth, watch),
            None => Err(Error::new(ErrorKind::Other, "verifying a copy", "the database is not one file")),
        }
    }

    fn do_copy(&self, to: &PartialFile, watch: ProgressFn) -> Result<BackupReport> {
        match &self.of {
            Some((database, copy, _)) => copy(database, to, watch),
            None => Err(Error::new(ErrorKind::Other, "copying", "the database is not one file")),
        }
    }
}

/// Events that could not be parsed, completely or in part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnreadEvents {
    /// Number of events that could not be parsed at all, counted up to [`UnreadEvents::MAX_LISTED`].
    pub unreadable: u64,
    /// Ids of the first hundred of them.
    pub ids: Vec<i64>,
    /// Number of events that were parsed in part, counted up to [`UnreadEvents::MAX_LISTED`].
    pub remarked: u64,
    /// Number of events that an older version parsed, and that are parsed again in the background.
    pub rereading: u64,
}

impl UnreadEvents {
    /// Maximum count. Counting this many rows takes some milliseconds.
    pub const MAX_LISTED: u32 = 1000;
}

/// Result of a database check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// Number of calls, if they could be counted.
    pub calls: Option<u64>,
    /// Number of turns, if they could be counted.
    pub turns: Option<u64>,
    /// The problems, at most some hundred of each kind.
    pub problems: Vec<IntegrityIssue>,
    /// Events that could not be parsed completely. They are no damage, but the operator should know.
    pub unread: UnreadEvents,
}

/// A problem that a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntegrityIssue {
    /// Name of the check.
    pub check: &'static str,
    /// Description for the operator.
    pub what: String,
}

/// Disk space, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatabaseSizes {
    /// Size of the database.
    pub database: u64,
    /// Size of its WAL.
    pub wal: u64,
    /// Space that this process can still use on the database's file system.
    pub free: u64,
}
