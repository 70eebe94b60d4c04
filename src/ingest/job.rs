//! Writes that wait for the thread, and how they are answered.

use crate::store::{Error, Rejection, Write, Written};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Why a write was not done.
#[derive(Debug, Clone)]
pub enum WriteError {
    /// The queue is full, or the write waited too long in it. Nothing was stored; try again later.
    Overloaded,
    /// The service is stopping. Nothing was stored.
    Stopping,
    /// The write itself cannot be done.
    Rejected(Rejection),
    /// The database failed. Nothing was stored.
    Failed(Arc<Error>),
}

impl std::fmt::Display for WriteError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Overloaded => f.write_str("too much is waiting to be stored"),
            Self::Stopping => f.write_str("the service is stopping"),
            Self::Rejected(rejection) => write!(f, "it was refused: {rejection:?}"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

/// How the queue behaves.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Greatest number of writes that wait.
    pub queue_capacity: usize,
    /// How long a write may wait in the queue.
    pub patience: Duration,
}

/// A write that waits.
pub(super) struct Job {
    pub(super) write: Write,
    pub(super) weight: usize,
    pub(super) queued_at: Instant,
    pub(super) reply: Reply,
}

/// Where a write is answered.
pub(super) type Reply = oneshot::Sender<Result<Written, WriteError>>;

/// What the thread is told.
pub(super) enum Order {
    Do(Job),
    Stop,
}

/// Answers a write. Nobody may be waiting any more, which is no reason not to have written.
pub(super) fn answer(reply: Reply, result: Result<Written, WriteError>) {
    let _ = reply.send(result);
}
