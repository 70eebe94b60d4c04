//! Calls: reading, listing, changing by hand, ending stale ones.

use super::call_filter::Conditions;
use super::call_list;
use super::call_text;
use super::erase;
use super::error::Context as _;
use super::row::{self, CALL, CALLS};
use super::statement::Statements as _;
use crate::domain::{Call, CallChange, CallEnd, ConversationId, Timestamp};
use crate::store::{
    CallFilter, CallKey, CallPage, CallPageRequest, Error, ErrorKind, MAX_PAGE_TEXT_BYTES, Outcome, Page, Rejection,
    Result, SortOrder, Written, max_json_length,
};
use rusqlite::types::Value;
use rusqlite::{CachedStatement, Connection, Row, Transaction, params, params_from_iter};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

const LISTING: &str = "listing calls";

/// Maximum number of calls of one page whose messages are all read.
const MAX_CHECKED_CALLS: usize = 10_000;

/// Time after which no other call's messages are read for a page.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) fn get(connection: &Connection, id: &ConversationId) -> Result<Option<Call>> {
    connection
        .fetch_optional(&format!("SELECT {CALL} FROM {CALLS} WHERE c.conversation_id = ?1"), [id], row::call)
        .context("reading a call")
}

/// Returns up to `limit` conversations that this one started, ordered by start.
pub(super) fn children(connection: &Connection, id: &ConversationId, limit: usize) -> Result<Vec<Call>> {
    connection
        .fetch_all(
            &format!(
                "SELECT {CALL} FROM {CALLS} WHERE c.parent_conversation_id = ?1 \
                 ORDER BY c.call_start_time, c.id LIMIT {limit}"
            ),
            [id],
            row::call,
        )
        .context("reading the conversations that a call started")
}

pub(super) fn change(
    transaction: &Transaction<'_>,
    now: Timestamp,
    id: &ConversationId,
    change: &CallChange,
) -> Result<Outcome> {
    const CONTEXT: &str = "changing a call";
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
            .execute_cached(
                "UPDATE calls SET status = ?2, call_end_time = ?3, updated_at = ?4 WHERE conversation_id = ?1",
                params![id, call.status, call.call_end_time, now],
            )
            .context(CONTEXT)?;
    }
    Ok(Ok(Written::Call(Box::new(call))))
}

/// Ends calls that are in progress and received no turn since `before`, or since `text_before` if they are typed. Other
/// changes of a call do not show whether it still runs.
pub(super) fn end_stale(
    transaction: &Transaction<'_>,
    now: Timestamp,
    before: Timestamp,
    text_before: Timestamp,
) -> Result<Outcome> {
    const CONTEXT: &str = "ending stale calls";
    // One by one, because the order of the updates decides the numbers of the changes.
    let stale: Vec<(i64, ConversationId)> = transaction
        .fetch_all(
            "SELECT id, conversation_id FROM calls c WHERE status = 'in_progress' AND ifnull( \
                (SELECT t.created_at FROM call_transcriptions t WHERE t.conversation_id = c.conversation_id \
                 ORDER BY t.sequence_number DESC LIMIT 1), c.created_at) \
             < iif(c.channel IN ('sms', 'whatsapp', 'text'), ?2, ?1) ORDER BY id LIMIT 200",
            [before, text_before],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .context(CONTEXT)?;
    let mut ended = Vec::with_capacity(stale.len());
    for (id, conversation_id) in stale {
        transaction
            .execute_cached(
                "UPDATE calls SET status = 'completed', termination_reason = 'inactivity', updated_at = ?2, \
                 call_end_time = max(call_start_time, ifnull(last_turn_time, call_start_time)) WHERE id = ?1",
                params![id, now],
            )
            .context(CONTEXT)?;
        ended.push(conversation_id);
    }
    Ok(Ok(Written::Ended(ended)))
}

/// Counts the calls in progress, up to `at_most`.
pub(super) fn count_open(connection: &Connection, at_most: u32) -> Result<u64> {
    connection
        .fetch_one(
            "SELECT count(*) FROM (SELECT 1 FROM calls WHERE status = 'in_progress' LIMIT ?1)",
            [at_most],
            |row| row.get(0),
        )
        .context("counting calls in progress")
}

pub(super) fn list(connection: &mut Connection, database: &Path, request: &CallPageRequest) -> Result<CallPage> {
    let filter = &request.filter;
    if filter.text.is_some() {
        call_text::prepare(connection, database)?;
    }
    let snapshot = connection.transaction().context(LISTING)?;
    let candidates = call_text::candidates(&snapshot, filter)?;
    let conditions = Conditions::of_calls(filter);
    let total = if request.with_total {
        let mut counted = Conditions::of_calls(filter);
        counted.and_candidates(candidates.as_ref());
        let sql = format!("SELECT count(*) FROM calls c {}", counted.clause());
        let count =
            snapshot.fetch_one(&sql, params_from_iter(counted.values()), |row| row.get(0)).context("counting calls")?;
        Some(count)
    } else {
        None
    };
    let page = if filter.has_few_calls() {
        list_few(&snapshot, request, conditions)?
    } else if let Some(candidates) = &candidates {
        list_candidates(&snapshot, request, &conditions, candidates)?
    } else if filter.text.is_some() {
        list_one_by_one(&snapshot, request, &conditions)?
    } else {
        list_by_start(&snapshot, request, &conditions)?
    };
    Ok(CallPage { total, ..page })
}

/// The calls of a page.
struct PageRows {
    calls: Vec<Result<(Call, usize)>>,
    /// Total size of their texts, in bytes.
    text: usize,
    /// Maximum number of calls of the page.
    limit: usize,
}

impl PageRows {
    fn new(limit: usize) -> Self {
        Self { calls: Vec::with_capacity(limit.min(1000) + 1), text: 0, limit }
    }

    /// Adds a call. Breaks if no other is needed to know the page and whether it is the last one.
    fn add(&mut self, row: &Row<'_>) -> Result<ControlFlow<()>> {
        let call = row::call(row).context(LISTING)?;
        let length = text_of(&call);
        self.text += length;
        self.calls.push(Ok((call, length)));
        let is_full = self.calls.len() > self.limit || self.text > MAX_PAGE_TEXT_BYTES;
        Ok(if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Returns the position of the last call.
    fn last(&self) -> Option<CallKey> {
        self.calls.last().and_then(|listed| listed.as_ref().ok()).map(|(call, _)| key_of(call))
    }

    /// Returns the page. Unless it is full, `next` is where the next one begins.
    fn into_page(self, next: Option<CallKey>) -> Result<CallPage> {
        let page = Page::from_overfetch(self.calls, self.limit, |(_, length)| *length)?;
        let rows: Vec<Call> = page.rows.into_iter().map(|(call, _)| call).collect();
        let last = rows.last().filter(|_| page.has_more).map(key_of);
        Ok(CallPage { rows, next: last.or(next), total: None })
    }
}

const fn key_of(call: &Call) -> CallKey {
    CallKey { start: call.call_start_time, id: call.id }
}

/// Returns a page of calls that an index of one person's calls contains.
fn list_few(snapshot: &Connection, request: &CallPageRequest, mut conditions: Conditions) -> Result<CallPage> {
    let filter = &request.filter;
    // Named, because the planner may choose the index of a condition that most calls meet.
    let index = match filter {
        CallFilter { conversation_id: Some(_), .. } => "",
        CallFilter { driver_id: Some(_), .. } => "INDEXED BY calls_driver_start",
        CallFilter { user_id: Some(_), .. } => "",
        _ => "INDEXED BY calls_number",
    };
    let (past, direction) = past_and_direction(request.order);
    conditions.and_after(past, request.after);
    let limit = i64::try_from(request.limit + 1).unwrap_or(i64::MAX);
    let calls = CALLS.replacen("calls c", &format!("calls c {index}"), 1);
    let sql = format!(
        "SELECT {CALL} FROM {calls} {} ORDER BY c.call_start_time {direction}, c.id {direction} LIMIT {limit}",
        conditions.clause()
    );
    let mut select = snapshot.prepare_cached(&sql).context(LISTING)?;
    let mut rows = select.query(params_from_iter(conditions.values())).context(LISTING)?;
    let mut page = PageRows::new(request.limit);
    while let Some(row) = rows.next().context(LISTING)? {
        if page.add(row)?.is_break() {
            break;
        }
    }
    page.into_page(None)
}

/// Returns a page of candidates, which contain all matches. They are checked in their order, until the page is full.
fn list_candidates(
    snapshot: &Connection,
    request: &CallPageRequest,
    conditions: &Conditions,
    candidates: &Value,
) -> Result<CallPage> {
    let (past, direction) = past_and_direction(request.order);
    let mut of_candidates = Conditions::default();
    of_candidates.and_candidates(Some(candidates));
    of_candidates.and_after(past, request.after);
    let sql = format!(
        "SELECT c.id FROM calls c {} ORDER BY c.call_start_time {direction}, c.id {direction}",
        of_candidates.clause()
    );
    let ids: Vec<i64> =
        snapshot.fetch_all(&sql, params_from_iter(of_candidates.values()), |row| row.get(0)).context(LISTING)?;
    let mut page = PageRows::new(request.limit);
    let mut check = Check::prepare(snapshot, conditions)?;
    for id in ids {
        if check.add_to(&mut page, id)?.is_break() {
            break;
        }
    }
    page.into_page(None)
}

/// Returns a page of the calls in their order, each of which is checked by itself. The page ends early when many were.
fn list_one_by_one(snapshot: &Connection, request: &CallPageRequest, conditions: &Conditions) -> Result<CallPage> {
    let end = Instant::now() + CHECK_TIMEOUT;
    let mut page = PageRows::new(request.limit);
    let mut check = Check::prepare(snapshot, conditions)?;
    let (mut checked, mut rest) = (0, None);
    let filter = &request.filter;
    call_list::for_each_candidate(snapshot, filter, request.order, request.after, &mut |(start, id)| {
        let flow = check.add_to(&mut page, *id)?;
        checked += 1;
        if flow.is_continue() && (checked == MAX_CHECKED_CALLS || Instant::now() > end) {
            let start = Timestamp::parse(start).map_err(|error| Error::new(ErrorKind::Other, LISTING, error))?;
            rest = Some(CallKey { start, id: *id });
            return Ok(ControlFlow::Break(()));
        }
        Ok(flow)
    })?;
    page.into_page(rest)
}

/// The statement that reads a call if it matches.
struct Check<'a> {
    select: CachedStatement<'a>,
    conditions: &'a Conditions,
}

impl<'a> Check<'a> {
    fn prepare(snapshot: &'a Connection, conditions: &'a Conditions) -> Result<Self> {
        let sql = format!("SELECT {CALL} FROM {CALLS} WHERE c.id = ?{}", conditions.sql());
        Ok(Self { select: snapshot.prepare_cached(&sql).context(LISTING)?, conditions })
    }

    /// Adds the call with this row id to a page if it matches.
    fn add_to(&mut self, page: &mut PageRows, id: i64) -> Result<ControlFlow<()>> {
        let values = std::iter::once(Value::from(id)).chain(self.conditions.values().iter().cloned());
        let mut rows = self.select.query(params_from_iter(values)).context(LISTING)?;
        match rows.next().context(LISTING)? {
            Some(row) => page.add(row),
            None => Ok(ControlFlow::Continue(())),
        }
    }
}

/// Returns the comparison with a position, and the direction, of an order.
const fn past_and_direction(order: SortOrder) -> (&'static str, &'static str) {
    match order {
        SortOrder::Ascending => (">", "ASC"),
        SortOrder::Descending => ("<", "DESC"),
    }
}

/// Returns a page of calls from the indexes by start.
fn list_by_start(snapshot: &Connection, request: &CallPageRequest, conditions: &Conditions) -> Result<CallPage> {
    let filter = &request.filter;
    let mut page = PageRows::new(request.limit);
    // One statement for the calls that fill almost every page. SQLite keeps the order of the outer loop.
    let (first, values) = call_list::first_candidates(filter, request.order, request.after);
    let sql = format!("SELECT {CALL} FROM ({first}) w CROSS JOIN {CALLS} WHERE c.id = w.id{}", conditions.sql());
    let mut select = snapshot.prepare_cached(&sql).context(LISTING)?;
    let mut rows = select.query(params_from_iter(values.iter().chain(conditions.values()))).context(LISTING)?;
    let mut is_full = false;
    while !is_full {
        let Some(row) = rows.next().context(LISTING)? else { break };
        is_full = page.add(row)?.is_break();
    }
    drop(rows);
    if !is_full {
        let mut check = Check::prepare(snapshot, conditions)?;
        let after = page.last().or(request.after);
        call_list::for_each_later_candidate(snapshot, filter, request.order, after, &mut |id| {
            check.add_to(&mut page, id)
        })?;
    }
    page.into_page(None)
}

/// Returns the size of a call's potentially long texts, in bytes of JSON.
pub(super) fn text_of(call: &Call) -> usize {
    let report = &call.report;
    let last = call.last_message.as_ref();
    let last = last.map_or(0, |last| {
        max_json_length(last.message.as_str())
            + last.final_text.as_ref().map_or(0, |text| max_json_length(text.as_str()))
    });
    let facts: usize = [&report.analysis, &report.summary, &report.title, &report.termination_reason, &report.user_id]
        .into_iter()
        .flatten()
        .map(|text| max_json_length(text))
        .sum();
    facts + last
}
