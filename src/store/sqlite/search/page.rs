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
use super::collector::{Look, Taken, Taking};
use super::memory_index::Scratch;
use super::page_search::Search;
use super::reach::{DOING, Reach};
use super::scan;
use crate::domain::Snippet;
use crate::store::{Found, Hit, Place, Result, SearchKey, SearchOrder};
use rusqlite::params_from_iter;
use rusqlite::types::Value;
use std::ops::RangeInclusive;

/// Number of turns that are ranked together.
const GROUP_TURNS: usize = 300;

/// Maximum number of ranges of the index that are searched for one page. Each costs a query.
const MAX_RANGES: usize = 32;

impl Search<'_> {
    /// Returns the requested page.
    pub(super) fn page(&self) -> Result<Found> {
        let top = self.query.after.map_or(i64::MAX, |key| key.top);
        let (hits, next) = match self.query.order {
            SearchOrder::Newest => self.page_newest(top)?,
            SearchOrder::Best => self.page_by_rank(top, self.query.after.and_then(|key| key.within))?,
        };
        let total = if self.query.with_total { Some(self.total()?) } else { None };
        Ok(Found { hits, next, total, unsearched: self.unsearched })
    }

    fn page_newest(&self, top: i64) -> Result<(Vec<Hit>, Option<SearchKey>)> {
        let mut taken = self.take(0, top, self.query.limit, self.query.limit)?;
        self.add_snippets(&mut taken.hits)?;
        Ok((taken.hits, taken.rest.map(|top| SearchKey { top, within: None })))
    }

    /// Adds the snippets to the hits.
    fn add_snippets(&self, hits: &mut [Hit]) -> Result<()> {
        let mut snippets = scratch_of(hits)?.snippets(&self.plain)?;
        for hit in hits {
            hit.snippet = snippets.remove(&hit.turn.id).unwrap_or(Snippet(Vec::new()));
        }
        Ok(())
    }

    /// Returns a page of the group that begins at `top`, after a position in it.
    fn page_by_rank(&self, top: i64, place: Option<Place>) -> Result<(Vec<Hit>, Option<SearchKey>)> {
        // A position in the group requires collecting the whole group again.
        let (least, enough) = place.map_or((0, self.query.limit), |place| (place.bottom, usize::MAX));
        let taken = self.take(least, top, GROUP_TURNS, enough)?;
        let bottom = match place {
            Some(place) => place.bottom,
            None => taken.rest.map_or(0, |rest| rest + 1),
        };
        let ranks = scratch_of(&taken.hits)?.ranks(&self.plain)?;
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
            let within = ranked.last().map(|(rank, hit)| Place { bottom, rank: *rank, id: hit.turn.id });
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
        self.snapshot.query_row("SELECT ifnull(max(id), 0) FROM call_transcriptions", [], |row| row.get(0)).doing(DOING)
    }

    /// Collects up to `most` requested turns, from `top` down to `bottom`. May collect fewer, but at least `enough`, if
    /// that is faster.
    fn take(&self, bottom: i64, top: i64, most: usize, enough: usize) -> Result<Taken> {
        let noted = self.filter.noted(self.snapshot)?;
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
        let mut taking = Taking::new(self, most)?;
        for id in of_these(&self.tail) {
            if !taking.offer(id)? {
                return Ok(taking.taken);
            }
        }
        let state = self.index.unwrap_or_default();
        let behind_tail = bottom.max(state.to + 1)..=top.min(self.tail_from - 1);
        if self.reach == Reach::All && !self.scan(&mut taking, behind_tail, enough, &wanted)? {
            return Ok(taking.taken);
        }
        taking.changed = of_these(&self.changed).into();
        if self.index.is_some() && !self.take_indexed(&mut taking, bottom, top, enough, &wanted)? {
            return Ok(taking.taken);
        }
        if !taking.offer_changed(bottom)? {
            return Ok(taking.taken);
        }
        if self.reach == Reach::All {
            self.scan(&mut taking, bottom..=top.min(state.after), enough, &wanted)?;
        }
        Ok(taking.taken)
    }

    /// Offers the index's matches, and returns whether more are wanted.
    fn take_indexed(
        &self,
        taking: &mut Taking<'_>,
        bottom: i64,
        top: i64,
        enough: usize,
        wanted: &dyn Fn(i64) -> bool,
    ) -> Result<bool> {
        let mut ranges = self.ranges_between(bottom, top);
        if let Some(wide) = &self.for_index.wide {
            for size in scan::STEP_TURNS {
                let step = self.walk(wide, &ranges, size, wanted)?;
                for id in step.matching {
                    if !taking.offer_indexed(id)? {
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
            .doing(DOING)?;
        for (n, range) in ranges.iter().enumerate() {
            if n == MAX_RANGES {
                return taking.end_at(*range.end()).map(|()| false);
            }
            let mut rows = select.query((&self.for_index.exact, range.start(), range.end())).doing(DOING)?;
            while let Some(row) = rows.next().doing(DOING)? {
                let id = row.get(0).doing(DOING)?;
                if wanted(id) && !taking.offer_indexed(id)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Offers matching turns of a part without index, and returns whether more are wanted.
    fn scan(
        &self,
        taking: &mut Taking<'_>,
        mut range: RangeInclusive<i64>,
        enough: usize,
        wanted: &dyn Fn(i64) -> bool,
    ) -> Result<bool> {
        while !range.is_empty() {
            let step = self.walk_unindexed(range.clone(), wanted)?;
            for id in step.matching {
                if !taking.offer(id)? {
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
        let mut look = Look::new(self)?;
        let mut total = if self.index.is_some() { self.total_indexed()? } else { 0 };
        for &id in self.tail.iter().chain(&self.changed) {
            total += u64::from(look.at(id)?.is_some());
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
            .prepare_cached(&sql)
            .and_then(|mut select| {
                let values = std::iter::once(&expression).chain(self.filter.values());
                select.query_row(params_from_iter(values), |row| row.get(0))
            })
            .doing("counting what was searched for")
    }
}

/// Builds the index in ascending order, because FTS5 flushes its buffer when it gets a lower row id.
fn scratch_of(hits: &[Hit]) -> Result<Scratch> {
    let mut turns: Vec<_> = hits.iter().map(|hit| &hit.turn).collect();
    turns.sort_unstable_by_key(|turn| turn.id);
    Scratch::of(turns.into_iter().map(|turn| {
        let final_text = turn.final_text.as_ref().map(crate::domain::Message::as_str);
        (turn.id, final_text, turn.message.as_str())
    }))
}
