//! The one who said a turn.

use super::stored_text::stored_as;
use super::{Speaker, Turn};

/// The one who said a turn. Computed for every reader and not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SaidBy {
    /// The voice agent.
    Agent,
    /// The driver.
    Driver,
    /// A voicemail or fax that answered the call.
    Mailbox,
    /// Nobody: the turn tells the agent of a silence, or gives it information.
    Nobody,
}

stored_as!(SaidBy { Agent => "agent", Driver => "driver", Mailbox => "mailbox", Nobody => "nobody" });

impl Turn {
    /// Returns who said the turn.
    pub const fn said_by(&self) -> SaidBy {
        match self.speaker {
            _ if !self.kind.is_human() => SaidBy::Nobody,
            Speaker::Agent => SaidBy::Agent,
            Speaker::Driver if self.by_machine => SaidBy::Mailbox,
            Speaker::Driver => SaidBy::Driver,
        }
    }
}
