//! Queries for expired calls, events and dispatches, and for the latest arrival.

use super::error::Context as _;
use super::statement::Statements as _;
use crate::domain::{ConversationId, DriverId, PhoneNumber, Timestamp};
use crate::store::{CallKey, ExpiredCall, ExpiredCallQuery, ExpiredEvent, Result, ScanPage};
use rusqlite::{Connection, params};

/// Time of the last activity of call `c`: its end, else its last turn, but never later than `updated_at`, and never
/// earlier than the arrival of a live turn. Senders' clocks are not trusted, because language models invent dates: a
/// live turn dated 2020 does not expire today. Calls that are fetched later keep their own dates.
pub(super) const LAST_ACTIVITY: &str = "max( \
    min(coalesce(c.call_end_time, c.last_turn_time, c.call_start_time), c.updated_at), ifnull( \
    (SELECT t.created_at FROM call_transcriptions t WHERE t.conversation_id = c.conversation_id \
     AND (c.status = 'in_progress' OR t.source IN ('live', 'history')) ORDER BY t.sequence_number DESC LIMIT 1), \
    iif(c.status = 'in_progress', c.created_at, '')))";

pub(super) fn expired_calls(connection: &Connection, query: &ExpiredCallQuery) -> Result<Vec<ExpiredCall>> {
    let (after_start, after_id) = query.after.map_or((String::new(), 0), |key| (key.start.to_string(), key.id));
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    connection
        .fetch_all(
            &format!(
                "SELECT call_start_time, id, conversation_id, turn_count FROM calls c \
             WHERE (call_start_time, id) > (?1, ?2) AND call_start_time < ?3 AND {LAST_ACTIVITY} < ?4 \
             ORDER BY call_start_time, id LIMIT ?5"
            ),
            params![
                after_start,
                after_id,
                query.started_before.map_or_else(|| "A".to_owned(), |time| time.to_string()),
                query.before,
                limit
            ],
            |row| {
                let key = CallKey { start: row.get(0)?, id: row.get(1)? };
                Ok(ExpiredCall { key, conversation_id: row.get(2)?, turns: row.get(3)? })
            },
        )
        .context("listing expired calls")
}

/// Scans up to `limit` events with ids above `after` and returns those that arrived before `before` and belong to no
/// call.
pub(super) fn expired_events(
    connection: &Connection,
    before: Timestamp,
    after: i64,
    limit: usize,
) -> Result<ScanPage<ExpiredEvent>> {
    let read: Vec<(ExpiredEvent, Timestamp, bool)> = connection
        .fetch_all(
            "SELECT id, octet_length(body) + ifnull(octet_length(record), 0), received_at, \
             NOT EXISTS (SELECT 1 FROM calls c WHERE c.conversation_id = e.conversation_id) \
             FROM webhook_events e WHERE id > ?1 ORDER BY id LIMIT ?2",
            params![after, i64::try_from(limit).unwrap_or(i64::MAX)],
            |row| Ok((ExpiredEvent { id: row.get(0)?, bytes: row.get(1)? }, row.get(2)?, row.get(3)?)),
        )
        .context("listing expired events")?;
    let next = read.last().filter(|_| read.len() == limit).filter(|(_, at, _)| *at < before).map(|(old, ..)| old.id);
    let old = read.into_iter().filter(|(_, at, orphaned)| *at < before && *orphaned).map(|(old, ..)| old);
    Ok(ScanPage { rows: old.collect(), next })
}

/// Returns up to `limit` dispatches from before `before` that never became a call, ordered by conversation id after
/// `after`.
pub(super) fn expired_dispatches(
    connection: &Connection,
    before: Timestamp,
    after: Option<&ConversationId>,
    limit: usize,
) -> Result<Vec<ConversationId>> {
    connection
        .fetch_all(
            "SELECT conversation_id FROM call_dispatches d WHERE conversation_id > ?1 AND dispatched_at < ?2 \
             AND NOT EXISTS (SELECT 1 FROM calls c WHERE c.conversation_id = d.conversation_id) \
             ORDER BY conversation_id LIMIT ?3",
            params![after.map_or("", ConversationId::as_str), before, i64::try_from(limit).unwrap_or(i64::MAX)],
            |row| row.get(0),
        )
        .context("listing expired dispatches")
}

/// Returns up to `limit` dispatches of a driver, and dispatches to this number that no longer name a driver.
pub(super) fn dispatches_of(
    connection: &Connection,
    id: DriverId,
    number: Option<&PhoneNumber>,
    limit: usize,
) -> Result<Vec<ConversationId>> {
    connection
        .fetch_all(
            "SELECT conversation_id FROM call_dispatches WHERE driver_id = ?1 OR (driver_id IS NULL \
             AND phone_number = ?2) ORDER BY rowid LIMIT ?3",
            params![id, number, i64::try_from(limit).unwrap_or(i64::MAX)],
            |row| row.get(0),
        )
        .context("listing a driver's dispatches")
}

/// Returns the latest arrival among the last turns and events whose sender's clock agrees with it within a day.
pub(super) fn newest_arrival(connection: &Connection) -> Result<Option<Timestamp>> {
    newest_arrival_among(connection, 10_000, 1000)
}

/// Returns the latest arrival among these numbers of turns and events whose sender's clock agrees with it within a day.
fn newest_arrival_among(connection: &Connection, turns: i64, events: i64) -> Result<Option<Timestamp>> {
    connection
        .fetch_one(
            "SELECT max(arrived) FROM ( \
                SELECT * FROM (SELECT created_at AS arrived, timestamp AS sent FROM call_transcriptions \
                    ORDER BY id DESC LIMIT ?1) \
                UNION ALL \
                SELECT * FROM (SELECT received_at, event_time FROM webhook_events ORDER BY id DESC LIMIT ?2)) \
             WHERE abs(julianday(arrived) - julianday(sent)) <= 1",
            [turns, events],
            |row| row.get(0),
        )
        .context("reading the latest arrival")
}

/// Maximum age of the latest arrival that confirms a clock, in microseconds: a day, as for retention.
const MAX_ARRIVAL_AGE_MICROS: i64 = 24 * 3_600_000_000;

/// Returns whether something arrived within a day before `now` whose sender's clock agrees. Reads few rows, so that a
/// write may ask.
pub(super) fn is_clock_confirmed(connection: &Connection, now: Timestamp) -> Result<bool> {
    let newest = newest_arrival_among(connection, 100, 10)?;
    Ok(newest.is_some_and(|newest| now.unix_micros() - newest.unix_micros() <= MAX_ARRIVAL_AGE_MICROS))
}
