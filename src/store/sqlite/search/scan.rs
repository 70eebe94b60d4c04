//! Looking at turns themselves, the last stored first, where the index would have to bring very many together before it
//! gives the first one: all that hold one of the thousand words that begin with `s`, for example. If there are so many, some
//! are soon met; if not, the index has few to bring together.

use super::super::error::Context as _;
use super::fts_query::Wide;
use super::memory_index::Scratch;
use super::page_search::Search;
use super::reach::DOING;
use crate::store::Result;
use std::ops::RangeInclusive;

/// How many turns that may match are looked at in each step, at some ten microseconds each.
pub(super) const SIZES: [usize; 2] = [128, 384];

/// The same in each step through turns that are in no index, of which there may be very many.
const SCANNED: usize = 4096;

/// How many turns are passed over in a step, since they are not wanted.
const MAX_PASSED: usize = 4096;

/// How much text there may be in a step, in bytes.
const MAX_TEXT: usize = 1024 * 1024;

const ALL: &str = "SELECT id, final_text, message_text FROM call_transcriptions WHERE id BETWEEN ?1 AND ?2";

/// What a step came to.
pub(super) struct Step {
    /// The turns that match, the last stored first.
    pub(super) matching: Vec<i64>,
    /// The greatest row number that was not looked at; `None` when all were.
    pub(super) rest: Option<i64>,
}

impl Search<'_> {
    /// Looks at up to `size` turns of these parts of the index that are wanted.
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

    /// Looks at turns that are in no index.
    pub(super) fn walk_unindexed(&self, range: RangeInclusive<i64>, wanted: &dyn Fn(i64) -> bool) -> Result<Step> {
        self.step(&format!("{ALL} ORDER BY id DESC"), &Wide::All, &[range], SCANNED, wanted)
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
                if turns.len() == size || text > MAX_TEXT || passed == MAX_PASSED {
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
        // In ascending order, as the index in memory takes them best.
        let turns = turns.iter().rev().map(|(id, last, heard)| (*id, last.as_deref(), heard.as_str()));
        Ok(Step { matching: Scratch::of(turns)?.matching(&self.plain)?, rest })
    }
}
