//! Writes subtitles: `WebVTT` (<https://www.w3.org/TR/webvtt1/>) and `SubRip`. Times are relative to the call's start.
//!
//! A cue is shown until the next one starts, but no longer than its words take to read. The order of the conversation
//! takes precedence over its times: a cue never starts before the previous one. Records contain whole seconds, so
//! several turns may start at one time; they share the time until the next start, in proportion to their length.

use super::form::{CallContext, Formatter, kind_label, lines_of, tool_heading, words};
use crate::domain::{PlacedToolCall, Turn};
use std::io::{self, Write};

/// Header of a `WebVTT` file.
pub(super) const VTT_HEADER: &str = "WEBVTT\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SubtitleKind {
    WebVtt,
    SubRip,
}

/// Minimum duration of the last cue, in milliseconds.
const MIN_CUE_MS: u64 = 1000;

/// Reading time per letter, in milliseconds.
const MS_PER_LETTER: u64 = 90;

/// Minimum duration of each of several cues with a common start, in milliseconds. A turn that starts within it has the
/// common start too.
const MIN_SHARE_MS: u64 = 50;

/// Maximum number of turns that are buffered until the start of the next one is known.
const MAX_PENDING: usize = 1000;

/// A writer of subtitles.
pub(super) struct SubtitleWriter {
    of: CallContext,
    kind: SubtitleKind,
    written: u64,
    /// Start of the buffered turns. Their ends depend on the start of the next turn.
    start: u64,
    pending: Vec<Cue>,
}

/// The text of a cue.
struct Cue {
    /// The one who speaks; `None` for a note.
    voice: Option<&'static str>,
    /// Label of words that are not speech.
    label: Option<&'static str>,
    /// Name and label on one line.
    heading: String,
    text: String,
}

impl SubtitleWriter {
    pub(super) fn new(of: CallContext, kind: SubtitleKind) -> Self {
        Self { of, kind, written: 0, start: 0, pending: Vec::new() }
    }

    /// Writes the buffered turns; `next` is the start of the next turn. Returns the end of the last one.
    fn write_pending(&mut self, next: Option<u64>, out: &mut dyn Write) -> io::Result<u64> {
        let pending = std::mem::take(&mut self.pending);
        let lengths: Vec<_> = pending.iter().map(length).collect();
        let total: u64 = lengths.iter().sum();
        let room = next.map_or(total, |next| total.min(next - self.start));
        let (mut read, mut end) = (0, self.start);
        for (cue, length) in pending.iter().zip(lengths) {
            let begin = end;
            read += length;
            end = self.start + room * read / total;
            self.write(begin, end, cue, out)?;
        }
        Ok(end)
    }

    fn write(&mut self, start: u64, end: u64, cue: &Cue, out: &mut dyn Write) -> io::Result<()> {
        self.written += 1;
        let (start, end) = (self.time(start), self.time(end));
        match self.kind {
            SubtitleKind::WebVtt => {
                let text = lines_of(&cue.text).map(escaped).collect::<Vec<_>>().join("\n");
                writeln!(out, "\n{}\n{start} --> {end}", self.written)?;
                let voice = cue.voice.map(|voice| format!("<v {voice}>")).unwrap_or_default();
                match (cue.label, cue.voice) {
                    (None, Some(_)) => writeln!(out, "{voice}{text}"),
                    (None, None) => writeln!(out, "<i>{text}</i>"),
                    (Some(label), _) => writeln!(out, "{voice}<i>{label} {text}</i>"),
                }
            }
            SubtitleKind::SubRip => {
                // SubRip has no escapes, and a line of the words could be mistaken for one with times.
                let text = lines_of(&cue.text).collect::<Vec<_>>().join(" ").replace("-->", "→");
                let heading = if cue.heading.is_empty() { String::new() } else { format!("{}: ", cue.heading) };
                writeln!(out, "{}\n{start} --> {end}\n{heading}{text}\n", self.written)
            }
        }
    }

    fn time(&self, milliseconds: u64) -> String {
        let point = if self.kind == SubtitleKind::WebVtt { '.' } else { ',' };
        format!("{}{point}{:03}", super::form::clock(milliseconds), milliseconds % 1000)
    }
}

/// Returns the time that a cue takes to read, in milliseconds.
fn length(cue: &Cue) -> u64 {
    let letters: usize = lines_of(&cue.text).map(|line| line.chars().count()).sum();
    MIN_CUE_MS + MS_PER_LETTER * letters as u64
}

impl Formatter for SubtitleWriter {
    fn turn(&mut self, turn: Turn, out: &mut dyn Write) -> io::Result<()> {
        let start = self.of.offset(&turn);
        let cue = Cue {
            voice: self.of.name_of(&turn),
            label: kind_label(&turn),
            heading: self.of.heading(&turn),
            text: words(&turn).to_owned(),
        };
        self.push(start, cue, out)
    }

    fn tool(&mut self, call: &PlacedToolCall, out: &mut dyn Write) -> io::Result<()> {
        // Arguments and results are too long to read while the call is heard.
        let text = format!("({})", tool_heading(call).replace("-->", "→"));
        let start = self.of.tool_offset(call).unwrap_or(self.start).max(self.start);
        self.push(start, Cue { voice: None, label: None, heading: String::new(), text }, out)
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.write_pending(None, out).map(drop)
    }
}

impl SubtitleWriter {
    /// Adds a cue, and writes those before it if their ends are known.
    fn push(&mut self, start: u64, cue: Cue, out: &mut dyn Write) -> io::Result<()> {
        if self.pending.is_empty() {
            self.start = start.max(self.start);
        } else if start >= self.start + MIN_SHARE_MS * self.pending.len() as u64 {
            self.write_pending(Some(start), out)?;
            self.start = start;
        } else if self.pending.len() == MAX_PENDING {
            self.start = self.write_pending(None, out)?;
        }
        self.pending.push(cue);
        Ok(())
    }
}

/// Escapes tags, entities and arrows, so no text is mistaken for markup or times.
fn escaped(line: &str) -> String {
    line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
