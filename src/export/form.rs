//! Shared parts of the export formats: a call that is written turn by turn, and its words.

use crate::domain::{Call, Driver, Speaker, Turn};
use std::io::{self, Write};

/// A call that is exported, with its driver.
pub(super) struct CallContext {
    pub(super) call: Call,
    pub(super) driver: Option<Driver>,
}

impl CallContext {
    /// Returns the time of a turn since the start of the call, in milliseconds.
    pub(super) fn offset(&self, turn: &Turn) -> u64 {
        self.call.offset_micros(turn) / 1000
    }
}

/// Position of a call in its file. A separator precedes all calls but the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallPosition {
    First,
    Later,
}

/// A writer of a call's transcript, turn by turn.
pub(super) trait Formatter {
    fn turn(&mut self, turn: Turn, out: &mut dyn Write) -> io::Result<()>;

    fn end(&mut self, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the final words of a turn, from ElevenLabs' record if there is one.
pub(super) fn words(turn: &Turn) -> &str {
    turn.final_text.as_ref().unwrap_or(&turn.message).as_str()
}

pub(super) fn name_of(speaker: Speaker) -> &'static str {
    match speaker {
        Speaker::Agent => "Agent",
        Speaker::Driver => "Driver",
    }
}

/// Returns the lines of a text that are not blank. In every format a blank line would end a paragraph.
pub(super) fn lines_of(text: &str) -> impl Iterator<Item = &str> {
    let separators = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}', '\u{B}', '\u{C}'];
    text.split(separators).map(str::trim).filter(|line| !line.is_empty())
}

/// Formats a time as `01:02:03`.
pub(super) fn clock(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
