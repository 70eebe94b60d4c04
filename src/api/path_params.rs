//! Parameters of paths.

use super::error::ApiError;
use super::request_context;
use crate::domain::ConversationId;

/// Parses the conversation id of the path, and records it for the request's log line.
pub(super) fn conversation_id(text: &str) -> Result<ConversationId, ApiError> {
    let id = ConversationId::new(text).map_err(|rule| ApiError::field("conversation_id", rule))?;
    request_context::set_conversation(&id);
    Ok(id)
}
