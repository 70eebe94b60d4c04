//! The flag that names the database, of commands that require one and of commands that create it.

use crate::cli::output::eprint_line;
use crate::store::sqlite::{OpenError, Options, SqliteStore};
use anyhow::{Result, ensure};
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Maximum time that a command waits for a service that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The flag that selects an existing database.
#[derive(Debug, Args)]
pub(in crate::cli) struct DatabaseArgs {
    /// Use this SQLite file
    #[arg(long, env = "TRANSCRIBE_HOOK_DATABASE", value_name = "FILE", default_value = "./transcribe-hook.db")]
    pub(in crate::cli) database: PathBuf,
}

/// The flag that selects a database which may not exist yet.
#[derive(Debug, Args)]
pub(in crate::cli) struct NewDatabaseArgs {
    /// Use this SQLite file; it is created if missing
    #[arg(long, env = "TRANSCRIBE_HOOK_DATABASE", value_name = "FILE", default_value = "./transcribe-hook.db")]
    pub(in crate::cli) database: PathBuf,
}

impl DatabaseArgs {
    /// Opens the database for a command, also while its service runs.
    ///
    /// # Errors
    /// The database does not exist, or cannot be opened.
    pub(in crate::cli) fn open(&self) -> Result<SqliteStore> {
        ensure!(self.database.exists(), "there is no database {}", self.database.display());
        Ok(SqliteStore::open_for_command(&options(&self.database))?)
    }
}

impl NewDatabaseArgs {
    /// Opens the database for a command, also while its service runs. Creates a missing one, and says so, because the
    /// path may be misspelled.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub(in crate::cli) fn open(&self) -> Result<SqliteStore, OpenError> {
        let is_new = !self.database.exists();
        let store = SqliteStore::open_for_command(&options(&self.database))?;
        if is_new {
            eprint_line(format_args!("there was no database {}; it was created", self.database.display()));
        }
        Ok(store)
    }
}

/// Returns the options of a command, which reads on one connection.
pub(in crate::cli) fn options(database: &Path) -> Options {
    Options { path: database.to_owned(), busy_timeout: BUSY_TIMEOUT, readers: 1 }
}
