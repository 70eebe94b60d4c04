//! Where in the index to look for turns of some days: of each block of neighbours it is kept between which times they
//! were said, and between which their calls began. Turns are stored about in the order in which they are said, so most
//! blocks hold none that is wanted, and are passed over.
//!
//! A span may be too wide, since it only grows with what its turns and calls are changed to, but never too narrow.

use super::super::error::Context as _;
use super::{DOING, State};
use crate::store::{Result, SearchQuery};
use rusqlite::{Connection, Transaction, params};
use std::ops::RangeInclusive;

/// A turn's block is its row number without these bits; as in the schema.
const BITS: u32 = 10;

/// So many blocks that are not wanted are looked through between two that are: to pass over them takes a query.
const BRIDGED: i64 = 8;

/// Widens the spans of the turns with `after < id <= to`.
pub(super) fn note(transaction: &Transaction<'_>, after: i64, to: i64) -> Result<()> {
    widen(transaction, "t.id > ?1 AND t.id <= ?2", params![after, to])
}

/// Widens the spans of a call's turns.
pub(in super::super) fn note_call(connection: &Connection, conversation_id: &dyn rusqlite::ToSql) -> Result<()> {
    widen(connection, "t.conversation_id = ?1", params![conversation_id])
}

fn widen(connection: &Connection, which: &str, values: &[&dyn rusqlite::ToSql]) -> Result<()> {
    connection
        .prepare_cached(&format!(
            "INSERT INTO turn_search_spans (block, said_from, said_to, started_from, started_to) \
             SELECT t.id >> {BITS}, min(t.timestamp), max(t.timestamp), min(c.call_start_time), max(c.call_start_time) \
             FROM call_transcriptions t CROSS JOIN calls c ON c.conversation_id = t.conversation_id \
             WHERE {which} GROUP BY t.id >> {BITS} \
             ON CONFLICT (block) DO UPDATE SET \
                said_from = min(said_from, excluded.said_from), said_to = max(said_to, excluded.said_to), \
                started_from = min(started_from, excluded.started_from), started_to = max(started_to, excluded.started_to)"
        ))
        .and_then(|mut insert| insert.execute(values))
        .map(drop)
        .doing("noting when turns were said")
}

/// Notes one more block of turns that were indexed before there were spans. Says at most how many turns are left.
pub(super) fn catch_up(transaction: &Transaction<'_>, state: State) -> Result<u64> {
    let before = if state.unspanned_to > state.after { ((state.unspanned_to - 1) >> BITS) << BITS } else { 0 };
    if state.unspanned_to > state.after {
        note(transaction, before, state.unspanned_to)?;
    }
    transaction
        .prepare_cached("UPDATE turn_search_state SET unspanned_to = ?1")
        .and_then(|mut update| update.execute([before]))
        .doing("noting when turns were said")?;
    Ok(u64::try_from(before).unwrap_or(0))
}

/// The parts of the index that may hold what is wanted, the last first.
pub(super) fn ranges(connection: &Connection, query: &SearchQuery, state: State) -> Result<Vec<RangeInclusive<i64>>> {
    let SearchQuery { said_after, said_before, started_after, started_before, .. } = query;
    if [said_after, said_before, started_after, started_before].iter().all(|time| time.is_none()) {
        return Ok(vec![0..=state.to]);
    }
    // Texts before and after all times.
    let from = |time: &Option<_>| time.map_or(String::new(), |time: crate::model::Timestamp| time.to_string());
    let to = |time: &Option<_>| time.map_or("~".to_owned(), |time: crate::model::Timestamp| time.to_string());
    let mut ranges: Vec<RangeInclusive<i64>> = Vec::new();
    let mut add = |first: i64, last: i64| match ranges.last_mut() {
        Some(range) if range.start() - last <= BRIDGED << BITS => *range = first..=*range.end(),
        _ => ranges.push(first..=last),
    };
    let mut select = connection
        .prepare_cached(
            "SELECT block FROM turn_search_spans \
             WHERE said_to >= ?1 AND said_from < ?2 AND started_to >= ?3 AND started_from < ?4 AND block >= ?5 \
             ORDER BY block DESC",
        )
        .doing(DOING)?;
    let values = params![from(said_after), to(said_before), from(started_after), to(started_before), {
        state.unspanned_to >> BITS
    }];
    let mut rows = select.query(values).doing(DOING)?;
    while let Some(row) = rows.next().doing(DOING)? {
        let block: i64 = row.get(0).doing(DOING)?;
        add(block << BITS, ((block + 1) << BITS) - 1);
    }
    if state.unspanned_to > 0 {
        add(0, state.unspanned_to);
    }
    Ok(ranges)
}
