//! A store without a database, for describing the service without opening one.

use super::{
    AlertScan, AlertSet, Backlog, CallFilter, CallPage, CallPageRequest, ChangeBatch, ChangedCalls, Commands,
    DatabaseSizes, DispatchPageRequest, DriverPageRequest, EndpointId, EndpointState, ErasedSlice, Error, ErrorKind,
    EventSelection, ExpiredCall, ExpiredCallQuery, ExpiredEvent, Feed, FeedPosition, Forgotten, HitPage, Maintenance,
    NamingEvent, Outcome, OutgoingBatch, Page, RankedCall, RankedCallRequest, Reads, Result, ScanPage, Scope,
    SearchQuery, TryKey, TurnQuery, Unfinished, UnreadEvents, Write,
};
use crate::domain::{
    Call, CallStats, Caller, ConversationId, Dispatch, Driver, DriverId, PhoneNumber, PlacedToolCall, StoredEvent,
    Timestamp, Turn,
};
use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

/// A store whose methods all fail.
#[derive(Debug, Clone, Copy, Default)]
pub struct NullStore;

/// Implements methods that fail.
macro_rules! failing {
    ($($name:ident($($of:ty),*) -> $output:ty;)+) => {$(
        fn $name(&self, $(_: $of),*) -> Result<$output> {
            Err(Error::new(ErrorKind::Other, "asking the database", "no database is open"))
        }
    )+};
}

impl Commands for NullStore {
    failing! {
        apply(Timestamp, &[Write]) -> Vec<Outcome>;
        continue_erasing(Timestamp, Unfinished<'_>) -> Option<ErasedSlice>;
    }
}

impl Reads for NullStore {
    failing! {
        call(&ConversationId) -> Option<Call>;
        calls(&CallPageRequest) -> CallPage;
        ranked_calls(&RankedCallRequest) -> Page<RankedCall>;
        turns(&TurnQuery) -> Option<Page<Turn>>;
        search(&SearchQuery) -> HitPage;
        tool_calls(&ConversationId) -> Vec<PlacedToolCall>;
        child_calls(&ConversationId, usize) -> Vec<Call>;
        driver(DriverId) -> Option<Driver>;
        caller(&PhoneNumber) -> Option<Caller>;
        drivers_by_ids(&BTreeSet<DriverId>) -> Vec<Driver>;
        drivers(&DriverPageRequest) -> Page<Driver>;
        event(i64) -> Option<StoredEvent>;
        event_ids(EventSelection, i64, usize) -> Vec<i64>;
        rereads(i64, usize, usize) -> Vec<StoredEvent>;
        unread_events() -> UnreadEvents;
        dispatch(&ConversationId) -> Option<Dispatch>;
        dispatches(&DispatchPageRequest) -> Page<Dispatch>;
        figures(&CallFilter, &mut dyn FnMut(&CallStats<'_>)) -> ();
        is_erased(&ConversationId) -> bool;
        newest_arrival() -> Option<Timestamp>;
        old_calls(&ExpiredCallQuery) -> Vec<ExpiredCall>;
        old_events(Timestamp, i64, usize) -> ScanPage<ExpiredEvent>;
        events_naming(&HashSet<ConversationId>, i64) -> ScanPage<NamingEvent>;
        old_dispatches(Timestamp, Option<&ConversationId>, usize) -> Vec<ConversationId>;
        dispatches_of(DriverId, Option<&PhoneNumber>, usize) -> Vec<ConversationId>;
        open_calls(u32) -> u64;
        alert_position() -> Option<i64>;
        scan_for_alerts(&AlertSet, i64) -> AlertScan;
        endpoints() -> Vec<EndpointId>;
        outgoing(&EndpointId, Timestamp, Option<TryKey>) -> OutgoingBatch;
        endpoint_state(&EndpointId) -> Option<EndpointState>;
    }
}

impl Feed for NullStore {
    failing! {
        head() -> FeedPosition;
        since(&Scope, FeedPosition, FeedPosition) -> ChangeBatch;
        touched(FeedPosition, FeedPosition) -> ChangedCalls;
    }
}

impl Maintenance for NullStore {
    failing! {
        rest() -> bool;
        purge(Duration) -> Forgotten;
        catch_up() -> Backlog;
    }

    fn sizes(&self) -> std::io::Result<DatabaseSizes> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}
