//! Whether turns can be stored: a trial, and the numbers that new rows get.

use super::error::Context as _;
use super::migrations::known_schema;
use super::restore::rules::MAX_LAST_ROW_ID;
use super::turns::expect_stored;
use crate::store::{Outcome, Result, Written};
use rusqlite::{Connection, OptionalExtension as _, Transaction};

/// Tables whose rows SQLite numbers, and whose numbers an import may bring.
const NUMBERED: [&str; 3] = ["calls", "call_transcriptions", "webhook_events"];

/// Inserts a turn of a new call and takes both back, so that whatever refuses turns shows: a number that is exhausted, a
/// trigger, a rule. Then writes the schema's version over itself: a real write with a real sync that changes nothing.
pub(super) fn probe(transaction: &Transaction<'_>) -> Result<Outcome> {
    const DOING: &str = "trying whether a turn can be stored";
    // No conversation's id has U+0000 in it.
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
        .doing(DOING)?;
    let stored = "SELECT count(*) FROM call_transcriptions WHERE conversation_id = 'probe' || char(0)";
    expect_stored(transaction.query_row(stored, [], |row| row.get(0)).doing(DOING)?)?;
    transaction.execute_batch("ROLLBACK TO probe; RELEASE probe").doing(DOING)?;
    transaction
        .pragma_update(None, "user_version", known_schema())
        .doing("trying whether the disk takes a write")
        .map(|()| Ok(Written::Done))
}

/// Sets the numbers of new rows back where they are so great that an import must have brought them, which is refused
/// today, and no row of such a number is left. Otherwise no turn could be stored any more.
pub(super) fn set_numbers_back(connection: &mut Connection) -> Result<()> {
    const DOING: &str = "setting the numbers of new rows back";
    let transaction = connection.transaction().doing(DOING)?;
    for table in NUMBERED {
        let number: Option<i64> = transaction
            .query_row("SELECT seq FROM sqlite_sequence WHERE name = ?1", [table], |row| row.get(0))
            .optional()
            .doing(DOING)?;
        let Some(number) = number.filter(|number| *number > MAX_LAST_ROW_ID) else { continue };
        let last: i64 = transaction
            .query_row(&format!("SELECT ifnull(max(id), 0) FROM {table}"), [], |row| row.get(0))
            .doing(DOING)?;
        if last > MAX_LAST_ROW_ID {
            tracing::error!(
                table,
                last,
                "a row has a number that leaves too few for new rows; `check` says what to do"
            );
            continue;
        }
        transaction
            .execute("UPDATE sqlite_sequence SET seq = ?1 WHERE name = ?2", rusqlite::params![last, table])
            .doing(DOING)?;
        tracing::warn!(table, number, last, "set the number of new rows back, which an import had made too great");
    }
    transaction.commit().doing(DOING)
}
