//! Calls that streams watch one by one.

use crate::domain::ConversationId;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;

/// The calls that are watched one by one.
#[derive(Default)]
pub(super) struct Watched(Mutex<HashMap<ConversationId, Watch>>);

struct Watch {
    call_id: i64,
    /// The number of the last look that found something of it.
    touched: watch::Sender<u64>,
}

impl Watched {
    /// Something to wait on for news of a call; given back by [`Self::leave`].
    pub(super) fn join(&self, id: &ConversationId, call_id: i64) -> watch::Receiver<u64> {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let watch = calls.entry(id.clone()).or_insert_with(|| Watch { call_id, touched: watch::Sender::new(0) });
        // A call that was made anew has a greater number; who watches the old one hears of the new one's first turn.
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

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub(super) fn wake(&self, look: u64, touched: &[ConversationId], erased: &[i64]) {
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

    pub(super) fn wake_all(&self, look: u64) {
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for watch in calls.values() {
            watch.touched.send_replace(look);
        }
    }
}
