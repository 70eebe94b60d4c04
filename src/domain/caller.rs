//! A driver who calls, and the note of it before the call has a conversation.

use super::{CallOutcome, CallSid, ConversationId, DriverId, PhoneNumber, Timestamp};
use serde::{Deserialize, Serialize};

/// A driver who calls, with what an agent may want to know before the first word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The driver.
    pub driver_id: DriverId,
    /// Name of the driver.
    pub name: String,
    /// Number of the driver, which is calling.
    pub phone_number: PhoneNumber,
    /// The driver's last call that is over.
    pub last_call: Option<LastCall>,
}

/// The last call of a driver.
#[derive(Clone, PartialEq, Eq)]
pub struct LastCall {
    /// Start of the call.
    pub at: Timestamp,
    /// ElevenLabs' summary.
    pub summary: Option<String>,
    /// Result of the analysis.
    pub outcome: Option<CallOutcome>,
}

/// Omits the summary, because words of calls must not reach the log by way of `{:?}`.
impl std::fmt::Debug for LastCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LastCall({})", self.at)
    }
}

/// An initiation to be stored: the driver whose number calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewInitiation {
    /// Id of the call at the telephone provider.
    pub call_sid: CallSid,
    /// Conversation of the call, if ElevenLabs said it.
    pub conversation_id: Option<ConversationId>,
    /// The driver.
    pub driver_id: DriverId,
}
