//! Reads what is stored about a call besides its turns: records, histories, and messages of tools.

use super::error::Context as _;
use super::json_column::parsed;
use super::statement::Statements as _;
use crate::domain::{ConversationId, DriverClaims, History, Record};
use crate::store::Result;
use rusqlite::Connection;

/// Returns the signed records of a call, with the ids of their events.
pub(super) fn records(connection: &Connection, id: &ConversationId) -> Result<Vec<(i64, Record)>> {
    const CONTEXT: &str = "reading a call's records";
    let mut select = connection
        .prepare_cached(
            "SELECT id, record FROM webhook_events WHERE conversation_id = ?1 AND record IS NOT NULL ORDER BY id",
        )
        .context(CONTEXT)?;
    let mut rows = select.query([id]).context(CONTEXT)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next().context(CONTEXT)? {
        let event_id = row.get(0).context(CONTEXT)?;
        let text = row.get_ref(1).and_then(|text| Ok(text.as_str()?)).context(CONTEXT)?;
        match parsed::<Record>(text, CONTEXT) {
            Ok(record) => records.push((event_id, record)),
            // The call's other records must still be reconciled. `replay` parses the event again.
            Err(error) => tracing::error!(%error, event_id, "stored event record has an unknown format; run `replay`"),
        }
    }
    Ok(records)
}

/// Returns the stored history of a call.
pub(super) fn history(connection: &Connection, id: &ConversationId) -> Result<History> {
    const CONTEXT: &str = "reading a call's history";
    let text: Option<String> = connection
        .fetch_optional("SELECT entries FROM call_histories WHERE conversation_id = ?1", [id], |row| row.get(0))
        .context(CONTEXT)?;
    text.map_or(Ok(History::default()), |text| parsed(&text, CONTEXT))
}

/// Claims of tools about a call.
#[derive(Default)]
pub(super) struct ToolClaims {
    /// Driver who was called.
    pub(super) claims: DriverClaims,
    /// Agent that spoke.
    pub(super) agent_id: Option<String>,
}

/// Returns what tools say about a call.
pub(super) fn claims_by_tools(connection: &Connection, id: &ConversationId) -> Result<ToolClaims> {
    const CONTEXT: &str = "reading tools' claims";
    let row: Option<(String, Option<String>)> = connection
        .fetch_optional("SELECT claims, agent_id FROM call_histories WHERE conversation_id = ?1", [id], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .context(CONTEXT)?;
    row.map_or(Ok(ToolClaims::default()), |(claims, agent_id)| {
        Ok(ToolClaims { claims: parsed(&claims, CONTEXT)?, agent_id })
    })
}
