//! Ends calls without activity, because ElevenLabs' post-call webhook can be lost.

use crate::domain::Timestamp;
use crate::ingest::Writer;
use crate::store::command::EndStaleCalls;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Returns the interval between two checks: a fraction of the time that makes a call stale.
fn check_interval(stale_after: Duration) -> Duration {
    (stale_after / 10).clamp(Duration::from_millis(200), Duration::from_mins(1))
}

/// Ends calls in progress that have not changed for `stale_after`, until the task is aborted.
pub fn end_stale_calls(writer: Writer, stale_after: Duration) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(check_interval(stale_after)).await;
            // In small batches, so turns do not wait for long.
            while let Some(ended) = end_some(&writer, stale_after).await {
                for id in &ended {
                    tracing::info!(conversation_id = id.as_str(), "call ended: no activity");
                }
                if ended.is_empty() {
                    break;
                }
            }
        }
    })
}

async fn end_some(writer: &Writer, stale_after: Duration) -> Option<Vec<crate::domain::ConversationId>> {
    let micros = i64::try_from(stale_after.as_micros()).ok()?;
    let before = Timestamp::from_unix_micros(Timestamp::now().unix_micros().checked_sub(micros)?)?;
    match writer.execute(EndStaleCalls(before)).await {
        Ok(ended) => Some(ended),
        Err(error) => {
            tracing::warn!(?error, "cannot end stale calls; retrying");
            None
        }
    }
}
