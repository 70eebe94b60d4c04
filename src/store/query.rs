//! What is asked of a store, and the pages that it answers with. Pages are keyset-based: the key of the last row seen
//! says where the next page begins, so rows that arrive meanwhile neither shift nor repeat any.

use crate::model::{CallOutcome, CallStatus, ConversationId, DriverId, Timestamp};

/// Which end comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

/// Where a call stands among all, in the order of their start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallKey {
    /// The call's start.
    pub start: Timestamp,
    /// The call's row number, which orders calls of one instant.
    pub id: i64,
}

/// A filter by what ElevenLabs' record says of a call. Each condition that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordFilter {
    /// The result of the analysis; a call without one counts as unknown.
    pub outcome: Option<CallOutcome>,
    /// Least length, in seconds.
    pub min_seconds: Option<i64>,
    /// Greatest length, in seconds.
    pub max_seconds: Option<i64>,
    /// The main language is one of these; empty for any.
    pub languages: Vec<String>,
    /// The status is none of these.
    pub excluded_statuses: Vec<CallStatus>,
}

/// Which calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallQuery {
    /// Only these.
    pub status: Option<CallStatus>,
    /// Only of this driver.
    pub driver_id: Option<DriverId>,
    /// Only of this user of the platform; where no record names one, of the driver whose number the id is.
    pub user_id: Option<String>,
    /// Only of this agent of the platform.
    pub agent_id: Option<String>,
    /// Only those of which the record says this.
    pub record: RecordFilter,
    /// Only those that started at this instant or later.
    pub started_after: Option<Timestamp>,
    /// Only those that started before this instant.
    pub started_before: Option<Timestamp>,
    /// Only those whose conversation id, driver's name or any message contains this, upper and lower case of ASCII
    /// letters alike.
    pub text: Option<String>,
    /// Which end comes first.
    pub order: Order,
    /// Only what follows this one.
    pub after: Option<CallKey>,
    /// Greatest number of rows.
    pub limit: usize,
    /// Whether to count all that match.
    pub with_total: bool,
}

/// A search for calls that have become old, in the order of their start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldCalls {
    /// Of which nothing came since this instant.
    pub before: Timestamp,
    /// Only those that started before this instant.
    pub started_before: Option<Timestamp>,
    /// Only what follows this one.
    pub after: Option<CallKey>,
    /// Greatest number of calls.
    pub limit: usize,
}

/// A call that has become old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldCall {
    /// Where it stands among all.
    pub key: CallKey,
    /// Its name.
    pub conversation_id: ConversationId,
    /// How many turns it has.
    pub turns: u64,
}

/// An event that belongs to no call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldEvent {
    /// Its number.
    pub id: i64,
    /// About how long it is, in bytes.
    pub bytes: usize,
}

/// An event that belongs to no call, but names some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamingEvent {
    /// The event.
    pub event: OldEvent,
    /// Those of the calls that were asked for that it names.
    pub calls: Vec<ConversationId>,
}

/// Whether older states of what was erased are gone from the bytes on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgotten {
    /// All of them.
    All,
    /// Those of the database, but erased words are still in the search index, from which [`crate::store::Store::catch_up`]
    /// takes them.
    ButIndex,
    /// Not all: a program still reads an older state.
    Held,
}

/// Work that is put off so as not to delay writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Maximum number of turns and changes that are not in the search index.
    pub turns: u64,
    /// Whether erased words are still in the bytes of the search index.
    pub erased_words: bool,
}

/// Which unfinished calls to work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfinished<'a> {
    /// This one.
    Call(&'a ConversationId),
    /// Those that are being erased.
    Erasures,
    /// All of them. Restoring that was cut off is undone.
    All,
}

/// A slice of a call that was erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasedSlice {
    /// The call.
    pub conversation_id: ConversationId,
    /// Whether nothing of it is left.
    pub finished: bool,
}

/// By what a call's turns are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnOrder {
    /// By arrival: 1, 2, 3 …
    Sequence,
    /// As they were said: in the order of the platform's record where there is one, else by time, then by arrival;
    /// without those that another turn stands for.
    Time,
}

/// Where a turn stands in its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnKey {
    /// Its place in the conversation's true order, where that is known.
    pub place: Option<i64>,
    /// When it was said.
    pub timestamp: Timestamp,
    /// Its place by arrival.
    pub sequence_number: i64,
}

/// Which turns of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnQuery {
    /// The call.
    pub conversation_id: ConversationId,
    /// Only those with a greater sequence number.
    pub after_sequence: i64,
    /// Their order.
    pub order: TurnOrder,
    /// Only what follows this one in that order.
    pub after: Option<TurnKey>,
    /// Greatest number of rows.
    pub limit: usize,
    /// Whether to count all that match.
    pub with_total: bool,
}

/// Of which calls figures are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FiguresQuery {
    /// Only those that started at this instant or later.
    pub started_after: Option<Timestamp>,
    /// Only those that started before this instant.
    pub started_before: Option<Timestamp>,
    /// Only of this driver.
    pub driver_id: Option<DriverId>,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows, in the order asked for.
    pub rows: Vec<T>,
    /// Whether more follow.
    pub has_more: bool,
    /// How many match in all, where that was asked.
    pub total: Option<u64>,
}

/// Maximum size of the text in a page, in bytes of JSON. A page has one row at least.
const MAX_PAGE_TEXT: usize = 8 << 20;

impl<T> Page<T> {
    /// Makes a page of rows as they are read, up to `limit` of them and up to [`MAX_PAGE_TEXT`]; `text` says how much one
    /// has. More rows follow if the reader gives one more.
    pub fn of_rows<E>(
        rows: impl IntoIterator<Item = Result<T, E>>,
        limit: usize,
        text: impl Fn(&T) -> usize,
    ) -> Result<Self, E> {
        let mut page = Self { rows: Vec::new(), has_more: false, total: None };
        let mut length = 0;
        for row in rows {
            let row = row?;
            length += text(&row);
            if page.rows.len() == limit || (length > MAX_PAGE_TEXT && !page.rows.is_empty()) {
                page.has_more = true;
                break;
            }
            page.rows.push(row);
        }
        Ok(page)
    }
}

/// Returns how long a text is in JSON, in bytes.
pub fn json_length(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        ..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(sizes: &[usize], limit: usize) -> (usize, bool) {
        let rows = sizes.iter().map(|size| Ok::<_, ()>(*size));
        let page = Page::of_rows(rows, limit, |size| *size).unwrap();
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
    fn the_length_in_json_is_that_of_what_is_written() {
        for text in ["", "plain", "a\"b\\c", "\u{1}\u{1f}\u{7f}", "näïve 界 👋"] {
            let written = serde_json::to_string(text).unwrap();
            assert!(json_length(text) >= written.len() - 2, "{text:?}");
        }
    }
}
