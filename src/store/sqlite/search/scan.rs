//! Searches turns themselves, the last stored first, if the index would have to merge too many matches first. An
//! example is a search for all words that begin with `s`, which may be a thousand. If many turns match, some are found
//! soon; otherwise the index has few to merge.

use super::super::error::Context as _;
use super::fts_query::BroadMatch;
use super::memory_index::MemoryIndex;
use super::page_search::PageSearch;
use super::reach::CONTEXT;
use crate::store::Result;
use std::ops::RangeInclusive;

/// Maximum number of candidates that are read in each step, at some ten microseconds each.
pub(super) const STEP_TURNS: [usize; 2] = [128, 384];

/// Maximum number of turns that are read in a step without index. There may be very many of them.
const MAX_UNINDEXED_TURNS: usize = 4096;

/// Maximum number of turns that a step skips because the filter excludes them.
const MAX_SKIPPED_TURNS: usize = 4096;

/// Maximum length of the texts in a step, in bytes.
const MAX_TEXT_BYTES: usize = 1024 * 1024;

const ALL: &str = "SELECT id, final_text, message_text FROM call_transcriptions WHERE id BETWEEN ?1 AND ?2";

/// Result of a step.
pub(super) struct Step {
    /// Matching turns, the last stored first.
    pub(super) matching: Vec<i64>,
    /// Highest row id that was not read, or `None` if all were.
    pub(super) rest: Option<i64>,
}

impl PageSearch<'_> {
    /// Reads up to `size` requested turns of these ranges of the index.
    pub(super) fn scan_indexed(
        &self,
        wide: &BroadMatch,
        ranges: &[RangeInclusive<i64>],
        size: usize,
        wanted: &dyn Fn(i64) -> bool,
    ) -> Result<Step> {
        let sql = match wide {
            BroadMatch::All => format!("{ALL}{} ORDER BY id DESC", self.unchanged("call_transcriptions.id")),
            BroadMatch::Of(_) => format!(
                "SELECT t.id, t.final_text, t.message_text FROM turn_search s \
                 CROSS JOIN call_transcriptions t ON t.id = s.rowid \
                 WHERE turn_search MATCH ?3 AND s.rowid BETWEEN ?1 AND ?2{} ORDER BY s.rowid DESC",
                self.unchanged("t.id")
            ),
        };
        self.step(&sql, wide, ranges, size, wanted)
    }

    /// Reads turns that are not indexed.
    pub(super) fn scan_unindexed(&self, range: RangeInclusive<i64>, wanted: &dyn Fn(i64) -> bool) -> Result<Step> {
        self.step(&format!("{ALL} ORDER BY id DESC"), &BroadMatch::All, &[range], MAX_UNINDEXED_TURNS, wanted)
    }

    fn step(
        &self,
        sql: &str,
        wide: &BroadMatch,
        ranges: &[RangeInclusive<i64>],
        size: usize,
        wanted: &dyn Fn(i64) -> bool,
    ) -> Result<Step> {
        let (mut turns, mut text, mut passed): (Vec<(i64, Option<String>, String)>, _, _) = (Vec::new(), 0, 0);
        let mut rest = None;
        let mut select = self.snapshot.prepare_cached(sql).context(CONTEXT)?;
        'all: for range in ranges {
            let mut rows = match wide {
                BroadMatch::All => select.query((range.start(), range.end())),
                BroadMatch::Of(expression) => select.query((range.start(), range.end(), expression)),
            }
            .context(CONTEXT)?;
            while let Some(row) = rows.next().context(CONTEXT)? {
                let id = row.get(0).context(CONTEXT)?;
                if turns.len() == size || text > MAX_TEXT_BYTES || passed == MAX_SKIPPED_TURNS {
                    rest = Some(id);
                    break 'all;
                }
                if !wanted(id) {
                    passed += 1;
                    continue;
                }
                let turn: (i64, Option<String>, String) = row.try_into().context(CONTEXT)?;
                text += turn.2.len() + turn.1.as_ref().map_or(0, String::len);
                turns.push(turn);
            }
        }
        // Ascending order, as the index in memory needs it.
        let turns = turns.iter().rev().map(|(id, last, heard)| (*id, last.as_deref(), heard.as_str()));
        Ok(Step { matching: MemoryIndex::new(turns)?.matching(&self.plain)?, rest })
    }
}
