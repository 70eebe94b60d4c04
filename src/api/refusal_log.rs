//! Log lines of refused deliveries: the reason, at most once a minute for each cause, because a wrong secret or token
//! makes every delivery fail.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Minimum time between two log lines of one cause.
const INTERVAL: Duration = Duration::from_mins(1);

static REFUSALS: Mutex<Throttle> = Mutex::new(Throttle(BTreeMap::new()));

/// Warns of a refused delivery, unless the same cause was logged within the last minute. `reason` contains no secret.
pub(in crate::api) fn log_refusal(cause: &'static str, reason: &str) {
    let admitted = REFUSALS.lock().admit(cause, Instant::now());
    if let Some(unlogged) = admitted {
        tracing::warn!(cause, unlogged, "refused a delivery: {reason}");
    }
}

/// The last log line of each cause, and the number of refusals since. Causes are few and known in advance.
struct Throttle(BTreeMap<&'static str, (Instant, u64)>);

impl Throttle {
    /// Returns the number of refusals that were not logged, if this one is to be logged.
    fn admit(&mut self, cause: &'static str, now: Instant) -> Option<u64> {
        match self.0.get_mut(cause) {
            Some((last, unlogged)) if now.saturating_duration_since(*last) < INTERVAL => {
                *unlogged += 1;
                None
            }
            other => {
                let unlogged = other.map_or(0, |(_, unlogged)| *unlogged);
                self.0.insert(cause, (now, 0));
                Some(unlogged)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_logged_once_a_minute_with_the_number_of_the_others() {
        let mut throttle = Throttle(BTreeMap::new());
        let start = Instant::now();
        let mut admit = |cause, seconds| throttle.admit(cause, start + Duration::from_secs(seconds));
        assert_eq!(admit("a", 0), Some(0));
        assert_eq!(admit("a", 1), None);
        assert_eq!(admit("b", 2), Some(0));
        assert_eq!(admit("a", 59), None);
        assert_eq!(admit("a", 60), Some(2));
        assert_eq!(admit("a", 119), None);
        assert_eq!(admit("a", 500), Some(1));
    }
}
