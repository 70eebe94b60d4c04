//! Data that the threads of all endpoints share.

use super::endpoint::Endpoint;
use super::sender::Sender;
use super::settings::OutgoingSettings;
use crate::telemetry::metrics::METRICS;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;

pub(super) struct Shared {
    pub(super) settings: OutgoingSettings,
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    /// Sends test notices.
    pub(super) sender: Sender,
    pub(super) threads: Mutex<Vec<SyncSender<()>>>,
    pub(super) stopping: AtomicBool,
}

impl Shared {
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Sets the metrics of all endpoints.
    pub(super) fn measure(&self) {
        METRICS
            .outgoing_lag_seconds
            .set(self.endpoints.iter().map(|endpoint| endpoint.lag_seconds()).max().unwrap_or(0));
        let off = self.endpoints.iter().filter(|endpoint| endpoint.is_off()).count();
        METRICS.outgoing_endpoints_off.set(i64::try_from(off).unwrap_or(i64::MAX));
    }

    /// Wakes the threads.
    pub(super) fn wake(&self) {
        for thread in &*self.threads.lock() {
            // A thread that is already woken, or has ended, needs no message.
            let _ = thread.try_send(());
        }
    }
}
