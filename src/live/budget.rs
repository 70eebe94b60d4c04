//! How much of the machine all streams together may take, so that ingest keeps the rest, however many streams there are
//! and however much comes: at most 1,000 pieces a second, or 16 MB, or 250 reads.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What each piece that is sent takes of the common time, whatever its length: waking the connection and one `write`.
const PIECE: Duration = Duration::from_millis(1);

/// What a KiB of it takes.
const KIB: Duration = Duration::from_micros(60);

/// What a read of the database takes that is done for one stream.
const READ: Duration = Duration::from_millis(3);

/// The common time, handed out in order of asking: a stream that sent something sends its next piece when its turn
/// comes. Until then more gathers for it, so that many streams get fewer and longer pieces rather than later ones.
pub(super) struct Pace(Mutex<Instant>);

impl Pace {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    /// Takes the time for a piece of so many bytes, and says from when on the next one may be sent.
    pub(super) fn charge(&self, now: Instant, bytes: usize, read: bool) -> Instant {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let cost = PIECE + KIB.saturating_mul(kib) + if read { READ } else { Duration::ZERO };
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *free = (*free).max(now) + cost;
        *free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_share_the_time_and_what_is_not_used_is_not_saved_up() {
        let pace = Pace::new();
        let start = Instant::now();
        assert_eq!(pace.charge(start, 0, false) - start, PIECE);
        assert_eq!(pace.charge(start, 2048, true) - start, 2 * PIECE + 2 * KIB + READ);
        let later = start + Duration::from_secs(1);
        assert_eq!(pace.charge(later, 1, false) - later, PIECE + KIB);
    }
}
