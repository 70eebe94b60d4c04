//! Entries of the access log.

use super::error::Context as _;
use super::row::outcome_of_change;
use super::statement::Statements as _;
use crate::domain::{Access, Identity, Timestamp, UserName};
use crate::store::{AccessLogRequest, LoggedAccess, Outcome, Page, Result, Written};
use rusqlite::{Connection, Row, Transaction, params};

const CONTEXT: &str = "logging accesses";

/// Maximum number of entries that one transaction deletes.
const MAX_SLICE_ROWS: u32 = 500;

/// Stores accesses.
pub(super) fn note(transaction: &Transaction<'_>, accesses: &[Access]) -> Result<Outcome> {
    for Access { at, identity, action, conversation_id } in accesses {
        let name = identity.name.as_ref().map(UserName::as_str);
        transaction
            .execute_cached(
                "INSERT INTO access_log (at, user_name, role, credential, action, conversation_id) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![at, name, identity.role, identity.credential, action, conversation_id],
            )
            .context(CONTEXT)?;
    }
    Ok(Ok(Written::Done))
}

/// Deletes entries from before a time, the oldest first, some hundred at most. Their order is that of their times,
/// because the clock may have been set meanwhile.
pub(super) fn prune(transaction: &Transaction<'_>, before: Timestamp) -> Result<Outcome> {
    let deleted = transaction
        .execute_cached(
            "DELETE FROM access_log WHERE id IN (SELECT id FROM access_log WHERE at < ?1 ORDER BY at, id LIMIT ?2)",
            params![before, MAX_SLICE_ROWS],
        )
        .context(CONTEXT)?;
    Ok(outcome_of_change(deleted))
}

/// Returns the earliest time of an entry.
pub(super) fn oldest(connection: &Connection) -> Result<Option<Timestamp>> {
    connection.fetch_one("SELECT min(at) FROM access_log", [], |row| row.get(0)).context(CONTEXT)
}

/// Returns a page of entries, newest first.
pub(super) fn list(connection: &Connection, request: &AccessLogRequest) -> Result<Page<LoggedAccess>> {
    let AccessLogRequest { conversation_id, user, before, limit } = request;
    let by = match (conversation_id, user) {
        (Some(_), _) => "conversation_id = ?1 AND (?2 IS NULL OR user_name = ?2)",
        (None, Some(_)) => "?1 IS NULL AND user_name = ?2",
        (None, None) => "?1 IS NULL AND ?2 IS NULL",
    };
    let sql = format!(
        "SELECT id, at, user_name, role, credential, action, conversation_id FROM access_log \
         WHERE {by} AND id < ?3 ORDER BY id DESC LIMIT ?4"
    );
    let name = user.as_ref().map(UserName::as_str);
    let before = before.unwrap_or(i64::MAX);
    let one_more = i64::try_from(*limit).unwrap_or(i64::MAX).saturating_add(1);
    let rows: Vec<_> =
        connection.fetch_all(&sql, params![conversation_id, name, before, one_more], entry).context(CONTEXT)?;
    let page = Page::from_overfetch(rows.into_iter().map(Ok::<_, std::convert::Infallible>), *limit, |_| 0);
    match page {
        Ok(page) => Ok(page),
        Err(never) => match never {},
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<LoggedAccess> {
    Ok(LoggedAccess {
        id: row.get("id")?,
        access: Access {
            at: row.get("at")?,
            identity: Identity {
                name: row.get("user_name")?,
                role: row.get("role")?,
                credential: row.get("credential")?,
            },
            action: row.get("action")?,
            conversation_id: row.get("conversation_id")?,
        },
    })
}
