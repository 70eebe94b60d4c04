//! The flags of `serve`, `backfill` and `replay` that say what is read of events.

use crate::elevenlabs::{EventOptions, ToolDetails};
use clap::{Args, ValueEnum};

/// The options of parsing events.
#[derive(Debug, Args)]
pub(in crate::cli) struct EventArgs {
    /// Store these details of tool calls
    ///
    /// The stored event always contains all of them, redacted as --redact says.
    #[arg(long, env = "TRANSCRIBE_HOOK_TOOL_DETAILS", value_name = "DETAILS", default_value = "full")]
    tool_details: DetailName,
    /// Let unredacted copies replace redacted words and recordings
    ///
    /// Without it, only the event of an unredacted copy is stored.
    #[arg(long, env = "TRANSCRIBE_HOOK_KEEP_UNREDACTED")]
    keep_unredacted: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DetailName {
    /// Names, times, arguments and results
    Full,
    /// Names and times
    Names,
    /// Nothing
    Off,
}

impl EventArgs {
    /// Returns the options.
    pub(in crate::cli) fn options(&self) -> EventOptions {
        let tool_details = match self.tool_details {
            DetailName::Full => ToolDetails::Full,
            DetailName::Names => ToolDetails::Names,
            DetailName::Off => ToolDetails::Off,
        };
        EventOptions { tool_details, keep_unredacted: self.keep_unredacted }
    }
}
