//! Calls: reading, listing, changing by hand, ending stale ones.

use super::erase;
use super::error::Context as _;
use super::row::{self, CALL};
use crate::domain::{Call, CallChange, CallEnd, ConversationId, DriverId, Timestamp};
use crate::store::{CallQuery, Order, Outcome, Page, RecordFilter, Rejection, Result, Written, json_length};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params, params_from_iter};

pub(super) fn get(connection: &Connection, id: &ConversationId) -> Result<Option<Call>> {
    connection
        .prepare_cached(&format!("SELECT {CALL} FROM calls c WHERE conversation_id = ?1"))
        .and_then(|mut select| select.query_row([id], row::call).optional())
        .doing("reading a call")
}

pub(super) fn change(
    transaction: &Transaction<'_>,
    now: Timestamp,
    id: &ConversationId,
    change: &CallChange,
) -> Result<Outcome> {
    const DOING: &str = "changing a call";
    let Some(mut call) = get(transaction, id)? else { return Ok(Err(Rejection::NotFound)) };
    if erase::is_unfinished(transaction, id)? {
        return Ok(Err(Rejection::Unfinished));
    }
    let before = (call.status, call.call_end_time);
    call.status = change.status.unwrap_or(call.status);
    call.call_end_time = match change.call_end_time {
        None => call.call_end_time,
        Some(CallEnd::Unknown) => None,
        Some(CallEnd::At(end)) => Some(end),
    };
    if call.call_end_time.is_some_and(|end| end < call.call_start_time) {
        return Ok(Err(Rejection::EndsBeforeStart { start: call.call_start_time }));
    }
    if (call.status, call.call_end_time) != before {
        call.updated_at = now;
        transaction
            .prepare_cached(
                "UPDATE calls SET status = ?2, call_end_time = ?3, updated_at = ?4 WHERE conversation_id = ?1",
            )
            .and_then(|mut update| update.execute(params![id, call.status, call.call_end_time, now]))
            .doing(DOING)?;
    }
    Ok(Ok(Written::Call(Box::new(call))))
}

/// Ends calls that are in progress and received no turn since `before`. Other changes of a call do not show whether it
/// still runs.
pub(super) fn end_stale(transaction: &Transaction<'_>, now: Timestamp, before: Timestamp) -> Result<Outcome> {
    transaction
        .prepare_cached(
            "UPDATE calls SET status = 'completed', termination_reason = 'inactivity', updated_at = ?2, \
             call_end_time = max(call_start_time, ifnull(last_turn_time, call_start_time)) \
             WHERE id IN (SELECT id FROM calls c WHERE status = 'in_progress' AND ifnull( \
                (SELECT t.created_at FROM call_transcriptions t WHERE t.conversation_id = c.conversation_id \
                 ORDER BY t.sequence_number DESC LIMIT 1), c.created_at) < ?1 LIMIT 200) \
             RETURNING conversation_id",
        )
        .and_then(|mut update| update.query_map(params![before, now], |row| row.get(0))?.collect())
        .doing("ending stale calls")
        .map(|ended| Ok(Written::Ended(ended)))
}

/// Counts the calls in progress, up to `at_most`.
pub(super) fn open(connection: &Connection, at_most: u32) -> Result<u64> {
    connection
        .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM calls WHERE status = 'in_progress' LIMIT ?1)")
        .and_then(|mut select| select.query_row([at_most], |row| row.get(0)))
        .doing("counting calls in progress")
}

/// Returns the conditions of a query, without those of its page.
pub(super) fn filter(query: &CallQuery) -> Filter {
    let mut filter = Filter::default();
    if let Some(status) = query.status {
        filter.and("c.status = ?", [status.as_str().to_owned().into()]);
    }
    if let Some(driver_id) = query.driver_id {
        filter.and("c.driver_id = ?", [driver_id.get().into()]);
    }
    if let Some(user_id) = &query.user_id {
        let driver_id = DriverId::from_platform(user_id).map_or(Value::Null, |id| id.get().into());
        filter.and("(c.user_id = ? OR (c.user_id IS NULL AND c.driver_id = ?))", [user_id.clone().into(), driver_id]);
    }
    if let Some(agent_id) = &query.agent_id {
        filter.and("c.agent_id = ?", [agent_id.clone().into()]);
    }
    by_record(&mut filter, &query.record);
    if let Some(start) = query.started_after {
        filter.and("c.call_start_time >= ?", [start.to_string().into()]);
    }
    if let Some(end) = query.started_before {
        filter.and("c.call_start_time < ?", [end.to_string().into()]);
    }
    if let Some(text) = &query.text {
        let pattern = Value::from(containing(text));
        filter.and(
            "(c.conversation_id LIKE ? ESCAPE '\\' \
             OR EXISTS (SELECT 1 FROM drivers d WHERE d.id = c.driver_id AND d.name LIKE ? ESCAPE '\\') \
             OR EXISTS (SELECT 1 FROM call_transcriptions t WHERE t.conversation_id = c.conversation_id \
                        AND t.message_text LIKE ? ESCAPE '\\'))",
            [pattern.clone(), pattern.clone(), pattern],
        );
    }
    filter
}

fn by_record(filter: &mut Filter, record: &RecordFilter) {
    /// Duration of a call in seconds. Without one in the record, it lasts until its end, or until its last turn.
    const SECONDS: &str = "coalesce(c.duration_seconds, max(0, \
         strftime('%s', coalesce(c.call_end_time, c.last_turn_time, c.call_start_time)) \
         - strftime('%s', c.call_start_time)))";
    if let Some(outcome) = record.outcome {
        filter.and("ifnull(c.outcome, 'unknown') = ?", [outcome.as_str().to_owned().into()]);
    }
    if let Some(seconds) = record.min_seconds {
        filter.and(&format!("{SECONDS} >= ?"), [seconds.into()]);
    }
    if let Some(seconds) = record.max_seconds {
        filter.and(&format!("{SECONDS} <= ?"), [seconds.into()]);
    }
    if !record.languages.is_empty() {
        filter.among("c.main_language IN", record.languages.iter().cloned());
    }
    if !record.excluded_statuses.is_empty() {
        filter.among("c.status NOT IN", record.excluded_statuses.iter().map(|status| status.as_str().to_owned()));
    }
}

pub(super) fn list(connection: &mut Connection, query: &CallQuery) -> Result<Page<Call>> {
    const DOING: &str = "listing calls";
    let snapshot = connection.transaction().doing(DOING)?;
    let mut filter = filter(query);
    let total = if query.with_total {
        let sql = format!("SELECT count(*) FROM calls c {}", filter.clause());
        let count = snapshot
            .prepare_cached(&sql)
            .and_then(|mut select| select.query_row(params_from_iter(&filter.values), |row| row.get(0)))
            .doing("counting calls")?;
        Some(count)
    } else {
        None
    };
    let (past, direction) = match query.order {
        Order::Ascending => (">", "ASC"),
        Order::Descending => ("<", "DESC"),
    };
    if let Some(key) = query.after {
        filter.and(&format!("(c.call_start_time, c.id) {past} (?, ?)"), [key.start.to_string().into(), key.id.into()]);
    }
    let limit = i64::try_from(query.limit + 1).unwrap_or(i64::MAX);
    let sql = format!(
        "SELECT {CALL} FROM calls c {} ORDER BY c.call_start_time {direction}, c.id {direction} LIMIT {limit}",
        filter.clause()
    );
    let page = snapshot
        .prepare_cached(&sql)
        .and_then(|mut select| {
            Page::of_rows(select.query_map(params_from_iter(&filter.values), row::call)?, query.limit, text_of)
        })
        .doing(DOING)?;
    Ok(Page { total, ..page })
}

/// Returns the size of a call's potentially long texts, in bytes of JSON.
fn text_of(call: &Call) -> usize {
    let report = &call.report;
    [&report.analysis, &report.summary, &report.title, &report.termination_reason, &report.user_id]
        .into_iter()
        .flatten()
        .map(|text| json_length(text))
        .sum()
}

/// The conditions of a `WHERE` clause and the values of its parameters.
#[derive(Default)]
pub(super) struct Filter {
    conditions: Vec<String>,
    pub(super) values: Vec<Value>,
}

impl Filter {
    pub(super) fn and<const N: usize>(&mut self, condition: &str, values: [Value; N]) {
        self.conditions.push(condition.to_owned());
        self.values.extend(values);
    }

    /// Adds a condition on a list, such as `c.status IN`.
    fn among(&mut self, condition: &str, values: impl ExactSizeIterator<Item = String>) {
        let marks = vec!["?"; values.len()].join(", ");
        self.conditions.push(format!("{condition} ({marks})"));
        self.values.extend(values.map(Value::from));
    }

    pub(super) fn clause(&self) -> String {
        if self.conditions.is_empty() { String::new() } else { format!("WHERE {}", self.conditions.join(" AND ")) }
    }
}

/// Returns the `LIKE` pattern, escaped by `\`, of texts that contain `text`.
fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}
