//! The schedule of purging erased bytes from the disk: soon after an erasure, even under load.

use crate::store::{Forgotten, Maintenance};
use std::time::{Duration, Instant};

/// Delay between an erasure and the purge of its bytes from the WAL. Erasures within the delay share one purge. Also
/// the retry interval while a reader's snapshot blocks the purge.
const PURGE_DELAY: Duration = Duration::from_secs(1);

/// Age of a purge that blocks turns for up to [`READER_TIMEOUT`] per attempt, because overlapping readers could
/// postpone it forever otherwise.
const URGENT_AGE: Duration = Duration::from_secs(3);

/// Maximum time that an urgent purge waits for readers.
const READER_TIMEOUT: Duration = Duration::from_millis(25);

/// Maximum time that the purge may add to the service's stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Minimum age of a pending purge that is reported.
const WARN_AGE: Duration = Duration::from_secs(5);

/// Interval of attempts while only the search index still contains erased words.
const INDEX_INTERVAL: Duration = Duration::from_mins(1);

/// The pending purge, if there is one.
#[derive(Debug, Default)]
pub struct PurgeSchedule(Option<PendingPurge>);

#[derive(Debug)]
struct PendingPurge {
    /// Time of the first erasure.
    since: Instant,
    /// Time of the next attempt.
    next: Instant,
    /// True if the delay was reported.
    told: bool,
    /// True if only the search index still contains erased words.
    waits_for_index: bool,
}

impl PendingPurge {
    fn new() -> Self {
        let since = Instant::now();
        Self { since, next: since + PURGE_DELAY, told: false, waits_for_index: false }
    }
}

impl PurgeSchedule {
    /// Records an erasure.
    pub fn erased(&mut self) {
        let pending = self.pending();
        if pending.waits_for_index {
            *pending = PendingPurge::new();
        }
    }

    /// Records whether the search index still contains erased words, as returned by [`Maintenance::catch_up`].
    pub fn note_index(&mut self, erased_words: bool) {
        if erased_words {
            self.pending();
        } else if let Some(pending) = self.0.as_mut().filter(|pending| pending.waits_for_index) {
            *pending = PendingPurge { next: Instant::now(), ..PendingPurge::new() };
        }
    }

    fn pending(&mut self) -> &mut PendingPurge {
        self.0.get_or_insert_with(PendingPurge::new)
    }

    /// Returns the time of the next attempt, if a purge is pending.
    pub fn next_attempt_at(&self) -> Option<Instant> {
        self.0.as_ref().map(|pending| pending.next)
    }

    /// Purges before the service stops, as far as it can within [`STOP_TIMEOUT`].
    pub fn finish(&mut self, store: &dyn Maintenance) {
        let end = Instant::now() + STOP_TIMEOUT;
        while self.0.is_some() && Instant::now() < end {
            match store.purge(READER_TIMEOUT) {
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

    /// Purges if it is time to. Returns whether an attempt was made.
    pub fn purge(&mut self, store: &dyn Maintenance) -> bool {
        let Some(pending) = &mut self.0 else { return false };
        let now = Instant::now();
        if now < pending.next {
            return false;
        }
        let age = now - pending.since;
        let wait = if age < URGENT_AGE { Duration::ZERO } else { READER_TIMEOUT };
        match store.purge(wait) {
            Ok(Forgotten::All) => {
                if pending.told {
                    tracing::info!(seconds = age.as_secs(), "purged erased bytes from the files");
                }
                self.0 = None;
                return true;
            }
            Ok(Forgotten::ButIndex) => {
                (pending.next, pending.waits_for_index) = (Instant::now() + INDEX_INTERVAL, true);
                return true;
            }
            Ok(Forgotten::Held) if age < WARN_AGE || pending.told => {}
            Ok(Forgotten::Held) => {
                pending.told = true;
                tracing::warn!(
                    "erased bytes are still in the WAL, because a program holds a read transaction open; retrying"
                );
            }
            Err(error) => tracing::warn!(%error, "could not purge erased bytes from the WAL; retrying"),
        }
        pending.next = Instant::now() + PURGE_DELAY;
        true
    }
}
