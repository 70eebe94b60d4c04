//! What a handler tells the request's log line: which conversation it was about.

use crate::model::ConversationId;
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
