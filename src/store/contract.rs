//! The traits of a store, by who uses them.

use super::{
    AccessLogRequest, AlertScan, AlertSet, Archive, Backlog, BackupSource, CallFilter, CallPage, CallPageRequest,
    ChangeBatch, ChangedCalls, DatabaseSizes, DispatchPageRequest, DriverPageRequest, Due, EndpointId, EndpointState,
    ErasedSlice, EventSelection, ExpiredCall, ExpiredCallQuery, ExpiredEvent, FeedPosition, Forgotten, HitPage,
    LoggedAccess, NamingEvent, Outcome, OutgoingBatch, Page, RankedCall, RankedCallRequest, Result, ScanPage, Scope,
    SearchQuery, TryKey, TurnQuery, Unfinished, UnreadEvents, Write,
};
use crate::domain::reconcile::Material;
use crate::domain::result_sums::CallResultRow;
use crate::domain::turn_metrics::CallMetrics;
use crate::domain::{
    Call, CallStats, Caller, ConversationId, Dispatch, Driver, DriverId, PhoneNumber, PlacedToolCall, StoredEvent,
    Timestamp, Turn,
};
use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

/// A database of calls.
pub trait Store: Commands + Feed + Maintenance {}

impl<T: Commands + Feed + Maintenance + ?Sized> Store for T {}

/// Changes of the data. Only one thread at a time calls these methods: the writer.
pub trait Commands: Send + Sync + 'static {
    /// Executes `batch` as one transaction, in order, and returns one outcome for each write after the commit is on
    /// disk.
    ///
    /// `now` becomes the rows' `created_at` and `updated_at`.
    ///
    /// The result depends only on the stored data, `now` and `batch`: stores that execute the same batches in the same
    /// order hold the same rows, except for those of the search index.
    ///
    /// # Errors
    /// Nothing of the batch was stored. [`super::ErrorKind::Busy`] is temporary. Any other kind concerns at least one
    /// write of the batch, not necessarily all. [`super::ErrorKind::is_of_the_data`] tells a batch that every copy of
    /// the data refuses from a failure of this machine.
    fn apply(&self, now: Timestamp, batch: &[Write]) -> Result<Vec<Outcome>>;

    /// Erases the next slice of a call whose erasure has begun ([`super::Written::Begun`]) or was interrupted by a
    /// crash. Returns the call, or `None` if there is no such call. Only the thread that calls [`Commands::apply`] may
    /// call it.
    ///
    /// # Errors
    /// Nothing of the slice was erased; retry.
    fn continue_erasing(&self, now: Timestamp, which: Unfinished<'_>) -> Result<Option<ErasedSlice>>;
}

/// Reads of the data, each from one snapshot.
pub trait Reads: Send + Sync + 'static {
    /// Returns a call.
    fn call(&self, id: &ConversationId) -> Result<Option<Call>>;

    /// Returns a page of calls, ordered by their start.
    fn calls(&self, request: &CallPageRequest) -> Result<CallPage>;

    /// Returns a page of calls that are over, ordered by a rank.
    fn ranked_calls(&self, request: &RankedCallRequest) -> Result<Page<RankedCall>>;

    /// Returns a page of a call's turns, or `None` if the call does not exist.
    fn turns(&self, query: &TurnQuery) -> Result<Option<Page<Turn>>>;

    /// Returns a page of turns that match a search, including turns that are not indexed yet.
    fn search(&self, query: &SearchQuery) -> Result<HitPage>;

    /// Returns up to `limit` due calls whose notes are numbered above `_noted_after` and up to `_noted_until`. Does not
    /// wait for other reads.
    fn due(&self, _noted_after: i64, _noted_until: i64, _limit: usize) -> Result<Due> {
        Ok(Due::default())
    }

    /// Returns the stored data that reconciling a call needs, or `None` if the call is not due. Does not wait for other
    /// reads.
    fn material(&self, _id: &ConversationId) -> Result<Option<Material>> {
        Ok(None)
    }

    /// Returns the tool calls of a call, in order; empty if the call does not exist, or the store has no tool calls.
    fn tool_calls(&self, _id: &ConversationId) -> Result<Vec<PlacedToolCall>> {
        Ok(Vec::new())
    }

    /// Returns the names of the called tools of each call, each name once, in the order of their first calls.
    fn tool_names(&self, ids: &[ConversationId]) -> Result<Vec<Vec<String>>> {
        Ok(vec![Vec::new(); ids.len()])
    }

    /// Returns for each call whether a tool transferred it to a telephone number or to another agent.
    fn transferred(&self, ids: &[ConversationId]) -> Result<Vec<bool>> {
        Ok(vec![false; ids.len()])
    }

    /// Returns up to `limit` conversations that this one started as sub-agents', ordered by start.
    fn child_calls(&self, _id: &ConversationId, _limit: usize) -> Result<Vec<Call>> {
        Ok(Vec::new())
    }

    /// Returns a driver.
    fn driver(&self, id: DriverId) -> Result<Option<Driver>>;

    /// Returns the driver with a number, and the driver's last call. Does not wait for other reads.
    fn caller(&self, number: &PhoneNumber) -> Result<Option<Caller>>;

    /// Returns those drivers with these ids that exist, ordered by id.
    fn drivers_by_ids(&self, ids: &BTreeSet<DriverId>) -> Result<Vec<Driver>>;

    /// Returns a page of drivers, ordered by id.
    fn drivers(&self, query: &DriverPageRequest) -> Result<Page<Driver>>;

    /// Returns an event.
    fn event(&self, id: i64) -> Result<Option<StoredEvent>>;

    /// Returns the ids of up to `limit` events above `after`, in order.
    fn event_ids(&self, selection: EventSelection, after: i64, limit: usize) -> Result<Vec<i64>>;

    /// Returns the newest events below `before` that are listed to be parsed again, newest first: up to `limit` of them
    /// and up to `max_bytes` of bodies, but at least one.
    fn rereads(&self, _before: i64, _limit: usize, _max_bytes: usize) -> Result<Vec<StoredEvent>> {
        Ok(Vec::new())
    }

    /// Counts the events that could not be parsed, or only in part, and those that are parsed again.
    fn unread_events(&self) -> Result<UnreadEvents>;

    /// Returns a dispatch.
    fn dispatch(&self, id: &ConversationId) -> Result<Option<Dispatch>>;

    /// Returns a page of dispatches, ordered by conversation id.
    fn dispatches(&self, query: &DispatchPageRequest) -> Result<Page<Dispatch>>;

    /// Passes the statistics of each selected call to `each`, in no particular order.
    fn figures(&self, filter: &CallFilter, each: &mut dyn FnMut(&CallStats<'_>)) -> Result<()>;

    /// Passes the results of the analysis of each selected call to `each`, in no particular order.
    fn results(&self, _filter: &CallFilter, _each: &mut dyn FnMut(CallResultRow<'_>)) -> Result<()> {
        Ok(())
    }

    /// Passes the measurements of the turns of each selected call that has some to `each`, in no particular order.
    fn turn_metrics(&self, _filter: &CallFilter, _each: &mut dyn FnMut(CallMetrics<'_>)) -> Result<()> {
        Ok(())
    }

    /// Returns whether a call was erased by [`Write::EraseCall`].
    fn is_erased(&self, id: &ConversationId) -> Result<bool>;

    /// Returns the latest arrival among the last few hundred turns and events whose sender's clock agrees with it
    /// within a day.
    fn newest_arrival(&self) -> Result<Option<Timestamp>>;

    /// Returns calls whose last activity was before a time. It is the end of the call, else its last turn, or the
    /// arrival of the last turn during the call if that is later.
    fn old_calls(&self, query: &ExpiredCallQuery) -> Result<Vec<ExpiredCall>>;

    /// Scans up to `limit` events with ids above `after` and returns those that arrived before `before` and belong to
    /// no call.
    fn old_events(&self, before: Timestamp, after: i64, limit: usize) -> Result<ScanPage<ExpiredEvent>>;

    /// Scans events with ids above `after` that belong to no call, and returns those whose bodies have one of these
    /// calls at a `conversation_id` key.
    fn events_naming(&self, calls: &HashSet<ConversationId>, after: i64) -> Result<ScanPage<NamingEvent>>;

    /// Returns up to `limit` dispatches from before `before` that never became a call, ordered by conversation id after
    /// `after`.
    fn old_dispatches(
        &self,
        before: Timestamp,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>>;

    /// Returns up to `limit` dispatches of this driver, or to this number and without a driver.
    fn dispatches_of(&self, id: DriverId, number: Option<&PhoneNumber>, limit: usize) -> Result<Vec<ConversationId>>;

    /// Returns a page of the access log, newest first.
    fn access_log(&self, _request: &AccessLogRequest) -> Result<Page<LoggedAccess>> {
        Ok(Page { rows: Vec::new(), has_more: false, total: None })
    }

    /// Returns the earliest time of an entry of the access log.
    fn oldest_access(&self) -> Result<Option<Timestamp>> {
        Ok(None)
    }

    /// Counts the calls in progress, up to `at_most`.
    fn open_calls(&self, at_most: u32) -> Result<u64>;

    /// Returns the id of the last turn that was compared with alerts, or `None` if alerts were not configured.
    fn alert_position(&self) -> Result<Option<i64>> {
        Ok(None)
    }

    /// Compares some of the turns after a turn with alerts.
    fn scan_for_alerts(&self, _alerts: &AlertSet, after: i64) -> Result<AlertScan> {
        Ok(AlertScan { until: after, ..AlertScan::default() })
    }

    /// Returns the ids of the stored endpoints of outgoing webhooks, in order.
    fn endpoints(&self) -> Result<Vec<EndpointId>> {
        Ok(Vec::new())
    }

    /// Returns some of the notices that an endpoint is to receive next. With a key, also some whose next try is planned
    /// for a later time than `now`, after that key.
    fn outgoing(
        &self,
        _endpoint: &EndpointId,
        _now: Timestamp,
        _planned_after: Option<TryKey>,
    ) -> Result<OutgoingBatch> {
        Ok(OutgoingBatch { is_off: true, ..OutgoingBatch::default() })
    }

    /// Returns the state of an endpoint, or `None` if it is unknown.
    fn endpoint_state(&self, _endpoint: &EndpointId) -> Result<Option<EndpointState>> {
        Ok(None)
    }
}

/// The feed of changes, for readers that follow calls and read what has changed.
pub trait Feed: Reads {
    /// Returns the feed position after everything that is committed.
    fn head(&self) -> Result<FeedPosition>;

    /// Returns some of the changes of `scope` committed after a position, in order. For all calls, changes after
    /// `until` are left out; `until` must have been returned by [`Feed::head`]. For one call, all changes count.
    fn since(&self, scope: &Scope, after: FeedPosition, until: FeedPosition) -> Result<ChangeBatch>;

    /// Returns the calls that changed between two positions.
    fn touched(&self, after: FeedPosition, until: FeedPosition) -> Result<ChangedCalls>;
}

/// Care for the files of a database.
pub trait Maintenance: Send + Sync + 'static {
    /// Does idle maintenance and returns true when nothing is left; otherwise call it again later. Only the thread that
    /// calls [`Commands::apply`] may call it.
    ///
    /// # Errors
    /// Nothing is lost; retry.
    fn rest(&self) -> Result<bool>;

    /// Purges erased bytes from the disk. Unless it returns [`Forgotten::All`], call it again. Waits for readers for at
    /// most `wait`. Only the thread that calls [`Commands::apply`] may call it.
    ///
    /// # Errors
    /// Nothing is lost; retry.
    fn purge(&self, wait: Duration) -> Result<Forgotten>;

    /// Indexes the next slice of turns for search, which [`Commands::apply`] leaves out to be fast, and purges the next
    /// slice of erased words from the index. Returns the remaining work. Only the thread that calls [`Commands::apply`]
    /// may call it.
    ///
    /// # Errors
    /// Nothing is lost; retry.
    fn catch_up(&self) -> Result<Backlog>;

    /// Returns the source for backups; it is empty unless the database is one file.
    fn copier(&self) -> BackupSource {
        BackupSource::none()
    }

    /// Opens a connection that reads whole calls for an export, or returns `None` if the store has none.
    ///
    /// # Errors
    /// The connection cannot be opened.
    fn archive(&self) -> Result<Option<Box<dyn Archive>>> {
        Ok(None)
    }

    /// Checks that the opened files are still at their path. Cheap enough to call before and after anything.
    ///
    /// # Errors
    /// [`super::ErrorKind::Unready`].
    fn in_place(&self) -> Result<()> {
        Ok(())
    }

    /// Returns the sizes of the files and the free space. Asks the operating system only, so it works while the
    /// database does not.
    ///
    /// # Errors
    /// The operating system's error.
    fn sizes(&self) -> std::io::Result<DatabaseSizes>;
}
