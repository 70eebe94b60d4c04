//! Remarks: warnings about the parts of an event that could not be read.

use serde::{Deserialize, Serialize};

/// A part of an event that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// Kind of the lost value.
    pub kind: RemarkKind,
    /// Path and reason; never words of a call.
    pub text: String,
}

/// Kinds of values that can be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemarkKind {
    /// Words, or possible words.
    Words,
    /// Numbers that JSON cannot represent.
    Number,
    /// Damaged characters.
    Text,
    /// Any other field.
    Field,
}

impl RemarkKind {
    /// Returns the name, as a label of a metric.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Words => "words",
            Self::Number => "number",
            Self::Text => "text",
            Self::Field => "field",
        }
    }
}

/// Returns the remarks on one line, or `None` if there are none.
pub fn describe_remarks(remarks: &[Remark]) -> Option<String> {
    let texts: Vec<_> = remarks.iter().map(|remark| remark.text.as_str()).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}
