//! A live stream: its position, and the next chunk to send.

use super::hub::{LiveHub, Shared};
use crate::domain::ConversationId;
use crate::store::{CallFilter, Error, Feed, FeedPosition, Scope};
use crate::telemetry::metrics::METRICS;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch as cell;
use tokio::time::Instant;

/// First chunk of a stream: the client's reconnection delay, in milliseconds.
const GREETING: Bytes = Bytes::from_static(b"retry: 3000\n\n");

/// Heartbeat of an idle stream: a comment.
const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");

/// Maximum wait for the store's position.
const POSITION_TIMEOUT: Duration = Duration::from_secs(5);

/// The reason why a stream was not opened.
#[derive(Debug)]
pub enum SubscribeError {
    /// The maximum number of streams is reached.
    TooMany,
    /// The service is stopping, or cannot read its database.
    Stopping,
    /// The call does not exist.
    NoSuchCall,
    /// The database failed.
    Failed(Error),
}

impl From<Error> for SubscribeError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// An open stream.
pub struct Subscription {
    place: StreamPermit,
    scope: Scope,
    at: FeedPosition,
    /// True if the stream continues after all existing changes were sent.
    follow: bool,
    /// End position of a stream of everything that does not follow.
    until: Option<FeedPosition>,
    greeted: bool,
    /// Time at which the last chunk was sent.
    sent: Instant,
    /// Earliest time of the next chunk, set by the budget.
    turn: Instant,
    /// Position of the store, for a stream of everything.
    head: cell::Receiver<Option<FeedPosition>>,
    /// Number of the last check that found changes, for a stream of one call.
    touched: Option<cell::Receiver<u64>>,
    /// Number of the last check whose changes were read, for a stream of one call.
    as_of: u64,
    /// True if more changes may exist, for a stream of one call.
    unread: bool,
    closed: cell::Receiver<bool>,
}

/// A permit of the limited number of streams.
struct StreamPermit(Arc<Shared>);

impl StreamPermit {
    fn acquire(shared: &Arc<Shared>) -> Result<Self, SubscribeError> {
        if *shared.closed.borrow() {
            return Err(SubscribeError::Stopping);
        }
        let taken = shared.streams.send_if_modified(|streams| {
            let free = *streams < shared.limits.streams;
            *streams += usize::from(free);
            free
        });
        METRICS.sse_subscribers.add(i64::from(taken));
        if taken { Ok(Self(shared.clone())) } else { Err(SubscribeError::TooMany) }
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        METRICS.sse_subscribers.add(-1);
        self.0.streams.send_modify(|streams| *streams -= 1);
    }
}

impl LiveHub {
    /// Opens a stream of the calls that match a filter: those that are running or all changes since a position,
    /// followed by new changes.
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub async fn subscribe_matching(
        &self,
        filter: CallFilter,
        since: Option<FeedPosition>,
        follow: bool,
    ) -> Result<Subscription, SubscribeError> {
        let place = StreamPermit::acquire(&self.0)?;
        let mut head = self.0.head.subscribe();
        let until = if follow { None } else { Some(self.0.read(<dyn Feed>::head).await?) };
        let known = tokio::time::timeout(POSITION_TIMEOUT, head.wait_for(Option::is_some)).await;
        let Ok(Ok(Some(now))) = known.map(|known| known.map(|head| *head)) else {
            return Err(SubscribeError::Stopping);
        };
        let fresh = FeedPosition { call: Some(0), ..until.unwrap_or(now) };
        let at = match since {
            Some(since) => self.validate_position(since).await?.unwrap_or(fresh),
            None => fresh,
        };
        let mut stream = self.subscription(place, Scope::Matching(Arc::new(filter)), at, follow, None);
        stream.until = until;
        Ok(stream)
    }

    /// Opens a stream of one call: the call with its turns or all changes since a position, followed by new changes.
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub async fn subscribe_call(
        &self,
        conversation_id: ConversationId,
        since: Option<FeedPosition>,
        follow: bool,
    ) -> Result<Subscription, SubscribeError> {
        let place = StreamPermit::acquire(&self.0)?;
        let id = conversation_id.clone();
        let call = self.0.read(move |store| store.call(&id)).await?;
        let call_id = call.ok_or(SubscribeError::NoSuchCall)?.id;
        let at = match since {
            Some(since) => self.validate_position(since).await?.unwrap_or_default(),
            None => FeedPosition::default(),
        };
        let touched = self.0.watched.join(&conversation_id, call_id);
        let scope = Scope::Call { conversation_id, call_id };
        // The part of a position that counts running calls does not apply to a single call.
        Ok(self.subscription(place, scope, FeedPosition { call: None, ..at }, follow, Some(touched)))
    }

    /// Returns the position unless it is ahead of this database. Then it is from another one, or this one was restored.
    async fn validate_position(&self, place: FeedPosition) -> Result<Option<FeedPosition>, Error> {
        let head = self.0.read(<dyn Feed>::head).await?;
        Ok((place.turn <= head.turn && place.change <= head.change).then_some(place))
    }

    fn subscription(
        &self,
        place: StreamPermit,
        scope: Scope,
        at: FeedPosition,
        follow: bool,
        touched: Option<cell::Receiver<u64>>,
    ) -> Subscription {
        let now = Instant::now();
        Subscription {
            place,
            scope,
            at,
            follow,
            until: None,
            greeted: false,
            sent: now,
            turn: now,
            head: self.0.head.subscribe(),
            touched,
            as_of: 0,
            unread: true,
            closed: self.0.closed.subscribe(),
        }
    }
}

impl Subscription {
    /// Waits for the next chunk. Returns `None` when the stream has ended.
    pub async fn next(&mut self) -> Option<Bytes> {
        if !self.greeted && self.follow {
            self.greeted = true;
            return Some(GREETING);
        }
        let mut closed = self.closed.clone();
        tokio::select! {
            _ = closed.wait_for(|closed| *closed) => None,
            piece = self.next_chunk() => piece,
        }
    }

    async fn next_chunk(&mut self) -> Option<Bytes> {
        loop {
            tokio::time::sleep_until(self.turn).await;
            if let Some(until) = self.pending_until() {
                let shared = &self.place.0;
                let (segment, read) = match shared.segment(&self.scope, self.at, until, self.as_of).await {
                    Ok(found) => found,
                    // The client reconnects with its last position, which is still valid.
                    Err(error) => {
                        tracing::warn!(%error, "live stream ended because its changes could not be read");
                        return None;
                    }
                };
                self.turn = shared.pace.charge(Instant::now(), segment.bytes.len(), read);
                self.at = segment.end;
                // A cached segment may be older than the last check.
                self.unread = segment.has_more || segment.as_of < self.as_of;
                if segment.over {
                    // This is the last chunk.
                    self.finish();
                }
                if !segment.bytes.is_empty() {
                    self.sent = Instant::now();
                    return Some(segment.bytes.clone());
                }
            } else if !self.follow {
                return None;
            } else if self.wait_for_change().await {
                self.sent = Instant::now();
                return Some(HEARTBEAT);
            }
        }
    }

    /// Returns the position to read up to, if there may be changes.
    fn pending_until(&mut self) -> Option<FeedPosition> {
        let head = self.until.or(*self.head.borrow_and_update());
        match &mut self.touched {
            None => head.filter(|head| self.at.is_behind(*head)),
            Some(touched) => {
                let look = *touched.borrow_and_update();
                self.unread |= look != self.as_of;
                self.as_of = look;
                self.unread.then(FeedPosition::default)
            }
        }
    }

    /// Waits for changes. Returns true if a heartbeat is due instead.
    async fn wait_for_change(&mut self) -> bool {
        let heartbeat = tokio::time::sleep_until(self.sent + self.place.0.limits.heartbeat);
        let news = async {
            let changed = match &mut self.touched {
                None => self.head.changed().await,
                Some(touched) => touched.changed().await,
            };
            // The sender lives as long as the service.
            if changed.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = news => false,
            () = heartbeat => true,
        }
    }

    fn finish(&mut self) {
        self.follow = false;
        self.unread = false;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let (Scope::Call { conversation_id, .. }, Some(touched)) = (&self.scope, self.touched.take()) {
            self.place.0.watched.leave(conversation_id, touched);
        }
    }
}
