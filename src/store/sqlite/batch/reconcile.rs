//! Stores a reconciled call, one slice per transaction, unless another plan was stored meanwhile.

use super::call_cache::CallState;
use super::change_log::ChangeLog;
use super::{dedup, driver_match};
use crate::domain::reconcile::{Counts, CreatedTurn, FactsWrite, Reconciliation, TurnPlacement, WholeCall};
use crate::domain::{Answer, ConversationId, Message, Source, Timestamp};
use crate::store::Result;
use crate::store::sqlite::call_stats;
use crate::store::sqlite::due::{self, DueCall};
use crate::store::sqlite::error::Context as _;
use crate::store::sqlite::statement::Statements as _;
use crate::store::sqlite::tool_calls;
use rusqlite::{ToSql, Transaction, params};
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

const CONTEXT: &str = "storing a reconciled call";

/// The result of storing a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store::sqlite) enum SliceOutcome {
    /// Another plan of the call was stored after this one was made.
    Outdated,
    /// The slice is stored.
    Stored,
    /// The slice is stored. It was the last one, and merged a record that is news into the call.
    Record,
}

/// Stores a slice, unless another plan of the call was stored after this one was made. Turns and records that arrived
/// meanwhile do not matter, because they keep the call due.
pub(in crate::store::sqlite) fn settle(
    transaction: &Transaction<'_>,
    call: &mut CallState,
    now: Timestamp,
    reconciliation: &Reconciliation,
) -> Result<SliceOutcome> {
    let Reconciliation { conversation_id: id, base, additions, placements, whole } = reconciliation;
    let Some(DueCall { base: state, quiet, .. }) =
        due::get(transaction, base.call_id)?.filter(|_| call.id == base.call_id)
    else {
        return Ok(SliceOutcome::Outdated);
    };
    if (state.since, state.slices) != (base.since, base.slices) || call.turn_count < base.turn_count {
        return Ok(SliceOutcome::Outdated);
    }
    // Turns that arrived meanwhile took the sequence numbers that the additions would have had.
    let silenced = if quiet { Some(ChangeLog::last(transaction)?) } else { None };
    let shift = call.turn_count - base.turn_count;
    let unchanged = shift == 0 && state.version == base.version;
    let now_text = now.to_string();
    for placement in placements {
        let moved = |number: i64| if number > base.turn_count { number + shift } else { number };
        change(transaction, id, placement, placement.superseded_by.map(moved))?;
    }
    for addition in additions {
        add(transaction, id, call, addition, &now_text)?;
    }
    let Some(whole) = whole else {
        call.write(transaction, &now_text)?;
        call_stats::invalidate(transaction, call.id)?;
        return due::count_slice(transaction, call.id).map(|()| SliceOutcome::Stored);
    };
    if whole.placements_changed || base.slices > 0 {
        ChangeLog::record_turns(transaction, call.id)?;
    }
    if whole.times_changed {
        call.refresh_times(transaction, id)?;
    }
    if whole.placements_changed || !additions.is_empty() || base.slices > 0 {
        call.refresh_last_message(transaction, id)?;
    }
    call.write(transaction, &now_text)?;
    write_whole(transaction, call, now, id, whole)?;
    if let Some(before) = silenced {
        ChangeLog::silence(transaction, call.id, before)?;
    }
    if unchanged {
        due::unmark(transaction, call.id)?;
        call.recorded = CallState::is_recorded(transaction, call.id)?;
    } else {
        due::put_last(transaction, call.id)?;
    }
    Ok(if whole.signed && !quiet { SliceOutcome::Record } else { SliceOutcome::Stored })
}

/// Writes the placement of a turn, and its words if they changed.
fn change(
    transaction: &Transaction<'_>,
    id: &ConversationId,
    placement: &TurnPlacement,
    superseded_by: Option<i64>,
) -> Result<()> {
    transaction
        .execute_cached(
            "UPDATE call_transcriptions SET place = ?3, superseded_by = ?4, final_text = ?5, interrupted = ?6, \
             timestamp = ?7, record_time = ?8, in_record = ?9, kind = ?10, metrics = ?11 \
             WHERE conversation_id = ?1 AND sequence_number = ?2",
            params![
                id,
                placement.sequence_number,
                placement.place,
                superseded_by,
                placement.final_text.as_ref().map(Message::as_str),
                placement.interrupted,
                placement.timestamp,
                placement.record_time,
                placement.in_record,
                placement.kind,
                placement.metrics,
            ],
        )
        .context(CONTEXT)?;
    let Some((speaker, words)) = &placement.rewritten else { return Ok(()) };
    transaction
        .execute_cached(
            "UPDATE call_transcriptions SET speaker_type = ?3, message_text = ?4 \
             WHERE conversation_id = ?1 AND sequence_number = ?2 AND source IN ('history', 'post_call')",
            params![id, placement.sequence_number, speaker, words.as_str()],
        )
        .map(drop)
        .context(CONTEXT)
}

/// Inserts a turn that only a record or a history contains.
fn add(
    transaction: &Transaction<'_>,
    id: &ConversationId,
    call: &mut CallState,
    addition: &CreatedTurn,
    now: &str,
) -> Result<()> {
    let CreatedTurn { entry, source, place, timestamp } = addition;
    // This is not a delivery's digest, so that a later delivery does not look like a repeat of a turn that was created
    // here.
    let digest = Sha256::digest(format!("{} {}", source.as_str(), entry.index));
    let digest = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    let signed = *source == Source::PostCall;
    transaction
        .execute_cached(
            "INSERT INTO call_transcriptions (conversation_id, speaker_type, message_text, timestamp, sequence_number, \
             created_at, source, repeat_key, interrupted, place, record_index, record_time, in_record, kind, metrics) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            params![
                id,
                entry.speaker,
                entry.message.as_str(),
                timestamp,
                call.turn_count + 1,
                now,
                source,
                dedup::repeat_key(call.id, digest),
                entry.interrupted,
                place,
                entry.index,
                entry.time.filter(|_| signed),
                signed.then_some(true),
                entry.kind,
                entry.metrics,
            ],
        )
        .context(CONTEXT)?;
    call.count_turn(entry.speaker, *timestamp, digest);
    Ok(())
}

/// Writes the facts of the whole call, with the last slice.
fn write_whole(
    transaction: &Transaction<'_>,
    call: &CallState,
    now: Timestamp,
    id: &ConversationId,
    whole: &WholeCall,
) -> Result<()> {
    if let Some(Counts { live_only, matched, added, corrected, repeated }) = whole.counts {
        transaction
            .execute_cached(
                "UPDATE calls SET live_only = ?2, matched = ?3, added = ?4, corrected = ?5, repeated = ?6, \
                 uncompared = ?7 WHERE id = ?1",
                params![call.id, live_only, matched, added, corrected, repeated, whole.uncompared],
            )
            .context(CONTEXT)?;
    }
    if let Some(facts) = &whole.facts {
        write_facts(transaction, now, id, facts)?;
    }
    if let Some(agent_id) = &whole.tool_agent {
        transaction
            .execute_cached(
                "UPDATE calls SET agent_id = ?2 WHERE id = ?1 AND agent_id IS NOT ?2",
                params![call.id, agent_id],
            )
            .context(CONTEXT)?;
    }
    let claims = (!whole.claims.is_empty()).then(|| crate::store::sqlite::json_column::json(&whole.claims));
    transaction
        .execute_cached(
            "UPDATE calls SET driver_claims = ?2 WHERE id = ?1 AND driver_claims IS NOT ?2 \
             AND (?3 OR record_event_id IS NULL)",
            params![call.id, claims, whole.signed],
        )
        .context(CONTEXT)?;
    if let Some(answer) = &whole.answer {
        write_answer(transaction, call.id, now, answer)?;
    }
    if whole.signed {
        write_details(transaction, call.id, now, id, whole)?;
        if tool_calls::replace(transaction, id, &whole.tools)? {
            ChangeLog::record_call(transaction, id)?;
        }
    }
    driver_match::match_driver(transaction, now, id)
}

/// Writes who answered.
fn write_answer(transaction: &Transaction<'_>, call_id: i64, now: Timestamp, answer: &Answer) -> Result<()> {
    let changed = transaction
        .prepare_cached(
            "UPDATE calls SET answered_by = ?2, answered_by_source = ?3, answered_by_conflict = ?4, updated_at = ?5 \
             WHERE id = ?1 AND (answered_by, answered_by_source, answered_by_conflict) IS NOT (?2, ?3, ?4)",
        )
        .and_then(|mut update| update.execute(params![call_id, answer.by, answer.source, answer.conflict, now]))
        .context(CONTEXT)?;
    // Whether a machine answered decides whose words count in the statistics.
    if changed > 0 {
        call_stats::invalidate(transaction, call_id)?;
    }
    Ok(())
}

/// Returns the parent of a call, unless that would make the call its own ancestor. In a circle of calls, the one with
/// the lowest id gets no parent, because otherwise lists would show none of them.
fn acyclic_parent<'a>(
    transaction: &Transaction<'_>,
    id: &ConversationId,
    parent: &'a ConversationId,
) -> Result<Option<&'a ConversationId>> {
    const MAX_DEPTH: i64 = 100;
    let ancestors: Vec<String> = transaction
        .fetch_all(
            "WITH RECURSIVE ancestor (id, depth) AS (SELECT ?2, 1 UNION ALL \
                SELECT c.parent_conversation_id, a.depth + 1 FROM ancestor a JOIN calls c ON c.conversation_id = a.id \
                WHERE c.parent_conversation_id IS NOT NULL AND a.id <> ?1 AND a.depth < ?3) \
             SELECT id FROM ancestor",
            params![id, parent, MAX_DEPTH],
            |row| row.get(0),
        )
        .context(CONTEXT)?;
    if ancestors.last().map(String::as_str) != Some(id.as_str()) {
        return Ok(Some(parent));
    }
    let root = ancestors.iter().min().expect("a circle has a call");
    if root == id.as_str() {
        return Ok(None);
    }
    transaction
        .execute_cached("UPDATE calls SET parent_conversation_id = NULL WHERE conversation_id = ?1", [root])
        .context(CONTEXT)?;
    Ok(Some(parent))
}

/// Columns of facts that nobody changes by hand, except `channel`. Exports of older versions may lack them.
pub(in crate::store::sqlite) const DETAIL_COLUMNS: [&str; 16] = [
    "parent_conversation_id",
    "environment",
    "branch_id",
    "version_id",
    "call_sid",
    "agent_number",
    "agent_name",
    "cost_usd",
    "queue_wait_seconds",
    "accepted_time",
    "campaign",
    "tags",
    "conversation_product",
    "sentiment",
    "record_complete",
    "initiation_source",
];

/// Statement that writes the channel and [`DETAIL_COLUMNS`] unless all are equal already. The parameter of each column
/// has its name. A missing channel leaves the channel unchanged, because a history may have named it before.
static UPDATE_DETAILS: LazyLock<String> = LazyLock::new(|| {
    let columns = DETAIL_COLUMNS.join(", ");
    let values = DETAIL_COLUMNS.map(|column| format!(":{column}")).join(", ");
    format!(
        "UPDATE calls SET (channel, {columns}, updated_at) = (ifnull(:channel, channel), {values}, :now) \
         WHERE id = :id AND (channel, {columns}) IS NOT (ifnull(:channel, channel), {values})"
    )
});

/// Writes the facts that nobody changes by hand.
fn write_details(
    transaction: &Transaction<'_>,
    call_id: i64,
    now: Timestamp,
    id: &ConversationId,
    whole: &WholeCall,
) -> Result<()> {
    let WholeCall { details, record_complete, .. } = whole;
    let parent = details.parent_conversation_id.as_ref();
    let parent = parent.map(|parent| acyclic_parent(transaction, id, parent)).transpose()?.flatten();
    let tags = details.tags.as_ref().map(crate::store::sqlite::json_column::json);
    let values: [(&str, &dyn ToSql); DETAIL_COLUMNS.len() + 3] = [
        (":id", &call_id),
        (":now", &now),
        (":channel", &details.channel),
        (":parent_conversation_id", &parent),
        (":environment", &details.environment),
        (":branch_id", &details.branch_id),
        (":version_id", &details.version_id),
        (":call_sid", &details.call_sid),
        (":agent_number", &details.agent_number),
        (":agent_name", &details.agent_name),
        (":cost_usd", &details.cost_usd),
        (":queue_wait_seconds", &details.queue_wait_seconds),
        (":accepted_time", &details.accepted_time),
        (":campaign", &details.campaign),
        (":tags", &tags),
        (":conversation_product", &details.conversation_product),
        (":sentiment", &details.sentiment),
        (":record_complete", record_complete),
        (":initiation_source", &details.initiation_source),
    ];
    transaction.execute_cached(&UPDATE_DETAILS, &values[..]).map(drop).context(CONTEXT)
}

/// Writes the facts of signed records and the end of the call, unless the row is equal already.
fn write_facts(transaction: &Transaction<'_>, now: Timestamp, id: &ConversationId, write: &FactsWrite) -> Result<()> {
    let FactsWrite { facts, end, reported, event_id, only_a_new_start } = write;
    // The first signed record clears a driver that only unsigned claims named. A call that no record ends keeps its
    // status. An ended call never ends before its start.
    transaction
        .execute_cached(
            "UPDATE calls SET status = new.status, call_start_time = new.start, call_end_time = new.end, \
                duration_seconds = :duration, agent_id = :agent, user_id = new.user, direction = :direction, \
                termination_reason = new.reason, \
                outcome = :outcome, summary = :summary, title = :title, main_language = :language, cost = :cost, \
                external_number = :number, batch_id = :batch, analysis = :analysis, record_event_id = :event, \
                driver_id = iif(record_event_id IS NULL AND driver_source <> 'dispatch', NULL, driver_id), \
                driver_source = iif(record_event_id IS NULL AND driver_source <> 'dispatch', NULL, driver_source), \
                updated_at = :now \
             FROM (SELECT ifnull(:status, c.status) AS status, began.at AS start, \
                    iif(:status IS NULL, max(c.call_end_time, began.at), \
                        max(coalesce(:end, c.call_end_time, began.at), began.at)) AS end, \
                    ifnull(:user, c.user_id) AS user, \
                    iif(:status IS NULL, ifnull(:reason, c.termination_reason), :reason) AS reason \
                   FROM calls c, (SELECT coalesce(:start, first_turn_time, :reported, call_start_time) AS at \
                   FROM calls WHERE conversation_id = :id) began WHERE c.conversation_id = :id) new \
             WHERE conversation_id = :id AND (NOT :only_a_new_start OR call_start_time <> new.start) \
                AND (calls.status, call_start_time, call_end_time, duration_seconds, agent_id, user_id, direction, \
                    termination_reason, outcome, summary, title, main_language, cost, external_number, batch_id, \
                    analysis, record_event_id) \
                IS NOT (new.status, new.start, new.end, :duration, :agent, new.user, :direction, new.reason, :outcome, \
                    :summary, :title, :language, :cost, :number, :batch, :analysis, :event)",
            rusqlite::named_params! {
                ":status": facts.status, ":start": facts.start, ":reported": reported, ":end": end,
                ":duration": facts.duration_seconds, ":agent": facts.agent_id, ":user": facts.user_id,
                ":direction": facts.direction, ":reason": facts.termination_reason, ":outcome": facts.outcome,
                ":summary": facts.summary, ":title": facts.title, ":language": facts.main_language, ":cost": facts.cost,
                ":number": facts.external_number, ":batch": facts.batch_id, ":analysis": facts.analysis,
                ":event": event_id, ":now": now, ":id": id, ":only_a_new_start": only_a_new_start,
            },
        )
        .map(drop)
        .context(CONTEXT)
}
