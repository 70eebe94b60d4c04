//! An endpoint, and its state in memory.

use super::endpoint_url::EndpointUrl;
use super::sender::Answer;
use crate::domain::Timestamp;
use crate::store::{EndpointId, EndpointState};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// The last request to an endpoint since the service started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastAttempt {
    /// Time of the answer.
    pub at: Timestamp,
    /// The answer.
    pub answer: Answer,
}

/// A configured endpoint.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) id: EndpointId,
    pub(super) url: EndpointUrl,
    last: Mutex<Option<LastAttempt>>,
    /// End of the pause of all deliveries. It counts by the monotonic clock, because the other one may be set.
    paused_until: Mutex<Option<Instant>>,
    /// True if all that waits is to be tried now, whatever is planned.
    is_early: AtomicBool,
    lag_seconds: AtomicI64,
    is_off: AtomicBool,
}

impl Endpoint {
    pub(super) fn new(url: EndpointUrl) -> Self {
        Self {
            id: url.id(),
            url,
            last: Mutex::default(),
            paused_until: Mutex::default(),
            is_early: AtomicBool::new(false),
            lag_seconds: AtomicI64::new(0),
            is_off: AtomicBool::new(false),
        }
    }

    pub(super) fn note_answer(&self, answer: &Answer) {
        *self.last.lock() = Some(LastAttempt { at: Timestamp::now(), answer: answer.clone() });
    }

    /// Pauses all deliveries, or ends their pause.
    pub(super) fn pause(&self, pause: Option<Duration>) {
        *self.paused_until.lock() = pause.and_then(|pause| Instant::now().checked_add(pause));
    }

    /// Returns the rest of the pause of all deliveries, if there is one.
    pub(super) fn pause_left(&self) -> Option<Duration> {
        let until = *self.paused_until.lock();
        until.and_then(|until| until.checked_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }

    /// Requests that all that waits is tried now.
    pub(super) fn try_early(&self) {
        self.is_early.store(true, Ordering::Release);
    }

    /// Returns whether [`Self::try_early`] was called since the last call.
    pub(super) fn take_early(&self) -> bool {
        self.is_early.swap(false, Ordering::AcqRel)
    }

    pub(super) fn note_state(&self, oldest: Option<Timestamp>, is_off: bool) {
        let micros = oldest.map_or(0, |oldest| Timestamp::now().unix_micros() - oldest.unix_micros());
        self.lag_seconds.store(micros.max(0) / 1_000_000, Ordering::Relaxed);
        self.is_off.store(is_off, Ordering::Relaxed);
    }

    pub(super) fn lag_seconds(&self) -> i64 {
        self.lag_seconds.load(Ordering::Relaxed)
    }

    pub(super) fn is_off(&self) -> bool {
        self.is_off.load(Ordering::Relaxed)
    }

    pub(super) fn report(&self, state: EndpointState) -> EndpointReport {
        EndpointReport {
            id: self.id.clone(),
            url: self.url.shown(),
            last: self.last.lock().clone(),
            paused_until: self.pause_left().and_then(Timestamp::after),
            state,
        }
    }
}

/// The state of an endpoint, to show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointReport {
    /// Id of the endpoint.
    pub id: EndpointId,
    /// Scheme, host and port of its URL.
    pub url: String,
    /// The last request since the service started.
    pub last: Option<LastAttempt>,
    /// End of the pause of all deliveries, after several failures in a row or because the receiver asked for it.
    pub paused_until: Option<Timestamp>,
    /// The stored state.
    pub state: EndpointState,
}
