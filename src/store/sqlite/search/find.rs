//! A page of what was searched for.
//!
//! Turns that match come one by one, the last stored first: those of the tail, then those of the index. Each is looked
//! up and taken if the filter wants it, until the page is full or enough were looked at; then the page ends early, and
//! the next one goes on there. Ordered by how well they match, as many as [`GROUP`] are taken and ranked, and pages
//! are cut out of that group before the next one is taken.

use super::super::error::Context as _;
use super::super::row;
use super::filter::Filter;
use super::scratch::Scratch;
use super::{DOING, State, expression};
use crate::model::Snippet;
use crate::store::{Found, Hit, Place, Result, SearchKey, SearchOrder, SearchQuery};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params_from_iter};

/// How many turns are ranked together.
const GROUP: usize = 300;

/// How many turns that match are looked up for one page, at some microseconds each.
const MAX_LOOKS: usize = 20_000;

/// How much text there may be in a page, or be ranked together, in bytes.
const MAX_TEXT: usize = 1024 * 1024;

/// How many turns of the tail are searched, the newest ones; and how much text of theirs, in bytes.
const MAX_TAIL: i64 = 2000;
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
struct Search<'a> {
    snapshot: &'a Transaction<'a>,
    query: &'a SearchQuery,
    plain: String,
    for_index: String,
    filter: Filter,
    /// The tail's turns that match, newest first.
    tail: Vec<i64>,
    indexed_to: i64,
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
            for_index: expression::for_index(&query.wanted, snapshot).doing(DOING)?,
            plain,
            filter: Filter::of(query),
            tail,
            indexed_to: state.to,
            unsearched: state.older(snapshot)? + state.newer(snapshot)?.saturating_sub(searched),
        })
    }

    fn newest(&self, top: i64) -> Result<(Vec<Hit>, Option<SearchKey>)> {
        let mut taken = self.take(0, top, self.query.limit)?;
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
        let taken = self.take(place.map_or(0, |place| place.bottom), top, GROUP)?;
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

    /// Takes up to `most` turns that are wanted, from `top` down to `bottom`.
    fn take(&self, bottom: i64, top: i64, most: usize) -> Result<Taken> {
        let noted = self.filter.noted(self.snapshot)?;
        let (bottom, top) = match &noted {
            Some(noted) => (
                bottom.max(noted.iter().min().copied().unwrap_or(i64::MAX)),
                top.min(noted.iter().max().copied().unwrap_or(0)),
            ),
            None => (bottom, top),
        };
        let mut look = Look::new(self)?;
        let mut taken = Taken { hits: Vec::new(), rest: None };
        let (mut looks, mut text) = (0, 0);
        self.each(bottom, top, |id| {
            if noted.as_ref().is_some_and(|noted| !noted.contains(&id)) {
                return Ok(true);
            }
            if looks == MAX_LOOKS || text > MAX_TEXT {
                taken.rest = Some(id);
                return Ok(false);
            }
            looks += 1;
            let Some(hit) = look.at(id)? else { return Ok(true) };
            if taken.hits.len() == most {
                taken.rest = Some(id);
                return Ok(false);
            }
            text += hit.turn.message.as_str().len() + hit.turn.final_text.as_ref().map_or(0, |t| t.as_str().len());
            taken.hits.push(hit);
            Ok(true)
        })?;
        Ok(taken)
    }

    /// Calls `with` for each turn that matches from `top` down to `bottom`, until that says that it is enough.
    fn each(&self, bottom: i64, top: i64, mut with: impl FnMut(i64) -> Result<bool>) -> Result<()> {
        for &id in self.tail.iter().filter(|id| (bottom..=top).contains(*id)) {
            if !with(id)? {
                return Ok(());
            }
        }
        let top = top.min(self.indexed_to);
        let mut select = self
            .snapshot
            .prepare_cached(
                "SELECT rowid FROM turn_search WHERE turn_search MATCH ?1 AND rowid BETWEEN ?2 AND ?3 \
                 ORDER BY rowid DESC",
            )
            .doing(DOING)?;
        let mut rows = select.query((&self.for_index, bottom, top)).doing(DOING)?;
        while let Some(row) = rows.next().doing(DOING)? {
            if !with(row.get(0).doing(DOING)?)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn total(&self) -> Result<u64> {
        let sql = format!(
            "SELECT count(*) FROM turn_search s CROSS JOIN call_transcriptions t ON t.id = s.rowid \
             CROSS JOIN calls c ON c.conversation_id = t.conversation_id WHERE turn_search MATCH ? AND {}",
            self.filter.conditions()
        );
        let expression = Value::from(self.for_index.clone());
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

/// Looks turns up, of those that are wanted.
struct Look<'a> {
    select: rusqlite::CachedStatement<'a>,
    values: Vec<Value>,
}

impl<'a> Look<'a> {
    fn new(search: &Search<'a>) -> Result<Self> {
        let sql = format!(
            "SELECT t.*, c.driver_id AS call_driver_id, d.name AS driver_name, c.status AS call_status, \
             c.call_start_time AS call_start_time FROM call_transcriptions t \
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
    Ok(Hit {
        turn: row::turn(row)?,
        driver_id: row.get("call_driver_id")?,
        driver_name: row.get("driver_name")?,
        status: row.get("call_status")?,
        call_start_time: row.get("call_start_time")?,
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
