//! Outgoing webhooks: the state of each endpoint, tests and retries.

use super::body::JsonOk;
use super::date_time::DateTime;
use super::error::{ApiError, Errors, ListErrors, ReadErrors};
use super::error_code::ErrorCode;
use super::pagination::reject_query_params;
use super::reader::Reader;
use super::tag::Tag;
use crate::domain::Timestamp;
use crate::ingest::Writer;
use crate::outgoing::{Answer, EndpointReport, Webhooks};
use crate::store::{EndpointId, FailedDelivery};
use poem::Request;
use poem_openapi::param::Path;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

pub(super) struct OutgoingWebhooksApi {
    reader: Reader,
    writer: Writer,
    webhooks: Webhooks,
    /// Limits running tests, because each occupies a thread.
    tests: Arc<Semaphore>,
}

/// Maximum number of tests at a time.
const MAX_TESTS: usize = 4;

impl OutgoingWebhooksApi {
    pub(super) fn new(reader: Reader, writer: Writer, webhooks: Webhooks) -> Self {
        Self { reader, writer, webhooks, tests: Arc::new(Semaphore::new(MAX_TESTS)) }
    }

    fn endpoint(&self, id: &str) -> Result<EndpointId, ApiError> {
        self.webhooks.find(id).ok_or_else(not_found)
    }
}

fn not_found() -> ApiError {
    ApiError::NotFound(ErrorCode::EndpointNotFound, "no such endpoint is configured".to_owned())
}

/// The state of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum EndpointStatus {
    /// The last request succeeded, or there was none.
    Active,
    /// The last request failed; deliveries are tried again.
    Failing,
    /// The receiver answered 410. Nothing is sent until a retry is requested.
    SwitchedOff,
}

/// An endpoint of outgoing webhooks.
#[derive(Debug, Object)]
#[oai(example)]
struct OutgoingEndpoint {
    /// Id, which depends on the URL only.
    id: String,
    /// Scheme, host and port of the URL. The rest may be secret.
    url: String,
    /// State.
    status: EndpointStatus,
    /// Time at which the receiver answered 410; null otherwise.
    #[oai(nullable)]
    switched_off_at: Option<DateTime>,
    /// Number of notices that were not tried yet, counted up to 100,000.
    unsent: u64,
    /// Number of notices that wait for another try, or for an earlier notice of their call.
    waiting: u64,
    /// Number of notices that were given up, of the last thousand.
    failed: u64,
    /// Number of notices that were dropped because more than a million waited.
    dropped: u64,
    /// Age of the oldest notice that was not received, in seconds; 0 without one. Failed notices do not count.
    lag_seconds: u64,
    /// Time of the last answer, or of the end of the last request without an answer, since the service started.
    #[oai(nullable)]
    last_attempt_at: Option<DateTime>,
    /// Status of the last answer.
    #[oai(nullable)]
    last_status: Option<u16>,
    /// Reason why the last request had no answer.
    #[oai(nullable)]
    last_error: Option<String>,
    /// Earliest time of the next try, if one waits.
    #[oai(nullable)]
    next_try_at: Option<DateTime>,
    /// The newest notices that were given up, at most a hundred.
    failed_deliveries: Vec<FailedNotice>,
}

impl Example for OutgoingEndpoint {
    fn example() -> Self {
        Self {
            id: "8f14e45fceea167a".to_owned(),
            url: "https://dispatch.example.com".to_owned(),
            status: EndpointStatus::Failing,
            switched_off_at: None,
            unsent: 0,
            waiting: 2,
            failed: 1,
            dropped: 0,
            lag_seconds: 42,
            last_attempt_at: Some(example_time()),
            last_status: Some(500),
            last_error: None,
            next_try_at: Some(example_time()),
            failed_deliveries: vec![FailedNotice::example()],
        }
    }
}

fn example_time() -> DateTime {
    DateTime(Timestamp::parse("2026-09-28T12:03:00Z").expect("a valid time"))
}

/// A notice that was given up.
#[derive(Debug, Object)]
#[oai(example)]
struct FailedNotice {
    /// Number of the notice.
    notice_id: i64,
    /// Type of the notice.
    #[oai(rename = "type")]
    kind: String,
    /// Call that it is about.
    conversation_id: String,
    /// Time at which it was committed.
    at: DateTime,
    /// Number of requests.
    tries: u32,
    /// Time of the last request.
    #[oai(nullable)]
    last_try_at: Option<DateTime>,
    /// Status of the last answer; null if there was none.
    #[oai(nullable)]
    last_status: Option<u16>,
}

impl Example for FailedNotice {
    fn example() -> Self {
        Self {
            notice_id: 17,
            kind: "call.ended".to_owned(),
            conversation_id: "conv_1901kaj4pr1penza6bbkscg6hgkc".to_owned(),
            at: example_time(),
            tries: 10,
            last_try_at: Some(example_time()),
            last_status: Some(500),
        }
    }
}

impl From<FailedDelivery> for FailedNotice {
    fn from(failed: FailedDelivery) -> Self {
        Self {
            notice_id: failed.notice.id,
            kind: failed.notice.kind.as_str().to_owned(),
            conversation_id: failed.notice.conversation_id.as_str().to_owned(),
            at: DateTime(failed.notice.at),
            tries: failed.tries,
            last_try_at: failed.last_try.map(DateTime),
            last_status: failed.last_status,
        }
    }
}

impl From<EndpointReport> for OutgoingEndpoint {
    fn from(report: EndpointReport) -> Self {
        let EndpointReport { id, url, last, paused_until, state } = report;
        let status = match &last {
            _ if state.switched_off_at.is_some() => EndpointStatus::SwitchedOff,
            Some(last) if !last.answer.is_success() => EndpointStatus::Failing,
            _ => EndpointStatus::Active,
        };
        let age = |oldest: Timestamp| Timestamp::now().unix_micros().saturating_sub(oldest.unix_micros()) / 1_000_000;
        Self {
            id: id.as_str().to_owned(),
            url,
            status,
            switched_off_at: state.switched_off_at.map(DateTime),
            unsent: state.unsent,
            waiting: state.waiting,
            failed: state.failed,
            dropped: state.dropped,
            lag_seconds: state.oldest.map_or(0, |oldest| u64::try_from(age(oldest)).unwrap_or(0)),
            last_attempt_at: last.as_ref().map(|last| DateTime(last.at)),
            last_status: last.as_ref().and_then(|last| last.answer.status),
            last_error: last.and_then(|last| last.answer.error),
            next_try_at: paused_until.max(state.next_try).map(DateTime),
            failed_deliveries: state.failures.into_iter().map(Into::into).collect(),
        }
    }
}

/// The endpoints of outgoing webhooks.
#[derive(Debug, Object)]
#[oai(example)]
struct OutgoingEndpoints {
    /// The configured endpoints.
    data: Vec<OutgoingEndpoint>,
}

impl Example for OutgoingEndpoints {
    fn example() -> Self {
        Self { data: vec![OutgoingEndpoint::example()] }
    }
}

/// Result of a test notice.
#[derive(Debug, Object)]
#[oai(example)]
struct TestResult {
    /// True if the receiver answered 2xx.
    delivered: bool,
    /// Status of the answer; null if there was none.
    #[oai(nullable)]
    status: Option<u16>,
    /// Reason why there was no answer.
    #[oai(nullable)]
    error: Option<String>,
    /// Duration of the request, in milliseconds.
    duration_ms: u64,
}

impl Example for TestResult {
    fn example() -> Self {
        Self { delivered: true, status: Some(204), error: None, duration_ms: 83 }
    }
}

impl From<Answer> for TestResult {
    fn from(answer: Answer) -> Self {
        Self {
            delivered: answer.is_success(),
            status: answer.status,
            duration_ms: u64::try_from(answer.duration.as_millis()).unwrap_or(u64::MAX),
            error: answer.error,
        }
    }
}

#[derive(ApiResponse)]
enum RetryRequested {
    /// The deliveries are due now.
    #[oai(status = 204)]
    Due,
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Operation")]
impl OutgoingWebhooksApi {
    /// List outgoing webhooks
    ///
    /// Returns each configured endpoint with its state, what waits for it, and the deliveries that were given up.
    #[oai(path = "/webhooks", method = "get", operation_id = "list_webhooks")]
    async fn list_webhooks(&self, request: &Request) -> Result<JsonOk<OutgoingEndpoints>, Errors<ListErrors>> {
        reject_query_params(request)?;
        let webhooks = self.webhooks.clone();
        let reports = self.reader.read(move |store| webhooks.reports(store)).await?;
        Ok(JsonOk(OutgoingEndpoints { data: reports.into_iter().map(Into::into).collect() }))
    }

    /// Test an outgoing webhook
    ///
    /// Sends a notice of the type `webhook.test` to the endpoint now, once, and returns the result.
    #[oai(path = "/webhooks/:endpoint_id/test", method = "post", operation_id = "test_webhook")]
    async fn test_webhook(
        &self,
        request: &Request,
        /// Id of the endpoint.
        endpoint_id: Path<String>,
    ) -> Result<JsonOk<TestResult>, Errors<ReadErrors>> {
        reject_query_params(request)?;
        let id = self.endpoint(&endpoint_id.0)?;
        let busy = || ApiError::Unavailable(ErrorCode::Overloaded, "too many tests at once; try again shortly", None);
        let permit = tokio::time::timeout(PERMIT_TIMEOUT, self.tests.clone().acquire_owned()).await;
        let permit = permit.map_err(|_| busy())?.map_err(|_| busy())?;
        let webhooks = self.webhooks.clone();
        let tested = tokio::task::spawn_blocking(move || {
            let tested = webhooks.test(&id);
            drop(permit);
            tested
        });
        let tested = tested.await.map_err(|error| ApiError::Internal(error.to_string()))?;
        let answer = tested.map_err(|error| ApiError::Internal(error.to_string()))?;
        Ok(JsonOk(answer.into()))
    }

    /// Retry failed deliveries
    ///
    /// Sends everything that waits or was given up to the endpoint now, in order for each call. Switches on an endpoint
    /// that answered 410.
    #[oai(path = "/webhooks/:endpoint_id/retry", method = "post", operation_id = "retry_webhook")]
    async fn retry_webhook(
        &self,
        request: &Request,
        /// Id of the endpoint.
        endpoint_id: Path<String>,
    ) -> Result<RetryRequested, Errors<ReadErrors>> {
        reject_query_params(request)?;
        let id = self.endpoint(&endpoint_id.0)?;
        let retried = self.webhooks.retry(&self.writer, &id, Vec::new()).await;
        retried.map_err(|error| ApiError::from_write(error, not_found))?;
        Ok(RetryRequested::Due)
    }
}

/// Maximum time that a test waits for others.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(1);
