//! Writing from threads that serve no connections and may wait: who fetches, and who erases.

use crate::store::{Outcome, Write, Written};
use crate::writer::{WriteError, Writer};

/// Does writes by a writer from threads that serve no connections, and says in words why one was not done.
///
/// # Panics
/// Outside the service's runtime.
pub fn blocking(writer: Writer) -> impl Fn(Write) -> Result<Outcome, String> {
    let runtime = tokio::runtime::Handle::current();
    move |write| in_words(runtime.block_on(writer.write(write)))
}

/// The same with several writes at once, which may share a commit.
///
/// # Panics
/// Outside the service's runtime.
pub fn blocking_all(writer: Writer) -> impl Fn(Vec<Write>) -> Vec<Result<Outcome, String>> {
    let runtime = tokio::runtime::Handle::current();
    move |writes| {
        let all = futures_util::future::join_all(writes.into_iter().map(|write| writer.write(write)));
        runtime.block_on(all).into_iter().map(in_words).collect()
    }
}

fn in_words(result: Result<Written, WriteError>) -> Result<Outcome, String> {
    match result {
        Ok(written) => Ok(Ok(written)),
        Err(WriteError::Rejected(rejection)) => Ok(Err(rejection)),
        Err(WriteError::Overloaded) => Err("too much is waiting to be stored".to_owned()),
        Err(WriteError::Stopping) => Err("the service is stopping".to_owned()),
        Err(WriteError::Failed(error)) => Err(error.to_string()),
    }
}
