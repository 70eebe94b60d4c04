//! Writing from threads that serve no connections and may wait: who fetches, and who erases.

use crate::store::{Outcome, Write};
use crate::writer::{WriteError, Writer};

/// Returns what does writes by a writer from threads that serve no connections.
///
/// # Panics
/// Outside the service's runtime.
pub fn blocking(writer: Writer) -> impl Fn(Write) -> Result<Outcome, WriteError> {
    let runtime = tokio::runtime::Handle::current();
    move |write| match runtime.block_on(writer.write(write)) {
        Ok(written) => Ok(Ok(written)),
        Err(WriteError::Rejected(rejection)) => Ok(Err(rejection)),
        Err(error) => Err(error),
    }
}
