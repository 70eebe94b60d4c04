//! State of the search index, and the test whether it belongs to the database.
//!
//! The functions work on two connections: the one that writes the index and has the database attached, and one that
//! reads the database and has the index attached. No table name occurs in both files.

use super::super::error::Context as _;
use super::super::statement::Statements as _;
use crate::store::Result;
use rusqlite::Connection;

/// Highest id that a change ever had. A tool that copied the rows may have left the table's own counter behind.
pub(super) const LAST_CHANGE: &str = "max(ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'search_changes'), 0), \
    ifnull((SELECT max(id) FROM search_changes), 0))";

/// Highest id that a turn ever had.
const LAST_TURN: &str = "max(ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'call_transcriptions'), 0), \
    ifnull((SELECT max(id) FROM call_transcriptions), 0))";

/// State of an index: it contains the turns with `after < id <= to`, as of the change with the id `changes_to`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct IndexState {
    pub(super) after: i64,
    pub(super) to: i64,
    pub(super) changes_to: i64,
}

impl IndexState {
    /// Reads the state of an index, or returns `None` if the index does not belong to the database or cannot be
    /// advanced.
    ///
    /// An index belongs to another file, or to another state of this file, in four cases: its random name differs, it
    /// is ahead of the database's ids, changes that it does not know are already deleted, or its last turn arrived at
    /// another time.
    pub(super) fn in_step(connection: &Connection) -> Result<Option<Self>> {
        // SQLite opens the snapshots in the order of the files. A reader's snapshot of the index may therefore be newer
        // than that of the database, so that the index looks ahead. A retry finds them in step.
        connection
            .fetch_optional(
                &format!(
                    "SELECT s.after_id, s.to_id, s.changes_to FROM search_index i CROSS JOIN turn_search_state s \
                 WHERE i.index_id = s.index_id AND s.to_id <= {LAST_TURN} AND s.changes_to <= {LAST_CHANGE} \
                 AND s.changes_to + 1 >= ifnull((SELECT min(id) FROM search_changes), 1 + {LAST_CHANGE}) \
                 AND ifnull((SELECT created_at FROM call_transcriptions WHERE id = s.to_id), s.to_created_at) \
                    IS s.to_created_at"
                ),
                [],
                |row| Ok(Self { after: row.get(0)?, to: row.get(1)?, changes_to: row.get(2)? }),
            )
            .context("reading the state of the search index")
    }

    /// Returns an upper bound of the turns that are older than the indexed ones.
    pub(super) fn older(self, connection: &Connection) -> Result<u64> {
        let oldest: Option<i64> = connection
            .fetch_optional("SELECT id FROM call_transcriptions ORDER BY id LIMIT 1", [], |row| row.get(0))
            .context("looking for turns that are not indexed")?;
        Ok(oldest.map_or(0, |oldest| count(oldest, self.after)))
    }

    /// Returns an upper bound of the turns that were stored after the indexed ones.
    pub(super) fn newer(self, connection: &Connection) -> Result<u64> {
        let newest: Option<i64> = connection
            .fetch_optional("SELECT id FROM call_transcriptions ORDER BY id DESC LIMIT 1", [], |row| row.get(0))
            .context("looking for turns that are not indexed")?;
        Ok(newest.map_or(0, |newest| count(self.to + 1, newest)))
    }

    /// Returns an upper bound of the changes that the index does not know.
    pub(super) fn changes(self, connection: &Connection) -> Result<u64> {
        let last: Option<i64> = connection
            .fetch_optional("SELECT id FROM search_changes ORDER BY id DESC LIMIT 1", [], |row| row.get(0))
            .context("looking for changes that are not indexed")?;
        Ok(last.map_or(0, |last| count(self.changes_to + 1, last)))
    }
}

/// Returns the number of integers from the first to the last, inclusive.
fn count(first: i64, last: i64) -> u64 {
    u64::try_from(last - first + 1).unwrap_or(0)
}
