//! Which turns of a call a delivery may be a repeat of.
//!
//! Kept in memory for each call that runs, and read from its rows when it is taken up again: an index in the database
//! would serve as well, but cost every turn a tenth of its time.

use super::error::Context as _;
use crate::model::{ConversationId, NewTurn};
use crate::store::Result;
use rusqlite::Transaction;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;

/// A call's turns by their digests.
#[derive(Default)]
pub(super) struct Repeats {
    by_digest: HashMap<u32, i64>,
    /// Those whose digest another turn had before, which is one in millions.
    more: Vec<(u32, i64)>,
}

impl Repeats {
    /// Of all turns that are stored of a call.
    pub(super) fn read(transaction: &Transaction<'_>, id: &ConversationId) -> Result<Self> {
        const DOING: &str = "taking a call up again";
        let mut select = transaction
            .prepare_cached("SELECT repeat_key, sequence_number FROM call_transcriptions WHERE conversation_id = ?1")
            .doing(DOING)?;
        let mut rows = select.query([id]).doing(DOING)?;
        let mut repeats = Self::default();
        while let Some(row) = rows.next().doing(DOING)? {
            let key: i64 = row.get(0).doing(DOING)?;
            let digest = u32::try_from(key & i64::from(u32::MAX)).expect("32 bits");
            repeats.add(digest, row.get(1).doing(DOING)?);
        }
        Ok(repeats)
    }

    pub(super) fn add(&mut self, digest: u32, sequence_number: i64) {
        let first = *self.by_digest.entry(digest).or_insert(sequence_number);
        if first != sequence_number {
            self.more.push((digest, sequence_number));
        }
    }

    /// The sequence numbers of the turns of this digest. Whether one is the same turn is still to be seen.
    pub(super) fn of(&self, digest: u32) -> impl Iterator<Item = i64> {
        let more = self.more.iter().filter(move |(other, _)| *other == digest).map(|(_, number)| *number);
        self.by_digest.get(&digest).copied().into_iter().chain(more)
    }

    /// How many turns these are.
    pub(super) fn len(&self) -> usize {
        self.by_digest.len() + self.more.len()
    }
}

/// What is stored of a digest: it stands below the call's row number.
pub(super) fn repeat_key(call_id: i64, digest: u32) -> i64 {
    call_id.wrapping_shl(32) | i64::from(digest)
}

/// The first 32 bits of SHA-256 over `speaker NUL timestamp NUL message`. It is stored, so it may never change.
pub(super) fn digest(turn: &NewTurn, timestamp: &str) -> u32 {
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
