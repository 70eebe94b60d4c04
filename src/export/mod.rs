//! Calls on their way out of the service, in forms that others read.
//!
//! Calls come one after the other, in the order in which they were made here, each as it was at one moment: it is written
//! aside while its snapshot is held, in memory or, if it is long, in a file without a name, and handed on from there. So
//! neither a slow reader nor a long export keeps anything of the database waiting, and memory stays flat, however many
//! calls there are and however long one is.

mod error;
mod form;
mod rows;
mod subtitles;
mod transcript;

use crate::domain::ConversationId;
use crate::store::{Archive, CallQuery, RecordFilter, Selection, Spoken, TurnOrder};
use std::io::{self, BufWriter, Seek as _, Write};
use tempfile::SpooledTempFile;

use form::{Context, Form};

pub use error::ExportError;
pub use rows::{MAX_LINE, archived};

/// What a call becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// All rows as JSON, one thing a line; the only one that can be read back.
    JsonLines,
    /// A table with a row for each turn (RFC 4180).
    Csv,
    /// Transcripts to be read.
    Text,
    /// The same in Markdown.
    Markdown,
    /// Subtitles for a browser.
    WebVtt,
    /// Subtitles for all else.
    SubRip,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::JsonLines, Self::Csv, Self::Text, Self::Markdown, Self::WebVtt, Self::SubRip];

    /// Its name, which is also the ending of a file's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::JsonLines => "jsonl",
            Self::Csv => "csv",
            Self::Text => "text",
            Self::Markdown => "markdown",
            Self::WebVtt => "vtt",
            Self::SubRip => "srt",
        }
    }

    /// What a file of it is commonly called.
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Text => "txt",
            Self::Markdown => "md",
            other => other.name(),
        }
    }

    /// The media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::JsonLines => "application/jsonl",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Text => "text/plain; charset=utf-8",
            Self::Markdown => "text/markdown; charset=utf-8",
            Self::WebVtt => "text/vtt; charset=utf-8",
            Self::SubRip => "application/x-subrip",
        }
    }

    /// Whether a file holds one call only, since its times begin with the call's start.
    pub const fn holds_one_call(self) -> bool {
        matches!(self, Self::WebVtt | Self::SubRip)
    }
}

/// How much left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    /// Calls.
    pub calls: u64,
    /// Turns, as far as the form shows them.
    pub turns: u64,
}

/// How many names of calls are read at once.
const PAGE: usize = 200;

/// Up to how many bytes a call stays in memory while it is written.
const IN_MEMORY: usize = 1024 * 1024;

/// Writes the calls that are wanted to `out`. `watch` is told how far it is after each.
///
/// # Errors
/// What was written until then is not whole.
pub fn export(
    archive: &dyn Archive,
    which: &Selection,
    format: Format,
    out: &mut dyn Write,
    watch: &mut dyn FnMut(Exported),
) -> Result<Exported, ExportError> {
    let mut done = Exported::default();
    let mut lines = rows::Lines::default();
    out.write_all(match format {
        Format::Csv => rows::CSV_HEADER.as_bytes(),
        Format::WebVtt => subtitles::VTT_HEADER.as_bytes(),
        _ => b"",
    })?;
    let mut after = 0;
    loop {
        let calls = archive.call_ids(which, after, PAGE)?;
        let Some((last, _)) = calls.last() else { break };
        after = *last;
        for (_, id) in &calls {
            // On its way to the reader the call is nobody's any more.
            let mut aside = SpooledTempFile::new(IN_MEMORY);
            let mut buffered = BufWriter::new(&mut aside);
            let turns = match format {
                Format::JsonLines => lines.call(archive, id, &mut buffered)?,
                other => transcript(archive, id, other, done.calls == 0, &mut buffered)?,
            };
            buffered.flush()?;
            drop(buffered);
            // One that was erased since its name was read.
            let Some(turns) = turns else { continue };
            aside.rewind()?;
            io::copy(&mut aside, out)?;
            done.calls += 1;
            done.turns += turns;
            watch(done);
        }
    }
    if format == Format::JsonLines && is_everything(which) {
        lines.rest(archive, out)?;
    }
    out.flush()?;
    Ok(done)
}

/// Returns whether nothing is left out, so that what belongs to no call is wanted too.
fn is_everything(which: &Selection) -> bool {
    // Each field is named, so that a new filter does not compile before it is decided here. Those behind `_` only say in
    // which order and pieces calls come.
    let Selection { conversation_id, calls } = which;
    let CallQuery {
        status,
        driver_id,
        user_id,
        agent_id,
        record,
        started_after,
        started_before,
        text,
        order: _,
        after: _,
        limit: _,
        with_total: _,
    } = calls;
    conversation_id.is_none()
        && status.is_none()
        && driver_id.is_none()
        && user_id.is_none()
        && agent_id.is_none()
        && *record == RecordFilter::default()
        && started_after.is_none()
        && started_before.is_none()
        && text.is_none()
}

/// Writes one call by its turns; says how many there were, if there is the call.
fn transcript(
    archive: &dyn Archive,
    id: &ConversationId,
    format: Format,
    first: bool,
    mut out: &mut dyn Write,
) -> Result<Option<u64>, ExportError> {
    let order = if format == Format::Csv { TurnOrder::Sequence } else { TurnOrder::Time };
    let (mut turns, mut form) = (0, None::<Box<dyn Form>>);
    let there = archive.transcript(id, order, &mut |part| match part {
        Spoken::Call(call, driver) => {
            let begun = begin(format, Context { call: *call, driver }, first, &mut out)?;
            form = Some(begun);
            Ok(())
        }
        Spoken::Turn(turn) => {
            turns += 1;
            form.as_mut().map_or(Ok(()), |form| form.turn(*turn, &mut out))
        }
    })?;
    if let Some(mut form) = form {
        form.end(&mut out)?;
    }
    Ok(there.then_some(turns))
}

fn begin(format: Format, of: Context, first: bool, out: &mut dyn Write) -> io::Result<Box<dyn Form>> {
    Ok(match format {
        Format::JsonLines => unreachable!("rows are written otherwise"),
        Format::Csv => Box::new(rows::Table::new(of)),
        Format::Text => Box::new(transcript::Text::begin(of, first, out)?),
        Format::Markdown => Box::new(transcript::Markdown::begin(of, first, out)?),
        Format::WebVtt => Box::new(subtitles::Cues::new(of, subtitles::Kind::WebVtt)),
        Format::SubRip => Box::new(subtitles::Cues::new(of, subtitles::Kind::SubRip)),
    })
}
