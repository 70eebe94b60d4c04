//! The `check` command: checks a database and its recordings. Works while the service runs.

use super::args::database::DatabaseArgs;
use super::output::{count, print_line};
use crate::domain::ConversationId;
use crate::recordings;
use crate::store::sqlite;
use crate::store::{IntegrityIssue, UnreadEvents};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Report recordings in this folder that belong to no call
    #[arg(long, env = "TRANSCRIBE_HOOK_AUDIO_DIR", value_name = "FOLDER")]
    audio_dir: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long, env = "TRANSCRIBE_HOOK_JSON")]
    json: bool,
}

pub(super) fn run(args: &CheckArgs) -> Result<()> {
    let database = &args.database.database;
    let doing = || format!("cannot check {}", database.display());
    let mut report = sqlite::check(database).with_context(doing)?;
    if let Some(folder) = &args.audio_dir {
        report.problems.extend(orphans(database, folder)?);
    }
    if args.json {
        let problems: Vec<_> = report
            .problems
            .iter()
            .map(|IntegrityIssue { check, what }| serde_json::json!({ "check": check, "problem": what }))
            .collect();
        let report = serde_json::json!({
            "ok": problems.is_empty(), "calls": report.calls, "transcriptions": report.turns, "problems": problems,
            "unreadable_events": report.unread.unreadable, "unreadable_event_ids": report.unread.ids,
            "remarked_events": report.unread.remarked,
        });
        print_line(format_args!("{report}"))?;
    } else {
        for IntegrityIssue { check, what } in &report.problems {
            print_line(format_args!("{check}: {what}"))?;
        }
        print_unread(&report.unread)?;
        if let (Some(calls), Some(turns)) = (report.calls, report.turns) {
            let problems = count(report.problems.len(), "problem");
            print_line(format_args!("{} with {}, {problems}", count(calls, "call"), count(turns, "turn")))?;
        }
    }
    if report.problems.is_empty() {
        Ok(())
    } else {
        bail!("{}: {} found", database.display(), count(report.problems.len(), "problem"))
    }
}

/// Prints the events that could not be read.
fn print_unread(unread: &UnreadEvents) -> Result<()> {
    let events = |count: u64| if count == 1 { "1 event".to_owned() } else { format!("{count} events") };
    let UnreadEvents { unreadable, ids, remarked, rereading: _ } = unread;
    if *unreadable > 0 {
        let more = if ids.len() as u64 == *unreadable { "" } else { ", …" };
        let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
        print_line(format_args!(
            "{} could not be read: {}{more}; run `replay --failed` to reprocess them",
            events(*unreadable),
            ids.join(", ")
        ))?;
    }
    if *remarked > 0 {
        print_line(format_args!(
            "parts of {} could not be read; see the column webhook_events.error",
            events(*remarked)
        ))?;
    }
    Ok(())
}

/// Finds recordings whose call does not exist.
fn orphans(database: &Path, folder: &Path) -> Result<Vec<IntegrityIssue>> {
    let unreadable = || format!("cannot read {}", folder.display());
    let mut names = BTreeSet::new();
    for entry in folder.read_dir().with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // A recording that is still being received is hidden, and has another extension.
        if path.extension().is_some_and(|ending| ending == "mp3") && !name.starts_with('.') {
            names.insert(name.to_owned());
        }
    }
    sqlite::for_each_call(database, &mut |id: &ConversationId| {
        names.remove(&recordings::file_name(id));
    })
    .with_context(|| format!("cannot read {}", database.display()))?;
    let orphan = |name| IntegrityIssue { check: "audio", what: format!("recording {name} belongs to no call") };
    Ok(names.into_iter().map(orphan).collect())
}
