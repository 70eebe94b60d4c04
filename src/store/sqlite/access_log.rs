//! Entries of the access log.

use super::error::Context as _;
use super::row::outcome_of_change;
use super::statement::Statements as _;
use crate::domain::{Access, Identity, Timestamp, UserName};
use crate::store::{AccessLogRequest, LoggedAccess, Outcome, Page, Result, Written};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, Transaction, params, params_from_iter};

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
    let AccessLogRequest { conversation_id, user, action, accessed_after, accessed_before, before, limit } = request;
    let text = |text: &str| Some(Value::from(text.to_owned()));
    let time = |time: &Timestamp| Value::from(time.to_string());
    let conditions = [
        ("id < ?", Some(before.unwrap_or(i64::MAX).into())),
        ("conversation_id = ?", conversation_id.as_ref().and_then(|id| text(id.as_str()))),
        ("user_name = ?", user.as_ref().and_then(|name| text(name.as_str()))),
        ("action = ?", action.and_then(|action| text(action.as_str()))),
        // Not by the index of times, because a page would have to sort all entries of a long span.
        ("+at >= ?", accessed_after.as_ref().map(time)),
        ("+at < ?", accessed_before.as_ref().map(time)),
    ];
    let given = || conditions.iter().filter(|(_, value)| value.is_some());
    let sql = format!(
        "SELECT id, at, user_name, role, credential, action, conversation_id FROM access_log \
         WHERE {} ORDER BY id DESC LIMIT ?",
        given().map(|(condition, _)| *condition).collect::<Vec<_>>().join(" AND ")
    );
    let one_more = Some(i64::try_from(*limit).unwrap_or(i64::MAX).saturating_add(1).into());
    let values = given().map(|(_, value)| value).chain(std::iter::once(&one_more));
    let rows: Vec<_> = connection.fetch_all(&sql, params_from_iter(values), entry).context(CONTEXT)?;
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
