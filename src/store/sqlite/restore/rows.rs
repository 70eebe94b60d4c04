//! Inserting rows and reading them back, with each failure attributed to its column.

use super::super::error::Context as _;
use super::rules::{Checked, problem};
use super::{DOING, Failed, unfit};
use crate::fields::Problem;
use crate::store::{Result, Row as Columns};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, Row, ToSql, params_from_iter};
use serde_json::Value;

/// Returns the value of a required column.
pub(super) fn value(columns: &Columns, name: &str) -> Result<SqlValue, Failed> {
    match columns.get(name) {
        None | Some(Value::Null) => unfit(name, "is required"),
        Some(value) => Ok(sql_value(name, value)?),
    }
}

/// Converts a column's JSON value to its SQL value.
pub(super) fn sql_value(name: &str, value: &Value) -> Checked<SqlValue> {
    let unfit = |name: &str, rule: &str| problem(name, rule);
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
                Err(error) => problem(name, format!("is not valid base64: {error}")),
            },
            None => unfit(name, "must be null, a number, a string, or {\"base64\": …}"),
        },
        _ => unfit(name, "must be null, a number, a string, or {\"base64\": …}"),
    }
}

pub(super) fn insert(connection: &Connection, table: &str, columns: &Columns) -> Result<(), Failed> {
    // The names are safe, because the rules only accept names of columns.
    let values: Vec<SqlValue> = columns.iter().map(|(name, value)| sql_value(name, value)).collect::<Checked<_>>()?;
    let names = columns.keys().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let places = vec!["?"; values.len()].join(", ");
    let sql = format!("INSERT INTO {table} ({names}) VALUES ({places})");
    let inserted = connection.prepare_cached(&sql).and_then(|mut insert| insert.execute(params_from_iter(values)));
    match inserted {
        Ok(_) => Ok(()),
        Err(error) => broken_rule(table, error),
    }
}

/// Converts a constraint violation to the broken rule, using SQLite's message, for example `UNIQUE constraint failed:
/// calls.id`.
fn broken_rule(table: &str, error: rusqlite::Error) -> Result<(), Failed> {
    if error.sqlite_error_code() != Some(rusqlite::ErrorCode::ConstraintViolation) {
        return Err(Failed::Database(Err::<(), _>(error).doing(DOING).expect_err("an error")));
    }
    let words = error.to_string();
    let column = words.rsplit_once(&format!("{table}.")).map(|(_, column)| column.trim());
    let rule = match column {
        Some(_) if words.starts_with("UNIQUE") => "is already used by another row".to_owned(),
        Some(_) if words.starts_with("NOT NULL") => "is required".to_owned(),
        None if words.starts_with("FOREIGN KEY") => "refers to a missing driver".to_owned(),
        _ => words.clone(),
    };
    let field = match column {
        Some(column) => column,
        None if words.starts_with("FOREIGN KEY") => "driver_id",
        None => table,
    };
    unfit(field, rule)
}

/// Reads the row back as a domain value.
pub(super) fn read_back<T>(
    connection: &Connection,
    sql: &str,
    key: &dyn ToSql,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<T, Failed> {
    let mut select = connection.prepare_cached(sql).doing(DOING)?;
    let mut rows = select.query([key]).doing(DOING)?;
    match rows.next().doing(DOING)? {
        Some(row) => read(row).map_err(|error| readable(row, error)),
        None => unfit("id", "was not stored unchanged"),
    }
}

/// Returns the failure that names the column that is no valid domain value.
pub(super) fn readable(row: &Row<'_>, error: rusqlite::Error) -> Failed {
    let statement: &rusqlite::Statement<'_> = row.as_ref();
    let name = |at: usize| statement.column_name(at).unwrap_or_default().to_owned();
    match error {
        rusqlite::Error::FromSqlConversionFailure(at, _, rule) => {
            Failed::Unfit(Problem { field: name(at), rule: rule.to_string() })
        }
        rusqlite::Error::InvalidColumnType(at, _, _) => {
            Failed::Unfit(Problem { field: name(at), rule: "is not a valid value".to_owned() })
        }
        rusqlite::Error::IntegralValueOutOfRange(at, _) => {
            Failed::Unfit(Problem { field: name(at), rule: "is out of range".to_owned() })
        }
        error => Failed::Database(Err::<(), _>(error).doing(DOING).expect_err("an error")),
    }
}
