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
//! - What was erased is soon gone from the bytes on disk too, however much is written meanwhile ([`Forgetting`]).

use crate::log_watch::LogWatch;
use crate::metrics::{LocalHistogram, METRICS};
use crate::model::Timestamp;
use crate::pace::Pace;
use crate::redact::Redactor;
use crate::retention::Forgetting;
use crate::store::{Error, ErrorKind, Outcome, Rejection, Store, StoredTurn, Write, Written};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
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

/// Why a write was not done.
#[derive(Debug, Clone)]
pub enum WriteError {
    /// The queue is full, or the write waited too long in it. Nothing was stored; try again later.
    Overloaded,
    /// The service is stopping. Nothing was stored.
    Stopping,
    /// The write itself cannot be done.
    Rejected(Rejection),
    /// The database failed. Nothing was stored.
    Failed(Arc<Error>),
}

/// How the queue behaves.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Greatest number of writes that wait.
    pub queue_capacity: usize,
    /// How long a write may wait in the queue.
    pub patience: Duration,
}

struct Job {
    write: Write,
    weight: usize,
    queued_at: Instant,
    reply: oneshot::Sender<Result<Written, WriteError>>,
}

enum Order {
    Do(Job),
    Stop,
}

/// Takes writes; cheap to clone.
#[derive(Clone)]
pub struct Writer {
    queue: SyncSender<Order>,
    shared: Arc<Shared>,
    redactor: Option<Redactor>,
}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    waiting: AtomicUsize,
    waiting_bytes: AtomicUsize,
    /// When the last batch was committed; `None` when it failed.
    last_commit: Mutex<Option<Instant>>,
    /// Told after each batch, once it is answered.
    committed: watch::Sender<()>,
}

/// The thread behind a [`Writer`].
pub struct WriterThread {
    thread: JoinHandle<()>,
    writer: Writer,
    ended: oneshot::Receiver<()>,
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
        let writer = Self { queue, shared: shared.clone(), redactor };
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
                log_watch: LogWatch::new(),
            }
            .run(&orders);
        })?;
        Ok((writer.clone(), WriterThread { thread, writer, ended }))
    }

    /// A writer without a thread: every write answers [`WriteError::Stopping`].
    pub fn stopped() -> Self {
        Self { queue: sync_channel(0).0, shared: Arc::default(), redactor: None }
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
        let weight = weight(&write);
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

impl WriterThread {
    /// Takes no more writes, does those that wait, lets the store rest, and ends the thread. Returns whether all that
    /// went well; a panic was reported when it happened.
    pub fn stop(self) -> bool {
        self.writer.shared.stopping.store(true, Ordering::Release);
        // Behind all that was queued before. Fails when the thread is gone already, which is as good.
        let _ = self.writer.queue.send(Order::Stop);
        self.thread.join().is_ok()
    }

    /// Waits until the thread ends although nobody stopped it, which only a defect in this program can do.
    pub async fn died(&mut self) {
        let _ = (&mut self.ended).await;
    }
}

struct Loop {
    store: Arc<dyn Store>,
    shared: Arc<Shared>,
    patience: Duration,
    forgetting: Forgetting,
    log_watch: LogWatch,
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
            self.log_watch.look(&*self.store);
            let now = Instant::now();
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
            let wake = self.forgetting.due().map_or(wake, |due| due.min(wake));
            let first = orders.recv_timeout(wake.saturating_duration_since(now));
            let mut stop = false;
            let mut batch = Vec::new();
            match first {
                Ok(Order::Do(job)) => batch.push(job),
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

    /// Does a slice of the work that was put off.
    fn catch_up(&self, pace: &mut Pace) {
        let began = Instant::now();
        match self.store.catch_up() {
            Ok(left) => {
                METRICS.search_unindexed_turns.set(i64::try_from(left).unwrap_or(i64::MAX));
                if let Some(left) = pace.did(began, Instant::now(), left) {
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
        match self.apply(&writes) {
            Ok(outcomes) => replies.into_iter().zip(outcomes).for_each(|(reply, outcome)| {
                answer(reply, outcome.map_err(WriteError::Rejected));
            }),
            Err(error) if writes.len() > 1 && error.kind() != ErrorKind::Busy => {
                tracing::warn!(%error, writes = writes.len(), "a batch failed; each of its writes is tried alone");
                for (reply, write) in replies.into_iter().zip(&writes) {
                    let outcome = match self.apply(std::slice::from_ref(write)) {
                        Ok(mut outcomes) => outcomes.remove(0).map_err(WriteError::Rejected),
                        Err(error) => Err(WriteError::Failed(Arc::new(error))),
                    };
                    answer(reply, outcome);
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

    fn apply(&mut self, writes: &[Write]) -> Result<Vec<Outcome>, Error> {
        let now = Timestamp::now();
        let result = self.store.apply(now, writes);
        *self.shared.last_commit.lock().unwrap_or_else(PoisonError::into_inner) = result.is_ok().then(Instant::now);
        if let Ok(outcomes) = &result {
            assert_eq!(outcomes.len(), writes.len(), "a store answers each write");
            self.measure(now, writes, outcomes);
            if writes.iter().any(Write::erases) {
                self.forgetting.begin();
            }
        }
        result
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

/// Nobody may be waiting any more, which is no reason not to have written.
fn answer(reply: oneshot::Sender<Result<Written, WriteError>>, result: Result<Written, WriteError>) {
    let _ = reply.send(result);
}

/// About how much memory a waiting write holds, in bytes.
fn weight(write: &Write) -> usize {
    const OVERHEAD: usize = 256;
    OVERHEAD
        + match write {
            Write::AppendTurn(turn) => turn.message.as_str().len(),
            Write::PutDrivers(drivers) => drivers.len() * OVERHEAD,
            Write::PutDispatches(dispatches) => dispatches.len() * OVERHEAD,
            Write::KeepEvent(event) | Write::ReplayEvent(_, event) => event.body.len(),
            Write::KeepHistory(report) => report.history.0.values().map(|e| OVERHEAD + e.message.as_str().len()).sum(),
            Write::PruneDispatches(ids) => ids.len() * OVERHEAD,
            _ => 0,
        }
}
