//! Whole calls on their way back in: rows as they were, each thing wholly or not at all.
//!
//! What is there already as it is to be stays untouched; what is there otherwise is never overwritten. The tables' own rules
//! are what a row must keep, and it must read back as a value of the domain, so that nothing gets in that the service could
//! not give out.

use super::error::Context as _;
use super::{archive, erase, events, row};
use crate::fields::Problem;
use crate::model::{ConversationId, DriverClaims};
use crate::store::{Archived, ArchivedCall, Error, Outcome, Rejection, Result, Row as Columns, Written};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, Row, ToSql, Transaction, params_from_iter};
use serde_json::Value;

const DOING: &str = "restoring";

/// Why something was not restored.
enum Failed {
    /// It breaks a rule.
    Unfit(Problem),
    /// The database failed.
    Database(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

fn unfit<T>(field: &str, rule: impl Into<String>) -> Result<T, Failed> {
    Err(Failed::Unfit(Problem { field: field.to_owned(), rule: rule.into() }))
}

/// Stores it, unless it is there.
pub(super) fn restore(transaction: &Transaction<'_>, archived: &Archived) -> Result<Outcome> {
    transaction.execute_batch("SAVEPOINT restore").doing(DOING)?;
    let done = match archived {
        Archived::Driver(driver) => driver_(transaction, driver),
        Archived::Dispatch(dispatch) => dispatch_(transaction, dispatch),
        Archived::Event(event) => event_(transaction, event),
        Archived::Call(call) => call_(transaction, call),
    };
    match done {
        Ok(new) => {
            transaction.execute_batch("RELEASE restore").doing(DOING)?;
            Ok(Ok(Written::Restored(new)))
        }
        Err(Failed::Unfit(problem)) => {
            transaction.execute_batch("ROLLBACK TO restore; RELEASE restore").doing(DOING)?;
            Ok(Err(Rejection::Unfit(problem)))
        }
        Err(Failed::Database(error)) => Err(error),
    }
}

fn driver_(connection: &Connection, driver: &Columns) -> Result<bool, Failed> {
    let id = value(driver, "id")?;
    if there(connection, "SELECT * FROM drivers WHERE id = ?1", &id, driver)? {
        return Ok(false);
    }
    insert(connection, "drivers", driver)?;
    read_back(connection, "SELECT * FROM drivers WHERE id = ?1", &id, row::driver)?;
    Ok(true)
}

fn dispatch_(connection: &Connection, dispatch: &Columns) -> Result<bool, Failed> {
    let id = value(dispatch, "conversation_id")?;
    if there(connection, "SELECT * FROM call_dispatches WHERE conversation_id = ?1", &id, dispatch)? {
        return Ok(false);
    }
    not_erased(connection, dispatch)?;
    insert(connection, "call_dispatches", dispatch)?;
    read_back(connection, "SELECT * FROM call_dispatches WHERE conversation_id = ?1", &id, row::dispatch)?;
    Ok(true)
}

fn event_(connection: &Connection, event: &Columns) -> Result<bool, Failed> {
    let id = value(event, "id")?;
    if there(connection, "SELECT * FROM webhook_events WHERE id = ?1", &id, event)? {
        return Ok(false);
    }
    not_erased(connection, event)?;
    insert(connection, "webhook_events", event)?;
    let outcome = |row: &Row<'_>| {
        let _: Option<ConversationId> = row.get("conversation_id")?;
        row.get::<_, crate::model::EventOutcome>("outcome").map(drop)
    };
    read_back(connection, "SELECT * FROM webhook_events WHERE id = ?1", &id, outcome)?;
    Ok(true)
}

const CALL: &str = "SELECT * FROM calls WHERE conversation_id = ?1";
const HISTORY: &str = "SELECT * FROM call_histories WHERE conversation_id = ?1";
const TURNS: &str = "SELECT * FROM call_transcriptions WHERE conversation_id = ?1 ORDER BY sequence_number";

fn call_(connection: &Connection, call: &ArchivedCall) -> Result<bool, Failed> {
    let ArchivedCall { row: columns, history, turns } = call;
    let id = value(columns, "conversation_id")?;
    let name = columns["conversation_id"].clone();
    let turns: Vec<Columns> = turns
        .iter()
        .map(|turn| {
            let mut turn = turn.clone();
            turn.insert("conversation_id".to_owned(), name.clone());
            turn
        })
        .collect();
    if there(connection, CALL, &id, columns)? {
        same("history", archive::one(connection, HISTORY, &id)?.as_ref(), history.as_ref())?;
        let stored = archive::all(connection, TURNS, &id)?;
        if stored.len() != turns.len() {
            return unfit("transcriptions", format!("the call is here with {} of them", stored.len()));
        }
        for (at, (stored, turn)) in stored.iter().zip(&turns).enumerate() {
            same(&format!("transcriptions[{at}]"), Some(stored), Some(turn))?;
        }
        return Ok(false);
    }
    not_erased(connection, columns)?;
    insert(connection, "calls", columns)?;
    if let Some(history) = history {
        within("history", insert(connection, "call_histories", history))?;
    }
    for (at, turn) in turns.iter().enumerate() {
        let place = format!("transcriptions[{at}]");
        within(&place, insert(connection, "call_transcriptions", turn))?;
        let expected = i64::try_from(at + 1).unwrap_or(i64::MAX);
        if turn.get("sequence_number").and_then(Value::as_i64) != Some(expected) {
            return unfit(&format!("{place}.sequence_number"), format!("must be {expected}: they have no gaps"));
        }
    }
    let of_the_domain = format!("SELECT {} FROM calls c WHERE conversation_id = ?1", row::CALL);
    let read = read_back(connection, &of_the_domain, &id, row::call)?;
    if usize::try_from(read.turn_count) != Ok(turns.len()) {
        return unfit("turn_count", format!("must be the number of transcriptions, {}", turns.len()));
    }
    let claims: Option<String> = read_back(connection, CALL, &id, |row| row.get("driver_claims"))?;
    if claims.is_some_and(|claims| events::parsed::<DriverClaims>(&claims, DOING).is_err()) {
        return unfit("driver_claims", "is not what the service writes there");
    }
    if events::history(connection, &read.conversation_id).is_err() {
        return unfit("history.entries", "is not what the service writes there");
    }
    turns_read_back(connection, &id, read.id)?;
    index(connection, &id)?;
    Ok(true)
}

fn turns_read_back(connection: &Connection, id: &SqlValue, call_id: i64) -> Result<(), Failed> {
    let sql = format!(
        "SELECT {}, t.repeat_key FROM call_transcriptions t WHERE conversation_id = ?1 ORDER BY sequence_number",
        row::TURN
    );
    let mut select = connection.prepare_cached(&sql).doing(DOING)?;
    let mut rows = select.query([id]).doing(DOING)?;
    let mut at = 0;
    while let Some(row) = rows.next().doing(DOING)? {
        let place = format!("transcriptions[{at}]");
        let mut columns = row::Columns::of(row);
        within(&place, row::turn_of(&mut columns).map_err(|error| readable(row, error)))?;
        let key: i64 = columns.take("repeat_key").doing(DOING)?;
        if key >> 32 != call_id & 0xffff_ffff {
            return unfit(&format!("{place}.repeat_key"), "must begin with the call's id");
        }
        at += 1;
    }
    Ok(())
}

/// Tells the search index of turns that it would take to be in it already by their numbers.
fn index(connection: &Connection, id: &SqlValue) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO search_changes (turn_id) SELECT id FROM call_transcriptions WHERE conversation_id = ?1 ORDER BY id",
        )
        .and_then(|mut insert| insert.execute([id]))
        .map(drop)
        .doing(DOING)
}

/// Refuses what belongs to a call that was erased here: whoever had it erased does not expect an old copy to bring it back.
fn not_erased(connection: &Connection, columns: &Columns) -> Result<(), Failed> {
    let id = columns.get("conversation_id").and_then(Value::as_str).and_then(|id| ConversationId::new(id).ok());
    match id {
        Some(id) if erase::is_erased(connection, &id)? => unfit("conversation_id", "is of a call that was erased here"),
        _ => Ok(()),
    }
}

/// Whether the row is there as it is to be.
fn there(connection: &Connection, sql: &str, key: &SqlValue, columns: &Columns) -> Result<bool, Failed> {
    let Some(stored) = archive::one(connection, sql, key)? else { return Ok(false) };
    same("", Some(&stored), Some(columns)).map(|()| true)
}

/// Refuses what is there otherwise, by the first column that differs.
fn same(within: &str, stored: Option<&Columns>, wanted: Option<&Columns>) -> Result<(), Failed> {
    let (stored, wanted) = match (stored, wanted) {
        (None, None) => return Ok(()),
        (Some(stored), Some(wanted)) => (stored, wanted),
        _ => return unfit(within, "is otherwise in what is here already"),
    };
    let differs = stored.iter().find(|(name, value)| wanted.get(*name).unwrap_or(&Value::Null) != *value);
    let unknown = wanted.keys().find(|name| !stored.contains_key(*name));
    match differs.map(|(name, _)| name).or(unknown) {
        None => Ok(()),
        Some(name) if within.is_empty() => unfit(name, "is otherwise in what is here already"),
        Some(name) => unfit(&format!("{within}.{name}"), "is otherwise in what is here already"),
    }
}

/// Says where in a line a field stands.
fn within<T>(place: &str, done: Result<T, Failed>) -> Result<T, Failed> {
    done.map_err(|failed| match failed {
        Failed::Unfit(Problem { field, rule }) => Failed::Unfit(Problem { field: format!("{place}.{field}"), rule }),
        database @ Failed::Database(_) => database,
    })
}

/// A column that a row cannot be without.
fn value(columns: &Columns, name: &str) -> Result<SqlValue, Failed> {
    match columns.get(name) {
        None | Some(Value::Null) => unfit(name, "is required"),
        Some(value) => sql_value(name, value),
    }
}

fn sql_value(name: &str, value: &Value) -> Result<SqlValue, Failed> {
    match value {
        Value::Null => Ok(SqlValue::Null),
        Value::String(text) => Ok(SqlValue::Text(text.clone())),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Ok(SqlValue::Integer(number)),
            (None, Some(number)) if !number.is_nan() => Ok(SqlValue::Real(number)),
            _ => unfit(name, "is no number that can be stored"),
        },
        Value::Object(bytes) if bytes.len() == 1 => match bytes.get("base64").and_then(Value::as_str) {
            Some(text) => match STANDARD.decode(text) {
                Ok(bytes) => Ok(SqlValue::Blob(bytes)),
                Err(error) => unfit(name, format!("is not in base64: {error}")),
            },
            None => unfit(name, "must be null, a number, a string, or {\"base64\": …}"),
        },
        _ => unfit(name, "must be null, a number, a string, or {\"base64\": …}"),
    }
}

fn insert(connection: &Connection, table: &str, columns: &Columns) -> Result<(), Failed> {
    // Names come from a file: only those that the table has get into a statement.
    for name in columns.keys() {
        let known = connection
            .prepare_cached("SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2")
            .and_then(|mut select| select.exists([table, name]))
            .doing(DOING)?;
        if !known {
            return unfit(name, format!("is no column of {table}"));
        }
    }
    let values: Vec<SqlValue> =
        columns.iter().map(|(name, value)| sql_value(name, value)).collect::<Result<_, Failed>>()?;
    let names = columns.keys().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let places = vec!["?"; values.len()].join(", ");
    let sql = format!("INSERT INTO {table} ({names}) VALUES ({places})");
    let inserted = connection.prepare_cached(&sql).and_then(|mut insert| insert.execute(params_from_iter(values)));
    match inserted {
        Ok(_) => Ok(()),
        Err(error) => broken_rule(table, error),
    }
}

/// The rule that a row breaks, by SQLite's own words: `UNIQUE constraint failed: calls.id` for example.
fn broken_rule(table: &str, error: rusqlite::Error) -> Result<(), Failed> {
    if error.sqlite_error_code() != Some(rusqlite::ErrorCode::ConstraintViolation) {
        return Err(Failed::Database(Err::<(), _>(error).doing(DOING).expect_err("an error")));
    }
    let words = error.to_string();
    let column = words.rsplit_once(&format!("{table}.")).map(|(_, column)| column.trim());
    let rule = match column {
        Some(_) if words.starts_with("UNIQUE") => "another one here has this already".to_owned(),
        Some(_) if words.starts_with("NOT NULL") => "is required".to_owned(),
        None if words.starts_with("FOREIGN KEY") => "the driver that it refers to is not there".to_owned(),
        _ => words.clone(),
    };
    let field = match column {
        Some(column) => column,
        None if words.starts_with("FOREIGN KEY") => "driver_id",
        None => table,
    };
    unfit(field, rule)
}

/// The row as a value of the domain.
fn read_back<T>(
    connection: &Connection,
    sql: &str,
    key: &dyn ToSql,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<T, Failed> {
    let mut select = connection.prepare_cached(sql).doing(DOING)?;
    let mut rows = select.query([key]).doing(DOING)?;
    match rows.next().doing(DOING)? {
        Some(row) => read(row).map_err(|error| readable(row, error)),
        None => unfit("id", "is not stored as it is given"),
    }
}

/// The column that does not read as a value of the domain.
fn readable(row: &Row<'_>, error: rusqlite::Error) -> Failed {
    let statement: &rusqlite::Statement<'_> = row.as_ref();
    let name = |at: usize| statement.column_name(at).unwrap_or_default().to_owned();
    match error {
        rusqlite::Error::FromSqlConversionFailure(at, _, rule) => {
            Failed::Unfit(Problem { field: name(at), rule: rule.to_string() })
        }
        rusqlite::Error::InvalidColumnType(at, _, _) => {
            Failed::Unfit(Problem { field: name(at), rule: "is no such value".to_owned() })
        }
        rusqlite::Error::IntegralValueOutOfRange(at, _) => {
            Failed::Unfit(Problem { field: name(at), rule: "is out of range".to_owned() })
        }
        error => Failed::Database(Err::<(), _>(error).doing(DOING).expect_err("an error")),
    }
}
