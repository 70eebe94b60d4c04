//! Writes calls as a CSV table with a row per call, also for calls without turns.

use super::error::ExportError;
use super::rows::write_row;
use crate::domain::{Call, ConversationId, Driver, DriverId, PhoneNumber, Timestamp};
use crate::store::Archive;
use std::io::{self, Write};

/// A column: its name and its value of a call.
type Column = (&'static str, fn(&Call, Option<&Driver>) -> Option<String>);

/// The columns. New ones are added at the end.
const COLUMNS: [Column; 45] = [
    ("conversation_id", |call, _| Some(call.conversation_id.as_str().to_owned())),
    ("call_start_time", |call, _| time(Some(call.call_start_time))),
    ("call_end_time", |call, _| time(call.call_end_time)),
    ("duration_seconds", |call, _| number(call.duration_seconds())),
    ("status", |call, _| Some(call.status.as_str().to_owned())),
    ("end_reason", |call, _| call.end_reason().map(|reason| reason.as_str().to_owned())),
    ("termination_reason", |call, _| call.report.termination_reason.clone()),
    ("outcome", |call, _| call.report.outcome.map(|outcome| outcome.as_str().to_owned())),
    ("answered_by", |call, _| call.report.answered_by.map(|by| by.as_str().to_owned())),
    ("channel", |call, _| call.report.channel.map(|channel| channel.as_str().to_owned())),
    ("direction", |call, _| call.report.direction.map(|direction| direction.as_str().to_owned())),
    ("driver_id", |call, _| number(call.driver_id.map(DriverId::get))),
    ("driver_name", |_, driver| driver.map(|driver| driver.name.clone())),
    ("driver_phone_number", |_, driver| driver?.phone_number.as_ref().map(PhoneNumber::as_str).map(str::to_owned)),
    ("external_number", |call, _| call.report.external_number.clone()),
    ("agent_id", |call, _| call.report.agent_id.clone()),
    ("agent_name", |call, _| call.report.agent_name.clone()),
    ("agent_number", |call, _| call.report.agent_number.clone()),
    ("turn_count", |call, _| number(Some(call.turn_count))),
    ("first_turn_time", |call, _| time(call.first_turn_time)),
    ("last_turn_time", |call, _| time(call.last_turn_time)),
    ("main_language", |call, _| call.report.main_language.clone()),
    ("title", |call, _| call.report.title.clone()),
    ("summary", |call, _| call.report.summary.clone()),
    ("cost", |call, _| number(call.report.cost)),
    ("cost_usd", |call, _| call.report.cost_usd.map(|cost| cost.get().to_string())),
    ("queue_wait_seconds", |call, _| call.report.queue_wait_seconds.map(|wait| wait.get().to_string())),
    ("accepted_time", |call, _| time(call.report.accepted_time)),
    ("campaign", |call, _| call.report.campaign.clone()),
    ("batch_id", |call, _| call.report.batch_id.clone()),
    ("tags", |call, _| serde_json::to_string(&call.report.tags).ok().filter(|_| !call.report.tags.is_empty())),
    ("user_id", |call, _| call.report.user_id.clone()),
    ("environment", |call, _| call.report.environment.clone()),
    ("branch_id", |call, _| call.report.branch_id.clone()),
    ("version_id", |call, _| call.report.version_id.clone()),
    ("parent_conversation_id", |call, _| call.report.parent_conversation_id.as_ref().map(|id| id.as_str().to_owned())),
    ("sentiment", |call, _| call.report.sentiment.clone()),
    ("record_complete", |call, _| call.report.record_complete.map(|complete| complete.to_string())),
    ("answered_by_source", |call, _| call.report.answered_by_source.map(|source| source.as_str().to_owned())),
    ("answered_by_conflict", |call, _| call.report.answered_by_conflict.clone()),
    ("driver_source", |call, _| call.report.driver_source.map(|source| source.as_str().to_owned())),
    ("driver_conflict", |call, _| call.report.driver_conflict.clone()),
    ("created_at", |call, _| time(Some(call.created_at))),
    ("updated_at", |call, _| time(Some(call.updated_at))),
    ("initiation_source", |call, _| call.report.initiation_source.clone()),
];

fn time(time: Option<Timestamp>) -> Option<String> {
    time.map(|time| time.to_string())
}

fn number(number: Option<i64>) -> Option<String> {
    number.map(|number| number.to_string())
}

/// Writes the header.
pub(super) fn write_header(out: &mut dyn Write) -> io::Result<()> {
    write_row(&COLUMNS.map(|(name, _)| name), out)
}

/// Writes the row of a call. Returns its number of turns, or `None` if the call does not exist.
pub(super) fn write_call(
    archive: &dyn Archive,
    id: &ConversationId,
    out: &mut dyn Write,
) -> Result<Option<u64>, ExportError> {
    let Some((call, driver)) = archive.call(id)? else { return Ok(None) };
    let row = COLUMNS.map(|(_, value)| value(&call, driver.as_ref()).unwrap_or_default());
    write_row(&row, out)?;
    Ok(Some(u64::try_from(call.turn_count).unwrap_or(0)))
}
