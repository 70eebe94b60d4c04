//! How calls were talked, in figures: kept for calls that are over, made when it is asked for those that run.
//!
//! They are made in the transaction that ends a call or changes how its turns stand, never for a turn. A late turn leaves
//! them behind, which shows in their `turn_count`.

use super::error::Context as _;
use crate::store::Result;
use rusqlite::Transaction;

const DOING: &str = "making a call's figures";

/// Of one conversation, the columns of `call_figures` from `agent_turns` on.
macro_rules! talk {
    () => {
        "SELECT count(*) FILTER (WHERE speaker_type = 'agent') AS agent_turns, \
            count(*) FILTER (WHERE speaker_type = 'driver') AS driver_turns, \
            ifnull(sum(characters) FILTER (WHERE speaker_type = 'agent'), 0) AS agent_characters, \
            ifnull(sum(characters) FILTER (WHERE speaker_type = 'driver'), 0) AS driver_characters, \
            round(ifnull(sum(ifnull(min(characters / 15.0, gap), characters / 15.0)) \
                FILTER (WHERE speaker_type = 'agent'), 0.0), 3) AS agent_seconds, \
            round(ifnull(sum(ifnull(min(characters / 15.0, gap), characters / 15.0)) \
                FILTER (WHERE speaker_type = 'driver'), 0.0), 3) AS driver_seconds, \
            round(ifnull(sum(max(gap - characters / 15.0, 0.0)), 0.0), 3) AS silence_seconds \
         FROM (SELECT speaker_type, length(coalesce(final_text, message_text)) AS characters, \
                max((julianday(lead(timestamp) OVER said) - julianday(timestamp)) * 86400.0, 0.0) AS gap \
               FROM call_transcriptions WHERE conversation_id = ?1 AND superseded_by IS NULL \
               WINDOW said AS (ORDER BY ifnull(place, 0), timestamp, sequence_number))"
    };
}

/// Makes the figures of calls that are over, changed after a place among the changes, and have none that fit.
pub(super) fn renew(transaction: &Transaction<'_>, after: i64) -> Result<()> {
    let calls: Vec<String> = transaction
        .prepare_cached(
            "SELECT DISTINCT c.conversation_id FROM call_changes n JOIN calls c ON c.id = n.call_id \
             LEFT JOIN call_figures f ON f.call_id = c.id \
             WHERE n.id > ?1 AND c.status <> 'in_progress' AND f.turn_count IS NOT c.turn_count",
        )
        .and_then(|mut select| select.query_map([after], |row| row.get(0))?.collect())
        .doing(DOING)?;
    for conversation_id in calls {
        transaction
            .prepare_cached(concat!(
                "INSERT OR REPLACE INTO call_figures SELECT c.id, c.turn_count, t.* FROM calls c, (",
                talk!(),
                ") t WHERE c.conversation_id = ?1"
            ))
            .and_then(|mut insert| insert.execute([conversation_id]))
            .doing(DOING)?;
    }
    Ok(())
}

/// Has the figures of a call made again by [`renew`], since its turns stand otherwise.
pub(super) fn forget(transaction: &Transaction<'_>, call_id: i64) -> Result<()> {
    transaction
        .prepare_cached("DELETE FROM call_figures WHERE call_id = ?1")
        .and_then(|mut delete| delete.execute([call_id]))
        .map(drop)
        .doing(DOING)
}
