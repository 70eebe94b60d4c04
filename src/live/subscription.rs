//! One stream: its place, and what it sends next.

use super::hub::{Shared, Tail};
use crate::domain::ConversationId;
use crate::store::{Error, Position, Scope, Store};
use crate::telemetry::metrics::METRICS;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch as cell;
use tokio::time::Instant;

/// Sent first: that it works, and how soon to come back when it breaks off, in milliseconds.
const GREETING: Bytes = Bytes::from_static(b"retry: 3000\n\n");

/// Sent when there is nothing to send: a comment.
const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");

/// How long it may take until it is known how far the store is.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a stream was not opened.
#[derive(Debug)]
pub enum Refusal {
    /// There are as many as there may be.
    TooMany,
    /// The service is stopping, or cannot read its database.
    Stopping,
    /// There is no such call.
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
    place: Place,
    scope: Scope,
    at: Position,
    /// Whether it goes on when everything that there is was sent.
    follow: bool,
    /// Of everything, when it does not go on: how far that is.
    until: Option<Position>,
    greeted: bool,
    /// When the last piece was sent.
    sent: Instant,
    /// From when on the next one may be.
    turn: Instant,
    /// Of everything: how far the store is.
    head: cell::Receiver<Option<Position>>,
    /// Of one call: the last look that found something of it.
    touched: Option<cell::Receiver<u64>>,
    /// Of one call: the look that it was last read after.
    as_of: u64,
    /// Of one call: whether there may be more than was read.
    unread: bool,
    closed: cell::Receiver<bool>,
}

/// A stream's place among those that there may be.
struct Place(Arc<Shared>);

impl Place {
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

impl Drop for Place {
    fn drop(&mut self) {
        METRICS.sse_subscribers.add(-1);
        self.0.streams.send_modify(|streams| *streams -= 1);
    }
}

impl Tail {
    /// Opens a stream of everything: the calls that run, or what came since a place, and then what comes.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn of_everything(&self, since: Option<Position>, follow: bool) -> Result<Subscription, Refusal> {
        let place = Place::take(&self.0)?;
        let mut head = self.0.head.subscribe();
        let until = if follow { None } else { Some(self.0.read(<dyn Store>::head).await?) };
        let known = tokio::time::timeout(PATIENCE, head.wait_for(Option::is_some)).await;
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

    /// Opens a stream of one call: its turns and itself, or what came since a place, and then what comes.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn of_call(
        &self,
        conversation_id: ConversationId,
        since: Option<Position>,
        follow: bool,
    ) -> Result<Subscription, Refusal> {
        let place = Place::take(&self.0)?;
        let id = conversation_id.clone();
        let call = self.0.read(move |store| store.call(&id)).await?;
        let call_id = call.ok_or(Refusal::NoSuchCall)?.id;
        let at = match since {
            Some(since) => self.known(since).await?.unwrap_or_default(),
            None => Position::default(),
        };
        let touched = self.0.watched.join(&conversation_id, call_id);
        let scope = Scope::Call { conversation_id, call_id };
        // A place among the calls that run means nothing here.
        Ok(self.subscription(place, scope, Position { call: None, ..at }, follow, Some(touched)))
    }

    /// The place, unless this database has not come so far: then it is another one's, or this one was put back.
    async fn known(&self, place: Position) -> Result<Option<Position>, Error> {
        let head = self.0.read(<dyn Store>::head).await?;
        Ok((place.turn <= head.turn && place.change <= head.change).then_some(place))
    }

    fn subscription(
        &self,
        place: Place,
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
    /// What is to be sent next, as soon as there is something; `None` when the stream is over.
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
                    // The client comes back, and the place that it has still holds.
                    Err(error) => {
                        tracing::warn!(%error, "a live stream was ended");
                        return None;
                    }
                };
                self.turn = shared.pace.charge(Instant::now(), segment.bytes.len(), read);
                self.at = segment.end;
                // What was read for another stream may have been read before the last news.
                self.unread = segment.has_more || segment.as_of < self.as_of;
                if segment.over {
                    // Nothing follows what is sent now.
                    self.over();
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

    /// Up to where it is to be read, if there may be something.
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

    /// Waits for news, and says whether it is time for a heartbeat instead.
    async fn news(&mut self) -> bool {
        let heartbeat = tokio::time::sleep_until(self.sent + self.place.0.limits.heartbeat);
        let news = async {
            let changed = match &mut self.touched {
                None => self.head.changed().await,
                Some(touched) => touched.changed().await,
            };
            // Whoever would tell of news is there as long as the service.
            if changed.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = news => false,
            () = heartbeat => true,
        }
    }

    fn over(&mut self) {
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
