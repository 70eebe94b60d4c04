//! Where in the index to look for turns of some days: of each block of neighbours it is kept between which times they
//! were said, and between which their calls began. Turns are stored about in the order in which they are said, so most
//! blocks hold none that is wanted, and are passed over.
//!
//! A span may be too wide, since it only grows with what its turns and calls are changed to, but never too narrow.

use super::super::error::Context as _;
use super::reach::DOING;
use super::state::State;
use crate::store::{Result, SearchQuery};
use rusqlite::{Connection, Transaction, params};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// A turn's block is its row number without these bits.
const BITS: u32 = 10;

/// So many blocks that are not wanted are looked through between two that are: to pass over them takes a query.
const BRIDGED: i64 = 8;

/// Greatest number of changes that a search looks through, at some microseconds each.
pub(super) const MAX_CHANGES: u64 = 5000;

const NOTING: &str = "noting when turns were said";

/// Widens the spans of the turns with `after < id <= to`.
pub(super) fn note(transaction: &Transaction<'_>, after: i64, to: i64) -> Result<()> {
    transaction
        .prepare_cached(&format!(
            "INSERT INTO turn_search_spans (block, said_from, said_to, started_from, started_to) \
             SELECT t.id >> {BITS}, min(t.timestamp), max(t.timestamp), min(c.call_start_time), max(c.call_start_time) \
             FROM call_transcriptions t CROSS JOIN calls c ON c.conversation_id = t.conversation_id \
             WHERE t.id > ?1 AND t.id <= ?2 GROUP BY t.id >> {BITS} \
             ON CONFLICT (block) DO UPDATE SET \
                said_from = min(said_from, excluded.said_from), said_to = max(said_to, excluded.said_to), \
                started_from = min(started_from, excluded.started_from), started_to = max(started_to, excluded.started_to)"
        ))
        .and_then(|mut insert| insert.execute([after, to]))
        .map(drop)
        .doing(NOTING)
}

/// Widens the spans of a call's turns to when the call began.
pub(super) fn note_call(transaction: &Transaction<'_>, call_id: i64) -> Result<()> {
    transaction
        .prepare_cached(&format!(
            "UPDATE turn_search_spans SET started_from = min(started_from, c.call_start_time), \
                started_to = max(started_to, c.call_start_time) \
             FROM (SELECT conversation_id, call_start_time FROM calls WHERE id = ?1) c \
             WHERE block IN (SELECT id >> {BITS} FROM call_transcriptions t WHERE t.conversation_id = c.conversation_id)"
        ))
        .and_then(|mut update| update.execute([call_id]))
        .map(drop)
        .doing(NOTING)
}

/// Deletes the spans of blocks in which no turn is left, of those of turns that were deleted.
pub(super) fn forget(transaction: &Transaction<'_>, deleted: &BTreeSet<i64>) -> Result<()> {
    let blocks: BTreeSet<i64> = deleted.iter().map(|turn| turn >> BITS).collect();
    for block in blocks {
        transaction
            .prepare_cached(
                "DELETE FROM turn_search_spans WHERE block = ?1 \
                 AND NOT EXISTS (SELECT 1 FROM call_transcriptions WHERE id BETWEEN ?2 AND ?3)",
            )
            .and_then(|mut delete| delete.execute([block, block << BITS, ((block + 1) << BITS) - 1]))
            .doing(NOTING)?;
    }
    Ok(())
}

/// The parts of the index that may hold what is wanted, the last first.
pub(super) fn ranges(connection: &Connection, query: &SearchQuery, state: State) -> Result<Vec<RangeInclusive<i64>>> {
    let SearchQuery { said_after, said_before, started_after, started_before, .. } = query;
    let any_time = [said_after, said_before, started_after, started_before].iter().all(|time| time.is_none());
    if any_time || state.changes(connection)? > MAX_CHANGES {
        return Ok(vec![0..=state.to]);
    }
    // Texts before and after all times.
    let from = |time: &Option<_>| time.map_or(String::new(), |time: crate::domain::Timestamp| time.to_string());
    let to = |time: &Option<_>| time.map_or("~".to_owned(), |time: crate::domain::Timestamp| time.to_string());
    let mut ranges: Vec<RangeInclusive<i64>> = Vec::new();
    let mut add = |first: i64, last: i64| match ranges.last_mut() {
        Some(range) if range.start() - last <= BRIDGED << BITS => *range = first..=*range.end(),
        _ => ranges.push(first..=last),
    };
    // What the index does not know yet: calls that began at another time. The changed turns themselves are looked at anyway.
    let mut select = connection
        .prepare_cached(&format!(
            "SELECT block FROM turn_search_spans \
             WHERE said_to >= ?1 AND said_from < ?2 AND started_to >= ?3 AND started_from < ?4 \
             UNION SELECT t.id >> {BITS} FROM search_changes s CROSS JOIN calls c ON c.id = s.call_id \
             CROSS JOIN call_transcriptions t ON t.conversation_id = c.conversation_id WHERE s.id > ?5 AND t.id <= ?6 \
             ORDER BY 1 DESC"
        ))
        .doing(DOING)?;
    let values =
        params![from(said_after), to(said_before), from(started_after), to(started_before), state.changes_to, state.to];
    let mut rows = select.query(values).doing(DOING)?;
    while let Some(row) = rows.next().doing(DOING)? {
        let block: i64 = row.get(0).doing(DOING)?;
        add(block << BITS, ((block + 1) << BITS) - 1);
    }
    Ok(ranges)
}
