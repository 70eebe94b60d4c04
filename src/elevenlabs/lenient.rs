//! Takes values out of JSON without insisting on any.

use crate::model::{DriverId, Message, PhoneNumber, Timestamp};
use serde_json::Value;

/// Greatest number of remarks on one report.
const MAX_REMARKS: usize = 20;

/// Greatest length of a text that names or describes something, in bytes; what is longer is cut off.
const MAX_TEXT: usize = 64 * 1024;

/// What could not be read of a report, each with its place.
#[derive(Debug, Default)]
pub(super) struct Remarks(Vec<String>);

impl Remarks {
    pub(super) fn add(&mut self, place: &str, rule: &str) {
        if self.0.len() < MAX_REMARKS {
            self.0.push(format!("{place}: {rule}"));
        }
    }

    pub(super) fn into_vec(self) -> Vec<String> {
        self.0
    }
}

/// A value, and its place in the report.
#[derive(Clone)]
pub(super) struct At<'a> {
    value: Option<&'a Value>,
    place: String,
}

impl<'a> At<'a> {
    pub(super) fn new(place: &str, value: &'a Value) -> Self {
        Self { value: Some(value), place: place.to_owned() }
    }

    /// The field of an object; absent if this is no object or has no such field, or if it is null.
    pub(super) fn get(&self, field: &str) -> Self {
        let value = self.value.and_then(|value| value.get(field)).filter(|value| !value.is_null());
        Self { value, place: format!("{}.{field}", self.place) }
    }

    /// The value, if there is one other than null.
    pub(super) fn value(&self) -> Option<&'a Value> {
        self.value
    }

    /// The elements of an array.
    pub(super) fn elements(&self, remarks: &mut Remarks) -> Option<&'a [Value]> {
        match self.value? {
            Value::Array(elements) => Some(elements),
            _ => self.unread("is no array", remarks),
        }
    }

    /// A text that is not blank, or a number as text.
    pub(super) fn text(&self, remarks: &mut Remarks) -> Option<String> {
        match self.value? {
            Value::String(text) if text.trim().is_empty() => None,
            Value::String(text) => Some(clean(text)),
            Value::Number(number) => Some(number.to_string()),
            _ => self.unread("is no text", remarks),
        }
    }

    /// A whole number, in whatever form; a fraction is rounded.
    pub(super) fn whole(&self, remarks: &mut Remarks) -> Option<i64> {
        let number = match self.value? {
            Value::Number(number) => number.as_i64().or_else(|| rounded(number.as_f64()?)),
            Value::String(text) if text.trim().is_empty() => return None,
            Value::String(text) => {
                let text = text.trim();
                text.parse().ok().or_else(|| rounded(text.parse().ok()?))
            }
            _ => None,
        };
        number.or_else(|| self.unread("is no number", remarks))
    }

    pub(super) fn boolean(&self, remarks: &mut Remarks) -> Option<bool> {
        match self.value? {
            Value::Bool(value) => Some(*value),
            _ => self.unread("is neither true nor false", remarks),
        }
    }

    /// Seconds since 1970, with or without a fraction, or a date and time.
    pub(super) fn unix_seconds(&self, remarks: &mut Remarks) -> Option<Timestamp> {
        self.instant(1_000_000, remarks)
    }

    /// Milliseconds since 1970.
    pub(super) fn unix_millis(&self, remarks: &mut Remarks) -> Option<Timestamp> {
        self.instant(1000, remarks)
    }

    fn instant(&self, micros: i64, remarks: &mut Remarks) -> Option<Timestamp> {
        let of_float = |number: f64| {
            // Exact for the microseconds of any year that is meant.
            #[expect(clippy::cast_precision_loss, reason = "a thousand or a million")]
            rounded(number * micros as f64).and_then(Timestamp::from_unix_micros)
        };
        let of_whole = |number: i64| number.checked_mul(micros).and_then(Timestamp::from_unix_micros);
        let instant = match self.value? {
            Value::Number(number) => number.as_i64().and_then(of_whole).or_else(|| of_float(number.as_f64()?)),
            Value::String(text) if text.trim().is_empty() => return None,
            Value::String(text) => {
                let text = text.trim();
                let number = text.parse().ok().and_then(of_whole).or_else(|| of_float(text.parse().ok()?));
                number.or_else(|| Timestamp::parse(text).ok())
            }
            _ => None,
        };
        instant.or_else(|| self.unread("is no time", remarks))
    }

    /// Words that were said: not blank, and cut off where no turn may be longer.
    pub(super) fn message(&self, remarks: &mut Remarks) -> Option<Message> {
        match self.value? {
            Value::String(text) => {
                if text.len() > MAX_TEXT {
                    remarks.add(&self.place, "is cut off after 65536 bytes; the event holds all of it");
                }
                Message::new(cut(text)).ok()
            }
            _ => self.unread("is no text", remarks),
        }
    }

    /// A driver's number: a whole number, in digits too, also as in `driver_1042`.
    pub(super) fn driver(&self, remarks: &mut Remarks) -> Option<DriverId> {
        let text = self.text(remarks)?;
        // What names nobody of this fleet is no mistake of the report: a platform's user id may be anything.
        DriverId::from_platform(&text)
    }

    pub(super) fn phone(&self, remarks: &mut Remarks) -> Option<PhoneNumber> {
        phone(&self.text(remarks)?)
    }

    /// `None`, remarked upon.
    pub(super) fn unread<T>(&self, rule: &str, remarks: &mut Remarks) -> Option<T> {
        remarks.add(&self.place, rule);
        None
    }
}

/// A number in E.164, in which blanks, dashes, dots and brackets may stand.
pub(super) fn phone(text: &str) -> Option<PhoneNumber> {
    let digits: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')')).collect();
    PhoneNumber::new(&digits).ok()
}

fn rounded(number: f64) -> Option<i64> {
    let number = number.round();
    // The greatest whole numbers that a float holds exactly.
    let exact = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
    (number.abs() <= exact).then_some(number as i64)
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

/// Without U+0000, as everywhere here, and not longer than a text may be.
fn clean(text: &str) -> String {
    let text = cut(text.trim());
    if text.contains('\0') { text.replace('\0', "\u{FFFD}") } else { text.to_owned() }
}
