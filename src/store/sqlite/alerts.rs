//! Alerts: compares new turns with searches, and notes which calls matched.
//!
//! Turns that may match are indexed in memory as for a search, so an alert matches what a search with the same text
//! finds. Most turns have no word of any alert, and are not indexed.

use super::error::Context as _;
use super::outgoing;
use super::search::{MemoryIndex, fts_query};
use super::statement::Statements as _;
use crate::domain::{ConversationId, Timestamp};
use crate::store::{AlertMatch, AlertScan, AlertSet, Outcome, Result, Written};
use rusqlite::{Connection, Transaction, params};
use std::collections::{HashMap, HashSet};

const CONTEXT: &str = "comparing turns with alerts";
const NOTING: &str = "noting alerts";

/// Maximum number of turns in one scan.
const MAX_TURNS: i64 = 8192;

/// Length of the texts at which a scan ends, in bytes.
const MAX_TEXT_BYTES: usize = 1024 * 1024;

/// Returns the id of the last turn that was compared, or `None` if alerts were not configured.
pub(super) fn position(connection: &Connection) -> Result<Option<i64>> {
    connection.fetch_optional("SELECT turn_id FROM alert_progress", [], |row| row.get(0)).context(CONTEXT)
}

/// Compares some of the turns after a turn with alerts.
pub(super) fn scan(connection: &Connection, alerts: &AlertSet, after: i64) -> Result<AlertScan> {
    let mut scan = AlertScan { until: after, ..AlertScan::default() };
    let mut select = connection
        .prepare_cached(
            "SELECT id, conversation_id, final_text, message_text FROM call_transcriptions WHERE id > ?1 \
             ORDER BY id LIMIT ?2",
        )
        .context(CONTEXT)?;
    let mut rows = select.query(params![after, MAX_TURNS]).context(CONTEXT)?;
    let mut candidates = alerts.no_candidates();
    let mut turns: Vec<(i64, Option<String>, String)> = Vec::new();
    let mut calls: HashMap<i64, ConversationId> = HashMap::new();
    let (mut compared, mut bytes) = (0, 0);
    while let Some(row) = rows.next().context(CONTEXT)? {
        scan.until = row.get(0).context(CONTEXT)?;
        let text = |column| row.get_ref(column)?.as_str_or_null().map_err(rusqlite::Error::from);
        let final_text = text(2).context(CONTEXT)?;
        let message_text = text(3).context(CONTEXT)?.unwrap_or_default();
        let mut may_match = alerts.add_candidates(message_text, &mut candidates);
        if let Some(text) = final_text {
            may_match |= alerts.add_candidates(text, &mut candidates);
        }
        if may_match {
            calls.insert(scan.until, row.get(1).context(CONTEXT)?);
            turns.push((scan.until, final_text.map(str::to_owned), message_text.to_owned()));
        }
        compared += 1;
        bytes += message_text.len() + final_text.map_or(0, str::len);
        scan.has_more = compared == MAX_TURNS || bytes > MAX_TEXT_BYTES;
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
    for alert in alerts.of(&candidates) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SearchExpr;
    use crate::store::Alert;
    use proptest::prelude::*;

    const WORDS: [&str; 16] = [
        "fire",
        "Fire",
        "firewood",
        "señal",
        "senal",
        "straße",
        "strasse",
        "пожар",
        "load-4711",
        "4711",
        "É",
        "e",
        "🔥",
        "—",
        "fire-🔥",
        "…",
    ];

    fn word() -> impl Strategy<Value = String> + Clone {
        prop::sample::select(&WORDS[..]).prop_map(str::to_owned)
    }

    fn query() -> impl Strategy<Value = String> {
        let unit = (prop::collection::vec(word(), 1..3), any::<bool>())
            .prop_map(|(words, prefix)| format!("\"{}\"{}", words.join(" "), if prefix { "*" } else { "" }));
        let joined = prop::sample::select(vec![" AND ", " OR ", " NOT "]);
        (unit.clone(), joined.clone(), unit.clone(), joined, unit)
            .prop_map(|(a, by, b, then, c)| format!("({a}{by}{b}){then}{c}"))
    }

    proptest! {
        #[test]
        fn a_text_that_matches_is_always_a_candidate(
            query in query(), texts in prop::collection::vec(prop::collection::vec(word(), 0..5), 1..4)
        ) {
            // A quotation without a word is refused.
            let Ok(wanted) = SearchExpr::parse(&query) else { return Ok(()) };
            let expression = fts_query::render_literal(&wanted);
            let alerts = AlertSet::new(vec![Alert { name: query, wanted }]);
            for text in texts {
                let text = text.join(" ");
                let index = MemoryIndex::new([(1, None, text.as_str())]).unwrap();
                if !index.matching(&expression).unwrap().is_empty() {
                    prop_assert!(alerts.add_candidates(&text, &mut alerts.no_candidates()), "{}", text);
                }
            }
        }
    }
}
