//! What is asked when turns are searched, and what is found.

use crate::domain::{CallStatus, ConversationId, DriverId, Snippet, Speaker, Timestamp, Turn, Wanted};

/// Which turn that matches comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchOrder {
    /// The one that matches best, among some hundred that were stored last; then the best of those before them, and so
    /// on.
    Best,
    /// The one that was stored last.
    Newest,
}

/// Which turns.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchQuery {
    /// The words.
    pub wanted: Wanted,
    /// Only by this speaker.
    pub speaker: Option<Speaker>,
    /// Only of this call.
    pub conversation_id: Option<ConversationId>,
    /// Only of calls with this driver.
    pub driver_id: Option<DriverId>,
    /// Only of calls of this status.
    pub status: Option<CallStatus>,
    /// Only of calls that started at this instant or later.
    pub started_after: Option<Timestamp>,
    /// Only of calls that started before this instant.
    pub started_before: Option<Timestamp>,
    /// Only what was said at this instant or later.
    pub said_after: Option<Timestamp>,
    /// Only what was said before this instant.
    pub said_before: Option<Timestamp>,
    /// Which comes first.
    pub order: SearchOrder,
    /// Only what follows this.
    pub after: Option<SearchKey>,
    /// Greatest number of rows. There may be fewer although more follow.
    pub limit: usize,
    /// Whether to count all that match.
    pub with_total: bool,
}

/// Where a page ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SearchKey {
    /// What follows has row numbers up to this one.
    pub top: i64,
    /// Set within a group of turns that are ordered by how well they match.
    pub within: Option<Place>,
}

/// A place in a group of turns that are ordered by how well they match.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// The group's least row number.
    pub bottom: i64,
    /// The last turn's rank; lesser ones match better.
    pub rank: f64,
    /// The last turn's row number.
    pub id: i64,
}

/// A turn that was found, and of which call it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The turn.
    pub turn: Turn,
    /// Who was called, when that is known.
    pub driver_id: Option<DriverId>,
    /// That driver's name.
    pub driver_name: Option<String>,
    /// Where the call stands.
    pub status: CallStatus,
    /// When the call began.
    pub call_start_time: Timestamp,
    /// The words that were found, in some others.
    pub snippet: Snippet,
}

/// A page of what was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The turns, in the order asked for.
    pub hits: Vec<Hit>,
    /// Where the next page begins; `None` when nothing follows.
    pub next: Option<SearchKey>,
    /// How many match in all, where that was asked.
    pub total: Option<u64>,
    /// At most how many turns could not be searched, since they are not indexed yet.
    pub unsearched: u64,
}
