//! One search, as all that takes part in it sees it.

use super::super::error::Context as _;
use super::filter::Filter;
use super::fts_query::{self, FtsQuery};
use super::reach::{CONTEXT, Reach};
use super::state::IndexState;
use super::{fresh, time_blocks};
use crate::store::{Result, SearchQuery};
use rusqlite::Transaction;
use std::ops::RangeInclusive;

/// A search in one snapshot.
pub(super) struct PageSearch<'a> {
    pub(super) snapshot: &'a Transaction<'a>,
    pub(super) query: &'a SearchQuery,
    pub(super) plain: String,
    pub(super) for_index: FtsQuery,
    pub(super) filter: Filter,
    /// State of the index, if there is one.
    pub(super) index: Option<IndexState>,
    /// True if turns changed after they were indexed.
    pub(super) has_changes: bool,
    pub(super) reach: Reach,
    /// Ranges of the index that may contain requested turns, the last first.
    pub(super) ranges: Vec<RangeInclusive<i64>>,
    /// Matching turns of the tail, newest first.
    pub(super) tail: Vec<i64>,
    /// Lowest row id of the tail.
    pub(super) tail_from: i64,
    /// Matching turns that changed after they were indexed, newest first.
    pub(super) changed: Vec<i64>,
    pub(super) unsearched: u64,
}

impl<'a> PageSearch<'a> {
    /// Begins a search with an index in this state, or without an index.
    pub(super) fn begin(
        snapshot: &'a Transaction<'a>,
        query: &'a SearchQuery,
        index: Option<IndexState>,
        reach: Reach,
    ) -> Result<Self> {
        let state = index.unwrap_or_default();
        let plain = fts_query::render_literal(&query.wanted);
        let tail = fresh::search_unindexed(snapshot, state.to, &plain)?;
        let pending = if index.is_some() { state.changes(snapshot)? } else { 0 };
        let changed = if pending > 0 {
            fresh::search_changed(snapshot, state, pending, &plain)?
        } else {
            fresh::UnindexedHits::default()
        };
        let older = state.older(snapshot)?;
        let unsearched = older + state.newer(snapshot)?.saturating_sub(tail.searched) + changed.unsearched;
        Ok(Self {
            snapshot,
            query,
            for_index: FtsQuery::new(&query.wanted, index.map(|_| &**snapshot)).context(CONTEXT)?,
            plain,
            filter: Filter::from_query(query),
            index,
            has_changes: pending > 0,
            reach,
            ranges: if index.is_some() { time_blocks::blocks_matching(snapshot, query, state)? } else { Vec::new() },
            tail: tail.matching,
            tail_from: tail.from,
            changed: changed.matching,
            unsearched: if reach == Reach::All { 0 } else { unsearched },
        })
    }

    /// Returns a condition, to be appended to others, that the turn with this id did not change after it was indexed.
    pub(super) fn unchanged(&self, id: &str) -> String {
        match self.index {
            Some(IndexState { changes_to, .. }) if self.has_changes => format!(
                " AND NOT EXISTS (SELECT 1 FROM search_changes x WHERE x.turn_id = {id} AND x.id > {changes_to})"
            ),
            _ => String::new(),
        }
    }
}
