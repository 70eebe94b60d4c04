//! What the service asks of a database, and nothing about any one of them.
//!
//! [`Store`] is synchronous and object-safe. Its write unit is a batch: a slice of [`Write`]s becomes one transaction,
//! whose commit is on disk when [`Store::apply`] returns. Everything of a conversation is keyed by its
//! `conversation_id`, so that a store may be spread over machines. SQL stands only in the modules below this one.
//!
//! It promises order and exactness, not fairness or speed: queueing, batching and retries belong to
//! [`crate::writer`].

mod absent;
mod archive;
mod deadline;
mod error;
mod query;
mod search;
pub mod sqlite;
mod tail;
mod upkeep;
mod weight;

pub use absent::Absent;
pub use archive::{Archive, Archived, ArchivedCall, Loose, Part, Row, Selection, Spoken};
pub use deadline::reading_until;
pub use error::{Error, ErrorKind, Result};
pub use query::{
    Backlog, CallKey, CallQuery, ErasedSlice, FiguresQuery, Forgotten, NamingEvent, OldCall, OldCalls, OldEvent, Order,
    Page, RecordFilter, TurnKey, TurnOrder, TurnQuery, Unfinished, json_length,
};
pub use search::{Found, Hit, Place, SearchKey, SearchOrder, SearchQuery};
pub use tail::{Change, Position, Scope, Since, Touched};
pub use upkeep::{BackupReport, BackupStep, BackupWatch, CheckReport, Copier, Finding, UnreadEvents};

use crate::fields::Problem;
use crate::model::{
    Call, CallChange, CallFigures, ConversationId, Dispatch, Driver, DriverId, HistoryReport, NewDispatch, NewDriver,
    NewEvent, NewTurn, PhoneNumber, StoredEvent, Timestamp,
};
use crate::reconcile::{Material, Reconciliation};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// One change, the unit that is done wholly or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Stores a turn, and with the first one of a conversation its call.
    AppendTurn(NewTurn),
    /// Creates or replaces drivers, all or none.
    PutDrivers(Vec<NewDriver>),
    /// Deletes a driver. Calls and dispatches of that driver stay, without one. If there are many, only some of them lose
    /// their driver ([`Written::Begun`]), and the write is to be repeated.
    DeleteDriver(DriverId),
    /// Creates or replaces dispatches, all or none, and fills the driver in where the call is already known.
    PutDispatches(Vec<NewDispatch>),
    /// Deletes a dispatch. The call keeps its driver.
    DeleteDispatch(ConversationId),
    /// Changes a call by hand.
    ChangeCall(ConversationId, CallChange),
    /// Erases a call with all that is stored about it: turns, histories, events of ElevenLabs, its dispatch. Events that
    /// arrive later are dropped. Of a long call only the first slice is erased: see [`Written::Begun`].
    EraseCall(ConversationId),
    /// Erases a call as [`Write::EraseCall`] does if nothing of it has arrived since this time; later events are stored.
    PruneCall(ConversationId, Timestamp),
    /// Erases events of these numbers, as far as they belong to no call.
    PruneEvents(Vec<i64>),
    /// Erases dispatches, as far as they never became a call.
    PruneDispatches(Vec<ConversationId>),
    /// Keeps an event of the platform, once, and brings its call up to what it says.
    KeepEvent(Box<NewEvent>),
    /// Does the same with an event that is kept already, of this number, which was read again.
    ReplayEvent(i64, Box<NewEvent>),
    /// Stores what a tool shows of a running call, as far as it is not stored yet.
    KeepHistory(Box<HistoryReport>),
    /// Stores a call, or a slice of it, as reconciliation made it of what was stored before.
    Reconcile(Box<Reconciliation>),
    /// Ends calls that are in progress and unchanged since before this time, some hundred at most.
    EndStaleCalls(Timestamp),
    /// Stores what left a database before, as it was. Of a long call only the first slice is stored.
    Restore(Box<Archived>),
    /// Stores the next slice of a long call of which so many turns are restored.
    GoOnRestoring(Arc<ArchivedCall>, usize),
    /// Writes something that changes nothing, to learn whether the disk takes it.
    Probe,
}

impl Write {
    /// Whether it takes something away that is to be gone from the bytes on disk, too.
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

/// What a [`Write`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// Of [`Write::AppendTurn`].
    Turn(StoredTurn),
    /// Of [`Write::PutDrivers`].
    Drivers(Counts),
    /// Of [`Write::PutDispatches`].
    Dispatches(Counts),
    /// Of [`Write::ChangeCall`]: the call as it is now.
    Call(Box<Call>),
    /// Of [`Write::KeepEvent`], [`Write::ReplayEvent`] and [`Write::KeepHistory`].
    Kept(Kept),
    /// Of [`Write::Reconcile`].
    Reconciled {
        /// How many turns the call has now.
        turn_count: i64,
    },
    /// Of [`Write::EndStaleCalls`]: those that were ended. When there are none, there are no more.
    Ended(Vec<ConversationId>),
    /// Of [`Write::Restore`] and [`Write::GoOnRestoring`]: whether it was not there before.
    Restored(bool),
    /// Of [`Write::EraseCall`] and [`Write::PruneCall`]: the call is long, and [`Store::go_on_erasing`] erases the rest.
    /// Of [`Write::DeleteDriver`]: the driver is still there, with fewer calls.
    /// Of [`Write::Restore`] and [`Write::GoOnRestoring`]: the call is long, and the next slice is to follow. Until the end
    /// nothing else is stored for the call ([`Rejection::Unfinished`]).
    Begun,
    /// Of the deletes and the probe.
    Done,
}

/// Where a turn stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredTurn {
    /// The turn's own number, unique over all calls.
    pub transcription_id: i64,
    /// Its place in the call.
    pub sequence_number: i64,
    /// Whether it had been stored before; then nothing was changed.
    pub replayed: bool,
    /// Whether its call is to be reconciled with its record after this.
    pub due: bool,
    /// Set with the first turn of a call.
    pub new_call: Option<NewCall>,
}

/// What became of a report of the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The event's number; a history has none.
    pub event_id: Option<i64>,
    /// Whether the same event had been kept before; then nothing was changed.
    pub replayed: bool,
    /// Whether its call is to be reconciled after this.
    pub due: bool,
}

/// Calls that are to be reconciled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// Those that were asked for, the one that has been due for longest first.
    pub calls: Vec<ConversationId>,
    /// Number of all calls that are due.
    pub count: u64,
    /// The last note that a call is due.
    pub last: i64,
}

/// A call that a first turn made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewCall {
    /// The driver that a dispatch named, if one did.
    pub driver_id: Option<DriverId>,
}

/// How many rows a bulk change made, changed, and found as they were to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows that were not there.
    pub created: usize,
    /// Rows that were there with other values.
    pub updated: usize,
    /// Rows that were there already as asked.
    pub unchanged: usize,
}

/// Room, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Of the database.
    pub database: u64,
    /// Of its log.
    pub log: u64,
    /// That is left for this process where the database is.
    pub free: u64,
}

/// Why a [`Write`] was not done although the database works. The batch it stood in is not affected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// There is no such call, driver or dispatch.
    NotFound,
    /// The delivery key was used before, in this conversation, for another turn.
    KeyReused,
    /// The plan of a call was made before another one was stored.
    Outdated,
    /// It is a report of a call that was erased, whose words it would bring back.
    Erased,
    /// The call is being erased or restored in slices; try again later.
    Unfinished,
    /// Some elements of a bulk change cannot be stored, so none was.
    Elements(Vec<BadElement>),
    /// What is to be restored breaks a rule, or another such thing is there.
    Unfit(Problem),
    /// The call would end before it starts.
    EndsBeforeStart {
        /// When it starts.
        start: Timestamp,
    },
}

/// An element of a bulk change that cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadElement {
    /// Which one, from 0.
    pub index: usize,
    /// Why not.
    pub why: BadLink,
}

/// What an element refers to wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadLink {
    /// This other driver has the phone number.
    PhoneTaken(DriverId),
    /// There is no such driver.
    UnknownDriver(DriverId),
}

impl BadElement {
    /// The field, and the rule that it breaks.
    pub fn problem(&self) -> Problem {
        let (field, rule) = match self.why {
            BadLink::PhoneTaken(by) => ("phone_number", format!("driver {by} has this number")),
            BadLink::UnknownDriver(id) => ("driver_id", format!("there is no driver {id}")),
        };
        Problem { field: field.to_owned(), rule }
    }
}

/// What became of one [`Write`] of a batch.
pub type Outcome = std::result::Result<Written, Rejection>;

/// A database of calls.
pub trait Store: Send + Sync + 'static {
    /// Does `batch` as one transaction, in order, and returns one outcome for each write, once all of it is on disk.
    ///
    /// `now` becomes the rows' `created_at` and `updated_at`.
    ///
    /// # Errors
    /// Nothing of the batch was stored. [`ErrorKind::Busy`] may pass; any other kind concerns at least one write of
    /// the batch, not necessarily each.
    fn apply(&self, now: Timestamp, batch: &[Write]) -> Result<Vec<Outcome>>;

    /// Does the housekeeping that waits for a quiet moment, and returns whether all of it is done; if not, it is to be
    /// called again later. Called by the one thread that calls [`Store::apply`].
    ///
    /// # Errors
    /// Nothing is lost; it may be tried again.
    fn rest(&self) -> Result<bool>;

    /// Takes the older states of what was erased out of the bytes on disk, and returns whether all of them are gone; if
    /// not, it is to be called again. Waits for readers at most for so long. Called by the one thread that calls
    /// [`Store::apply`].
    ///
    /// # Errors
    /// Nothing is lost; it may be tried again.
    fn forget(&self, wait: Duration) -> Result<Forgotten>;

    /// Does a slice of the work that is put off so as not to delay writes: indexing turns for search, and taking erased
    /// words out of the index. Returns what is left. Called by the one thread that calls [`Store::apply`].
    ///
    /// # Errors
    /// Nothing is lost; it may be tried again.
    fn catch_up(&self) -> Result<Backlog>;

    /// Erases the next slice of a call whose erasure was begun ([`Written::Begun`]) or cut off by a crash, and returns
    /// which call that is; `None` when there is none. Called by the one thread that calls [`Store::apply`].
    ///
    /// # Errors
    /// Nothing of the slice is erased; it may be tried again.
    fn go_on_erasing(&self, which: Unfinished<'_>) -> Result<Option<ErasedSlice>>;

    /// One call.
    fn call(&self, id: &ConversationId) -> Result<Option<Call>>;

    /// A page of calls in the order of their start.
    fn calls(&self, query: &CallQuery) -> Result<Page<Call>>;

    /// A page of a call's turns; `None` when there is no such call.
    fn turns(&self, query: &TurnQuery) -> Result<Option<Page<crate::model::Turn>>>;

    /// A page of turns by their words, whether they are indexed already or not.
    fn search(&self, query: &SearchQuery) -> Result<Found>;

    /// Up to `limit` calls that are to be reconciled, of those noted after one note and up to another one. Does not wait for
    /// other reads.
    fn due(&self, _noted_after: i64, _noted_until: i64, _limit: usize) -> Result<Due> {
        Ok(Due::default())
    }

    /// All that is stored of a call that is to be reconciled, as far as it matters for that; `None` if it is not due. Does
    /// not wait for other reads.
    fn material(&self, _id: &ConversationId) -> Result<Option<Material>> {
        Ok(None)
    }

    /// One driver.
    fn driver(&self, id: DriverId) -> Result<Option<Driver>>;

    /// Up to `limit` drivers in the order of their numbers, after `after`.
    fn drivers(&self, after: Option<DriverId>, limit: usize, with_total: bool) -> Result<Page<Driver>>;

    /// One event.
    fn event(&self, id: i64) -> Result<Option<StoredEvent>>;

    /// The numbers of up to `limit` events after the one of number `after`, in order; only those that could not be read,
    /// if asked.
    fn event_ids(&self, after: i64, only_unreadable: bool, limit: usize) -> Result<Vec<i64>>;

    /// The events that cannot be read, and those of which parts cannot be.
    fn unread_events(&self) -> Result<UnreadEvents>;

    /// One dispatch.
    fn dispatch(&self, id: &ConversationId) -> Result<Option<Dispatch>>;

    /// Gives the figures of each call that is asked for to `each`, in no order.
    fn figures(&self, query: &FiguresQuery, each: &mut dyn FnMut(&CallFigures)) -> Result<()>;

    /// Whether a call was erased by [`Write::EraseCall`].
    fn is_erased(&self, id: &ConversationId) -> Result<bool>;

    /// When the latest of the last some hundred turns and events arrived that, by their senders' clocks, were said or made
    /// within a day of that.
    fn newest_arrival(&self) -> Result<Option<Timestamp>>;

    /// Calls of which nothing came since a time: neither a turn nor, in the senders' time, their end.
    fn old_calls(&self, query: &OldCalls) -> Result<Vec<OldCall>>;

    /// Those of the next `limit` events after number `after` that came before `before` and belong to no call, and the number
    /// after which to go on, if there is more to look at.
    fn old_events(&self, before: Timestamp, after: i64, limit: usize) -> Result<(Vec<OldEvent>, Option<i64>)>;

    /// Returns which events after number `after` that belong to no call have one of these calls at a `conversation_id` key
    /// of their bodies. Looks through some of them, and returns the number after which to go on, if there are more.
    fn events_naming(&self, calls: &HashSet<ConversationId>, after: i64) -> Result<(Vec<NamingEvent>, Option<i64>)>;

    /// Up to `limit` dispatches from before `before` that never became a call, in the order of their names after `after`.
    fn old_dispatches(
        &self,
        before: Timestamp,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>>;

    /// Up to `limit` dispatches of this driver, or to this number and without a driver.
    fn dispatches_of(&self, id: DriverId, number: Option<&PhoneNumber>, limit: usize) -> Result<Vec<ConversationId>>;

    /// The place behind everything that is committed.
    fn head(&self) -> Result<Position>;

    /// What of `scope` was committed after a place, some of it, in order. Of everything, nothing that lies behind
    /// `until`, which must have been a head; of one call, whatever there is.
    fn since(&self, scope: &Scope, after: Position, until: Position) -> Result<Since>;

    /// Which calls something was committed of between two places.
    fn touched(&self, after: Position, until: Position) -> Result<Touched>;

    /// What copies the database; none where it is not one file.
    fn copier(&self) -> Copier {
        Copier::none()
    }

    /// What reads whole calls out, by a connection of its own; nothing where there is none.
    ///
    /// # Errors
    /// It cannot be opened.
    fn archive(&self) -> Result<Option<Box<dyn Archive>>> {
        Ok(None)
    }

    /// How many calls are in progress, counted up to `at_most`.
    fn open_calls(&self, at_most: u32) -> Result<u64>;

    /// Makes sure that what is stored goes to the files that were opened. Cheap enough to be asked before and after anything.
    ///
    /// # Errors
    /// [`ErrorKind::Unready`].
    fn in_place(&self) -> Result<()> {
        Ok(())
    }

    /// How much room the data takes, and has. Asks the system only, so that it works while the database does not.
    ///
    /// # Errors
    /// As the system has it.
    fn sizes(&self) -> std::io::Result<Sizes>;
}
