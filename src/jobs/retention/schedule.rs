//! Periodic erasure of expired items while the service runs.

use super::clock::{ClockAhead, WatchedClock};
use super::eraser::{EraseCounts, Eraser, cutoff};
use super::error::EraseError;
use crate::domain::Timestamp;
use crate::jobs::interval_thread::IntervalThread;
use crate::telemetry::metrics::METRICS;
use std::io;
use std::time::{Duration, Instant};

/// Returns the interval of the erasure, which is a hundredth of the retention period within bounds.
pub fn check_interval(older_than: Duration) -> Duration {
    (older_than / 100).clamp(Duration::from_secs(1), Duration::from_hours(1))
}

/// Interval of clock checks while the clock is not trusted.
const CLOCK_INTERVAL: Duration = Duration::from_secs(5);

/// Starts a thread that erases what is older than this, now and at an interval, while the clock is trusted.
///
/// # Errors
/// The operating system could not create the thread.
pub fn start(older_than: Duration, work: Eraser) -> io::Result<IntervalThread> {
    let mut retention = Retention { older_than, work, clock: None, held: false };
    IntervalThread::start("retention", Duration::ZERO, move || {
        if retention.run() { check_interval(older_than) } else { CLOCK_INTERVAL.min(check_interval(older_than)) }
    })
}

struct Retention {
    older_than: Duration,
    work: Eraser,
    clock: Option<WatchedClock>,
    /// True if the distrust of the clock was logged.
    held: bool,
}

impl Retention {
    /// Erases expired items. Returns whether the clock was trusted.
    fn run(&mut self) -> bool {
        match self.check_clock() {
            Ok(Ok(())) => {}
            Ok(Err(ahead)) => {
                METRICS.retention_held.set(1);
                if !std::mem::replace(&mut self.held, true) {
                    tracing::warn!(
                        reason = %ahead,
                        "clock is not trusted; retention waits until a turn agrees with it or it has run evenly for a \
                         day"
                    );
                }
                return false;
            }
            Err(error) => {
                tracing::warn!(%error, "could not erase expired items; retrying");
                return false;
            }
        }
        METRICS.retention_held.set(0);
        if std::mem::take(&mut self.held) {
            tracing::info!("clock is trusted; retention continues");
        }
        // Nothing is older than the earliest possible time.
        let Some(before) = cutoff(self.older_than) else { return true };
        match self.work.prune(before, |_| ()) {
            Ok(erased) if erased == EraseCounts::default() => {}
            Ok(EraseCounts { calls, turns, events, dispatches, .. }) => {
                tracing::info!(calls, turns, events, dispatches, %before, "erased expired items");
            }
            Err(error) => tracing::warn!(%error, "could not erase all expired items; retrying"),
        }
        true
    }

    fn check_clock(&mut self) -> Result<Result<(), ClockAhead>, EraseError> {
        let newest = self.work.newest_arrival()?;
        let (at, now) = (Instant::now(), Timestamp::now());
        Ok(self.clock.get_or_insert_with(|| WatchedClock::new(at, now)).check(at, now, newest))
    }
}
