//! Live streams of what is committed.

mod budget;
mod hub;
mod poller;
mod subscription;
mod watchers;

pub use hub::{EncodeEvent, LiveHub, StreamLimits};
pub use subscription::{SubscribeError, Subscription};
