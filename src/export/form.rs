//! Shared parts of the export formats: a call that is written turn by turn, and its words.

use crate::domain::{Call, Driver, PlacedToolCall, SaidBy, ToolPurpose, Turn, TurnKind};
use std::io::{self, Write};

/// A call that is exported, with its driver.
pub(super) struct CallContext {
    pub(super) call: Call,
    pub(super) driver: Option<Driver>,
}

impl CallContext {
    /// Returns the time of a tool call since the start of the call, in milliseconds, if it is known.
    pub(super) fn tool_offset(&self, placed: &PlacedToolCall) -> Option<u64> {
        let start = self.call.call_start_time.unix_micros();
        placed.call.at.map(|at| u64::try_from(at.unix_micros().saturating_sub(start)).unwrap_or(0) / 1000)
    }

    /// Returns the name of the one who said a turn, or `None` if nobody did.
    pub(super) fn name_of(&self, turn: &Turn) -> Option<&'static str> {
        match turn.said_by() {
            SaidBy::Agent => Some("Agent"),
            SaidBy::Driver if self.call.report.is_of_sub_agent() => Some("Request"),
            SaidBy::Driver => Some("Driver"),
            SaidBy::Mailbox => Some("Mailbox"),
            SaidBy::Nobody => None,
        }
    }

    /// Returns name and label of a turn, such as `Driver (keypad)` or `(silence)`.
    pub(super) fn heading(&self, turn: &Turn) -> String {
        [self.name_of(turn), kind_label(turn)].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

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

    fn tool(&mut self, _: &PlacedToolCall, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the final words of a turn, from ElevenLabs' record if there is one.
pub(super) fn words(turn: &Turn) -> &str {
    turn.final_text.as_ref().unwrap_or(&turn.message).as_str()
}

/// Returns the label of a turn that is not speech, and is therefore shown faintly.
pub(super) const fn kind_label(turn: &Turn) -> Option<&'static str> {
    match turn.kind {
        TurnKind::Speech => None,
        TurnKind::Silence => Some("(silence)"),
        TurnKind::Backchannel => Some("(nod)"),
        TurnKind::Keypad => Some("(keypad)"),
        TurnKind::Text => Some("(typed)"),
        TurnKind::Context => Some("(context)"),
    }
}

/// Returns the name of a tool call for people, such as `Tool set_point failed`.
pub(super) fn tool_heading(placed: &PlacedToolCall) -> String {
    let what = if placed.call.purpose == ToolPurpose::Guardrail { "Guardrail" } else { "Tool" };
    let failed = if placed.call.is_error == Some(true) { " failed" } else { "" };
    format!("{what} {}{failed}", lines_of(&placed.call.name).collect::<Vec<_>>().join(" "))
}

/// Returns arguments and result of a tool call on one line, as far as they are known.
pub(super) fn tool_details(placed: &PlacedToolCall) -> String {
    let one_line = |text: &String| lines_of(text).collect::<Vec<_>>().join(" ");
    let arguments = placed.call.arguments.as_ref().map(one_line).unwrap_or_default();
    let result = placed.call.result.as_ref().map(|result| format!(" → {}", one_line(result))).unwrap_or_default();
    format!("{arguments}{result}").trim().to_owned()
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
