//! A client of the platform's API, for what it knows about calls that its webhooks did not bring.
//!
//! Three reads: the list of conversations, page by page; one conversation; one batch of calls. What hinders a request for
//! a while (429, 5xx, a connection that breaks) is tried again with growing pauses, or after the pause that the platform
//! asks for by `Retry-After`. Redirects are not followed, since the key goes with each request.

use crate::domain::Invalid;
use crate::domain::repair;
use crate::secret::Secret;
use backon::{BlockingRetryable as _, ExponentialBuilder};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use ureq::http::Uri;

/// Where the platform's API is, unless a region of its own is used.
pub const BASE_URL: &str = "https://api.elevenlabs.io";

/// Greatest length of an answer, in bytes.
const MAX_ANSWER: u64 = 64 << 20;

/// The platform's greatest page.
const PAGE_SIZE: u32 = 100;

/// Greatest pause that the platform may ask for.
const MAX_ASKED_PAUSE: Duration = Duration::from_mins(5);

/// Everything but what RFC 3986 leaves unreserved.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Why the platform did not answer what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientError {
    /// 404: it does not know it, or no longer.
    NotFound,
    /// It does not accept the key, or the key may not read this (401, 403).
    KeyRefused(u16),
    /// Another status than 200, after all attempts where it was one that may pass.
    Status(u16),
    /// It asks for a longer pause than this is ready to make, in seconds.
    AsksToWait(u64),
    /// It could not be reached, or broke off, in all attempts.
    Unreachable(String),
    /// The answer is not as described.
    Malformed(&'static str),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("the platform does not know it (404)"),
            Self::KeyRefused(status) => write!(f, "the platform refuses the API key ({status})"),
            Self::Status(status) => write!(f, "the platform answered {status}"),
            Self::AsksToWait(seconds) => write!(f, "the platform asks to wait {seconds} seconds; try again later"),
            Self::Unreachable(why) => write!(f, "the platform could not be reached: {why}"),
            Self::Malformed(what) => write!(f, "the platform's answer cannot be read: {what}"),
        }
    }
}

impl std::error::Error for ClientError {}

/// How long a request is tried.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How often a request is repeated after it failed.
    pub retries: usize,
    /// The first pause; each further one is twice as long, up to a minute, less or more by chance.
    pub pause: Duration,
    /// How long one attempt may take.
    pub timeout: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { retries: 6, pause: Duration::from_secs(1), timeout: Duration::from_mins(1) }
    }
}

/// One conversation in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The platform's name for it.
    pub conversation_id: String,
    /// `initiated`, `in-progress`, `processing`, `done` or `failed`, so far.
    pub status: Option<String>,
    /// How many messages it has, so far.
    pub message_count: Option<i64>,
}

impl Listed {
    /// Whether the platform has nothing more to say about it.
    pub fn is_final(&self) -> bool {
        matches!(self.status.as_deref(), Some("done" | "failed"))
    }
}

/// One page of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its conversations, in the platform's order: the newest first.
    pub conversations: Vec<Listed>,
    /// What gives the next page, if there is one.
    pub next_cursor: Option<String>,
}

/// Asks the platform.
pub struct Client {
    agent: ureq::Agent,
    base_url: String,
    key: Secret,
    patience: Patience,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.base_url)
    }
}

impl Client {
    /// A client of the API below `base_url`, such as [`BASE_URL`].
    ///
    /// # Errors
    /// No `https` URL of a host; `http` is taken for this machine itself only, since the key would be readable.
    pub fn new(base_url: &str, key: Secret, patience: Patience) -> Result<Self, Invalid> {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(patience.timeout))
            .user_agent(concat!("transcribe-hook/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Ok(Self { agent, base_url: check_base_url(base_url, true)?, key, patience })
    }

    /// A page of the conversations that started at `since` or later, in seconds since 1970.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn list(&self, since: Option<i64>, cursor: Option<&str>) -> Result<Page, ClientError> {
        let since = since.map_or(String::new(), |since| format!("&call_start_after_unix={since}"));
        let cursor_given = cursor.map_or(String::new(), |cursor| format!("&cursor={}", escaped(cursor)));
        let path = format!("/v1/convai/conversations?page_size={PAGE_SIZE}{since}{cursor_given}");
        let answer = parsed(&self.get(&path)?)?;
        let conversations = answer["conversations"]
            .as_array()
            .ok_or(ClientError::Malformed("there are no conversations in the list"))?
            .iter()
            // One that has no name cannot be asked for.
            .filter_map(|listed| {
                let text = |field: &str| listed[field].as_str().map(str::to_owned);
                Some(Listed {
                    conversation_id: text("conversation_id")?,
                    status: text("status"),
                    message_count: listed["message_count"].as_i64(),
                })
            })
            .collect();
        let more = answer["has_more"].as_bool() != Some(false);
        let next_cursor = answer["next_cursor"].as_str().filter(|next| more && !next.is_empty()).map(str::to_owned);
        if next_cursor.is_some() && next_cursor.as_deref() == cursor {
            return Err(ClientError::Malformed("the list does not go on: its next page is the same one"));
        }
        Ok(Page { conversations, next_cursor })
    }

    /// One conversation, as the platform has it: the JSON object that is also the `data` of its post-call event.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn conversation(&self, id: &str) -> Result<Value, ClientError> {
        parsed(&self.get(&format!("/v1/convai/conversations/{}", escaped(id)))?)
    }

    /// One batch of calls with its recipients.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn batch(&self, id: &str) -> Result<Value, ClientError> {
        parsed(&self.get(&format!("/v1/convai/batch-calling/{}", escaped(id)))?)
    }

    fn get(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        let backoff = ExponentialBuilder::new()
            .with_min_delay(self.patience.pause)
            .with_max_delay(Duration::from_mins(1))
            .with_max_times(self.patience.retries)
            .with_jitter();
        // What the platform asks for goes before what the library would choose.
        let asked = Rc::new(Cell::new(None));
        let wanted = asked.clone();
        let attempt = || self.attempt(path);
        attempt
            .retry(backoff)
            .when(|failure: &Failure| failure.may_pass)
            .notify(|failure, pause| {
                asked.set(failure.asked);
                let pause = failure.asked.unwrap_or(pause);
                tracing::warn!(error = %failure.error, ?pause, "asking the platform again after a pause");
            })
            .sleep(move |pause| std::thread::sleep(wanted.take().unwrap_or(pause)))
            .call()
            .map_err(|failure| failure.error)
    }

    fn attempt(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let answered = self
            .agent
            .get(format!("{}{path}", self.base_url))
            .header("xi-api-key", self.key.reveal())
            .header("accept", "application/json")
            .call();
        let mut answer = answered.map_err(|error| Failure::of(&error))?;
        match answer.status().as_u16() {
            200 => answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec().map_err(|error| Failure::of(&error)),
            404 => Err(Failure::lasting(ClientError::NotFound)),
            status @ (401 | 403) => Err(Failure::lasting(ClientError::KeyRefused(status))),
            status @ (408 | 409 | 425 | 429 | 500..) => {
                let asked = answer.headers().get("retry-after").and_then(|value| pause_of(value.to_str().ok()?));
                match asked {
                    Some(asked) if asked > MAX_ASKED_PAUSE => {
                        Err(Failure::lasting(ClientError::AsksToWait(asked.as_secs())))
                    }
                    asked => Err(Failure { error: ClientError::Status(status), may_pass: true, asked }),
                }
            }
            status => Err(Failure::lasting(ClientError::Status(status))),
        }
    }
}

/// What went wrong in one attempt.
struct Failure {
    error: ClientError,
    may_pass: bool,
    /// The pause that the platform asks for.
    asked: Option<Duration>,
}

impl Failure {
    fn lasting(error: ClientError) -> Self {
        Self { error, may_pass: false, asked: None }
    }

    fn of(error: &ureq::Error) -> Self {
        use ureq::Error;
        let may_pass = matches!(
            error,
            Error::Io(_)
                | Error::Timeout(_)
                | Error::HostNotFound
                | Error::ConnectionFailed
                | Error::Protocol(_)
                | Error::ConnectProxyFailed(_)
                | Error::BodyStalled
        );
        let told = match error {
            Error::BodyExceedsLimit(_) => ClientError::Malformed("it is longer than 64 MiB"),
            error => ClientError::Unreachable(error.to_string()),
        };
        Self { error: told, may_pass, asked: None }
    }
}

fn parsed(answer: &[u8]) -> Result<Value, ClientError> {
    let (value, _) = repair::read::<Value>(answer).map_err(|_| ClientError::Malformed("it is not JSON"))?;
    if value.is_object() { Ok(value) } else { Err(ClientError::Malformed("it is not a JSON object")) }
}

fn escaped(text: &str) -> impl fmt::Display {
    utf8_percent_encode(text, IN_PATH)
}

/// The pause that a `Retry-After` asks for: seconds, or a date.
fn pause_of(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Checks the URL below which an API is, and takes a slash off its end.
///
/// # Errors
/// Anything but `https://` and a host, with or without port and path. `http://` is taken for this machine's own addresses
/// if `loopback_too`.
pub fn check_base_url(text: &str, loopback_too: bool) -> Result<String, Invalid> {
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
        let checked = |text| check_base_url(text, true).ok();
        assert_eq!(checked("https://api.elevenlabs.io/").as_deref(), Some("https://api.elevenlabs.io"));
        assert_eq!(checked(" https://h:444/below/ ").as_deref(), Some("https://h:444/below"));
        assert_eq!(checked("http://127.0.0.1:9").as_deref(), Some("http://127.0.0.1:9"));
        assert_eq!(checked("http://[::1]:9").as_deref(), Some("http://[::1]:9"));
        for bad in
            ["", "x", "ftp://h", "http://h", "http://127.0.0.1.h", "https://", "https://u:p@h", "https://h/?a=b", "/a"]
        {
            assert_eq!(checked(bad), None, "{bad}");
        }
        assert!(check_base_url("http://127.0.0.1:9", false).is_err());
    }

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_until_a_date() {
        assert_eq!(pause_of("7"), Some(Duration::from_secs(7)));
        assert_eq!(pause_of(" 0 "), Some(Duration::ZERO));
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        assert!((95..=100).contains(&pause_of(&soon).unwrap().as_secs()));
        assert_eq!(pause_of("Fri, 01 Jan 1999 00:00:00 GMT"), Some(Duration::ZERO));
        for bad in ["", "soon", "-1", "1.5"] {
            assert_eq!(pause_of(bad), None, "{bad:?}");
        }
    }
}
