//! All endpoints together: starts their threads, and answers questions about them.

use super::endpoint::{Endpoint, EndpointReport};
use super::notice_body;
use super::sender::{Answer, Sender};
use super::settings::OutgoingSettings;
use super::shared::Shared;
use super::worker::Worker;
use crate::domain::Timestamp;
use crate::ingest::blocking::BlockingWriter;
use crate::ingest::{WriteError, Writer};
use crate::secret::random_bytes;
use crate::store::command::{Completion, RetryDeliveries, SetEndpoints};
use crate::store::{EndpointId, Error, Reads, Store};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use tokio::sync::watch;

/// Minimum time between two wakings of the threads.
const MIN_INTERVAL: Duration = Duration::from_millis(50);

/// Pause after a failed write of the configuration.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Outgoing webhooks; cheap to clone.
#[derive(Clone)]
pub struct Webhooks(Arc<Shared>);

/// The reason why a test notice was not sent.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// There is no such endpoint.
    #[error("no such endpoint")]
    NotFound,
    /// The operating system has no random bytes.
    #[error("no random bytes")]
    Random(#[source] io::Error),
}

impl Webhooks {
    /// Creates the endpoints of these settings.
    pub fn new(settings: OutgoingSettings) -> Self {
        let mut endpoints: Vec<Arc<Endpoint>> = Vec::new();
        for url in &settings.urls {
            if !endpoints.iter().any(|endpoint| endpoint.url == *url) {
                endpoints.push(Arc::new(Endpoint::new(url.clone())));
            }
        }
        let sender = Sender::new(settings.keys.clone());
        let (threads, stopping) = (Mutex::default(), AtomicBool::new(false));
        Self(Arc::new(Shared { settings, endpoints, sender, threads, stopping }))
    }

    /// Stores the configured endpoints, and deletes what waits for others. Retries until that is done.
    pub async fn configure(self, store: Arc<dyn Store>, writer: Writer) {
        let mut ids: Vec<_> = self.0.endpoints.iter().map(|endpoint| endpoint.id.clone()).collect();
        ids.sort();
        loop {
            let known = {
                let store = store.clone();
                tokio::task::spawn_blocking(move || store.endpoints()).await
            };
            // Equal ones are stored again, because a crash may have left something to be deleted.
            if matches!(&known, Ok(Ok(known)) if known.is_empty() && ids.is_empty()) {
                return;
            }
            match writer.execute(SetEndpoints(ids.clone())).await {
                Ok(Completion::Done(())) | Err(WriteError::Stopping) => return,
                // Turns that wait go first.
                Ok(Completion::Begun) => continue,
                Err(error) => tracing::warn!(%error, "cannot store the endpoints of webhooks; retrying"),
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    /// Starts the thread of each endpoint.
    ///
    /// # Errors
    /// The operating system could not create a thread.
    pub fn start(&self, store: &Arc<dyn Store>, writer: &BlockingWriter) -> io::Result<()> {
        for endpoint in &self.0.endpoints {
            let (waker, wake) = sync_channel(1);
            let worker = Worker {
                endpoint: endpoint.clone(),
                shared: self.0.clone(),
                sender: Sender::new(self.0.settings.keys.clone()),
                store: Arc::downgrade(store),
                executor: Box::new(writer.clone()),
                wake,
                failures: 0,
                early: None,
            };
            std::thread::Builder::new().name("webhook".to_owned()).spawn(move || worker.run())?;
            self.0.threads.lock().push(waker);
        }
        Ok(())
    }

    /// Wakes the threads after commits, which `committed` announces.
    pub async fn follow(self, mut committed: watch::Receiver<()>) {
        if self.0.endpoints.is_empty() {
            return;
        }
        while committed.changed().await.is_ok() {
            self.0.wake();
            tokio::time::sleep(MIN_INTERVAL).await;
        }
    }

    /// Ends the threads. A request that is running is not awaited; its notice is sent again after the next start.
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::Release);
        self.0.threads.lock().clear();
    }

    /// Returns the state of each endpoint.
    ///
    /// # Errors
    /// The database failed.
    pub fn reports(&self, store: &dyn Reads) -> Result<Vec<EndpointReport>, Error> {
        let report =
            |endpoint: &Arc<Endpoint>| Ok(endpoint.report(store.endpoint_state(&endpoint.id)?.unwrap_or_default()));
        self.0.endpoints.iter().map(report).collect()
    }

    /// Returns the configured endpoint of this id.
    pub fn find(&self, id: &str) -> Option<EndpointId> {
        self.0.endpoints.iter().map(|endpoint| &endpoint.id).find(|known| known.as_str() == id).cloned()
    }

    /// Sends a test notice now, and returns the answer. Blocks until there is one.
    ///
    /// # Errors
    /// See [`TestError`].
    pub fn test(&self, id: &EndpointId) -> Result<Answer, TestError> {
        let endpoint = self.0.endpoints.iter().find(|endpoint| endpoint.id == *id).ok_or(TestError::NotFound)?;
        let number = u128::from_be_bytes(random_bytes().map_err(TestError::Random)?);
        let body = notice_body::test(Timestamp::now());
        let answer = self.0.sender.send(&endpoint.url, &format!("msg_test_{number:032x}"), &body);
        endpoint.note_answer(&answer);
        Ok(answer)
    }

    /// Makes failed deliveries due again: those of these notices, or all if there are none. Also tries all that waits,
    /// ends pauses, and switches the endpoint on.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn retry(&self, writer: &Writer, id: &EndpointId, notices: Vec<i64>) -> Result<(), WriteError> {
        writer.execute(RetryDeliveries(id.clone(), notices)).await?;
        if let Some(endpoint) = self.0.endpoints.iter().find(|endpoint| endpoint.id == *id) {
            endpoint.pause(None);
            endpoint.try_early();
        }
        self.0.wake();
        Ok(())
    }
}

impl std::fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Webhooks({:?})", self.0.endpoints.iter().map(|endpoint| endpoint.url.shown()).collect::<Vec<_>>())
    }
}
