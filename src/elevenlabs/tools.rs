//! Parses the calls of tools and the triggered guardrails of a conversation.
//!
//! `tool_calls` and `tool_results` stand in elements of the transcript, often in different ones, and are joined by
//! `request_id`. An id can be repeated or empty, so a result belongs to the first call with its id and name that has
//! none yet. If one of both has no name, the id suffices.

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

/// Maximum number of tool calls, results and guardrails of a record that are looked at.
const MAX_ITEMS: usize = 10 * MAX_TOOL_CALLS;

/// Name of a tool call without a name.
const UNNAMED: &str = "(unnamed)";

/// Name of the tool that reports a voicemail.
const VOICEMAIL_TOOL: &str = "voicemail_detection";

/// A reader of the tool calls of a conversation, element by element.
pub(super) struct ToolReader {
    details: ToolDetails,
    calls: Vec<ToolCall>,
    /// Calls without a result, by request id and name.
    open: HashMap<(String, String), VecDeque<usize>>,
    /// Calls by request id, unless it is blank. Some may have a result.
    by_id: HashMap<String, VecDeque<usize>>,
    /// All calls that were read, whether they are stored or not.
    seen: Vec<SeenCall>,
    /// Number of tool calls, results and guardrails that were read.
    items: usize,
    /// Length of all texts, in bytes.
    bytes: usize,
    /// True if a result alone reports a voicemail.
    voicemail: bool,
}

/// A tool call that was read.
struct SeenCall {
    name: String,
    purpose: ToolPurpose,
    /// Index of the stored call, if it is stored.
    stored: Option<usize>,
    has_result: bool,
    /// True if the call reports a voicemail.
    is_voicemail: bool,
}

impl ToolReader {
    pub(super) fn new(details: ToolDetails) -> Self {
        let (calls, seen, open, by_id) = (Vec::new(), Vec::new(), HashMap::new(), HashMap::new());
        Self { details, calls, open, by_id, seen, items: 0, bytes: 0, voicemail: false }
    }

    /// Reads the tool calls, results and guardrails of an element of the transcript.
    pub(super) fn read(&mut self, at: &JsonField<'_>, index: u32, time: Option<Timestamp>, remarks: &mut Remarks) {
        for call in self.items(&at.get("tool_calls"), remarks) {
            self.call(&JsonField::new("tool_calls[]", call), index, time, remarks);
        }
        for result in self.items(&at.get("tool_results"), remarks) {
            self.result(&JsonField::new("tool_results[]", result), index, time, remarks);
        }
        for guardrail in self.items(&at.get("triggered_guardrails"), remarks) {
            self.guardrail(&JsonField::new("triggered_guardrails[]", guardrail), index, time, remarks);
        }
    }

    /// Returns the calls, and whether the agent reported a voicemail.
    pub(super) fn finish(self) -> (Vec<ToolCall>, bool) {
        let voicemail = self.voicemail || self.seen.iter().any(|call| call.is_voicemail);
        (self.calls, voicemail)
    }

    /// Returns the objects of a list, or none if there is no list, up to the maximum of all lists.
    fn items<'a>(&mut self, at: &JsonField<'a>, remarks: &mut Remarks) -> impl Iterator<Item = &'a Value> + use<'a> {
        let elements = at.elements(remarks).unwrap_or_default();
        let read = elements.len().min(MAX_ITEMS - self.items);
        if read < elements.len() {
            remarks.add_once("data.transcript[].tool_calls", "more than 10000 tool calls; the others are ignored");
        }
        self.items += read;
        elements[..read].iter().filter(|item| item.is_object())
    }

    fn call(&mut self, at: &JsonField<'_>, index: u32, time: Option<Timestamp>, remarks: &mut Remarks) {
        let (id, name) = (id_of(at, remarks), name_of(at, remarks));
        let was_called = at.get("tool_has_been_called").boolean(remarks);
        let tool_type = at.get("type").text(remarks).map(shortened);
        let purpose = purpose(&name, tool_type.as_deref(), at, remarks);
        let is_voicemail = purpose == ToolPurpose::VoicemailDetection && was_called == Some(true);
        let arguments = at.get_any(&["params_as_json", "parameters", "arguments"]);
        let arguments = self.text(&arguments, remarks);
        let call = ToolCall {
            index,
            request_id: Some(shortened(id.clone())).filter(|id| !id.is_empty()),
            name: name.clone(),
            tool_type,
            purpose,
            arguments,
            result: None,
            is_error: None,
            latency_ms: None,
            at: time,
        };
        let stored = self.add(call, remarks);
        let number = self.seen.len();
        self.seen.push(SeenCall { name: name.clone(), purpose, stored, has_result: false, is_voicemail });
        if !id.is_empty() {
            self.by_id.entry(id.clone()).or_default().push_back(number);
        }
        self.open.entry((id, name)).or_default().push_back(number);
    }

    /// Returns the first call without a result that a result belongs to.
    fn take_open(&mut self, id: &str, name: &str) -> Option<usize> {
        let seen = &self.seen;
        let take = |calls: Option<&mut VecDeque<usize>>| {
            calls.and_then(|calls| {
                while calls.pop_front_if(|call| seen[*call].has_result).is_some() {}
                calls.pop_front()
            })
        };
        let of_name = |name: &str| (id.to_owned(), name.to_owned());
        take(self.open.get_mut(&of_name(name)))
            .or_else(|| if id.is_empty() { None } else { take(self.open.get_mut(&of_name(UNNAMED))) })
            .or_else(|| if name == UNNAMED { take(self.by_id.get_mut(id)) } else { None })
    }

    fn result(&mut self, at: &JsonField<'_>, index: u32, time: Option<Timestamp>, remarks: &mut Remarks) {
        let (id, name) = (id_of(at, remarks), name_of(at, remarks));
        let tool_type = at.get("type").text(remarks).map(shortened);
        let purpose = purpose(&name, tool_type.as_deref(), at, remarks);
        let was_called = at.get("tool_has_been_called").boolean(remarks);
        let [is_error, is_blocked] = ["is_error", "is_blocked"].map(|name| at.get(name).boolean(remarks));
        // A blocked call is no success, whatever else is said of it.
        let is_error = is_error.max(is_blocked);
        let failed = is_error == Some(true);
        let is_blank = |value: &Value| value.as_str().is_some_and(|text| text.trim().is_empty());
        let mut value = at.get_any(&["result_value", "result"]);
        if value.value().is_none_or(is_blank) {
            value = at.get("raw_error_message");
        }
        let result = self.text(&value, remarks);
        let latency_ms = at.get("tool_latency_secs").number(remarks).and_then(|seconds| millis(seconds.get()));
        let reports = |purpose| purpose == ToolPurpose::VoicemailDetection && was_called == Some(true) && !failed;
        let Some(number) = self.take_open(&id, &name) else {
            self.voicemail |= reports(purpose);
            let request_id = Some(shortened(id)).filter(|id| !id.is_empty());
            let (arguments, at) = (None, time);
            let call =
                ToolCall { index, request_id, name, tool_type, purpose, arguments, result, is_error, latency_ms, at };
            self.add(call, remarks);
            return;
        };
        let seen = &mut self.seen[number];
        seen.has_result = true;
        if seen.purpose == ToolPurpose::Tool {
            seen.purpose = purpose;
        }
        seen.is_voicemail = !failed && (seen.is_voicemail || reports(seen.purpose));
        if seen.name == UNNAMED {
            seen.name = name;
        }
        if let Some(call) = seen.stored.and_then(|stored| self.calls.get_mut(stored)) {
            (call.result, call.is_error, call.latency_ms) = (result, is_error, latency_ms);
            if call.tool_type.is_none() {
                call.tool_type = tool_type;
            }
            call.purpose = seen.purpose;
            call.name.clone_from(&seen.name);
        }
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

fn id_of(at: &JsonField<'_>, remarks: &mut Remarks) -> String {
    at.get_any(&["request_id", "tool_call_id"]).text(remarks).unwrap_or_default()
}

fn name_of(at: &JsonField<'_>, remarks: &mut Remarks) -> String {
    at.get_any(&["tool_name", "name"]).text(remarks).map_or_else(|| UNNAMED.to_owned(), shortened)
}

/// Returns the purpose of a tool. ElevenLabs' own tools have the type `system`; a customer's tool may have any name.
fn purpose(name: &str, tool_type: Option<&str>, at: &JsonField<'_>, remarks: &mut Remarks) -> ToolPurpose {
    if tool_type.is_some_and(|named| !named.eq_ignore_ascii_case("system")) {
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
        let result = |id: &str, name: &str, value: &str, failed: bool| {
            json!({"request_id": id, "tool_name": name,
            "result_value": value, "is_error": failed, "tool_latency_secs": 0.25})
        };
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
            (
                "a result without a name",
                vec![
                    json!({"tool_calls": [call("a", "x", "1"), call("b", "y", "2")]}),
                    json!({"tool_results": [{"request_id": "b", "result_value": "two"}]}),
                    json!({"tool_results": [result("a", "x", "one", false), {"request_id": "b", "result_value": "3"}]}),
                ],
                vec!["0 x 1>one.", "0 y 2>two", "2 (unnamed) >3"],
            ),
            (
                "a call without a name",
                vec![json!({"tool_calls": [{"request_id": "a"}], "tool_results": [result("a", "x", "one", false)]})],
                vec!["0 x >one."],
            ),
            (
                "a blocked call",
                vec![json!({"tool_results": [{"tool_name": "x", "is_error": false, "is_blocked": true}]})],
                vec!["0 x >!"],
            ),
            (
                "an error beside a result",
                vec![json!({"tool_results": [
                    {"tool_name": "x", "is_error": true, "raw_error_message": "timed out"},
                    {"tool_name": "y", "is_error": "true", "result_value": " ", "raw_error_message": "refused"},
                    {"tool_name": "z", "is_error": true, "result_value": "bad", "raw_error_message": "refused"}]})],
                vec!["0 x >timed out!", "0 y >refused!", "0 z >bad!"],
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
            (call("voicemail_detection", json!("SYSTEM")), ToolPurpose::VoicemailDetection),
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
        let call = |called: Value| {
            json!({"tool_calls": [{"tool_name": "voicemail_detection",
            "tool_has_been_called": called}]})
        };
        for (called, wanted) in
            [(json!(true), true), (json!("true"), true), (json!(false), false), (json!(null), false)]
        {
            for details in [ToolDetails::Full, ToolDetails::Names, ToolDetails::Off] {
                assert_eq!(read(details, &[call(called.clone())]).1, wanted, "{called} {details:?}");
            }
        }
    }

    #[test]
    fn a_voicemail_detection_that_failed_reports_nothing() {
        let call = |id: &str| json!({"tool_name": VOICEMAIL_TOOL, "request_id": id, "tool_has_been_called": true});
        let with = |id: &str, field: &str, value: Value| {
            let mut result = call(id);
            result[field] = value;
            result
        };
        for (case, elements, wanted) in [
            ("no result", vec![json!({"tool_calls": [call("a")]})], true),
            ("a result", vec![json!({"tool_calls": [call("a")], "tool_results": [call("a")]})], true),
            (
                "an error",
                vec![json!({"tool_calls": [call("a")], "tool_results": [with("a", "is_error", json!(true))]})],
                false,
            ),
            (
                "blocked",
                vec![
                    json!({"tool_calls": [call("a")]}),
                    json!({"tool_results": [with("a", "is_blocked", json!(true))]}),
                ],
                false,
            ),
            (
                "an error without a name",
                vec![json!({"tool_calls": [call("a")], "tool_results": [{"request_id": "a", "is_error": true}]})],
                false,
            ),
            ("an error alone", vec![json!({"tool_results": [with("a", "is_error", json!(true))]})], false),
            (
                "an error, and a success later",
                vec![
                    json!({"tool_calls": [call("a")], "tool_results": [with("a", "is_error", json!(true))]}),
                    json!({"tool_calls": [call("b")], "tool_results": [call("b")]}),
                ],
                true,
            ),
        ] {
            for details in [ToolDetails::Full, ToolDetails::Names, ToolDetails::Off] {
                assert_eq!(read(details, &elements).1, wanted, "{case} {details:?}");
            }
        }
    }

    #[test]
    fn only_a_number_of_tool_calls_is_looked_at() {
        let elements = [json!({"tool_calls": vec![json!({}); MAX_ITEMS]}), json!({"tool_results": vec![json!({}); 9]})];
        let (calls, _, remarks) = read(ToolDetails::Full, &elements);
        assert_eq!((calls.len(), remarks), (MAX_TOOL_CALLS, 2));
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
