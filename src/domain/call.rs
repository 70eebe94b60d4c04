//! Phone calls. A call is one conversation of the voice agent with a driver.

use super::stored_text::stored_as;
use super::{
    AnsweredBy, AnsweredBySource, Channel, ConversationId, DriverId, DriverSource, Finite, Message, Speaker, Timestamp,
    Turn,
};
use serde::{Deserialize, Serialize};

/// The status of a call. Stored and returned as `in_progress`, `completed` or `failed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallStatus {
    /// The call is running, and more turns may be received. Initial status of a call.
    InProgress,
    /// The call ended normally.
    Completed,
    /// The call could not be established, or broke off.
    Failed,
}

stored_as!(CallStatus { InProgress => "in_progress", Completed => "completed", Failed => "failed" });

/// A stored call, without its turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Row number, increasing with time.
    pub id: i64,
    /// ElevenLabs' id of the call.
    pub conversation_id: ConversationId,
    /// Driver of the call, if known.
    pub driver_id: Option<DriverId>,
    /// Name of the driver.
    pub driver_name: Option<String>,
    /// Start of the call: from ElevenLabs' record, or until there is one, the first turn's timestamp.
    pub call_start_time: Timestamp,
    /// End of the call, if known.
    pub call_end_time: Option<Timestamp>,
    /// Status.
    pub status: CallStatus,
    /// Number of stored turns, and the last sequence number.
    pub turn_count: i64,
    /// Earliest timestamp of the turns.
    pub first_turn_time: Option<Timestamp>,
    /// Latest timestamp of the turns.
    pub last_turn_time: Option<Timestamp>,
    /// The last turn in spoken order.
    pub last_message: Option<LastMessage>,
    /// Facts of ElevenLabs' records, and the results of reconciliation.
    pub report: CallReport,
    /// The alerts that matched a turn, in the order of the turns.
    pub alerts: Vec<CallAlert>,
    /// True if a tool transferred the call to a number or to another agent; `None` if that was not read.
    pub transferred: Option<bool>,
    /// Time at which the row was created.
    pub created_at: Timestamp,
    /// Time at which the row, or the call's set of turns, last changed.
    pub updated_at: Timestamp,
}

/// An alert that matched a turn of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallAlert {
    /// Name of the alert.
    pub name: String,
    /// Number of the first turn that matched, by arrival, or of the turn that supersedes it.
    pub sequence_number: i64,
}

/// The last words of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastMessage {
    /// Speaker of the turn.
    pub speaker: Speaker,
    /// Text as received.
    pub message: Message,
    /// Text of ElevenLabs' record, if it differs.
    pub final_text: Option<Message>,
    /// Time of the turn.
    pub timestamp: Timestamp,
    /// Number of the turn by arrival.
    pub sequence_number: i64,
}

/// Maximum plausible duration of a call, in microseconds. A larger span of the senders' times means that they are
/// invented.
const MAX_CALL_MICROS: i64 = 24 * 3600 * 1_000_000;

impl Call {
    /// Returns a turn's time since the start of the call, for display, in microseconds.
    ///
    /// The result is never before the start, or after the end of an ended call. If there is no record and the senders'
    /// times are not plausible for one call, the time of arrival is used.
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

    /// Returns the duration in whole seconds: by ElevenLabs, else from start to end, if the end is known.
    pub fn duration_seconds(&self) -> Option<i64> {
        let micros = |end: Timestamp| end.unix_micros().saturating_sub(self.call_start_time.unix_micros());
        let measured = || self.call_end_time.map(|end| (micros(end) + 500_000).div_euclid(1_000_000));
        self.report.duration_seconds.or_else(measured)
    }

    fn has_invented_times(&self) -> bool {
        let span = |(first, last): (Timestamp, Timestamp)| last.unix_micros().saturating_sub(first.unix_micros());
        self.report.record_event_id.is_none()
            && self.first_turn_time.zip(self.last_turn_time).is_some_and(|times| span(times) > MAX_CALL_MICROS)
    }
}

/// Facts of ElevenLabs' records about a call, and the results of reconciliation. Each can be unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallReport {
    /// Source of the driver.
    pub driver_source: Option<DriverSource>,
    /// Claims that name another driver, as text.
    pub driver_conflict: Option<String>,
    /// Duration, in seconds.
    pub duration_seconds: Option<i64>,
    /// Agent of the call.
    pub agent_id: Option<String>,
    /// ElevenLabs' user id.
    pub user_id: Option<String>,
    /// Direction of the call.
    pub direction: Option<Direction>,
    /// Reason for the end or the failure, as free text; `inactivity` if this service ended the call.
    pub termination_reason: Option<String>,
    /// Outcome of the call's goal.
    pub outcome: Option<CallOutcome>,
    /// ElevenLabs' title.
    pub title: Option<String>,
    /// ElevenLabs' summary.
    pub summary: Option<String>,
    /// Language code of ElevenLabs.
    pub main_language: Option<String>,
    /// Cost, in credits of ElevenLabs.
    pub cost: Option<i64>,
    /// External telephone number, as written by ElevenLabs.
    pub external_number: Option<String>,
    /// ElevenLabs' id of the batch of calls.
    pub batch_id: Option<String>,
    /// ElevenLabs' analysis, as JSON.
    pub analysis: Option<String>,
    /// Event with the most authoritative record.
    pub record_event_id: Option<i64>,
    /// Results of reconciliation, if there is a record.
    pub reconciled: Option<ReconcileCounts>,
    /// The one who answered, as far as known.
    pub answered_by: Option<AnsweredBy>,
    /// Source of [`Self::answered_by`].
    pub answered_by_source: Option<AnsweredBySource>,
    /// Sources that name another one who answered, as text.
    pub answered_by_conflict: Option<String>,
    /// Channel of the conversation.
    pub channel: Option<Channel>,
    /// Conversation that started this one as a sub-agent's.
    pub parent_conversation_id: Option<ConversationId>,
    /// Environment of the agent.
    pub environment: Option<String>,
    /// Branch of the agent.
    pub branch_id: Option<String>,
    /// Version of the agent.
    pub version_id: Option<String>,
    /// Id of the call at the telephone provider.
    pub call_sid: Option<String>,
    /// Number at the agent's end.
    pub agent_number: Option<String>,
    /// Name of the agent.
    pub agent_name: Option<String>,
    /// Cost, in US dollars.
    pub cost_usd: Option<Finite>,
    /// Time in the queue before the talk, in seconds.
    pub queue_wait_seconds: Option<Finite>,
    /// Time at which the call was accepted.
    pub accepted_time: Option<Timestamp>,
    /// Campaign of the batch of calls.
    pub campaign: Option<String>,
    /// Ids of ElevenLabs' tags.
    pub tags: Vec<String>,
    /// Product of ElevenLabs, such as `agents`.
    pub conversation_product: Option<String>,
    /// ElevenLabs' sentiment of the call.
    pub sentiment: Option<String>,
    /// True if the transcript has as many turns as ElevenLabs counted, false if it has fewer.
    pub record_complete: Option<bool>,
    /// Source of the conversation in ElevenLabs' words, such as `twilio`.
    pub initiation_source: Option<String>,
    /// True if the agent's tool `end_call` was called and did not fail.
    pub agent_ended: bool,
    /// True if a tool failed.
    pub tool_error: bool,
}

impl CallReport {
    /// Returns true for a conversation that a sub-agent held for another one.
    pub fn is_of_sub_agent(&self) -> bool {
        self.parent_conversation_id.is_some() || self.initiation_source.as_deref() == Some("subagent_tool")
    }
}

/// The results of reconciling a call's turns with its records.
///
/// Live turns are the delivered ones and, if there is a record after the call, those in histories.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconcileCounts {
    /// Number of live turns that are not in the record.
    pub live_only: i64,
    /// Number of live turns that are in the record.
    pub matched: i64,
    /// Number of recorded turns without a live turn.
    pub added: i64,
    /// Number of matched turns whose words differ from the record.
    pub corrected: i64,
    /// Number of live turns that were received more often than the record contains them.
    pub repeated: i64,
}

/// A manual change of a call. `None` leaves a value unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallChange {
    /// New status.
    pub status: Option<CallStatus>,
    /// New end.
    pub call_end_time: Option<CallEnd>,
}

/// A manually set end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallEnd {
    /// The end is unknown, or the call has not ended.
    Unknown,
    /// The call ended at this time.
    At(Timestamp),
}

/// The direction of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The driver called the agent.
    Inbound,
    /// The agent called the driver.
    Outbound,
}

stored_as!(Direction { Inbound => "inbound", Outbound => "outbound" });

/// The outcome of a call's goal, according to ElevenLabs' analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallOutcome {
    /// The goal was reached.
    Success,
    /// The goal was not reached, although the call took place.
    Failure,
    /// The analysis is undecided.
    Unknown,
}

stored_as!(CallOutcome { Success => "success", Failure => "failure", Unknown => "unknown" });
