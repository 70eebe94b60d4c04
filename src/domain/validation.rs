//! Takes named fields out of a JSON object or a table's row, and gathers what is wrong with each, so that one answer
//! names every field that breaks a rule.

use super::Invalid;
use super::repair;
use serde_json::{Map, Value};
use std::fmt;

/// The fields of one record.
#[derive(Debug, Default)]
pub struct Fields {
    values: Map<String, Value>,
    problems: Vec<Problem>,
}

/// A field and the rule that it breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field's name.
    pub field: String,
    /// The rule, such as `must not be blank`.
    pub rule: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.rule)
    }
}

/// All problems on one line.
pub fn describe(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Fields {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// What is wrong with the JSON, or what it is instead of an object.
    pub fn from_json(json: &[u8]) -> Result<Self, String> {
        match repair::read_whole(json) {
            Ok(value) => Self::from_value(value),
            Err(error) => Err(format!("not valid JSON: {error}")),
        }
    }

    /// Takes a JSON value that must be an object.
    ///
    /// # Errors
    /// What it is instead.
    pub fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::Object(values) => Ok(Self { values, problems: Vec::new() }),
            other => Err(format!("must be a JSON object, not {}", kind(&other))),
        }
    }

    /// Takes a table's row; an empty cell is a field that is not there.
    pub fn from_row<'a>(cells: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let values = cells
            .filter(|(_, cell)| !cell.is_empty())
            .map(|(name, cell)| (name.to_owned(), Value::String(cell.to_owned())))
            .collect();
        Self { values, problems: Vec::new() }
    }

    /// Whether the field stands there, be it as null.
    pub fn has(&self, field: &str) -> bool {
        self.values.contains_key(field)
    }

    /// The field's value, whatever it is.
    pub fn take(&mut self, field: &str) -> Option<Value> {
        self.values.remove(field)
    }

    /// A text, if the field is there and not null.
    pub fn text(&mut self, field: &str) -> Option<String> {
        match self.values.remove(field)? {
            Value::Null => None,
            Value::String(text) => Some(text),
            other => self.problem(field, format!("must be a string, not {}", kind(&other))),
        }
    }

    /// A whole number, as a number or in digits, if the field is there and not null.
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

    /// The value, or a problem if it is not there. A field that already has a problem gets no second one.
    pub fn required<T>(&mut self, field: &str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.problems.iter().any(|p| p.field == field) {
            self.problem::<T>(field, "is required".to_owned());
        }
        value
    }

    /// The value that `check` makes of it, or a problem.
    pub fn checked<T, U>(
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
        self.problems.push(Problem { field: field.to_owned(), rule });
        None
    }

    /// `value` if no field had a problem; it must then be there.
    ///
    /// # Errors
    /// The problems, in the order in which they were found.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Vec<Problem>> {
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
