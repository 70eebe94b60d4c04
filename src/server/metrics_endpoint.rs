//! `/metrics`, for Prometheus.
//!
//! What costs I/O or SQL is asked for when somebody scrapes, by one scrape at a time, off the threads that serve, and
//! not waited for long: a scrape that finds another one asking, or the disk hanging, answers what was last known.

use super::connections::{self, ConnectionLimits};
use super::request_layer::Edge;
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

/// How long a scrape waits for what has to be asked for. Prometheus itself waits ten seconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a scrape under way may take to end once the service stops.
const DRAIN: Duration = Duration::from_secs(1);

/// How many may be connected to a server of its own.
const SCRAPERS: usize = 64;

/// Up to how many open calls are counted: some milliseconds' work.
const MOST_CALLS: u32 = 100_000;

/// The endpoint.
#[derive(Clone)]
pub(super) struct Scrape {
    store: Arc<dyn Store>,
    writer: Writer,
    asking: Arc<Semaphore>,
}

impl Scrape {
    pub(super) fn new(store: Arc<dyn Store>, writer: Writer) -> Self {
        METRICS.start();
        Self { store, writer, asking: Arc::new(Semaphore::new(1)) }
    }

    async fn ask(&self) {
        METRICS.write_queue_depth.set(whole(self.writer.waiting() as u64));
        let Ok(place) = self.asking.clone().try_acquire_owned() else { return };
        let store = self.store.clone();
        let asked = tokio::task::spawn_blocking(move || {
            ask(&*store);
            drop(place);
        });
        let _ = tokio::time::timeout(PATIENCE, asked).await;
    }
}

impl Endpoint for Scrape {
    type Output = Response;

    async fn call(&self, _: Request) -> poem::Result<Response> {
        self.ask().await;
        Ok(Response::builder().content_type(MEDIA_TYPE).body(METRICS.text()))
    }
}

/// Sets the metrics that are states. What cannot be had keeps its last value.
fn ask(store: &dyn Store) {
    METRICS.ask();
    match store.sizes() {
        Ok(sizes) => {
            METRICS.db_size_bytes.set(whole(sizes.database));
            METRICS.wal_size_bytes.set(whole(sizes.log));
            METRICS.disk_free_bytes.set(whole(sizes.free));
        }
        Err(error) => tracing::warn!(%error, "the size of the database cannot be had for the metrics"),
    }
    match store.open_calls(MOST_CALLS) {
        Ok(calls) => METRICS.calls_open.set(whole(calls)),
        Err(error) => tracing::warn!(%error, "open calls cannot be counted for the metrics"),
    }
    match store.unread_events() {
        Ok(unread) => METRICS.events_unreadable.set(whole(unread.unreadable)),
        Err(error) => tracing::warn!(%error, "counting unreadable events for the metrics failed"),
    }
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A server that gives metrics and nothing else, to everybody who connects.
pub(super) struct Beside {
    stop: oneshot::Sender<()>,
    server: JoinHandle<io::Result<()>>,
}

pub(super) fn serve(listener: TcpListener, scrape: Scrape) -> Beside {
    let app = Edge::new(Route::new().at(PATH, poem::get(scrape)), Routes::only_read(&[PATH]), Proxies::default());
    let (stop, stopped) = oneshot::channel();
    let stopped = async {
        let _ = stopped.await;
    };
    let limits = ConnectionLimits { number: SCRAPERS, ..ConnectionLimits::default() };
    Beside { stop, server: tokio::spawn(connections::serve(listener, app, None, limits, stopped, DRAIN)) }
}

impl Beside {
    /// Ends it, and with it what it holds of the store.
    pub(super) async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.server.await;
    }
}
