//! Reads, each in a snapshot of a connection that is made for reading.

use super::read_source::ReadSource;
use super::search::{self, Reach};
use super::{
    access_log, alerts, batch, call_results, call_stats, calls, drivers, due, erase, events, expired, initiations,
    material, outgoing, quarantine, ranked_calls, reread_list, tool_calls,
};
use crate::domain::reconcile::Material;
use crate::domain::result_sums::CallResultRow;
use crate::domain::turn_metrics::CallMetrics;
use crate::domain::{
    Call, CallStats, Caller, ConversationId, Dispatch, Driver, DriverId, PhoneNumber, PlacedToolCall, StoredEvent,
    Timestamp, Turn,
};
use crate::store::{
    AccessLogRequest, AlertScan, AlertSet, CallFilter, CallPage, CallPageRequest, DispatchPageRequest,
    DriverPageRequest, Due, EndpointId, EndpointState, EventSelection, ExpiredCall, ExpiredCallQuery, ExpiredEvent,
    HitPage, LoggedAccess, NamingEvent, OutgoingBatch, Page, RankedCall, RankedCallRequest, Reads, Result, ScanPage,
    SearchQuery, TryKey, TurnQuery, UnreadEvents,
};
use std::collections::{BTreeSet, HashSet};

impl<S: ReadSource> Reads for S {
    fn call(&self, id: &ConversationId) -> Result<Option<Call>> {
        calls::get(&*self.connection()?, id)
    }

    fn calls(&self, request: &CallPageRequest) -> Result<CallPage> {
        calls::list(&mut *self.connection()?, self.path(), request)
    }

    fn ranked_calls(&self, request: &RankedCallRequest) -> Result<Page<RankedCall>> {
        ranked_calls::list(&mut *self.connection()?, self.path(), request)
    }

    fn turns(&self, query: &TurnQuery) -> Result<Option<Page<Turn>>> {
        batch::turns::list(&mut *self.connection()?, query)
    }

    fn tool_calls(&self, id: &ConversationId) -> Result<Vec<PlacedToolCall>> {
        tool_calls::list(&*self.connection()?, id)
    }

    fn transferred(&self, ids: &[ConversationId]) -> Result<Vec<bool>> {
        tool_calls::transferred(&*self.connection()?, ids)
    }

    fn tool_names(&self, ids: &[ConversationId]) -> Result<Vec<Vec<String>>> {
        tool_calls::names(&*self.connection()?, ids)
    }

    fn child_calls(&self, id: &ConversationId, limit: usize) -> Result<Vec<Call>> {
        calls::children(&*self.connection()?, id, limit)
    }

    fn search(&self, query: &SearchQuery) -> Result<HitPage> {
        let found = search::find(&mut *self.connection()?, self.path(), query, Reach::Indexed)?;
        if found.index_is_broken {
            self.note_broken_index();
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
        drivers::get(&*self.connection()?, id)
    }

    fn caller(&self, number: &PhoneNumber) -> Result<Option<Caller>> {
        self.read_caller(|connection| initiations::caller(connection, number))
    }

    fn drivers_by_ids(&self, ids: &BTreeSet<DriverId>) -> Result<Vec<Driver>> {
        drivers::by_ids(&*self.connection()?, ids)
    }

    fn drivers(&self, request: &DriverPageRequest) -> Result<Page<Driver>> {
        drivers::list(&mut *self.connection()?, request)
    }

    fn event(&self, id: i64) -> Result<Option<StoredEvent>> {
        events::get(&*self.connection()?, id)
    }

    fn event_ids(&self, selection: EventSelection, after: i64, limit: usize) -> Result<Vec<i64>> {
        events::ids(&*self.connection()?, selection, after, limit)
    }

    fn rereads(&self, before: i64, limit: usize, max_bytes: usize) -> Result<Vec<StoredEvent>> {
        reread_list::list(&*self.connection()?, before, limit, max_bytes)
    }

    fn unread_events(&self) -> Result<UnreadEvents> {
        events::unread(&*self.connection()?)
    }

    fn dispatch(&self, id: &ConversationId) -> Result<Option<Dispatch>> {
        drivers::get_dispatch(&*self.connection()?, id)
    }

    fn dispatches(&self, request: &DispatchPageRequest) -> Result<Page<Dispatch>> {
        drivers::list_dispatches(&mut *self.connection()?, request)
    }

    fn figures(&self, filter: &CallFilter, each: &mut dyn FnMut(&CallStats<'_>)) -> Result<()> {
        call_stats::for_each_call(&mut *self.connection()?, filter, each)
    }

    fn results(&self, filter: &CallFilter, each: &mut dyn FnMut(CallResultRow<'_>)) -> Result<()> {
        call_results::for_each_result(&*self.connection()?, filter, each)
    }

    fn turn_metrics(&self, filter: &CallFilter, each: &mut dyn FnMut(CallMetrics<'_>)) -> Result<()> {
        call_results::for_each_metrics(&*self.connection()?, filter, each)
    }

    fn is_erased(&self, id: &ConversationId) -> Result<bool> {
        erase::is_erased(&*self.connection()?, id)
    }

    fn newest_arrival(&self) -> Result<Option<Timestamp>> {
        expired::newest_arrival(&*self.connection()?)
    }

    fn old_calls(&self, query: &ExpiredCallQuery) -> Result<Vec<ExpiredCall>> {
        expired::expired_calls(&*self.connection()?, query)
    }

    fn old_events(&self, before: Timestamp, after: i64, limit: usize) -> Result<ScanPage<ExpiredEvent>> {
        expired::expired_events(&*self.connection()?, before, after, limit)
    }

    fn events_naming(&self, calls: &HashSet<ConversationId>, after: i64) -> Result<ScanPage<NamingEvent>> {
        quarantine::events_naming(&*self.connection()?, calls, after)
    }

    fn old_dispatches(
        &self,
        before: Timestamp,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>> {
        expired::expired_dispatches(&*self.connection()?, before, after, limit)
    }

    fn dispatches_of(&self, id: DriverId, number: Option<&PhoneNumber>, limit: usize) -> Result<Vec<ConversationId>> {
        expired::dispatches_of(&*self.connection()?, id, number, limit)
    }

    fn access_log(&self, request: &AccessLogRequest) -> Result<Page<LoggedAccess>> {
        access_log::list(&*self.connection()?, request)
    }

    fn oldest_access(&self) -> Result<Option<Timestamp>> {
        access_log::oldest(&*self.connection()?)
    }

    fn open_calls(&self, at_most: u32) -> Result<u64> {
        calls::count_open(&*self.connection()?, at_most)
    }

    fn alert_position(&self) -> Result<Option<i64>> {
        alerts::position(&*self.connection()?)
    }

    fn scan_for_alerts(&self, alerts: &AlertSet, after: i64) -> Result<AlertScan> {
        alerts::scan(&*self.connection()?, alerts, after)
    }

    fn endpoints(&self) -> Result<Vec<EndpointId>> {
        outgoing::endpoints(&*self.connection()?)
    }

    fn outgoing(&self, endpoint: &EndpointId, now: Timestamp, planned_after: Option<TryKey>) -> Result<OutgoingBatch> {
        outgoing::next(&mut *self.connection()?, endpoint, now, planned_after)
    }

    fn endpoint_state(&self, endpoint: &EndpointId) -> Result<Option<EndpointState>> {
        outgoing::state(&mut *self.connection()?, endpoint)
    }
}
