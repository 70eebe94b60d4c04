//! Reports of ElevenLabs on calls: results of analyses, and measurements of turns.
//!
//! Both are in small tables, so statistics need not read the JSON of each call. Triggers fill `call_results` from
//! `calls.analysis`. `call_metrics` is computed with the statistics of an ended call.

use super::call_filter::Conditions;
use super::error::Context as _;
use super::statement::Statements as _;
use crate::domain::result_sums::{CallResultRow, ResultKind};
use crate::domain::turn_metrics::CallMetrics;
use crate::store::{CallFilter, Result};
use rusqlite::types::{FromSqlError, ValueRef};
use rusqlite::{Connection, Row, Transaction, params_from_iter};

/// Computes the measurements of a call's turns.
pub(super) fn refresh_metrics(transaction: &Transaction<'_>, conversation_id: &str) -> Result<()> {
    const CONTEXT: &str = "computing the measurements of a call's turns";
    // A measurement that takes longer than an hour is an error of its source.
    transaction
        .execute_cached(
            "INSERT OR REPLACE INTO call_metrics (call_id, milliseconds) \
             SELECT c.id, (SELECT group_concat(name || ':' || durations, ';') FROM ( \
                SELECT e.key AS name, group_concat(CAST(round(1000 * e.value) AS INTEGER)) AS durations \
                FROM call_transcriptions t, json_each(iif(json_valid(t.metrics), t.metrics, '{}')) e \
                WHERE t.conversation_id = c.conversation_id AND t.metrics IS NOT NULL AND t.superseded_by IS NULL \
                    AND e.type IN ('integer', 'real') AND e.value BETWEEN 0 AND 3600 \
                    AND length(e.key) BETWEEN 1 AND 64 AND e.key NOT GLOB '*[:;,]*' \
                GROUP BY e.key ORDER BY e.key LIMIT 20)) AS milliseconds \
             FROM calls c WHERE c.conversation_id = ?1 AND milliseconds IS NOT NULL",
            [conversation_id],
        )
        .map(drop)
        .context(CONTEXT)
}

/// Deletes the measurements of a call whose turns changed.
pub(super) fn invalidate_metrics(transaction: &Transaction<'_>, call_id: i64) -> Result<()> {
    transaction
        .execute_cached("DELETE FROM call_metrics WHERE call_id = ?1", [call_id])
        .map(drop)
        .context("deleting the measurements of a call's turns")
}

/// Passes the results of each selected call to `each`.
pub(super) fn for_each_result(
    connection: &Connection,
    filter: &CallFilter,
    each: &mut dyn FnMut(CallResultRow<'_>),
) -> Result<()> {
    const COLUMNS: &str = "SELECT r.kind, r.name, r.value, r.number FROM call_results r";
    let wanted = Conditions::of_calls(filter);
    let sql = if wanted.sql().is_empty() {
        COLUMNS.to_owned()
    } else {
        format!("{COLUMNS} CROSS JOIN calls c ON c.id = r.call_id {}", wanted.clause())
    };
    for_each_row(connection, &sql, &wanted, |row| {
        let kind = ResultKind::from_stored(text(row, 0)?.unwrap_or_default()).ok_or(FromSqlError::InvalidType)?;
        let name = text(row, 1)?.unwrap_or_default();
        let number = row.get::<_, Option<f64>>(3)?.filter(|number| number.is_finite());
        each(CallResultRow { kind, name, value: text(row, 2)?, number });
        Ok(())
    })
}

/// Passes the measurements of each selected call that has some to `each`.
pub(super) fn for_each_metrics(
    connection: &Connection,
    filter: &CallFilter,
    each: &mut dyn FnMut(CallMetrics<'_>),
) -> Result<()> {
    let wanted = Conditions::of_calls(filter);
    let sql = format!(
        "SELECT unixepoch(c.call_start_time), c.agent_id, m.milliseconds \
         FROM calls c CROSS JOIN call_metrics m ON m.call_id = c.id WHERE c.status <> 'in_progress'{}",
        wanted.sql()
    );
    for_each_row(connection, &sql, &wanted, |row| {
        each(CallMetrics {
            start_unix_seconds: row.get(0)?,
            agent_id: text(row, 1)?,
            milliseconds: text(row, 2)?.unwrap_or_default(),
        });
        Ok(())
    })
}

fn for_each_row(
    connection: &Connection,
    sql: &str,
    wanted: &Conditions,
    mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> Result<()> {
    const CONTEXT: &str = "reading results of calls";
    let mut select = connection.prepare_cached(sql).context(CONTEXT)?;
    let mut rows = select.query(params_from_iter(wanted.values())).context(CONTEXT)?;
    while let Some(row) = rows.next().context(CONTEXT)? {
        take(row).context(CONTEXT)?;
    }
    Ok(())
}

/// Returns a text of a row without copying it.
pub(super) fn text<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<Option<&'a str>> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        other => Ok(Some(other.as_str()?)),
    }
}
