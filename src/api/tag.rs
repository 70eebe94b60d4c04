//! Groups of operations.

use poem_openapi::Tags;

/// The groups of operations.
#[derive(Tags)]
pub(super) enum Tag {
    /// What the voice agent's platform calls.
    Webhooks,
    /// Calls and their turns.
    Calls,
    /// The people who are called.
    Drivers,
    /// The outbound call records by which a call finds its driver.
    Dispatches,
    /// The platform's own read operations, for its official SDKs.
    Convai,
    /// Signing in, for browsers.
    Session,
    /// For those who run the service.
    Operation,
}
