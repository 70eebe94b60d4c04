//! ElevenLabs' records of a call. A record contains the facts and the transcript entries of one event.
//!
//! Records are stored as JSON. New fields need a serde default, and existing fields must not change their meaning.

use super::stored_text::stored_as;
use super::{
    AnswerClaims, CallOutcome, CallSid, CallStatus, Channel, ConversationId, Direction, DriverId, Finite, Message,
    PhoneNumber, Remark, RemarkKind, Speaker, Timestamp, ToolCall, TurnKind,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A record of a call: the content of one event. All fields except the conversation are optional.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Conversation.
    pub conversation_id: ConversationId,
    /// Kind of record.
    pub kind: RecordKind,
    /// Time of the event, according to ElevenLabs.
    pub event_time: Option<Timestamp>,
    /// Facts about the call as a whole.
    pub facts: Facts,
    /// Transcript, in order. `None` means that the event has none, not that nothing was spoken.
    pub entries: Option<Vec<Entry>>,
    /// Calls of tools and triggered guardrails, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolCall>,
    /// True if the service was configured to prefer an unredacted copy when it received this one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unredacted: bool,
    /// Version of the reader that made this record; see [`READER_VERSION`].
    #[serde(default)]
    pub reader: u32,
}

/// Version of the reader of events. A record with an older version lacks facts that its event may have.
pub const READER_VERSION: u32 = 1;

/// A [`Record`] in its stored form, with the fields that are needed to store it.
///
/// The transcript remains JSON, because parsed it takes several times the memory, and is not needed before the call is
/// reconciled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRecord {
    /// Conversation.
    pub conversation_id: ConversationId,
    /// Kind of record.
    pub kind: RecordKind,
    /// Start of the call, or else the time of the event.
    pub start: Option<Timestamp>,
    /// Record as JSON.
    pub json: String,
}

impl From<&Record> for StoredRecord {
    fn from(record: &Record) -> Self {
        Self {
            conversation_id: record.conversation_id.clone(),
            kind: record.kind,
            start: record.facts.start.or(record.event_time),
            json: serde_json::to_string(record).expect("all keys of a record are strings"),
        }
    }
}

/// Kinds of records, from the least to the most authoritative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordKind {
    /// The verdict of an answering machine detection. It never creates a call.
    Detection,
    /// A call that could not be established.
    Failure,
    /// The conversation as traces, whose texts may be truncated.
    Traces,
    /// The conversation itself.
    Conversation,
}

/// The facts of a record about the call as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Status of the call.
    pub status: Option<CallStatus>,
    /// Start of the call.
    pub start: Option<Timestamp>,
    /// Duration, in seconds.
    pub duration_seconds: Option<i64>,
    /// Agent of the call.
    pub agent_id: Option<String>,
    /// ElevenLabs' user id.
    pub user_id: Option<String>,
    /// Direction of the call.
    pub direction: Option<Direction>,
    /// Reason for the end or the failure, as free text.
    pub termination_reason: Option<String>,
    /// Outcome of the call's goal. A call may end normally without reaching its goal.
    pub outcome: Option<CallOutcome>,
    /// ElevenLabs' summary.
    pub summary: Option<String>,
    /// ElevenLabs' title.
    pub title: Option<String>,
    /// Language code of ElevenLabs, such as `en`.
    pub main_language: Option<String>,
    /// Cost, in credits of ElevenLabs.
    pub cost: Option<i64>,
    /// External telephone number, as written by ElevenLabs.
    pub external_number: Option<String>,
    /// ElevenLabs' id of the batch of calls.
    pub batch_id: Option<String>,
    /// Analysis, as JSON.
    pub analysis: Option<String>,
    /// Claims about the driver.
    pub claims: DriverClaims,
    /// Claims about who answered.
    #[serde(skip_serializing_if = "AnswerClaims::is_empty")]
    pub answer: AnswerClaims,
    /// Facts about the kind and the circumstances of the conversation.
    #[serde(skip_serializing_if = "is_default")]
    pub details: CallDetails,
    /// Number of turns with words that ElevenLabs counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counted_turns: Option<u64>,
}

/// Facts about the kind and the circumstances of a conversation. Nobody changes them by hand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallDetails {
    /// Channel of the conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    /// Conversation that started this one as a sub-agent's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_conversation_id: Option<ConversationId>,
    /// Environment of the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Branch of the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch_id: Option<String>,
    /// Version of the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// Id of the call at the telephone provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_sid: Option<String>,
    /// Number at the agent's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_number: Option<String>,
    /// Name of the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_name: Option<String>,
    /// Cost, in US dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<Finite>,
    /// Time in the queue before the talk, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_wait_seconds: Option<Finite>,
    /// Time at which the call was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_time: Option<Timestamp>,
    /// Campaign of the batch of calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// Ids of ElevenLabs' tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Product of ElevenLabs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_product: Option<String>,
    /// ElevenLabs' sentiment of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentiment: Option<String>,
    /// Source of the conversation in ElevenLabs' words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiation_source: Option<String>,
}

impl CallDetails {
    /// Replaces facts with those of `newer`. Facts that `newer` lacks are retained.
    fn update(&mut self, newer: &Self) {
        macro_rules! take {
            ($($field:ident),+) => {$(
                if newer.$field.is_some() {
                    self.$field.clone_from(&newer.$field);
                }
            )+};
        }
        // An unknown channel says less than any other.
        let channel = newer.channel.filter(|channel| *channel != Channel::Unknown).or(self.channel).or(newer.channel);
        take!(parent_conversation_id, environment, branch_id, version_id, call_sid, agent_number, agent_name);
        take!(cost_usd, queue_wait_seconds, accepted_time, campaign, tags, conversation_product, sentiment);
        take!(initiation_source);
        self.channel = channel;
    }
}

/// Claims of a payload about the driver of a call, by source. The driver need not exist.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DriverClaims {
    /// Dynamic variable `driver_id`.
    pub dynamic_variable: Option<DriverId>,
    /// ElevenLabs' user id.
    pub user_id: Option<DriverId>,
    /// Id of the recipient in a batch of calls.
    pub batch_recipient: Option<DriverId>,
    /// External telephone number.
    pub phone_number: Option<PhoneNumber>,
}

impl DriverClaims {
    /// Returns whether there is no claim.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Replaces claims with those of `newer`. Claims that `newer` lacks are retained.
    pub fn update(&mut self, newer: &Self) {
        let Self { dynamic_variable, user_id, batch_recipient, phone_number } = newer;
        self.dynamic_variable = dynamic_variable.or(self.dynamic_variable);
        self.user_id = user_id.or(self.user_id);
        self.batch_recipient = batch_recipient.or(self.batch_recipient);
        self.phone_number = phone_number.clone().or(self.phone_number.take());
    }
}

/// An utterance in a transcript of ElevenLabs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Index in ElevenLabs' list, from 0. Entries without words leave gaps.
    pub index: u32,
    /// Speaker.
    pub speaker: Speaker,
    /// Words, up to an interruption.
    pub message: Message,
    /// Words that were planned before the interruption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Message>,
    /// True if the utterance was interrupted, if ElevenLabs' record has this information.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupted: Option<bool>,
    /// Time of the utterance, as exactly as known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// True if the message has the maximum length of this kind of record, so its end may be missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut_off: bool,
    /// Kind of the turn.
    #[serde(default, skip_serializing_if = "is_default")]
    pub kind: TurnKind,
    /// ElevenLabs' measurements of the turn, in seconds by name, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
}

/// Returns whether a value need not be stored because it is the default.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The conversation so far, as sent by a tool during the call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryReport {
    /// Conversation.
    pub conversation_id: ConversationId,
    /// Time of the tool's request.
    pub timestamp: Timestamp,
    /// Conversation until then.
    pub history: History,
    /// Agent of the call.
    pub agent_id: Option<String>,
    /// Claims of the tool about the driver.
    pub claims: DriverClaims,
    /// True if the conversation is typed, by ElevenLabs' system variable.
    #[serde(default)]
    pub is_text: bool,
    /// Id of the call at the telephone provider, if the tool sends it.
    #[serde(default)]
    pub call_sid: Option<CallSid>,
    /// Warnings about fields that could not be read.
    pub remarks: Vec<Remark>,
}

/// All utterances that tool requests have shown of a call, by index in ElevenLabs' list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History(pub BTreeMap<u32, HistoryEntry>);

/// An utterance in the histories of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Speaker.
    pub speaker: Speaker,
    /// Words in the latest history.
    pub message: Message,
    /// Time of the earliest history with the utterance.
    pub first_shown: Timestamp,
    /// Time of the latest history with the utterance.
    pub last_shown: Timestamp,
}

impl History {
    /// Merges another history. The result does not depend on the order or the number of merges.
    pub fn merge(&mut self, other: &Self) {
        for (index, new) in &other.0 {
            match self.0.get_mut(index) {
                None => drop(self.0.insert(*index, new.clone())),
                Some(old) => {
                    let newer = |e: &HistoryEntry| (e.last_shown, e.speaker.as_str(), e.message.as_str().to_owned());
                    let first_shown = old.first_shown.min(new.first_shown);
                    if newer(new) > newer(old) {
                        *old = new.clone();
                    }
                    old.first_shown = first_shown;
                }
            }
        }
    }

    /// Returns the history as a transcript, in order.
    pub fn entries(&self) -> Vec<Entry> {
        self.0
            .iter()
            .map(|(index, entry)| Entry {
                index: *index,
                speaker: entry.speaker,
                message: entry.message.clone(),
                original: None,
                interrupted: None,
                time: Some(entry.first_shown),
                cut_off: false,
                kind: TurnKind::of_words(entry.message.as_str()),
                metrics: None,
            })
            .collect()
    }
}

impl Facts {
    /// Returns whether all facts are equal that are stored together, at each new record: those that versions before
    /// schema 14 read. Users may change some of them by hand.
    pub fn has_same_columns(&self, other: &Self) -> bool {
        macro_rules! equal {
            ($($field:ident),+) => { $(self.$field == other.$field)&&+ };
        }
        equal!(
            status,
            start,
            duration_seconds,
            agent_id,
            user_id,
            direction,
            termination_reason,
            outcome,
            summary,
            title,
            main_language,
            cost,
            external_number,
            batch_id,
            analysis
        )
    }

    /// Replaces facts with those of `newer`. Facts that `newer` lacks are retained.
    pub(super) fn update(&mut self, newer: &Self) {
        macro_rules! take {
            ($($field:ident),+) => {$(
                if newer.$field.is_some() {
                    self.$field.clone_from(&newer.$field);
                }
            )+};
        }
        take!(status, start, duration_seconds, agent_id, direction, termination_reason, outcome, summary, title);
        take!(main_language, cost, external_number, batch_id, analysis, user_id);
        take!(counted_turns);
        self.details.update(&newer.details);
        self.claims.update(&newer.claims);
        self.answer.update(&newer.answer);
    }
}

/// A parsed post-call event, to be stored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewEvent {
    /// SHA-256 of the body. Events with equal bodies are duplicates.
    pub digest: [u8; 32],
    /// Event type, as named by ElevenLabs.
    pub event_type: Option<String>,
    /// Conversation of the event, if it names one.
    pub conversation_id: Option<ConversationId>,
    /// Time of the event, according to ElevenLabs.
    pub event_time: Option<Timestamp>,
    /// Outcome of parsing.
    pub outcome: EventOutcome,
    /// Reason why the event is unreadable, or the fields that are.
    pub error: Option<String>,
    /// Kinds of the fields that could not be read.
    pub remarks: Vec<RemarkKind>,
    /// Record of the call, if the event contains one.
    pub record: Option<StoredRecord>,
    /// Verdict of an answering machine detection, if the event is one. Only for the log.
    pub answered_by: Option<String>,
    /// Body as received.
    #[serde(with = "super::json_text::base64")]
    pub body: bytes::Bytes,
}

/// Hides the body, so `{:?}` never writes words of calls to a log.
impl std::fmt::Debug for NewEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewEvent({:?}, {:?}, {} bytes)", self.event_type, self.outcome, self.body.len())
    }
}

/// The outcome of parsing an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventOutcome {
    /// The event's record was applied to its call.
    Applied,
    /// The event's type is not used.
    Ignored,
    /// The event could not be read.
    Unreadable,
}

stored_as!(EventOutcome { Applied => "applied", Ignored => "ignored", Unreadable => "unreadable" });

/// A stored event.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Row number, increasing with time.
    pub id: i64,
    /// Outcome when the event was last parsed.
    pub outcome: EventOutcome,
    /// Body as received.
    pub body: Vec<u8>,
}
