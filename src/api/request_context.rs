//! What a handler tells of its request, for the log line and the metrics: which conversation it was about, and what came
//! of it where the status does not say.

use crate::domain::ConversationId;
use crate::domain::reconcile::Counts;
use std::cell::RefCell;

tokio::task_local! {
    static NOTED: RefCell<Noted>;
}

/// What was noted of a request.
#[derive(Debug, Default)]
pub struct Noted {
    /// The conversation that it was about.
    pub conversation: Option<ConversationId>,
    /// What became of a delivery, where the answer's status does not tell; a word of the metric.
    pub outcome: Option<&'static str>,
}

/// Runs a request; what it notes can be had by [`noted`] until it ends.
pub async fn noting<F: Future>(request: F) -> F::Output {
    NOTED.scope(RefCell::default(), request).await
}

/// Notes the conversation that the present request is about.
pub(super) fn note(id: &ConversationId) {
    let _ = NOTED.try_with(|noted| noted.borrow_mut().conversation = Some(id.clone()));
}

/// Notes what became of a delivery that is answered as if it had been stored now.
pub(super) fn note_outcome(outcome: &'static str) {
    let _ = NOTED.try_with(|noted| noted.borrow_mut().outcome = Some(outcome));
}

/// What has been noted since this was last asked.
pub fn noted() -> Noted {
    NOTED.try_with(RefCell::take).unwrap_or_default()
}

/// Logs what came of bringing a call's turns and records together.
pub(super) fn reconciled(conversation_id: Option<&str>, by: &str, counts: Option<Counts>) {
    let Some(counts) = counts else {
        tracing::info!(conversation_id, by, "a report without a transcript was taken over");
        return;
    };
    let Counts { live_only, matched, added, corrected, repeated } = counts;
    tracing::info!(
        conversation_id,
        by,
        live_only,
        matched,
        added,
        corrected,
        repeated,
        "a call was brought together with its record"
    );
}
