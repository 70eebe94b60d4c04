//! Remarks: warnings about the parts of an event that could not be read.

use super::stored_text::stored_as;
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

stored_as!(RemarkKind { Words => "words", Number => "number", Text => "text", Field => "field" });

/// Returns the remarks on one line, or `None` if there are none.
pub fn describe_remarks(remarks: &[Remark]) -> Option<String> {
    let texts: Vec<_> = remarks.iter().map(|remark| remark.text.as_str()).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}
