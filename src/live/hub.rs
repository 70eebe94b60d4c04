//! Live streams of committed changes.
//!
//! The writer only notifies streams that something was committed. Each stream reads the store from its last position.
//! So a slow stream loses nothing and buffers nothing, and an interrupted stream resumes where it was, even after a
//! restart.
//!
//! - Bytes read for one stream are cached for others with the same filter at the same position ([`Shared::segment`]).
//!   All such streams advance from one published position to the next, so they share reads.
//! - A stream of one call is only woken when that call was changed ([`super::poller`]).
//! - All reads for streams are sequential, so they use at most one read connection.
//! - All streams together have a limited budget of the machine's time ([`super::budget`]).
//!
//! The owner of the [`LiveHub`] encodes changes. The server owns the connections, and closes those of clients that do
//! not read.

use super::budget::BandwidthBudget;
use super::watchers::CallWatchers;
use crate::store::{Change, Error, ErrorKind, Feed, FeedPosition, NullStore, Scope};
use bytes::Bytes;
use hashlink::LruCache;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch as cell;

/// Maximum number of cached segments. Each has some ten KiB, or one long turn.
const MAX_CACHED_SEGMENTS: usize = 32;

/// Limits of the streams.
#[derive(Debug, Clone, Copy)]
pub struct StreamLimits {
    /// Maximum number of streams.
    pub streams: usize,
    /// Interval between heartbeats of an idle stream.
    pub heartbeat: Duration,
}

/// A function that appends an encoded change; the position follows the change.
pub type EncodeEvent = fn(&mut Vec<u8>, FeedPosition, Change);

/// The hub of all live streams; cheap to clone.
#[derive(Clone)]
pub struct LiveHub(pub(super) Arc<Shared>);

pub(super) struct Shared {
    store: Arc<dyn Feed>,
    word: EncodeEvent,
    pub(super) limits: StreamLimits,
    /// Last known position of the store; `None` while idle.
    pub(super) head: cell::Sender<Option<FeedPosition>>,
    /// Number of streams.
    pub(super) streams: cell::Sender<usize>,
    pub(super) closed: cell::Sender<bool>,
    pub(super) watched: CallWatchers,
    kept: Mutex<LruCache<(Scope, FeedPosition), Arc<Chunk>>>,
    /// Held during a read, so reads are sequential.
    reading: tokio::sync::Mutex<()>,
    pub(super) pace: BandwidthBudget,
}

/// Encoded changes after a position.
pub(super) struct Chunk {
    pub(super) bytes: Bytes,
    pub(super) end: FeedPosition,
    pub(super) has_more: bool,
    pub(super) over: bool,
    /// For a stream of one call: number of the last check whose changes are included, unless `has_more`.
    pub(super) as_of: u64,
}

impl LiveHub {
    /// Creates a hub that encodes changes with `word`. Its streams see commits once [`LiveHub::follow`] runs.
    pub fn new(store: Arc<dyn Feed>, limits: StreamLimits, word: EncodeEvent) -> Self {
        Self(Arc::new(Shared {
            store,
            word,
            limits,
            head: cell::Sender::new(None),
            streams: cell::Sender::new(0),
            closed: cell::Sender::new(false),
            watched: CallWatchers::default(),
            kept: Mutex::new(LruCache::new(MAX_CACHED_SEGMENTS)),
            reading: tokio::sync::Mutex::new(()),
            pace: BandwidthBudget::new(),
        }))
    }

    /// Creates a closed hub, which only serves to describe the API.
    pub fn disabled() -> Self {
        let limits = StreamLimits { streams: 0, heartbeat: Duration::ZERO };
        let tail = Self::new(Arc::new(NullStore), limits, |_, _, _| {});
        tail.close();
        tail
    }

    /// Ends all streams, and refuses new ones.
    pub fn close(&self) {
        self.0.closed.send_replace(true);
    }
}

impl Shared {
    /// Reads the store on a blocking thread, while no other stream reads.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Feed) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let _reading = self.reading.lock().await;
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || read(&*store)).await {
            Ok(result) => result,
            Err(failed) => Err(Error::new(ErrorKind::Other, "reading what is new", failed)),
        }
    }

    /// Returns the changes after a position, and whether they had to be read.
    pub(super) async fn segment(
        &self,
        scope: &Scope,
        after: FeedPosition,
        until: FeedPosition,
        as_of: u64,
    ) -> Result<(Arc<Chunk>, bool), Error> {
        let key = (scope.clone(), after);
        if let Some(segment) = self.cached(&key) {
            return Ok((segment, false));
        }
        let _reading = self.reading.lock().await;
        // Another stream may have read it in the meantime.
        if let Some(segment) = self.cached(&key) {
            return Ok((segment, false));
        }
        let (store, word, wanted) = (self.store.clone(), self.word, scope.clone());
        let read = tokio::task::spawn_blocking(move || {
            let since = store.since(&wanted, after, until)?;
            let mut bytes = Vec::new();
            for (position, change) in since.changes {
                word(&mut bytes, position, change);
            }
            let bytes = Bytes::from(bytes);
            Ok(Chunk { bytes, end: since.end, has_more: since.has_more, over: since.over, as_of })
        });
        let segment = match read.await {
            Ok(segment) => Arc::new(segment?),
            Err(failed) => return Err(Error::new(ErrorKind::Other, "reading what is new", failed)),
        };
        // An empty segment is not cached, because it will become outdated.
        if segment.end != after {
            self.kept.lock().insert(key, segment.clone());
        }
        Ok((segment, true))
    }

    fn cached(&self, key: &(Scope, FeedPosition)) -> Option<Arc<Chunk>> {
        self.kept.lock().get(key).cloned()
    }

    /// Empties the cache, because it may contain erased turns.
    pub(super) fn clear_cache(&self) {
        self.kept.lock().clear();
    }

    /// Resets the position and the cache while there are no streams.
    pub(super) fn go_idle(&self) {
        self.head.send_replace(None);
        self.clear_cache();
    }
}
