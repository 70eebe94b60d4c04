//! Decides whether the machine's clock may be trusted for retention.
//!
//! If the clock were years ahead at a start, everything would be erased at once. The clock is therefore trusted only if
//! something arrived within a day and its sender's clock agrees, or, if nothing arrives, after the clock has run for a
//! day in step with the system's monotonic clock.
//!
//! Pure logic: the current time is an argument.

use crate::domain::Timestamp;
use std::time::{Duration, Instant};

/// Maximum age of the latest arrival for the clock to be trusted. It equals the minimum retention period.
const MAX_CLOCK_SKEW: Duration = super::eraser::MIN_AGE;

/// Time that a clock must run evenly to be trusted on its own.
const EVEN_RUN: Duration = Duration::from_hours(24);

/// Maximum difference between a clock that runs evenly and the monotonic clock after [`EVEN_RUN`].
const MAX_DRIFT: Duration = Duration::from_mins(10);

/// Error: the clock is not trusted, so nothing counts as expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the clock says {now}, {}",
    newest.map_or_else(
        || "but nothing has arrived that agrees with it".to_owned(),
        |newest| format!("more than a day after the latest arrival that agreed with it ({newest})"),
    )
)]
pub struct ClockAhead {
    /// Time of the machine's clock.
    pub now: Timestamp,
    /// Latest arrival whose sender's clock agreed with this machine's clock, if there is one.
    pub newest: Option<Timestamp>,
}

/// Checks the clock by the latest arrival alone.
///
/// # Errors
/// The clock is far ahead of the latest arrival, or nothing has arrived.
pub fn check_arrival(now: Timestamp, newest: Option<Timestamp>) -> Result<(), ClockAhead> {
    let ahead = |newest: Timestamp| now.unix_micros().saturating_sub(newest.unix_micros());
    if newest.is_some_and(|newest| ahead(newest) <= micros(MAX_CLOCK_SKEW)) {
        Ok(())
    } else {
        Err(ClockAhead { now, newest })
    }
}

/// A clock that is monitored while the service runs.
#[derive(Debug)]
pub struct WatchedClock {
    /// Start of the current even run, by the monotonic clock and by the machine's clock.
    since: (Instant, Timestamp),
}

impl WatchedClock {
    /// Starts monitoring.
    pub fn new(at: Instant, now: Timestamp) -> Self {
        Self { since: (at, now) }
    }

    /// Checks the clock. `now` is its time at the instant `at`.
    ///
    /// # Errors
    /// The clock is far ahead of the latest arrival, or nothing has arrived, and the clock has not run evenly for a
    /// day.
    pub fn check(&mut self, at: Instant, now: Timestamp, newest: Option<Timestamp>) -> Result<(), ClockAhead> {
        let run = at.saturating_duration_since(self.since.0);
        let by_itself = now.unix_micros().saturating_sub(self.since.1.unix_micros());
        if by_itself.abs_diff(micros(run)) > MAX_DRIFT.as_micros().try_into().unwrap_or(u64::MAX) {
            self.since = (at, now);
            return check_arrival(now, newest);
        }
        if run >= EVEN_RUN { Ok(()) } else { check_arrival(now, newest) }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_clock_is_believed_by_what_arrived_or_after_a_day_of_running_evenly() {
        let start = at("2026-09-28T12:00:00Z");
        let began = Instant::now();
        // Each step: hours by the monotonic clock, hours by the clock, hours of the latest arrival, and the expected
        // trust.
        for (name, steps) in [
            ("something arrived lately", &[(0, 0, Some(-23), true)][..]),
            ("from a clock that was ahead then", &[(0, 0, Some(500), true)]),
            (
                "nothing arrived for long",
                &[(0, 0, Some(-25), false), (23, 23, Some(-25), false), (24, 24, Some(-25), true)],
            ),
            ("nothing ever arrived", &[(0, 0, None, false), (25, 25, None, true)]),
            ("something arrives", &[(0, 0, Some(-999), false), (1, 1, Some(1), true)]),
            ("the clock jumps", &[(0, 0, Some(0), true), (1, 9000, Some(0), false), (2, 9001, Some(0), false)]),
            (
                "and is then even for a day",
                &[(1, 9000, Some(0), false), (24, 9023, Some(0), false), (25, 9024, Some(0), true)],
            ),
            ("it jumps after a day", &[(24, 24, None, true), (25, 9000, None, false)]),
            ("it is set back", &[(0, 0, Some(0), true), (1, -9000, Some(0), true)]),
        ] {
            let mut clock = WatchedClock::new(began, start);
            for (run, by_itself, newest, believed) in steps {
                let instant = began + Duration::from_secs((run * HOUR).try_into().unwrap());
                let hours = |hours: i64| start.plus_seconds(hours * HOUR).unwrap();
                let checked = clock.check(instant, hours(*by_itself), newest.map(hours));
                assert_eq!(checked.is_ok(), *believed, "{name}, after {run} hours: {checked:?}");
            }
        }
    }
}
