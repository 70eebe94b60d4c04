//! The flag that names the database.

use clap::Args;
use std::path::PathBuf;

/// Which database.
#[derive(Debug, Args)]
pub(in crate::cli) struct DatabaseArgs {
    /// The SQLite file; made when there is none
    #[arg(long, env = "TRANSCRIBE_HOOK_DATABASE", value_name = "FILE", default_value = "./transcribe-hook.db")]
    pub(in crate::cli) database: PathBuf,
}
