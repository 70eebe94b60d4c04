//! Searches turns themselves, the last stored first, if the index would have to merge too many matches first. An
//! example is a search for all words that begin with `s`, which may be a thousand. If many turns match, some are found
//! soon; otherwise the index has few to merge.

use super::super::error::Context as _;
use super::fts_query::Wide;
use super::memory_index::Scratch;
use super::page_search::Search;
use super::reach::DOING;
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

impl Search<'_> {
    /// Reads up to `size` requested turns of these ranges of the index.
    pub(super) fn walk(
        &self,
        wide: &Wide,
        ranges: &[RangeInclusive<i64>],
        size: usize,
        wanted: &dyn Fn(i64) -> bool,
    ) -> Result<Step> {
        let sql = match wide {
            Wide::All => format!("{ALL}{} ORDER BY id DESC", self.unchanged("call_transcriptions.id")),
            Wide::Of(_) => format!(
                "SELECT t.id, t.final_text, t.message_text FROM turn_search s \
                 CROSS JOIN call_transcriptions t ON t.id = s.rowid \
                 WHERE turn_search MATCH ?3 AND s.rowid BETWEEN ?1 AND ?2{} ORDER BY s.rowid DESC",
                self.unchanged("t.id")
            ),
        };
        self.step(&sql, wide, ranges, size, wanted)
    }

    /// Reads turns that are not indexed.
    pub(super) fn walk_unindexed(&self, range: RangeInclusive<i64>, wanted: &dyn Fn(i64) -> bool) -> Result<Step> {
        self.step(&format!("{ALL} ORDER BY id DESC"), &Wide::All, &[range], MAX_UNINDEXED_TURNS, wanted)
    }

    fn step(
        &self,
        sql: &str,
        wide: &Wide,
        ranges: &[RangeInclusive<i64>],
        size: usize,
        wanted: &dyn Fn(i64) -> bool,
    ) -> Result<Step> {
        let (mut turns, mut text, mut passed): (Vec<(i64, Option<String>, String)>, _, _) = (Vec::new(), 0, 0);
        let mut rest = None;
        let mut select = self.snapshot.prepare_cached(sql).doing(DOING)?;
        'all: for range in ranges {
            let mut rows = match wide {
                Wide::All => select.query((range.start(), range.end())),
                Wide::Of(expression) => select.query((range.start(), range.end(), expression)),
            }
            .doing(DOING)?;
            while let Some(row) = rows.next().doing(DOING)? {
                let id = row.get(0).doing(DOING)?;
                if turns.len() == size || text > MAX_TEXT_BYTES || passed == MAX_SKIPPED_TURNS {
                    rest = Some(id);
                    break 'all;
                }
                if !wanted(id) {
                    passed += 1;
                    continue;
                }
                let turn: (i64, Option<String>, String) = row.try_into().doing(DOING)?;
                text += turn.2.len() + turn.1.as_ref().map_or(0, String::len);
                turns.push(turn);
            }
        }
        // Ascending order, as the index in memory needs it.
        let turns = turns.iter().rev().map(|(id, last, heard)| (*id, last.as_deref(), heard.as_str()));
        Ok(Step { matching: Scratch::of(turns)?.matching(&self.plain)?, rest })
    }
}
