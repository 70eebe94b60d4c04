//! Start of the writer's thread.

use super::event::EventParser;
use super::file_watch::FileMonitor;
use super::job::WriterLimits;
use super::purge_schedule::PurgeSchedule;
use super::reconciler::Requests;
use super::slices::Slices;
use super::writer::{Shared, Writer, WriterLoop};
use super::writer_thread::WriterThread;
use crate::store::{OtherWriters, Store};
use crate::telemetry::metrics::METRICS;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use tokio::sync::oneshot;

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system could not create the thread.
    pub fn start(
        store: Arc<dyn Store>,
        limits: WriterLimits,
        parser: EventParser,
    ) -> std::io::Result<(Self, WriterThread)> {
        let (queue, orders) = sync_channel(limits.queue_capacity);
        let shared = Arc::new(Shared::default());
        let writer = Self { queue, shared: shared.clone(), parser, requests: Requests::default() };
        let (alive, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name("writer".to_owned()).spawn(move || {
            // Dropped when the thread ends, even by a panic.
            let _alive: oneshot::Sender<()> = alive;
            let lag = METRICS.ingest_lag_seconds.local();
            WriterLoop {
                store,
                shared,
                patience: limits.patience,
                lag,
                purge_schedule: PurgeSchedule::default(),
                file_watch: FileMonitor::new(),
                slices: Slices::new(),
                others: OtherWriters::None,
            }
            .run(&orders);
        })?;
        Ok((writer.clone(), WriterThread { thread, writer, ended }))
    }
}
