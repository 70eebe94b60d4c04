//! SQL of a filter of calls.

use crate::domain::{
    AnsweredBy, CallOutcome, CallStatus, Channel, Direction, DriverId, NumberEnd, begins_at_word, fold, part_of_word,
};
use crate::store::{CallFilter, CallKey};
use rusqlite::types::Value;

/// True for a conversation that a sub-agent held for another one, as in the indexes of V15.
pub(super) const IS_CHILD: &str =
    "c.parent_conversation_id IS NOT NULL OR ifnull(c.initiation_source, '') = 'subagent_tool'";

/// Digits of the number at the other end, as in the index `calls_number`.
const DIGITS: &str = "replace(replace(replace(replace(replace(replace(c.external_number, ' ', ''), '-', ''), '(', ''), \
    ')', ''), '.', ''), '+', '')";

/// Duration of a call that is known, in seconds, as in the index `calls_seconds`.
pub(super) const KNOWN_SECONDS: &str =
    "coalesce(c.duration_seconds, strftime('%s', c.call_end_time) - strftime('%s', c.call_start_time))";

/// Duration of a call in seconds. Without one in the record, it lasts until its end, or until its last turn.
pub(super) const SECONDS: &str = "coalesce(c.duration_seconds, max(0, \
     strftime('%s', coalesce(c.call_end_time, c.last_turn_time, c.call_start_time)) \
     - strftime('%s', c.call_start_time)))";

/// Selects the row id of a call that matched any alert.
const ANY_ALERT: &str = "SELECT k.call_id FROM alerted_calls k WHERE k.call_id = c.id AND k.alert = ''";

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
        sql.and_calls(filter);
        sql
    }

    /// Adds the conditions of a filter, for calls with the alias `c`.
    pub(super) fn and_calls(&mut self, filter: &CallFilter) {
        let sql = self;
        if let Some(id) = &filter.conversation_id {
            sql.and("c.conversation_id = ?", [id.as_str().to_owned().into()]);
        }
        sql.and_facets(filter, "c", "(c.driver_id IS NOT NULL)", "(c.matched IS NOT NULL)", &format!("({IS_CHILD})"));
        if let Some(driver_id) = filter.driver_id {
            sql.and("c.driver_id = ?", [driver_id.get().into()]);
        }
        match filter.has_driver {
            Some(true) => sql.and("c.driver_id IS NOT NULL", []),
            Some(false) => sql.and("c.driver_id IS NULL", []),
            None => {}
        }
        if let Some(user_id) = &filter.user_id {
            let driver_id = DriverId::from_elevenlabs(user_id).map_or(Value::Null, |id| id.get().into());
            sql.and("(c.user_id = ? OR (c.user_id IS NULL AND c.driver_id = ?))", [user_id.clone().into(), driver_id]);
        }
        if let Some(branch_id) = &filter.branch_id {
            sql.and("c.branch_id = ?", [branch_id.clone().into()]);
        }
        if let Some(number) = &filter.number {
            let (condition, values) = ends_with_number(number);
            sql.and(&condition, values);
        }
        if !filter.tags.is_empty() {
            sql.is_in("SELECT k.call_id FROM call_tags k WHERE k.call_id = c.id AND k.tag IN", &filter.tags);
        }
        if !filter.tools.is_empty() {
            sql.is_in("SELECT k.call_id FROM call_tools k WHERE k.call_id = c.id AND k.tool IN", &filter.tools);
        }
        if !filter.alerts.is_empty() {
            sql.is_in("SELECT k.call_id FROM alerted_calls k WHERE k.call_id = c.id AND k.alert IN", &filter.alerts);
        }
        match filter.has_alert {
            Some(true) => sql.and(&format!("c.id IN ({ANY_ALERT})"), []),
            Some(false) => sql.and(&format!("c.id NOT IN ({ANY_ALERT})"), []),
            None => {}
        }
        if let Some(seconds) = filter.min_seconds {
            sql.and(&format!("{SECONDS} >= ?"), [seconds.into()]);
        }
        if let Some(seconds) = filter.max_seconds {
            sql.and(&format!("{SECONDS} <= ?"), [seconds.into()]);
        }
        if !filter.termination_reasons.is_empty() {
            sql.among("c.termination_reason IN", filter.termination_reasons.iter().cloned());
        }
        if let Some(start) = filter.started_after {
            sql.and("c.call_start_time >= ?", [start.to_string().into()]);
        }
        if let Some(end) = filter.started_before {
            sql.and("c.call_start_time < ?", [end.to_string().into()]);
        }
        if let Some(text) = &filter.text {
            sql.and_text(text);
        }
    }

    /// Returns the conditions that a filter has on facets, for rows of `call_facets` with the alias `f`.
    pub(super) fn of_facets(filter: &CallFilter) -> Self {
        let mut sql = Self::default();
        sql.and_facets(filter, "f", "f.has_driver", "f.reconciled", "f.is_child");
        sql
    }

    /// Adds the conditions on facets: columns with few values each. The rows have the alias `row`.
    fn and_facets(&mut self, filter: &CallFilter, row: &str, has_driver: &str, reconciled: &str, is_child: &str) {
        let mut equal = |column: &str, text: Option<&str>| {
            if let Some(text) = text {
                self.and(&format!("{row}.{column} = ?"), [text.to_owned().into()]);
            }
        };
        equal("status", filter.status.map(CallStatus::as_str));
        equal("direction", filter.direction.map(Direction::as_str));
        equal("agent_id", filter.agent_id.as_deref());
        equal("environment", filter.environment.as_deref());
        for (column, text) in [
            ("answered_by", filter.answered_by.map(AnsweredBy::as_str)),
            ("outcome", filter.outcome.map(CallOutcome::as_str)),
            ("channel", filter.channel.map(Channel::as_str)),
        ] {
            if let Some(text) = text {
                self.and(&format!("ifnull({row}.{column}, 'unknown') = ?"), [text.to_owned().into()]);
            }
        }
        if filter.production_only {
            self.and(&format!("ifnull({row}.environment, 'production') = 'production'"), []);
        }
        if !filter.languages.is_empty() {
            self.among(&format!("{row}.main_language IN"), filter.languages.iter().cloned());
        }
        if !filter.excluded_statuses.is_empty() {
            let statuses = filter.excluded_statuses.iter().map(|status| status.as_str().to_owned());
            self.among(&format!("{row}.status NOT IN"), statuses);
        }
        for (column, wanted) in [
            (has_driver, filter.has_driver),
            (&*format!("{row}.has_audio"), filter.has_audio),
            (&*format!("{row}.tool_error"), filter.tool_error),
            (reconciled, filter.reconciled),
            (is_child, Some(false).filter(|_| filter.exclude_children)),
        ] {
            if let Some(wanted) = wanted {
                self.and(&format!("{column} = {}", i64::from(wanted)), []);
            }
        }
    }

    /// Adds a condition that the call's id, its driver's name, its number or a message contains a text.
    fn and_text(&mut self, text: &str) {
        let part = part_of_word(text);
        let text = part.unwrap_or(text);
        let pattern = Value::from(containing(text));
        let mut any = vec![
            "c.conversation_id LIKE ? ESCAPE '\\'".to_owned(),
            "EXISTS (SELECT 1 FROM drivers d WHERE d.id = c.driver_id AND instr(folded(d.name), ?) > 0)".to_owned(),
        ];
        let mut values = vec![pattern.clone(), folded_or_null(text)];
        if let Ok(number) = NumberEnd::parse(text) {
            let (of_number, of_values) = ends_with_number(&number);
            any.push(format!("({of_number})"));
            values.extend(of_values);
        }
        values.push(pattern);
        let from_word = if part.is_none() && begins_at_word(text) {
            values.push(text.to_owned().into());
            " AND from_word(t.message_text, ?)"
        } else {
            ""
        };
        any.push(format!(
            "EXISTS (SELECT 1 FROM call_transcriptions t WHERE t.conversation_id = c.conversation_id \
             AND t.message_text LIKE ? ESCAPE '\\'{from_word})"
        ));
        self.and(&format!("({})", any.join(" OR ")), []);
        self.values.extend(values);
    }

    /// Adds a condition that the call is among rows with one of the values.
    ///
    /// SQLite 3.53 would turn `EXISTS` into a join, and check it only after the other joins of the statement.
    fn is_in(&mut self, rows: &str, values: &[String]) {
        let marks = vec!["?"; values.len()].join(", ");
        self.and(&format!("c.id IN ({rows} ({marks}))"), []);
        self.values.extend(values.iter().cloned().map(Value::from));
    }

    /// Adds the condition that a call is a candidate, if candidates are known: a JSON array of row ids.
    pub(super) fn and_candidates(&mut self, candidates: Option<&Value>) {
        if let Some(ids) = candidates {
            self.and("c.id IN (SELECT value FROM json_each(?))", [ids.clone()]);
        }
    }

    /// Adds conditions that a call is among those with the names that a filter accepts. They select the same calls as
    /// [`Self::of_calls`], which tells it of each call; these read the calls of a name from an index, if they are few.
    pub(super) fn and_named(&mut self, filter: &CallFilter) {
        let any_alert = if filter.has_alert == Some(true) { vec![String::new()] } else { Vec::new() };
        for (rows, names) in [
            ("SELECT call_id FROM alerted_calls WHERE alert IN", &filter.alerts),
            ("SELECT call_id FROM alerted_calls WHERE alert IN", &any_alert),
            ("SELECT call_id FROM call_tags WHERE tag IN", &filter.tags),
            ("SELECT call_id FROM call_tools WHERE tool IN", &filter.tools),
        ] {
            if !names.is_empty() {
                self.is_in(rows, names);
            }
        }
    }

    /// Adds the condition that a call follows a position in an order by start. `past` is the order's comparison.
    pub(super) fn and_after(&mut self, past: &str, after: Option<CallKey>) {
        if let Some(CallKey { start, id }) = after {
            self.and(&format!("(c.call_start_time, c.id) {past} (?, ?)"), [start.to_string().into(), id.into()]);
        }
    }

    /// Adds a condition with a `?` for each value.
    pub(super) fn and<const N: usize>(&mut self, condition: &str, values: [Value; N]) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.values.extend(values);
    }

    /// Adds a condition on a list, such as `c.status IN`.
    pub(super) fn among(&mut self, condition: &str, values: impl ExactSizeIterator<Item = String>) {
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

/// Returns the condition that the number at the other end ends with one, and the values of its parameters.
pub(super) fn ends_with_number(number: &NumberEnd) -> (String, [Value; 2]) {
    let digits = number.digits();
    let last = digits[digits.len() - 4..].to_owned();
    let condition = format!(
        "c.external_number IS NOT NULL AND substr({DIGITS}, -4) = ? AND substr({DIGITS}, -{}) = ?",
        digits.len()
    );
    (condition, [last.into(), digits.to_owned().into()])
}

/// Returns a text to look for in folded names, or NULL, which no name contains, if nothing of it is left.
pub(super) fn folded_or_null(text: &str) -> Value {
    let folded = fold(text);
    if folded.is_empty() { Value::Null } else { folded.into() }
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
