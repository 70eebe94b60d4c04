//! The writer's thread as the service sees it: stopping it, and noticing that it died.

use super::file_watch::FileWatch;
use super::job::{Limits, Order};
use super::purge_schedule::Forgetting;
use super::reconciler::Requests;
use super::slices::Slices;
use super::writer::{Loop, Shared, Writer};
use crate::redaction::Redactor;
use crate::store::Store;
use crate::telemetry::metrics::METRICS;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// The thread behind a [`Writer`].
pub struct WriterThread {
    thread: JoinHandle<()>,
    writer: Writer,
    ended: oneshot::Receiver<()>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gave no thread.
    pub fn start(
        store: Arc<dyn Store>,
        limits: Limits,
        redactor: Option<Redactor>,
    ) -> std::io::Result<(Self, WriterThread)> {
        let (queue, orders) = sync_channel(limits.queue_capacity);
        let shared = Arc::new(Shared::default());
        let writer = Self { queue, shared: shared.clone(), redactor, requests: Requests::default() };
        let (alive, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name("writer".to_owned()).spawn(move || {
            // Dropped when the thread ends, be it by a panic.
            let _alive: oneshot::Sender<()> = alive;
            let lag = METRICS.ingest_lag_seconds.local();
            Loop {
                store,
                shared,
                patience: limits.patience,
                lag,
                forgetting: Forgetting::default(),
                file_watch: FileWatch::new(),
                slices: Slices::new(),
                others_wrote: false,
            }
            .run(&orders);
        })?;
        Ok((writer.clone(), WriterThread { thread, writer, ended }))
    }
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
