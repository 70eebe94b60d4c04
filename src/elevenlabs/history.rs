//! What the deterministic tool of a running call sends: the conversation so far, by the platform's own variables.
//!
//! `{conversation_id, timestamp, history, agent_id?, driver_id?, user_id?}`, where `history` is the value of
//! `system__conversation_history`: `{"entries": [{"role", "message"}, …]}`, as an object or as the text of one.

use super::lenient::{At, Remarks};
use super::record::speaker;
use crate::fields::Problem;
use crate::model::{ConversationId, DriverClaims, History, HistoryEntry, HistoryReport, Invalid, Timestamp};
use serde_json::Value;

/// Reads a tool's call, be it wrapped as `{"parameters": {…}}`.
///
/// # Errors
/// Every field that breaks a rule. What stands inside the history is read leniently: entries without words, or of
/// other speakers than agent and user, are no turns.
pub fn read_history(body: &[u8]) -> Result<HistoryReport, Vec<Problem>> {
    let problem = |field: &str, rule: &str| Problem { field: field.to_owned(), rule: rule.to_owned() };
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| vec![problem("body", &format!("must be a JSON object: {error}"))])?;
    if !body.is_object() {
        return Err(vec![problem("body", "must be a JSON object")]);
    }
    let flat = body.get("history").is_some();
    let fields = body.get("parameters").filter(|inner| inner.is_object() && !flat).unwrap_or(&body);
    let mut problems = Vec::new();
    // As in a turn's delivery, the conversation may stand outside the envelope.
    let id = fields.get("conversation_id").or_else(|| body.get("conversation_id"));
    let conversation_id = required("conversation_id", id, ConversationId::new, &mut problems);
    let timestamp = required("timestamp", fields.get("timestamp"), Timestamp::parse, &mut problems);
    let history = match fields.get("history") {
        None => Err("is required".to_owned()),
        Some(Value::String(text)) => {
            serde_json::from_str(text).map_err(|error| format!("must be the JSON of a conversation's history: {error}"))
        }
        Some(other) => Ok(other.clone()),
    };
    let entries = history.and_then(|history| match history {
        Value::Array(entries) => Ok(entries),
        Value::Object(mut history) => match history.remove("entries") {
            Some(Value::Array(entries)) => Ok(entries),
            _ => Err("must have an array `entries`".to_owned()),
        },
        _ => Err("must be a conversation's history, or its JSON as a string".to_owned()),
    });
    let entries = entries.map_err(|rule| problems.push(problem("history", &rule))).ok();
    match (conversation_id, timestamp, entries) {
        (Some(conversation_id), Some(timestamp), Some(entries)) => {
            let mut remarks = Remarks::default();
            let at = At::new("body", fields);
            Ok(HistoryReport {
                conversation_id,
                timestamp,
                history: history_of(&entries, timestamp, &mut remarks),
                agent_id: at.get("agent_id").text(&mut remarks),
                claims: DriverClaims {
                    dynamic_variable: at.get("driver_id").driver(&mut remarks),
                    user_id: at.get("user_id").driver(&mut remarks),
                    ..DriverClaims::default()
                },
            })
        }
        _ => Err(problems),
    }
}

fn required<T>(
    field: &str,
    value: Option<&Value>,
    read: impl FnOnce(&str) -> Result<T, Invalid>,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let rule = match value {
        None => "is required".to_owned(),
        Some(Value::String(text)) => match read(text) {
            Ok(value) => return Some(value),
            Err(invalid) => invalid.to_string(),
        },
        Some(_) => "must be a string".to_owned(),
    };
    problems.push(Problem { field: field.to_owned(), rule });
    None
}

fn history_of(entries: &[Value], shown: Timestamp, remarks: &mut Remarks) -> History {
    let turns = (0..).zip(entries).filter_map(|(index, entry)| {
        let at = At::new("history.entries[]", entry);
        let message = at.get("message").message(remarks)?;
        let speaker = speaker(&at.get("role"), remarks)?;
        Some((index, HistoryEntry { speaker, message, first_shown: shown, last_shown: shown }))
    });
    History(turns.collect())
}
