//! Notes about recordings that were stored before the database had such notes, or that were copied into the folder or
//! deleted from it while the service did not run.

use super::interval_thread::IntervalThread;
use crate::domain::ConversationId;
use crate::ingest::WriteError;
use crate::ingest::executor::Executor;
use crate::recordings::Recordings;
use crate::store::command::NoteRecordings;
use crate::store::{CallFilter, CallPageRequest, SortOrder, Store};
use crate::sys::low_priority::Background;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Number of calls that are compared with the folder at once.
const PAGE_ROWS: usize = 200;

/// Starts a thread that compares the notes of all calls with the folder once, newest calls first.
///
/// # Errors
/// The operating system could not create the thread.
pub fn start(
    recordings: Recordings,
    store: &Arc<dyn Store>,
    executor: Box<dyn Executor>,
) -> io::Result<IntervalThread> {
    // Weak, because a stopping service must be able to close the store.
    let store = Arc::downgrade(store);
    IntervalThread::start("recording-notes", Duration::ZERO, move || {
        for has_audio in [false, true] {
            correct(&recordings, &store, &*executor, has_audio);
        }
        Duration::MAX
    })
}

/// Corrects the notes of the calls that have, or do not have, a recording by their notes.
fn correct(recordings: &Recordings, store: &Weak<dyn Store>, executor: &dyn Executor, has_audio: bool) {
    let filter = CallFilter { has_audio: Some(has_audio), ..CallFilter::default() };
    let order = SortOrder::Descending;
    let mut request = CallPageRequest { filter, order, after: None, limit: PAGE_ROWS, with_total: false };
    let mut gently = Background::begin();
    loop {
        let Some(open) = store.upgrade() else { return };
        let page = match open.calls(&request) {
            Ok(page) => page,
            Err(error) => return tracing::warn!(%error, "cannot compare recordings with calls"),
        };
        drop(open);
        request.after = page.next;
        let ids = page.rows.into_iter().map(|call| call.conversation_id);
        let wrong: Vec<ConversationId> = ids.filter(|id| recordings.path(id).is_file() != has_audio).collect();
        if !wrong.is_empty() {
            match executor.execute(NoteRecordings(wrong, !has_audio)) {
                Ok(()) => {}
                Err(WriteError::Stopping) => return,
                Err(error) => tracing::warn!(?error, "cannot note recordings"),
            }
        }
        if page.next.is_none() {
            return;
        }
        gently.pause();
    }
}
