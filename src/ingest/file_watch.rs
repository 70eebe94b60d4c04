//! Watches the database's files: whether they are in their place, and how large the WAL beside the database grows. A program
//! that keeps reading an older state of the file makes it grow, since it cannot be folded in beyond that state.

use crate::store::Store;
use std::time::{Duration, Instant};

/// The size in bytes from which on it is told: four times what it has when nobody is in the way.
const LARGE: u64 = 64 << 20;

/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(400);

/// Watches the files.
#[derive(Debug)]
pub(crate) struct FileWatch {
    next: Instant,
    told: bool,
}

impl FileWatch {
    pub(crate) fn new() -> Self {
        Self { next: Instant::now(), told: false }
    }

    /// When [`FileWatch::look`] has something to do again.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// Looks once in a while, and returns false if it found that the files are not in their place, which the store logs.
    pub(crate) fn look(&mut self, store: &dyn Store) -> bool {
        let now = Instant::now();
        if now < self.next {
            return true;
        }
        self.next = now + EVERY;
        if store.in_place().is_err() {
            return false;
        }
        let Ok(sizes) = store.sizes() else { return true };
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
        true
    }
}
