//! Pages of calls by rank.
//!
//! An index has the calls of each rank in order. A page checks the first of them one by one, which fills it if many
//! calls match. If few do, all that match are read and sorted.
//!
//! The index of the longest calls also has text conversations, which may last days. They follow all other calls, so the
//! index is read without them first. They are read and sorted when no other call is left.

use super::call_filter::{Conditions, KNOWN_SECONDS};
use super::call_text;
use super::calls::text_of;
use super::error::Context as _;
use super::row::{self, CALL, CALLS};
use super::statement::Statements as _;
use crate::domain::Channel;
use crate::store::{CallRank, MAX_PAGE_TEXT_BYTES, Page, RankKey, RankedCall, RankedCallRequest, Result};
use rusqlite::{Connection, Row, params_from_iter};
use std::path::Path;

const CONTEXT: &str = "listing calls by rank";

/// Number of calls of the index that are checked before all matches are sorted.
const WINDOW: usize = 1000;

/// Amount that is subtracted from the rank of a text conversation, in seconds: more than any duration.
const LOWERED_SECONDS: i64 = 1 << 40;

/// SQL of a rank.
struct Ranking {
    /// Value of the index.
    value: String,
    index: &'static str,
    /// Condition of the index.
    condition: &'static str,
    /// True if text conversations follow all others.
    texts_last: bool,
}

/// Returns the condition of calls in a channel of text.
fn is_text() -> String {
    let [sms, whatsapp, text] = [Channel::Sms, Channel::Whatsapp, Channel::Text].map(Channel::as_str);
    format!("ifnull(c.channel, '') IN ('{sms}', '{whatsapp}', '{text}')")
}

impl Ranking {
    fn of(rank: CallRank) -> Self {
        const OVER: &str = "c.status <> 'in_progress'";
        match rank {
            CallRank::Longest => {
                let known = KNOWN_SECONDS.strip_suffix(')').expect("a call of coalesce");
                let value = format!("{known}, 0)");
                Self { value, index: "calls_longest", condition: OVER, texts_last: true }
            }
            CallRank::MostTurns => {
                Self { value: "c.turn_count".to_owned(), index: "calls_most_turns", condition: OVER, texts_last: false }
            }
            CallRank::Costliest => Self {
                value: "c.cost".to_owned(),
                index: "calls_costliest",
                condition: "c.status <> 'in_progress' AND c.cost IS NOT NULL",
                texts_last: false,
            },
        }
    }

    /// Returns the value that calls are ordered by.
    fn key(&self) -> String {
        let value = &self.value;
        if self.texts_last {
            let is_text = is_text();
            format!("iif({is_text}, {value} - {LOWERED_SECONDS}, {value})")
        } else {
            value.clone()
        }
    }

    /// Returns whether a position is among the text conversations, which follow all others.
    fn is_among_texts(&self, position: RankKey) -> bool {
        self.texts_last && position.value < -(LOWERED_SECONDS / 2)
    }
}

/// Adds the condition of the calls after a position by a value, in a form that an index of the value serves.
fn add_past(conditions: &mut Conditions, value: &str, after: Option<RankKey>) {
    if let Some(RankKey { value: past, id }) = after {
        let sql = format!("{value} <= ? AND ({value} < ? OR c.id < ?)");
        conditions.and(&sql, [past.into(), past.into(), id.into()]);
    }
}

pub(super) fn list(
    connection: &mut Connection,
    database: &Path,
    request: &RankedCallRequest,
) -> Result<Page<RankedCall>> {
    if request.filter.text.is_some() {
        call_text::prepare(connection, database)?;
    }
    let snapshot = connection.transaction().context(CONTEXT)?;
    let ranking = Ranking::of(request.rank);
    let candidates = call_text::candidates(&snapshot, &request.filter)?;
    let mut conditions = Conditions::default();
    conditions.and_candidates(candidates.as_ref());
    conditions.and_calls(&request.filter);
    conditions.and(ranking.condition, []);
    let total = if request.with_total {
        let sql = format!("SELECT count(*) FROM calls c {}", conditions.clause());
        Some(snapshot.fetch_one(&sql, params_from_iter(conditions.values()), |row| row.get(0)).context(CONTEXT)?)
    } else {
        None
    };
    let by_index = candidates.is_none()
        && !request.filter.has_few_calls()
        && !request.after.is_some_and(|key| ranking.is_among_texts(key));
    let mut first = FirstCalls::new(request.limit);
    if by_index && first.add_from_index(&snapshot, request, &ranking, &conditions)? {
        if !first.is_full() && ranking.texts_last && has_texts(&snapshot)? {
            let mut of_texts = conditions;
            of_texts.and(&is_text(), []);
            first.add_sorted(&snapshot, &ranking, of_texts, None)?;
        }
    } else {
        first = FirstCalls::new(request.limit);
        conditions.and_named(&request.filter);
        first.add_sorted(&snapshot, &ranking, conditions, request.after)?;
    }
    let calls = first.calls.into_iter().map(Result::Ok);
    let page = Page::from_overfetch(calls, request.limit, |ranked: &RankedCall| text_of(&ranked.call))?;
    Ok(Page { total, ..page })
}

/// Returns whether there may be a text conversation.
fn has_texts(snapshot: &Connection) -> Result<bool> {
    snapshot.has_row(&format!("SELECT 1 FROM call_facets c WHERE {} LIMIT 1", is_text()), []).context(CONTEXT)
}

/// The first calls of the rest of a list: those of a page, and one more if there is one.
struct FirstCalls {
    calls: Vec<RankedCall>,
    /// Total size of their texts, in bytes.
    text: usize,
    /// Maximum number of calls of the page.
    limit: usize,
}

impl FirstCalls {
    fn new(limit: usize) -> Self {
        Self { calls: Vec::new(), text: 0, limit }
    }

    fn is_full(&self) -> bool {
        self.calls.len() > self.limit || (self.calls.len() > 1 && self.text > MAX_PAGE_TEXT_BYTES)
    }

    fn add(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        let call = row::call(row)?;
        self.text += text_of(&call);
        self.calls.push(RankedCall { key: RankKey { value: row.get("rank_value")?, id: call.id }, call });
        Ok(())
    }

    /// Adds calls from the index, without text conversations that follow all others. Returns false if calls may be
    /// missing because too few of the first ones match.
    fn add_from_index(
        &mut self,
        snapshot: &Connection,
        request: &RankedCallRequest,
        ranking: &Ranking,
        conditions: &Conditions,
    ) -> Result<bool> {
        let Ranking { value, index, condition, texts_last } = ranking;
        let mut range = Conditions::default();
        range.and(condition, []);
        add_past(&mut range, value, request.after);
        if *texts_last {
            range.and(&format!("NOT {}", is_text()), []);
        }
        let window = WINDOW.max(request.limit + 1);
        // SQLite keeps the order of the outer loop.
        let sql = format!(
            "SELECT {CALL}, {} AS rank_value FROM (SELECT c.id FROM calls c INDEXED BY {index} {} \
             ORDER BY {value} DESC, c.id DESC LIMIT {window}) w CROSS JOIN {CALLS} WHERE c.id = w.id{} LIMIT {}",
            ranking.key(),
            range.clause(),
            conditions.sql(),
            self.limit + 1
        );
        let values = range.values().iter().chain(conditions.values());
        let mut select = snapshot.prepare_cached(&sql).context(CONTEXT)?;
        let mut rows = select.query(params_from_iter(values)).context(CONTEXT)?;
        while !self.is_full() {
            let Some(row) = rows.next().context(CONTEXT)? else { break };
            self.add(row).context(CONTEXT)?;
        }
        Ok(self.is_full() || !has_more_candidates(snapshot, ranking, &range, window)?)
    }

    /// Adds the first matches after a position. All matches are read and sorted.
    fn add_sorted(
        &mut self,
        snapshot: &Connection,
        ranking: &Ranking,
        mut conditions: Conditions,
        after: Option<RankKey>,
    ) -> Result<()> {
        let key = ranking.key();
        add_past(&mut conditions, &key, after);
        // Without the sign, the planner may read the whole index of the rank.
        let sorted = format!(
            "SELECT c.id FROM calls c {} ORDER BY +({key}) DESC, c.id DESC LIMIT {}",
            conditions.clause(),
            self.limit + 1
        );
        let ids: Vec<i64> =
            snapshot.fetch_all(&sorted, params_from_iter(conditions.values()), |row| row.get(0)).context(CONTEXT)?;
        let sql = format!("SELECT {CALL}, {key} AS rank_value FROM {CALLS} WHERE c.id = ?");
        let mut select = snapshot.prepare_cached(&sql).context(CONTEXT)?;
        for id in ids {
            if self.is_full() {
                break;
            }
            select.query_row([id], |row| self.add(row)).context(CONTEXT)?;
        }
        Ok(())
    }
}

/// Returns whether the index contains more calls than `window`.
fn has_more_candidates(snapshot: &Connection, ranking: &Ranking, range: &Conditions, window: usize) -> Result<bool> {
    let Ranking { index, .. } = ranking;
    let sql = format!(
        "SELECT count(*) > {window} FROM (SELECT 1 FROM calls c INDEXED BY {index} {} LIMIT {})",
        range.clause(),
        window + 1
    );
    snapshot.fetch_one(&sql, params_from_iter(range.values()), |row| row.get(0)).context(CONTEXT)
}
