//! Detection of repeated deliveries of a turn.
//!
//! With a delivery key (`Idempotency-Key`), a unique index on the key within the conversation decides. A key that was
//! used for another turn is the sender's mistake and is refused. Without a key, two turns are the same if conversation,
//! speaker, timestamp and words are equal, even if one of them arrived with a key. The `tool_call_id` of an envelope
//! decides nothing, because language models write it and many write the same one in every turn. A tool that is called
//! again with a new time therefore stores a second turn, which the record after the call marks as repeated. That is the
//! safer mistake: a turn that was wrongly dropped could never be recovered.
//!
//! The digests of a call's first turns are in memory, and are read from the call's rows when it becomes active again. A
//! partial index finds later turns. An index of all turns would make every turn a tenth slower, and memory alone would
//! have to hold a call of any length. Turns with equal digests are compared in full, so a collision only costs a
//! comparison.

use crate::domain::{ConversationId, NewTurn};
use crate::store::Result;
use crate::store::sqlite::error::Context as _;
use crate::store::sqlite::statement::Statements as _;
use rusqlite::{Transaction, params};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;

/// Maximum number of a call's turns with digests in memory. Few calls have more, and the digests can be read again
/// quickly when many long calls run at once. The index `call_transcriptions_late_repeat` begins after this number.
pub(in crate::store::sqlite) const MAX_CACHED_TURNS: i64 = 1000;

/// The digests of a call's first turns.
#[derive(Default)]
pub(in crate::store::sqlite) struct DedupCache {
    by_digest: HashMap<u32, i64>,
    /// Turns with the digest of an earlier turn, which is rare: one in millions.
    more: Vec<(u32, i64)>,
}

impl DedupCache {
    /// Reads the digests of a call from its rows.
    pub(in crate::store::sqlite) fn read(transaction: &Transaction<'_>, id: &ConversationId) -> Result<Self> {
        const CONTEXT: &str = "reading the digests of a call";
        let mut select = transaction
            .prepare_cached(
                "SELECT repeat_key, sequence_number FROM call_transcriptions \
                 WHERE conversation_id = ?1 AND sequence_number <= ?2",
            )
            .context(CONTEXT)?;
        let mut rows = select.query(params![id, MAX_CACHED_TURNS]).context(CONTEXT)?;
        let mut cache = Self::default();
        while let Some(row) = rows.next().context(CONTEXT)? {
            let key: i64 = row.get(0).context(CONTEXT)?;
            let digest = u32::try_from(key & i64::from(u32::MAX)).expect("32 bits");
            cache.add(digest, row.get(1).context(CONTEXT)?);
        }
        Ok(cache)
    }

    /// Adds a turn, if it is one of the first.
    pub(in crate::store::sqlite) fn add(&mut self, digest: u32, sequence_number: i64) {
        if sequence_number > MAX_CACHED_TURNS {
            return;
        }
        let first = *self.by_digest.entry(digest).or_insert(sequence_number);
        if first != sequence_number {
            self.more.push((digest, sequence_number));
        }
    }

    /// Returns the sequence numbers of the turns with this digest. The caller must compare the turns in full.
    pub(in crate::store::sqlite) fn find(&self, digest: u32) -> impl Iterator<Item = i64> {
        let more = self.more.iter().filter(move |(other, _)| *other == digest).map(|(_, number)| *number);
        self.by_digest.get(&digest).copied().into_iter().chain(more)
    }

    /// Returns the number of turns with digests here.
    pub(in crate::store::sqlite) fn len(&self) -> usize {
        self.by_digest.len() + self.more.len()
    }
}

/// Returns the sequence numbers of a call's later turns with this digest.
pub(in crate::store::sqlite) fn find_late(
    transaction: &Transaction<'_>,
    id: &ConversationId,
    call_id: i64,
    digest: u32,
) -> Result<Vec<i64>> {
    // The number is a literal because SQLite uses a partial index only if it sees that the index contains every row.
    transaction
        .fetch_all(
            "SELECT sequence_number FROM call_transcriptions INDEXED BY call_transcriptions_late_repeat \
             WHERE repeat_key = ?1 AND conversation_id = ?2 AND sequence_number > 1000",
            params![repeat_key(call_id, digest), id],
            |row| row.get(0),
        )
        .context("looking up a repeat")
}

/// Returns the stored form of a digest, which is the call's row id followed by the digest's 32 bits.
pub(in crate::store::sqlite) fn repeat_key(call_id: i64, digest: u32) -> i64 {
    call_id.wrapping_shl(32) | i64::from(digest)
}

/// Returns the first 32 bits of SHA-256 over `speaker NUL timestamp NUL message`. The value is stored, so it must never
/// change.
pub(in crate::store::sqlite) fn digest(turn: &NewTurn, timestamp: &str) -> u32 {
    let mut hash = Sha256::new();
    for part in [turn.speaker.as_str(), timestamp] {
        hash.update(part);
        hash.update([0]);
    }
    hash.update(turn.message.as_str());
    let digest = hash.finalize();
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

#[cfg(test)]
mod tests {
    use super::DedupCache;

    #[test]
    fn turns_of_one_digest_are_all_found_once() {
        let mut cache = DedupCache::default();
        for (digest, number) in [(7, 1), (8, 2), (7, 3), (7, 4)] {
            cache.add(digest, number);
        }
        assert_eq!(cache.find(7).collect::<Vec<_>>(), [1, 3, 4]);
        assert_eq!(cache.find(8).collect::<Vec<_>>(), [2]);
        assert_eq!(cache.find(9).count(), 0);
        assert_eq!(cache.len(), 4);
    }
}
