//! The handle of the writer's thread: stopping it, and detecting that it died.

use super::job::WriterMessage;
use super::writer::Writer;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// The thread behind a [`Writer`].
pub struct WriterThread {
    pub(super) thread: JoinHandle<()>,
    pub(super) writer: Writer,
    pub(super) ended: oneshot::Receiver<()>,
}

impl WriterThread {
    /// Stops accepting writes, executes those that wait, lets the store do its idle maintenance, and ends the thread.
    /// Returns false if the thread panicked, which was reported when it happened.
    pub fn stop(self) -> bool {
        self.writer.shared.stopping.store(true, Ordering::Release);
        // Queued after all accepted writes. It fails if the thread is already gone, which is fine.
        let _ = self.writer.queue.send(WriterMessage::Stop);
        self.thread.join().is_ok()
    }

    /// Waits until the thread ends without being stopped, which only a bug can cause.
    pub async fn died(&mut self) {
        let _ = (&mut self.ended).await;
    }
}
