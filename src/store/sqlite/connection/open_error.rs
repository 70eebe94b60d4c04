//! Errors of opening a database.

use crate::store;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Reason why a database could not be opened. Each message names the file and a remedy.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The folder is missing, or the file cannot be opened or written.
    #[error("cannot use the database {}", path.display())]
    Unusable {
        /// The database.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// Another process has the database open for writing.
    #[error(
        "the database {} is in use by another transcribe-hook{}",
        path.display(), by.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    InUse {
        /// The database.
        path: PathBuf,
        /// Process id of the other process, if known.
        by: Option<u32>,
    },
    /// The file is not a database of this program.
    #[error("{} is {what}; it was left untouched", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// Description of the file.
        what: &'static str,
    },
    /// The file was written by a newer version of this program.
    #[error(
        "the database {} was written by a newer transcribe-hook (schema {found}, this one supports {known}); it was \
         left untouched",
        path.display()
    )]
    SchemaTooNew {
        /// The database.
        path: PathBuf,
        /// Version of its schema.
        found: u32,
        /// The newest schema version that this program supports.
        known: u32,
    },
    /// The lock file cannot be used.
    #[error("cannot use the lock file {}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// Another path leads to the same file.
    #[error("the database {} {why}", path.display())]
    Aliased {
        /// The database.
        path: PathBuf,
        /// The reason, with a remedy.
        why: String,
    },
    /// The database is missing, but its WAL or journal exists and may hold turns that are stored nowhere else.
    #[error(
        "{} belongs to a database that is missing, and may hold turns that are stored nowhere else; put the database \
         back beside it, or replace it by a copy with `transcribe-hook restore`",
        file.display()
    )]
    OrphanedWal {
        /// The WAL or journal.
        file: PathBuf,
    },
    /// The WAL or journal beside the file belongs to another database.
    #[error(
        "{} does not belong to {}, which seems to be a copy, and would damage it; use `transcribe-hook restore` to \
         replace a database by a copy, because it moves the old database's files away",
        file.display(), database.display()
    )]
    ForeignWal {
        /// The WAL or journal.
        file: PathBuf,
        /// The database.
        database: PathBuf,
    },
    /// A running service of an older version has the database open.
    #[error(
        "the database {} is in use by an older transcribe-hook; stop it, or use its own version",
        path.display()
    )]
    SchemaTooOld {
        /// The database.
        path: PathBuf,
    },
    /// SQLite failed, or is too old.
    #[error("cannot open the database {}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// SQLite's error.
        source: store::Error,
    },
    /// The migrations failed; the file is unchanged.
    #[error("cannot migrate the database {}", path.display())]
    Migration {
        /// The database.
        path: PathBuf,
        /// The migration's error.
        source: Box<refinery::Error>,
    },
}
