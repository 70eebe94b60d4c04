//! Blocking writes from threads that serve no connections: backfill, erasure and reconciliation.

use super::{WriteError, Writer};
use crate::domain::Timestamp;
use crate::domain::reconcile::Reconciliation;
use crate::store::command::{self, Command, Reconcile, output_of};
use crate::store::{Store, Write, Written};
use std::sync::Arc;
use tokio::runtime::Handle;

/// A writer that blocks its thread until a write is on disk.
pub trait Executor: Send + Sync {
    /// Executes a write.
    ///
    /// # Errors
    /// See [`WriteError`].
    fn execute_write(&self, write: Write) -> Result<Written, WriteError>;
}

impl dyn Executor + '_ {
    /// Executes a command.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn execute<C: Command>(&self, command: C) -> Result<C::Output, WriteError> {
        self.execute_write(command.into()).map(output_of::<C>)
    }
}

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

/// An executor on a store, for a command.
pub struct StoreWriter(pub Arc<dyn Store>);

impl Executor for StoreWriter {
    fn execute_write(&self, write: Write) -> Result<Written, WriteError> {
        let mut outcomes = self.0.apply(Timestamp::now(), &[write])?;
        outcomes.pop().expect("a store returns an outcome for each write").map_err(WriteError::Rejected)
    }
}

/// Stores slices of reconciled calls in a store at this time, as one transaction. Returns the numbers of turns that the
/// calls have then.
pub fn reconcile_in(store: &dyn Store, now: Timestamp, slices: Vec<Reconciliation>) -> Vec<Result<i64, WriteError>> {
    let number = slices.len();
    match command::execute_all(store, now, slices.into_iter().map(|slice| Reconcile(Box::new(slice)))) {
        Ok(outcomes) => outcomes.into_iter().map(|outcome| outcome.map_err(WriteError::Rejected)).collect(),
        Err(error) => {
            let error = WriteError::from(error);
            vec![Err(error); number]
        }
    }
}
