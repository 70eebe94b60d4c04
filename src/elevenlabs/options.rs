//! Options of parsing events.

/// The options of parsing events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventOptions {
    /// Details of tool calls that are read.
    pub tool_details: ToolDetails,
    /// True if unredacted copies of redacted conversations are read.
    pub keep_unredacted: bool,
}

/// Details of tool calls that are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ToolDetails {
    /// Names, times, arguments and results.
    #[default]
    Full,
    /// Names and times.
    Names,
    /// Nothing.
    Off,
}
