//! Brings the index forward, a slice at a time, by the one connection that writes.

use super::super::error::Context as _;
use super::{State, spans};
use crate::store::Result;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

/// Greatest number of turns in a slice.
const MAX_TURNS: i64 = 256;

/// Greatest length of their texts together, in bytes, if they are more than one.
const MAX_BYTES: i64 = 128 * 1024;

/// Up to how many pages of the index are merged after each slice, which keeps it as small and quick to read as merging
/// by itself would, without the long pauses of that.
const MERGED_PAGES: i64 = 64;

const DOING: &str = "indexing turns for search";

/// Indexes some turns, the new ones first and in ascending order, and says at most how many are left.
pub(in super::super) fn catch_up(connection: &mut Connection) -> Result<u64> {
    let state = State::read(connection)?;
    if state.newer(connection)? + state.older(connection)? == 0 && state.unspanned_to == 0 {
        return Ok(0);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).doing(DOING)?;
    // Again, now that nobody else writes.
    let mut state = State::read(&transaction)?;
    if state.newer(&transaction)? > 0 {
        let to = slice_end(
            &transaction,
            "SELECT id, octet_length(message_text) + ifnull(octet_length(final_text), 0) FROM call_transcriptions \
             WHERE id > ?1 ORDER BY id LIMIT ?2",
            state.to,
        )?;
        if let Some(to) = to {
            insert(&transaction, state.to, to)?;
            state.to = to;
        }
    } else if state.older(&transaction)? > 0 {
        let first = slice_end(
            &transaction,
            "SELECT id, octet_length(message_text) + ifnull(octet_length(final_text), 0) FROM call_transcriptions \
             WHERE id <= ?1 ORDER BY id DESC LIMIT ?2",
            state.after,
        )?;
        if let Some(first) = first {
            insert(&transaction, first - 1, state.after)?;
        }
        state.after = first.map_or(0, |first| first - 1);
    } else {
        let left = spans::catch_up(&transaction, state)?;
        transaction.commit().doing(DOING)?;
        return Ok(left);
    }
    transaction
        .prepare_cached("UPDATE turn_search_state SET after_id = ?1, to_id = ?2")
        .and_then(|mut update| update.execute([state.after, state.to]))
        .doing(DOING)?;
    let left = state.newer(&transaction)? + state.older(&transaction)? + u64::try_from(state.unspanned_to).unwrap_or(0);
    transaction.commit().doing(DOING)?;
    Ok(left)
}

/// The last turn that the slice holds, of those that `select` gives behind `from`.
fn slice_end(transaction: &Transaction<'_>, select: &str, from: i64) -> Result<Option<i64>> {
    let mut select = transaction.prepare_cached(select).doing(DOING)?;
    let mut rows = select.query([from, MAX_TURNS]).doing(DOING)?;
    let (mut last, mut bytes) = (None, 0);
    while let Some(row) = rows.next().doing(DOING)? {
        bytes += row.get::<_, i64>(1).doing(DOING)?;
        if bytes > MAX_BYTES && last.is_some() {
            break;
        }
        last = Some(row.get(0).doing(DOING)?);
    }
    Ok(last)
}

fn insert(transaction: &Transaction<'_>, after: i64, to: i64) -> Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO turn_search (rowid, final_text, message_text) SELECT id, final_text, message_text \
             FROM call_transcriptions WHERE id > ?1 AND id <= ?2 ORDER BY id",
        )
        .and_then(|mut insert| insert.execute(params![after, to]))
        .doing(DOING)?;
    spans::note(transaction, after, to)?;
    transaction
        .prepare_cached("INSERT INTO turn_search (turn_search, rank) VALUES ('merge', ?1)")
        .and_then(|mut merge| merge.execute([MERGED_PAGES]))
        .map(drop)
        .doing(DOING)
}
