//! The segments of the index, which FTS5 merges into larger ones.

use super::super::error::Context as _;
use super::super::statement::Statements as _;
use crate::store::{Error, ErrorKind, Result};
use rusqlite::{Connection, Transaction};

const CONTEXT: &str = "merging segments of the search index";

/// Id of the row of `turn_search_data` that lists the segments.
const STRUCTURE: i64 = 10;

/// Merges segments until about `pages` pages are written. If it is negative, FTS5 first begins a merge of all segments.
pub(super) fn merge(transaction: &Transaction<'_>, pages: i64) -> Result<()> {
    transaction
        .execute_cached("INSERT INTO turn_search (turn_search, rank) VALUES ('merge', ?1)", [pages])
        .map(drop)
        .context(CONTEXT)
}

/// Sets the minimum number of segments that FTS5 merges.
pub(super) fn set_min_merged(transaction: &Transaction<'_>, segments: i64) -> Result<()> {
    transaction
        .execute("INSERT INTO turn_search (turn_search, rank) VALUES ('usermerge', ?1)", [segments])
        .map(drop)
        .context(CONTEXT)
}

/// Numbers of segments on a level, which are of similar size.
pub(super) struct Level {
    /// Segments that are being merged into one of the next level.
    pub(super) merging: u64,
    pub(super) segments: u64,
}

/// Reads the list of segments, the "structure record" described in SQLite's `fts5_index.c`.
pub(super) fn levels(connection: &Connection) -> Result<Vec<Level>> {
    let record: Vec<u8> = connection
        .fetch_one("SELECT block FROM turn_search_data WHERE id = ?1", [STRUCTURE], |row| row.get(0))
        .context(CONTEXT)?;
    // The first four bytes are the configuration's number.
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
                // Id, first page and last page of each segment.
                for _ in 0..3 * level.segments {
                    number()?;
                }
                Some(level)
            })
            .collect()
    };
    read().ok_or_else(|| Error::new(ErrorKind::Other, CONTEXT, "FTS5's list of segments cannot be read"))
}
