//! What a handler tells the request's log line: which conversation it was about.

use crate::model::ConversationId;
use crate::reconcile::Counts;
use std::cell::RefCell;

tokio::task_local! {
    static CONVERSATION: RefCell<Option<ConversationId>>;
}

/// Runs a request; what it notes can be had by [`conversation`] until it ends.
pub async fn noting<F: Future>(request: F) -> F::Output {
    CONVERSATION.scope(RefCell::new(None), request).await
}

/// Notes the conversation that the present request is about.
pub(super) fn note(id: &ConversationId) {
    let _ = CONVERSATION.try_with(|noted| *noted.borrow_mut() = Some(id.clone()));
}

/// The conversation that was noted, if any.
pub fn conversation() -> Option<ConversationId> {
    CONVERSATION.try_with(|noted| noted.borrow().clone()).ok().flatten()
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
