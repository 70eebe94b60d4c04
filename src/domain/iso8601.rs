//! ISO 8601 as `time` reads it.

use time::PrimitiveDateTime;
use time::format_description::well_known::Iso8601;

/// Maximum length of a text that is parsed as a date and time, in bytes.
pub(super) const MAX_TEXT_BYTES: usize = 128;

/// Normalizes a text to the one form that the parser of `time` reads exactly.
///
/// The parser sums fraction digits as a float, which can round `.9999999999` up to a whole second and refuse it. Six
/// digits are exact, and no more are stored.
pub(super) fn normalized(text: &str) -> Option<String> {
    if !text.is_ascii() || text.len() > MAX_TEXT_BYTES {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    let mut fraction_digits: Option<usize> = None;
    for (i, c) in text.char_indices() {
        let c = match c {
            // The blank can only be between date and time, after at least `YYYYMMDD`.
            ' ' | 't' if i >= 8 => 'T',
            'z' => 'Z',
            other => other,
        };
        fraction_digits = match (fraction_digits, c) {
            (_, '.' | ',') => Some(0),
            (Some(n), '0'..='9') => Some(n + 1),
            _ => None,
        };
        if fraction_digits.is_none_or(|n| n <= 6) {
            out.push(c);
        }
    }
    Some(out)
}

/// Returns whether the time of day is followed by a possible offset.
pub(super) fn has_offset(text: &str) -> bool {
    text.split_once('T').is_some_and(|(_, time)| time.contains(['Z', '+', '-']))
}

/// Parses a date and time without an offset.
pub(super) fn naive(text: &str) -> Option<PrimitiveDateTime> {
    let text = normalized(text)?;
    PrimitiveDateTime::parse(&text, &Iso8601::PARSING).ok().filter(|_| !has_offset(&text))
}
