//! Conversion between rows and domain values. An invalid value in a row is a database error, not a panic.

use crate::domain::reconcile::Counts;
use crate::domain::{
    AccessAction, AnsweredBy, AnsweredBySource, Call, CallAlert, CallOutcome, CallReport, CallSid, CallStatus, Channel,
    ConversationId, Credential, Direction, Dispatch, Driver, DriverId, DriverSource, EventOutcome, Finite, LastMessage,
    Message, NoticeType, PhoneNumber, PlacedToolCall, Role, Source, Speaker, Timestamp, ToolCall, ToolPurpose, Turn,
    TurnKind, UserName,
};
use crate::store::{Error, ErrorKind, Outcome, Rejection, Written};
use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> FromSqlError {
    FromSqlError::Other(Box::new(error))
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::from_stored(value.as_str()?).map_err(unreadable)
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

impl ToSql for CallSid {
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

impl FromSql for UserName {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::new(value.as_str()?).map_err(unreadable)
    }
}

impl FromSql for Message {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::from_stored(value.as_str()?).map_err(unreadable)
    }
}

/// Implements storing an enumeration as the text of its `as_str`.
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
stored_as_text!(AccessAction, Credential, Role);
stored_as_text!(AnsweredBy, AnsweredBySource, Channel, NoticeType, TurnKind, ToolPurpose);

impl FromSql for Finite {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::new(f64::column_result(value)?).ok_or(FromSqlError::InvalidType)
    }
}

impl ToSql for Finite {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.get().into())
    }
}

/// The tags of a call, stored as a JSON array of texts, or as NULL without any.
pub(super) struct Tags(pub(super) Vec<String>);

impl FromSql for Tags {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_str_or_null()? {
            None => Ok(Self(Vec::new())),
            Some(text) => serde_json::from_str(text).map(Self).map_err(unreadable),
        }
    }
}

/// The alerts of a call, selected as a JSON array of names and numbers of turns, or as NULL without any.
struct Alerts(Vec<CallAlert>);

impl FromSql for Alerts {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let Some(text) = value.as_str_or_null()? else { return Ok(Self(Vec::new())) };
        let mut matches: Vec<(String, i64)> = serde_json::from_str(text).map_err(unreadable)?;
        matches.sort_by(|(a, at), (b, bt)| (at, a).cmp(&(bt, b)));
        Ok(Self(matches.into_iter().map(|(name, sequence_number)| CallAlert { name, sequence_number }).collect()))
    }
}

/// Reads the columns of a row one after another, in the order of the `SELECT`. Looking up each column by name would
/// take longer than everything else that a page of calls needs.
pub(super) struct Columns<'a> {
    row: &'a Row<'a>,
    next: usize,
}

impl<'a> Columns<'a> {
    pub(super) fn new(row: &'a Row<'a>) -> Self {
        Self { row, next: 0 }
    }

    /// Returns the next column. Its name documents the code and is checked in debug builds.
    pub(super) fn take<T: FromSql>(&mut self, name: &str) -> rusqlite::Result<T> {
        let at = self.next;
        debug_assert_eq!(self.row.as_ref().column_name(at), Ok(name), "other columns were selected");
        self.next += 1;
        self.row.get(at)
    }
}

/// Columns of `calls c` that [`call`] reads.
///
/// SQLite checks once per statement whether there are alerts at all, so a list costs no more if none are configured.
pub(super) const CALL: &str = "c.id, c.conversation_id, c.driver_id, c.call_start_time, c.call_end_time, c.status, \
    c.turn_count, c.first_turn_time, c.last_turn_time, c.driver_source, c.driver_conflict, c.duration_seconds, \
    c.agent_id, c.user_id, c.direction, c.termination_reason, c.outcome, c.title, c.summary, c.main_language, c.cost, \
    c.external_number, c.batch_id, c.analysis, c.record_event_id, c.matched, c.live_only, c.added, c.corrected, \
    c.repeated, c.answered_by, c.answered_by_source, c.answered_by_conflict, c.channel, c.parent_conversation_id, \
    c.environment, c.branch_id, c.version_id, c.call_sid, c.agent_number, c.agent_name, c.cost_usd, \
    c.queue_wait_seconds, c.accepted_time, c.campaign, c.tags, c.conversation_product, c.sentiment, c.record_complete, \
    c.initiation_source, \
    c.status <> 'in_progress' AND EXISTS (SELECT 1 FROM tool_calls k WHERE k.conversation_id = c.conversation_id \
        AND k.purpose = 'end_call' AND k.is_error IS NOT 1) AS agent_ended, c.tool_error, \
    CASE WHEN EXISTS (SELECT 1 FROM call_alerts) THEN (SELECT nullif(json_group_array(json_array(a.name, \
        ifnull(t.superseded_by, t.sequence_number))), '[]') \
        FROM call_alerts a JOIN call_transcriptions t ON t.id = a.transcription_id \
        WHERE a.conversation_id = c.conversation_id) END AS alerts, \
    c.created_at, c.updated_at, d.name AS driver_name, l.speaker_type, l.message_text, \
    l.final_text, l.timestamp, l.sequence_number";

/// Joins the last message `l` to calls `c`.
///
/// Calls that were stored before `last_message_id` existed lack it. Their message is searched among the turns that
/// arrived last, because no index has the spoken order. Turns that only ElevenLabs' record contains arrive last
/// wherever they were spoken, so they widen the search, up to a limit.
macro_rules! join_last_message {
    () => {
        "LEFT JOIN call_transcriptions l ON l.id = ifnull(c.last_message_id, (SELECT t.id FROM call_transcriptions t \
            WHERE t.conversation_id = c.conversation_id AND t.superseded_by IS NULL AND t.kind IN ('speech', 'text') \
            AND t.sequence_number > c.turn_count - 8 - min(ifnull(c.added, 0), 24) \
            ORDER BY ifnull(t.place, 9223372036854775807) DESC, t.timestamp DESC, t.sequence_number DESC LIMIT 1))"
    };
}
pub(super) use join_last_message;

/// Source, filter and order that select the last message of the call with the id `?1`.
pub(super) const LAST_MESSAGE: &str = "call_transcriptions WHERE conversation_id = ?1 AND superseded_by IS NULL \
    AND kind IN ('speech', 'text') \
    ORDER BY ifnull(place, 9223372036854775807) DESC, timestamp DESC, sequence_number DESC LIMIT 1";

/// Calls `c` with their driver `d` and their last message `l`, for the columns of [`CALL`].
pub(super) const CALLS: &str = concat!("calls c LEFT JOIN drivers d ON d.id = c.driver_id ", join_last_message!());

pub(super) fn call(row: &Row<'_>) -> rusqlite::Result<Call> {
    let mut columns = Columns::new(row);
    let call = Call {
        id: columns.take("id")?,
        conversation_id: columns.take("conversation_id")?,
        driver_id: columns.take("driver_id")?,
        driver_name: None,
        call_start_time: columns.take("call_start_time")?,
        call_end_time: columns.take("call_end_time")?,
        status: columns.take("status")?,
        turn_count: columns.take("turn_count")?,
        first_turn_time: columns.take("first_turn_time")?,
        last_turn_time: columns.take("last_turn_time")?,
        last_message: None,
        report: report(&mut columns)?,
        alerts: columns.take::<Alerts>("alerts")?.0,
        transferred: None,
        created_at: columns.take("created_at")?,
        updated_at: columns.take("updated_at")?,
    };
    Ok(Call { driver_name: columns.take("driver_name")?, last_message: last_message(&mut columns)?, ..call })
}

fn last_message(columns: &mut Columns<'_>) -> rusqlite::Result<Option<LastMessage>> {
    let Some(speaker) = columns.take("speaker_type")? else { return Ok(None) };
    Ok(Some(LastMessage {
        speaker,
        message: columns.take("message_text")?,
        final_text: columns.take("final_text")?,
        timestamp: columns.take("timestamp")?,
        sequence_number: columns.take("sequence_number")?,
    }))
}

fn report(columns: &mut Columns<'_>) -> rusqlite::Result<CallReport> {
    Ok(CallReport {
        driver_source: columns.take("driver_source")?,
        driver_conflict: columns.take("driver_conflict")?,
        duration_seconds: columns.take("duration_seconds")?,
        agent_id: columns.take("agent_id")?,
        user_id: columns.take("user_id")?,
        direction: columns.take("direction")?,
        termination_reason: columns.take("termination_reason")?,
        outcome: columns.take("outcome")?,
        title: columns.take("title")?,
        summary: columns.take("summary")?,
        main_language: columns.take("main_language")?,
        cost: columns.take("cost")?,
        external_number: columns.take("external_number")?,
        batch_id: columns.take("batch_id")?,
        analysis: columns.take("analysis")?,
        record_event_id: columns.take("record_event_id")?,
        reconciled: counts(columns)?,
        answered_by: columns.take("answered_by")?,
        answered_by_source: columns.take("answered_by_source")?,
        answered_by_conflict: columns.take("answered_by_conflict")?,
        channel: columns.take("channel")?,
        parent_conversation_id: columns.take("parent_conversation_id")?,
        environment: columns.take("environment")?,
        branch_id: columns.take("branch_id")?,
        version_id: columns.take("version_id")?,
        call_sid: columns.take("call_sid")?,
        agent_number: columns.take("agent_number")?,
        agent_name: columns.take("agent_name")?,
        cost_usd: columns.take("cost_usd")?,
        queue_wait_seconds: columns.take("queue_wait_seconds")?,
        accepted_time: columns.take("accepted_time")?,
        campaign: columns.take("campaign")?,
        tags: columns.take::<Tags>("tags")?.0,
        conversation_product: columns.take("conversation_product")?,
        sentiment: columns.take("sentiment")?,
        record_complete: columns.take("record_complete")?,
        initiation_source: columns.take("initiation_source")?,
        agent_ended: columns.take("agent_ended")?,
        tool_error: columns.take("tool_error")?,
    })
}

/// Reads the counts of a reconciliation, or `None` if the call has no record.
pub(super) fn counts(columns: &mut Columns<'_>) -> rusqlite::Result<Option<Counts>> {
    let Some(matched) = columns.take("matched")? else {
        columns.next += 4;
        return Ok(None);
    };
    Ok(Some(Counts {
        matched,
        live_only: columns.take("live_only")?,
        added: columns.take("added")?,
        corrected: columns.take("corrected")?,
        repeated: columns.take("repeated")?,
    }))
}

macro_rules! turn_columns {
    ($by_machine:literal) => {
        concat!(
            "t.id, t.conversation_id, t.speaker_type, t.message_text, t.timestamp, t.sequence_number, t.source, \
             t.created_at, t.final_text, t.interrupted, t.place, t.superseded_by, t.record_time, t.in_record, t.kind, \
             t.metrics, ",
            $by_machine,
            " AS by_machine"
        )
    };
}

/// Columns of `call_transcriptions t` that [`turn`] reads.
pub(super) const TURN: &str = turn_columns!(
    "EXISTS (SELECT 1 FROM calls m WHERE m.conversation_id = t.conversation_id \
        AND m.answered_by IN ('voicemail', 'fax'))"
);

/// Columns that [`turn`] reads, for the turns of one call. The parameter `:by_machine` says whether a machine answered
/// it, which is not looked up for each turn.
pub(super) const TURN_OF_CALL: &str = turn_columns!(":by_machine");

/// Position of a turn that has none yet. It sorts last, so a call that is reconciled in slices is in order meanwhile.
/// Without a record, no turn has a position.
pub(super) const UNPLACED: i64 = i64::MAX;

pub(super) fn turn(row: &Row<'_>) -> rusqlite::Result<Turn> {
    turn_of(&mut Columns::new(row))
}

pub(super) fn turn_of(columns: &mut Columns<'_>) -> rusqlite::Result<Turn> {
    Ok(Turn {
        id: columns.take("id")?,
        conversation_id: columns.take("conversation_id")?,
        speaker: columns.take("speaker_type")?,
        message: columns.take("message_text")?,
        timestamp: columns.take("timestamp")?,
        sequence_number: columns.take("sequence_number")?,
        source: columns.take("source")?,
        created_at: columns.take("created_at")?,
        final_text: columns.take("final_text")?,
        interrupted: columns.take("interrupted")?,
        place: columns.take("place")?,
        superseded_by: columns.take("superseded_by")?,
        record_time: columns.take("record_time")?,
        in_record: columns.take("in_record")?,
        kind: columns.take("kind")?,
        metrics: columns.take("metrics")?,
        by_machine: columns.take("by_machine")?,
    })
}

/// Columns of `tool_calls` that [`tool_call`] reads.
pub(super) const TOOL_CALL: &str =
    "position, after_place, request_id, name, type, purpose, arguments, result, is_error, latency_ms, at";

pub(super) fn tool_call(row: &Row<'_>) -> rusqlite::Result<PlacedToolCall> {
    let mut columns = Columns::new(row);
    Ok(PlacedToolCall {
        position: columns.take("position")?,
        after_place: columns.take("after_place")?,
        call: ToolCall {
            // Only records know the index.
            index: 0,
            request_id: columns.take("request_id")?,
            name: columns.take("name")?,
            tool_type: columns.take("type")?,
            purpose: columns.take("purpose")?,
            arguments: columns.take("arguments")?,
            result: columns.take("result")?,
            is_error: columns.take("is_error")?,
            latency_ms: columns.take("latency_ms")?,
            at: columns.take("at")?,
        },
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

/// Returns the outcome of a change, which is `NotFound` if no row changed.
pub(super) fn outcome_of_change(rows: usize) -> Outcome {
    if rows == 0 { Err(Rejection::NotFound) } else { Ok(Written::Done) }
}

/// Checks that an insertion inserted its row.
///
/// # Errors
/// It did not, because a trigger that somebody else added to the database dropped the row without an error.
pub(super) fn expect_stored(rows: usize) -> crate::store::Result<()> {
    if rows == 1 {
        return Ok(());
    }
    let what = "a trigger of the database that is not ours drops new rows";
    Err(Error::new(ErrorKind::Other, "storing a turn", what))
}

/// Maximum row id that is restored. As many ids remain for new rows up to 2^53, the largest integer that every JSON
/// reader keeps exactly.
pub(super) const MAX_ROW_ID: i64 = 1 << 52;

/// Maximum last row id of a table with enough ids for new rows: 2^40 remain up to 2^53.
pub(super) const MAX_LAST_ROW_ID: i64 = (1 << 53) - (1 << 40);
