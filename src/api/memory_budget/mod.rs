//! Memory and places that request bodies share.

mod budget;
mod rate;

pub(super) use budget::Hold;
pub use budget::{Budget, LEAST_RATE, Proved, Sender};
