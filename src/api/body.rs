//! JSON bodies, the request's and the answer's.
//!
//! The request's is of bounded length, and handed on as bytes: the handler reads it by the rules of its domain, so that every
//! problem is named, while the document shows the schema of `T`.

use super::content_encoding::{coding_of, unpacked};
use super::error::ApiError;
use super::memory_budget::{Budget, Hold, Sender};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use poem::web::headers::{ContentLength, HeaderMapExt as _};
use poem::{Body, IntoResponse, Request, RequestBody, Response};
use poem_openapi::payload::{Json, ParsePayload, Payload};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaResponses, MetaSchemaRef, Registry};
use poem_openapi::types::{ToJSON, Type};
use poem_openapi::{ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions};
use serde::de::DeserializeOwned;
use std::io;
use std::marker::PhantomData;
use std::time::Duration;
use tokio::time::Instant;

/// Bounds of bodies; the server sets it on each request.
#[derive(Debug, Clone)]
pub struct Bodies {
    /// Maximum size of one, in bytes.
    max: usize,
    /// Memory of long ones.
    memory: Budget,
}

/// Size up to which a body needs no share of the budget, in bytes: every connection may be sending one.
const SHORT: usize = 16 * 1024;

/// Memory of all longer bodies, in bytes, if no single one may be longer.
const MEMORY: usize = 48 << 20;

/// How long a body waits for memory that faster ones hold.
const MEMORY_WAIT: Duration = Duration::from_secs(5);

/// Returns the memory that all long bodies share, of which the longest may have so many bytes.
pub fn memory_for(longest: usize) -> Budget {
    Budget::new(MEMORY.max(longest), MEMORY_WAIT)
}

impl Bodies {
    /// Bodies of so many bytes at most, which share this memory with others.
    pub fn new(max: usize, memory: Budget) -> Self {
        Self { max, memory }
    }
}

/// The body of a request, unpacked, once it is known to be JSON by its content type and to be no longer than `MAX` bytes and
/// the service's limit.
pub struct JsonBody<T, const MAX: usize = { usize::MAX }> {
    /// The bytes.
    pub bytes: Bytes,
    /// The share of the memory for long ones.
    _memory: Option<Hold>,
    schema: PhantomData<T>,
}

impl<T: Type, const MAX: usize> Payload for JsonBody<T, MAX> {
    const CONTENT_TYPE: &'static str = "application/json";

    fn check_content_type(content_type: &str) -> bool {
        Json::<T>::check_content_type(content_type)
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Type, const MAX: usize> JsonBody<T, MAX> {
    /// The body of a request that may not be JSON.
    pub(super) async fn checked(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        if !request.content_type().is_some_and(Self::check_content_type) {
            return Err(ApiError::NotJson("the header Content-Type must be application/json".to_owned()).into());
        }
        <Self as ParsePayload>::from_request(request, body).await
    }
}

impl<T: Type, const MAX: usize> ParsePayload for JsonBody<T, MAX> {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        let bodies: &Bodies = request.data().expect("the server puts the limits with each request");
        let limit = bodies.max.min(MAX);
        let coding = coding_of(request.headers())?;
        let announced = request.headers().typed_get::<ContentLength>();
        if announced.is_some_and(|ContentLength(length)| length > limit as u64) {
            return Err(ApiError::TooLarge(limit).into());
        }
        let mut pieces = std::pin::pin!(body.take()?.into_bytes_stream());
        let mut gathering = Gathering::new(&bodies.memory, limit);
        while let Some(piece) = next_piece(&mut pieces, gathering.hold()).await? {
            gathering.add(piece, || Sender::of(request)).await?;
        }
        let (mut bytes, mut memory) = gathering.end();
        if let Some(coding) = coding {
            bytes = unpacked(coding, &bytes, limit)?.into();
            if bytes.len() > SHORT {
                let hold =
                    memory.get_or_insert_with(|| bodies.memory.hold(Sender::of(request), Instant::now(), bytes.len()));
                hold.settle();
                hold.grow(bytes.len()).await?;
            }
        }
        Ok(Self { bytes, _memory: memory, schema: PhantomData })
    }
}

/// Returns the next piece of a body, unless the body has to give way to another one.
pub(super) async fn next_piece(
    pieces: &mut (impl Stream<Item = io::Result<Bytes>> + Unpin),
    hold: Option<&Hold>,
) -> Result<Option<Bytes>, ApiError> {
    let piece = match hold {
        None => pieces.next().await,
        Some(hold) => tokio::select! {
            biased;
            error = hold.displaced() => return Err(error),
            piece = pieces.next() => piece,
        },
    };
    piece.transpose().map_err(|error| ApiError::field("body", format_args!("could not be read to its end: {error}")))
}

/// A body in memory, as far as it has come. One that comes in one piece, as turns do, is not copied; the framework's own
/// way with a limit copies through a buffer that every waiting request would hold.
pub(super) struct Gathering<'a> {
    budget: &'a Budget,
    limit: usize,
    begun: Instant,
    first: Bytes,
    /// All of it, once there is more than the first piece.
    whole: Vec<u8>,
    hold: Option<Hold>,
}

impl<'a> Gathering<'a> {
    /// A body of so many bytes at most.
    pub(super) fn new(budget: &'a Budget, limit: usize) -> Self {
        Self { budget, limit, begun: Instant::now(), first: Bytes::new(), whole: Vec::new(), hold: None }
    }

    /// Returns its share of the memory, if it is long.
    pub(super) fn hold(&self) -> Option<&Hold> {
        self.hold.as_ref()
    }

    /// Returns what has come.
    pub(super) fn bytes(&self) -> &[u8] {
        if self.whole.is_empty() { &self.first } else { &self.whole }
    }

    /// Adds what comes next.
    ///
    /// # Errors
    /// 413; 503 when there is no memory for it.
    pub(super) async fn add(&mut self, piece: Bytes, sender: impl FnOnce() -> Sender) -> Result<(), ApiError> {
        let length = self.bytes().len() + piece.len();
        if length > self.limit {
            return Err(ApiError::TooLarge(self.limit));
        }
        // More than was received by half at most, so that what is announced counts for nothing.
        let room =
            if length <= self.whole.capacity() { self.whole.capacity() } else { (length + length / 2).min(self.limit) };
        if length > SHORT {
            match &self.hold {
                Some(hold) => hold.receive(piece.len()),
                None => self.hold = Some(self.budget.hold(sender(), self.begun, length)),
            }
            if let Some(hold) = self.hold.as_ref().filter(|_| room > self.whole.capacity()) {
                hold.grow(room).await?;
            }
        }
        if self.first.is_empty() && self.whole.is_empty() {
            self.first = piece;
            return Ok(());
        }
        self.whole.reserve_exact(room - self.whole.len());
        if self.whole.is_empty() {
            self.whole.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.whole.extend_from_slice(&piece);
        Ok(())
    }

    /// Returns the whole body, which no longer gives way, since nothing more of it is awaited.
    pub(super) fn end(self) -> (Bytes, Option<Hold>) {
        if let Some(hold) = &self.hold {
            hold.settle();
        }
        self.so_far()
    }

    /// Returns what has come.
    pub(super) fn so_far(self) -> (Bytes, Option<Hold>) {
        let bytes = if self.whole.is_empty() { self.first } else { self.whole.into() };
        (bytes, self.hold)
    }
}

poem_openapi::impl_apirequest_for_payload!(JsonBody<T, MAX>, T: Type, const MAX: usize);

/// A body as a page's form sends it, not too long.
pub struct FormBody<T, const MAX: usize> {
    body: JsonBody<T, MAX>,
}

impl<T: Type + DeserializeOwned, const MAX: usize> FormBody<T, MAX> {
    /// What it says.
    pub(super) fn read(&self) -> Result<T, ApiError> {
        serde_urlencoded::from_bytes(&self.body.bytes).map_err(|error| ApiError::field("body", error))
    }
}

impl<T: Type, const MAX: usize> Payload for FormBody<T, MAX> {
    const CONTENT_TYPE: &'static str = "application/x-www-form-urlencoded";

    fn check_content_type(content_type: &str) -> bool {
        content_type.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case(Self::CONTENT_TYPE))
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Type, const MAX: usize> ParsePayload for FormBody<T, MAX> {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        Ok(Self { body: <JsonBody<T, MAX> as ParsePayload>::from_request(request, body).await? })
    }
}

/// A body of JSON that is not read yet, because its reader decides how. Its content type does not matter: a signature
/// proves who sends it.
pub struct Posted<T> {
    /// The body as it comes.
    pub body: Body,
    schema: PhantomData<T>,
}

impl<'a, T: Type> ApiExtractor<'a> for Posted<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let json = MetaMediaType { content_type: JsonBody::<T>::CONTENT_TYPE, schema: T::schema_ref() };
        Some(MetaRequest { description: None, content: vec![json], required: true })
    }

    async fn from_request(_: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> poem::Result<Self> {
        Ok(Self { body: body.take()?, schema: PhantomData })
    }
}

/// 200 with a body. The framework's own [`Json`] would leave the answer without a description in the document.
pub struct Done<T>(pub T);

impl<T: ToJSON> IntoResponse for Done<T> {
    fn into_response(self) -> Response {
        Json(self.0).into_response()
    }
}

impl<T: ToJSON> ApiResponse for Done<T> {
    fn meta() -> MetaResponses {
        let mut meta = Json::<T>::meta();
        for response in &mut meta.responses {
            response.description = "Done; the body is the answer.";
        }
        meta
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}
