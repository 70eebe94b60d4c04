//! Groups of operations.

use poem_openapi::Tags;

/// Tags that group the operations in the OpenAPI document.
#[derive(Tags)]
pub(super) enum Tag {
    /// Webhooks that ElevenLabs and its agents call.
    Webhooks,
    /// Calls and their turns.
    Calls,
    /// People who are called.
    Drivers,
    /// Records of outbound calls; they identify the driver of a call.
    Dispatches,
    /// Read operations of the ElevenLabs API, for its official SDKs.
    Convai,
    /// Sign-in for browsers.
    Session,
    /// Health, readiness and backup, for operators.
    Operation,
}
