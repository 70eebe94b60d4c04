//! Search queries and their results.

use super::CallFilter;
use crate::domain::{
    AnsweredBy, CallStatus, Channel, DriverId, SearchExpr, Snippet, Speaker, Timestamp, Turn, TurnKind,
};

/// The order of search results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchOrder {
    /// Best match first within groups of some hundred turns. The group that was stored last comes first.
    Best,
    /// Latest stored first.
    Newest,
}

/// A search for turns.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchQuery {
    /// The search expression.
    pub wanted: SearchExpr,
    /// Only turns of this speaker. The words of a voicemail or fax are not the driver's.
    pub speaker: Option<Speaker>,
    /// Only turns of one of these kinds; empty for any.
    pub kinds: Vec<TurnKind>,
    /// Only turns of these calls.
    pub calls: CallFilter,
    /// Only turns said at this instant or later.
    pub said_after: Option<Timestamp>,
    /// Only turns said before this instant.
    pub said_before: Option<Timestamp>,
    /// The order of the results.
    pub order: SearchOrder,
    /// The end of the previous page, if there is one.
    pub after: Option<SearchKey>,
    /// Maximum number of rows. There may be fewer although more follow.
    pub limit: usize,
    /// If true, counts all matches.
    pub with_total: bool,
}

/// The end of a page of search results.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SearchKey {
    /// Maximum row id of the results that follow.
    pub top: i64,
    /// Set within a group of turns that are ordered by rank.
    pub within: Option<RankPosition>,
}

/// A position in a group of turns that are ordered by rank.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RankPosition {
    /// Lowest row id of the group.
    pub bottom: i64,
    /// Rank of the last turn. Lower ranks match better.
    pub rank: f64,
    /// Row id of the last turn.
    pub id: i64,
}

/// A matching turn with facts of its call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The turn.
    pub turn: Turn,
    /// Driver of the call, if known.
    pub driver_id: Option<DriverId>,
    /// Name of that driver.
    pub driver_name: Option<String>,
    /// Status of the call.
    pub status: CallStatus,
    /// Start of the call.
    pub call_start_time: Timestamp,
    /// The one who answered, if known.
    pub answered_by: Option<AnsweredBy>,
    /// Channel of the conversation, if known.
    pub channel: Option<Channel>,
    /// The matching words with some context.
    pub snippet: Snippet,
}

/// A page of search results.
#[derive(Debug, Clone, PartialEq)]
pub struct HitPage {
    /// The turns, in the requested order.
    pub hits: Vec<Hit>,
    /// The start of the next page, or `None` at the end.
    pub next: Option<SearchKey>,
    /// Number of all matches, if requested.
    pub total: Option<u64>,
    /// Upper bound of the turns that were not searched because they are not indexed yet.
    pub unsearched: u64,
}
