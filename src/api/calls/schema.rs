//! The API's representation of a call.

use super::speaker::Speaker;
use super::understood::{AnsweredBySource, EndReason, from_domain, into_domain};
use crate::api::date_time::DateTime;
use crate::domain::{self, DriverId, Timestamp};
use crate::store::{self, Reads};
use poem_openapi::types::{Any, Example};
use poem_openapi::{Enum, Object};
use serde_json::Value;

/// Status of a call.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(in crate::api) enum CallStatus {
    /// The call is running; more turns may arrive.
    InProgress,
    /// The call took place and is over.
    Completed,
    /// The call could not be placed, or was cut off.
    Failed,
}

/// Evidence that identified the call's driver.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(in crate::api) enum DriverSource {
    /// The call's dispatch.
    Dispatch,
    /// The dynamic variable `driver_id`.
    DynamicVariable,
    /// ElevenLabs' user id.
    UserId,
    /// The recipient's id in a batch of calls.
    BatchRecipient,
    /// The number that called, when ElevenLabs asked who is calling.
    Initiation,
    /// The phone number of the other party.
    PhoneNumber,
}

/// Direction of a call.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(in crate::api) enum Direction {
    /// The driver called the agent.
    Inbound,
    /// The agent called the driver.
    Outbound,
}

/// ElevenLabs' verdict on the goal of the call. A call that took place may still be a `failure`.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(in crate::api) enum CallOutcome {
    /// The goal was reached.
    Success,
    /// The goal was not reached.
    Failure,
    /// The analysis could not decide.
    Unknown,
}

/// The one who answered a call.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(in crate::api) enum AnsweredBy {
    /// A person.
    Human,
    /// A voicemail or another answering machine.
    Voicemail,
    /// A fax machine.
    Fax,
    /// Nobody: the line was busy.
    Busy,
    /// Nobody picked up.
    NoAnswer,
    /// Nobody: the call could not be established.
    Failed,
    /// Somebody or something that no source could tell.
    Unknown,
}

/// Channel of a conversation.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(in crate::api) enum Channel {
    /// A telephone call.
    Phone,
    /// A voice conversation in a web page or app.
    Web,
    /// Text messages of the telephone network.
    Sms,
    /// `WhatsApp`, by text or voice.
    Whatsapp,
    /// Typed text in a web page, an app or a messenger.
    Text,
    /// A channel that the record does not tell.
    Unknown,
}

/// The last turn of a call in spoken order.
#[derive(Debug, Object)]
#[oai(example)]
pub(in crate::api) struct LastMessage {
    speaker_type: Speaker,
    /// Text of the turn, as it was received.
    message_text: String,
    /// Text of the turn in ElevenLabs' record, if it differs from the received text.
    #[oai(nullable)]
    final_text: Option<String>,
    /// Time of the turn, from its sender.
    timestamp: DateTime,
    /// Number of the turn within its call, in order of arrival.
    sequence_number: i64,
}

impl From<domain::LastMessage> for LastMessage {
    fn from(last: domain::LastMessage) -> Self {
        Self {
            speaker_type: last.speaker.into(),
            message_text: last.message.into_string(),
            final_text: last.final_text.map(domain::Message::into_string),
            timestamp: DateTime(last.timestamp),
            sequence_number: last.sequence_number,
        }
    }
}

impl Example for LastMessage {
    fn example() -> Self {
        Self {
            speaker_type: Speaker::Driver,
            message_text: "All right, I'll set it to thirty four.".to_owned(),
            final_text: None,
            timestamp: example_instant("2026-09-28T12:02:38Z"),
            sequence_number: 14,
        }
    }
}

/// An alert that matched a turn of a call.
#[derive(Debug, Object)]
#[oai(example)]
pub(in crate::api) struct CallAlert {
    /// Name of the alert, as in the configuration.
    name: String,
    /// Number of the first turn that matched, or of the turn that supersedes it.
    sequence_number: i64,
}

impl From<domain::CallAlert> for CallAlert {
    fn from(alert: domain::CallAlert) -> Self {
        Self { name: alert.name, sequence_number: alert.sequence_number }
    }
}

impl Example for CallAlert {
    fn example() -> Self {
        Self { name: "reefer".to_owned(), sequence_number: 4 }
    }
}

// Fields that are enumerations have no description of their own: the framework would give them a schema that combines
// two, which common client generators cannot read. The enumeration's description is used.
/// A phone call, without its turns.
#[derive(Debug, Object)]
#[oai(example)]
pub(in crate::api) struct Call {
    /// Row number. Calls that were created later have a higher number.
    id: i64,
    /// ElevenLabs' id of the call.
    conversation_id: String,
    /// The driver; null if not known.
    #[oai(nullable)]
    driver_id: Option<i64>,
    /// Name of the driver; null if the driver is not known.
    #[oai(nullable)]
    driver_name: Option<String>,
    /// Start of the call: from ElevenLabs' record, or, without a record, the timestamp of the first turn.
    call_start_time: DateTime,
    /// End of the call; null if not known.
    #[oai(nullable)]
    call_end_time: Option<DateTime>,
    status: CallStatus,
    /// Number of stored turns; equals the sequence number of the last one.
    turn_count: i64,
    /// Earliest timestamp of the call's turns.
    #[oai(nullable)]
    first_turn_time: Option<DateTime>,
    /// Latest timestamp of the call's turns.
    #[oai(nullable)]
    last_turn_time: Option<DateTime>,
    #[oai(nullable)]
    last_message: Option<LastMessage>,
    #[oai(nullable)]
    driver_source: Option<DriverSource>,
    /// Evidence for a driver other than `driver_id`, in words; null without a conflict.
    #[oai(nullable)]
    driver_conflict: Option<String>,
    /// Duration of the call, in whole seconds: from ElevenLabs, else from start to end; null if not known.
    #[oai(nullable)]
    duration_seconds: Option<i64>,
    /// ElevenLabs' id of the agent.
    #[oai(nullable)]
    agent_id: Option<String>,
    /// ElevenLabs' user id, unchanged.
    #[oai(nullable)]
    user_id: Option<String>,
    #[oai(nullable)]
    direction: Option<Direction>,
    /// Reason why the call ended or failed, in ElevenLabs' words; `inactivity` if the service ended it.
    #[oai(nullable)]
    termination_reason: Option<String>,
    #[oai(nullable)]
    outcome: Option<CallOutcome>,
    /// Title, from ElevenLabs.
    #[oai(nullable)]
    title: Option<String>,
    /// Summary, from ElevenLabs.
    #[oai(nullable)]
    summary: Option<String>,
    /// Main language, from ElevenLabs.
    #[oai(nullable)]
    main_language: Option<String>,
    /// Cost, in ElevenLabs credits.
    #[oai(nullable)]
    cost: Option<i64>,
    /// Phone number of the other party.
    #[oai(nullable)]
    external_number: Option<String>,
    /// ElevenLabs' id of the batch of calls.
    #[oai(nullable)]
    batch_id: Option<String>,
    /// Number of live turns that ElevenLabs' record does not contain; null without a record.
    #[oai(nullable)]
    live_only: Option<i64>,
    /// Number of live turns that the record contains.
    #[oai(nullable)]
    matched: Option<i64>,
    /// Number of turns that only the record contains.
    #[oai(nullable)]
    added: Option<i64>,
    /// Number of matched turns with different text in the record.
    #[oai(nullable)]
    corrected: Option<i64>,
    /// Number of live turns that repeat a matched turn.
    #[oai(nullable)]
    repeated: Option<i64>,
    /// ElevenLabs' analysis; only if a single call is requested.
    #[oai(skip_serializing_if_is_none)]
    analysis: Option<Any<Value>>,
    /// True if a recording is stored. Only if a single call is requested, not in lists and streams.
    #[oai(skip_serializing_if_is_none)]
    has_audio: Option<bool>,
    /// Time at which the call was created in the database.
    created_at: DateTime,
    /// Time of the last change of the call or of its set of turns.
    updated_at: DateTime,
    #[oai(nullable)]
    answered_by: Option<AnsweredBy>,
    #[oai(nullable)]
    answered_by_source: Option<AnsweredBySource>,
    /// Sources that name another one who answered, such as `amd: voicemail`; null without a conflict.
    #[oai(nullable)]
    answered_by_conflict: Option<String>,
    #[oai(nullable)]
    channel: Option<Channel>,
    /// Conversation that started this one as a sub-agent's.
    #[oai(nullable)]
    parent_conversation_id: Option<String>,
    /// Environment of the agent, such as `production`.
    #[oai(nullable)]
    environment: Option<String>,
    /// ElevenLabs' id of the agent's branch.
    #[oai(nullable)]
    branch_id: Option<String>,
    /// ElevenLabs' id of the agent's version.
    #[oai(nullable)]
    version_id: Option<String>,
    /// Id of the call at the telephone provider.
    #[oai(nullable)]
    call_sid: Option<String>,
    /// Phone number of the agent.
    #[oai(nullable)]
    agent_number: Option<String>,
    /// Name of the agent.
    #[oai(nullable)]
    agent_name: Option<String>,
    /// Cost, in US dollars.
    #[oai(nullable)]
    cost_usd: Option<f64>,
    /// Time in the queue before the talk, in seconds; not part of the duration.
    #[oai(nullable)]
    queue_wait_seconds: Option<f64>,
    /// Time at which the call was accepted, after ringing and queueing.
    #[oai(nullable)]
    accepted_time: Option<DateTime>,
    /// Campaign of the batch of calls.
    #[oai(nullable)]
    campaign: Option<String>,
    /// Ids of ElevenLabs' tags; empty without any.
    tags: Vec<String>,
    /// Product of ElevenLabs, such as `agents`.
    #[oai(nullable)]
    conversation_product: Option<String>,
    /// ElevenLabs' sentiment of the call.
    #[oai(nullable)]
    sentiment: Option<String>,
    /// True if the transcript has as many turns as ElevenLabs counted, false if it has fewer; null if not known.
    #[oai(nullable)]
    record_complete: Option<bool>,
    /// Source of the conversation, in ElevenLabs' words, such as `twilio`.
    #[oai(nullable)]
    initiation_source: Option<String>,
    #[oai(nullable)]
    end_reason: Option<EndReason>,
    /// True if a tool failed in the call.
    tool_error: bool,
    /// Alerts that matched a turn of the call, in the order of the turns; empty without any.
    alerts: Vec<CallAlert>,
    /// True if a tool transferred the call to a telephone number or to another agent. Lists have it only with
    /// `include=transfers`.
    #[oai(skip_serializing_if_is_none)]
    transferred: Option<bool>,
    /// Conversations that this one started as sub-agents', the first 100 by start. Only if a single call is requested.
    #[oai(skip_serializing_if_is_none)]
    child_conversations: Option<Vec<ChildConversation>>,
}

impl From<domain::Call> for Call {
    fn from(call: domain::Call) -> Self {
        let end_reason = call.end_reason();
        let duration_seconds = call.duration_seconds();
        let report = call.report;
        Self {
            id: call.id,
            conversation_id: call.conversation_id.as_str().to_owned(),
            driver_id: call.driver_id.map(DriverId::get),
            driver_name: call.driver_name,
            call_start_time: DateTime(call.call_start_time),
            call_end_time: call.call_end_time.map(DateTime),
            status: call.status.into(),
            turn_count: call.turn_count,
            first_turn_time: call.first_turn_time.map(DateTime),
            last_turn_time: call.last_turn_time.map(DateTime),
            last_message: call.last_message.map(Into::into),
            driver_source: report.driver_source.map(Into::into),
            driver_conflict: report.driver_conflict,
            duration_seconds,
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
            created_at: DateTime(call.created_at),
            updated_at: DateTime(call.updated_at),
            answered_by: report.answered_by.map(Into::into),
            answered_by_source: report.answered_by_source.map(Into::into),
            answered_by_conflict: report.answered_by_conflict,
            channel: report.channel.map(Into::into),
            parent_conversation_id: report.parent_conversation_id.map(|id| id.as_str().to_owned()),
            environment: report.environment,
            branch_id: report.branch_id,
            version_id: report.version_id,
            call_sid: report.call_sid,
            agent_number: report.agent_number,
            agent_name: report.agent_name,
            cost_usd: report.cost_usd.map(domain::Finite::get),
            queue_wait_seconds: report.queue_wait_seconds.map(domain::Finite::get),
            accepted_time: report.accepted_time.map(DateTime),
            campaign: report.campaign,
            tags: report.tags,
            conversation_product: report.conversation_product,
            sentiment: report.sentiment,
            record_complete: report.record_complete,
            initiation_source: report.initiation_source,
            end_reason: end_reason.map(Into::into),
            tool_error: report.tool_error,
            alerts: call.alerts.into_iter().map(Into::into).collect(),
            transferred: call.transferred,
            child_conversations: None,
        }
    }
}

impl Call {
    /// Returns a single call, with the conversations that it started.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(in crate::api) fn single(call: domain::Call, has_audio: bool, store: &dyn Reads) -> store::Result<Self> {
        let children = store.child_calls(&call.conversation_id, MAX_CHILDREN)?;
        let transferred = store.transferred(std::slice::from_ref(&call.conversation_id))?;
        Ok(Self {
            child_conversations: Some(children.into_iter().map(Into::into).collect()),
            transferred: transferred.first().copied(),
            ..Self::with_audio(call, has_audio)
        })
    }

    /// Leaves out everything that tells what was said: spoken words, what ElevenLabs' language models wrote about them,
    /// and which alerts they matched.
    #[must_use]
    pub(in crate::api) fn without_words(self) -> Self {
        let without_title = |child| ChildConversation { title: None, ..child };
        Self {
            last_message: None,
            termination_reason: None,
            title: None,
            summary: None,
            sentiment: None,
            analysis: None,
            alerts: Vec::new(),
            child_conversations: self.child_conversations.map(|all| all.into_iter().map(without_title).collect()),
            ..self
        }
    }

    /// Returns the call with `has_audio`.
    pub(in crate::api) fn with_audio(call: domain::Call, has_audio: bool) -> Self {
        Self { has_audio: Some(has_audio), ..call.into() }
    }

    /// Returns the call as an element of a list, without the long fields.
    pub(in crate::api) fn summary(call: domain::Call) -> Self {
        Self { analysis: None, ..call.into() }
    }

    /// Returns the calls as elements of a list. `transfers` also sets `transferred`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(in crate::api) fn summaries(
        calls: Vec<domain::Call>,
        transfers: bool,
        store: &dyn Reads,
    ) -> store::Result<Vec<Self>> {
        if !transfers {
            return Ok(calls.into_iter().map(Self::summary).collect());
        }
        let ids: Vec<_> = calls.iter().map(|call| call.conversation_id.clone()).collect();
        let transferred = store.transferred(&ids)?;
        let rows = calls.into_iter().zip(transferred);
        Ok(rows.map(|(call, transferred)| Self { transferred: Some(transferred), ..Self::summary(call) }).collect())
    }
}

pub(in crate::api) fn example_instant(text: &str) -> DateTime {
    DateTime(Timestamp::parse(text).expect("an example"))
}

impl Example for Call {
    fn example() -> Self {
        Self {
            id: 7,
            conversation_id: "conv_1901kaj4pr1penza6bbkscg6hgkc".to_owned(),
            driver_id: Some(1042),
            driver_name: Some("Maria Kowalski".to_owned()),
            call_start_time: example_instant("2026-09-28T12:00:01.5Z"),
            call_end_time: Some(example_instant("2026-09-28T12:02:41Z")),
            status: CallStatus::Completed,
            turn_count: 14,
            first_turn_time: Some(example_instant("2026-09-28T12:00:01.5Z")),
            last_turn_time: Some(example_instant("2026-09-28T12:02:38Z")),
            last_message: Some(LastMessage::example()),
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
            answered_by: Some(AnsweredBy::Human),
            answered_by_source: Some(AnsweredBySource::CallResult),
            answered_by_conflict: None,
            channel: Some(Channel::Phone),
            parent_conversation_id: None,
            environment: Some("production".to_owned()),
            branch_id: None,
            version_id: None,
            call_sid: Some("CA5d1f0a6d9be74c4f8c1d2e3f4a5b6c7d".to_owned()),
            agent_number: Some("+15550100001".to_owned()),
            agent_name: Some("Reefer checks".to_owned()),
            cost_usd: Some(0.094),
            queue_wait_seconds: None,
            accepted_time: Some(example_instant("2026-09-28T12:00:01Z")),
            campaign: None,
            tags: vec!["tag_reefer".to_owned()],
            conversation_product: Some("agents".to_owned()),
            sentiment: None,
            record_complete: Some(true),
            initiation_source: Some("twilio".to_owned()),
            end_reason: Some(EndReason::HungUp),
            tool_error: false,
            alerts: vec![CallAlert::example()],
            transferred: None,
            child_conversations: None,
        }
    }
}

/// Maximum number of conversations in a call's response.
const MAX_CHILDREN: usize = 100;

/// A conversation that a sub-agent held for another one.
#[derive(Debug, Object)]
#[oai(example)]
pub(in crate::api) struct ChildConversation {
    /// ElevenLabs' id of the conversation.
    conversation_id: String,
    status: CallStatus,
    /// Start of the conversation.
    call_start_time: DateTime,
    /// End of the conversation; null if not known.
    #[oai(nullable)]
    call_end_time: Option<DateTime>,
    /// Duration, in whole seconds: from ElevenLabs, else from start to end; null if not known.
    #[oai(nullable)]
    duration_seconds: Option<i64>,
    /// Number of stored turns.
    turn_count: i64,
    /// ElevenLabs' id of the agent.
    #[oai(nullable)]
    agent_id: Option<String>,
    /// Name of the agent.
    #[oai(nullable)]
    agent_name: Option<String>,
    /// Title, from ElevenLabs.
    #[oai(nullable)]
    title: Option<String>,
}

impl From<domain::Call> for ChildConversation {
    fn from(call: domain::Call) -> Self {
        Self {
            duration_seconds: call.duration_seconds(),
            conversation_id: call.conversation_id.as_str().to_owned(),
            status: call.status.into(),
            call_start_time: DateTime(call.call_start_time),
            call_end_time: call.call_end_time.map(DateTime),
            turn_count: call.turn_count,
            agent_id: call.report.agent_id,
            agent_name: call.report.agent_name,
            title: call.report.title,
        }
    }
}

impl Example for ChildConversation {
    fn example() -> Self {
        Self {
            conversation_id: "conv_5501kaj5a2w8f0m7c3d9h1t6q4xz".to_owned(),
            status: CallStatus::Completed,
            call_start_time: example_instant("2026-09-28T12:01:10Z"),
            call_end_time: Some(example_instant("2026-09-28T12:01:41Z")),
            duration_seconds: Some(31),
            turn_count: 4,
            agent_id: Some("agent_7701k9d2m4x0q8w6e5r3t1y9u7io".to_owned()),
            agent_name: Some("Dock appointments".to_owned()),
            title: Some("Looks up a dock time".to_owned()),
        }
    }
}

from_domain! {
    AnsweredBy { Human, Voicemail, Fax, Busy, NoAnswer, Failed, Unknown }
    CallOutcome { Success, Failure, Unknown }
    CallStatus { InProgress, Completed, Failed }
    Channel { Phone, Web, Sms, Whatsapp, Text, Unknown }
    Direction { Inbound, Outbound }
    DriverSource { Dispatch, DynamicVariable, UserId, BatchRecipient, Initiation, PhoneNumber }
}

into_domain! {
    AnsweredBy { Human, Voicemail, Fax, Busy, NoAnswer, Failed, Unknown }
    CallOutcome { Success, Failure, Unknown }
    CallStatus { InProgress, Completed, Failed }
    Channel { Phone, Web, Sms, Whatsapp, Text, Unknown }
    Direction { Inbound, Outbound }
}
