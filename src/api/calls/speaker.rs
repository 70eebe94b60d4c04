//! The speaker of a turn.

use crate::domain;
use poem_openapi::Enum;

/// Speaker of a turn.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(in crate::api) enum Speaker {
    /// The voice agent.
    Agent,
    /// The person on the phone.
    Driver,
}

impl From<domain::Speaker> for Speaker {
    fn from(speaker: domain::Speaker) -> Self {
        match speaker {
            domain::Speaker::Agent => Self::Agent,
            domain::Speaker::Driver => Self::Driver,
        }
    }
}

impl From<Speaker> for domain::Speaker {
    fn from(speaker: Speaker) -> Self {
        match speaker {
            Speaker::Agent => Self::Agent,
            Speaker::Driver => Self::Driver,
        }
    }
}
