//! Drivers, and the outbound call records by which a call finds its driver.

use super::{ConversationId, DriverId, Invalid, PhoneNumber, Timestamp};

/// A driver that is to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDriver {
    /// The fleet's number.
    pub id: DriverId,
    /// 1 to 200 characters, not blank.
    pub name: String,
    /// No two drivers share one.
    pub phone_number: Option<PhoneNumber>,
}

impl NewDriver {
    /// Checks a driver's name and takes white space off its ends.
    ///
    /// # Errors
    /// Blank, longer than 200 characters, or with U+0000 in it.
    pub fn check_name(text: &str) -> Result<String, Invalid> {
        let name = text.trim();
        if name.is_empty() {
            return Err(Invalid::rule("must not be blank"));
        }
        if name.chars().count() > 200 {
            return Err(Invalid::rule("must be at most 200 characters long"));
        }
        if name.contains('\0') {
            return Err(Invalid::rule("must not contain U+0000"));
        }
        Ok(name.to_owned())
    }
}

/// A driver as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Driver {
    /// The fleet's number.
    pub id: DriverId,
    /// The name.
    pub name: String,
    /// The telephone number.
    pub phone_number: Option<PhoneNumber>,
    /// When the row was made.
    pub created_at: Timestamp,
    /// When a value last changed.
    pub updated_at: Timestamp,
}

/// The record of an outbound call that is to be stored: which driver a conversation was placed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDispatch {
    /// The conversation that the platform opened for the call.
    pub conversation_id: ConversationId,
    /// The driver who is called.
    pub driver_id: DriverId,
    /// The number that was dialled.
    pub phone_number: Option<PhoneNumber>,
    /// The platform's name for the batch of calls that this one belonged to.
    pub batch_id: Option<String>,
    /// When the call was placed; `None` keeps the stored time, or takes the present one for a new record.
    pub dispatched_at: Option<Timestamp>,
}

impl NewDispatch {
    /// Checks a batch's name.
    ///
    /// # Errors
    /// Blank, longer than 256 characters, or with U+0000 in it.
    pub fn check_batch_id(text: &str) -> Result<String, Invalid> {
        // A batch's name follows the rules of a conversation's: both are the platform's opaque identifiers.
        ConversationId::new(text).map(|id| id.as_str().to_owned())
    }
}

/// The record of an outbound call as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    /// The conversation that the platform opened for the call.
    pub conversation_id: ConversationId,
    /// The driver who is called; `None` once that driver was deleted.
    pub driver_id: Option<DriverId>,
    /// The number that was dialled.
    pub phone_number: Option<PhoneNumber>,
    /// The platform's name for the batch of calls that this one belonged to.
    pub batch_id: Option<String>,
    /// When the call was placed.
    pub dispatched_at: Timestamp,
}

/// How it became known which driver was called, the surest way first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DriverSource {
    /// The record of the outbound call.
    Dispatch,
    /// The dynamic variable `driver_id`.
    DynamicVariable,
    /// The platform's user id.
    UserId,
    /// The id of the recipient in a batch of calls.
    BatchRecipient,
    /// The number at the other end, which is a driver's.
    PhoneNumber,
}

impl DriverSource {
    /// The stored form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dispatch => "dispatch",
            Self::DynamicVariable => "dynamic_variable",
            Self::UserId => "user_id",
            Self::BatchRecipient => "batch_recipient",
            Self::PhoneNumber => "phone_number",
        }
    }

    /// The source that is stored as `text`, if there is one.
    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::Dispatch, Self::DynamicVariable, Self::UserId, Self::BatchRecipient, Self::PhoneNumber]
            .into_iter()
            .find(|source| source.as_str() == text)
    }
}
