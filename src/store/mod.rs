//! The storage interface, independent of any particular database.
//!
//! [`Store`] is synchronous and object-safe. Its unit of work is a batch: [`Commands::apply`] executes a slice of
//! [`Write`]s as one transaction and returns after the commit is on disk. All data of a conversation is keyed by its
//! `conversation_id`, because a store may be spread over several machines. Only the modules below this one contain SQL.
//!
//! A store promises order and exactness, not fairness or speed. [`crate::ingest`] does the queueing, batching and
//! retries.

mod archive;
mod change_feed;
pub mod command;
mod contract;
mod deadline;
mod error;
mod maintenance;
mod null;
mod query;
mod search;
pub mod sqlite;
mod weight;

pub use archive::{Archive, ArchivePart, ArchiveRecord, ArchivedCall, OrphanRows, Row, TranscriptItem};
pub use change_feed::{Change, ChangeBatch, ChangedCalls, FeedPosition, Scope};
pub use contract::{Commands, Feed, Maintenance, Reads, Store};
pub use deadline::reading_until;
pub use error::{Error, ErrorKind, Result};
pub use maintenance::{BackupReport, BackupSource, BackupStep, CheckReport, IntegrityIssue, ProgressFn, UnreadEvents};
pub use null::NullStore;
pub use query::{
    Backlog, CallFilter, CallKey, CallPageRequest, ErasedSlice, ExpiredCall, ExpiredCallQuery, ExpiredEvent, Forgotten,
    NamingEvent, Page, RecordFilter, SortOrder, TurnKey, TurnOrder, TurnQuery, Unfinished, json_length,
};
pub use search::{Hit, HitPage, RankPosition, SearchKey, SearchOrder, SearchQuery};

use crate::domain::reconcile::Reconciliation;
use crate::domain::validation::FieldError;
use crate::domain::{
    Call, CallChange, ConversationId, DriverId, HistoryReport, NewDispatch, NewDriver, NewEvent, NewTurn, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A single change, which takes effect completely or not at all.
///
/// Can be sent to other copies of the data as JSON. Other formats do not fit, because some types leave out empty
/// fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Write {
    /// Stores a turn. The first turn of a conversation also creates its call.
    AppendTurn(NewTurn),
    /// Creates or replaces drivers, all or none.
    PutDrivers(Vec<NewDriver>),
    /// Deletes a driver. The driver's calls and dispatches stay, without a driver. If there are many, one write changes
    /// only some of them ([`Written::Begun`]) and must be repeated.
    DeleteDriver(DriverId),
    /// Creates or replaces dispatches, all or none. Also sets the driver of calls that already exist.
    PutDispatches(Vec<NewDispatch>),
    /// Deletes a dispatch. The call keeps its driver.
    DeleteDispatch(ConversationId),
    /// Changes a call by hand.
    ChangeCall(ConversationId, CallChange),
    /// Erases a call and everything stored about it: turns, histories, ElevenLabs events and its dispatch. Events that
    /// arrive later are dropped. A long call only loses its first slice: see [`Written::Begun`].
    EraseCall(ConversationId),
    /// Erases a call if nothing of it has arrived since this time. Unlike after [`Write::EraseCall`], later events are
    /// stored.
    PruneCall(ConversationId, Timestamp),
    /// Erases the events with these ids that belong to no call.
    PruneEvents(Vec<i64>),
    /// Erases the dispatches of these conversations that never became a call.
    PruneDispatches(Vec<ConversationId>),
    /// Stores an ElevenLabs event, once, and marks its call as due for reconciliation.
    KeepEvent(Box<NewEvent>),
    /// Replaces the parsed form of the stored event with this id, and marks its call as due.
    ReplayEvent(i64, Box<NewEvent>),
    /// Stores the part of a running call's history, sent by a tool, that is not stored yet.
    KeepHistory(Box<HistoryReport>),
    /// Stores a reconciled call, or one slice of it, as computed from the stored data.
    Reconcile(Box<Reconciliation>),
    /// Ends calls that are in progress and unchanged since before this time, some hundred at most.
    EndStaleCalls(Timestamp),
    /// Restores exported rows unchanged. A long call only gets its first slice: see [`Written::Begun`].
    Restore(Box<ArchiveRecord>),
    /// Restores the next slice of a long call. The number counts the turns that are already restored.
    GoOnRestoring(#[serde(with = "archive::shared")] Arc<ArchivedCall>, usize),
    /// Writes without changing anything, to test whether the disk accepts writes.
    Probe,
}

impl Write {
    /// Returns whether the write removes data whose bytes must also disappear from the disk.
    pub const fn erases(&self) -> bool {
        matches!(
            self,
            Self::EraseCall(_)
                | Self::PruneCall(..)
                | Self::PruneEvents(_)
                | Self::PruneDispatches(_)
                | Self::DeleteDriver(_)
                | Self::DeleteDispatch(_)
        )
    }
}

/// The effect of a successful [`Write`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// Result of [`Write::AppendTurn`].
    Turn(StoredTurn),
    /// Result of [`Write::PutDrivers`].
    Drivers(Counts),
    /// Result of [`Write::PutDispatches`].
    Dispatches(Counts),
    /// Result of [`Write::ChangeCall`]: the changed call.
    Call(Box<Call>),
    /// Result of [`Write::KeepEvent`], [`Write::ReplayEvent`] and [`Write::KeepHistory`].
    Kept(Kept),
    /// Result of [`Write::Reconcile`].
    Reconciled {
        /// Number of turns that the call has now.
        turn_count: i64,
    },
    /// Result of [`Write::EndStaleCalls`]: the calls that were ended. Empty if there are no more.
    Ended(Vec<ConversationId>),
    /// Result of [`Write::Restore`] and [`Write::GoOnRestoring`]: false if an equal row was stored before.
    Restored(bool),
    /// The write did its first part; the rest must follow.
    ///
    /// After [`Write::EraseCall`] and [`Write::PruneCall`] the call is long, and [`Commands::go_on_erasing`] erases the
    /// rest. After [`Write::DeleteDriver`] the driver still exists, with fewer calls: repeat the write. After
    /// [`Write::Restore`] and [`Write::GoOnRestoring`] the call is long, and the next slice must follow. An unfinished
    /// call accepts no other writes ([`Rejection::Unfinished`]).
    Begun,
    /// Result of deletes and the probe.
    Done,
}

/// Identifiers of a stored turn, and what storing it caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredTurn {
    /// Id of the turn, unique over all calls.
    pub transcription_id: i64,
    /// Number of the turn in its call, in order of arrival.
    pub sequence_number: i64,
    /// True if the turn was stored before. Nothing was changed then.
    pub replayed: bool,
    /// True if its call must be reconciled with its record now.
    pub due: bool,
    /// Set if the turn was the first one of its call.
    pub new_call: Option<NewCall>,
}

/// Result of storing an ElevenLabs event or a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Id of the event; `None` for a history.
    pub event_id: Option<i64>,
    /// True if an equal event was stored before. Nothing was changed then.
    pub replayed: bool,
    /// True if its call must be reconciled now.
    pub due: bool,
}

/// Calls that are due for reconciliation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// The requested calls, ordered by how long they have been due, longest first.
    pub calls: Vec<ConversationId>,
    /// Number of all calls that are due.
    pub count: u64,
    /// The latest due note. Notes are numbered in the order in which calls became due.
    pub last: i64,
}

/// A call that was created by its first turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewCall {
    /// The driver named by a dispatch, if there is one.
    pub driver_id: Option<DriverId>,
}

/// Numbers of rows that a bulk change created, updated and left unchanged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows that did not exist.
    pub created: usize,
    /// Rows that had other values.
    pub updated: usize,
    /// Rows that already had the requested values.
    pub unchanged: usize,
}

/// Disk space, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatabaseSizes {
    /// Size of the database.
    pub database: u64,
    /// Size of its WAL.
    pub log: u64,
    /// Space that this process can still use on the database's file system.
    pub free: u64,
}

/// Reason why a [`Write`] was refused although the database works. Other writes of its batch are not affected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// The call, driver or dispatch does not exist.
    NotFound,
    /// The delivery key was used before, in this conversation, for another turn.
    KeyReused,
    /// Another plan of the call was stored after this one was made.
    Outdated,
    /// The event belongs to an erased call, so storing it would bring erased words back.
    Erased,
    /// The call is being erased or restored in slices; retry later.
    Unfinished,
    /// Some elements of a bulk change cannot be stored, so none was.
    Elements(Vec<BadElement>),
    /// The row to restore breaks a rule, or differs from an existing row.
    Unfit(FieldError),
    /// The call would end before it starts.
    EndsBeforeStart {
        /// Start time of the call.
        start: Timestamp,
    },
}

/// An element of a bulk change that cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadElement {
    /// Index of the element, from 0.
    pub index: usize,
    /// Reason for the refusal.
    pub why: BadLink,
}

/// An invalid reference in an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadLink {
    /// Another driver, with this id, has the phone number.
    PhoneTaken(DriverId),
    /// No driver has this id.
    UnknownDriver(DriverId),
}

impl BadElement {
    /// Returns the field and the rule that it breaks.
    pub fn problem(&self) -> FieldError {
        let (field, rule) = match self.why {
            BadLink::PhoneTaken(by) => ("phone_number", format!("driver {by} has this number")),
            BadLink::UnknownDriver(id) => ("driver_id", format!("there is no driver {id}")),
        };
        FieldError { field: field.to_owned(), rule }
    }
}

/// Result of one [`Write`] in a batch.
pub type Outcome = std::result::Result<Written, Rejection>;
