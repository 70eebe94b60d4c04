//! Writes row formats: JSON Lines, which can be imported, and CSV.
//!
//! A line of JSON is an object whose `type` is `driver`, `dispatch`, `event` or `call`. Its other fields are the
//! columns of the row. A call also has its turns in `transcriptions`, the histories of its tools in `history` and the
//! calls of its tools in `tool_calls`. A row is written once, before the rows that refer to it.

use super::error::ExportError;
use super::form::{CallContext, Formatter};
use crate::domain::repair;
use crate::domain::{ConversationId, DriverId, Invalid, Message, PlacedToolCall, Turn};
use crate::store::{Archive, ArchivePart, ArchiveRecord, ArchivedCall, OrphanRows, Row};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};
use std::sync::Arc;

/// Maximum length of an imported line, in bytes: that of a call with some hundred thousand turns.
pub const MAX_LINE: u64 = 256 << 20;

/// A writer of JSON Lines.
#[derive(Default)]
pub(super) struct ArchiveWriter {
    /// Drivers that were already written.
    drivers: HashSet<i64>,
}

impl ArchiveWriter {
    /// Writes a call with all its rows. Returns the number of turns, or `None` if the call does not exist.
    pub(super) fn call(
        &mut self,
        archive: &dyn Archive,
        id: &ConversationId,
        out: &mut dyn Write,
    ) -> Result<Option<u64>, ExportError> {
        let mut turns = 0;
        let there = archive.parts(id, &mut |part| match part {
            ArchivePart::Driver(row) => self.driver(&row, out),
            ArchivePart::Dispatch(row) => line("dispatch", &row, out),
            ArchivePart::Event(row) => line("event", &row, out),
            ArchivePart::Call(row, history, tools) => {
                open("call", &row, out)?;
                out.write_all(b",\"history\":")?;
                serde_json::to_writer(&mut *out, &history)?;
                out.write_all(b",\"tool_calls\":")?;
                serde_json::to_writer(&mut *out, &tools)?;
                out.write_all(b",\"transcriptions\":[")
            }
            ArchivePart::Turn(row) => {
                if turns > 0 {
                    out.write_all(b",")?;
                }
                turns += 1;
                Ok(serde_json::to_writer(&mut *out, &row)?)
            }
        })?;
        if !there {
            return Ok(None);
        }
        out.write_all(b"]}\n")?;
        Ok(Some(turns))
    }

    fn driver(&mut self, row: &Row, out: &mut dyn Write) -> io::Result<()> {
        match row.get("id").and_then(Value::as_i64) {
            Some(id) if !self.drivers.insert(id) => Ok(()),
            _ => line("driver", row, out),
        }
    }

    /// Writes the rows that belong to no exported call.
    pub(super) fn orphans(&mut self, archive: &dyn Archive, out: &mut dyn Write) -> Result<(), ExportError> {
        for kind in [OrphanRows::Drivers, OrphanRows::Dispatches, OrphanRows::Events] {
            let mut after = 0;
            loop {
                let rows = archive.orphans(kind, after)?;
                let Some((last, _)) = rows.last() else { break };
                after = *last;
                for (_, row) in &rows {
                    match kind {
                        OrphanRows::Drivers => self.driver(row, out)?,
                        OrphanRows::Dispatches => line("dispatch", row, out)?,
                        OrphanRows::Events => line("event", row, out)?,
                    }
                }
            }
        }
        Ok(())
    }
}

/// Writes the beginning of a line, without the closing bracket.
fn open(kind: &str, row: &Row, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{{\"type\":\"{kind}\"")?;
    for (name, value) in row {
        out.write_all(b",")?;
        serde_json::to_writer(&mut *out, name)?;
        out.write_all(b":")?;
        serde_json::to_writer(&mut *out, value)?;
    }
    Ok(())
}

fn line(kind: &str, row: &Row, out: &mut dyn Write) -> io::Result<()> {
    open(kind, row, out)?;
    out.write_all(b"}\n")
}

/// Parses a line of JSON for an import.
///
/// # Errors
/// The rule that the line breaks, with the path of the field if there is one.
pub fn archived(line: &[u8]) -> Result<ArchiveRecord, Invalid> {
    let mut row: Row = match repair::read_whole(line) {
        Ok(Value::Object(row)) => row,
        Ok(_) => return Err(Invalid("must be a JSON object".into())),
        Err(error) => return Err(Invalid(format!("not valid JSON: {error}").into())),
    };
    let kind = row.shift_remove("type");
    match kind.as_ref().and_then(Value::as_str) {
        Some("driver") => Ok(ArchiveRecord::Driver(row)),
        Some("dispatch") => Ok(ArchiveRecord::Dispatch(row)),
        Some("event") => Ok(ArchiveRecord::Event(row)),
        Some("call") => {
            let history = match row.shift_remove("history") {
                None | Some(Value::Null) => None,
                Some(Value::Object(history)) => Some(history),
                Some(_) => return Err(Invalid("history: must be a JSON object or null".into())),
            };
            // Exports of older versions lack the tool calls.
            let tools = row.shift_remove("tool_calls").filter(|tools| !tools.is_null());
            let tools = tools.map(|tools| rows("tool_calls", Some(tools))).transpose()?;
            let turns = rows("transcriptions", row.shift_remove("transcriptions"))?;
            Ok(ArchiveRecord::Call(Arc::new(ArchivedCall { row, history, turns, tools })))
        }
        _ => Err(Invalid("type: must be one of driver, dispatch, event, call".into())),
    }
}

/// Returns the rows of an array of objects.
fn rows(name: &str, value: Option<Value>) -> Result<Vec<Row>, Invalid> {
    let Some(Value::Array(items)) = value else { return Err(Invalid(format!("{name}: must be an array").into())) };
    let row = |(at, item)| match item {
        Value::Object(row) => Ok(row),
        _ => Err(Invalid(format!("{name}[{at}]: must be a JSON object").into())),
    };
    items.into_iter().enumerate().map(row).collect()
}

/// Columns of the CSV table.
const CSV_COLUMNS: [&str; 22] = [
    "conversation_id",
    "call_start_time",
    "call_end_time",
    "status",
    "driver_id",
    "driver_name",
    "sequence_number",
    "position",
    "timestamp",
    "speaker_type",
    "message_text",
    "final_text",
    "interrupted",
    "superseded_by",
    "source",
    "transcription_id",
    "record_time",
    "kind",
    "said_by",
    "metrics",
    "answered_by",
    "channel",
];

/// Writes the header of the CSV table.
pub(super) fn write_header(with_tools: bool, out: &mut dyn Write) -> io::Result<()> {
    let tools = with_tools.then_some("tool_calls");
    write_row(&CSV_COLUMNS.into_iter().chain(tools).collect::<Vec<_>>(), out)
}

/// Writes a row of a CSV table.
pub(super) fn write_row(cells: &[impl AsRef<[u8]>], out: &mut dyn Write) -> io::Result<()> {
    let mut rows = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    rows.write_record(cells)?;
    rows.flush()
}

/// Returns a tool call with the fields that the API gives it.
fn tool_json(placed: &PlacedToolCall) -> Value {
    let call = &placed.call;
    json!({
        "position": placed.position,
        "after_place": placed.after_place,
        "request_id": call.request_id,
        "name": call.name,
        "type": call.tool_type,
        "purpose": call.purpose,
        "arguments": call.arguments,
        "result": call.result,
        "is_error": call.is_error,
        "latency_ms": call.latency_ms,
        "at": call.at,
    })
}

/// A writer of CSV rows, one per turn.
pub(super) struct CsvWriter {
    of: CallContext,
    /// Tool calls by the place of the turn before them, if they are included.
    tools: Option<BTreeMap<i64, Vec<PlacedToolCall>>>,
}

impl CsvWriter {
    /// Tool calls before all turns are in the row of the first turn.
    pub(super) fn new(of: CallContext, tools: Option<Vec<PlacedToolCall>>) -> Self {
        let tools = tools.map(|tools| {
            let mut by_place = BTreeMap::<_, Vec<_>>::new();
            for tool in tools {
                by_place.entry(tool.after_place.max(1)).or_default().push(tool);
            }
            by_place
        });
        Self { of, tools }
    }
}

impl Formatter for CsvWriter {
    fn turn(&mut self, turn: Turn, out: &mut dyn Write) -> io::Result<()> {
        let CallContext { call, driver } = &self.of;
        let text = |value: Option<String>| value.unwrap_or_default();
        let mut row = vec![
            call.conversation_id.as_str().to_owned(),
            call.call_start_time.to_string(),
            text(call.call_end_time.map(|time| time.to_string())),
            call.status.as_str().to_owned(),
            text(call.driver_id.map(DriverId::get).map(|id| id.to_string())),
            text(driver.as_ref().map(|driver| driver.name.clone())),
            turn.sequence_number.to_string(),
            text(turn.place.map(|place| place.to_string())),
            turn.timestamp.to_string(),
            turn.speaker.as_str().to_owned(),
            turn.message.as_str().to_owned(),
            text(turn.final_text.as_ref().map(Message::as_str).map(str::to_owned)),
            text(turn.interrupted.map(|interrupted| interrupted.to_string())),
            text(turn.superseded_by.map(|number| number.to_string())),
            turn.source.as_str().to_owned(),
            turn.id.to_string(),
            text(turn.record_time.map(|time| time.to_string())),
            turn.kind.as_str().to_owned(),
            turn.said_by().as_str().to_owned(),
            text(turn.metrics.clone()),
            text(call.report.answered_by.map(|by| by.as_str().to_owned())),
            text(call.report.channel.map(|channel| channel.as_str().to_owned())),
        ];
        if let Some(tools) = &self.tools {
            let after = turn.place.and_then(|place| tools.get(&place));
            row.push(text(after.map(|calls| calls.iter().map(tool_json).collect::<Value>().to_string())));
        }
        write_row(&row, out)
    }
}
