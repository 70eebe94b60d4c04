//! Rows to domain values and back. Columns are read by name, and a value that no rule of ours allows is an error of
//! the database, not a panic.

use crate::model::{
    Call, CallOutcome, CallReport, CallStatus, ConversationId, Direction, Dispatch, Driver, DriverId, DriverSource,
    EventOutcome, Message, PhoneNumber, Source, Speaker, Timestamp, Turn,
};
use crate::reconcile::Counts;
use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> FromSqlError {
    FromSqlError::Other(Box::new(error))
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::parse(value.as_str()?).map_err(unreadable)
    }
}

impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.to_string().into())
    }
}

impl FromSql for ConversationId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::new(value.as_str()?).map_err(unreadable)
    }
}

impl ToSql for ConversationId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

impl FromSql for DriverId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::new(value.as_i64()?).map_err(unreadable)
    }
}

impl ToSql for DriverId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.get().into())
    }
}

impl FromSql for PhoneNumber {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::new(value.as_str()?).map_err(unreadable)
    }
}

impl ToSql for PhoneNumber {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

impl FromSql for Message {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::new(value.as_str()?).map_err(unreadable)
    }
}

/// The enumerations are stored as the texts that their `as_str` gives.
macro_rules! stored_as_text {
    ($($name:ty),+) => {$(
        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                Self::from_stored(value.as_str()?).ok_or(FromSqlError::InvalidType)
            }
        }

        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.as_str().into())
            }
        }
    )+};
}
stored_as_text!(CallStatus, Speaker, Source, Direction, CallOutcome, DriverSource, EventOutcome);

pub(super) fn call(row: &Row<'_>) -> rusqlite::Result<Call> {
    Ok(Call {
        id: row.get("id")?,
        conversation_id: row.get("conversation_id")?,
        driver_id: row.get("driver_id")?,
        call_start_time: row.get("call_start_time")?,
        call_end_time: row.get("call_end_time")?,
        status: row.get("status")?,
        turn_count: row.get("turn_count")?,
        first_turn_time: row.get("first_turn_time")?,
        last_turn_time: row.get("last_turn_time")?,
        report: report(row)?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}

fn report(row: &Row<'_>) -> rusqlite::Result<CallReport> {
    Ok(CallReport {
        driver_source: row.get("driver_source")?,
        driver_conflict: row.get("driver_conflict")?,
        duration_seconds: row.get("duration_seconds")?,
        agent_id: row.get("agent_id")?,
        user_id: row.get("user_id")?,
        direction: row.get("direction")?,
        termination_reason: row.get("termination_reason")?,
        outcome: row.get("outcome")?,
        title: row.get("title")?,
        summary: row.get("summary")?,
        main_language: row.get("main_language")?,
        cost: row.get("cost")?,
        external_number: row.get("external_number")?,
        batch_id: row.get("batch_id")?,
        analysis: row.get("analysis")?,
        record_event_id: row.get("record_event_id")?,
        reconciled: counts(row)?,
    })
}

/// What came of bringing a call's turns and record together, if it has a record.
pub(super) fn counts(row: &Row<'_>) -> rusqlite::Result<Option<Counts>> {
    let Some(matched) = row.get("matched")? else { return Ok(None) };
    Ok(Some(Counts {
        live_only: row.get("live_only")?,
        matched,
        added: row.get("added")?,
        corrected: row.get("corrected")?,
        repeated: row.get("repeated")?,
    }))
}

pub(super) fn turn(row: &Row<'_>) -> rusqlite::Result<Turn> {
    Ok(Turn {
        id: row.get("id")?,
        conversation_id: row.get("conversation_id")?,
        speaker: row.get("speaker_type")?,
        message: row.get("message_text")?,
        timestamp: row.get("timestamp")?,
        sequence_number: row.get("sequence_number")?,
        source: row.get("source")?,
        created_at: row.get("created_at")?,
        final_text: row.get("final_text")?,
        interrupted: row.get("interrupted")?,
        place: row.get("place")?,
        superseded_by: row.get("superseded_by")?,
    })
}

pub(super) fn driver(row: &Row<'_>) -> rusqlite::Result<Driver> {
    Ok(Driver {
        id: row.get("id")?,
        name: row.get("name")?,
        phone_number: row.get("phone_number")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}

pub(super) fn dispatch(row: &Row<'_>) -> rusqlite::Result<Dispatch> {
    Ok(Dispatch {
        conversation_id: row.get("conversation_id")?,
        driver_id: row.get("driver_id")?,
        phone_number: row.get("phone_number")?,
        batch_id: row.get("batch_id")?,
        dispatched_at: row.get("dispatched_at")?,
    })
}
