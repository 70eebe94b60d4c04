//! Rate limit of failed attempts per address. Memory is bounded: the least recently used addresses are evicted.

use hashlink::LruCache;
use parking_lot::Mutex;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Maximum number of tracked addresses.
const MAX_TRACKED_ADDRESSES: usize = 4096;

/// A rate limiter of failed attempts.
pub(super) struct RateLimiter {
    /// Time that one failed attempt costs; `None` without a limit.
    cost: Option<Duration>,
    /// Time at which the attempts of each address no longer count, at most one period ahead.
    paid_off: Mutex<LruCache<IpAddr, Instant>>,
}

/// Period of the rate limit. All attempts of one period may happen at once.
const BURST_WINDOW: Duration = Duration::from_mins(1);

impl RateLimiter {
    pub(super) fn new(a_minute: u32) -> Self {
        let paid_off = Mutex::new(LruCache::new(MAX_TRACKED_ADDRESSES));
        Self { cost: BURST_WINDOW.checked_div(a_minute), paid_off }
    }

    /// Counts a failed attempt.
    ///
    /// # Errors
    /// The limit is exceeded. The value is the number of seconds until the next attempt is allowed.
    pub(super) fn count(&self, address: IpAddr) -> Result<(), u32> {
        self.count_at(address, Instant::now())
    }

    fn count_at(&self, address: IpAddr, now: Instant) -> Result<(), u32> {
        let Some(cost) = self.cost else { return Ok(()) };
        let mut paid_off = self.paid_off.lock();
        let key = network_of(address);
        let until = paid_off.get(&key).map_or(now, |until| now.max(*until)) + cost;
        if until > now + BURST_WINDOW {
            let wait = until - (now + BURST_WINDOW);
            return Err(u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1));
        }
        paid_off.insert(key, until);
        Ok(())
    }
}

/// Returns the address to count by: an IPv4 address itself, but the 64-bit network of an IPv6 address, because one
/// client usually has all of it.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_worth_may_come_at_once_and_then_one_at_a_time() {
        let refusals = RateLimiter::new(30);
        let (one, other) = ("203.0.113.9".parse().unwrap(), "203.0.113.10".parse().unwrap());
        let start = Instant::now();
        for _ in 0..30 {
            assert_eq!(refusals.count_at(one, start), Ok(()));
        }
        assert_eq!(refusals.count_at(one, start), Err(2));
        assert_eq!(refusals.count_at(other, start), Ok(()), "another address has its own count");
        assert_eq!(refusals.count_at(one, start + Duration::from_millis(1500)), Err(1));
        assert_eq!(refusals.count_at(one, start + Duration::from_secs(2)), Ok(()));
        assert_eq!(refusals.count_at(one, start + Duration::from_secs(2)), Err(2));
        for _ in 0..30 {
            assert_eq!(refusals.count_at(one, start + Duration::from_mins(2)), Ok(()));
        }
    }

    #[test]
    fn neighbours_of_version_6_count_as_one_and_0_is_no_limit() {
        let refusals = RateLimiter::new(1);
        let now = Instant::now();
        assert_eq!(refusals.count_at("2001:db8::1".parse().unwrap(), now), Ok(()));
        assert!(refusals.count_at("2001:db8::2".parse().unwrap(), now).is_err());
        assert_eq!(refusals.count_at("2001:db8:0:1::1".parse().unwrap(), now), Ok(()));
        let refusals = RateLimiter::new(0);
        assert!((0..1000).all(|_| refusals.count_at("::1".parse().unwrap(), now).is_ok()));
    }
}
