//! A call as the API shows it.

use crate::api::date_time::Instant;
use crate::domain::{self, DriverId, Timestamp};
use poem_openapi::types::{Any, Example};
use poem_openapi::{Enum, Object};
use serde_json::Value;

/// Where a call stands.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(in crate::api) enum CallStatus {
    /// Turns may still come.
    InProgress,
    /// It took place and is over.
    Completed,
    /// It could not be made, or broke down.
    Failed,
}

impl From<CallStatus> for domain::CallStatus {
    fn from(status: CallStatus) -> Self {
        match status {
            CallStatus::InProgress => Self::InProgress,
            CallStatus::Completed => Self::Completed,
            CallStatus::Failed => Self::Failed,
        }
    }
}

impl From<domain::CallStatus> for CallStatus {
    fn from(status: domain::CallStatus) -> Self {
        match status {
            domain::CallStatus::InProgress => Self::InProgress,
            domain::CallStatus::Completed => Self::Completed,
            domain::CallStatus::Failed => Self::Failed,
        }
    }
}

/// How it became known which driver was called.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(in crate::api) enum DriverSource {
    /// By the call's dispatch.
    Dispatch,
    /// By the dynamic variable `driver_id`.
    DynamicVariable,
    /// By the platform's user id.
    UserId,
    /// By the recipient's id in a batch of calls.
    BatchRecipient,
    /// By the number at the other end.
    PhoneNumber,
}

impl From<domain::DriverSource> for DriverSource {
    fn from(value: domain::DriverSource) -> Self {
        match value {
            domain::DriverSource::Dispatch => Self::Dispatch,
            domain::DriverSource::DynamicVariable => Self::DynamicVariable,
            domain::DriverSource::UserId => Self::UserId,
            domain::DriverSource::BatchRecipient => Self::BatchRecipient,
            domain::DriverSource::PhoneNumber => Self::PhoneNumber,
        }
    }
}

/// Who called whom.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(in crate::api) enum Direction {
    /// The driver called.
    Inbound,
    /// The agent called.
    Outbound,
}

impl From<domain::Direction> for Direction {
    fn from(value: domain::Direction) -> Self {
        match value {
            domain::Direction::Inbound => Self::Inbound,
            domain::Direction::Outbound => Self::Outbound,
        }
    }
}

/// Whether the goal of a call was reached, by the platform's analysis; not whether the call took place.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(in crate::api) enum CallOutcome {
    /// It was.
    Success,
    /// It was not.
    Failure,
    /// The analysis could not tell.
    Unknown,
}

impl From<CallOutcome> for domain::CallOutcome {
    fn from(value: CallOutcome) -> Self {
        match value {
            CallOutcome::Success => Self::Success,
            CallOutcome::Failure => Self::Failure,
            CallOutcome::Unknown => Self::Unknown,
        }
    }
}

impl From<domain::CallOutcome> for CallOutcome {
    fn from(value: domain::CallOutcome) -> Self {
        match value {
            domain::CallOutcome::Success => Self::Success,
            domain::CallOutcome::Failure => Self::Failure,
            domain::CallOutcome::Unknown => Self::Unknown,
        }
    }
}

// Fields that are enumerations have no words of their own here and elsewhere: the framework would give them a schema
// that combines two, which common client generators cannot read. The enumeration's words serve.
/// A phone call, without its turns.
#[derive(Debug, Object)]
#[oai(example)]
pub(in crate::api) struct Call {
    /// Row number; greater for calls that were made later.
    id: i64,
    /// The platform's name for the call.
    conversation_id: String,
    /// The driver who was called; null while that is not known.
    #[oai(nullable)]
    driver_id: Option<i64>,
    /// When it began: by the platform's record, or until there is one, its first turn's timestamp.
    call_start_time: Instant,
    /// When it ended; null while that is not known.
    #[oai(nullable)]
    call_end_time: Option<Instant>,
    status: CallStatus,
    /// How many turns are stored; also the last one's sequence number.
    turn_count: i64,
    /// The earliest timestamp of its turns.
    #[oai(nullable)]
    first_turn_time: Option<Instant>,
    /// The latest timestamp of its turns.
    #[oai(nullable)]
    last_turn_time: Option<Instant>,
    #[oai(nullable)]
    driver_source: Option<DriverSource>,
    /// What says another driver than `driver_id`, in words; null while nothing does.
    #[oai(nullable)]
    driver_conflict: Option<String>,
    /// How long it took, by the platform.
    #[oai(nullable)]
    duration_seconds: Option<i64>,
    /// The platform's name for the agent that spoke.
    #[oai(nullable)]
    agent_id: Option<String>,
    /// The platform's user id, in its words.
    #[oai(nullable)]
    user_id: Option<String>,
    #[oai(nullable)]
    direction: Option<Direction>,
    /// Why it ended or failed, in the platform's free words; `inactivity` where the service ended it.
    #[oai(nullable)]
    termination_reason: Option<String>,
    #[oai(nullable)]
    outcome: Option<CallOutcome>,
    /// The platform's title.
    #[oai(nullable)]
    title: Option<String>,
    /// The platform's summary.
    #[oai(nullable)]
    summary: Option<String>,
    /// The language, as the platform names it.
    #[oai(nullable)]
    main_language: Option<String>,
    /// What it cost, in the platform's credits.
    #[oai(nullable)]
    cost: Option<i64>,
    /// The number at the other end.
    #[oai(nullable)]
    external_number: Option<String>,
    /// The platform's batch of calls.
    #[oai(nullable)]
    batch_id: Option<String>,
    /// Turns that were heard and are not in the platform's record; null while there is no record.
    #[oai(nullable)]
    live_only: Option<i64>,
    /// Turns that were heard and are in the record.
    #[oai(nullable)]
    matched: Option<i64>,
    /// Turns that only the record had.
    #[oai(nullable)]
    added: Option<i64>,
    /// Of those matched, how many were heard with other words.
    #[oai(nullable)]
    corrected: Option<i64>,
    /// Turns that were heard once more than the record has them.
    #[oai(nullable)]
    repeated: Option<i64>,
    /// The platform's analysis; only with a single call.
    #[oai(skip_serializing_if_is_none)]
    analysis: Option<Any<Value>>,
    /// Whether a recording is kept here; only with a single call that was asked for, not in lists and streams.
    #[oai(skip_serializing_if_is_none)]
    has_audio: Option<bool>,
    /// When the call was made here.
    created_at: Instant,
    /// When the call, or the set of its turns, last changed.
    updated_at: Instant,
}

impl From<domain::Call> for Call {
    fn from(call: domain::Call) -> Self {
        let report = call.report;
        Self {
            id: call.id,
            conversation_id: call.conversation_id.as_str().to_owned(),
            driver_id: call.driver_id.map(DriverId::get),
            call_start_time: Instant(call.call_start_time),
            call_end_time: call.call_end_time.map(Instant),
            status: call.status.into(),
            turn_count: call.turn_count,
            first_turn_time: call.first_turn_time.map(Instant),
            last_turn_time: call.last_turn_time.map(Instant),
            driver_source: report.driver_source.map(Into::into),
            driver_conflict: report.driver_conflict,
            duration_seconds: report.duration_seconds,
            agent_id: report.agent_id,
            user_id: report.user_id,
            direction: report.direction.map(Into::into),
            termination_reason: report.termination_reason,
            outcome: report.outcome.map(Into::into),
            title: report.title,
            summary: report.summary,
            main_language: report.main_language,
            cost: report.cost,
            external_number: report.external_number,
            batch_id: report.batch_id,
            live_only: report.reconciled.map(|counts| counts.live_only),
            matched: report.reconciled.map(|counts| counts.matched),
            added: report.reconciled.map(|counts| counts.added),
            corrected: report.reconciled.map(|counts| counts.corrected),
            repeated: report.reconciled.map(|counts| counts.repeated),
            analysis: report.analysis.and_then(|text| serde_json::from_str(&text).ok()).map(Any),
            has_audio: None,
            created_at: Instant(call.created_at),
            updated_at: Instant(call.updated_at),
        }
    }
}

impl Call {
    /// With whether a recording of it is kept.
    pub(in crate::api) fn with_audio(call: domain::Call, has_audio: bool) -> Self {
        Self { has_audio: Some(has_audio), ..call.into() }
    }

    /// Without what is long and asked for by few.
    pub(in crate::api) fn in_a_list(call: domain::Call) -> Self {
        Self { analysis: None, ..call.into() }
    }
}

pub(in crate::api) fn example_instant(text: &str) -> Instant {
    Instant(Timestamp::parse(text).expect("an example"))
}

impl Example for Call {
    fn example() -> Self {
        Self {
            id: 7,
            conversation_id: "conv_1901kaj4pr1penza6bbkscg6hgkc".to_owned(),
            driver_id: Some(1042),
            call_start_time: example_instant("2026-09-28T12:00:01.5Z"),
            call_end_time: Some(example_instant("2026-09-28T12:02:41Z")),
            status: CallStatus::Completed,
            turn_count: 14,
            first_turn_time: Some(example_instant("2026-09-28T12:00:01.5Z")),
            last_turn_time: Some(example_instant("2026-09-28T12:02:38Z")),
            driver_source: Some(DriverSource::Dispatch),
            driver_conflict: None,
            duration_seconds: Some(160),
            agent_id: Some("agent_5501k9czkv3qepy815bm59nt04qk".to_owned()),
            user_id: Some("driver_1042".to_owned()),
            direction: Some(Direction::Outbound),
            termination_reason: Some("Call ended by remote party".to_owned()),
            outcome: Some(CallOutcome::Success),
            title: Some("Reefer temperature check".to_owned()),
            summary: Some("The driver read the set point out; it was 34F.".to_owned()),
            main_language: Some("en".to_owned()),
            cost: Some(296),
            external_number: Some("+15550100042".to_owned()),
            batch_id: None,
            live_only: Some(0),
            matched: Some(12),
            added: Some(2),
            corrected: Some(1),
            repeated: Some(0),
            analysis: None,
            has_audio: None,
            created_at: example_instant("2026-09-28T12:00:02.114207Z"),
            updated_at: example_instant("2026-09-28T12:02:41.903518Z"),
        }
    }
}
