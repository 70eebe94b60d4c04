//! A bounded amount, of memory or of places, that request bodies share.
//!
//! Only what was received counts, not what a head announces. When too little is left, the slowest body whose sender is not
//! proved gives way: its request ends with 503 and what it held is free. A sender is proved by a token, which stands in the
//! head, or by a signature, which only the last byte proves. No body displaces a faster one. A slow one gives way at once, any
//! other one only to a body twice as fast, after a wait in which nothing became free. An address that holds more than its
//! share displaces those of other addresses only if they are about as slow as the time-outs allow. Behind a forwarder that
//! makes all clients one address, speed alone decides.

use super::rate::Rate;
use crate::api::auth::client::Client;
use crate::api::error::ApiError;
use crate::telemetry::metrics::METRICS;
use poem::Request;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// Least rate of a body, in bytes a second.
pub const LEAST_RATE: u64 = 16 * 1024;

/// Rate below which a body gives way at once, in bytes a second. A faster one ends soon and is waited for.
const SLOW_RATE: f64 = 4.0 * LEAST_RATE_F64;

/// Rate that a body counts as having at first, in bytes a second: more than one that only avoids the time-outs.
const FIRST_RATE: f64 = 2.0 * LEAST_RATE_F64;

const LEAST_RATE_F64: f64 = 16.0 * 1024.0;

/// How long a body counts as having [`FIRST_RATE`].
const GRACE: Duration = Duration::from_secs(2);

/// Pause between two attempts to get more, and for each body beside more of it: each attempt looks at all of them.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
const RETRY_INTERVAL_EACH: Duration = Duration::from_millis(2);

/// Set on a request whose head shows a right token.
#[derive(Debug, Clone, Copy)]
pub struct Proved;

/// The sender of a body.
#[derive(Debug, Clone, Copy)]
pub struct Sender {
    /// The client's address, of IPv6 the network of 64 bits that one customer has.
    network: Option<IpAddr>,
    proved: bool,
}

impl Sender {
    /// Returns the sender of a request.
    pub(in crate::api) fn of(request: &Request) -> Self {
        Self {
            network: request.data::<Client>().map(|client| network(client.address)),
            proved: request.data::<Proved>().is_some(),
        }
    }

    /// Returns the same sender, once the signature of the whole body fits.
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

/// The amount, and who holds how much of it; cheap to clone.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    total: usize,
    /// How long a body waits for faster ones to end.
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
    /// Since when it waits, during which it is the service that is slow.
    waits_since: Option<Instant>,
    displaced: Arc<Notify>,
}

impl Holder {
    fn is_fresh(&self, now: Instant) -> bool {
        self.waits_since.unwrap_or(now).saturating_duration_since(self.begun) < GRACE
    }

    /// The rate by which it is compared with others.
    fn rate(&self, now: Instant) -> f64 {
        if self.waits_since.is_some() && self.is_fresh(now) {
            // Too little came to tell. It goes by itself when its wait has been in vain.
            return f64::MAX;
        }
        let until = self.waits_since.unwrap_or(now);
        let least = if self.is_fresh(now) { FIRST_RATE } else { 0.0 };
        self.rate.of_body(self.begun, until).max(least)
    }

    /// Ends a wait, whose time does not count.
    fn go_on(&mut self, now: Instant) {
        if let Some(since) = self.waits_since.take() {
            let waited = now.saturating_duration_since(since);
            self.begun += waited;
            self.rate.pass_over(waited);
        }
    }
}

impl State {
    /// Makes what a holder has enough, if it may displace those that are in the way and slower than `below`.
    fn grow(&mut self, number: u64, amount: usize, inner: &Inner, below: f64, now: Instant) -> Result<bool, Displaced> {
        let holder = self.holders.get(&number).ok_or(Displaced)?;
        let more = amount.saturating_sub(holder.held);
        let mut lacking = (self.used + more).saturating_sub(inner.total);
        if lacking > 0 {
            let Sender { network, proved } = holder.sender;
            let unproved = || self.holders.iter().filter(|(_, holder)| !holder.sender.proved);
            let share: usize =
                unproved().filter(|(_, holder)| holder.sender.network == network).map(|(_, holder)| holder.held).sum();
            // Of others, beyond its own share only what is about as slow as the time-outs allow.
            let below_of_others = if !proved && share + more > inner.total / 4 { below.min(FIRST_RATE) } else { below };
            let mut in_the_way: Vec<_> = unproved()
                .filter(|(other, holder)| **other != number && holder.held > 0)
                .map(|(other, holder)| (holder, holder.rate(now), *other))
                .filter(|(holder, rate, _)| {
                    *rate < if holder.sender.network == network { below } else { below_of_others }
                })
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
            holder.go_on(now);
        }
        Ok(true)
    }
}

struct Displaced;

impl Budget {
    /// A budget of so much; a body waits so long for faster ones to end.
    pub fn new(total: usize, wait: Duration) -> Self {
        let inner = Inner { total, wait, state: Mutex::default(), released: Notify::new() };
        Self(Arc::new(inner))
    }

    /// Begins to count a body of which so many bytes have come since `begun`.
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
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one body holds, until this is dropped.
#[derive(Debug)]
pub(in crate::api) struct Hold {
    budget: Arc<Inner>,
    number: u64,
    displaced: Arc<Notify>,
}

impl Hold {
    /// Counts more bytes that came.
    pub(in crate::api) fn receive(&self, bytes: usize) {
        if let Some(holder) = self.budget.state().holders.get_mut(&self.number) {
            holder.rate.receive(Instant::now(), bytes);
        }
    }

    /// Returns once the body holds this amount.
    ///
    /// # Errors
    /// 503: other bodies hold all, or this one gave way.
    pub(in crate::api) async fn grow(&self, amount: usize) -> Result<(), ApiError> {
        let begun = Instant::now();
        let end = begun + self.budget.wait;
        let own_rate = self.rate_to_compare(begun)?;
        loop {
            let mut released = pin!(self.budget.released.notified());
            released.as_mut().enable();
            let now = Instant::now();
            let at_once = own_rate.min(SLOW_RATE);
            // At last those that are much slower; of two that are alike, the one that came first stays.
            let below = if now < end { at_once } else { at_once.max(own_rate / 2.0) };
            let (grown, bodies) = {
                let mut state = self.budget.state();
                (state.grow(self.number, amount, &self.budget, below, now), state.holders.len())
            };
            if grown.map_err(|Displaced| gave_way())? {
                return Ok(());
            }
            if now >= end {
                return Err(ApiError::Unavailable("too many long bodies arrive at once; try again shortly", None));
            }
            let pause = RETRY_INTERVAL + RETRY_INTERVAL_EACH.saturating_mul(u32::try_from(bodies).unwrap_or(u32::MAX));
            let _ = timeout(pause.min(end.saturating_duration_since(now)), released).await;
        }
    }

    /// Returns the rate of bodies that this one may displace, and holds its own while it waits.
    fn rate_to_compare(&self, now: Instant) -> Result<f64, ApiError> {
        let mut state = self.budget.state();
        let holder = state.holders.get_mut(&self.number).ok_or_else(gave_way)?;
        let own_rate = holder.rate(now);
        holder.waits_since = Some(now);
        Ok(if holder.sender.proved { f64::INFINITY } else { own_rate })
    }

    /// Ensures that the body gives way to nobody: its sender is proved, or nothing more of it is awaited.
    pub(in crate::api) fn settle(&self) {
        if let Some(holder) = self.budget.state().holders.get_mut(&self.number) {
            holder.sender.proved = true;
        }
    }

    /// Returns when the body has to give way.
    pub(in crate::api) async fn displaced(&self) -> ApiError {
        self.displaced.notified().await;
        gave_way()
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

fn gave_way() -> ApiError {
    ApiError::Unavailable("the body came slowly while others needed its place; try again shortly", None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: usize = 1000;

    /// Holders that came some seconds ago, and the rate of each in bytes a second.
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
                rate: Rate::of(rate, self.now),
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
        // After a wait in which nothing became free.
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
        // Of the same network of 64 bits.
        let again = room.come("2001:db8::ffff:2", false, QUICK, 10, 0);
        assert_eq!(room.grow(again, 200, SLOW_RATE), Some(true));
        assert!(!room.has(mine) && room.has(others));
        assert_eq!(room.grow(again, 500, SLOW_RATE), Some(false), "beyond its share");
        let trickle = room.come("192.0.2.9", false, TRICKLE, 10, 100);
        assert_eq!(room.grow(again, 300, SLOW_RATE), Some(true));
        assert!(!room.has(trickle) && room.has(others));
    }
}
