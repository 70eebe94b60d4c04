//! Reads all stored data of a due call in one snapshot.

use super::due::{self, DueCall};
use super::erase;
use super::error::Context as _;
use super::records::{ToolClaims, claims_by_tools, history, records};
use super::statement::Statements as _;
use crate::domain::ConversationId;
use crate::domain::reconcile::{Material, TurnPlacement, TurnRow};
use crate::store::Result;
use rusqlite::{Connection, Row};

const CONTEXT: &str = "reading a due call";

/// Reads a call. Returns `None` if it is not due, or is being erased or restored in slices.
pub(super) fn read(connection: &mut Connection, id: &ConversationId) -> Result<Option<Material>> {
    let snapshot = connection.transaction().context(CONTEXT)?;
    if erase::is_unfinished(&snapshot, id)? {
        return Ok(None);
    }
    let call_id: Option<i64> = snapshot
        .fetch_optional("SELECT id FROM calls WHERE conversation_id = ?1", [id], |row| row.get(0))
        .context(CONTEXT)?;
    let Some(DueCall { base, facts, .. }) = call_id.map(|call_id| due::get(&snapshot, call_id)).transpose()?.flatten()
    else {
        return Ok(None);
    };
    let ToolClaims { claims, agent_id } = claims_by_tools(&snapshot, id)?;
    let turns = snapshot
        .fetch_all(
            "SELECT sequence_number, timestamp, record_index, source, speaker_type, message_text, place, \
             superseded_by, final_text, interrupted, record_time, in_record, kind, metrics \
             FROM call_transcriptions WHERE conversation_id = ?1 ORDER BY sequence_number",
            [id],
            turn,
        )
        .context(CONTEXT)?;
    Ok(Some(Material {
        conversation_id: id.clone(),
        base,
        facts,
        turns,
        records: records(&snapshot, id)?,
        history: history(&snapshot, id)?,
        tool_claims: claims,
        tool_agent: agent_id,
    }))
}

/// Reads a turn with its current placement.
fn turn(row: &Row<'_>) -> rusqlite::Result<(TurnRow, TurnPlacement)> {
    let (sequence_number, timestamp) = (row.get(0)?, row.get(1)?);
    let superseded_by: Option<i64> = row.get(7)?;
    let stored = TurnRow {
        sequence_number,
        speaker: row.get(4)?,
        text: row.get(5)?,
        timestamp,
        origin: TurnRow::origin_of(row.get(3)?, row.get(2)?),
        superseded: superseded_by.is_some(),
    };
    let placement = TurnPlacement {
        sequence_number,
        place: row.get(6)?,
        superseded_by,
        final_text: row.get(8)?,
        interrupted: row.get(9)?,
        timestamp,
        record_time: row.get(10)?,
        in_record: row.get(11)?,
        kind: row.get(12)?,
        metrics: row.get(13)?,
        rewritten: None,
    };
    Ok((stored, placement))
}
