//! Rules for the rows of an export: the domain's rules, checked column by column and reported by field.
//!
//! The tables' own constraints are wider. SQLite accepts any integer, text of any length, and any JSON.

use super::super::error::Context as _;
use super::super::statement::Statements as _;
use crate::domain::validation::FieldError;
use crate::domain::{
    AnsweredBy, AnsweredBySource, CallOutcome, CallStatus, Channel, ConversationId, DeliveryKey, Direction,
    DriverClaims, DriverId, DriverSource, EventOutcome, History, Invalid, MAX_MESSAGE_BYTES, MAX_TOOL_CALLS, Message,
    NewDispatch, NewDriver, PhoneNumber, Record, Source, Speaker, Timestamp, ToolPurpose, TurnKind,
};
use crate::store::sqlite::batch::dedup::repeat_key;
use crate::store::sqlite::row::MAX_ROW_ID;
use crate::store::{ArchivedCall, Result, Row as Columns};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rusqlite::Connection;
use rusqlite::types::Value as SqlValue;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, HashSet};

/// Result of a check.
pub(super) type Checked<T = ()> = std::result::Result<T, FieldError>;

pub(super) fn invalid_field<T>(field: &str, rule: impl Into<String>) -> Checked<T> {
    Err(FieldError { field: field.to_owned(), rule: rule.into() })
}

/// Prefixes the failed field with its position in the exported line.
pub(super) fn prefix_field<T>(place: &str, checked: Checked<T>) -> Checked<T> {
    checked.map_err(|FieldError { field, rule }| FieldError { field: format!("{place}.{field}"), rule })
}

/// The columns of a table with their types.
pub(super) struct Table {
    name: &'static str,
    types: HashMap<String, String>,
}

impl Table {
    pub(super) fn read(connection: &Connection, name: &'static str) -> Result<Self> {
        let types = connection
            .fetch_all("SELECT name, type FROM pragma_table_info(?1)", [name], |row| Ok((row.get(0)?, row.get(1)?)))
            .context("reading the columns of a table")?;
        Ok(Self { name, types })
    }

    /// Checks the general rules: known columns, values of the right type, times in the standard form.
    fn check(&self, row: &Columns) -> Checked {
        for (name, value) in row {
            let Some(kind) = self.types.get(name) else {
                return invalid_field(name, format!("is not a column of {}", self.name));
            };
            let value = sql_value(name, value)?;
            let kinds: &[&str] = match &value {
                SqlValue::Null => continue,
                SqlValue::Text(_) => &["TEXT", "ANY"],
                SqlValue::Integer(_) => &["INTEGER", "REAL"],
                SqlValue::Real(_) => &["REAL"],
                SqlValue::Blob(_) => &["BLOB", "ANY"],
            };
            if !kinds.contains(&kind.as_str()) {
                return invalid_field(name, format!("must have the type {}", kind.to_ascii_lowercase()));
            }
            if let SqlValue::Text(text) = value {
                check_text(name, &text)?;
            }
        }
        Ok(())
    }
}

/// Columns with texts of any length: ElevenLabs' bodies and what was parsed from them.
const UNLIMITED_TEXT_COLUMNS: [&str; 8] =
    ["body", "record", "entries", "analysis", "claims", "driver_claims", "error", "tags"];

fn check_text(name: &str, text: &str) -> Checked {
    if name.ends_with("_time") || name.ends_with("_at") || matches!(name, "timestamp" | "at") {
        return match Timestamp::parse(text) {
            Ok(time) if time.to_string() == text => Ok(()),
            Ok(time) => invalid_field(name, format!("must be written as {time}")),
            Err(rule) => invalid_field(name, rule.to_string()),
        };
    }
    if UNLIMITED_TEXT_COLUMNS.contains(&name) {
        return Ok(());
    }
    // Texts of earlier versions are longer than what is taken today where U+FFFD replaces U+0000. Nothing else makes
    // them longer.
    let replaced = || text.matches(char::REPLACEMENT_CHARACTER).count();
    if text.len() > MAX_MESSAGE_BYTES && text.len() - 2 * replaced() > MAX_MESSAGE_BYTES {
        return invalid_field(name, Message::too_long().to_string());
    }
    if text.contains('\0') {
        return invalid_field(name, "must not contain U+0000");
    }
    Ok(())
}

fn text<'a>(row: &'a Columns, name: &str) -> Option<&'a str> {
    row.get(name).and_then(Value::as_str)
}

/// Checks a text, unless it is missing or null.
fn checked<T>(row: &Columns, name: &str, rule: impl Fn(&str) -> std::result::Result<T, Invalid>) -> Checked {
    match text(row, name).map(rule) {
        Some(Err(invalid)) => invalid_field(name, invalid.to_string()),
        _ => Ok(()),
    }
}

/// Checks a value of an enumeration, unless it is missing or null.
fn word<T>(row: &Columns, name: &str, known: impl Fn(&str) -> Option<T>, words: &str) -> Checked {
    match text(row, name).map(known) {
        Some(None) => invalid_field(name, format!("must be one of {words}")),
        _ => Ok(()),
    }
}

/// Checks an integer, unless it is missing or null.
fn whole(row: &Columns, name: &str, from: i64, to: i64) -> Checked {
    match row.get(name).and_then(Value::as_i64) {
        Some(number) if !(from..=to).contains(&number) => {
            invalid_field(name, format!("must be a whole number from {from} to {to}, got {number}"))
        }
        _ => Ok(()),
    }
}

fn required(row: &Columns, names: &[&str]) -> Checked {
    match names.iter().find(|name| row.get(**name).is_none_or(Value::is_null)) {
        Some(missing) => invalid_field(missing, "is required"),
        None => Ok(()),
    }
}

fn conversation(row: &Columns) -> Checked {
    required(row, &["conversation_id"])?;
    checked(row, "conversation_id", ConversationId::new)
}

/// Checks JSON that this service wrote, unless it is missing or null.
fn json<T: serde::de::DeserializeOwned>(row: &Columns, name: &str) -> Checked<Option<T>> {
    // Serde also reads a struct from an array, which the service never writes.
    let object = |text: &str| {
        crate::store::sqlite::json_column::parsed::<T>(text, "").ok().filter(|_| text.starts_with('{')).ok_or(())
    };
    match text(row, name).map(object) {
        Some(Err(())) => invalid_field(name, "is not valid JSON of this column"),
        Some(Ok(value)) => Ok(Some(value)),
        None => Ok(None),
    }
}

pub(super) fn driver(table: &Table, row: &Columns) -> Checked {
    table.check(row)?;
    required(row, &["id", "name", "created_at", "updated_at"])?;
    whole(row, "id", 1, DriverId::MAX)?;
    checked(row, "name", NewDriver::check_name)?;
    checked(row, "phone_number", PhoneNumber::new)
}

pub(super) fn dispatch(table: &Table, row: &Columns) -> Checked {
    table.check(row)?;
    conversation(row)?;
    required(row, &["dispatched_at"])?;
    whole(row, "driver_id", 1, DriverId::MAX)?;
    checked(row, "phone_number", PhoneNumber::new)?;
    checked(row, "batch_id", NewDispatch::check_batch_id)
}

pub(super) fn event(table: &Table, row: &Columns) -> Checked {
    table.check(row)?;
    required(row, &["id", "digest", "received_at", "outcome", "body"])?;
    whole(row, "id", 1, MAX_ROW_ID)?;
    whole(row, "attempts", 1, MAX_ROW_ID)?;
    checked(row, "conversation_id", ConversationId::new)?;
    word(row, "outcome", EventOutcome::from_stored, "applied, ignored, unreadable")?;
    let body = match sql_value("body", &row["body"])? {
        SqlValue::Text(text) => text.into_bytes(),
        SqlValue::Blob(bytes) => bytes,
        _ => return invalid_field("body", "must be a string or {\"base64\": …}"),
    };
    if sql_value("digest", &row["digest"])? != SqlValue::Blob(Sha256::digest(&body).to_vec()) {
        return invalid_field("digest", "must be the SHA-256 of the body");
    }
    match json::<Record>(row, "record")? {
        Some(record) if Some(record.conversation_id.as_str()) != text(row, "conversation_id") => {
            invalid_field("record", "must have the event's conversation_id")
        }
        None if text(row, "outcome") == Some("applied") => {
            invalid_field("record", "is required because the outcome is `applied`")
        }
        _ => Ok(()),
    }
}

/// The tables of a call.
pub(super) struct CallTables {
    calls: Table,
    histories: Table,
    turns: Table,
    tools: Table,
}

impl CallTables {
    pub(super) fn read(connection: &Connection) -> Result<Self> {
        let table = |name| Table::read(connection, name);
        let (calls, histories) = (table("calls")?, table("call_histories")?);
        Ok(Self { calls, histories, turns: table("call_transcriptions")?, tools: table("tool_calls")? })
    }
}

/// Checks a call with its turns and its history.
pub(super) fn call(tables: &CallTables, call: &ArchivedCall) -> Checked {
    let ArchivedCall { row, history, turns, tools } = call;
    tables.calls.check(row)?;
    conversation(row)?;
    required(row, &["id", "call_start_time", "status", "created_at", "updated_at"])?;
    whole(row, "id", 1, MAX_ROW_ID)?;
    whole(row, "driver_id", 1, DriverId::MAX)?;
    word(row, "status", CallStatus::from_stored, "in_progress, completed, failed")?;
    word(row, "direction", Direction::from_stored, "inbound, outbound")?;
    word(row, "outcome", CallOutcome::from_stored, "success, failure, unknown")?;
    let sources = "dispatch, dynamic_variable, user_id, batch_recipient, initiation, phone_number";
    word(row, "driver_source", DriverSource::from_stored, sources)?;
    if text(row, "call_end_time") < text(row, "call_start_time") && text(row, "call_end_time").is_some() {
        return invalid_field("call_end_time", "must not be before call_start_time");
    }
    whole(row, "duration_seconds", 0, i64::MAX)?;
    whole(row, "record_event_id", 1, MAX_ROW_ID)?;
    let counts = ["matched", "live_only", "added", "corrected", "repeated"];
    for name in counts {
        whole(row, name, 0, MAX_ROW_ID)?;
        if row.get(name).is_none_or(Value::is_null) != row.get("matched").is_none_or(Value::is_null) {
            return invalid_field(name, format!("must be null exactly if {} is", counts[0]));
        }
    }
    whole(row, "uncompared", 0, MAX_ROW_ID)?;
    json::<serde_json::Map<String, Value>>(row, "analysis")?;
    json::<DriverClaims>(row, "driver_claims")?;
    if let Some(history) = history {
        prefix_field("history", self::history(&tables.histories, history, row))?;
    }
    word(row, "answered_by", AnsweredBy::from_stored, "human, voicemail, fax, busy, no_answer, failed, unknown")?;
    let sources = "call_result, tool, amd, initiation_failure";
    word(row, "answered_by_source", AnsweredBySource::from_stored, sources)?;
    word(row, "channel", Channel::from_stored, "phone, web, sms, whatsapp, text, unknown")?;
    checked(row, "parent_conversation_id", ConversationId::new)?;
    whole(row, "record_complete", 0, 1)?;
    json_array_of_texts(row, "tags")?;
    for (at, tool) in tools.iter().flatten().enumerate() {
        prefix_field(&format!("tool_calls[{at}]"), tool_call(&tables.tools, tool, at + 1))?;
    }
    all_turns(&tables.turns, row, turns)
}

fn tool_call(table: &Table, row: &Columns, number: usize) -> Checked {
    table.check(row)?;
    required(row, &["name", "purpose", "after_place"])?;
    if number > MAX_TOOL_CALLS {
        return invalid_field("position", format!("must be at most {MAX_TOOL_CALLS}"));
    }
    if row.get("position").and_then(Value::as_u64) != u64::try_from(number).ok() {
        return invalid_field("position", format!("must be {number}, because positions have no gaps"));
    }
    whole(row, "after_place", 0, MAX_ROW_ID)?;
    whole(row, "is_error", 0, 1)?;
    whole(row, "latency_ms", 0, i64::MAX)?;
    let purposes = "tool, end_call, transfer_to_number, transfer_to_agent, voicemail_detection, guardrail";
    word(row, "purpose", ToolPurpose::from_stored, purposes)
}

/// Checks a JSON array of texts, unless it is missing or null.
fn json_array_of_texts(row: &Columns, name: &str) -> Checked {
    match text(row, name).map(serde_json::from_str::<Vec<String>>) {
        Some(Err(_)) => invalid_field(name, "must be a JSON array of strings"),
        _ => Ok(()),
    }
}

fn history(table: &Table, history: &Columns, call: &Columns) -> Checked {
    table.check(history)?;
    required(history, &["conversation_id", "claims", "entries"])?;
    if history.get("conversation_id") != call.get("conversation_id") {
        return invalid_field("conversation_id", "must be that of the call");
    }
    json::<DriverClaims>(history, "claims")?;
    json::<History>(history, "entries").map(drop)
}

fn all_turns(table: &Table, call: &Columns, turns: &[Columns]) -> Checked {
    let call_id = call.get("id").and_then(Value::as_i64).unwrap_or_default();
    let (mut ids, mut keys, mut places) = (HashSet::new(), HashSet::new(), HashSet::new());
    for (at, row) in turns.iter().enumerate() {
        let place = format!("transcriptions[{at}]");
        prefix_field(&place, turn(table, row, call_id, at + 1))?;
        let number = |name: &str| row.get(name).and_then(Value::as_i64);
        if !number("id").is_none_or(|id| ids.insert(id)) {
            return invalid_field(&format!("{place}.id"), "is already used by another turn");
        }
        if !text(row, "delivery_key").is_none_or(|key| keys.insert(key)) {
            return invalid_field(&format!("{place}.delivery_key"), "is already used by another turn");
        }
        if !number("place").is_none_or(|place| places.insert(place)) {
            return invalid_field(&format!("{place}.place"), "is already used by another turn");
        }
        // A superseding turn must not be superseded itself, so there are no cycles.
        let Some(by) = number("superseded_by") else { continue };
        let other = by.checked_sub(1).and_then(|by| turns.get(usize::try_from(by).ok()?));
        if other.is_none_or(|other| other.get("superseded_by").is_some_and(|by| !by.is_null())) {
            let rule = "must be the sequence_number of a turn of the call that is not superseded";
            return invalid_field(&format!("{place}.superseded_by"), rule);
        }
    }
    if call.get("turn_count").and_then(Value::as_u64) != u64::try_from(turns.len()).ok() {
        return invalid_field("turn_count", format!("must be the number of transcriptions, {}", turns.len()));
    }
    let times = || turns.iter().filter_map(|turn| text(turn, "timestamp"));
    for (name, time) in [("first_turn_time", times().min()), ("last_turn_time", times().max())] {
        if text(call, name) != time {
            return invalid_field(name, format!("must be {}", time.unwrap_or("null")));
        }
    }
    Ok(())
}

fn turn(table: &Table, row: &Columns, call_id: i64, number: usize) -> Checked {
    table.check(row)?;
    required(row, &["id", "speaker_type", "message_text", "timestamp", "created_at", "repeat_key"])?;
    if row.get("sequence_number").and_then(Value::as_u64) != u64::try_from(number).ok() {
        return invalid_field("sequence_number", format!("must be {number}, because sequence numbers have no gaps"));
    }
    whole(row, "id", 1, MAX_ROW_ID)?;
    whole(row, "place", 1, MAX_ROW_ID)?;
    whole(row, "interrupted", 0, 1)?;
    whole(row, "in_record", 0, 1)?;
    whole(row, "record_index", 0, u32::MAX.into())?;
    word(row, "speaker_type", Speaker::from_stored, "agent, driver")?;
    word(row, "source", Source::from_stored, "live, history, post_call, import")?;
    word(row, "kind", TurnKind::from_stored, "speech, silence, backchannel, keypad, text, context")?;
    json::<serde_json::Map<String, Value>>(row, "metrics")?;
    checked(row, "message_text", Message::from_stored)?;
    checked(row, "final_text", Message::from_stored)?;
    checked(row, "delivery_key", DeliveryKey::new)?;
    let key = row.get("repeat_key").and_then(Value::as_i64).unwrap_or_default();
    let digest = u32::try_from(key & i64::from(u32::MAX)).unwrap_or_default();
    if key != repeat_key(call_id, digest) {
        return invalid_field("repeat_key", "must begin with the call's id");
    }
    Ok(())
}

/// Converts a column's JSON value to its SQL value.
pub(super) fn sql_value(name: &str, value: &Value) -> Checked<SqlValue> {
    let unfit = |name: &str, rule: &str| invalid_field(name, rule);
    match value {
        Value::Null => Ok(SqlValue::Null),
        Value::String(text) => Ok(SqlValue::Text(text.clone())),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Ok(SqlValue::Integer(number)),
            (None, Some(number)) if !number.is_nan() => Ok(SqlValue::Real(number)),
            _ => unfit(name, "is not a number that can be stored"),
        },
        Value::Object(bytes) if bytes.len() == 1 => match bytes.get("base64").and_then(Value::as_str) {
            Some(text) => match STANDARD.decode(text) {
                Ok(bytes) => Ok(SqlValue::Blob(bytes)),
                Err(error) => invalid_field(name, format!("is not valid base64: {error}")),
            },
            None => unfit(name, "must be null, a number, a string, or {\"base64\": …}"),
        },
        _ => unfit(name, "must be null, a number, a string, or {\"base64\": …}"),
    }
}
