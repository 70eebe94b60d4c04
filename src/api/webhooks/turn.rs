//! What the voice agent calls.

use crate::api::body::JsonBody;
use crate::api::error::{ApiError, Delivery, Refused};
use crate::api::request_context;
use crate::api::tag::Tag;
use crate::domain::NewTurn;
use crate::elevenlabs::turn::{self, Unreadable};
use crate::ingest::Writer;
use crate::store::{StoredTurn, Write, Written};
use poem::{Endpoint, IntoResponse as _, Request, Response};
use poem_openapi::param::Header;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use std::time::Duration;

/// Maximum time that the answer to a turn waits for its call, where that has a record, to be reconciled.
const LATE_TURN_RECONCILED: Duration = Duration::from_secs(1);

pub(in crate::api) struct WebhooksApi {
    pub(in crate::api) writer: Writer,
}

/// Who spoke, in the platform's words: `user` is the driver, and stored as `driver`.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
enum PlatformSpeaker {
    /// The voice agent.
    Agent,
    /// The driver; stored as `driver`.
    User,
}

/// One dialogue turn. Unknown fields are ignored.
///
/// The platform's tool envelope, `{"tool_call_id", "tool_name", "parameters": {…}, "conversation_id"}`, is taken too:
/// `parameters` then holds these fields, and `conversation_id` may stand outside it. The `tool_call_id` is no delivery key,
/// since language models write it and repeat it.
#[derive(Debug, Object)]
#[oai(example)]
struct TurnDelivery {
    /// The platform's name for the call; opaque, 1 to 256 characters without the blanks around it, and no placeholder that
    /// was not filled in.
    #[oai(validator(min_length = 1, max_length = 256))]
    conversation_id: String,
    speaker: PlatformSpeaker,
    /// What was said; not blank, at most 64 KiB of UTF-8.
    #[oai(validator(min_length = 1))]
    message: String,
    /// When it was said: an ISO 8601 date and time, taken as UTC if it has no offset.
    timestamp: String,
}

impl Example for TurnDelivery {
    fn example() -> Self {
        Self {
            conversation_id: "conv_1901kaj4pr1penza6bbkscg6hgkc".to_owned(),
            speaker: PlatformSpeaker::User,
            message: "Yeah, I'm parked at the Joliet terminal. The reefer reads forty five degrees.".to_owned(),
            timestamp: "2026-09-28T12:00:05.250Z".to_owned(),
        }
    }
}

/// Where the turn is kept.
#[derive(Debug, Object)]
#[oai(example)]
struct TurnStored {
    /// Always `success`.
    status: String,
    /// The same in words.
    message: String,
    /// The turn's own number, unique over all calls.
    transcription_id: i64,
    /// Its place in the call: 1, 2, 3 … without gaps.
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
    /// The turn is on disk, be it by this delivery or by an earlier one of the same turn.
    #[oai(status = 201)]
    Stored(
        Json<TurnStored>,
        /// `true` when the turn had been stored before; nothing was stored now.
        #[oai(header = "Idempotent-Replayed")]
        Option<String>,
    ),
}

#[OpenApi(tag = "Tag::Webhooks")]
impl WebhooksApi {
    /// Store a dialogue turn
    ///
    /// Answers 201 once the turn is on disk. The same delivery again is answered the same and stores nothing: the same
    /// delivery key (`Idempotency-Key`) within the conversation, or, without a key, the same conversation, speaker,
    /// timestamp and message. The first turn of a conversation makes its call.
    #[oai(path = "/webhooks/elevenlabs/transcription", method = "post", operation_id = "store_turn")]
    async fn store_turn(
        &self,
        request: &Request,
        /// The sender's name for this delivery, unique within the conversation; at most 256 characters.
        #[oai(name = "Idempotency-Key")]
        _idempotency_key: Header<Option<String>>,
        body: JsonBody<TurnDelivery>,
    ) -> Result<TurnAnswer, Refused<Delivery>> {
        Ok(store(&self.writer, read(request, &body.bytes)?).await?.into())
    }
}

impl From<StoredTurn> for TurnAnswer {
    fn from(stored: StoredTurn) -> Self {
        let (message, replayed) = if stored.replayed {
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
        Self::Stored(Json(body), replayed)
    }
}

/// The turn in a delivery.
fn read(request: &Request, body: &[u8]) -> Result<NewTurn, ApiError> {
    let key = match request.headers().get(turn::KEY_HEADER) {
        Some(key) => {
            Some(key.to_str().map_err(|_| ApiError::field(turn::KEY_HEADER, "must be printable ASCII characters"))?)
        }
        None => None,
    };
    turn::read_turn(body, key).map_err(|unreadable| match unreadable {
        Unreadable::Json(error) => ApiError::field("body", format_args!("must be a JSON object: {error}")),
        Unreadable::Fields(problems) => ApiError::fields(&problems),
    })
}

/// Stores a turn, which is on disk when this returns.
async fn store(writer: &Writer, turn: NewTurn) -> Result<StoredTurn, ApiError> {
    let conversation_id = turn.conversation_id.clone();
    request_context::note(&conversation_id);
    let Written::Turn(stored) = writer.write(Write::AppendTurn(turn)).await? else {
        unreachable!("a turn is answered as a turn")
    };
    if stored.new_call.is_some_and(|call| call.driver_id.is_none()) {
        let conversation_id = conversation_id.as_str();
        tracing::warn!(conversation_id, "a call began whose driver is not known: there is no dispatch for it");
    }
    if stored.due {
        // Stored it is, whether that is done or not.
        let _ = writer.requests().reconciled(&conversation_id, LATE_TURN_RECONCILED).await;
    }
    if stored.replayed {
        request_context::note_outcome("replayed");
    }
    Ok(stored)
}

/// [`WebhooksApi::store_turn`] without the framework's dispatch, which costs a tenth of a turn: what is called for every
/// turn is served by this, and documented by that.
pub struct TurnEndpoint {
    pub(in crate::api) writer: Writer,
}

impl Endpoint for TurnEndpoint {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        // While a turn waits for the disk, its request's memory is given back: hundreds may wait.
        let turn = {
            let (request, mut body) = request.split();
            let body = JsonBody::<TurnDelivery>::checked(&request, &mut body).await?;
            read(&request, &body.bytes)?
        };
        Ok(TurnAnswer::from(store(&self.writer, turn).await?).into_response())
    }
}
