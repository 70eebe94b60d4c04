//! Enumerations of facts that are computed from ElevenLabs' records, and the conversions of enumerations.

use poem_openapi::Enum;

/// Implements the conversion from a domain enumeration with the same variants.
macro_rules! from_domain {
    ($($name:ident { $($variant:ident),+ })+) => {$(
        impl From<crate::domain::$name> for $name {
            fn from(value: crate::domain::$name) -> Self {
                match value {
                    $(crate::domain::$name::$variant => Self::$variant,)+
                }
            }
        }
    )+};
}
pub(super) use from_domain;

/// Implements the conversion to a domain enumeration with the same variants.
macro_rules! into_domain {
    ($($name:ident { $($variant:ident),+ })+) => {$(
        impl From<$name> for crate::domain::$name {
            fn from(value: $name) -> Self {
                match value {
                    $($name::$variant => Self::$variant,)+
                }
            }
        }
    )+};
}
pub(super) use into_domain;

/// Source of the information who answered a call.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(in crate::api) enum AnsweredBySource {
    /// ElevenLabs' result of the telephone call.
    CallResult,
    /// The agent's tool `voicemail_detection`.
    Tool,
    /// The answering machine detection of the telephone provider.
    Amd,
    /// ElevenLabs' event that the call could not be established.
    InitiationFailure,
}

/// Normalised reason why a call ended; null while it runs, or if nothing tells the reason.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(in crate::api) enum EndReason {
    /// The other end hung up.
    HungUp,
    /// The agent ended the call.
    AgentEnded,
    /// ElevenLabs ended the call because nobody spoke.
    Silence,
    /// The service ended the call because no more turns arrived.
    Inactivity,
    /// The line was busy.
    Busy,
    /// Nobody picked up.
    NoAnswer,
    /// The call could not be established, or broke off.
    Error,
    /// Another reason.
    Other,
}

/// The one who said a turn.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(in crate::api) enum SaidBy {
    /// The voice agent.
    Agent,
    /// The driver.
    Driver,
    /// A voicemail or fax that answered the call.
    Mailbox,
    /// Nobody: the turn tells the agent of a silence, or gives it information.
    Nobody,
}

/// Purpose of a tool call.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(in crate::api) enum ToolPurpose {
    /// Anything that the customer's tools do.
    Tool,
    /// Ends the call.
    EndCall,
    /// Transfers the call to a telephone number.
    TransferToNumber,
    /// Transfers the call to another agent.
    TransferToAgent,
    /// Reports that a voicemail answered.
    VoicemailDetection,
    /// A guardrail stopped the agent.
    Guardrail,
}

from_domain! {
    AnsweredBySource { CallResult, Tool, Amd, InitiationFailure }
    EndReason { HungUp, AgentEnded, Silence, Inactivity, Busy, NoAnswer, Error, Other }
    SaidBy { Agent, Driver, Mailbox, Nobody }
    ToolPurpose { Tool, EndCall, TransferToNumber, TransferToAgent, VoicemailDetection, Guardrail }
}
