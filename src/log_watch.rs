//! Tells the operator when the log beside the database grows, which somebody brings about who keeps reading an older state
//! of the file: the log cannot be folded in beyond that state.

use crate::store::Store;
use std::time::{Duration, Instant};

/// The size in bytes from which on it is told: four times what it has when nobody is in the way.
const LARGE: u64 = 64 << 20;

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Watches the log.
#[derive(Debug)]
pub(crate) struct LogWatch {
    next: Instant,
    told: bool,
}

impl LogWatch {
    pub(crate) fn new() -> Self {
        Self { next: Instant::now(), told: false }
    }

    /// To be called whenever something may have been written; looks once in a while.
    pub(crate) fn look(&mut self, store: &dyn Store) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + EVERY;
        let Ok(sizes) = store.sizes() else { return };
        let large = sizes.log > LARGE;
        if large != self.told {
            self.told = large;
            let megabytes = sizes.log >> 20;
            if large {
                tracing::warn!(
                    megabytes,
                    "the log beside the database has grown large, since a program keeps reading an older state of the file"
                );
            } else {
                tracing::info!(megabytes, "the log beside the database is of its usual size again");
            }
        }
    }
}
