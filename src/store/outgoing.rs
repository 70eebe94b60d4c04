//! Outgoing webhooks in the store: notices, and how far each endpoint has received them.

use crate::domain::{ConversationId, NoticeType, Timestamp};
use serde::{Deserialize, Serialize};

/// The id of an endpoint: 16 hexadecimal digits, which depend only on its URL. The URL itself is not stored, because it
/// may contain a secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EndpointId(String);

impl EndpointId {
    /// Creates an id of a number.
    pub fn of_number(number: u64) -> Self {
        Self(format!("{number:016x}"))
    }

    /// Returns the id of this stored form.
    pub(super) fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// Returns the digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A notice about a call. The call itself is read when the notice is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Number in the order of commits.
    pub id: i64,
    /// Type.
    pub kind: NoticeType,
    /// Call that it is about, which may have been erased since.
    pub conversation_id: ConversationId,
    /// Name of the alert that matched, for [`NoticeType::AlertMatched`].
    pub alert: Option<String>,
    /// Time at which it was committed.
    pub at: Timestamp,
}

/// A notice that an endpoint has not received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingNotice {
    /// The notice.
    pub notice: Notice,
    /// Number of requests so far.
    pub tries: u32,
    /// True if an earlier delivery of its call is not settled.
    pub is_blocked: bool,
}

/// A place in the order of later tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TryKey {
    /// Planned time of the try.
    pub next_try: Timestamp,
    /// Number of the notice.
    pub notice: i64,
}

/// A notice whose next try is planned for later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedNotice {
    /// The notice.
    pub pending: PendingNotice,
    /// Place in the order of later tries.
    pub key: TryKey,
    /// Time of the last request.
    pub last_try: Option<Timestamp>,
}

/// Notices that an endpoint is to receive next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutgoingBatch {
    /// True if the endpoint is switched off or unknown; then there are no notices.
    pub is_off: bool,
    /// Notices whose next try is due, at most one of each call.
    pub due: Vec<PendingNotice>,
    /// Notices whose next try is planned for later, in the order of these times, if they were requested.
    pub planned: Vec<PlannedNotice>,
    /// Notices that were never tried, in order.
    pub fresh: Vec<PendingNotice>,
    /// Earliest time of a later try.
    pub next_try: Option<Timestamp>,
    /// Latest time of a later try.
    pub last_try: Option<Timestamp>,
    /// True if the try before the earliest or the latest of these is, by its time, yet to come: the clock was set back.
    pub is_tried_by_other_clock: bool,
    /// Time of the oldest notice that the endpoint has not received, apart from failed ones.
    pub oldest: Option<Timestamp>,
}

/// The outcome of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeliveryOutcome {
    /// The receiver has it.
    Delivered,
    /// The receiver refused it, or did not answer. Try again at this time.
    Retry {
        /// Earliest time of the next try.
        at: Timestamp,
        /// Status of the answer, if there was one.
        status: Option<u16>,
    },
    /// As before, but it was the last try.
    Failed {
        /// Status of the answer, if there was one.
        status: Option<u16>,
    },
    /// It was not tried, because an earlier delivery of its call is not settled.
    Blocked,
}

/// Outcomes of deliveries to one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Number of the last notice that was looked at; 0 if none was.
    pub position: i64,
    /// Outcomes by number of the notice. A new notice that was delivered, or that the endpoint does not want, needs
    /// none.
    pub outcomes: Vec<(i64, DeliveryOutcome)>,
    /// True if the receiver asked to be switched off.
    pub switch_off: bool,
}

impl Settlement {
    /// Creates a settlement without outcomes.
    pub fn new(endpoint: EndpointId) -> Self {
        Self { endpoint, position: 0, outcomes: Vec::new(), switch_off: false }
    }

    /// Returns whether storing it would change nothing.
    pub fn is_empty(&self) -> bool {
        self.position == 0 && self.outcomes.is_empty() && !self.switch_off
    }
}

/// A delivery that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedDelivery {
    /// The notice.
    pub notice: Notice,
    /// Number of requests.
    pub tries: u32,
    /// Time of the last request.
    pub last_try: Option<Timestamp>,
    /// Status of the last answer, if there was one.
    pub last_status: Option<u16>,
}

/// The state of an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointState {
    /// Time at which the receiver asked to be switched off.
    pub switched_off_at: Option<Timestamp>,
    /// Number of notices that were never tried, counted up to 100,000.
    pub unsent: u64,
    /// Number of notices that wait for another try, or for an earlier one of their call, counted up to 100,000.
    pub waiting: u64,
    /// Number of notices that were given up.
    pub failed: u64,
    /// Number of notices that were dropped because too many waited.
    pub dropped: u64,
    /// Time of the oldest notice that was not received, apart from failed ones.
    pub oldest: Option<Timestamp>,
    /// Earliest time of the next try of a notice that was tried before.
    pub next_try: Option<Timestamp>,
    /// The newest failed deliveries, newest first, at most a hundred.
    pub failures: Vec<FailedDelivery>,
}
