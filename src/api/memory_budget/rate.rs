//! The rate at which a body is received: a decaying average, because a burst at the beginning must count for little.

use std::time::Duration;
use tokio::time::Instant;

/// Time constant of the average, in seconds.
const AVERAGED_SECONDS: f64 = 2.0;

/// Minimum age of a body in the calculation of its rate, in seconds.
const MIN_AGE_SECONDS: f64 = 0.05;

/// A decaying average of a rate.
#[derive(Debug)]
pub(super) struct Rate {
    per_second: f64,
    at: Instant,
}

impl Rate {
    /// Returns the rate of bytes that were received evenly since `begun`.
    pub(super) fn since(begun: Instant, now: Instant, bytes: usize) -> Self {
        let age = now.saturating_duration_since(begun).as_secs_f64().max(MIN_AGE_SECONDS);
        let bytes = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
        Self { per_second: bytes / age * share_of_average(age), at: now }
    }

    /// Returns the rate of a body, corrected for an age below the time constant.
    pub(super) fn average(&self, begun: Instant, now: Instant) -> f64 {
        let age = now.saturating_duration_since(begun).as_secs_f64().max(MIN_AGE_SECONDS);
        self.value_at(now) / share_of_average(age)
    }

    /// Excludes a time span that has just passed.
    pub(super) fn pass_over(&mut self, time: Duration) {
        self.at += time;
    }

    fn value_at(&self, now: Instant) -> f64 {
        self.per_second * (-now.saturating_duration_since(self.at).as_secs_f64() / AVERAGED_SECONDS).exp()
    }

    /// Counts bytes that are received now.
    pub(super) fn receive(&mut self, now: Instant, bytes: usize) {
        let bytes = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.per_second = self.value_at(now) + bytes / AVERAGED_SECONDS;
        self.at = now;
    }
}

/// Returns the part of an even rate that the average reaches after this many seconds.
fn share_of_average(age: f64) -> f64 {
    1.0 - (-age / AVERAGED_SECONDS).exp()
}

#[cfg(test)]
impl Rate {
    /// Creates a rate that has this value at a time.
    pub(super) fn with_value(per_second: f64, at: Instant) -> Self {
        Self { per_second, at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_rate_is_what_it_is_at_any_age_and_a_burst_is_forgotten() {
        let start = Instant::now();
        let second = |n: u64| start + Duration::from_secs(n);
        let mut even = Rate::since(start, second(1), 16_000);
        for n in 1..=60 {
            let rate = even.average(start, second(n));
            assert!((8_000.0..32_000.0).contains(&rate), "{rate} after {n} s");
            even.receive(second(n), 16_000);
        }
        let burst = Rate::since(start, start + Duration::from_millis(100), 1 << 20);
        assert!(burst.average(start, start + Duration::from_millis(100)) > 1e6);
        assert!(burst.average(start, second(12)) < 8_000.0);
    }

    #[test]
    fn a_time_that_is_passed_over_does_not_count() {
        let start = Instant::now();
        let mut rate = Rate::since(start, start + Duration::from_secs(1), 1 << 20);
        let before = rate.average(start, start + Duration::from_secs(1));
        let waited = Duration::from_secs(5);
        rate.pass_over(waited);
        let after = rate.average(start + waited, start + waited + Duration::from_secs(1));
        assert!((before - after).abs() < 1.0, "{before} {after}");
    }
}
