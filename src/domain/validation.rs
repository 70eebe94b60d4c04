//! Reads named fields of a JSON object or a table row, and collects all errors, so one response names every invalid
//! field.

use super::Invalid;
use super::repair;
use serde_json::{Map, Value};
use std::fmt;

/// The fields of one record that were not read yet.
#[derive(Debug, Default)]
pub struct FieldReader {
    values: Map<String, Value>,
    problems: Vec<FieldError>,
    /// Names of the fields that were asked for.
    known: Vec<&'static str>,
    /// True if fields that nobody asks for are errors.
    strict: bool,
}

/// Maximum number of unknown fields that are reported.
const MAX_UNKNOWN_FIELDS: usize = 10;

/// Maximum length of an unknown field's name in an error, in characters.
const MAX_SHOWN_CHARS: usize = 64;

/// An invalid field, with the rule that it breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Name of the field.
    pub field: String,
    /// The rule, such as `must not be blank`.
    pub rule: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.rule)
    }
}

/// Returns all problems on one line.
pub fn join_errors(problems: &[FieldError]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl FieldReader {
    /// Parses a JSON object.
    ///
    /// # Errors
    /// The text is not valid JSON, or not an object.
    pub fn from_json(json: &[u8]) -> Result<Self, Invalid> {
        match repair::read_whole(json) {
            Ok(value) => Self::from_value(value),
            Err(error) => Err(Invalid(format!("not valid JSON: {error}").into())),
        }
    }

    /// Converts a JSON value, which must be an object.
    ///
    /// # Errors
    /// The value has another type.
    pub fn from_value(value: Value) -> Result<Self, Invalid> {
        match value {
            Value::Object(values) => Ok(Self { values, ..Self::default() }),
            other => Err(Invalid(format!("must be a JSON object, not {}", kind(&other)).into())),
        }
    }

    /// Converts a table row. An empty cell counts as a missing field.
    pub fn from_row<'a>(cells: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let values = cells
            .filter(|(_, cell)| !cell.is_empty())
            .map(|(name, cell)| (name.to_owned(), Value::String(cell.to_owned())))
            .collect();
        Self { values, ..Self::default() }
    }

    /// Makes fields that exist in the record but are never read errors of [`FieldReader::finish`].
    ///
    /// A misspelled optional field would otherwise be ignored, and its stored value replaced by nothing.
    #[must_use]
    pub fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    /// Returns whether the field is present, even if null.
    pub fn has(&self, field: &str) -> bool {
        self.values.contains_key(field)
    }

    /// Removes and returns the value of a field, of any type.
    pub fn remove(&mut self, field: &'static str) -> Option<Value> {
        if !self.known.contains(&field) {
            self.known.push(field);
        }
        self.values.remove(field)
    }

    /// Removes and returns a string, or `None` if the field is missing or null.
    pub fn text(&mut self, field: &'static str) -> Option<String> {
        match self.remove(field)? {
            Value::Null => None,
            Value::String(text) => Some(text),
            other => self.problem(field, format!("must be a string, not {}", kind(&other))),
        }
    }

    /// Removes and returns a whole number, given as a number or as digits. `None` if the field is missing or null.
    pub fn number(&mut self, field: &'static str) -> Option<i64> {
        let value = self.remove(field)?;
        let number = match &value {
            Value::Null => return None,
            Value::Number(number) => number.as_i64(),
            Value::String(digits) => digits.trim().parse().ok(),
            _ => None,
        };
        match number {
            Some(number) => Some(number),
            None => self.problem(field, "must be a whole number".to_owned()),
        }
    }

    /// Returns the value, or records a problem if it is missing. A field never gets two problems.
    pub fn required<T>(&mut self, field: &str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.problems.iter().any(|p| p.field == field) {
            self.problem::<T>(field, "is required".to_owned());
        }
        value
    }

    /// Returns the value that `check` accepts, or records a problem.
    pub fn validate<T, U>(
        &mut self,
        field: &str,
        value: Option<T>,
        check: impl FnOnce(T) -> Result<U, Invalid>,
    ) -> Option<U> {
        match check(value?) {
            Ok(valid) => Some(valid),
            Err(invalid) => self.problem(field, invalid.to_string()),
        }
    }

    fn problem<T>(&mut self, field: &str, rule: String) -> Option<T> {
        self.problems.push(FieldError { field: field.to_owned(), rule });
        None
    }

    fn report_unknown_fields(&mut self) {
        let rule = format!("unknown field; known fields: {}", self.known.join(", "));
        let unknown = self.values.keys().take(MAX_UNKNOWN_FIELDS).map(|name| {
            let shown: String = name.chars().take(MAX_SHOWN_CHARS).collect();
            let more = if shown.len() < name.len() { "…" } else { "" };
            FieldError { field: format!("{shown}{more}"), rule: rule.clone() }
        });
        self.problems.extend(unknown);
    }

    /// Returns `value` if no field is invalid. It must then be present.
    ///
    /// # Errors
    /// The invalid fields, in the order of the checks.
    pub fn finish<T>(mut self, value: Option<T>) -> Result<T, Vec<FieldError>> {
        if self.strict {
            self.report_unknown_fields();
        }
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(self.problems),
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strict_reader_names_unknown_fields_and_those_that_exist() {
        let read = |fields: FieldReader| {
            let mut fields = fields;
            let name = fields.text("name");
            fields.text("phone_number");
            fields.finish(name).map_err(|problems| join_errors(&problems))
        };
        let record = || FieldReader::from_json(br#"{"name": "Maria", "phone": "+15550100042"}"#).unwrap();
        assert_eq!(read(record()), Ok("Maria".to_owned()));
        let error = read(record().strict()).unwrap_err();
        assert_eq!(error, "phone: unknown field; known fields: name, phone_number");
    }

    #[test]
    fn the_report_of_unknown_fields_is_bounded() {
        let many: Map<String, Value> = (0..10_000).map(|n| (format!("{n}{}", "é".repeat(500)), Value::Null)).collect();
        let mut fields = FieldReader::from_value(Value::Object(many)).unwrap().strict();
        let name = fields.text("name");
        let error = join_errors(&fields.finish(name).unwrap_err());
        assert!(error.len() < 4096, "{} bytes", error.len());
    }
}
