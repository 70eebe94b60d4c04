//! Drivers, and dispatches: the records of outbound calls that link a call to its driver.

use super::stored_text::stored_as;
use super::{ConversationId, DriverId, Invalid, PhoneNumber, Timestamp};
use serde::{Deserialize, Serialize};

/// Maximum length of a driver's name, in characters.
const MAX_NAME_CHARS: usize = 200;

/// A driver to be stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The name is blank, too long, or contains U+0000.
    pub fn check_name(text: &str) -> Result<String, Invalid> {
        let name = text.trim();
        if name.is_empty() {
            return Err(Invalid::rule("must not be blank"));
        }
        if name.chars().count() > MAX_NAME_CHARS {
            return Err(Invalid(format!("must be at most {MAX_NAME_CHARS} characters long").into()));
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The number that called, when ElevenLabs asked who is calling.
    Initiation,
    /// The external telephone number, if it is a driver's.
    PhoneNumber,
}

stored_as!(DriverSource {
    Dispatch => "dispatch",
    DynamicVariable => "dynamic_variable",
    UserId => "user_id",
    BatchRecipient => "batch_recipient",
    Initiation => "initiation",
    PhoneNumber => "phone_number",
});
