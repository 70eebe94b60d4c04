//! Request context: facts that a handler records for the log line and the metrics, namely the conversation of the
//! request, and the outcome of a delivery if the status does not show it.

use crate::domain::ConversationId;
use std::cell::RefCell;

tokio::task_local! {
    static CONTEXT: RefCell<RequestContext>;
}

/// Facts that were recorded about a request.
#[derive(Debug, Default)]
pub struct RequestContext {
    /// Conversation id of the request.
    pub conversation: Option<ConversationId>,
    /// Outcome of a delivery, if the status does not show it; a label value of the metric.
    pub outcome: Option<&'static str>,
}

/// Runs a request in a context; [`take_current`] returns what it recorded.
pub async fn with_context<F: Future>(request: F) -> F::Output {
    CONTEXT.scope(RefCell::default(), request).await
}

/// Records the conversation id of the current request.
pub(super) fn set_conversation(id: &ConversationId) {
    let _ = CONTEXT.try_with(|noted| noted.borrow_mut().conversation = Some(id.clone()));
}

/// Returns the conversation id that was recorded for the current request.
pub(super) fn current_conversation() -> Option<ConversationId> {
    CONTEXT.try_with(|noted| noted.borrow().conversation.clone()).ok().flatten()
}

/// Records the outcome of a delivery that gets the response of a stored one.
pub(super) fn set_outcome(outcome: &'static str) {
    let _ = CONTEXT.try_with(|noted| noted.borrow_mut().outcome = Some(outcome));
}

/// Returns the facts recorded since the last call, and clears them.
pub fn take_current() -> RequestContext {
    CONTEXT.try_with(RefCell::take).unwrap_or_default()
}
