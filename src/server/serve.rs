//! Runs the service: starts its parts, serves, and stops them in order.
//!
//! Shutdown: the listener is closed, idle connections and live streams are closed, running requests get some seconds to
//! end, the writer processes its queue, and finally the WAL is checkpointed into the database file.

use super::request_layer::RequestLayer;
use super::settings::Settings;
use super::tls::Tls;
use super::{connections, malloc_trim, metrics_endpoint, routes, swagger_ui, systemd};
use crate::api;
use crate::api::auth::Access;
use crate::api::body::{BodyLimits, memory_for};
use crate::api::webhooks::signed_body::PostCallReceiver;
use crate::elevenlabs::client::Client;
use crate::ingest::Writer;
use crate::ingest::blocking::BlockingWriter;
use crate::ingest::reconciler::Reconciler;
use crate::jobs::backfill::{self, StoreTarget};
use crate::jobs::interval_thread::IntervalThread;
use crate::jobs::retention::{self, Eraser};
use crate::jobs::{backup, stale_calls};
use crate::live::LiveHub;
use crate::recordings::Recordings;
use crate::store::{OtherWriters, Store};
use crate::viewer;
use poem::middleware::AddData;
use poem::{EndpointExt as _, Route};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Maximum time for running requests to end after a stop. Together with the writer's own timeouts, shutdown takes less
/// than the ten seconds that supervisors commonly allow.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A reason why the service ended without being stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A system call failed.
    #[error("the server failed")]
    Io(#[source] io::Error),
    /// Backups cannot be made as configured.
    #[error("cannot make backups of the database")]
    Copies(#[source] io::Error),
    /// The writer's thread ended unexpectedly, because of a bug.
    #[error("the writer thread ended unexpectedly; nothing more can be stored")]
    WriterDied,
}

/// Fetches missing ends of calls periodically, until the returned job is dropped.
fn start_backfill(
    client: Client,
    every: Duration,
    store: &Arc<dyn Store>,
    writer: &Writer,
) -> Result<IntervalThread, ServeError> {
    let executor = Box::new(BlockingWriter::new(writer.clone()));
    let keeper = StoreTarget::new(store, writer.redactor(), executor);
    backfill::start(every, client, keeper).map_err(ServeError::Io)
}

/// Erases expired calls periodically, until the returned job is dropped.
fn start_retention(
    older_than: Duration,
    recordings: Option<Recordings>,
    store: &Arc<dyn Store>,
    writer: &Writer,
) -> Result<IntervalThread, ServeError> {
    let executor = Box::new(BlockingWriter::new(writer.clone()));
    let eraser = Eraser::new(store, recordings, executor, OtherWriters::Some);
    retention::start(older_than, eraser).map_err(ServeError::Io)
}

/// Serves on `listener` until `stop` is ready, then shuts down in order. The store is dropped before this returns.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve(
    listener: TcpListener,
    store: Arc<dyn Store>,
    settings: Settings,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    if let Some(database) = store.copier().database() {
        backup::remove_leftovers(database, &settings.copies);
    }
    let copies = backup::Periodic::start(&settings.copies, store.copier()).map_err(ServeError::Copies)?;
    let (writer, mut writer_thread) =
        Writer::start(store.clone(), settings.writing, settings.redactor).map_err(ServeError::Io)?;
    let blocking = BlockingWriter::new(writer.clone());
    let reconciler =
        Reconciler::start(store.clone(), writer.requests().clone(), move |slices| blocking.reconcile(slices));
    let reconciler = reconciler.map_err(ServeError::Io)?;
    let _backfill =
        settings.backfill.map(|(client, every)| start_backfill(client, every, &store, &writer)).transpose()?;
    let recordings = settings.post_call.recordings.clone();
    let _retention =
        settings.retention.map(|older_than| start_retention(older_than, recordings, &store, &writer)).transpose()?;
    let stale =
        settings.stale_after.map(|after| stale_calls::start(after, Box::new(BlockingWriter::new(writer.clone()))));
    let stale = stale.transpose().map_err(ServeError::Io)?;
    let access = Access::new(&settings.access);
    let tail = LiveHub::new(store.clone(), settings.streams, api::encode_event);
    let follow = tokio::spawn(tail.clone().follow(writer.committed()));
    let memory = memory_for(settings.post_call.max_body.max(settings.max_body));
    let gate = PostCallReceiver::new(settings.post_call, memory.clone());
    let service = api::service(store.clone(), writer.clone(), gate, access.clone(), tail.clone(), settings.deep_reads);
    let document = api::document_of(&service);
    let others: Vec<_> = ["/docs", "/openapi.json", metrics_endpoint::PATH].into_iter().chain(viewer::PATHS).collect();
    let routes = routes::Routes::from_document(&document, &others);
    let scrape = metrics_endpoint::MetricsEndpoint::new(store.clone(), writer.clone());
    let route = Route::new()
        .at("/docs", poem::get(swagger_ui::page()))
        .at("/openapi.json", poem::get(swagger_ui::document(document)))
        .at(metrics_endpoint::PATH, poem::get(scrape.clone()))
        .at(api::TURN_WEBHOOK_PATH, poem::post(api::turn_webhook(writer.clone())))
        .nest("/", viewer::layer(service))
        .with(AddData::new(BodyLimits::new(settings.max_body, memory)));
    let app = RequestLayer::new(access.guard(route), routes, settings.proxies).with_origins(settings.origins);

    let metrics = settings.metrics.map(|listener| metrics_endpoint::serve(listener, scrape));
    let watchdog = tokio::spawn(systemd::watchdog(writer.clone()));
    let memory_trim = malloc_trim::trim_regularly().map_err(ServeError::Io)?;
    let (died_tx, died_rx) = tokio::sync::oneshot::channel();
    let stop_or_death = async move {
        tokio::select! {
            () = stop => tracing::info!("stopping: no longer accepting connections"),
            () = writer_thread.died() => tracing::error!("writer thread ended unexpectedly"),
        }
        // Live streams are running requests that would not end by themselves.
        tail.close();
        systemd::stopping();
        // The receiver is gone only if the server has already failed.
        let _ = died_tx.send(writer_thread);
    };
    let acceptor = settings.tls.as_ref().map(Tls::acceptor);
    let certificates = settings.tls.map(|tls| tokio::spawn(tls.run()));
    systemd::ready();
    let served = connections::serve(listener, app, acceptor, settings.connections, stop_or_death, DRAIN_TIMEOUT)
        .await
        .map_err(ServeError::Io);
    if let Some(certificates) = certificates {
        certificates.abort();
    }
    watchdog.abort();
    drop(memory_trim);
    drop(stale);
    // The task ends with the streams, but not if the server has failed.
    follow.abort();
    if let Some(metrics) = metrics {
        metrics.stop().await;
    }
    let writer_thread = died_rx.await.map_err(|_| ServeError::WriterDied)?;
    let ended_well = tokio::task::spawn_blocking(move || {
        drop(copies);
        drop(reconciler);
        let ended_well = writer_thread.stop();
        drop(store);
        ended_well
    });
    match ended_well.await {
        Ok(true) => served,
        _ => Err(ServeError::WriterDied),
    }
}
