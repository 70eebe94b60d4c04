//! Arguments of a tool: checked against the tool's schema, and converted to query parameters.

use crate::api::error::ApiError;
use crate::domain::Invalid;
use crate::domain::validation::FieldError;
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// The checked arguments of a tool.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Arguments {
    /// Names and values, as in a query. An array is its elements, each with the name.
    pairs: Vec<(String, String)>,
}

impl Arguments {
    /// Checks arguments against a schema of an object. An argument that is null counts as absent, because models send
    /// null for what they leave out.
    ///
    /// # Errors
    /// Arguments are unknown, missing or break a rule; the error names each.
    pub(super) fn check(arguments: &Map<String, Value>, schema: &Value) -> Result<Self, ApiError> {
        let (properties, required) = (&schema["properties"], &schema["required"]);
        let mut problems = Vec::new();
        let mut pairs = Vec::new();
        for (name, value) in arguments.iter().filter(|(_, value)| !value.is_null()) {
            match properties.get(name) {
                None => problems.push(problem(&shortened(name), unknown(properties))),
                Some(rules) => match values(value, rules) {
                    Ok(values) => pairs.extend(values.into_iter().map(|value| (name.clone(), value))),
                    Err(rule) => problems.push(problem(name, rule)),
                },
            }
        }
        let names = required.as_array().into_iter().flatten().filter_map(Value::as_str);
        problems.extend(
            names
                .filter(|name| arguments.get(*name).is_none_or(Value::is_null))
                .map(|name| problem(name, Invalid("is required".into()))),
        );
        if problems.is_empty() { Ok(Self { pairs }) } else { Err(ApiError::fields(&problems)) }
    }

    /// Removes an argument with one value, and returns the value.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.pairs.iter().position(|(other, _)| other == name)?;
        Some(self.pairs.remove(at).1)
    }

    /// Returns the first value of an argument.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Returns true if there is an argument with this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Adds a value.
    pub(super) fn push(&mut self, name: &str, value: String) {
        self.pairs.push((name.to_owned(), value));
    }

    /// Returns the arguments as query parameters.
    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }
}

fn problem(field: &str, Invalid(rule): Invalid) -> FieldError {
    FieldError { field: field.to_owned(), rule: rule.into_owned() }
}

/// Returns the rule that an unknown argument breaks.
fn unknown(properties: &Value) -> Invalid {
    let names: Vec<_> = properties.as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
    Invalid(format!("unknown argument; known arguments: {}", names.join(", ")).into())
}

/// Returns the values of an argument as text, or the rule that it breaks.
fn values(value: &Value, rules: &Value) -> Result<Vec<String>, Invalid> {
    if rules["type"] != "array" {
        return Ok(vec![text(value, rules)?]);
    }
    let Some(values) = value.as_array() else { return Err(got("must be an array", value)) };
    if rules["maxItems"].as_u64().is_some_and(|max| values.len() as u64 > max) {
        let rule = format!("must have at most {} values, got {}", rules["maxItems"], values.len());
        return Err(Invalid(rule.into()));
    }
    values.iter().map(|value| text(value, &rules["items"])).collect()
}

/// Returns a single value as text, or the rule that it breaks.
fn text(value: &Value, rules: &Value) -> Result<String, Invalid> {
    match rules["type"].as_str() {
        Some("integer") => integer(value, rules),
        Some("boolean") => match value {
            Value::Bool(value) => Ok(value.to_string()),
            other => Err(got("must be true or false", other)),
        },
        _ => {
            let Value::String(text) = value else { return Err(got("must be a string", value)) };
            if let Some(words) = rules["enum"].as_array() {
                if !words.contains(value) {
                    let words: Vec<_> = words.iter().filter_map(Value::as_str).collect();
                    return Err(got(&format!("must be one of {}", words.join(", ")), value));
                }
            }
            let chars = text.chars().count() as u64;
            let min = rules["minLength"].as_u64().filter(|min| chars < *min).map(|min| ("at least", min));
            let max = rules["maxLength"].as_u64().filter(|max| chars > *max).map(|max| ("at most", max));
            match min.or(max) {
                Some((end, bound)) => {
                    Err(Invalid(format!("must be {end} {bound} characters long, got {chars}").into()))
                }
                None => Ok(text.clone()),
            }
        }
    }
}

/// Returns an integer as text. Some clients write each number with a fraction, such as `5.0`.
fn integer(value: &Value, rules: &Value) -> Result<String, Invalid> {
    #[expect(clippy::cast_possible_truncation, reason = "a whole number within 2^53")]
    let whole =
        |number: f64| (number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0).then_some(number as i64);
    let number = value.as_i64().or_else(|| value.as_f64().and_then(whole));
    let (min, max) = (rules["minimum"].as_f64(), rules["maximum"].as_f64());
    #[expect(clippy::cast_precision_loss, reason = "bounds are small, and larger numbers stay larger")]
    let is_within =
        |number: &i64| min.is_none_or(|min| *number as f64 >= min) && max.is_none_or(|max| *number as f64 <= max);
    number.filter(is_within).map(|number| number.to_string()).ok_or_else(|| {
        let mut rule = "must be an integer".to_owned();
        let _ = match (min, max) {
            (Some(min), Some(max)) => write!(rule, " from {min} to {max}"),
            (Some(min), None) => write!(rule, ", {min} or greater"),
            _ => Ok(()),
        };
        got(&rule, value)
    })
}

/// Returns a rule with the value that breaks it.
fn got(rule: &str, value: &Value) -> Invalid {
    Invalid(format!("{rule}, got {}", shortened(&value.to_string())).into())
}

/// Maximum length of a refused value in an error, in characters.
const MAX_SHOWN_CHARS: usize = 64;

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(arguments: Value) -> Result<Vec<(String, String)>, ApiError> {
        let schema = json!({
            "properties": {
                "q": { "type": "string", "minLength": 1, "maxLength": 5 },
                "limit": { "type": "integer", "minimum": 1, "maximum": 100 },
                "seconds": { "type": "integer", "minimum": 0 },
                "yes": { "type": "boolean" },
                "kind": { "type": "array", "maxItems": 2, "items": { "type": "string", "enum": ["a", "b"] } },
            },
            "required": ["q"],
        });
        let Value::Object(arguments) = arguments else { panic!("an object") };
        Arguments::check(&arguments, &schema).map(|checked| checked.pairs)
    }

    fn details(arguments: Value) -> String {
        check(arguments).unwrap_err().body("").details.unwrap()
    }

    #[test]
    fn arguments_become_query_parameters() {
        let all = json!({ "q": "ö", "limit": 5.0, "seconds": 0, "yes": true, "kind": ["a", "b"] });
        let wanted = [("q", "ö"), ("limit", "5"), ("seconds", "0"), ("yes", "true"), ("kind", "a"), ("kind", "b")];
        let wanted = wanted.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        assert_eq!(check(all), Ok(wanted));
        assert_eq!(check(json!({ "q": "x", "limit": null })), Ok(vec![("q".to_owned(), "x".to_owned())]));
    }

    #[test]
    fn an_argument_that_breaks_a_rule_is_named() {
        for (arguments, name) in [
            (json!({}), "q: "),
            (json!({ "q": null }), "q: "),
            (json!({ "q": "" }), "q: "),
            (json!({ "q": "123456" }), "q: "),
            (json!({ "q": 7 }), "q: "),
            (json!({ "q": "x", "limit": 0 }), "limit: "),
            (json!({ "q": "x", "limit": 101 }), "limit: "),
            (json!({ "q": "x", "limit": 1.5 }), "limit: "),
            (json!({ "q": "x", "limit": 1e300 }), "limit: "),
            (json!({ "q": "x", "limit": "5" }), "limit: "),
            (json!({ "q": "x", "seconds": -1 }), "seconds: "),
            (json!({ "q": "x", "yes": "true" }), "yes: "),
            (json!({ "q": "x", "kind": "a" }), "kind: "),
            (json!({ "q": "x", "kind": ["c"] }), "kind: "),
            (json!({ "q": "x", "kind": ["a", "a", "a"] }), "kind: "),
            (json!({ "q": "x", "Limit": 5 }), "Limit: "),
            (json!({ "q": "x", "k".repeat(1000): 5 }), "kkkk"),
        ] {
            let error = details(arguments.clone());
            assert!(error.starts_with(name) && error.len() < 300, "{arguments}: {error}");
        }
        let error = details(json!({ "limit": 0, "yes": 1 }));
        assert_eq!(error.matches("; ").count(), 2, "{error}");
    }
}
