//! The `migrate` command: only migrates a database, as `serve` does before it serves one.

use super::args::database::DatabaseArgs;
use super::output::print_line;
use crate::store::Maintenance as _;
use crate::store::sqlite::{Options, SqliteStore};
use anyhow::Result;
use std::time::Duration;

pub(super) fn run(args: &DatabaseArgs) -> Result<()> {
    let options = Options { path: args.database.clone(), busy_timeout: Duration::from_secs(10), readers: 1 };
    SqliteStore::open(&options)?.in_place()?;
    print_line(format_args!("{} is up to date", args.database.display()))?;
    Ok(())
}
