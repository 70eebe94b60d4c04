//! Redacted records and their unredacted copies.
//!
//! ElevenLabs can redact a conversation, with marks such as `[NAME]` in the place of words, and send an unredacted copy
//! beside it. The copy must not bring the words back unless the service is configured to prefer it: neither in the
//! transcript, nor in the summary, the title, the analysis or the tool calls. Facts that are no words are read from it.

use super::{Entry, Facts, Message, Record, ToolCall};
use serde_json::Value;
use std::collections::HashMap;

/// Maximum length of the name in a mark, in bytes.
const MAX_MARK_BYTES: usize = 40;

/// Minimum number of asterisks that are a mark.
const MIN_ASTERISKS: usize = 3;

/// The use of a record's words, beside those of the call's other records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WordsUse {
    /// The words are used.
    Full,
    /// The words are only used where an unredacted record that is preferred has none.
    Fallback,
    /// The words are not used, because they only fill in what another record has redacted.
    Ignored,
}

/// Returns for each record the use of its words.
pub(super) fn words_uses(records: &[Record]) -> Vec<WordsUse> {
    let mut uses = vec![WordsUse::Full; records.len()];
    for (redacted, record) in records.iter().enumerate() {
        if !has_any_mark(record) {
            continue;
        }
        for (copy, other) in records.iter().enumerate() {
            // Two that mark the same words under different names are no copies of each other.
            if copy != redacted && is_redaction_of(record, other) && !is_redaction_of(other, record) {
                if other.unredacted {
                    if uses[redacted] == WordsUse::Full {
                        uses[redacted] = WordsUse::Fallback;
                    }
                } else {
                    uses[copy] = WordsUse::Ignored;
                }
            }
        }
    }
    uses
}

/// Removes a record's summary, title and analysis, and the arguments and results of its tool calls.
pub(super) fn remove_words(record: &mut Record) {
    let Facts { summary, title, analysis, .. } = &mut record.facts;
    (*summary, *title, *analysis) = (None, None, None);
    for tool in &mut record.tools {
        (tool.arguments, tool.result) = (None, None);
    }
}

/// Returns whether a record is another one with marks in the place of words.
fn is_redaction_of(record: &Record, other: &Record) -> bool {
    let (marked, entries) = (entries(record), entries(other));
    let fits = |(redacted, other): (&Entry, &Entry)| {
        redacted.speaker == other.speaker
            && fits(redacted.message.as_str(), other.message.as_str())
            && original(redacted).zip(original(other)).is_none_or(|(redacted, other)| fits(redacted, other))
    };
    marked.len() == entries.len()
        && marked.iter().zip(entries).all(fits)
        && (marked.iter().zip(entries).any(|(redacted, other)| {
            redacted.message != other.message
                || original(redacted).zip(original(other)).is_some_and(|(redacted, other)| redacted != other)
        }) || redacts_text(record, other))
}

/// Returns whether any text of a record beside its transcript is that of another one with marks.
fn redacts_text(record: &Record, other: &Record) -> bool {
    fn texts(record: &Record) -> [Option<&str>; 3] {
        let Facts { summary, title, analysis, .. } = &record.facts;
        [summary, title, analysis].map(Option::as_deref)
    }
    let redacts = |(marked, text): (Option<&str>, Option<&str>)| {
        marked.zip(text).is_some_and(|(marked, text)| redacted_by(text, marked).is_some())
    };
    let has_marks = || record.tools.iter().flat_map(tool_texts).flatten().any(has_mark);
    texts(record).into_iter().zip(texts(other)).any(redacts)
        || (has_marks() && redact_tools(&mut other.tools.clone(), &record.tools))
}

fn entries(record: &Record) -> &[Entry] {
    record.entries.as_deref().unwrap_or_default()
}

fn original(entry: &Entry) -> Option<&str> {
    entry.original.as_ref().map(Message::as_str)
}

fn has_any_mark(record: &Record) -> bool {
    let Facts { summary, title, analysis, .. } = &record.facts;
    let entries = entries(record).iter().flat_map(|entry| [Some(entry.message.as_str()), original(entry)]);
    let facts = [summary, title, analysis].into_iter().map(Option::as_deref);
    let tools = record.tools.iter().flat_map(tool_texts);
    entries.chain(facts).chain(tools).flatten().any(has_mark)
}

fn tool_texts(tool: &ToolCall) -> [Option<&str>; 2] {
    [tool.arguments.as_deref(), tool.result.as_deref()]
}

/// Redacts a text that was selected among those of a call's records, each with whether it is unredacted, wherever
/// another one has marks. Does not depend on their order. An unredacted text is preferred to marks.
pub(super) fn redact_text(selected: &mut Option<String>, texts: &[(Option<&str>, bool)]) {
    let Some(text) = selected else { return };
    let known = |unredacted: bool| {
        let of_kind = texts.iter().filter(move |(_, is_unredacted)| *is_unredacted == unredacted);
        of_kind.filter_map(|(text, _)| *text)
    };
    if known(true).any(|unredacted| unredacted == text) {
        return;
    }
    if let Some(unredacted) = known(true).filter(|other| redacted_by(other, text).is_some()).max() {
        unredacted.clone_into(text);
        return;
    }
    let mut marked: Vec<&str> = known(false).filter(|other| other != text && has_mark(other)).collect();
    marked.sort_unstable();
    marked.dedup();
    // A text that is redacted may fit another one with more marks.
    for _ in 0..=marked.len() {
        let before = text.clone();
        for marked in &marked {
            if let Some(redacted) = redacted_by(text, marked) {
                *text = redacted;
            }
        }
        if *text == before {
            break;
        }
    }
}

/// Redacts a transcript wherever another one of a record of the same kind has marks, if all words of the other one
/// are in it. Returns whether anything changed.
pub(super) fn redact_entries(selected: &mut [Entry], marked: &[Entry]) -> bool {
    let index: HashMap<u32, usize> = selected.iter().enumerate().map(|(at, entry)| (entry.index, at)).collect();
    let mut pairs = Vec::new();
    for entry in marked {
        let Some(at) = index.get(&entry.index) else { return false };
        let other = &selected[*at];
        if other.speaker != entry.speaker || !fits_either(entry.message.as_str(), other.message.as_str()) {
            return false;
        }
        pairs.push((*at, entry));
    }
    let mut changed = false;
    for (at, entry) in pairs {
        let other = &mut selected[at];
        if redacts(entry.message.as_str(), other.message.as_str()) {
            other.message = entry.message.clone();
            // What was planned has the words that are redacted.
            other.original.clone_from(&entry.original);
            changed = true;
        } else if original(entry).zip(original(other)).is_some_and(|(marked, text)| redacts(marked, text)) {
            other.original.clone_from(&entry.original);
            changed = true;
        }
    }
    changed
}

/// Redacts arguments and results of tool calls wherever those of another record have marks. Returns whether anything
/// changed. A call is the same by its id and name, in order.
pub(super) fn redact_tools(selected: &mut [ToolCall], marked: &[ToolCall]) -> bool {
    let mut calls: HashMap<(Option<&str>, &str), Vec<&ToolCall>> = HashMap::new();
    for call in marked.iter().rev() {
        calls.entry((call.request_id.as_deref(), &call.name)).or_default().push(call);
    }
    let mut changed = false;
    for call in selected {
        let ToolCall { request_id, name, arguments, result, .. } = call;
        let Some(other) = calls.get_mut(&(request_id.as_deref(), &**name)).and_then(Vec::pop) else { continue };
        for (text, marked) in [(arguments, &other.arguments), (result, &other.result)] {
            let redacted = text.as_deref().zip(marked.as_deref()).and_then(|(text, marked)| redacted_by(text, marked));
            if let Some(redacted) = redacted {
                *text = Some(redacted);
                changed = true;
            }
        }
    }
    changed
}

/// Returns a text, or the strings of a text in JSON, with the marks of `marked`, unless that changes nothing.
fn redacted_by(text: &str, marked: &str) -> Option<String> {
    if text == marked || !has_mark(marked) {
        return None;
    }
    let json = |text: &str| {
        let is_structure = text.trim_start().starts_with(['{', '[']);
        is_structure.then(|| serde_json::from_str::<Value>(text).ok()).flatten()
    };
    match (json(text), json(marked)) {
        (Some(mut value), Some(of_marked)) => {
            let changed = redact_value(&mut value, &of_marked);
            changed.then(|| if value == of_marked { marked.to_owned() } else { value.to_string() })
        }
        _ => redacts(marked, text).then(|| marked.to_owned()),
    }
}

/// Redacts the strings of a value wherever those of another one have marks. Returns whether anything changed.
fn redact_value(value: &mut Value, marked: &Value) -> bool {
    match (value, marked) {
        (Value::String(text), Value::String(marked)) if redacts(marked, text) => {
            text.clone_from(marked);
            true
        }
        (Value::Array(values), Value::Array(marked)) => {
            // `|` because each element must be redacted.
            values.iter_mut().zip(marked).fold(false, |changed, (value, marked)| redact_value(value, marked) | changed)
        }
        (Value::Object(fields), Value::Object(marked)) => fields.iter_mut().fold(false, |changed, (name, value)| {
            marked.get(name).is_some_and(|marked| redact_value(value, marked)) | changed
        }),
        _ => false,
    }
}

/// Returns whether `marked` is a text with marks in the place of words, and the text is not that of `marked`.
fn redacts(marked: &str, text: &str) -> bool {
    marked != text && fits_between_marks(marked, text) && !fits_between_marks(text, marked)
}

fn fits(marked: &str, text: &str) -> bool {
    marked == text || fits_between_marks(marked, text)
}

fn fits_either(one: &str, other: &str) -> bool {
    fits(one, other) || fits_between_marks(other, one)
}

fn has_mark(text: &str) -> bool {
    next_mark(text).is_some()
}

/// Returns the texts before and after the first mark: `[NAME]`, `<NAME>` or `****`.
///
/// Takes time in proportion to the length of the text: a name ends before the next beginning of a mark.
fn next_mark(text: &str) -> Option<(&str, &str)> {
    text.match_indices(['[', '<', '*']).find_map(|(at, opening)| {
        let inner = &text[at + 1..];
        let rest = match opening {
            "*" if text[..at].ends_with('*') => return None,
            "*" => {
                let rest = inner.trim_start_matches('*');
                (inner.len() - rest.len() + 1 >= MIN_ASTERISKS).then_some(rest)?
            }
            opening => {
                let inner = &inner[..inner.floor_char_boundary(MAX_MARK_BYTES + 1)];
                let name = inner.find(|c: char| !is_part_of_name(c))?;
                let closing = if opening == "[" { ']' } else { '>' };
                let ends = name > 0 && inner[name..].starts_with(closing);
                ends.then(|| &text[at + 1 + name + closing.len_utf8()..])?
            }
        };
        Some((&text[..at], rest))
    })
}

fn is_part_of_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | ' ' | ':' | '.' | '#' | '/')
}

/// Returns whether a text is that of `marked` with words in the place of each mark.
fn fits_between_marks(marked: &str, text: &str) -> bool {
    let Some((beginning, mut rest)) = next_mark(marked) else { return false };
    let Some(mut text) = text.strip_prefix(beginning) else { return false };
    // Each part between two marks is searched from the left, which finds a fit if there is any.
    while let Some((part, after)) = next_mark(rest) {
        match skip_one(text).and_then(|text| text.find(part).map(|at| &text[at + part.len()..])) {
            Some(left) => text = left,
            None => return false,
        }
        rest = after;
    }
    skip_one(text).is_some_and(|text| text.ends_with(rest))
}

/// Returns the text after its first character, because a mark replaces at least one.
fn skip_one(text: &str) -> Option<&str> {
    let mut chars = text.chars();
    chars.next().map(|_| chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_fits_if_it_differs_only_where_the_redacted_one_has_marks() {
        for (marked, text, wanted) in [
            ("I am [NAME].", "I am Maria.", true),
            ("[NAME], at [PLACE]?", "Maria, at Gary?", true),
            ("[NAME] [NAME]", "Maria Kowalski", true),
            ("I am [NAME].", "I am Maria!", false),
            ("I am [NAME].", "He is Maria.", false),
            ("I am [NAME].", "I am .", false),
            ("I am Maria.", "I am Maria.", false),
            ("I am [NAME]", "I am [PERSON_1]", true),
            ("a [not, a mark] b", "a x b", false),
            ("a [not a mark!] b", "a x b", false),
            ("a [] b", "a x b", false),
            ("a <not = a mark> b", "a x b", false),
            ("I am [name:1].", "I am Maria.", true),
            ("I am [NÁME].", "I am Maria.", true),
            ("I am <NAME>.", "I am Maria.", true),
            ("I am <NAME>.", "He is Maria.", false),
            ("I am ****.", "I am Maria.", true),
            ("I am ****.", "I am .", false),
            ("a **b** c", "a x c", false),
            ("[[[A] b", "[[x b", true),
            ("[A]", "", false),
            ("[é] [A] b", "[é] x b", true),
            ("[A] and [B] and c", "x and and and c", true),
        ] {
            assert_eq!(fits_between_marks(marked, text), wanted, "{marked:?} {text:?}");
        }
    }

    #[test]
    fn many_beginnings_of_marks_are_no_marks() {
        for beginning in ["[", "<", "*", "[a", "[ ["] {
            let text = beginning.repeat(65_000);
            assert_eq!((has_mark(&text), fits_between_marks(&text, "x")), (beginning == "*", beginning == "*"));
        }
    }

    #[test]
    fn a_selected_text_gets_the_marks_of_others_in_any_order() {
        let (redacted, open) = ((Some("[NAME] said yes"), false), (Some("Zoe said yes"), false));
        let unredacted = (Some("Zoe said yes"), true);
        for (case, selected, texts, wanted) in [
            ("nothing selected", None, vec![redacted], None),
            ("redacted later", Some("[NAME] said yes"), vec![open, redacted], Some("[NAME] said yes")),
            ("redacted earlier", Some("Zoe said yes"), vec![redacted, open], Some("[NAME] said yes")),
            ("other words", Some("He agreed"), vec![redacted, (Some("He agreed"), false)], Some("He agreed")),
            (
                "more marks",
                Some("Zoe of Gary"),
                vec![(Some("[NAME] of [CITY]"), false), (Some("[NAME] of Gary"), false), (Some("Zoe of Gary"), false)],
                Some("[NAME] of [CITY]"),
            ),
            ("preferred", Some("Zoe said yes"), vec![redacted, unredacted], Some("Zoe said yes")),
            ("preferred and earlier", Some("[NAME] said yes"), vec![unredacted, redacted], Some("Zoe said yes")),
            (
                "strings in JSON",
                Some(r#"{"n":1.5,"list":["Zoe","b"],"of":"Zoe"}"#),
                vec![(Some(r#"{"of":"[NAME]","list":["[NAME]"],"n":2}"#), false)],
                Some(r#"{"n":1.5,"list":["[NAME]","b"],"of":"[NAME]"}"#),
            ),
            ("numbers in brackets", Some("[12]"), vec![(Some("[1]"), false)], Some("[12]")),
        ] {
            for texts in [texts.clone(), texts.into_iter().rev().collect()] {
                let mut text = selected.map(str::to_owned);
                redact_text(&mut text, &texts);
                assert_eq!(text.as_deref(), wanted, "{case}");
            }
        }
    }
}
