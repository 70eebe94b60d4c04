//! Turns: storing each once and in order, and listing a call's turns.
//!
//! `turn_count` in a call's row is both the number of turns and the last sequence number. A batch reads it once for
//! each call that it changes, or takes it from the cache, and writes it back once. Counting rows would take longer the
//! longer a call is.

use super::call_cache::{CallCache, CallState, UncommittedTurns};
use super::change_log::ChangeLog;
use super::reconcile::SliceOutcome;
use super::{dedup, reconcile};
use crate::domain::reconcile::Reconciliation;
use crate::domain::{CallSid, ConversationId, DeliveryKey, NewTurn, Speaker, Timestamp, Turn, TurnKind};
use crate::store::sqlite::due::{self, DueReason};
use crate::store::sqlite::erase;
use crate::store::sqlite::error::Context as _;
use crate::store::sqlite::outgoing::Outbox;
use crate::store::sqlite::row::{self, TURN_OF_CALL, UNPLACED, expect_stored};
use crate::store::sqlite::statement::Statements as _;
use crate::store::{Outcome, Page, Rejection, Result, StoredTurn, TurnOrder, TurnQuery, Written, max_json_length};
use crate::telemetry::metrics::METRICS;
use rusqlite::{Connection, Row, Transaction, named_params, params};
use std::collections::BTreeMap;

/// Parts of the statement that stores a turn: the columns and those named by the literal, and the values.
macro_rules! insert_turn {
    (values) => {
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9"
    };
    ($more:literal) => {
        concat!(
            "INSERT INTO call_transcriptions (conversation_id, speaker_type, message_text, timestamp, sequence_number, \
             created_at, source, delivery_key, repeat_key",
            $more,
            ")"
        )
    };
}

/// The turns of one transaction. Each call's row is read and written once, however many turns it receives.
///
/// The calls are ordered by id, because the order of their writes decides the numbers of changes, which
/// must be the same in every copy of the data.
pub(in crate::store::sqlite) struct Batch<'a> {
    live: &'a mut CallCache,
    calls: BTreeMap<ConversationId, CallState>,
    now: String,
    pub(in crate::store::sqlite) changes: ChangeLog,
    pub(in crate::store::sqlite) outbox: Outbox,
}

impl<'a> Batch<'a> {
    pub(in crate::store::sqlite) fn begin(
        transaction: &Transaction<'_>,
        live: &'a mut CallCache,
        now: Timestamp,
    ) -> Result<Self> {
        live.begin(transaction)?;
        let outbox = Outbox::begin(transaction)?;
        Ok(Self { live, calls: BTreeMap::new(), now: now.to_string(), changes: ChangeLog::default(), outbox })
    }

    /// Stores a turn, unless it is a repeat.
    pub(in crate::store::sqlite) fn append(
        &mut self,
        transaction: &Transaction<'_>,
        turn: &NewTurn,
    ) -> Result<Outcome> {
        let timestamp = turn.timestamp.to_string();
        let (id, call_sid) = (&turn.conversation_id, turn.call_sid.as_ref());
        let found = Self::call(&mut self.calls, self.live, transaction, id, call_sid, &timestamp, &self.now)?;
        let Some(call) = found else { return Ok(Err(Rejection::Unfinished)) };
        let digest = dedup::digest(turn, &timestamp);
        if let Some(key) = &turn.delivery_key {
            if let Some(answer) = find_by_key(transaction, turn, key, &timestamp)? {
                return Ok(answer);
            }
        } else {
            let candidates = call.repeats(transaction, &turn.conversation_id, digest)?;
            if let Some(stored) = find_repeat(transaction, turn, &timestamp, candidates)? {
                return Ok(Ok(Written::Turn(stored)));
            }
        }
        // The default kind is not written, so that almost every turn has one value less.
        let kind = TurnKind::of_words(turn.message.as_str());
        let insert = match kind {
            TurnKind::Silence => concat!(insert_turn!(", kind"), insert_turn!(values), ", 'silence')"),
            _ => concat!(insert_turn!(""), insert_turn!(values), ")"),
        };
        let stored = transaction
            .execute_cached(
                insert,
                params![
                    turn.conversation_id,
                    turn.speaker,
                    turn.message.as_str(),
                    timestamp,
                    call.turn_count + 1,
                    self.now,
                    turn.source,
                    turn.delivery_key.as_ref().map(DeliveryKey::as_str),
                    dedup::repeat_key(call.id, digest),
                ],
            )
            .context("storing a turn")?;
        expect_stored(stored)?;
        let transcription_id = transaction.last_insert_rowid();
        call.count_turn(turn.speaker, turn.timestamp, digest);
        if kind != TurnKind::Silence {
            call.note_message(transcription_id, turn.timestamp);
        }
        Ok(Ok(Written::Turn(StoredTurn {
            transcription_id,
            sequence_number: call.turn_count,
            replayed: false,
            due: call.recorded,
            new_call: call.new_call.take(),
        })))
    }

    /// Returns the call, creating it if necessary, or `None` while it is erased or restored in slices.
    fn call<'b>(
        calls: &'b mut BTreeMap<ConversationId, CallState>,
        live: &mut CallCache,
        transaction: &Transaction<'_>,
        id: &ConversationId,
        call_sid: Option<&CallSid>,
        start: &str,
        now: &str,
    ) -> Result<Option<&'b mut CallState>> {
        // Looks up twice on a miss, because the entry API would copy the key for each turn.
        if !calls.contains_key(id) {
            let call = match live.remove(id) {
                Some(call) => call,
                None if erase::is_unfinished(transaction, id)? => return Ok(None),
                None => match CallState::read(transaction, id)? {
                    Some(call) => call,
                    None => CallState::create(transaction, id, call_sid, start, now)?,
                },
            };
            calls.insert(id.clone(), call);
        }
        Ok(calls.get_mut(id))
    }

    /// Returns the row id of a call, creating it with this `start` if necessary, or `None` while it is erased or
    /// restored in slices.
    pub(in crate::store::sqlite) fn get_or_create(
        &mut self,
        transaction: &Transaction<'_>,
        id: &ConversationId,
        start: Timestamp,
    ) -> Result<Option<i64>> {
        let call = Self::call(&mut self.calls, self.live, transaction, id, None, &start.to_string(), &self.now)?;
        Ok(call.map(|call| call.id))
    }

    /// Returns the row id of a call, or `None` if it does not exist, or is being erased or restored in slices.
    pub(in crate::store::sqlite) fn find(
        &mut self,
        transaction: &Transaction<'_>,
        id: &ConversationId,
    ) -> Result<Option<i64>> {
        if !self.calls.contains_key(id) {
            let known = match self.live.remove(id) {
                None if erase::is_unfinished(transaction, id)? => None,
                None => CallState::read(transaction, id)?,
                known => known,
            };
            let Some(call) = known else { return Ok(None) };
            self.calls.insert(id.clone(), call);
        }
        Ok(self.calls.get(id).map(|call| call.id))
    }

    /// Records that a record or a history of a call arrived. From now on each turn makes the call due.
    pub(in crate::store::sqlite) fn mark_due(
        &mut self,
        transaction: &Transaction<'_>,
        id: &ConversationId,
        call_id: i64,
        reason: DueReason,
    ) -> Result<()> {
        if let Some(call) = self.calls.get_mut(id) {
            call.recorded = true;
        }
        due::mark_due(transaction, call_id, reason)
    }

    /// Stores a slice of a reconciled call, unless another plan was stored after this one was made.
    pub(in crate::store::sqlite) fn settle(
        &mut self,
        transaction: &Transaction<'_>,
        now: Timestamp,
        reconciliation: &Reconciliation,
    ) -> Result<Outcome> {
        let id = &reconciliation.conversation_id;
        if self.find(transaction, id)?.is_none() {
            return Ok(Err(Rejection::NotFound));
        }
        let call = self.calls.get_mut(id).expect("it was found");
        let settled = reconcile::settle(transaction, call, now, reconciliation)?;
        if settled == SliceOutcome::Outdated {
            return Ok(Err(Rejection::Outdated));
        }
        if settled == SliceOutcome::Record {
            self.outbox.note_reconciled(id);
        }
        Ok(Ok(Written::Reconciled { turn_count: call.turn_count }))
    }

    /// Writes the calls' rows. Must be called before anything else reads them, and before the commit.
    pub(in crate::store::sqlite) fn flush(&mut self, transaction: &Transaction<'_>) -> Result<()> {
        for call in self.calls.values_mut() {
            if call.write(transaction, &self.now)? && call.recorded {
                due::mark_due(transaction, call.id, DueReason::Turns)?;
            }
        }
        Ok(())
    }

    /// Removes an erased call from the batch and the cache.
    pub(in crate::store::sqlite) fn remove(&mut self, id: &ConversationId) {
        self.calls.remove(id);
        self.live.remove(id);
    }

    /// Must be called after the commit.
    pub(in crate::store::sqlite) fn committed(self) {
        let mut stored = UncommittedTurns::default();
        for (id, mut call) in self.calls {
            let UncommittedTurns { agent, driver } = std::mem::take(&mut call.fresh);
            // A call that is read from the database again is not new either.
            call.new_call = None;
            stored.agent += agent;
            stored.driver += driver;
            self.live.put(id, call);
        }
        METRICS.turns_stored_total.with_label_values(&[Speaker::Agent.as_str()]).inc_by(stored.agent);
        METRICS.turns_stored_total.with_label_values(&[Speaker::Driver.as_str()]).inc_by(stored.driver);
    }
}

const FIND: &str = "looking up a repeat";

/// Columns that [`compare_row`] reads.
const COMPARED: &str = "id, sequence_number, speaker_type, timestamp, message_text";

/// Reads a stored turn, and whether it equals the delivered one.
fn compare_row(row: &Row<'_>, turn: &NewTurn, timestamp: &str) -> rusqlite::Result<(StoredTurn, bool)> {
    let same = row.get_ref(2)?.as_str()? == turn.speaker.as_str()
        && row.get_ref(3)?.as_str()? == timestamp
        && row.get_ref(4)?.as_str()? == turn.message.as_str();
    let stored = StoredTurn {
        transcription_id: row.get(0)?,
        sequence_number: row.get(1)?,
        replayed: true,
        due: false,
        new_call: None,
    };
    Ok((stored, same))
}

/// Returns the answer to a turn whose delivery key was used before.
fn find_by_key(
    transaction: &Transaction<'_>,
    turn: &NewTurn,
    key: &DeliveryKey,
    timestamp: &str,
) -> Result<Option<Outcome>> {
    let found = transaction
        .fetch_optional(
            &format!("SELECT {COMPARED} FROM call_transcriptions WHERE conversation_id = ?1 AND delivery_key = ?2"),
            params![turn.conversation_id, key.as_str()],
            |row| compare_row(row, turn, timestamp),
        )
        .context(FIND)?;
    Ok(found.map(|(stored, same)| if same { Ok(Written::Turn(stored)) } else { Err(Rejection::KeyReused) }))
}

/// Returns the stored turn that a turn without a key repeats, if it is one of these.
fn find_repeat(
    transaction: &Transaction<'_>,
    turn: &NewTurn,
    timestamp: &str,
    candidates: Vec<i64>,
) -> Result<Option<StoredTurn>> {
    for sequence_number in candidates {
        let (stored, same) = transaction
            .fetch_one(
                &format!(
                    "SELECT {COMPARED} FROM call_transcriptions WHERE conversation_id = ?1 AND sequence_number = ?2"
                ),
                params![turn.conversation_id, sequence_number],
                |row| compare_row(row, turn, timestamp),
            )
            .context(FIND)?;
        if same {
            return Ok(Some(stored));
        }
    }
    Ok(None)
}

pub(in crate::store::sqlite) fn list(connection: &mut Connection, query: &TurnQuery) -> Result<Option<Page<Turn>>> {
    const CONTEXT: &str = "listing a call's turns";
    let snapshot = connection.transaction().context(CONTEXT)?;
    let call: Option<(u64, bool)> = snapshot
        .fetch_optional(
            "SELECT turn_count, answered_by IS NOT NULL AND answered_by IN ('voicemail', 'fax') FROM calls \
             WHERE conversation_id = ?1",
            [&query.conversation_id],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .context(CONTEXT)?;
    let Some((turn_count, by_machine)) = call else { return Ok(None) };
    let limit = i64::try_from(query.limit + 1).unwrap_or(i64::MAX);
    let page = match query.order {
        TurnOrder::Sequence => {
            let after = query.after.map_or(query.after_sequence, |key| key.sequence_number.max(query.after_sequence));
            snapshot
                // The numbers have no gaps. With `>` instead, SQLite 3.53 would compile the statement anew for each
                // value, because it compares the parameter with the condition of the index
                // call_transcriptions_delivery.
                .prepare_cached(&format!(
                    "SELECT {TURN_OF_CALL} FROM call_transcriptions t WHERE conversation_id = :conversation \
                     AND sequence_number BETWEEN :first AND :last ORDER BY sequence_number"
                ))
                .and_then(|mut select| {
                    let values = named_params! {
                        ":conversation": query.conversation_id, ":by_machine": by_machine,
                        ":first": after.saturating_add(1), ":last": after.saturating_add(limit),
                    };
                    Page::from_overfetch(select.query_map(values, row::turn)?, query.limit, text_of)
                })
        }
        TurnOrder::Time | TurnOrder::TimeDescending => {
            let ids = ids_by_time(&snapshot, query, limit).context(CONTEXT)?;
            snapshot
                .prepare_cached(&format!("SELECT {TURN_OF_CALL} FROM call_transcriptions t WHERE id = :id"))
                .and_then(|mut select| {
                    let mut turn =
                        |id| select.query_row(named_params! {":id": id, ":by_machine": by_machine}, row::turn);
                    Page::from_overfetch(ids.into_iter().map(&mut turn), query.limit, text_of)
                })
        }
    }
    .context(CONTEXT)?;
    let total = match query.order {
        _ if !query.with_total => None,
        TurnOrder::Sequence => {
            // Sequence numbers have no gaps, so the turns up to `after_sequence` need no counting.
            Some(turn_count.saturating_sub(u64::try_from(query.after_sequence).unwrap_or(0)))
        }
        TurnOrder::Time | TurnOrder::TimeDescending => Some(
            snapshot
                .prepare_cached(
                    "SELECT count(*) FROM call_transcriptions WHERE conversation_id = ?1 AND sequence_number > ?2 \
                     AND superseded_by IS NULL",
                )
                .and_then(|mut select| {
                    select.query_row(params![query.conversation_id, query.after_sequence], |row| row.get(0))
                })
                .context(CONTEXT)?,
        ),
    };
    Ok(Some(Page { total, ..page }))
}

/// Returns the ids of a page's turns in spoken order. They are sorted for each page, without their words: with some
/// hundred turns per call, this is faster than one more index on every write.
fn ids_by_time(snapshot: &Transaction<'_>, query: &TurnQuery, limit: i64) -> rusqlite::Result<Vec<i64>> {
    let (after_time, after_number) = query.after.map_or((None, 0), |key| (Some(key.timestamp), key.sequence_number));
    let after_place = query.after.and_then(|key| key.place).unwrap_or(UNPLACED);
    let (past, direction) = if query.order == TurnOrder::TimeDescending { ("<", "DESC") } else { (">", "ASC") };
    let mut select = snapshot.prepare_cached(&format!(
        "SELECT id FROM call_transcriptions WHERE conversation_id = :conversation \
         AND sequence_number > :after_sequence AND superseded_by IS NULL \
         AND (:after_time IS NULL OR (ifnull(place, {UNPLACED}), timestamp, sequence_number) \
            {past} (:after_place, :after_time, :after_number)) \
         ORDER BY ifnull(place, {UNPLACED}) {direction}, timestamp {direction}, sequence_number {direction} \
         LIMIT {limit}",
    ))?;
    let values = named_params! {
        ":conversation": query.conversation_id, ":after_sequence": query.after_sequence,
        ":after_place": after_place, ":after_time": after_time, ":after_number": after_number,
    };
    select.query_map(values, |row| row.get(0))?.collect()
}

/// Returns the size of a turn's texts, in bytes of JSON.
fn text_of(turn: &Turn) -> usize {
    max_json_length(turn.message.as_str()) + turn.final_text.as_ref().map_or(0, |text| max_json_length(text.as_str()))
}
