//! Why a database could not be opened.

use crate::store::Error;
use std::io;
use std::path::PathBuf;

/// Why a database could not be opened. Each text names the file and says what to do.
#[derive(Debug)]
pub enum OpenError {
    /// The folder is missing or the file cannot be reached or written.
    Unusable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it open for writing.
    InUse {
        /// The file.
        path: PathBuf,
        /// The other process, when it could be told.
        by: Option<u32>,
    },
    /// The file is something else.
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A newer version of this program has written it.
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema's version.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// The lock file cannot be used.
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is reached by another path, too.
    Aliased {
        /// The file.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// There is no file, but the WAL or journal of one, which may hold turns that are nowhere else.
    OrphanedLog {
        /// The WAL or journal.
        log: PathBuf,
    },
    /// The WAL or journal beside the file is another database's.
    ForeignLog {
        /// The WAL or journal.
        log: PathBuf,
        /// The file.
        database: PathBuf,
    },
    /// A running service of an older version has it open.
    Older {
        /// The file.
        path: PathBuf,
    },
    /// SQLite failed, or is too old.
    Database {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: Error,
    },
    /// The migrations failed; the file is as it was.
    Migration {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: Box<refinery::Error>,
    },
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unusable { path, .. } => write!(f, "cannot use the database {}", path.display()),
            Self::InUse { path, by: Some(pid) } => {
                write!(f, "the database {} is in use by another transcribe-hook (process {pid})", path.display())
            }
            Self::InUse { path, by: None } => {
                write!(f, "the database {} is in use by another transcribe-hook", path.display())
            }
            Self::Foreign { path, what } => write!(f, "{} is {what}; it was left untouched", path.display()),
            Self::Newer { path, found, known } => write!(
                f,
                "the database {} was written by a newer transcribe-hook (schema {found}, this one knows up to {known}); \
                 it was left untouched",
                path.display()
            ),
            Self::OrphanedLog { log } => write!(
                f,
                "{} belongs to a database that is not there; put the database back beside it, since it may hold turns that \
                 are nowhere else, or put a copy in place with `transcribe-hook restore`",
                log.display()
            ),
            Self::ForeignLog { log, database } => write!(
                f,
                "{} belongs to another database than {}, which a copy seems to have replaced, and would damage it; put the \
                 copy in place with `transcribe-hook restore`, which moves what belongs to the old one away",
                log.display(),
                database.display()
            ),
            Self::Lock { path, .. } => write!(f, "cannot use the lock file {}", path.display()),
            Self::Aliased { path, why } => write!(f, "the database {} {why}", path.display()),
            Self::Older { path } => write!(
                f,
                "the database {} is in use by an older transcribe-hook; stop it, or use its own version",
                path.display()
            ),
            Self::Database { path, .. } => write!(f, "cannot open the database {}", path.display()),
            Self::Migration { path, .. } => write!(f, "cannot bring the database {} up to date", path.display()),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unusable { source, .. } | Self::Lock { source, .. } => Some(source),
            Self::Database { source, .. } => Some(source),
            Self::Migration { source, .. } => Some(source),
            _ => None,
        }
    }
}
