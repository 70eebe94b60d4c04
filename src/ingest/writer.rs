//! Group commit: one thread writes, many requests wait.
//!
//! Requests put their [`Write`]s into a bounded queue and wait for the answer. The thread drains the queue, has the
//! store execute the writes as one transaction, and answers each after the commit is on disk. The next batch gathers
//! while a commit syncs, so there is no timer, and no delay when the service is idle.
//!
//! - **Refusals.** An outcome ([`Rejection`]) belongs to its write; the other writes of the batch are stored.
//! - **Failures.** A database failure rolls back the batch. Each write is then retried alone, once, so that a write
//!   that the database refuses does not fail the others. If another process holds the lock, the batch fails at once,
//!   because each write alone would only wait for the lock again. Senders may repeat anything that was not answered,
//!   because a turn is stored once.
//! - **Overload.** A write is refused before anything is done if the queue is full, or if it waited too long in the
//!   queue.
//! - **Cancellation.** Dropping the future does not cancel the write.
//! - **Moved files.** Nothing is written while the database's files are not at their path ([`FileMonitor`]).
//! - **Long calls.** A long call is erased in slices, and other writes are executed in between. The caller is answered
//!   after the last slice.
//! - **Erasure.** Erased bytes are purged from the disk soon after, even under load ([`PurgeSchedule`]).

use super::event::EventParser;
use super::file_watch::FileMonitor;
use super::index_schedule::IndexSchedule;
use super::job::{Job, Reply, WriteError, WriterMessage, answer};
use super::purge_schedule::PurgeSchedule;
use super::reconciler::Requests;
use super::slices::Slices;
use crate::domain::Timestamp;
use crate::store::command::{Command, Probe, output_of};
use crate::store::{Error, ErrorKind, OtherWriters, Outcome, Rejection, Store, StoredTurn, Write, Written};
use crate::telemetry::metrics::{LocalHistogram, METRICS};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// Maximum number of writes in one transaction. It bounds the delay of answers and the age of what readers see.
const MAX_BATCH: usize = 256;

/// Maximum weight of all waiting writes, in bytes of text. With writes of ordinary length, the queue is full before.
const MAX_WAITING_BYTES: usize = 32 * 1024 * 1024;

/// Idle time before the store may do its idle maintenance.
const IDLE_DELAY: Duration = Duration::from_secs(2);

/// Interval of checks, while idle, for commits by other processes.
const IDLE_POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Maximum age of a successful commit that saves a probe its own write.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// A handle of the writer thread. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    pub(super) queue: SyncSender<WriterMessage>,
    pub(super) shared: Arc<Shared>,
    pub(super) parser: EventParser,
    pub(super) requests: Requests,
}

#[derive(Default)]
pub(super) struct Shared {
    pub(super) stopping: AtomicBool,
    waiting: AtomicUsize,
    waiting_bytes: AtomicUsize,
    /// Time of the last commit with a turn or a probe; `None` if a batch has failed since.
    last_commit: Mutex<Option<Instant>>,
    /// Time of the last commit with a turn.
    last_turn: Mutex<Option<Instant>>,
    /// Notified after each batch, once it is answered.
    committed: watch::Sender<()>,
}

impl Writer {
    /// Creates a writer without a thread: every write returns [`WriteError::Stopping`].
    pub fn stopped() -> Self {
        let (shared, parser, requests) = (Arc::default(), EventParser::default(), Requests::default());
        Self { queue: sync_channel(0).0, shared, parser, requests }
    }

    /// Returns a receiver that is notified after each attempted batch, for readers of changes.
    pub fn committed(&self) -> watch::Receiver<()> {
        self.shared.committed.subscribe()
    }

    /// Returns the parser of events. Turns and histories are redacted as they are written.
    pub fn event_parser(&self) -> EventParser {
        self.parser
    }

    /// Executes a command and waits until it is on disk. Redacts turns and histories first.
    ///
    /// Dropping the future does not cancel the write.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn execute<C: Command>(&self, command: C) -> Result<C::Output, WriteError> {
        self.write(command.into()).await.map(output_of::<C>)
    }

    /// Executes a write as [`Writer::execute`] does.
    pub(super) async fn write(&self, mut write: Write) -> Result<Written, WriteError> {
        if let Some(redactor) = &self.parser.redactor {
            match &mut write {
                Write::AppendTurn(turn) => redactor.turn(turn),
                Write::KeepHistory(report) => redactor.history(report),
                _ => {}
            }
        }
        let weight = write.weight();
        if self.shared.stopping.load(Ordering::Acquire) {
            return Err(WriteError::Stopping);
        }
        let waiting = self.shared.waiting_bytes.fetch_add(weight, Ordering::Relaxed);
        // A write larger than the whole budget is accepted when nothing waits; otherwise it could never run.
        if waiting > 0 && waiting + weight > MAX_WAITING_BYTES {
            self.shared.waiting_bytes.fetch_sub(weight, Ordering::Relaxed);
            return Err(WriteError::Overloaded);
        }
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        let job = Job { write, weight, queued_at: Instant::now(), reply };
        if let Err(error) = self.queue.try_send(WriterMessage::Write(job)) {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
            self.shared.waiting_bytes.fetch_sub(weight, Ordering::Relaxed);
            return Err(match error {
                TrySendError::Full(_) => WriteError::Overloaded,
                TrySendError::Disconnected(_) => WriteError::Stopping,
            });
        }
        // A sender that was dropped without an answer means that the thread is gone.
        answer.await.unwrap_or(Err(WriteError::Stopping))
    }

    /// Returns the registry of requests that wait until their call is reconciled.
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Returns the number of writes that wait for the thread.
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    /// Returns whether a turn was stored within this time.
    pub(super) fn is_busy(&self, within: Duration) -> bool {
        self.shared.last_turn.lock().is_some_and(|at| at.elapsed() < within)
    }

    /// Checks that writes reach the disk, by a recent commit or by a trial write.
    ///
    /// # Errors
    /// Like [`Writer::execute`].
    pub async fn probe(&self) -> Result<(), WriteError> {
        let last = *self.shared.last_commit.lock();
        let recent = last.is_some_and(|at| at.elapsed() < PROBE_INTERVAL);
        if recent && !self.shared.stopping.load(Ordering::Acquire) {
            return Ok(());
        }
        self.execute(Probe).await
    }
}

pub(super) struct WriterLoop {
    pub(super) store: Arc<dyn Store>,
    pub(super) shared: Arc<Shared>,
    pub(super) patience: Duration,
    pub(super) purge_schedule: PurgeSchedule,
    pub(super) file_watch: FileMonitor,
    pub(super) slices: Slices<Reply>,
    /// Others, if anything was written since the last slice of an erasure.
    pub(super) others: OtherWriters,
    /// Collected per batch, so that a turn costs no more than an addition.
    pub(super) lag: LocalHistogram,
}

impl WriterLoop {
    pub(super) fn run(&mut self, orders: &Receiver<WriterMessage>) {
        let mut pace = IndexSchedule::new(Instant::now());
        // Start of the idle time, and whether all idle maintenance is done.
        let (mut quiet_since, mut rested) = (Instant::now(), true);
        loop {
            self.purge_schedule.purge(&*self.store);
            if !self.file_watch.check(&*self.store) {
                self.note_commit(None);
            }
            let now = Instant::now();
            if self.slices.next_slice_at().is_some_and(|at| at <= now) {
                self.continue_erasing();
                (quiet_since, rested) = (now, false);
                continue;
            }
            let slice_at = pace.next_slice_at();
            if slice_at.is_some_and(|at| at <= now) {
                self.catch_up(&mut pace);
                rested = false;
                continue;
            }
            let pause = match (rested, pace.has_backlog()) {
                (true, true) => Duration::ZERO,
                (true, false) => IDLE_POLL_INTERVAL,
                (false, _) => IDLE_DELAY,
            };
            let wake = slice_at.unwrap_or(quiet_since + pause);
            let wake = [self.purge_schedule.next_attempt_at(), self.slices.next_slice_at()]
                .into_iter()
                .flatten()
                .fold(wake, Instant::min);
            let watch_at = self.file_watch.next_check_at();
            let first = orders.recv_timeout(wake.min(watch_at).saturating_duration_since(now));
            let mut stop = false;
            let mut batch = Vec::new();
            match first {
                Ok(WriterMessage::Write(job)) => batch.push(job),
                Err(RecvTimeoutError::Timeout) if watch_at < wake => continue,
                Err(RecvTimeoutError::Timeout) => {
                    if self.purge_schedule.purge(&*self.store) || slice_at.is_some() {
                        // The purge is done, or is due now.
                    } else if rested {
                        self.catch_up(&mut pace);
                        rested = false;
                    } else {
                        // Before the backlog, which needs disk space that the maintenance may free.
                        rested = self.idle();
                        quiet_since = Instant::now();
                    }
                    continue;
                }
                Ok(WriterMessage::Stop) | Err(RecvTimeoutError::Disconnected) => stop = true,
            }
            // Writes that arrived before the message to stop, or raced with it, are still executed.
            while batch.len() < MAX_BATCH {
                match orders.try_recv() {
                    Ok(WriterMessage::Write(job)) => batch.push(job),
                    Ok(WriterMessage::Stop) => stop = true,
                    Err(_) => break,
                }
            }
            if !batch.is_empty() {
                pace.record_writes(batch.len(), batch.iter().any(|job| job.write.erases()));
                self.run_batch(batch);
                (quiet_since, rested) = (Instant::now(), false);
            }
            if stop {
                while let Ok(WriterMessage::Write(job)) = orders.try_recv() {
                    pace.record_writes(1, job.write.erases());
                    self.run_batch(vec![job]);
                }
                if pace.has_backlog() {
                    self.catch_up(&mut pace);
                }
                self.purge_schedule.finish(&*self.store);
                self.idle();
                return;
            }
        }
    }

    /// Erases the next slice of a long call.
    fn continue_erasing(&mut self) {
        let others = std::mem::replace(&mut self.others, OtherWriters::None);
        let progress = self.slices.erase_next(&*self.store, others);
        if progress.erased {
            self.purge_schedule.erased();
            self.shared.committed.send_replace(());
        }
        for reply in progress.ended {
            answer(reply, progress.error.clone().map_or(Ok(Written::Done), |error| Err(WriteError::Failed(error))));
        }
    }

    /// Indexes the next slice of turns.
    fn catch_up(&mut self, pace: &mut IndexSchedule) {
        let began = Instant::now();
        match self.store.catch_up() {
            Ok(left) => {
                METRICS.search_unindexed_turns.set(i64::try_from(left.turns).unwrap_or(i64::MAX));
                self.purge_schedule.note_index(left.erased_words);
                if let Some(left) = pace.slice_done(began, Instant::now(), left) {
                    tracing::info!(left, "indexing turns for search");
                }
            }
            Err(error) => {
                if pace.slice_failed(Instant::now()) {
                    tracing::warn!(%error, "indexing turns for search failed; retrying");
                }
            }
        }
    }

    /// Does idle maintenance. Returns whether nothing is left to do until the next write.
    fn idle(&self) -> bool {
        match self.store.rest() {
            Ok(done) => done,
            Err(error) => {
                tracing::warn!(%error, "idle maintenance failed; retrying");
                false
            }
        }
    }

    fn run_batch(&mut self, jobs: Vec<Job>) {
        let weight: usize = jobs.iter().map(|job| job.weight).sum();
        self.shared.waiting_bytes.fetch_sub(weight, Ordering::Relaxed);
        self.shared.waiting.fetch_sub(jobs.len(), Ordering::Relaxed);
        let mut writes = Vec::with_capacity(jobs.len());
        let mut replies = Vec::with_capacity(jobs.len());
        for job in jobs {
            if job.queued_at.elapsed() > self.patience {
                answer(job.reply, Err(WriteError::Overloaded));
            } else {
                writes.push(job.write);
                replies.push(job.reply);
            }
        }
        if writes.is_empty() {
            return;
        }
        self.others = OtherWriters::Some;
        match self.apply(&writes) {
            Ok(outcomes) => {
                for ((reply, outcome), write) in replies.into_iter().zip(outcomes).zip(&writes) {
                    self.settle(reply, write, outcome);
                }
            }
            Err(error) if writes.len() > 1 && !matches!(error.kind(), ErrorKind::Busy | ErrorKind::Unready) => {
                tracing::warn!(%error, writes = writes.len(), "batch failed; retrying its writes one by one");
                for (reply, write) in replies.into_iter().zip(&writes) {
                    match self.apply(std::slice::from_ref(write)) {
                        Ok(mut outcomes) => self.settle(reply, write, outcomes.remove(0)),
                        Err(error) => answer(reply, Err(WriteError::Failed(Arc::new(error)))),
                    }
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                for reply in replies {
                    answer(reply, Err(WriteError::Failed(error.clone())));
                }
            }
        }
        self.shared.committed.send_replace(());
    }

    /// Answers a write, unless the rest of it must follow.
    fn settle(&mut self, reply: Reply, write: &Write, outcome: Outcome) {
        match (outcome, write) {
            (Ok(Written::Begun), Write::EraseCall(id) | Write::PruneCall(id, _)) => self.slices.wait(id.clone(), reply),
            (outcome, _) => {
                if outcome == Err(Rejection::Unfinished) {
                    self.slices.wake();
                }
                answer(reply, outcome.map_err(WriteError::Rejected));
            }
        }
    }

    fn apply(&mut self, writes: &[Write]) -> Result<Vec<Outcome>, Error> {
        let now = Timestamp::now();
        let result = self.store.apply(now, writes);
        // Other commits do not show that turns can be stored.
        let turn = |outcome: &Outcome| matches!(outcome, Ok(Written::Turn(turn)) if !turn.replayed);
        if result.as_ref().map_or(true, |outcomes| outcomes.iter().any(turn) || writes.contains(&Write::Probe)) {
            self.note_commit(result.is_ok().then(Instant::now));
        }
        if let Ok(outcomes) = &result {
            if writes.iter().any(|write| matches!(write, Write::AppendTurn(_))) {
                *self.shared.last_turn.lock() = Some(Instant::now());
            }
            assert_eq!(outcomes.len(), writes.len(), "a store returns an outcome for each write");
            self.measure(now, writes, outcomes);
            if writes.iter().any(Write::erases) {
                self.purge_schedule.erased();
            }
        }
        result
    }

    fn note_commit(&self, at: Option<Instant>) {
        *self.shared.last_commit.lock() = at;
    }

    /// Adds a committed batch to the metrics.
    fn measure(&self, now: Timestamp, writes: &[Write], outcomes: &[Outcome]) {
        METRICS.write_batch_size.observe(u32::try_from(writes.len()).map_or(f64::MAX, f64::from));
        for (write, outcome) in writes.iter().zip(outcomes) {
            if let (Write::AppendTurn(turn), Ok(Written::Turn(StoredTurn { replayed: false, .. }))) = (write, outcome) {
                // A sender's clock may be ahead of ours.
                let micros = now.unix_micros().saturating_sub(turn.timestamp.unix_micros()).max(0);
                self.lag.observe(Duration::from_micros(micros.unsigned_abs()).as_secs_f64());
            }
        }
        self.lag.flush();
    }
}
