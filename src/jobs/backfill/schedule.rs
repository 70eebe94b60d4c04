//! Periodically fetches calls that started here but whose end was not received, while the service runs.

use super::run::{BackfillError, BackfillTarget, KeeperError, fetch_calls};
use crate::domain::ConversationId;
use crate::elevenlabs::client::Client;
use crate::jobs::interval_thread::IntervalThread;
use std::collections::HashSet;
use std::io;
use std::time::Duration;

/// A store that can list unfinished calls.
pub trait UnfinishedCalls: BackfillTarget {
    /// Returns recent calls without a record of ElevenLabs, at most a few thousand.
    ///
    /// # Errors
    /// Reading failed.
    fn unfinished(&self) -> Result<Vec<ConversationId>, KeeperError>;
}

/// Starts to fetch, immediately and then at this interval.
///
/// # Errors
/// The operating system could not create the thread.
pub fn start(
    every: Duration,
    client: Client,
    keeper: impl UnfinishedCalls + Send + 'static,
) -> io::Result<IntervalThread> {
    let mut unknown = HashSet::new();
    IntervalThread::start("backfill", Duration::ZERO, move || {
        run(&client, &keeper, &mut unknown);
        every
    })
}

/// Maximum number of calls that are remembered as unknown to ElevenLabs.
const MAX_UNKNOWN_CALLS: usize = 10_000;

/// Fetches once. Calls in `unknown`, which ElevenLabs does not know, are not requested again.
fn run(client: &Client, keeper: &dyn UnfinishedCalls, unknown: &mut HashSet<ConversationId>) {
    let asked = keeper.unfinished().map_err(BackfillError::Store).and_then(|mut calls| {
        calls.retain(|call| !unknown.contains(call));
        fetch_calls(client, keeper, &calls)
    });
    match asked {
        Ok(report) => {
            if report.fetched > 0 || !report.failed.is_empty() {
                let failed = report.failed.len();
                tracing::info!(fetched = report.fetched, failed, "fetched calls from ElevenLabs");
            }
            if unknown.len() > MAX_UNKNOWN_CALLS {
                unknown.clear();
            }
            unknown.extend(report.unknown);
        }
        Err(error) => tracing::warn!(%error, "cannot fetch calls from ElevenLabs"),
    }
}
