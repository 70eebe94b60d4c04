//! What is said of copying and checking a database.

use super::{Error, ErrorKind, Result};
use crate::sys::atomic_file::Aside;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupReport {
    /// Calls in the copy.
    pub calls: u64,
    /// Turns in the copy.
    pub turns: u64,
    /// The copy's size, in bytes.
    pub bytes: u64,
}

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupStep {
    /// So many bytes of so many are copied.
    Copied {
        /// Copied so far.
        done: u64,
        /// In all.
        of: u64,
    },
    /// All is copied, and is being checked.
    Checking,
}

/// Is told of each step, and ends the work by `Break`.
pub type BackupWatch = Box<dyn FnMut(BackupStep) -> ControlFlow<()> + Send>;

/// Copies a database, one copy at a time: each that is being made keeps the log from being emptied. Holds nothing of the
/// database open, so that it may outlive the store.
#[derive(Clone)]
pub struct Copier {
    /// The file, how it is copied, and how a copy is looked at.
    of: Option<(PathBuf, Copy, Examine)>,
    one_at_a_time: Arc<Mutex<()>>,
}

/// How a database file is copied to a file that is being made.
type Copy = Arc<dyn Fn(&Path, &Aside, BackupWatch) -> Result<BackupReport> + Send + Sync>;

/// How a finished copy is looked at, thoroughly if asked.
type Examine = fn(&Path, bool, BackupWatch) -> Result<()>;

impl Copier {
    pub(super) fn new(
        database: &Path,
        examine: Examine,
        copy: impl Fn(&Path, &Aside, BackupWatch) -> Result<BackupReport> + Send + Sync + 'static,
    ) -> Self {
        Self { of: Some((database.to_owned(), Arc::new(copy), examine)), one_at_a_time: Arc::default() }
    }

    /// Of a store that is not one file.
    pub(super) fn none() -> Self {
        Self { of: None, one_at_a_time: Arc::default() }
    }

    /// The database's file.
    pub fn database(&self) -> Option<&Path> {
        self.of.as_ref().map(|(path, ..)| path.as_path())
    }

    /// Copies the database, as it is at this moment, and checks the copy. Nobody who writes to it waits for that. Waits
    /// for a copy that is being made already.
    ///
    /// # Errors
    /// What is in the file is then no copy.
    pub fn copy(&self, to: &Aside, watch: BackupWatch) -> Result<BackupReport> {
        let _turn = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        self.do_copy(to, watch)
    }

    /// The same, but does not wait.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while a copy is being made already.
    pub fn try_copy(&self, to: &Aside, watch: BackupWatch) -> Result<BackupReport> {
        let _turn = match self.one_at_a_time.try_lock() {
            Ok(turn) => turn,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(ErrorKind::Busy, "copying", "another copy is being made"));
            }
        };
        self.do_copy(to, watch)
    }

    /// Makes sure that a finished copy can be used: that it opens and has its whole length, and if asked, that all of it is
    /// right.
    ///
    /// # Errors
    /// It cannot be used, or `watch` ended the work.
    pub fn examine(&self, copy: &Path, thorough: bool, watch: BackupWatch) -> Result<()> {
        match &self.of {
            Some((.., examine)) => examine(copy, thorough, watch),
            None => Err(Error::new(ErrorKind::Other, "looking at a copy", "the database is not one file")),
        }
    }

    fn do_copy(&self, to: &Aside, watch: BackupWatch) -> Result<BackupReport> {
        match &self.of {
            Some((database, copy, _)) => copy(database, to, watch),
            None => Err(Error::new(ErrorKind::Other, "copying", "the database is not one file")),
        }
    }
}

/// Events that could not be read, as a whole or in part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnreadEvents {
    /// How many cannot be read at all, counted up to [`UnreadEvents::MOST`].
    pub unreadable: u64,
    /// The numbers of the first hundred of them.
    pub ids: Vec<i64>,
    /// How many were read, but not all of them, counted up to [`UnreadEvents::MOST`].
    pub remarked: u64,
}

impl UnreadEvents {
    /// Up to how many are counted: some milliseconds' work.
    pub const MOST: u32 = 1000;
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// Calls in the database, if they can be counted.
    pub calls: Option<u64>,
    /// Turns in the database, if they can be counted.
    pub turns: Option<u64>,
    /// What is wrong: of each kind some hundred at most.
    pub problems: Vec<Finding>,
    /// What could not be read of the events; no damage, but somebody should know.
    pub unread: UnreadEvents,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The check that found it, in a word.
    pub check: &'static str,
    /// What it is, for a person.
    pub what: String,
}
