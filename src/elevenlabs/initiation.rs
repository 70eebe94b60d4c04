//! The initiation webhook: the question who is calling, and the answer.
//!
//! ElevenLabs asks before the first word of an inbound call, and starts no call whose answer lacks a dynamic variable
//! of the agent. So every question has an answer, and every answer has all variables ([`InitiationVariables`]).

use super::lenient::{JsonField, Remarks};
use crate::domain::{CallSid, Caller, ConversationId, PhoneNumber, repair};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The question who is calling, as far as it can be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InitiationQuestion {
    /// The number that calls; `None` if it is withheld or cannot be read.
    pub caller: Option<PhoneNumber>,
    /// Id of the call at the telephone provider.
    pub call_sid: Option<CallSid>,
    /// Id of the conversation, which ElevenLabs does not always know yet.
    pub conversation_id: Option<ConversationId>,
}

/// Parses a question `{caller_id, agent_id, called_number, call_sid, conversation_id?}`. Returns `None` if the body is
/// no JSON object. A field that cannot be read is treated as missing.
pub fn parse_initiation(body: &[u8]) -> Option<InitiationQuestion> {
    let (body, _) = repair::read::<Value>(body).ok()?;
    if !body.is_object() {
        return None;
    }
    let fields = ["data", "parameters"].iter().find_map(|name| body.get(name).filter(|inner| inner.is_object()));
    let at = JsonField::new("body", fields.unwrap_or(&body));
    let mut remarks = Remarks::default();
    let mut text = |names: &[&str]| at.get_any(names).text(&mut remarks);
    Some(InitiationQuestion {
        caller: text(&["caller_id", "system__caller_id"]).and_then(|number| PhoneNumber::from_payload(&number)),
        call_sid: text(&["call_sid", "system__call_sid"]).and_then(|id| CallSid::from_sender(&id).ok()),
        conversation_id: text(&["conversation_id", "system__conversation_id"])
            .and_then(|id| ConversationId::from_sender(&id).ok()),
    })
}

/// Maximum number of variables.
const MAX_VARIABLES: usize = 200;

/// Maximum length of a variable's name, in characters.
const MAX_NAME_CHARS: usize = 128;

/// Maximum length of a value, in bytes. A longer one is truncated.
const MAX_VALUE_BYTES: usize = 4096;

/// The placeholders of a value.
const PLACEHOLDERS: [(&str, Fact); 6] = [
    ("driver.id", Fact::Id),
    ("driver.name", Fact::Name),
    ("driver.phone_number", Fact::PhoneNumber),
    ("last_call.summary", Fact::LastSummary),
    ("last_call.at", Fact::LastAt),
    ("last_call.outcome", Fact::LastOutcome),
];

/// A fact about a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    Id,
    Name,
    PhoneNumber,
    LastSummary,
    LastAt,
    LastOutcome,
}

impl Fact {
    /// Returns the fact, or `None` if it is not known of this caller.
    fn of(self, caller: &Caller) -> Option<String> {
        let last = caller.last_call.as_ref();
        match self {
            Self::Id => Some(caller.driver_id.to_string()),
            Self::Name => Some(caller.name.clone()),
            Self::PhoneNumber => Some(caller.phone_number.as_str().to_owned()),
            Self::LastSummary => last?.summary.clone().filter(|summary| !summary.trim().is_empty()),
            Self::LastAt => Some(last?.at.to_string()),
            Self::LastOutcome => Some(last?.outcome?.as_str().to_owned()),
        }
    }
}

/// A reason why a file of variables is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VariablesError {
    /// The file is not JSON.
    #[error("must be a JSON object of variables: {0}")]
    Json(String),
    /// There are too many variables.
    #[error("must have at most {MAX_VARIABLES} variables, got {0}")]
    TooMany(usize),
    /// A name cannot be that of a dynamic variable.
    #[error("{0:?}: the name must be 1 to {MAX_NAME_CHARS} characters long, and not begin with system__ or secret__")]
    Name(String),
    /// A value has another form.
    #[error("{0}: must be a text, a number, true or false, or an object with `value` and `default`")]
    Form(String),
    /// A value has a placeholder that does not exist.
    #[error("{name}: there is no placeholder {{{placeholder}}}; there are {}", known_placeholders())]
    Placeholder {
        /// The variable.
        name: String,
        /// The placeholder without its braces.
        placeholder: String,
    },
    /// A default has a placeholder.
    #[error("{0}: the default must have no placeholders, because it is for callers of whom nothing is known")]
    Default(String),
}

fn known_placeholders() -> String {
    PLACEHOLDERS.map(|(name, _)| format!("{{{name}}}")).join(", ")
}

/// The dynamic variables of an answer: their names, values and defaults. Every answer has all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitiationVariables(Vec<Variable>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Variable {
    name: String,
    /// Parts of the value; `None` if it is always the default.
    parts: Option<Vec<Part>>,
    /// Value for a caller of whom a part is not known.
    default: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Fact(Fact),
}

/// The object form of a variable.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValueAndDefault {
    value: String,
    default: Value,
}

/// The variables of a service that is given no file: `driver_id` and `driver_name`, empty for an unknown caller.
impl Default for InitiationVariables {
    fn default() -> Self {
        let variable = |name: &str, fact| Variable {
            name: name.to_owned(),
            parts: Some(vec![Part::Fact(fact)]),
            default: Value::from(""),
        };
        Self(vec![variable("driver_id", Fact::Id), variable("driver_name", Fact::Name)])
    }
}

impl InitiationVariables {
    /// Parses a file of variables: a JSON object of names and values.
    ///
    /// A value is a text, a number, `true` or `false`, or `{"value": …, "default": …}`. A text may have placeholders
    /// such as `{driver.name}`. A variable has its default if a placeholder's fact is not known. A text without
    /// `default` has an empty one.
    ///
    /// # Errors
    /// See [`VariablesError`].
    pub fn parse(file: &[u8]) -> Result<Self, VariablesError> {
        let file = file.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(file);
        let named: Map<String, Value> =
            serde_json::from_slice(file).map_err(|error| VariablesError::Json(error.to_string()))?;
        if named.len() > MAX_VARIABLES {
            return Err(VariablesError::TooMany(named.len()));
        }
        named.into_iter().map(|(name, value)| variable(name, value)).collect::<Result<_, _>>().map(Self)
    }

    /// Returns the variables for a caller, or their defaults if the caller is unknown.
    pub fn values(&self, caller: Option<&Caller>) -> Map<String, Value> {
        let value = |variable: &Variable| {
            let filled = caller.zip(variable.parts.as_ref()).and_then(|(caller, parts)| filled(parts, caller));
            (variable.name.clone(), filled.map_or_else(|| variable.default.clone(), Value::from))
        };
        self.0.iter().map(value).collect()
    }
}

fn variable(name: String, value: Value) -> Result<Variable, VariablesError> {
    let reserved = ["system__", "secret__"].iter().any(|prefix| name.starts_with(prefix));
    if name.trim().is_empty() || name.chars().count() > MAX_NAME_CHARS || reserved {
        return Err(VariablesError::Name(name.chars().take(MAX_NAME_CHARS).collect()));
    }
    let (text, default) = match value {
        Value::String(text) => (text, None),
        Value::Object(_) => {
            let form: ValueAndDefault =
                serde_json::from_value(value).map_err(|_| VariablesError::Form(name.clone()))?;
            (form.value, Some(form.default))
        }
        Value::Number(_) | Value::Bool(_) => return Ok(Variable { name, parts: None, default: value }),
        Value::Null | Value::Array(_) => return Err(VariablesError::Form(name)),
    };
    match &default {
        Some(Value::String(default)) if parts(&name, default)?.iter().any(|part| matches!(part, Part::Fact(_))) => {
            return Err(VariablesError::Default(name));
        }
        None | Some(Value::String(_) | Value::Number(_) | Value::Bool(_)) => {}
        Some(_) => return Err(VariablesError::Form(name)),
    }
    let parts = parts(&name, &text)?;
    let is_constant = parts.iter().all(|part| matches!(part, Part::Text(_)));
    Ok(match default {
        None if is_constant => Variable { name, parts: None, default: text.into() },
        default => Variable { name, parts: Some(parts), default: default.unwrap_or_else(|| "".into()) },
    })
}

/// Splits a text at its placeholders. Braces around anything but a name are text.
fn parts(name: &str, text: &str) -> Result<Vec<Part>, VariablesError> {
    let is_name = |inner: &str| {
        !inner.is_empty() && inner.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ' '))
    };
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        plain.push_str(before);
        match from[1..].split_once('}').filter(|(inner, _)| is_name(inner)) {
            None => {
                plain.push('{');
                rest = &from[1..];
            }
            Some((inner, after)) => {
                let known = PLACEHOLDERS.into_iter().find(|(known, _)| *known == inner.trim());
                let (_, fact) = known.ok_or_else(|| VariablesError::Placeholder {
                    name: name.to_owned(),
                    placeholder: inner.to_owned(),
                })?;
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(Part::Fact(fact));
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(parts)
}

/// Returns the text of a value, or `None` if a fact is not known.
fn filled(parts: &[Part], caller: &Caller) -> Option<String> {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Text(plain) => text.push_str(plain),
            Part::Fact(fact) => text.push_str(&fact.of(caller)?),
        }
    }
    text.truncate(text.floor_char_boundary(MAX_VALUE_BYTES));
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CallOutcome, DriverId, LastCall, Timestamp};
    use serde_json::json;

    fn maria(last_call: Option<LastCall>) -> Caller {
        Caller {
            driver_id: DriverId::new(1042).unwrap(),
            name: "Maria".to_owned(),
            phone_number: PhoneNumber::new("+15550100042").unwrap(),
            last_call,
        }
    }

    fn values(file: &Value, caller: Option<&Caller>) -> Value {
        InitiationVariables::parse(file.to_string().as_bytes()).unwrap().values(caller).into()
    }

    #[test]
    fn every_caller_gets_every_variable_and_what_is_not_known_is_the_default() {
        let file = json!({
            "id": {"value": "{driver.id}", "default": 0},
            "greeting": {"value": "Hello {driver.name} ({ driver.phone_number })!", "default": "Hello!"},
            "last": {"value": "{last_call.at}: {last_call.outcome}, {last_call.summary}", "default": "no call"},
            "name": "{driver.name}",
            "company": "Acme {Freight, Inc}",
            "depots": 3,
            "night": false,
        });
        let (constant, nobody) = (
            json!({"company": "Acme {Freight, Inc}", "depots": 3, "night": false}),
            json!({"id": 0, "greeting": "Hello!", "last": "no call", "name": ""}),
        );
        let with = |variables: Value| {
            let mut all = constant.as_object().unwrap().clone();
            all.extend(variables.as_object().unwrap().clone());
            Value::from(all)
        };
        assert_eq!(values(&file, None), with(nobody));
        let known = json!({
            "id": "1042", "greeting": "Hello Maria (+15550100042)!", "last": "no call", "name": "Maria",
        });
        assert_eq!(values(&file, Some(&maria(None))), with(known.clone()));
        let at = Timestamp::parse("2026-09-28T12:00:00Z").unwrap();
        let mut last = LastCall { at, summary: Some("Parked.".to_owned()), outcome: None };
        assert_eq!(values(&file, Some(&maria(Some(last.clone())))), with(known.clone()));
        last.outcome = Some(CallOutcome::Success);
        let mut all = known;
        all["last"] = "2026-09-28T12:00:00.000000Z: success, Parked.".into();
        assert_eq!(values(&file, Some(&maria(Some(last.clone())))), with(all));
        last.summary = Some("\u{20ac}".repeat(5000));
        let long = values(&json!({"s": "{last_call.summary}"}), Some(&maria(Some(last))));
        assert_eq!(long["s"].as_str().unwrap().len(), MAX_VALUE_BYTES / 3 * 3);
    }

    #[test]
    fn a_file_that_would_let_calls_fail_is_refused() {
        let refused = |file: &str| InitiationVariables::parse(file.as_bytes()).expect_err(file);
        for file in ["", "[]", "1", "{", "{\"a\": 1} x"] {
            assert!(matches!(refused(file), VariablesError::Json(_)), "{file}");
        }
        for form in ["null", "[]", "{}", "{\"value\": 1, \"default\": 2}", "{\"value\": \"a\"}"] {
            assert_eq!(refused(&format!("{{\"a\": {form}}}")), VariablesError::Form("a".to_owned()), "{form}");
        }
        let extra = r#"{"a": {"value": "a", "default": "b", "defualt": "c"}}"#;
        assert_eq!(refused(extra), VariablesError::Form("a".to_owned()));
        for (value, placeholder) in [("{driver.nmae}", "driver.nmae"), ("x {name} {driver.id}", "name")] {
            let wanted = VariablesError::Placeholder { name: "a".to_owned(), placeholder: placeholder.to_owned() };
            assert_eq!(refused(&json!({"a": value}).to_string()), wanted);
        }
        let default = json!({"a": {"value": "{driver.id}", "default": "{driver.name}"}}).to_string();
        assert_eq!(refused(&default), VariablesError::Default("a".to_owned()));
        for name in ["", " ", "system__caller_id", "secret__x", &"x".repeat(MAX_NAME_CHARS + 1)] {
            assert!(matches!(refused(&json!({name: "x"}).to_string()), VariablesError::Name(_)), "{name}");
        }
        let many: Map<_, _> = (0..=MAX_VARIABLES).map(|n| (format!("v{n}"), json!(n))).collect();
        assert_eq!(refused(&Value::from(many).to_string()), VariablesError::TooMany(MAX_VARIABLES + 1));
    }

    #[test]
    fn a_question_is_read_as_far_as_possible() {
        let read = |body: &Value| parse_initiation(body.to_string().as_bytes());
        let question = read(&json!({
            "caller_id": "sip:+15550100042@example.com", "agent_id": 7, "called_number": null, "call_sid": " CA1 ",
            "conversation_id": "{{system__conversation_id}}", "more": [],
        }));
        let question = question.unwrap();
        assert_eq!(question.caller, PhoneNumber::new("+15550100042").ok());
        assert_eq!(question.call_sid.as_ref().map(CallSid::as_str), Some("CA1"));
        assert_eq!(question.conversation_id, None);
        assert_eq!(read(&json!({"caller_id": "anonymous"})), Some(InitiationQuestion::default()));
        assert_eq!(read(&json!({"caller_id": 15_550_100_042_i64})).unwrap().caller, question.caller);
        assert_eq!(read(&json!({})), Some(InitiationQuestion::default()));
        assert_eq!([read(&json!([])), parse_initiation(b""), parse_initiation(b"\xff{")], [None, None, None]);
    }
}
