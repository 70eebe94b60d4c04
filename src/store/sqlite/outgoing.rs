//! Outgoing webhooks: the transactional outbox, and the deliveries to each endpoint.
//!
//! A transaction that changes calls also stores its notices (`outgoing_events`), so nothing is sent that was not
//! committed, and nothing that was committed is forgotten. Each endpoint has a position. A notice after the position
//! was never tried. A notice before it was delivered, unless it is listed in `outgoing_deliveries`. A notice is deleted
//! when all endpoints have it.
//!
//! Without endpoints no notice is stored, and a transaction costs one query more.

use super::error::Context as _;
use super::statement::Statements as _;
use crate::domain::{ConversationId, NoticeType, Timestamp};
use crate::store::{
    DeliveryOutcome, EndpointId, EndpointState, FailedDelivery, Notice, Outcome, OutgoingBatch, PendingNotice,
    PlannedNotice, Rejection, Result, Settlement, TryKey, Written,
};
use rusqlite::{Connection, Row, Transaction, params};
use std::collections::BTreeSet;

const CONTEXT: &str = "storing notices";
const READ: &str = "reading notices";
const SETTLE: &str = "storing outcomes of deliveries";

/// Maximum number of stored notices. Older ones are dropped, even if an endpoint has not received them.
const MAX_NOTICES: i64 = 1_000_000;

/// Maximum number of failed deliveries of an endpoint. Older ones are deleted.
const MAX_FAILED: i64 = 1000;

/// Maximum number of notices in one read.
const MAX_ROWS: i64 = 64;

/// Maximum number of rows of a kind that one transaction deletes when an endpoint is forgotten.
const MAX_SLICE_ROWS: usize = 500;

/// Position of an endpoint that is being forgotten: it holds no notice back.
const FORGOTTEN: i64 = i64::MAX;

/// Minimum time by which the clock must have been set back until tries that it planned before are made at once, in
/// seconds.
const CLOCK_TOLERANCE_SECONDS: i64 = 30;

/// Maximum number of rows that are counted.
const MAX_COUNTED: i64 = 100_000;

/// Maximum number of failed deliveries in the state of an endpoint.
const MAX_LISTED: i64 = 100;

const NOTICE: &str = "o.id, o.type, o.conversation_id, o.alert, o.at";

/// The deliveries, found by their call. Without this, SQLite reads all deliveries to the endpoint.
const BY_CALL: &str = "outgoing_deliveries INDEXED BY outgoing_deliveries_call";

/// The deliveries, found by their state. Without this, SQLite reads all deliveries to the endpoint.
const BY_STATE: &str = "outgoing_deliveries d INDEXED BY outgoing_deliveries_due";

/// The notices of one transaction.
pub(super) struct Outbox {
    /// The last change and the last notice before the transaction; `None` without endpoints.
    before: Option<(i64, i64)>,
    /// Calls into which the transaction merged a record.
    reconciled: Vec<ConversationId>,
}

impl Outbox {
    pub(super) fn begin(transaction: &Transaction<'_>) -> Result<Self> {
        let before = if transaction.has_row("SELECT 1 FROM outgoing_endpoints", []).context(CONTEXT)? {
            transaction
                .fetch_optional(
                    "SELECT ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'call_changes'), 0), \
                     ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'outgoing_events'), 0)",
                    [],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .context(CONTEXT)?
        } else {
            None
        };
        Ok(Self { before, reconciled: Vec::new() })
    }

    /// Notes that the transaction merged a record into a call.
    pub(super) fn note_reconciled(&mut self, id: &ConversationId) {
        if self.before.is_some() && !self.reconciled.contains(id) {
            self.reconciled.push(id.clone());
        }
    }

    /// Stores the notices of the transaction's changes, which must have been merged before.
    pub(super) fn store(&self, transaction: &Transaction<'_>, now: Timestamp) -> Result<()> {
        let Some((changes, notices)) = self.before else { return Ok(()) };
        // Notices that triggers stored.
        transaction
            .execute_cached("UPDATE outgoing_events SET at = ?2 WHERE id > ?1 AND at = ''", params![notices, now])
            .context(CONTEXT)?;
        let told: Vec<(NoticeType, ConversationId)> = transaction
            .fetch_all(
                "SELECT 'call.' || n.kind, c.conversation_id FROM call_changes n JOIN calls c ON \
                 c.id = n.call_id WHERE n.id > ?1 AND n.kind IN ('started', 'updated', 'ended') ORDER BY n.id",
                [changes],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .context(CONTEXT)?;
        let insert = |kind: NoticeType, id: &ConversationId| {
            transaction
                .execute_cached(
                    "INSERT INTO outgoing_events (type, conversation_id, at) VALUES (?1, ?2, ?3)",
                    params![kind, id, now],
                )
                .map(drop)
                .context(CONTEXT)
        };
        for (at, (kind, id)) in told.iter().enumerate() {
            let is_last = !told[at + 1..].iter().any(|(_, later)| later == id);
            let reconciled = is_last && self.reconciled.contains(id);
            if *kind != NoticeType::CallUpdated || !reconciled {
                insert(*kind, id)?;
            }
            if reconciled {
                insert(NoticeType::CallReconciled, id)?;
            }
        }
        limit(transaction)
    }
}

/// Drops the oldest notices beyond the maximum.
fn limit(transaction: &Transaction<'_>) -> Result<()> {
    let last: i64 = transaction
        .fetch_optional("SELECT seq FROM sqlite_sequence WHERE name = 'outgoing_events'", [], |row| row.get(0))
        .context(CONTEXT)?
        .unwrap_or(0);
    let floor = last - MAX_NOTICES;
    if floor <= 0 {
        return Ok(());
    }
    let blocking: Vec<(String, String)> = transaction
        .fetch_all(
            "SELECT endpoint, conversation_id FROM outgoing_deliveries WHERE event_id <= ?1 AND state = 'waiting'",
            [floor],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .context(CONTEXT)?;
    for sql in [
        "UPDATE outgoing_endpoints SET dropped = dropped + ?1 - position, position = ?1 WHERE position < ?1",
        "DELETE FROM outgoing_events WHERE id <= ?1",
    ] {
        transaction.execute_cached(sql, [floor]).context(CONTEXT)?;
    }
    for (endpoint, call) in blocking {
        unblock(transaction, &endpoint, &call)?;
    }
    Ok(())
}

/// Stores a notice that an alert matched, if there are endpoints.
pub(super) fn store_alert(
    transaction: &Transaction<'_>,
    id: &ConversationId,
    name: &str,
    now: Timestamp,
) -> Result<()> {
    transaction
        .execute_cached(
            "INSERT INTO outgoing_events (type, conversation_id, alert, at) SELECT ?4, ?1, ?2, ?3 \
             WHERE EXISTS (SELECT 1 FROM outgoing_endpoints)",
            params![id, name, now, NoticeType::AlertMatched],
        )
        .map(drop)
        .context(CONTEXT)
}

/// Makes these the endpoints. A new one begins after everything that is stored; one that is left out is forgotten, with
/// what waited for it. That may be a million notices, so one transaction deletes some hundred of them.
pub(super) fn set_endpoints(transaction: &Transaction<'_>, ids: &[EndpointId]) -> Result<Outcome> {
    let known: Vec<String> =
        transaction.fetch_all("SELECT id FROM outgoing_endpoints", [], |row| row.get(0)).context(SETTLE)?;
    for id in ids {
        transaction
            .execute_cached(
                "INSERT INTO outgoing_endpoints (id, position) \
                 SELECT ?1, ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'outgoing_events'), 0) WHERE true \
                 ON CONFLICT (id) DO UPDATE SET position = excluded.position WHERE position = ?2",
                params![id.as_str(), FORGOTTEN],
            )
            .context(SETTLE)?;
    }
    let gone: Vec<_> = known.iter().filter(|known| !ids.iter().any(|id| id.as_str() == **known)).collect();
    for id in &gone {
        transaction
            .execute_cached("UPDATE outgoing_endpoints SET position = ?2 WHERE id = ?1", params![id, FORGOTTEN])
            .context(SETTLE)?;
        let deleted = transaction
            .execute_cached(
                "DELETE FROM outgoing_deliveries WHERE endpoint = ?1 AND event_id IN \
                 (SELECT event_id FROM outgoing_deliveries WHERE endpoint = ?1 ORDER BY event_id LIMIT ?2)",
                params![id, MAX_SLICE_ROWS],
            )
            .context(SETTLE)?;
        if deleted == MAX_SLICE_ROWS {
            return Ok(Ok(Written::Begun));
        }
    }
    if delete_received(transaction, 0)? == MAX_SLICE_ROWS {
        return Ok(Ok(Written::Begun));
    }
    // Last, because a start finds by them that something is left to be deleted.
    for id in gone {
        transaction.execute_cached("DELETE FROM outgoing_endpoints WHERE id = ?1", [id]).context(SETTLE)?;
    }
    Ok(Ok(Written::Done))
}

/// Returns the position that all endpoints have reached.
fn common_position(transaction: &Transaction<'_>) -> Result<i64> {
    transaction
        .fetch_one("SELECT ifnull((SELECT min(position) FROM outgoing_endpoints), 9223372036854775807)", [], |row| {
            row.get(0)
        })
        .context(SETTLE)
}

/// Deletes notices after `after` that all endpoints have received, some hundred at most. Returns their number.
fn delete_received(transaction: &Transaction<'_>, after: i64) -> Result<usize> {
    transaction
        .execute_cached(
            "DELETE FROM outgoing_events WHERE id IN (SELECT id FROM outgoing_events o WHERE id > ?1 AND id <= ?2 \
             AND NOT EXISTS (SELECT 1 FROM outgoing_deliveries d WHERE d.event_id = o.id) ORDER BY id LIMIT ?3)",
            params![after, common_position(transaction)?, MAX_SLICE_ROWS],
        )
        .context(SETTLE)
}

/// Stores outcomes of deliveries. A notice that was deleted meanwhile, with its call, is skipped.
pub(super) fn settle(transaction: &Transaction<'_>, now: Timestamp, settlement: &Settlement) -> Result<Outcome> {
    let endpoint = settlement.endpoint.as_str();
    let before = common_position(transaction)?;
    for (id, outcome) in &settlement.outcomes {
        settle_one(transaction, now, endpoint, *id, *outcome)?;
    }
    if settlement.switch_off {
        transaction
            .execute_cached("UPDATE outgoing_endpoints SET switched_off_at = ?2 WHERE id = ?1", params![endpoint, now])
            .context(SETTLE)?;
    }
    if settlement.position > 0 {
        transaction
            .execute_cached(
                "UPDATE outgoing_endpoints SET position = ?2 WHERE id = ?1 AND position < ?2",
                params![endpoint, settlement.position],
            )
            .context(SETTLE)?;
        delete_received(transaction, before)?;
    }
    Ok(Ok(Written::Done))
}

fn settle_one(
    transaction: &Transaction<'_>,
    now: Timestamp,
    endpoint: &str,
    id: i64,
    outcome: DeliveryOutcome,
) -> Result<()> {
    let (mut state, mut next_try, status) = match outcome {
        DeliveryOutcome::Delivered => {
            let call = call_of(transaction, endpoint, id)?;
            transaction
                .execute_cached(
                    "DELETE FROM outgoing_deliveries WHERE endpoint = ?1 AND event_id = ?2",
                    params![endpoint, id],
                )
                .context(SETTLE)?;
            if let Some(call) = call {
                unblock(transaction, endpoint, &call)?;
            }
            return transaction
                .execute_cached(
                    "DELETE FROM outgoing_events WHERE id = ?1 AND id <= ?2 \
                     AND NOT EXISTS (SELECT 1 FROM outgoing_deliveries d WHERE d.event_id = ?1)",
                    params![id, common_position(transaction)?],
                )
                .map(drop)
                .context(SETTLE);
        }
        DeliveryOutcome::Blocked => {
            transaction
                .execute_cached(
                    "INSERT OR IGNORE INTO outgoing_deliveries (endpoint, event_id, conversation_id, state) \
                     SELECT ?1, id, conversation_id, 'blocked' FROM outgoing_events WHERE id = ?2 \
                     AND EXISTS (SELECT 1 FROM outgoing_endpoints WHERE id = ?1)",
                    params![endpoint, id],
                )
                .context(SETTLE)?;
            // What blocked it may have been delivered since it was read.
            return call_of(transaction, endpoint, id)?.map_or(Ok(()), |call| unblock(transaction, endpoint, &call));
        }
        DeliveryOutcome::Retry { at, status } => ("waiting", at.to_string(), status),
        DeliveryOutcome::Failed { status } => ("failed", String::new(), status),
    };
    // An earlier one may have become due again while this one was sent.
    if state == "waiting" && has_earlier(transaction, endpoint, id)? {
        (state, next_try) = ("blocked", String::new());
    }
    transaction
        .execute_cached(
            "INSERT INTO outgoing_deliveries \
                (endpoint, event_id, conversation_id, state, tries, next_try, last_try, last_status) \
             SELECT ?1, id, conversation_id, ?3, 1, ?4, ?5, ?6 FROM outgoing_events WHERE id = ?2 \
             AND EXISTS (SELECT 1 FROM outgoing_endpoints WHERE id = ?1) \
             ON CONFLICT (endpoint, event_id) DO UPDATE SET state = excluded.state, tries = tries + 1, \
                next_try = excluded.next_try, last_try = excluded.last_try, last_status = excluded.last_status",
            params![endpoint, id, state, next_try, now, status],
        )
        .context(SETTLE)?;
    if state == "failed" {
        if let Some(call) = call_of(transaction, endpoint, id)? {
            unblock(transaction, endpoint, &call)?;
        }
        prune_failed(transaction, endpoint)?;
    }
    Ok(())
}

/// Returns whether an earlier delivery of the same call is not settled.
fn has_earlier(transaction: &Transaction<'_>, endpoint: &str, id: i64) -> Result<bool> {
    transaction
        .has_row(
            &format!(
                "SELECT 1 FROM {BY_CALL} WHERE endpoint = ?1 AND event_id < ?2 AND state <> 'failed' \
                 AND conversation_id = (SELECT conversation_id FROM outgoing_events WHERE id = ?2)"
            ),
            params![endpoint, id],
        )
        .context(SETTLE)
}

fn call_of(transaction: &Transaction<'_>, endpoint: &str, id: i64) -> Result<Option<String>> {
    transaction
        .fetch_optional(
            "SELECT conversation_id FROM outgoing_deliveries WHERE endpoint = ?1 AND event_id = ?2",
            params![endpoint, id],
            |row| row.get(0),
        )
        .context(SETTLE)
}

/// Makes the next blocked delivery of a call due, unless an earlier one still waits.
fn unblock(transaction: &Transaction<'_>, endpoint: &str, call: &str) -> Result<()> {
    transaction
        .execute_cached(
            &format!(
                "UPDATE outgoing_deliveries SET state = 'waiting', next_try = '' WHERE endpoint = ?1 \
                 AND state = 'blocked' AND event_id = (SELECT min(event_id) FROM {BY_CALL} \
                    WHERE endpoint = ?1 AND conversation_id = ?2 AND state <> 'failed')"
            ),
            params![endpoint, call],
        )
        .map(drop)
        .context(SETTLE)
}

/// Deletes the oldest failed deliveries beyond the maximum.
fn prune_failed(transaction: &Transaction<'_>, endpoint: &str) -> Result<()> {
    let old: Vec<i64> = transaction
        .fetch_all(
            &format!(
                "SELECT event_id FROM {BY_STATE} WHERE endpoint = ?1 AND state = 'failed' \
                 ORDER BY event_id DESC LIMIT -1 OFFSET ?2"
            ),
            params![endpoint, MAX_FAILED],
            |row| row.get(0),
        )
        .context(SETTLE)?;
    for id in old {
        settle_one(transaction, Timestamp::now(), endpoint, id, DeliveryOutcome::Delivered)?;
    }
    Ok(())
}

/// Makes failed deliveries due again, those of these notices or all. Switches the endpoint on.
pub(super) fn retry(transaction: &Transaction<'_>, endpoint: &EndpointId, ids: &[i64]) -> Result<Outcome> {
    let endpoint = endpoint.as_str();
    let known = transaction
        .execute_cached("UPDATE outgoing_endpoints SET switched_off_at = NULL WHERE id = ?1", [endpoint])
        .context(SETTLE)?;
    if known == 0 {
        return Ok(Err(Rejection::NotFound));
    }
    let ids: Vec<i64> = if ids.is_empty() {
        transaction
            .fetch_all(
                "SELECT event_id FROM outgoing_deliveries WHERE endpoint = ?1 AND state = 'failed'",
                [endpoint],
                |row| row.get(0),
            )
            .context(SETTLE)?
    } else {
        ids.to_vec()
    };
    let mut calls = BTreeSet::new();
    for id in ids {
        transaction
            .execute_cached(
                "UPDATE outgoing_deliveries SET state = 'blocked', tries = 0 \
                 WHERE endpoint = ?1 AND event_id = ?2 AND state = 'failed'",
                params![endpoint, id],
            )
            .context(SETTLE)?;
        calls.extend(call_of(transaction, endpoint, id)?);
    }
    for call in calls {
        // The earliest one goes first, also before one that waits.
        transaction
            .execute_cached(
                &format!(
                    "UPDATE {BY_CALL} SET state = 'blocked', next_try = '' \
                     WHERE endpoint = ?1 AND conversation_id = ?2 AND state = 'waiting'"
                ),
                params![endpoint, call],
            )
            .context(SETTLE)?;
        unblock(transaction, endpoint, &call)?;
    }
    Ok(Ok(Written::Done))
}

fn notice(row: &Row<'_>) -> rusqlite::Result<Notice> {
    Ok(Notice {
        id: row.get("id")?,
        kind: row.get("type")?,
        conversation_id: row.get("conversation_id")?,
        alert: row.get("alert")?,
        at: row.get("at")?,
    })
}

/// Returns the notices that an endpoint is to receive next. With a key, also some that are planned for later, after it.
pub(super) fn next(
    connection: &mut Connection,
    endpoint: &EndpointId,
    now: Timestamp,
    planned_after: Option<TryKey>,
) -> Result<OutgoingBatch> {
    let endpoint = endpoint.as_str();
    let snapshot = connection.transaction().context(READ)?;
    let position: Option<i64> = snapshot
        .fetch_optional(
            "SELECT position FROM outgoing_endpoints WHERE id = ?1 AND switched_off_at IS NULL",
            [endpoint],
            |row| row.get(0),
        )
        .context(READ)?;
    let Some(position) = position else { return Ok(OutgoingBatch { is_off: true, ..OutgoingBatch::default() }) };
    let due = snapshot
        .fetch_all(
            &format!(
                "SELECT {NOTICE}, d.tries FROM outgoing_deliveries d JOIN outgoing_events o ON o.id = d.event_id \
                 WHERE d.endpoint = ?1 AND d.state = 'waiting' AND d.next_try <= ?2 ORDER BY d.next_try, d.event_id \
                 LIMIT ?3"
            ),
            params![endpoint, now, MAX_ROWS],
            |row| Ok(PendingNotice { notice: notice(row)?, tries: row.get("tries")?, is_blocked: false }),
        )
        .context(READ)?;
    let planned = planned_after.map_or(Ok(Vec::new()), |key| planned(&snapshot, endpoint, now, key))?;
    let fresh = snapshot
        .fetch_all(
            &format!(
                "SELECT {NOTICE}, EXISTS (SELECT 1 FROM {BY_CALL} WHERE endpoint = ?1 \
                    AND conversation_id = o.conversation_id AND state <> 'failed') AS is_blocked \
                 FROM outgoing_events o WHERE o.id > ?2 ORDER BY o.id LIMIT ?3"
            ),
            params![endpoint, position, MAX_ROWS],
            |row| Ok(PendingNotice { notice: notice(row)?, tries: 0, is_blocked: row.get("is_blocked")? }),
        )
        .context(READ)?;
    let (oldest, next_try) = times(&snapshot, endpoint, position, Some(now))?;
    let last_try: Option<String> = snapshot
        .fetch_one(
            "SELECT max(next_try) FROM outgoing_deliveries WHERE endpoint = ?1 AND state = 'waiting'",
            [endpoint],
            |row| row.get(0),
        )
        .context(READ)?;
    let last_try = last_try.and_then(|text| Timestamp::from_stored(&text).ok());
    let is_tried_by_other_clock = snapshot
        .has_row(
            &format!(
                "SELECT 1 FROM (SELECT * FROM (SELECT last_try FROM {BY_STATE} WHERE endpoint = ?1 \
                    AND state = 'waiting' AND next_try > ?2 ORDER BY next_try LIMIT 1) \
                 UNION ALL SELECT * FROM (SELECT last_try FROM {BY_STATE} WHERE endpoint = ?1 \
                    AND state = 'waiting' AND next_try > ?2 ORDER BY next_try DESC LIMIT 1)) WHERE last_try > ?3"
            ),
            params![endpoint, now, now.plus_seconds(CLOCK_TOLERANCE_SECONDS)],
        )
        .context(READ)?;
    Ok(OutgoingBatch { is_off: false, due, planned, fresh, next_try, last_try, is_tried_by_other_clock, oldest })
}

/// Returns some deliveries whose next try is planned for a later time than `now`, after this key. No row is changed to
/// try them early, because there may be hundreds of thousands.
fn planned(snapshot: &Transaction<'_>, endpoint: &str, now: Timestamp, after: TryKey) -> Result<Vec<PlannedNotice>> {
    let after = after.max(TryKey { next_try: now, notice: i64::MAX });
    let row = |row: &Row<'_>| {
        let notice = notice(row)?;
        let next_try: String = row.get("next_try")?;
        // A hand edit may have left anything else.
        let Ok(next_try) = Timestamp::from_stored(&next_try) else { return Ok(None) };
        Ok(Some(PlannedNotice {
            key: TryKey { next_try, notice: notice.id },
            last_try: row.get("last_try")?,
            pending: PendingNotice { notice, tries: row.get("tries")?, is_blocked: false },
        }))
    };
    let rows: Vec<Option<PlannedNotice>> = snapshot
        .fetch_all(
            &format!(
                "SELECT {NOTICE}, d.tries, d.next_try, d.last_try FROM {BY_STATE} \
                 JOIN outgoing_events o ON o.id = d.event_id \
                 WHERE d.endpoint = ?1 AND d.state = 'waiting' AND (d.next_try, d.event_id) > (?2, ?3) \
                 ORDER BY d.next_try, d.event_id LIMIT ?4"
            ),
            params![endpoint, after.next_try, after.notice, MAX_ROWS],
            row,
        )
        .context(READ)?;
    Ok(rows.into_iter().flatten().collect())
}

/// Returns the time of the oldest notice that an endpoint has not received, and the earliest next try after `after`.
fn times(
    snapshot: &Transaction<'_>,
    endpoint: &str,
    position: i64,
    after: Option<Timestamp>,
) -> Result<(Option<Timestamp>, Option<Timestamp>)> {
    let oldest = snapshot
        .fetch_one(
            "SELECT min(at) FROM (SELECT * FROM (SELECT at FROM outgoing_events WHERE id > ?2 ORDER BY id LIMIT 1) \
             UNION ALL SELECT * FROM (SELECT o.at FROM outgoing_deliveries d JOIN outgoing_events o ON \
             o.id = d.event_id WHERE d.endpoint = ?1 AND d.state <> 'failed' ORDER BY d.event_id LIMIT 1))",
            params![endpoint, position],
            |row| row.get(0),
        )
        .context(READ)?;
    let next_try: Option<String> = snapshot
        .fetch_one(
            "SELECT min(next_try) FROM outgoing_deliveries \
             WHERE endpoint = ?1 AND state = 'waiting' AND next_try > ifnull(?2, '')",
            params![endpoint, after],
            |row| row.get(0),
        )
        .context(READ)?;
    Ok((oldest, next_try.and_then(|text| Timestamp::from_stored(&text).ok())))
}

/// Returns the state of an endpoint, or `None` if it is unknown.
pub(super) fn state(connection: &mut Connection, endpoint: &EndpointId) -> Result<Option<EndpointState>> {
    let endpoint = endpoint.as_str();
    let snapshot = connection.transaction().context(READ)?;
    let found = snapshot
        .fetch_optional(
            "SELECT position, dropped, switched_off_at FROM outgoing_endpoints WHERE id = ?1",
            [endpoint],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .context(READ)?;
    let Some((position, dropped, switched_off_at)) = found else { return Ok(None) };
    let count = |sql: &str, second: &dyn rusqlite::ToSql| -> Result<u64> {
        snapshot.fetch_one(sql, params![endpoint, second, MAX_COUNTED], |row| row.get(0)).context(READ)
    };
    let unsent =
        count("SELECT count(*) FROM (SELECT 1 FROM outgoing_events WHERE id > ?2 AND ?1 <> '' LIMIT ?3)", &position)?;
    let in_states =
        "SELECT count(*) FROM (SELECT 1 FROM outgoing_deliveries WHERE endpoint = ?1 AND state = ?2 LIMIT ?3)";
    let waiting = count(in_states, &"waiting")? + count(in_states, &"blocked")?;
    let failed = count(in_states, &"failed")?;
    let failures = snapshot
        .fetch_all(
            &format!(
                "SELECT {NOTICE}, d.tries, d.last_try, d.last_status FROM {BY_STATE} \
                 JOIN outgoing_events o ON o.id = d.event_id WHERE d.endpoint = ?1 AND d.state = 'failed' \
                 ORDER BY d.event_id DESC LIMIT ?2"
            ),
            params![endpoint, MAX_LISTED],
            |row| {
                Ok(FailedDelivery {
                    notice: notice(row)?,
                    tries: row.get("tries")?,
                    last_try: row.get("last_try")?,
                    last_status: row.get("last_status")?,
                })
            },
        )
        .context(READ)?;
    let (oldest, next_try) = times(&snapshot, endpoint, position, None)?;
    Ok(Some(EndpointState { switched_off_at, unsent, waiting, failed, dropped, oldest, next_try, failures }))
}

/// Returns the ids of the stored endpoints, in order.
pub(super) fn endpoints(connection: &Connection) -> Result<Vec<EndpointId>> {
    connection
        .fetch_all("SELECT id FROM outgoing_endpoints ORDER BY id", [], |row| row.get(0).map(EndpointId::from_stored))
        .context(READ)
}
