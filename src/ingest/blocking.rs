//! Blocking writes from threads that serve no connections: backfill, erasure and reconciliation.

use super::{WriteError, Writer};
use crate::store::{Outcome, Write, Written};

/// Returns a function that writes through a writer and blocks its thread until the write is done.
///
/// # Panics
/// Panics outside the service's runtime.
pub fn blocking(writer: Writer) -> impl Fn(Write) -> Result<Outcome, WriteError> {
    let runtime = tokio::runtime::Handle::current();
    move |write| outcome(runtime.block_on(writer.write(write)))
}

/// Returns a function that executes several writes at once, which may share a commit, and blocks its thread.
///
/// # Panics
/// Panics outside the service's runtime.
pub fn blocking_all(writer: Writer) -> impl Fn(Vec<Write>) -> Vec<Result<Outcome, String>> {
    let runtime = tokio::runtime::Handle::current();
    move |writes| {
        let all = futures_util::future::join_all(writes.into_iter().map(|write| writer.write(write)));
        let results = runtime.block_on(all).into_iter();
        results.map(|result| outcome(result).map_err(|error| error.to_string())).collect()
    }
}

fn outcome(result: Result<Written, WriteError>) -> Result<Outcome, WriteError> {
    match result {
        Ok(written) => Ok(Ok(written)),
        Err(WriteError::Rejected(rejection)) => Ok(Err(rejection)),
        Err(error) => Err(error),
    }
}
