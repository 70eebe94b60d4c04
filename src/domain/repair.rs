//! Repairs JSON that a strict parser rejects although its meaning is certain.
//!
//! ElevenLabs posts an event once, so no damage in it may cost more than the damaged part. Senders write what no JSON
//! parser has to accept: a byte order mark, half of a surrogate pair, `NaN`, invalid UTF-8. The strict parser always
//! runs first, so valid JSON pays nothing. Turns, histories, events, batches, imports and redaction all use this
//! module. The stored body stays unchanged, so a later version may understand more of it (`replay`). Each loss becomes
//! a [`Remark`]: in the log, in `webhook_events.error` and in the metrics, never with words of the call.
//!
//! | in the text | read as |
//! | --- | --- |
//! | UTF-8, UTF-16 or UTF-32 with or without a byte order mark | the same text in UTF-8 |
//! | invalid UTF-8, half of a surrogate pair | U+FFFD |
//! | a surrogate pair in UTF-8 (CESU-8) | its character |
//! | `NaN`, `Infinity`, `1e999`, `007`, `undefined`, `None` | `null` |
//! | `True`, `False` | `true`, `false` |
//! | control characters in a string, a backslash that escapes nothing | themselves |
//! | control characters and unusual white space between values | a blank |
//! | values nested deeper than [`MAX_DEPTH`] | `null` |
//!
//! Anything else that is no JSON stays rejected, because the meaning of a missing bracket or a second value is
//! uncertain.

use super::{Remark, RemarkKind};
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::fmt::Write as _;

/// Maximum depth of arrays and objects. The parser gives up at 128.
const MAX_DEPTH: usize = 120;

const REPLACEMENT: char = '\u{FFFD}';

/// Numbers of values that the repair could not preserve.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repairs {
    /// Numbers that JSON cannot represent.
    numbers: usize,
    /// Characters that were cut in half or have an unknown encoding.
    characters: usize,
    /// Values that were nested too deep.
    nested: usize,
}

impl Repairs {
    /// Returns the losses as remarks for the operator.
    pub fn remarks(self) -> impl Iterator<Item = Remark> {
        let all = [
            (
                self.numbers,
                RemarkKind::Number,
                "numbers that JSON cannot represent (NaN, Infinity, too large) are read as null",
            ),
            (self.characters, RemarkKind::Text, "damaged characters are read as U+FFFD"),
            (self.nested, RemarkKind::Field, "values nested too deep are read as null"),
        ];
        all.into_iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, kind, what)| Remark { kind, text: format!("body: {count} {what}") })
    }
}

/// Parses JSON. If that fails, repairs the text and parses it again.
///
/// # Errors
/// The error in the repaired text.
pub fn read<T: DeserializeOwned>(text: &[u8]) -> serde_json::Result<(T, Repairs)> {
    if let Ok(value) = serde_json::from_slice(text) {
        return Ok((value, Repairs::default()));
    }
    let (text, repairs) = repaired(text);
    serde_json::from_str(&text).map(|value| (value, repairs))
}

/// Parses JSON, repaired only if nothing is lost. For files and management requests, whose senders can correct them.
///
/// # Errors
/// The error in the original text.
pub fn read_whole<T: DeserializeOwned>(text: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(text).or_else(|error| match repaired(text) {
        (text, repairs) if repairs == Repairs::default() => serde_json::from_str(&text),
        _ => Err(error),
    })
}

/// Returns the repaired text. It may still be invalid JSON.
pub fn repaired(text: &[u8]) -> (String, Repairs) {
    let mut repairs = Repairs::default();
    let text = decoded(text, &mut repairs);
    let mut repair = Repair { text: &text, at: 0, out: String::with_capacity(text.len()), repairs };
    repair.values();
    (repair.out, repair.repairs)
}

/// Returns the text in UTF-8 without its byte order mark, detecting its Unicode encoding.
fn decoded<'a>(text: &'a [u8], repairs: &mut Repairs) -> Cow<'a, str> {
    let little: fn([u8; 2]) -> u16 = u16::from_le_bytes;
    let big: fn([u8; 2]) -> u16 = u16::from_be_bytes;
    match text {
        [0xFF, 0xFE, 0, 0, rest @ ..] => utf32(rest, u32::from_le_bytes, repairs).into(),
        [0, 0, 0xFE, 0xFF, rest @ ..] => utf32(rest, u32::from_be_bytes, repairs).into(),
        [0xFF, 0xFE, rest @ ..] => utf16(rest, little, repairs).into(),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, big, repairs).into(),
        // JSON begins with two ASCII characters, so zero bytes reveal the encoding.
        [1..=255, 0, 0, 0, ..] => utf32(text, u32::from_le_bytes, repairs).into(),
        [0, 0, 0, 1..=255, ..] => utf32(text, u32::from_be_bytes, repairs).into(),
        [1..=255, 0, 1..=255, 0, ..] => utf16(text, little, repairs).into(),
        [0, 1..=255, 0, 1..=255, ..] => utf16(text, big, repairs).into(),
        [0xEF, 0xBB, 0xBF, rest @ ..] => utf8(rest, repairs),
        text => utf8(text, repairs),
    }
}

fn utf8<'a>(mut text: &'a [u8], repairs: &mut Repairs) -> Cow<'a, str> {
    let mut out = String::new();
    loop {
        let error = match std::str::from_utf8(text) {
            Ok(valid) if out.is_empty() => return valid.into(),
            Ok(valid) => {
                out.push_str(valid);
                return out.into();
            }
            Err(error) => error,
        };
        let (valid, rest) = text.split_at(error.valid_up_to());
        out.push_str(&String::from_utf8_lossy(valid));
        let (units, length) = surrogates(rest);
        let length = if length > 0 { length } else { error.error_len().unwrap_or(rest.len()) };
        match char::decode_utf16(units).next() {
            Some(Ok(character)) => out.push(character),
            _ => replace(&mut out, repairs),
        }
        text = &rest[length..];
    }
}

/// Returns surrogates that were encoded as separate characters, one or a pair, and their length in bytes.
fn surrogates(text: &[u8]) -> (impl Iterator<Item = u16>, usize) {
    let unit = |text: &[u8]| match text {
        [0xED, second @ 0xA0..=0xBF, third @ 0x80..=0xBF, ..] => {
            Some(0xD000 | (u16::from(*second) & 0x3F) << 6 | u16::from(*third) & 0x3F)
        }
        _ => None,
    };
    let first = unit(text);
    let second = first.filter(|first| *first < 0xDC00).and_then(|_| unit(&text[3..])).filter(|unit| *unit >= 0xDC00);
    let length = 3 * (usize::from(first.is_some()) + usize::from(second.is_some()));
    (first.into_iter().chain(second), length)
}

fn utf16(text: &[u8], unit: impl Fn([u8; 2]) -> u16, repairs: &mut Repairs) -> String {
    let (units, rest) = text.as_chunks();
    repairs.characters += usize::from(!rest.is_empty());
    joined(units.iter().map(|pair| unit(*pair)), repairs)
}

fn utf32(text: &[u8], unit: impl Fn([u8; 4]) -> u32, repairs: &mut Repairs) -> String {
    /// Half of a pair, which becomes U+FFFD.
    const NO_CHARACTER: u16 = 0xDC00;
    let (units, rest) = text.as_chunks();
    repairs.characters += usize::from(!rest.is_empty());
    // Python writes a pair as two characters.
    let units = units.iter().flat_map(|bytes| {
        let number = unit(*bytes);
        match (u16::try_from(number), char::from_u32(number)) {
            (Ok(unit), _) => [Some(unit), None],
            (_, Some(character)) => {
                let mut pair = [0; 2];
                character.encode_utf16(&mut pair);
                pair.map(Some)
            }
            _ => [Some(NO_CHARACTER), None],
        }
    });
    joined(units.flatten(), repairs)
}

fn joined(units: impl Iterator<Item = u16>, repairs: &mut Repairs) -> String {
    let mut out = String::new();
    for character in char::decode_utf16(units) {
        match character {
            Ok(character) => out.push(character),
            Err(_) => replace(&mut out, repairs),
        }
    }
    out
}

fn replace(out: &mut String, repairs: &mut Repairs) {
    out.push(REPLACEMENT);
    repairs.characters += 1;
}

/// A pass over JSON text that copies it with repairs.
struct Repair<'a> {
    text: &'a str,
    at: usize,
    out: String,
    repairs: Repairs,
}

impl Repair<'_> {
    fn values(&mut self) {
        let mut depth = 0_usize;
        // Position in the output and depth of the value that is nested too deep.
        let mut too_deep = None;
        while let Some(next) = self.text[self.at..].chars().next() {
            match next {
                '"' => {
                    self.string();
                    continue;
                }
                '{' | '[' => {
                    depth += 1;
                    if depth > MAX_DEPTH && too_deep.is_none() {
                        too_deep = Some((self.out.len(), depth));
                    }
                    self.out.push(next);
                }
                '}' | ']' => {
                    self.out.push(next);
                    if let Some((from, _)) = too_deep.take_if(|(_, at)| *at == depth) {
                        self.out.truncate(from);
                        self.out.push_str("null");
                        self.repairs.nested += 1;
                    }
                    depth = depth.saturating_sub(1);
                }
                ',' | ':' => self.out.push(next),
                blank if is_blank(blank) => self.out.push(' '),
                _ => {
                    self.word();
                    continue;
                }
            }
            self.at += next.len_utf8();
        }
        self.out.truncate(self.out.trim_end_matches(' ').len());
    }

    /// Copies a value that is neither string, array nor object.
    fn word(&mut self) {
        let rest = &self.text[self.at..];
        let ends = |c: char| matches!(c, '"' | '{' | '}' | '[' | ']' | ',' | ':') || is_blank(c);
        let word = &rest[..rest.find(ends).unwrap_or(rest.len())];
        self.at += word.len();
        let unsigned = word.trim_start_matches(['+', '-']);
        let is = |names: &[&str]| names.iter().any(|name| unsigned.eq_ignore_ascii_case(name));
        if word == "True" || word == "False" {
            self.out.push_str(&word.to_ascii_lowercase());
        } else if is(&["nan", "infinity", "inf", "undefined", "none", "1.#inf", "1.#ind", "1.#qnan", "1.#snan"])
            || (is_numeric(word) && serde_json::from_str::<f64>(word).is_err())
        {
            self.out.push_str("null");
            self.repairs.numbers += 1;
        } else {
            self.out.push_str(word);
        }
    }

    /// Copies a string, starting at its opening quote.
    fn string(&mut self) {
        self.out.push('"');
        self.at += 1;
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.find(|c| c < ' ' || c == '"' || c == '\\').unwrap_or(rest.len());
            self.out.push_str(&rest[..plain]);
            self.at += plain;
            match self.text.as_bytes().get(self.at) {
                // An unterminated string stays unterminated.
                None => return,
                Some(b'"') => {
                    self.out.push('"');
                    self.at += 1;
                    return;
                }
                Some(b'\\') => self.escape(),
                Some(control) => {
                    write!(self.out, "\\u{control:04x}").expect("writing to a string cannot fail");
                    self.at += 1;
                }
            }
        }
    }

    fn escape(&mut self) {
        let rest = &self.text[self.at..];
        let length = match rest.as_bytes().get(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') => match (unit(rest), rest.get(6..).and_then(unit)) {
                (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
                (Some(0xD800..=0xDFFF), _) => {
                    self.at += 6;
                    return replace(&mut self.out, &mut self.repairs);
                }
                (Some(_), _) => 6,
                (None, _) => 0,
            },
            // An escape of JavaScript and Python.
            Some(b'\'') => {
                self.at += 1;
                return;
            }
            _ => 0,
        };
        if length == 0 {
            // The backslash is literal.
            self.out.push_str("\\\\");
            self.at += 1;
        } else {
            self.out.push_str(&rest[..length]);
            self.at += length;
        }
    }
}

/// Returns the UTF-16 unit of an escape `\uXXXX` at the beginning of the text.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

fn is_numeric(word: &str) -> bool {
    let numeric = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    word.bytes().all(numeric) && word.bytes().any(|byte| byte.is_ascii_digit())
}

/// Returns whether a character between values can become a blank without loss.
fn is_blank(character: char) -> bool {
    character.is_whitespace() || character.is_control() || matches!(character, '\u{FEFF}' | '\u{200B}' | '\u{2060}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn value(text: &[u8]) -> Option<(Value, Repairs)> {
        read(text).ok()
    }

    #[test]
    fn what_is_damaged_costs_itself_only() {
        for (text, wanted) in [
            (&b"\xEF\xBB\xBF{\"a\": 1}"[..], json!({"a": 1})),
            (b"[\"ok \\ud83d\"]", json!(["ok \u{FFFD}"])),
            (b"[\"\\ud83d\\ude00 \\uDE00\\ud83d!\"]", json!(["\u{1F600} \u{FFFD}\u{FFFD}!"])),
            (b"[\"\\ud83d\\u0041\"]", json!(["\u{FFFD}A"])),
            (
                b"{\"a\": NaN, \"b\": [-Infinity, Infinity], \"c\": 1e999}",
                json!({"a": null, "b": [null, null], "c": null}),
            ),
            (
                b"[-1e999, 007, +5, .5, 1., nan, undefined, None, True, False]",
                json!([null, null, null, null, null, null, null, null, true, false]),
            ),
            (b"[\"NaN\", \"1e999\", 1]\0", json!(["NaN", "1e999", 1])),
            (b"\0 {\"a\": 1}\n\0\0", json!({"a": 1})),
            (b"[\"caf\xE9 \xED\xA0\x80\", 1]", json!(["caf\u{FFFD} \u{FFFD}", 1])),
            (b"[\"\xED\xA0\xBD\xED\xB8\x80\"]", json!(["\u{1F600}"])),
            (b"[\"a\tb\nc\x01\"]", json!(["a\tb\nc\u{1}"])),
            (b"[\"it\\'s C:\\docs \\u12\"]", json!(["it's C:\\docs \\u12"])),
            (b"[\xC2\xA01,\xE2\x80\x8B2]", json!([1, 2])),
            (b"\xFF\xFE[\0\"\0\xE9\0\"\0]\0", json!(["é"])),
            (b"\xFE\xFF\0[\0\"\0\xE9\0\"\0]", json!(["é"])),
            (b"[\0\"\0\x3D\xD8\"\0]\0", json!(["\u{FFFD}"])),
            (b"\0[\0\"\0\xE9\0\"\0]", json!(["é"])),
            (b"\xFF\xFE\0\0[\0\0\0\x37\0\0\0]\0\0\0", json!([7])),
            (b"\0\0\0[\0\0\0\x37\0\0\0]", json!([7])),
        ] {
            assert_eq!(value(text).map(|(value, _)| value), Some(wanted), "{}", String::from_utf8_lossy(text));
        }
        let huge = format!("[{}, {}]", "9".repeat(400), "9".repeat(30));
        assert_eq!(value(huge.as_bytes()).unwrap().0, json!([null, 1e30]));
    }

    #[test]
    fn what_leaves_open_what_was_meant_stays_refused() {
        for text in
            ["", "{", "{} {}", "[1,]", "{a: 1}", "{'a': 1}", "[\"a]", "[\"a\\", "12abc", "[2026-09-28T12:00]", "[1 2]"]
        {
            assert!(value(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn what_is_nested_too_deep_is_null_and_nothing_else_is() {
        let deep = format!("{{\"deep\": {}\"]\"{}, \"a\": \"said\"}}", "[".repeat(100_000), "]".repeat(100_000));
        let (read, repairs) = value(deep.as_bytes()).unwrap();
        assert_eq!((&read["a"], repairs.nested), (&json!("said"), 1));
    }

    #[test]
    fn a_file_is_repaired_only_where_nothing_is_lost() {
        for (text, good) in [
            (&b"\xEF\xBB\xBF[\"a\tb\"]\0"[..], true),
            (b"[\"\xFF\"]", false),
            (b"[\"\\ud800\"]", false),
            (b"[NaN]", false),
            (b"[1", false),
        ] {
            assert_eq!(read_whole::<Value>(text).is_ok(), good, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn only_what_was_lost_is_remarked() {
        let kinds = |text: &[u8]| value(text).unwrap().1.remarks().map(|remark| remark.kind).collect::<Vec<_>>();
        assert_eq!(kinds(b"\xEF\xBB\xBF[\"a\tb\"]\0"), []);
        assert_eq!(kinds(b"[NaN, \"\\ud800\", \"\xFF\"]"), [RemarkKind::Number, RemarkKind::Text]);
    }
}
