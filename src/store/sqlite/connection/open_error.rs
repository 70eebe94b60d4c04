//! Errors of opening a database.

use crate::store::Error;
use std::io;
use std::path::PathBuf;

/// Reason why a database could not be opened. Each message names the file and a remedy.
#[derive(Debug)]
pub enum OpenError {
    /// The folder is missing, or the file cannot be opened or written.
    Unusable {
        /// The database.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// Another process has the database open for writing.
    InUse {
        /// The database.
        path: PathBuf,
        /// Process id of the other process, if known.
        by: Option<u32>,
    },
    /// The file is not a database of this program.
    Foreign {
        /// The file.
        path: PathBuf,
        /// Description of the file.
        what: &'static str,
    },
    /// The file was written by a newer version of this program.
    Newer {
        /// The database.
        path: PathBuf,
        /// Version of its schema.
        found: u32,
        /// The newest schema version that this program supports.
        known: u32,
    },
    /// The lock file cannot be used.
    Lock {
        /// The lock file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// Another path leads to the same file.
    Aliased {
        /// The database.
        path: PathBuf,
        /// The reason, with a remedy.
        why: String,
    },
    /// The database is missing, but its WAL or journal exists and may hold turns that are stored nowhere else.
    OrphanedLog {
        /// The WAL or journal.
        log: PathBuf,
    },
    /// The WAL or journal beside the file belongs to another database.
    ForeignLog {
        /// The WAL or journal.
        log: PathBuf,
        /// The database.
        database: PathBuf,
    },
    /// A running service of an older version has the database open.
    Older {
        /// The database.
        path: PathBuf,
    },
    /// SQLite failed, or is too old.
    Database {
        /// The database.
        path: PathBuf,
        /// SQLite's error.
        source: Error,
    },
    /// The migrations failed; the file is unchanged.
    Migration {
        /// The database.
        path: PathBuf,
        /// The migration's error.
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
                "the database {} was written by a newer transcribe-hook (schema {found}, this one supports {known}); \
                 it was left untouched",
                path.display()
            ),
            Self::OrphanedLog { log } => write!(
                f,
                "{} belongs to a database that is missing, and may hold turns that are stored nowhere else; put the \
                 database back beside it, or replace it by a copy with `transcribe-hook restore`",
                log.display()
            ),
            Self::ForeignLog { log, database } => write!(
                f,
                "{} does not belong to {}, which seems to be a copy, and would damage it; use `transcribe-hook restore` to \
                 replace a database by a copy, because it moves the old database's files away",
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
            Self::Migration { path, .. } => write!(f, "cannot migrate the database {}", path.display()),
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
