//! Calls of tools, as the record after a call has them.

use super::error::Context as _;
use super::row::{self, TOOL_CALL};
use crate::domain::{ConversationId, PlacedToolCall};
use crate::store::Result;
use rusqlite::{Connection, Transaction, params};

/// Returns a call's tool calls, in order.
pub(super) fn list(connection: &Connection, id: &ConversationId) -> Result<Vec<PlacedToolCall>> {
    connection
        .prepare_cached(&format!("SELECT {TOOL_CALL} FROM tool_calls WHERE conversation_id = ?1 ORDER BY position"))
        .and_then(|mut select| select.query_map([id], row::tool_call)?.collect())
        .context("listing a call's tool calls")
}

/// Replaces a call's tool calls, unless they are stored already. Returns whether anything changed.
pub(super) fn replace(transaction: &Transaction<'_>, id: &ConversationId, calls: &[PlacedToolCall]) -> Result<bool> {
    const CONTEXT: &str = "storing a call's tool calls";
    // The index is not stored.
    let same = |(old, new): (&PlacedToolCall, &PlacedToolCall)| {
        let mut new = new.clone();
        new.call.index = old.call.index;
        *old == new
    };
    // Stored ones that cannot be read are replaced.
    if list(transaction, id).is_ok_and(|stored| stored.len() == calls.len() && stored.iter().zip(calls).all(same)) {
        return Ok(false);
    }
    transaction
        .prepare_cached("DELETE FROM tool_calls WHERE conversation_id = ?1")
        .and_then(|mut delete| delete.execute([id]))
        .context(CONTEXT)?;
    for PlacedToolCall { position, after_place, call } in calls {
        transaction
            .prepare_cached(&format!(
                "INSERT INTO tool_calls (conversation_id, {TOOL_CALL}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, \
                 ?10, ?11, ?12)"
            ))
            .and_then(|mut insert| {
                insert.execute(params![
                    id,
                    position,
                    after_place,
                    call.request_id,
                    call.name,
                    call.tool_type,
                    call.purpose,
                    call.arguments,
                    call.result,
                    call.is_error,
                    call.latency_ms,
                    call.at,
                ])
            })
            .context(CONTEXT)?;
    }
    Ok(true)
}

/// Returns the names of the called tools of each call, without guardrails, in the order of their first calls.
pub(super) fn names(connection: &Connection, ids: &[ConversationId]) -> Result<Vec<Vec<String>>> {
    const CONTEXT: &str = "reading the names of called tools";
    let mut select = connection
        .prepare_cached(
            "SELECT name FROM tool_calls WHERE conversation_id = ?1 AND purpose <> 'guardrail' \
             GROUP BY name ORDER BY min(position)",
        )
        .context(CONTEXT)?;
    ids.iter()
        .map(|id| select.query_map([id], |row| row.get(0))?.collect())
        .collect::<rusqlite::Result<_>>()
        .context(CONTEXT)
}

/// Returns for each call whether a tool transferred it.
pub(super) fn transferred(connection: &Connection, ids: &[ConversationId]) -> Result<Vec<bool>> {
    const CONTEXT: &str = "reading which calls were transferred";
    let mut select = connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM tool_calls WHERE conversation_id = ?1 \
             AND purpose IN ('transfer_to_number', 'transfer_to_agent') AND is_error IS NOT 1)",
        )
        .context(CONTEXT)?;
    ids.iter().map(|id| select.query_row([id], |row| row.get(0))).collect::<rusqlite::Result<_>>().context(CONTEXT)
}
