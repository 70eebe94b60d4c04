//! Whole calls, as they leave a database and come back into one: the rows of their tables, column by column.
//!
//! Rows are not made into values of the domain on their way, so that what a reader of the file sees is what arrives, columns
//! that a later version adds included. A number is a number, a text is a text, and bytes that are no text are
//! `{"base64": "…"}`.

use super::{CallQuery, Result};
use crate::domain::{Call, ConversationId, Driver, Turn};
use serde_json::{Map, Value};
use std::io;
use std::sync::Arc;

/// A row, by the names of its columns.
pub type Row = Map<String, Value>;

/// Something that comes back into a database as one piece.
#[derive(Clone, PartialEq, Eq)]
pub enum Archived {
    /// A row of `drivers`.
    Driver(Row),
    /// A row of `call_dispatches`.
    Dispatch(Row),
    /// A row of `webhook_events`.
    Event(Row),
    /// A call with its turns.
    Call(Arc<ArchivedCall>),
}

/// A call with its turns, and what tools have shown of it.
#[derive(Clone, PartialEq, Eq)]
pub struct ArchivedCall {
    /// The row of `calls`.
    pub row: Row,
    /// The row of `call_histories`, if there is one.
    pub history: Option<Row>,
    /// The rows of `call_transcriptions`, without the conversation's id.
    pub turns: Vec<Row>,
}

/// What was said on the phone never reaches a log by way of `{:?}`.
impl std::fmt::Debug for Archived {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Driver(_) => f.write_str("Driver"),
            Self::Dispatch(_) => f.write_str("Dispatch"),
            Self::Event(_) => f.write_str("Event"),
            Self::Call(call) => call.fmt(f),
        }
    }
}

/// What was said on the phone never reaches a log by way of `{:?}`.
impl std::fmt::Debug for ArchivedCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Call({} turns)", self.turns.len())
    }
}

/// Which calls leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Only this one.
    pub conversation_id: Option<ConversationId>,
    /// Only those that it describes; its order, place and length do not matter.
    pub calls: CallQuery,
}

/// A part of a call on its way out.
#[derive(Debug)]
pub enum Part {
    /// A driver that it refers to.
    Driver(Row),
    /// Its dispatch.
    Dispatch(Row),
    /// An event of the platform about it.
    Event(Row),
    /// The call's own row and what tools have shown of it; its turns follow.
    Call(Row, Option<Row>),
    /// A turn, in order of its number.
    Turn(Row),
}

/// A part of a transcript.
#[derive(Debug)]
pub enum Spoken {
    /// The call, and who was called.
    Call(Box<Call>, Option<Driver>),
    /// What was said next.
    Turn(Box<Turn>),
}

/// Kinds of rows that need not belong to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loose {
    /// All drivers.
    Drivers,
    /// Dispatches of calls that are not there.
    Dispatches,
    /// Events about no call that is there.
    Events,
}

/// Reads calls out of a database while others write to it: each call is one short snapshot, and no longer one is held,
/// however many there are.
pub trait Archive: Send {
    /// The names of the calls that are wanted, in the order in which they were made here, after the call of this row
    /// number, with their row numbers.
    ///
    /// # Errors
    /// The database failed.
    fn call_ids(&self, which: &Selection, after: i64, limit: usize) -> Result<Vec<(i64, ConversationId)>>;

    /// Hands out a call as it is to be read: in the order and the words of the conversation, or turn by turn as they
    /// came. Says whether there is such a call.
    ///
    /// # Errors
    /// The database failed, or the taking did.
    fn transcript(
        &self,
        id: &ConversationId,
        order: super::TurnOrder,
        take: &mut dyn FnMut(Spoken) -> io::Result<()>,
    ) -> Result<bool>;

    /// Hands out all that is kept of a call. Says whether there is such a call.
    ///
    /// # Errors
    /// The database failed, or the taking did.
    fn parts(&self, id: &ConversationId, take: &mut dyn FnMut(Part) -> io::Result<()>) -> Result<bool>;

    /// Some rows of this kind after the one of this number, each with its number. None when there are no more.
    ///
    /// # Errors
    /// The database failed.
    fn loose(&self, kind: Loose, after: i64) -> Result<Vec<(i64, Row)>>;
}
