//! Which turns of a call a delivery may be a repeat of.
//!
//! The digests of a call's first turns are in memory, and read from its rows when it is taken up again; those of later turns
//! are found by a partial index. An index of all turns would serve as well, but cost every turn a tenth of its time. Memory
//! alone would have to hold, and read again, what a call of any length has.

use crate::domain::{ConversationId, NewTurn};
use crate::store::Result;
use crate::store::sqlite::error::Context as _;
use rusqlite::{Transaction, params};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;

/// How many of a call's turns are remembered. More than calls have as a rule, and few enough to be read again for each turn
/// when many long calls run at once. The index `call_transcriptions_late_repeat` begins behind it.
pub(in crate::store::sqlite) const REMEMBERED: i64 = 1000;

/// A call's first turns by their digests.
#[derive(Default)]
pub(in crate::store::sqlite) struct Repeats {
    by_digest: HashMap<u32, i64>,
    /// Those whose digest another turn had before, which is one in millions.
    more: Vec<(u32, i64)>,
}

impl Repeats {
    /// Reads those of a call from its rows.
    pub(in crate::store::sqlite) fn read(transaction: &Transaction<'_>, id: &ConversationId) -> Result<Self> {
        const DOING: &str = "taking a call up again";
        let mut select = transaction
            .prepare_cached(
                "SELECT repeat_key, sequence_number FROM call_transcriptions \
                 WHERE conversation_id = ?1 AND sequence_number <= ?2",
            )
            .doing(DOING)?;
        let mut rows = select.query(params![id, REMEMBERED]).doing(DOING)?;
        let mut repeats = Self::default();
        while let Some(row) = rows.next().doing(DOING)? {
            let key: i64 = row.get(0).doing(DOING)?;
            let digest = u32::try_from(key & i64::from(u32::MAX)).expect("32 bits");
            repeats.add(digest, row.get(1).doing(DOING)?);
        }
        Ok(repeats)
    }

    /// Notes a turn, if it is one of the first.
    pub(in crate::store::sqlite) fn add(&mut self, digest: u32, sequence_number: i64) {
        if sequence_number > REMEMBERED {
            return;
        }
        let first = *self.by_digest.entry(digest).or_insert(sequence_number);
        if first != sequence_number {
            self.more.push((digest, sequence_number));
        }
    }

    /// The sequence numbers of the turns of this digest. Whether one is the same turn is still to be seen.
    pub(in crate::store::sqlite) fn of(&self, digest: u32) -> impl Iterator<Item = i64> {
        let more = self.more.iter().filter(move |(other, _)| *other == digest).map(|(_, number)| *number);
        self.by_digest.get(&digest).copied().into_iter().chain(more)
    }

    /// How many turns these are.
    pub(in crate::store::sqlite) fn len(&self) -> usize {
        self.by_digest.len() + self.more.len()
    }
}

/// Returns the sequence numbers of a call's later turns of this digest.
pub(in crate::store::sqlite) fn late(
    transaction: &Transaction<'_>,
    id: &ConversationId,
    call_id: i64,
    digest: u32,
) -> Result<Vec<i64>> {
    // The number is written out: SQLite uses a partial index only where it sees that the index holds every row.
    transaction
        .prepare_cached(
            "SELECT sequence_number FROM call_transcriptions INDEXED BY call_transcriptions_late_repeat \
             WHERE repeat_key = ?1 AND conversation_id = ?2 AND sequence_number > 1000",
        )
        .and_then(|mut select| select.query_map(params![repeat_key(call_id, digest), id], |row| row.get(0))?.collect())
        .doing("looking a repeat up")
}

/// What is stored of a digest: it stands below the call's row number.
pub(in crate::store::sqlite) fn repeat_key(call_id: i64, digest: u32) -> i64 {
    call_id.wrapping_shl(32) | i64::from(digest)
}

/// The first 32 bits of SHA-256 over `speaker NUL timestamp NUL message`. It is stored, so it may never change.
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
    use super::Repeats;

    #[test]
    fn turns_of_one_digest_are_all_found_once() {
        let mut repeats = Repeats::default();
        for (digest, number) in [(7, 1), (8, 2), (7, 3), (7, 4)] {
            repeats.add(digest, number);
        }
        assert_eq!(repeats.of(7).collect::<Vec<_>>(), [1, 3, 4]);
        assert_eq!(repeats.of(8).collect::<Vec<_>>(), [2]);
        assert_eq!(repeats.of(9).count(), 0);
        assert_eq!(repeats.len(), 4);
    }
}
