//! Calls: reading, listing, changing by hand, ending stale ones.

use super::call_filter::Conditions;
use super::erase;
use super::error::Context as _;
use super::row::{self, CALL, CALLS};
use super::statement::Statements as _;
use crate::domain::{Call, CallChange, CallEnd, ConversationId, Timestamp};
use crate::store::{CallPageRequest, Outcome, Page, Rejection, Result, SortOrder, Written, json_length};
use rusqlite::{Connection, Transaction, params, params_from_iter};

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
                 ORDER BY c.call_start_time, c.id LIMIT ?2"
            ),
            params![id, i64::try_from(limit).unwrap_or(i64::MAX)],
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
    const CONTEXT: &str = "listing calls";
    let snapshot = connection.transaction().context(CONTEXT)?;
    let mut conditions = Conditions::of_calls(&request.filter);
    let total = if request.with_total {
        let sql = format!("SELECT count(*) FROM calls c {}", conditions.clause());
        let count = snapshot
            .fetch_one(&sql, params_from_iter(conditions.values()), |row| row.get(0))
            .context("counting calls")?;
        Some(count)
    } else {
        None
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
    let sql = format!(
        "SELECT {CALL} FROM {CALLS} {} ORDER BY c.call_start_time {direction}, c.id {direction} LIMIT {limit}",
        conditions.clause()
    );
    let page = snapshot
        .prepare_cached(&sql)
        .and_then(|mut select| {
            Page::from_overfetch(
                select.query_map(params_from_iter(conditions.values()), row::call)?,
                request.limit,
                text_of,
            )
        })
        .context(CONTEXT)?;
    Ok(Page { total, ..page })
}

/// Returns the size of a call's potentially long texts, in bytes of JSON.
fn text_of(call: &Call) -> usize {
    let report = &call.report;
    let last = call.last_message.as_ref();
    let last = last.map_or(0, |last| {
        json_length(last.message.as_str()) + last.final_text.as_ref().map_or(0, |text| json_length(text.as_str()))
    });
    let facts: usize = [&report.analysis, &report.summary, &report.title, &report.termination_reason, &report.user_id]
        .into_iter()
        .flatten()
        .map(|text| json_length(text))
        .sum();
    facts + last
}
