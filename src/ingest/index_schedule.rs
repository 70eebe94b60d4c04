//! The schedule of search indexing. Slices are separated by pauses, which are longer while writes arrive, so that
//! writes hardly slow down.
//!
//! Pure logic: the current time is an argument.

use crate::store::Backlog;
use std::time::{Duration, Instant};

/// Backlog below which indexing waits for an idle moment, because each slice costs a commit. Until then these turns are
/// searched without the index.
const MIN_BACKLOG_TURNS: u64 = 256;

/// Pause after a slice while writes arrive, as a multiple of the slice's duration. It gives indexing a twentieth of the
/// writer's time.
const BUSY_PAUSE_FACTOR: u32 = 19;

/// Pause after a slice while no writes arrive, as a multiple of the slice's duration. It leaves processors to others.
const IDLE_PAUSE_FACTOR: u32 = 1;

/// Pause after a failed slice.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);

/// Minimum backlog whose progress is logged.
const LARGE_BACKLOG_TURNS: u64 = 20_000;
/// Interval of the progress messages.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// The backlog and the time of the next slice.
#[derive(Debug)]
pub struct IndexSchedule {
    left: u64,
    /// Time of the last progress message, if the backlog was large.
    told: Option<Instant>,
    /// Writes since the last slice began, which that slice cannot have indexed.
    writes: u64,
    earliest: Instant,
    /// True if the last slice failed.
    is_failing: bool,
}

impl IndexSchedule {
    /// Creates a schedule. The backlog is unknown before the first slice.
    pub fn new(now: Instant) -> Self {
        Self { left: MIN_BACKLOG_TURNS, told: None, writes: 0, earliest: now, is_failing: false }
    }

    /// Records writes. If they erased something, the next slice does not wait for an idle moment.
    pub fn record_writes(&mut self, writes: usize, erased: bool) {
        self.writes += if erased { MIN_BACKLOG_TURNS.max(writes as u64) } else { writes as u64 };
    }

    /// Returns whether there is a backlog.
    pub fn has_backlog(&self) -> bool {
        self.left + self.writes > 0
    }

    /// Returns the time of the next slice, or `None` if it can wait for an idle moment.
    pub fn next_slice_at(&self) -> Option<Instant> {
        (self.left + self.writes >= MIN_BACKLOG_TURNS).then_some(self.earliest)
    }

    /// Records a slice and its remaining backlog. If erased words are left, the next slice does not wait for an idle
    /// moment. Returns the backlog when it is time to log progress.
    pub fn slice_done(&mut self, began: Instant, now: Instant, backlog: Backlog) -> Option<u64> {
        let left = backlog.turns;
        let pause = if self.writes > 0 { BUSY_PAUSE_FACTOR } else { IDLE_PAUSE_FACTOR };
        self.earliest = now + (now - began) * pause;
        self.is_failing = false;
        (self.left, self.writes) = (if backlog.erased_words { left.max(MIN_BACKLOG_TURNS) } else { left }, 0);
        match self.told {
            Some(_) if left < MIN_BACKLOG_TURNS => {
                self.told = None;
                Some(left)
            }
            Some(told) if now - told < PROGRESS_INTERVAL => None,
            None if left < LARGE_BACKLOG_TURNS => None,
            _ => {
                self.told = Some(now);
                Some(left)
            }
        }
    }

    /// Records a failed slice. Returns whether it is the first failure in a row. The backlog is assumed empty, so that
    /// the store can do its idle maintenance, which may free disk space.
    pub fn slice_failed(&mut self, now: Instant) -> bool {
        (self.left, self.writes) = (0, 0);
        self.earliest = now + FAILURE_PAUSE;
        !std::mem::replace(&mut self.is_failing, true)
    }
}
