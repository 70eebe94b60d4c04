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

/// Time without activity after which calls end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StaleAfter {
    /// Time for spoken conversations, and those of an unknown kind; `None` never ends them.
    pub voice: Option<Duration>,
    /// Time for typed conversations; `None` never ends them.
    pub text: Option<Duration>,
}

/// Starts a thread that ends calls in progress that have not changed for `stale_after`, if any are to be ended.
///
/// # Errors
/// The operating system could not create the thread.
pub fn start(stale_after: StaleAfter, executor: Box<dyn Executor>) -> io::Result<Option<IntervalThread>> {
    let Some(shortest) = [stale_after.voice, stale_after.text].into_iter().flatten().min() else { return Ok(None) };
    let interval = check_interval(shortest);
    let thread = IntervalThread::start("stale-calls", interval, move || {
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
    });
    thread.map(Some)
}

fn end_some(executor: &dyn Executor, stale_after: StaleAfter) -> Option<Vec<ConversationId>> {
    let now = Timestamp::now().unix_micros();
    let before =
        |after: Duration| Timestamp::from_unix_micros(now.checked_sub(i64::try_from(after.as_micros()).ok()?)?);
    // No call is older than this, so it ends none.
    let never = Timestamp::from_unix_micros(0)?;
    let [voice, text] = [stale_after.voice, stale_after.text].map(|after| after.and_then(before).unwrap_or(never));
    match executor.execute(EndStaleCalls(voice, text)) {
        Ok(ended) => Some(ended),
        Err(WriteError::Stopping) => None,
        Err(error) => {
            tracing::warn!(?error, "cannot end stale calls; retrying");
            None
        }
    }
}
