//! Redaction of what arrives, before anything else is made of it, counted in the service's metrics.

use super::finding::{Found, Kind};
use super::redactor::Redactor;
use crate::domain::repair;
use crate::domain::{HistoryReport, MAX_MESSAGE_BYTES, Message, NewTurn};
use crate::telemetry::metrics::METRICS;
use bytes::Bytes;
use std::borrow::Cow;

/// An event's body with what must not be stored replaced.
pub fn redacted(redactor: Option<Redactor>, body: Bytes) -> Bytes {
    match redactor {
        Some(redactor) => redactor.body(body),
        None => body,
    }
}

impl Redactor {
    /// Replaces what is found in a turn's words.
    pub fn turn(&self, turn: &mut NewTurn) {
        let mut found = Found::default();
        self.message(&mut turn.message, &mut found);
        found.note();
    }

    /// The same in the words of a history.
    pub fn history(&self, report: &mut HistoryReport) {
        let mut found = Found::default();
        for entry in report.history.0.values_mut() {
            self.message(&mut entry.message, &mut found);
        }
        found.note();
    }

    /// The same in an event's body. Whatever is read of it is read of what this returns.
    pub fn body(&self, body: Bytes) -> Bytes {
        let mut found = Found::default();
        // What is no UTF-8 is looked through as its reader understands it.
        let text = std::str::from_utf8(&body).map_or_else(|_| repair::repaired(&body).0.into(), Cow::Borrowed);
        // What is no JSON is words as a whole.
        let replaced = match self.json(&text, &mut found).unwrap_or_else(|| self.text(&text, &mut found)) {
            Cow::Owned(replaced) => Some(Bytes::from(replaced)),
            Cow::Borrowed(_) => None,
        };
        drop(text);
        found.note();
        replaced.unwrap_or(body)
    }

    fn message(self, message: &mut Message, found: &mut Found) {
        if let Cow::Owned(replaced) = self.text(message.as_str(), found) {
            // A placeholder may be longer by a letter than what it stands for.
            let replaced = &replaced[..replaced.floor_char_boundary(MAX_MESSAGE_BYTES)];
            *message = Message::new(replaced).expect("neither blank nor too long");
        }
    }
}

impl Found {
    fn note(&self) {
        for kind in Kind::ALL {
            if self.of(kind) > 0 {
                METRICS.redactions_total.with_label_values(&[kind.as_str()]).inc_by(self.of(kind));
            }
        }
    }
}
