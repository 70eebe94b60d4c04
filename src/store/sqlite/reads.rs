//! Reads, each in a snapshot of a pooled connection.

use super::database::SqliteStore;
use super::search::{self, Reach};
use super::{
    access_log, batch, call_results, call_stats, calls, drivers, due, erase, events, expired, material, quarantine,
    ranked_calls, reread_list, tool_calls,
};
use crate::domain::reconcile::Material;
use crate::domain::result_sums::CallResultRow;
use crate::domain::turn_metrics::CallMetrics;
use crate::domain::{
    Call, CallStats, ConversationId, Dispatch, Driver, DriverId, PhoneNumber, PlacedToolCall, StoredEvent, Timestamp,
    Turn,
};
use crate::store::{
    AccessLogRequest, CallFilter, CallPageRequest, DispatchPageRequest, DriverPageRequest, Due, EventSelection,
    ExpiredCall, ExpiredCallQuery, ExpiredEvent, HitPage, LoggedAccess, NamingEvent, Page, RankedCall,
    RankedCallRequest, Reads, Result, ScanPage, SearchQuery, TurnQuery, UnreadEvents,
};
use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::Ordering;

impl Reads for SqliteStore {
    fn call(&self, id: &ConversationId) -> Result<Option<Call>> {
        calls::get(&*self.readers.get()?, id)
    }

    fn calls(&self, request: &CallPageRequest) -> Result<Page<Call>> {
        calls::list(&mut *self.readers.get()?, request)
    }

    fn ranked_calls(&self, request: &RankedCallRequest) -> Result<Page<RankedCall>> {
        ranked_calls::list(&mut *self.readers.get()?, request)
    }

    fn turns(&self, query: &TurnQuery) -> Result<Option<Page<Turn>>> {
        batch::turns::list(&mut *self.readers.get()?, query)
    }

    fn tool_calls(&self, id: &ConversationId) -> Result<Vec<PlacedToolCall>> {
        tool_calls::list(&*self.readers.get()?, id)
    }

    fn tool_names(&self, ids: &[ConversationId]) -> Result<Vec<Vec<String>>> {
        tool_calls::names(&*self.readers.get()?, ids)
    }

    fn child_calls(&self, id: &ConversationId, limit: usize) -> Result<Vec<Call>> {
        calls::children(&*self.readers.get()?, id, limit)
    }

    fn search(&self, query: &SearchQuery) -> Result<HitPage> {
        let found = search::find(&mut *self.readers.get()?, &self.options.path, query, Reach::Indexed)?;
        if found.index_is_broken {
            self.index_is_broken.store(true, Ordering::Relaxed);
        }
        Ok(found.page)
    }

    fn due(&self, noted_after: i64, noted_until: i64, limit: usize) -> Result<Due> {
        self.read_due(|connection| due::list(connection, noted_after, noted_until, limit))
    }

    fn material(&self, id: &ConversationId) -> Result<Option<Material>> {
        self.read_due(|connection| material::read(connection, id))
    }

    fn driver(&self, id: DriverId) -> Result<Option<Driver>> {
        drivers::get(&*self.readers.get()?, id)
    }

    fn drivers_by_ids(&self, ids: &BTreeSet<DriverId>) -> Result<Vec<Driver>> {
        drivers::by_ids(&*self.readers.get()?, ids)
    }

    fn drivers(&self, request: &DriverPageRequest) -> Result<Page<Driver>> {
        drivers::list(&mut *self.readers.get()?, request)
    }

    fn event(&self, id: i64) -> Result<Option<StoredEvent>> {
        events::get(&*self.readers.get()?, id)
    }

    fn event_ids(&self, selection: EventSelection, after: i64, limit: usize) -> Result<Vec<i64>> {
        events::ids(&*self.readers.get()?, selection, after, limit)
    }

    fn rereads(&self, before: i64, limit: usize, max_bytes: usize) -> Result<Vec<StoredEvent>> {
        reread_list::list(&*self.readers.get()?, before, limit, max_bytes)
    }

    fn unread_events(&self) -> Result<UnreadEvents> {
        events::unread(&*self.readers.get()?)
    }

    fn dispatch(&self, id: &ConversationId) -> Result<Option<Dispatch>> {
        drivers::get_dispatch(&*self.readers.get()?, id)
    }

    fn dispatches(&self, request: &DispatchPageRequest) -> Result<Page<Dispatch>> {
        drivers::list_dispatches(&mut *self.readers.get()?, request)
    }

    fn figures(&self, filter: &CallFilter, each: &mut dyn FnMut(&CallStats<'_>)) -> Result<()> {
        call_stats::for_each_call(&mut *self.readers.get()?, filter, each)
    }

    fn results(&self, filter: &CallFilter, each: &mut dyn FnMut(CallResultRow<'_>)) -> Result<()> {
        call_results::for_each_result(&*self.readers.get()?, filter, each)
    }

    fn turn_metrics(&self, filter: &CallFilter, each: &mut dyn FnMut(CallMetrics<'_>)) -> Result<()> {
        call_results::for_each_metrics(&*self.readers.get()?, filter, each)
    }

    fn is_erased(&self, id: &ConversationId) -> Result<bool> {
        erase::is_erased(&*self.readers.get()?, id)
    }

    fn newest_arrival(&self) -> Result<Option<Timestamp>> {
        expired::newest_arrival(&*self.readers.get()?)
    }

    fn old_calls(&self, query: &ExpiredCallQuery) -> Result<Vec<ExpiredCall>> {
        expired::expired_calls(&*self.readers.get()?, query)
    }

    fn old_events(&self, before: Timestamp, after: i64, limit: usize) -> Result<ScanPage<ExpiredEvent>> {
        expired::expired_events(&*self.readers.get()?, before, after, limit)
    }

    fn events_naming(&self, calls: &HashSet<ConversationId>, after: i64) -> Result<ScanPage<NamingEvent>> {
        quarantine::events_naming(&*self.readers.get()?, calls, after)
    }

    fn old_dispatches(
        &self,
        before: Timestamp,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>> {
        expired::expired_dispatches(&*self.readers.get()?, before, after, limit)
    }

    fn dispatches_of(&self, id: DriverId, number: Option<&PhoneNumber>, limit: usize) -> Result<Vec<ConversationId>> {
        expired::dispatches_of(&*self.readers.get()?, id, number, limit)
    }

    fn access_log(&self, request: &AccessLogRequest) -> Result<Page<LoggedAccess>> {
        access_log::list(&*self.readers.get()?, request)
    }

    fn oldest_access(&self) -> Result<Option<Timestamp>> {
        access_log::oldest(&*self.readers.get()?)
    }

    fn open_calls(&self, at_most: u32) -> Result<u64> {
        calls::count_open(&*self.readers.get()?, at_most)
    }
}
