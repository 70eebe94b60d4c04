//! Reads of the store, and the answers made of them, off the threads that serve connections.
//!
//! Time, number and memory are bounded. A read ends within [`TIME_LIMIT`] of its request's arrival, the time in the queue
//! included, or is answered 503. Quick reads have permits and memory of their own, so that they never wait for deep ones.
//! An answer counts against its lane's memory until its reader has received it; while one waits for that memory it still has
//! its permit, so that few answers wait.

use super::body::Done;
use super::error::ApiError;
use crate::store::{self, Store, reading_until};
use crate::sys::gzip::{Effort, is_taken, pack};
use crate::sys::low_priority::step_back;
use bytes::Bytes;
use poem::http::{HeaderValue, header};
use poem::{IntoResponse, Request, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaResponses, Registry};
use poem_openapi::types::ToJSON;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

/// Time from a request's arrival to its answer.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// Number of quick reads at once.
pub const QUICK_READS: usize = 4;

/// Maximum number of reads of a lane that run or wait; more are refused at once.
const MAX_READS: usize = 256;

/// Memory of answers that quick reads made, and that deep ones made, in bytes.
const QUICK_MEMORY: usize = 16 << 20;
const DEEP_MEMORY: usize = 32 << 20;

/// Unit of this memory, in bytes.
const PORTION: usize = 1024;

/// Size up to which an answer does not count, in bytes.
const SHORT: usize = 16 * 1024;

/// Size below which an answer is not packed, in bytes: it fits a packet anyway.
const MIN_PACKED: usize = 1200;

/// Number of rows up to which the first page of a list is a quick read.
const QUICK_ROWS: u16 = 50;

/// How much a read may have to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// One thing, or a few rows that an index leads to.
    Quick,
    /// Anything else.
    Deep,
}

impl Depth {
    /// Returns the depth of a page of a list; one that searches, counts or is not the first is deep.
    pub(super) fn of_page(is_first: bool, limit: u16, searches: bool) -> Self {
        if is_first && !searches && limit <= QUICK_ROWS { Self::Quick } else { Self::Deep }
    }
}

/// Reads the store for requests; cheap to clone.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) store: Arc<dyn Store>,
    quick: Lane,
    deep: Lane,
}

#[derive(Clone)]
struct Lane {
    permits: Arc<Semaphore>,
    /// For those that run or wait.
    places: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    all_memory: u32,
}

/// The right to read, until it is dropped.
struct Permit {
    _read: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

const OVERLOADED: ApiError = ApiError::Unavailable("too much is being read; try again shortly", None);

impl Lane {
    fn new(reads: usize, memory: usize) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        let portions = memory / PORTION;
        Self {
            permits: semaphore(reads),
            places: semaphore(MAX_READS),
            memory: semaphore(portions),
            all_memory: u32::try_from(portions).unwrap_or(u32::MAX),
        }
    }

    async fn enter(&self, end: Instant) -> Result<Permit, ApiError> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| OVERLOADED)?;
        let read = timeout_at(end, self.permits.clone().acquire_owned()).await;
        let read = read.map_err(|_| OVERLOADED)?.map_err(|_| OVERLOADED)?;
        Ok(Permit { _read: read, _place: place })
    }

    /// Waits for the memory that an answer takes.
    async fn charge(&self, bytes: usize, end: Instant) -> Result<OwnedSemaphorePermit, ApiError> {
        // One that is longer than all of it takes all of it.
        let portions = u32::try_from(bytes.div_ceil(PORTION)).unwrap_or(u32::MAX).min(self.all_memory);
        let memory = timeout_at(end, self.memory.clone().acquire_many_owned(portions)).await;
        memory
            .ok()
            .and_then(Result::ok)
            .ok_or(ApiError::Unavailable("too many long answers wait for their readers; try again shortly", None))
    }
}

impl Reader {
    /// Reads a store, with so many deep reads at once.
    pub(super) fn new(store: Arc<dyn Store>, deep_reads: usize) -> Self {
        Self { store, quick: Lane::new(QUICK_READS, QUICK_MEMORY), deep: Lane::new(deep_reads, DEEP_MEMORY) }
    }

    fn lane(&self, depth: Depth) -> &Lane {
        match depth {
            Depth::Quick => &self.quick,
            Depth::Deep => &self.deep,
        }
    }

    /// Reads one thing.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Store) -> store::Result<T> + Send + 'static,
    ) -> Result<T, ApiError> {
        let end = Instant::now() + TIME_LIMIT;
        let read = move |store: &dyn Store| read(store).map_err(ApiError::from);
        Ok(self.run(Depth::Quick, end, read).await?.0)
    }

    /// Makes an answer of what is read.
    pub(super) async fn answer<T: ToJSON>(
        &self,
        request: &Request,
        depth: Depth,
        make: impl FnOnce(&dyn Store) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<Answer<T>, ApiError> {
        let end = Instant::now() + TIME_LIMIT;
        let accepted =
            request.headers().get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let packs = is_taken(accepted);
        let make = move |store: &dyn Store| {
            let json = make(store)?.to_json_string().into_bytes();
            let is_packed = packs && json.len() >= MIN_PACKED;
            let mut body = if is_packed { pack(&json, Effort::Quick) } else { json };
            body.shrink_to_fit();
            Ok((body, is_packed))
        };
        let ((body, is_packed), permit) = self.run(depth, end, make).await?;
        let body = if body.len() <= SHORT {
            body.into()
        } else {
            let memory = self.lane(depth).charge(body.len(), end).await?;
            Bytes::from_owner(Counted { body, _memory: memory })
        };
        drop(permit);
        Ok(Answer { body, is_packed, of: PhantomData })
    }

    async fn run<T: Send + 'static>(
        &self,
        depth: Depth,
        end: Instant,
        work: impl FnOnce(&dyn Store) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<(T, Permit), ApiError> {
        let permit = self.lane(depth).enter(end).await?;
        let store = self.store.clone();
        // The permit goes with the work, which goes on when its request is gone.
        let work = move || (reading_until(end.into_std(), || work(&*store)), permit);
        let stopping = || ApiError::Unavailable("the service is stopping; try again shortly", None);
        let (result, permit) = match depth {
            Depth::Quick => match tokio::task::spawn_blocking(work).await {
                Ok(done) => done,
                Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
                Err(_) => return Err(stopping()),
            },
            Depth::Deep => {
                let (sender, done) = oneshot::channel();
                // A thread of its own, since stepping back is for good.
                let thread = std::thread::Builder::new().name("deep read".to_owned()).spawn(move || {
                    step_back();
                    // Nobody is there to receive it when the request is gone.
                    let _ = sender.send(work());
                });
                thread.map_err(|error| ApiError::Unavailable("no thread for a read", Some(error.to_string())))?;
                done.await.map_err(|_| ApiError::Internal("the read panicked".to_owned()))?
            }
        };
        Ok((result?, permit))
    }
}

/// Bytes that count until they are sent.
struct Counted {
    body: Vec<u8>,
    _memory: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// 200 with what was read, as JSON, packed if the client wants it.
pub(super) struct Answer<T> {
    body: Bytes,
    is_packed: bool,
    of: PhantomData<fn() -> T>,
}

impl<T> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        let mut response = Response::builder().content_type("application/json; charset=utf-8").body(self.body);
        let headers = response.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if self.is_packed {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

impl<T: ToJSON> ApiResponse for Answer<T> {
    fn meta() -> MetaResponses {
        Done::<T>::meta()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}
