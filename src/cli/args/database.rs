//! The flag that names the database.

use clap::Args;
use std::path::PathBuf;

/// The flag that selects the database.
#[derive(Debug, Args)]
pub(in crate::cli) struct DatabaseArgs {
    /// Use this SQLite file; it is created if missing
    #[arg(long, env = "TRANSCRIBE_HOOK_DATABASE", value_name = "FILE", default_value = "./transcribe-hook.db")]
    pub(in crate::cli) database: PathBuf,
}
