//! What could not be read of a report.

/// A part of a report that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// What was lost.
    pub kind: RemarkKind,
    /// Its place and the reason; never the words of a call.
    pub text: String,
}

/// Kinds of what can be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemarkKind {
    /// Words, or what may be words.
    Words,
    /// Numbers that JSON cannot hold.
    Number,
    /// Damaged characters.
    Text,
    /// Any other value.
    Field,
}

impl RemarkKind {
    /// The name, as a label of a metric.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Words => "words",
            Self::Number => "number",
            Self::Text => "text",
            Self::Field => "field",
        }
    }
}

/// Returns the remarks on one line, if there are any.
pub fn describe_remarks(remarks: &[Remark]) -> Option<String> {
    let texts: Vec<_> = remarks.iter().map(|remark| remark.text.as_str()).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}
