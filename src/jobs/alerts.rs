//! Compares new turns with alerts, off the path of their commits.

use super::interval_thread::IntervalThread;
use crate::ingest::WriteError;
use crate::ingest::executor::Executor;
use crate::store::command::NoteAlerts;
use crate::store::{Alert, AlertMatch, AlertSet, Store};
use crate::sys::low_priority::Background;
use crate::telemetry::metrics::METRICS;
use std::io;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Pause between two scans.
const INTERVAL: Duration = Duration::from_millis(250);

/// Pause after a failed read or write.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// Maximum time until the progress of scans without matches is stored. Turns that were compared since are compared
/// again after a crash, which changes nothing.
const STORE_INTERVAL: Duration = Duration::from_secs(10);

/// Starts a thread that compares turns with alerts. Without alerts it only notes that there are none.
///
/// # Errors
/// The operating system could not create the thread.
pub fn start(alerts: Vec<Alert>, store: &Arc<dyn Store>, executor: Box<dyn Executor>) -> io::Result<IntervalThread> {
    // Weak, because a stopping service must be able to close the store.
    let alerts = AlertSet::new(alerts);
    let mut scanner =
        Scanner { alerts, store: Arc::downgrade(store), executor, position: None, stored: Instant::now() };
    let mut is_nice = false;
    IntervalThread::start("alerts", Duration::ZERO, move || {
        if !std::mem::replace(&mut is_nice, true) {
            let _ = Background::that_ends();
        }
        scanner.run()
    })
}

struct Scanner {
    alerts: AlertSet,
    store: Weak<dyn Store>,
    executor: Box<dyn Executor>,
    /// Id of the last turn that was compared; `None` before the first scan.
    position: Option<i64>,
    /// Time at which the position was stored last.
    stored: Instant,
}

impl Scanner {
    /// Compares some turns, and returns the pause until the next scan.
    fn run(&mut self) -> Duration {
        let Some(store) = self.store.upgrade() else { return Duration::MAX };
        let scan = if let Some(position) = self.position {
            store.scan_for_alerts(&self.alerts, position).map(Some)
        } else {
            store.alert_position().and_then(|stored| match stored {
                Some(_) if self.alerts.is_empty() => Ok(None),
                Some(stored) => store.scan_for_alerts(&self.alerts, stored).map(Some),
                // Turns from before the first alert are not compared.
                None => {
                    store.head().map(|head| Some(crate::store::AlertScan { until: head.turn, ..Default::default() }))
                }
            })
        };
        drop(store);
        let scan = match scan {
            Ok(_) if self.alerts.is_empty() && self.position.is_none() => {
                return if matches!(scan, Ok(None)) && !self.store(&[], None) { RETRY_INTERVAL } else { Duration::MAX };
            }
            Ok(Some(scan)) => scan,
            Ok(None) => return Duration::MAX,
            Err(error) => {
                tracing::warn!(%error, "cannot compare turns with alerts; retrying");
                return RETRY_INTERVAL;
            }
        };
        let is_first = self.position.is_none();
        let has_moved = self.position != Some(scan.until);
        let is_due = has_moved && self.stored.elapsed() > STORE_INTERVAL;
        if (is_first || is_due || !scan.matches.is_empty()) && !self.store(&scan.matches, Some(scan.until)) {
            return RETRY_INTERVAL;
        }
        self.position = Some(scan.until);
        if scan.has_more { Duration::ZERO } else { INTERVAL }
    }

    /// Stores matches and the position. Returns whether that worked.
    fn store(&mut self, matches: &[AlertMatch], until: Option<i64>) -> bool {
        match self.executor.execute(NoteAlerts(matches.to_vec(), until)) {
            Ok(()) => {
                METRICS.alerts_matched_total.inc_by(matches.len() as u64);
                for AlertMatch { conversation_id, transcription_id, name } in matches {
                    let conversation_id = conversation_id.as_str();
                    tracing::info!(alert = name, conversation_id, transcription_id, "call matched an alert");
                }
                self.stored = Instant::now();
                true
            }
            Err(WriteError::Stopping) => false,
            Err(error) => {
                tracing::warn!(%error, "cannot note alerts; retrying");
                false
            }
        }
    }
}
