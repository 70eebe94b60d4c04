//! The table of open connections: their phases, and the choice of connections to close.

use super::limits::ConnectionLimits;
use crate::api::memory_budget::MIN_BODY_RATE;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::Notify;

/// Phase of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// A request head is being received, or the first one is awaited.
    Head = 0,
    /// No byte of the next request was received.
    Idle = 1,
    /// A request body is being received.
    Body = 2,
    /// The service processes the request or sends the response.
    Work = 3,
    /// The response is a live stream, which does not end by itself.
    Stream = 4,
}

/// Number of bits that a phase needs.
const PHASE_BITS: u32 = 3;

/// Minimum age of a slow request head, in milliseconds. A well-behaved client has sent it by then.
const SLOW_HEAD_MILLIS: u64 = 500;

/// Minimum age of a slow request body, in milliseconds.
const SLOW_BODY_MILLIS: u64 = 1000;

/// The state of one connection, shared by its task and the table.
pub(super) struct ConnectionState {
    begun: Instant,
    /// The phase in the lowest bits; above them its start, in milliseconds since `begun`.
    phase: AtomicU64,
    /// Received size of the current body, in bytes.
    received: AtomicU64,
    /// Time at which the client stopped reading its response, in milliseconds since `begun`; 0 while it reads.
    stalled: AtomicU64,
    /// Unread rest of the current body.
    unread: Mutex<Option<BoxedBody>>,
    close: Notify,
}

impl ConnectionState {
    fn new(begun: Instant) -> Arc<Self> {
        let state = Self {
            begun,
            phase: AtomicU64::new(0),
            received: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
            unread: Mutex::new(None),
            close: Notify::new(),
        };
        state.transition(Phase::Head);
        Arc::new(state)
    }

    fn now(&self) -> u64 {
        // Starts at 1, because 0 means "not stalled".
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX >> PHASE_BITS) + 1
    }

    /// Enters a phase.
    pub(super) fn transition(&self, phase: Phase) {
        if phase == Phase::Body {
            self.received.store(0, Ordering::Relaxed);
        }
        self.phase.store(self.now() << PHASE_BITS | phase as u64, Ordering::Relaxed);
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase_and_start().0
    }

    fn phase_and_start(&self) -> (Phase, u64) {
        const PHASES: [Phase; 5] = [Phase::Head, Phase::Idle, Phase::Body, Phase::Work, Phase::Stream];
        let bits = self.phase.load(Ordering::Relaxed);
        let number = usize::try_from(bits & ((1 << PHASE_BITS) - 1)).unwrap_or(0);
        (PHASES[number], bits >> PHASE_BITS)
    }

    /// Stores the unread rest of a body.
    pub(super) fn leave_unread(&self, body: BoxedBody) {
        *self.unread.lock() = Some(body);
    }

    /// Returns the unread rest of a body.
    pub(super) fn take_unread(&self) -> Option<BoxedBody> {
        self.unread.lock().take()
    }

    /// Counts received bytes of a body.
    pub(super) fn receive(&self, length: usize) {
        self.received.fetch_add(length as u64, Ordering::Relaxed);
    }

    /// Sets whether the client currently does not read its response.
    pub(super) fn set_stalled(&self, waits: bool) {
        let stalled = self.stalled.load(Ordering::Relaxed) != 0;
        if waits != stalled {
            self.stalled.store(if waits { self.now() } else { 0 }, Ordering::Relaxed);
        }
    }

    /// Waits until the table requests that the connection is closed.
    pub(super) async fn close_requested(&self) {
        self.close.notified().await;
    }

    fn is_overdue(&self, limits: &ConnectionLimits) -> bool {
        let now = self.now();
        let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let stalled = self.stalled.load(Ordering::Relaxed);
        if stalled != 0 && now.saturating_sub(stalled) > millis(limits.body) {
            return true;
        }
        let (phase, since) = self.phase_and_start();
        let limit = match phase {
            Phase::Head => millis(limits.head),
            Phase::Idle => millis(limits.idle),
            Phase::Body => {
                let earned = self.received.load(Ordering::Relaxed).saturating_mul(1000) / MIN_BODY_RATE;
                millis(limits.body).saturating_add(earned)
            }
            Phase::Work | Phase::Stream => return false,
        };
        now.saturating_sub(since) > limit
    }

    /// Returns the eviction order of this connection; the lowest is evicted first. `None` means that it is not evicted.
    /// Live streams are evicted only if `streams_evictable`.
    fn rank(&self, streams_evictable: bool) -> Option<(u8, u64)> {
        let (phase, since) = self.phase_and_start();
        let age = self.now().saturating_sub(since);
        match phase {
            Phase::Head if age > SLOW_HEAD_MILLIS => Some((0, since)),
            Phase::Idle => Some((1, since)),
            Phase::Body if age > SLOW_BODY_MILLIS => Some((2, since)),
            Phase::Stream if streams_evictable => Some((3, since)),
            Phase::Head => Some((4, since)),
            Phase::Body | Phase::Work | Phase::Stream => None,
        }
    }
}

#[derive(Default)]
struct OpenConnections {
    last_number: u64,
    /// States by the number of their connection.
    states: HashMap<u64, Arc<ConnectionState>>,
}

/// The table of open connections.
pub(super) struct ConnectionTable {
    begun: Instant,
    max: usize,
    open: Mutex<OpenConnections>,
}

impl ConnectionTable {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { begun: Instant::now(), max, open: Mutex::default() })
    }

    fn open(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock()
    }

    /// Returns a slot for a new connection. If necessary, it closes another one; returns `None` if all of them are
    /// busy.
    pub(super) fn enter(self: &Arc<Self>) -> Option<ConnectionSlot> {
        let mut open = self.open();
        if open.states.len() >= self.max {
            let streams = open.states.values().filter(|state| state.phase() == Phase::Stream).count();
            let streams_evictable = streams > self.reserved_streams();
            let ranked =
                open.states.iter().filter_map(|(number, state)| Some((state.rank(streams_evictable)?, *number)));
            let (_, number) = ranked.min()?;
            if let Some(state) = open.states.remove(&number) {
                state.close.notify_one();
            }
        }
        open.last_number += 1;
        let number = open.last_number;
        let state = ConnectionState::new(self.begun);
        open.states.insert(number, state.clone());
        Some(ConnectionSlot { table: self.clone(), number, state })
    }

    /// Returns the number of live streams that are never evicted.
    fn reserved_streams(&self) -> usize {
        if self.max < 2 { 0 } else { (self.max / 4).max(1) }
    }

    /// Returns a slot that does not count against the limit.
    pub(super) fn enter_uncounted(self: &Arc<Self>) -> ConnectionSlot {
        ConnectionSlot { table: self.clone(), number: 0, state: ConnectionState::new(self.begun) }
    }

    /// Closes connections that exceed their timeout, and returns their number.
    pub(super) fn close_overdue(&self, limits: &ConnectionLimits) -> usize {
        let open = self.open();
        open.states.values().filter(|state| state.is_overdue(limits)).map(|state| state.close.notify_one()).count()
    }

    pub(super) fn close_all(&self) {
        self.open().states.values().for_each(|state| state.close.notify_one());
    }
}

/// The slot of an open connection in the table, until it is dropped.
pub(super) struct ConnectionSlot {
    table: Arc<ConnectionTable>,
    number: u64,
    state: Arc<ConnectionState>,
}

impl ConnectionSlot {
    pub(super) fn state(&self) -> &Arc<ConnectionState> {
        &self.state
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.table.open().states.remove(&self.number);
    }
}

/// A body of any type.
pub(super) type BoxedBody = BoxBody<Bytes, io::Error>;
