//! Erasure of what is old, and of drivers.

mod clock;
mod driver_erasure;
mod eraser;
mod error;
mod of_driver;
mod schedule;

pub use clock::{ClockAhead, WatchedClock, check_arrival};
pub use driver_erasure::{DriverErasure, DriverErasureError};
pub use eraser::{EraseCounts, Eraser, MIN_AGE, chunks, cutoff};
pub use error::EraseError;
pub use schedule::{check_interval, start};
