//! Redacts received deliveries before they are parsed, and counts the redactions in the metrics.

use super::finding::{PiiKind, RedactionCounts};
use super::redactor::Redactor;
use crate::domain::repair;
use crate::domain::{HistoryReport, MAX_MESSAGE_BYTES, Message, NewTurn};
use crate::telemetry::metrics::METRICS;
use bytes::Bytes;
use std::borrow::Cow;

/// Returns the body of an event, redacted if there is a redactor.
pub fn redact_body(redactor: Option<Redactor>, body: Bytes) -> Bytes {
    match redactor {
        Some(redactor) => redactor.body(body),
        None => body,
    }
}

impl Redactor {
    /// Redacts the words of a turn.
    pub fn turn(&self, turn: &mut NewTurn) {
        let mut found = RedactionCounts::default();
        self.message(&mut turn.message, &mut found);
        found.note();
    }

    /// Redacts the words of a history.
    pub fn history(&self, report: &mut HistoryReport) {
        let mut found = RedactionCounts::default();
        for entry in report.history.0.values_mut() {
            self.message(&mut entry.message, &mut found);
        }
        found.note();
    }

    /// Redacts the body of an event. Everything stored of the event is parsed from the result.
    pub fn body(&self, body: Bytes) -> Bytes {
        let mut found = RedactionCounts::default();
        // Invalid UTF-8 is repaired in the way of the event's parser.
        let text = std::str::from_utf8(&body).map_or_else(|_| repair::repaired(&body).0.into(), Cow::Borrowed);
        // A body that is no JSON is redacted as plain text.
        let replaced = match self.json(&text, &mut found).unwrap_or_else(|| self.text(&text, &mut found)) {
            Cow::Owned(replaced) => Some(Bytes::from(replaced)),
            Cow::Borrowed(_) => None,
        };
        drop(text);
        found.note();
        replaced.unwrap_or(body)
    }

    fn message(self, message: &mut Message, found: &mut RedactionCounts) {
        if let Cow::Owned(replaced) = self.text(message.as_str(), found) {
            // A placeholder may be one letter longer than the redacted text.
            let replaced = &replaced[..replaced.floor_char_boundary(MAX_MESSAGE_BYTES)];
            *message = Message::new(replaced).expect("neither blank nor too long");
        }
    }
}

impl RedactionCounts {
    fn note(&self) {
        for kind in PiiKind::ALL {
            if self.count(kind) > 0 {
                METRICS.redactions_total.with_label_values(&[kind.as_str()]).inc_by(self.count(kind));
            }
        }
    }
}
