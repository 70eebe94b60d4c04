//! Watches the database's files: are they at their path, and how large is the WAL? A long-running read transaction
//! makes the WAL grow, because a checkpoint cannot pass the reader's snapshot.

use crate::store::Maintenance;
use std::time::{Duration, Instant};

/// Minimum WAL size that is warned of, in bytes: four times its size without such a reader.
const LARGE_WAL_BYTES: u64 = 64 << 20;

/// Interval of the checks.
const CHECK_INTERVAL: Duration = Duration::from_millis(400);

/// The state of the watch.
#[derive(Debug)]
pub(crate) struct FileMonitor {
    next: Instant,
    told: bool,
}

impl FileMonitor {
    pub(crate) fn new() -> Self {
        Self { next: Instant::now(), told: false }
    }

    /// Returns the time of the next check.
    pub(crate) fn next_check_at(&self) -> Instant {
        self.next
    }

    /// Checks the files if the interval has passed. Returns false if they are not at their path, which the store logs.
    pub(crate) fn check(&mut self, store: &dyn Maintenance) -> bool {
        let now = Instant::now();
        if now < self.next {
            return true;
        }
        self.next = now + CHECK_INTERVAL;
        if store.in_place().is_err() {
            return false;
        }
        let Ok(sizes) = store.sizes() else { return true };
        let large = sizes.wal > LARGE_WAL_BYTES;
        if large != self.told {
            self.told = large;
            let megabytes = sizes.wal >> 20;
            if large {
                tracing::warn!(megabytes, "WAL is large; a program holds a read transaction open");
            } else {
                tracing::info!(megabytes, "WAL has its usual size again");
            }
        }
        true
    }
}
