//! Parses the body of a turn webhook into a turn that can be stored.
//!
//! The flat object `{"conversation_id","speaker","message","timestamp"}` is the contract. Some versions of ElevenLabs
//! wrap it as `{"tool_call_id","tool_name","parameters":{…},"conversation_id"}`. Both forms are read in one pass, and
//! ignored fields are not copied.

use crate::domain::repair;
use crate::domain::validation::FieldError;
use crate::domain::{CallSid, ConversationId, DeliveryKey, Invalid, Message, NewTurn, Source, Speaker, Timestamp};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Name of the header with the delivery key.
pub const IDEMPOTENCY_KEY_HEADER: &str = "Idempotency-Key";

/// The reason why a body is not a valid turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TurnError {
    /// The body is not a JSON object.
    Json(String),
    /// The invalid fields.
    Fields(Vec<FieldError>),
}

/// Parses the body of a delivery. `header_key` is the value of [`IDEMPOTENCY_KEY_HEADER`].
///
/// # Errors
/// See [`TurnError`].
pub fn parse_turn(body: &[u8], header_key: Option<&str>) -> Result<NewTurn, TurnError> {
    match read_json(body, header_key) {
        // Valid JSON is never repaired.
        Err(TurnError::Json(_)) => {
            let (repaired, _) = repair::repaired(body);
            read_json(repaired.as_bytes(), header_key)
        }
        read => read,
    }
}

fn read_json(body: &[u8], header_key: Option<&str>) -> Result<NewTurn, TurnError> {
    // Checked here because the derived reader would also accept an array of the fields.
    if body.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return Err(TurnError::Json("the first character is not {".to_owned()));
    }
    let body: TurnBody<'_> = serde_json::from_slice(body).map_err(|error| TurnError::Json(error.to_string()))?;
    let turn = body.unwrapped();
    let mut problems = Vec::new();
    let conversation_id = turn.conversation_id.required("conversation_id", ConversationId::from_sender, &mut problems);
    let speaker = turn.speaker.required("speaker", Speaker::from_elevenlabs, &mut problems);
    let message = turn.message.required("message", Message::new, &mut problems);
    let timestamp = turn.timestamp.required("timestamp", Timestamp::parse, &mut problems);
    let delivery_key = header_key.and_then(|key| {
        let read = DeliveryKey::new(key).map_err(|invalid| invalid.to_string());
        read.map_err(|rule| problems.push(FieldError { field: IDEMPOTENCY_KEY_HEADER.to_owned(), rule })).ok()
    });
    match (conversation_id, speaker, message, timestamp) {
        (Some(conversation_id), Some(speaker), Some(message), Some(timestamp)) if problems.is_empty() => {
            // A turn is never refused because of the telephone provider's id.
            let call_sid = turn.call_sid.text().and_then(|id| CallSid::from_sender(id).ok());
            let source = Source::Live;
            Ok(NewTurn { conversation_id, speaker, message, timestamp, delivery_key, source, call_sid })
        }
        _ => Err(TurnError::Fields(problems)),
    }
}

/// The body of a delivery: a flat object, or an envelope.
#[derive(Deserialize)]
struct TurnBody<'a> {
    #[serde(borrow, default)]
    conversation_id: Field<'a>,
    #[serde(borrow, default)]
    speaker: Field<'a>,
    #[serde(borrow, default)]
    message: Field<'a>,
    #[serde(borrow, default)]
    timestamp: Field<'a>,
    #[serde(borrow, default)]
    call_sid: Field<'a>,
    #[serde(borrow, default)]
    parameters: Parameters<'a>,
}

/// The fields of a turn, from either form of the body.
#[derive(Deserialize)]
struct TurnFields<'a> {
    #[serde(borrow, default)]
    conversation_id: Field<'a>,
    #[serde(borrow, default)]
    speaker: Field<'a>,
    #[serde(borrow, default)]
    message: Field<'a>,
    #[serde(borrow, default)]
    timestamp: Field<'a>,
    #[serde(borrow, default)]
    call_sid: Field<'a>,
}

impl<'a> TurnBody<'a> {
    /// Returns the turn's fields.
    ///
    /// An object named `parameters` is an envelope only if the body has none of the turn's own fields: a flat body may
    /// have an unrelated field of that name. The envelope's `tool_call_id` is ignored because language models write it,
    /// and many repeat one value in every turn of a call.
    fn unwrapped(self) -> TurnFields<'a> {
        let flat = [&self.speaker, &self.message, &self.timestamp].iter().any(|field| !field.is_missing());
        match self.parameters {
            Parameters::Object(mut inner) if !flat => {
                if inner.conversation_id.is_missing() {
                    inner.conversation_id = self.conversation_id;
                }
                if inner.call_sid.is_missing() {
                    inner.call_sid = self.call_sid;
                }
                inner
            }
            _ => {
                let Self { conversation_id, speaker, message, timestamp, call_sid, .. } = self;
                TurnFields { conversation_id, speaker, message, timestamp, call_sid }
            }
        }
    }
}

/// A field that should be a string. Borrows from the body unless the string contains escapes.
#[derive(Default)]
enum Field<'a> {
    #[default]
    Missing,
    Text(Cow<'a, str>),
    /// A value of another type, with the type's name for the error.
    Other(&'static str),
}

impl Field<'_> {
    fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }

    fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    fn required<T>(
        self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, Invalid>,
        problems: &mut Vec<FieldError>,
    ) -> Option<T> {
        let rule = match self {
            Self::Missing => "is required".to_owned(),
            Self::Text(text) => match read(&text) {
                Ok(value) => return Some(value),
                Err(invalid) => invalid.to_string(),
            },
            Self::Other(kind) => format!("must be a string, not {kind}"),
        };
        problems.push(FieldError { field: name.to_owned(), rule });
        None
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Field::Text(text.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Field::Text(text.to_owned().into()))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Field::Other("null"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Field::Other("a boolean"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Field::Other("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Field::Other("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Field::Other("a number"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Other("an array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Other("an object"))
    }
}

/// The envelope's `parameters`. Any other type than an object is ignored, like an unknown field.
#[derive(Default)]
enum Parameters<'a> {
    Object(TurnFields<'a>),
    #[default]
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for Parameters<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ParametersVisitor)
    }
}

struct ParametersVisitor;

impl<'de> Visitor<'de> for ParametersVisitor {
    type Value = Parameters<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
        TurnFields::deserialize(MapAccessDeserializer::new(entries)).map(Parameters::Object)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Parameters::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Parameters::Other)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Parameters::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Parameters::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Parameters::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Parameters::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Parameters::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn body() -> Value {
        json!({"conversation_id": "c", "speaker": "user", "message": "Hello", "timestamp": "2026-09-28T12:00:00Z"})
    }

    fn read(body: &Value) -> Result<NewTurn, TurnError> {
        parse_turn(body.to_string().as_bytes(), None)
    }

    #[test]
    fn a_turn_is_read_from_every_form_of_the_body() {
        let flat = read(&body()).unwrap();
        assert_eq!(
            (flat.conversation_id.as_str(), flat.speaker, flat.message.as_str()),
            ("c", Speaker::Driver, "Hello")
        );
        let mut outside = body();
        let id = outside.as_object_mut().unwrap().remove("conversation_id").unwrap();
        let mut with_parameters = body();
        with_parameters["parameters"] = json!({"speaker": "agent", "x": [1, {"y": null}]});
        let mut reordered = json!({"unknown": {"deep": [[]]}});
        reordered.as_object_mut().unwrap().extend(body().as_object().unwrap().clone());
        for other in [
            json!({"tool_call_id": "call_0", "tool_name": "log", "parameters": body()}),
            json!({"parameters": outside, "conversation_id": id}),
            with_parameters,
            reordered,
        ] {
            assert_eq!(read(&other).as_ref(), Ok(&flat), "{other}");
        }
    }

    #[test]
    fn each_wrong_field_is_named_and_all_of_them_at_once() {
        let fields = |body: &Value| match read(body) {
            Err(TurnError::Fields(problems)) => problems.into_iter().map(|problem| problem.field).collect::<Vec<_>>(),
            other => panic!("{body}: {other:?}"),
        };
        for field in ["conversation_id", "speaker", "message", "timestamp"] {
            for value in [json!(null), json!(5), json!(true), json!([1]), json!({"a": 1}), json!(" "), json!(1.5)] {
                let mut wrong = body();
                wrong[field] = value;
                assert_eq!(fields(&wrong), [field], "{wrong}");
            }
        }
        for wrong in [json!({}), json!({"parameters": [1]}), json!({"parameters": {}})] {
            assert_eq!(fields(&wrong), ["conversation_id", "speaker", "message", "timestamp"], "{wrong}");
        }
    }

    #[test]
    fn a_body_that_is_no_object_is_told_from_a_wrong_field() {
        for text in ["", "[]", "null", "\"a\"", "{", "{} {}", "[\"c\", \"user\", \"Hello\", \"2026-09-28T12:00:00Z\"]"]
        {
            assert!(matches!(parse_turn(text.as_bytes(), None), Err(TurnError::Json(_))), "{text}");
        }
    }

    #[test]
    fn a_delivery_key_is_taken_from_the_header_only() {
        let text = body().to_string();
        let key = |header| parse_turn(text.as_bytes(), header).map(|turn| turn.delivery_key.is_some());
        assert_eq!((key(None), key(Some("k-1"))), (Ok(false), Ok(true)));
        assert!(
            matches!(key(Some(" ")), Err(TurnError::Fields(problems)) if problems[0].field == IDEMPOTENCY_KEY_HEADER)
        );
    }
}
