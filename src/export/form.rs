//! What the forms share: a call that is written turn by turn, and its words.

use crate::domain::{Call, Driver, Speaker, Turn};
use std::io::{self, Write};

/// A call that a form writes, and who was called.
pub(super) struct Context {
    pub(super) call: Call,
    pub(super) driver: Option<Driver>,
}

impl Context {
    /// Returns how long after the call's start a turn was said, in milliseconds.
    pub(super) fn offset(&self, turn: &Turn) -> u64 {
        self.call.offset_micros(turn) / 1000
    }
}

/// How a call is written, turn by turn.
pub(super) trait Form {
    fn turn(&mut self, turn: Turn, out: &mut dyn Write) -> io::Result<()>;

    fn end(&mut self, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

/// The words of a turn as they were said, by the platform's record where there is one.
pub(super) fn words(turn: &Turn) -> &str {
    turn.final_text.as_ref().unwrap_or(&turn.message).as_str()
}

pub(super) fn name_of(speaker: Speaker) -> &'static str {
    match speaker {
        Speaker::Agent => "Agent",
        Speaker::Driver => "Driver",
    }
}

/// The lines of a text that are not blank; a reader of any form would end a paragraph at a blank one.
pub(super) fn lines_of(text: &str) -> impl Iterator<Item = &str> {
    let separators = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}', '\u{B}', '\u{C}'];
    text.split(separators).map(str::trim).filter(|line| !line.is_empty())
}

/// `01:02:03`.
pub(super) fn clock(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
