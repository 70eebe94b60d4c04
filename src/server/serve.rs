//! Runs the service: starts its parts, serves, and stops them in order.
//!
//! Shutdown: the listener is closed, idle connections and live streams are closed, running requests get some seconds to
//! end, the writer processes its queue, and finally the WAL is checkpointed into the database file.

use super::metrics_endpoint::{MetricsEndpoint, MetricsServer};
use super::request_layer::RequestLayer;
use super::routes::Routes;
use super::settings::Settings;
use super::tls::Tls;
use super::{connections, malloc_trim, metrics_endpoint, swagger_ui, systemd};
use crate::api;
use crate::api::auth::{AccessControl, RoleGuard};
use crate::api::body::{BodyLimits, memory_for};
use crate::api::mcp::{McpEndpoint, McpServer};
use crate::api::reader::Reader;
use crate::api::webhooks::signed_body::PostCallReceiver;
use crate::api::{Outlets, SetupFacts};
use crate::domain::Role;
use crate::ingest::blocking::BlockingWriter;
use crate::ingest::reconciler::Reconciler;
use crate::ingest::{Writer, WriterThread};
use crate::jobs::access_log::{self, AccessLog, AccessLogThread};
use crate::jobs::backfill::{self, StoreTarget};
use crate::jobs::interval_thread::IntervalThread;
use crate::jobs::retention::{self, Eraser};
use crate::jobs::{alerts, backup, doctor, recording_notes, rereads, stale_calls};
use crate::live::LiveHub;
use crate::outgoing::Webhooks;
use crate::store::{OtherWriters, Store};
use crate::viewer;
use poem::middleware::AddData;
use poem::{Endpoint, EndpointExt as _, Route};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Maximum time for running requests to end after a stop. Together with the writer's own timeouts, shutdown takes less
/// than the ten seconds that supervisors commonly allow.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum time that a start waits until the endpoints of outgoing webhooks are stored.
const CONFIGURE_TIMEOUT: Duration = Duration::from_secs(2);

/// A reason why the service ended without being stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A system call failed.
    #[error("the server failed")]
    Io(#[source] io::Error),
    /// The writer's thread ended unexpectedly, because of a bug.
    #[error("the writer thread ended unexpectedly; nothing more can be stored")]
    WriterDied,
}

/// Work that runs on threads of its own, until it is dropped.
struct Jobs {
    backups: Option<backup::Periodic>,
    reconciler: Reconciler,
    rereads: IntervalThread,
    stale: Option<IntervalThread>,
    access_log: AccessLogThread,
    memory_trim: IntervalThread,
    _alerts: IntervalThread,
    webhooks: Webhooks,
    _backfill: Option<IntervalThread>,
    _elevenlabs_check: Option<IntervalThread>,
    _recording_notes: Option<IntervalThread>,
    _retention: Option<IntervalThread>,
}

impl Jobs {
    fn start(
        settings: &mut Settings,
        backups: Option<backup::Periodic>,
        store: &Arc<dyn Store>,
        writer: &Writer,
        webhooks: Webhooks,
    ) -> io::Result<(Self, AccessLog)> {
        let blocking = || BlockingWriter::new(writer.clone());
        let reconciling = blocking();
        let reconciler =
            Reconciler::start(store.clone(), writer.requests().clone(), move |slices| reconciling.reconcile(slices))?;
        let backfill = settings.backfill.take().map(|(client, every)| {
            backfill::start(every, client, StoreTarget::new(store, writer.event_parser(), Box::new(blocking())))
        });
        let recordings = settings.post_call.recordings.clone();
        let elevenlabs_check =
            settings.elevenlabs_check.take().map(|client| doctor::watch::start(client, store, recordings.is_some()));
        let recording_notes =
            recordings.clone().map(|folder| recording_notes::start(folder, store, Box::new(blocking())));
        let retention = settings.retention.map(|older_than| {
            let eraser = Eraser::new(store, recordings, Box::new(blocking()), OtherWriters::Some);
            retention::start(older_than, eraser)
        });
        let (log, access_log) = access_log::start(settings.access_log_keep, store, Box::new(blocking()))?;
        let stale = stale_calls::start(settings.stale_after, Box::new(blocking()))?;
        webhooks.start(store, &blocking())?;
        let jobs = Self {
            backups,
            reconciler,
            rereads: rereads::start(store.clone(), blocking())?,
            stale,
            access_log,
            memory_trim: malloc_trim::trim_regularly()?,
            _alerts: alerts::start(std::mem::take(&mut settings.alerts), store, Box::new(blocking()))?,
            webhooks,
            _backfill: backfill.transpose()?,
            _elevenlabs_check: elevenlabs_check.transpose()?,
            _recording_notes: recording_notes.transpose()?,
            _retention: retention.transpose()?,
        };
        Ok((jobs, log))
    }

    /// Stops the jobs and the writer, which processes its queue first, and closes the store. Returns true if the writer
    /// ended as it should.
    async fn stop(self, writer_thread: WriterThread, store: Arc<dyn Store>) -> bool {
        self.webhooks.stop();
        drop(self.memory_trim);
        drop(self.stale);
        let (backups, reconciler, rereads, access_log) = (self.backups, self.reconciler, self.rereads, self.access_log);
        let ended_well = tokio::task::spawn_blocking(move || {
            drop(backups);
            access_log.join();
            rereads.join();
            drop(reconciler);
            let ended_well = writer_thread.stop();
            drop(store);
            ended_well
        });
        ended_well.await.unwrap_or(false)
    }
}

/// Tasks beside the connections.
struct Tasks {
    follow: JoinHandle<()>,
    webhooks: JoinHandle<()>,
    watchdog: JoinHandle<()>,
    certificates: Option<JoinHandle<()>>,
    metrics: Option<MetricsServer>,
}

impl Tasks {
    async fn stop(self) {
        if let Some(certificates) = self.certificates {
            certificates.abort();
        }
        self.watchdog.abort();
        // The task ends with the streams, but not if the server has failed.
        self.follow.abort();
        self.webhooks.abort();
        if let Some(metrics) = self.metrics {
            metrics.stop().await;
        }
    }
}

/// Returns the endpoint of all requests: the routes and the layers around them.
fn app(
    store: &Arc<dyn Store>,
    writer: &Writer,
    outlets: Outlets,
    scrape: MetricsEndpoint,
    (facts, log): (SetupFacts, AccessLog),
    settings: Settings,
) -> RequestLayer<impl Endpoint + 'static> {
    let access = AccessControl::new(&settings.access, log);
    let memory = memory_for(settings.post_call.max_body.max(settings.max_body));
    let gate = PostCallReceiver::new(settings.post_call, memory.clone());
    let recordings = gate.recordings();
    let reader = Reader::new(store.clone(), settings.deep_reads);
    let variables = Arc::new(settings.initiation_variables);
    let service =
        api::service(store.clone(), reader.clone(), writer.clone(), gate, access.clone(), outlets, facts, variables);
    let document = api::document_of(&service);
    let others: Vec<_> = ["/docs", "/openapi.json", metrics_endpoint::PATH].into_iter().chain(viewer::PATHS).collect();
    let routes = Routes::from_document(&document, &others).with_post(api::MCP_PATH);
    let mcp = McpEndpoint::new(McpServer::of_service(&reader, recordings, &document), &access);
    let route = Route::new()
        .at("/docs", poem::get(swagger_ui::page()))
        .at("/openapi.json", poem::get(swagger_ui::document(document)))
        .at(metrics_endpoint::PATH, poem::get(RoleGuard::new(Role::List, scrape)))
        .at(api::MCP_PATH, poem::post(RoleGuard::new(Role::Read, mcp)))
        .at(api::TURN_WEBHOOK_PATH, poem::post(api::turn_webhook(writer.clone())))
        .nest("/", viewer::layer(service))
        .with(AddData::new(BodyLimits::new(settings.max_body, memory)));
    RequestLayer::new(access.guard(route), routes, settings.proxies).with_origins(settings.origins)
}

/// Serves on `listener` until `stop` is ready, then shuts down in order. The store is dropped before this returns.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve(
    listener: TcpListener,
    store: Arc<dyn Store>,
    mut settings: Settings,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    if let Some(database) = store.copier().database() {
        backup::remove_leftovers(database, &settings.backups);
    }
    let backups = backup::Periodic::start(&settings.backups, store.copier()).map_err(ServeError::Io)?;
    let (writer, mut writer_thread) =
        Writer::start(store.clone(), settings.writing, settings.parser).map_err(ServeError::Io)?;
    let facts = SetupFacts {
        database: store.copier().database().and_then(|path| std::path::absolute(path).ok()),
        systemd_unit: systemd::unit(),
        backup_every: settings.backups.backups.as_ref().map(|backups| backups.every),
        retention: settings.retention,
        access_log_keep: settings.access_log_keep,
        backfill: settings.backfill.is_some(),
    };
    let webhooks = Webhooks::new(std::mem::take(&mut settings.outgoing));
    let configured = tokio::spawn(webhooks.clone().configure(store.clone(), writer.clone()));
    // If the database cannot be written now, the task goes on.
    let _ = tokio::time::timeout(CONFIGURE_TIMEOUT, configured).await;
    let started = Jobs::start(&mut settings, backups, &store, &writer, webhooks.clone());
    let (jobs, log) = started.map_err(ServeError::Io)?;
    let live = LiveHub::new(store.clone(), settings.streams, api::encode_event);
    let scrape = MetricsEndpoint::new(store.clone(), writer.clone());
    let (tls, limits) = (settings.tls.take(), settings.connections.clone());
    let acceptor = tls.as_ref().map(Tls::acceptor);
    let tasks = Tasks {
        follow: tokio::spawn(live.clone().follow(writer.committed())),
        webhooks: tokio::spawn(webhooks.clone().follow(writer.committed())),
        watchdog: tokio::spawn(systemd::watchdog(writer.clone())),
        certificates: tls.map(|tls| tokio::spawn(tls.run())),
        metrics: settings.metrics.take().map(|listener| metrics_endpoint::serve(listener, scrape.clone())),
    };
    let outlets = Outlets { live: live.clone(), webhooks };
    let app = app(&store, &writer, outlets, scrape, (facts, log), settings);
    let (died_tx, died_rx) = oneshot::channel();
    let stop_or_death = async move {
        tokio::select! {
            () = stop => tracing::info!("stopping: no longer accepting connections"),
            () = writer_thread.died() => tracing::error!("writer thread ended unexpectedly"),
        }
        // Live streams are running requests that would not end by themselves.
        live.close();
        systemd::stopping();
        // The receiver is gone only if the server has already failed.
        let _ = died_tx.send(writer_thread);
    };
    systemd::ready();
    let served = connections::serve(listener, app, acceptor, limits, stop_or_death, DRAIN_TIMEOUT).await;
    tasks.stop().await;
    let writer_thread = died_rx.await.map_err(|_| ServeError::WriterDied)?;
    if jobs.stop(writer_thread, store).await { served.map_err(ServeError::Io) } else { Err(ServeError::WriterDied) }
}
