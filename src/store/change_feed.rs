//! What live streams ask of a store: a place in the order of commits, and what came after it.
//!
//! Turns and changes of calls have numbers of their own, each never used twice and growing with each commit, and a change
//! knows which turns came before it. So a pair of numbers is a place in the one order of both, which means the same
//! after a restart, and for each stream, whatever it shows.

use crate::domain::{Call, ConversationId, Turn};
use std::fmt;
use std::str::FromStr;

/// A place in the order in which turns and changes of calls were committed.
///
/// Its text, which is an event's id, is `TURN-CHANGE` or `TURN-CHANGE-CALL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Position {
    /// The turns up to this id are behind it.
    pub turn: i64,
    /// The changes of calls up to this number are behind it. In the stream of one call, 0 means that the call itself has
    /// not been told.
    pub change: i64,
    /// While the calls that run are being told: those up to this row number have been.
    pub call: Option<i64>,
}

impl Position {
    /// Whether something that is committed may lie between this place and `head`.
    pub fn is_behind(self, head: Self) -> bool {
        self.turn < head.turn || self.change < head.change || self.call.is_some()
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.turn, self.change)?;
        self.call.map_or(Ok(()), |call| write!(f, "-{call}"))
    }
}

impl FromStr for Position {
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

/// What a stream shows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All calls.
    Everything,
    /// One call.
    Call {
        /// The platform's name for it.
        conversation_id: ConversationId,
        /// Its row number, since a call that was erased can be made anew.
        call_id: i64,
    },
}

/// Something that was committed. Turns and calls are as they are when they are read, not as they were then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A turn was stored.
    Turn(Turn),
    /// A call was made, or it is told for the first time and runs.
    Started(Box<Call>),
    /// A call, or how its turns stand, changed otherwise than by a new turn.
    Updated(Box<Call>),
    /// A call is over.
    Ended(Box<Call>),
    /// The call of this row number was erased.
    Erased(i64),
}

/// What came after a place, some of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    /// In order, each with the place right behind it.
    pub changes: Vec<(Position, Change)>,
    /// The place behind all that was read, be it shown or not.
    pub end: Position,
    /// Whether there is more that was committed before this was read.
    pub has_more: bool,
    /// Whether nothing more can come, because the one call is erased.
    pub over: bool,
}

/// Which calls something was committed of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// Those that are there, each perhaps more than once.
    pub calls: Vec<ConversationId>,
    /// The row numbers of those that were erased.
    pub erased: Vec<i64>,
    /// Up to where it was looked.
    pub end: Position,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_from_its_text_and_nothing_else_does() {
        for text in ["0-0", "12-7", "12-7-0", "9223372036854775807-1-3"] {
            assert_eq!(text.parse::<Position>().map(|position| position.to_string()), Ok(text.to_owned()));
        }
        for bad in ["", "12", "12-", "-7", "1-2-3-4", "1--2", "+1-2", "a-b", "1-9223372036854775808", " 1-2"] {
            assert_eq!(bad.parse::<Position>(), Err(()), "{bad:?}");
        }
    }
}
