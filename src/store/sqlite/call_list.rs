//! Pages of calls that match a filter, in the order of their start.
//!
//! A page is read in two steps. The first calls in the order are checked one by one, which fills the page if many calls
//! match. If few do, the rest is read from an index that contains the calls of each value by start. Such an index is
//! read in lanes: one for each value, or combination of values, that the filter accepts. The lanes are merged by start,
//! so neither rare nor absent values make a page read many calls.

use super::call_filter::{Conditions, IS_CHILD, KNOWN_SECONDS, SECONDS};
use super::error::Context as _;
use super::statement::Statements as _;
use crate::domain::CallStatus;
use crate::store::{CallFilter, CallKey, Result, SortOrder};
use rusqlite::types::Value;
use rusqlite::{CachedStatement, Connection, params_from_iter};
use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::ControlFlow;

const CONTEXT: &str = "listing calls";

/// Number of calls that are checked one by one before an index of values is read.
const WINDOW: usize = 1000;

/// All calls by start.
const BY_START: &str = "calls c INDEXED BY calls_start";

/// Minimum duration of the calls that are one group in the index `calls_seconds`, in seconds.
const LONG_SECONDS: i64 = 600;

/// Columns of `call_facets` that identify a combination, and the same of calls, in the order of the index
/// `calls_facets`.
const FACETS: [(&str, &str); 13] = [
    ("status", "c.status"),
    ("answered_by", "c.answered_by"),
    ("outcome", "c.outcome"),
    ("direction", "c.direction"),
    ("channel", "c.channel"),
    ("agent_id", "c.agent_id"),
    ("main_language", "c.main_language"),
    ("environment", "c.environment"),
    ("has_audio", "c.has_audio"),
    ("tool_error", "c.tool_error"),
    ("has_driver", "(c.driver_id IS NOT NULL)"),
    ("reconciled", "(c.matched IS NOT NULL)"),
    ("is_child", IS_CHILD),
];

/// A position in the order of calls: the start, and the row id.
pub(super) type Position = (String, i64);

/// Passes the positions of calls to `take`, in order of their start, until it breaks. All calls that match the filter
/// are among them; `take` checks each.
pub(super) fn for_each_candidate(
    connection: &Connection,
    filter: &CallFilter,
    order: SortOrder,
    after: Option<CallKey>,
    take: &mut dyn FnMut(&Position) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let mut span = Span::new(filter, order, after);
    if Lanes::by_start(span.clone()).for_each(connection, WINDOW, &mut |position| {
        span.from = position;
        take(&span.from)
    })? {
        return Ok(());
    }
    for_each_of_values(connection, filter, span, take)
}

/// Returns the statement that reads the start and the row id of the first calls in the order, and its parameters.
/// [`for_each_later_candidate`] reads the others.
pub(super) fn first_candidates(filter: &CallFilter, order: SortOrder, after: Option<CallKey>) -> (String, Vec<Value>) {
    let span = Span::new(filter, order, after);
    let sql = span.sql(BY_START, "c.call_start_time, c.id", "TRUE");
    (format!("{sql} LIMIT {WINDOW}"), span.bounds(&span.from).collect())
}

/// Like [`for_each_candidate`], for calls that [`first_candidates`] may lack. `after` is the last match among these.
pub(super) fn for_each_later_candidate(
    connection: &Connection,
    filter: &CallFilter,
    order: SortOrder,
    after: Option<CallKey>,
    take: &mut dyn FnMut(i64) -> Result<ControlFlow<()>>,
) -> Result<()> {
    for_each_of_values(connection, filter, Span::new(filter, order, after), &mut |(_, id)| take(*id))
}

/// Passes the positions of the calls in a span to `take`, from an index of values if one serves the filter.
fn for_each_of_values(
    connection: &Connection,
    filter: &CallFilter,
    span: Span,
    take: &mut dyn FnMut(&Position) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let mut lanes = match Lanes::of_values(connection, filter, &span)? {
        Some(lanes) => lanes,
        None => Lanes::by_start(span),
    };
    lanes.for_each(connection, usize::MAX, &mut |position| take(&position)).map(drop)
}

/// A part of the order of calls.
#[derive(Clone)]
struct Span {
    ascending: bool,
    /// Only calls after this position in the order.
    from: Position,
    /// Limit of the start at the other end, if there is one.
    to: Option<String>,
}

impl Span {
    fn new(filter: &CallFilter, order: SortOrder, after: Option<CallKey>) -> Self {
        let [begin, end] = [filter.started_after, filter.started_before].map(|time| time.map(|time| time.to_string()));
        let after = after.map(|key| (key.start.to_string(), key.id));
        match order {
            SortOrder::Ascending => {
                let first = begin.map_or_else(|| (String::new(), i64::MIN), |begin| (begin, i64::MIN));
                Self { ascending: true, from: after.unwrap_or(first), to: end }
            }
            SortOrder::Descending => {
                // No start is greater than this text.
                let last = end.map_or_else(|| ("~".to_owned(), i64::MAX), |end| (end, i64::MIN));
                Self { ascending: false, from: after.unwrap_or(last), to: begin }
            }
        }
    }

    /// Returns the statement that reads a lane. Its parameters are those of `condition`, then those of
    /// [`Self::bounds`].
    ///
    /// It has no parameter for the number of rows, because SQLite 3.53 compiles a statement anew for each value of a
    /// limit in an ordered query.
    fn sql(&self, table: &str, columns: &str, condition: &str) -> String {
        let (past, direction, to) = if self.ascending { (">", "ASC", "<") } else { ("<", "DESC", ">=") };
        let (start, id) = columns.split_once(", ").expect("two columns");
        let to = if self.to.is_some() { format!(" AND {start} {to} ?") } else { String::new() };
        format!(
            "SELECT {columns} FROM {table} WHERE {condition} AND ({columns}) {past} (?, ?){to} \
             ORDER BY {start} {direction}, {id} {direction}"
        )
    }

    /// Returns the parameters of the rows that follow a position.
    fn bounds(&self, (start, id): &Position) -> impl Iterator<Item = Value> {
        [Value::from(start.clone()), Value::from(*id)].into_iter().chain(self.to.clone().map(Value::from))
    }
}

/// A lane of an index: rows with the same values, in the order of their start.
struct Lane {
    values: Vec<Value>,
    /// Row of `call_facets` with the values, if they are not read yet.
    facets: Option<i64>,
    /// Rows that were read and not yet passed on.
    ahead: VecDeque<Position>,
    /// Number of rows to read next, or 0 at the end.
    batch: usize,
    /// No row of the lane comes before this start in the order, if that is known.
    bound: Option<String>,
}

impl Lane {
    const fn new(values: Vec<Value>) -> Self {
        Self { values, facets: None, ahead: VecDeque::new(), batch: 2, bound: None }
    }

    /// Reads the rows that follow `position`.
    fn read(&mut self, statement: &mut CachedStatement<'_>, span: &Span, position: &Position) -> Result<()> {
        let values = self.values.iter().cloned().chain(span.bounds(position));
        let mut rows = statement.query(params_from_iter(values)).context(CONTEXT)?;
        let mut count = 0;
        while count < self.batch {
            let Some(row) = rows.next().context(CONTEXT)? else { break };
            self.ahead.push_back((row.get(0).context(CONTEXT)?, row.get(1).context(CONTEXT)?));
            count += 1;
        }
        self.batch = if count < self.batch { 0 } else { (self.batch * 8).min(128) };
        Ok(())
    }
}

/// Lanes of one index, which are merged.
struct Lanes {
    span: Span,
    sql: String,
    lanes: Vec<Lane>,
}

/// The next row of a lane.
#[derive(PartialEq, Eq)]
struct Head {
    position: Position,
    lane: usize,
    ascending: bool,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = self.position.cmp(&other.position);
        if self.ascending { order.reverse() } else { order }
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Lanes {
    /// Returns the lane of all calls.
    fn by_start(span: Span) -> Self {
        let sql = span.sql(BY_START, "c.call_start_time, c.id", "TRUE");
        Self { span, sql, lanes: vec![Lane::new(Vec::new())] }
    }

    /// Returns the lanes of the index that serves a filter best, or `None` if no index does.
    fn of_values(connection: &Connection, filter: &CallFilter, span: &Span) -> Result<Option<Self>> {
        let span = span.clone();
        // The table has an empty name for any alert.
        let any_alert = if filter.has_alert == Some(true) { vec![String::new()] } else { Vec::new() };
        for (names, table, column) in [
            (&filter.alerts, "alerted_calls", "alert"),
            (&filter.tags, "call_tags", "tag"),
            (&filter.tools, "call_tools", "tool"),
            (&any_alert, "alerted_calls", "alert"),
        ] {
            if !names.is_empty() {
                let condition = format!("{column} = ? AND status = ? AND is_child = ?");
                let sql = span.sql(table, "call_start_time, call_id", &condition);
                return Ok(Some(Self { span, sql, lanes: of_names(filter, names) }));
            }
        }
        let seconds = filter.min_seconds.is_some() || filter.max_seconds.is_some();
        if seconds && !has_other_facets(filter) {
            let group = format!("min({KNOWN_SECONDS}, {LONG_SECONDS})");
            let of_calls = if filter.exclude_children { format!(" AND ({IS_CHILD}) = 0") } else { String::new() };
            // Running calls, whose duration no index has, are checked here, because a statement for each costs more.
            let condition = format!("c.status = ? AND {group} IS ?{of_calls} AND {SECONDS} BETWEEN ? AND ?");
            let sql = span.sql("calls c INDEXED BY calls_seconds", "c.call_start_time, c.id", &condition);
            return Ok(Some(Self { span, sql, lanes: of_seconds(filter) }));
        }
        let conditions = Conditions::of_facets(filter);
        if conditions.sql().is_empty() {
            return Ok(None);
        }
        let bound = if span.ascending { "f.first_start" } else { "f.last_start" };
        // The index contains no bound, and the status, its first column, leaves out few rows.
        let stored = format!("SELECT f.id, {bound} FROM call_facets f NOT INDEXED {}", conditions.clause());
        let lanes = connection
            .fetch_all(&stored, params_from_iter(conditions.values()), |row| {
                Ok(Lane { facets: row.get(0)?, bound: row.get(1)?, ..Lane::new(Vec::new()) })
            })
            .context(CONTEXT)?;
        let condition = FACETS.map(|(_, of_call)| format!("({of_call}) IS ?")).join(" AND ");
        let sql = span.sql("calls c INDEXED BY calls_facets", "c.call_start_time, c.id", &condition);
        Ok(Some(Self { span, sql, lanes }))
    }

    /// Passes at most `max` rows to `take`, in order. Returns true if no row is left or `take` broke.
    fn for_each(
        &mut self,
        connection: &Connection,
        max: usize,
        take: &mut dyn FnMut(Position) -> Result<ControlFlow<()>>,
    ) -> Result<bool> {
        let ascending = self.span.ascending;
        let mut statement = connection.prepare_cached(&self.sql).context(CONTEXT)?;
        let mut heads = BinaryHeap::with_capacity(self.lanes.len());
        if let [only] = &mut self.lanes[..] {
            only.batch = max.min(64);
        }
        // The lane to begin next stands last. One that cannot contain the next row is not read at all.
        let mut waiting: Vec<usize> = (0..self.lanes.len()).collect();
        waiting.sort_unstable_by(|a, b| {
            let [a, b] = [a, b].map(|lane| &self.lanes[*lane].bound);
            // A lane without a bound comes first.
            let unbounded = a.is_none().cmp(&b.is_none());
            unbounded.then_with(|| if ascending { b.cmp(a) } else { a.cmp(b) })
        });
        let (mut count, mut last) = (0, None);
        loop {
            while let Some(lane) = waiting.pop_if(|lane| may_precede(self.lanes[*lane].bound.as_ref(), heads.peek())) {
                let reader = &mut self.lanes[lane];
                if let Some(id) = reader.facets {
                    reader.values = facets(connection, id)?;
                }
                reader.read(&mut statement, &self.span, &self.span.from)?;
                heads.extend(reader.ahead.pop_front().map(|position| Head { position, lane, ascending }));
            }
            let Some(Head { position, lane, .. }) = heads.pop() else { return Ok(true) };
            let reader = &mut self.lanes[lane];
            if reader.ahead.is_empty() && reader.batch > 0 {
                reader.read(&mut statement, &self.span, &position)?;
            }
            heads.extend(reader.ahead.pop_front().map(|position| Head { position, lane, ascending }));
            // A call with two of the wanted tags is in two lanes.
            if last.replace(position.1) == Some(position.1) {
                continue;
            }
            if take(position)?.is_break() {
                return Ok(true);
            }
            count += 1;
            if count == max {
                return Ok(heads.is_empty() && waiting.is_empty());
            }
        }
    }
}

/// Returns the values of a combination of facets.
fn facets(connection: &Connection, id: i64) -> Result<Vec<Value>> {
    let sql = format!("SELECT {} FROM call_facets WHERE id = ?1", FACETS.map(|(name, _)| name).join(", "));
    connection.fetch_one(&sql, [id], |row| (0..FACETS.len()).map(|column| row.get(column)).collect()).context(CONTEXT)
}

/// Returns whether a lane with this bound may contain a row that comes before `head`.
fn may_precede(bound: Option<&String>, head: Option<&Head>) -> bool {
    match (bound, head) {
        (Some(bound), Some(Head { position, ascending: true, .. })) => bound <= &position.0,
        (Some(bound), Some(Head { position, .. })) => bound >= &position.0,
        _ => true,
    }
}

/// Returns whether the filter has a condition on a facet other than the status and whose conversation it is.
fn has_other_facets(filter: &CallFilter) -> bool {
    let others = CallFilter {
        status: None,
        excluded_statuses: Vec::new(),
        exclude_children: false,
        production_only: false,
        ..filter.clone()
    };
    !Conditions::of_facets(&others).sql().is_empty()
}

/// Returns the statuses that a filter accepts.
fn statuses(filter: &CallFilter) -> impl Iterator<Item = &'static str> + use<'_> {
    [CallStatus::InProgress, CallStatus::Completed, CallStatus::Failed]
        .into_iter()
        .filter(|status| {
            filter.status.is_none_or(|wanted| wanted == *status) && !filter.excluded_statuses.contains(status)
        })
        .map(CallStatus::as_str)
}

/// Returns the lanes of tags, tools or alerts.
fn of_names(filter: &CallFilter, names: &[String]) -> Vec<Lane> {
    let mut lanes = Vec::new();
    for name in names {
        for status in statuses(filter) {
            for is_child in 0..=i64::from(!filter.exclude_children) {
                lanes.push(Lane::new(vec![name.clone().into(), status.to_owned().into(), is_child.into()]));
            }
        }
    }
    lanes
}

/// Returns the lanes of durations: one for each second, for long calls, and for calls without a known duration.
fn of_seconds(filter: &CallFilter) -> Vec<Lane> {
    let [min, max] = [filter.min_seconds.unwrap_or(0), filter.max_seconds.unwrap_or(i64::MAX)];
    // No call has a negative duration.
    let groups = (min.clamp(0, LONG_SECONDS)..=max.min(LONG_SECONDS)).map(Value::from).chain([Value::Null]);
    let groups: Vec<_> = groups.collect();
    let lane =
        |status: &str, group: &Value| Lane::new(vec![status.to_owned().into(), group.clone(), min.into(), max.into()]);
    statuses(filter).flat_map(|status| groups.iter().map(move |group| lane(status, group))).collect()
}
