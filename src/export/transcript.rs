//! Writes transcripts for people: plain text and Markdown.
//!
//! Words of a call are never mistaken for layout. In plain text all lines of a turn after the first are indented, in
//! Markdown all special characters are escaped.

use super::form::{
    CallContext, CallPosition, Formatter, clock, kind_label, lines_of, tool_details, tool_heading, words,
};
use crate::domain::{PlacedToolCall, Turn};
use std::fmt::Write as _;
use std::io::{self, Write};

/// Returns the driver for the heading, or the reason why there is none.
fn called(of: &CallContext) -> String {
    match (&of.driver, of.call.driver_id) {
        (Some(driver), _) => format!("{} ({})", lines_of(&driver.name).collect::<Vec<_>>().join(" "), driver.id),
        (None, Some(id)) => format!("driver {id}"),
        (None, None) => "not known".to_owned(),
    }
}

fn end(of: &CallContext) -> String {
    of.call.call_end_time.map_or_else(|| "not known".to_owned(), |time| time.to_string())
}

/// Returns an identifier on one line, because it may contain anything.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c }).collect()
}

/// A writer of plain text.
pub(super) struct Text {
    of: CallContext,
    /// Time of the last turn, for tool calls without a time, in milliseconds.
    last: u64,
}

impl Text {
    pub(super) fn begin(of: CallContext, position: CallPosition, out: &mut dyn Write) -> io::Result<Self> {
        if position == CallPosition::Later {
            out.write_all(b"\n\n")?;
        }
        writeln!(out, "Call {}", one_line(of.call.conversation_id.as_str()))?;
        writeln!(out, "Driver: {}", called(&of))?;
        writeln!(out, "Start: {}", of.call.call_start_time)?;
        writeln!(out, "End: {}", end(&of))?;
        writeln!(out, "Status: {}", of.call.status.as_str())?;
        out.write_all(b"\n")?;
        Ok(Self { of, last: 0 })
    }
}

impl Formatter for Text {
    fn turn(&mut self, turn: Turn, out: &mut dyn Write) -> io::Result<()> {
        let text = lines_of(words(&turn)).collect::<Vec<_>>().join("\n    ");
        self.last = self.of.offset(&turn);
        writeln!(out, "[{}] {}: {text}", clock(self.last), self.of.heading(&turn))
    }

    fn tool(&mut self, call: &PlacedToolCall, out: &mut dyn Write) -> io::Result<()> {
        let at = self.of.tool_offset(call).unwrap_or(self.last);
        let text = format!("[{}] {}: {}", clock(at), tool_heading(call), tool_details(call));
        writeln!(out, "{}", text.trim_end())
    }
}

/// A writer of Markdown.
pub(super) struct Markdown {
    of: CallContext,
    /// Time of the last turn, for tool calls without a time, in milliseconds.
    last: u64,
}

impl Markdown {
    pub(super) fn begin(of: CallContext, position: CallPosition, out: &mut dyn Write) -> io::Result<Self> {
        if position == CallPosition::Later {
            out.write_all(b"\n")?;
        }
        writeln!(out, "## {}\n", escaped(&one_line(of.call.conversation_id.as_str())))?;
        writeln!(out, "- Driver: {}", escaped(&called(&of)))?;
        writeln!(out, "- Start: {}", of.call.call_start_time)?;
        writeln!(out, "- End: {}", end(&of))?;
        writeln!(out, "- Status: {}", escaped(of.call.status.as_str()))?;
        Ok(Self { of, last: 0 })
    }
}

impl Formatter for Markdown {
    fn turn(&mut self, turn: Turn, out: &mut dyn Write) -> io::Result<()> {
        // A backslash at the end of a line is a line break within the paragraph.
        let text = lines_of(words(&turn)).map(escaped).collect::<Vec<_>>().join("\\\n");
        self.last = self.of.offset(&turn);
        let name = self.of.name_of(&turn).map(|name| format!("**{name}** ")).unwrap_or_default();
        let kind = kind_label(&turn).map(|label| format!("*{label}* ")).unwrap_or_default();
        writeln!(out, "\n{name}{kind}{} {text}", clock(self.last))
    }

    fn tool(&mut self, call: &PlacedToolCall, out: &mut dyn Write) -> io::Result<()> {
        let at = self.of.tool_offset(call).unwrap_or(self.last);
        let text = format!("\n*{}* {} {}", escaped(&tool_heading(call)), clock(at), escaped(&tool_details(call)));
        writeln!(out, "{}", text.trim_end())
    }
}

/// Escapes all special characters of a line (<https://spec.commonmark.org/0.31.2/#backslash-escapes>).
fn escaped(line: &str) -> String {
    let mut out = String::with_capacity(line.len() + 8);
    let only_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    for (at, c) in line.char_indices() {
        let means_something = match c {
            // The last two characters prevent that an address becomes a link.
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '&' | '#' | '|' | '~' | '!' | '$' | '^' | ':' | '@' => {
                true
            }
            // These characters only have a meaning at the start of a line.
            '-' | '+' | '=' => at == 0,
            '.' | ')' => only_digits(&line[..at]),
            _ => false,
        };
        if means_something {
            out.push('\\');
        }
        let _ = out.write_char(c);
    }
    out
}
