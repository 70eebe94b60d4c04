//! Parses the calls of tools and the triggered guardrails of a conversation.
//!
//! `tool_calls` and `tool_results` stand in elements of the transcript, often in different ones, and are joined by
//! `request_id`. An id can be repeated or empty, so a result belongs to the first call with its id that has none yet.

use super::lenient::{JsonField, Remarks};
use super::options::ToolDetails;
use crate::domain::{MAX_TOOL_CALLS, Timestamp, ToolCall, ToolPurpose};
use serde_json::Value;
use std::collections::{HashMap, VecDeque};

/// Maximum length of the arguments, and of the result, of a tool call, in bytes.
const MAX_TEXT_BYTES: usize = 16 * 1024;

/// Maximum length of the arguments and results of all tool calls of a record, in bytes.
const MAX_ALL_TEXTS_BYTES: usize = 1024 * 1024;

/// Maximum length of a name or an id, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// Name of the tool by which an agent reports a voicemail.
const VOICEMAIL_TOOL: &str = "voicemail_detection";

/// A reader of the tool calls of a conversation, element by element.
pub(super) struct ToolReader {
    details: ToolDetails,
    calls: Vec<ToolCall>,
    /// Indexes of calls without a result, by request id and name.
    open: HashMap<(String, String), VecDeque<usize>>,
    /// Length of all texts, in bytes.
    bytes: usize,
    /// True if the agent reported a voicemail.
    voicemail: bool,
}

impl ToolReader {
    pub(super) fn new(details: ToolDetails) -> Self {
        Self { details, calls: Vec::new(), open: HashMap::new(), bytes: 0, voicemail: false }
    }

    /// Reads the tool calls, results and guardrails of an element of the transcript.
    pub(super) fn read(&mut self, at: &JsonField<'_>, index: u32, time: Option<Timestamp>, remarks: &mut Remarks) {
        for call in items(&at.get("tool_calls"), remarks) {
            self.call(&JsonField::new("tool_calls[]", call), index, time, remarks);
        }
        for result in items(&at.get("tool_results"), remarks) {
            self.result(&JsonField::new("tool_results[]", result), index, time, remarks);
        }
        for guardrail in items(&at.get("triggered_guardrails"), remarks) {
            self.guardrail(&JsonField::new("triggered_guardrails[]", guardrail), index, time, remarks);
        }
    }

    /// Returns the calls, and whether the agent reported a voicemail.
    pub(super) fn finish(self) -> (Vec<ToolCall>, bool) {
        (self.calls, self.voicemail)
    }

    fn call(&mut self, at: &JsonField<'_>, index: u32, time: Option<Timestamp>, remarks: &mut Remarks) {
        let (id, name) = (id_of(at, remarks), name_of(at, remarks));
        let was_called = at.get("tool_has_been_called").boolean(remarks);
        let tool_type = at.get("type").text(remarks).map(shortened);
        let purpose = purpose(&name, tool_type.as_deref(), at, remarks);
        self.voicemail |= purpose == ToolPurpose::VoicemailDetection && was_called == Some(true);
        let arguments = at.get_any(&["params_as_json", "parameters", "arguments"]);
        let arguments = self.text(&arguments, remarks);
        let key = (id.clone(), name.clone());
        let call = ToolCall {
            index,
            request_id: Some(shortened(id)).filter(|id| !id.is_empty()),
            name,
            tool_type,
            purpose,
            arguments,
            result: None,
            is_error: None,
            latency_ms: None,
            at: time,
        };
        if let Some(number) = self.add(call, remarks) {
            self.open.entry(key).or_default().push_back(number);
        }
    }

    fn result(&mut self, at: &JsonField<'_>, index: u32, time: Option<Timestamp>, remarks: &mut Remarks) {
        let (id, name) = (id_of(at, remarks), name_of(at, remarks));
        let tool_type = at.get("type").text(remarks).map(shortened);
        let purpose = purpose(&name, tool_type.as_deref(), at, remarks);
        let was_called = at.get("tool_has_been_called").boolean(remarks);
        let is_error = at.get("is_error").boolean(remarks).or_else(|| at.get("is_blocked").boolean(remarks));
        let failed = is_error == Some(true);
        self.voicemail |= purpose == ToolPurpose::VoicemailDetection && was_called == Some(true) && !failed;
        let mut value = at.get_any(&["result_value", "result"]);
        if failed && value.value().and_then(Value::as_str).is_some_and(|text| text.trim().is_empty()) {
            value = at.get("raw_error_message");
        }
        let result = self.text(&value, remarks);
        let latency_ms = at.get("tool_latency_secs").number(remarks).and_then(|seconds| millis(seconds.get()));
        let waiting = self.open.get_mut(&(id.clone(), name.clone())).and_then(VecDeque::pop_front);
        if let Some(call) = waiting.and_then(|number| self.calls.get_mut(number)) {
            (call.result, call.is_error, call.latency_ms) = (result, is_error, latency_ms);
            if call.tool_type.is_none() {
                call.tool_type = tool_type;
            }
            if call.purpose == ToolPurpose::Tool {
                call.purpose = purpose;
            }
            return;
        }
        let request_id = Some(shortened(id)).filter(|id| !id.is_empty());
        let (arguments, at) = (None, time);
        let call =
            ToolCall { index, request_id, name, tool_type, purpose, arguments, result, is_error, latency_ms, at };
        self.add(call, remarks);
    }

    fn guardrail(&mut self, at: &JsonField<'_>, index: u32, time: Option<Timestamp>, remarks: &mut Remarks) {
        let tool_type = at.get("guardrail_type").text(remarks).map(shortened);
        let name = at.get("guardrail_name").text(remarks).map(shortened);
        let result = self.text(&at.get("guardrail_details"), remarks);
        let call = ToolCall {
            index,
            request_id: None,
            name: name.or_else(|| tool_type.clone()).unwrap_or_else(|| "guardrail".to_owned()),
            tool_type,
            purpose: ToolPurpose::Guardrail,
            arguments: None,
            result,
            is_error: None,
            latency_ms: None,
            at: time,
        };
        self.add(call, remarks);
    }

    /// Adds a call, and returns its index unless there are too many.
    fn add(&mut self, call: ToolCall, remarks: &mut Remarks) -> Option<usize> {
        if self.details == ToolDetails::Off {
            return None;
        }
        if self.calls.len() == MAX_TOOL_CALLS {
            let rule = format!("more than {MAX_TOOL_CALLS} tool calls; the others are ignored");
            remarks.add_once("data.transcript[].tool_calls", &rule);
            return None;
        }
        self.calls.push(call);
        Some(self.calls.len() - 1)
    }

    /// Returns a text, or any other value as JSON, up to the maximum length.
    fn text(&mut self, at: &JsonField<'_>, remarks: &mut Remarks) -> Option<String> {
        if self.details != ToolDetails::Full {
            return None;
        }
        let text = match at.value()? {
            Value::String(text) => text.replace('\0', "\u{FFFD}"),
            other => other.to_string().replace('\0', "\u{FFFD}"),
        };
        if text.trim().is_empty() {
            return None;
        }
        let room = MAX_TEXT_BYTES.min(MAX_ALL_TEXTS_BYTES - self.bytes);
        if text.len() > room {
            remarks.add_once(at.place(), "truncated; the stored event contains all of it");
        }
        let text = text[..text.floor_char_boundary(room)].to_owned();
        self.bytes += text.len();
        Some(text).filter(|text| !text.is_empty())
    }
}

/// Returns the elements of a list, or none if there is no list.
fn items<'a>(at: &JsonField<'a>, remarks: &mut Remarks) -> impl Iterator<Item = &'a Value> + use<'a> {
    at.elements(remarks).unwrap_or_default().iter().filter(|item| item.is_object())
}

fn id_of(at: &JsonField<'_>, remarks: &mut Remarks) -> String {
    at.get_any(&["request_id", "tool_call_id"]).text(remarks).unwrap_or_default()
}

fn name_of(at: &JsonField<'_>, remarks: &mut Remarks) -> String {
    at.get_any(&["tool_name", "name"]).text(remarks).map_or_else(|| "(unnamed)".to_owned(), shortened)
}

/// Returns the purpose of a tool. ElevenLabs' own tools have the type `system`; a customer's tool may have any name.
fn purpose(name: &str, tool_type: Option<&str>, at: &JsonField<'_>, remarks: &mut Remarks) -> ToolPurpose {
    if tool_type.is_some_and(|named| named != "system") {
        return ToolPurpose::Tool;
    }
    let outcome = at.get("result").get("result_type").text(remarks).unwrap_or_default();
    let id = at.get("tool_id").text(remarks).unwrap_or_default();
    let of = |named: &str, purpose| {
        let is = name == named || id == format!("__system_{named}") || outcome.starts_with(named);
        is.then_some(purpose)
    };
    of("end_call", ToolPurpose::EndCall)
        .or_else(|| of("transfer_to_number", ToolPurpose::TransferToNumber))
        .or_else(|| of("transfer_to_agent", ToolPurpose::TransferToAgent))
        .or_else(|| of(VOICEMAIL_TOOL, ToolPurpose::VoicemailDetection))
        .unwrap_or(ToolPurpose::Tool)
}

fn shortened(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_NAME_BYTES));
    text
}

/// Returns a duration in milliseconds, if it is plausible.
fn millis(seconds: f64) -> Option<i64> {
    let millis = (seconds * 1000.0).round();
    #[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
    (0.0..1e12).contains(&millis).then_some(millis as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(details: ToolDetails, elements: &[Value]) -> (Vec<ToolCall>, bool, usize) {
        let (mut reader, mut remarks) = (ToolReader::new(details), Remarks::default());
        for (index, element) in (0..).zip(elements) {
            reader.read(&JsonField::new("x", element), index, None, &mut remarks);
        }
        let (calls, voicemail) = reader.finish();
        (calls, voicemail, remarks.into_vec().len())
    }

    fn shown(calls: &[ToolCall]) -> Vec<String> {
        let shown = |call: &ToolCall| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let error = call.is_error.map_or("", |failed| if failed { "!" } else { "." });
            format!("{} {} {}>{}{error}", call.index, call.name, text(&call.arguments), text(&call.result))
        };
        calls.iter().map(shown).collect()
    }

    #[test]
    fn results_are_joined_to_the_first_call_with_their_id() {
        let call =
            |id: &str, name: &str, args: &str| json!({"request_id": id, "tool_name": name, "params_as_json": args});
        let result = |id: &str, name: &str, value: &str, failed: bool| json!({"request_id": id, "tool_name": name, "result_value": value, "is_error": failed, "tool_latency_secs": 0.25});
        for (case, elements, wanted) in [
            (
                "one element",
                vec![json!({"tool_calls": [call("a", "x", "{}")], "tool_results": [result("a", "x", "ok", false)]})],
                vec!["0 x {}>ok."],
            ),
            (
                "a later element",
                vec![
                    json!({"tool_calls": [call("a", "x", "1"), call("b", "y", "2")]}),
                    json!({"tool_results": [result("b", "y", "two", true)]}),
                    json!({"tool_results": [result("a", "x", "one", false)]}),
                ],
                vec!["0 x 1>one.", "0 y 2>two!"],
            ),
            (
                "a repeated id",
                vec![
                    json!({"tool_calls": [call("a", "x", "1")]}),
                    json!({"tool_calls": [call("a", "x", "2")]}),
                    json!({"tool_results": [result("a", "x", "one", false), result("a", "x", "two", false)]}),
                ],
                vec!["0 x 1>one.", "1 x 2>two."],
            ),
            (
                "an empty id",
                vec![
                    json!({"tool_calls": [call("", "x", "1"), call("", "y", "2")]}),
                    json!({"tool_results": [result("", "y", "two", false)]}),
                ],
                vec!["0 x 1>", "0 y 2>two."],
            ),
            ("a result alone", vec![json!({"tool_results": [result("a", "x", "ok", false)]})], vec!["0 x >ok."]),
            ("other types", vec![json!({"tool_calls": 5, "tool_results": [null, 7, {}]})], vec!["0 (unnamed) >"]),
            (
                "arguments as an object",
                vec![json!({"tool_calls": [{"name": "x", "parameters": {"a": 1}}]})],
                vec!["0 x {\"a\":1}>"],
            ),
        ] {
            assert_eq!(shown(&read(ToolDetails::Full, &elements).0), wanted, "{case}");
        }
        let (calls, ..) = read(
            ToolDetails::Full,
            &[json!({"tool_calls": [call("a", "x", "{}")], "tool_results": [result("a", "x", "ok", false)]})],
        );
        assert_eq!(calls[0].latency_ms, Some(250));
    }

    #[test]
    fn system_tools_and_guardrails_have_their_purpose() {
        let call = |name: &str, of: Value| json!({"tool_calls": [{"tool_name": name, "type": of, "request_id": "r"}]});
        for (element, purpose) in [
            (call("end_call", json!("system")), ToolPurpose::EndCall),
            (call("end_call", json!(null)), ToolPurpose::EndCall),
            (call("end_call", json!("webhook")), ToolPurpose::Tool),
            (call("transfer_to_number", json!("system")), ToolPurpose::TransferToNumber),
            (call("transfer_to_agent", json!("system")), ToolPurpose::TransferToAgent),
            (call("voicemail_detection", json!("system")), ToolPurpose::VoicemailDetection),
            (call("look_up_load", json!("webhook")), ToolPurpose::Tool),
            (
                json!({"tool_results": [{"tool_name": "hand_over", "type": "system",
                    "result": {"result_type": "transfer_to_agent_success"}}]}),
                ToolPurpose::TransferToAgent,
            ),
            (json!({"triggered_guardrails": [{"guardrail_type": "profanity"}]}), ToolPurpose::Guardrail),
        ] {
            let (calls, ..) = read(ToolDetails::Full, std::slice::from_ref(&element));
            assert_eq!(calls[0].purpose, purpose, "{element}");
        }
    }

    #[test]
    fn only_a_tool_that_was_really_called_reports_a_voicemail() {
        let call = |called: Value| json!({"tool_calls": [{"tool_name": "voicemail_detection", "tool_has_been_called": called}]});
        for (called, wanted) in [(json!(true), true), (json!(false), false), (json!(null), false)] {
            for details in [ToolDetails::Full, ToolDetails::Names, ToolDetails::Off] {
                assert_eq!(read(details, &[call(called.clone())]).1, wanted, "{called} {details:?}");
            }
        }
    }

    #[test]
    fn the_details_of_tool_calls_and_their_length_are_limited() {
        let element = json!({"tool_calls": [{"tool_name": "x", "params_as_json": "{}"}]});
        assert_eq!(shown(&read(ToolDetails::Names, std::slice::from_ref(&element)).0), ["0 x >"]);
        assert!(read(ToolDetails::Off, &[element]).0.is_empty());
        let long = json!({"tool_calls": [{"tool_name": "x", "params_as_json": "é".repeat(MAX_TEXT_BYTES)}]});
        let many: Vec<_> = std::iter::repeat_n(long, MAX_TOOL_CALLS + 2).collect();
        let (calls, _, remarks) = read(ToolDetails::Full, &many);
        let bytes: usize = calls.iter().filter_map(|call| call.arguments.as_ref()).map(String::len).sum();
        assert_eq!((calls.len(), bytes <= MAX_ALL_TEXTS_BYTES, remarks), (MAX_TOOL_CALLS, true, 2));
    }
}
