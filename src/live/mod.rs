//! Live streams of what is committed.

mod budget;
mod hub;
mod poller;
mod subscription;
mod watchers;

pub use hub::{Limits, Tail, Word};
pub use subscription::{Refusal, Subscription};
