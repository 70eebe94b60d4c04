//! The speaker of a turn.

use super::understood::{from_domain, into_domain};
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

from_domain! {
    Speaker { Agent, Driver }
}

into_domain! {
    Speaker { Agent, Driver }
}
