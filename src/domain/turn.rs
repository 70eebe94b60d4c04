//! One dialogue turn: who said what, when, and where it stands in its call.

use super::placeholder::{not_filled_in, placeholder};
use super::{ConversationId, Invalid, Timestamp};

/// Greatest length of a message, in bytes of UTF-8.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// Who spoke. Stored and shown as `agent` or `driver`; the platform calls the driver `user`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Speaker {
    /// The voice agent.
    Agent,
    /// The person on the phone.
    Driver,
}

impl Speaker {
    /// The stored form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Driver => "driver",
        }
    }

    /// The speaker that is stored as `text`, if there is one.
    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::Agent, Self::Driver].into_iter().find(|s| s.as_str() == text)
    }

    /// The speaker that the platform calls `text`: exactly `agent` or `user`.
    ///
    /// # Errors
    /// Any other text.
    pub fn from_platform(text: &str) -> Result<Self, Invalid> {
        match text {
            "agent" => Ok(Self::Agent),
            "user" => Ok(Self::Driver),
            _ if placeholder(text).is_some() => Err(not_filled_in(text.trim())),
            _ => Err(Invalid::rule("must be exactly \"agent\" or \"user\"")),
        }
    }
}

/// The words of a turn: not only white space, at most [`MAX_MESSAGE_BYTES`], kept as received but for U+0000.
#[derive(Clone, PartialEq, Eq)]
pub struct Message(Box<str>);

impl Message {
    /// U+0000 becomes U+FFFD, since neither PostgreSQL nor most analysts' tools can hold it.
    ///
    /// # Errors
    /// Blank or too long.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        if text.trim().is_empty() {
            return Err(Invalid::rule("must not be empty or only white space"));
        }
        if text.len() > MAX_MESSAGE_BYTES {
            return Err(Invalid::rule("must be at most 65536 bytes of UTF-8"));
        }
        Ok(Self(if text.contains('\0') { text.replace('\0', "\u{FFFD}").into() } else { text.into() }))
    }

    /// The words.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the words without copying them.
    pub fn into_string(self) -> String {
        self.0.into_string()
    }
}

/// What was said on the phone never reaches a log by way of `{:?}`.
impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Message({} bytes)", self.0.len())
    }
}

/// The sender's own name for a delivery, unique within a conversation: 1 to 256 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeliveryKey(Box<str>);

impl DeliveryKey {
    /// # Errors
    /// Blank, longer than 256 characters, or with a control character in it.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        if text.trim().is_empty() {
            return Err(Invalid::rule("must not be blank"));
        }
        if text.chars().count() > 256 {
            return Err(Invalid::rule("must be at most 256 characters long"));
        }
        if text.contains(char::is_control) {
            return Err(Invalid::rule("must not contain control characters"));
        }
        Ok(Self(text.into()))
    }

    /// The key as it was received.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a turn reached the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The per-turn webhook, during the call.
    Live,
    /// The history webhook, during the call.
    History,
    /// The platform's record after the call.
    PostCall,
    /// A file that was read in.
    Import,
}

impl Source {
    /// The stored form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::History => "history",
            Self::PostCall => "post_call",
            Self::Import => "import",
        }
    }

    /// The source that is stored as `text`, if there is one.
    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::Live, Self::History, Self::PostCall, Self::Import].into_iter().find(|s| s.as_str() == text)
    }
}

/// A turn that is to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTurn {
    /// The call that it belongs to.
    pub conversation_id: ConversationId,
    /// Who spoke.
    pub speaker: Speaker,
    /// What was said.
    pub message: Message,
    /// When it was said, by the sender.
    pub timestamp: Timestamp,
    /// The sender's name for this delivery. Without one, a turn of the same conversation, speaker, timestamp and
    /// message is the same turn.
    pub delivery_key: Option<DeliveryKey>,
    /// How it came.
    pub source: Source,
}

/// A turn as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Unique over all calls, never used twice; greater for later commits. The API's `transcription_id`.
    pub id: i64,
    /// The call that it belongs to.
    pub conversation_id: ConversationId,
    /// Who spoke.
    pub speaker: Speaker,
    /// What was said.
    pub message: Message,
    /// When it was said, by the sender.
    pub timestamp: Timestamp,
    /// Its place in the call: 1, 2, 3 … in order of commit, without gaps.
    pub sequence_number: i64,
    /// How it came.
    pub source: Source,
    /// When it was stored.
    pub created_at: Timestamp,
    /// The platform's words, where its record has others.
    pub final_text: Option<Message>,
    /// Whether it was interrupted, where the platform's record says so.
    pub interrupted: Option<bool>,
    /// Its place in the conversation's true order, 1, 2, 3 …, once there is a record.
    pub place: Option<i64>,
    /// The sequence number of the turn that stands for this one in the transcript.
    pub superseded_by: Option<i64>,
    /// When it was said by ElevenLabs' record after the call, where that has a time.
    pub record_time: Option<Timestamp>,
    /// Whether ElevenLabs' record after the call has it, if there is one and the turn stands for itself.
    pub in_record: Option<bool>,
}

impl Turn {
    /// Returns when it was said: by the record where that has a time, else by its sender.
    pub fn said_at(&self) -> Timestamp {
        self.record_time.unwrap_or(self.timestamp)
    }
}
