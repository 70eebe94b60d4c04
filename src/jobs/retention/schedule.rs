//! Erases, again and again while the service runs, what has become old.

use super::clock::{ClockAhead, WatchedClock};
use super::eraser::{Erased, Eraser, before};
use super::error::EraseError;
use crate::domain::Timestamp;
use crate::store::{Outcome, Write};
use crate::telemetry::metrics::METRICS;
use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Interval at which what has become old is looked for: some hundred times within the time that makes it so.
pub fn every(older_than: Duration) -> Duration {
    (older_than / 100).clamp(Duration::from_secs(1), Duration::from_hours(1))
}

/// Interval at which the clock is checked again while it is not believed.
const CLOCK_INTERVAL: Duration = Duration::from_secs(5);

/// A thread that erases; it ends after the change under way when this is dropped.
#[derive(Debug)]
pub struct Periodic {
    _end: Sender<()>,
}

impl Periodic {
    /// Erases what is older than this now, and then again and again, while the clock may be believed.
    ///
    /// # Errors
    /// The system gave no thread.
    pub fn start<W>(older_than: Duration, work: Eraser<W>) -> io::Result<Self>
    where
        W: Fn(Write) -> Result<Outcome, EraseError> + Send + 'static,
    {
        let (end, ended) = channel::<()>();
        std::thread::Builder::new().name("retention".to_owned()).spawn(move || {
            let mut retention = Retention { older_than, work, clock: None, held: false };
            loop {
                let pause = if retention.run() { every(older_than) } else { CLOCK_INTERVAL.min(every(older_than)) };
                if ended.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(Self { _end: end })
    }
}

struct Retention<W> {
    older_than: Duration,
    work: Eraser<W>,
    clock: Option<WatchedClock>,
    /// Whether the log has it that the clock is not believed.
    held: bool,
}

impl<W: Fn(Write) -> Result<Outcome, EraseError>> Retention<W> {
    /// Erases what is old, and returns whether the clock could be believed.
    fn run(&mut self) -> bool {
        match self.check_clock() {
            Ok(Ok(())) => {}
            Ok(Err(ahead)) => {
                METRICS.retention_held.set(1);
                if !std::mem::replace(&mut self.held, true) {
                    tracing::warn!(
                        reason = %ahead,
                        "retention erases nothing until a turn arrives that agrees with the clock, or the clock has run for a day"
                    );
                }
                return false;
            }
            Err(error) => {
                tracing::warn!(%error, "what is old could not be erased; it will be tried again");
                return false;
            }
        }
        METRICS.retention_held.set(0);
        if std::mem::take(&mut self.held) {
            tracing::info!("retention goes on: the clock is believed");
        }
        // Before all time nothing is old.
        let Some(before) = before(self.older_than) else { return true };
        match self.work.prune(before, |_| ()) {
            Ok(erased) if erased == Erased::default() => {}
            Ok(Erased { calls, turns, events, dispatches, .. }) => {
                tracing::info!(calls, turns, events, dispatches, %before, "erased what was kept for long enough");
            }
            Err(error) => tracing::warn!(%error, "what is old could not be erased; it will be tried again"),
        }
        true
    }

    fn check_clock(&mut self) -> Result<Result<(), ClockAhead>, EraseError> {
        let newest = self.work.newest_arrival()?;
        let (at, now) = (Instant::now(), Timestamp::now());
        Ok(self.clock.get_or_insert_with(|| WatchedClock::new(at, now)).check(at, now, newest))
    }
}
