//! A dialogue turn: the speaker, the words, the time and the position in the call.

use super::placeholder::{not_filled_in, placeholder};
use super::stored_text::stored_as;
use super::{CallSid, ConversationId, Invalid, Timestamp};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Maximum length of a message, in bytes of UTF-8.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// Maximum length of a stored message, in bytes of UTF-8. Earlier versions measured a text before they replaced U+0000,
/// which takes one byte, by U+FFFD, which takes three.
pub const MAX_STORED_MESSAGE_BYTES: usize = 3 * MAX_MESSAGE_BYTES;

/// Returns the text with U+FFFD in the place of each U+0000, which neither PostgreSQL nor most analysis tools can
/// store.
pub fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{FFFD}").into() } else { text.into() }
}

/// The speaker of a turn. Stored and returned as `agent` or `driver`; ElevenLabs calls the driver `user`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Speaker {
    /// The voice agent.
    Agent,
    /// The person on the phone.
    Driver,
}

stored_as!(Speaker { Agent => "agent", Driver => "driver" });

impl Speaker {
    /// Parses ElevenLabs' form: exactly `agent` or `user`.
    ///
    /// # Errors
    /// Any other text.
    pub fn from_elevenlabs(text: &str) -> Result<Self, Invalid> {
        match text {
            "agent" => Ok(Self::Agent),
            "user" => Ok(Self::Driver),
            _ if placeholder(text).is_some() => Err(not_filled_in(text.trim())),
            _ => Err(Invalid::rule("must be exactly \"agent\" or \"user\"")),
        }
    }
}

/// The words of a turn: not blank, at most [`MAX_MESSAGE_BYTES`], stored as received except for U+0000.
#[derive(Clone, PartialEq, Eq)]
pub struct Message(Box<str>);

impl Message {
    /// Creates a message. U+0000 becomes U+FFFD, because neither PostgreSQL nor most analysis tools can store it.
    ///
    /// # Errors
    /// The text is blank or too long.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        if text.trim().is_empty() {
            return Err(Invalid::rule("must not be empty or only white space"));
        }
        let message = Self(without_nul(text).into());
        if message.0.len() > MAX_MESSAGE_BYTES {
            return Err(Self::too_long());
        }
        Ok(message)
    }

    /// Returns a stored message, which may be longer than [`MAX_MESSAGE_BYTES`], because earlier versions stored longer
    /// ones, up to [`MAX_STORED_MESSAGE_BYTES`]. No stored text may block its call.
    ///
    /// # Errors
    /// The text is blank.
    pub fn from_stored(text: &str) -> Result<Self, Invalid> {
        if text.trim().is_empty() {
            return Err(Invalid::rule("must not be empty or only white space"));
        }
        Ok(Self(text.into()))
    }

    /// Returns the error for a text that is longer than [`MAX_MESSAGE_BYTES`].
    pub fn too_long() -> Invalid {
        Invalid(format!("must be at most {MAX_MESSAGE_BYTES} bytes of UTF-8").into())
    }

    /// Returns the words.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the words without copying them.
    pub fn into_string(self) -> String {
        self.0.into_string()
    }
}

/// Hides the words, so `{:?}` never writes them to a log.
impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Message({} bytes)", self.0.len())
    }
}

/// The sender's key for a delivery, unique within a conversation: 1 to 256 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeliveryKey(Box<str>);

impl DeliveryKey {
    /// Maximum length, in characters.
    pub const MAX_CHARS: usize = 256;

    /// Validates a key.
    ///
    /// # Errors
    /// The key is blank, too long, or contains a control character.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        if text.trim().is_empty() {
            return Err(Invalid::rule("must not be blank"));
        }
        if text.chars().count() > Self::MAX_CHARS {
            return Err(Invalid(format!("must be at most {} characters long", Self::MAX_CHARS).into()));
        }
        if text.contains(char::is_control) {
            return Err(Invalid::rule("must not contain control characters"));
        }
        Ok(Self(text.into()))
    }

    /// Returns the key as it was received.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The source of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The turn webhook, during the call.
    Live,
    /// The history webhook, during the call.
    History,
    /// ElevenLabs' record after the call.
    PostCall,
    /// An imported file.
    Import,
}

stored_as!(Source { Live => "live", History => "history", PostCall => "post_call", Import => "import" });

/// The kind of a turn. Stored and returned as text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum TurnKind {
    /// Spoken words.
    #[default]
    Speech,
    /// Nobody spoke. The words, such as `...`, only tell the agent so.
    Silence,
    /// A short sound of a listener that did not interrupt the agent.
    Backchannel,
    /// Pressed telephone keys.
    Keypad,
    /// Typed words.
    Text,
    /// Information for the agent from a program. Nobody said it.
    Context,
}

stored_as!(TurnKind {
    Speech => "speech",
    Silence => "silence",
    Backchannel => "backchannel",
    Keypad => "keypad",
    Text => "text",
    Context => "context",
});

impl TurnKind {
    /// Returns the kind of a turn if only its words are known.
    pub fn of_words(words: &str) -> Self {
        // Almost always decided by the first character.
        let is_silent = |c: char| {
            // Full stops and ellipses of other scripts and widths, dashes, and characters without width.
            matches!(
                c,
                '.' | '…'
                    | '-'
                    | '–'
                    | '—'
                    | '‐'
                    | '‑'
                    | '‒'
                    | '―'
                    | '．'
                    | '。'
                    | '｡'
                    | '‥'
                    | '․'
                    | '⋯'
                    | '·'
            ) || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2060}' | '\u{FEFF}' | '\u{AD}')
                || c.is_whitespace()
        };
        if words.chars().all(is_silent) { Self::Silence } else { Self::Speech }
    }

    /// Returns whether the turn is words that somebody said or wrote. Only these count in talk shares.
    pub const fn is_words(self) -> bool {
        matches!(self, Self::Speech | Self::Text)
    }

    /// Returns whether a person caused the turn.
    pub const fn is_human(self) -> bool {
        !matches!(self, Self::Silence | Self::Context)
    }
}

/// A turn to be stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTurn {
    /// Call of the turn.
    pub conversation_id: ConversationId,
    /// Speaker.
    pub speaker: Speaker,
    /// Words.
    pub message: Message,
    /// Time of the turn, according to the sender.
    pub timestamp: Timestamp,
    /// Sender's key for this delivery. Without a key, a turn with the conversation, speaker, timestamp and message of a
    /// stored one is a duplicate.
    pub delivery_key: Option<DeliveryKey>,
    /// Source of the turn.
    pub source: Source,
    /// Id of the call at the telephone provider, if the sender knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_sid: Option<CallSid>,
}

/// A stored turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Id, unique over all calls, never reused, and increasing with commits. The API's `transcription_id`.
    pub id: i64,
    /// Call of the turn.
    pub conversation_id: ConversationId,
    /// Speaker.
    pub speaker: Speaker,
    /// Words.
    pub message: Message,
    /// Time of the turn, according to the sender.
    pub timestamp: Timestamp,
    /// Number of the turn in its call: 1, 2, 3 … in order of commit, without gaps.
    pub sequence_number: i64,
    /// Source of the turn.
    pub source: Source,
    /// Time at which the turn was stored.
    pub created_at: Timestamp,
    /// Words of ElevenLabs' record, if they differ.
    pub final_text: Option<Message>,
    /// True if the turn was interrupted; `None` unless ElevenLabs' record has this information.
    pub interrupted: Option<bool>,
    /// Position in the transcript: 1, 2, 3 …; `None` until there is a record.
    pub place: Option<i64>,
    /// Sequence number of the turn that replaces this one in the transcript.
    pub superseded_by: Option<i64>,
    /// Time of the turn according to ElevenLabs' record, if it has one.
    pub record_time: Option<Timestamp>,
    /// True if ElevenLabs' record contains the turn; `None` if there is no record, or another turn replaces this one.
    pub in_record: Option<bool>,
    /// Kind of the turn.
    pub kind: TurnKind,
    /// ElevenLabs' measurements of the turn, in seconds by name, as JSON.
    pub metrics: Option<String>,
    /// True if a voicemail or fax answered the call.
    pub by_machine: bool,
}

impl Turn {
    /// Returns the time of the turn: the record's if it has one, else the sender's.
    pub fn said_at(&self) -> Timestamp {
        self.record_time.unwrap_or(self.timestamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_measured_as_it_is_stored_and_a_longer_stored_one_is_read() {
        let a = "a".repeat(MAX_MESSAGE_BYTES - 3);
        assert_eq!(Message::new(&format!("{a}\0")).unwrap().as_str().len(), MAX_MESSAGE_BYTES);
        assert!(Message::new(&format!("{a}\0a")).is_err());
        let stored = "\u{FFFD}".repeat(MAX_MESSAGE_BYTES);
        assert_eq!(stored.len(), MAX_STORED_MESSAGE_BYTES);
        let json = serde_json::to_string(&Message::from_stored(&stored).unwrap()).unwrap();
        assert_eq!(serde_json::from_str::<Message>(&json).unwrap().as_str(), stored);
        assert!(Message::from_stored(" ").is_err());
    }
}
