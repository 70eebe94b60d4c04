//! The initiation webhook: ElevenLabs asks who is calling before the first word of an inbound call.
//!
//! The call waits for the response, and does not start without it. So the response is there within a second whatever
//! happens: a body that cannot be read, or a look-up that fails or takes too long, gets the default of each variable.
//! The call is linked with its driver after the response, as soon as the writer has time. If that is lost, the record
//! of the call still names the driver by the user id of the response.

use crate::api::auth::AccessControl;
use crate::api::body::{JsonOk, StreamedJson};
use crate::api::content_encoding::{coding_of, unpacked};
use crate::api::request_context;
use crate::api::tag::Tag;
use crate::domain::{Caller, NewInitiation, PhoneNumber};
use crate::elevenlabs::initiation::{InitiationQuestion, InitiationVariables, parse_initiation};
use crate::ingest::Writer;
use crate::store::command::StoreInitiation;
use crate::store::{self, ErrorKind, Store, reading_until};
use crate::telemetry::metrics::METRICS;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use poem::{Body, Request};
use poem_openapi::types::{Any, Example};
use poem_openapi::{Object, OpenApi};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// Maximum size of a request's body, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Maximum time from the request's header to the end of its body.
const BODY_TIMEOUT: Duration = Duration::from_millis(300);

/// Maximum time of a look-up, including its wait for a thread and for other look-ups.
const LOOK_UP_TIMEOUT: Duration = Duration::from_millis(400);

/// Maximum number of concurrent look-ups. They share one connection.
const MAX_LOOK_UPS: usize = 4;

pub(in crate::api) struct InitiationApi {
    store: Arc<dyn Store>,
    writer: Writer,
    variables: Arc<InitiationVariables>,
    access: AccessControl,
    permits: Arc<Semaphore>,
}

/// The question who is calling. ElevenLabs adds fields without notice; every field may be missing.
#[derive(Debug, Object)]
#[oai(example)]
struct InitiationDelivery {
    /// The number that calls.
    caller_id: Option<String>,
    /// ElevenLabs' id of the agent.
    agent_id: Option<String>,
    /// The number that is called.
    called_number: Option<String>,
    /// Id of the call at the telephone provider.
    call_sid: Option<String>,
    /// ElevenLabs' id of the call, if it has one already.
    conversation_id: Option<String>,
}

impl Example for InitiationDelivery {
    fn example() -> Self {
        Self {
            caller_id: Some("+15550100042".to_owned()),
            agent_id: Some("agent_5501k9czkv3qepy815bm59nt04qk".to_owned()),
            called_number: Some("+15550100001".to_owned()),
            call_sid: Some("CA5d1f0a6d9be74c4f8c1d2e3f4a5b6c7d".to_owned()),
            conversation_id: Some("conv_1901kaj4pr1penza6bbkscg6hgkc".to_owned()),
        }
    }
}

/// Data that ElevenLabs starts the call with.
#[derive(Debug, Object)]
#[oai(example)]
struct InitiationData {
    /// Always `conversation_initiation_client_data`.
    #[oai(rename = "type")]
    kind: String,
    /// The driver, in the form `driver_1042`; absent if the caller is not known. ElevenLabs repeats it in the record.
    #[oai(skip_serializing_if_is_none)]
    user_id: Option<String>,
    /// All variables of `--initiation-variables`, by name: texts, numbers, `true` or `false`.
    dynamic_variables: Any<Map<String, Value>>,
}

impl Example for InitiationData {
    fn example() -> Self {
        let variables = [("driver_id", "1042"), ("driver_name", "Maria")];
        Self {
            kind: "conversation_initiation_client_data".to_owned(),
            user_id: Some("driver_1042".to_owned()),
            dynamic_variables: Any(variables
                .map(|(name, value)| (name.to_owned(), value.into()))
                .into_iter()
                .collect()),
        }
    }
}

/// Result of a question, which is a label of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Known,
    Unknown,
    NoToken,
    Unreadable,
    Late,
    Failed,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Unknown => "unknown",
            Self::NoToken => "no_token",
            Self::Unreadable => "unreadable",
            Self::Late => "late",
            Self::Failed => "failed",
        }
    }
}

impl InitiationApi {
    pub(in crate::api) fn new(
        store: Arc<dyn Store>,
        writer: Writer,
        variables: Arc<InitiationVariables>,
        access: AccessControl,
    ) -> Self {
        Self { store, writer, variables, access, permits: Arc::new(Semaphore::new(MAX_LOOK_UPS)) }
    }

    /// Looks up who calls, or says why that is not known.
    async fn find(&self, number: PhoneNumber) -> Result<Caller, Outcome> {
        let end = Instant::now() + LOOK_UP_TIMEOUT;
        let permit = timeout_at(end, self.permits.clone().acquire_owned()).await.map_err(|_| Outcome::Late)?;
        let store = self.store.clone();
        let look_up = move || {
            // The look-up may outlive its request.
            let _permit = permit;
            reading_until(end.into_std(), || store.caller(&number))
        };
        let found = timeout_at(end, tokio::task::spawn_blocking(look_up)).await.map_err(|_| Outcome::Late)?;
        match found {
            Ok(Ok(Some(caller))) => Ok(caller),
            Ok(Ok(None)) => Err(Outcome::Unknown),
            Ok(Err(error)) => Err(outcome_of(&error)),
            // The panic hook has logged a panic.
            Err(_) => Err(Outcome::Failed),
        }
    }

    /// Links the call with its driver in the background.
    fn link(&self, question: InitiationQuestion, caller: &Caller) {
        let Some(call_sid) = question.call_sid else { return };
        let initiation =
            NewInitiation { call_sid, conversation_id: question.conversation_id, driver_id: caller.driver_id };
        let writer = self.writer.clone();
        // The queue of the writer bounds the number of these tasks.
        tokio::spawn(async move {
            if let Err(error) = writer.execute(StoreInitiation(initiation)).await {
                METRICS.initiation_links_lost_total.inc();
                tracing::warn!(%error, "link of an inbound call with its driver was not stored");
            }
        });
    }
}

fn outcome_of(error: &store::Error) -> Outcome {
    if matches!(error.kind(), ErrorKind::Busy | ErrorKind::TooSlow) {
        return Outcome::Late;
    }
    tracing::warn!(%error, "looking up a caller failed");
    Outcome::Failed
}

/// Reads the question in a body, or returns `None` if it cannot be read in time.
async fn question_in(request: &Request, body: Body) -> Option<InitiationQuestion> {
    let mut pieces = Box::pin(body.into_bytes_stream());
    let received = timeout_at(Instant::now() + BODY_TIMEOUT, receive(&mut pieces)).await;
    if received.is_err() {
        // The response would wait for the rest of a body that is dropped now.
        tokio::spawn(timeout_at(Instant::now() + BODY_TIMEOUT, async move { while pieces.next().await.is_some() {} }));
    }
    let bytes = received.ok()??;
    match coding_of(request.headers()).ok()? {
        None => parse_initiation(&bytes),
        Some(coding) => parse_initiation(&unpacked(coding, &bytes, MAX_BODY_BYTES).ok()?),
    }
}

/// Returns the bytes of a body, or `None` if it is broken or too long. A body that is too long is received to its end
/// all the same, because many clients read no response before.
async fn receive(pieces: &mut (impl Stream<Item = std::io::Result<Bytes>> + Unpin)) -> Option<Vec<u8>> {
    let (mut bytes, mut is_short) = (Vec::new(), true);
    while let Some(piece) = pieces.next().await {
        let piece = piece.ok()?;
        is_short = is_short && bytes.len() + piece.len() <= MAX_BODY_BYTES;
        if is_short {
            bytes.extend_from_slice(&piece);
        }
    }
    is_short.then_some(bytes)
}

#[OpenApi(tag = "Tag::Webhooks")]
impl InitiationApi {
    /// Tell ElevenLabs who is calling
    ///
    /// Answers, before the first word of an inbound call, with the driver whose number calls and with all dynamic
    /// variables of `--initiation-variables`. An unknown caller gets their defaults, and so does a request that cannot
    /// be read or whose look-up takes too long: the response is there within a second. The call is linked with the
    /// driver by `call_sid` when its turns or its record arrive.
    ///
    /// Strangers learn nothing: unless the service has an ingest token or the request has an API token that may read,
    /// every caller is unknown.
    #[oai(path = "/webhooks/elevenlabs/initiation", method = "post", operation_id = "initiate_call")]
    async fn initiate_call(&self, request: &Request, body: StreamedJson<InitiationDelivery>) -> JsonOk<InitiationData> {
        let question = question_in(request, body.body).await;
        let found = match &question {
            None => Err(Outcome::Unreadable),
            Some(_) if !self.access.may_be_told(request) => {
                tracing::warn!("who is calling is told only if an ingest token is set: --ingest-token");
                Err(Outcome::NoToken)
            }
            Some(InitiationQuestion { caller: None, .. }) => Err(Outcome::Unknown),
            Some(InitiationQuestion { caller: Some(number), .. }) => self.find(number.clone()).await,
        };
        let outcome = found.as_ref().err().copied().unwrap_or(Outcome::Known);
        METRICS.initiations_total.with_label_values(&[outcome.as_str()]).inc();
        request_context::set_outcome("answered");
        let caller = found.ok();
        let call_sid = question.as_ref().and_then(|question| question.call_sid.clone());
        tracing::info!(
            call_sid = call_sid.as_ref().map(crate::domain::CallSid::as_str),
            driver_id = caller.as_ref().map(|caller| caller.driver_id.get()),
            outcome = outcome.as_str(),
            "answered who is calling"
        );
        if let Some((question, caller)) = question.zip(caller.as_ref()) {
            self.link(question, caller);
        }
        JsonOk(InitiationData {
            kind: "conversation_initiation_client_data".to_owned(),
            user_id: caller.as_ref().map(|caller| format!("driver_{}", caller.driver_id)),
            dynamic_variables: Any(self.variables.values(caller.as_ref())),
        })
    }
}
