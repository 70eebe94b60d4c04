//! Takes values out of JSON without insisting on any.

use crate::model::{DriverId, Message, PhoneNumber, Remark, RemarkKind, Timestamp, placeholder};
use serde_json::Value;

/// Greatest number of remarks on one report.
const MAX_REMARKS: usize = 20;

/// Greatest length of a text that names or describes something, in bytes; what is longer is cut off.
const MAX_TEXT: usize = 64 * 1024;

/// What could not be read of a report, each with its place.
#[derive(Debug, Default)]
pub(super) struct Remarks(Vec<Remark>);

impl Remarks {
    pub(super) fn add(&mut self, place: &str, rule: &str) {
        self.push(Remark { kind: RemarkKind::Field, text: format!("{place}: {rule}") });
    }

    /// Notes that words may have been lost.
    pub(super) fn add_words(&mut self, place: &str, rule: &str) {
        self.push(Remark { kind: RemarkKind::Words, text: format!("{place}: {rule}") });
    }

    pub(super) fn push(&mut self, remark: Remark) {
        // Of each kind the first is told in any case.
        if self.0.len() < MAX_REMARKS || !self.0.iter().any(|other| other.kind == remark.kind) {
            self.0.push(remark);
        }
    }

    /// Whether words may have been lost.
    pub(super) fn has_words(&self) -> bool {
        self.0.iter().any(|remark| remark.kind == RemarkKind::Words)
    }

    pub(super) fn into_vec(self) -> Vec<Remark> {
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

    /// The first of these fields that there is.
    pub(super) fn get_any(&self, fields: &[&str]) -> Self {
        let found = fields.iter().map(|field| self.get(field)).find(|at| at.value.is_some());
        found.unwrap_or_else(|| self.get(fields.first().copied().unwrap_or_default()))
    }

    /// The place, as it is told.
    pub(super) fn place(&self) -> &str {
        &self.place
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
            // Identifiers and telephone numbers that a program has made a float of are whole still.
            Value::Number(number) => Some(match (number.as_i64(), number.as_f64().and_then(exact)) {
                (None, Some(whole)) => whole.to_string(),
                _ => number.to_string(),
            }),
            _ => self.unread("is no text", remarks),
        }
    }

    /// A text that names something, if it is no placeholder that was not filled in.
    pub(super) fn name(&self, remarks: &mut Remarks) -> Option<String> {
        let text = self.text(remarks)?;
        if placeholder(&text).is_some() {
            return self.unread("is a variable that was not filled in", remarks);
        }
        Some(text)
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
            Value::String(text) => self.words(text, remarks),
            _ => self.unread("is no text", remarks),
        }
    }

    /// The words of this text, which stand at this place.
    pub(super) fn words(&self, text: &str, remarks: &mut Remarks) -> Option<Message> {
        if text.len() > MAX_TEXT {
            remarks.add_words(&self.place, "is cut off after 65536 bytes; the event holds all of it");
        }
        Message::new(cut(text)).ok()
    }

    /// A driver's number: a whole number, in digits too, also as in `driver_1042`.
    pub(super) fn driver(&self, remarks: &mut Remarks) -> Option<DriverId> {
        let text = self.text(remarks)?;
        // What names nobody of this fleet is no mistake of the report: a platform's user id may be anything.
        DriverId::from_platform(&text)
    }

    /// A telephone number, in whatever form.
    pub(super) fn phone(&self, remarks: &mut Remarks) -> Option<PhoneNumber> {
        PhoneNumber::from_payload(&self.text(remarks)?)
    }

    /// `None`, remarked upon.
    pub(super) fn unread<T>(&self, rule: &str, remarks: &mut Remarks) -> Option<T> {
        remarks.add(&self.place, rule);
        None
    }
}

fn rounded(number: f64) -> Option<i64> {
    let number = number.round();
    // The greatest whole numbers that a float holds exactly.
    let exact = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
    (number.abs() <= exact).then_some(number as i64)
}

/// The whole number that a float is.
fn exact(number: f64) -> Option<i64> {
    (number.fract() == 0.0).then(|| rounded(number))?
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

/// Without U+0000, as everywhere here, and not longer than a text may be.
fn clean(text: &str) -> String {
    let text = cut(text.trim());
    if text.contains('\0') { text.replace('\0', "\u{FFFD}") } else { text.to_owned() }
}
