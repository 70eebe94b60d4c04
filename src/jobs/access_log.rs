//! The access log: notes of who accessed which call, stored in the background.
//!
//! A request only puts its note into a bounded queue. A thread stores the notes in batches, each as one write, with
//! pauses that leave the writer to turns. If the queue is full, the note is dropped and counted. A crash loses the
//! notes of about the last second. The same thread erases old entries, while the clock is trusted as for retention of
//! calls.

use super::interval_thread::IntervalThread;
use super::retention::WatchedClock;
use crate::domain::{Access, AccessAction, ConversationId, Identity, Timestamp};
use crate::ingest::WriteError;
use crate::ingest::executor::Executor;
use crate::store::command::{NoteAccesses, PruneAccesses};
use crate::store::{Rejection, Store};
use crate::telemetry::metrics::METRICS;
use hashlink::LruCache;
use parking_lot::Mutex;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Maximum number of notes that wait to be stored.
const QUEUE_NOTES: usize = 8192;

/// Maximum number of notes in one write. They take less than a millisecond of the writer.
const MAX_BATCH: usize = 64;

/// Interval at which notes are stored.
const STORE_INTERVAL: Duration = Duration::from_millis(500);

/// Pause after a write, as a multiple of its duration.
const PAUSE_FACTOR: u32 = 4;

/// Maximum pause after a write.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// Interval of erasing old entries.
const PRUNE_INTERVAL: Duration = Duration::from_hours(1);

/// Time within which the same access is noted once, because a page or player requests a call many times.
const REPEAT_WINDOW: Duration = Duration::from_mins(1);

/// Maximum number of accesses that are remembered to find repeats.
const MAX_REMEMBERED: usize = 4096;

/// The part of an access that repeats have in common.
type AccessKey = (Identity, AccessAction, Option<ConversationId>);

/// A handle of the access log. Cheap to clone.
#[derive(Clone)]
pub struct AccessLog(Option<Arc<Inner>>);

struct Inner {
    queue: SyncSender<Access>,
    recent: Mutex<LruCache<AccessKey, Instant>>,
}

impl AccessLog {
    /// Creates a log that notes nothing.
    pub const fn disabled() -> Self {
        Self(None)
    }

    /// Returns whether accesses are noted.
    pub const fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Notes an access. A repeat of an access that was noted within the last minute is not noted. Never waits.
    pub fn note(&self, access: Access) {
        let Some(inner) = &self.0 else { return };
        if inner.is_repeat(&access, Instant::now()) {
            return;
        }
        if let Err(TrySendError::Full(access) | TrySendError::Disconnected(access)) = inner.queue.try_send(access) {
            inner.forget(access);
            METRICS.access_log_entries_total.with_label_values(&["dropped"]).inc();
        }
    }
}

impl Inner {
    /// Forgets an access that was not noted, so that the next one is no repeat.
    fn forget(&self, access: Access) {
        self.recent.lock().remove(&(access.identity, access.action, access.conversation_id));
    }

    /// Returns whether the same access was noted within the last minute. Erasures and downloads count each time.
    fn is_repeat(&self, access: &Access, now: Instant) -> bool {
        use AccessAction::{List, Listen, Read, Search};
        if !matches!(access.action, List | Read | Listen | Search) {
            return false;
        }
        let key = (access.identity.clone(), access.action, access.conversation_id.clone());
        let mut recent = self.recent.lock();
        if recent.get(&key).is_some_and(|noted| now.duration_since(*noted) < REPEAT_WINDOW) {
            return true;
        }
        recent.insert(key, now);
        false
    }
}

/// The thread that stores the notes.
pub struct AccessLogThread(IntervalThread);

impl AccessLogThread {
    /// Stores the notes that wait, and stops.
    pub fn join(self) {
        self.0.join();
    }
}

/// Starts the access log, which stores entries for the time `keep`. With 0, nothing is noted, and earlier entries are
/// erased.
///
/// # Errors
/// The operating system could not create the thread.
pub fn start(
    keep: Duration,
    store: &Arc<dyn Store>,
    executor: Box<dyn Executor>,
) -> io::Result<(AccessLog, AccessLogThread)> {
    let (queue, notes) = sync_channel(QUEUE_NOTES);
    let store = Arc::downgrade(store);
    let mut storage = Storage {
        notes,
        store,
        executor,
        keep,
        unstored: Vec::new(),
        pruned_at: None,
        clock: None,
        is_held: false,
        is_failing: false,
    };
    let thread = IntervalThread::start("access-log", Duration::ZERO, move || storage.run())?;
    let inner = Inner { queue, recent: Mutex::new(LruCache::new(MAX_REMEMBERED)) };
    let log = if keep.is_zero() { AccessLog::disabled() } else { AccessLog(Some(Arc::new(inner))) };
    Ok((log, AccessLogThread(thread)))
}

struct Storage {
    notes: Receiver<Access>,
    /// Upgraded only to look for old entries, so that the log does not delay closing the store.
    store: Weak<dyn Store>,
    executor: Box<dyn Executor>,
    keep: Duration,
    /// Notes that could not be stored yet, at most one batch.
    unstored: Vec<Access>,
    /// Time of the last erasure of old entries.
    pruned_at: Option<Instant>,
    clock: Option<WatchedClock>,
    /// True if old entries stay because the clock is not trusted, which is logged once.
    is_held: bool,
    /// True if the last write failed, which is logged once.
    is_failing: bool,
}

impl Storage {
    /// Stores all notes that wait, and erases old entries if that is due. Returns the pause until the next run.
    fn run(&mut self) -> Duration {
        if self.pruned_at.is_none_or(|at| at.elapsed() >= self.prune_interval()) {
            self.prune();
        }
        self.store_all();
        STORE_INTERVAL.min(self.prune_interval())
    }

    fn prune_interval(&self) -> Duration {
        // Shorter for entries that are kept for less than ten hours.
        PRUNE_INTERVAL.min(if self.keep.is_zero() { PRUNE_INTERVAL } else { self.keep / 10 }).max(MAX_PAUSE)
    }

    fn store_all(&mut self) {
        loop {
            let mut batch = std::mem::take(&mut self.unstored);
            while batch.len() < MAX_BATCH {
                match self.notes.try_recv() {
                    Ok(access) => batch.push(access),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
            if batch.is_empty() || !self.store(batch) {
                return;
            }
        }
    }

    /// Stores a batch. Keeps it for a retry, and returns false, if that fails.
    fn store(&mut self, batch: Vec<Access>) -> bool {
        let start = Instant::now();
        match self.executor.execute(NoteAccesses(batch.clone())) {
            Ok(()) => {
                self.is_failing = false;
                METRICS.access_log_entries_total.with_label_values(&["stored"]).inc_by(batch.len() as u64);
                std::thread::sleep((start.elapsed() * PAUSE_FACTOR).min(MAX_PAUSE));
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(%error, "access log not stored; retrying");
                }
                self.unstored = batch;
                false
            }
        }
    }

    /// Returns whether the oldest entry is from before a time, as far as the store can be read.
    fn has_older_than(&self, before: Timestamp) -> bool {
        let oldest = self.store.upgrade().and_then(|store| store.oldest_access().ok().flatten());
        oldest.is_some_and(|oldest| oldest < before)
    }

    /// Returns whether the clock may be trusted to erase by it. A clock that is years ahead would erase everything.
    fn trusts_clock(&mut self, now: Timestamp) -> bool {
        let at = Instant::now();
        let clock = self.clock.get_or_insert_with(|| WatchedClock::new(at, now));
        let newest = self.store.upgrade().map(|store| store.newest_arrival());
        newest.is_some_and(|newest| newest.is_ok_and(|newest| clock.check(at, now, newest).is_ok()))
    }

    /// Returns the time before which entries are erased, or `None` if none is.
    fn cutoff(&mut self) -> Option<Timestamp> {
        if self.keep.is_zero() {
            // All of them, whatever clock they are from.
            return Timestamp::parse("9999-12-31T23:59:59Z").ok();
        }
        let now = Timestamp::now();
        let trusted = self.trusts_clock(now);
        let micros = i64::try_from(self.keep.as_micros()).unwrap_or(i64::MAX);
        // Nothing is older than the earliest possible time.
        let before = now.unix_micros().checked_sub(micros).and_then(Timestamp::from_unix_micros)?;
        let is_held = !trusted && self.has_older_than(before);
        if is_held && !self.is_held {
            tracing::warn!("clock is not trusted; the access log erases nothing until a turn agrees with it");
        }
        self.is_held = is_held;
        trusted.then_some(before)
    }

    /// Erases entries that are too old, and stores what is noted meanwhile.
    fn prune(&mut self) {
        let Some(before) = self.cutoff() else {
            self.pruned_at = Some(Instant::now());
            return;
        };
        while self.has_older_than(before) {
            let start = Instant::now();
            match self.executor.execute(PruneAccesses(before)) {
                Ok(()) => {
                    std::thread::sleep((start.elapsed() * PAUSE_FACTOR).min(MAX_PAUSE));
                    self.store_all();
                }
                // Another process erased them.
                Err(WriteError::Rejected(Rejection::NotFound)) => break,
                Err(error) => {
                    tracing::warn!(%error, "could not erase old entries of the access log; retrying");
                    break;
                }
            }
        }
        self.pruned_at = Some(Instant::now());
    }
}

impl Drop for Storage {
    /// Stores what waits when the service stops.
    fn drop(&mut self) {
        self.store_all();
        let lost = self.unstored.len() + self.notes.try_iter().count();
        METRICS.access_log_entries_total.with_label_values(&["dropped"]).inc_by(lost as u64);
        if lost > 0 {
            tracing::warn!(notes = lost, "entries of the access log lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Credential, Role};

    fn access(n: usize) -> Access {
        let identity = Identity { name: None, role: Role::Read, credential: Credential::Token };
        let conversation_id = ConversationId::new(&format!("conv_{n}")).ok();
        Access { at: Timestamp::now(), identity, action: AccessAction::Read, conversation_id }
    }

    #[test]
    fn a_repeat_is_the_same_access_within_a_minute_but_each_erasure_and_download_counts() {
        let (queue, _notes) = sync_channel(1);
        let inner = Inner { queue, recent: Mutex::new(LruCache::new(MAX_REMEMBERED)) };
        let start = Instant::now();
        let seconds = |n| start + Duration::from_secs(n);
        assert!(!inner.is_repeat(&access(1), seconds(0)) && inner.is_repeat(&access(1), seconds(59)));
        assert!(!inner.is_repeat(&access(2), seconds(59)), "another call");
        assert!(!inner.is_repeat(&Access { action: AccessAction::Listen, ..access(1) }, seconds(59)));
        assert!(!inner.is_repeat(&access(1), seconds(60)), "a minute later");
        for action in [AccessAction::Erase, AccessAction::Export, AccessAction::Backup] {
            for _ in 0..2 {
                assert!(!inner.is_repeat(&Access { action, ..access(1) }, seconds(60)), "{action:?}");
            }
        }
        inner.forget(access(1));
        assert!(!inner.is_repeat(&access(1), seconds(60)), "the earlier one was dropped");
        for n in 0..5000 {
            inner.is_repeat(&access(n), seconds(61));
        }
        assert!(inner.recent.lock().len() <= MAX_REMEMBERED);
    }
}
