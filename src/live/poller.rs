//! Watches the store for commits, and wakes the affected streams.
//!
//! One task reads the store's position: immediately after a commit of this process, but at most every [`MIN_INTERVAL`],
//! and at least every [`POLL_INTERVAL`], because other processes also write to the file. Without streams it is idle.

use super::hub::{LiveHub, Shared};
use crate::store::{Error, Feed, FeedPosition};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Minimum time between two checks.
const MIN_INTERVAL: Duration = Duration::from_millis(50);

/// Maximum delay until commits of other processes are noticed.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

impl LiveHub {
    /// Watches for commits, which `committed` announces, until the streams are closed.
    pub async fn follow(self, committed: watch::Receiver<()>) {
        watch(self.0, committed).await;
    }
}

/// Runs until the streams are closed.
async fn watch(shared: Arc<Shared>, mut committed: watch::Receiver<()>) {
    let mut closed = shared.closed.subscribe();
    tokio::select! {
        _ = closed.wait_for(|closed| *closed) => {}
        () = poll_loop(&shared, &mut committed) => {}
    }
}

async fn poll_loop(shared: &Arc<Shared>, committed: &mut watch::Receiver<()>) {
    let mut streams = shared.streams.subscribe();
    for number in 1.. {
        if *streams.borrow_and_update() == 0 {
            shared.go_idle();
            if streams.wait_for(|streams| *streams > 0).await.is_err() {
                return;
            }
        }
        committed.borrow_and_update();
        if let Err(error) = poll_once(shared, number).await {
            tracing::warn!(%error, "could not read changes for live streams; retrying");
            tokio::time::sleep(POLL_INTERVAL).await;
            continue;
        }
        tokio::time::sleep(MIN_INTERVAL).await;
        // The sender is dropped with the writer. Polling continues.
        let commit = async {
            if committed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let _ = tokio::time::timeout(POLL_INTERVAL, commit).await;
    }
}

/// Reads the store's position once, and wakes the streams of changed calls.
async fn poll_once(shared: &Arc<Shared>, number: u64) -> Result<(), Error> {
    let before: Option<FeedPosition> = *shared.head.borrow();
    let head = shared.read(<dyn Feed>::head).await?;
    if before == Some(head) {
        return Ok(());
    }
    match before {
        Some(mut from) if !shared.watched.is_empty() || from.change < head.change => {
            while from.is_behind(head) {
                let touched = shared.read(move |store| store.touched(from, head)).await?;
                if !touched.erased.is_empty() {
                    shared.clear_cache();
                }
                shared.watched.wake(number, &touched.calls, &touched.erased);
                from = touched.end;
            }
        }
        Some(_) => {}
        // Changes during the idle time may affect any stream that has been opened since.
        None => shared.watched.wake_all(number),
    }
    shared.head.send_replace(Some(head));
    Ok(())
}
