//! The running service: the route tree, the order of its layers, and the order in which it stops.
//!
//! Stopping: no more connections are taken, idle ones are closed, live streams are ended, requests under way get some
//! seconds to end, then the writer does what is still queued, and last the database is folded into its one file.

pub mod connections;
pub mod cors;
mod malloc_trim;
mod metrics_endpoint;
mod request_layer;
mod routes;
mod swagger_ui;
mod systemd;
pub mod tls;

pub use request_layer::Edge;

use crate::api;
use crate::api::auth::client::Proxies;
use crate::api::auth::{Access, AccessSettings};
use crate::api::body::{Bodies, memory_for};
use crate::api::webhooks::signed_body::{Gate, PostCallSettings};
use crate::elevenlabs::client::Client;
use crate::ingest::blocking::{blocking, blocking_all};
use crate::ingest::reconciler::Reconciler;
use crate::ingest::{Limits, Writer};
use crate::jobs::backfill::{Periodic, StoreKeeper};
use crate::jobs::backup;
use crate::jobs::retention::{self, Eraser};
use crate::live::{self, Tail};
use crate::recordings::Recordings;
use crate::redaction::Redactor;
use crate::store::Store;
use crate::viewer;
use connections::ConnectionLimits;
use cors::Origins;
use poem::middleware::AddData;
use poem::{EndpointExt as _, Route};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tls::Tls;
use tokio::net::TcpListener;

/// How long requests under way may take to end once the service stops. With the writer's own time-outs the whole stop
/// stays below the ten seconds that supervisors commonly grant.
const DRAIN: Duration = Duration::from_secs(5);

/// What the service may take on.
#[derive(Debug)]
pub struct Settings {
    /// Bounds of the write queue.
    pub writing: Limits,
    /// Greatest length of a request's body, in bytes.
    pub max_body: usize,
    /// Maximum number of reads at once that may look at much.
    pub deep_reads: usize,
    /// How HTTPS is served; without this, plain HTTP.
    pub tls: Option<Tls>,
    /// What connections may take.
    pub connections: ConnectionLimits,
    /// How long nothing must come of a call that is in progress until it is ended; never without this.
    pub stale_after: Option<Duration>,
    /// Who is let in.
    pub access: AccessSettings,
    /// Whose word for a client's address is taken.
    pub proxies: Proxies,
    /// Whose pages may read besides the service's own.
    pub origins: Origins,
    /// What is taken after a call.
    pub post_call: PostCallSettings,
    /// What is replaced in words before they are stored.
    pub redactor: Option<Redactor>,
    /// How long what is over is kept; for good without this.
    pub retention: Option<Duration>,
    /// Bounds of the live streams.
    pub streams: live::Limits,
    /// By whom, and how often, the ends of calls that did not come are fetched.
    pub backfill: Option<(Client, Duration)>,
    /// Which copies of the database are made.
    pub copies: backup::Plan,
    /// Where metrics are given to everybody who connects, besides to whom else they are.
    pub metrics: Option<TcpListener>,
}

/// Why the service ended other than by being told to.
#[derive(Debug)]
pub enum ServeError {
    /// The system failed.
    Io(io::Error),
    /// Copies of the database cannot be made as they are to be.
    Copies(io::Error),
    /// The writer's thread ended by itself, by a defect in this program.
    WriterDied,
}

impl std::fmt::Display for ServeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(_) => f.write_str("the server failed"),
            Self::Copies(_) => f.write_str("copies of the database cannot be made"),
            Self::WriterDied => {
                f.write_str("the writer stopped by a defect in this program; nothing more can be stored")
            }
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) | Self::Copies(error) => Some(error),
            Self::WriterDied => None,
        }
    }
}

/// Fetches the ends of calls that did not come, until what is returned is dropped.
fn fetch(client: Client, every: Duration, store: &Arc<dyn Store>, writer: &Writer) -> Result<Periodic, ServeError> {
    let write = blocking(writer.clone());
    let write = move |change| write(change).map_err(|error| error.to_string());
    let keeper = StoreKeeper::new(store, writer.redactor(), write);
    Periodic::start(every, client, keeper).map_err(ServeError::Io)
}

/// Erases what has become old, until what is returned is dropped.
fn erase_old(
    older_than: Duration,
    recordings: Option<Recordings>,
    store: &Arc<dyn Store>,
    writer: &Writer,
) -> Result<retention::Periodic, ServeError> {
    let write = blocking(writer.clone());
    let eraser = Eraser::new(store, recordings, move |change| Ok(write(change)?), true);
    retention::Periodic::start(older_than, eraser).map_err(ServeError::Io)
}

/// Serves on `listener` until `stop` is ready, then stops in order. The store is let go of before this returns.
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
    let reconciler = Reconciler::start(store.clone(), writer.requests().clone(), blocking_all(writer.clone()));
    let reconciler = reconciler.map_err(ServeError::Io)?;
    let _backfill = settings.backfill.map(|(client, every)| fetch(client, every, &store, &writer)).transpose()?;
    let recordings = settings.post_call.recordings.clone();
    let _retention =
        settings.retention.map(|older_than| erase_old(older_than, recordings, &store, &writer)).transpose()?;
    let stale = settings.stale_after.map(|after| crate::jobs::stale_calls::end_stale_calls(writer.clone(), after));
    let access = Access::new(&settings.access);
    let tail = Tail::new(store.clone(), settings.streams, api::EVENT);
    let follow = tokio::spawn(tail.clone().follow(writer.committed()));
    let memory = memory_for(settings.post_call.max_body.max(settings.max_body));
    let gate = Gate::new(settings.post_call, memory.clone());
    let service = api::service(store.clone(), writer.clone(), gate, access.clone(), tail.clone(), settings.deep_reads);
    let document = api::document_of(&service);
    let others: Vec<_> = ["/docs", "/openapi.json", metrics_endpoint::PATH].into_iter().chain(viewer::PATHS).collect();
    let routes = routes::Routes::of(&document, &others);
    let scrape = metrics_endpoint::Scrape::new(store.clone(), writer.clone());
    let route = Route::new()
        .at("/docs", poem::get(swagger_ui::page()))
        .at("/openapi.json", poem::get(swagger_ui::document(document)))
        .at(metrics_endpoint::PATH, poem::get(scrape.clone()))
        .at(api::TURNS, poem::post(api::turns(writer.clone())))
        .nest("/", viewer::before(service))
        .with(AddData::new(Bodies::new(settings.max_body, memory)));
    let app = Edge::new(access.guard(route), routes, settings.proxies).with_origins(settings.origins);

    let metrics = settings.metrics.map(|listener| metrics_endpoint::serve(listener, scrape));
    let watchdog = tokio::spawn(systemd::stay_alive(writer.clone()));
    let memory = malloc_trim::give_back();
    let (died_tx, died_rx) = tokio::sync::oneshot::channel();
    let stop_or_death = async move {
        tokio::select! {
            () = stop => tracing::info!("stopping: no more connections are taken"),
            () = writer_thread.died() => tracing::error!("the writer's thread ended by itself"),
        }
        // They are requests under way, which would not end by themselves.
        tail.close();
        systemd::stopping();
        // Nobody is there to receive it only when the server has failed already.
        let _ = died_tx.send(writer_thread);
    };
    let acceptor = settings.tls.as_ref().map(Tls::acceptor);
    let certificates = settings.tls.map(|tls| tokio::spawn(tls.keep()));
    systemd::ready();
    let served = connections::serve(listener, app, acceptor, settings.connections, stop_or_death, DRAIN)
        .await
        .map_err(ServeError::Io);
    if let Some(certificates) = certificates {
        certificates.abort();
    }
    watchdog.abort();
    memory.abort();
    if let Some(stale) = stale {
        stale.abort();
    }
    // It ends with the streams; when the server has failed, it need not.
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
