//! Reads of the store and their responses, on threads that do not serve connections.
//!
//! Time, number and memory are bounded. A read that does not end within [`READ_TIMEOUT`] of its request's arrival,
//! including its time in the queue, is answered with 503. Quick reads have permits and a memory budget of their own, so
//! they never wait for deep ones. A response counts against its lane's memory budget until the client has received it.
//! While it waits for memory it keeps its permit, which limits the number of waiting responses.

use super::body::JsonOk;
use super::error::ApiError;
use super::error_code::ErrorCode;
use crate::store::{self, Reads, reading_until};
use crate::sys::gzip::{CompressionLevel, accepts_gzip, compress};
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

/// Maximum time from a request's arrival to its response.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of concurrent quick reads.
pub const QUICK_READS: usize = 4;

/// Maximum number of running and waiting reads of a lane; further reads are rejected at once.
const MAX_LANE_READS: usize = 256;

/// Memory budget for responses of quick reads, in bytes.
const QUICK_BUDGET_BYTES: usize = 16 << 20;

/// Memory budget for responses of deep reads, in bytes.
const DEEP_BUDGET_BYTES: usize = 32 << 20;

/// Memory per semaphore permit, in bytes.
const PERMIT_BYTES: usize = 1024;

/// Maximum size of a response that does not count against the memory budget, in bytes.
const UNCOUNTED_BYTES: usize = 16 * 1024;

/// Minimum size of a response that is compressed, in bytes; a smaller one fits into a single packet anyway.
const MIN_COMPRESSED_BYTES: usize = 1200;

/// Maximum number of rows on the first page of a list that is a quick read.
const MAX_QUICK_ROWS: u16 = 50;

/// An estimate of how much data a read may have to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// One resource, or a few rows that an index finds.
    Quick,
    /// Anything else.
    Deep,
}

/// The properties of a page that decide how deep it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageRead {
    pub(super) is_first: bool,
    pub(super) limit: u16,
    pub(super) searches_or_counts: bool,
}

impl Depth {
    /// Returns the depth of a page of a list. A page is deep if it is long, searches, counts, or is not the first one.
    pub(super) fn for_page(page: PageRead) -> Self {
        let is_quick = page.is_first && !page.searches_or_counts && page.limit <= MAX_QUICK_ROWS;
        if is_quick { Self::Quick } else { Self::Deep }
    }
}

/// A handle for reading the store; cheap to clone.
#[derive(Clone)]
pub struct Reader {
    store: Arc<dyn Reads>,
    quick: Lane,
    deep: Lane,
}

/// The limits that reads of one depth share.
#[derive(Clone)]
struct Lane {
    permits: Arc<Semaphore>,
    /// Permits for running and waiting reads.
    queue: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    total_memory: u32,
}

/// Permission to read, until it is dropped.
struct Permit {
    _read: OwnedSemaphorePermit,
    _queue: OwnedSemaphorePermit,
}

const OVERLOADED: ApiError =
    ApiError::Unavailable(ErrorCode::Overloaded, "too many concurrent reads; try again shortly", None);

impl Lane {
    fn new(reads: usize, memory: usize) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        let memory_permits = memory / PERMIT_BYTES;
        Self {
            permits: semaphore(reads),
            queue: semaphore(MAX_LANE_READS),
            memory: semaphore(memory_permits),
            total_memory: u32::try_from(memory_permits).unwrap_or(u32::MAX),
        }
    }

    /// Waits for the permit to read.
    async fn enter(&self, end: Instant) -> Result<Permit, ApiError> {
        let queue = self.queue.clone().try_acquire_owned().map_err(|_| OVERLOADED)?;
        let read = timeout_at(end, self.permits.clone().acquire_owned()).await;
        let read = read.map_err(|_| OVERLOADED)?.map_err(|_| OVERLOADED)?;
        Ok(Permit { _read: read, _queue: queue })
    }

    /// Waits for the memory of a response.
    async fn charge(&self, bytes: usize, end: Instant) -> Result<OwnedSemaphorePermit, ApiError> {
        // A response that is larger than the whole budget takes the whole budget.
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX).min(self.total_memory);
        let memory = timeout_at(end, self.memory.clone().acquire_many_owned(permits)).await;
        memory.ok().and_then(Result::ok).ok_or(ApiError::Unavailable(
            ErrorCode::Overloaded,
            "too many long responses wait for their clients; try again shortly",
            None,
        ))
    }
}

impl Reader {
    /// Creates a reader of a store. `deep_reads` is the maximum number of concurrent deep reads.
    pub fn new(store: Arc<dyn Reads>, deep_reads: usize) -> Self {
        Self {
            store,
            quick: Lane::new(QUICK_READS, QUICK_BUDGET_BYTES),
            deep: Lane::new(deep_reads, DEEP_BUDGET_BYTES),
        }
    }

    fn lane(&self, depth: Depth) -> &Lane {
        match depth {
            Depth::Quick => &self.quick,
            Depth::Deep => &self.deep,
        }
    }

    /// Reads a single resource, as a quick read.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Reads) -> store::Result<T> + Send + 'static,
    ) -> Result<T, ApiError> {
        let end = Instant::now() + READ_TIMEOUT;
        let read = move |store: &dyn Reads| read(store).map_err(ApiError::from);
        Ok(self.run(Depth::Quick, end, read).await?.0)
    }

    /// Reads the store and encodes the result as a response.
    pub(super) async fn answer<T: ToJSON>(
        &self,
        request: &Request,
        depth: Depth,
        make: impl FnOnce(&dyn Reads) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<Answer<T>, ApiError> {
        let end = Instant::now() + READ_TIMEOUT;
        let accepted =
            request.headers().get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let accepts_gzip = accepts_gzip(accepted);
        let make = move |store: &dyn Reads| {
            let json = make(store)?.to_json_string().into_bytes();
            let is_compressed = accepts_gzip && json.len() >= MIN_COMPRESSED_BYTES;
            let mut body = if is_compressed { compress(&json, CompressionLevel::Quick) } else { json };
            body.shrink_to_fit();
            Ok((body, is_compressed))
        };
        let ((body, is_compressed), permit) = self.run(depth, end, make).await?;
        let body = if body.len() <= UNCOUNTED_BYTES {
            body.into()
        } else {
            let memory = self.lane(depth).charge(body.len(), end).await?;
            Bytes::from_owner(BudgetedBody { body, _memory: memory })
        };
        drop(permit);
        Ok(Answer { body, is_compressed, of: PhantomData })
    }

    async fn run<T: Send + 'static>(
        &self,
        depth: Depth,
        end: Instant,
        work: impl FnOnce(&dyn Reads) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<(T, Permit), ApiError> {
        let permit = self.lane(depth).enter(end).await?;
        let store = self.store.clone();
        // The work holds the permit, because it continues after its request is dropped.
        let work = move || (reading_until(end.into_std(), || work(&*store)), permit);
        let stopping = || ApiError::stopping();
        let (result, permit) = match depth {
            Depth::Quick => match tokio::task::spawn_blocking(work).await {
                Ok(done) => done,
                Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
                Err(_) => return Err(stopping()),
            },
            Depth::Deep => {
                let (sender, done) = oneshot::channel();
                // A separate thread, because it cannot raise its priority again.
                let thread = std::thread::Builder::new().name("deep read".to_owned()).spawn(move || {
                    step_back();
                    // The receiver is dropped with the request.
                    let _ = sender.send(work());
                });
                thread.map_err(|error| {
                    ApiError::Unavailable(ErrorCode::Overloaded, "no thread for the read", Some(error.to_string()))
                })?;
                done.await.map_err(|_| ApiError::Internal("the read panicked".to_owned()))?
            }
        };
        Ok((result?, permit))
    }
}

/// A response body that counts against the memory budget until it is sent.
struct BudgetedBody {
    body: Vec<u8>,
    _memory: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for BudgetedBody {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// A 200 response with a JSON body, compressed if the client accepts gzip.
pub(super) struct Answer<T> {
    body: Bytes,
    is_compressed: bool,
    of: PhantomData<fn() -> T>,
}

impl<T> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        let mut response = Response::builder().content_type("application/json; charset=utf-8").body(self.body);
        let headers = response.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if self.is_compressed {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

impl<T: ToJSON> ApiResponse for Answer<T> {
    fn meta() -> MetaResponses {
        JsonOk::<T>::meta()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}
