//! Collects matching turns that pass the filter, until a page is full.

use super::super::error::Context as _;
use super::super::row::{self, Columns, TURN};
use super::page_search::PageSearch;
use super::reach::CONTEXT;
use crate::domain::Snippet;
use crate::store::{Hit, Result};
use rusqlite::types::Value;
use rusqlite::{OptionalExtension as _, Row, params_from_iter};
use std::collections::VecDeque;

/// Maximum number of matching turns that are looked up for one page, at some microseconds each.
const MAX_LOOKUPS: usize = 10_000;

/// Maximum length of the texts of a page, or of a group that is ranked, in bytes.
const MAX_TEXT_BYTES: usize = 1024 * 1024;

/// The collected turns.
pub(super) struct CollectedHits {
    pub(super) hits: Vec<Hit>,
    /// Highest row id of a requested turn that was not collected, or of one that was not looked up; `None` at the end.
    pub(super) rest: Option<i64>,
}

/// Collects the requested ones among the offered turns, the last stored first.
pub(super) struct HitCollector<'a> {
    look: HitLookup<'a>,
    look_indexed: HitLookup<'a>,
    most: usize,
    looks: usize,
    text: usize,
    pub(super) taken: CollectedHits,
    /// Matching turns that the index does not return, newest first.
    pub(super) changed: VecDeque<i64>,
}

impl<'a> HitCollector<'a> {
    pub(super) fn new(search: &PageSearch<'a>, most: usize) -> Result<Self> {
        Ok(Self {
            look: HitLookup::new(search)?,
            look_indexed: HitLookup::indexed(search)?,
            most,
            looks: 0,
            text: 0,
            taken: CollectedHits { hits: Vec::new(), rest: None },
            changed: VecDeque::new(),
        })
    }

    /// Offers a turn. Returns whether more turns are wanted.
    pub(super) fn push(&mut self, id: i64) -> Result<bool> {
        self.look_up(id, false)
    }

    /// Offers a turn from the index if it is unchanged, after the newer changed turns.
    pub(super) fn push_indexed(&mut self, id: i64) -> Result<bool> {
        Ok(self.push_changed(id)? && self.look_up(id, true)?)
    }

    /// Offers the changed turns with this id or a higher one.
    pub(super) fn push_changed(&mut self, from: i64) -> Result<bool> {
        while let Some(id) = self.changed.pop_front_if(|id| *id >= from) {
            if !self.look_up(id, false)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Ends the page before a turn that was not looked up.
    pub(super) fn end_at(&mut self, rest: i64) -> Result<()> {
        if self.push_changed(rest + 1)? {
            self.taken.rest = Some(rest);
        }
        Ok(())
    }

    fn look_up(&mut self, id: i64, indexed: bool) -> Result<bool> {
        let Self { look, look_indexed, most, looks, text, taken, .. } = self;
        if *looks == MAX_LOOKUPS || *text > MAX_TEXT_BYTES {
            taken.rest = Some(id);
            return Ok(false);
        }
        *looks += 1;
        let look = if indexed { look_indexed } else { look };
        let Some(hit) = look.get(id)? else { return Ok(true) };
        if taken.hits.len() == *most {
            taken.rest = Some(id);
            return Ok(false);
        }
        *text += hit.turn.message.as_str().len() + hit.turn.final_text.as_ref().map_or(0, |t| t.as_str().len());
        taken.hits.push(hit);
        Ok(true)
    }
}

/// Looks up turns that pass the filter.
pub(super) struct HitLookup<'a> {
    select: rusqlite::CachedStatement<'a>,
    values: Vec<Value>,
}

impl<'a> HitLookup<'a> {
    /// Prepares looking up any turn.
    pub(super) fn new(search: &PageSearch<'a>) -> Result<Self> {
        Self::prepare(search, "")
    }

    /// Prepares looking up turns that did not change after they were indexed.
    fn indexed(search: &PageSearch<'a>) -> Result<Self> {
        Self::prepare(search, &search.unchanged("t.id"))
    }

    fn prepare(search: &PageSearch<'a>, more: &str) -> Result<Self> {
        let sql = format!(
            "SELECT {TURN}, c.driver_id, d.name, c.status, c.call_start_time, c.answered_by, c.channel \
             FROM call_transcriptions t \
             CROSS JOIN calls c ON c.conversation_id = t.conversation_id LEFT JOIN drivers d ON d.id = c.driver_id \
             WHERE t.id = ? AND {}{more}",
            search.filter.conditions()
        );
        let select = search.snapshot.prepare_cached(&sql).context(CONTEXT)?;
        let values = std::iter::once(Value::Null).chain(search.filter.values().cloned()).collect();
        Ok(Self { select, values })
    }

    pub(super) fn get(&mut self, id: i64) -> Result<Option<Hit>> {
        self.values[0] = id.into();
        self.select.query_row(params_from_iter(&self.values), hit).optional().context(CONTEXT)
    }
}

fn hit(row: &Row<'_>) -> rusqlite::Result<Hit> {
    let mut columns = Columns::new(row);
    Ok(Hit {
        turn: row::turn_of(&mut columns)?,
        driver_id: columns.take("driver_id")?,
        driver_name: columns.take("name")?,
        status: columns.take("status")?,
        call_start_time: columns.take("call_start_time")?,
        answered_by: columns.take("answered_by")?,
        channel: columns.take("channel")?,
        snippet: Snippet(Vec::new()),
    })
}
