//! Sends signed notices.

use super::endpoint_url::EndpointUrl;
use super::signing_key::{SigningKey, signatures};
use crate::domain::Timestamp;
use crate::domain::is_loopback;
use crate::elevenlabs::client::parse_retry_after;
use std::io::Read as _;
use std::time::{Duration, Instant};

/// Maximum time of a request, from connecting to the end of the answer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Maximum time until the body of an answer is read. The status is known by then, so a slow body must not delay the
/// next notice.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum length of an answer that is read, in bytes. The connection of a longer one is closed.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// The answer of a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status, if there was an answer.
    pub status: Option<u16>,
    /// Pause in `Retry-After`.
    pub(super) retry_after: Option<Duration>,
    /// Reason why there was no answer.
    pub error: Option<String>,
    /// Duration of the request.
    pub duration: Duration,
}

impl Answer {
    /// Returns whether the receiver has the notice.
    pub fn is_success(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }

    /// Returns whether the receiver wants no more notices.
    pub(super) fn is_gone(&self) -> bool {
        self.status == Some(410)
    }

    /// Returns the pause that an overloaded receiver asks for.
    pub(super) fn overload_pause(&self) -> Option<Duration> {
        self.retry_after.filter(|_| matches!(self.status, Some(429 | 503)))
    }
}

/// A client with connections of its own.
#[derive(Debug)]
pub(super) struct Sender {
    agent: ureq::Agent,
    keys: Vec<SigningKey>,
}

impl Sender {
    pub(super) fn new(keys: Vec<SigningKey>) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(TIMEOUT))
            .timeout_recv_body(Some(BODY_TIMEOUT))
            .user_agent(concat!("transcribe-hook/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Self { agent, keys }
    }

    /// Sends a notice once.
    pub(super) fn send(&self, url: &EndpointUrl, id: &str, body: &[u8]) -> Answer {
        let start = Instant::now();
        let timestamp = Timestamp::now().unix_micros().div_euclid(1_000_000);
        let mut post = self.agent.post(url.expose());
        // A proxy is not asked for what is on this machine.
        if is_loopback(url.expose().authority().map_or("", |authority| authority.as_str())) {
            post = post.config().proxy(None).build();
        }
        let sent = post
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp.to_string())
            .header("webhook-signature", signatures(&self.keys, id, timestamp, body))
            .send(body);
        let (status, retry_after, error) = match sent {
            Ok(mut answer) => {
                let header = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
                let retry_after = header.and_then(parse_retry_after);
                // The status counts. What is read to its end leaves the connection usable.
                let _ = std::io::copy(&mut answer.body_mut().as_reader().take(MAX_ANSWER_BYTES), &mut std::io::sink());
                (Some(answer.status().as_u16()), retry_after, None)
            }
            Err(error) => (None, None, Some(describe(&error))),
        };
        Answer { status, retry_after, error, duration: start.elapsed() }
    }
}

/// Describes an error in few words, without the URL.
fn describe(error: &ureq::Error) -> String {
    use ureq::Error;
    match error {
        Error::Io(error) => error.kind().to_string(),
        Error::Timeout(_) => format!("no answer within {} s", TIMEOUT.as_secs()),
        Error::HostNotFound => "host not found".to_owned(),
        Error::ConnectionFailed => "connection failed".to_owned(),
        Error::Rustls(error) => format!("TLS: {error}"),
        Error::Protocol(_) => "not an HTTP answer".to_owned(),
        _ => "request failed".to_owned(),
    }
}
