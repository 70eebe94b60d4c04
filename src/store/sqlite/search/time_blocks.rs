//! Time ranges of blocks of the index. For each block of neighbouring turns they store the range of turn times and of
//! call start times. Turns are stored roughly in the order of the conversation, so a time filter skips most
//! blocks.
//!
//! Ranges are conservative: updates only widen them, so a block may be scanned needlessly but is never skipped wrongly.

use super::super::error::Context as _;
use super::super::statement::Statements as _;
use super::reach::CONTEXT;
use super::state::IndexState;
use crate::store::{CallFilter, Result, SearchQuery};
use rusqlite::{Connection, Transaction, params};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// Number of low bits of a row id that are not part of the block's number.
const BLOCK_BITS: u32 = 10;

/// Maximum length of a gap between two requested blocks that is scanned instead of skipped, in blocks. Each separate
/// range costs a query.
const MAX_GAP_BLOCKS: i64 = 8;

/// Maximum number of changes that a search examines, at some microseconds each.
pub(super) const MAX_CHANGES: u64 = 5000;

const NOTING: &str = "recording the time ranges of turns";

/// Widens the ranges by the turns with `after < id <= to`.
pub(super) fn record_block(transaction: &Transaction<'_>, after: i64, to: i64) -> Result<()> {
    transaction
        .execute_cached(
            &format!(
                "INSERT INTO turn_search_spans (block, said_from, said_to, started_from, started_to) \
             SELECT t.id >> {BLOCK_BITS}, min(t.timestamp), max(t.timestamp), min(c.call_start_time), \
                max(c.call_start_time) \
             FROM call_transcriptions t CROSS JOIN calls c ON c.conversation_id = t.conversation_id \
             WHERE t.id > ?1 AND t.id <= ?2 GROUP BY t.id >> {BLOCK_BITS} \
             ON CONFLICT (block) DO UPDATE SET \
                said_from = min(said_from, excluded.said_from), said_to = max(said_to, excluded.said_to), \
                started_from = min(started_from, excluded.started_from), \
                started_to = max(started_to, excluded.started_to)"
            ),
            [after, to],
        )
        .map(drop)
        .context(NOTING)
}

/// Widens the ranges of a call's turns by the start of the call.
pub(super) fn extend_blocks(transaction: &Transaction<'_>, call_id: i64) -> Result<()> {
    transaction
        .execute_cached(
            &format!(
                "UPDATE turn_search_spans SET started_from = min(started_from, c.call_start_time), \
                started_to = max(started_to, c.call_start_time) \
             FROM (SELECT conversation_id, call_start_time FROM calls WHERE id = ?1) c \
             WHERE block IN (SELECT id >> {BLOCK_BITS} FROM call_transcriptions t \
                WHERE t.conversation_id = c.conversation_id)"
            ),
            [call_id],
        )
        .map(drop)
        .context(NOTING)
}

/// Deletes the ranges of blocks that became empty when these turns were deleted.
pub(super) fn delete_empty_blocks(transaction: &Transaction<'_>, deleted: &BTreeSet<i64>) -> Result<()> {
    let blocks: BTreeSet<i64> = deleted.iter().map(|turn| turn >> BLOCK_BITS).collect();
    for block in blocks {
        transaction
            .execute_cached(
                "DELETE FROM turn_search_spans WHERE block = ?1 \
                 AND NOT EXISTS (SELECT 1 FROM call_transcriptions WHERE id BETWEEN ?2 AND ?3)",
                [block, block << BLOCK_BITS, ((block + 1) << BLOCK_BITS) - 1],
            )
            .context(NOTING)?;
    }
    Ok(())
}

/// Returns the ranges of the index that may contain requested turns, the last first.
pub(super) fn blocks_matching(
    connection: &Connection,
    query: &SearchQuery,
    state: IndexState,
) -> Result<Vec<RangeInclusive<i64>>> {
    let SearchQuery { said_after, said_before, calls: CallFilter { started_after, started_before, .. }, .. } = query;
    let any_time = [said_after, said_before, started_after, started_before].iter().all(|time| time.is_none());
    if any_time || state.changes(connection)? > MAX_CHANGES {
        return Ok(vec![0..=state.to]);
    }
    // Defaults that sort before and after all times.
    let from = |time: &Option<_>| time.map_or(String::new(), |time: crate::domain::Timestamp| time.to_string());
    let to = |time: &Option<_>| time.map_or("~".to_owned(), |time: crate::domain::Timestamp| time.to_string());
    let mut ranges: Vec<RangeInclusive<i64>> = Vec::new();
    let mut add = |first: i64, last: i64| match ranges.last_mut() {
        Some(range) if range.start() - last <= MAX_GAP_BLOCKS << BLOCK_BITS => *range = first..=*range.end(),
        _ => ranges.push(first..=last),
    };
    // Adds calls whose start changed after they were indexed. Changed turns themselves are examined anyway.
    let mut select = connection
        .prepare_cached(&format!(
            "SELECT block FROM turn_search_spans \
             WHERE said_to >= ?1 AND said_from < ?2 AND started_to >= ?3 AND started_from < ?4 \
             UNION SELECT t.id >> {BLOCK_BITS} FROM search_changes s CROSS JOIN calls c ON c.id = s.call_id \
             CROSS JOIN call_transcriptions t ON t.conversation_id = c.conversation_id WHERE s.id > ?5 AND t.id <= ?6 \
             ORDER BY 1 DESC"
        ))
        .context(CONTEXT)?;
    let values =
        params![from(said_after), to(said_before), from(started_after), to(started_before), state.changes_to, state.to];
    let mut rows = select.query(values).context(CONTEXT)?;
    while let Some(row) = rows.next().context(CONTEXT)? {
        let block: i64 = row.get(0).context(CONTEXT)?;
        add(block << BLOCK_BITS, ((block + 1) << BLOCK_BITS) - 1);
    }
    Ok(ranges)
}
