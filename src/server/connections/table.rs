//! What each open connection is waited for, since when, and which of them is closed for it.

use super::limits::ConnectionLimits;
use crate::api::memory_budget::LEAST_RATE;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// What a connection is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The head of a request is awaited that has begun, or the first one.
    Head = 0,
    /// Nothing of the next request has come.
    Idle = 1,
    /// The body of a request is awaited.
    Body = 2,
    /// The service is at work, or answers.
    Work = 3,
    /// The service answers with a live stream, which does not end by itself.
    Stream = 4,
}

/// The bits that a phase needs.
const PHASE_BITS: u32 = 3;

/// One connection, as its own task tells and the table sees it.
pub(super) struct Watch {
    begun: Instant,
    /// The phase in the lowest bits, and above them since when, in milliseconds.
    state: AtomicU64,
    /// How much of the present body came, in bytes.
    received: AtomicU64,
    /// Since when an answer waits for its reader, in milliseconds; 0 if it does not.
    stalled: AtomicU64,
    /// What was not read of the present body.
    unread: Mutex<Option<Inner>>,
    close: Notify,
}

impl Watch {
    fn new(begun: Instant) -> Arc<Self> {
        let watch = Self {
            begun,
            state: AtomicU64::new(0),
            received: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
            unread: Mutex::new(None),
            close: Notify::new(),
        };
        watch.enter(Phase::Head);
        Arc::new(watch)
    }

    fn now(&self) -> u64 {
        // The first millisecond is none, since 0 has a meaning.
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX >> PHASE_BITS) + 1
    }

    /// Begins a phase.
    pub(super) fn enter(&self, phase: Phase) {
        if phase == Phase::Body {
            self.received.store(0, Ordering::Relaxed);
        }
        self.state.store(self.now() << PHASE_BITS | phase as u64, Ordering::Relaxed);
    }

    pub(super) fn phase(&self) -> Phase {
        self.state().0
    }

    fn state(&self) -> (Phase, u64) {
        const PHASES: [Phase; 5] = [Phase::Head, Phase::Idle, Phase::Body, Phase::Work, Phase::Stream];
        let state = self.state.load(Ordering::Relaxed);
        let number = usize::try_from(state & ((1 << PHASE_BITS) - 1)).unwrap_or(0);
        (PHASES[number], state >> PHASE_BITS)
    }

    /// Leaves what was not read of a body.
    pub(super) fn leave_unread(&self, body: Inner) {
        *self.unread.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }

    /// Returns what was left of a body.
    pub(super) fn take_unread(&self) -> Option<Inner> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// More of a body came.
    pub(super) fn receive(&self, length: usize) {
        self.received.fetch_add(length as u64, Ordering::Relaxed);
    }

    /// Whether an answer waits for its reader now.
    pub(super) fn stall(&self, waits: bool) {
        let stalled = self.stalled.load(Ordering::Relaxed) != 0;
        if waits != stalled {
            self.stalled.store(if waits { self.now() } else { 0 }, Ordering::Relaxed);
        }
    }

    /// Ready when the table wants the connection closed.
    pub(super) async fn told_to_close(&self) {
        self.close.notified().await;
    }

    fn is_overdue(&self, limits: &ConnectionLimits) -> bool {
        let now = self.now();
        let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let stalled = self.stalled.load(Ordering::Relaxed);
        if stalled != 0 && now.saturating_sub(stalled) > millis(limits.body) {
            return true;
        }
        let (phase, since) = self.state();
        let most = match phase {
            Phase::Head => millis(limits.head),
            Phase::Idle => millis(limits.idle),
            Phase::Body => {
                let earned = self.received.load(Ordering::Relaxed).saturating_mul(1000) / LEAST_RATE;
                millis(limits.body).saturating_add(earned)
            }
            Phase::Work | Phase::Stream => return false,
        };
        now.saturating_sub(since) > most
    }

    /// How readily this one gives its place to a new one, the least first; nothing if it does not. Streams do if `streams_go`.
    fn rank(&self, streams_go: bool) -> Option<(u8, u64)> {
        let (phase, since) = self.state();
        let age = self.now().saturating_sub(since);
        match phase {
            // An honest client has sent its request by then.
            Phase::Head if age > 500 => Some((0, since)),
            Phase::Idle => Some((1, since)),
            Phase::Body if age > 1000 => Some((2, since)),
            Phase::Stream if streams_go => Some((3, since)),
            Phase::Head => Some((4, since)),
            Phase::Body | Phase::Work | Phase::Stream => None,
        }
    }
}

/// The open connections.
pub(super) struct Table {
    begun: Instant,
    most: usize,
    open: Mutex<(u64, HashMap<u64, Arc<Watch>>)>,
}

impl Table {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { begun: Instant::now(), most, open: Mutex::default() })
    }

    fn open(&self) -> MutexGuard<'_, (u64, HashMap<u64, Arc<Watch>>)> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a new connection, if need be that of another, which is closed; none if all are at work.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Open> {
        let mut open = self.open();
        if open.1.len() >= self.most {
            let streams = open.1.values().filter(|watch| watch.phase() == Phase::Stream).count();
            let streams_go = streams > self.streams_that_stay();
            let ranked = open.1.iter().filter_map(|(number, watch)| Some((watch.rank(streams_go)?, *number)));
            let (_, number) = ranked.min()?;
            if let Some(watch) = open.1.remove(&number) {
                watch.close.notify_one();
            }
        }
        open.0 += 1;
        let number = open.0;
        let watch = Watch::new(self.begun);
        open.1.insert(number, watch.clone());
        Some(Open { table: self.clone(), number, watch })
    }

    /// How many streams give their places to nobody.
    fn streams_that_stay(&self) -> usize {
        if self.most < 2 { 0 } else { (self.most / 4).max(1) }
    }

    /// A place that does not count.
    pub(super) fn aside(self: &Arc<Self>) -> Open {
        Open { table: self.clone(), number: 0, watch: Watch::new(self.begun) }
    }

    /// Closes what takes too long; how many.
    pub(super) fn close_overdue(&self, limits: &ConnectionLimits) -> usize {
        let open = self.open();
        open.1.values().filter(|watch| watch.is_overdue(limits)).map(|watch| watch.close.notify_one()).count()
    }

    pub(super) fn close_all(&self) {
        self.open().1.values().for_each(|watch| watch.close.notify_one());
    }
}

/// A connection's place in the table, until this goes.
pub(super) struct Open {
    table: Arc<Table>,
    number: u64,
    watch: Arc<Watch>,
}

impl Open {
    pub(super) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.table.open().1.remove(&self.number);
    }
}

pub(super) type Inner = BoxBody<Bytes, io::Error>;
