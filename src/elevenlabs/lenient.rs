//! Lenient reading of JSON fields: a field that cannot be read is a warning, not an error.

use crate::domain::{
    DriverId, Finite, MAX_MESSAGE_BYTES, Message, PhoneNumber, Remark, RemarkKind, Timestamp, placeholder, without_nul,
};
use serde_json::Value;

/// Maximum number of remarks per event.
const MAX_REMARKS: usize = 20;

/// Maximum length of a text, in bytes: that of a turn's words. Longer ones are truncated.
const MAX_TEXT_BYTES: usize = MAX_MESSAGE_BYTES;

/// Warnings about the fields of an event that could not be read, each with its path.
#[derive(Debug, Default)]
pub(super) struct Remarks(Vec<Remark>);

impl Remarks {
    pub(super) fn add(&mut self, place: &str, rule: &str) {
        self.push(Remark { kind: RemarkKind::Field, text: format!("{place}: {rule}") });
    }

    /// Adds a warning unless there is one with this rule.
    pub(super) fn add_once(&mut self, place: &str, rule: &str) {
        if !self.0.iter().any(|remark| remark.text.ends_with(rule)) {
            self.add(place, rule);
        }
    }

    /// Adds a warning that words may be lost.
    pub(super) fn add_lost_words(&mut self, place: &str, rule: &str) {
        self.push(Remark { kind: RemarkKind::Words, text: format!("{place}: {rule}") });
    }

    pub(super) fn push(&mut self, remark: Remark) {
        // The first remark of each kind is always added.
        if self.0.len() < MAX_REMARKS || !self.0.iter().any(|other| other.kind == remark.kind) {
            self.0.push(remark);
        }
    }

    /// Returns whether words may have been lost.
    pub(super) fn has_words(&self) -> bool {
        self.0.iter().any(|remark| remark.kind == RemarkKind::Words)
    }

    pub(super) fn into_vec(self) -> Vec<Remark> {
        self.0
    }
}

/// A JSON value with its path in the event.
#[derive(Clone)]
pub(super) struct JsonField<'a> {
    value: Option<&'a Value>,
    place: String,
}

impl<'a> JsonField<'a> {
    pub(super) fn new(place: &str, value: &'a Value) -> Self {
        Self { value: Some(value), place: place.to_owned() }
    }

    /// Returns a field. It is absent if this is not an object, or the field is missing or null.
    pub(super) fn get(&self, field: &str) -> Self {
        let value = self.value.and_then(|value| value.get(field)).filter(|value| !value.is_null());
        Self { value, place: format!("{}.{field}", self.place) }
    }

    /// Returns the first of these fields that is present.
    pub(super) fn get_any(&self, fields: &[&str]) -> Self {
        let found = fields.iter().map(|field| self.get(field)).find(|at| at.value.is_some());
        found.unwrap_or_else(|| self.get(fields.first().copied().unwrap_or_default()))
    }

    /// Returns the path, for remarks.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Returns the value, unless it is missing or null.
    pub(super) fn value(&self) -> Option<&'a Value> {
        self.value
    }

    /// Returns the elements of an array.
    pub(super) fn elements(&self, remarks: &mut Remarks) -> Option<&'a [Value]> {
        match self.value? {
            Value::Array(elements) => Some(elements),
            _ => self.unread("must be an array", remarks),
        }
    }

    /// Returns a text that is not blank, or a number as text.
    pub(super) fn text(&self, remarks: &mut Remarks) -> Option<String> {
        match self.value? {
            Value::String(text) if text.trim().is_empty() => None,
            Value::String(text) => Some(sanitized(text)),
            // Some programs convert identifiers and telephone numbers to floats; their digits are still exact.
            Value::Number(number) => Some(match (number.as_i64(), number.as_f64().and_then(exact)) {
                (None, Some(whole)) => whole.to_string(),
                _ => number.to_string(),
            }),
            _ => self.unread("must be a string", remarks),
        }
    }

    /// Returns a text that names something. An unreplaced placeholder is not one.
    pub(super) fn name(&self, remarks: &mut Remarks) -> Option<String> {
        let text = self.text(remarks)?;
        if placeholder(&text).is_some() {
            return self.unread("is a variable that was not replaced by its value", remarks);
        }
        Some(text)
    }

    /// Returns a whole number, given as any kind of number or as text. Fractions are rounded.
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
        number.or_else(|| self.unread("must be a number", remarks))
    }

    /// Returns a finite number, given as a number or as text.
    pub(super) fn number(&self, remarks: &mut Remarks) -> Option<Finite> {
        let number = match self.value? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) if text.trim().is_empty() => return None,
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.and_then(Finite::new).or_else(|| self.unread("must be a number", remarks))
    }

    /// Returns true or false, given as such, as text in any case, or as 1 or 0.
    pub(super) fn boolean(&self, remarks: &mut Remarks) -> Option<bool> {
        let value = match self.value? {
            Value::Bool(value) => Some(*value),
            Value::String(text) if text.trim().is_empty() => return None,
            Value::String(text) => match &*text.trim().to_ascii_lowercase() {
                "true" | "1" => Some(true),
                "false" | "0" => Some(false),
                _ => None,
            },
            Value::Number(number) => match number.as_f64() {
                Some(1.0) => Some(true),
                Some(0.0) => Some(false),
                _ => None,
            },
            _ => None,
        };
        value.or_else(|| self.unread("must be true or false", remarks))
    }

    /// Returns a time, given as seconds since 1970 or as a date and time.
    pub(super) fn unix_seconds(&self, remarks: &mut Remarks) -> Option<Timestamp> {
        self.instant(1_000_000, remarks)
    }

    /// Returns a time, given as milliseconds since 1970.
    pub(super) fn unix_millis(&self, remarks: &mut Remarks) -> Option<Timestamp> {
        self.instant(1000, remarks)
    }

    fn instant(&self, micros: i64, remarks: &mut Remarks) -> Option<Timestamp> {
        let of_float = |number: f64| {
            // Exact to the microsecond for any plausible year.
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
        instant.or_else(|| self.unread("must be a time", remarks))
    }

    /// Returns words that were spoken, if not blank. Words beyond the maximum length of a turn are truncated.
    pub(super) fn message(&self, remarks: &mut Remarks) -> Option<Message> {
        match self.value? {
            Value::String(text) => self.words(text, remarks),
            _ => self.unread("must be a string", remarks),
        }
    }

    /// Returns the words of `text`, which was found at this path.
    pub(super) fn words(&self, text: &str, remarks: &mut Remarks) -> Option<Message> {
        let text = without_nul(text);
        if text.len() > MAX_TEXT_BYTES {
            let rule = format!("truncated to {MAX_TEXT_BYTES} bytes; the stored event contains all of it");
            remarks.add_lost_words(&self.place, &rule);
        }
        Message::new(truncated(&text)).ok()
    }

    /// Returns a driver's number, given as a whole number, as digits, or in the form `driver_1042`.
    pub(super) fn driver(&self, remarks: &mut Remarks) -> Option<DriverId> {
        let text = self.text(remarks)?;
        // Another text is no error: a user id of ElevenLabs may be anything.
        DriverId::from_elevenlabs(&text)
    }

    /// Returns a telephone number, in any form.
    pub(super) fn phone(&self, remarks: &mut Remarks) -> Option<PhoneNumber> {
        PhoneNumber::from_payload(&self.text(remarks)?)
    }

    /// Adds a remark, and returns `None`.
    pub(super) fn unread<T>(&self, rule: &str, remarks: &mut Remarks) -> Option<T> {
        remarks.add(&self.place, rule);
        None
    }
}

fn rounded(number: f64) -> Option<i64> {
    let number = number.round();
    // The largest whole number that is an exact float together with all smaller ones.
    let exact = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
    (number.abs() <= exact).then_some(number as i64)
}

/// Returns the value of a float that is a whole number.
fn exact(number: f64) -> Option<i64> {
    (number.fract() == 0.0).then(|| rounded(number))?
}

fn truncated(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT_BYTES)]
}

/// Replaces U+0000, which is replaced everywhere, and truncates the result to the maximum length.
fn sanitized(text: &str) -> String {
    truncated(&without_nul(text.trim())).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Returns the result of a reader, and whether it made a remark.
    fn read<'a, T>(value: &'a Value, reader: impl Fn(&JsonField<'a>, &mut Remarks) -> Option<T>) -> (Option<T>, bool) {
        let mut remarks = Remarks::default();
        let read = reader(&JsonField::new("x", value), &mut remarks);
        (read, !remarks.into_vec().is_empty())
    }

    #[test]
    fn texts_are_read_from_strings_and_numbers() {
        for (value, text, remarked) in [
            (json!(" a "), Some("a"), false),
            (json!("a\0b"), Some("a\u{FFFD}b"), false),
            (json!("  "), None, false),
            (json!(42), Some("42"), false),
            (json!(1.555_010_004_2e10), Some("15550100042"), false),
            (json!(0.5), Some("0.5"), false),
            (json!(true), None, true),
            (json!({"a": 1}), None, true),
        ] {
            assert_eq!(read(&value, JsonField::text), (text.map(str::to_owned), remarked), "{value}");
        }
        assert_eq!(read(&json!("{{system__agent_id}}"), JsonField::name), (None, true), "a variable is no name");
    }

    #[test]
    fn whole_numbers_are_read_from_any_kind_of_number() {
        for (value, number, remarked) in [
            (json!(47), Some(47), false),
            (json!(46.6), Some(47), false),
            (json!("47"), Some(47), false),
            (json!(" 46.6 "), Some(47), false),
            (json!(""), None, false),
            (json!(-1), Some(-1), false),
            (json!(i64::MAX), Some(i64::MAX), false),
            (json!(u64::MAX), None, true),
            (json!(1e300), None, true),
            (json!("NaN"), None, true),
            (json!("many"), None, true),
            (json!([47]), None, true),
        ] {
            assert_eq!(read(&value, JsonField::whole), (number, remarked), "{value}");
        }
    }

    #[test]
    fn truth_is_read_from_any_usual_form() {
        for (value, truth, remarked) in [
            (json!(true), Some(true), false),
            (json!("True"), Some(true), false),
            (json!(1), Some(true), false),
            (json!("1"), Some(true), false),
            (json!(false), Some(false), false),
            (json!(" false "), Some(false), false),
            (json!(0.0), Some(false), false),
            (json!(" "), None, false),
            (json!("yes"), None, true),
            (json!(2), None, true),
            (json!([true]), None, true),
        ] {
            assert_eq!(read(&value, JsonField::boolean), (truth, remarked), "{value}");
        }
    }

    #[test]
    fn instants_are_read_from_seconds_and_dates() {
        let instant = |value: &Value| {
            let (instant, remarked) = read(value, JsonField::unix_seconds);
            (instant.map(|instant| instant.to_string()), remarked)
        };
        for value in [json!(1_790_596_800), json!(1_790_596_800.0), json!("1790596800"), json!("2026-09-28T12:00:00Z")]
        {
            assert_eq!(instant(&value), (Some("2026-09-28T12:00:00.000000Z".to_owned()), false), "{value}");
        }
        assert_eq!(instant(&json!(1_790_596_800.25)).0.as_deref(), Some("2026-09-28T12:00:00.250000Z"));
        for value in [json!("soon"), json!(1e30), json!(i64::MAX), json!(false), json!([])] {
            assert_eq!(instant(&value), (None, true), "{value}");
        }
        assert_eq!(instant(&json!(" ")), (None, false));
        let (millis, _) = read(&json!(1_790_596_800_250_i64), JsonField::unix_millis);
        assert_eq!(millis.unwrap().to_string(), "2026-09-28T12:00:00.250000Z");
    }

    #[test]
    fn words_are_cut_at_the_maximum_within_no_character() {
        let long = "é".repeat(MAX_TEXT_BYTES);
        let (message, remarked) = read(&json!(format!("a{long}")), JsonField::message);
        assert_eq!((message.unwrap().as_str().len(), remarked), (MAX_TEXT_BYTES - 1, true));
        let nul = read(&json!(format!("{}\0", "a".repeat(MAX_TEXT_BYTES - 2))), JsonField::message);
        assert_eq!((nul.0.unwrap().as_str().len(), nul.1), (MAX_TEXT_BYTES - 2, true), "U+FFFD takes three bytes");
        let (name, _) = read(&json!(format!("a{}", "\0".repeat(MAX_TEXT_BYTES))), JsonField::text);
        assert_eq!(name.map(|name| name.len()), Some(MAX_TEXT_BYTES));
        assert_eq!(read(&json!(5), JsonField::message), (None, true));
        assert_eq!(read(&json!(" "), JsonField::message), (None, false));
    }

    #[test]
    fn absent_and_null_fields_are_nothing() {
        let value = json!({"a": null, "b": {"c": 1}});
        let at = JsonField::new("body", &value);
        assert!(at.get("a").value().is_none() && at.get("x").get("y").value().is_none());
        assert_eq!(at.get("b").get("c").place(), "body.b.c");
        assert_eq!(at.get_any(&["x", "a", "b"]).place(), "body.b");
        assert_eq!(at.get_any(&["x", "y"]).place(), "body.x");
    }

    #[test]
    fn remarks_are_bounded_but_the_first_of_each_kind_is_there() {
        let mut remarks = Remarks::default();
        (0..100).for_each(|n| remarks.add(&format!("f{n}"), "must be a string"));
        remarks.add_lost_words("words", "is null");
        let remarks = remarks.into_vec();
        assert_eq!((remarks.len(), remarks[MAX_REMARKS].kind), (MAX_REMARKS + 1, RemarkKind::Words));
    }
}
