//! When the writer does work that was put off, so that writes hardly notice: some at a time, and rests in between that
//! are longer while writes come.
//!
//! Pure logic: the present is an argument.

use std::time::{Duration, Instant};

/// Less than this is left until there is quiet, since each slice costs a commit. It is searched without an index.
const SLICE: u64 = 256;

/// A slice is followed by so many times its own duration without one, while writes come: a twentieth of the writer's time.
const BETWEEN_WRITES: u32 = 19;

/// The same while none come, so that others find the machine's processors free.
const IN_QUIET: u32 = 1;

/// After a slice that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// So much is left that it takes some time, of which is told how it goes.
const MUCH: u64 = 20_000;
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// What is left to do, and when.
#[derive(Debug)]
pub struct Pace {
    left: u64,
    /// When it was last told how much is left, if that was much.
    told: Option<Instant>,
    /// Writes since the last slice began, none of which it can have done.
    writes: u64,
    earliest: Instant,
    /// Whether the last slice failed.
    is_failing: bool,
}

impl Pace {
    /// How much is left is not known before the first slice.
    pub fn new(now: Instant) -> Self {
        Self { left: SLICE, told: None, writes: 0, earliest: now, is_failing: false }
    }

    /// Notes that so many writes were done. If they erased something, the next slice does not wait for quiet.
    pub fn wrote(&mut self, writes: usize, erased: bool) {
        self.writes += if erased { SLICE.max(writes as u64) } else { writes as u64 };
    }

    /// Whether anything is left.
    pub fn any_left(&self) -> bool {
        self.left + self.writes > 0
    }

    /// When to do the next slice whatever comes; `None` when it can wait for quiet.
    pub fn due(&self) -> Option<Instant> {
        (self.left + self.writes >= SLICE).then_some(self.earliest)
    }

    /// Notes that a slice was done, and how many turns it said are left, which is returned when it is time to tell. If it left
    /// more than turns, the next one does not wait for quiet.
    pub fn did(&mut self, began: Instant, now: Instant, left: u64, more: bool) -> Option<u64> {
        let pause = if self.writes > 0 { BETWEEN_WRITES } else { IN_QUIET };
        self.earliest = now + (now - began) * pause;
        self.is_failing = false;
        (self.left, self.writes) = (if more { left.max(SLICE) } else { left }, 0);
        match self.told {
            Some(_) if left < SLICE => {
                self.told = None;
                Some(left)
            }
            Some(told) if now - told < TOLD_EVERY => None,
            None if left < MUCH => None,
            _ => {
                self.told = Some(now);
                Some(left)
            }
        }
    }

    /// Notes that a slice failed, and returns whether the one before did not. What it left does not keep the store from its
    /// rest, which may make room on the disk.
    pub fn failed(&mut self, now: Instant) -> bool {
        (self.left, self.writes) = (0, 0);
        self.earliest = now + AFTER_FAILURE;
        !std::mem::replace(&mut self.is_failing, true)
    }
}
