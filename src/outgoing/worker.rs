//! The thread of an endpoint: reads what is next, sends it, and stores the outcomes.
//!
//! When a receiver answers again, all that waits for it is tried at once. Hundreds of thousands of deliveries may wait,
//! so none is changed for that: the thread goes through them in the order of their planned times, once, and remembers
//! only how far it is ([`EarlyTries`]). A restart in between leaves the others to their planned times, because it
//! cannot know which of them the receiver asked to delay.

use super::endpoint::Endpoint;
use super::notice_body;
use super::retry_schedule::{MAX_FAILURES_IN_A_ROW, endpoint_pause, longest_pause, pause_after};
use super::sender::{Answer, Sender};
use super::shared::Shared;
use crate::domain::{ConversationId, NoticeType, Timestamp};
use crate::ingest::WriteError;
use crate::ingest::executor::Executor;
use crate::store::command::SettleDeliveries;
use crate::store::{
    DeliveryOutcome, Error, Notice, OutgoingBatch, PendingNotice, PlannedNotice, Settlement, Store, TryKey,
};
use crate::telemetry::metrics::METRICS;
use std::collections::HashSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Maximum delay until commits of other processes are noticed.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Time after which outcomes are stored, even if more notices of the batch are to be sent. What was sent since is sent
/// again after a crash.
const SETTLE_INTERVAL: Duration = Duration::from_millis(250);

/// Pause after a failed read or write of the database.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Worker {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) shared: Arc<Shared>,
    pub(super) sender: Sender,
    /// Weak, because a stopping service must be able to close the store.
    pub(super) store: Weak<dyn Store>,
    pub(super) executor: Box<dyn Executor>,
    /// Receives a message after commits, and ends with the service.
    pub(super) wake: Receiver<()>,
    /// Number of failed requests in a row.
    pub(super) failures: u32,
    /// Tries of deliveries that are planned for later, if there are any.
    pub(super) early: Option<EarlyTries>,
}

/// A pass over all deliveries that are planned for later, which tries each of them once.
pub(super) struct EarlyTries {
    /// Start of the pass. What was tried since is left out.
    since: Timestamp,
    /// The last delivery that was looked at.
    at: TryKey,
}

impl EarlyTries {
    fn begin() -> Self {
        let since = Timestamp::now();
        Self { since, at: TryKey { next_try: since, notice: 0 } }
    }

    /// Returns whether a delivery is tried. One that another clock tried later than now is.
    fn wants(&self, planned: &PlannedNotice) -> bool {
        planned.last_try.is_none_or(|last| last < self.since || last > Timestamp::now())
    }
}

/// A notice in the order of sending.
struct Next {
    pending: PendingNotice,
    is_fresh: bool,
    /// Its place among those that are planned for later.
    planned: Option<TryKey>,
}

/// The service is stopping.
struct Stopping;

/// The result of a delivery.
enum Delivered {
    /// The receiver has it, or must not have it any more.
    Yes,
    /// The receiver has it, after several failures in a row.
    YesAgain,
    /// It was refused, or there was no answer.
    No(Answer),
    /// The receiver wants no more notices.
    Gone,
}

impl Worker {
    pub(super) fn run(mut self) {
        loop {
            let Ok(pause) = self.round() else { return };
            if !pause.is_zero() && self.wake.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    }

    /// Sends some notices, and returns the pause until the next round, which commits shorten.
    fn round(&mut self) -> Result<Duration, Stopping> {
        if self.endpoint.take_early() {
            self.early = Some(EarlyTries::begin());
        }
        let planned_after = self.early.as_ref().map(|early| early.at);
        let batch = match self.store()?.outgoing(&self.endpoint.id, Timestamp::now(), planned_after) {
            Ok(batch) => batch,
            Err(error) => {
                tracing::warn!(%error, "cannot read notices; retrying");
                return Ok(DATABASE_PAUSE);
            }
        };
        self.endpoint.note_state(batch.oldest, batch.is_off);
        self.shared.measure();
        if batch.is_off {
            return Ok(POLL_INTERVAL);
        }
        if planned_after.is_some() && batch.planned.is_empty() {
            self.early = None;
        }
        let longest = longest_pause(self.shared.settings.retry_pause);
        let is_other_clock = batch.is_tried_by_other_clock || batch.last_try.is_some_and(|at| until_then(at) > longest);
        if is_other_clock && self.early.is_none() && self.endpoint.pause_left().is_none() {
            tracing::warn!(endpoint = self.endpoint.url.shown(), "clock was set back; retrying what waits");
            self.early = Some(EarlyTries::begin());
            return Ok(Duration::ZERO);
        }
        if let Some(left) = self.endpoint.pause_left() {
            return Ok(left.min(POLL_INTERVAL));
        }
        let next_try = batch.next_try;
        let settlement = self.send(batch)?;
        if settlement.is_empty() && self.early.as_ref().map(|early| early.at) != planned_after {
            return Ok(Duration::ZERO);
        }
        if settlement.is_empty() {
            return Ok(next_try.map_or(POLL_INTERVAL, |at| until_then(at).min(POLL_INTERVAL)));
        }
        self.settle(&settlement)?;
        Ok(Duration::ZERO)
    }

    /// Sends notices until something must be stored or waited for.
    fn send(&mut self, batch: OutgoingBatch) -> Result<Settlement, Stopping> {
        let start = Instant::now();
        let mut settlement = Settlement::new(self.endpoint.id.clone());
        let mut held_back: HashSet<ConversationId> = HashSet::new();
        for Next { pending, is_fresh, planned } in self.in_order(batch) {
            if self.shared.is_stopping() || start.elapsed() > SETTLE_INTERVAL {
                break;
            }
            let PendingNotice { notice, tries, is_blocked } = pending;
            let position = if is_fresh { notice.id } else { 0 };
            let wanted = self.shared.settings.types.contains(&notice.kind);
            if wanted && (is_blocked || held_back.contains(&notice.conversation_id)) {
                if is_fresh {
                    settlement.outcomes.push((notice.id, DeliveryOutcome::Blocked));
                    settlement.position = position;
                }
                continue;
            }
            let delivered = if wanted { self.deliver(&notice) } else { Ok(Delivered::Yes) };
            let outcome = match delivered {
                Ok(Delivered::Yes) => DeliveryOutcome::Delivered,
                Ok(Delivered::YesAgain) => {
                    // The place of this one must not stay in the new pass.
                    self.endpoint.try_early();
                    DeliveryOutcome::Delivered
                }
                Ok(Delivered::No(answer)) => {
                    held_back.insert(notice.conversation_id.clone());
                    self.failed(&notice, tries + 1, &answer)
                }
                Ok(Delivered::Gone) => {
                    settlement.switch_off = true;
                    break;
                }
                Err(Failure::Stopping) => return Err(Stopping),
                Err(Failure::Read(error)) => {
                    tracing::warn!(%error, "cannot read a call; retrying");
                    break;
                }
            };
            if let Some((early, key)) = self.early.as_mut().zip(planned) {
                early.at = key;
            }
            settlement.position = settlement.position.max(position);
            if !is_fresh || outcome != DeliveryOutcome::Delivered {
                settlement.outcomes.push((notice.id, outcome));
            }
            if self.endpoint.pause_left().is_some() {
                break;
            }
        }
        Ok(settlement)
    }

    /// Returns the notices of a batch in the order of sending, without those that are planned for later and were tried
    /// since the pass over them began.
    fn in_order(&mut self, batch: OutgoingBatch) -> Vec<Next> {
        let mut next: Vec<_> =
            batch.due.into_iter().map(|pending| Next { pending, is_fresh: false, planned: None }).collect();
        if let Some(early) = &mut self.early {
            for planned in batch.planned {
                if early.wants(&planned) {
                    next.push(Next { pending: planned.pending, is_fresh: false, planned: Some(planned.key) });
                } else if next.iter().all(|next| next.planned.is_none()) {
                    early.at = planned.key;
                }
            }
        }
        next.extend(batch.fresh.into_iter().map(|pending| Next { pending, is_fresh: true, planned: None }));
        next
    }

    /// Sends a notice about the call as it is now.
    fn deliver(&mut self, notice: &Notice) -> Result<Delivered, Failure> {
        let body = if notice.kind == NoticeType::CallErased {
            notice_body::erased(notice)
        } else {
            let store = self.store().map_err(|Stopping| Failure::Stopping)?;
            // Another notice follows if the call was erased meanwhile.
            let Some(call) = store.call(&notice.conversation_id).map_err(Failure::Read)? else {
                return Ok(Delivered::Yes);
            };
            notice_body::about_call(notice, &call, &self.shared.settings)
        };
        let answer = self.sender.send(&self.endpoint.url, &notice_body::webhook_id(notice), &body);
        self.endpoint.note_answer(&answer);
        if answer.is_success() {
            METRICS.outgoing_deliveries_total.with_label_values(&["delivered"]).inc();
            let was_away = self.failures >= MAX_FAILURES_IN_A_ROW;
            self.failures = 0;
            return Ok(if was_away { Delivered::YesAgain } else { Delivered::Yes });
        }
        if answer.is_gone() {
            let endpoint = self.endpoint.url.shown();
            tracing::warn!(endpoint, "endpoint answered 410 and is switched off; `webhook retry` switches it on");
            return Ok(Delivered::Gone);
        }
        Ok(Delivered::No(answer))
    }

    /// Returns the outcome of a failed delivery, and pauses the endpoint if it is overloaded or does not work at all.
    fn failed(&mut self, notice: &Notice, tries: u32, answer: &Answer) -> DeliveryOutcome {
        self.failures = self.failures.saturating_add(1);
        let first = self.shared.settings.retry_pause;
        let pause = endpoint_pause(self.failures, first).max(answer.overload_pause().map(|pause| pause.min(MAX_PAUSE)));
        self.endpoint.pause(pause);
        let age = Timestamp::now().unix_micros().saturating_sub(notice.at.unix_micros());
        let age = Duration::from_micros(u64::try_from(age).unwrap_or(0));
        let (endpoint, status, error) = (self.endpoint.url.shown(), answer.status, answer.error.as_deref());
        let (event, conversation_id) = (notice.kind.as_str(), notice.conversation_id.as_str());
        if let Some(at) = pause_after(tries, age, first, answer.retry_after).and_then(Timestamp::after) {
            METRICS.outgoing_deliveries_total.with_label_values(&["retried"]).inc();
            tracing::info!(endpoint, status, error, event, conversation_id, tries, "delivery failed; retrying");
            return DeliveryOutcome::Retry { at, status };
        }
        METRICS.outgoing_deliveries_total.with_label_values(&["failed"]).inc();
        tracing::warn!(endpoint, status, error, event, conversation_id, tries, "delivery given up");
        DeliveryOutcome::Failed { status }
    }

    /// Stores outcomes. They are not sent again before they are stored.
    fn settle(&self, settlement: &Settlement) -> Result<(), Stopping> {
        loop {
            match self.executor.execute(SettleDeliveries(Box::new(settlement.clone()))) {
                Ok(()) => return Ok(()),
                Err(WriteError::Stopping) => return Err(Stopping),
                Err(error) => tracing::warn!(%error, "cannot store outcomes of deliveries; retrying"),
            }
            let end = Instant::now() + DATABASE_PAUSE;
            while let Some(left) = end.checked_duration_since(Instant::now()) {
                if self.shared.is_stopping() || self.wake.recv_timeout(left) == Err(RecvTimeoutError::Disconnected) {
                    return Err(Stopping);
                }
            }
        }
    }

    fn store(&self) -> Result<Arc<dyn Store>, Stopping> {
        if self.shared.is_stopping() { Err(Stopping) } else { self.store.upgrade().ok_or(Stopping) }
    }
}

/// Maximum pause of all deliveries to an overloaded endpoint.
const MAX_PAUSE: Duration = Duration::from_hours(1);

/// The reason why a notice was not sent.
enum Failure {
    Stopping,
    Read(Error),
}

fn until_then(at: Timestamp) -> Duration {
    let micros = at.unix_micros().saturating_sub(Timestamp::now().unix_micros());
    Duration::from_micros(u64::try_from(micros).unwrap_or(0)).max(Duration::from_millis(1))
}
