//! Queries of a store and their pages.
//!
//! Paging is by keyset: the key of the last row of a page says where the next page begins. Rows that are added
//! meanwhile neither shift nor repeat other rows.

use crate::domain::{
    AnsweredBy, Call, CallOutcome, CallStatus, Channel, ConversationId, Direction, DriverId, NumberEnd, Timestamp,
};
use std::collections::BTreeSet;

/// A sort order by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortOrder {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

/// Position of a call in the list of calls, which is ordered by start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallKey {
    /// Start of the call.
    pub start: Timestamp,
    /// Row id of the call, which orders calls with equal start.
    pub id: i64,
}

/// A filter of calls, for lists, exports, searches and statistics. All conditions that are set must hold; the default
/// selects all calls. A list of values accepts each of them, and an empty list accepts any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct CallFilter {
    /// Only this call.
    pub conversation_id: Option<ConversationId>,
    /// Only calls with this status.
    pub status: Option<CallStatus>,
    /// Only calls without these statuses.
    pub excluded_statuses: Vec<CallStatus>,
    /// Only calls with this driver.
    pub driver_id: Option<DriverId>,
    /// Only calls whose driver is known, or only those whose driver is not.
    pub has_driver: Option<bool>,
    /// Only calls of this ElevenLabs user. A call whose record names no user matches if the id is that of its driver.
    pub user_id: Option<String>,
    /// Only calls that this one answered. A call without any information counts as unknown.
    pub answered_by: Option<AnsweredBy>,
    /// Only calls with this result of the analysis. A call without an analysis counts as unknown.
    pub outcome: Option<CallOutcome>,
    /// Only calls in this direction.
    pub direction: Option<Direction>,
    /// Only calls of this channel. A call without a record counts as unknown.
    pub channel: Option<Channel>,
    /// Only calls of this ElevenLabs agent.
    pub agent_id: Option<String>,
    /// Only calls of this branch of an agent.
    pub branch_id: Option<String>,
    /// Only calls with this number at the other end.
    pub number: Option<NumberEnd>,
    /// Accepted main languages.
    pub languages: Vec<String>,
    /// Only calls of this environment.
    pub environment: Option<String>,
    /// If true, only calls of the environment `production` and calls without an environment.
    pub production_only: bool,
    /// Accepted tags. A call needs one of them.
    pub tags: Vec<String>,
    /// Accepted names of called tools. A call needs one of them.
    pub tools: Vec<String>,
    /// Only calls with a tool that failed, or only those without one.
    pub tool_error: Option<bool>,
    /// Accepted names of alerts. A call needs a turn that matched one of them.
    pub alerts: Vec<String>,
    /// Only calls with a turn that matched an alert, or only those without one.
    pub has_alert: Option<bool>,
    /// Minimum duration, in seconds. A call without a duration in its record lasts until its end or its last turn.
    pub min_seconds: Option<i64>,
    /// Maximum duration, in seconds.
    pub max_seconds: Option<i64>,
    /// Only calls with a recording, or only those without one.
    pub has_audio: Option<bool>,
    /// Only calls that were reconciled with a record, or only those that were not.
    pub reconciled: Option<bool>,
    /// Accepted reasons for the end.
    pub termination_reasons: Vec<String>,
    /// If true, conversations that a sub-agent held for another conversation are left out.
    pub exclude_children: bool,
    /// Only calls that started at this instant or later.
    pub started_after: Option<Timestamp>,
    /// Only calls that started before this instant.
    pub started_before: Option<Timestamp>,
    /// Only calls with this text in the conversation id, the driver's name or a message, or at the end of the number at
    /// the other end. Ids and messages ignore the case of ASCII letters, names case and accents of all letters, numbers
    /// the spelling. In messages, a text is found where a word begins ([`crate::domain::begins_at_word`]), or anywhere
    /// if an asterisk stands before it ([`crate::domain::part_of_word`]).
    pub text: Option<String>,
}

impl CallFilter {
    /// Returns the filter of the calls with a driver.
    pub fn of_driver(id: DriverId) -> Self {
        Self { driver_id: Some(id), ..Self::default() }
    }

    /// Returns whether the filter selects all calls.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether the filter selects one call, or the calls of one person.
    pub fn has_few_calls(&self) -> bool {
        self.conversation_id.is_some() || self.driver_id.is_some() || self.user_id.is_some() || self.number.is_some()
    }

    /// Returns whether the filter has a condition that few calls may meet: any other than the time of the calls' start,
    /// their environment, or that they are no sub-agents'.
    pub fn is_selective(&self) -> bool {
        let Self { production_only, exclude_children, started_after, started_before, .. } = *self;
        *self != Self { production_only, exclude_children, started_after, started_before, ..Self::default() }
    }
}

/// A request for a page of a list of calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallPageRequest {
    /// The calls to list.
    pub filter: CallFilter,
    /// Sort order by start.
    pub order: SortOrder,
    /// Only calls after this one in the sort order.
    pub after: Option<CallKey>,
    /// Maximum number of rows.
    pub limit: usize,
    /// If true, counts all matches.
    pub with_total: bool,
}

/// A page of a list of calls.
#[derive(Debug, Clone, PartialEq)]
pub struct CallPage {
    /// The calls, in the requested order.
    pub rows: Vec<Call>,
    /// The next page is that of the calls after this one; `None` on the last page. It may follow the last row, because
    /// a page ends early if many calls lack the text of its filter.
    pub next: Option<CallKey>,
    /// Number of all matches, if requested.
    pub total: Option<u64>,
}

/// A query for drivers, ordered by id. All conditions that are set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DriverPageRequest {
    /// Only drivers with one of these ids.
    pub ids: Option<BTreeSet<DriverId>>,
    /// Only drivers with this text in the name, ignoring case and accents, with its digits in the phone number, or with
    /// this id.
    pub text: Option<String>,
    /// Only drivers with a greater id.
    pub after: Option<DriverId>,
    /// Maximum number of rows.
    pub limit: usize,
    /// If true, counts all matches.
    pub with_total: bool,
}

/// A query for dispatches, ordered by conversation id. All conditions that are set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DispatchPageRequest {
    /// Only dispatches to this driver.
    pub driver_id: Option<DriverId>,
    /// Only dispatches of this batch.
    pub batch_id: Option<String>,
    /// Only dispatches with a greater conversation id.
    pub after: Option<ConversationId>,
    /// Maximum number of rows.
    pub limit: usize,
    /// If true, counts all matches.
    pub with_total: bool,
}

/// A query for expired calls, ordered by start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredCallQuery {
    /// Only calls whose last activity was before this instant.
    pub before: Timestamp,
    /// Only calls that started before this instant.
    pub started_before: Option<Timestamp>,
    /// Only calls after this one.
    pub after: Option<CallKey>,
    /// Maximum number of calls.
    pub limit: usize,
}

/// An expired call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredCall {
    /// Position of the call in the list of calls.
    pub key: CallKey,
    /// Id of the conversation.
    pub conversation_id: ConversationId,
    /// Number of its turns.
    pub turns: u64,
}

/// An event that belongs to no call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpiredEvent {
    /// Id of the event.
    pub id: i64,
    /// Approximate length, in bytes.
    pub bytes: usize,
}

/// An event that belongs to no call but names some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamingEvent {
    /// The event.
    pub event: ExpiredEvent,
    /// The calls of the query that the event names.
    pub calls: Vec<ConversationId>,
}

/// Result of purging erased bytes from the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgotten {
    /// All are gone.
    All,
    /// Only the search index still contains erased words. [`crate::store::Maintenance::catch_up`] purges them.
    ButIndex,
    /// Some remain, because a reader holds an older snapshot.
    Held,
}

/// Work that [`crate::store::Commands::apply`] leaves out to be fast.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Upper bound of the turns and changes that are not in the search index.
    pub turns: u64,
    /// True if the search index's file still contains erased words.
    pub erased_words: bool,
}

/// The unfinished calls to continue with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfinished<'a> {
    /// Only this call.
    Call(&'a ConversationId),
    /// Calls that are being erased.
    Erasures,
    /// All unfinished calls. An interrupted restore is undone.
    All,
}

/// A slice that was erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasedSlice {
    /// The call.
    pub conversation_id: ConversationId,
    /// True if nothing of the call is left.
    pub finished: bool,
}

/// The order of a call's turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnOrder {
    /// By arrival: 1, 2, 3 …
    Sequence,
    /// In spoken order: by position in the ElevenLabs record if there is one, else by time, then by arrival. Leaves out
    /// superseded turns.
    Time,
    /// The reverse of [`TurnOrder::Time`].
    TimeDescending,
}

/// Position of a turn in its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnKey {
    /// Position in the order of the conversation, if known.
    pub place: Option<i64>,
    /// Time of the turn.
    pub timestamp: Timestamp,
    /// Number of the turn by arrival.
    pub sequence_number: i64,
}

/// Filter and paging of a call's turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnQuery {
    /// The call.
    pub conversation_id: ConversationId,
    /// Only turns with a greater sequence number.
    pub after_sequence: i64,
    /// Order of the turns.
    pub order: TurnOrder,
    /// Only turns after this one in that order.
    pub after: Option<TurnKey>,
    /// Maximum number of rows.
    pub limit: usize,
    /// If true, counts all matches.
    pub with_total: bool,
}

/// Calls that are due for reconciliation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// The requested calls, ordered by how long they have been due, longest first.
    pub calls: Vec<ConversationId>,
    /// Number of all calls that are due.
    pub count: u64,
    /// The latest due note. Notes are numbered as calls become due.
    pub last: i64,
}

/// Events to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventSelection {
    /// All events.
    All,
    /// Only events that could not be parsed.
    Unreadable,
}

/// Rows found by a part of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanPage<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Id to continue after, or `None` at the end.
    pub next: Option<i64>,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows, in the requested order.
    pub rows: Vec<T>,
    /// True if more rows follow.
    pub has_more: bool,
    /// Number of all matches, if requested.
    pub total: Option<u64>,
}

/// Maximum size of the text of a page, in bytes of JSON. A page has at least one row.
pub const MAX_PAGE_TEXT_BYTES: usize = 8 << 20;

impl<T> Page<T> {
    /// Creates a page from rows, up to `limit` of them and up to [`MAX_PAGE_TEXT_BYTES`] of text; `text` returns the
    /// size of a row's text. Sets `has_more` if another row could be read.
    pub fn from_overfetch<E>(
        rows: impl IntoIterator<Item = Result<T, E>>,
        limit: usize,
        text: impl Fn(&T) -> usize,
    ) -> Result<Self, E> {
        let mut page = Self { rows: Vec::new(), has_more: false, total: None };
        let mut length = 0;
        for row in rows {
            let row = row?;
            length += text(&row);
            if page.rows.len() == limit || (length > MAX_PAGE_TEXT_BYTES && !page.rows.is_empty()) {
                page.has_more = true;
                break;
            }
            page.rows.push(row);
        }
        Ok(page)
    }
}

/// Returns the maximum length of a text in JSON, in bytes.
pub fn max_json_length(text: &str) -> usize {
    // Without branches, because this reads all texts of a page. Each control character counts as `\u0000`.
    let more = |byte: u8| 5 * usize::from(byte < 0x20) + usize::from(byte == b'"') + usize::from(byte == b'\\');
    text.len() + text.bytes().map(more).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(sizes: &[usize], limit: usize) -> (usize, bool) {
        let rows = sizes.iter().map(|size| Ok::<_, ()>(*size));
        let page = Page::from_overfetch(rows, limit, |size| *size).unwrap();
        (page.rows.len(), page.has_more)
    }

    #[test]
    fn a_page_ends_at_its_limit_or_when_it_has_much_text_but_never_empty() {
        const MIB: usize = 1 << 20;
        assert_eq!(page(&[], 3), (0, false));
        assert_eq!(page(&[1, 1, 1], 3), (3, false));
        assert_eq!(page(&[1, 1, 1, 1], 3), (3, true));
        assert_eq!(page(&[4 * MIB, 4 * MIB], 3), (2, false));
        assert_eq!(page(&[4 * MIB, 4 * MIB, 1], 3), (2, true));
        assert_eq!(page(&[100 * MIB, 1], 3), (1, true));
        assert_eq!(page(&[100 * MIB], 3), (1, false));
    }

    #[test]
    fn the_length_in_json_is_not_less_than_what_is_written() {
        for text in ["", "plain", "a\"b\\c", "\u{1}\u{1f}\u{7f}", "näïve 界 👋"] {
            let written = serde_json::to_string(text).unwrap();
            assert!(max_json_length(text) >= written.len() - 2, "{text:?}");
        }
    }
}
