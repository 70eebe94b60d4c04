//! Parses the kind of a turn and ElevenLabs' measurements of it.

use super::lenient::{JsonField, Remarks};
use crate::domain::{Finite, Speaker, TurnKind};
use serde_json::Value;
use std::collections::BTreeMap;

/// Maximum number of measurements of a turn.
const MAX_METRICS: usize = 50;

/// Maximum length of a measurement's name, in bytes.
const MAX_NAME_BYTES: usize = 100;

/// Events of ElevenLabs' telephone side that stand for silence of the driver.
const SILENT_EVENTS: [&str; 2] = ["user_turn_timeout", "skip_turn_wait_elapsed"];

/// Returns the kind of a turn. `is_typed` is true if all turns of the conversation are typed.
pub(super) fn turn_kind(
    at: &JsonField<'_>,
    speaker: Speaker,
    words: &str,
    is_typed: bool,
    remarks: &mut Remarks,
) -> TurnKind {
    // False, zero or a blank text is no information.
    if at.get("contextual_update_info").value().is_some_and(|info| match info {
        Value::Bool(is_context) => *is_context,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !matches!(&*text.trim().to_ascii_lowercase(), "" | "false" | "null" | "0"),
        _ => true,
    }) {
        return TurnKind::Context;
    }
    let event = at.get("platform_event").text(remarks);
    if speaker == Speaker::Driver && event.is_some_and(|event| SILENT_EVENTS.contains(&&*event)) {
        return TurnKind::Silence;
    }
    if at.get("ignored_as_backchannel").value() == Some(&Value::Bool(true)) {
        return TurnKind::Backchannel;
    }
    match at.get("source_medium").text(remarks).as_deref() {
        Some("dtmf") => TurnKind::Keypad,
        Some("text" | "image" | "file") => TurnKind::Text,
        _ if is_typed => TurnKind::Text,
        _ => TurnKind::of_words(words),
    }
}

/// Returns ElevenLabs' measurements as JSON: seconds by name. They stand under `metrics`, or beside each other, each as
/// a number or as `{"elapsed_time": …}`.
pub(super) fn metrics(at: &JsonField<'_>) -> Option<String> {
    let inner = at.get("metrics");
    let found = if inner.value().is_some_and(Value::is_object) { inner.value() } else { at.value() };
    let seconds = |value: &Value| {
        let value = value.get("elapsed_time").unwrap_or(value);
        value.as_f64().and_then(Finite::new)
    };
    let named = |(name, value): (&String, &Value)| {
        let is_plain = name.len() <= MAX_NAME_BYTES && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        Some((name.clone(), seconds(value)?)).filter(|_| is_plain)
    };
    let all: BTreeMap<String, Finite> = found?.as_object()?.iter().filter_map(named).take(MAX_METRICS).collect();
    (!all.is_empty()).then(|| serde_json::to_string(&all).expect("the keys are strings"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_kind_of_a_turn_is_read_from_what_caused_it() {
        use Speaker::{Agent, Driver};
        for (element, speaker, words, is_typed, kind) in [
            (json!({}), Driver, "Hello", false, TurnKind::Speech),
            (json!({"source_medium": "audio"}), Driver, "Hello", false, TurnKind::Speech),
            (json!({"source_medium": "audio"}), Driver, "...", false, TurnKind::Silence),
            (json!({}), Driver, " … ", false, TurnKind::Silence),
            (json!({}), Driver, "．．．", false, TurnKind::Silence),
            (json!({}), Driver, "‥", false, TurnKind::Silence),
            (json!({}), Driver, "⋯ ⋯", false, TurnKind::Silence),
            (json!({}), Driver, "\u{200B}\u{FEFF}", false, TurnKind::Silence),
            (json!({}), Driver, "\u{200B}No", false, TurnKind::Speech),
            (json!({}), Driver, "?", false, TurnKind::Speech),
            (json!({"platform_event": "user_turn_timeout"}), Driver, "...", false, TurnKind::Silence),
            (json!({"platform_event": "skip_turn_wait_elapsed"}), Driver, "(waited)", false, TurnKind::Silence),
            (json!({"platform_event": "user_turn_timeout"}), Agent, "Still there?", false, TurnKind::Speech),
            (json!({"platform_event": "something_new"}), Driver, "Hello", false, TurnKind::Speech),
            (json!({"ignored_as_backchannel": true}), Driver, "Mhm", false, TurnKind::Backchannel),
            (json!({"ignored_as_backchannel": false}), Driver, "Mhm", false, TurnKind::Speech),
            (json!({"ignored_as_backchannel": "yes"}), Driver, "Mhm", false, TurnKind::Speech),
            (json!({"source_medium": "dtmf"}), Driver, "1", false, TurnKind::Keypad),
            (json!({"source_medium": "text"}), Driver, "Hi", false, TurnKind::Text),
            (json!({"source_medium": null}), Agent, "Hi", true, TurnKind::Text),
            (json!({"contextual_update_info": {"context_id": "x"}}), Driver, "On page 3", false, TurnKind::Context),
            (json!({"contextual_update_info": false}), Driver, "Hello", false, TurnKind::Speech),
            (json!({"contextual_update_info": null}), Driver, "Hello", false, TurnKind::Speech),
            (json!({"contextual_update_info": ""}), Driver, "Hello", false, TurnKind::Speech),
            (json!({"contextual_update_info": true}), Driver, "On page 3", false, TurnKind::Context),
            (json!({"contextual_update_info": {}, "source_medium": "text"}), Driver, "x", true, TurnKind::Context),
        ] {
            let at = JsonField::new("x", &element);
            assert_eq!(turn_kind(&at, speaker, words, is_typed, &mut Remarks::default()), kind, "{element} {words}");
        }
    }

    #[test]
    fn measurements_are_read_from_both_forms() {
        for (value, wanted) in [
            (json!({"metrics": {"b": {"elapsed_time": 0.5}, "a": {"elapsed_time": 1}}}), Some(r#"{"a":1.0,"b":0.5}"#)),
            (json!({"a": {"elapsed_time": 0.25}}), Some(r#"{"a":0.25}"#)),
            (json!({"a": 0.25, "voice_id": "x", "b": null}), Some(r#"{"a":0.25}"#)),
            (json!({"metrics": {"some words of a call": {"elapsed_time": 1}}}), None),
            (json!({"metrics": null, "convai_asr_provider": "elevenlabs"}), None),
            (json!({}), None),
            (json!([1]), None),
            (json!(null), None),
        ] {
            assert_eq!(metrics(&JsonField::new("x", &value)).as_deref(), wanted, "{value}");
        }
    }
}
