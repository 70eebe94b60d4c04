//! Findings of `doctor` at the public address of the service: whether signed deliveries, long bodies and live streams
//! pass the proxy before it.

use crate::domain::{Timestamp, is_loopback_url, shown_url};
use crate::elevenlabs::TEST_EVENT_TYPE;
use crate::elevenlabs::signature::{HEADER, sign};
use crate::jobs::doctor::diagnosis::POST_CALL_PATH;
use crate::secret::Secret;
use crate::telemetry::findings::{Finding, Severity};
use serde_json::{Value, json};
use std::io::Read as _;
use std::time::Duration;

/// Timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Maximum time until a live stream begins.
const STREAM_TIMEOUT: Duration = Duration::from_secs(5);

/// Length of the long test delivery, in bytes: more than proxies accept by default.
const LONG_BODY_BYTES: usize = 2 << 20;

/// Maximum size of a response that is read, in bytes.
const MAX_RESPONSE_BYTES: u64 = 64 << 10;

/// Maximum length of an error's details that are shown, in characters.
const MAX_DETAILS_CHARS: usize = 300;

/// The service at its public address.
pub(super) struct PublicService {
    url: String,
    api_token: Option<Secret>,
}

/// A response, as far as it matters.
struct Response {
    status: u16,
    /// True if it is from the service itself, not from a proxy before it.
    is_ours: bool,
    details: String,
}

impl PublicService {
    pub(super) fn new(url: &str, api_token: Option<Secret>) -> Self {
        Self { url: url.to_owned(), api_token }
    }

    /// Returns what is found. Without a secret, deliveries cannot be tested.
    pub(super) fn findings(&self, secret: Option<&Secret>) -> Vec<Finding> {
        let ready = self.ready();
        if ready.severity != Severity::Ok {
            return vec![ready];
        }
        let mut findings = vec![ready];
        if let Some(secret) = secret {
            let delivery = self.delivery(secret);
            // A long delivery would fail for the same reason.
            let arrives = delivery.severity == Severity::Ok;
            findings.push(delivery);
            if arrives {
                findings.push(self.long_delivery(secret));
            }
        }
        findings.push(match &self.api_token {
            None => Finding::skipped(
                "stream",
                "live streams are not checked without an API token",
                "pass --api-token-file with a token of the service",
            ),
            Some(token) => self.stream(token),
        });
        findings
    }

    fn ready(&self) -> Finding {
        let shown = format!("{}/readyz", shown_url(&self.url));
        match response(agent(&self.url, TIMEOUT).get(format!("{}/readyz", self.url)).call()) {
            Ok(Response { status: 200, is_ours: true, .. }) => Finding::ok("public", format!("{shown} answers")),
            Ok(Response { status, is_ours: true, details }) => Finding::problem(
                "public",
                format!("{shown} answers {status} {details}"),
                "look at the log of the service",
            ),
            Ok(Response { status, .. }) => Finding::problem(
                "public",
                format!("{shown} answers {status}, and not by this service"),
                "let the proxy pass all paths on to the service, and check the URL",
            ),
            Err(error) => Finding::problem(
                "public",
                format!("{shown} is not reached: {error}"),
                "check the name, the certificate, the firewall, and that the service runs",
            ),
        }
    }

    /// Sends a signed event, which the service verifies and does not store.
    fn deliver(&self, secret: &Secret, length: usize) -> Result<Response, ureq::Error> {
        let now = Timestamp::now().unix_micros().div_euclid(1_000_000);
        let mut body = json!({"type": TEST_EVENT_TYPE, "event_timestamp": now, "data": {}}).to_string();
        // White space is part of the signed body.
        body.push_str(&" ".repeat(length.saturating_sub(body.len())));
        let request = agent(&self.url, TIMEOUT).post(format!("{}{POST_CALL_PATH}", self.url));
        let request = request.header("content-type", "application/json");
        response(request.header(HEADER, sign(secret, now, body.as_bytes())).send(body.as_bytes()))
    }

    fn delivery(&self, secret: &Secret) -> Finding {
        let check = "delivery";
        match self.deliver(secret, 0) {
            Ok(Response { status: 200, is_ours: true, .. }) => {
                Finding::ok(check, "a signed test delivery reaches the service through its public address")
            }
            Ok(Response { status: 401, is_ours: true, details }) => Finding::problem(
                check,
                format!("the service refuses a signed test delivery: {details}"),
                "give `serve` and this command the same secret",
            ),
            Ok(Response { status: 429, .. }) => Finding::warning(
                check,
                "the service refuses this address after too many failed attempts",
                "try again in a minute",
            ),
            Ok(Response { status, details, .. }) => Finding::problem(
                check,
                format!("a signed test delivery is answered {status} {details}"),
                "let the proxy pass POST requests on unchanged, without redirects",
            ),
            Err(error) => {
                let remedy = "look at the log of the proxy";
                Finding::problem(check, format!("a signed test delivery is not answered: {error}"), remedy)
            }
        }
    }

    fn long_delivery(&self, secret: &Secret) -> Finding {
        let check = "body_limit";
        let remedy = "let the proxy accept bodies of 16 MiB, in nginx by client_max_body_size 16m";
        match self.deliver(secret, LONG_BODY_BYTES) {
            Ok(Response { status: 200, is_ours: true, .. }) => Finding::ok(check, "a delivery of 2 MiB gets through"),
            Ok(Response { status, is_ours, details }) => {
                let who = if is_ours { "the service" } else { "something before the service" };
                let remedy = if is_ours { "raise --post-call-max-body of `serve`" } else { remedy };
                Finding::problem(check, format!("{who} answers a delivery of 2 MiB with {status} {details}"), remedy)
            }
            Err(error) => Finding::problem(check, format!("a delivery of 2 MiB is cut off: {error}"), remedy),
        }
    }

    fn stream(&self, token: &Secret) -> Finding {
        let check = "stream";
        let request = agent(&self.url, STREAM_TIMEOUT).get(format!("{}/api/v1/events", self.url));
        let request = request.header("authorization", format!("Bearer {}", token.expose()));
        let remedy = "switch buffering of responses off in the proxy, in nginx by proxy_buffering off";
        match request.call() {
            Ok(mut answer) if answer.status() == 200 => match answer.body_mut().as_reader().read(&mut [0; 1]) {
                Ok(1) => Finding::ok(check, "live streams get through at once"),
                _ => Finding::warning(check, "a live stream does not begin within 5 seconds", remedy),
            },
            Ok(answer) if answer.status() == 401 => Finding::warning(
                check,
                "the service refuses the API token",
                "pass --api-token-file with a token of the service, or its --database",
            ),
            Ok(answer) => {
                Finding::warning(check, format!("a live stream is answered {}", answer.status().as_u16()), remedy)
            }
            Err(_) => Finding::warning(check, "a live stream does not begin within 5 seconds", remedy),
        }
    }
}

fn agent(url: &str, timeout: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        // A proxy must not see the token on its way to this machine.
        .proxy(if is_loopback_url(url) { None } else { ureq::Proxy::try_from_env() })
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(timeout))
        .build()
        .into()
}

fn response(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Response, ureq::Error> {
    let mut answer = answer?;
    let text = answer.body_mut().with_config().limit(MAX_RESPONSE_BYTES).read_to_string().unwrap_or_default();
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let is_ours = answer.headers().contains_key("x-request-id") && body["status"].is_string();
    let details = body["details"].as_str().or(body["message"].as_str()).unwrap_or_default();
    // It may be from anything that answers there.
    let details = details.chars().filter(|c| !c.is_control()).take(MAX_DETAILS_CHARS).collect();
    Ok(Response { status: answer.status().as_u16(), is_ours, details })
}
