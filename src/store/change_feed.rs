//! The change feed that live streams read: positions in the order of commits, and the changes after them.
//!
//! Turns and changes of calls have ids of their own, which grow with each commit and are never reused. Each change also
//! stores the last turn before it. A pair of ids is therefore a position in the common order of both. It keeps its
//! meaning after a restart and is valid for every stream, whatever the stream shows.

use super::query::CallFilter;
use crate::domain::{Call, ConversationId, Turn};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A position in the order of the commits of turns and changes.
///
/// Its text form, which is the event id of a stream, is `TURN-CHANGE` or `TURN-CHANGE-CALL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FeedPosition {
    /// Turns up to this id are before the position.
    pub turn: i64,
    /// Changes up to this id are before the position. In the stream of one call, 0 means that the call itself has not
    /// been sent.
    pub change: i64,
    /// Set while the running calls are being sent: calls up to this row id have been.
    pub call: Option<i64>,
}

impl FeedPosition {
    /// Returns whether changes may have been committed between this position and `head`.
    pub fn is_behind(self, head: Self) -> bool {
        self.turn < head.turn || self.change < head.change || self.call.is_some()
    }
}

impl fmt::Display for FeedPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.turn, self.change)?;
        self.call.map_or(Ok(()), |call| write!(f, "-{call}"))
    }
}

impl FromStr for FeedPosition {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            if digits { part.parse::<i64>().map_err(drop) } else { Err(()) }
        };
        let mut parts = text.split('-').map(number);
        let position =
            Self { turn: parts.next().ok_or(())??, change: parts.next().ok_or(())??, call: parts.next().transpose()? };
        if parts.next().is_some() { Err(()) } else { Ok(position) }
    }
}

/// The calls that a stream shows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The calls that match a filter when they are read. A call that was erased matches every filter.
    Matching(Arc<CallFilter>),
    /// One call.
    Call {
        /// ElevenLabs' id of the conversation.
        conversation_id: ConversationId,
        /// Row id of the call, because an erased call can be created again.
        call_id: i64,
    },
}

impl Scope {
    /// Returns the scope of all calls.
    pub fn everything() -> Self {
        Self::Matching(Arc::default())
    }
}

/// A committed change. Turns and calls are read later, so they may be newer than the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A turn was stored.
    Turn(Turn),
    /// A call was created, or a running call is sent for the first time.
    Started(Box<Call>),
    /// A call changed, or the order of its turns did, without a new turn.
    Updated(Box<Call>),
    /// A call ended.
    Ended(Box<Call>),
    /// A turn of a call matched an alert.
    Alerted(Box<Call>),
    /// The call of this row number was erased.
    Erased(i64),
}

/// Some of the changes after a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeBatch {
    /// The changes in order, each with the position after it.
    pub changes: Vec<(FeedPosition, Change)>,
    /// The position after all that was read, including what the stream does not show.
    pub end: FeedPosition,
    /// True if more changes were committed before this was read.
    pub has_more: bool,
    /// True if the stream's one call is erased, so nothing more can follow.
    pub over: bool,
}

/// The calls that changed between two positions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangedCalls {
    /// Existing calls, each possibly more than once.
    pub calls: Vec<ConversationId>,
    /// Row ids of erased calls.
    pub erased: Vec<i64>,
    /// The position of the last change that was read.
    pub end: FeedPosition,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_from_its_text_and_nothing_else_does() {
        for text in ["0-0", "12-7", "12-7-0", "9223372036854775807-1-3"] {
            assert_eq!(text.parse::<FeedPosition>().map(|position| position.to_string()), Ok(text.to_owned()));
        }
        for bad in ["", "12", "12-", "-7", "1-2-3-4", "1--2", "+1-2", "a-b", "1-9223372036854775808", " 1-2"] {
            assert_eq!(bad.parse::<FeedPosition>(), Err(()), "{bad:?}");
        }
    }
}
