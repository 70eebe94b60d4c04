//! JSON bodies, the request's and the answer's.
//!
//! The request's is of bounded length, and handed on as bytes: the handler reads it by the rules of its domain, so that every
//! problem is named, while the document shows the schema of `T`.

use super::error::ApiError;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use poem::web::headers::{ContentLength, HeaderMapExt as _};
use poem::{Body, IntoResponse, Request, RequestBody, Response};
use poem_openapi::ApiResponse;
use poem_openapi::payload::{Json, ParsePayload, Payload};
use poem_openapi::registry::{MetaResponses, MetaSchemaRef, Registry};
use poem_openapi::types::{ToJSON, Type};
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What bodies may take; the server puts it with each request.
#[derive(Debug, Clone)]
pub struct Bodies {
    /// Greatest length of one, in bytes.
    max: usize,
    /// What long ones take together, in portions.
    memory: Arc<Semaphore>,
}

/// Greatest length of a body that is taken in any case, in bytes: every connection may be sending one.
const SHORT: usize = 16 * 1024;

/// How much memory longer bodies take at once, in bytes, if none may be longer.
const LONG_ONES: usize = 32 << 20;

/// The unit in which this memory is given out, in bytes.
const PORTION: usize = 1024;

impl Bodies {
    /// Bodies of so many bytes at most.
    pub fn new(max: usize) -> Self {
        let portions = LONG_ONES.max(max).div_ceil(PORTION).min(Semaphore::MAX_PERMITS);
        Self { max, memory: Arc::new(Semaphore::new(portions)) }
    }

    /// Makes what was given for a body enough for this length.
    fn give_memory(&self, given: &mut Option<OwnedSemaphorePermit>, length: usize) -> Result<(), ApiError> {
        const FULL: ApiError = ApiError::Unavailable("too many long bodies arrive at once; try again shortly", None);
        let has = given.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = u32::try_from(length.div_ceil(PORTION).saturating_sub(has)).map_err(|_| FULL)?;
        let more = self.memory.clone().try_acquire_many_owned(more).map_err(|_| FULL)?;
        match given {
            Some(given) => given.merge(more),
            None => *given = Some(more),
        }
        Ok(())
    }
}

/// The body as it came, once it is known to be JSON by its content type and no longer than `MAX` bytes and the service's limit.
pub struct JsonBody<T, const MAX: usize = { usize::MAX }> {
    /// What was sent.
    pub bytes: Bytes,
    /// The share of the memory for long ones.
    _memory: Option<OwnedSemaphorePermit>,
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

impl<T: Type> JsonBody<T> {
    /// The body of a request that may not be JSON.
    pub(super) async fn checked(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        if !request.content_type().is_some_and(Self::check_content_type) {
            return Err(ApiError::NotJson("the header Content-Type must be application/json".to_owned()).into());
        }
        Self::from_request(request, body).await
    }
}

impl<T: Type, const MAX: usize> ParsePayload for JsonBody<T, MAX> {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        let bodies: &Bodies = request.data().expect("the server puts the limits with each request");
        let limit = bodies.max.min(MAX);
        let announced = request.headers().typed_get::<ContentLength>();
        if announced.is_some_and(|ContentLength(length)| length > limit as u64) {
            return Err(ApiError::TooLarge(limit).into());
        }
        let (bytes, memory) = read(body.take()?, limit, bodies).await?;
        Ok(Self { bytes, _memory: memory, schema: PhantomData })
    }
}

/// Reads a body to its end. One that came in one piece, as turns do, is not copied; the framework's own way with a limit
/// copies through a buffer that every waiting request would hold.
async fn read(body: Body, limit: usize, bodies: &Bodies) -> Result<(Bytes, Option<OwnedSemaphorePermit>), ApiError> {
    let mut memory = None;
    let mut pieces = std::pin::pin!(body.into_bytes_stream());
    let mut whole = Bytes::new();
    while let Some(piece) = pieces.next().await {
        let piece =
            piece.map_err(|error| ApiError::BadRequest(format!("body: could not be read to its end: {error}")))?;
        let length = whole.len() + piece.len();
        if length > limit {
            return Err(ApiError::TooLarge(limit));
        }
        if length > SHORT {
            bodies.give_memory(&mut memory, length)?;
        }
        whole = if whole.is_empty() {
            piece
        } else {
            let mut grown = BytesMut::from(whole);
            grown.extend_from_slice(&piece);
            grown.freeze()
        };
    }
    Ok((whole, memory))
}

poem_openapi::impl_apirequest_for_payload!(JsonBody<T>, T: Type);

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
        Ok(Self { body: JsonBody::from_request(request, body).await? })
    }
}

/// A body of JSON that is not read yet, because its reader decides how.
pub struct Posted<T> {
    /// The body as it comes.
    pub body: Body,
    schema: PhantomData<T>,
}

impl<T: Type> Payload for Posted<T> {
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

impl<T: Type> ParsePayload for Posted<T> {
    const IS_REQUIRED: bool = true;

    async fn from_request(_: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        Ok(Self { body: body.take()?, schema: PhantomData })
    }
}

poem_openapi::impl_apirequest_for_payload!(Posted<T>, T: Type);

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
