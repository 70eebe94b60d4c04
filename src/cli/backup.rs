//! `backup`: a copy that is safe to take at any time, unlike one by `cp`.

use super::DatabaseArgs;
use crate::store::sqlite;
use anyhow::{Context as _, Result};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The copy, which must not exist
    #[arg(value_name = "OUT")]
    out: PathBuf,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Print the result as JSON
    #[arg(long, env = "TRANSCRIBE_HOOK_JSON")]
    json: bool,
}

pub(super) fn run(args: &BackupArgs) -> Result<()> {
    let database = &args.database.database;
    let report = sqlite::backup(database, &args.out).with_context(|| format!("cannot copy {}", database.display()))?;
    if args.json {
        let report =
            serde_json::json!({ "calls": report.calls, "transcriptions": report.turns, "bytes": report.bytes });
        println!("{report}");
    } else {
        println!(
            "copied {} calls with {} turns ({} bytes) to {}",
            report.calls,
            report.turns,
            report.bytes,
            args.out.display()
        );
    }
    Ok(())
}
