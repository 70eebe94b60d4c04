//! Subtitles: `WebVTT` (<https://www.w3.org/TR/webvtt1/>) and `SubRip`, whose times begin with the call's start.
//!
//! A cue lasts until the next one begins, at most as long as its words take to read. The order of the conversation counts
//! more than its clocks: a cue does not begin before the one before it did.

use super::{Context, Form, lines_of, name_of, words};
use crate::model::Turn;
use std::io::{self, Write};

/// What a file begins with.
pub(super) const VTT_HEADER: &str = "WEBVTT\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    WebVtt,
    SubRip,
}

/// How long a cue is shown at the shortest, in milliseconds.
const SHORTEST: u64 = 1000;

/// How long a letter takes to read, in milliseconds.
const PER_LETTER: u64 = 90;

/// Writes cues.
pub(super) struct Cues {
    of: Context,
    kind: Kind,
    written: u64,
    /// The last turn and its beginning; its end is known with the next one.
    pending: Option<(u64, Turn)>,
}

impl Cues {
    pub(super) fn new(of: Context, kind: Kind) -> Self {
        Self { of, kind, written: 0, pending: None }
    }

    fn write(&mut self, start: u64, turn: &Turn, next: Option<u64>, out: &mut dyn Write) -> io::Result<()> {
        let text: Vec<_> = lines_of(words(turn)).collect();
        let letters: usize = text.iter().map(|line| line.chars().count()).sum();
        let longest = SHORTEST + PER_LETTER * letters as u64;
        // A cue that ends when it begins is none.
        let end = next.filter(|next| *next > start).map_or(start + longest, |next| next.min(start + longest));
        self.written += 1;
        let (start, end) = (self.time(start), self.time(end));
        match self.kind {
            Kind::WebVtt => {
                let text: Vec<_> = text.iter().map(|line| escaped(line)).collect();
                writeln!(out, "\n{}\n{start} --> {end}", self.written)?;
                writeln!(out, "<v {}>{}", name_of(turn.speaker), text.join("\n"))
            }
            Kind::SubRip => {
                // There is no way to escape anything, and a line of the words could be taken for one of times.
                let text = text.join(" ").replace("-->", "→");
                writeln!(out, "{}\n{start} --> {end}\n{}: {text}\n", self.written, name_of(turn.speaker))
            }
        }
    }

    fn time(&self, milliseconds: u64) -> String {
        let point = if self.kind == Kind::WebVtt { '.' } else { ',' };
        format!("{}{point}{:03}", super::clock(milliseconds), milliseconds % 1000)
    }
}

impl Form for Cues {
    fn turn(&mut self, turn: Turn, out: &mut dyn Write) -> io::Result<()> {
        let before = self.pending.as_ref().map_or(0, |(start, _)| *start);
        let start = self.of.offset(turn.timestamp).max(before);
        if let Some((begun, last)) = self.pending.replace((start, turn)) {
            self.write(begun, &last, Some(start), out)?;
        }
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        match self.pending.take() {
            Some((start, turn)) => self.write(start, &turn, None, out),
            None => Ok(()),
        }
    }
}

/// Text in which nothing is taken for a tag, an entity or a line of times.
fn escaped(line: &str) -> String {
    line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
