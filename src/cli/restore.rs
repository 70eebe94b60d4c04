//! The `restore` command: replaces a database with a backup while no service runs.

use super::args::database::NewDatabaseArgs;
use super::output::{count, print_line};
use crate::domain::Timestamp;
use crate::store::sqlite::Replacement;
use anyhow::{Result, bail};
use clap::Args;
use std::ops::ControlFlow;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// Restore this backup
    #[arg(value_name = "COPY")]
    copy: PathBuf,
    #[command(flatten)]
    database: NewDatabaseArgs,
    /// Replace an existing database; the old one is renamed
    #[arg(long, env = "TRANSCRIBE_HOOK_YES", conflicts_with = "dry_run")]
    yes: bool,
    /// Check the backup and print what would be done
    #[arg(long, env = "TRANSCRIBE_HOOK_DRY_RUN")]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long, env = "TRANSCRIBE_HOOK_JSON")]
    json: bool,
}

pub(super) fn run(args: &RestoreArgs) -> Result<()> {
    let replacement = Replacement::prepare(&args.copy, &args.database.database)?;
    let (database, newest) = (replacement.database().to_owned(), replacement.newest());
    let since = newest.map(|newest| newest.to_string());
    if args.dry_run {
        if args.json {
            let report = serde_json::json!({ "dry_run": true, "replaces": replacement.replaces(), "newest": since });
            print_line(format_args!("{report}"))?;
        } else {
            let what = if replacement.replaces() { "replace" } else { "be restored to" };
            print_line(format_args!("{} is complete and would {what} {}", args.copy.display(), database.display()))?;
        }
        return Ok(());
    }
    if replacement.replaces() && !args.yes {
        bail!("the database {} already exists; --yes replaces it and renames the old one", database.display());
    }
    let done = replacement.run(Timestamp::now(), Box::new(|_| ControlFlow::Continue(())))?;
    let text = |path: &PathBuf| path.display().to_string();
    if args.json {
        let report = serde_json::json!({
            "calls": done.report.calls, "transcriptions": done.report.turns, "newest": since,
            "kept": done.kept.as_ref().map(text), "moved": done.moved.iter().map(text).collect::<Vec<_>>(),
        });
        print_line(format_args!("{report}"))?;
        return Ok(());
    }
    let (calls, turns) = (done.report.calls, done.report.turns);
    let (calls, turns) = (count(calls, "call"), count(turns, "turn"));
    print_line(format_args!("restored {calls} with {turns} to {}", database.display()))?;
    if let Some(kept) = &done.kept {
        print_line(format_args!("the replaced database is now {}", kept.display()))?;
    }
    for moved in &done.moved {
        print_line(format_args!("a WAL or journal that could not be merged is now {}", moved.display()))?;
    }
    let since = since.map_or(String::new(), |since| format!(" --since {since}"));
    print_line(format_args!(
        "next: start the service, and fetch later calls with `transcribe-hook backfill --database {}{since} \
         --elevenlabs-api-key-file …`; recordings are not in a backup",
        args.database.database.display()
    ))?;
    Ok(())
}
