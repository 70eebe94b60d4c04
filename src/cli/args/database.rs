//! The flag that names the database.

use crate::store::sqlite::{OpenError, Options, SqliteStore};
use anyhow::{Result, ensure};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Maximum time that a command waits for a service that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The flag that selects the database.
#[derive(Debug, Args)]
pub(in crate::cli) struct DatabaseArgs {
    /// Use this SQLite file; it is created if missing
    #[arg(long, env = "TRANSCRIBE_HOOK_DATABASE", value_name = "FILE", default_value = "./transcribe-hook.db")]
    pub(in crate::cli) database: PathBuf,
}

impl DatabaseArgs {
    /// Returns the options of a command, which reads on one connection.
    pub(in crate::cli) fn options(&self) -> Options {
        Options { path: self.database.clone(), busy_timeout: BUSY_TIMEOUT, readers: 1 }
    }

    /// Opens the database for a command, also while its service runs. Creates a missing one.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub(in crate::cli) fn open_beside_service(&self) -> Result<SqliteStore, OpenError> {
        SqliteStore::open_for_command(&self.options())
    }

    /// Opens the database as [`Self::open_beside_service`] does, but does not create a missing one.
    ///
    /// # Errors
    /// The database does not exist, or cannot be opened.
    pub(in crate::cli) fn open_existing(&self) -> Result<SqliteStore> {
        ensure!(self.database.exists(), "there is no database {}", self.database.display());
        Ok(self.open_beside_service()?)
    }
}
