//! Group commit: one thread writes, many requests wait.
//!
//! Requests put their [`Write`]s into a bounded queue and wait for the answer. The thread takes whatever is waiting,
//! has the store do it as one transaction, and answers each once that is on disk. While a commit syncs, the next batch
//! gathers by itself: no timer, no delay when the service is idle.
//!
//! - An outcome ([`Rejection`]) belongs to its write; its neighbours are stored.
//! - A failure of the database undoes the batch; then each write is tried alone once, so that one that the database
//!   will not take does not fail its neighbours. A lock that another process holds fails the batch as it stands: each
//!   write alone would only wait for it again.
//! - A full queue, or a write that has waited too long in it, is refused before anything is done.
//! - Who stops waiting does not cancel the write.
//! - Nothing is written while the database's files are not in their place ([`FileWatch`]).
//! - A long call is erased in slices, between which others are written; who asked for it is answered after the last one.
//! - What was erased is soon gone from the bytes on disk too, however much is written meanwhile ([`Forgetting`]).

mod job;
mod thread;

pub use job::{Limits, WriteError};
pub use thread::WriterThread;

use crate::file_watch::FileWatch;
use crate::metrics::{LocalHistogram, METRICS};
use crate::model::Timestamp;
use crate::pace::Pace;
use crate::reconciler::Requests;
use crate::redact::Redactor;
use crate::retention::{Forgetting, Slices};
use crate::store::{Error, ErrorKind, Outcome, Rejection, Store, StoredTurn, Write, Written};
use job::{Job, Order, Reply, answer};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// Greatest number of writes in one transaction: bounds how long a reader's view and the answers lag.
const MAX_BATCH: usize = 256;

/// Greatest weight of all that waits, in bytes of text. At ordinary lengths the queue's capacity is reached first.
const MAX_WAITING_BYTES: usize = 32 * 1024 * 1024;

/// How long nothing must come before the store is let rest.
const QUIET: Duration = Duration::from_secs(2);

/// How often is looked, while there is quiet, whether another process has stored something.
const LOOK_AROUND: Duration = Duration::from_secs(5);

/// A probe within this time of a successful commit does not write again.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// Takes writes; cheap to clone.
#[derive(Clone)]
pub struct Writer {
    queue: SyncSender<Order>,
    shared: Arc<Shared>,
    redactor: Option<Redactor>,
    requests: Requests,
}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    waiting: AtomicUsize,
    waiting_bytes: AtomicUsize,
    /// When the last batch with a turn or a probe was committed; `None` when a batch failed since.
    last_commit: Mutex<Option<Instant>>,
    /// Told after each batch, once it is answered.
    committed: watch::Sender<()>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gave no thread.
    pub fn start(
        store: Arc<dyn Store>,
        limits: Limits,
        redactor: Option<Redactor>,
    ) -> std::io::Result<(Self, WriterThread)> {
        let (queue, orders) = sync_channel(limits.queue_capacity);
        let shared = Arc::new(Shared::default());
        let writer = Self { queue, shared: shared.clone(), redactor, requests: Requests::default() };
        let (alive, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name("writer".to_owned()).spawn(move || {
            // Dropped when the thread ends, be it by a panic.
            let _alive: oneshot::Sender<()> = alive;
            let lag = METRICS.ingest_lag_seconds.local();
            Loop {
                store,
                shared,
                patience: limits.patience,
                lag,
                forgetting: Forgetting::default(),
                file_watch: FileWatch::new(),
                slices: Slices::new(),
                others_wrote: false,
            }
            .run(&orders);
        })?;
        Ok((writer.clone(), WriterThread { thread, writer, ended }))
    }

    /// A writer without a thread: every write answers [`WriteError::Stopping`].
    pub fn stopped() -> Self {
        Self { queue: sync_channel(0).0, shared: Arc::default(), redactor: None, requests: Requests::default() }
    }

    /// Changes after each batch that was tried. For whoever reads what is new.
    pub fn committed(&self) -> watch::Receiver<()> {
        self.shared.committed.subscribe()
    }

    /// Replaces what must not be stored; what an event says has to be read of its body after that.
    pub fn redactor(&self) -> Option<Redactor> {
        self.redactor
    }

    /// Does a write and waits until it is on disk. What must not be stored of turns and histories is replaced.
    ///
    /// Dropping the future does not cancel the write.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn write(&self, mut write: Write) -> Result<Written, WriteError> {
        if let Some(redactor) = &self.redactor {
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
        // What is heavier than all that may wait is still taken when nothing waits, or it never would be.
        if waiting > 0 && waiting + weight > MAX_WAITING_BYTES {
            self.shared.waiting_bytes.fetch_sub(weight, Ordering::Relaxed);
            return Err(WriteError::Overloaded);
        }
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        let job = Job { write, weight, queued_at: Instant::now(), reply };
        if let Err(error) = self.queue.try_send(Order::Do(job)) {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
            self.shared.waiting_bytes.fetch_sub(weight, Ordering::Relaxed);
            return Err(match error {
                TrySendError::Full(_) => WriteError::Overloaded,
                TrySendError::Disconnected(_) => WriteError::Stopping,
            });
        }
        // A sender dropped without an answer means that the thread is gone.
        answer.await.unwrap_or(Err(WriteError::Stopping))
    }

    /// Where requests wait for a call that they made due to be reconciled.
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// How many writes wait for the thread to take them.
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    /// Whether writes reach the disk: by the last commit, or by trying.
    ///
    /// # Errors
    /// As of [`Writer::write`].
    pub async fn probe(&self) -> Result<(), WriteError> {
        let last = *self.shared.last_commit.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = last.is_some_and(|at| at.elapsed() < PROBE_EVERY);
        if recent && !self.shared.stopping.load(Ordering::Acquire) {
            return Ok(());
        }
        self.write(Write::Probe).await.map(drop)
    }
}

struct Loop {
    store: Arc<dyn Store>,
    shared: Arc<Shared>,
    patience: Duration,
    forgetting: Forgetting,
    file_watch: FileWatch,
    slices: Slices<Reply>,
    /// Whether anything was written since the last slice of an erasure.
    others_wrote: bool,
    /// Gathered by the batch, so that a turn costs no more than an addition.
    lag: LocalHistogram,
}

impl Loop {
    fn run(&mut self, orders: &Receiver<Order>) {
        let mut pace = Pace::new(Instant::now());
        // Since when nothing has come, and whether all is done that waits for quiet.
        let (mut quiet_since, mut rested) = (Instant::now(), true);
        loop {
            self.forgetting.forget(&*self.store);
            if !self.file_watch.look(&*self.store) {
                self.note_commit(None);
            }
            let now = Instant::now();
            if self.slices.due().is_some_and(|at| at <= now) {
                self.go_on_erasing();
                (quiet_since, rested) = (now, false);
                continue;
            }
            let slice_at = pace.due();
            if slice_at.is_some_and(|at| at <= now) {
                self.catch_up(&mut pace);
                rested = false;
                continue;
            }
            let pause = match (rested, pace.any_left()) {
                (true, true) => Duration::ZERO,
                (true, false) => LOOK_AROUND,
                (false, _) => QUIET,
            };
            let wake = slice_at.unwrap_or(quiet_since + pause);
            let wake = [self.forgetting.due(), self.slices.due()].into_iter().flatten().fold(wake, Instant::min);
            let watch_at = self.file_watch.next();
            let first = orders.recv_timeout(wake.min(watch_at).saturating_duration_since(now));
            let mut stop = false;
            let mut batch = Vec::new();
            match first {
                Ok(Order::Do(job)) => batch.push(job),
                Err(RecvTimeoutError::Timeout) if watch_at < wake => continue,
                Err(RecvTimeoutError::Timeout) => {
                    if self.forgetting.forget(&*self.store) || slice_at.is_some() {
                        // Done, or now due.
                    } else if rested {
                        self.catch_up(&mut pace);
                        rested = false;
                    } else {
                        // Before what is left, which needs room on the disk that this may make.
                        rested = self.rest();
                        quiet_since = Instant::now();
                    }
                    continue;
                }
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => stop = true,
            }
            // What came before the order to stop, or raced with it, is still done.
            while batch.len() < MAX_BATCH {
                match orders.try_recv() {
                    Ok(Order::Do(job)) => batch.push(job),
                    Ok(Order::Stop) => stop = true,
                    Err(_) => break,
                }
            }
            if !batch.is_empty() {
                pace.wrote(batch.len(), batch.iter().any(|job| job.write.erases()));
                self.run_batch(batch);
                (quiet_since, rested) = (Instant::now(), false);
            }
            if stop {
                while let Ok(Order::Do(job)) = orders.try_recv() {
                    pace.wrote(1, job.write.erases());
                    self.run_batch(vec![job]);
                }
                if pace.any_left() {
                    self.catch_up(&mut pace);
                }
                self.forgetting.finish(&*self.store);
                self.rest();
                return;
            }
        }
    }

    /// Erases a slice of a long call.
    fn go_on_erasing(&mut self) {
        let progress = self.slices.go_on(&*self.store, std::mem::take(&mut self.others_wrote));
        if progress.erased {
            self.forgetting.begin();
            self.shared.committed.send_replace(());
        }
        for reply in progress.ended {
            answer(reply, progress.error.clone().map_or(Ok(Written::Done), |error| Err(WriteError::Failed(error))));
        }
    }

    /// Does a slice of the work that was put off.
    fn catch_up(&mut self, pace: &mut Pace) {
        let began = Instant::now();
        match self.store.catch_up() {
            Ok(left) => {
                METRICS.search_unindexed_turns.set(i64::try_from(left.turns).unwrap_or(i64::MAX));
                self.forgetting.note_index(left.erased_words);
                if let Some(left) = pace.did(began, Instant::now(), left.turns, left.erased_words) {
                    tracing::info!(left, "turns are being indexed for search");
                }
            }
            Err(error) => {
                if pace.failed(Instant::now()) {
                    tracing::warn!(%error, "indexing turns for search failed, and is tried again");
                }
            }
        }
    }

    /// Whether there is nothing left to do until the next write.
    fn rest(&self) -> bool {
        match self.store.rest() {
            Ok(done) => done,
            Err(error) => {
                tracing::warn!(%error, "housekeeping was put off");
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
        self.others_wrote = true;
        match self.apply(&writes) {
            Ok(outcomes) => {
                for ((reply, outcome), write) in replies.into_iter().zip(outcomes).zip(&writes) {
                    self.settle(reply, write, outcome);
                }
            }
            Err(error) if writes.len() > 1 && !matches!(error.kind(), ErrorKind::Busy | ErrorKind::Unready) => {
                tracing::warn!(%error, writes = writes.len(), "a batch failed; each of its writes is tried alone");
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

    /// Answers a write, unless it has only begun.
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
        // What else is committed does not show that turns are taken.
        let turn = |outcome: &Outcome| matches!(outcome, Ok(Written::Turn(turn)) if !turn.replayed);
        if result.as_ref().map_or(true, |outcomes| outcomes.iter().any(turn) || writes.contains(&Write::Probe)) {
            self.note_commit(result.is_ok().then(Instant::now));
        }
        if let Ok(outcomes) = &result {
            assert_eq!(outcomes.len(), writes.len(), "a store answers each write");
            self.measure(now, writes, outcomes);
            if writes.iter().any(Write::erases) {
                self.forgetting.begin();
            }
        }
        result
    }

    fn note_commit(&self, at: Option<Instant>) {
        *self.shared.last_commit.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// Adds a batch that was committed to the metrics.
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
