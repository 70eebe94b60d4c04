//! The budget that limits the load of all live streams together, so ingest has the rest of the machine.
//!
//! The maximum is 1,000 chunks, 16 MB or 250 reads per second, regardless of the number of streams and changes.

use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// Cost of a chunk, regardless of its length: waking the connection, and one `write`.
const CHUNK_COST: Duration = Duration::from_millis(1);

/// Cost of each KiB of a chunk.
const KIB_COST: Duration = Duration::from_micros(60);

/// Cost of a database read for a single stream.
const READ_COST: Duration = Duration::from_millis(3);

/// The shared budget, granted in order of request. A stream that sent a chunk may send the next when the budget permits
/// it. Meanwhile changes accumulate, so many streams receive fewer and larger chunks instead of later ones.
pub(super) struct BandwidthBudget(Mutex<Instant>);

impl BandwidthBudget {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    /// Charges a chunk of this size, and returns the earliest time of the stream's next chunk.
    pub(super) fn charge(&self, now: Instant, bytes: usize, read: bool) -> Instant {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let cost = CHUNK_COST + KIB_COST.saturating_mul(kib) + if read { READ_COST } else { Duration::ZERO };
        let mut free = self.0.lock();
        *free = (*free).max(now) + cost;
        *free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_share_the_time_and_what_is_not_used_is_not_saved_up() {
        let pace = BandwidthBudget::new();
        let start = Instant::now();
        assert_eq!(pace.charge(start, 0, false) - start, CHUNK_COST);
        assert_eq!(pace.charge(start, 2048, true) - start, 2 * CHUNK_COST + 2 * KIB_COST + READ_COST);
        let later = start + Duration::from_secs(1);
        assert_eq!(pace.charge(later, 1, false) - later, CHUNK_COST + KIB_COST);
    }
}
