//! Purges erased words from the index's file by a rewrite of all segments.
//!
//! FTS5 records a deletion in a new segment. The words of the row remain in older segments until these are merged with
//! the new one. FTS5's option `secure-delete` would overwrite them, but SQLite before 3.42 refuses a file once it
//! was used there. Instead, the transaction that indexes an erasure records that a rewrite is owed, and all segments
//! are then merged into one, in slices. SQLite overwrites the freed pages (`secure_delete`).
//!
//! For a million turns (an index of 280 MB) a rewrite takes one second of CPU time, in about 150 slices of 5 ms. The
//! longest took 35 ms: FTS5 does not pause within a word, and a word in three quarters of all turns fills a thousand
//! pages.

use super::super::error::Context as _;
use super::super::statement::Statements as _;
use super::segments::{levels, merge, set_min_merged};
use crate::store::Result;
use rusqlite::{Connection, Transaction};
use std::time::{Duration, Instant};

const CONTEXT: &str = "purging erased words from the search index";

/// Duration of a slice. New turns wait meanwhile.
const SLICE: Duration = Duration::from_millis(8);

/// Number of pages that FTS5 writes between two readings of the clock.
const PAGES: i64 = 16;

/// Minimum number of segments that FTS5 merges, its option `usermerge`, during a rewrite.
const REWRITE_MIN_MERGED: i64 = 2;

/// Minimum number of segments that FTS5 merges otherwise, which is its default.
const DEFAULT_MIN_MERGED: i64 = 4;

/// Records that words were deleted that the index's file must not retain.
pub(super) fn owe(transaction: &Transaction<'_>) -> Result<()> {
    transaction.execute("UPDATE turn_search_state SET owes_rewrite = 1", []).map(drop).context(CONTEXT)
}

/// Returns whether the index's file may still contain erased words.
pub(super) fn is_owed(connection: &Connection) -> Result<bool> {
    connection
        .fetch_one("SELECT owes_rewrite = 1 OR rewritten_level IS NOT NULL FROM turn_search_state", [], |row| {
            row.get(0)
        })
        .context(CONTEXT)
}

/// Continues the rewrite by a slice, or begins it.
pub(super) fn resume(transaction: &Transaction<'_>) -> Result<()> {
    let end = Instant::now() + SLICE;
    let level: Option<usize> = transaction
        .query_row("SELECT rewritten_level FROM turn_search_state", [], |row| row.get(0))
        .context(CONTEXT)?;
    let mut level = if level.is_some() { level } else { begin(transaction)? };
    while level.is_some() && Instant::now() < end {
        merge(transaction, PAGES)?;
        let levels = levels(transaction)?;
        level = level.filter(|level| levels.get(*level).is_some_and(|level| level.merging > 0));
    }
    if level.is_none() {
        set_min_merged(transaction, DEFAULT_MIN_MERGED)?;
    }
    transaction.execute("UPDATE turn_search_state SET rewritten_level = ?1", [level]).map(drop).context(CONTEXT)
}

/// Begins a merge of all segments. Returns the level of the merged segments, or `None` if the rewrite is done already.
fn begin(transaction: &Transaction<'_>) -> Result<Option<usize>> {
    transaction.execute("UPDATE turn_search_state SET owes_rewrite = 0", []).context(CONTEXT)?;
    // FTS5 drops deleted words only when it merges into the highest level. It moves all segments below that level,
    // unless all but one are being merged, or all are on one level. A new segment rules out the former. The latter then
    // means that no segment is larger than a slice of turns, so all words can be indexed again at once.
    let command = |command| format!("INSERT INTO turn_search (turn_search) VALUES ('{command}')");
    transaction
        .execute_batch(&format!(
            "INSERT INTO turn_search (rowid, message_text) VALUES (0, 'x'); \
             DELETE FROM turn_search WHERE rowid = 0; {}",
            command("flush")
        ))
        .context(CONTEXT)?;
    if levels(transaction)?.iter().filter(|level| level.segments > 0).count() <= 1 {
        transaction.execute_batch(&command("rebuild")).context(CONTEXT)?;
        return Ok(None);
    }
    // Otherwise FTS5 would postpone the merge once few segments of it are left.
    set_min_merged(transaction, REWRITE_MIN_MERGED)?;
    merge(transaction, -PAGES)?;
    Ok(levels(transaction)?.iter().rposition(|level| level.merging > 0))
}
