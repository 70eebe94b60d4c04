//! A client of the ElevenLabs API, for calls that no webhook delivered.
//!
//! It reads the list of conversations, page by page, one conversation, and one batch of calls. Transient failures (429,
//! 5xx, broken connections) are retried with exponential backoff, or after the pause in `Retry-After`. Redirects are
//! not followed, because every request carries the key.

use crate::domain::{Invalid, is_loopback_url, repair, shown_url};
use crate::secret::Secret;
use backon::{BlockingRetryable as _, ExponentialBuilder};
use parking_lot::Mutex;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use ureq::http::Uri;

/// Default URL of the ElevenLabs API. Regions have their own.
pub const BASE_URL: &str = "https://api.elevenlabs.io";

/// Maximum size of a response, in bytes.
const MAX_RESPONSE_BYTES: u64 = 64 << 20;

/// Timeout of finding the address of the API, and of connecting to it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Page size of lists; the maximum of ElevenLabs.
const PAGE_SIZE: u32 = 100;

/// Maximum pause that is accepted from `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(5);

/// Characters that are escaped in a path: all except the unreserved ones of RFC 3986.
const PATH_ESCAPES: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An error of a request to ElevenLabs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// ElevenLabs does not know the resource, or no longer (404).
    #[error("not found at ElevenLabs (404)")]
    NotFound,
    /// The key is not accepted, or may not read the resource (401, 403).
    #[error("ElevenLabs refuses the API key ({0})")]
    Unauthorized(u16),
    /// Another status than 200. If it was a transient one, in the last attempt.
    #[error("ElevenLabs responded {0}")]
    Status(u16),
    /// `Retry-After` exceeds the accepted maximum; in seconds.
    #[error("ElevenLabs requests a pause of {0} seconds; try again later")]
    RateLimited(u64),
    /// No connection, or a broken one, in the last attempt.
    #[error("cannot reach ElevenLabs: {0}")]
    Unreachable(String),
    /// The first request could not connect, and the policy is not to retry that.
    #[error("cannot connect to ElevenLabs at {url}: {cause}")]
    NotConnected {
        /// URL of the API, without secrets.
        url: String,
        /// Error of the connection.
        cause: String,
    },
    /// The response does not have the documented form.
    #[error("cannot read the response of ElevenLabs: {0}")]
    Malformed(&'static str),
}

/// The retry policy of requests.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// Maximum number of retries of a request.
    pub retries: usize,
    /// First pause. Each further one is twice as long, up to a minute, with jitter.
    pub pause: Duration,
    /// Timeout of one attempt.
    pub timeout: Duration,
    /// True if a request that cannot connect is not retried until there was a first response, because the URL is
    /// probably wrong, and a person waits.
    pub fails_unconnected: bool,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { retries: 6, pause: Duration::from_secs(1), timeout: Duration::from_mins(1), fails_unconnected: false }
    }
}

/// One conversation in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationSummary {
    /// Conversation id.
    pub conversation_id: String,
    /// Current status: `initiated`, `in-progress`, `processing`, `done` or `failed`.
    pub status: Option<String>,
    /// Current number of messages.
    pub message_count: Option<i64>,
}

impl ConversationSummary {
    /// Returns whether the conversation will not change any more.
    pub fn is_final(&self) -> bool {
        matches!(self.status.as_deref(), Some("done" | "failed"))
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationPage {
    /// Conversations, the newest first.
    pub conversations: Vec<ConversationSummary>,
    /// Cursor of the next page, if there is one.
    pub next_cursor: Option<String>,
}

/// A blocking client of the ElevenLabs API.
pub struct Client {
    agent: ureq::Agent,
    base_url: String,
    key: Secret,
    patience: RetryPolicy,
    /// Lead of ElevenLabs' clock over this one at the last response, in seconds.
    clock_lead: Mutex<Option<i64>>,
    /// True after the first response.
    has_connected: AtomicBool,
}

/// A method that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// Create.
    Post,
    /// Change.
    Patch,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", shown_url(&self.base_url))
    }
}

impl Client {
    /// Creates a client of the API at `base_url`, such as [`BASE_URL`].
    ///
    /// # Errors
    /// The URL is not `https` with a host. `http` is only accepted for this machine, because it exposes the key.
    pub fn new(base_url: &str, key: Secret, patience: RetryPolicy) -> Result<Self, Invalid> {
        let agent = ureq::Agent::config_builder()
            // A proxy must not see the key on its way to this machine.
            .proxy(if is_loopback_url(base_url) { None } else { ureq::Proxy::try_from_env() })
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(patience.timeout))
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .user_agent(concat!("transcribe-hook/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Ok(Self {
            agent,
            base_url: parse_base_url(base_url, PlainHttp::OnLoopback)?,
            key,
            patience,
            clock_lead: Mutex::new(None),
            has_connected: AtomicBool::new(false),
        })
    }

    /// Returns a page of the conversations that started at `since` or later, in seconds since 1970.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn list(&self, since: Option<i64>, cursor: Option<&str>) -> Result<ConversationPage, ClientError> {
        let since = since.map_or(String::new(), |since| format!("&call_start_after_unix={since}"));
        let cursor_given = cursor.map_or(String::new(), |cursor| format!("&cursor={}", escaped(cursor)));
        let path = format!("/v1/convai/conversations?page_size={PAGE_SIZE}{since}{cursor_given}");
        let answer = parsed(&self.get(&path)?)?;
        let conversations = answer["conversations"]
            .as_array()
            .ok_or(ClientError::Malformed("no field conversations"))?
            .iter()
            // A conversation without an id cannot be fetched.
            .filter_map(|listed| {
                let text = |field: &str| listed[field].as_str().map(str::to_owned);
                Some(ConversationSummary {
                    conversation_id: text("conversation_id")?,
                    status: text("status"),
                    message_count: listed["message_count"].as_i64(),
                })
            })
            .collect();
        let more = answer["has_more"].as_bool() != Some(false);
        let next_cursor = answer["next_cursor"].as_str().filter(|next| more && !next.is_empty()).map(str::to_owned);
        if next_cursor.is_some() && next_cursor.as_deref() == cursor {
            return Err(ClientError::Malformed("the cursor of the next page is the present one"));
        }
        Ok(ConversationPage { conversations, next_cursor })
    }

    /// Returns a conversation: the JSON object that is also the `data` of its post-call event.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn conversation(&self, id: &str) -> Result<Value, ClientError> {
        parsed(&self.get(&format!("/v1/convai/conversations/{}", escaped(id)))?)
    }

    /// Returns a batch of calls with its recipients.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn batch(&self, id: &str) -> Result<Value, ClientError> {
        parsed(&self.get(&format!("/v1/convai/batch-calling/{}", escaped(id)))?)
    }

    /// Returns the lead of ElevenLabs' clock over this one at the last response, in seconds, by its header `Date`.
    pub fn clock_lead_seconds(&self) -> Option<i64> {
        *self.clock_lead.lock()
    }

    /// Returns a resource, which is a JSON object.
    pub(super) fn read(&self, path: &str) -> Result<Value, ClientError> {
        parsed(&self.get(path)?)
    }

    /// Returns a page of a list.
    pub(super) fn read_page(&self, path: &str, cursor: Option<&str>) -> Result<Value, ClientError> {
        let cursor = cursor.map_or(String::new(), |cursor| format!("&cursor={}", escaped(cursor)));
        self.read(&format!("{path}?page_size={PAGE_SIZE}{cursor}"))
    }

    /// Changes a resource and returns the response. Not retried, because a change may have had its effect.
    pub(super) fn change(&self, method: Method, path: &str, body: &Value) -> Result<Value, ClientError> {
        let url = format!("{}{path}", self.base_url);
        let request = match method {
            Method::Post => self.agent.post(url),
            Method::Patch => self.agent.patch(url),
        };
        let request = request.header("xi-api-key", self.key.expose()).header("content-type", "application/json");
        let answered = request.send(body.to_string().as_bytes());
        let mut answer = answered.map_err(|error| AttemptError::from_transport(&error).error)?;
        match answer.status().as_u16() {
            200 | 201 => {
                let body = answer.body_mut().with_config().limit(MAX_RESPONSE_BYTES).read_to_vec();
                parsed(&body.map_err(|error| AttemptError::from_transport(&error).error)?)
            }
            404 => Err(ClientError::NotFound),
            status @ (401 | 403) => Err(ClientError::Unauthorized(status)),
            status => Err(ClientError::Status(status)),
        }
    }

    fn get(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        let backoff = ExponentialBuilder::new()
            .with_min_delay(self.patience.pause)
            .with_max_delay(Duration::from_mins(1))
            .with_max_times(self.patience.retries)
            .with_jitter();
        // `Retry-After` takes precedence over the backoff.
        let retry_after = Rc::new(Cell::new(None));
        let requested_pause = retry_after.clone();
        let attempt = || self.attempt(path);
        attempt
            .retry(backoff)
            .when(|failure: &AttemptError| failure.is_transient)
            .notify(|failure, pause| {
                retry_after.set(failure.retry_after);
                let pause = failure.retry_after.unwrap_or(pause);
                tracing::warn!(error = %failure.error, ?pause, "ElevenLabs API request failed; retrying");
            })
            .sleep(move |pause| std::thread::sleep(requested_pause.take().unwrap_or(pause)))
            .call()
            .map_err(|failure| failure.error)
    }

    /// Returns the error of an attempt without a response.
    fn attempt_error(&self, error: &ureq::Error) -> AttemptError {
        let is_first = self.patience.fails_unconnected && !self.has_connected.load(Ordering::Relaxed);
        if is_first && is_unconnected(error) {
            let (url, cause) = (shown_url(&self.base_url), error.to_string());
            return AttemptError::permanent(ClientError::NotConnected { url, cause });
        }
        AttemptError::from_transport(error)
    }

    fn attempt(&self, path: &str) -> Result<Vec<u8>, AttemptError> {
        let answered = self
            .agent
            .get(format!("{}{path}", self.base_url))
            .header("xi-api-key", self.key.expose())
            .header("accept", "application/json")
            .call();
        let mut answer = answered.map_err(|error| self.attempt_error(&error))?;
        self.has_connected.store(true, Ordering::Relaxed);
        let date = answer.headers().get("date").and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        if let Some(date) = date {
            *self.clock_lead.lock() = Some(lead_of(date, SystemTime::now()));
        }
        match answer.status().as_u16() {
            200 => answer
                .body_mut()
                .with_config()
                .limit(MAX_RESPONSE_BYTES)
                .read_to_vec()
                .map_err(|error| AttemptError::from_transport(&error)),
            404 => Err(AttemptError::permanent(ClientError::NotFound)),
            status @ (401 | 403) => Err(AttemptError::permanent(ClientError::Unauthorized(status))),
            status @ (408 | 409 | 425 | 429 | 500..) => {
                let retry_after =
                    answer.headers().get("retry-after").and_then(|value| parse_retry_after(value.to_str().ok()?));
                match retry_after {
                    Some(retry_after) if retry_after > MAX_RETRY_AFTER => {
                        Err(AttemptError::permanent(ClientError::RateLimited(retry_after.as_secs())))
                    }
                    retry_after => {
                        Err(AttemptError { error: ClientError::Status(status), is_transient: true, retry_after })
                    }
                }
            }
            status => Err(AttemptError::permanent(ClientError::Status(status))),
        }
    }
}

/// Returns whether a request failed before there was a connection.
fn is_unconnected(error: &ureq::Error) -> bool {
    use io::ErrorKind;
    match error {
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => true,
        // A name that cannot be resolved has no kind of its own, so the kinds of connections that broke are left out.
        // Data is invalid where TLS fails: a certificate of another name, or a port without TLS.
        ureq::Error::Io(error) => !matches!(
            error.kind(),
            ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof
                | ErrorKind::Interrupted
                | ErrorKind::TimedOut
                | ErrorKind::WouldBlock
        ),
        _ => false,
    }
}

/// An error of one attempt.
struct AttemptError {
    error: ClientError,
    is_transient: bool,
    /// Pause in `Retry-After`.
    retry_after: Option<Duration>,
}

impl AttemptError {
    fn permanent(error: ClientError) -> Self {
        Self { error, is_transient: false, retry_after: None }
    }

    fn from_transport(error: &ureq::Error) -> Self {
        use ureq::Error;
        let is_transient = matches!(
            error,
            Error::Io(_)
                | Error::Timeout(_)
                | Error::HostNotFound
                | Error::ConnectionFailed
                | Error::Protocol(_)
                | Error::ConnectProxyFailed(_)
                | Error::BodyStalled
        );
        let error = match error {
            Error::BodyExceedsLimit(_) => ClientError::Malformed("longer than 64 MiB"),
            error => ClientError::Unreachable(error.to_string()),
        };
        Self { error, is_transient, retry_after: None }
    }
}

fn parsed(answer: &[u8]) -> Result<Value, ClientError> {
    let (value, _) = repair::read::<Value>(answer).map_err(|_| ClientError::Malformed("not valid JSON"))?;
    if value.is_object() { Ok(value) } else { Err(ClientError::Malformed("not a JSON object")) }
}

/// Returns the lead of a clock over another one, in seconds.
fn lead_of(clock: SystemTime, other: SystemTime) -> i64 {
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match clock.duration_since(other) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => -seconds(behind.duration()),
    }
}

pub(super) fn escaped(text: &str) -> impl fmt::Display {
    utf8_percent_encode(text, PATH_ESCAPES)
}

/// Parses a `Retry-After`: seconds, or a date.
pub fn parse_retry_after(text: &str) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that is too large still means a long time, which the caller limits.
        return Some(Duration::from_secs(
            text.parse().map_or(LONGEST_SECONDS, |seconds: u64| seconds.min(LONGEST_SECONDS)),
        ));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Longest time that a server may ask to wait, in seconds.
const LONGEST_SECONDS: u64 = u32::MAX as u64;

/// Permission of a base URL with `http://`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainHttp {
    /// Only for this machine's own addresses.
    OnLoopback,
    /// For no address.
    Never,
}

/// Validates the base URL of an API, and removes trailing slashes.
///
/// # Errors
/// The URL is not `https://` and a host, optionally with a port and a path, and is not permitted by `plain_http`.
pub fn parse_base_url(text: &str, plain_http: PlainHttp) -> Result<String, Invalid> {
    let loopback_too = plain_http == PlainHttp::OnLoopback;
    let rule = || {
        let more = if loopback_too { "; http:// only for 127.0.0.1, [::1] and localhost" } else { "" };
        Invalid(format!("must be https:// and a host, such as https://calls.example.com{more}").into())
    };
    let uri: Uri = text.trim().trim_end_matches('/').parse().map_err(|_| rule())?;
    let host = uri.host().unwrap_or_default();
    let loopback = matches!(host, "127.0.0.1" | "[::1]" | "localhost");
    let scheme = uri.scheme_str().unwrap_or_default();
    let named = uri.authority().is_some_and(|authority| !authority.as_str().contains('@')) && !host.is_empty();
    if named && uri.query().is_none() && (scheme == "https" || (loopback_too && scheme == "http" && loopback)) {
        Ok(uri.to_string().trim_end_matches('/').to_owned())
    } else {
        Err(rule())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_https_or_this_machine() {
        let checked = |text| parse_base_url(text, PlainHttp::OnLoopback).ok();
        assert_eq!(checked("https://api.elevenlabs.io/").as_deref(), Some("https://api.elevenlabs.io"));
        assert_eq!(checked(" https://h:444/below/ ").as_deref(), Some("https://h:444/below"));
        assert_eq!(checked("http://127.0.0.1:9").as_deref(), Some("http://127.0.0.1:9"));
        assert_eq!(checked("http://[::1]:9").as_deref(), Some("http://[::1]:9"));
        for bad in
            ["", "x", "ftp://h", "http://h", "http://127.0.0.1.h", "https://", "https://u:p@h", "https://h/?a=b", "/a"]
        {
            assert_eq!(checked(bad), None, "{bad}");
        }
        assert!(parse_base_url("http://127.0.0.1:9", PlainHttp::Never).is_err());
    }

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_until_a_date() {
        assert_eq!(parse_retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(parse_retry_after(" 0 "), Some(Duration::ZERO));
        assert!(parse_retry_after("99999999999999999999999").unwrap() > Duration::from_hours(24));
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        assert!((95..=100).contains(&parse_retry_after(&soon).unwrap().as_secs()));
        assert_eq!(parse_retry_after("Fri, 01 Jan 1999 00:00:00 GMT"), Some(Duration::ZERO));
        for bad in ["", "soon", "-1", "1.5"] {
            assert_eq!(parse_retry_after(bad), None, "{bad:?}");
        }
    }
}
