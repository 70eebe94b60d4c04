//! A limited amount, of memory or of permits, that request bodies share.
//!
//! Only received bytes count, not an announced length. If the amount is used up, the slowest body with an unproved
//! sender is displaced: its request ends with 503, and its share is released. A sender is proved by a token in the
//! request head, or by a signature, which is verified only after the last byte.
//!
//! A body never displaces a faster one. A slow body is displaced at once; any other one only by a body that is twice as
//! fast, and after a wait without any release. An address that holds more than its share displaces bodies of other
//! addresses only if they are hardly faster than the timeouts allow. Behind a forwarder that makes all clients one
//! address, only speed decides.

use super::rate::Rate;
use crate::api::auth::client::Client;
use crate::api::error::ApiError;
use crate::api::error_code::ErrorCode;
use crate::telemetry::metrics::METRICS;
use parking_lot::{Mutex, MutexGuard};
use poem::Request;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// Minimum rate of a body, in bytes per second.
pub const MIN_BODY_RATE: u64 = 16 * 1024;

/// A body below this rate is displaced at once, in bytes per second. A faster one ends soon and is waited for.
const SLOW_RATE: f64 = 4.0 * MIN_RATE;

/// Rate that a new body counts as having, in bytes per second: more than a body that only avoids the timeouts.
const INITIAL_RATE: f64 = 2.0 * MIN_RATE;

/// [`MIN_BODY_RATE`] as a floating-point number.
const MIN_RATE: f64 = 16.0 * 1024.0;

/// Time during which a new body counts as having at least [`INITIAL_RATE`].
const GRACE_PERIOD: Duration = Duration::from_secs(2);

/// Minimum interval between two attempts to get a share.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Addition to [`RETRY_INTERVAL`] for each body, because an attempt examines all of them.
const INTERVAL_PER_BODY: Duration = Duration::from_millis(2);

/// A mark on requests that show a valid token in their head.
#[derive(Debug, Clone, Copy)]
pub struct Proved;

/// The sender of a body.
#[derive(Debug, Clone, Copy)]
pub struct Sender {
    /// Address of the client; for IPv6 its 64-bit network, because one customer usually has all of it.
    network: Option<IpAddr>,
    proved: bool,
}

impl Sender {
    /// Returns the sender of a request.
    pub(in crate::api) fn from_request(request: &Request) -> Self {
        Self {
            network: request.data::<Client>().map(|client| network(client.address)),
            proved: request.data::<Proved>().is_some(),
        }
    }

    /// Returns this sender as proved, after the signature of the whole body was verified.
    pub(in crate::api) fn proved(self) -> Self {
        Self { proved: true, ..self }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// A limited amount and its holders; cheap to clone.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    total: usize,
    /// Maximum time that a body waits for faster ones to end.
    wait: Duration,
    state: Mutex<State>,
    released: Notify,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    last_number: u64,
    holders: HashMap<u64, Holder>,
}

#[derive(Debug)]
struct Holder {
    sender: Sender,
    held: usize,
    begun: Instant,
    rate: Rate,
    /// Start of the current wait. Meanwhile the service is the slow side, not the sender.
    waits_since: Option<Instant>,
    displaced: Arc<Notify>,
}

impl Holder {
    fn is_fresh(&self, now: Instant) -> bool {
        self.waits_since.unwrap_or(now).saturating_duration_since(self.begun) < GRACE_PERIOD
    }

    /// Returns the rate that is compared with those of other bodies.
    fn rate(&self, now: Instant) -> f64 {
        if self.waits_since.is_some() && self.is_fresh(now) {
            // Too few bytes arrived to measure a rate. The body ends by itself if its wait is in vain.
            return f64::MAX;
        }
        let until = self.waits_since.unwrap_or(now);
        let min = if self.is_fresh(now) { INITIAL_RATE } else { 0.0 };
        self.rate.average(self.begun, until).max(min)
    }

    /// Ends a wait; its time does not count.
    fn resume(&mut self, now: Instant) {
        if let Some(since) = self.waits_since.take() {
            let waited = now.saturating_duration_since(since);
            self.begun += waited;
            self.rate.pass_over(waited);
        }
    }
}

impl State {
    /// Grows a holder's share to `amount`. If necessary, it displaces unproved bodies that are slower than `below`.
    fn grow(&mut self, number: u64, amount: usize, inner: &Inner, below: f64, now: Instant) -> Result<bool, Displaced> {
        let holder = self.holders.get(&number).ok_or(Displaced)?;
        let more = amount.saturating_sub(holder.held);
        let mut lacking = (self.used + more).saturating_sub(inner.total);
        if lacking > 0 {
            let Sender { network, proved } = holder.sender;
            let unproved = || self.holders.iter().filter(|(_, holder)| !holder.sender.proved);
            let share: usize =
                unproved().filter(|(_, holder)| holder.sender.network == network).map(|(_, holder)| holder.held).sum();
            // Beyond its own share, an address displaces others only if they are hardly faster than the timeouts allow.
            let others_below = if !proved && share + more > inner.total / 4 { below.min(INITIAL_RATE) } else { below };
            let mut in_the_way: Vec<_> = unproved()
                .filter(|(other, holder)| **other != number && holder.held > 0)
                .map(|(other, holder)| (holder, holder.rate(now), *other))
                .filter(|(holder, rate, _)| *rate < if holder.sender.network == network { below } else { others_below })
                .map(|(holder, rate, other)| (rate, other, holder.held))
                .collect();
            in_the_way.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let mut going = Vec::new();
            for (_, other, held) in in_the_way {
                if lacking == 0 {
                    break;
                }
                lacking = lacking.saturating_sub(held);
                going.push(other);
            }
            if lacking > 0 {
                return Ok(false);
            }
            for other in going {
                if let Some(holder) = self.holders.remove(&other) {
                    self.used -= holder.held;
                    METRICS.displaced_bodies_total.inc();
                    holder.displaced.notify_one();
                }
            }
        }
        self.used += more;
        if let Some(holder) = self.holders.get_mut(&number) {
            holder.held += more;
            holder.resume(now);
        }
        Ok(true)
    }
}

struct Displaced;

impl Budget {
    /// Creates a budget. A body waits up to `wait` for faster ones to end.
    pub fn new(total: usize, wait: Duration) -> Self {
        let inner = Inner { total, wait, state: Mutex::default(), released: Notify::new() };
        Self(Arc::new(inner))
    }

    /// Registers a body that has received this many bytes since `begun`.
    pub(in crate::api) fn hold(&self, sender: Sender, begun: Instant, received: usize) -> Hold {
        let rate = Rate::since(begun, Instant::now(), received);
        let displaced = Arc::new(Notify::new());
        let holder = Holder { sender, held: 0, begun, rate, waits_since: None, displaced: displaced.clone() };
        let mut state = self.0.state();
        state.last_number += 1;
        let number = state.last_number;
        state.holders.insert(number, holder);
        Hold { budget: self.0.clone(), number, displaced }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// The share of one body; dropping it releases the share.
#[derive(Debug)]
pub(in crate::api) struct Hold {
    budget: Arc<Inner>,
    number: u64,
    displaced: Arc<Notify>,
}

impl Hold {
    /// Counts received bytes.
    pub(in crate::api) fn receive(&self, bytes: usize) {
        if let Some(holder) = self.budget.state().holders.get_mut(&self.number) {
            holder.rate.receive(Instant::now(), bytes);
        }
    }

    /// Waits until the body holds this amount.
    ///
    /// # Errors
    /// 503: other bodies hold the whole amount, or one of them displaced this one.
    pub(in crate::api) async fn grow(&self, amount: usize) -> Result<(), ApiError> {
        let begun = Instant::now();
        let end = begun + self.budget.wait;
        let own_rate = self.rate_to_compare(begun)?;
        loop {
            let mut released = pin!(self.budget.released.notified());
            released.as_mut().enable();
            let now = Instant::now();
            let at_once = own_rate.min(SLOW_RATE);
            // At the end of the wait, much slower bodies are displaced. Of two similar ones, the first stays.
            let below = if now < end { at_once } else { at_once.max(own_rate / 2.0) };
            let (grown, bodies) = {
                let mut state = self.budget.state();
                (state.grow(self.number, amount, &self.budget, below, now), state.holders.len())
            };
            if grown.map_err(|Displaced| displaced_error())? {
                return Ok(());
            }
            if now >= end {
                return Err(ApiError::Unavailable(
                    ErrorCode::Overloaded,
                    "too many long bodies are being received; try again shortly",
                    None,
                ));
            }
            let pause = RETRY_INTERVAL + INTERVAL_PER_BODY.saturating_mul(u32::try_from(bodies).unwrap_or(u32::MAX));
            let _ = timeout(pause.min(end.saturating_duration_since(now)), released).await;
        }
    }

    /// Returns the rate of this body, or infinity for a proved sender. The measurement pauses while the body waits.
    fn rate_to_compare(&self, now: Instant) -> Result<f64, ApiError> {
        let mut state = self.budget.state();
        let holder = state.holders.get_mut(&self.number).ok_or_else(displaced_error)?;
        let own_rate = holder.rate(now);
        holder.waits_since = Some(now);
        Ok(if holder.sender.proved { f64::INFINITY } else { own_rate })
    }

    /// Exempts the body from giving way, because its sender is proved or the body is complete.
    pub(in crate::api) fn settle(&self) {
        if let Some(holder) = self.budget.state().holders.get_mut(&self.number) {
            holder.sender.proved = true;
        }
    }

    /// Waits until another body displaces this one.
    pub(in crate::api) async fn displaced(&self) -> ApiError {
        self.displaced.notified().await;
        displaced_error()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        if let Some(holder) = state.holders.remove(&self.number) {
            state.used -= holder.held;
        }
        drop(state);
        self.budget.released.notify_one();
    }
}

fn displaced_error() -> ApiError {
    ApiError::Unavailable(
        ErrorCode::Overloaded,
        "the body was too slow and was displaced by others; try again shortly",
        None,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: usize = 1000;

    /// A budget at a fixed time, with holders of known age and rate.
    struct Room {
        inner: Inner,
        now: Instant,
    }

    impl Room {
        fn new() -> Self {
            let inner = Inner { total: TOTAL, wait: Duration::ZERO, state: Mutex::default(), released: Notify::new() };
            Self { inner, now: Instant::now() + Duration::from_mins(1) }
        }

        fn come(&self, address: &str, proved: bool, rate: f64, age: u64, held: usize) -> u64 {
            let sender = Sender { network: Some(network(address.parse().unwrap())), proved };
            let mut state = self.inner.state();
            state.last_number += 1;
            state.used += held;
            let number = state.last_number;
            let holder = Holder {
                sender,
                held,
                begun: self.now - Duration::from_secs(age),
                rate: Rate::with_value(rate, self.now),
                waits_since: None,
                displaced: Arc::default(),
            };
            state.holders.insert(number, holder);
            number
        }

        fn grow(&self, number: u64, amount: usize, below: f64) -> Option<bool> {
            self.inner.state().grow(number, amount, &self.inner, below, self.now).ok()
        }

        fn has(&self, number: u64) -> bool {
            self.inner.state().holders.contains_key(&number)
        }
    }

    const TRICKLE: f64 = 17_000.0;
    const QUICK: f64 = 1e6;

    #[test]
    fn the_slowest_give_way_and_only_as_many_as_must() {
        let room = Room::new();
        let slow = room.come("192.0.2.1", false, TRICKLE, 10, 400);
        let slower = room.come("192.0.2.2", false, TRICKLE - 1.0, 10, 400);
        let quick = room.come("192.0.2.3", false, QUICK, 10, 100);
        assert_eq!(room.grow(quick, 200, SLOW_RATE), Some(true));
        assert!(room.has(slow) && room.has(slower), "there was room");
        assert_eq!(room.grow(quick, 300, SLOW_RATE), Some(true));
        assert!(room.has(slow) && !room.has(slower));
        assert_eq!(room.grow(slower, 1, SLOW_RATE), None);
    }

    #[test]
    fn no_body_displaces_a_faster_one_and_nobody_goes_for_nothing() {
        let room = Room::new();
        let quick = room.come("192.0.2.1", false, QUICK, 10, 900);
        let slow = room.come("192.0.2.2", false, TRICKLE, 10, 50);
        assert_eq!(room.grow(slow, 500, TRICKLE), Some(false));
        let other = room.come("192.0.2.3", false, QUICK, 10, 50);
        assert_eq!(room.grow(other, 500, SLOW_RATE), Some(false));
        assert!(room.has(quick) && room.has(slow), "the slow one alone has too little");
        // After a wait without any release.
        assert_eq!(room.grow(other, 200, f64::INFINITY), Some(true));
        assert!(!room.has(quick) && !room.has(slow));
    }

    #[test]
    fn one_that_has_just_begun_counts_as_faster_than_one_that_only_avoids_the_time_outs() {
        let room = Room::new();
        let young = room.come("192.0.2.1", false, 0.0, 1, 500);
        let old = room.come("192.0.2.2", false, TRICKLE, 10, 500);
        let next = room.come("192.0.2.3", false, 0.0, 0, 0);
        assert_eq!(room.grow(next, 500, SLOW_RATE), Some(true));
        assert!(room.has(young) && !room.has(old));
    }

    #[test]
    fn one_that_waits_since_it_came_gives_way_to_proved_senders_only() {
        let room = Room::new();
        let waiting = room.come("192.0.2.1", false, 0.0, 1, TOTAL);
        room.inner.state().holders.get_mut(&waiting).unwrap().waits_since = Some(room.now);
        let other = room.come("192.0.2.2", false, QUICK, 1, 0);
        assert_eq!(room.grow(other, 1, f64::MAX), Some(false));
        let proved = room.come("192.0.2.3", true, 0.0, 1, 0);
        assert_eq!(room.grow(proved, 1, f64::INFINITY), Some(true));
        assert!(!room.has(waiting));
    }

    #[test]
    fn a_proved_sender_gives_way_to_nobody() {
        let room = Room::new();
        let proved = room.come("192.0.2.1", true, 0.0, 100, 1000);
        let other = room.come("192.0.2.1", true, QUICK, 1, 0);
        assert_eq!(room.grow(other, 1, f64::INFINITY), Some(false));
        assert!(room.has(proved));
    }

    #[test]
    fn an_address_beyond_its_share_displaces_others_only_if_they_trickle() {
        let room = Room::new();
        let mine = room.come("2001:db8::1", false, 50_000.0, 10, 300);
        let others = room.come("192.0.2.1", false, 40_000.0, 10, 700);
        // From the same 64-bit network.
        let again = room.come("2001:db8::ffff:2", false, QUICK, 10, 0);
        assert_eq!(room.grow(again, 200, SLOW_RATE), Some(true));
        assert!(!room.has(mine) && room.has(others));
        assert_eq!(room.grow(again, 500, SLOW_RATE), Some(false), "beyond its share");
        let trickle = room.come("192.0.2.9", false, TRICKLE, 10, 100);
        assert_eq!(room.grow(again, 300, SLOW_RATE), Some(true));
        assert!(!room.has(trickle) && room.has(others));
    }
}
