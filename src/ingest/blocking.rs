//! Blocking writes from threads that serve no connections: backfill, erasure and reconciliation.

use super::executor::Executor;
use super::job::WriteError;
use super::writer::Writer;
use crate::domain::reconcile::Reconciliation;
use crate::store::command::Reconcile;
use crate::store::{Write, Written};
use tokio::runtime::Handle;

/// An executor on the writer of a running service.
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

    /// Stores slices of reconciled calls at once, which may share a commit. Returns the numbers of turns that the calls
    /// have then.
    pub fn reconcile(&self, slices: Vec<Reconciliation>) -> Vec<Result<i64, WriteError>> {
        let writes = slices.into_iter().map(|slice| self.writer.execute(Reconcile(Box::new(slice))));
        self.runtime.block_on(futures_util::future::join_all(writes))
    }
}

impl Executor for BlockingWriter {
    fn execute_write(&self, write: Write) -> Result<Written, WriteError> {
        self.runtime.block_on(self.writer.write(write))
    }
}
