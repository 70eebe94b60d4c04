//! Parses stored events again in the background, after an upgrade to a version that reads more of them.
//!
//! The thread works through the list of such events (`event_rereads`), newest first, in small batches. Each call then
//! becomes due, and the reconciler does the rest. The list survives a crash.
//!
//! - **Adding events.** A migration lists the events that its version reads better; nothing else is necessary:
//!   `INSERT OR IGNORE INTO event_rereads (event_id) SELECT id FROM webhook_events ORDER BY +id`.
//! - **Ingest goes first.** While turns arrive, the thread stores one event at a time and then pauses for two hundred
//!   times as long, so that less than one turn in a hundred waits for it or for the reconciler. Otherwise it works half
//!   of the time.
//! - **Order.** The thread waits while the reconciler is behind, so newer calls are complete before older ones begin.
//! - **Failures.** A lock or a full disk pauses the thread, with backoff. An event that fails again and again is left
//!   out until the others are done. An event that cannot be parsed keeps what an older version has parsed.

use super::interval_thread::IntervalThread;
use crate::domain::StoredEvent;
use crate::ingest::WriteError;
use crate::ingest::blocking::BlockingWriter;
use crate::ingest::reread::{MAX_BYTES, MAX_EVENTS, reread};
use crate::store::command::RereadEvent;
use crate::store::{ErrorKind, Receipt, Rejection, Store};
use crate::sys::low_priority::Background;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Interval of checks for events that another process has listed, such as an import.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// Time after the last turn until the thread works as if none arrived.
const BUSY_TIME: Duration = Duration::from_secs(1);

/// Pause after a batch while turns arrive, as a multiple of the batch's duration.
const BUSY_PAUSE_FACTOR: u32 = 200;

/// Pause after a batch while no turns arrive, as a multiple of the batch's duration.
const IDLE_PAUSE_FACTOR: u32 = 1;

/// Maximum pause after a batch.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Minimum number of due calls that makes the thread wait for the reconciler.
const MAX_DUE: usize = 128;

/// Pause while the reconciler is behind.
const DUE_PAUSE: Duration = Duration::from_millis(20);

/// Maximum time that the thread waits for the reconciler before each batch, because a call that fails stays due.
const MAX_DUE_TIME: Duration = Duration::from_secs(5);

/// First pause after a failure. Each further one is twice as long.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// Maximum pause after a failure.
const MAX_FAILURE_PAUSE: Duration = Duration::from_mins(1);

/// Number of failures in a row after which the newest event is left out until the others are done.
const MAX_FAILURES: u32 = 4;

/// Pause before events that were left out are tried again.
const RETRY_INTERVAL: Duration = Duration::from_mins(10);

/// Interval of the progress messages.
const PROGRESS_INTERVAL: Duration = Duration::from_mins(1);

/// Starts the thread.
///
/// # Errors
/// The operating system could not create the thread.
pub fn start(store: Arc<dyn Store>, writer: BlockingWriter) -> io::Result<IntervalThread> {
    let mut rereader = None;
    IntervalThread::start("rereader", Duration::ZERO, move || {
        rereader
            .get_or_insert_with(|| {
                // The pauses leave the processors to others. With a lower priority, a busy machine would never finish.
                Background::that_is_awaited();
                // Calls that became due before the start are not waited for.
                let due_before = store.due(0, 0, 0).map_or(0, |due| due.last).max(1);
                Rereader { due_before, ..Rereader::new(store.clone(), writer.clone()) }
            })
            .run_once()
    })
}

/// The progress through the list.
struct Run {
    began: Instant,
    told: Instant,
    /// Events that were parsed.
    parsed: u64,
    /// Events whose parsed form changed.
    changed: u64,
}

struct Rereader {
    store: Arc<dyn Store>,
    writer: BlockingWriter,
    /// The latest note of a due call at the start.
    due_before: i64,
    /// Only events with smaller ids are next.
    below: i64,
    /// True if events above that were left out.
    left_out: bool,
    /// Failures in a row.
    failures: u32,
    /// Start of the wait for the reconciler.
    waiting_since: Option<Instant>,
    run: Option<Run>,
}

impl Rereader {
    fn new(store: Arc<dyn Store>, writer: BlockingWriter) -> Self {
        Self {
            store,
            writer,
            due_before: 1,
            below: i64::MAX,
            left_out: false,
            failures: 0,
            waiting_since: None,
            run: None,
        }
    }

    /// Parses and stores the next events. Returns the pause until the next call.
    fn run_once(&mut self) -> Duration {
        if self.reconciler_is_behind() {
            return DUE_PAUSE;
        }
        let began = Instant::now();
        let is_busy = self.writer.is_busy(BUSY_TIME);
        let limit = if is_busy || self.failures > 0 { 1 } else { MAX_EVENTS };
        let listed = match self.store.rereads(self.below, limit, MAX_BYTES) {
            Ok(listed) => listed,
            Err(error) => return self.pause_after_failure(&error, None),
        };
        if listed.is_empty() {
            return self.end_pass();
        }
        self.begin_run();
        let pause = self.store_parsed(listed);
        self.writer.wake_reconciler();
        if let Some(pause) = pause {
            return pause;
        }
        self.failures = 0;
        self.report_progress();
        let worked = began.elapsed();
        let factor = if is_busy || self.writer.is_busy(BUSY_TIME) { BUSY_PAUSE_FACTOR } else { IDLE_PAUSE_FACTOR };
        (worked * factor).min(MAX_PAUSE)
    }

    /// Returns whether to wait for the reconciler.
    fn reconciler_is_behind(&mut self) -> bool {
        let is_behind = self.store.due(self.due_before, i64::MAX, MAX_DUE).is_ok_and(|due| due.calls.len() >= MAX_DUE);
        if !is_behind {
            self.waiting_since = None;
            return false;
        }
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        if since.elapsed() < MAX_DUE_TIME {
            return true;
        }
        self.waiting_since = None;
        false
    }

    /// Parses and stores events. Returns the pause if one failed because of this machine.
    fn store_parsed(&mut self, listed: Vec<StoredEvent>) -> Option<Duration> {
        let parser = self.writer.event_parser();
        let ids: Vec<i64> = listed.iter().map(|event| event.id).collect();
        let commands: Vec<RereadEvent> = listed.into_iter().map(|event| reread(parser, event)).collect();
        let mut pause = None;
        for (id, result) in ids.into_iter().zip(self.writer.execute_all(commands)) {
            match result {
                Ok(receipt) => self.count(&receipt),
                // The event is being erased, or was erased.
                Err(WriteError::Rejected(Rejection::NotFound | Rejection::Erased)) => {}
                Err(WriteError::Rejected(Rejection::Unfinished)) => self.left_out = true,
                // The service stops, and the thread with it.
                Err(WriteError::Stopping) => return Some(LOOK_INTERVAL),
                Err(error) if is_of_the_event(&error) => {
                    tracing::error!(event_id = id, %error, "stored event cannot be parsed again; other events follow");
                    self.left_out = true;
                }
                Err(error) => {
                    // Later events of the batch may be stored; they are then no longer listed.
                    pause.get_or_insert_with(|| self.pause_after_failure(&error, Some(id)));
                    continue;
                }
            }
            if pause.is_none() {
                self.below = id;
            }
        }
        pause
    }

    fn count(&mut self, receipt: &Receipt) {
        if let Some(run) = &mut self.run {
            run.parsed += 1;
            run.changed += u64::from(!receipt.replayed);
        }
    }

    /// Returns the pause after a failure, which leaves out the event if it failed too often.
    fn pause_after_failure(&mut self, error: &dyn std::error::Error, event: Option<i64>) -> Duration {
        self.failures += 1;
        tracing::warn!(event_id = event, %error, failures = self.failures, "cannot parse stored events again; \
            retrying");
        let pause = (FAILURE_PAUSE * 2_u32.saturating_pow(self.failures.min(16) - 1)).min(MAX_FAILURE_PAUSE);
        if let Some(id) = event.filter(|_| self.failures >= MAX_FAILURES) {
            (self.below, self.left_out) = (id, true);
        }
        pause
    }

    fn begin_run(&mut self) {
        if self.run.is_none() {
            let events = self.events_left();
            tracing::info!(events, "parsing stored events again");
            let now = Instant::now();
            self.run = Some(Run { began: now, told: now, parsed: 0, changed: 0 });
        }
    }

    fn report_progress(&mut self) {
        let left = self.run.as_ref().filter(|run| run.told.elapsed() >= PROGRESS_INTERVAL).map(|_| self.events_left());
        if let (Some(run), Some(left)) = (&mut self.run, left) {
            run.told = Instant::now();
            tracing::info!(parsed = run.parsed, changed = run.changed, left, "parsing stored events again");
        }
    }

    fn events_left(&self) -> Option<u64> {
        self.store.unread_events().ok().map(|events| events.rereading)
    }

    /// Returns the pause at the end of the list.
    fn end_pass(&mut self) -> Duration {
        self.below = i64::MAX;
        if let Some(Run { began, parsed, changed, .. }) = self.run.take() {
            let (seconds, left) = (began.elapsed().as_secs(), self.events_left());
            tracing::info!(parsed, changed, left, seconds, "parsed stored events again");
        }
        if std::mem::take(&mut self.left_out) { RETRY_INTERVAL } else { LOOK_INTERVAL }
    }
}

/// Returns whether the event itself is the reason of a failure.
fn is_of_the_event(error: &WriteError) -> bool {
    match error {
        WriteError::Failed(error) => ErrorKind::is_of_the_data(error.kind()),
        WriteError::Rejected(_) => true,
        WriteError::Overloaded | WriteError::Stopping => false,
    }
}
