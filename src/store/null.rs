//! A store without a database, for describing the service without opening one.

use super::{
    Backlog, CallFilter, CallPageRequest, ChangeBatch, ChangedCalls, Commands, DatabaseSizes, ErasedSlice, Error,
    ErrorKind, ExpiredCall, ExpiredCallQuery, ExpiredEvent, Feed, FeedPosition, Forgotten, HitPage, Maintenance,
    NamingEvent, Outcome, Page, Reads, Result, Scope, SearchQuery, TurnQuery, Unfinished, UnreadEvents, Write,
};
use crate::domain::{
    Call, CallStats, ConversationId, Dispatch, Driver, DriverId, PhoneNumber, PlacedToolCall, StoredEvent, Timestamp,
    Turn,
};
use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

/// A store whose methods all fail.
#[derive(Debug, Clone, Copy, Default)]
pub struct NullStore;

fn absent<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Other, "asking the database", "no database is open"))
}

impl Commands for NullStore {
    fn apply(&self, _: Timestamp, _: &[Write]) -> Result<Vec<Outcome>> {
        absent()
    }

    fn go_on_erasing(&self, _: Unfinished<'_>) -> Result<Option<ErasedSlice>> {
        absent()
    }
}

impl Reads for NullStore {
    fn call(&self, _: &ConversationId) -> Result<Option<Call>> {
        absent()
    }

    fn calls(&self, _: &CallPageRequest) -> Result<Page<Call>> {
        absent()
    }

    fn turns(&self, _: &TurnQuery) -> Result<Option<Page<Turn>>> {
        absent()
    }

    fn search(&self, _: &SearchQuery) -> Result<HitPage> {
        absent()
    }

    fn tool_calls(&self, _: &ConversationId) -> Result<Vec<PlacedToolCall>> {
        absent()
    }

    fn driver(&self, _: DriverId) -> Result<Option<Driver>> {
        absent()
    }

    fn drivers_by_ids(&self, _: &BTreeSet<DriverId>) -> Result<Vec<Driver>> {
        absent()
    }

    fn drivers(&self, _: Option<DriverId>, _: usize, _: bool) -> Result<Page<Driver>> {
        absent()
    }

    fn event(&self, _: i64) -> Result<Option<StoredEvent>> {
        absent()
    }

    fn event_ids(&self, _: i64, _: bool, _: usize) -> Result<Vec<i64>> {
        absent()
    }

    fn unread_events(&self) -> Result<UnreadEvents> {
        absent()
    }

    fn dispatch(&self, _: &ConversationId) -> Result<Option<Dispatch>> {
        absent()
    }

    fn figures(&self, _: &CallFilter, _: &mut dyn FnMut(&CallStats)) -> Result<()> {
        absent()
    }

    fn is_erased(&self, _: &ConversationId) -> Result<bool> {
        absent()
    }

    fn newest_arrival(&self) -> Result<Option<Timestamp>> {
        absent()
    }

    fn old_calls(&self, _: &ExpiredCallQuery) -> Result<Vec<ExpiredCall>> {
        absent()
    }

    fn old_events(&self, _: Timestamp, _: i64, _: usize) -> Result<(Vec<ExpiredEvent>, Option<i64>)> {
        absent()
    }

    fn events_naming(&self, _: &HashSet<ConversationId>, _: i64) -> Result<(Vec<NamingEvent>, Option<i64>)> {
        absent()
    }

    fn old_dispatches(&self, _: Timestamp, _: Option<&ConversationId>, _: usize) -> Result<Vec<ConversationId>> {
        absent()
    }

    fn dispatches_of(&self, _: DriverId, _: Option<&PhoneNumber>, _: usize) -> Result<Vec<ConversationId>> {
        absent()
    }

    fn open_calls(&self, _: u32) -> Result<u64> {
        absent()
    }
}

impl Feed for NullStore {
    fn head(&self) -> Result<FeedPosition> {
        absent()
    }

    fn since(&self, _: &Scope, _: FeedPosition, _: FeedPosition) -> Result<ChangeBatch> {
        absent()
    }

    fn touched(&self, _: FeedPosition, _: FeedPosition) -> Result<ChangedCalls> {
        absent()
    }
}

impl Maintenance for NullStore {
    fn rest(&self) -> Result<bool> {
        absent()
    }

    fn forget(&self, _: Duration) -> Result<Forgotten> {
        absent()
    }

    fn catch_up(&self) -> Result<Backlog> {
        absent()
    }

    fn sizes(&self) -> std::io::Result<DatabaseSizes> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}
