//! Erasing more than one thing: all of a driver, and whatever has become old.
//!
//! One call at a time, each by one change of its own, so that a call is there or is gone whenever the process ends, and
//! turns that arrive meanwhile wait for no more than one call's rows. Between two changes there is a pause several times
//! as long as the change took. What was cut off is done by doing it again. A call's recording goes first, so that none is
//! left of which nobody knows.
//!
//! A call is as old as its last sign of life: see [`crate::store::Store::old_calls`]. One that is in progress is old when nothing
//! arrived of it for so long, however it is called.

mod forgetting;
mod periodic;

pub use forgetting::Forgetting;
pub use periodic::{Periodic, every};

use crate::metrics::METRICS;
use crate::model::{CallStatus, ConversationId, DriverId, Timestamp};
use crate::recording::Recordings;
use crate::store::{CallKey, CallQuery, OldCall, OldCalls, Order, Outcome, RecordFilter, Rejection, Store, Write};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// The shortest time after which anything may be called old: longer than any call.
pub const SHORTEST: Duration = Duration::from_hours(24);

/// How many rows are looked up at once.
const PAGE: usize = 100;

/// How many small things are erased at once.
const CHUNK: usize = 20;

/// How much longer than a change the pause after it is, and at most.
const PAUSE: (u32, Duration) = (4, Duration::from_millis(500));

/// How much was erased, or would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erased {
    /// Drivers.
    pub drivers: u64,
    /// Calls, each with all that is kept about it.
    pub calls: u64,
    /// Turns of these calls; only of pruning.
    pub turns: u64,
    /// Events of the platform that belong to no call.
    pub events: u64,
    /// Dispatches that never became a call.
    pub dispatches: u64,
}

/// Erases in a store.
pub struct Eraser<W> {
    /// Held for as long as a step takes, so that who erases does not hold up who closes the store.
    store: Weak<dyn Store>,
    recordings: Option<Recordings>,
    /// Does a change, and waits until it is on disk.
    write: W,
    /// Whether others write too.
    shared: bool,
}

impl<W: Fn(Write) -> Result<Outcome, String>> Eraser<W> {
    /// Looks in the store, and changes it by `write`; with a pause after each change if others write too.
    pub fn new(store: &Arc<dyn Store>, recordings: Option<Recordings>, write: W, shared: bool) -> Self {
        Self { store: Arc::downgrade(store), recordings, write, shared }
    }

    fn store(&self) -> Result<Arc<dyn Store>, String> {
        self.store.upgrade().ok_or_else(|| "the service is stopping".to_owned())
    }

    /// Whether the change found what it was to erase.
    fn change(&self, write: Write) -> Result<bool, String> {
        let start = Instant::now();
        let outcome = (self.write)(write)?;
        if self.shared {
            std::thread::sleep((start.elapsed() * PAUSE.0).min(PAUSE.1));
        }
        match outcome {
            Ok(_) => Ok(true),
            Err(Rejection::NotFound) => Ok(false),
            Err(rejection) => Err(format!("it cannot be erased: {rejection:?}")),
        }
    }

    fn erase_recording(&self, id: &ConversationId) -> Result<(), String> {
        let Some(recordings) = &self.recordings else { return Ok(()) };
        recordings.remove(id).map(drop).map_err(|error| format!("the recording of {id} cannot be removed: {error}"))
    }

    /// Erases a call for good, and says whether there was one.
    ///
    /// # Errors
    /// What hinders it, for a person.
    pub fn call(&self, id: &ConversationId) -> Result<bool, String> {
        self.erase_recording(id)?;
        self.change(Write::EraseCall(id.clone()))
    }

    /// Erases a driver with all calls and dispatches that are known to be with that driver. What is erased already when
    /// it fails stays erased; `done` is told how many calls that are.
    ///
    /// # Errors
    /// What hinders it, for a person.
    pub fn driver(&self, id: DriverId, mut done: impl FnMut(u64)) -> Result<Erased, String> {
        let mut erased = Erased::default();
        loop {
            let page = self.store()?.calls(&calls_of(id, PAGE, false)).map_err(|error| error.to_string())?;
            if page.rows.is_empty() {
                break;
            }
            for call in page.rows {
                erased.calls += u64::from(self.call(&call.conversation_id)?);
                done(erased.calls);
            }
        }
        for dispatched in self.dispatches_of(id, usize::MAX)? {
            if self.call(&dispatched)? {
                erased.calls += 1;
            } else {
                erased.dispatches += u64::from(self.change(Write::DeleteDispatch(dispatched))?);
            }
        }
        erased.drivers = u64::from(self.change(Write::DeleteDriver(id))?);
        Ok(erased)
    }

    fn dispatches_of(&self, id: DriverId, limit: usize) -> Result<Vec<ConversationId>, String> {
        let store = self.store()?;
        let driver = store.driver(id).map_err(|error| error.to_string())?;
        let number = driver.and_then(|driver| driver.phone_number);
        store.dispatches_of(id, number.as_ref(), limit).map_err(|error| error.to_string())
    }

    /// What [`Eraser::driver`] would erase.
    ///
    /// # Errors
    /// What hinders looking, for a person.
    pub fn of_driver(&self, id: DriverId) -> Result<Erased, String> {
        let store = self.store()?;
        let calls = store.calls(&calls_of(id, 1, true)).map_err(|error| error.to_string())?.total.unwrap_or(0);
        let drivers = u64::from(store.driver(id).map_err(|error| error.to_string())?.is_some());
        let mut dispatches = 0;
        for dispatched in self.dispatches_of(id, usize::MAX)? {
            dispatches += u64::from(store.call(&dispatched).map_err(|error| error.to_string())?.is_none());
        }
        Ok(Erased { drivers, calls, dispatches, ..Erased::default() })
    }

    /// Erases what is older than `before`: calls, and events and dispatches that belong to none. `done` is told how many
    /// calls that are by now.
    ///
    /// # Errors
    /// What hinders it, for a person; what is erased already stays erased.
    pub fn prune(&self, before: Timestamp, mut done: impl FnMut(u64)) -> Result<Erased, String> {
        let mut erased = Erased::default();
        self.old_calls(before, |OldCall { conversation_id, turns, .. }| {
            self.erase_recording(&conversation_id)?;
            if self.change(Write::PruneCall(conversation_id, before))? {
                erased.calls += 1;
                erased.turns += turns;
                METRICS.pruned_turns_total.inc_by(turns);
                done(erased.calls);
            }
            Ok(())
        })?;
        let mut rest = Erased::default();
        self.old_events(before, |ids| {
            rest.events += ids.len() as u64;
            ids.chunks(CHUNK).try_for_each(|ids| self.change(Write::PruneEvents(ids.to_vec())).map(drop))
        })?;
        self.old_dispatches(before, |ids| {
            rest.dispatches += ids.len() as u64;
            ids.chunks(CHUNK).try_for_each(|ids| self.change(Write::PruneDispatches(ids.to_vec())).map(drop))
        })?;
        Ok(Erased { calls: erased.calls, turns: erased.turns, ..rest })
    }

    /// What [`Eraser::prune`] would erase, but for events whose calls it would erase first.
    ///
    /// # Errors
    /// What hinders looking, for a person.
    pub fn old(&self, before: Timestamp) -> Result<Erased, String> {
        let mut old = Erased::default();
        self.old_calls(before, |call| {
            old.calls += 1;
            old.turns += call.turns;
            Ok(())
        })?;
        self.old_events(before, |ids| {
            old.events += ids.len() as u64;
            Ok(())
        })?;
        self.old_dispatches(before, |ids| {
            old.dispatches += ids.len() as u64;
            Ok(())
        })?;
        Ok(old)
    }

    /// Hands each old call over, the one that started first coming first.
    fn old_calls(&self, before: Timestamp, mut each: impl FnMut(OldCall) -> Result<(), String>) -> Result<(), String> {
        // What starts later than it ended is found only at the other end of time: a sender's clock was ahead.
        let ahead = CallKey { start: Timestamp::now(), id: i64::MAX };
        for (mut after, started_before) in [(None, Some(before)), (Some(ahead), None)] {
            loop {
                let query = OldCalls { before, started_before, after, limit: PAGE };
                let page = self.store()?.old_calls(&query).map_err(|error| error.to_string())?;
                let Some(last) = page.last() else { break };
                after = Some(last.key);
                page.into_iter().try_for_each(&mut each)?;
            }
        }
        Ok(())
    }

    fn old_events(&self, before: Timestamp, mut each: impl FnMut(&[i64]) -> Result<(), String>) -> Result<(), String> {
        let mut after = 0;
        loop {
            let (ids, next) = self.store()?.old_events(before, after, PAGE).map_err(|error| error.to_string())?;
            each(&ids)?;
            let Some(next) = next else { return Ok(()) };
            after = next;
        }
    }

    fn old_dispatches(
        &self,
        before: Timestamp,
        mut each: impl FnMut(&[ConversationId]) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut after: Option<ConversationId> = None;
        loop {
            let ids = self.store()?.old_dispatches(before, after.as_ref(), PAGE).map_err(|error| error.to_string())?;
            let Some(last) = ids.last() else { return Ok(()) };
            after = Some(last.clone());
            each(&ids)?;
        }
    }
}

/// The instant before which things are old.
pub fn before(older_than: Duration) -> Option<Timestamp> {
    let micros = i64::try_from(older_than.as_micros()).ok()?;
    Timestamp::from_unix_micros(Timestamp::now().unix_micros().checked_sub(micros)?)
}

fn calls_of(id: DriverId, limit: usize, with_total: bool) -> CallQuery {
    CallQuery {
        status: None::<CallStatus>,
        driver_id: Some(id),
        user_id: None,
        agent_id: None,
        record: RecordFilter::default(),
        started_after: None,
        started_before: None,
        text: None,
        order: Order::Ascending,
        after: None,
        limit,
        with_total,
    }
}
