//! Writing from threads that serve no connections and may wait: who fetches, and who erases.

use crate::store::{Outcome, Write};
use crate::writer::{WriteError, Writer};

/// Does writes by a writer from threads that serve no connections, and says in words why one was not done.
///
/// # Panics
/// Outside the service's runtime.
pub fn blocking(writer: Writer) -> impl Fn(Write) -> Result<Outcome, String> {
    let runtime = tokio::runtime::Handle::current();
    move |write| match runtime.block_on(writer.write(write)) {
        Ok(written) => Ok(Ok(written)),
        Err(WriteError::Rejected(rejection)) => Ok(Err(rejection)),
        Err(WriteError::Overloaded) => Err("too much is waiting to be stored".to_owned()),
        Err(WriteError::Stopping) => Err("the service is stopping".to_owned()),
        Err(WriteError::Failed(error)) => Err(error.to_string()),
    }
}
