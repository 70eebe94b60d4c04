//! A live stream: its position, and the next chunk to send.

use super::hub::{Shared, Tail};
use crate::domain::ConversationId;
use crate::store::{Error, Feed, Position, Scope};
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
pub enum Refusal {
    /// The maximum number of streams is reached.
    TooMany,
    /// The service is stopping, or cannot read its database.
    Stopping,
    /// The call does not exist.
    NoSuchCall,
    /// The database failed.
    Failed(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// An open stream.
pub struct Subscription {
    place: StreamPermit,
    scope: Scope,
    at: Position,
    /// True if the stream continues after all existing changes were sent.
    follow: bool,
    /// End position of a stream of everything that does not follow.
    until: Option<Position>,
    greeted: bool,
    /// Time at which the last chunk was sent.
    sent: Instant,
    /// Earliest time of the next chunk, set by the budget.
    turn: Instant,
    /// Position of the store, for a stream of everything.
    head: cell::Receiver<Option<Position>>,
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
    fn take(shared: &Arc<Shared>) -> Result<Self, Refusal> {
        if *shared.closed.borrow() {
            return Err(Refusal::Stopping);
        }
        let taken = shared.streams.send_if_modified(|streams| {
            let free = *streams < shared.limits.streams;
            *streams += usize::from(free);
            free
        });
        METRICS.sse_subscribers.add(i64::from(taken));
        if taken { Ok(Self(shared.clone())) } else { Err(Refusal::TooMany) }
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        METRICS.sse_subscribers.add(-1);
        self.0.streams.send_modify(|streams| *streams -= 1);
    }
}

impl Tail {
    /// Opens a stream of everything: the running calls or all changes since a position, followed by new changes.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn of_everything(&self, since: Option<Position>, follow: bool) -> Result<Subscription, Refusal> {
        let place = StreamPermit::take(&self.0)?;
        let mut head = self.0.head.subscribe();
        let until = if follow { None } else { Some(self.0.read(<dyn Feed>::head).await?) };
        let known = tokio::time::timeout(POSITION_TIMEOUT, head.wait_for(Option::is_some)).await;
        let Ok(Ok(Some(now))) = known.map(|known| known.map(|head| *head)) else { return Err(Refusal::Stopping) };
        let fresh = Position { call: Some(0), ..until.unwrap_or(now) };
        let at = match since {
            Some(since) => self.known(since).await?.unwrap_or(fresh),
            None => fresh,
        };
        let mut stream = self.subscription(place, Scope::Everything, at, follow, None);
        stream.until = until;
        Ok(stream)
    }

    /// Opens a stream of one call: the call with its turns or all changes since a position, followed by new changes.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn of_call(
        &self,
        conversation_id: ConversationId,
        since: Option<Position>,
        follow: bool,
    ) -> Result<Subscription, Refusal> {
        let place = StreamPermit::take(&self.0)?;
        let id = conversation_id.clone();
        let call = self.0.read(move |store| store.call(&id)).await?;
        let call_id = call.ok_or(Refusal::NoSuchCall)?.id;
        let at = match since {
            Some(since) => self.known(since).await?.unwrap_or_default(),
            None => Position::default(),
        };
        let touched = self.0.watched.join(&conversation_id, call_id);
        let scope = Scope::Call { conversation_id, call_id };
        // The part of a position that counts running calls does not apply to a single call.
        Ok(self.subscription(place, scope, Position { call: None, ..at }, follow, Some(touched)))
    }

    /// Returns the position unless it is ahead of this database. Then it is from another one, or this one was restored.
    async fn known(&self, place: Position) -> Result<Option<Position>, Error> {
        let head = self.0.read(<dyn Feed>::head).await?;
        Ok((place.turn <= head.turn && place.change <= head.change).then_some(place))
    }

    fn subscription(
        &self,
        place: StreamPermit,
        scope: Scope,
        at: Position,
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
            piece = self.piece() => piece,
        }
    }

    async fn piece(&mut self) -> Option<Bytes> {
        loop {
            tokio::time::sleep_until(self.turn).await;
            if let Some(until) = self.behind() {
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
            } else if self.news().await {
                self.sent = Instant::now();
                return Some(HEARTBEAT);
            }
        }
    }

    /// Returns the position to read up to, if there may be changes.
    fn behind(&mut self) -> Option<Position> {
        let head = self.until.or(*self.head.borrow_and_update());
        match &mut self.touched {
            None => head.filter(|head| self.at.is_behind(*head)),
            Some(touched) => {
                let look = *touched.borrow_and_update();
                self.unread |= look != self.as_of;
                self.as_of = look;
                self.unread.then(Position::default)
            }
        }
    }

    /// Waits for changes. Returns true if a heartbeat is due instead.
    async fn news(&mut self) -> bool {
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
