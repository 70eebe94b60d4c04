//! Live streams of what is committed.
//!
//! Between the writer and a stream goes only "something was committed up to here"; a stream reads the store from the
//! last place that it has told. So a slow stream loses nothing and holds nothing but its place, and a stream that was cut
//! goes on where it was, also after a restart.
//!
//! - What is read for one stream is kept, as bytes, for the others that stand at the same place ([`Shared::segment`]).
//!   All streams of everything go from one published head to the next, so they meet there.
//! - A stream of one call is woken only when that call was touched ([`super::poller`]).
//! - All reads for streams go one after the other, so that they take one reading connection at most.
//! - All streams together take a bounded part of the machine ([`super::budget`]).
//!
//! How changes are worded is the business of whoever makes the [`Tail`]. Connections, and letting go of clients that take
//! nothing, belong to the server.

use super::budget::Pace;
use super::watchers::Watched;
use crate::store::{Absent, Change, Error, ErrorKind, Position, Scope, Store};
use bytes::Bytes;
use hashlink::LruCache;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch as cell;

/// How many pieces that were read are kept for others: each some ten KiB, or one long turn.
const KEPT: usize = 32;

/// Bounds of the streams.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Greatest number of streams at once.
    pub streams: usize,
    /// How often a stream says that it is there, when there is nothing else to say.
    pub heartbeat: Duration,
}

/// Appends a change, which stands right before a place, in the form in which it is sent.
pub type Word = fn(&mut Vec<u8>, Position, Change);

/// All streams; cheap to clone.
#[derive(Clone)]
pub struct Tail(pub(super) Arc<Shared>);

pub(super) struct Shared {
    store: Arc<dyn Store>,
    word: Word,
    pub(super) limits: Limits,
    /// How far the store is known to be; `None` while nobody looks.
    pub(super) head: cell::Sender<Option<Position>>,
    /// How many streams there are.
    pub(super) streams: cell::Sender<usize>,
    pub(super) closed: cell::Sender<bool>,
    pub(super) watched: Watched,
    kept: Mutex<LruCache<(Scope, Position), Arc<Segment>>>,
    /// Held during a read.
    reading: tokio::sync::Mutex<()>,
    pub(super) pace: Pace,
}

/// Some of what came after a place, worded.
pub(super) struct Segment {
    pub(super) bytes: Bytes,
    pub(super) end: Position,
    pub(super) has_more: bool,
    pub(super) over: bool,
    /// Of one call: the look whose findings are all in it, or before it, or behind `has_more`.
    pub(super) as_of: u64,
}

impl Tail {
    /// Streams of a store, worded by `word`. They see what is committed once [`Tail::follow`] runs.
    pub fn new(store: Arc<dyn Store>, limits: Limits, word: Word) -> Self {
        Self(Arc::new(Shared {
            store,
            word,
            limits,
            head: cell::Sender::new(None),
            streams: cell::Sender::new(0),
            closed: cell::Sender::new(false),
            watched: Watched::default(),
            kept: Mutex::new(LruCache::new(KEPT)),
            reading: tokio::sync::Mutex::new(()),
            pace: Pace::new(),
        }))
    }

    /// Streams of nothing, to be described and not opened.
    pub fn closed() -> Self {
        let limits = Limits { streams: 0, heartbeat: Duration::ZERO };
        let tail = Self::new(Arc::new(Absent), limits, |_, _, _| {});
        tail.close();
        tail
    }

    /// Ends all streams, and lets none begin.
    pub fn close(&self) {
        self.0.closed.send_replace(true);
    }
}

impl Shared {
    /// Reads the store off the threads that serve connections, while no other stream does.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Store) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let _reading = self.reading.lock().await;
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || read(&*store)).await {
            Ok(result) => result,
            Err(failed) => Err(Error::new(ErrorKind::Other, "reading what is new", failed)),
        }
    }

    /// What came after a place, and whether it had to be read.
    pub(super) async fn segment(
        &self,
        scope: &Scope,
        after: Position,
        until: Position,
        as_of: u64,
    ) -> Result<(Arc<Segment>, bool), Error> {
        let key = (scope.clone(), after);
        if let Some(segment) = self.kept(&key) {
            return Ok((segment, false));
        }
        let _reading = self.reading.lock().await;
        // Read by another stream while this one waited.
        if let Some(segment) = self.kept(&key) {
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
            Ok(Segment { bytes, end: since.end, has_more: since.has_more, over: since.over, as_of })
        });
        let segment = match read.await {
            Ok(segment) => Arc::new(segment?),
            Err(failed) => return Err(Error::new(ErrorKind::Other, "reading what is new", failed)),
        };
        // Where nothing came, something will.
        if segment.end != after {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(key, segment.clone());
        }
        Ok((segment, true))
    }

    fn kept(&self, key: &(Scope, Position)) -> Option<Arc<Segment>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Forgets what was read, since some of it may be erased.
    pub(super) fn forget(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// While there is no stream, nothing is known and nothing kept.
    pub(super) fn rest(&self) {
        self.head.send_replace(None);
        self.forget();
    }
}
