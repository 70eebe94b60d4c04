//! Alerts: compares new turns with searches, and notes which calls matched.
//!
//! The turns are indexed in memory as a search does, so an alert matches what a search with the same text finds.

use super::error::Context as _;
use super::outgoing;
use super::search::{MemoryIndex, fts_query};
use super::statement::Statements as _;
use crate::domain::{ConversationId, Timestamp};
use crate::store::{Alert, AlertMatch, AlertScan, Outcome, Result, Written};
use rusqlite::{Connection, Transaction, params};
use std::collections::{HashMap, HashSet};

const CONTEXT: &str = "comparing turns with alerts";
const NOTING: &str = "noting alerts";

/// Maximum number of turns in one scan.
const MAX_TURNS: i64 = 512;

/// Length of the texts at which a scan ends, in bytes.
const MAX_TEXT_BYTES: usize = 1024 * 1024;

/// Returns the id of the last turn that was compared, or `None` if alerts were not configured.
pub(super) fn position(connection: &Connection) -> Result<Option<i64>> {
    connection.fetch_optional("SELECT turn_id FROM alert_progress", [], |row| row.get(0)).context(CONTEXT)
}

/// Compares some of the turns after a turn with alerts.
pub(super) fn scan(connection: &Connection, alerts: &[Alert], after: i64) -> Result<AlertScan> {
    let mut scan = AlertScan { until: after, ..AlertScan::default() };
    let mut select = connection
        .prepare_cached(
            "SELECT id, conversation_id, final_text, message_text FROM call_transcriptions WHERE id > ?1 \
             ORDER BY id LIMIT ?2",
        )
        .context(CONTEXT)?;
    let mut rows = select.query(params![after, MAX_TURNS]).context(CONTEXT)?;
    let mut turns: Vec<(i64, Option<String>, String)> = Vec::new();
    let mut calls: HashMap<i64, ConversationId> = HashMap::new();
    let mut bytes = 0;
    while let Some(row) = rows.next().context(CONTEXT)? {
        let turn: (i64, Option<String>, String) =
            (row.get(0).context(CONTEXT)?, row.get(2).context(CONTEXT)?, row.get(3).context(CONTEXT)?);
        bytes += turn.2.len() + turn.1.as_ref().map_or(0, String::len);
        calls.insert(turn.0, row.get(1).context(CONTEXT)?);
        scan.until = turn.0;
        turns.push(turn);
        scan.has_more = i64::try_from(turns.len()) == Ok(MAX_TURNS) || bytes > MAX_TEXT_BYTES;
        if scan.has_more {
            break;
        }
    }
    drop(rows);
    if turns.is_empty() {
        return Ok(scan);
    }
    let index = MemoryIndex::new(turns.iter().map(|(id, last, heard)| (*id, last.as_deref(), heard.as_str())))?;
    let mut found: HashSet<(&ConversationId, &str)> = HashSet::new();
    let mut matches: Vec<(i64, AlertMatch)> = Vec::new();
    for alert in alerts {
        // Newest first.
        for id in index.matching(&fts_query::render_literal(&alert.wanted))?.into_iter().rev() {
            let Some(call) = calls.get(&id) else { continue };
            if !found.insert((call, &alert.name)) {
                continue;
            }
            let is_noted = connection
                .has_row(
                    "SELECT 1 FROM call_alerts WHERE conversation_id = ?1 AND name = ?2",
                    params![call, alert.name],
                )
                .context(CONTEXT)?;
            if !is_noted {
                let (conversation_id, name) = (call.clone(), alert.name.clone());
                matches.push((id, AlertMatch { conversation_id, transcription_id: id, name }));
            }
        }
    }
    matches.sort_by_key(|(id, _)| *id);
    scan.matches = matches.into_iter().map(|(_, found)| found).collect();
    Ok(scan)
}

/// Notes matches, each alert once a call, and the last turn that was compared; `None` if alerts are not configured.
pub(super) fn note(
    transaction: &Transaction<'_>,
    now: Timestamp,
    matches: &[AlertMatch],
    until: Option<i64>,
) -> Result<Outcome> {
    for AlertMatch { conversation_id, transcription_id, name } in matches {
        let new = transaction
            .execute_cached(
                "INSERT OR IGNORE INTO call_alerts (conversation_id, name, transcription_id, at) \
                 SELECT conversation_id, ?2, id, ?4 FROM call_transcriptions WHERE id = ?3 AND conversation_id = ?1",
                params![conversation_id, name, transcription_id, now],
            )
            .context(NOTING)?;
        if new == 0 {
            continue;
        }
        transaction
            .execute_cached(
                "INSERT INTO call_changes (call_id, kind, turn_id) \
                 SELECT id, 'alert', ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'call_transcriptions'), 0) \
                 FROM calls WHERE conversation_id = ?1",
                [conversation_id],
            )
            .context(NOTING)?;
        outgoing::store_alert(transaction, conversation_id, name, now)?;
    }
    let sql = if until.is_some() {
        "INSERT OR REPLACE INTO alert_progress (id, turn_id) VALUES (1, ?1)"
    } else {
        "DELETE FROM alert_progress WHERE ?1 IS NULL"
    };
    transaction.execute_cached(sql, [until]).context(NOTING)?;
    Ok(Ok(Written::Done))
}
