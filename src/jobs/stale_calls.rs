//! Ends calls of which nothing more comes: the platform's report of a call can be missed.

use crate::domain::Timestamp;
use crate::ingest::Writer;
use crate::store::{Write, Written};
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often it is looked for stale calls: some times within the time that makes a call stale.
fn pause(stale_after: Duration) -> Duration {
    (stale_after / 10).clamp(Duration::from_millis(200), Duration::from_mins(1))
}

/// Ends calls that are in progress and unchanged for so long, until the task is aborted.
pub fn end_stale_calls(writer: Writer, stale_after: Duration) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(pause(stale_after)).await;
            // Some at a time, so that turns are not kept waiting.
            while let Some(ended) = end_some(&writer, stale_after).await {
                for id in &ended {
                    tracing::info!(conversation_id = id.as_str(), "a call was ended, since nothing more came of it");
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
    match writer.write(Write::EndStaleCalls(before)).await {
        Ok(Written::Ended(ended)) => Some(ended),
        Ok(_) => unreachable!("ended calls are answered as ended"),
        Err(error) => {
            tracing::warn!(?error, "stale calls were not ended; it will be tried again");
            None
        }
    }
}
