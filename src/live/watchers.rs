//! Calls that streams watch one by one.

use crate::domain::ConversationId;
use parking_lot::Mutex;
use std::collections::HashMap;
use tokio::sync::watch;

/// The calls that are watched individually.
#[derive(Default)]
pub(super) struct CallWatchers(Mutex<HashMap<ConversationId, CallWatcher>>);

struct CallWatcher {
    call_id: i64,
    /// Number of the last check that found a change of the call.
    touched: watch::Sender<u64>,
}

impl CallWatchers {
    /// Subscribes to changes of a call; [`Self::leave`] ends the subscription.
    pub(super) fn join(&self, id: &ConversationId, call_id: i64) -> watch::Receiver<u64> {
        let mut calls = self.0.lock();
        let watch = calls.entry(id.clone()).or_insert_with(|| CallWatcher { call_id, touched: watch::Sender::new(0) });
        // A recreated call has a larger id, so watchers of the erased one notice the first turn of the new one.
        watch.call_id = watch.call_id.max(call_id);
        watch.touched.subscribe()
    }

    pub(super) fn leave(&self, id: &ConversationId, receiver: watch::Receiver<u64>) {
        let mut calls = self.0.lock();
        drop(receiver);
        if calls.get(id).is_some_and(|watch| watch.touched.receiver_count() == 0) {
            calls.remove(id);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    pub(super) fn wake(&self, look: u64, touched: &[ConversationId], erased: &[i64]) {
        let calls = self.0.lock();
        for watch in touched.iter().filter_map(|id| calls.get(id)) {
            watch.touched.send_replace(look);
        }
        if !erased.is_empty() {
            for watch in calls.values().filter(|watch| erased.contains(&watch.call_id)) {
                watch.touched.send_replace(look);
            }
        }
    }

    pub(super) fn wake_all(&self, look: u64) {
        let calls = self.0.lock();
        for watch in calls.values() {
            watch.touched.send_replace(look);
        }
    }
}
