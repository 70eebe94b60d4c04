//! Blocking writes, in a service or directly in a store.

use super::job::WriteError;
use crate::domain::Timestamp;
use crate::domain::reconcile::Reconciliation;
use crate::store::command::{self, Command, Reconcile, output_of};
use crate::store::{Commands, Store, Write, Written};
use std::sync::Arc;

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
pub fn reconcile_in(store: &dyn Commands, now: Timestamp, slices: Vec<Reconciliation>) -> Vec<Result<i64, WriteError>> {
    let number = slices.len();
    match command::execute_all(store, now, slices.into_iter().map(|slice| Reconcile(Box::new(slice)))) {
        Ok(outcomes) => outcomes.into_iter().map(|outcome| outcome.map_err(WriteError::Rejected)).collect(),
        Err(error) => {
            let error = WriteError::from(error);
            vec![Err(error); number]
        }
    }
}
