//! API errors: one error type, one variant per status or cause, one JSON body for all.
//!
//! Handlers return [`Errors`], which only adds the statuses that the document lists for an operation. The server's
//! outermost layer builds the body in one place, because it knows the request's id. It also gives the framework's own
//! errors (unknown path, wrong method, invalid parameter) this form.

use super::error_code::ErrorCode;
use crate::domain::validation::{FieldError, join_errors};
use crate::ingest::WriteError;
use crate::store::{self, BadElement, BadLink, ErrorKind, Rejection};
use poem::http::StatusCode;
use poem_openapi::payload::Payload as _;
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry};
use poem_openapi::types::{Example, Type as _};
use poem_openapi::{ApiResponse, Object, payload::Json};
use std::marker::PhantomData;

/// The body of every error response.
#[derive(Debug, Object)]
#[oai(example)]
pub struct ErrorBody {
    /// Always `error`.
    pub status: String,
    /// The error, for programs.
    pub code: ErrorCode,
    /// The error, in words.
    pub message: String,
    /// Details, if there are any. For a bad request: each invalid field and its rule.
    #[oai(nullable)]
    pub details: Option<String>,
    /// Request id, as in the `X-Request-Id` header and in the log.
    pub request_id: String,
}

impl Example for ErrorBody {
    fn example() -> Self {
        Self {
            status: "error".to_owned(),
            code: ErrorCode::InvalidField,
            message: "invalid request".to_owned(),
            details: Some("speaker: must be exactly \"agent\" or \"user\"".to_owned()),
            request_id: "5f0c6e4d9b3a1c72".to_owned(),
        }
    }
}

/// A reason why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.status())]
pub enum ApiError {
    /// 400: the request breaks a rule; the text names the field and the rule.
    BadRequest(ErrorCode, String),
    /// 401: the credentials or the signature are missing or invalid.
    Unauthorized {
        /// Requirement of a token or a signature.
        code: ErrorCode,
        /// The credential or signature that is missing or invalid.
        details: String,
        /// Value of the `WWW-Authenticate` header: the accepted authentication scheme.
        challenge: &'static str,
    },
    /// 403: the request is not allowed; the text says why.
    Forbidden(ErrorCode, String),
    /// 404: the resource does not exist; the text names it.
    NotFound(ErrorCode, String),
    /// 405: the path supports other methods; the text lists them.
    MethodNotAllowed(String),
    /// 409: the request conflicts with stored data; the text describes the conflict.
    Conflict(String),
    /// 413: the body is longer than this many bytes.
    TooLarge(usize),
    /// 415: the content type is not JSON.
    NotJson(String),
    /// 415: the body's `Content-Encoding` is not supported; the text names it.
    UnknownCoding(String),
    /// 416: the requested range is outside of the recording, which has this many bytes.
    NoSuchPart(u64),
    /// 422: the delivery key was used for another turn.
    KeyReused,
    /// 429: too many requests from this address failed authentication; retry after this many seconds.
    TooManyRefused(u32),
    /// 500: the text is the cause, for the log only.
    Internal(String),
    /// 500: an error after a part of the work was done. The first text describes that part, the second is the cause,
    /// for the log only.
    Interrupted(String, String),
    /// 503: the service is overloaded or stopping. The first text is for the client, the second is the cause for the
    /// log.
    Unavailable(ErrorCode, &'static str, Option<String>),
    /// 503: a part of the work is done, and the text describes it; a retry continues.
    Unfinished(String),
}

/// Name of the whole body in errors.
const BODY: &str = "body";

/// Value of `Retry-After` when the service is overloaded, in seconds: the time of a few commits.
const RETRY_AFTER_SECONDS: u32 = 1;

impl ApiError {
    /// Returns the status of the response.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(..) => StatusCode::BAD_REQUEST,
            Self::Unauthorized { .. } => StatusCode::UNAUTHORIZED,
            Self::Forbidden(..) => StatusCode::FORBIDDEN,
            Self::NotFound(..) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotJson(_) | Self::UnknownCoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NoSuchPart(_) => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyRefused(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal(_) | Self::Interrupted(..) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable(..) | Self::Unfinished(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Returns the code for programs.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::BadRequest(code, _)
            | Self::Unauthorized { code, .. }
            | Self::Forbidden(code, _)
            | Self::NotFound(code, _)
            | Self::Unavailable(code, ..) => *code,
            Self::MethodNotAllowed(_) => ErrorCode::MethodNotAllowed,
            Self::Conflict(_) => ErrorCode::PhoneNumberTaken,
            Self::TooLarge(_) => ErrorCode::BodyTooLarge,
            Self::NotJson(_) => ErrorCode::UnsupportedMediaType,
            Self::UnknownCoding(_) => ErrorCode::UnsupportedEncoding,
            Self::NoSuchPart(_) => ErrorCode::RangeNotSatisfiable,
            Self::KeyReused => ErrorCode::DeliveryKeyReused,
            Self::TooManyRefused(_) => ErrorCode::RateLimited,
            Self::Internal(_) | Self::Interrupted(..) => ErrorCode::InternalError,
            Self::Unfinished(_) => ErrorCode::PartlyDone,
        }
    }

    /// Returns the cause for the log. It is not sent to the client.
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Internal(cause) | Self::Interrupted(_, cause) => Some(cause),
            Self::Unavailable(.., cause) => cause.as_deref(),
            _ => None,
        }
    }

    /// Returns the value of the `Retry-After` header, in seconds.
    pub fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Unavailable(..) | Self::Unfinished(_) => Some(RETRY_AFTER_SECONDS),
            Self::TooManyRefused(seconds) => Some(*seconds),
            _ => None,
        }
    }

    /// Returns the value of the `WWW-Authenticate` header.
    pub fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::Unauthorized { challenge, .. } => Some(challenge),
            _ => None,
        }
    }

    /// Returns the error of a request without a token.
    pub(super) fn no_token(details: &str) -> Self {
        let challenge = "Bearer realm=\"transcribe-hook\"";
        Self::Unauthorized { code: ErrorCode::Unauthorized, details: details.to_owned(), challenge }
    }

    /// Returns the error of a request with an invalid token.
    pub(super) fn wrong_token(details: &str) -> Self {
        let challenge = "Bearer realm=\"transcribe-hook\", error=\"invalid_token\"";
        Self::Unauthorized { code: ErrorCode::Unauthorized, details: details.to_owned(), challenge }
    }

    /// Returns the body of the error response.
    pub fn body(&self, request_id: &str) -> ErrorBody {
        let (message, details) = match self {
            Self::BadRequest(_, details) => ("invalid request", Some(details.clone())),
            Self::Unauthorized { details, .. } => ("not authorized", Some(details.clone())),
            Self::Forbidden(_, details) => ("not allowed", Some(details.clone())),
            Self::NotFound(_, details) => ("not found", Some(details.clone())),
            Self::MethodNotAllowed(details) => ("method not allowed", Some(details.clone())),
            Self::Conflict(details) => ("conflict with stored data", Some(details.clone())),
            Self::TooLarge(limit) => ("body too large", Some(format!("the body must be at most {limit} bytes"))),
            Self::NotJson(details) => ("unsupported content type", Some(details.clone())),
            Self::UnknownCoding(coding) => (
                "unsupported content encoding",
                Some(format!("the header Content-Encoding must be gzip, deflate or absent, got {coding}")),
            ),
            Self::NoSuchPart(length) => {
                ("range not satisfiable", Some(format!("Range: must begin within the {length} bytes of the recording")))
            }
            Self::KeyReused => (
                "delivery key was used for another turn",
                Some("this conversation has a turn with this key and another speaker, message or timestamp".to_owned()),
            ),
            Self::TooManyRefused(_) => (
                "too many failed attempts",
                Some("too many failed attempts from your address; try again in a few seconds".to_owned()),
            ),
            Self::Internal(_) => ("internal error; nothing was stored", None),
            Self::Interrupted(done, _) => ("internal error; a part of the work is done", Some(done.clone())),
            Self::Unavailable(_, message, _) => (*message, None),
            Self::Unfinished(details) => ("partly done; try again to continue", Some(details.clone())),
        };
        ErrorBody {
            status: "error".to_owned(),
            code: self.code(),
            message: message.to_owned(),
            details,
            request_id: request_id.to_owned(),
        }
    }

    /// Converts the failure of a write; `missing` makes the error for a resource that does not exist.
    pub fn from_write(error: WriteError, missing: impl FnOnce() -> Self) -> Self {
        match error {
            WriteError::Rejected(Rejection::NotFound) => missing(),
            error => error.into(),
        }
    }

    /// Returns the error of a service that is stopping.
    pub(super) const fn stopping() -> Self {
        Self::Unavailable(ErrorCode::ShuttingDown, "the service is stopping; try again shortly", None)
    }

    /// Returns the error for a body that cannot be read.
    pub fn body_rule(rule: impl std::fmt::Display) -> Self {
        Self::BadRequest(ErrorCode::InvalidBody, format!("{BODY}: {rule}"))
    }

    /// Returns the error for a database that cannot be written. The store logs the cause once.
    fn unready() -> Self {
        Self::Unavailable(ErrorCode::StorageUnavailable, "the database is not writable; try again later", None)
    }

    /// Converts "not found" right after a write into 503: another request deleted the resource in between.
    pub(super) fn if_deleted_meanwhile(self) -> Self {
        match self {
            Self::NotFound(..) => {
                let message = "deleted while it was being stored; try again";
                Self::Unavailable(ErrorCode::DeletedMeanwhile, message, None)
            }
            other => other,
        }
    }

    /// Returns the error for a field that breaks a rule.
    pub fn field(field: &str, rule: impl std::fmt::Display) -> Self {
        Self::BadRequest(ErrorCode::InvalidField, format!("{field}: {rule}"))
    }

    /// Returns the error for fields that break rules.
    pub fn fields(problems: &[FieldError]) -> Self {
        // A body without readable fields is reported under this name.
        let whole = problems.iter().any(|problem| problem.field == BODY);
        let code = if whole { ErrorCode::InvalidBody } else { ErrorCode::InvalidField };
        Self::BadRequest(code, join_errors(problems))
    }
}

impl From<ApiError> for poem::Error {
    fn from(error: ApiError) -> Self {
        let status = error.status();
        Self::new(error, status)
    }
}

/// Errors of reads; [`WriteError`] converts those of writes.
impl From<store::Error> for ApiError {
    fn from(error: store::Error) -> Self {
        match error.kind() {
            ErrorKind::TooSlow => {
                let message = "the query took too long; narrow it, for example by time";
                Self::Unavailable(ErrorCode::QueryTooSlow, message, Some(error.to_string()))
            }
            ErrorKind::Busy => {
                let message = "too many concurrent reads; try again shortly";
                Self::Unavailable(ErrorCode::Overloaded, message, Some(error.to_string()))
            }
            ErrorKind::Unready => Self::unready(),
            ErrorKind::Full | ErrorKind::Constraint | ErrorKind::Other => Self::Internal(error.to_string()),
        }
    }
}

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::NotFound => Self::NotFound(ErrorCode::NotFound, "the resource does not exist".to_owned()),
            Rejection::KeyReused => Self::KeyReused,
            Rejection::Erased => Self::NotFound(ErrorCode::CallNotFound, "the call was erased".to_owned()),
            Rejection::Unfinished => {
                let message = "the call is being erased or restored; try again shortly";
                Self::Unavailable(ErrorCode::CallLocked, message, None)
            }
            Rejection::Elements(bad) => {
                let problems: Vec<_> = bad.iter().map(BadElement::problem).collect();
                // Another driver's phone number is a conflict that may end; a driver that does not exist is an invalid
                // field.
                if bad.iter().all(|element| matches!(element.why, BadLink::PhoneTaken(_))) {
                    Self::Conflict(join_errors(&problems))
                } else {
                    Self::fields(&problems)
                }
            }
            Rejection::Unfit(problem) => Self::fields(&[problem]),
            Rejection::Outdated => Self::Internal("a plan was stored as a request".to_owned()),
            Rejection::EndsBeforeStart { start } => {
                Self::field("call_end_time", format_args!("must not be before the call's start, {start}"))
            }
        }
    }
}

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Overloaded => {
                Self::Unavailable(ErrorCode::QueueFull, "too many writes are queued; try again shortly", None)
            }
            WriteError::Stopping => Self::stopping(),
            WriteError::Rejected(rejection) => rejection.into(),
            WriteError::Failed(error) if error.kind() == ErrorKind::Unready => Self::unready(),
            // A sender may always retry, no matter who holds the lock.
            WriteError::Failed(error) => Self::Internal(error.to_string()),
        }
    }
}

/// The statuses that an operation's document lists.
pub trait StatusSet: Send + Sync + 'static {
    /// The statuses, in ascending order.
    const STATUSES: &'static [u16];
}

/// An [`ApiError`] of an operation that lists the statuses of `L`.
pub struct Errors<L>(ApiError, PhantomData<L>);

impl<L: StatusSet> From<ApiError> for Errors<L> {
    fn from(error: ApiError) -> Self {
        debug_assert!(L::STATUSES.contains(&error.status().as_u16()), "{error} is not in the operation's document");
        Self(error, PhantomData)
    }
}

impl<L: StatusSet> From<WriteError> for Errors<L> {
    fn from(error: WriteError) -> Self {
        ApiError::from(error).into()
    }
}

impl<L> From<Errors<L>> for poem::Error {
    fn from(refused: Errors<L>) -> Self {
        refused.0.into()
    }
}

impl<L: StatusSet> ApiResponse for Errors<L> {
    fn meta() -> MetaResponses {
        MetaResponses { responses: L::STATUSES.iter().map(|&status| response(status)).collect() }
    }

    fn register(registry: &mut Registry) {
        ErrorBody::register(registry);
    }
}

/// Returns the error responses that [`super::auth`] can send instead of the response of an operation that requires a
/// token.
pub(super) fn access_responses() -> [MetaResponse; 2] {
    [response(401), response(429)]
}

/// Returns the error response that [`super::auth`] can send instead of the response of an operation that requires a
/// role.
pub(super) fn role_response() -> MetaResponse {
    response(403)
}

fn response(status: u16) -> MetaResponse {
    let headers = match status {
        401 => vec![header("WWW-Authenticate", "The accepted authentication scheme.", String::schema_ref())],
        429 | 503 => vec![header("Retry-After", "Seconds to wait before a retry.", u32::schema_ref())],
        _ => Vec::new(),
    };
    MetaResponse {
        description: description(status),
        status: Some(status),
        status_range: None,
        content: vec![MetaMediaType {
            content_type: Json::<ErrorBody>::CONTENT_TYPE,
            schema: Json::<ErrorBody>::schema_ref(),
        }],
        headers,
    }
}

fn header(name: &str, description: &str, schema: MetaSchemaRef) -> MetaHeader {
    let (name, description) = (name.to_owned(), Some(description.to_owned()));
    MetaHeader { name, description, required: true, deprecated: false, schema }
}

fn description(status: u16) -> &'static str {
    match status {
        400 => "Invalid request; `details` names the field and its rule.",
        401 => "The credentials or the signature are missing or invalid; `details` says which.",
        403 => "The role of the token or user does not allow the request; `details` says which role does.",
        404 => "Not found.",
        409 => "Conflict with stored data; `details` describes it.",
        413 => "The body is too large.",
        415 => "The content type is not JSON, or the `Content-Encoding` is not supported.",
        416 => "The range is outside of the recording; the header `Content-Range` has the recording's size in bytes.",
        422 => "The delivery key was used before, in this conversation, for another turn.",
        429 => "Too many requests from this address failed with 401 in the last minute.",
        500 => "Internal error. Nothing was stored; the log has the cause.",
        503 => {
            "The service is overloaded or stopping, the call is being erased, or the database is not writable; try \
             again. Nothing was stored, unless `details` says otherwise."
        }
        _ => "The request failed.",
    }
}

/// Declares a [`StatusSet`] for a group of operations.
macro_rules! status_sets {
    ($($(#[$doc:meta])* $name:ident = $statuses:expr;)+) => {$(
        $(#[$doc])*
        pub enum $name {}

        impl StatusSet for $name {
            const STATUSES: &'static [u16] = &$statuses;
        }
    )+};
}

status_sets! {
    /// Error statuses of the turn webhook.
    DeliveryErrors = [400, 413, 415, 422, 500, 503];
    /// Error statuses of the post-call webhook.
    PostCallErrors = [400, 401, 413, 415, 500, 503];
    /// Error statuses of lists.
    ListErrors = [400, 500, 503];
    /// Error statuses of reading or deleting one resource.
    ReadErrors = [400, 404, 500, 503];
    /// Error statuses of recordings.
    AudioErrors = [400, 404, 416, 500];
    /// Error statuses of storing a resource that cannot conflict with others.
    RecordErrors = [400, 413, 415, 500, 503];
    /// Error statuses of creating or replacing a resource.
    PutErrors = [400, 409, 413, 415, 500, 503];
    /// Error statuses of changing a resource.
    ChangeErrors = [400, 404, 413, 415, 500, 503];
    /// Error statuses of sign-in.
    SignInErrors = [400, 401, 403, 413, 415, 429, 500];
    /// Error statuses of the readiness check.
    ReadinessErrors = [500, 503];
}
