//! Parses the conversation so far, as a webhook tool of a running call sends it from ElevenLabs' system variables.
//!
//! The body is `{conversation_id, timestamp, history, agent_id?, driver_id?, user_id?, call_sid?, is_text_only?}`.
//! `history` is the value of `system__conversation_history`: `{"entries": [{"role", "message"}, …]}`, as an object or
//! as its JSON in a string.

use super::lenient::{JsonField, Remarks};
use super::utterance::{elements, utterance};
use crate::domain::repair;
use crate::domain::validation::FieldError;
use crate::domain::{
    CallSid, ConversationId, DriverClaims, History, HistoryEntry, HistoryReport, Invalid, Timestamp, placeholder,
};
use serde_json::Value;
use std::borrow::Cow;

/// Parses a tool's request, which may be wrapped as `{"parameters": {…}}`.
///
/// Inside the history parsing is lenient: entries without words, or of speakers other than agent and user, are not
/// turns.
///
/// # Errors
/// All invalid fields, or a history without any readable entry.
pub fn parse_history(body: &[u8]) -> Result<HistoryReport, Vec<FieldError>> {
    let problem = |field: &str, rule: &str| FieldError { field: field.to_owned(), rule: rule.to_owned() };
    let (body, repairs) = repair::read::<Value>(body)
        .map_err(|error| vec![problem("body", &format!("must be a JSON object: {error}"))])?;
    if !body.is_object() {
        return Err(vec![problem("body", "must be a JSON object")]);
    }
    let flat = body.get("history").is_some();
    let fields = body.get("parameters").filter(|inner| inner.is_object() && !flat).unwrap_or(&body);
    let mut problems = Vec::new();
    // As in a turn's delivery, the conversation id may be outside the envelope.
    let id = fields.get("conversation_id").or_else(|| body.get("conversation_id"));
    let conversation_id = required("conversation_id", id, ConversationId::from_sender, &mut problems);
    let timestamp = required("timestamp", fields.get("timestamp"), Timestamp::parse, &mut problems);
    let entries = match fields.get("history") {
        None => Err(Invalid("is required".into())),
        Some(history) => entries_of(history),
    };
    let entries = entries.map_err(|rule| problems.push(problem("history", &rule.to_string()))).ok();
    let (Some(conversation_id), Some(timestamp), Some(entries)) = (conversation_id, timestamp, entries) else {
        return Err(problems);
    };
    let mut remarks = Remarks::default();
    repairs.remarks().for_each(|remark| remarks.push(remark));
    let at = JsonField::new("body", fields);
    let history = history_of(&entries, timestamp, &mut remarks);
    let agent_id = at.get("agent_id").name(&mut remarks);
    let claims = DriverClaims {
        dynamic_variable: at.get("driver_id").driver(&mut remarks),
        user_id: at.get("user_id").driver(&mut remarks),
        ..DriverClaims::default()
    };
    let call_sid = at.get_any(&["call_sid", "system__call_sid"]).text(&mut remarks);
    let call_sid = call_sid.and_then(|id| CallSid::from_sender(&id).ok());
    let typed = at.get_any(&["is_text_only", "text_only", "system__is_text_only"]);
    let is_text = match typed.value() {
        Some(Value::String(text)) => text.trim().eq_ignore_ascii_case("true"),
        value => value == Some(&Value::Bool(true)),
    };
    let remarks = remarks.into_vec();
    // An error makes the tool's mistake visible; a success response would hide it.
    if history.0.is_empty() && remarks.iter().any(|remark| remark.kind == crate::domain::RemarkKind::Words) {
        return Err(vec![problem("history", "must have entries with `role` and `message`; none can be read")]);
    }
    Ok(HistoryReport { conversation_id, timestamp, history, agent_id, claims, is_text, call_sid, remarks })
}

/// Returns the entries of the variable's value.
fn entries_of(history: &Value) -> Result<Cow<'_, [Value]>, Invalid> {
    if let Some(text) = history.as_str() {
        if let Some(variable) = placeholder(text) {
            return Err(Invalid(format!("the variable was not replaced by its value, got {variable:?}").into()));
        }
        if let Err(error) = repair::read::<Value>(text.as_bytes()) {
            return Err(Invalid(format!("must be a conversation history in JSON: {error}").into()));
        }
    }
    elements(history).ok_or_else(|| {
        Invalid("must be a conversation history: an object with an array `entries`, or its JSON as a string".into())
    })
}

fn required<T>(
    field: &str,
    value: Option<&Value>,
    read: impl FnOnce(&str) -> Result<T, Invalid>,
    problems: &mut Vec<FieldError>,
) -> Option<T> {
    let rule = match value {
        None => "is required".to_owned(),
        Some(Value::String(text)) => match read(text) {
            Ok(value) => return Some(value),
            Err(invalid) => invalid.to_string(),
        },
        Some(_) => "must be a string".to_owned(),
    };
    problems.push(FieldError { field: field.to_owned(), rule });
    None
}

fn history_of(entries: &[Value], shown: Timestamp, remarks: &mut Remarks) -> History {
    let turns = (0..).zip(entries).filter_map(|(index, entry)| {
        let (speaker, message) = utterance(&JsonField::new(&format!("history.entries[{index}]"), entry), remarks)?;
        Some((index, HistoryEntry { speaker, message, first_shown: shown, last_shown: shown }))
    });
    History(turns.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(history: &Value) -> Result<Vec<(u32, String)>, Vec<String>> {
        let body = json!({"conversation_id": "c", "timestamp": "2026-09-28T12:00:00Z", "history": history});
        let report = parse_history(body.to_string().as_bytes());
        let said = |report: HistoryReport| {
            report.history.0.iter().map(|(index, entry)| (*index, entry.message.as_str().to_owned())).collect()
        };
        report.map(said).map_err(|problems| problems.into_iter().map(|problem| problem.field).collect())
    }

    #[test]
    fn a_history_is_read_in_every_form_and_keeps_the_indexes() {
        let entries = json!([
            {"role": "agent", "message": "Hi"},
            {"role": "agent", "tool_calls": [{"name": "x"}]},
            {"role": "user", "message": "Hello"},
        ]);
        let object = json!({ "entries": entries });
        for history in [object.clone(), json!(object.to_string()), entries.clone(), json!(entries.to_string())] {
            assert_eq!(read(&history), Ok(vec![(0, "Hi".to_owned()), (2, "Hello".to_owned())]), "{history}");
        }
        assert_eq!(read(&json!([])), Ok(vec![]));
    }

    #[test]
    fn a_history_without_anything_readable_is_refused() {
        for history in [
            json!("{{system__conversation_history}}"),
            json!("hello"),
            json!(5),
            json!({"x": []}),
            json!([{"role": "system", "message": "Be kind."}]),
            json!([null]),
        ] {
            assert_eq!(read(&history), Err(vec!["history".to_owned()]), "{history}");
        }
    }
}
