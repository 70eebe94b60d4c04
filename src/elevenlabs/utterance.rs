//! Parses one element of a conversation in any known form: the speaker and the words.
//!
//! ElevenLabs' own form is `{"role", "message"}`, with the words in `multivoice_message.parts[].text` if an agent has
//! several voices. Others are `{"speaker", "text"}`, `{"role", "content"}` with the content as text or as an array of
//! parts, `{"message": {"role", "content"}}`, and `{"user": "…"}`. All of them are read, because the words may exist
//! nowhere else. An element without anything readable gets a remark, so changes by ElevenLabs are noticed.

use super::lenient::{At, Remarks};
use crate::domain::repair;
use crate::domain::{Message, Speaker};
use serde_json::Value;
use std::borrow::Cow;

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
        Value::Object(fields) => LISTS.iter().find_map(|list| elements_at(fields.get(*list)?, depth)),
        Value::String(text) => {
            let (inner, _) = repair::read::<Value>(text.as_bytes()).ok()?;
            elements_at(&inner, depth).map(|elements| elements.into_owned().into())
        }
        _ => None,
    }
}

/// Returns the speaker and the words of an element, or `None` if it has no words.
pub(super) fn utterance(at: &At<'_>, remarks: &mut Remarks) -> Option<(Speaker, Message)> {
    let Some(element) = at.value() else {
        remarks.add_words(at.place(), "is null");
        return None;
    };
    let said = words(element, MAX_DEPTH);
    let keyed = || {
        let fields = element.as_object()?;
        fields.iter().find_map(|(name, value)| Some((speaker_named(name)?, words(value, MAX_DEPTH)?)))
    };
    let role = role(element, MAX_DEPTH);
    let (speaker, said) = match (role, said) {
        (Some(role), Some(said)) => match speaker_named(&role) {
            Some(speaker) => (speaker, said),
            None if said.trim().is_empty() => return None,
            None => {
                remarks.add_words(at.place(), "the speaker is neither agent nor user");
                return None;
            }
        },
        (_, said) => match keyed() {
            Some(keyed) => keyed,
            None if said.is_some_and(|said| !said.trim().is_empty()) => {
                remarks.add_words(at.place(), "no speaker");
                return None;
            }
            None => {
                remark_silence(at, element, remarks);
                return None;
            }
        },
    };
    at.words(&said, remarks).map(|message| (speaker, message))
}

/// Adds a remark that an element has no words, unless a field explains it.
fn remark_silence(at: &At<'_>, element: &Value, remarks: &mut Remarks) {
    let there = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    };
    let Some(fields) = element.as_object() else {
        remarks.add_words(at.place(), "must be a string or an object");
        return;
    };
    let explained = NO_WORDS.iter().any(|name| fields.get(*name).is_some_and(there));
    let blank = WORDS.iter().any(|name| fields.get(*name).is_some_and(|value| value.as_str().is_some()));
    if explained || blank {
        return;
    }
    // Only identifiers are included, because any other name might be words of the call.
    let named = |name: &&String| name.len() <= 40 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let filled = fields.iter().filter(|(_, value)| there(value)).map(|(name, _)| name).filter(named);
    let shown: Vec<_> = filled.take(12).map(String::as_str).collect();
    let what = format!("no readable words or tool calls; fields: {}", shown.join(", "));
    remarks.add_words(at.place(), &what);
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
    named.or_else(|| ["message", "content"].iter().find_map(|name| role(fields.get(*name)?, depth)))
}

/// Returns the speaker of a role, by the role names of common agent frameworks.
fn speaker_named(role: &str) -> Option<Speaker> {
    let role = role.trim().to_ascii_lowercase();
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
            let read = utterance(&At::new("x", &element), &mut remarks);
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
            assert_eq!(utterance(&At::new("x", &element), &mut remarks), None, "{element}");
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
