//! Brings a call's turns and the platform's records of it together, as [`crate::reconcile`] decides.

use super::changes::Changes;
use super::error::Context as _;
use super::live::LiveCall;
use super::row::{self, COUNTS, Columns};
use super::{events, repeats};
use crate::model::{ConversationId, Message, Source, Timestamp};
use crate::reconcile::{self, Addition, Counts, Known, Origin, Standing, Stored};
use crate::store::{Error, ErrorKind, Result};
use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use sha2::{Digest as _, Sha256};

const DOING: &str = "bringing a call's turns and its record together";

/// Does so for one call, whose row may be behind.
pub(super) fn align(transaction: &Transaction<'_>, id: &ConversationId, call: &mut LiveCall, now: &str) -> Result<()> {
    let known = Known {
        history: events::history(transaction, id)?.entries(),
        post_call: events::combined(transaction, id)?.0.transcript.map(|(_, entries)| entries),
    };
    let (stored, before): (Vec<Stored>, Vec<Standing>) = transaction
        .prepare_cached("SELECT * FROM call_transcriptions WHERE conversation_id = ?1 ORDER BY sequence_number")
        .and_then(|mut select| select.query_map([id], row)?.collect::<rusqlite::Result<Vec<_>>>())
        .doing(DOING)?
        .into_iter()
        .unzip();
    let plan = reconcile::plan(&stored, &known);
    let mut restood = false;
    for (standing, before) in plan.standings.iter().zip(&before) {
        if standing != before {
            change(transaction, id, standing)?;
            restood = true;
        }
    }
    let fallback = plan.standings.iter().map(|standing| standing.timestamp).max();
    let mut last = fallback.or_else(|| Timestamp::parse(now).ok());
    let mut added = Vec::new();
    for addition in &plan.additions {
        // A turn without a time of its own was said after the one before it.
        last = addition.entry.time.or(last);
        let Some(time) = last else {
            return Err(Error::new(ErrorKind::Other, DOING, "the present has no time"));
        };
        add(transaction, id, call, addition, time, now)?;
        added.push(time);
    }
    call.span(plan.standings.iter().map(|standing| standing.timestamp).chain(added));
    let Counts { live_only, matched, added, corrected, repeated } = plan.counts;
    transaction
        .prepare_cached(
            "UPDATE calls SET live_only = ?2, matched = ?3, added = ?4, corrected = ?5, repeated = ?6 WHERE id = ?1",
        )
        .and_then(|mut update| update.execute(params![call.id, live_only, matched, added, corrected, repeated]))
        .doing(DOING)?;
    call.unaligned = false;
    if restood { Changes::note(transaction, call.id) } else { Ok(()) }
}

/// A turn, and how it stands now.
fn row(row: &Row<'_>) -> rusqlite::Result<(Stored, Standing)> {
    let sequence_number = row.get("sequence_number")?;
    let timestamp = row.get("timestamp")?;
    let index: Option<u32> = row.get("record_index")?;
    let origin = match (row.get("source")?, index) {
        (Source::History, Some(index)) => Origin::History(index),
        (Source::PostCall, Some(index)) => Origin::PostCall(index),
        _ => Origin::Heard,
    };
    let stored = Stored {
        sequence_number,
        speaker: row.get("speaker_type")?,
        text: row.get("message_text")?,
        timestamp,
        origin,
    };
    let standing = Standing {
        sequence_number,
        place: row.get("place")?,
        superseded_by: row.get("superseded_by")?,
        final_text: row.get("final_text")?,
        interrupted: row.get("interrupted")?,
        timestamp,
    };
    Ok((stored, standing))
}

fn change(transaction: &Transaction<'_>, id: &ConversationId, standing: &Standing) -> Result<()> {
    transaction
        .prepare_cached(
            "UPDATE call_transcriptions SET place = ?3, superseded_by = ?4, final_text = ?5, interrupted = ?6, \
             timestamp = ?7 WHERE conversation_id = ?1 AND sequence_number = ?2",
        )
        .and_then(|mut update| {
            update.execute(params![
                id,
                standing.sequence_number,
                standing.place,
                standing.superseded_by,
                standing.final_text.as_ref().map(Message::as_str),
                standing.interrupted,
                standing.timestamp,
            ])
        })
        .map(drop)
        .doing(DOING)
}

fn add(
    transaction: &Transaction<'_>,
    id: &ConversationId,
    call: &mut LiveCall,
    addition: &Addition,
    time: Timestamp,
    now: &str,
) -> Result<()> {
    let entry = &addition.entry;
    // Not the digest of a delivery, so that a delivery is not taken for a repeat of what was made here.
    let digest = Sha256::digest(format!("{} {}", addition.source.as_str(), entry.index));
    let digest = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    transaction
        .prepare_cached(
            "INSERT INTO call_transcriptions (conversation_id, speaker_type, message_text, timestamp, sequence_number, \
             created_at, source, repeat_key, interrupted, place, record_index) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )
        .and_then(|mut insert| {
            insert.execute(params![
                id,
                entry.speaker,
                entry.message.as_str(),
                time,
                call.turn_count + 1,
                now,
                addition.source,
                repeats::repeat_key(call.id, digest),
                entry.interrupted,
                addition.place,
                entry.index,
            ])
        })
        .doing(DOING)?;
    call.count(entry.speaker, time, digest);
    Ok(())
}

/// The result in numbers, if the call has a record.
pub(super) fn counts(transaction: &Transaction<'_>, id: &ConversationId) -> Result<Option<Counts>> {
    transaction
        .prepare_cached(&format!("SELECT {COUNTS} FROM calls WHERE conversation_id = ?1"))
        .and_then(|mut select| select.query_row([id], |row| row::counts(&mut Columns::of(row))).optional())
        .doing(DOING)
        .map(Option::flatten)
}
