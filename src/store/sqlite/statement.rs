//! Short forms for executing a statement that stays prepared.

use rusqlite::{Connection, OptionalExtension as _, Params, Result, Row};

/// Statements that the connection keeps prepared, by their text.
pub(super) trait Statements {
    /// Executes a statement and returns the number of rows that it changed.
    fn execute_cached(&self, sql: &str, values: impl Params) -> Result<usize>;

    /// Returns the first row of a query. No row is an error.
    fn fetch_one<T>(&self, sql: &str, values: impl Params, read: impl FnOnce(&Row<'_>) -> Result<T>) -> Result<T>;

    /// Returns the first row of a query, or `None` if it has none.
    fn fetch_optional<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>>;

    /// Returns all rows of a query.
    fn fetch_all<T, C: FromIterator<T>>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<C>;

    /// Returns whether a query has a row.
    fn has_row(&self, sql: &str, values: impl Params) -> Result<bool>;
}

impl Statements for Connection {
    fn execute_cached(&self, sql: &str, values: impl Params) -> Result<usize> {
        self.prepare_cached(sql)?.execute(values)
    }

    fn fetch_one<T>(&self, sql: &str, values: impl Params, read: impl FnOnce(&Row<'_>) -> Result<T>) -> Result<T> {
        self.prepare_cached(sql)?.query_row(values, read)
    }

    fn fetch_optional<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        self.fetch_one(sql, values, read).optional()
    }

    fn fetch_all<T, C: FromIterator<T>>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<C> {
        self.prepare_cached(sql)?.query_map(values, read)?.collect()
    }

    fn has_row(&self, sql: &str, values: impl Params) -> Result<bool> {
        self.prepare_cached(sql)?.exists(values)
    }
}
