//! Export and restore of whole calls, as rows of their tables, column by column.
//!
//! Rows are not converted to domain types on the way, so an export shows exactly what is stored, including columns that
//! a later version adds. Numbers and texts are JSON numbers and strings; bytes that are not valid UTF-8 are `{"base64":
//! "…"}`.

use super::{CallFilter, Result};
use crate::domain::{Call, ConversationId, Driver, PlacedToolCall, Turn};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::io;
use std::sync::Arc;

/// A row, as a map from column names to values.
pub type Row = Map<String, Value>;

/// An item that is restored as a whole.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ArchiveRecord {
    /// A row of `drivers`.
    Driver(Row),
    /// A row of `call_dispatches`.
    Dispatch(Row),
    /// A row of `webhook_events`.
    Event(Row),
    /// A call with its turns.
    Call(#[serde(with = "shared")] Arc<ArchivedCall>),
}

/// A call with its turns and its tool history.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedCall {
    /// The row of `calls`.
    pub row: Row,
    /// The row of `call_histories`, if there is one.
    pub history: Option<Row>,
    /// The rows of `call_transcriptions`, without the conversation id.
    pub turns: Vec<Row>,
    /// The rows of `tool_calls`, without the conversation id; `None` in exports of versions that had none.
    #[serde(default)]
    pub tools: Option<Vec<Row>>,
}

/// JSON of shared values.
pub(super) mod shared {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::sync::Arc;

    pub(in crate::store) fn serialize<T: Serialize, S: Serializer>(value: &Arc<T>, to: S) -> Result<S::Ok, S::Error> {
        T::serialize(value, to)
    }

    pub(in crate::store) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Arc<T>, D::Error> {
        T::deserialize(from).map(Arc::new)
    }
}

/// Omits the content, because words of calls must not reach the log by way of `{:?}`.
impl std::fmt::Debug for ArchiveRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Driver(_) => f.write_str("Driver"),
            Self::Dispatch(_) => f.write_str("Dispatch"),
            Self::Event(_) => f.write_str("Event"),
            Self::Call(call) => call.fmt(f),
        }
    }
}

/// Omits the content, because words of calls must not reach the log by way of `{:?}`.
impl std::fmt::Debug for ArchivedCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Call({} turns)", self.turns.len())
    }
}

/// A part of an exported call.
#[derive(Debug)]
pub enum ArchivePart {
    /// A driver that the call refers to.
    Driver(Row),
    /// The call's dispatch.
    Dispatch(Row),
    /// An ElevenLabs event about the call.
    Event(Row),
    /// The call's own row, its tool history and its tool calls. Its turns follow.
    Call(Row, Option<Row>, Vec<Row>),
    /// A turn, ordered by sequence number.
    Turn(Row),
}

/// A part of an exported transcript.
#[derive(Debug)]
pub enum TranscriptItem {
    /// The call, its driver and its tool calls in order.
    Call(Box<Call>, Option<Driver>, Vec<PlacedToolCall>),
    /// The next turn.
    Turn(Box<Turn>),
}

/// Kinds of rows that may exist without a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrphanRows {
    /// All drivers.
    Drivers,
    /// Dispatches whose call does not exist.
    Dispatches,
    /// Events that belong to no existing call.
    Events,
}

/// A reader of whole calls that works while others write. It reads each call in a snapshot of its own, because one
/// snapshot of all calls would prevent checkpoints for long.
pub trait Archive: Send {
    /// Returns the selected calls with row ids above `after`, each with its row id, in order of creation.
    ///
    /// # Errors
    /// The database failed.
    fn call_ids(&self, filter: &CallFilter, after: i64, limit: usize) -> Result<Vec<(i64, ConversationId)>>;

    /// Passes a call and then its turns in this order to `take`. Returns false if the call does not exist.
    ///
    /// # Errors
    /// The database failed, or `take` did.
    fn transcript(
        &self,
        id: &ConversationId,
        order: super::TurnOrder,
        take: &mut dyn FnMut(TranscriptItem) -> io::Result<()>,
    ) -> Result<bool>;

    /// Returns a call with its driver, or `None` if the call does not exist.
    ///
    /// # Errors
    /// The database failed.
    fn call(&self, id: &ConversationId) -> Result<Option<(Call, Option<Driver>)>>;

    /// Passes all stored rows of a call to `take`. Returns false if the call does not exist.
    ///
    /// # Errors
    /// The database failed, or `take` did.
    fn parts(&self, id: &ConversationId, take: &mut dyn FnMut(ArchivePart) -> io::Result<()>) -> Result<bool>;

    /// Returns the next rows of this kind with ids above `after`, each with its id; empty at the end.
    ///
    /// # Errors
    /// The database failed.
    fn orphans(&self, kind: OrphanRows, after: i64) -> Result<Vec<(i64, Row)>>;
}
