//! Pages of calls by rank.
//!
//! An index has the calls of each rank in order. A page checks the first of them one by one, which fills it if many
//! calls match. If few do, all that match are read and sorted.

use super::call_filter::{Conditions, KNOWN_SECONDS};
use super::calls::text_of;
use super::error::Context as _;
use super::row::{self, CALL, CALLS};
use super::statement::Statements as _;
use crate::store::{CallRank, Page, RankKey, RankedCall, RankedCallRequest, Result};
use rusqlite::{Connection, Row, params_from_iter};

const CONTEXT: &str = "listing calls by rank";

/// Number of calls of the index that are checked before all matches are sorted.
const WINDOW: usize = 1000;

/// SQL of a rank.
struct Ranking {
    value: String,
    index: &'static str,
    /// Condition of the index.
    condition: &'static str,
}

impl Ranking {
    fn of(rank: CallRank) -> Self {
        const OVER: &str = "c.status <> 'in_progress'";
        match rank {
            CallRank::Longest => {
                let known = KNOWN_SECONDS.strip_suffix(')').expect("a call of coalesce");
                Self { value: format!("{known}, 0)"), index: "calls_longest", condition: OVER }
            }
            CallRank::MostTurns => {
                Self { value: "c.turn_count".to_owned(), index: "calls_most_turns", condition: OVER }
            }
            CallRank::Costliest => Self {
                value: "c.cost".to_owned(),
                index: "calls_costliest",
                condition: "c.status <> 'in_progress' AND c.cost IS NOT NULL",
            },
        }
    }

    /// Adds the condition of the calls after a position, in a form that the index serves.
    fn add_past(&self, conditions: &mut Conditions, after: Option<RankKey>) {
        if let Some(RankKey { value: past, id }) = after {
            let value = &self.value;
            let sql = format!("{value} <= ? AND ({value} < ? OR c.id < ?)");
            conditions.and(&sql, [past.into(), past.into(), id.into()]);
        }
    }
}

pub(super) fn list(connection: &mut Connection, request: &RankedCallRequest) -> Result<Page<RankedCall>> {
    let snapshot = connection.transaction().context(CONTEXT)?;
    let ranking = Ranking::of(request.rank);
    let mut conditions = Conditions::of_calls(&request.filter);
    conditions.and(ranking.condition, []);
    let total = if request.with_total {
        let sql = format!("SELECT count(*) FROM calls c {}", conditions.clause());
        Some(snapshot.fetch_one(&sql, params_from_iter(conditions.values()), |row| row.get(0)).context(CONTEXT)?)
    } else {
        None
    };
    let quick =
        if request.filter.has_few_calls() { None } else { list_from_index(&snapshot, request, &ranking, &conditions)? };
    let page = match quick {
        Some(page) => page,
        None => sort(&snapshot, request, &ranking, conditions)?,
    };
    Ok(Page { total, ..page })
}

/// Returns a page if the first calls of the index fill it, or are all.
fn list_from_index(
    snapshot: &Connection,
    request: &RankedCallRequest,
    ranking: &Ranking,
    conditions: &Conditions,
) -> Result<Option<Page<RankedCall>>> {
    let Ranking { value, index, condition } = ranking;
    let mut range = Conditions::default();
    range.and(condition, []);
    ranking.add_past(&mut range, request.after);
    let window = WINDOW.max(request.limit + 1);
    // SQLite keeps the order of the outer loop.
    let sql = format!(
        "SELECT {CALL}, {value} AS rank_value FROM (SELECT c.id FROM calls c INDEXED BY {index} {} \
         ORDER BY {value} DESC, c.id DESC LIMIT {window}) w CROSS JOIN {CALLS} WHERE c.id = w.id{} LIMIT {}",
        range.clause(),
        conditions.sql(),
        request.limit + 1
    );
    let values = range.values().iter().chain(conditions.values());
    let calls: Vec<_> = snapshot.fetch_all(&sql, params_from_iter(values), ranked).context(CONTEXT)?;
    if calls.len() <= request.limit && has_more_candidates(snapshot, ranking, &range, window)? {
        return Ok(None);
    }
    let calls = calls.into_iter().map(Ok);
    Page::from_overfetch(calls, request.limit, |ranked| text_of(&ranked.call)).context(CONTEXT).map(Some)
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

/// Returns a page of all matches, sorted.
fn sort(
    snapshot: &Connection,
    request: &RankedCallRequest,
    ranking: &Ranking,
    mut conditions: Conditions,
) -> Result<Page<RankedCall>> {
    ranking.add_past(&mut conditions, request.after);
    let value = &ranking.value;
    // Without the sign, the planner may read the whole index of the rank.
    let sorted = format!(
        "SELECT c.id FROM calls c {} ORDER BY +({value}) DESC, c.id DESC LIMIT {}",
        conditions.clause(),
        request.limit + 1
    );
    let ids: Vec<i64> =
        snapshot.fetch_all(&sorted, params_from_iter(conditions.values()), |row| row.get(0)).context(CONTEXT)?;
    let sql = format!("SELECT {CALL}, {value} AS rank_value FROM {CALLS} WHERE c.id = ?");
    let mut select = snapshot.prepare_cached(&sql).context(CONTEXT)?;
    let calls = ids.into_iter().map(|id| select.query_row([id], ranked));
    Page::from_overfetch(calls, request.limit, |ranked| text_of(&ranked.call)).context(CONTEXT)
}

fn ranked(row: &Row<'_>) -> rusqlite::Result<RankedCall> {
    let call = row::call(row)?;
    Ok(RankedCall { key: RankKey { value: row.get("rank_value")?, id: call.id }, call })
}
