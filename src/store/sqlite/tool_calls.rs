//! Calls of tools, as the record after a call has them.

use super::error::Context as _;
use super::row::{self, TOOL_CALL};
use crate::domain::{ConversationId, PlacedToolCall};
use crate::store::Result;
use rusqlite::Connection;

/// Returns a call's tool calls, in order.
pub(super) fn list(connection: &Connection, id: &ConversationId) -> Result<Vec<PlacedToolCall>> {
    connection
        .prepare_cached(&format!("SELECT {TOOL_CALL} FROM tool_calls WHERE conversation_id = ?1 ORDER BY position"))
        .and_then(|mut select| select.query_map([id], row::tool_call)?.collect())
        .context("listing a call's tool calls")
}
