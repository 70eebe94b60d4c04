//! Drivers and dispatches.
//!
//! A bulk change checks every element before it writes the first, so it takes effect completely or not at all. It
//! writes nothing if all rows already have the requested values.
//!
//! Deleting a driver keeps the calls and dispatches, without a driver.

use super::batch::driver_match;
use super::call_filter::{Conditions, containing, folded_or_null};
use super::error::Context as _;
use super::json_column::json;
use super::row::{self, outcome_of_change};
use super::statement::Statements as _;
use crate::domain::{ConversationId, Dispatch, Driver, DriverId, NewDispatch, NewDriver, Timestamp};
use crate::store::{
    BadElement, BadLink, Counts, DispatchPageRequest, DriverPageRequest, Outcome, Page, Rejection, Result, Written,
    max_json_length,
};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, Transaction, params, params_from_iter};
use std::collections::{BTreeSet, HashMap};

/// Minimum number of digits that are looked for in phone numbers.
const MIN_NUMBER_DIGITS: usize = 3;

/// Maximum number of calls, and of dispatches, that lose their driver in one transaction.
const MAX_SLICE_ROWS: usize = 500;

pub(super) fn get(connection: &Connection, id: DriverId) -> Result<Option<Driver>> {
    connection.fetch_optional("SELECT * FROM drivers WHERE id = ?1", [id], row::driver).context("reading a driver")
}

/// Returns those drivers with these ids that exist, in one statement.
pub(super) fn by_ids(connection: &Connection, ids: &BTreeSet<DriverId>) -> Result<Vec<Driver>> {
    const CONTEXT: &str = "reading drivers";
    let ids = json(&ids.iter().map(|id| id.get()).collect::<Vec<_>>());
    connection
        .fetch_all(
            "SELECT * FROM drivers WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY id",
            [ids],
            row::driver,
        )
        .context(CONTEXT)
}

pub(super) fn list(connection: &mut Connection, query: &DriverPageRequest) -> Result<Page<Driver>> {
    let mut conditions = Conditions::default();
    if let Some(ids) = &query.ids {
        let ids = json(&ids.iter().map(|id| id.get()).collect::<Vec<_>>());
        conditions.and("id IN (SELECT value FROM json_each(?))", [ids.into()]);
    }
    if let Some(text) = &query.text {
        let phone = number_in(text).map_or(Value::Null, |digits| containing(&digits).into());
        let id = text.trim().parse::<i64>().map_or(Value::Null, Value::from);
        conditions.and(
            "(instr(folded(name), ?) > 0 OR phone_number LIKE ? ESCAPE '\\' OR id = ?)",
            [folded_or_null(text), phone, id],
        );
    }
    let after = query.after.map(|id| id.get().into());
    let weight = |driver: &Driver| max_json_length(&driver.name);
    let page = Listing { table: "drivers", key: "id", conditions, after, limit: query.limit };
    page.read(connection, query.with_total, row::driver, weight)
}

/// Returns the digits of a text that may be a part of a phone number, in any spelling.
fn number_in(text: &str) -> Option<String> {
    let is_spelling = |c: char| c.is_ascii_digit() || c.is_whitespace() || "+-()./".contains(c);
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    (digits.len() >= MIN_NUMBER_DIGITS && text.chars().all(is_spelling)).then_some(digits)
}

/// A list of a table's rows in the order of a unique key.
struct Listing {
    table: &'static str,
    key: &'static str,
    conditions: Conditions,
    /// Key of the last row of the page before.
    after: Option<Value>,
    limit: usize,
}

impl Listing {
    fn read<T>(
        self,
        connection: &mut Connection,
        with_total: bool,
        from_row: fn(&Row<'_>) -> rusqlite::Result<T>,
        weight: impl Fn(&T) -> usize,
    ) -> Result<Page<T>> {
        const CONTEXT: &str = "listing";
        let Self { table, key, mut conditions, after, limit } = self;
        let snapshot = connection.transaction().context(CONTEXT)?;
        let total = if with_total {
            let sql = format!("SELECT count(*) FROM {table} {}", conditions.clause());
            let count = snapshot
                .prepare_cached(&sql)
                .and_then(|mut select| select.query_row(params_from_iter(conditions.values()), |row| row.get(0)));
            Some(count.context(CONTEXT)?)
        } else {
            None
        };
        if let Some(after) = after {
            conditions.and(&format!("{key} > ?"), [after]);
        }
        let overread = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let sql = format!("SELECT * FROM {table} {} ORDER BY {key} LIMIT {overread}", conditions.clause());
        let page = snapshot
            .prepare_cached(&sql)
            .and_then(|mut select| {
                let rows = select.query_map(params_from_iter(conditions.values()), from_row)?;
                Page::from_overfetch(rows, limit, weight)
            })
            .context(CONTEXT)?;
        Ok(Page { total, ..page })
    }
}

pub(super) fn put(transaction: &Transaction<'_>, now: Timestamp, drivers: &[NewDriver]) -> Result<Outcome> {
    const CONTEXT: &str = "storing drivers";
    let taken = taken_numbers(transaction, drivers)?;
    if !taken.is_empty() {
        return Ok(Err(Rejection::Elements(taken)));
    }
    let mut counts = Counts::default();
    let mut changed = Vec::new();
    for driver in drivers {
        match get(transaction, driver.id)? {
            Some(old) if old.name == driver.name && old.phone_number == driver.phone_number => counts.unchanged += 1,
            Some(_) => {
                counts.updated += 1;
                changed.push(driver);
            }
            None => {
                counts.created += 1;
                changed.push(driver);
            }
        }
    }
    // Clears the numbers of changed drivers first, because numbers that are exchanged within this change must not
    // collide.
    for driver in &changed {
        transaction
            .execute_cached(
                "UPDATE drivers SET phone_number = NULL WHERE id = ?1 AND phone_number IS NOT NULL",
                [driver.id],
            )
            .context(CONTEXT)?;
    }
    for driver in &changed {
        transaction
            .execute_cached(
                "INSERT INTO drivers (id, name, phone_number, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?4) \
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name, phone_number = excluded.phone_number, \
                 updated_at = excluded.updated_at",
                params![driver.id, driver.name, driver.phone_number, now],
            )
            .context(CONTEXT)?;
    }
    if !changed.is_empty() {
        driver_match::match_unknown_drivers(transaction, now)?;
    }
    Ok(Ok(Written::Drivers(counts)))
}

/// Returns the elements whose number another driver would have after the change.
fn taken_numbers(transaction: &Transaction<'_>, drivers: &[NewDriver]) -> Result<Vec<BadElement>> {
    let new_numbers: HashMap<_, _> = drivers.iter().map(|d| (d.id, &d.phone_number)).collect();
    let mut owners = HashMap::new();
    let mut taken = Vec::new();
    for (index, driver) in drivers.iter().enumerate() {
        let Some(phone) = &driver.phone_number else { continue };
        let within = *owners.entry(phone).or_insert(driver.id);
        let stored: Option<DriverId> = transaction
            .fetch_optional("SELECT id FROM drivers WHERE phone_number = ?1", [phone], |row| row.get(0))
            .context("looking up a phone number")?
            // The change itself may give the present owner another number.
            .filter(|by| new_numbers.get(by).is_none_or(|number| number.as_ref() == Some(phone)));
        if let Some(by) = [Some(within), stored].into_iter().flatten().find(|by| *by != driver.id) {
            taken.push(BadElement { index, why: BadLink::PhoneTaken(by) });
        }
    }
    Ok(taken)
}

/// Deletes a driver, or clears one slice of references if there are more.
pub(super) fn delete(transaction: &Transaction<'_>, now: Timestamp, id: DriverId) -> Result<Outcome> {
    const CONTEXT: &str = "deleting a driver";
    let calls: Vec<i64> = transaction
        .fetch_all(
            "SELECT id FROM calls WHERE driver_id = ?1 ORDER BY id LIMIT ?2",
            params![id, MAX_SLICE_ROWS],
            |row| row.get(0),
        )
        .context(CONTEXT)?;
    // The foreign keys would clear the references as well, but not update the time of the change. One by one, because
    // the order of the updates decides the numbers of the changes.
    for call in &calls {
        transaction
            .execute_cached(
                "UPDATE calls SET driver_id = NULL, driver_source = NULL, driver_conflict = NULL, updated_at = ?2 \
                 WHERE id = ?1",
                params![call, now],
            )
            .context(CONTEXT)?;
    }
    let dispatches = transaction
        .execute_cached(
            "UPDATE call_dispatches SET driver_id = NULL \
             WHERE rowid IN (SELECT rowid FROM call_dispatches WHERE driver_id = ?1 ORDER BY rowid LIMIT ?2)",
            params![id, MAX_SLICE_ROWS],
        )
        .context(CONTEXT)?;
    if calls.len().max(dispatches) == MAX_SLICE_ROWS {
        return Ok(Ok(Written::Begun));
    }
    transaction.execute_cached("DELETE FROM drivers WHERE id = ?1", [id]).context(CONTEXT).map(outcome_of_change)
}

pub(super) fn get_dispatch(connection: &Connection, id: &ConversationId) -> Result<Option<Dispatch>> {
    connection
        .fetch_optional("SELECT * FROM call_dispatches WHERE conversation_id = ?1", [id], row::dispatch)
        .context("reading a dispatch")
}

pub(super) fn list_dispatches(connection: &mut Connection, query: &DispatchPageRequest) -> Result<Page<Dispatch>> {
    let mut conditions = Conditions::default();
    if let Some(driver_id) = query.driver_id {
        conditions.and("driver_id = ?", [driver_id.get().into()]);
    }
    if let Some(batch_id) = &query.batch_id {
        conditions.and("batch_id = ?", [batch_id.clone().into()]);
    }
    let after = query.after.as_ref().map(|id| id.as_str().to_owned().into());
    let page = Listing { table: "call_dispatches", key: "conversation_id", conditions, after, limit: query.limit };
    page.read(connection, query.with_total, row::dispatch, |_| 0)
}

pub(super) fn put_dispatches(
    transaction: &Transaction<'_>,
    now: Timestamp,
    dispatches: &[NewDispatch],
) -> Result<Outcome> {
    const CONTEXT: &str = "storing dispatches";
    let mut unknown = Vec::new();
    for (index, dispatch) in dispatches.iter().enumerate() {
        let known =
            transaction.has_row("SELECT 1 FROM drivers WHERE id = ?1", [dispatch.driver_id]).context(CONTEXT)?;
        if !known {
            unknown.push(BadElement { index, why: BadLink::UnknownDriver(dispatch.driver_id) });
        }
    }
    if !unknown.is_empty() {
        return Ok(Err(Rejection::Elements(unknown)));
    }
    let mut counts = Counts::default();
    for dispatch in dispatches {
        let old = get_dispatch(transaction, &dispatch.conversation_id)?;
        let new = Dispatch {
            conversation_id: dispatch.conversation_id.clone(),
            driver_id: Some(dispatch.driver_id),
            phone_number: dispatch.phone_number.clone(),
            batch_id: dispatch.batch_id.clone(),
            dispatched_at: dispatch.dispatched_at.or(old.as_ref().map(|old| old.dispatched_at)).unwrap_or(now),
        };
        if old.as_ref() == Some(&new) {
            counts.unchanged += 1;
        } else {
            if old.is_some() {
                counts.updated += 1;
            } else {
                counts.created += 1;
            }
            transaction
                .execute_cached(
                    "INSERT OR REPLACE INTO call_dispatches \
                     (conversation_id, driver_id, phone_number, batch_id, dispatched_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![new.conversation_id, new.driver_id, new.phone_number, new.batch_id, new.dispatched_at],
                )
                .context(CONTEXT)?;
        }
        driver_match::match_driver(transaction, now, &dispatch.conversation_id)?;
    }
    Ok(Ok(Written::Dispatches(counts)))
}

pub(super) fn delete_dispatch(transaction: &Transaction<'_>, id: &ConversationId) -> Result<Outcome> {
    transaction
        .execute_cached("DELETE FROM call_dispatches WHERE conversation_id = ?1", [id])
        .context("deleting a dispatch")
        .map(outcome_of_change)
}
