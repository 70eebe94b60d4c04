//! The `migrate` command: only migrates a database, as `serve` does before it serves one.

use super::args::database::{DatabaseArgs, options};
use super::output::print_line;
use crate::store::Maintenance as _;
use crate::store::sqlite::SqliteStore;
use crate::sys::paths::with_suffix;
use anyhow::{Result, ensure};
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct MigrateArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Create the database if it is missing
    #[arg(long, env = "TRANSCRIBE_HOOK_CREATE")]
    create: bool,
}

pub(super) fn run(args: &MigrateArgs) -> Result<()> {
    let database = &args.database.database;
    // The store refuses what is in the way, and a WAL without its database.
    let is_there = |suffix| with_suffix(database, suffix).symlink_metadata().is_ok();
    ensure!(
        args.create || ["", "-wal", "-journal"].into_iter().any(is_there),
        "there is no database {}; `serve` creates one, and so does --create",
        database.display()
    );
    SqliteStore::open(&options(database))?.in_place()?;
    print_line(format_args!("{} is up to date", database.display()))?;
    Ok(())
}
