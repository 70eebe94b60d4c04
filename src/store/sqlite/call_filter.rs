//! SQL of a filter of calls.

use crate::domain::DriverId;
use crate::store::{CallFilter, RecordFilter};
use rusqlite::types::Value;

/// Conditions of a `WHERE` clause with the values of their parameters.
#[derive(Default)]
pub(super) struct Conditions {
    /// The conditions, each after ` AND `.
    sql: String,
    values: Vec<Value>,
}

impl Conditions {
    /// Returns the conditions of a filter, for calls with the alias `c`.
    pub(super) fn of_calls(filter: &CallFilter) -> Self {
        let mut sql = Self::default();
        if let Some(id) = &filter.conversation_id {
            sql.and("c.conversation_id = ?", [id.as_str().to_owned().into()]);
        }
        if let Some(status) = filter.status {
            sql.and("c.status = ?", [status.as_str().to_owned().into()]);
        }
        if let Some(driver_id) = filter.driver_id {
            sql.and("c.driver_id = ?", [driver_id.get().into()]);
        }
        match filter.has_driver {
            Some(true) => sql.and("c.driver_id IS NOT NULL", []),
            Some(false) => sql.and("c.driver_id IS NULL", []),
            None => {}
        }
        if let Some(user_id) = &filter.user_id {
            let driver_id = DriverId::from_platform(user_id).map_or(Value::Null, |id| id.get().into());
            sql.and("(c.user_id = ? OR (c.user_id IS NULL AND c.driver_id = ?))", [user_id.clone().into(), driver_id]);
        }
        if let Some(agent_id) = &filter.agent_id {
            sql.and("c.agent_id = ?", [agent_id.clone().into()]);
        }
        sql.and_record(&filter.record);
        if let Some(start) = filter.started_after {
            sql.and("c.call_start_time >= ?", [start.to_string().into()]);
        }
        if let Some(end) = filter.started_before {
            sql.and("c.call_start_time < ?", [end.to_string().into()]);
        }
        if let Some(text) = &filter.text {
            let pattern = Value::from(containing(text));
            sql.and(
                "(c.conversation_id LIKE ? ESCAPE '\\' \
                 OR EXISTS (SELECT 1 FROM drivers d WHERE d.id = c.driver_id AND d.name LIKE ? ESCAPE '\\') \
                 OR EXISTS (SELECT 1 FROM call_transcriptions t WHERE t.conversation_id = c.conversation_id \
                            AND t.message_text LIKE ? ESCAPE '\\'))",
                [pattern.clone(), pattern.clone(), pattern],
            );
        }
        sql
    }

    fn and_record(&mut self, record: &RecordFilter) {
        /// Duration of a call in seconds. Without one in the record, it lasts until its end, or until its last turn.
        const SECONDS: &str = "coalesce(c.duration_seconds, max(0, \
             strftime('%s', coalesce(c.call_end_time, c.last_turn_time, c.call_start_time)) \
             - strftime('%s', c.call_start_time)))";
        if let Some(outcome) = record.outcome {
            self.and("ifnull(c.outcome, 'unknown') = ?", [outcome.as_str().to_owned().into()]);
        }
        if let Some(seconds) = record.min_seconds {
            self.and(&format!("{SECONDS} >= ?"), [seconds.into()]);
        }
        if let Some(seconds) = record.max_seconds {
            self.and(&format!("{SECONDS} <= ?"), [seconds.into()]);
        }
        if !record.languages.is_empty() {
            self.among("c.main_language IN", record.languages.iter().cloned());
        }
        if !record.excluded_statuses.is_empty() {
            self.among("c.status NOT IN", record.excluded_statuses.iter().map(|status| status.as_str().to_owned()));
        }
    }

    /// Adds a condition with a `?` for each value.
    pub(super) fn and<const N: usize>(&mut self, condition: &str, values: [Value; N]) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.values.extend(values);
    }

    /// Adds a condition on a list, such as `c.status IN`.
    fn among(&mut self, condition: &str, values: impl ExactSizeIterator<Item = String>) {
        let marks = vec!["?"; values.len()].join(", ");
        self.and(&format!("{condition} ({marks})"), []);
        self.values.extend(values.map(Value::from));
    }

    /// Returns the conditions, each after ` AND `.
    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    /// Returns the `WHERE` clause, which is empty without conditions.
    pub(super) fn clause(&self) -> String {
        self.sql.strip_prefix(" AND ").map_or_else(String::new, |sql| format!("WHERE {sql}"))
    }

    /// Returns the values of the parameters, in their order.
    pub(super) fn values(&self) -> &[Value] {
        &self.values
    }
}

/// Returns the `LIKE` pattern, escaped by `\`, of texts that contain `text`.
pub(super) fn containing(text: &str) -> String {
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
