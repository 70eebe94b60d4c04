//! Results of writes, and the reasons why one is refused.

use crate::domain::validation::FieldError;
use crate::domain::{DriverId, Timestamp};

/// Identifiers of a stored turn, and what storing it caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredTurn {
    /// Id of the turn, unique over all calls.
    pub transcription_id: i64,
    /// Number of the turn in its call, in order of arrival.
    pub sequence_number: i64,
    /// True if the turn was stored before. Nothing was changed then.
    pub replayed: bool,
    /// True if its call must be reconciled with its record now.
    pub due: bool,
    /// Set if the turn was the first one of its call.
    pub new_call: Option<NewCall>,
}

/// Result of storing an ElevenLabs event or a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Id of the event; `None` for a history.
    pub event_id: Option<i64>,
    /// True if an equal event was stored before. Nothing was changed then.
    pub replayed: bool,
    /// True if its call must be reconciled now.
    pub due: bool,
}

/// A call that was created by its first turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewCall {
    /// The driver named by a dispatch, if there is one.
    pub driver_id: Option<DriverId>,
}

/// Numbers of rows that a bulk change created, updated and left unchanged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows that did not exist.
    pub created: usize,
    /// Rows that had other values.
    pub updated: usize,
    /// Rows that already had the requested values.
    pub unchanged: usize,
}

/// Reason why a write was refused although the database works. Other writes of its batch are not affected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// The call, driver or dispatch does not exist.
    NotFound,
    /// The delivery key was used before, in this conversation, for another turn.
    KeyReused,
    /// Another plan of the call was stored after this one was made.
    Outdated,
    /// The event belongs to an erased call, so storing it would bring erased words back.
    Erased,
    /// The call is being erased or restored in slices; retry later.
    Unfinished,
    /// Some elements of a bulk change cannot be stored, so none was.
    Elements(Vec<BadElement>),
    /// The row to restore breaks a rule, or differs from an existing row.
    Unfit(FieldError),
    /// The call would end before it starts.
    EndsBeforeStart {
        /// Start time of the call.
        start: Timestamp,
    },
}

/// An element of a bulk change that cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadElement {
    /// Index of the element, from 0.
    pub index: usize,
    /// Reason for the refusal.
    pub why: BadLink,
}

/// An invalid reference in an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadLink {
    /// Another driver, with this id, has the phone number.
    PhoneTaken(DriverId),
    /// No driver has this id.
    UnknownDriver(DriverId),
}

impl BadElement {
    /// Returns the field and the rule that it breaks.
    pub fn problem(&self) -> FieldError {
        let (field, rule) = match self.why {
            BadLink::PhoneTaken(by) => ("phone_number", format!("driver {by} has this number")),
            BadLink::UnknownDriver(id) => ("driver_id", format!("there is no driver {id}")),
        };
        FieldError { field: field.to_owned(), rule }
    }
}
