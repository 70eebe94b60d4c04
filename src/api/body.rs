//! JSON bodies of requests and responses.
//!
//! A request body has a maximum size, and the handler receives it as bytes: it parses them by the rules of its domain
//! and reports every error at once. The document shows the schema of `T`.

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

/// Limits of request bodies. The server adds them to each request.
#[derive(Debug, Clone)]
pub struct BodyLimits {
    /// Maximum size of one body, in bytes.
    max: usize,
    /// Memory budget of long bodies.
    memory: Budget,
}

/// Maximum size of a body that does not count against the budget, in bytes. Every connection may send one at once.
const ALWAYS_ACCEPTED_BYTES: usize = 16 * 1024;

/// Memory budget of all longer bodies, in bytes. It is larger if a single body may be larger.
const LONG_BODY_BUDGET_BYTES: usize = 48 << 20;

/// Maximum time that a body waits for memory that faster bodies hold.
const MEMORY_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the memory budget that all long bodies share; the longest may have `longest` bytes.
pub fn memory_for(longest: usize) -> Budget {
    Budget::new(LONG_BODY_BUDGET_BYTES.max(longest), MEMORY_TIMEOUT)
}

impl BodyLimits {
    /// Limits for bodies of at most `max` bytes, which share this memory budget.
    pub fn new(max: usize, memory: Budget) -> Self {
        Self { max, memory }
    }
}

/// The decompressed body of a request. Its content type is JSON, and its size is within `MAX` bytes and the service's
/// limit.
pub struct JsonBody<T, const MAX: usize = { usize::MAX }> {
    /// The decompressed bytes.
    pub bytes: Bytes,
    /// Share of the memory budget, if the body is long.
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
    /// Extracts the body of a request, after a check of its content type.
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
        let bodies: &BodyLimits = request.data().expect("the server adds the limits to each request");
        let limit = bodies.max.min(MAX);
        let coding = coding_of(request.headers())?;
        let announced = request.headers().typed_get::<ContentLength>();
        if announced.is_some_and(|ContentLength(length)| length > limit as u64) {
            return Err(ApiError::TooLarge(limit).into());
        }
        let mut pieces = std::pin::pin!(body.take()?.into_bytes_stream());
        let mut gathering = BodyBuffer::new(&bodies.memory, limit);
        while let Some(piece) = next_piece(&mut pieces, gathering.hold()).await? {
            gathering.add(piece, || Sender::from_request(request)).await?;
        }
        let BufferedBody { mut bytes, hold: mut memory } = gathering.end();
        if let Some(coding) = coding {
            bytes = unpacked(coding, &bytes, limit)?.into();
            if bytes.len() > ALWAYS_ACCEPTED_BYTES {
                let hold = memory.get_or_insert_with(|| {
                    bodies.memory.hold(Sender::from_request(request), Instant::now(), bytes.len())
                });
                hold.settle();
                hold.grow(bytes.len()).await?;
            }
        }
        Ok(Self { bytes, _memory: memory, schema: PhantomData })
    }
}

/// Returns the next chunk of a body. Fails if another body displaces this one.
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
    piece.transpose().map_err(|error| ApiError::body_rule(format_args!("incomplete: {error}")))
}

/// A body in memory, as far as it was received. A body of one chunk, as most turns are, is not copied. The framework's
/// own limit would copy it into a buffer that every waiting request would hold.
pub(super) struct BodyBuffer<'a> {
    budget: &'a Budget,
    limit: usize,
    begun: Instant,
    first: Bytes,
    /// All bytes, once there is more than one chunk.
    whole: Vec<u8>,
    hold: Option<Hold>,
}

/// The bytes of a body, with their share of the memory budget if it is long.
pub(super) struct BufferedBody {
    pub(super) bytes: Bytes,
    pub(super) hold: Option<Hold>,
}

impl<'a> BodyBuffer<'a> {
    /// A body of at most `limit` bytes.
    pub(super) fn new(budget: &'a Budget, limit: usize) -> Self {
        Self { budget, limit, begun: Instant::now(), first: Bytes::new(), whole: Vec::new(), hold: None }
    }

    /// Returns the body's share of the memory budget, if it is long.
    pub(super) fn hold(&self) -> Option<&Hold> {
        self.hold.as_ref()
    }

    /// Returns the bytes received so far.
    pub(super) fn bytes(&self) -> &[u8] {
        if self.whole.is_empty() { &self.first } else { &self.whole }
    }

    /// Appends the next chunk.
    ///
    /// # Errors
    /// 413: the body is longer than its limit. 503: the memory budget is used up.
    pub(super) async fn add(&mut self, piece: Bytes, sender: impl FnOnce() -> Sender) -> Result<(), ApiError> {
        let length = self.bytes().len() + piece.len();
        if length > self.limit {
            return Err(ApiError::TooLarge(self.limit));
        }
        // Reserves at most 1.5 times what was received, because an announced length is not trusted.
        let room =
            if length <= self.whole.capacity() { self.whole.capacity() } else { (length + length / 2).min(self.limit) };
        if length > ALWAYS_ACCEPTED_BYTES {
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

    /// Returns the complete body. It can no longer be displaced, because it is complete.
    pub(super) fn end(self) -> BufferedBody {
        if let Some(hold) = &self.hold {
            hold.settle();
        }
        self.so_far()
    }

    /// Returns the bytes received so far and their share of the memory budget.
    pub(super) fn so_far(self) -> BufferedBody {
        let bytes = if self.whole.is_empty() { self.first } else { self.whole.into() };
        BufferedBody { bytes, hold: self.hold }
    }
}

poem_openapi::impl_apirequest_for_payload!(JsonBody<T, MAX>, T: Type, const MAX: usize);

/// The body of a submitted HTML form, of at most `MAX` bytes.
pub struct FormBody<T, const MAX: usize> {
    body: JsonBody<T, MAX>,
}

impl<T: Type + DeserializeOwned, const MAX: usize> FormBody<T, MAX> {
    /// Parses the form.
    pub(super) fn read(&self) -> Result<T, ApiError> {
        serde_urlencoded::from_bytes(&self.body.bytes).map_err(ApiError::body_rule)
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

/// A JSON body that is not read yet, because the handler decides how to read it. The content type does not matter: the
/// signature proves the sender.
pub struct StreamedJson<T> {
    /// The unread body.
    pub body: Body,
    schema: PhantomData<T>,
}

impl<'a, T: Type> ApiExtractor<'a> for StreamedJson<T> {
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

/// A 200 response with a JSON body. The framework's own [`Json`] would have no description in the document.
pub struct JsonOk<T>(pub T);

impl<T: ToJSON> IntoResponse for JsonOk<T> {
    fn into_response(self) -> Response {
        Json(self.0).into_response()
    }
}

impl<T: ToJSON> ApiResponse for JsonOk<T> {
    fn meta() -> MetaResponses {
        let mut meta = Json::<T>::meta();
        for response in &mut meta.responses {
            response.description = "Success.";
        }
        meta
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}
