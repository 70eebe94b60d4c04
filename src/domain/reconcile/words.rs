//! The words of an utterance, as they are compared.

use crate::domain::{Speaker, Timestamp};

/// The words of an utterance, normalized but for [`Self::verbatim`].
#[derive(Clone)]
pub(super) struct NormalizedUtterance {
    pub(super) speaker: Speaker,
    pub(super) text: String,
    pub(super) original: Option<String>,
    pub(super) time: Option<Timestamp>,
}

impl NormalizedUtterance {
    pub(super) fn new(speaker: Speaker, text: &str, original: Option<&str>, time: Option<Timestamp>) -> Self {
        Self { speaker, text: normalize(text), original: original.map(normalize), time }
    }

    /// Returns the utterance with its words as they are, which match equal ones only.
    pub(super) fn verbatim(speaker: Speaker, text: &str, time: Option<Timestamp>) -> Self {
        Self { speaker, text: text.to_owned(), original: None, time }
    }

    pub(super) fn micros_from(&self, other: &Self) -> u64 {
        match (self.time, other.time) {
            (Some(a), Some(b)) => a.unix_micros().abs_diff(b.unix_micros()),
            _ => u64::MAX,
        }
    }
}

/// Returns the text without case, punctuation and superfluous white space. A text with nothing else stays unchanged.
pub fn normalize(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_alphanumeric() {
            folded.extend(c.to_lowercase());
        } else if !matches!(c, '\'' | '’' | '‘') && !folded.is_empty() && !folded.ends_with(' ') {
            folded.push(' ');
        }
    }
    folded.truncate(folded.trim_end().len());
    if folded.is_empty() { text.trim().to_owned() } else { folded }
}

/// Returns whether `text` begins with `beginning` after [`normalize`].
pub(super) fn begins_with(text: &str, beginning: &str) -> bool {
    normalize(text).starts_with(&normalize(beginning))
}
