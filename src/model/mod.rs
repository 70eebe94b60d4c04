//! The words of the domain: calls, turns, drivers, dispatches and instants.
//!
//! Values here are valid by construction: whoever holds a [`ConversationId`] or a [`PhoneNumber`] need not check it
//! again. The module knows nothing about HTTP, SQL or the clock.

mod call;
mod driver;
mod timestamp;
mod turn;

pub use call::{Call, CallChange, CallEnd, CallStatus, ConversationId};
pub use driver::{Dispatch, Driver, DriverId, NewDispatch, NewDriver, PhoneNumber};
pub use timestamp::Timestamp;
pub use turn::{DeliveryKey, MAX_MESSAGE_BYTES, Message, NewTurn, Source, Speaker, Turn};

/// A value that breaks a rule; the text is the rule, fit to follow the field's name.
///
/// For example `must be exactly "agent" or "user"`, which the caller shows as `speaker: must be …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(pub std::borrow::Cow<'static, str>);

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

impl Invalid {
    const fn rule(rule: &'static str) -> Self {
        Self(std::borrow::Cow::Borrowed(rule))
    }
}
