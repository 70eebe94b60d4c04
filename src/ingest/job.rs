//! Writes that wait for the writer's thread, and their answers.

use crate::store::{Error, Rejection, Write, Written};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Reason why a write was not executed.
#[derive(Debug, Clone)]
pub enum WriteError {
    /// The queue is full, or the write waited too long in it. Nothing was stored; retry later.
    Overloaded,
    /// The service is stopping. Nothing was stored.
    Stopping,
    /// The store refused the write.
    Rejected(Rejection),
    /// The database failed. Nothing was stored.
    Failed(Arc<Error>),
}

impl std::fmt::Display for WriteError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Overloaded => f.write_str("too many writes are waiting"),
            Self::Stopping => f.write_str("the service is stopping"),
            Self::Rejected(rejection) => write!(f, "the write was refused: {rejection:?}"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for WriteError {}

impl From<Error> for WriteError {
    fn from(error: Error) -> Self {
        Self::Failed(Arc::new(error))
    }
}

/// Limits of the queue.
#[derive(Debug, Clone, Copy)]
pub struct WriterLimits {
    /// Maximum number of waiting writes.
    pub queue_capacity: usize,
    /// Maximum time that a write waits in the queue.
    pub patience: Duration,
}

/// A write that waits.
pub(super) struct Job {
    pub(super) write: Write,
    pub(super) weight: usize,
    pub(super) queued_at: Instant,
    pub(super) reply: Reply,
}

/// The sender of a write's answer.
pub(super) type Reply = oneshot::Sender<Result<Written, WriteError>>;

/// A message to the thread.
pub(super) enum WriterMessage {
    Write(Job),
    Stop,
}

/// Answers a write. The requester may have stopped waiting, which is no error.
pub(super) fn answer(reply: Reply, result: Result<Written, WriteError>) {
    let _ = reply.send(result);
}
