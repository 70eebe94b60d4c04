//! The last deliveries to each webhook: when one was accepted, and when and why one was refused.
//!
//! [`DELIVERIES`] is a global, as the metrics are. It is in memory only and starts empty with the process.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// A webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Webhook {
    /// Single turns.
    Transcription,
    /// The transcript so far.
    History,
    /// Events after the call.
    PostCall,
    /// The question who is calling.
    Initiation,
}

impl Webhook {
    /// All webhooks.
    pub const ALL: [Self; 4] = [Self::Transcription, Self::History, Self::PostCall, Self::Initiation];

    /// Returns the webhook whose path below `/webhooks/elevenlabs/` this is.
    pub fn from_segment(segment: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|webhook| webhook.segment() == segment)
    }

    /// Returns the last segment of the webhook's path.
    pub const fn segment(self) -> &'static str {
        match self {
            Self::Transcription => "transcription",
            Self::History => "history",
            Self::PostCall => "post-call",
            Self::Initiation => "initiation",
        }
    }
}

/// A delivery that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Time of the response, in microseconds since 1970.
    pub at_micros: i64,
    /// Status of the response.
    pub status: u16,
    /// Reason, as in the response. It contains neither secrets nor words of a call.
    pub reason: String,
}

/// Maximum length of a reason, in characters.
const MAX_REASON_CHARS: usize = 300;

/// The deliveries to one webhook since the process started.
#[derive(Debug)]
pub struct DeliveryLog {
    accepted: AtomicU64,
    /// Time of the last accepted delivery, in microseconds since 1970; 0 without one.
    last_accepted: AtomicI64,
    refused: AtomicU64,
    last_refusal: Mutex<Option<Refusal>>,
}

impl DeliveryLog {
    const fn new() -> Self {
        Self {
            accepted: AtomicU64::new(0),
            last_accepted: AtomicI64::new(0),
            refused: AtomicU64::new(0),
            last_refusal: Mutex::new(None),
        }
    }

    /// Records an accepted delivery.
    pub fn accept(&self, at_micros: i64) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.last_accepted.fetch_max(at_micros, Ordering::Relaxed);
    }

    /// Records a refused delivery.
    pub fn refuse(&self, at_micros: i64, status: u16, reason: &str) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let reason = reason.chars().take(MAX_REASON_CHARS).collect();
        *self.last_refusal.lock() = Some(Refusal { at_micros, status, reason });
    }

    /// Returns the number of accepted deliveries, and the time of the last one.
    pub fn accepted(&self) -> (u64, Option<i64>) {
        let last = self.last_accepted.load(Ordering::Relaxed);
        (self.accepted.load(Ordering::Relaxed), (last != 0).then_some(last))
    }

    /// Returns the number of refused deliveries, and the last one.
    pub fn refused(&self) -> (u64, Option<Refusal>) {
        (self.refused.load(Ordering::Relaxed), self.last_refusal.lock().clone())
    }
}

/// The deliveries to all webhooks.
#[derive(Debug)]
pub struct Deliveries([DeliveryLog; 4]);

impl Deliveries {
    /// Returns the deliveries to a webhook.
    pub fn of(&self, webhook: Webhook) -> &DeliveryLog {
        &self.0[webhook as usize]
    }
}

/// The deliveries to this process.
pub static DELIVERIES: Deliveries = Deliveries([const { DeliveryLog::new() }; 4]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_delivery_of_each_kind_is_kept_and_reasons_are_cut() {
        let log = DeliveryLog::new();
        assert_eq!((log.accepted(), log.refused()), ((0, None), (0, None)));
        log.accept(5);
        log.accept(3);
        assert_eq!(log.accepted(), (2, Some(5)));
        log.refuse(6, 400, &"x".repeat(1000));
        log.refuse(7, 401, "no signature");
        assert_eq!(log.refused(), (2, Some(Refusal { at_micros: 7, status: 401, reason: "no signature".to_owned() })));
        log.refuse(8, 400, &"\u{20ac}".repeat(1000));
        assert_eq!(log.refused().1.unwrap().reason.chars().count(), MAX_REASON_CHARS);
    }

    #[test]
    fn a_webhook_is_known_by_the_end_of_its_path() {
        for webhook in Webhook::ALL {
            assert_eq!(Webhook::from_segment(webhook.segment()), Some(webhook));
        }
        assert_eq!(Webhook::from_segment("other"), None);
    }
}
