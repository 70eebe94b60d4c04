//! The words of the domain: calls, turns, drivers, dispatches and instants.
//!
//! Values here are valid by construction: whoever holds a [`ConversationId`] or a [`PhoneNumber`] need not check it
//! again. The module knows nothing about HTTP, SQL or the clock.

mod call;
mod driver;
mod figures;
mod month;
mod phone;
mod placeholder;
mod record;
mod remark;
mod search;
mod spelling;
mod timestamp;
mod turn;

pub use call::{Call, CallChange, CallEnd, CallReport, CallStatus, ConversationId, Reconciled};
pub use driver::{Dispatch, Driver, DriverId, DriverSource, NewDispatch, NewDriver};
pub use figures::{CallFigures, Said, Talk};
pub use phone::PhoneNumber;
pub use placeholder::{placeholder, unfilled};
pub use record::{
    CallOutcome, Combined, Direction, DriverClaims, Entry, EventOutcome, Facts, History, HistoryEntry, HistoryReport,
    KeptRecord, NewEvent, Record, RecordKind, StoredEvent,
};
pub use remark::{Remark, RemarkKind, describe_remarks};
pub use search::{Piece, Snippet, Wanted};
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

/// Values that are kept as text within JSON, by the form that they have everywhere.
macro_rules! text_in_json {
    ($($name:ty: $to:expr, $from:expr;)+) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let to: fn(&$name) -> std::borrow::Cow<'_, str> = $to;
                serializer.serialize_str(&to(self))
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                let from: fn(&str) -> Option<$name> = $from;
                from(&text).ok_or_else(|| serde::de::Error::custom(concat!("no ", stringify!($name))))
            }
        }
    )+};
}
text_in_json! {
    ConversationId: |id| id.as_str().into(), |text| ConversationId::new(text).ok();
    PhoneNumber: |number| number.as_str().into(), |text| PhoneNumber::new(text).ok();
    Message: |message| message.as_str().into(), |text| Message::new(text).ok();
    Timestamp: |time| time.to_string().into(), |text| Timestamp::parse(text).ok();
    CallStatus: |status| status.as_str().into(), CallStatus::from_stored;
    Speaker: |speaker| speaker.as_str().into(), Speaker::from_stored;
    DriverId: |id| id.to_string().into(), |text| text.parse().ok().and_then(|number| DriverId::new(number).ok());
}
