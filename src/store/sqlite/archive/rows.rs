//! Inserting rows and reading them back, with each failure attributed to its column.

use super::super::error::Context as _;
use super::super::statement::Statements as _;
use super::rules::sql_value;
use super::rules::{Checked, invalid_field};
use crate::domain::validation::FieldError;
use crate::store::{Error, Result, Row as Columns};
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, Row, ToSql, params_from_iter};
use serde_json::Value;

/// Returns the value of a required column.
pub(super) fn value(columns: &Columns, name: &str) -> Result<SqlValue, RestoreError> {
    match columns.get(name) {
        None | Some(Value::Null) => conversion_error(name, "is required"),
        Some(value) => Ok(sql_value(name, value)?),
    }
}

pub(super) fn insert(connection: &Connection, table: &str, columns: &Columns) -> Result<(), RestoreError> {
    // The names are safe, because the rules only accept names of columns.
    let values: Vec<SqlValue> = columns.iter().map(|(name, value)| sql_value(name, value)).collect::<Checked<_>>()?;
    let names = columns.keys().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let places = vec!["?"; values.len()].join(", ");
    let sql = format!("INSERT INTO {table} ({names}) VALUES ({places})");
    let inserted = connection.execute_cached(&sql, params_from_iter(values));
    match inserted {
        Ok(_) => Ok(()),
        Err(error) => constraint_error(table, error),
    }
}

/// Converts a constraint violation to the broken rule, using SQLite's message, for example `UNIQUE constraint failed:
/// calls.id`.
fn constraint_error(table: &str, error: rusqlite::Error) -> Result<(), RestoreError> {
    if error.sqlite_error_code() != Some(rusqlite::ErrorCode::ConstraintViolation) {
        return Err(RestoreError::Database(Err::<(), _>(error).context(CONTEXT).expect_err("an error")));
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
    conversion_error(field, rule)
}

/// Reads the row back as a domain value.
pub(super) fn read_back<T>(
    connection: &Connection,
    sql: &str,
    key: &dyn ToSql,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<T, RestoreError> {
    let mut select = connection.prepare_cached(sql).context(CONTEXT)?;
    let mut rows = select.query([key]).context(CONTEXT)?;
    match rows.next().context(CONTEXT)? {
        Some(row) => read(row).map_err(|error| check_readable(row, error)),
        None => conversion_error("id", "was not stored unchanged"),
    }
}

/// Returns the failure that names the column that is no valid domain value.
pub(super) fn check_readable(row: &Row<'_>, error: rusqlite::Error) -> RestoreError {
    let statement: &rusqlite::Statement<'_> = row.as_ref();
    let name = |at: usize| statement.column_name(at).unwrap_or_default().to_owned();
    match error {
        rusqlite::Error::FromSqlConversionFailure(at, _, rule) => {
            RestoreError::InvalidRow(FieldError { field: name(at), rule: rule.to_string() })
        }
        rusqlite::Error::InvalidColumnType(at, _, _) => {
            RestoreError::InvalidRow(FieldError { field: name(at), rule: "is not a valid value".to_owned() })
        }
        rusqlite::Error::IntegralValueOutOfRange(at, _) => {
            RestoreError::InvalidRow(FieldError { field: name(at), rule: "is out of range".to_owned() })
        }
        error => RestoreError::Database(Err::<(), _>(error).context(CONTEXT).expect_err("an error")),
    }
}

pub(super) const CONTEXT: &str = "restoring";

/// Reason why a row was not restored.
pub(super) enum RestoreError {
    /// The row breaks a rule.
    InvalidRow(FieldError),
    /// The database failed.
    Database(Error),
}

impl From<Error> for RestoreError {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl From<FieldError> for RestoreError {
    fn from(problem: FieldError) -> Self {
        Self::InvalidRow(problem)
    }
}

pub(super) fn conversion_error<T>(field: &str, rule: impl Into<String>) -> Result<T, RestoreError> {
    Ok(invalid_field(field, rule)?)
}
