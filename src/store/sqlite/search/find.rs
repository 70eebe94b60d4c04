//! A page of what was searched for.
//!
//! Turns that match come one by one, the last stored first: those of the tail, then those of the index. Each is looked
//! up and taken if the filter wants it, until the page is full or enough were looked at; then the page ends early, and
//! the next one goes on there. Parts of the index that hold nothing of the wanted times are passed over ([`spans`]).
//! Ordered by how well they match, as many as [`GROUP`] are taken and ranked, and pages are cut out of that group before
//! the next one is taken.

use super::super::error::Context as _;
use super::super::row::{self, Columns, TURN};
use super::expression::{self, ForIndex};
use super::filter::Filter;
use super::scratch::Scratch;
use super::{DOING, State, spans, walk};
use crate::model::Snippet;
use crate::store::{Found, Hit, Place, Result, SearchKey, SearchOrder, SearchQuery};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params_from_iter};
use std::ops::RangeInclusive;

/// How many turns are ranked together.
const GROUP: usize = 300;

/// How many turns that match are looked up for one page, at some microseconds each.
const MAX_LOOKS: usize = 10_000;

/// How many parts of the index are looked through for one page, each of which takes a query.
const MAX_RANGES: usize = 32;

/// How much text there may be in a page, or be ranked together, in bytes.
const MAX_TEXT: usize = 1024 * 1024;

/// How many turns of the tail are searched, the newest ones, each search bringing them into an index anew: twice what waits
/// for quiet to come into the file's. And how much text of theirs, in bytes.
const MAX_TAIL: i64 = 512;
const MAX_TAIL_TEXT: usize = 1024 * 1024;

pub(in super::super) fn find(connection: &mut Connection, query: &SearchQuery) -> Result<Found> {
    let snapshot = connection.transaction().doing(DOING)?;
    let search = Search::begin(&snapshot, query)?;
    let top = query.after.map_or(i64::MAX, |key| key.top);
    let (hits, next) = match query.order {
        SearchOrder::Newest => search.newest(top)?,
        SearchOrder::Best => search.best(top, query.after.and_then(|key| key.within))?,
    };
    let total = if query.with_total { Some(search.total()?) } else { None };
    Ok(Found { hits, next, total, unsearched: search.unsearched })
}

/// One search in one snapshot.
pub(super) struct Search<'a> {
    pub(super) snapshot: &'a Transaction<'a>,
    query: &'a SearchQuery,
    pub(super) plain: String,
    for_index: ForIndex,
    filter: Filter,
    /// Where in the index there may be turns that are wanted, the last first.
    ranges: Vec<RangeInclusive<i64>>,
    /// The tail's turns that match, newest first.
    tail: Vec<i64>,
    unsearched: u64,
}

/// Turns that were taken one by one.
struct Taken {
    hits: Vec<Hit>,
    /// The greatest row number that was not taken although it is wanted, or was not looked at; if there is any.
    rest: Option<i64>,
}

impl<'a> Search<'a> {
    fn begin(snapshot: &'a Transaction<'a>, query: &'a SearchQuery) -> Result<Self> {
        let state = State::read(snapshot)?;
        let plain = expression::plain(&query.wanted);
        let (tail, searched) = tail(snapshot, state.to, &plain)?;
        Ok(Self {
            snapshot,
            query,
            for_index: ForIndex::of(&query.wanted, snapshot).doing(DOING)?,
            plain,
            filter: Filter::of(query),
            ranges: spans::ranges(snapshot, query, state)?,
            tail,
            unsearched: state.older(snapshot)? + state.newer(snapshot)?.saturating_sub(searched),
        })
    }

    fn newest(&self, top: i64) -> Result<(Vec<Hit>, Option<SearchKey>)> {
        let mut taken = self.take(0, top, self.query.limit, self.query.limit)?;
        self.show(&mut taken.hits)?;
        Ok((taken.hits, taken.rest.map(|top| SearchKey { top, within: None })))
    }

    /// Adds the snippets.
    fn show(&self, hits: &mut [Hit]) -> Result<()> {
        let mut snippets = scratch_of(hits)?.snippets(&self.plain)?;
        for hit in hits {
            hit.snippet = snippets.remove(&hit.turn.id).unwrap_or(Snippet(Vec::new()));
        }
        Ok(())
    }

    /// A page out of the group that begins at `top`, behind a place in it.
    fn best(&self, top: i64, place: Option<Place>) -> Result<(Vec<Hit>, Option<SearchKey>)> {
        // Behind a place the whole group is taken again.
        let (least, enough) = place.map_or((0, self.query.limit), |place| (place.bottom, usize::MAX));
        let taken = self.take(least, top, GROUP, enough)?;
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
        self.show(&mut hits)?;
        Ok((hits, next))
    }

    /// So that turns that are stored from now on stay out of the group.
    fn newest_id(&self) -> Result<i64> {
        self.snapshot.query_row("SELECT ifnull(max(id), 0) FROM call_transcriptions", [], |row| row.get(0)).doing(DOING)
    }

    /// Takes up to `most` turns that are wanted, from `top` down to `bottom`; or fewer, but no less than `enough`, if it
    /// is quick to find these.
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
        let mut taking = Taking::new(self, most)?;
        for &id in self.tail.iter().filter(|id| (bottom..=top).contains(*id)) {
            if wanted(id) && !taking.offer(id)? {
                return Ok(taking.taken);
            }
        }
        let mut ranges = self.ranges_between(bottom, top);
        if let Some(wide) = &self.for_index.wide {
            for size in walk::SIZES {
                let step = self.walk(wide, &ranges, size, &wanted)?;
                for id in step.matching {
                    if !taking.offer(id)? {
                        return Ok(taking.taken);
                    }
                }
                let Some(rest) = step.rest else { return Ok(taking.taken) };
                if taking.taken.hits.len() >= enough {
                    taking.taken.rest = Some(rest);
                    return Ok(taking.taken);
                }
                ranges = self.ranges_between(bottom, rest);
            }
            // Each query would bring all together again.
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
                taking.taken.rest = Some(*range.end());
                break;
            }
            let mut rows = select.query((&self.for_index.exact, range.start(), range.end())).doing(DOING)?;
            while let Some(row) = rows.next().doing(DOING)? {
                let id = row.get(0).doing(DOING)?;
                if wanted(id) && !taking.offer(id)? {
                    return Ok(taking.taken);
                }
            }
        }
        Ok(taking.taken)
    }

    /// The parts of the index that may hold turns that are wanted, from `top` down to `bottom`.
    fn ranges_between(&self, bottom: i64, top: i64) -> Vec<RangeInclusive<i64>> {
        let cut = |range: &RangeInclusive<i64>| bottom.max(*range.start())..=top.min(*range.end());
        self.ranges.iter().map(cut).filter(|range| !range.is_empty()).collect()
    }

    fn total(&self) -> Result<u64> {
        let sql = format!(
            "SELECT count(*) FROM turn_search s CROSS JOIN call_transcriptions t ON t.id = s.rowid \
             CROSS JOIN calls c ON c.conversation_id = t.conversation_id WHERE turn_search MATCH ? AND {}",
            self.filter.conditions()
        );
        let expression = Value::from(self.for_index.exact.clone());
        let indexed: u64 = self
            .snapshot
            .prepare_cached(&sql)
            .and_then(|mut select| {
                let values = std::iter::once(&expression).chain(self.filter.values());
                select.query_row(params_from_iter(values), |row| row.get(0))
            })
            .doing("counting what was searched for")?;
        let mut look = Look::new(self)?;
        let mut total = indexed;
        for &id in &self.tail {
            total += u64::from(look.at(id)?.is_some());
        }
        Ok(total)
    }
}

/// Takes what is wanted of the turns that it is offered, the last stored first.
struct Taking<'a> {
    look: Look<'a>,
    most: usize,
    looks: usize,
    text: usize,
    taken: Taken,
}

impl<'a> Taking<'a> {
    fn new(search: &Search<'a>, most: usize) -> Result<Self> {
        let taken = Taken { hits: Vec::new(), rest: None };
        Ok(Self { look: Look::new(search)?, most, looks: 0, text: 0, taken })
    }

    /// Whether there is room for more.
    fn offer(&mut self, id: i64) -> Result<bool> {
        let Self { look, most, looks, text, taken } = self;
        if *looks == MAX_LOOKS || *text > MAX_TEXT {
            taken.rest = Some(id);
            return Ok(false);
        }
        *looks += 1;
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
struct Look<'a> {
    select: rusqlite::CachedStatement<'a>,
    values: Vec<Value>,
}

impl<'a> Look<'a> {
    fn new(search: &Search<'a>) -> Result<Self> {
        let sql = format!(
            "SELECT {TURN}, c.driver_id, d.name, c.status, c.call_start_time FROM call_transcriptions t \
             CROSS JOIN calls c ON c.conversation_id = t.conversation_id LEFT JOIN drivers d ON d.id = c.driver_id \
             WHERE t.id = ? AND {}",
            search.filter.conditions()
        );
        let select = search.snapshot.prepare_cached(&sql).doing(DOING)?;
        let values = std::iter::once(Value::Null).chain(search.filter.values().cloned()).collect();
        Ok(Self { select, values })
    }

    fn at(&mut self, id: i64) -> Result<Option<Hit>> {
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

/// In ascending order: at a lesser row number FTS5 writes out what it has gathered.
fn scratch_of(hits: &[Hit]) -> Result<Scratch> {
    let mut turns: Vec<_> = hits.iter().map(|hit| &hit.turn).collect();
    turns.sort_unstable_by_key(|turn| turn.id);
    Scratch::of(turns.into_iter().map(|turn| {
        let final_text = turn.final_text.as_ref().map(crate::model::Message::as_str);
        (turn.id, final_text, turn.message.as_str())
    }))
}

/// The turns of the tail that match, newest first, and how many there were in all.
fn tail(snapshot: &Transaction<'_>, indexed_to: i64, expression: &str) -> Result<(Vec<i64>, u64)> {
    let mut select = snapshot
        .prepare_cached(
            "SELECT id, final_text, message_text FROM call_transcriptions WHERE id > ?1 ORDER BY id DESC LIMIT ?2",
        )
        .doing(DOING)?;
    let mut rows = select.query([indexed_to, MAX_TAIL]).doing(DOING)?;
    let (mut turns, mut text): (Vec<(i64, Option<String>, String)>, _) = (Vec::new(), 0);
    while let Some(row) = rows.next().doing(DOING)? {
        let turn: (i64, Option<String>, String) = row.try_into().doing(DOING)?;
        text += turn.2.len() + turn.1.as_ref().map_or(0, String::len);
        if text > MAX_TAIL_TEXT && !turns.is_empty() {
            break;
        }
        turns.push(turn);
    }
    if turns.is_empty() {
        return Ok((Vec::new(), 0));
    }
    let searched = u64::try_from(turns.len()).unwrap_or(u64::MAX);
    // In ascending order again.
    let scratch = Scratch::of(turns.iter().rev().map(|(id, last, heard)| (*id, last.as_deref(), heard.as_str())))?;
    Ok((scratch.matching(expression)?, searched))
}
