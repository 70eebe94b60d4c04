//! Learns of commits, and says so to the streams that they concern.
//!
//! One task asks the store how far it is: after a commit of this process at once, but not more often than every
//! [`TICK`], and every [`POLL`] anyway, since other processes write to the file too. While there is no stream it rests.

use super::hub::{Shared, Tail};
use crate::store::{Error, Position, Store};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Between two looks.
const TICK: Duration = Duration::from_millis(50);

/// How soon what other processes have committed is seen.
const POLL: Duration = Duration::from_secs(1);

impl Tail {
    /// Learns of commits, of which `committed` tells, until the streams are closed.
    pub async fn follow(self, committed: watch::Receiver<()>) {
        watch(self.0, committed).await;
    }
}

/// Runs until the streams are closed.
async fn watch(shared: Arc<Shared>, mut committed: watch::Receiver<()>) {
    let mut closed = shared.closed.subscribe();
    tokio::select! {
        _ = closed.wait_for(|closed| *closed) => {}
        () = look_again_and_again(&shared, &mut committed) => {}
    }
}

async fn look_again_and_again(shared: &Arc<Shared>, committed: &mut watch::Receiver<()>) {
    let mut streams = shared.streams.subscribe();
    for number in 1.. {
        if *streams.borrow_and_update() == 0 {
            shared.rest();
            if streams.wait_for(|streams| *streams > 0).await.is_err() {
                return;
            }
        }
        committed.borrow_and_update();
        if let Err(error) = look(shared, number).await {
            tracing::warn!(%error, "it could not be read what is new; it will be tried again");
            tokio::time::sleep(POLL).await;
            continue;
        }
        tokio::time::sleep(TICK).await;
        // Whoever commits is gone once the writer is; the poll goes on.
        let commit = async {
            if committed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let _ = tokio::time::timeout(POLL, commit).await;
    }
}

/// Looks once how far the store is.
async fn look(shared: &Arc<Shared>, number: u64) -> Result<(), Error> {
    let before: Option<Position> = *shared.head.borrow();
    let head = shared.read(<dyn Store>::head).await?;
    if before == Some(head) {
        return Ok(());
    }
    match before {
        Some(mut from) if !shared.watched.is_empty() || from.change < head.change => {
            while from.is_behind(head) {
                let touched = shared.read(move |store| store.touched(from, head)).await?;
                if !touched.erased.is_empty() {
                    shared.forget();
                }
                shared.watched.wake(number, &touched.calls, &touched.erased);
                from = touched.end;
            }
        }
        Some(_) => {}
        // What came while nobody looked may concern any stream that began meanwhile.
        None => shared.watched.wake_all(number),
    }
    shared.head.send_replace(Some(head));
    Ok(())
}
