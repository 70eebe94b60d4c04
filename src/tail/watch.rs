//! Watches the store for commits, and wakes the affected streams.
//!
//! One task reads the store's position: immediately after a commit of this process, but at most every [`MIN_INTERVAL`],
//! and at least every [`POLL_INTERVAL`], because other processes also write to the file. Without streams it is idle.

use super::Shared;
use crate::model::ConversationId;
use crate::store::{Error, Position, Store};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Minimum time between two checks.
const MIN_INTERVAL: Duration = Duration::from_millis(50);

/// Maximum delay until commits of other processes are noticed.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The calls that are watched individually.
#[derive(Default)]
pub(super) struct Watched(Mutex<HashMap<ConversationId, CallWatcher>>);

struct CallWatcher {
    call_id: i64,
    /// Number of the last check that found a change of the call.
    touched: watch::Sender<u64>,
}

impl Watched {
    /// Subscribes to changes of a call; [`Self::leave`] ends the subscription.
    pub(super) fn join(&self, id: &ConversationId, call_id: i64) -> watch::Receiver<u64> {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let watch = calls.entry(id.clone()).or_insert_with(|| CallWatcher { call_id, touched: watch::Sender::new(0) });
        // A recreated call has a larger id, so watchers of the erased one notice the first turn of the new one.
        watch.call_id = watch.call_id.max(call_id);
        watch.touched.subscribe()
    }

    pub(super) fn leave(&self, id: &ConversationId, receiver: watch::Receiver<u64>) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(receiver);
        if calls.get(id).is_some_and(|watch| watch.touched.receiver_count() == 0) {
            calls.remove(id);
        }
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn wake(&self, look: u64, touched: &[ConversationId], erased: &[i64]) {
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for watch in touched.iter().filter_map(|id| calls.get(id)) {
            watch.touched.send_replace(look);
        }
        if !erased.is_empty() {
            for watch in calls.values().filter(|watch| erased.contains(&watch.call_id)) {
                watch.touched.send_replace(look);
            }
        }
    }

    fn wake_all(&self, look: u64) {
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for watch in calls.values() {
            watch.touched.send_replace(look);
        }
    }
}

/// Runs until the streams are closed.
pub(super) async fn watch(shared: Arc<Shared>, mut committed: watch::Receiver<()>) {
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
            shared.rest();
            if streams.wait_for(|streams| *streams > 0).await.is_err() {
                return;
            }
        }
        committed.borrow_and_update();
        if let Err(error) = look(shared, number).await {
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
        // Changes during the idle time may affect any stream that has been opened since.
        None => shared.watched.wake_all(number),
    }
    shared.head.send_replace(Some(head));
    Ok(())
}
