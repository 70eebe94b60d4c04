//! Takes erased words out of the index's bytes, by rewriting all of its segments.
//!
//! FTS5 notes in a new segment that a row is deleted; the row's words stay in older segments until these are merged with that
//! one. FTS5's option `secure-delete` would overwrite them, but SQLite before 3.42 refuses a file in which it was ever used.
//! So the transaction that takes an erasure in notes that a rewrite is owed, and all segments are then merged into one, in
//! slices. SQLite overwrites the pages that this frees (`secure_delete`).
//!
//! At a million turns (an index of 280 MB) a rewrite takes a second of processor time in some 150 slices of about 5 ms; the
//! longest took 35 ms, since FTS5 does not pause within a word, and the word of three turns in four fills a thousand pages.

use super::super::error::Context as _;
use super::index::merge;
use crate::store::{Error, ErrorKind, Result};
use rusqlite::{Connection, Transaction};
use std::time::{Duration, Instant};

const DOING: &str = "taking erased words out of the search index";

/// Time for which one slice merges, since new turns wait meanwhile.
const SLICE: Duration = Duration::from_millis(8);

/// Number of pages that FTS5 writes between two looks at the clock.
const PAGES: i64 = 16;

/// The table's row of `turn_search_data` that lists the segments.
const STRUCTURE: i64 = 10;

/// What FTS5 merges by itself: this many segments of a level, at least. The second is its default.
const WHILE_REWRITING: i64 = 2;
const OTHERWISE: i64 = 4;

/// Notes that words were deleted that must not stay in the index's bytes.
pub(super) fn owe(transaction: &Transaction<'_>) -> Result<()> {
    transaction.execute("UPDATE turn_search_state SET owes_rewrite = 1", []).map(drop).doing(DOING)
}

/// Returns whether erased words may still be in the index's bytes.
pub(super) fn is_owed(connection: &Connection) -> Result<bool> {
    connection
        .prepare_cached("SELECT owes_rewrite = 1 OR rewritten_level IS NOT NULL FROM turn_search_state")
        .and_then(|mut select| select.query_row([], |row| row.get(0)))
        .doing(DOING)
}

/// Does a slice of a rewrite that is owed.
pub(super) fn go_on(transaction: &Transaction<'_>) -> Result<()> {
    let end = Instant::now() + SLICE;
    let level: Option<usize> =
        transaction.query_row("SELECT rewritten_level FROM turn_search_state", [], |row| row.get(0)).doing(DOING)?;
    let mut level = if level.is_some() { level } else { begin(transaction)? };
    while level.is_some() && Instant::now() < end {
        merge(transaction, PAGES)?;
        let levels = levels(transaction)?;
        level = level.filter(|level| levels.get(*level).is_some_and(|level| level.merging > 0));
    }
    if level.is_none() {
        set_least_merged(transaction, OTHERWISE)?;
    }
    transaction.execute("UPDATE turn_search_state SET rewritten_level = ?1", [level]).map(drop).doing(DOING)
}

/// Has FTS5 merge all segments that there are, and returns the level at which it merges them; `None` if that is done already.
fn begin(transaction: &Transaction<'_>) -> Result<Option<usize>> {
    transaction.execute("UPDATE turn_search_state SET owes_rewrite = 0", []).doing(DOING)?;
    // FTS5 drops what is deleted only when it merges into the highest level. It moves all segments below that one, unless all
    // but one are being merged, or they are on one level already. A new segment makes the first impossible. The second then
    // means that none is larger than what is indexed at once, and all words are soon indexed anew.
    let command = |command| format!("INSERT INTO turn_search (turn_search) VALUES ('{command}')");
    transaction
        .execute_batch(&format!(
            "INSERT INTO turn_search (rowid, message_text) VALUES (0, 'x'); DELETE FROM turn_search WHERE rowid = 0; {}",
            command("flush")
        ))
        .doing(DOING)?;
    if levels(transaction)?.iter().filter(|level| level.segments > 0).count() <= 1 {
        transaction.execute_batch(&command("rebuild")).doing(DOING)?;
        return Ok(None);
    }
    // So that the merge is never put off because few segments are left of it.
    set_least_merged(transaction, WHILE_REWRITING)?;
    merge(transaction, -PAGES)?;
    Ok(levels(transaction)?.iter().rposition(|level| level.merging > 0))
}

fn set_least_merged(transaction: &Transaction<'_>, segments: i64) -> Result<()> {
    transaction
        .execute("INSERT INTO turn_search (turn_search, rank) VALUES ('usermerge', ?1)", [segments])
        .map(drop)
        .doing(DOING)
}

/// Segments of about the same age.
struct Level {
    /// The number of those that are being merged into one of the next level.
    merging: u64,
    segments: u64,
}

/// Reads which segments there are, as SQLite's `fts5_index.c` describes the "structure record".
fn levels(connection: &Connection) -> Result<Vec<Level>> {
    let record: Vec<u8> = connection
        .prepare_cached("SELECT block FROM turn_search_data WHERE id = ?1")
        .and_then(|mut select| select.query_row([STRUCTURE], |row| row.get(0)))
        .doing(DOING)?;
    // Behind the number of the configuration.
    let mut bytes = record.into_iter().skip(4);
    let mut number = || {
        let mut number = 0;
        loop {
            let byte = bytes.next()?;
            number = number << 7 | u64::from(byte & 0x7f);
            if byte < 0x80 {
                return Some(number);
            }
        }
    };
    let mut read = || -> Option<Vec<Level>> {
        let levels = number()?;
        let (_segments, _pages_written) = (number()?, number()?);
        (0..levels)
            .map(|_| {
                let level = Level { merging: number()?, segments: number()? };
                // Of each segment: its number, its first page and its last.
                for _ in 0..3 * level.segments {
                    number()?;
                }
                Some(level)
            })
            .collect()
    };
    read().ok_or_else(|| Error::new(ErrorKind::Other, DOING, "FTS5's list of segments cannot be read"))
}
