//! The memory of the service over time, and the size of its log.

use super::Run;
use crate::support::service::resident;
use std::time::Duration;

/// Measurements of a run.
pub struct Memory {
    /// Resident memory, in KiB, at even distances.
    samples: Vec<u64>,
    pub largest: u64,
    /// In bytes.
    pub largest_log: u64,
}

impl Memory {
    /// Looks a few hundred times during the run, and returns when it is over.
    pub fn watch(run: &Run) -> Self {
        let pause = (run.length / 300).max(Duration::from_millis(100));
        let log = run.service.database().with_extension("db-wal");
        let mut seen = Self { samples: Vec::new(), largest: 0, largest_log: 0 };
        while run.goes_on() {
            let memory = resident(run.service.pid());
            seen.samples.push(memory);
            seen.largest = seen.largest.max(memory);
            seen.largest_log = seen.largest_log.max(std::fs::metadata(&log).map_or(0, |log| log.len()));
            run.pause(pause);
        }
        seen
    }

    /// The mean of each third of the run, in KiB.
    pub fn thirds(&self) -> [u64; 3] {
        let third = self.samples.len() / 3;
        assert!(third > 5, "memory was looked at");
        [0, 1, 2].map(|n| {
            let samples = &self.samples[n * third..(n + 1) * third];
            samples.iter().sum::<u64>() / samples.len() as u64
        })
    }
}
