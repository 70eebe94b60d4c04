//! Turns that the index does not know, or not as they are: those that were stored since (the tail), and those that changed.
//! They are few as a rule, and are searched in an index in memory.

use super::super::error::Context as _;
use super::memory_index::Scratch;
use super::reach::DOING;
use super::state::State;
use super::time_blocks::MAX_CHANGES;
use crate::store::Result;
use rusqlite::{Params, Transaction, params};

/// How many turns of each kind are searched, the newest ones, each search bringing them into an index anew: twice what waits
/// for quiet to come into the file's. And how much text of theirs, in bytes.
const MAX_TURNS: usize = 512;
const MAX_TEXT: usize = 1024 * 1024;

/// What such turns came to.
#[derive(Default)]
pub(super) struct Fresh {
    /// Those that match, newest first.
    pub(super) matching: Vec<i64>,
    /// The least row number that was searched, or one behind all.
    pub(super) from: i64,
    /// How many were searched.
    pub(super) searched: u64,
    /// Whether there are more.
    is_cut: bool,
    /// At most how many others there are, where that is known.
    pub(super) unsearched: u64,
}

/// The turns of the tail.
pub(super) fn tail(snapshot: &Transaction<'_>, indexed_to: i64, expression: &str) -> Result<Fresh> {
    let limit = i64::try_from(MAX_TURNS).expect("small");
    search(
        snapshot,
        "SELECT id, final_text, message_text FROM call_transcriptions WHERE id > ?1 ORDER BY id DESC LIMIT ?2",
        params![indexed_to, limit],
        expression,
    )
}

/// The turns in the index that changed since it took them in; `changes` says how many changes there are.
pub(super) fn changed(snapshot: &Transaction<'_>, index: State, changes: u64, expression: &str) -> Result<Fresh> {
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
    Ok(Fresh { unsearched, ..fresh })
}

fn search(snapshot: &Transaction<'_>, sql: &str, values: impl Params, expression: &str) -> Result<Fresh> {
    let mut select = snapshot.prepare_cached(sql).doing(DOING)?;
    let mut rows = select.query(values).doing(DOING)?;
    let (mut turns, mut text): (Vec<(i64, Option<String>, String)>, _) = (Vec::new(), 0);
    let mut is_cut = false;
    while let Some(row) = rows.next().doing(DOING)? {
        let turn: (i64, Option<String>, String) = row.try_into().doing(DOING)?;
        text += turn.2.len() + turn.1.as_ref().map_or(0, String::len);
        is_cut = turns.len() == MAX_TURNS || text > MAX_TEXT && !turns.is_empty();
        if is_cut {
            break;
        }
        turns.push(turn);
    }
    let Some((from, ..)) = turns.last() else { return Ok(Fresh { from: i64::MAX, ..Fresh::default() }) };
    // In ascending order again.
    let scratch = Scratch::of(turns.iter().rev().map(|(id, last, heard)| (*id, last.as_deref(), heard.as_str())))?;
    let searched = u64::try_from(turns.len()).unwrap_or(u64::MAX);
    Ok(Fresh { matching: scratch.matching(expression)?, from: *from, searched, is_cut, unsearched: 0 })
}
