//! Lists of calls by rank: the longest, those with the most turns, the costliest.

use super::CallFilter;
use crate::domain::Call;

/// A rank of calls, greatest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallRank {
    /// By duration; all conversations by text follow all others, because hours may pass between two messages.
    Longest,
    /// By number of turns.
    MostTurns,
    /// By cost in credits.
    Costliest,
}

/// Position of a call in a list by rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RankKey {
    /// Value of the rank, such as the duration in seconds. It orders the list, so by duration it is negative for
    /// conversations by text.
    pub value: i64,
    /// Row id of the call, which orders calls with equal value, greatest first.
    pub id: i64,
}

/// A request for a page of a list by rank. The list has only calls that are over, and by cost only calls whose cost is
/// known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankedCallRequest {
    /// The calls to list.
    pub filter: CallFilter,
    /// The rank.
    pub rank: CallRank,
    /// Only calls after this one.
    pub after: Option<RankKey>,
    /// Maximum number of rows.
    pub limit: usize,
    /// If true, counts all matches.
    pub with_total: bool,
}

/// A call in a list by rank.
#[derive(Debug, Clone, PartialEq)]
pub struct RankedCall {
    /// Position of the call.
    pub key: RankKey,
    /// The call.
    pub call: Call,
}
