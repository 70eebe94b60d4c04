//! A page of search results.
//!
//! Matching turns arrive one by one, the last stored first: those of the tail, then those of the index, merged with
//! turns that changed after they were indexed. Each is looked up and added if it passes the filter. The page ends when
//! it is full, or early when enough turns were looked up; the next page then continues there. Parts of the index
//! without turns of the requested times are skipped ([`super::time_blocks`]).
//!
//! For the order by rank, [`GROUP_TURNS`] turns are collected and ranked together, and pages are cut out of that group
//! before the next group is collected.

use super::super::error::Context as _;
use super::super::statement::Statements as _;
use super::collector::{CollectedHits, HitCollector, HitLookup};
use super::memory_index::MemoryIndex;
use super::page_search::PageSearch;
use super::reach::{CONTEXT, Reach};
use super::scan;
use crate::domain::Snippet;
use crate::store::{Hit, HitPage, RankPosition, Result, SearchKey, SearchOrder};
use rusqlite::params_from_iter;
use rusqlite::types::Value;
use std::ops::RangeInclusive;

/// Number of turns that are ranked together.
const GROUP_TURNS: usize = 300;

/// Maximum number of ranges of the index that are searched for one page. Each costs a query.
const MAX_RANGES: usize = 32;

impl PageSearch<'_> {
    /// Returns the requested page.
    pub(super) fn page(&self) -> Result<HitPage> {
        let top = self.query.after.map_or(i64::MAX, |key| key.top);
        let (hits, next) = match self.query.order {
            SearchOrder::Newest => self.page_newest(top)?,
            SearchOrder::Best => self.page_by_rank(top, self.query.after.and_then(|key| key.within))?,
        };
        let total = if self.query.with_total { Some(self.total()?) } else { None };
        Ok(HitPage { hits, next, total, unsearched: self.unsearched })
    }

    fn page_newest(&self, top: i64) -> Result<(Vec<Hit>, Option<SearchKey>)> {
        let mut taken = self.collect(0, top, self.query.limit, self.query.limit)?;
        self.add_snippets(&mut taken.hits)?;
        Ok((taken.hits, taken.rest.map(|top| SearchKey { top, within: None })))
    }

    /// Adds the snippets to the hits.
    fn add_snippets(&self, hits: &mut [Hit]) -> Result<()> {
        let mut snippets = memory_index_of(hits)?.snippets(&self.plain)?;
        for hit in hits {
            hit.snippet = snippets.remove(&hit.turn.id).unwrap_or(Snippet(Vec::new()));
        }
        Ok(())
    }

    /// Returns a page of the group that begins at `top`, after a position in it.
    fn page_by_rank(&self, top: i64, place: Option<RankPosition>) -> Result<(Vec<Hit>, Option<SearchKey>)> {
        // A position in the group requires collecting the whole group again.
        let (least, enough) = place.map_or((0, self.query.limit), |place| (place.bottom, usize::MAX));
        let taken = self.collect(least, top, GROUP_TURNS, enough)?;
        let bottom = match place {
            Some(place) => place.bottom,
            None => taken.rest.map_or(0, |rest| rest + 1),
        };
        let ranks = memory_index_of(&taken.hits)?.ranks(&self.plain)?;
        let rank = |hit: Hit| Some((*ranks.get(&hit.turn.id)?, hit));
        let mut ranked: Vec<(f64, Hit)> = taken.hits.into_iter().filter_map(rank).collect();
        ranked.sort_by(|(a, x), (b, y)| a.total_cmp(b).then(y.turn.id.cmp(&x.turn.id)));
        if let Some(place) = place {
            ranked.retain(|(rank, hit)| {
                rank.total_cmp(&place.rank).then(place.id.cmp(&hit.turn.id)) == std::cmp::Ordering::Greater
            });
        }
        let in_group = ranked.len() > self.query.limit;
        ranked.truncate(self.query.limit);
        let next = if in_group {
            let top = if top == i64::MAX { self.newest_id()? } else { top };
            let within = ranked.last().map(|(rank, hit)| RankPosition { bottom, rank: *rank, id: hit.turn.id });
            Some(SearchKey { top, within })
        } else {
            (bottom > 0).then(|| SearchKey { top: bottom - 1, within: None })
        };
        let mut hits: Vec<Hit> = ranked.into_iter().map(|(_, hit)| hit).collect();
        self.add_snippets(&mut hits)?;
        Ok((hits, next))
    }

    /// Returns the newest turn's id, which keeps turns that are stored later out of the group.
    fn newest_id(&self) -> Result<i64> {
        self.snapshot
            .query_row("SELECT ifnull(max(id), 0) FROM call_transcriptions", [], |row| row.get(0))
            .context(CONTEXT)
    }

    /// Collects up to `most` requested turns, from `top` down to `bottom`. May collect fewer, but at least `enough`, if
    /// that is faster.
    fn collect(&self, bottom: i64, top: i64, most: usize, enough: usize) -> Result<CollectedHits> {
        let noted = self.filter.candidate_ids(self.snapshot)?;
        let (bottom, top) = match &noted {
            Some(noted) => (
                bottom.max(noted.iter().min().copied().unwrap_or(i64::MAX)),
                top.min(noted.iter().max().copied().unwrap_or(0)),
            ),
            None => (bottom, top),
        };
        let wanted = |id| noted.as_ref().is_none_or(|noted| noted.contains(&id));
        let of_these = |ids: &[i64]| -> Vec<i64> {
            ids.iter().copied().filter(|id| (bottom..=top).contains(id) && wanted(*id)).collect()
        };
        let mut taking = HitCollector::new(self, most)?;
        for id in of_these(&self.tail) {
            if !taking.push(id)? {
                return Ok(taking.taken);
            }
        }
        let state = self.index.unwrap_or_default();
        let behind_tail = bottom.max(state.to + 1)..=top.min(self.tail_from - 1);
        if self.reach == Reach::All && !self.collect_unindexed(&mut taking, behind_tail, enough, &wanted)? {
            return Ok(taking.taken);
        }
        taking.changed = of_these(&self.changed).into();
        if self.index.is_some() && !self.collect_indexed(&mut taking, bottom, top, enough, &wanted)? {
            return Ok(taking.taken);
        }
        if !taking.push_changed(bottom)? {
            return Ok(taking.taken);
        }
        if self.reach == Reach::All {
            self.collect_unindexed(&mut taking, bottom..=top.min(state.after), enough, &wanted)?;
        }
        Ok(taking.taken)
    }

    /// Offers the index's matches, and returns whether more are wanted.
    fn collect_indexed(
        &self,
        taking: &mut HitCollector<'_>,
        bottom: i64,
        top: i64,
        enough: usize,
        wanted: &dyn Fn(i64) -> bool,
    ) -> Result<bool> {
        let mut ranges = self.ranges_between(bottom, top);
        if let Some(wide) = &self.for_index.broad {
            for size in scan::STEP_TURNS {
                let step = self.scan_indexed(wide, &ranges, size, wanted)?;
                for id in step.matching {
                    if !taking.push_indexed(id)? {
                        return Ok(false);
                    }
                }
                let Some(rest) = step.rest else { return Ok(true) };
                if taking.taken.hits.len() >= enough {
                    return taking.end_at(rest).map(|()| false);
                }
                ranges = self.ranges_between(bottom, rest);
            }
            // Each separate query would merge all matches again.
            if let (Some(last), Some(first)) = (ranges.first(), ranges.last()) {
                ranges = vec![*first.start()..=*last.end()];
            }
        }
        let mut select = self
            .snapshot
            .prepare_cached(
                "SELECT rowid FROM turn_search WHERE turn_search MATCH ?1 AND rowid BETWEEN ?2 AND ?3 \
                 ORDER BY rowid DESC",
            )
            .context(CONTEXT)?;
        for (n, range) in ranges.iter().enumerate() {
            if n == MAX_RANGES {
                return taking.end_at(*range.end()).map(|()| false);
            }
            let mut rows = select.query((&self.for_index.exact, range.start(), range.end())).context(CONTEXT)?;
            while let Some(row) = rows.next().context(CONTEXT)? {
                let id = row.get(0).context(CONTEXT)?;
                if wanted(id) && !taking.push_indexed(id)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Offers matching turns of a part without index, and returns whether more are wanted.
    fn collect_unindexed(
        &self,
        taking: &mut HitCollector<'_>,
        mut range: RangeInclusive<i64>,
        enough: usize,
        wanted: &dyn Fn(i64) -> bool,
    ) -> Result<bool> {
        while !range.is_empty() {
            let step = self.scan_unindexed(range.clone(), wanted)?;
            for id in step.matching {
                if !taking.push(id)? {
                    return Ok(false);
                }
            }
            let Some(rest) = step.rest else { break };
            if taking.taken.hits.len() >= enough {
                taking.taken.rest = Some(rest);
                return Ok(false);
            }
            range = *range.start()..=rest;
        }
        Ok(true)
    }

    /// Returns the ranges of the index that may contain requested turns, from `top` down to `bottom`.
    fn ranges_between(&self, bottom: i64, top: i64) -> Vec<RangeInclusive<i64>> {
        let bottom = bottom.max(self.index.unwrap_or_default().after + 1);
        let cut = |range: &RangeInclusive<i64>| bottom.max(*range.start())..=top.min(*range.end());
        self.ranges.iter().map(cut).filter(|range| !range.is_empty()).collect()
    }

    fn total(&self) -> Result<u64> {
        let mut look = HitLookup::new(self)?;
        let mut total = if self.index.is_some() { self.total_indexed()? } else { 0 };
        for &id in self.tail.iter().chain(&self.changed) {
            total += u64::from(look.get(id)?.is_some());
        }
        Ok(total)
    }

    fn total_indexed(&self) -> Result<u64> {
        let sql = format!(
            "SELECT count(*) FROM turn_search s CROSS JOIN call_transcriptions t ON t.id = s.rowid \
             CROSS JOIN calls c ON c.conversation_id = t.conversation_id WHERE turn_search MATCH ? AND {}{}",
            self.filter.conditions(),
            self.unchanged("t.id")
        );
        let expression = Value::from(self.for_index.exact.clone());
        self.snapshot
            .fetch_one(&sql, params_from_iter(std::iter::once(&expression).chain(self.filter.values())), |row| {
                row.get(0)
            })
            .context("counting what was searched for")
    }
}

/// Builds the index in ascending order, because FTS5 flushes its buffer when it gets a lower row id.
fn memory_index_of(hits: &[Hit]) -> Result<MemoryIndex> {
    let mut turns: Vec<_> = hits.iter().map(|hit| &hit.turn).collect();
    turns.sort_unstable_by_key(|turn| turn.id);
    MemoryIndex::new(turns.into_iter().map(|turn| {
        let final_text = turn.final_text.as_ref().map(crate::domain::Message::as_str);
        (turn.id, final_text, turn.message.as_str())
    }))
}
