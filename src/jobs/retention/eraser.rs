//! Erases many things at once: everything of a driver, and everything that has expired.
//!
//! Calls are erased one at a time, each by its own write, and a long call in slices
//! ([`crate::ingest::slices::Slices`]), so turns that arrive meanwhile wait for at most some hundred rows. After each
//! write there is a pause several times as long as the write took. An interrupted erasure is completed by repeating it.
//! A call's recording is deleted first, so no recording is left without a call. Events that could not be parsed but
//! name the call are erased with it.
//!
//! A call expires some time after its last activity: see [`crate::store::Reads::old_calls`].

use super::error::EraseError;
use crate::domain::{Access, AccessAction, ConversationId, DriverId, Identity, Timestamp};
use crate::ingest::WriteError;
use crate::ingest::executor::Executor;
use crate::recordings::Recordings;
use crate::store::command::{
    Command, Completion, DeleteDispatch, DeleteDriver, EraseCall, NoteAccesses, PruneCall, PruneDispatches, PruneEvents,
};
use crate::store::{
    CallKey, ExpiredCall, ExpiredCallQuery, ExpiredEvent, NamingEvent, OtherWriters, Rejection, ScanPage, Store,
};
use crate::telemetry::metrics::METRICS;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Minimum retention period, which is longer than any call.
pub const MIN_AGE: Duration = Duration::from_hours(24);

/// Maximum number of rows that one look-up returns.
pub(super) const PAGE_ROWS: usize = 100;

/// Maximum number of small rows that one write erases.
const MAX_CHUNK_ROWS: usize = 20;

/// Maximum total length of the events that one write erases, in bytes, unless it is a single event.
const MAX_CHUNK_BYTES: usize = 512 * 1024;

/// Pause after a write, as a multiple of its duration.
const PAUSE_FACTOR: u32 = 4;

/// Maximum pause after a write.
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// Numbers of items that were erased, or would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EraseCounts {
    /// Drivers.
    pub drivers: u64,
    /// Calls with everything stored about them.
    pub calls: u64,
    /// Turns of these calls; only counted when pruning.
    pub turns: u64,
    /// Events that belong to no call, including those that name an erased call.
    pub events: u64,
    /// Dispatches that never became a call.
    pub dispatches: u64,
    /// Calls that stay because only an unsigned history claims that they were with the driver.
    pub unproven: u64,
}

impl EraseCounts {
    /// Returns whether nothing was found.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Erases items in a store.
pub struct Eraser {
    /// Upgraded only during a step, so that an erasure does not delay closing the store.
    store: Weak<dyn Store>,
    recordings: Option<Recordings>,
    executor: Box<dyn Executor>,
    others: OtherWriters,
    /// The one whose erasures of calls are noted in the access log.
    noted_by: Option<Identity>,
}

impl Eraser {
    /// Creates an eraser that reads from the store and writes by the executor.
    pub fn new(
        store: &Arc<dyn Store>,
        recordings: Option<Recordings>,
        executor: Box<dyn Executor>,
        others: OtherWriters,
    ) -> Self {
        Self { store: Arc::downgrade(store), recordings, executor, others, noted_by: None }
    }

    /// Notes the erasure of each call in the access log, as an access of this one.
    #[must_use]
    pub fn noted_by(self, noted_by: Option<Identity>) -> Self {
        Self { noted_by, ..self }
    }

    pub(super) fn store(&self) -> Result<Arc<dyn Store>, EraseError> {
        self.store.upgrade().ok_or(EraseError::Stopping)
    }

    /// Returns the latest arrival whose sender's clock agreed with this machine's clock.
    ///
    /// # Errors
    /// The store could not be read.
    pub fn newest_arrival(&self) -> Result<Option<Timestamp>, EraseError> {
        Ok(self.store()?.newest_arrival()?)
    }

    /// Executes a command. Returns `None` if it found nothing to erase.
    fn change<C: Command>(&self, command: C) -> Result<Option<C::Output>, EraseError> {
        let start = Instant::now();
        let result = self.executor.execute(command);
        if self.others == OtherWriters::Some {
            std::thread::sleep((start.elapsed() * PAUSE_FACTOR).min(MAX_PAUSE));
        }
        match result {
            Ok(done) => Ok(Some(done)),
            Err(WriteError::Rejected(Rejection::NotFound)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a driver. Returns whether there was one.
    fn delete_driver(&self, id: DriverId) -> Result<bool, EraseError> {
        loop {
            match self.change(DeleteDriver(id))? {
                Some(Completion::Begun) => {}
                Some(Completion::Done(())) => return Ok(true),
                None => return Ok(false),
            }
        }
    }

    fn erase_recording(&self, id: &ConversationId) -> Result<(), EraseError> {
        let Some(recordings) = &self.recordings else { return Ok(()) };
        // Without this check the recording could be erased while the call stays.
        self.store()?.in_place()?;
        recordings.remove(id).map(drop).map_err(|error| EraseError::Recording(id.clone(), error))
    }

    /// Erases a call for good, and events that name it. Adds what was erased to `erased`.
    ///
    /// # Errors
    /// Something could not be erased.
    pub fn call(&self, id: &ConversationId, erased: &mut EraseCounts) -> Result<(), EraseError> {
        let naming = self.events_naming(&[id.clone()].into())?;
        self.call_with(id, &naming, erased)
    }

    fn call_with(
        &self,
        id: &ConversationId,
        naming: &NamingEvents,
        erased: &mut EraseCounts,
    ) -> Result<(), EraseError> {
        self.erase_recording(id)?;
        // Events first, so that repeating a failed erasure completes it.
        self.erase_events(naming.events_of_call(id), erased)?;
        if self.change(EraseCall(id.clone()))?.is_none() {
            return Ok(());
        }
        erased.calls += 1;
        if let Some(identity) = self.noted_by.clone() {
            let (at, conversation_id) = (Timestamp::now(), Some(id.clone()));
            self.change(NoteAccesses(vec![Access { at, identity, action: AccessAction::Erase, conversation_id }]))?;
        }
        Ok(())
    }

    /// Erases a driver with all calls and dispatches that are known to be with that driver. Adds what was erased to
    /// `erased`, even if it fails. Passes the number of erased calls to `done`.
    ///
    /// # Errors
    /// Something could not be erased.
    pub fn driver(&self, id: DriverId, erased: &mut EraseCounts, mut done: impl FnMut(u64)) -> Result<(), EraseError> {
        loop {
            let before = erased.calls;
            erased.unproven = self.for_each_page(id, |calls| {
                let naming = self.events_naming(&calls.iter().cloned().collect())?;
                for call in calls {
                    self.call_with(call, &naming, erased)?;
                    done(erased.calls);
                }
                Ok(())
            })?;
            // Repeats for calls that arrived meanwhile.
            if erased.calls == before {
                break;
            }
        }
        for dispatched in self.dispatches_of(id, usize::MAX)?.chunks(PAGE_ROWS) {
            let naming = self.events_naming(&dispatched.iter().cloned().collect())?;
            for dispatched in dispatched {
                let before = erased.calls;
                self.call_with(dispatched, &naming, erased)?;
                if erased.calls == before {
                    erased.dispatches += u64::from(self.change(DeleteDispatch(dispatched.clone()))?.is_some());
                }
            }
        }
        erased.drivers += u64::from(self.delete_driver(id)?);
        Ok(())
    }

    /// Finds events that belong to no call but name one of these calls.
    fn events_naming(&self, calls: &HashSet<ConversationId>) -> Result<NamingEvents, EraseError> {
        let (mut naming, mut after) = (NamingEvents::default(), 0);
        loop {
            let ScanPage { rows, next } = self.store()?.events_naming(calls, after)?;
            naming.add(rows);
            let Some(next) = next else { return Ok(naming) };
            after = next;
        }
    }

    /// Erases events that belong to no call.
    fn erase_events(&self, events: &[ExpiredEvent], erased: &mut EraseCounts) -> Result<(), EraseError> {
        for chunk in chunks(events) {
            self.change(PruneEvents(chunk.iter().map(|event| event.id).collect()))?;
            erased.events += chunk.len() as u64;
        }
        Ok(())
    }

    fn dispatches_of(&self, id: DriverId, limit: usize) -> Result<Vec<ConversationId>, EraseError> {
        let store = self.store()?;
        let driver = store.driver(id)?;
        let number = driver.and_then(|driver| driver.phone_number);
        Ok(store.dispatches_of(id, number.as_ref(), limit)?)
    }

    /// Counts what [`Eraser::call`] would erase.
    ///
    /// # Errors
    /// The store could not be read.
    pub fn count_call(&self, id: &ConversationId) -> Result<EraseCounts, EraseError> {
        let calls = u64::from(self.store()?.call(id)?.is_some());
        let events = self.events_naming(&[id.clone()].into())?.events.len() as u64;
        Ok(EraseCounts { calls, events, ..EraseCounts::default() })
    }

    /// Counts what [`Eraser::driver`] would erase.
    ///
    /// # Errors
    /// The store could not be read.
    pub fn count_driver(&self, id: DriverId) -> Result<EraseCounts, EraseError> {
        let store = self.store()?;
        let drivers = u64::from(store.driver(id)?.is_some());
        let (mut calls, mut dispatches, mut events) = (0, 0, HashSet::new());
        let mut look = |ids: &[ConversationId]| -> Result<(), EraseError> {
            let naming = self.events_naming(&ids.iter().cloned().collect())?;
            events.extend(naming.events.into_iter().map(|event| event.id));
            Ok(())
        };
        let unproven = self.for_each_page(id, |page| {
            calls += page.len() as u64;
            look(page)
        })?;
        for dispatched in self.dispatches_of(id, usize::MAX)?.chunks(PAGE_ROWS) {
            for dispatched in dispatched {
                dispatches += u64::from(store.call(dispatched)?.is_none());
            }
            look(dispatched)?;
        }
        Ok(EraseCounts { drivers, calls, dispatches, events: events.len() as u64, unproven, ..EraseCounts::default() })
    }

    /// Erases what is older than `before`: calls, and events and dispatches that belong to no call. Passes the number
    /// of erased calls to `done`.
    ///
    /// # Errors
    /// Something could not be erased. Completed parts stay erased.
    pub fn prune(&self, before: Timestamp, mut done: impl FnMut(u64)) -> Result<EraseCounts, EraseError> {
        let mut erased = EraseCounts::default();
        self.expired_calls(before, |ExpiredCall { conversation_id, turns, .. }, naming| {
            self.erase_recording(&conversation_id)?;
            if self.change(PruneCall(conversation_id.clone(), before))?.is_some() {
                erased.calls += 1;
                erased.turns += turns;
                METRICS.pruned_turns_total.inc_by(turns);
                self.erase_events(naming.events_of_call(&conversation_id), &mut erased)?;
                done(erased.calls);
            }
            Ok(())
        })?;
        self.expired_events(before, |events| self.erase_events(events, &mut erased))?;
        self.expired_dispatches(before, |ids| {
            erased.dispatches += ids.len() as u64;
            ids.chunks(MAX_CHUNK_ROWS).try_for_each(|ids| self.change(PruneDispatches(ids.to_vec())).map(drop))
        })?;
        Ok(erased)
    }

    /// Counts what [`Eraser::prune`] would erase, except events that only become orphans by it.
    ///
    /// # Errors
    /// The store could not be read.
    pub fn count_expired(&self, before: Timestamp) -> Result<EraseCounts, EraseError> {
        let (mut old, mut events) = (EraseCounts::default(), HashSet::new());
        self.expired_calls(before, |call, naming| {
            old.calls += 1;
            old.turns += call.turns;
            events.extend(naming.events_of_call(&call.conversation_id).iter().map(|event| event.id));
            Ok(())
        })?;
        self.expired_events(before, |old| {
            events.extend(old.iter().map(|event| event.id));
            Ok(())
        })?;
        self.expired_dispatches(before, |ids| {
            old.dispatches += ids.len() as u64;
            Ok(())
        })?;
        Ok(EraseCounts { events: events.len() as u64, ..old })
    }

    /// Passes each expired call to a callback, ordered by start, with the events that name a call of its page.
    fn expired_calls(
        &self,
        before: Timestamp,
        mut each: impl FnMut(ExpiredCall, &NamingEvents) -> Result<(), EraseError>,
    ) -> Result<(), EraseError> {
        // A call that starts after its end is at the other end of the list, because a sender's clock was ahead.
        let ahead = CallKey { start: Timestamp::now(), id: i64::MAX };
        for (mut after, started_before) in [(None, Some(before)), (Some(ahead), None)] {
            loop {
                let query = ExpiredCallQuery { before, started_before, after, limit: PAGE_ROWS };
                let page = self.store()?.old_calls(&query)?;
                let Some(last) = page.last() else { break };
                after = Some(last.key);
                let naming = self.events_naming(&page.iter().map(|call| call.conversation_id.clone()).collect())?;
                page.into_iter().try_for_each(|call| each(call, &naming))?;
            }
        }
        Ok(())
    }

    fn expired_events(
        &self,
        before: Timestamp,
        mut each: impl FnMut(&[ExpiredEvent]) -> Result<(), EraseError>,
    ) -> Result<(), EraseError> {
        let mut after = 0;
        loop {
            let ScanPage { rows, next } = self.store()?.old_events(before, after, PAGE_ROWS)?;
            each(&rows)?;
            let Some(next) = next else { return Ok(()) };
            after = next;
        }
    }

    fn expired_dispatches(
        &self,
        before: Timestamp,
        mut each: impl FnMut(&[ConversationId]) -> Result<(), EraseError>,
    ) -> Result<(), EraseError> {
        let mut after: Option<ConversationId> = None;
        loop {
            let ids = self.store()?.old_dispatches(before, after.as_ref(), PAGE_ROWS)?;
            let Some(last) = ids.last() else { return Ok(()) };
            after = Some(last.clone());
            each(&ids)?;
        }
    }
}

/// Events that belong to no call but name some.
#[derive(Debug, Default)]
struct NamingEvents {
    events: Vec<ExpiredEvent>,
    by_call: HashMap<ConversationId, Vec<ExpiredEvent>>,
}

impl NamingEvents {
    /// Adds events.
    fn add(&mut self, found: Vec<NamingEvent>) {
        for NamingEvent { event, calls } in found {
            self.events.push(event);
            for call in calls {
                self.by_call.entry(call).or_default().push(event);
            }
        }
    }

    /// Returns the events that name this call.
    fn events_of_call(&self, call: &ConversationId) -> &[ExpiredEvent] {
        self.by_call.get(call).map_or(&[], Vec::as_slice)
    }
}

/// Splits events into chunks that one write may erase.
pub fn chunks(events: &[ExpiredEvent]) -> Vec<&[ExpiredEvent]> {
    let (mut chunks, mut rest) = (Vec::new(), events);
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |event: &&ExpiredEvent| {
            bytes += event.bytes;
            bytes <= MAX_CHUNK_BYTES
        };
        let length = rest.iter().take(MAX_CHUNK_ROWS).take_while(fits).count().max(1);
        let (chunk, more) = rest.split_at(length);
        chunks.push(chunk);
        rest = more;
    }
    chunks
}

/// Returns the instant before which items are expired.
pub fn cutoff(older_than: Duration) -> Option<Timestamp> {
    let micros = i64::try_from(older_than.as_micros()).ok()?;
    Timestamp::from_unix_micros(Timestamp::now().unix_micros().checked_sub(micros)?)
}
