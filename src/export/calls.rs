//! Exports calls one by one.

use super::error::ExportError;
use super::form::{CallContext, CallPosition, Formatter};
use super::format::{ExportForm, ExportFormat};
use super::{call_rows, rows, subtitles, transcript};
use crate::domain::{ConversationId, PlacedToolCall};
use crate::store::{Archive, CallFilter, TranscriptItem, TurnOrder};
use std::collections::VecDeque;
use std::io::{self, BufWriter, Seek as _, Write};
use tempfile::SpooledTempFile;

/// Counts of an export.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExportCounts {
    /// Exported calls.
    pub calls: u64,
    /// Exported turns.
    pub turns: u64,
}

/// Number of call ids that are read at once.
const PAGE_SIZE: usize = 200;

/// Maximum size of a call that is spooled in memory, in bytes.
const MAX_SPOOLED_BYTES: usize = 1024 * 1024;

/// Writes the selected calls to `out`, and calls `watch` after each.
///
/// # Errors
/// Reading or writing failed. The output is incomplete then.
pub fn export(
    archive: &dyn Archive,
    filter: &CallFilter,
    form: &ExportForm,
    out: &mut dyn Write,
    watch: &mut dyn FnMut(ExportCounts),
) -> Result<ExportCounts, ExportError> {
    let mut done = ExportCounts::default();
    let mut lines = rows::ArchiveWriter::default();
    let format = form.format;
    match format {
        ExportFormat::Csv => rows::write_header(form.with_tools, out)?,
        ExportFormat::CallsCsv => call_rows::write_header(out)?,
        ExportFormat::WebVtt => out.write_all(subtitles::VTT_HEADER.as_bytes())?,
        _ => {}
    }
    let mut after = 0;
    loop {
        let calls = archive.call_ids(filter, after, PAGE_SIZE)?;
        let Some((last, _)) = calls.last() else { break };
        after = *last;
        for (_, id) in &calls {
            // Spool the call first, so no read transaction is open while the client reads slowly.
            let mut aside = SpooledTempFile::new(MAX_SPOOLED_BYTES);
            let mut buffered = BufWriter::new(&mut aside);
            let position = if done.calls == 0 { CallPosition::First } else { CallPosition::Later };
            let turns = match format {
                ExportFormat::JsonLines => lines.call(archive, id, &mut buffered)?,
                ExportFormat::CallsCsv => call_rows::write_call(archive, id, &mut buffered)?,
                _ => transcript(archive, id, form, position, &mut buffered)?,
            };
            buffered.flush()?;
            drop(buffered);
            // The call was erased after its id was read.
            let Some(turns) = turns else { continue };
            aside.rewind()?;
            io::copy(&mut aside, out)?;
            done.calls += 1;
            done.turns += turns;
            watch(done);
        }
    }
    // Rows that belong to no call match no filter.
    if format == ExportFormat::JsonLines && filter.is_everything() {
        lines.orphans(archive, out)?;
    }
    out.flush()?;
    Ok(done)
}

/// Writes the transcript of one call. Returns the number of turns, or `None` if the call does not exist.
fn transcript(
    archive: &dyn Archive,
    id: &ConversationId,
    form: &ExportForm,
    position: CallPosition,
    mut out: &mut dyn Write,
) -> Result<Option<u64>, ExportError> {
    let order = if form.format == ExportFormat::Csv { TurnOrder::Sequence } else { TurnOrder::Time };
    let (mut turns, mut begun) = (0, None::<Box<dyn Formatter>>);
    let mut tools = VecDeque::new();
    let there = archive.transcript(id, order, &mut |part| match part {
        TranscriptItem::Call(call, driver, calls) => {
            if form.with_tools {
                tools = calls.into();
            }
            // Rows are in the order of arrival, so each finds the tool calls after its place by itself.
            let by_place =
                if form.format == ExportFormat::Csv { std::mem::take(&mut tools).into() } else { Vec::new() };
            let of = CallContext { call: *call, driver };
            begun = Some(begin(form, of, by_place, position, &mut out)?);
            Ok(())
        }
        TranscriptItem::Turn(turn) => {
            let Some(formatter) = begun.as_mut() else { return Ok(()) };
            let place = turn.place.unwrap_or(i64::MAX);
            while let Some(tool) = tools.pop_front_if(|tool: &mut PlacedToolCall| tool.after_place < place) {
                formatter.tool(&tool, &mut out)?;
            }
            if !form.has(turn.kind) {
                return Ok(());
            }
            turns += 1;
            formatter.turn(*turn, &mut out)
        }
    })?;
    if let Some(mut formatter) = begun {
        for tool in &tools {
            formatter.tool(tool, &mut out)?;
        }
        formatter.end(&mut out)?;
    }
    Ok(there.then_some(turns))
}

fn begin(
    form: &ExportForm,
    of: CallContext,
    tools: Vec<PlacedToolCall>,
    position: CallPosition,
    out: &mut dyn Write,
) -> io::Result<Box<dyn Formatter>> {
    Ok(match form.format {
        ExportFormat::JsonLines | ExportFormat::CallsCsv => unreachable!("neither is a transcript"),
        ExportFormat::Csv => Box::new(rows::CsvWriter::new(of, form.with_tools.then_some(tools))),
        ExportFormat::Text => Box::new(transcript::Text::begin(of, position, out)?),
        ExportFormat::Markdown => Box::new(transcript::Markdown::begin(of, position, out)?),
        ExportFormat::WebVtt => Box::new(subtitles::SubtitleWriter::new(of, subtitles::SubtitleKind::WebVtt)),
        ExportFormat::SubRip => Box::new(subtitles::SubtitleWriter::new(of, subtitles::SubtitleKind::SubRip)),
    })
}
