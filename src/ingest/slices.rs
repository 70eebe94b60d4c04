//! Erases long calls slice by slice, between other writes.

use crate::domain::{ConversationId, Timestamp};
use crate::store::{Commands, Error, OtherWriters, Unfinished};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pause after a slice while others write, as a multiple of the slice's duration. It gives erasure a fifth of the
/// writer's time.
const BUSY_PAUSE_FACTOR: u32 = 4;

/// Pause after a slice while nobody writes, as a multiple of the slice's duration. It leaves processors to others.
const IDLE_PAUSE_FACTOR: u32 = 1;

/// Pause after a failed slice.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);

/// The unfinished erasures and their waiting requests.
#[derive(Debug)]
pub struct Slices<R> {
    waiting: HashMap<ConversationId, Vec<R>>,
    which: Unfinished<'static>,
    next: Option<Instant>,
}

/// Result of a slice.
#[derive(Debug)]
pub struct Progress<R> {
    /// True if nothing is left of a call.
    pub erased: bool,
    /// Requests that are answered now, all with the same result.
    pub ended: Vec<R>,
    /// The failure, if there was one.
    pub error: Option<Arc<Error>>,
}

impl<R> Slices<R> {
    /// Starts with erasures that a crash interrupted.
    pub fn new() -> Self {
        Self { waiting: HashMap::new(), which: Unfinished::All, next: Some(Instant::now()) }
    }

    /// Adds a request that waits for the end of a call's erasure.
    pub fn wait(&mut self, call: ConversationId, who: R) {
        self.waiting.entry(call).or_default().push(who);
        self.wake();
    }

    /// Schedules a slice soon, because an unfinished erasure was found.
    pub fn wake(&mut self) {
        self.next.get_or_insert_with(Instant::now);
    }

    /// Returns the time of the next slice, if there is one.
    pub fn next_slice_at(&self) -> Option<Instant> {
        self.next
    }

    /// Erases the next slice.
    pub fn erase_next(&mut self, store: &dyn Commands, others: OtherWriters) -> Progress<R> {
        let start = Instant::now();
        let done = store.continue_erasing(Timestamp::now(), self.which);
        let now = Instant::now();
        let pause = match others {
            OtherWriters::Some => BUSY_PAUSE_FACTOR,
            OtherWriters::None => IDLE_PAUSE_FACTOR,
        };
        self.next = Some(now + (now - start) * pause);
        match done {
            Ok(Some(slice)) if slice.finished => {
                let ended = self.waiting.remove(&slice.conversation_id).unwrap_or_default();
                Progress { erased: true, ended, error: None }
            }
            Ok(Some(_)) => Progress { erased: false, ended: Vec::new(), error: None },
            Ok(None) => {
                // Another process has erased the call that requests still wait for.
                (self.next, self.which) = (None, Unfinished::Erasures);
                Progress { erased: false, ended: self.take_waiting(), error: None }
            }
            Err(error) => {
                tracing::warn!(%error, "could not erase a slice of a call; retrying");
                self.next = Some(now + FAILURE_PAUSE);
                Progress { erased: false, ended: self.take_waiting(), error: Some(Arc::new(error)) }
            }
        }
    }

    fn take_waiting(&mut self) -> Vec<R> {
        self.waiting.drain().flat_map(|(_, who)| who).collect()
    }
}

impl<R> Default for Slices<R> {
    fn default() -> Self {
        Self::new()
    }
}
