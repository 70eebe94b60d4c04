//! Redacts JSON: the values of strings, and numbers that are card numbers. All other bytes remain unchanged.
//!
//! Field names are not redacted, nor are values that identify calls and drivers: see [`IDENTIFIER_FIELDS`]. Within tool
//! calls and their results all values are redacted, because a field such as `user_id` may have anything there.

use super::finding::{PiiKind, RedactionCounts};
use super::numbers;
use super::redactor::Redactor;
use crate::domain::repair;
use serde::de::IgnoredAny;
use std::borrow::Cow;

/// Fields of ElevenLabs' payloads that identify a call, a driver or the telephone line. Their values are not redacted.
const IDENTIFIER_FIELDS: [&str; 23] = [
    "conversation_id",
    "agent_id",
    "user_id",
    "driver_id",
    "batch_call_id",
    "batch_call_recipient_id",
    "external_number",
    "agent_number",
    "phone_number_id",
    "sms_user_phone_number",
    "user_phone_number",
    "whatsapp_user_id",
    "call_sid",
    "to_number",
    "from_number",
    "To",
    "From",
    "Called",
    "Caller",
    "system__conversation_id",
    "system__caller_id",
    "system__called_number",
    "system__call_sid",
];

/// Fields of ElevenLabs' payloads with tool calls and their results.
const TOOL_FIELDS: [&str; 2] = ["tool_calls", "tool_results"];

/// Fields with an identifier that a language model may invent, such as `call_4111111111111111`.
const INVENTED_FIELDS: [&str; 2] = ["request_id", "tool_call_id"];

/// Maximum depth of JSON within strings of JSON, as in the parameters of tools.
const MAX_DEPTH: usize = 4;

/// One nesting level of the current position.
#[expect(clippy::struct_excessive_bools, reason = "each is another fact about the position")]
struct Level {
    is_object: bool,
    /// True if the next string is a field name.
    name_next: bool,
    /// True if the next value is not redacted.
    kept: bool,
    /// True within tool calls and their results.
    in_tool: bool,
    /// True if the next value is an identifier that a language model may have invented.
    invented: bool,
}

impl Redactor {
    /// Redacts JSON, or returns `None` if the text is no JSON.
    pub fn json<'a>(&self, text: &'a str, found: &mut RedactionCounts) -> Option<Cow<'a, str>> {
        self.json_at(text, found, 0, false)
    }

    /// Redacts JSON, which stands in tool calls or their results if `in_tool`.
    fn json_at<'a>(
        self,
        text: &'a str,
        found: &mut RedactionCounts,
        depth: usize,
        in_tool: bool,
    ) -> Option<Cow<'a, str>> {
        if serde_json::from_str::<IgnoredAny>(text).is_err() {
            // The event's parser reads the repaired text, which is therefore redacted.
            let (repaired, _) = repair::repaired(text.as_bytes());
            serde_json::from_str::<IgnoredAny>(&repaired).ok()?;
            return Some(match self.walked(&repaired, found, depth, in_tool) {
                Cow::Borrowed(_) => Cow::Borrowed(text),
                Cow::Owned(replaced) => Cow::Owned(replaced),
            });
        }
        Some(self.walked(text, found, depth, in_tool))
    }

    /// Redacts text that is known to be JSON.
    fn walked<'a>(self, text: &'a str, found: &mut RedactionCounts, depth: usize, in_tool: bool) -> Cow<'a, str> {
        let mut walk = Walk { text, out: String::new(), copied: 0, levels: Vec::new(), attribute: None, in_tool };
        let mut at = 0;
        while let Some(byte) = text.as_bytes().get(at) {
            at = match byte {
                b'"' => walk.string(self, at, found, depth),
                b'0'..=b'9' => walk.number(self, at, found),
                byte => {
                    walk.structure(*byte);
                    at + 1
                }
            };
        }
        if walk.copied == 0 {
            return Cow::Borrowed(text);
        }
        walk.out.push_str(&text[walk.copied..]);
        Cow::Owned(walk.out)
    }
}

struct Walk<'a> {
    text: &'a str,
    out: String,
    /// End of the text that was copied.
    copied: usize,
    levels: Vec<Level>,
    /// True if the last named trace attribute is not redacted: `{"key": …, "value": {"stringValue": …}}`.
    attribute: Option<bool>,
    /// True if the whole text stands in a tool call or its result.
    in_tool: bool,
}

impl Walk<'_> {
    fn structure(&mut self, byte: u8) {
        let (kept, in_tool) = (self.kept(), self.in_tool());
        match byte {
            b'{' => self.levels.push(Level { is_object: true, name_next: true, kept: false, in_tool, invented: false }),
            b'[' => self.levels.push(Level { is_object: false, name_next: false, kept, in_tool, invented: false }),
            b'}' | b']' => drop(self.levels.pop()),
            b',' => {
                if let Some(level) = self.levels.last_mut().filter(|level| level.is_object) {
                    level.name_next = true;
                }
            }
            _ => {}
        }
    }

    fn kept(&self) -> bool {
        self.levels.last().is_some_and(|level| level.kept)
    }

    fn in_tool(&self) -> bool {
        self.levels.last().map_or(self.in_tool, |level| level.in_tool)
    }

    fn replace(&mut self, from: usize, to: usize, by: &str) {
        self.out.push_str(&self.text[self.copied..from]);
        self.out.push_str(by);
        self.copied = to;
    }

    /// Processes the string that starts at `at`, and returns its end.
    fn string(&mut self, redactor: Redactor, at: usize, found: &mut RedactionCounts, depth: usize) -> usize {
        let bytes = self.text.as_bytes();
        let mut end = at + 1;
        while bytes[end] != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        end += 1;
        let literal = &self.text[at..end];
        // A field of the object around this one, which is the last level, may be that of tool calls.
        let outside = self.levels.len().checked_sub(2).map_or(self.in_tool, |around| self.levels[around].in_tool);
        if let Some(level) = self.levels.last_mut().filter(|level| level.name_next) {
            let name = literal.trim_matches('"');
            level.name_next = false;
            level.invented = INVENTED_FIELDS.contains(&name);
            level.in_tool = outside || TOOL_FIELDS.contains(&name);
            level.kept = match name {
                _ if level.in_tool => false,
                "stringValue" | "intValue" => self.attribute.take().unwrap_or(false),
                name => IDENTIFIER_FIELDS.contains(&name),
            };
            if name == "key" {
                self.attribute = Some(false);
            }
            return end;
        }
        if self.attribute == Some(false) {
            let name = literal.trim_matches('"').rsplit('.').next().unwrap_or_default();
            self.attribute = Some(IDENTIFIER_FIELDS.contains(&name));
        }
        if self.kept() {
            return end;
        }
        // A string that looks like JSON is redacted as JSON. Unpaired surrogates are repaired in the way of the event's
        // parser.
        let Ok((value, _)) = repair::read::<String>(literal.as_bytes()) else { return end };
        let nested = if depth < MAX_DEPTH && value.trim_start().starts_with(['{', '[']) {
            redactor.json_at(&value, found, depth + 1, self.in_tool())
        } else {
            None
        };
        let mut redacted = nested.unwrap_or_else(|| redactor.text(&value, found));
        if redactor.0[PiiKind::Card as usize] && self.levels.last().is_some_and(|level| level.invented) {
            if let Some(replaced) = without_joined_cards(&redacted, found) {
                redacted = Cow::Owned(replaced);
            }
        }
        if let Cow::Owned(replaced) = redacted {
            self.replace(at, end, &serde_json::Value::from(replaced).to_string());
        }
        end
    }

    /// Processes the number that contains the byte `at`, and returns its end.
    fn number(&mut self, redactor: Redactor, at: usize, found: &mut RedactionCounts) -> usize {
        let is_part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-');
        let length = self.text.as_bytes()[at..].iter().take_while(|byte| is_part(byte)).count();
        let end = at + length;
        let digits = &self.text[at..end];
        let signed = self.text[..at].ends_with('-');
        let is_card = || whole_digits(digits).is_some_and(|digits| numbers::is_card(&digits));
        if !signed && redactor.0[PiiKind::Card as usize] && !self.kept() && is_card() {
            found.0[PiiKind::Card as usize] += 1;
            self.replace(at, end, "\"[card]\"");
        }
        end
    }
}

/// Returns an identifier without card numbers that letters are joined to, if it has any.
fn without_joined_cards(text: &str, found: &mut RedactionCounts) -> Option<String> {
    let (mut out, mut copied, mut from) = (String::new(), 0, 0);
    while let Some(start) = text[from..].find(|c: char| c.is_ascii_digit()).map(|at| from + at) {
        let digits = text[start..].bytes().take_while(u8::is_ascii_digit).count();
        from = start + digits;
        if numbers::is_card(&text[start..from]) {
            found.0[PiiKind::Card as usize] += 1;
            out.push_str(&text[copied..start]);
            out.push_str(PiiKind::Card.placeholder());
            copied = from;
        }
    }
    (copied > 0).then(|| out + &text[copied..])
}

/// Returns the digits of a whole number, which some programs write as a float.
fn whole_digits(number: &str) -> Option<Cow<'_, str>> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return fraction.bytes().all(|byte| byte == b'0').then_some(Cow::Borrowed(whole));
    }
    let value: f64 = number.parse().ok()?;
    // A card number has at most 19 digits.
    (value.fract() == 0.0 && value < 1e19).then(|| Cow::Owned(format!("{value:.0}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(json: &str) -> Option<String> {
        Redactor::new(&PiiKind::ALL).json(json, &mut RedactionCounts::default()).map(Cow::into_owned)
    }

    #[test]
    fn values_are_redacted_and_all_other_bytes_are_unchanged() {
        for (json, wanted) in [
            (r#"{ "message" : "a@b.co" ,"n":1.50}"#, r#"{ "message" : "[email]" ,"n":1.50}"#),
            (r#"["555-010-0042", "\u00e9 \/"]"#, r#"["[phone]", "\u00e9 \/"]"#),
            (r#"{"a@b.co": "x"}"#, r#"{"a@b.co": "x"}"#),
            (r#"{"card": 4111111111111111}"#, r#"{"card": "[card]"}"#),
            (
                r#"{"n": -4111111111111111, "f": 4111111111111111.5}"#,
                r#"{"n": -4111111111111111, "f": 4111111111111111.5}"#,
            ),
            (
                r#"{"a": 4111111111111111.0, "b": 4.111111111111111e15, "c": 4.1111111111111111E+15, "d": 1.5e3}"#,
                r#"{"a": "[card]", "b": "[card]", "c": "[card]", "d": 1.5e3}"#,
            ),
            (r#"{"request_id": 4111111111111111}"#, r#"{"request_id": "[card]"}"#),
            (r#"{"request_id": "call_4111111111111111"}"#, r#"{"request_id": "call_[card]"}"#),
            (r#"{"tool_call_id": "a4111111111111111b1"}"#, r#"{"tool_call_id": "a[card]b1"}"#),
            (r#"{"request_id": "call_4111111111111112"}"#, r#"{"request_id": "call_4111111111111112"}"#),
            (r#"{"other": "call_4111111111111111"}"#, r#"{"other": "call_4111111111111111"}"#),
            (r#"{"a": "\u0061@b.co"}"#, r#"{"a": "[email]"}"#),
            ("\"078-05-1120\"", "\"[ssn]\""),
            ("[]", "[]"),
        ] {
            assert_eq!(redacted(json).as_deref(), Some(wanted), "{json}");
        }
    }

    #[test]
    fn identifiers_are_kept_wherever_they_are() {
        for json in [
            r#"{"user_id": "+15550100042"}"#,
            r#"{"metadata": {"body": {"To": "+15550100042", "called": [1]}}}"#,
            r#"{"external_number": ["+15550100042"]}"#,
            r#"{"key": "call.external_number", "value": {"stringValue": "+15550100042"}}"#,
        ] {
            assert_eq!(redacted(json).as_deref(), Some(json));
        }
        let other = r#"{"key": "elevenlabs.user.text", "value": {"stringValue": "+15550100042"}}"#;
        assert_eq!(redacted(other), Some(other.replace("+15550100042", "[phone]")));
    }

    #[test]
    fn nothing_identifies_within_tool_calls_and_their_results() {
        let number = "+15550100042";
        let inner = |number: &str| format!(r#"{{"To": "{number}", "user_id": "{number}"}}"#);
        for json in [
            |inner: &str| format!(r#"{{"tool_calls": [{{"parameters": {inner}}}], "user_id": "+15550100042"}}"#),
            |inner: &str| format!(r#"{{"tool_calls": [{{"params_as_json": {}}}]}}"#, serde_json::Value::from(inner)),
            |inner: &str| format!(r#"{{"tool_results": {{"x": [{inner}]}}, "external_number": "+15550100042"}}"#),
        ] {
            assert_eq!(redacted(&json(&inner(number))), Some(json(&inner("[phone]"))));
        }
    }

    #[test]
    fn json_within_strings_is_redacted_as_json() {
        let inner = |text: &str| format!(r#"{{"user_id": "5550100042", "said": "{text}"}}"#);
        let outer = |inner: &str| serde_json::json!({ "parameters": inner }).to_string();
        assert_eq!(redacted(&outer(&inner("a@b.co"))), Some(outer(&inner("[email]"))));
    }

    #[test]
    fn text_that_is_no_json_is_none() {
        for text in ["", "a@b.co", "{\"a\": }", "[1", "{} {}"] {
            assert_eq!(redacted(text), None, "{text:?}");
        }
    }
}
