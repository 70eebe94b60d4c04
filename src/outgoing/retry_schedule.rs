//! The schedule of retries: ten tries over three days, with growing pauses and jitter.
//!
//! All that waits is tried at once when a receiver answers again, and such a try counts too. A notice is given up only
//! if it is also old enough. Otherwise a receiver that fails and recovers often would use up the tries within minutes.

use crate::secret::random_bytes;
use std::time::Duration;

/// Pauses after each failed try, as multiples of the first one. With the default of five seconds: 5 s, 1 min, 10 min,
/// 1 h, 3 h, 8 h, 15 h, 20 h, 24 h.
const FACTORS: [u32; 9] = [1, 12, 120, 720, 2160, 5760, 10_800, 14_400, 17_280];

/// Pause after each further try of a notice that is not old enough to be given up, as a multiple of the first one.
const LAST_FACTOR: u32 = 17_280;

/// Maximum pause that is accepted from `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);

/// Number of failed requests in a row after which the endpoint pauses for all calls.
pub(super) const MAX_FAILURES_IN_A_ROW: u32 = 5;

/// Maximum factor of the endpoint's pause: five minutes with the default.
const MAX_PAUSE_FACTOR: u32 = 60;

/// Returns the pause after this number of failed tries of a notice of this age, or `None` after the last one.
pub(super) fn pause_after(
    tries: u32,
    age: Duration,
    first: Duration,
    retry_after: Option<Duration>,
) -> Option<Duration> {
    let is_old = age >= first.saturating_mul(FACTORS.iter().sum()).mul_f64(MIN_JITTER);
    let factor = FACTORS.get(tries.saturating_sub(1) as usize).copied();
    let factor = factor.or_else(|| (!is_old).then_some(LAST_FACTOR))?;
    let asked = retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
    Some(with_jitter(first.saturating_mul(factor)).max(asked))
}

/// Returns the longest pause of this schedule. A later try was planned by a clock that was ahead.
pub(super) fn longest_pause(first: Duration) -> Duration {
    first.saturating_mul(LAST_FACTOR).mul_f64(MIN_JITTER + JITTER).max(MAX_RETRY_AFTER) + Duration::from_mins(1)
}

/// Returns how long an endpoint pauses for all calls after this number of failed requests in a row.
pub(super) fn endpoint_pause(failures: u32, first: Duration) -> Option<Duration> {
    let more = failures.checked_sub(MAX_FAILURES_IN_A_ROW)?;
    Some(with_jitter(first.saturating_mul(1_u32.checked_shl(more).unwrap_or(u32::MAX).clamp(1, MAX_PAUSE_FACTOR))))
}

/// Smallest factor of a pause's jitter.
const MIN_JITTER: f64 = 0.9;

/// Difference of the smallest and the largest factor of a pause's jitter.
const JITTER: f64 = 0.2;

/// Returns a pause that differs by up to a tenth, so that receivers are not flooded by all deliveries at once.
fn with_jitter(pause: Duration) -> Duration {
    let [random] = random_bytes::<1>().unwrap_or([128]);
    pause.mul_f64(MIN_JITTER + JITTER * f64::from(random) / 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(5);

    #[test]
    fn there_are_ten_tries_over_three_days() {
        let mut age = Duration::ZERO;
        let next = |tries| {
            let pause = pause_after(tries, age, FIRST, None)?;
            age += pause;
            Some(pause)
        };
        let pauses: Vec<_> = (1..).map_while(next).collect();
        assert_eq!(pauses.len(), 9);
        assert!(pauses.is_sorted(), "{pauses:?}");
        let hours = pauses.iter().sum::<Duration>().as_secs() / 3600;
        assert!((64..=79).contains(&hours), "{hours}");
        assert!((4500..=5500).contains(&pauses[0].as_millis()), "{pauses:?}");
    }

    #[test]
    fn a_receiver_may_ask_for_a_longer_pause_but_not_for_weeks() {
        let after = |seconds| pause_after(1, Duration::ZERO, FIRST, Some(Duration::from_secs(seconds)));
        assert_eq!(after(100), Some(Duration::from_secs(100)));
        assert!(after(1).is_some_and(|pause| pause >= FIRST.mul_f64(0.9)));
        assert_eq!(after(u64::MAX), Some(MAX_RETRY_AFTER));
        assert_eq!(pause_after(10, Duration::MAX, FIRST, Some(Duration::from_secs(1))), None);
        assert!(longest_pause(FIRST) > MAX_RETRY_AFTER && longest_pause(Duration::from_millis(1)) > MAX_RETRY_AFTER);
    }

    #[test]
    fn early_tries_do_not_use_up_the_three_days() {
        for (tries, hours, is_given_up) in
            [(10, 1, false), (50, 60, false), (9, 100, false), (10, 80, true), (50, 80, true)]
        {
            let pause = pause_after(tries, Duration::from_hours(hours), FIRST, None);
            assert_eq!(pause.is_none(), is_given_up, "{tries} tries in {hours} hours");
            assert!(pause.is_none_or(|pause| pause < longest_pause(FIRST)), "{pause:?}");
        }
        assert!(pause_after(50, Duration::ZERO, FIRST, None) > Some(Duration::from_hours(20)));
    }

    #[test]
    fn an_endpoint_that_fails_again_and_again_pauses_ever_longer_up_to_minutes() {
        assert_eq!(endpoint_pause(4, FIRST), None);
        let seconds = |failures| endpoint_pause(failures, FIRST).unwrap().as_secs();
        assert!((4..=5).contains(&seconds(5)) && (9..=11).contains(&seconds(6)));
        assert!((270..=330).contains(&seconds(50)) && (270..=330).contains(&seconds(u32::MAX)));
    }
}
