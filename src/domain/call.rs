//! A phone call: one conversation of the voice agent with a driver.

use super::{ConversationId, DriverId, DriverSource, Timestamp, Turn};
use serde::{Deserialize, Serialize};

/// Where a call stands. Stored and shown as `in_progress`, `completed` or `failed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallStatus {
    /// Turns may still come; what a first turn makes.
    InProgress,
    /// The call took place and is over.
    Completed,
    /// The call could not be made, or broke down.
    Failed,
}

impl CallStatus {
    /// The stored form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }

    /// The status that is stored as `text`, if there is one.
    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::InProgress, Self::Completed, Self::Failed].into_iter().find(|s| s.as_str() == text)
    }
}

/// A call as it is kept, without its turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Row number; later calls have greater ones.
    pub id: i64,
    /// The platform's name for the call.
    pub conversation_id: ConversationId,
    /// Who was called, when that is known.
    pub driver_id: Option<DriverId>,
    /// When the call began: by the platform's record, or until there is one, the first turn's timestamp.
    pub call_start_time: Timestamp,
    /// When it ended, when that is known.
    pub call_end_time: Option<Timestamp>,
    /// Where it stands.
    pub status: CallStatus,
    /// How many turns are stored; the next one's sequence number less one.
    pub turn_count: i64,
    /// The earliest timestamp of its turns.
    pub first_turn_time: Option<Timestamp>,
    /// The latest timestamp of its turns.
    pub last_turn_time: Option<Timestamp>,
    /// What the platform's records say of it, and what was made of them.
    pub report: CallReport,
    /// When the row was made.
    pub created_at: Timestamp,
    /// When the row, or the call's set of turns, last changed.
    pub updated_at: Timestamp,
}

/// Length that no call reaches, in microseconds. Senders' times that lie further apart are invented.
const MAX_CALL_MICROS: i64 = 24 * 3600 * 1_000_000;

impl Call {
    /// Returns how long after the start of the call a turn of it was said, for display, in microseconds.
    ///
    /// Nothing is said before the start, nor after the end of a call that is over. Where there is no record and the senders'
    /// times cannot be those of one call, the time of arrival counts.
    pub fn offset_micros(&self, turn: &Turn) -> u64 {
        let after = |time: Timestamp, start: Timestamp| {
            u64::try_from(time.unix_micros().saturating_sub(start.unix_micros())).unwrap_or(0)
        };
        if self.has_invented_times() {
            return after(turn.created_at, self.created_at);
        }
        let end = self.call_end_time.filter(|_| self.status != CallStatus::InProgress);
        let said = turn.said_at();
        after(end.map_or(said, |end| said.min(end)), self.call_start_time)
    }

    fn has_invented_times(&self) -> bool {
        let span = |(first, last): (Timestamp, Timestamp)| last.unix_micros().saturating_sub(first.unix_micros());
        self.report.record_event_id.is_none()
            && self.first_turn_time.zip(self.last_turn_time).is_some_and(|times| span(times) > MAX_CALL_MICROS)
    }
}

/// What the platform's records say of a call, and what was made of them. All of it can be unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallReport {
    /// How the driver became known.
    pub driver_source: Option<DriverSource>,
    /// What says another driver, in words.
    pub driver_conflict: Option<String>,
    /// How long the call took, in seconds.
    pub duration_seconds: Option<i64>,
    /// The agent that spoke.
    pub agent_id: Option<String>,
    /// The platform's user id, in its words.
    pub user_id: Option<String>,
    /// Who called whom.
    pub direction: Option<Direction>,
    /// Why it ended or failed, in free words; `inactivity` where this service ended it.
    pub termination_reason: Option<String>,
    /// Whether its goal was reached.
    pub outcome: Option<CallOutcome>,
    /// The platform's title.
    pub title: Option<String>,
    /// The platform's summary.
    pub summary: Option<String>,
    /// The language, as the platform names it.
    pub main_language: Option<String>,
    /// What it cost, in the platform's credits.
    pub cost: Option<i64>,
    /// The number at the other end, as the platform writes it.
    pub external_number: Option<String>,
    /// The platform's batch of calls.
    pub batch_id: Option<String>,
    /// The platform's analysis, as JSON.
    pub analysis: Option<String>,
    /// The event whose record knows most about the call.
    pub record_event_id: Option<i64>,
    /// What came of bringing turns and record together, once there is a record.
    pub reconciled: Option<Reconciled>,
}

/// What was found out about a call's turns.
///
/// What counts as heard are the delivered turns and, once there is a record after the call, the histories.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Heard, and not in the record.
    pub live_only: i64,
    /// Heard, and in the record.
    pub matched: i64,
    /// In the record, and not heard.
    pub added: i64,
    /// Of those matched, how many were heard with other words.
    pub corrected: i64,
    /// Heard once more than the record has them.
    pub repeated: i64,
}

/// What a manager of calls sets by hand. `None` leaves a value as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallChange {
    /// The new status.
    pub status: Option<CallStatus>,
    /// The new end.
    pub call_end_time: Option<CallEnd>,
}

/// When a call ended, as a manager of calls knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnd {
    /// Not known, or not yet.
    Unknown,
    /// At this time.
    At(Timestamp),
}

/// Who called whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The driver called.
    Inbound,
    /// The agent called.
    Outbound,
}

impl Direction {
    /// The stored form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }

    /// The direction that is stored as `text`, if there is one.
    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::Inbound, Self::Outbound].into_iter().find(|d| d.as_str() == text)
    }
}

/// Whether the goal of a call was reached, by the platform's analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallOutcome {
    /// It was.
    Success,
    /// It was not, although the call took place.
    Failure,
    /// The analysis could not tell.
    Unknown,
}

impl CallOutcome {
    /// The stored form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Unknown => "unknown",
        }
    }

    /// The outcome that is stored as `text`, if there is one.
    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::Success, Self::Failure, Self::Unknown].into_iter().find(|o| o.as_str() == text)
    }
}
