//! Statistics of calls, such as how long each side talked. They are stored for calls that ended and computed on request
//! for running calls.
//!
//! They are computed in the transaction that ends a call or changes the order of its turns, and never for a turn, so a
//! turn never waits for them. A late turn makes the stored ones outdated, which shows in their `turn_count`. Statistics
//! over many calls then read one short row per call instead of its turns.

use super::call_filter::Conditions;
use super::call_results::{self, text};
use super::error::Context as _;
use super::statement::Statements as _;
use crate::domain::{AnsweredBy, CallOutcome, CallStats, Channel, Direction, ReconcileCounts, SpeakerStats, TalkTime};
use crate::store::{CallFilter, Result};
use rusqlite::types::{FromSqlError, ValueRef};
use rusqlite::{Connection, Row, Transaction, params_from_iter};

const CONTEXT: &str = "computing a call's statistics";

/// Maximum number of turns of a call with stored statistics. Computing those of a longer call would delay the writer.
const MAX_TURNS: i64 = 10_000;

/// Selects the columns of `call_figures` from `agent_turns` on for one conversation, from the times that
/// [`crate::domain::Call`] shows. Only words count. Those of a machine that answered count as nobody's, but are no
/// silence. Nor is a pause of more than five minutes ([`TalkTime::silence_seconds`]).
macro_rules! talk {
    () => {
        "SELECT count(*) FILTER (WHERE speaker = 'agent') AS agent_turns, \
            count(*) FILTER (WHERE speaker = 'driver') AS driver_turns, \
            ifnull(sum(characters) FILTER (WHERE speaker = 'agent'), 0) AS agent_characters, \
            ifnull(sum(characters) FILTER (WHERE speaker = 'driver'), 0) AS driver_characters, \
            round(ifnull(sum(ifnull(min(characters / 15.0, gap), characters / 15.0)) \
                FILTER (WHERE speaker = 'agent'), 0.0), 3) AS agent_seconds, \
            round(ifnull(sum(ifnull(min(characters / 15.0, gap), characters / 15.0)) \
                FILTER (WHERE speaker = 'driver'), 0.0), 3) AS driver_seconds, \
            round(ifnull(sum(iif(gap - characters / 15.0 > 300.0, 0.0, max(gap - characters / 15.0, 0.0))), 0.0), 3) \
                AS silence_seconds \
         FROM (SELECT speaker, characters, \
                max((julianday(lead(said_at) OVER said) - julianday(said_at)) * 86400.0, 0.0) AS gap \
               FROM (SELECT iif(t.speaker_type = 'driver' AND c.answered_by IN ('voicemail', 'fax'), 'machine', \
                       t.speaker_type) AS speaker, length(coalesce(t.final_text, t.message_text)) AS characters, \
                       t.place, t.timestamp, t.sequence_number, \
                       iif(c.record_event_id IS NULL AND julianday(c.last_turn_time) - \
                       julianday(c.first_turn_time) > 1, t.created_at, \
                         min(max(coalesce(t.record_time, t.timestamp), c.call_start_time), \
                           iif(c.status = 'in_progress', '~', ifnull(c.call_end_time, '~')))) AS said_at \
                     FROM calls c JOIN call_transcriptions t ON t.conversation_id = c.conversation_id \
                     WHERE c.conversation_id = ?1 AND t.superseded_by IS NULL AND t.kind IN ('speech', 'text')) \
               WINDOW said AS (ORDER BY ifnull(place, 9223372036854775807), timestamp, sequence_number))"
    };
}

/// Computes the missing or outdated statistics of ended calls that changed after this change id.
pub(super) fn refresh(transaction: &Transaction<'_>, after: i64) -> Result<()> {
    let calls: Vec<String> = transaction
        .fetch_all(
            "SELECT DISTINCT c.conversation_id FROM call_changes n JOIN calls c ON c.id = n.call_id \
             LEFT JOIN call_figures f ON f.call_id = c.id \
             WHERE n.id > ?1 AND c.status <> 'in_progress' AND f.turn_count IS NOT c.turn_count AND c.turn_count <= ?2",
            [after, MAX_TURNS],
            |row| row.get(0),
        )
        .context(CONTEXT)?;
    for conversation_id in calls {
        transaction
            .execute_cached(
                concat!(
                    "INSERT OR REPLACE INTO call_figures SELECT c.id, c.turn_count, t.* FROM calls c, (",
                    talk!(),
                    ") t WHERE c.conversation_id = ?1"
                ),
                [&conversation_id],
            )
            .context(CONTEXT)?;
        call_results::refresh_metrics(transaction, &conversation_id)?;
    }
    Ok(())
}

/// Deletes the statistics of a call whose turns were reordered, so that [`refresh`] computes them again.
pub(super) fn invalidate(transaction: &Transaction<'_>, call_id: i64) -> Result<()> {
    call_results::invalidate_metrics(transaction, call_id)?;
    transaction.execute_cached("DELETE FROM call_figures WHERE call_id = ?1", [call_id]).map(drop).context(CONTEXT)
}

/// Passes the statistics of each selected call to `each`. Computes those that are not stored.
pub(super) fn for_each_call(
    connection: &mut Connection,
    filter: &CallFilter,
    each: &mut dyn FnMut(&CallStats<'_>),
) -> Result<()> {
    const CONTEXT: &str = "reading call statistics";
    const COLUMNS: &str = "SELECT unixepoch(c.call_start_time), c.status, c.driver_id, \
            ifnull(c.duration_seconds, CAST(round(unixepoch(substr(c.call_end_time, 1, 19)) \
                - unixepoch(substr(c.call_start_time, 1, 19)) \
                + (CAST(substr(c.call_end_time, 21, 6) AS INTEGER) - CAST(substr(c.call_start_time, 21, \
                6) AS INTEGER)) / 1e6) AS INTEGER)), \
            c.turn_count, c.id, f.agent_turns, f.driver_turns, f.agent_characters, f.driver_characters, \
            f.agent_seconds, f.driver_seconds, f.silence_seconds, \
            c.live_only, c.matched, c.added, c.corrected, c.repeated, \
            c.answered_by, c.outcome, c.channel, c.direction, c.agent_id, c.termination_reason = 'inactivity'";
    const FIGURES: &str = "LEFT JOIN call_figures f ON f.call_id = c.id AND f.turn_count = c.turn_count";
    let snapshot = connection.transaction().context(CONTEXT)?;
    let wanted = Conditions::of_calls(filter);
    let conditions = wanted.sql();
    // The index covers all columns of a call that are read. The calls of one driver are found by another index.
    let index = if filter.is_selective() { "" } else { "INDEXED BY calls_over" };
    let over = format!("{COLUMNS} FROM calls c {index} {FIGURES} WHERE c.status <> 'in_progress'{conditions}");
    let running = format!("{COLUMNS} FROM calls c {FIGURES} WHERE c.status = 'in_progress'{conditions}");
    let mut make = snapshot.prepare_cached(talk!()).context(CONTEXT)?;
    let mut name = snapshot.prepare_cached("SELECT conversation_id FROM calls WHERE id = ?1").context(CONTEXT)?;
    for sql in [over, running] {
        let mut select = snapshot.prepare_cached(&sql).context(CONTEXT)?;
        let mut rows = select.query(params_from_iter(wanted.values())).context(CONTEXT)?;
        while let Some(row) = rows.next().context(CONTEXT)? {
            let mut figures = call_stats(row).context(CONTEXT)?;
            if row.get_ref(6).context(CONTEXT)? == ValueRef::Null && row.get::<_, i64>(4).context(CONTEXT)? > 0 {
                let id: i64 = row.get(5).context(CONTEXT)?;
                let conversation_id: String = name.query_row([id], |row| row.get(0)).context(CONTEXT)?;
                figures.talk = make.query_row([conversation_id], |row| talk(row, 0)).context(CONTEXT)?;
            }
            each(&figures);
        }
    }
    Ok(())
}

fn call_stats<'a>(row: &'a Row<'_>) -> rusqlite::Result<CallStats<'a>> {
    let kept = row.get_ref(6)? != ValueRef::Null;
    let recorded = row.get_ref(14)? != ValueRef::Null;
    let counts = || {
        Ok::<_, rusqlite::Error>(ReconcileCounts {
            live_only: row.get(13)?,
            matched: row.get(14)?,
            added: row.get(15)?,
            corrected: row.get(16)?,
            repeated: row.get(17)?,
        })
    };
    Ok(CallStats {
        start_unix_seconds: row.get(0)?,
        status: row.get(1)?,
        driver_id: row.get(2)?,
        duration_seconds: row.get(3)?,
        talk: if kept { talk(row, 6)? } else { TalkTime::default() },
        reconciled: if recorded { Some(counts()?) } else { None },
        answered_by: known(row, 18, AnsweredBy::from_stored)?,
        outcome: known(row, 19, CallOutcome::from_stored)?,
        channel: known(row, 20, Channel::from_stored)?,
        direction: known(row, 21, Direction::from_stored)?,
        agent_id: text(row, 22)?,
        given_up: row.get::<_, Option<bool>>(23)?.unwrap_or(false),
    })
}

/// Reads an enumeration, which is NULL if it is not known.
fn known<T>(row: &Row<'_>, column: usize, parse: fn(&str) -> Option<T>) -> rusqlite::Result<Option<T>> {
    text(row, column)?.map(|text| parse(text).ok_or(FromSqlError::InvalidType.into())).transpose()
}

/// Reads the columns of [`talk!`], starting at `from`.
fn talk(row: &Row<'_>, from: usize) -> rusqlite::Result<TalkTime> {
    Ok(TalkTime {
        agent: SpeakerStats { turns: row.get(from)?, characters: row.get(from + 2)?, seconds: row.get(from + 4)? },
        driver: SpeakerStats { turns: row.get(from + 1)?, characters: row.get(from + 3)?, seconds: row.get(from + 5)? },
        silence_seconds: row.get(from + 6)?,
    })
}
