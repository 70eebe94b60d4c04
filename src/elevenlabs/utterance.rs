//! Parses one element of a conversation in any known form: the speaker and the words.
//!
//! ElevenLabs' own form is `{"role", "message"}`, with the words in `multivoice_message.parts[].text` if an agent has
//! several voices. Others are `{"speaker", "text"}`, `{"role", "content"}` with the content as text or as an array of
//! parts, `{"message": {"role", "content"}}`, and `{"user": "…"}`. All of them are read, because the words may exist
//! nowhere else. An element without anything readable gets a remark, so changes by ElevenLabs are noticed.

use super::lenient::{JsonField, Remarks};
use crate::domain::repair;
use crate::domain::{BoundedJson, Entry, Message, Speaker, TurnKind};
use serde_json::Value;
use std::borrow::Cow;

/// The JSON in a string of an event. Its limit is low, because strings in it may have more.
type NestedJson = BoundedJson<16>;

/// Maximum depth at which words are searched in an element.
pub(super) const MAX_DEPTH: usize = 5;

/// Fields with words, the most reliable first.
const WORDS: [&str; 12] = [
    "message",
    "multivoice_message",
    "text",
    "content",
    "parts",
    "transcript",
    "utterance",
    "value",
    "output_text",
    "input_text",
    "segments",
    "body",
];

/// Fields with the speaker.
const SPEAKERS: [&str; 6] = ["role", "speaker", "speaker_type", "author", "sender", "from"];

/// Fields of ElevenLabs that explain why an element has no words.
const NO_WORDS: [&str; 14] = [
    "tool_calls",
    "tool_results",
    "tool_requests",
    "tool_responses",
    "tool_call",
    "tool_request",
    "tool_result",
    "tool_call_id",
    "function_call",
    "platform_event",
    "contextual_update_info",
    "file_input",
    "file_inputs",
    "triggered_guardrails",
];

/// Other fields of ElevenLabs' elements. None of them contains words of the call.
const OTHERS: [&str; 24] = [
    "id",
    "type",
    "time_in_call_secs",
    "original_message",
    "interrupted",
    "ignored_as_backchannel",
    "source_medium",
    "source_event_id",
    "created_at_unix_ms",
    "agent_metadata",
    "feedback",
    "llm_override",
    "producing_llm",
    "conversation_turn_metrics",
    "rag_retrieval_info",
    "llm_usage",
    "reasoning",
    "reasoned",
    "used_static_kb_document_ids",
    "user_identifier",
    "voice_label",
    "voice_id",
    "annotations",
    "metadata",
];

/// Fields with the elements of a conversation.
const LISTS: [&str; 6] = ["entries", "transcript", "turns", "messages", "items", "utterances"];

/// Returns the elements of a conversation, given as a list, as an object with a list, or as the JSON of either in a
/// string.
pub(super) fn elements(conversation: &Value) -> Option<Cow<'_, [Value]>> {
    elements_at(conversation, MAX_DEPTH)
}

fn elements_at(conversation: &Value, depth: usize) -> Option<Cow<'_, [Value]>> {
    let depth = depth.checked_sub(1)?;
    match conversation {
        Value::Array(elements) => Some(elements.into()),
        Value::Object(fields) => {
            let found = LISTS.iter().filter_map(|list| elements_at(fields.get(*list)?, depth));
            // An empty list may stand beside the one that is filled.
            found.max_by_key(|elements| !elements.is_empty())
        }
        Value::String(text) => {
            let (inner, _) = repair::read::<NestedJson>(text.as_bytes()).ok()?;
            elements_at(&inner.value, depth).map(|elements| elements.into_owned().into())
        }
        _ => None,
    }
}

/// Returns the speaker and the words of an element, or `None` if it has no words.
pub(super) fn utterance(at: &JsonField<'_>, remarks: &mut Remarks) -> Option<(Speaker, Message)> {
    let Some(element) = at.value() else {
        remarks.add_lost_words(at.place(), "is null");
        return None;
    };
    let said = words(element, MAX_DEPTH);
    let keyed = || {
        let fields = element.as_object().into_iter().flatten();
        fields.filter_map(|(name, value)| Some((speaker_named(name)?, words(value, MAX_DEPTH)?)))
    };
    let role = role(element, MAX_DEPTH);
    let (speaker, said) = match (role, said) {
        (Some(role), Some(said)) => match speaker_named(&role) {
            Some(speaker) => (speaker, said),
            None if said.trim().is_empty() => return None,
            None => {
                remarks.add_lost_words(at.place(), "the speaker is neither agent nor user");
                return None;
            }
        },
        (_, said) => match keyed().next() {
            Some(first) => {
                if keyed().nth(1).is_some() {
                    remarks.add_lost_words(at.place(), "has the words of two speakers; the first are read");
                }
                first
            }
            None if said.is_some_and(|said| !said.trim().is_empty()) => {
                remarks.add_lost_words(at.place(), "no speaker");
                return None;
            }
            None => {
                remark_silence(at, element, remarks);
                return None;
            }
        },
    };
    let message = at.words(&said, remarks);
    remark_rest(at, element, remarks);
    message.map(|message| (speaker, message))
}

/// Remarks that an element has words beside those that are read, or instead of them.
fn remark_rest(at: &JsonField<'_>, element: &Value, remarks: &mut Remarks) {
    let mut unread = Vec::new();
    find_unread(element, MAX_DEPTH, &mut unread);
    if !unread.is_empty() {
        let what = format!("has words that are not read, in: {}", shown(unread));
        remarks.add_lost_words(at.place(), &what);
    }
}

/// Finds fields that hold words in what has none in the fields that are known, as in one part among several.
fn find_unread<'a>(value: &'a Value, depth: usize, unread: &mut Vec<&'a String>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    match value {
        Value::Array(parts) => {
            // The type of a part tells what else it is than words.
            let untyped = parts.iter().filter(|part| part.get("type").is_none());
            untyped.for_each(|part| find_unread(part, depth, unread));
        }
        Value::Object(fields) => {
            let filled = |name: &&str| match fields.get(*name) {
                Some(Value::String(text)) => !text.trim().is_empty(),
                Some(value) => words(value, depth).is_some_and(|said| !said.trim().is_empty()),
                None => false,
            };
            if let Some(name) = WORDS.iter().find(|name| filled(name)) {
                return find_unread(&fields[*name], depth, unread);
            }
            for (name, value) in fields {
                let known = [&SPEAKERS[..], &NO_WORDS, &OTHERS].iter().any(|names| names.contains(&&**name));
                if WORDS.contains(&&**name) {
                    find_unread(value, depth, unread);
                } else if !known && speaker_named(name).is_none() && holds_phrase(value, depth) {
                    unread.push(name);
                }
            }
        }
        _ => {}
    }
}

/// Returns whether a value contains a text of several words.
fn holds_phrase(value: &Value, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    match value {
        Value::String(text) => text.split_whitespace().nth(1).is_some(),
        Value::Array(items) => items.iter().any(|item| holds_phrase(item, depth)),
        Value::Object(fields) => fields.values().any(|value| holds_phrase(value, depth)),
        _ => false,
    }
}

/// Returns the names of fields as they may be told. Those that ElevenLabs makes up are; anything else might be words.
fn shown<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let is_plain = |name: &&String| name.len() <= 40 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let names: Vec<_> = names.into_iter().filter(is_plain).take(12).map(String::as_str).collect();
    names.join(", ")
}

/// Adds a remark that an element has no words, unless a field explains it.
fn remark_silence(at: &JsonField<'_>, element: &Value, remarks: &mut Remarks) {
    let there = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    };
    let Some(fields) = element.as_object() else {
        remarks.add_lost_words(at.place(), "must be a string or an object");
        return;
    };
    let explained = NO_WORDS.iter().any(|name| fields.get(*name).is_some_and(there));
    let blank = WORDS.iter().any(|name| fields.get(*name).is_some_and(|value| value.as_str().is_some()));
    if explained || blank {
        return remark_rest(at, element, remarks);
    }
    // Only identifiers are included, because any other name might be words of the call.
    let filled = fields.iter().filter(|(_, value)| there(value)).map(|(name, _)| name);
    let what = format!("no readable words or tool calls; fields: {}", shown(filled));
    remarks.add_lost_words(at.place(), &what);
}

/// Returns the turns in the variable that holds the conversation so far. Their times are unknown.
pub(super) fn shown_by_variable(variables: &JsonField<'_>, remarks: &mut Remarks) -> Vec<Entry> {
    let at = variables.get("system__conversation_history");
    let (Some(history), place) = (at.value(), at.place()) else { return Vec::new() };
    let whole = elements(history);
    let elements = whole.or_else(|| {
        let elements = history.as_str().and_then(before_the_cut)?;
        remarks.add_lost_words(place, "truncated by ElevenLabs");
        Some(elements.into())
    });
    let elements = elements.unwrap_or_default();
    let entries = (0..).zip(&*elements).filter_map(|(index, element)| {
        let (speaker, message) = utterance(&JsonField::new(&format!("{place}[{index}]"), element), remarks)?;
        Some(Entry {
            index,
            speaker,
            kind: TurnKind::of_words(message.as_str()),
            message,
            original: None,
            interrupted: None,
            time: None,
            cut_off: false,
            metrics: None,
        })
    });
    entries.collect()
}

/// Maximum number of positions that are tried as the end of a truncated text.
const MAX_CUT_ATTEMPTS: usize = 64;

/// Returns the complete elements of a truncated JSON list.
fn before_the_cut(text: &str) -> Option<Vec<Value>> {
    text.rmatch_indices('}').take(MAX_CUT_ATTEMPTS).find_map(|(at, _)| {
        let kept = &text[..=at];
        [format!("{kept}]}}"), format!("{kept}]")].iter().find_map(|whole| {
            let (inner, _) = repair::read::<NestedJson>(whole.as_bytes()).ok()?;
            elements(&inner.value).map(Cow::into_owned)
        })
    })
}

/// Returns the words of a value, joined; an empty text if they are explicitly blank.
pub(super) fn words(value: &Value, depth: usize) -> Option<String> {
    let depth = depth.checked_sub(1)?;
    match value {
        Value::String(text) => Some(text.clone()),
        // A pressed telephone key, for example.
        Value::Number(number) => Some(number.to_string()),
        Value::Array(parts) => {
            let parts: Vec<_> = parts.iter().filter_map(|part| words(part, depth)).collect();
            let said = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()).collect::<Vec<_>>();
            match &parts[..] {
                [] => None,
                [one] => Some(one.clone()),
                _ => Some(said.join(" ")),
            }
        }
        Value::Object(fields) => {
            let found = WORDS.iter().filter_map(|name| words(fields.get(*name)?, depth));
            // Words may be blank in one field and present in another.
            let mut blank = None;
            for text in found {
                if !text.trim().is_empty() {
                    return Some(text);
                }
                blank = blank.or(Some(text));
            }
            blank
        }
        _ => None,
    }
}

/// Returns the speaker's role as written in the element.
fn role(element: &Value, depth: usize) -> Option<String> {
    let depth = depth.checked_sub(1)?;
    let fields = element.as_object()?;
    let named = SPEAKERS.iter().find_map(|name| match fields.get(*name)? {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        // `"author": {"role": "user"}`
        inner @ Value::Object(_) => role(inner, depth),
        _ => None,
    });
    // LangChain's `{"type": "ai", "content"}`; a type may be anything else.
    let typed = || fields.get("type")?.as_str().filter(|text| speaker_named(text).is_some()).map(str::to_owned);
    named.or_else(|| ["message", "content"].iter().find_map(|name| role(fields.get(*name)?, depth))).or_else(typed)
}

/// Returns the place of a conversation in a report, if there is one.
pub(super) fn place_of_conversation(at: &JsonField<'_>) -> Option<String> {
    place_in(at.value()?, at.place().to_owned(), MAX_PLACES)
}

/// Maximum depth at which a conversation is searched for in a report.
const MAX_PLACES: usize = 8;

/// Fields that look like a conversation and are none: prompts, examples, what tools were given.
const NO_CONVERSATION: [&str; 4] =
    ["analysis", "conversation_config_override", "custom_llm_extra_body", "conversation_history_override"];

fn place_in(value: &Value, place: String, depth: usize) -> Option<String> {
    let depth = depth.checked_sub(1)?;
    let says = |element: &Value| {
        let spoken = role(element, MAX_DEPTH).is_some_and(|role| speaker_named(&role).is_some());
        spoken && words(element, MAX_DEPTH).is_some_and(|said| !said.trim().is_empty())
    };
    match value {
        Value::Array(items) if items.iter().any(says) => Some(place),
        Value::Array(items) => items.iter().find_map(|item| place_in(item, format!("{place}[]"), depth)),
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            let inner = format!("{place}.{}", shown([name]));
            match (&**name, value) {
                ("resourceSpans" | "resource_spans", Value::Array(spans)) if !spans.is_empty() => Some(inner),
                (name, _) if NO_CONVERSATION.contains(&name) || NO_WORDS.contains(&name) => None,
                _ => place_in(value, inner, depth),
            }
        }),
        Value::String(text) if text.trim_start().starts_with(['{', '[']) => {
            let (inner, _) = repair::read::<NestedJson>(text.as_bytes()).ok()?;
            place_in(&inner.value, place, depth)
        }
        _ => None,
    }
}

/// Returns the speaker of a role, by the role names of common agent frameworks.
///
/// For events and histories only. The turn webhook accepts just `agent` and `user`.
fn speaker_named(role: &str) -> Option<Speaker> {
    let role = role.trim().to_ascii_lowercase().replace([' ', '-'], "_");
    let role = role.strip_prefix("role_").unwrap_or(&role);
    match role {
        "agent" | "assistant" | "ai" | "bot" | "model" | "ai_agent" | "voice_agent" => Some(Speaker::Agent),
        "user" | "human" | "customer" | "caller" | "callee" | "driver" | "client" | "contact" => Some(Speaker::Driver),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn speaker_and_words_are_read_from_every_known_form() {
        for element in [
            json!({"role": "user", "message": "Hello"}),
            json!({"role": "USER", "message": "Hello"}),
            json!({"speaker": "user", "text": "Hello"}),
            json!({"role": "user", "content": [{"type": "text", "text": "Hello"}]}),
            json!({"message": {"role": "user", "content": "Hello"}}),
            json!({"user": "Hello"}),
            json!({"role": "user", "message": null, "multivoice_message": {"parts": [{"text": "Hello"}]}}),
            json!({"role": "user", "message": "", "text": "Hello"}),
        ] {
            let mut remarks = Remarks::default();
            let read = utterance(&JsonField::new("x", &element), &mut remarks);
            let read = read.map(|(speaker, message)| (speaker, message.as_str().to_owned()));
            assert_eq!(read, Some((Speaker::Driver, "Hello".to_owned())), "{element}");
            assert_eq!(remarks.into_vec(), [], "{element}");
        }
    }

    #[test]
    fn an_element_without_words_is_remarked_unless_it_says_why() {
        for (element, remarked) in [
            (json!({"role": "agent", "message": null, "tool_calls": [{"name": "x"}]}), false),
            (json!({"role": "user", "message": "  "}), false),
            (json!({"role": "system", "message": ""}), false),
            (json!({"role": "system", "message": "Be kind."}), true),
            (json!({"message": "Hello"}), true),
            (json!({"role": "user", "phrase": "Hello"}), true),
            (json!({"role": "agent", "tool_calls": []}), true),
            (json!("Hello"), true),
            (json!(null), true),
            (json!([]), true),
        ] {
            let mut remarks = Remarks::default();
            assert_eq!(utterance(&JsonField::new("x", &element), &mut remarks), None, "{element}");
            assert_eq!(!remarks.into_vec().is_empty(), remarked, "{element}");
        }
    }

    #[test]
    fn elements_are_found_in_lists_objects_and_strings() {
        let list = json!([{"role": "user", "message": "a"}]);
        for conversation in [
            list.clone(),
            json!({"entries": list}),
            json!({"transcript": list}),
            json!(list.to_string()),
            json!({"messages": list.to_string()}),
        ] {
            assert_eq!(elements(&conversation).map(Cow::into_owned), list.as_array().cloned(), "{conversation}");
        }
        for other in [json!(5), json!("hello"), json!({"entries": 5}), json!({}), json!(null)] {
            assert_eq!(elements(&other), None, "{other}");
        }
    }
}
