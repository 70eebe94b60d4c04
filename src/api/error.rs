//! What is answered when a request cannot be done: one error type, one variant a status, one body for all.
//!
//! Handlers return [`Refused`], which only adds which statuses the document lists for an operation. The body is made in
//! one place, by the server's outermost layer, which knows the request's id and also gives the framework's own errors
//! (no such path, wrong method, unreadable parameter) this shape.

use crate::domain::validation::{Problem, describe};
use crate::ingest::WriteError;
use crate::store::{self, BadElement, BadLink, ErrorKind, Rejection};
use poem::http::StatusCode;
use poem_openapi::payload::Payload as _;
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry};
use poem_openapi::types::{Example, Type as _};
use poem_openapi::{ApiResponse, Object, payload::Json};
use std::marker::PhantomData;

/// What an error answers with, on every path.
#[derive(Debug, Object)]
#[oai(example)]
pub struct ErrorBody {
    /// Always `error`.
    pub status: String,
    /// What went wrong, for a person.
    pub message: String,
    /// More, where there is more to say: for a bad request each field and the rule that it breaks.
    #[oai(nullable)]
    pub details: Option<String>,
    /// The same as in the `X-Request-Id` header and in the log.
    pub request_id: String,
}

impl Example for ErrorBody {
    fn example() -> Self {
        Self {
            status: "error".to_owned(),
            message: "the request is not valid".to_owned(),
            details: Some("speaker: must be exactly \"agent\" or \"user\"".to_owned()),
            request_id: "5f0c6e4d9b3a1c72".to_owned(),
        }
    }
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiError {
    /// 400: the request breaks a rule; the text names the field and the rule.
    BadRequest(String),
    /// 401: the request does not show that it comes from whom it should.
    Unauthorized {
        /// What is missing or wrong.
        details: String,
        /// What the header `WWW-Authenticate` says: in which way it can be shown.
        challenge: &'static str,
    },
    /// 404: there is no such thing, which the text names.
    NotFound(String),
    /// 405: the path takes other methods, which the text lists.
    MethodNotAllowed(String),
    /// 409: what is stored stands in the way; the text says what.
    Conflict(String),
    /// 413: the body is longer than this many bytes.
    TooLarge(usize),
    /// 415: the body is not said to be JSON.
    NotJson(String),
    /// 415: the body is packed in a way that is not read here, which the text names.
    UnknownCoding(String),
    /// 416: the recording, which has this many bytes, has none of those that were asked for.
    NoSuchPart(u64),
    /// 422: the delivery key was used for another turn.
    KeyReused,
    /// 429: too many requests of this address were refused; in so many seconds the next is told why again.
    TooManyRefused(u32),
    /// 500: the text is the cause, for the log only.
    Internal(String),
    /// 503: too much waits, or the service stops. The text is for a person; the other one, for the log, is a cause.
    Unavailable(&'static str, Option<String>),
    /// 503: a part was done, which the text tells the client; to ask again goes on.
    Unfinished(String),
}

/// How long a refused sender should wait, in seconds: some commits' time.
const RETRY_AFTER_SECONDS: u32 = 1;

impl ApiError {
    /// The status that says so.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized { .. } => StatusCode::UNAUTHORIZED,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotJson(_) | Self::UnknownCoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NoSuchPart(_) => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyRefused(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable(..) | Self::Unfinished(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What the log is told beside the status; the client is not.
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Internal(cause) => Some(cause),
            Self::Unavailable(_, cause) => cause.as_deref(),
            _ => None,
        }
    }

    /// Seconds for a `Retry-After` header.
    pub fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Unavailable(..) | Self::Unfinished(_) => Some(RETRY_AFTER_SECONDS),
            Self::TooManyRefused(seconds) => Some(*seconds),
            _ => None,
        }
    }

    /// The value of a `WWW-Authenticate` header.
    pub fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::Unauthorized { challenge, .. } => Some(challenge),
            _ => None,
        }
    }

    /// A token is needed, and none came.
    pub(super) fn no_token(details: &str) -> Self {
        Self::Unauthorized { details: details.to_owned(), challenge: "Bearer realm=\"transcribe-hook\"" }
    }

    /// A token came that is none.
    pub(super) fn wrong_token(details: &str) -> Self {
        let challenge = "Bearer realm=\"transcribe-hook\", error=\"invalid_token\"";
        Self::Unauthorized { details: details.to_owned(), challenge }
    }

    /// The body.
    pub fn body(&self, request_id: &str) -> ErrorBody {
        let (message, details) = match self {
            Self::BadRequest(details) => ("the request is not valid", Some(details.clone())),
            Self::Unauthorized { details, .. } => ("the request is not authorized", Some(details.clone())),
            Self::NotFound(details) => ("there is no such thing here", Some(details.clone())),
            Self::MethodNotAllowed(details) => ("the method is not allowed here", Some(details.clone())),
            Self::Conflict(details) => ("the request conflicts with what is stored", Some(details.clone())),
            Self::TooLarge(limit) => ("the body is too large", Some(format!("the body must be at most {limit} bytes"))),
            Self::NotJson(details) => ("the body must be JSON", Some(details.clone())),
            Self::UnknownCoding(coding) => (
                "the body's encoding is not supported",
                Some(format!("the header Content-Encoding must be gzip, deflate or absent, got {coding}")),
            ),
            Self::NoSuchPart(length) => {
                ("there is no such part", Some(format!("Range: must begin within the {length} bytes that there are")))
            }
            Self::KeyReused => (
                "the delivery key was used for another turn",
                Some(
                    "the same key came before, in this conversation, with another speaker, message or timestamp"
                        .to_owned(),
                ),
            ),
            Self::TooManyRefused(_) => (
                "too many requests from your address were refused",
                Some("what shows no right token is not looked at for some seconds".to_owned()),
            ),
            Self::Internal(_) => ("the service failed; nothing was stored", None),
            Self::Unavailable(message, _) => (*message, None),
            Self::Unfinished(details) => ("only a part was done; try again to go on", Some(details.clone())),
        };
        ErrorBody {
            status: "error".to_owned(),
            message: message.to_owned(),
            details,
            request_id: request_id.to_owned(),
        }
    }

    /// Why a write was not done; what it did not find is named by `missing`.
    pub fn of_write(error: WriteError, missing: impl FnOnce() -> Self) -> Self {
        match error {
            WriteError::Rejected(Rejection::NotFound) => missing(),
            error => error.into(),
        }
    }

    /// The store says in the log, once, why it cannot be used.
    fn unready() -> Self {
        Self::Unavailable("the database cannot be written now; try again later", None)
    }

    /// What it means that a thing that was just stored is not there: somebody else has deleted it since.
    pub(super) fn after_a_write(self) -> Self {
        match self {
            Self::NotFound(_) => Self::Unavailable("it was deleted while it was being stored; try again", None),
            other => other,
        }
    }

    /// A field that breaks a rule.
    pub fn field(field: &str, rule: impl std::fmt::Display) -> Self {
        Self::BadRequest(format!("{field}: {rule}"))
    }

    /// Fields that break rules.
    pub fn fields(problems: &[Problem]) -> Self {
        Self::BadRequest(describe(problems))
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.status())
    }
}

impl std::error::Error for ApiError {}

impl From<ApiError> for poem::Error {
    fn from(error: ApiError) -> Self {
        let status = error.status();
        Self::new(error, status)
    }
}

/// Of reading; what a write's failure means is said by [`WriteError`].
impl From<store::Error> for ApiError {
    fn from(error: store::Error) -> Self {
        match error.kind() {
            ErrorKind::TooSlow => {
                Self::Unavailable("the query took too long; narrow it, by time for example", Some(error.to_string()))
            }
            ErrorKind::Busy => Self::Unavailable("too much is being read; try again shortly", Some(error.to_string())),
            ErrorKind::Unready => Self::unready(),
            ErrorKind::Full | ErrorKind::Other => Self::Internal(error.to_string()),
        }
    }
}

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::NotFound => Self::NotFound("it does not exist".to_owned()),
            Rejection::KeyReused => Self::KeyReused,
            Rejection::Erased => Self::NotFound("the call was erased".to_owned()),
            Rejection::Unfinished => Self::Unavailable("the call is being erased or restored; try again shortly", None),
            Rejection::Elements(bad) => {
                let problems: Vec<_> = bad.iter().map(BadElement::problem).collect();
                // A number that is another's is a conflict that may end; a driver who is not there is a wrong field.
                if bad.iter().all(|element| matches!(element.why, BadLink::PhoneTaken(_))) {
                    Self::Conflict(describe(&problems))
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
            WriteError::Overloaded => Self::Unavailable("too much is waiting to be stored; try again shortly", None),
            WriteError::Stopping => Self::Unavailable("the service is stopping; try again shortly", None),
            WriteError::Rejected(rejection) => rejection.into(),
            WriteError::Failed(error) if error.kind() == ErrorKind::Unready => Self::unready(),
            // Whoever holds the lock, a sender may always try again.
            WriteError::Failed(error) => Self::Internal(error.to_string()),
        }
    }
}

/// Which errors an operation's document lists.
pub trait Listed: Send + Sync + 'static {
    /// The statuses, in ascending order.
    const STATUSES: &'static [u16];
}

/// An [`ApiError`] of an operation that lists `L`.
pub struct Refused<L>(ApiError, PhantomData<L>);

impl<L: Listed> From<ApiError> for Refused<L> {
    fn from(error: ApiError) -> Self {
        debug_assert!(L::STATUSES.contains(&error.status().as_u16()), "{error} is not in the operation's document");
        Self(error, PhantomData)
    }
}

impl<L: Listed> From<WriteError> for Refused<L> {
    fn from(error: WriteError) -> Self {
        ApiError::from(error).into()
    }
}

impl<L> From<Refused<L>> for poem::Error {
    fn from(refused: Refused<L>) -> Self {
        refused.0.into()
    }
}

impl<L: Listed> ApiResponse for Refused<L> {
    fn meta() -> MetaResponses {
        MetaResponses { responses: L::STATUSES.iter().map(|&status| response(status)).collect() }
    }

    fn register(registry: &mut Registry) {
        ErrorBody::register(registry);
    }
}

/// What [`super::auth`] answers in place of an operation.
pub(super) fn access_responses() -> [MetaResponse; 2] {
    [response(401), response(429)]
}

fn response(status: u16) -> MetaResponse {
    let headers = match status {
        401 => vec![header("WWW-Authenticate", "In which way it can be shown.", String::schema_ref())],
        429 | 503 => vec![header("Retry-After", "Seconds after which to try again.", u32::schema_ref())],
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
        400 => "The request breaks a rule; `details` names the field and the rule.",
        401 => "The request does not show that it comes from whom it should; `details` says what is missing or wrong.",
        404 => "There is no such thing.",
        409 => "What is stored stands in the way; `details` says what.",
        413 => "The body is too large.",
        415 => "The body is not said to be JSON, or its `Content-Encoding` is not supported.",
        416 => "There is no such part; the header `Content-Range` says how many bytes there are.",
        422 => "The delivery key was used before, in this conversation, for another turn.",
        429 => "Too many requests of this address were refused with 401 in the last minute.",
        500 => "The database failed. Nothing was stored; the cause is in the log.",
        503 => {
            "Too much is waiting, the service is stopping, the call is being erased, or the database cannot be written now; try \
             again. Nothing was stored, unless `details` says what was done."
        }
        _ => "The request was not done.",
    }
}

/// Declares a [`Listed`] for a group of operations.
macro_rules! listed {
    ($($(#[$doc:meta])* $name:ident = $statuses:expr;)+) => {$(
        $(#[$doc])*
        pub enum $name {}

        impl Listed for $name {
            const STATUSES: &'static [u16] = &$statuses;
        }
    )+};
}

listed! {
    /// Of a delivery.
    Delivery = [400, 413, 415, 422, 500, 503];
    /// Of an event after a call.
    PostCall = [400, 401, 413, 415, 500, 503];
    /// Of a list.
    List = [400, 500, 503];
    /// Of reading one thing by its name.
    Read = [400, 404, 500, 503];
    /// Of a recording.
    Audio = [400, 404, 416, 500];
    /// Of creating or replacing a thing that nothing else can stand in the way of.
    Record = [400, 413, 415, 500, 503];
    /// Of creating or replacing a thing.
    Put = [400, 409, 413, 415, 500, 503];
    /// Of changing a thing.
    Change = [400, 404, 413, 415, 500, 503];
    /// Of signing in.
    SignIn = [400, 401, 413, 415, 429, 500];
    /// Of asking whether the service is ready.
    Readiness = [500, 503];
}
