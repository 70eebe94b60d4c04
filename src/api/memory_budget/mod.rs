//! Memory and places that request bodies share.

mod budget;
mod rate;

pub(super) use budget::Hold;
pub use budget::{Budget, MIN_BODY_RATE, Proved, Sender};
