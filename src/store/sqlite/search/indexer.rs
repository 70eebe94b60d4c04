//! Advances the index, one slice at a time, on the only connection that writes it.
//!
//! A slice processes changes of indexed turns, or else the oldest new turns, or else the newest old ones. Then it
//! continues the purge of erased words ([`purge`]).
//!
//! The index contains a copy of the words, so it can delete a turn by its id alone. The alternative, storing the old
//! words of a change in the database, would leave erased words there. A crash between the commits of the two files is
//! harmless, because the changes are processed again.

use super::super::error::Context as _;
use super::super::statement::Statements as _;
use super::segments::merge;
use super::state::IndexState;
use super::{purge, time_blocks};
use crate::store::{Backlog, Error, ErrorKind, Result};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use std::collections::BTreeSet;

/// Maximum number of turns in a slice.
const MAX_TURNS: i64 = 256;

/// Maximum total length of a slice's texts, in bytes, unless it is a single turn.
const MAX_TEXT_BYTES: usize = 128 * 1024;

/// Maximum number of changes that are deleted from the database at once. It is larger than a slice, so that a backlog
/// shrinks.
const MAX_DELETED_CHANGES: i64 = 4 * MAX_TURNS;

/// Maximum number of index pages that are merged after each slice. This keeps the index as small and fast as automatic
/// merging would, without its long pauses.
const MAX_MERGED_PAGES: i64 = 64;

const CONTEXT: &str = "indexing turns for search";

/// Result of indexing a slice.
pub(super) struct Slice {
    /// New state of the index.
    pub(super) state: IndexState,
    /// The remaining work.
    pub(super) left: Backlog,
}

/// Indexes the next slice.
pub(super) fn catch_up(connection: &mut Connection) -> Result<Slice> {
    let state = in_step(connection)?;
    let left = |state: IndexState, connection: &Connection| -> Result<Backlog> {
        let turns = state.changes(connection)? + state.newer(connection)? + state.older(connection)?;
        Ok(Backlog { turns, erased_words: purge::is_owed(connection)? })
    };
    if left(state, connection)? == Backlog::default() {
        return Ok(Slice { state, left: Backlog::default() });
    }
    // Takes the index's lock first and then the database's snapshot, so the snapshot is not older than the state.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).context(CONTEXT)?;
    let mut state = in_step(&transaction)?;
    if state.changes(&transaction)? > 0 {
        take_some_changes_in(&transaction, &mut state)?;
    } else if state.newer(&transaction)? > 0 {
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
    }
    if purge::is_owed(&transaction)? {
        purge::resume(&transaction)?;
    }
    note(&transaction, state)?;
    let left = left(state, &transaction)?;
    transaction.commit().context(CONTEXT)?;
    Ok(Slice { state, left })
}

/// Processes some changes and returns the new state of the index, or `None` if there are no changes.
pub(super) fn take_changes_in(connection: &mut Connection) -> Result<Option<IndexState>> {
    if in_step(connection)?.changes(connection)? == 0 {
        return Ok(None);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).context(CONTEXT)?;
    let mut state = in_step(&transaction)?;
    take_some_changes_in(&transaction, &mut state)?;
    note(&transaction, state)?;
    transaction.commit().context(CONTEXT)?;
    Ok(Some(state))
}

/// Deletes changes from the database after the index has processed them and is on disk. Does not wait for another
/// process's lock, because a later slice deletes them as well.
pub(super) fn delete_changes(database: &Connection, state: IndexState) -> Result<()> {
    const CONTEXT: &str = "deleting changes that are indexed";
    let first: Option<i64> = database
        .fetch_optional("SELECT id FROM search_changes ORDER BY id LIMIT 1", [], |row| row.get(0))
        .context(CONTEXT)?;
    let Some(first) = first.filter(|first| *first <= state.changes_to) else { return Ok(()) };
    let deleted = database
        .execute_cached(
            "DELETE FROM search_changes WHERE id <= ?1",
            [state.changes_to.min(first + MAX_DELETED_CHANGES)],
        )
        .map(drop)
        .context(CONTEXT);
    match deleted {
        Err(error) if error.kind() == ErrorKind::Busy => Ok(()),
        deleted => deleted,
    }
}

fn in_step(connection: &Connection) -> Result<IndexState> {
    IndexState::in_step(connection)?.ok_or_else(|| {
        let what = "it no longer belongs to the database";
        Error::new(ErrorKind::Other, CONTEXT, rusqlite::Error::SqliteFailure(OUT_OF_STEP, Some(what.to_owned())))
    })
}

/// The error of an index that is out of step. It looks like a damaged one, so the index is rebuilt.
const OUT_OF_STEP: rusqlite::ffi::Error =
    rusqlite::ffi::Error { code: rusqlite::ErrorCode::DatabaseCorrupt, extended_code: rusqlite::ffi::SQLITE_CORRUPT };

fn note(transaction: &Transaction<'_>, state: IndexState) -> Result<()> {
    transaction
        .execute_cached(
            "UPDATE turn_search_state SET after_id = ?1, to_id = ?2, changes_to = ?3, \
             to_created_at = ifnull((SELECT created_at FROM call_transcriptions WHERE id = ?2), to_created_at)",
            [state.after, state.to, state.changes_to],
        )
        .map(drop)
        .context(CONTEXT)
}

/// Updates the index for some changed turns.
fn take_some_changes_in(transaction: &Transaction<'_>, state: &mut IndexState) -> Result<()> {
    type Change = (i64, Option<i64>, Option<i64>, usize);
    let changes: Vec<Change> = transaction
        .fetch_all(
            "SELECT s.id, s.turn_id, s.call_id, \
                ifnull((SELECT octet_length(message_text) + ifnull(octet_length(final_text), 0) \
                    FROM call_transcriptions t WHERE t.id = s.turn_id), 0) \
                + ifnull((SELECT octet_length(c1) + ifnull(octet_length(c0), 0) \
                    FROM turn_search_content f WHERE f.id = s.turn_id), 0) \
             FROM search_changes s WHERE s.id > ?1 ORDER BY s.id LIMIT ?2",
            [state.changes_to, MAX_TURNS],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .context(CONTEXT)?;
    // Ascending order, because FTS5 flushes its buffer when it gets a lower row id.
    let (mut turns, mut bytes) = (BTreeSet::new(), 0);
    for (n, (id, turn, call, length)) in changes.into_iter().enumerate() {
        bytes += length;
        if bytes > MAX_TEXT_BYTES && n > 0 {
            break;
        }
        state.changes_to = id;
        turns.extend(turn.filter(|turn| *turn > state.after && *turn <= state.to));
        if let Some(call) = call {
            time_blocks::extend_blocks(transaction, call)?;
        }
    }
    let mut deleted = BTreeSet::new();
    for turn in turns {
        if !index_again(transaction, turn)? {
            deleted.insert(turn);
        }
    }
    time_blocks::delete_empty_blocks(transaction, &deleted)?;
    merge(transaction, MAX_MERGED_PAGES)
}

/// Replaces a turn in the index by its current state. Returns whether the turn exists.
fn index_again(transaction: &Transaction<'_>, turn: i64) -> Result<bool> {
    type Texts = (Option<String>, Option<String>);
    let texts = |sql| -> Result<Option<Texts>> {
        transaction.fetch_optional(sql, [turn], |row| Ok((row.get(0)?, row.get(1)?))).context(CONTEXT)
    };
    let indexed = texts("SELECT final_text, message_text FROM turn_search WHERE rowid = ?1")?;
    let stored = texts("SELECT final_text, message_text FROM call_transcriptions WHERE id = ?1")?;
    if indexed != stored {
        if let Some((final_text, message_text)) = &indexed {
            // Often a correction only replaces an earlier one. Its words wait for the next rewrite.
            if stored.as_ref().is_none_or(|(now, heard)| heard != message_text || now.is_none() && final_text.is_some())
            {
                purge::owe(transaction)?;
            }
            transaction.execute_cached("DELETE FROM turn_search WHERE rowid = ?1", [turn]).context(CONTEXT)?;
        }
        if let Some((final_text, message_text)) = &stored {
            transaction
                .execute_cached(
                    "INSERT INTO turn_search (rowid, final_text, message_text) VALUES (?1, ?2, ?3)",
                    params![turn, final_text, message_text],
                )
                .context(CONTEXT)?;
        }
    }
    if stored.is_some() {
        time_blocks::record_block(transaction, turn - 1, turn)?;
    }
    Ok(stored.is_some())
}

/// Returns the last turn of the slice, among those that `select` returns after `from`.
fn slice_end(transaction: &Transaction<'_>, select: &str, from: i64) -> Result<Option<i64>> {
    let mut select = transaction.prepare_cached(select).context(CONTEXT)?;
    let mut rows = select.query([from, MAX_TURNS]).context(CONTEXT)?;
    let (mut last, mut bytes) = (None, 0);
    while let Some(row) = rows.next().context(CONTEXT)? {
        bytes += row.get::<_, usize>(1).context(CONTEXT)?;
        if bytes > MAX_TEXT_BYTES && last.is_some() {
            break;
        }
        last = Some(row.get(0).context(CONTEXT)?);
    }
    Ok(last)
}

fn insert(transaction: &Transaction<'_>, after: i64, to: i64) -> Result<()> {
    transaction
        .execute_cached(
            "INSERT INTO turn_search (rowid, final_text, message_text) SELECT id, final_text, message_text \
             FROM call_transcriptions WHERE id > ?1 AND id <= ?2 ORDER BY id",
            params![after, to],
        )
        .context(CONTEXT)?;
    time_blocks::record_block(transaction, after, to)?;
    merge(transaction, MAX_MERGED_PAGES)
}
