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
}

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
            Value::Object(values) => Ok(Self { values, problems: Vec::new() }),
            other => Err(Invalid(format!("must be a JSON object, not {}", kind(&other)).into())),
        }
    }

    /// Converts a table row. An empty cell counts as a missing field.
    pub fn from_row<'a>(cells: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let values = cells
            .filter(|(_, cell)| !cell.is_empty())
            .map(|(name, cell)| (name.to_owned(), Value::String(cell.to_owned())))
            .collect();
        Self { values, problems: Vec::new() }
    }

    /// Returns whether the field is present, even if null.
    pub fn has(&self, field: &str) -> bool {
        self.values.contains_key(field)
    }

    /// Removes and returns the value of a field, of any type.
    pub fn remove(&mut self, field: &str) -> Option<Value> {
        self.values.remove(field)
    }

    /// Removes and returns a string, or `None` if the field is missing or null.
    pub fn text(&mut self, field: &str) -> Option<String> {
        match self.values.remove(field)? {
            Value::Null => None,
            Value::String(text) => Some(text),
            other => self.problem(field, format!("must be a string, not {}", kind(&other))),
        }
    }

    /// Removes and returns a whole number, given as a number or as digits. `None` if the field is missing or null.
    pub fn number(&mut self, field: &str) -> Option<i64> {
        let value = self.values.remove(field)?;
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

    /// Returns `value` if no field is invalid. It must then be present.
    ///
    /// # Errors
    /// The invalid fields, in the order of the checks.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Vec<FieldError>> {
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
