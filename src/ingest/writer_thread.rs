//! The writer's thread as the service sees it: stopping it, and noticing that it died.

use super::job::Order;
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
    /// Takes no more writes, does those that wait, lets the store rest, and ends the thread. Returns whether all that
    /// went well; a panic was reported when it happened.
    pub fn stop(self) -> bool {
        self.writer.shared.stopping.store(true, Ordering::Release);
        // Behind all that was queued before. Fails when the thread is gone already, which is as good.
        let _ = self.writer.queue.send(Order::Stop);
        self.thread.join().is_ok()
    }

    /// Waits until the thread ends although nobody stopped it, which only a defect in this program can do.
    pub async fn died(&mut self) {
        let _ = (&mut self.ended).await;
    }
}
