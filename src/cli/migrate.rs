//! The `migrate` command: only migrates a database, as `serve` does before it serves one.

use super::args::database::DatabaseArgs;
use super::output::print_line;
use crate::store::Maintenance as _;
use crate::store::sqlite::SqliteStore;
use anyhow::Result;

pub(super) fn run(args: &DatabaseArgs) -> Result<()> {
    SqliteStore::open(&args.options())?.in_place()?;
    print_line(format_args!("{} is up to date", args.database.display()))?;
    Ok(())
}
