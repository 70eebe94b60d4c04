//! The turn webhook, which the voice agent calls once per turn.

use crate::api::body::JsonBody;
use crate::api::error::{ApiError, DeliveryErrors, Errors};
use crate::api::request_context;
use crate::api::tag::Tag;
use crate::domain::NewTurn;
use crate::elevenlabs::turn::{self, TurnError};
use crate::ingest::Writer;
use crate::store::StoredTurn;
use crate::store::command::AppendTurn;
use poem::{Endpoint, IntoResponse as _, Request, Response};
use poem_openapi::param::Header;
use poem_openapi::payload::Json;
use poem_openapi::types::{Any, Example};
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use serde_json::Value;
use std::time::Duration;

/// Maximum time that the response to a late turn waits for the reconciliation of its call, if the call has a record.
const RECONCILIATION_TIMEOUT: Duration = Duration::from_secs(1);

pub(in crate::api) struct WebhooksApi {
    pub(in crate::api) writer: Writer,
}

/// Speaker of a turn, in ElevenLabs' words. `user` is the driver, and is stored as `driver`.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
enum DeliveredSpeaker {
    /// The voice agent.
    Agent,
    /// The driver; stored as `driver`.
    User,
}

/// One turn. Unknown fields are ignored.
///
/// ElevenLabs' tool envelope, `{"tool_call_id", "tool_name", "parameters": {…}, "conversation_id"}`, is accepted too:
/// `parameters` then contains these fields, and `conversation_id` may be outside of it. The `tool_call_id` is not a
/// delivery key, because language models write it and repeat it.
#[derive(Debug, Object)]
#[oai(example)]
struct TurnDelivery {
    /// ElevenLabs' id of the call: 1 to 256 characters after surrounding white space is removed, and not an unfilled
    /// placeholder.
    #[oai(validator(min_length = 1, max_length = 256))]
    conversation_id: String,
    speaker: DeliveredSpeaker,
    /// Text of the turn; not blank, at most 64 KiB of UTF-8.
    #[oai(validator(min_length = 1))]
    message: String,
    /// Time of the turn: an ISO 8601 date and time, in UTC if it has no offset.
    timestamp: String,
    /// The telephone provider's id of the call, a text, which links an inbound call with its driver. Anything else is
    /// ignored.
    call_sid: Option<Any<Value>>,
}

impl Example for TurnDelivery {
    fn example() -> Self {
        Self {
            conversation_id: "conv_1901kaj4pr1penza6bbkscg6hgkc".to_owned(),
            speaker: DeliveredSpeaker::User,
            message: "Yeah, I'm parked at the Joliet terminal. The reefer reads forty five degrees.".to_owned(),
            timestamp: "2026-09-28T12:00:05.250Z".to_owned(),
            call_sid: Some(Any("CA5d1f0a6d9be74c4f8c1d2e3f4a5b6c7d".into())),
        }
    }
}

/// Confirmation that a turn is stored.
#[derive(Debug, Object)]
#[oai(example)]
struct TurnStored {
    /// Always `success`.
    status: String,
    /// Result in words.
    message: String,
    /// Id of the turn, unique over all calls.
    transcription_id: i64,
    /// Number of the turn within its call: 1, 2, 3 … without gaps.
    sequence_number: i64,
}

impl Example for TurnStored {
    fn example() -> Self {
        Self {
            status: "success".to_owned(),
            message: "transcription stored".to_owned(),
            transcription_id: 12,
            sequence_number: 3,
        }
    }
}

#[derive(ApiResponse)]
enum TurnAnswer {
    /// The turn is on disk, from this delivery or an earlier one.
    #[oai(status = 201)]
    Stored(
        Json<TurnStored>,
        /// `true` if the turn was stored before; this delivery stored nothing.
        #[oai(header = "Idempotent-Replayed")]
        Option<String>,
    ),
}

#[OpenApi(tag = "Tag::Webhooks")]
impl WebhooksApi {
    /// Store a turn
    ///
    /// Answers with 201 once the turn is on disk. A duplicate delivery gets the same response and stores nothing. A
    /// delivery is a duplicate if it has the same delivery key (`Idempotency-Key`) within the conversation, or, without
    /// a key, the same conversation, speaker, timestamp and message. The first turn of a conversation creates its call.
    #[oai(path = "/webhooks/elevenlabs/transcription", method = "post", operation_id = "store_turn")]
    async fn store_turn(
        &self,
        request: &Request,
        /// The sender's key of this delivery, unique within the conversation; at most 256 characters.
        #[oai(name = "Idempotency-Key")]
        _idempotency_key: Header<Option<String>>,
        body: JsonBody<TurnDelivery>,
    ) -> Result<TurnAnswer, Errors<DeliveryErrors>> {
        Ok(receive(&self.writer, request, body).await?)
    }
}

impl From<StoredTurn> for TurnAnswer {
    fn from(stored: StoredTurn) -> Self {
        let (message, duplicate) = if stored.replayed {
            ("transcription was stored before", Some("true".to_owned()))
        } else {
            ("transcription stored", None)
        };
        let body = TurnStored {
            status: "success".to_owned(),
            message: message.to_owned(),
            transcription_id: stored.transcription_id,
            sequence_number: stored.sequence_number,
        };
        Self::Stored(Json(body), duplicate)
    }
}

/// Parses a delivery, and returns the future that stores its turn. The future holds neither the request nor its body,
/// because hundreds of turns may wait for the disk.
fn receive<'w>(
    writer: &'w Writer,
    request: &Request,
    body: JsonBody<TurnDelivery>,
) -> impl Future<Output = Result<TurnAnswer, ApiError>> + use<'w> {
    let turn = read(request, &body.bytes);
    drop(body);
    async move { Ok(store(writer, turn?).await?.into()) }
}

/// Parses the turn in a delivery.
fn read(request: &Request, body: &[u8]) -> Result<NewTurn, ApiError> {
    let key = match request.headers().get(turn::IDEMPOTENCY_KEY_HEADER) {
        Some(key) => {
            Some(key.to_str().map_err(|_| ApiError::field(turn::IDEMPOTENCY_KEY_HEADER, "must be printable ASCII"))?)
        }
        None => None,
    };
    turn::parse_turn(body, key).map_err(|unreadable| match unreadable {
        TurnError::Json(error) => ApiError::body_rule(format_args!("must be a JSON object: {error}")),
        TurnError::Fields(problems) => ApiError::fields(&problems),
    })
}

/// Stores a turn; it is on disk when this returns.
async fn store(writer: &Writer, turn: NewTurn) -> Result<StoredTurn, ApiError> {
    let conversation_id = turn.conversation_id.clone();
    request_context::set_conversation(&conversation_id);
    let stored = writer.execute(AppendTurn(turn)).await?;
    if stored.new_call.is_some_and(|call| call.driver_id.is_none()) {
        let conversation_id = conversation_id.as_str();
        tracing::warn!(conversation_id, "call without dispatch: its driver is not known");
    }
    if stored.due {
        // The turn is stored even if this fails or times out.
        let _ = writer.requests().reconciled(&conversation_id, RECONCILIATION_TIMEOUT).await;
    }
    if stored.replayed {
        request_context::set_outcome("duplicate");
    }
    Ok(stored)
}

/// The endpoint of [`WebhooksApi::store_turn`], called without the framework's dispatch because that is expensive for
/// an operation that is called once per turn. Both only extract the body for the function that they share.
pub struct TurnEndpoint {
    pub(in crate::api) writer: Writer,
}

impl Endpoint for TurnEndpoint {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let storing = {
            let (request, mut body) = request.split();
            let body = JsonBody::checked(&request, &mut body).await?;
            receive(&self.writer, &request, body)
        };
        Ok(storing.await?.into_response())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::body::{BodyLimits, memory_for};
    use crate::ingest::WriterLimits;
    use crate::ingest::event::EventParser;
    use crate::store::Store;
    use crate::store::sqlite::{Options, SqliteStore};
    use poem::http::{Method, StatusCode};
    use poem::{EndpointExt as _, Route};
    use poem_openapi::OpenApiService;
    use serde_json::{Value, json};
    use std::sync::Arc;

    const PATH: &str = "/webhooks/elevenlabs/transcription";

    /// Returns the status, the body unless it is an error, and whether the turn was a duplicate.
    async fn answer(endpoint: &impl Endpoint<Output = Response>, request: Request) -> (StatusCode, String, bool) {
        match endpoint.call(request).await {
            Ok(response) => {
                let replayed = response.headers().contains_key("idempotent-replayed");
                (response.status(), response.into_body().into_string().await.unwrap(), replayed)
            }
            // The framework words a wrong content type in its own way.
            Err(error) => (error.status(), String::new(), false),
        }
    }

    #[tokio::test]
    async fn the_documented_operation_and_the_fast_one_answer_alike() {
        let folder = tempfile::tempdir().unwrap();
        // A store of its own for each, because the second delivery of a turn is a duplicate.
        let opened = ["documented", "fast"].map(|name| {
            let options = Options { path: folder.path().join(name), busy_timeout: Duration::from_secs(1), readers: 1 };
            let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&options).unwrap());
            Writer::start(
                store,
                WriterLimits { queue_capacity: 10, patience: Duration::from_secs(5) },
                EventParser::default(),
            )
            .unwrap()
        });
        let [writer, fast_writer] = [&opened[0].0, &opened[1].0].map(Clone::clone);
        let limits = BodyLimits::new(1000, memory_for(1000));
        let documented = OpenApiService::new(WebhooksApi { writer }, "", "");
        let documented = Route::new().nest("/", documented).data(limits.clone()).map_to_response();
        let fast = Route::new().at(PATH, poem::post(TurnEndpoint { writer: fast_writer })).data(limits);
        let turn = json!({
            "conversation_id": "conv_1", "speaker": "user", "message": "Ten four.", "timestamp": "2026-09-28T12:00:05Z",
        });
        let with = |field: &str, value: Value| {
            let mut turn = turn.clone();
            turn[field] = value;
            turn.to_string()
        };
        let json = Some("application/json");
        let table: [(Option<&str>, Option<&str>, String, u16); 13] = [
            (json, None, turn.to_string(), 201),
            (json, None, turn.to_string(), 201),
            (json, Some("key"), with("message", "Over.".into()), 201),
            (json, Some("key"), with("message", "Out.".into()), 422),
            (json, None, json!({"conversation_id": "conv_1", "parameters": turn}).to_string(), 201),
            (json, None, with("speaker", "driver".into()), 400),
            (json, None, with("timestamp", "yesterday".into()), 400),
            (json, None, with("message", "x".repeat(2000).into()), 413),
            (json, None, "[]".to_owned(), 400),
            (json, None, "{".to_owned(), 400),
            (json, None, String::new(), 400),
            (None, None, turn.to_string(), 415),
            (Some("text/plain"), None, turn.to_string(), 415),
        ];
        for (content_type, key, body, status) in table {
            let request = || {
                let mut request = Request::builder().method(Method::POST).uri_str(PATH);
                for (name, value) in [("content-type", content_type), (turn::IDEMPOTENCY_KEY_HEADER, key)] {
                    if let Some(value) = value {
                        request = request.header(name, value);
                    }
                }
                request.body(body.clone())
            };
            let answers = [answer(&documented, request()).await, answer(&fast, request()).await];
            assert_eq!(answers[0], answers[1], "{body}");
            assert_eq!(answers[0].0, status, "{answers:?} to {body}");
        }
        drop((documented, fast));
        for (_, thread) in opened {
            assert!(thread.stop());
        }
    }
}
