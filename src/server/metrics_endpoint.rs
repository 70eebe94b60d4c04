//! The `/metrics` endpoint for Prometheus.
//!
//! Gauges that cost I/O or SQL are refreshed on a scrape, by one scrape at a time, on a blocking thread, and with a
//! timeout. If another scrape is refreshing them or the disk hangs, the response contains their last values.

use super::connections::{self, ConnectionLimits};
use super::request_layer::RequestLayer;
use super::routes::Routes;
use crate::api::auth::client::Proxies;
use crate::ingest::Writer;
use crate::store::Store;
use crate::telemetry::metrics::{MEDIA_TYPE, METRICS};
use poem::{Endpoint, Request, Response, Route};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

pub(super) const PATH: &str = "/metrics";

/// Maximum time that a scrape waits for the refresh. The default timeout of Prometheus is ten seconds.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum time for a running scrape to end after a stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum number of connections of a separate metrics server.
const MAX_SCRAPERS: usize = 64;

/// Maximum number of open calls that are counted; this takes some milliseconds.
const MAX_COUNTED_CALLS: u32 = 100_000;

/// The endpoint `/metrics`.
#[derive(Clone)]
pub(super) struct MetricsEndpoint {
    store: Arc<dyn Store>,
    writer: Writer,
    refreshing: Arc<Semaphore>,
}

impl MetricsEndpoint {
    pub(super) fn new(store: Arc<dyn Store>, writer: Writer) -> Self {
        METRICS.init();
        Self { store, writer, refreshing: Arc::new(Semaphore::new(1)) }
    }

    async fn refresh(&self) {
        METRICS.write_queue_depth.set(to_i64(self.writer.waiting() as u64));
        let Ok(permit) = self.refreshing.clone().try_acquire_owned() else { return };
        let store = self.store.clone();
        let refresh = tokio::task::spawn_blocking(move || {
            refresh_gauges(&*store);
            drop(permit);
        });
        let _ = tokio::time::timeout(REFRESH_TIMEOUT, refresh).await;
    }
}

impl Endpoint for MetricsEndpoint {
    type Output = Response;

    async fn call(&self, _: Request) -> poem::Result<Response> {
        self.refresh().await;
        Ok(Response::builder().content_type(MEDIA_TYPE).body(METRICS.text()))
    }
}

/// Refreshes the gauges. One that cannot be read keeps its last value.
fn refresh_gauges(store: &dyn Store) {
    METRICS.refresh();
    match store.sizes() {
        Ok(sizes) => {
            METRICS.db_size_bytes.set(to_i64(sizes.database));
            METRICS.wal_size_bytes.set(to_i64(sizes.wal));
            METRICS.disk_free_bytes.set(to_i64(sizes.free));
        }
        Err(error) => tracing::warn!(%error, "cannot read database size for metrics"),
    }
    match store.open_calls(MAX_COUNTED_CALLS) {
        Ok(calls) => METRICS.calls_open.set(to_i64(calls)),
        Err(error) => tracing::warn!(%error, "cannot count open calls for metrics"),
    }
    match store.unread_events() {
        Ok(unread) => {
            METRICS.events_unreadable.set(to_i64(unread.unreadable));
            METRICS.events_rereading.set(to_i64(unread.rereading));
        }
        Err(error) => tracing::warn!(%error, "cannot count unreadable events for metrics"),
    }
}

fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A server that serves `/metrics` without authentication, and nothing else.
pub(super) struct MetricsServer {
    stop: oneshot::Sender<()>,
    server: JoinHandle<io::Result<()>>,
}

pub(super) fn serve(listener: TcpListener, scrape: MetricsEndpoint) -> MetricsServer {
    let app =
        RequestLayer::new(Route::new().at(PATH, poem::get(scrape)), Routes::read_only(&[PATH]), Proxies::default());
    let (stop, stopped) = oneshot::channel();
    let stopped = async {
        let _ = stopped.await;
    };
    let limits = ConnectionLimits { number: MAX_SCRAPERS, ..ConnectionLimits::default() };
    MetricsServer {
        stop,
        server: tokio::spawn(connections::serve(listener, app, None, limits, stopped, DRAIN_TIMEOUT)),
    }
}

impl MetricsServer {
    /// Stops the server, and releases its reference to the store.
    pub(super) async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.server.await;
    }
}
