//! What the writer remembers of the calls that run now, so that a turn of theirs needs no look-up.
//!
//! A batch takes the calls that it touches out of this memory and puts them back once it is committed, so that a batch
//! that fails leaves nothing wrong behind: its calls are read from the database again. So are all when another process
//! has written to the file.

use super::dedup::{self, Repeats};
use crate::domain::{ConversationId, DriverId, Speaker, Timestamp};
use crate::store::sqlite::error::Context as _;
use crate::store::{NewCall, Result};
use hashlink::LinkedHashMap;
use rusqlite::{OptionalExtension as _, Transaction, params};

/// How many calls are remembered: more than run at once, at some hundred bytes each.
const MAX_CALLS: usize = 4096;

/// Of how many turns the digests are remembered, over all calls but the last one, at some twenty bytes each.
const MAX_TURNS: usize = 200_000;

/// The remembered calls.
pub(in crate::store::sqlite) struct LiveCalls {
    /// The one that had a turn last stands last.
    calls: LinkedHashMap<ConversationId, LiveCall>,
    /// Of how many turns there are digests.
    turns: usize,
    /// SQLite's number for the state of the file; another one when somebody else has committed.
    data_version: Option<i64>,
}

/// A call that turns are being stored of.
pub(in crate::store::sqlite) struct LiveCall {
    pub(in crate::store::sqlite) id: i64,
    pub(in crate::store::sqlite) turn_count: i64,
    first_turn_time: Option<Timestamp>,
    last_turn_time: Option<Timestamp>,
    /// Its first turns by their digests; `None` until they are read.
    repeats: Option<Repeats>,
    /// Whether the row in the database is behind.
    changed: bool,
    /// Whether a record or a history of it is stored, so that each turn makes it due to be reconciled.
    pub(in crate::store::sqlite) recorded: bool,
    /// Until its first turn is answered.
    pub(in crate::store::sqlite) new_call: Option<NewCall>,
    /// Turns that are not committed yet.
    pub(in crate::store::sqlite) fresh: Fresh,
}

/// Turns of the running transaction, by who spoke.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::store::sqlite) struct Fresh {
    pub(in crate::store::sqlite) agent: u64,
    pub(in crate::store::sqlite) driver: u64,
}

impl LiveCalls {
    pub(in crate::store::sqlite) fn new() -> Self {
        Self { calls: LinkedHashMap::new(), turns: 0, data_version: None }
    }

    /// Forgets everything if another connection has written to the file since this was last asked.
    pub(in crate::store::sqlite) fn begin(&mut self, transaction: &Transaction<'_>) -> Result<()> {
        let version = transaction
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut select| select.query_row([], |row| row.get(0)))
            .doing("asking whether others have written")?;
        if self.data_version.replace(version) != Some(version) {
            self.calls.clear();
            self.turns = 0;
        }
        Ok(())
    }

    /// Remembers a call whose turns are committed.
    pub(in crate::store::sqlite) fn put(&mut self, id: ConversationId, call: LiveCall) {
        self.turns += call.remembered();
        self.calls.insert(id, call);
        while self.calls.len() > MAX_CALLS || (self.turns > MAX_TURNS && self.calls.len() > 1) {
            let Some((_, oldest)) = self.calls.pop_front() else { break };
            self.turns -= oldest.remembered();
        }
    }

    /// Takes a call out of this memory.
    pub(in crate::store::sqlite) fn forget(&mut self, id: &ConversationId) -> Option<LiveCall> {
        let call = self.calls.remove(id)?;
        self.turns -= call.remembered();
        Some(call)
    }
}

impl LiveCall {
    /// Reads a call from the database, if it is there.
    pub(in crate::store::sqlite) fn read(transaction: &Transaction<'_>, id: &ConversationId) -> Result<Option<Self>> {
        transaction
            .prepare_cached(
                "SELECT id, turn_count, first_turn_time, last_turn_time, matched IS NOT NULL OR record_event_id IS NOT NULL \
                 OR EXISTS (SELECT 1 FROM due_reconciliations d WHERE d.call_id = calls.id) FROM calls \
                 WHERE conversation_id = ?1",
            )
            .and_then(|mut select| {
                select
                    .query_row([id], |row| {
                        Ok(Self {
                            id: row.get(0)?,
                            turn_count: row.get(1)?,
                            first_turn_time: row.get(2)?,
                            last_turn_time: row.get(3)?,
                            repeats: None,
                            changed: false,
                            recorded: row.get(4)?,
                            new_call: None,
                            fresh: Fresh::default(),
                        })
                    })
                    .optional()
            })
            .doing("looking a call up")
    }

    /// Makes the call that begins with a turn said at `start`, with the driver that a dispatch names.
    pub(in crate::store::sqlite) fn create(
        transaction: &Transaction<'_>,
        id: &ConversationId,
        start: &str,
        now: &str,
    ) -> Result<Self> {
        let driver_id: Option<DriverId> = transaction
            .prepare_cached("SELECT driver_id FROM call_dispatches WHERE conversation_id = ?1")
            .and_then(|mut select| select.query_row([id], |row| row.get(0)).optional())
            .doing("looking a call's driver up")?
            .flatten();
        transaction
            .prepare_cached(
                "INSERT INTO calls (conversation_id, driver_id, call_start_time, created_at, updated_at, driver_source) \
                 VALUES (?1, ?2, ?3, ?4, ?4, iif(?2 IS NULL, NULL, 'dispatch'))",
            )
            .and_then(|mut insert| insert.execute(params![id, driver_id, start, now]))
            .doing("making a call")?;
        Ok(Self {
            id: transaction.last_insert_rowid(),
            turn_count: 0,
            first_turn_time: None,
            last_turn_time: None,
            repeats: Some(Repeats::default()),
            changed: false,
            recorded: false,
            new_call: Some(NewCall { driver_id }),
            fresh: Fresh::default(),
        })
    }

    /// Returns the sequence numbers of its turns of this digest, of which one may be the same turn.
    pub(in crate::store::sqlite) fn repeats(
        &mut self,
        transaction: &Transaction<'_>,
        id: &ConversationId,
        digest: u32,
    ) -> Result<Vec<i64>> {
        if self.repeats.is_none() {
            self.repeats = Some(Repeats::read(transaction, id)?);
        }
        let early = self.repeats.as_ref().expect("set above").of(digest);
        if self.turn_count <= dedup::REMEMBERED {
            return Ok(early.collect());
        }
        let late = dedup::late(transaction, id, self.id, digest)?;
        Ok(early.chain(late).collect())
    }

    /// How many digests it has in memory.
    fn remembered(&self) -> usize {
        self.repeats.as_ref().map_or(0, Repeats::len)
    }

    /// Counts a turn that was stored.
    pub(in crate::store::sqlite) fn count(&mut self, speaker: Speaker, timestamp: Timestamp, digest: u32) {
        self.turn_count += 1;
        match speaker {
            Speaker::Agent => self.fresh.agent += 1,
            Speaker::Driver => self.fresh.driver += 1,
        }
        self.first_turn_time = Some(self.first_turn_time.map_or(timestamp, |first| first.min(timestamp)));
        self.last_turn_time = Some(self.last_turn_time.map_or(timestamp, |last| last.max(timestamp)));
        if let Some(repeats) = &mut self.repeats {
            repeats.add(digest, self.turn_count);
        }
        self.changed = true;
    }

    /// Takes the times over that its turns have, now that some have others.
    pub(in crate::store::sqlite) fn span(&mut self, transaction: &Transaction<'_>, id: &ConversationId) -> Result<()> {
        let span = transaction
            .prepare_cached("SELECT min(timestamp), max(timestamp) FROM call_transcriptions WHERE conversation_id = ?1")
            .and_then(|mut select| select.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))))
            .doing("reading the times of a call's turns")?;
        if span != (self.first_turn_time, self.last_turn_time) {
            (self.first_turn_time, self.last_turn_time) = span;
            self.changed = true;
        }
        Ok(())
    }

    /// Brings the row in the database up to date, and says whether it was not.
    pub(in crate::store::sqlite) fn write(&mut self, transaction: &Transaction<'_>, now: &str) -> Result<bool> {
        let changed = std::mem::take(&mut self.changed);
        if changed {
            transaction
                .prepare_cached(
                    "UPDATE calls SET turn_count = ?2, first_turn_time = ?3, last_turn_time = ?4, updated_at = ?5 \
                     WHERE id = ?1",
                )
                .and_then(|mut update| {
                    update.execute(params![self.id, self.turn_count, self.first_turn_time, self.last_turn_time, now])
                })
                .doing("counting a call's turns")?;
        }
        Ok(changed)
    }
}
