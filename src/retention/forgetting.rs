//! When what was erased is taken out of the bytes on disk: soon, however much is written meanwhile.

use crate::store::{Forgotten, Store};
use std::time::{Duration, Instant};

/// So long after an erasure the store is told to forget it, which then takes in all that were done since, and so often again
/// while somebody reads an older state.
const AFTER: Duration = Duration::from_secs(1);

/// After this time without success turns are kept waiting, each time for [`WAIT`], so that readers that come one after the
/// other cannot put it off for good.
const URGENTLY: Duration = Duration::from_secs(3);

/// How long to wait for readers then.
const WAIT: Duration = Duration::from_millis(25);

/// How long the service's stop may take longer for it.
const STOPPING: Duration = Duration::from_secs(2);

/// After this time it is said in the log.
const WARN: Duration = Duration::from_secs(5);

/// How long to wait at most until erased words are gone from the search index.
const INDEX: Duration = Duration::from_mins(1);

/// What is still to be forgotten.
#[derive(Debug, Default)]
pub struct Forgetting(Option<Pending>);

#[derive(Debug)]
struct Pending {
    /// The first erasure.
    since: Instant,
    /// When it is to be tried.
    next: Instant,
    /// Whether the log has it that it takes long.
    told: bool,
    /// Whether only words in the search index are left.
    waits_for_index: bool,
}

impl Pending {
    fn new() -> Self {
        let since = Instant::now();
        Self { since, next: since + AFTER, told: false, waits_for_index: false }
    }
}

impl Forgetting {
    /// Something was erased.
    pub fn begin(&mut self) {
        let pending = self.pending();
        if pending.waits_for_index {
            *pending = Pending::new();
        }
    }

    /// Notes whether erased words are still in the search index, as [`Store::catch_up`] has it.
    pub fn note_index(&mut self, erased_words: bool) {
        if erased_words {
            self.pending();
        } else if let Some(pending) = self.0.as_mut().filter(|pending| pending.waits_for_index) {
            *pending = Pending { next: Instant::now(), ..Pending::new() };
        }
    }

    fn pending(&mut self) -> &mut Pending {
        self.0.get_or_insert_with(Pending::new)
    }

    /// When [`Forgetting::forget`] has something to do, if ever.
    pub fn due(&self) -> Option<Instant> {
        self.0.as_ref().map(|pending| pending.next)
    }

    /// Has the store forget what was erased before the service stops, as far as it can within [`STOPPING`].
    pub fn finish(&mut self, store: &dyn Store) {
        let end = Instant::now() + STOPPING;
        while self.0.is_some() && Instant::now() < end {
            match store.forget(WAIT) {
                Ok(Forgotten::All) => self.0 = None,
                Ok(Forgotten::ButIndex) => {
                    while Instant::now() < end {
                        match store.catch_up() {
                            Ok(left) if left.erased_words => {}
                            Ok(_) => break,
                            Err(_) => return,
                        }
                    }
                }
                Ok(Forgotten::Held) => {}
                Err(_) => return,
            }
        }
    }

    /// Tells the store to forget what was erased, if it is time to, and returns whether it was.
    pub fn forget(&mut self, store: &dyn Store) -> bool {
        let Some(pending) = &mut self.0 else { return false };
        let now = Instant::now();
        if now < pending.next {
            return false;
        }
        let age = now - pending.since;
        let wait = if age < URGENTLY { Duration::ZERO } else { WAIT };
        match store.forget(wait) {
            Ok(Forgotten::All) => {
                if pending.told {
                    tracing::info!(seconds = age.as_secs(), "what was erased is gone from the files' bytes");
                }
                self.0 = None;
                return true;
            }
            Ok(Forgotten::ButIndex) => {
                (pending.next, pending.waits_for_index) = (Instant::now() + INDEX, true);
                return true;
            }
            Ok(Forgotten::Held) if age < WARN || pending.told => {}
            Ok(Forgotten::Held) => {
                pending.told = true;
                tracing::warn!(
                    "what was erased still stands in the log's bytes: a program keeps reading an older state of the file"
                );
            }
            Err(error) => tracing::warn!(%error, "what was erased could not be taken out of the log yet"),
        }
        pending.next = Instant::now() + AFTER;
        true
    }
}
