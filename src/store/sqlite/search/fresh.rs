//! Turns that the index does not contain in their current state: those that were stored since (the tail), and those
//! that changed. They are usually few, and are searched in an index in memory.

use super::super::error::Context as _;
use super::memory_index::MemoryIndex;
use super::reach::CONTEXT;
use super::state::IndexState;
use super::time_blocks::MAX_CHANGES;
use crate::store::Result;
use rusqlite::{Params, Transaction, params};

/// Maximum number of turns of each kind that are searched, newest first. Each search indexes them in memory. This is
/// twice the number that waits for an idle moment to be indexed.
const MAX_TURNS: usize = 512;

/// Maximum length of the texts of turns that are searched, in bytes.
const MAX_TEXT_BYTES: usize = 1024 * 1024;

/// Search results among turns that are not indexed.
#[derive(Default)]
pub(super) struct UnindexedHits {
    /// Matching turns, newest first.
    pub(super) matching: Vec<i64>,
    /// Lowest row id that was searched. If nothing was searched, it is above all row ids.
    pub(super) from: i64,
    /// Number of turns that were searched.
    pub(super) searched: u64,
    /// True if there are more turns.
    is_cut: bool,
    /// Upper bound of the turns that were not searched, if known.
    pub(super) unsearched: u64,
}

/// Searches the turns that were stored since the index was last brought up to date (the tail).
pub(super) fn search_unindexed(snapshot: &Transaction<'_>, indexed_to: i64, expression: &str) -> Result<UnindexedHits> {
    let limit = i64::try_from(MAX_TURNS).expect("small");
    search(
        snapshot,
        "SELECT id, final_text, message_text FROM call_transcriptions WHERE id > ?1 ORDER BY id DESC LIMIT ?2",
        params![indexed_to, limit],
        expression,
    )
}

/// Searches indexed turns that changed since. `changes` is the number of changes.
pub(super) fn search_changed(
    snapshot: &Transaction<'_>,
    index: IndexState,
    changes: u64,
    expression: &str,
) -> Result<UnindexedHits> {
    let last = index.changes_to.saturating_add_unsigned(MAX_CHANGES);
    let limit = i64::try_from(MAX_TURNS).expect("small");
    let fresh = search(
        snapshot,
        "SELECT id, final_text, message_text FROM call_transcriptions WHERE id IN \
            (SELECT turn_id FROM search_changes WHERE id > ?1 AND id <= ?2 AND turn_id IS NOT NULL) \
         AND id > ?3 AND id <= ?4 ORDER BY id DESC LIMIT ?5 + 1",
        params![index.changes_to, last, index.after, index.to, limit],
        expression,
    )?;
    let unsearched =
        if fresh.is_cut { changes.saturating_sub(fresh.searched) } else { changes.saturating_sub(MAX_CHANGES) };
    Ok(UnindexedHits { unsearched, ..fresh })
}

fn search(snapshot: &Transaction<'_>, sql: &str, values: impl Params, expression: &str) -> Result<UnindexedHits> {
    let mut select = snapshot.prepare_cached(sql).context(CONTEXT)?;
    let mut rows = select.query(values).context(CONTEXT)?;
    let mut turns: Vec<(i64, Option<String>, String)> = Vec::new();
    let mut text_bytes = 0;
    let mut is_cut = false;
    while let Some(row) = rows.next().context(CONTEXT)? {
        let (id, last, heard): (i64, Option<String>, String) = row.try_into().context(CONTEXT)?;
        text_bytes += heard.len() + last.as_ref().map_or(0, String::len);
        is_cut = turns.len() == MAX_TURNS || text_bytes > MAX_TEXT_BYTES && !turns.is_empty();
        if is_cut {
            break;
        }
        turns.push((id, last, heard));
    }
    let Some((from, ..)) = turns.last() else {
        return Ok(UnindexedHits { from: i64::MAX, ..UnindexedHits::default() });
    };
    // Ascending order, as the index in memory needs it.
    let scratch = MemoryIndex::new(turns.iter().rev().map(|(id, last, heard)| (*id, last.as_deref(), heard.as_str())))?;
    let searched = u64::try_from(turns.len()).unwrap_or(u64::MAX);
    Ok(UnindexedHits { matching: scratch.matching(expression)?, from: *from, searched, is_cut, unsearched: 0 })
}
