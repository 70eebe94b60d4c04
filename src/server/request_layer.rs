//! The outermost layer of request processing.
//!
//! It assigns the request id, catches panics, converts all errors to the common form, adds the headers of all
//! responses, and logs one event per request, even if the client disconnects. It never logs data of a body.

use super::cors::Origins;
use super::routes::{KnownRoute, Routes};
use crate::api::auth;
use crate::api::auth::client::{Client, Proxies};
use crate::api::error::ApiError;
use crate::api::error_code::ErrorCode;
use crate::api::request_context::{self, RequestContext};
use crate::domain::{ConversationId, Timestamp};
use crate::telemetry::deliveries::{DELIVERIES, Webhook};
use crate::telemetry::metrics::METRICS;
use futures_util::FutureExt as _;
use futures_util::future::Either;
use poem::error::{MethodNotAllowedError, NotFoundError};
use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, uri::Scheme};
use poem::{Endpoint, IntoResponse, Request, Response};
use poem_openapi::error::{ContentTypeError, ParseParamError};
use poem_openapi::types::ToJSON as _;
use std::hash::{BuildHasher as _, RandomState};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// An endpoint behind the outermost layer.
pub struct RequestLayer<E> {
    inner: E,
    routes: Routes,
    proxies: Proxies,
    origins: Origins,
    ids: RequestIds,
}

impl<E> RequestLayer<E> {
    pub(super) fn new(inner: E, routes: Routes, proxies: Proxies) -> Self {
        Self { inner, routes, proxies, origins: Origins::default(), ids: RequestIds::default() }
    }

    /// Allows pages of these origins to read responses (CORS).
    pub(super) fn with_origins(self, origins: Origins) -> Self {
        Self { origins, ..self }
    }

    /// Wraps an endpoint; `document` is the OpenAPI document of its paths.
    pub fn new_routed(inner: E, document: &str) -> Self {
        Self::new(inner, Routes::from_document(document, &[]), Proxies::default())
    }
}

impl<E: Endpoint> Endpoint for RequestLayer<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        Ok(self.answer(request).await)
    }
}

impl<E: Endpoint> RequestLayer<E> {
    /// Returns the endpoint's response; errors and panics become responses too.
    pub(super) async fn answer(&self, request: Request) -> Response {
        self.handle(request, |request| self.inner.call(request)).await
    }

    /// Returns the response to a request that is rejected without calling the endpoint.
    pub(super) async fn refuse(&self, request: Request, why: ApiError) -> Response {
        self.handle(request, |_| async { Err::<Response, _>(why.into()) }).await
    }

    async fn handle<T: IntoResponse>(
        &self,
        mut request: Request,
        inner: impl AsyncFnOnce(Request) -> poem::Result<T>,
    ) -> Response {
        if let Some(path) = auth::normalize_webhook_path(request.uri().path()) {
            set_path(&mut request, &path);
        }
        let public = auth::is_public(request.uri().path());
        let by_https = request.scheme() == &Scheme::HTTPS;
        let origin = self.origins.allowed_origin(&request);
        let preflight = origin.as_ref().and_then(|_| Origins::preflight(&request));
        let client = self.proxies.client(&request);
        if let Some(client) = client {
            request.set_data(client);
        }
        let route = self.routes.find(request.uri().path());
        let mut line = RequestLog {
            started: Instant::now(),
            method: request.method().clone(),
            route: route.map_or("(unknown)", |known| &known.template),
            request_id: self.ids.id_for(request.headers()),
            client,
            noted: RequestContext::default(),
            cause: None,
            refusal: None,
            status: None,
        };
        let answered = request_context::with_context(async {
            let result = match preflight {
                Some(answer) => Ok(Ok(Either::Left(answer))),
                None => AssertUnwindSafe(inner(request)).catch_unwind().await.map(|result| result.map(Either::Right)),
            };
            (result, request_context::take_current())
        });
        let (result, noted) = answered.await;
        line.noted = noted;
        let mut response = match result {
            Ok(Ok(Either::Left(answer))) => answer,
            Ok(Ok(Either::Right(answer))) => answer.into_response(),
            Ok(Err(error)) if error.is_from_response() => error.into_response(),
            Ok(Err(error)) => line.refuse(&api_error(&error, route), route),
            // The panic hook has logged the panic. Its message may contain data of a call, so it is not repeated here.
            Err(_) => line.refuse(&ApiError::Internal("the request's handler panicked".to_owned()), route),
        };
        let failed = response.status().is_client_error() || response.status().is_server_error();
        let headers = response.headers_mut();
        headers.insert("x-request-id", line.request_id.clone());
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if by_https {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HTTPS_ONLY));
        }
        self.origins.allow(origin, headers);
        // Public resources set their own caching headers.
        if failed || !public || !headers.contains_key(header::CACHE_CONTROL) {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        line.status = Some(response.status());
        response
    }
}

/// Value of `Strict-Transport-Security`: browsers use only HTTPS for one year, once the service was reached over HTTPS.
const HTTPS_ONLY: &str = "max-age=31536000";

/// Replaces the path of a request.
fn set_path(request: &mut Request, path: &str) {
    let mut parts = request.uri().clone().into_parts();
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    parts.path_and_query = format!("{path}{query}").parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

/// Converts the framework's errors.
fn api_error(error: &poem::Error, route: Option<&KnownRoute>) -> ApiError {
    if let Some(error) = error.downcast_ref::<ApiError>() {
        error.clone()
    } else if error.is::<NotFoundError>() {
        ApiError::NotFound(ErrorCode::NotFound, "unknown path; /docs lists the paths".to_owned())
    } else if error.is::<MethodNotAllowedError>() {
        let methods = route.map_or(String::new(), |known| known.methods.replace(", ", " or "));
        ApiError::MethodNotAllowed(format!("use {methods}"))
    } else if error.is::<ContentTypeError>() {
        ApiError::NotJson("the header Content-Type must be application/json".to_owned())
    } else if let Some(error) = error.downcast_ref::<ParseParamError>() {
        let rule = route.and_then(|known| known.rule(error.name)).unwrap_or(&error.reason);
        ApiError::field(error.name, rule)
    } else if error.is::<poem::error::ParsePathError>() {
        ApiError::field("path", "must be UTF-8 after percent-decoding")
    } else if error.status().is_client_error() {
        ApiError::BadRequest(ErrorCode::InvalidRequest, error.to_string())
    } else {
        ApiError::Internal(error.to_string())
    }
}

/// The log event of a request. It is written on drop, so a client's disconnect is logged too.
struct RequestLog<'a> {
    started: Instant,
    method: Method,
    route: &'a str,
    request_id: HeaderValue,
    client: Option<Client>,
    noted: RequestContext,
    cause: Option<String>,
    /// Reason of a refused delivery, as in the response.
    refusal: Option<String>,
    status: Option<StatusCode>,
}

impl RequestLog<'_> {
    /// Returns the response for an error.
    fn refuse(&mut self, error: &ApiError, route: Option<&KnownRoute>) -> Response {
        self.cause = error.cause().map(str::to_owned);
        let body = error.body(self.request_id.to_str().unwrap_or_default());
        if self.route.starts_with(WEBHOOKS) {
            self.refusal = Some(body.details.clone().unwrap_or_else(|| body.message.clone()));
        }
        let body = body.to_json_string();
        let mut response =
            Response::builder().status(error.status()).content_type("application/json; charset=utf-8").body(body);
        let headers = response.headers_mut();
        if let (ApiError::MethodNotAllowed(_), Some(known)) = (error, route) {
            headers.insert(header::ALLOW, HeaderValue::from_str(&known.methods).expect("methods are visible ASCII"));
        }
        if let ApiError::NoSuchPart(length) = error {
            let range = HeaderValue::from_str(&format!("bytes */{length}")).expect("visible ASCII");
            headers.insert(header::CONTENT_RANGE, range);
        }
        if let Some(challenge) = error.challenge() {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(seconds) = error.retry_after() {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// Prefix of webhook paths. The rest of the path is the label in the metrics.
const WEBHOOKS: &str = "/webhooks/elevenlabs/";

impl RequestLog<'_> {
    /// Adds the request to the metrics. Text of the client never becomes a label.
    fn measure(&self) {
        let method = match self.method {
            Method::GET
            | Method::HEAD
            | Method::POST
            | Method::PUT
            | Method::PATCH
            | Method::DELETE
            | Method::OPTIONS => self.method.as_str(),
            _ => "other",
        };
        let status = self.status.as_ref().map_or("499", StatusCode::as_str);
        METRICS
            .http_request_duration_seconds
            .with_label_values(&[method, self.route, status])
            .observe(self.started.elapsed().as_secs_f64());
        if let Some(endpoint) = self.route.strip_prefix(WEBHOOKS) {
            let by_status = match self.status.map(|status| status.as_u16()) {
                None => "abandoned",
                Some(..400) => "stored",
                Some(401 | 403) => "unauthorized",
                Some(429 | 503) => "overloaded",
                Some(400..500) => "rejected",
                Some(_) => "failed",
            };
            let outcome = self.noted.outcome.unwrap_or(by_status);
            METRICS.webhook_requests_total.with_label_values(&[endpoint, outcome]).inc();
            if let (Some(webhook), Some(status)) = (Webhook::from_segment(endpoint), self.status) {
                let (log, now) = (DELIVERIES.of(webhook), Timestamp::now().unix_micros());
                if status.is_success() {
                    log.accept(now);
                } else {
                    log.refuse(now, status.as_u16(), self.refusal.as_deref().unwrap_or_default());
                }
            }
        }
    }
}

/// Status for a client that disconnected before the response, as in nginx.
const CLIENT_CLOSED_REQUEST: u16 = 499;

impl Drop for RequestLog<'_> {
    fn drop(&mut self) {
        let status = self.status.map_or(CLIENT_CLOSED_REQUEST, |status| status.as_u16());
        self.measure();
        macro_rules! write_event {
            ($level:ident) => {
                tracing::$level!(
                    target: "http",
                    method = self.method.as_str(),
                    route = self.route,
                    status,
                    duration_ms = milliseconds(self.started.elapsed()),
                    request_id = self.request_id.to_str().unwrap_or_default(),
                    client = self.client.map(|client| tracing::field::display(client.address)),
                    conversation_id = self.noted.conversation.as_ref().map(ConversationId::as_str),
                    error = self.cause.as_deref(),
                    "{} {} {status}", self.method, self.route,
                )
            };
        }
        match status {
            500.. if self.status == Some(StatusCode::SERVICE_UNAVAILABLE) => write_event!(warn),
            500.. => write_event!(error),
            // Logged at debug, because a rate-limited client usually sends many requests.
            429 => write_event!(debug),
            _ => write_event!(info),
        }
    }
}

/// Returns a duration in milliseconds, rounded to microseconds.
fn milliseconds(duration: Duration) -> f64 {
    f64::from(u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)) / 1000.0
}

/// Generator of unique request ids.
struct RequestIds {
    /// Random number of the process.
    process: u32,
    count: AtomicU64,
}

impl Default for RequestIds {
    fn default() -> Self {
        // The randomness of hash maps is enough, because an id need not be secret.
        let random = RandomState::new().hash_one(std::process::id());
        Self { process: u32::try_from(random >> 32).expect("32 bits"), count: AtomicU64::new(0) }
    }
}

impl RequestIds {
    /// Returns the client's request id if it is short and printable, or else a new one.
    fn id_for(&self, headers: &HeaderMap) -> HeaderValue {
        const MAX_BYTES: usize = 128;
        headers
            .get("x-request-id")
            .filter(|id| (1..=MAX_BYTES).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic))
            .cloned()
            .unwrap_or_else(|| {
                let count = self.count.fetch_add(1, Ordering::Relaxed);
                HeaderValue::from_str(&format!("{:08x}{count:08x}", self.process)).expect("hexadecimal digits")
            })
    }
}
