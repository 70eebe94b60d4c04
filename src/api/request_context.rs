//! Request context: facts that a handler records for the log line and the metrics, namely the conversation of the
//! request, and the outcome of a delivery if the status does not show it.

use crate::domain::ConversationId;
use crate::domain::reconcile::Counts;
use std::cell::RefCell;

tokio::task_local! {
    static NOTED: RefCell<Noted>;
}

/// Facts that were recorded about a request.
#[derive(Debug, Default)]
pub struct Noted {
    /// Conversation id of the request.
    pub conversation: Option<ConversationId>,
    /// Outcome of a delivery, if the status does not show it; a label value of the metric.
    pub outcome: Option<&'static str>,
}

/// Runs a request in a context; [`noted`] returns what it recorded.
pub async fn noting<F: Future>(request: F) -> F::Output {
    NOTED.scope(RefCell::default(), request).await
}

/// Records the conversation id of the current request.
pub(super) fn note(id: &ConversationId) {
    let _ = NOTED.try_with(|noted| noted.borrow_mut().conversation = Some(id.clone()));
}

/// Records the outcome of a delivery that gets the response of a stored one.
pub(super) fn note_outcome(outcome: &'static str) {
    let _ = NOTED.try_with(|noted| noted.borrow_mut().outcome = Some(outcome));
}

/// Returns the facts recorded since the last call, and clears them.
pub fn noted() -> Noted {
    NOTED.try_with(RefCell::take).unwrap_or_default()
}

/// Logs the reconciliation of a call with its record.
pub(super) fn reconciled(conversation_id: Option<&str>, by: &str, counts: Option<Counts>) {
    let Some(counts) = counts else {
        tracing::info!(conversation_id, by, "stored record without transcript");
        return;
    };
    let Counts { live_only, matched, added, corrected, repeated } = counts;
    tracing::info!(conversation_id, by, live_only, matched, added, corrected, repeated, "reconciled call");
}
