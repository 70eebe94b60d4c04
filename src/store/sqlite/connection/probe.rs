//! A trial write, and the repair of ids that leave no room for new rows.

use super::migrations::known_schema;
use crate::store::sqlite::error::Context as _;
use crate::store::sqlite::row::{MAX_LAST_ROW_ID, expect_stored};
use crate::store::{Outcome, Result, Written};
use rusqlite::{Connection, OptionalExtension as _, Transaction};

/// Tables with `AUTOINCREMENT` ids that an import may set.
const NUMBERED: [&str; 3] = ["calls", "call_transcriptions", "webhook_events"];

/// Checks by a trial that a turn can be stored.
///
/// Inserts a turn of a new call and rolls both back, which detects exhausted ids, and triggers and constraints that
/// refuse turns. Then writes the present schema version again: a real write with a sync, which changes nothing.
pub(in crate::store::sqlite) fn check_writable(transaction: &Transaction<'_>) -> Result<Outcome> {
    const CONTEXT: &str = "inserting a trial turn";
    // No conversation id contains U+0000.
    transaction
        .execute_batch(
            "SAVEPOINT probe; \
             INSERT INTO calls (conversation_id, call_start_time, created_at, updated_at) \
             SELECT 'probe' || char(0), time, time, time \
             FROM (SELECT strftime('%Y-%m-%dT%H:%M:%f000Z', 'now') AS time); \
             INSERT INTO call_transcriptions (conversation_id, speaker_type, message_text, timestamp, sequence_number, \
                created_at, repeat_key) \
             SELECT conversation_id, 'agent', 'probe', created_at, 1, created_at, 0 FROM calls \
             WHERE conversation_id = 'probe' || char(0)",
        )
        .context(CONTEXT)?;
    let stored = "SELECT count(*) FROM call_transcriptions WHERE conversation_id = 'probe' || char(0)";
    expect_stored(transaction.query_row(stored, [], |row| row.get(0)).context(CONTEXT)?)?;
    transaction.execute_batch("ROLLBACK TO probe; RELEASE probe").context(CONTEXT)?;
    transaction
        .pragma_update(None, "user_version", known_schema())
        .context("writing to the disk as a trial")
        .map(|()| Ok(Written::Done))
}

/// Lowers a table's next id if an import has set it so high that no room for new rows is left.
///
/// Does nothing while a row has such an id. Imports refuse such ids today.
pub(in crate::store::sqlite) fn set_numbers_back(connection: &mut Connection) -> Result<()> {
    const CONTEXT: &str = "lowering the next row ids";
    let transaction = connection.transaction().context(CONTEXT)?;
    for table in NUMBERED {
        let number: Option<i64> = transaction
            .query_row("SELECT seq FROM sqlite_sequence WHERE name = ?1", [table], |row| row.get(0))
            .optional()
            .context(CONTEXT)?;
        let Some(number) = number.filter(|number| *number > MAX_LAST_ROW_ID) else { continue };
        let last: i64 = transaction
            .query_row(&format!("SELECT ifnull(max(id), 0) FROM {table}"), [], |row| row.get(0))
            .context(CONTEXT)?;
        if last > MAX_LAST_ROW_ID {
            tracing::error!(table, last, "a row id leaves too few ids for new rows; run `check` for a remedy");
            continue;
        }
        transaction
            .execute("UPDATE sqlite_sequence SET seq = ?1 WHERE name = ?2", rusqlite::params![last, table])
            .context(CONTEXT)?;
        tracing::warn!(table, number, last, "lowered the next row id, which an import had set too high");
    }
    transaction.commit().context(CONTEXT)
}
