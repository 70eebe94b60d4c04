//! Blocking writes from threads that serve no connections: backfill, erasure and reconciliation.

use super::event::EventParser;
use super::executor::Executor;
use super::job::WriteError;
use super::writer::Writer;
use crate::domain::reconcile::Reconciliation;
use crate::store::command::{Command, Reconcile};
use crate::store::{Write, Written};
use std::time::Duration;
use tokio::runtime::Handle;

/// An executor on the writer of a running service. Cheap to clone.
#[derive(Clone)]
pub struct BlockingWriter {
    writer: Writer,
    runtime: Handle,
}

impl BlockingWriter {
    /// Creates an executor on a writer.
    ///
    /// # Panics
    /// Panics outside the service's runtime.
    pub fn new(writer: Writer) -> Self {
        Self { writer, runtime: Handle::current() }
    }

    /// Executes commands at once, which may share a commit.
    pub fn execute_all<C: Command>(&self, commands: Vec<C>) -> Vec<Result<C::Output, WriteError>> {
        let writes = commands.into_iter().map(|command| self.writer.execute(command));
        self.runtime.block_on(futures_util::future::join_all(writes))
    }

    /// Stores slices of reconciled calls at once, which may share a commit. Returns the numbers of turns that the calls
    /// have then.
    pub fn reconcile(&self, slices: Vec<Reconciliation>) -> Vec<Result<i64, WriteError>> {
        self.execute_all(slices.into_iter().map(|slice| Reconcile(Box::new(slice))).collect())
    }

    /// Returns the parser of events.
    pub fn event_parser(&self) -> EventParser {
        self.writer.event_parser()
    }

    /// Tells the reconciler that calls became due and nobody waits for them.
    pub fn wake_reconciler(&self) {
        self.writer.requests().wake();
    }

    /// Returns whether a turn was stored within this time.
    pub fn is_busy(&self, within: Duration) -> bool {
        self.writer.is_busy(within)
    }
}

impl Executor for BlockingWriter {
    fn execute_write(&self, write: Write) -> Result<Written, WriteError> {
        self.runtime.block_on(self.writer.write(write))
    }
}
