//! Notes about recordings, which are files beside the database. They make calls with a recording quick to find.

use super::error::Context as _;
use super::statement::Statements as _;
use crate::domain::ConversationId;
use crate::store::{Outcome, Result, Written};
use rusqlite::{Transaction, params};

const CONTEXT: &str = "noting recordings";

/// Notes whether there is a recording of each of these conversations. The note of a recording without a call waits for
/// its call.
pub(super) fn note(transaction: &Transaction<'_>, ids: &[ConversationId], has_audio: bool) -> Result<Outcome> {
    for id in ids {
        transaction
            .execute_cached(
                "UPDATE calls SET has_audio = ?2 WHERE conversation_id = ?1 AND has_audio <> ?2",
                params![id, has_audio],
            )
            .context(CONTEXT)?;
        let sql = if has_audio {
            "INSERT OR IGNORE INTO waiting_recordings (conversation_id) \
             SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM calls WHERE conversation_id = ?1)"
        } else {
            "DELETE FROM waiting_recordings WHERE conversation_id = ?1"
        };
        transaction.execute_cached(sql, [id]).context(CONTEXT)?;
    }
    Ok(Ok(Written::Done))
}
