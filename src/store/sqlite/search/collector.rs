//! Taking turns: which of those that match are wanted, until a page is full.

use super::super::error::Context as _;
use super::super::row::{self, Columns, TURN};
use super::page_search::Search;
use super::reach::DOING;
use crate::domain::Snippet;
use crate::store::{Hit, Result};
use rusqlite::types::Value;
use rusqlite::{OptionalExtension as _, Row, params_from_iter};
use std::collections::VecDeque;

/// How many turns that match are looked up for one page, at some microseconds each.
const MAX_LOOKS: usize = 10_000;

/// How much text there may be in a page, or be ranked together, in bytes.
const MAX_TEXT: usize = 1024 * 1024;

/// Turns that were taken one by one.
pub(super) struct Taken {
    pub(super) hits: Vec<Hit>,
    /// The greatest row number that was not taken although it is wanted, or was not looked at; if there is any.
    pub(super) rest: Option<i64>,
}

/// Takes what is wanted of the turns that it is offered, the last stored first.
pub(super) struct Taking<'a> {
    look: Look<'a>,
    look_indexed: Look<'a>,
    most: usize,
    looks: usize,
    text: usize,
    pub(super) taken: Taken,
    /// Turns that match, and to which the index does not lead; newest first.
    pub(super) changed: VecDeque<i64>,
}

impl<'a> Taking<'a> {
    pub(super) fn new(search: &Search<'a>, most: usize) -> Result<Self> {
        Ok(Self {
            look: Look::new(search)?,
            look_indexed: Look::indexed(search)?,
            most,
            looks: 0,
            text: 0,
            taken: Taken { hits: Vec::new(), rest: None },
            changed: VecDeque::new(),
        })
    }

    /// Returns whether there is room for more.
    pub(super) fn offer(&mut self, id: i64) -> Result<bool> {
        self.take(id, false)
    }

    /// Offers a turn to which the index leads, if it is as the index knows it, after the newer ones that are not.
    pub(super) fn offer_indexed(&mut self, id: i64) -> Result<bool> {
        Ok(self.offer_changed(id)? && self.take(id, true)?)
    }

    /// Offers the changed turns from this one on.
    pub(super) fn offer_changed(&mut self, from: i64) -> Result<bool> {
        while let Some(id) = self.changed.pop_front_if(|id| *id >= from) {
            if !self.take(id, false)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Ends the page before a turn that was not looked at.
    pub(super) fn end_at(&mut self, rest: i64) -> Result<()> {
        if self.offer_changed(rest + 1)? {
            self.taken.rest = Some(rest);
        }
        Ok(())
    }

    fn take(&mut self, id: i64, indexed: bool) -> Result<bool> {
        let Self { look, look_indexed, most, looks, text, taken, .. } = self;
        if *looks == MAX_LOOKS || *text > MAX_TEXT {
            taken.rest = Some(id);
            return Ok(false);
        }
        *looks += 1;
        let look = if indexed { look_indexed } else { look };
        let Some(hit) = look.at(id)? else { return Ok(true) };
        if taken.hits.len() == *most {
            taken.rest = Some(id);
            return Ok(false);
        }
        *text += hit.turn.message.as_str().len() + hit.turn.final_text.as_ref().map_or(0, |t| t.as_str().len());
        taken.hits.push(hit);
        Ok(true)
    }
}

/// Looks turns up, of those that are wanted.
pub(super) struct Look<'a> {
    select: rusqlite::CachedStatement<'a>,
    values: Vec<Value>,
}

impl<'a> Look<'a> {
    /// Of all turns.
    pub(super) fn new(search: &Search<'a>) -> Result<Self> {
        Self::of(search, "")
    }

    /// Of those that are as the index knows them.
    fn indexed(search: &Search<'a>) -> Result<Self> {
        Self::of(search, &search.unchanged("t.id"))
    }

    fn of(search: &Search<'a>, more: &str) -> Result<Self> {
        let sql = format!(
            "SELECT {TURN}, c.driver_id, d.name, c.status, c.call_start_time FROM call_transcriptions t \
             CROSS JOIN calls c ON c.conversation_id = t.conversation_id LEFT JOIN drivers d ON d.id = c.driver_id \
             WHERE t.id = ? AND {}{more}",
            search.filter.conditions()
        );
        let select = search.snapshot.prepare_cached(&sql).doing(DOING)?;
        let values = std::iter::once(Value::Null).chain(search.filter.values().cloned()).collect();
        Ok(Self { select, values })
    }

    pub(super) fn at(&mut self, id: i64) -> Result<Option<Hit>> {
        self.values[0] = id.into();
        self.select.query_row(params_from_iter(&self.values), hit).optional().doing(DOING)
    }
}

fn hit(row: &Row<'_>) -> rusqlite::Result<Hit> {
    let mut columns = Columns::of(row);
    Ok(Hit {
        turn: row::turn_of(&mut columns)?,
        driver_id: columns.take("driver_id")?,
        driver_name: columns.take("name")?,
        status: columns.take("status")?,
        call_start_time: columns.take("call_start_time")?,
        snippet: Snippet(Vec::new()),
    })
}
