//! Erasing long calls slice by slice, between the writes of others.

use crate::domain::ConversationId;
use crate::store::{Error, Store, Unfinished};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A slice is followed by so many times its own duration without one while others write: a fifth of the writer's time.
const PAUSE_BETWEEN_WRITES: u32 = 4;

/// The same while nobody writes, so that others find the machine's processors free.
const PAUSE_IN_QUIET: u32 = 1;

/// Pause after a slice that failed.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// The calls whose erasure was begun, and who waits for its end.
#[derive(Debug)]
pub struct Slices<R> {
    waiting: HashMap<ConversationId, Vec<R>>,
    which: Unfinished<'static>,
    next: Option<Instant>,
}

/// What a slice brought about.
#[derive(Debug)]
pub struct Progress<R> {
    /// Whether nothing is left of a call.
    pub erased: bool,
    /// Those who need not wait any more, all for the same reason.
    pub ended: Vec<R>,
    /// Why not, if it failed.
    pub error: Option<Arc<Error>>,
}

impl<R> Slices<R> {
    /// Begins with what a crash cut off.
    pub fn new() -> Self {
        Self { waiting: HashMap::new(), which: Unfinished::All, next: Some(Instant::now()) }
    }

    /// Notes who waits for the end of a call's erasure.
    pub fn wait(&mut self, call: ConversationId, who: R) {
        self.waiting.entry(call).or_default().push(who);
        self.wake();
    }

    /// Looks for unfinished erasures soon, one of which was met.
    pub fn wake(&mut self) {
        self.next.get_or_insert_with(Instant::now);
    }

    /// When [`Slices::go_on`] has something to do, if ever.
    pub fn due(&self) -> Option<Instant> {
        self.next
    }

    /// Erases the next slice.
    pub fn go_on(&mut self, store: &dyn Store, others_write: bool) -> Progress<R> {
        let start = Instant::now();
        let done = store.go_on_erasing(self.which);
        let now = Instant::now();
        let pause = if others_write { PAUSE_BETWEEN_WRITES } else { PAUSE_IN_QUIET };
        self.next = Some(now + (now - start) * pause);
        match done {
            Ok(Some(slice)) if slice.finished => {
                let ended = self.waiting.remove(&slice.conversation_id).unwrap_or_default();
                Progress { erased: true, ended, error: None }
            }
            Ok(Some(_)) => Progress { erased: false, ended: Vec::new(), error: None },
            Ok(None) => {
                // Another process has erased what is still waited for.
                (self.next, self.which) = (None, Unfinished::Erasures);
                Progress { erased: false, ended: self.all(), error: None }
            }
            Err(error) => {
                tracing::warn!(%error, "erasing a call was put off");
                self.next = Some(now + PAUSE_AFTER_FAILURE);
                Progress { erased: false, ended: self.all(), error: Some(Arc::new(error)) }
            }
        }
    }

    fn all(&mut self) -> Vec<R> {
        self.waiting.drain().flat_map(|(_, who)| who).collect()
    }
}

impl<R> Default for Slices<R> {
    fn default() -> Self {
        Self::new()
    }
}
