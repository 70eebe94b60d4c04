//! Drivers, and dispatches: the records of outbound calls that link a call to its driver.

use super::{ConversationId, Invalid, PhoneNumber, Timestamp};
use std::fmt;

/// The fleet's number for a driver, from 1 to 2^53 - 1. Every JSON parser reads whole numbers of this range exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DriverId(i64);

impl DriverId {
    /// Largest number.
    pub const MAX: i64 = (1 << 53) - 1;

    /// Creates an id.
    ///
    /// # Errors
    /// A number below 1 or above 2^53 - 1.
    pub fn new(number: i64) -> Result<Self, Invalid> {
        if (1..=Self::MAX).contains(&number) {
            Ok(Self(number))
        } else {
            Err(Invalid::rule("must be a whole number from 1 to 9007199254740991"))
        }
    }

    /// Parses an identifier that ElevenLabs delivers: digits, also in the form `driver_1042`.
    pub fn from_platform(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.strip_prefix("driver_").unwrap_or(text);
        Some(digits).filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?.parse().ok().and_then(|n| Self::new(n).ok())
    }

    /// Returns the number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for DriverId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A driver to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDriver {
    /// The fleet's number.
    pub id: DriverId,
    /// Name: 1 to 200 characters, not blank.
    pub name: String,
    /// Telephone number, unique among drivers.
    pub phone_number: Option<PhoneNumber>,
}

impl NewDriver {
    /// Validates a driver's name, and trims it.
    ///
    /// # Errors
    /// The name is blank, longer than 200 characters, or contains U+0000.
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

/// A stored driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Driver {
    /// The fleet's number.
    pub id: DriverId,
    /// The name.
    pub name: String,
    /// The telephone number.
    pub phone_number: Option<PhoneNumber>,
    /// Time at which the row was created.
    pub created_at: Timestamp,
    /// Time at which a value last changed.
    pub updated_at: Timestamp,
}

/// A dispatch to be stored: the driver to whom an outbound call was placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDispatch {
    /// Conversation that ElevenLabs created for the call.
    pub conversation_id: ConversationId,
    /// Driver who is called.
    pub driver_id: DriverId,
    /// Number that was dialed.
    pub phone_number: Option<PhoneNumber>,
    /// ElevenLabs' id of the batch of calls, if the call was part of one.
    pub batch_id: Option<String>,
    /// Time at which the call was placed. `None` retains a stored time, and is the present time for a new dispatch.
    pub dispatched_at: Option<Timestamp>,
}

impl NewDispatch {
    /// Validates a batch id.
    ///
    /// # Errors
    /// The id is blank, longer than 256 characters, or contains U+0000.
    pub fn check_batch_id(text: &str) -> Result<String, Invalid> {
        // Batch ids follow the rules of conversation ids, because both are opaque identifiers of ElevenLabs.
        ConversationId::new(text).map(|id| id.as_str().to_owned())
    }
}

/// A stored dispatch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    /// Conversation that ElevenLabs created for the call.
    pub conversation_id: ConversationId,
    /// Driver who is called; `None` after that driver was deleted.
    pub driver_id: Option<DriverId>,
    /// Number that was dialed.
    pub phone_number: Option<PhoneNumber>,
    /// ElevenLabs' id of the batch of calls, if the call was part of one.
    pub batch_id: Option<String>,
    /// Time at which the call was placed.
    pub dispatched_at: Timestamp,
}

/// Sources of a call's driver, the most reliable first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DriverSource {
    /// The dispatch.
    Dispatch,
    /// The dynamic variable `driver_id`.
    DynamicVariable,
    /// ElevenLabs' user id.
    UserId,
    /// The id of the recipient in a batch of calls.
    BatchRecipient,
    /// The external telephone number, if it is a driver's.
    PhoneNumber,
}

impl DriverSource {
    /// Returns the stored form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dispatch => "dispatch",
            Self::DynamicVariable => "dynamic_variable",
            Self::UserId => "user_id",
            Self::BatchRecipient => "batch_recipient",
            Self::PhoneNumber => "phone_number",
        }
    }

    /// Parses the stored form.
    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::Dispatch, Self::DynamicVariable, Self::UserId, Self::BatchRecipient, Self::PhoneNumber]
            .into_iter()
            .find(|source| source.as_str() == text)
    }
}
