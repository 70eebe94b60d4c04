//! The writer's cache of running calls, which saves a look-up for each of their turns.
//!
//! A batch removes its calls from the cache and puts them back after the commit. A failed batch therefore leaves
//! nothing wrong behind, because its calls are read from the database again. The whole cache is dropped when another
//! process has written to the database.

use super::dedup::{self, DedupCache};
use crate::domain::{CallSid, ConversationId, DriverId, DriverSource, Speaker, Timestamp};
use crate::store::sqlite::due::{self, DueReason};
use crate::store::sqlite::error::Context as _;
use crate::store::sqlite::initiations;
use crate::store::sqlite::row::{LAST_MESSAGE, join_last_message};
use crate::store::sqlite::statement::Statements as _;
use crate::store::{NewCall, Result};
use hashlink::LinkedHashMap;
use rusqlite::{Transaction, params};

/// Maximum number of cached calls, at some hundred bytes each. It exceeds the number of calls that run at once.
const MAX_CALLS: usize = 4096;

/// Maximum number of cached turn digests, at about 20 bytes each, not counting the call that was added last.
const MAX_DIGESTS: usize = 200_000;

/// The cache of calls.
pub(in crate::store::sqlite) struct CallCache {
    /// The calls, with the most recently used one last.
    calls: LinkedHashMap<ConversationId, CallState>,
    /// Number of cached digests.
    turns: usize,
    /// SQLite's `data_version`, which changes when another connection commits.
    data_version: Option<i64>,
}

/// The state of a call that receives turns.
pub(in crate::store::sqlite) struct CallState {
    pub(in crate::store::sqlite) id: i64,
    pub(in crate::store::sqlite) turn_count: i64,
    first_turn_time: Option<Timestamp>,
    last_turn_time: Option<Timestamp>,
    last_message: Option<LastMessage>,
    /// Digests of the call's first turns; `None` until they are read.
    repeats: Option<DedupCache>,
    /// True if the row in the database is outdated.
    changed: bool,
    /// True if a record or a history of the call is stored, so that each turn makes the call due.
    pub(in crate::store::sqlite) recorded: bool,
    /// Set in the transaction that creates the call, until its first turn is answered.
    pub(in crate::store::sqlite) new_call: Option<NewCall>,
    /// Numbers of turns that are not committed yet.
    pub(in crate::store::sqlite) fresh: UncommittedTurns,
}

/// The message of a call that was spoken or typed last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LastMessage {
    id: i64,
    timestamp: Timestamp,
    /// True if a record contains it, so that every turn without a position follows it.
    is_placed: bool,
}

/// Numbers of turns in the running transaction, by speaker.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::store::sqlite) struct UncommittedTurns {
    pub(in crate::store::sqlite) agent: u64,
    pub(in crate::store::sqlite) driver: u64,
}

impl CallCache {
    pub(in crate::store::sqlite) fn new() -> Self {
        Self { calls: LinkedHashMap::new(), turns: 0, data_version: None }
    }

    /// Clears the cache if another connection has written to the file since the last call.
    pub(in crate::store::sqlite) fn begin(&mut self, transaction: &Transaction<'_>) -> Result<()> {
        let version =
            transaction.fetch_one("PRAGMA data_version", [], |row| row.get(0)).context("reading the data version")?;
        if self.data_version.replace(version) != Some(version) {
            self.calls.clear();
            self.turns = 0;
        }
        Ok(())
    }

    /// Adds a call after the commit of its turns.
    pub(in crate::store::sqlite) fn put(&mut self, id: ConversationId, call: CallState) {
        self.turns += call.digest_count();
        self.calls.insert(id, call);
        while self.calls.len() > MAX_CALLS || (self.turns > MAX_DIGESTS && self.calls.len() > 1) {
            let Some((_, oldest)) = self.calls.pop_front() else { break };
            self.turns -= oldest.digest_count();
        }
    }

    /// Removes a call from the cache.
    pub(in crate::store::sqlite) fn remove(&mut self, id: &ConversationId) -> Option<CallState> {
        let call = self.calls.remove(id)?;
        self.turns -= call.digest_count();
        Some(call)
    }
}

/// Condition of calls with a record or a history.
macro_rules! recorded {
    () => {
        "matched IS NOT NULL OR record_event_id IS NOT NULL \
         OR EXISTS (SELECT 1 FROM due_reconciliations d WHERE d.call_id = c.id)"
    };
}

impl CallState {
    /// Returns the value of [`CallState::recorded`] that a call has when it is read from the database.
    pub(in crate::store::sqlite) fn is_recorded(transaction: &Transaction<'_>, call_id: i64) -> Result<bool> {
        transaction
            .fetch_one(concat!("SELECT ", recorded!(), " FROM calls c WHERE id = ?1"), [call_id], |row| row.get(0))
            .context("looking up a call")
    }

    /// Reads a call from the database, or returns `None` if it does not exist.
    pub(in crate::store::sqlite) fn read(transaction: &Transaction<'_>, id: &ConversationId) -> Result<Option<Self>> {
        transaction
            .fetch_optional(
                concat!(
                    "SELECT c.id, c.turn_count, c.first_turn_time, c.last_turn_time, ",
                    recorded!(),
                    ", l.id, l.timestamp, l.place IS NOT NULL FROM calls c ",
                    join_last_message!(),
                    " WHERE c.conversation_id = ?1"
                ),
                [id],
                |row| {
                    Ok(Self {
                        id: row.get(0)?,
                        turn_count: row.get(1)?,
                        first_turn_time: row.get(2)?,
                        last_turn_time: row.get(3)?,
                        last_message: match row.get(5)? {
                            Some(id) => Some(LastMessage { id, timestamp: row.get(6)?, is_placed: row.get(7)? }),
                            None => None,
                        },
                        repeats: None,
                        changed: false,
                        recorded: row.get(4)?,
                        new_call: None,
                        fresh: UncommittedTurns::default(),
                    })
                },
            )
            .context("looking up a call")
    }

    /// Creates a call whose first turn was said at `start`, with the driver of its dispatch or its initiation.
    pub(in crate::store::sqlite) fn create(
        transaction: &Transaction<'_>,
        id: &ConversationId,
        provider_id: Option<&CallSid>,
        start: &str,
        now: &str,
    ) -> Result<Self> {
        if let Some(provider_id) = provider_id {
            initiations::bind(transaction, provider_id, id)?;
        }
        let dispatched: Option<DriverId> = transaction
            .fetch_optional("SELECT driver_id FROM call_dispatches WHERE conversation_id = ?1", [id], |row| row.get(0))
            .context("looking up a call's driver")?
            .flatten();
        let (driver_id, source) = if dispatched.is_some() {
            (dispatched, Some(DriverSource::Dispatch))
        } else {
            let initiated = initiations::driver_of(transaction, id)?;
            (initiated, initiated.map(|_| DriverSource::Initiation))
        };
        transaction
            .execute_cached(
                "INSERT INTO calls (conversation_id, driver_id, call_start_time, created_at, updated_at, \
                 driver_source) VALUES (?1, ?2, ?3, ?4, ?4, ?5)",
                params![id, driver_id, start, now, source],
            )
            .context("creating a call")?;
        let call_id = transaction.last_insert_rowid();
        // The verdict of an answering machine detection may have come before the call was known.
        let has_record = transaction
            .prepare_cached("SELECT 1 FROM webhook_events WHERE conversation_id = ?1 AND record IS NOT NULL")
            .and_then(|mut select| select.exists([id]))
            .context("looking up a call's events")?;
        if has_record {
            due::mark_due(transaction, call_id, DueReason::Turns)?;
        }
        Ok(Self {
            id: call_id,
            turn_count: 0,
            first_turn_time: None,
            last_turn_time: None,
            last_message: None,
            repeats: Some(DedupCache::default()),
            changed: false,
            recorded: has_record,
            new_call: Some(NewCall { driver_id }),
            fresh: UncommittedTurns::default(),
        })
    }

    /// Returns the sequence numbers of the call's turns with this digest. The caller must compare the turns in full.
    pub(in crate::store::sqlite) fn repeats(
        &mut self,
        transaction: &Transaction<'_>,
        id: &ConversationId,
        digest: u32,
    ) -> Result<Vec<i64>> {
        if self.repeats.is_none() {
            self.repeats = Some(DedupCache::read(transaction, id)?);
        }
        let early = self.repeats.as_ref().expect("set above").find(digest);
        if self.turn_count <= dedup::MAX_CACHED_TURNS {
            return Ok(early.collect());
        }
        let late = dedup::find_late(transaction, id, self.id, digest)?;
        Ok(early.chain(late).collect())
    }

    /// Returns the number of digests in memory.
    fn digest_count(&self) -> usize {
        self.repeats.as_ref().map_or(0, DedupCache::len)
    }

    /// Notes the id of a message that was stored and that no record contains yet.
    pub(in crate::store::sqlite) fn note_message(&mut self, id: i64, timestamp: Timestamp) {
        if self.last_message.is_none_or(|last| last.is_placed || last.timestamp <= timestamp) {
            self.last_message = Some(LastMessage { id, timestamp, is_placed: false });
            self.changed = true;
        }
    }

    /// Counts a turn that was stored.
    pub(in crate::store::sqlite) fn count_turn(&mut self, speaker: Speaker, timestamp: Timestamp, digest: u32) {
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

    /// Updates the times of the first and last turn after the times of turns have changed.
    pub(in crate::store::sqlite) fn refresh_times(
        &mut self,
        transaction: &Transaction<'_>,
        id: &ConversationId,
    ) -> Result<()> {
        let span = transaction
            .fetch_one(
                "SELECT min(timestamp), max(timestamp) FROM call_transcriptions WHERE conversation_id = ?1",
                [id],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .context("reading the times of a call's turns")?;
        if span != (self.first_turn_time, self.last_turn_time) {
            (self.first_turn_time, self.last_turn_time) = span;
            self.changed = true;
        }
        Ok(())
    }

    /// Updates the last message after the positions of turns have changed.
    pub(in crate::store::sqlite) fn refresh_last_message(
        &mut self,
        transaction: &Transaction<'_>,
        id: &ConversationId,
    ) -> Result<()> {
        let last = transaction
            .fetch_optional(&format!("SELECT id, timestamp, place IS NOT NULL FROM {LAST_MESSAGE}"), [id], |row| {
                Ok(LastMessage { id: row.get(0)?, timestamp: row.get(1)?, is_placed: row.get(2)? })
            })
            .context("reading the last message of a call")?;
        self.changed |= last != self.last_message;
        self.last_message = last;
        Ok(())
    }

    /// Updates the row in the database. Returns whether it was outdated.
    pub(in crate::store::sqlite) fn write(&mut self, transaction: &Transaction<'_>, now: &str) -> Result<bool> {
        let changed = std::mem::take(&mut self.changed);
        if changed {
            transaction
                .execute_cached(
                    "UPDATE calls SET turn_count = ?2, first_turn_time = ?3, last_turn_time = ?4, updated_at = ?5, \
                     last_message_id = ?6 WHERE id = ?1",
                    params![
                        self.id,
                        self.turn_count,
                        self.first_turn_time,
                        self.last_turn_time,
                        now,
                        self.last_message.map(|last| last.id),
                    ],
                )
                .context("counting a call's turns")?;
        }
        Ok(changed)
    }
}
