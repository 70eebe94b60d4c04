//! Reads whole calls for exports: see [`Archive`].

use crate::domain::{Call, ConversationId, Driver};
use crate::store::sqlite::call_filter::Conditions;
use crate::store::sqlite::connection::read_only;
use crate::store::sqlite::error::Context as _;
use crate::store::sqlite::row::{self, TURN, UNPLACED};
use crate::store::sqlite::statement::Statements as _;
use crate::store::sqlite::{calls, drivers, erase, tool_calls};
use crate::store::{
    Archive, ArchivePart, CallFilter, Error, ErrorKind, OrphanRows, Result, Row as Archived, TranscriptItem, TurnOrder,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rusqlite::types::{Value as SqlValue, ValueRef};
use rusqlite::{Connection, Params, Row, params, params_from_iter};
use serde_json::{Value, json};
use std::io;
use std::path::Path;

const CONTEXT: &str = "reading calls";

/// Number of orphan rows that are read at once. An event may be megabytes long.
const LOOSE: u32 = 8;

/// A database that is open for reading only, on a connection of its own. Others may write to it meanwhile.
pub struct ReadOnly {
    connection: Connection,
}

impl ReadOnly {
    /// Opens a database with the schema of this version.
    ///
    /// # Errors
    /// The file does not exist, is something else, or has another schema version.
    pub fn open(path: &Path) -> Result<Self> {
        const OPENING: &str = "opening the database";
        let connection = read_only::open(path)?;
        connection.set_prepared_statement_cache_capacity(32);
        connection
            .execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -1000; PRAGMA mmap_size = 0")
            .context(OPENING)?;
        crate::store::sqlite::connection::schema::expect_newest(&connection)?;
        Ok(Self { connection })
    }

    /// Runs `read` in one snapshot.
    fn snapshot<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let snapshot = self.connection.unchecked_transaction().context(CONTEXT)?;
        read(&snapshot)
    }
}

impl Archive for ReadOnly {
    fn call_ids(&self, filter: &CallFilter, after: i64, limit: usize) -> Result<Vec<(i64, ConversationId)>> {
        let mut conditions = Conditions::of_calls(filter);
        // Without these, an index would have to be sorted anew for each page.
        let order = if filter.has_few_calls() { "" } else { "NOT INDEXED" };
        conditions.and("c.id > ?", [SqlValue::from(after)]);
        conditions.and("c.conversation_id NOT IN (SELECT conversation_id FROM unfinished_calls)", []);
        let sql = format!(
            "SELECT c.id, c.conversation_id FROM calls c {order} {} ORDER BY c.id LIMIT {limit}",
            conditions.clause()
        );
        self.connection
            .fetch_all(&sql, params_from_iter(conditions.values()), |row| Ok((row.get(0)?, row.get(1)?)))
            .context(CONTEXT)
    }

    fn transcript(
        &self,
        id: &ConversationId,
        order: TurnOrder,
        take: &mut dyn FnMut(TranscriptItem) -> io::Result<()>,
    ) -> Result<bool> {
        let sql = match order {
            TurnOrder::Sequence => {
                format!("SELECT {TURN} FROM call_transcriptions t WHERE conversation_id = ?1 ORDER BY sequence_number")
            }
            TurnOrder::Time | TurnOrder::TimeDescending => {
                let direction = if order == TurnOrder::Time { "ASC" } else { "DESC" };
                format!(
                    "SELECT {TURN} FROM call_transcriptions t WHERE conversation_id = ?1 AND superseded_by IS NULL \
                     ORDER BY ifnull(place, {UNPLACED}) {direction}, timestamp {direction}, sequence_number {direction}"
                )
            }
        };
        self.snapshot(|connection| {
            let Some(call) = calls::get(connection, id)? else { return Ok(false) };
            if erase::is_unfinished(connection, id)? {
                return Ok(false);
            }
            let driver = call.driver_id.map(|id| drivers::get(connection, id)).transpose()?.flatten();
            let tools = tool_calls::list(connection, id)?;
            take(TranscriptItem::Call(Box::new(call), driver, tools)).map_err(query_into)?;
            for_each_row(
                connection,
                &sql,
                [id],
                |row| Ok(row::turn(row)),
                |turn| take(TranscriptItem::Turn(Box::new(turn.context(CONTEXT)?))).map_err(query_into),
            )?;
            Ok(true)
        })
    }

    fn call(&self, id: &ConversationId) -> Result<Option<(Call, Option<Driver>)>> {
        self.snapshot(|connection| {
            if erase::is_unfinished(connection, id)? {
                return Ok(None);
            }
            let Some(call) = calls::get(connection, id)? else { return Ok(None) };
            let driver = call.driver_id.map(|id| drivers::get(connection, id)).transpose()?.flatten();
            Ok(Some((call, driver)))
        })
    }

    fn parts(&self, id: &ConversationId, take: &mut dyn FnMut(ArchivePart) -> io::Result<()>) -> Result<bool> {
        self.snapshot(|connection| {
            let Some(mut call) = query_one(connection, "SELECT * FROM calls WHERE conversation_id = ?1", id)? else {
                return Ok(false);
            };
            // These follow from other data, which another place may lack: the recording, the calls of tools, the turns.
            for column in ["has_audio", "tool_error", "last_message_id"] {
                call.shift_remove(column);
            }
            if erase::is_unfinished(connection, id)? {
                return Ok(false);
            }
            let dispatch = query_one(connection, "SELECT * FROM call_dispatches WHERE conversation_id = ?1", id)?;
            let of_dispatch = dispatch.as_ref().and_then(|dispatch| dispatch.get("driver_id")?.as_i64());
            let of_call = call.get("driver_id").and_then(Value::as_i64);
            let mut rows = |sql: &str, values: &dyn rusqlite::ToSql, part: fn(Archived) -> ArchivePart| {
                for_each_row(
                    connection,
                    sql,
                    [values],
                    |row| Ok(columns(row)),
                    |row| take(part(row.context(CONTEXT)?)).map_err(query_into),
                )
            };
            for driver in [of_call, of_dispatch.filter(|other| of_call != Some(*other))].into_iter().flatten() {
                rows("SELECT * FROM drivers WHERE id = ?1", &driver, ArchivePart::Driver)?;
            }
            if dispatch.is_some() {
                rows("SELECT * FROM call_dispatches WHERE conversation_id = ?1", id, ArchivePart::Dispatch)?;
            }
            rows("SELECT * FROM webhook_events WHERE conversation_id = ?1 ORDER BY id", id, ArchivePart::Event)?;
            let history = query_one(connection, "SELECT * FROM call_histories WHERE conversation_id = ?1", id)?;
            let mut tools =
                query_all(connection, "SELECT * FROM tool_calls WHERE conversation_id = ?1 ORDER BY position", id)?;
            for tool in &mut tools {
                tool.shift_remove("conversation_id");
            }
            take(ArchivePart::Call(call, history, tools)).map_err(query_into)?;
            let turns = "SELECT * FROM call_transcriptions WHERE conversation_id = ?1 ORDER BY sequence_number";
            for_each_row(
                connection,
                turns,
                [id],
                |row| Ok(columns(row)),
                |row| {
                    let mut turn = row.context(CONTEXT)?;
                    turn.shift_remove("conversation_id");
                    take(ArchivePart::Turn(turn)).map_err(query_into)
                },
            )?;
            Ok(true)
        })
    }

    fn orphans(&self, kind: OrphanRows, after: i64) -> Result<Vec<(i64, Archived)>> {
        let (table, which) = match kind {
            OrphanRows::Drivers => ("drivers", "TRUE"),
            OrphanRows::Dispatches => {
                ("call_dispatches", "NOT EXISTS (SELECT 1 FROM calls c WHERE c.conversation_id = t.conversation_id)")
            }
            OrphanRows::Events => (
                "webhook_events",
                "(t.conversation_id IS NULL OR \
                  NOT EXISTS (SELECT 1 FROM calls c WHERE c.conversation_id = t.conversation_id))",
            ),
        };
        let sql = format!(
            "SELECT t.rowid AS _number, t.* FROM {table} t WHERE t.rowid > ?1 AND {which} ORDER BY t.rowid LIMIT ?2"
        );
        self.connection
            .fetch_all(&sql, params![after, LOOSE], |row| {
                let mut columns = columns(row)?;
                columns.shift_remove("_number");
                Ok((row.get("_number")?, columns))
            })
            .context(CONTEXT)
    }
}

fn query_into(error: io::Error) -> Error {
    Error::new(ErrorKind::Other, "writing a call to a temporary file", error)
}

/// Passes each row to `take`.
fn for_each_row<T>(
    connection: &Connection,
    sql: &str,
    values: impl Params,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    mut take: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    let mut select = connection.prepare_cached(sql).context(CONTEXT)?;
    let mut rows = select.query(values).context(CONTEXT)?;
    while let Some(row) = rows.next().context(CONTEXT)? {
        take(read(row).context(CONTEXT)?)?;
    }
    Ok(())
}

/// Returns the row that a statement finds for a conversation.
pub(in crate::store::sqlite) fn query_one(
    connection: &Connection,
    sql: &str,
    value: impl rusqlite::ToSql,
) -> Result<Option<Archived>> {
    connection.fetch_optional(sql, [value], columns).context(CONTEXT)
}

/// Returns the rows that a statement finds for a conversation.
pub(in crate::store::sqlite) fn query_all(
    connection: &Connection,
    sql: &str,
    value: impl rusqlite::ToSql,
) -> Result<Vec<Archived>> {
    connection.fetch_all(sql, [value], columns).context(CONTEXT)
}

/// Converts a row to its exported form.
pub(in crate::store::sqlite) fn columns(row: &Row<'_>) -> rusqlite::Result<Archived> {
    let statement: &rusqlite::Statement<'_> = row.as_ref();
    let mut columns = Archived::new();
    for at in 0..statement.column_count() {
        let value = match row.get_ref(at)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => number.into(),
            ValueRef::Real(number) => number.into(),
            ValueRef::Text(text) => match std::str::from_utf8(text) {
                Ok(text) => text.into(),
                Err(error) => {
                    return Err(rusqlite::Error::Utf8Error(at, error));
                }
            },
            ValueRef::Blob(bytes) => json!({ "base64": STANDARD.encode(bytes) }),
        };
        columns.insert(statement.column_name(at)?.to_owned(), value);
    }
    Ok(columns)
}
