//! Redacted records and their unredacted copies.
//!
//! ElevenLabs can redact a conversation, with marks in brackets such as `[NAME]` in the place of words, and send an
//! unredacted copy beside it. The copy must not bring the words back unless the service is configured to prefer it.

use super::{Entry, Record};

/// Maximum length of the name in a mark, in bytes.
const MAX_MARK_BYTES: usize = 40;

/// Returns for each record whether it is ignored: because it only fills in what another record has redacted, or, if it
/// may do that, because the other one is the redacted form of it.
pub(super) fn ignored_copies(records: &[Record]) -> Vec<bool> {
    let mut ignored = vec![false; records.len()];
    for (redacted, record) in records.iter().enumerate() {
        let marked = record.entries.as_deref().unwrap_or_default();
        if !marked.iter().any(|entry| has_mark(entry.message.as_str())) {
            continue;
        }
        for (copy, other) in records.iter().enumerate() {
            let entries = other.entries.as_deref().unwrap_or_default();
            // Two that mark the same words under different names are no copies of each other.
            if copy != redacted && is_redaction_of(marked, entries) && !is_redaction_of(entries, marked) {
                ignored[if other.unredacted { redacted } else { copy }] = true;
            }
        }
    }
    ignored
}

/// Returns whether a transcript is another one with marks in the place of words.
fn is_redaction_of(redacted: &[Entry], other: &[Entry]) -> bool {
    let fits = |(redacted, other): (&Entry, &Entry)| {
        let (marked, text) = (redacted.message.as_str(), other.message.as_str());
        redacted.speaker == other.speaker && (marked == text || fits_between_marks(marked, text))
    };
    redacted.len() == other.len()
        && redacted.iter().zip(other).any(|(redacted, other)| redacted.message != other.message)
        && redacted.iter().zip(other).all(fits)
}

fn has_mark(text: &str) -> bool {
    next_mark(text).is_some()
}

/// Returns the texts before and after the first mark.
fn next_mark(text: &str) -> Option<(&str, &str)> {
    let is_mark = |name: &str| {
        !name.is_empty()
            && name.len() <= MAX_MARK_BYTES
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b' '))
    };
    text.match_indices('[').find_map(|(at, _)| {
        let (name, rest) = text[at + 1..].split_once(']')?;
        is_mark(name).then_some((&text[..at], rest))
    })
}

/// Returns whether a text is that of `marked` with words in the place of each mark.
fn fits_between_marks(marked: &str, text: &str) -> bool {
    let Some((beginning, mut rest)) = next_mark(marked) else { return false };
    let Some(mut text) = text.strip_prefix(beginning) else { return false };
    // Each part between two marks is searched from the left, which finds a fit if there is any.
    while let Some((part, after)) = next_mark(rest) {
        match skip_one(text).and_then(|text| text.find(part).map(|at| &text[at + part.len()..])) {
            Some(left) => text = left,
            None => return false,
        }
        rest = after;
    }
    skip_one(text).is_some_and(|text| text.ends_with(rest))
}

/// Returns the text after its first character, because a mark replaces at least one.
fn skip_one(text: &str) -> Option<&str> {
    let mut chars = text.chars();
    chars.next().map(|_| chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_fits_if_it_differs_only_where_the_redacted_one_has_marks() {
        for (marked, text, wanted) in [
            ("I am [NAME].", "I am Maria.", true),
            ("[NAME], at [PLACE]?", "Maria, at Gary?", true),
            ("[NAME] [NAME]", "Maria Kowalski", true),
            ("I am [NAME].", "I am Maria!", false),
            ("I am [NAME].", "He is Maria.", false),
            ("I am [NAME].", "I am .", false),
            ("I am Maria.", "I am Maria.", false),
            ("I am [NAME]", "I am [PERSON_1]", true),
            ("a [not: a mark] b", "a x b", false),
            ("[é] [A] b", "[é] x b", true),
            ("[A] and [B] and c", "x and and and c", true),
        ] {
            assert_eq!(fits_between_marks(marked, text), wanted, "{marked:?} {text:?}");
        }
    }
}
