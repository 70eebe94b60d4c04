//! The export formats: their names, file extensions and media types.

/// An export format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// All rows as JSON, one object per line. The only format that can be imported.
    JsonLines,
    /// A table with a row per turn (RFC 4180).
    Csv,
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
    pub const ALL: [Self; 6] = [Self::JsonLines, Self::Csv, Self::Text, Self::Markdown, Self::WebVtt, Self::SubRip];

    /// Returns the format's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::JsonLines => "jsonl",
            Self::Csv => "csv",
            Self::Text => "text",
            Self::Markdown => "markdown",
            Self::WebVtt => "vtt",
            Self::SubRip => "srt",
        }
    }

    /// Returns the common file extension.
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Text => "txt",
            Self::Markdown => "md",
            other => other.name(),
        }
    }

    /// Returns the media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::JsonLines => "application/jsonl",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Text => "text/plain; charset=utf-8",
            Self::Markdown => "text/markdown; charset=utf-8",
            Self::WebVtt => "text/vtt; charset=utf-8",
            Self::SubRip => "application/x-subrip",
        }
    }

    /// Returns whether a file contains only one call, because its times are relative to the call's start.
    pub const fn holds_one_call(self) -> bool {
        matches!(self, Self::WebVtt | Self::SubRip)
    }
}
