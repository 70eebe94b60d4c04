//! Calls: reading, listing, changing by hand, ending stale ones.

use super::call_filter::Conditions;
use super::call_list;
use super::erase;
use super::error::Context as _;
use super::row::{self, CALL, CALLS};
use super::statement::Statements as _;
use crate::domain::{Call, CallChange, CallEnd, ConversationId, Timestamp};
use crate::store::{
    CallFilter, CallKey, CallPageRequest, MAX_PAGE_TEXT_BYTES, Outcome, Page, Rejection, Result, SortOrder, Written,
    max_json_length,
};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, Transaction, params, params_from_iter};
use std::ops::ControlFlow;

const LISTING: &str = "listing calls";

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

pub(super) fn list(connection: &mut Connection, request: &CallPageRequest) -> Result<Page<Call>> {
    let snapshot = connection.transaction().context(LISTING)?;
    let conditions = Conditions::of_calls(&request.filter);
    let total = if request.with_total {
        let sql = format!("SELECT count(*) FROM calls c {}", conditions.clause());
        let count = snapshot
            .fetch_one(&sql, params_from_iter(conditions.values()), |row| row.get(0))
            .context("counting calls")?;
        Some(count)
    } else {
        None
    };
    let page = if request.filter.has_few_calls() {
        list_few(&snapshot, request, conditions)?
    } else {
        list_by_start(&snapshot, request, &conditions)?
    };
    Ok(Page { total, ..page })
}

/// Returns a page of calls that an index of one person's calls contains.
fn list_few(snapshot: &Connection, request: &CallPageRequest, mut conditions: Conditions) -> Result<Page<Call>> {
    let filter = &request.filter;
    // Named, because the planner may choose the index of a condition that most calls meet.
    let index = match filter {
        CallFilter { conversation_id: Some(_), .. } => "",
        CallFilter { driver_id: Some(_), .. } => "INDEXED BY calls_driver_start",
        CallFilter { user_id: Some(_), .. } => "",
        _ => "INDEXED BY calls_number",
    };
    let (past, direction) = match request.order {
        SortOrder::Ascending => (">", "ASC"),
        SortOrder::Descending => ("<", "DESC"),
    };
    if let Some(key) = request.after {
        conditions
            .and(&format!("(c.call_start_time, c.id) {past} (?, ?)"), [key.start.to_string().into(), key.id.into()]);
    }
    let limit = i64::try_from(request.limit + 1).unwrap_or(i64::MAX);
    let calls = CALLS.replacen("calls c", &format!("calls c {index}"), 1);
    let sql = format!(
        "SELECT {CALL} FROM {calls} {} ORDER BY c.call_start_time {direction}, c.id {direction} LIMIT {limit}",
        conditions.clause()
    );
    snapshot
        .prepare_cached(&sql)
        .and_then(|mut select| {
            Page::from_overfetch(
                select.query_map(params_from_iter(conditions.values()), row::call)?,
                request.limit,
                text_of,
            )
        })
        .context(LISTING)
}

/// Returns a page of calls from the indexes by start.
fn list_by_start(snapshot: &Connection, request: &CallPageRequest, conditions: &Conditions) -> Result<Page<Call>> {
    let filter = &request.filter;
    let mut calls = Vec::with_capacity(request.limit.min(1000) + 1);
    let mut text = 0;
    let mut add = |calls: &mut Vec<Result<(Call, usize)>>, row: &Row<'_>| {
        let call = row::call(row).context(LISTING)?;
        let length = text_of(&call);
        text += length;
        calls.push(Ok((call, length)));
        let is_full = calls.len() > request.limit || text > MAX_PAGE_TEXT_BYTES;
        Ok(if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    };
    // One statement for the calls that fill almost every page. SQLite keeps the order of the outer loop.
    let (first, values) = call_list::first_candidates(filter, request.order, request.after);
    let sql = format!("SELECT {CALL} FROM ({first}) w CROSS JOIN {CALLS} WHERE c.id = w.id{}", conditions.sql());
    let mut select = snapshot.prepare_cached(&sql).context(LISTING)?;
    let mut rows = select.query(params_from_iter(values.iter().chain(conditions.values()))).context(LISTING)?;
    let mut is_full = false;
    while !is_full {
        let Some(row) = rows.next().context(LISTING)? else { break };
        is_full = add(&mut calls, row)?.is_break();
    }
    drop(rows);
    if !is_full {
        let last = calls.last().and_then(|listed| listed.as_ref().ok());
        let after = last.map(|(call, _)| CallKey { start: call.call_start_time, id: call.id }).or(request.after);
        let sql = format!("SELECT {CALL} FROM {CALLS} WHERE c.id = ?{}", conditions.sql());
        let mut select = snapshot.prepare_cached(&sql).context(LISTING)?;
        call_list::for_each_later_candidate(snapshot, filter, request.order, after, &mut |id| {
            let values = std::iter::once(Value::from(id)).chain(conditions.values().iter().cloned());
            let mut rows = select.query(params_from_iter(values)).context(LISTING)?;
            match rows.next().context(LISTING)? {
                Some(row) => add(&mut calls, row),
                None => Ok(ControlFlow::Continue(())),
            }
        })?;
    }
    let page = Page::from_overfetch(calls, request.limit, |(_, length)| *length)?;
    let rows = page.rows.into_iter().map(|(call, _)| call).collect();
    Ok(Page { rows, has_more: page.has_more, total: page.total })
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
