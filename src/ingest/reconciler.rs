//! The reconciler: a thread that reconciles due calls and uses at most half of its time.
//!
//! The transaction that stores a record, a history or a late turn only marks its call as due. The thread plans such a
//! call from a snapshot, and the writer stores the result in slices. A plan is void if another one was stored
//! meanwhile. Turns and records that arrive meanwhile leave the call due, behind the others, so a call under constant
//! load delays neither others nor itself. Calls that requests wait for ([`Requests::reconciled`]) come first. Marks
//! survive a crash.

use super::executor::reconcile_in;
use super::job::WriteError;
use crate::domain::reconcile::{Counts, Reconciliation, Settlement, settle};
use crate::domain::{AnsweredBy, Channel, ConversationId, Timestamp};
use crate::store::{self, Reads, Rejection, Store};
use crate::sys::low_priority::Background;
use crate::telemetry::metrics::METRICS;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Maximum time that the response to an event or a history waits for the reconciliation of its call. The event is
/// already stored then.
pub const MAX_RESPONSE_WAIT: Duration = Duration::from_secs(1);

/// Interval of checks for calls that another process made due.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Minimum pause before a failed call is retried.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// Maximum number of calls that one look-up returns.
const MAX_PAGE_CALLS: usize = 64;

/// Maximum number of calls in a round, whose results share commits.
const MAX_ROUND_CALLS: usize = 16;

/// Planning time in a round after which no further call is added to it.
const MAX_PLANNING_TIME: Duration = Duration::from_millis(20);

/// Maximum number of rows that a round passes to the writer at once.
const MAX_WRITE_ROWS: usize = 512;

/// Number of rounds for requests before a call without a request.
const REQUESTED_ROUNDS: u32 = 4;

/// Maximum number of calls that requests wait for. Further calls are reconciled without a waiting request.
const MAX_REQUESTED: usize = 10_000;

/// Minimum work before a pause.
const MIN_WORK_TIME: Duration = Duration::from_millis(4);

/// Maximum length of a pause.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Maximum number of void plans in a row before a call is postponed.
const MAX_PLANS: usize = 5;

/// The requests that wait for a call.
type Waiters = Vec<oneshot::Sender<Option<Counts>>>;

/// The calls that requests wait for. Cheap to clone.
#[derive(Clone, Default)]
pub struct Requests(Arc<Shared>);

/// The call was not reconciled within the request's waiting time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLate;

/// Reason why a call could not be reconciled. It stays due.
#[derive(Debug)]
pub enum ReconcileError {
    /// The stored data could not be read.
    Read(store::Error),
    /// The result could not be stored.
    Write(WriteError),
    /// Planning panicked, which was reported when it happened.
    Bug,
    /// This call could not be reconciled.
    OfCall(ConversationId, Box<Self>),
}

impl std::fmt::Display for ReconcileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Write(error) => error.fmt(f),
            Self::Bug => f.write_str("planning it hit a bug in this program"),
            Self::OfCall(id, error) => write!(f, "could not reconcile call {id}, which stays due: {error}"),
        }
    }
}

impl std::error::Error for ReconcileError {}

impl From<store::Error> for ReconcileError {
    fn from(error: store::Error) -> Self {
        Self::Read(error)
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Ordered by the first request for each call.
    calls: VecDeque<ConversationId>,
    waiting: HashMap<ConversationId, Waiters>,
    /// True if calls became due and no request waits for them.
    has_more_due: bool,
    stopping: bool,
}

impl Requests {
    /// Waits until a call is reconciled with everything stored before. Returns numbers that describe the result, if any
    /// record has words.
    ///
    /// # Errors
    /// It takes longer than `at_most`; the call is reconciled later.
    pub async fn reconciled(&self, id: &ConversationId, at_most: Duration) -> Result<Option<Counts>, TooLate> {
        let (done, answer) = oneshot::channel();
        {
            let mut state = self.state();
            if state.stopping || (state.calls.len() >= MAX_REQUESTED && !state.waiting.contains_key(id)) {
                return Err(TooLate);
            }
            if let Some(waiting) = state.waiting.get_mut(id) {
                waiting.retain(|done| !done.is_closed());
                waiting.push(done);
            } else {
                state.waiting.insert(id.clone(), vec![done]);
                state.calls.push_back(id.clone());
            }
        }
        self.0.changed.notify_all();
        tokio::time::timeout(at_most, answer).await.ok().and_then(Result::ok).ok_or(TooLate)
    }

    /// Tells the thread that calls became due and no request waits for them.
    pub fn wake(&self) {
        self.state().has_more_due = true;
        self.0.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }

    /// Removes and returns the calls that have been waited for longest, with their requests.
    fn take_oldest(&self) -> Vec<(ConversationId, Waiters)> {
        let mut state = self.state();
        let number = state.calls.len().min(MAX_ROUND_CALLS);
        let calls: Vec<_> = state.calls.drain(..number).collect();
        calls.into_iter().map(|id| (id.clone(), state.waiting.remove(&id).unwrap_or_default())).collect()
    }

    /// Puts back calls that were taken but not reconciled.
    fn put_back(&self, calls: Vec<(ConversationId, Waiters)>) {
        let mut state = self.state();
        for (id, waiting) in calls.into_iter().rev() {
            if let Some(others) = state.waiting.get_mut(&id) {
                others.extend(waiting);
            } else {
                state.waiting.insert(id.clone(), waiting);
                state.calls.push_front(id);
            }
        }
    }

    /// Returns whether [`Self::wake`] was called since the last call.
    fn take_wake(&self) -> bool {
        std::mem::take(&mut self.state().has_more_due)
    }

    /// Sleeps until `until`, or until a request or [`Self::wake`] if `for_requests`. Returns false if the thread must
    /// end.
    fn sleep(&self, until: Instant, for_requests: bool) -> bool {
        let mut state = self.state();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if state.stopping || left.is_zero() || (for_requests && (state.has_more_due || !state.calls.is_empty())) {
                return !state.stopping;
            }
            self.0.changed.wait_for(&mut state, left);
        }
    }
}

/// The handle of the thread. Dropping it ends the thread after the current slice; due calls stay due.
pub struct Reconciler {
    requests: Requests,
    thread: Option<JoinHandle<()>>,
}

impl Reconciler {
    /// Starts the thread. `write` stores slices of calls, waits until each is on disk, and returns the calls' numbers
    /// of turns.
    ///
    /// # Errors
    /// The operating system could not create the thread.
    pub fn start(
        store: Arc<dyn Reads>,
        requests: Requests,
        write: impl Fn(Vec<Reconciliation>) -> Vec<Result<i64, WriteError>> + Send + 'static,
    ) -> std::io::Result<Self> {
        let of_thread = requests.clone();
        let thread = std::thread::Builder::new().name("reconciler".to_owned()).spawn(move || {
            Background::that_is_awaited();
            ReconcilerLoop { store, requests: of_thread, write, failed: HashMap::new() }.run();
        })?;
        Ok(Self { requests, thread: Some(thread) })
    }
}

impl Drop for Reconciler {
    fn drop(&mut self) {
        self.requests.state().stopping = true;
        self.requests.0.changed.notify_all();
        // A panic was reported when it happened.
        let _ = self.thread.take().map(JoinHandle::join);
        let mut state = self.requests.state();
        (state.calls, state.waiting) = Default::default();
    }
}

struct ReconcilerLoop<W> {
    store: Arc<dyn Reads>,
    requests: Requests,
    write: W,
    /// Failed calls, with the time of their next retry.
    failed: HashMap<ConversationId, Instant>,
}

impl<W: Fn(Vec<Reconciliation>) -> Vec<Result<i64, WriteError>>> ReconcilerLoop<W> {
    fn run(&mut self) {
        // Notes up to this one are from before the start. There may be very many after an upgrade, so newer ones come
        // first.
        let left = self.store.due(0, 0, 0).map_or(0, |due| due.last);
        let (mut page, mut look_at, mut rounds) = (VecDeque::new(), Instant::now(), 0);
        loop {
            let requested = self.requests.take_oldest();
            if requested.is_empty() || rounds == REQUESTED_ROUNDS {
                rounds = 0;
                self.requests.put_back(requested);
                if page.is_empty() && (self.requests.take_wake() || look_at <= Instant::now()) {
                    page = self.find_due(left).into();
                    if page.is_empty() {
                        look_at = Instant::now() + LOOK_INTERVAL;
                    }
                }
                if !page.is_empty() {
                    let calls = page.drain(..page.len().min(MAX_ROUND_CALLS));
                    if !self.round(calls.map(|id| (id, Vec::new())).collect()) {
                        return;
                    }
                } else if !self.requests.sleep(look_at, true) {
                    return;
                }
            } else {
                rounds += 1;
                if !self.round(requested) {
                    return;
                }
            }
        }
    }

    /// Returns some due calls.
    fn find_due(&mut self, left: i64) -> Vec<ConversationId> {
        let now = Instant::now();
        self.failed.retain(|_, retry_at| *retry_at > now);
        let limit = MAX_PAGE_CALLS + self.failed.len();
        // Calls that became due since the start are ordered by time, which requires that `left` is at least 1.
        let pages = [(left.max(1), i64::MAX), (0, left.max(1))];
        for (noted_after, noted_until) in pages {
            match self.store.due(noted_after, noted_until, limit) {
                Ok(due) => {
                    METRICS.reconciliations_due.set(i64::try_from(due.count).unwrap_or(i64::MAX));
                    let calls: Vec<_> = due.calls.into_iter().filter(|id| !self.failed.contains_key(id)).collect();
                    if !calls.is_empty() {
                        return calls;
                    }
                }
                Err(error) => tracing::warn!(%error, "could not list due calls"),
            }
        }
        Vec::new()
    }

    /// Reconciles some calls, answers waiting requests, and pauses. Returns false if the thread must end.
    fn round(&mut self, calls: Vec<(ConversationId, Waiters)>) -> bool {
        let began = Instant::now();
        let mut calls = calls.into_iter();
        let mut running = Vec::new();
        let mut waiting = HashMap::new();
        for (id, who) in calls.by_ref() {
            running.push(ReconcilingCall::plan(&*self.store, id.clone()));
            waiting.insert(id, who);
            if began.elapsed() > MAX_PLANNING_TIME {
                break;
            }
        }
        self.requests.put_back(calls.collect());
        let requests = self.requests.clone();
        let rest =
            |worked: Duration| worked < MIN_WORK_TIME || requests.sleep(Instant::now() + worked.min(MAX_PAUSE), false);
        let done = store_all(&*self.store, &self.write, running, &rest);
        for (id, result) in done {
            match result {
                Ok(counts) => {
                    for who in waiting.remove(&id).into_iter().flatten() {
                        // A request that stopped waiting is answered already.
                        let _ = who.send(counts);
                    }
                }
                Err(why) => {
                    tracing::warn!(
                        conversation_id = id.as_str(),
                        error = %why,
                        "call could not be reconciled; it stays due"
                    );
                    self.failed.insert(id, Instant::now() + RETRY_INTERVAL);
                }
            }
        }
        rest(began.elapsed())
    }
}

/// A call that is being reconciled.
struct ReconcilingCall {
    id: ConversationId,
    began: Instant,
    plans: usize,
    /// The changes to store; `None` if the call is not due, or an error.
    settlement: Result<Option<Settlement>, ReconcileError>,
    counts: Option<Counts>,
    /// The one who answered and the channel, if a new record says so.
    reported: Option<(Option<AnsweredBy>, Option<Channel>)>,
}

impl ReconcilingCall {
    fn plan(store: &dyn Reads, id: ConversationId) -> Self {
        let mut running =
            Self { id, began: Instant::now(), plans: 0, settlement: Ok(None), counts: None, reported: None };
        running.plan_again(store);
        running
    }

    fn plan_again(&mut self, store: &dyn Reads) {
        self.plans += 1;
        let mut has_new_record = false;
        self.settlement = match store.material(&self.id) {
            Ok(None) => {
                // The call was reconciled before the request.
                self.counts = store.call(&self.id).ok().flatten().and_then(|call| call.report.reconciled);
                Ok(None)
            }
            Ok(Some(material)) => {
                has_new_record = material.facts;
                catch_unwind(AssertUnwindSafe(|| Some(settle(material, Timestamp::now()))))
                    .map_err(|_| ReconcileError::Bug)
            }
            Err(error) => Err(ReconcileError::Read(error)),
        };
        if let Ok(Some(settlement)) = &self.settlement {
            self.counts = settlement.counts();
            self.reported = has_new_record.then(|| settlement.reached());
            let uncompared = settlement.uncompared();
            if uncompared > 0 {
                let conversation_id = self.id.as_str();
                tracing::warn!(
                    conversation_id,
                    uncompared,
                    "call is too long to compare all turns with its record; some may be shown twice"
                );
            }
            if settlement.is_incomplete() {
                let conversation_id = self.id.as_str();
                tracing::warn!(conversation_id, "record has fewer turns than ElevenLabs counted");
            }
        }
    }
}

impl ReconcilingCall {
    /// Counts the new record, if there is one.
    fn count_record(&self) {
        let Some((answered_by, channel)) = self.reported else { return };
        let answered_by = answered_by.unwrap_or(AnsweredBy::Unknown).as_str();
        let channel = channel.unwrap_or(Channel::Unknown).as_str();
        METRICS.records_reconciled_total.with_label_values(&[answered_by, channel]).inc();
    }
}

/// Stores calls slice by slice; slices of different calls share a batch. Calls `rest` between slices with the time that
/// was worked, and stops if it returns false.
fn store_all(
    store: &dyn Reads,
    write: &impl Fn(Vec<Reconciliation>) -> Vec<Result<i64, WriteError>>,
    mut running: Vec<ReconcilingCall>,
    rest: &dyn Fn(Duration) -> bool,
) -> Vec<(ConversationId, Result<Option<Counts>, ReconcileError>)> {
    let mut done = Vec::new();
    loop {
        let (mut slices, mut of, mut rows) = (Vec::new(), Vec::new(), 0);
        let mut left = Vec::new();
        for mut call in std::mem::take(&mut running) {
            if rows >= MAX_WRITE_ROWS {
                left.push(call);
                continue;
            }
            match std::mem::replace(&mut call.settlement, Ok(None)) {
                Ok(Some(mut settlement)) => {
                    if let Some(slice) = settlement.next_slice() {
                        rows += slice.additions.len() + slice.placements.len();
                        let additions = slice.additions.len();
                        slices.push(slice);
                        call.settlement = Ok(Some(settlement));
                        of.push((call, additions));
                    } else {
                        METRICS.reconciliation_duration_seconds.observe(call.began.elapsed().as_secs_f64());
                        call.count_record();
                        done.push((call.id, Ok(call.counts)));
                    }
                }
                Ok(None) => done.push((call.id, Ok(call.counts))),
                Err(why) => done.push((call.id, Err(why))),
            }
        }
        if slices.is_empty() {
            return done;
        }
        let began = Instant::now();
        for ((mut call, additions), outcome) in of.into_iter().zip(write(slices)) {
            match outcome {
                Ok(turn_count) => {
                    if let Ok(Some(settlement)) = &mut call.settlement {
                        settlement.stored(additions, turn_count);
                    }
                }
                Err(WriteError::Rejected(Rejection::Outdated)) if call.plans < MAX_PLANS => call.plan_again(store),
                Err(WriteError::Rejected(Rejection::NotFound)) => call.settlement = Ok(None),
                Err(error) => call.settlement = Err(ReconcileError::Write(error)),
            }
            running.push(call);
        }
        running.extend(left);
        if !rest(began.elapsed()) {
            return done;
        }
    }
}

/// Reconciles all calls that are due now, for a command.
///
/// # Errors
/// See [`ReconcileError`]. The calls stay due.
pub fn reconcile_all_due(
    store: &dyn Reads,
    write: impl Fn(Vec<Reconciliation>) -> Vec<Result<i64, WriteError>>,
) -> Result<(), ReconcileError> {
    let last = store.due(0, 0, 0)?.last;
    let mut before = None;
    loop {
        let due = store.due(0, last, MAX_PAGE_CALLS)?;
        // A running service may have stored some of them.
        if due.calls.is_empty() {
            return Ok(());
        }
        let mut failed = Ok(());
        for calls in due.calls.chunks(MAX_ROUND_CALLS) {
            let running = calls.iter().map(|id| ReconcilingCall::plan(store, id.clone())).collect();
            for (id, result) in store_all(store, &write, running, &|_| true) {
                if let Err(error) = result {
                    failed = Err(ReconcileError::OfCall(id, Box::new(error)));
                }
            }
        }
        if before.as_ref() == Some(&due.calls) {
            return failed;
        }
        before = Some(due.calls);
    }
}

/// Reconciles all due calls as [`reconcile_all_due`] does, in a store that no other thread writes to.
///
/// # Errors
/// Like [`reconcile_all_due`].
pub fn reconcile_all_due_in(store: &dyn Store) -> Result<(), ReconcileError> {
    reconcile_all_due(store, |slices| reconcile_in(store, Timestamp::now(), slices))
}
