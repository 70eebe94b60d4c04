//! Inputs of a plan: stored turns, and utterances in the records of a call.

use super::words::NormalizedUtterance;
use crate::domain::{Entry, Message, Speaker, Timestamp};

/// A stored turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnRow {
    /// Number of the turn in its call.
    pub sequence_number: i64,
    /// Speaker.
    pub speaker: Speaker,
    /// Stored words.
    pub text: String,
    /// Time of the turn, according to its sender.
    pub timestamp: Timestamp,
    /// Origin of the turn.
    pub origin: Origin,
    /// True if another turn supersedes it at present.
    pub superseded: bool,
}

/// The origin of a stored turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A webhook delivered the turn.
    Live,
    /// Reconciliation created the turn for the history entry with this index.
    History(u32),
    /// Reconciliation created the turn for the entry with this index of the record after the call.
    PostCall(u32),
}

/// An utterance, merged from all records that contain it.
pub(super) struct Utterance<'a> {
    pub(super) entry: &'a Entry,
    /// Index in the record after the call.
    pub(super) post_call: Option<u32>,
    /// Index in the histories, and the words there.
    pub(super) history: Option<(u32, &'a str)>,
}

/// Returns the words of an entry in the form that is compared.
pub(super) fn normalized(entry: &Entry) -> NormalizedUtterance {
    let original = entry.original.as_ref().map(Message::as_str);
    NormalizedUtterance::new(entry.speaker, entry.message.as_str(), original, entry.time)
}
