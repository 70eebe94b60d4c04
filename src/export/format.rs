//! The export formats: their names, file extensions and media types, and what is exported in them.

use crate::domain::TurnKind;

/// An export format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// All rows as JSON, one object per line. The only format that can be imported.
    JsonLines,
    /// A table with a row per turn (RFC 4180).
    Csv,
    /// A table with a row per call, also for calls without turns.
    CallsCsv,
    /// Plain-text transcripts for people.
    Text,
    /// Markdown transcripts for people.
    Markdown,
    /// Subtitles in `WebVTT`, for browsers.
    WebVtt,
    /// Subtitles in `SubRip`, for other players.
    SubRip,
}

impl ExportFormat {
    /// All formats.
    pub const ALL: [Self; 7] =
        [Self::JsonLines, Self::Csv, Self::CallsCsv, Self::Text, Self::Markdown, Self::WebVtt, Self::SubRip];

    /// Returns the format's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::JsonLines => "jsonl",
            Self::Csv => "csv",
            Self::CallsCsv => "calls-csv",
            Self::Text => "text",
            Self::Markdown => "markdown",
            Self::WebVtt => "vtt",
            Self::SubRip => "srt",
        }
    }

    /// Returns the common file extension.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::CallsCsv => "csv",
            Self::Text => "txt",
            Self::Markdown => "md",
            other => other.name(),
        }
    }

    /// Returns the media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::JsonLines => "application/jsonl",
            Self::Csv | Self::CallsCsv => "text/csv; charset=utf-8",
            Self::Text => "text/plain; charset=utf-8",
            Self::Markdown => "text/markdown; charset=utf-8",
            Self::WebVtt => "text/vtt; charset=utf-8",
            Self::SubRip => "application/x-subrip",
        }
    }

    /// Returns whether turns of some kinds can be left out. An archive is complete, and rows of calls have no turns.
    pub const fn has_kinds(self) -> bool {
        !matches!(self, Self::JsonLines | Self::CallsCsv)
    }

    /// Returns whether tool calls can be included. An archive always has them.
    pub const fn has_tools(self) -> bool {
        !matches!(self, Self::CallsCsv)
    }

    /// Returns whether a file contains only one call, because its times are relative to the call's start.
    pub const fn holds_one_call(self) -> bool {
        matches!(self, Self::WebVtt | Self::SubRip)
    }
}

/// A format and the parts of calls that are exported in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportForm {
    /// The format.
    pub format: ExportFormat,
    /// Kinds of turns to export; empty for all.
    pub kinds: Vec<TurnKind>,
    /// True to include tool calls at their places.
    pub with_tools: bool,
}

impl ExportForm {
    /// Returns whether turns of this kind are exported.
    pub(super) fn has(&self, kind: TurnKind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }
}

impl From<ExportFormat> for ExportForm {
    fn from(format: ExportFormat) -> Self {
        Self { format, kinds: Vec::new(), with_tools: false }
    }
}
