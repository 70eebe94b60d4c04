//! The `erase` command: permanently erases a call, or everything about a driver. Works while the service runs.

use super::args::database::DatabaseArgs;
use super::args::values::{conversation_id, driver_id};
use super::erase_session::{Confirmation, EraseSession, counted};
use super::output::{count, print_line};
use crate::domain::{ConversationId, DriverId};
use crate::jobs::retention::EraseCounts;
use anyhow::{Result, bail};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct EraseArgs {
    #[command(flatten)]
    what: EraseTarget,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Erase recordings in this folder, as given to the service
    ///
    /// Without it recordings are not erased.
    #[arg(long, env = "TRANSCRIBE_HOOK_AUDIO_DIR", value_name = "FOLDER")]
    audio_dir: Option<PathBuf>,
    #[command(flatten)]
    confirmation: Confirmation,
    /// Print the result as JSON
    #[arg(long, env = "TRANSCRIBE_HOOK_JSON")]
    json: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct EraseTarget {
    /// Erase this call, with everything about it
    #[arg(
        long, alias = "conversation", env = "TRANSCRIBE_HOOK_CONVERSATION_ID", value_name = "ID",
        value_parser = conversation_id,
    )]
    conversation_id: Option<ConversationId>,
    /// Erase this driver, with all calls and dispatches
    #[arg(
        long, alias = "driver", env = "TRANSCRIBE_HOOK_DRIVER_ID", value_name = "NUMBER", value_parser = driver_id,
    )]
    driver_id: Option<DriverId>,
}

pub(super) fn run(args: &EraseArgs) -> Result<()> {
    let work = EraseSession::open(&args.database, args.audio_dir.as_deref())?;
    let dry_run = args.confirmation.dry_run;
    let erased = match (&args.what.conversation_id, args.what.driver_id) {
        (Some(id), _) if dry_run => work.eraser().count_call(id),
        (None, Some(id)) if dry_run => work.eraser().count_driver(id),
        (Some(id), _) => counted(|erased| work.eraser().call(id, erased)),
        (None, Some(id)) => {
            EraseSession::with_progress(|done| counted(|erased| work.eraser().driver(id, erased, done)))
        }
        (None, None) => unreachable!("one of them is required"),
    };
    let erased = work.finish(erased, &args.confirmation)?;
    if erased == EraseCounts::default() {
        bail!("nothing to erase");
    }
    let EraseCounts { drivers, calls, events, dispatches, unproven, .. } = erased;
    if args.json {
        let mut report = serde_json::json!({
            "drivers": drivers, "calls": calls, "events": events, "dispatches": dispatches, "dry_run": dry_run
        });
        if unproven > 0 {
            report["unproven"] = unproven.into();
        }
        print_line(format_args!("{report}"))?;
    } else {
        let counts = format!(
            "{}, {}, {} and {} of no call",
            count(drivers, "driver"),
            count(calls, "call"),
            count(events, "unreadable event"),
            count(dispatches, "dispatch")
        );
        print_line(format_args!("{} {counts}", args.confirmation.verb()))?;
        if unproven > 0 {
            let calls = count(unproven, "call");
            print_line(format_args!("not erased: {calls}, because only an unsigned history names this driver"))?;
        }
    }
    Ok(())
}
