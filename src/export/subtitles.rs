//! Subtitles: `WebVTT` (<https://www.w3.org/TR/webvtt1/>) and `SubRip`, whose times begin with the call's start.
//!
//! A cue lasts until the next one begins, at most as long as its words take to read. The order of the conversation counts
//! more than its clocks: a cue does not begin before the one before it did. Records tell whole seconds, so several turns
//! may begin at one time; those share the time until the next one begins, each by its length.

use super::form::{Context, Form, lines_of, name_of, words};
use crate::domain::Turn;
use std::io::{self, Write};

/// What a file begins with.
pub(super) const VTT_HEADER: &str = "WEBVTT\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    WebVtt,
    SubRip,
}

/// How long a cue is shown at the shortest if nothing follows it, in milliseconds.
const SHORTEST: u64 = 1000;

/// How long a letter takes to read, in milliseconds.
const PER_LETTER: u64 = 90;

/// Minimum time of each of several cues that begin together, in milliseconds. A turn that begins sooner begins with them.
const MIN_SHARE: u64 = 50;

/// Maximum number of turns that wait until it is known when the next one begins.
const MAX_PENDING: usize = 1000;

/// Writes cues.
pub(super) struct Cues {
    of: Context,
    kind: Kind,
    written: u64,
    /// When the last turns begin; their ends are known with the next one.
    start: u64,
    pending: Vec<Turn>,
}

impl Cues {
    pub(super) fn new(of: Context, kind: Kind) -> Self {
        Self { of, kind, written: 0, start: 0, pending: Vec::new() }
    }

    /// Writes the turns that begin together; `next` is when the next one begins. Returns when the last one ends.
    fn write_pending(&mut self, next: Option<u64>, out: &mut dyn Write) -> io::Result<u64> {
        let pending = std::mem::take(&mut self.pending);
        let lengths: Vec<_> = pending.iter().map(length).collect();
        let total: u64 = lengths.iter().sum();
        let room = next.map_or(total, |next| total.min(next - self.start));
        let (mut read, mut end) = (0, self.start);
        for (turn, length) in pending.iter().zip(lengths) {
            let begin = end;
            read += length;
            end = self.start + room * read / total;
            self.write(begin, end, turn, out)?;
        }
        Ok(end)
    }

    fn write(&mut self, start: u64, end: u64, turn: &Turn, out: &mut dyn Write) -> io::Result<()> {
        self.written += 1;
        let (start, end) = (self.time(start), self.time(end));
        match self.kind {
            Kind::WebVtt => {
                let text: Vec<_> = lines_of(words(turn)).map(escaped).collect();
                writeln!(out, "\n{}\n{start} --> {end}", self.written)?;
                writeln!(out, "<v {}>{}", name_of(turn.speaker), text.join("\n"))
            }
            Kind::SubRip => {
                // There is no way to escape anything, and a line of the words could be taken for one of times.
                let text = lines_of(words(turn)).collect::<Vec<_>>().join(" ").replace("-->", "→");
                writeln!(out, "{}\n{start} --> {end}\n{}: {text}\n", self.written, name_of(turn.speaker))
            }
        }
    }

    fn time(&self, milliseconds: u64) -> String {
        let point = if self.kind == Kind::WebVtt { '.' } else { ',' };
        format!("{}{point}{:03}", super::form::clock(milliseconds), milliseconds % 1000)
    }
}

/// How long the words of a turn take to read, in milliseconds.
fn length(turn: &Turn) -> u64 {
    let letters: usize = lines_of(words(turn)).map(|line| line.chars().count()).sum();
    SHORTEST + PER_LETTER * letters as u64
}

impl Form for Cues {
    fn turn(&mut self, turn: Turn, out: &mut dyn Write) -> io::Result<()> {
        let start = self.of.offset(&turn);
        if self.pending.is_empty() {
            self.start = start.max(self.start);
        } else if start >= self.start + MIN_SHARE * self.pending.len() as u64 {
            self.write_pending(Some(start), out)?;
            self.start = start;
        } else if self.pending.len() == MAX_PENDING {
            self.start = self.write_pending(None, out)?;
        }
        self.pending.push(turn);
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.write_pending(None, out).map(drop)
    }
}

/// Text in which nothing is taken for a tag, an entity or a line of times.
fn escaped(line: &str) -> String {
    line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
