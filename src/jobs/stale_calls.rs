//! Ends calls without activity, because ElevenLabs' post-call webhook can be lost.

use super::interval_thread::IntervalThread;
use crate::domain::{ConversationId, Timestamp};
use crate::ingest::WriteError;
use crate::ingest::executor::Executor;
use crate::store::command::EndStaleCalls;
use std::io;
use std::time::Duration;

/// Returns the interval between two checks: a fraction of the time that makes a call stale.
fn check_interval(stale_after: Duration) -> Duration {
    (stale_after / 10).clamp(Duration::from_millis(200), Duration::from_mins(1))
}

/// Starts a thread that ends calls in progress that have not changed for `stale_after`.
///
/// # Errors
/// The operating system could not create the thread.
pub fn start(stale_after: Duration, executor: Box<dyn Executor>) -> io::Result<IntervalThread> {
    let interval = check_interval(stale_after);
    IntervalThread::start("stale-calls", interval, move || {
        // In small batches, so turns do not wait for long.
        while let Some(ended) = end_some(&*executor, stale_after) {
            for id in &ended {
                tracing::info!(conversation_id = id.as_str(), "call ended: no activity");
            }
            if ended.is_empty() {
                break;
            }
        }
        interval
    })
}

fn end_some(executor: &dyn Executor, stale_after: Duration) -> Option<Vec<ConversationId>> {
    let micros = i64::try_from(stale_after.as_micros()).ok()?;
    let before = Timestamp::from_unix_micros(Timestamp::now().unix_micros().checked_sub(micros)?)?;
    match executor.execute(EndStaleCalls(before)) {
        Ok(ended) => Some(ended),
        Err(WriteError::Stopping) => None,
        Err(error) => {
            tracing::warn!(?error, "cannot end stale calls; retrying");
            None
        }
    }
}
