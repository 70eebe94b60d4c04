//! Exports calls one by one.

use super::error::ExportError;
use super::form::{CallContext, CallPosition, Formatter};
use super::format::ExportFormat;
use super::{rows, subtitles, transcript};
use crate::domain::ConversationId;
use crate::store::{Archive, CallFilter, TranscriptItem, TurnOrder};
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
    format: ExportFormat,
    out: &mut dyn Write,
    watch: &mut dyn FnMut(ExportCounts),
) -> Result<ExportCounts, ExportError> {
    let mut done = ExportCounts::default();
    let mut lines = rows::ArchiveWriter::default();
    out.write_all(match format {
        ExportFormat::Csv => rows::CSV_HEADER.as_bytes(),
        ExportFormat::WebVtt => subtitles::VTT_HEADER.as_bytes(),
        _ => b"",
    })?;
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
                other => transcript(archive, id, other, position, &mut buffered)?,
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
    format: ExportFormat,
    position: CallPosition,
    mut out: &mut dyn Write,
) -> Result<Option<u64>, ExportError> {
    let order = if format == ExportFormat::Csv { TurnOrder::Sequence } else { TurnOrder::Time };
    let (mut turns, mut form) = (0, None::<Box<dyn Formatter>>);
    let there = archive.transcript(id, order, &mut |part| match part {
        TranscriptItem::Call(call, driver) => {
            let begun = begin(format, CallContext { call: *call, driver }, position, &mut out)?;
            form = Some(begun);
            Ok(())
        }
        TranscriptItem::Turn(turn) => {
            turns += 1;
            form.as_mut().map_or(Ok(()), |form| form.turn(*turn, &mut out))
        }
    })?;
    if let Some(mut form) = form {
        form.end(&mut out)?;
    }
    Ok(there.then_some(turns))
}

fn begin(
    format: ExportFormat,
    of: CallContext,
    position: CallPosition,
    out: &mut dyn Write,
) -> io::Result<Box<dyn Formatter>> {
    Ok(match format {
        ExportFormat::JsonLines => unreachable!("JSON Lines are not transcripts"),
        ExportFormat::Csv => Box::new(rows::CsvWriter::new(of)),
        ExportFormat::Text => Box::new(transcript::Text::begin(of, position, out)?),
        ExportFormat::Markdown => Box::new(transcript::Markdown::begin(of, position, out)?),
        ExportFormat::WebVtt => Box::new(subtitles::SubtitleWriter::new(of, subtitles::SubtitleKind::WebVtt)),
        ExportFormat::SubRip => Box::new(subtitles::SubtitleWriter::new(of, subtitles::SubtitleKind::SubRip)),
    })
}
