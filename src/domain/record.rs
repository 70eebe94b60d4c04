//! What the platform's records say of a call: of one event, the facts and the entries of its transcript.
//!
//! A record is kept in the form of its `Serialize`; a field that is added needs a default, and none may change its
//! meaning.

use super::{
    CallOutcome, CallStatus, ConversationId, Direction, DriverId, Message, PhoneNumber, Remark, RemarkKind, Speaker,
    Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One report of the platform about one call, as far as it could be read. Nothing but the conversation is certain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The call.
    pub conversation_id: ConversationId,
    /// What kind of report it is.
    pub kind: RecordKind,
    /// When the platform says that it made the report.
    pub event_time: Option<Timestamp>,
    /// What it says of the call as a whole.
    pub facts: Facts,
    /// Its transcript, in order; `None` when it holds none, which is no statement about the call.
    pub entries: Option<Vec<Entry>>,
}

/// A [`Record`] in the form in which it is kept, and what of it matters when it is stored: a transcript takes the memory of
/// its words several times, and is not needed until its call is reconciled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRecord {
    /// The call.
    pub conversation_id: ConversationId,
    /// When the call began, or else when the report was made.
    pub start: Option<Timestamp>,
    /// The record as JSON.
    pub json: String,
}

impl From<&Record> for KeptRecord {
    fn from(record: &Record) -> Self {
        Self {
            conversation_id: record.conversation_id.clone(),
            start: record.facts.start.or(record.event_time),
            json: serde_json::to_string(record).expect("a record has no maps with keys that are no text"),
        }
    }
}

/// Kinds of reports, the one that knows least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordKind {
    /// The call could not be made.
    Failure,
    /// The conversation as traces, whose texts may be cut off.
    Traces,
    /// The conversation itself.
    Conversation,
}

/// What a report says of a call as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Where the call stands.
    pub status: Option<CallStatus>,
    /// When it began.
    pub start: Option<Timestamp>,
    /// How long it took, in seconds.
    pub duration_seconds: Option<i64>,
    /// The agent that spoke.
    pub agent_id: Option<String>,
    /// The platform's user id, in its words.
    pub user_id: Option<String>,
    /// Who called whom.
    pub direction: Option<Direction>,
    /// Why it ended or failed, in free words.
    pub termination_reason: Option<String>,
    /// Whether its goal was reached, which is not whether the call took place.
    pub outcome: Option<CallOutcome>,
    /// The platform's summary.
    pub summary: Option<String>,
    /// The platform's title.
    pub title: Option<String>,
    /// The language, as the platform names it, such as `en`.
    pub main_language: Option<String>,
    /// What it cost, in the platform's credits.
    pub cost: Option<i64>,
    /// The number at the other end, as the platform writes it.
    pub external_number: Option<String>,
    /// The platform's name for the batch of calls.
    pub batch_id: Option<String>,
    /// The analysis, as JSON.
    pub analysis: Option<String>,
    /// What it says about who was called.
    pub claims: DriverClaims,
}

/// Which driver a payload says was called, by each way of saying it. That there is such a driver is not said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DriverClaims {
    /// By the dynamic variable `driver_id`.
    pub dynamic_variable: Option<DriverId>,
    /// By the platform's user id.
    pub user_id: Option<DriverId>,
    /// By the id of the recipient in a batch of calls.
    pub batch_recipient: Option<DriverId>,
    /// By the number at the other end.
    pub phone_number: Option<PhoneNumber>,
}

impl DriverClaims {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Takes over what `newer` says; what it does not say stays.
    pub fn update(&mut self, newer: &Self) {
        let Self { dynamic_variable, user_id, batch_recipient, phone_number } = newer;
        self.dynamic_variable = dynamic_variable.or(self.dynamic_variable);
        self.user_id = user_id.or(self.user_id);
        self.batch_recipient = batch_recipient.or(self.batch_recipient);
        self.phone_number = phone_number.clone().or(self.phone_number.take());
    }
}

/// One utterance in a platform's transcript.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in the platform's list, from 0; entries without words leave gaps.
    pub index: u32,
    /// Who spoke.
    pub speaker: Speaker,
    /// What was said, to the point where it was interrupted.
    pub message: Message,
    /// What would have been said without the interruption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Message>,
    /// Whether it was interrupted, where the platform says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupted: Option<bool>,
    /// When it was said, as exactly as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// Whether the message is as long as the platform lets one be in this kind of report, so that it may lack its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut_off: bool,
}

/// The conversation as it was when a tool was called during the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryReport {
    /// The call.
    pub conversation_id: ConversationId,
    /// When the tool was called.
    pub timestamp: Timestamp,
    /// What had been said until then.
    pub history: History,
    /// The agent that spoke.
    pub agent_id: Option<String>,
    /// Who was called, as the tool says.
    pub claims: DriverClaims,
    /// What could not be read of it.
    pub remarks: Vec<Remark>,
}

/// What tools' calls have shown of a call, by place in the platform's list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History(pub BTreeMap<u32, HistoryEntry>);

/// One utterance as the histories of a call showed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Who spoke.
    pub speaker: Speaker,
    /// What was said, as the latest history has it.
    pub message: Message,
    /// The earliest history that shows it.
    pub first_shown: Timestamp,
    /// The latest history that shows it.
    pub last_shown: Timestamp,
}

impl History {
    /// Adds what another history shows. The result is the same in whatever order histories come, and however often.
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

    /// The same as a transcript, in order.
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
            })
            .collect()
    }
}

/// All that the platform's reports say of one call, whatever the order in which they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Combined {
    /// What they say of the call.
    pub facts: Facts,
    /// The fullest transcript among them.
    pub transcript: Option<Vec<Entry>>,
    /// The place of the report that knows most: the one with the transcript, or else the last word.
    pub best: Option<usize>,
    /// When the platform made the report that goes first by what it knows.
    pub event_time: Option<Timestamp>,
}

impl Combined {
    /// Combines reports; which of them came first does not matter, only what they are.
    ///
    /// Facts go by the report that knows more about them: the conversation before traces before a failure, then the
    /// later one; what that one does not say is taken from the others. A transcript is never replaced by one of fewer
    /// entries, whatever kind of report has it.
    pub fn of(mut records: Vec<Record>) -> Self {
        let mut order: Vec<usize> = (0..records.len()).collect();
        let rank = |record: &Record| {
            // The last part only decides between reports of one instant that differ, so that they are in some order.
            let text = serde_json::to_string(record).unwrap_or_default();
            (record.kind, record.event_time, record.entries.as_ref().map_or(0, Vec::len), text)
        };
        // The texts of long records take much memory: not for one, which is the usual case.
        if order.len() > 1 {
            order.sort_by_cached_key(|&at| rank(&records[at]));
        }
        let mut combined = Self::default();
        for &at in &order {
            combined.facts.update(&records[at].facts);
        }
        let with_words = order.iter().filter_map(|&at| Some((at, records[at].entries.as_ref()?)));
        // The last of equal ones is taken, which is the greatest in rank.
        let fullest = with_words.filter(|(_, e)| !e.is_empty()).max_by_key(|&(at, e)| (e.len(), records[at].kind));
        let fullest = fullest.map(|(at, _)| at);
        combined.best = fullest.or(order.last().copied());
        combined.event_time = order.last().and_then(|&at| records[at].event_time);
        combined.transcript = fullest.and_then(|at| records.swap_remove(at).entries);
        combined
    }
}

impl Facts {
    /// Takes over what `newer` says; what it does not say stays.
    fn update(&mut self, newer: &Self) {
        macro_rules! take {
            ($($field:ident),+) => {$(
                if newer.$field.is_some() {
                    self.$field.clone_from(&newer.$field);
                }
            )+};
        }
        take!(status, start, duration_seconds, agent_id, direction, termination_reason, outcome, summary, title);
        take!(main_language, cost, external_number, batch_id, analysis, user_id);
        self.claims.update(&newer.claims);
    }
}

/// An event that the platform posted, with what was read of it.
#[derive(Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// SHA-256 of the body: the same body is the same event.
    pub digest: [u8; 32],
    /// Its type, in the platform's words.
    pub event_type: Option<String>,
    /// The call that it is about, if it names one.
    pub conversation_id: Option<ConversationId>,
    /// When the platform says that it made it.
    pub event_time: Option<Timestamp>,
    /// What could be made of it.
    pub outcome: EventOutcome,
    /// Why it is unreadable, or which fields of it are.
    pub error: Option<String>,
    /// Kinds of what could not be read of it.
    pub remarks: Vec<RemarkKind>,
    /// What it says of its call.
    pub record: Option<KeptRecord>,
    /// Who answered the call, if the event is the verdict on that; for the log, since the body is kept.
    pub answered_by: Option<String>,
    /// As it came.
    pub body: bytes::Bytes,
}

/// What was said on the phone never reaches a log by way of `{:?}`.
impl std::fmt::Debug for NewEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewEvent({:?}, {:?}, {} bytes)", self.event_type, self.outcome, self.body.len())
    }
}

/// What could be made of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventOutcome {
    /// What it says is in its call.
    Applied,
    /// It is of a type that no use is made of.
    Ignored,
    /// It could not be read.
    Unreadable,
}

impl EventOutcome {
    /// The stored form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Ignored => "ignored",
            Self::Unreadable => "unreadable",
        }
    }

    /// The outcome that is stored as `text`, if there is one.
    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::Applied, Self::Ignored, Self::Unreadable].into_iter().find(|o| o.as_str() == text)
    }
}

/// An event as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Row number; later events have greater ones.
    pub id: i64,
    /// What could be made of it when it was last read.
    pub outcome: EventOutcome,
    /// As it came.
    pub body: Vec<u8>,
}
