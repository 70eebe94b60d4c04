//! How fast a body comes: an average that forgets what is long ago, so that a burst at the beginning counts for little.

use std::time::Duration;
use tokio::time::Instant;

/// Time over which a rate is averaged, in seconds.
const AVERAGED_SECONDS: f64 = 2.0;

/// Least age of a body that its rate is reckoned with, in seconds.
const MIN_AGE_SECONDS: f64 = 0.05;

/// An average rate that forgets what is long ago.
#[derive(Debug)]
pub(super) struct Rate {
    per_second: f64,
    at: Instant,
}

impl Rate {
    /// The rate of what came evenly since `begun`.
    pub(super) fn since(begun: Instant, now: Instant, bytes: usize) -> Self {
        let age = now.saturating_duration_since(begun).as_secs_f64().max(MIN_AGE_SECONDS);
        let bytes = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
        Self { per_second: bytes / age * share_of_average(age), at: now }
    }

    /// Returns the rate of a body that began then, which may be shorter ago than the time of the average.
    pub(super) fn of_body(&self, begun: Instant, now: Instant) -> f64 {
        let age = now.saturating_duration_since(begun).as_secs_f64().max(MIN_AGE_SECONDS);
        self.at(now) / share_of_average(age)
    }

    /// Leaves some time out that has just passed.
    pub(super) fn pass_over(&mut self, time: Duration) {
        self.at += time;
    }

    fn at(&self, now: Instant) -> f64 {
        self.per_second * (-now.saturating_duration_since(self.at).as_secs_f64() / AVERAGED_SECONDS).exp()
    }

    /// Counts bytes that came now.
    pub(super) fn receive(&mut self, now: Instant, bytes: usize) {
        let bytes = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.per_second = self.at(now) + bytes / AVERAGED_SECONDS;
        self.at = now;
    }
}

/// How much of an even rate the average has after so many seconds.
fn share_of_average(age: f64) -> f64 {
    1.0 - (-age / AVERAGED_SECONDS).exp()
}

#[cfg(test)]
impl Rate {
    /// A rate as it is at a time.
    pub(super) fn of(per_second: f64, at: Instant) -> Self {
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
            let rate = even.of_body(start, second(n));
            assert!((8_000.0..32_000.0).contains(&rate), "{rate} after {n} s");
            even.receive(second(n), 16_000);
        }
        let burst = Rate::since(start, start + Duration::from_millis(100), 1 << 20);
        assert!(burst.of_body(start, start + Duration::from_millis(100)) > 1e6);
        assert!(burst.of_body(start, second(12)) < 8_000.0);
    }

    #[test]
    fn a_time_that_is_passed_over_does_not_count() {
        let start = Instant::now();
        let mut rate = Rate::since(start, start + Duration::from_secs(1), 1 << 20);
        let before = rate.of_body(start, start + Duration::from_secs(1));
        let waited = Duration::from_secs(5);
        rate.pass_over(waited);
        let after = rate.of_body(start + waited, start + waited + Duration::from_secs(1));
        assert!((before - after).abs() < 1.0, "{before} {after}");
    }
}
