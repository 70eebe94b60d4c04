//! The post-call webhook: ElevenLabs' events.

use super::signed_body::{PostCallReceiver, SignedDelivery, stopping};
use crate::api::body::{JsonOk, StreamedJson};
use crate::api::error::{ApiError, Errors, PostCallErrors};
use crate::api::error_code::ErrorCode;
use crate::api::request_context;
use crate::api::tag::Tag;
use crate::ingest::WriteError;
use crate::ingest::post_call::{DeliveryEffect, PostCallError, PostCallService};
use poem::Request;
use poem_openapi::param::Header;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

pub(in crate::api) struct PostCallApi {
    pub(in crate::api) gate: PostCallReceiver,
    pub(in crate::api) service: PostCallService,
}

/// An event of ElevenLabs. It only has to be JSON: ElevenLabs adds and removes types and fields without notice.
#[derive(Debug, Object)]
#[oai(example, rename = "PostCallEvent")]
struct EventBody {
    /// Type of the event: `post_call_transcription`, `post_call_transcription_otel`, `post_call_audio`,
    /// `call_initiation_failure`, or another type, which is stored and not used.
    #[oai(rename = "type")]
    event_type: String,
    /// Time of the event, in seconds since 1970.
    event_timestamp: i64,
    /// Data of the event. A transcription has the fields of a conversation in ElevenLabs' API.
    data: EventData,
}

/// Data of an event. All other fields are stored too.
#[derive(Debug, Object)]
#[oai(example, rename = "PostCallEventData")]
struct EventData {
    /// ElevenLabs' id of the call.
    conversation_id: String,
}

impl Example for EventData {
    fn example() -> Self {
        Self { conversation_id: "conv_1901kaj4pr1penza6bbkscg6hgkc".to_owned() }
    }
}

impl Example for EventBody {
    fn example() -> Self {
        Self {
            event_type: "post_call_transcription".to_owned(),
            event_timestamp: 1_790_596_855,
            data: EventData::example(),
        }
    }
}

/// Confirmation that an event was received.
#[derive(Debug, Object)]
#[oai(example)]
struct EventTaken {
    /// Always `success`.
    status: String,
    /// Result in words.
    message: String,
}

impl Example for EventTaken {
    fn example() -> Self {
        DeliveryEffect::Applied.into()
    }
}

impl From<DeliveryEffect> for EventTaken {
    fn from(effect: DeliveryEffect) -> Self {
        let message = match effect {
            DeliveryEffect::Applied => "event stored",
            DeliveryEffect::Unused => "event stored; its type is not used",
            DeliveryEffect::Unreadable => "event stored; it could not be parsed",
            DeliveryEffect::Test => "test delivery received; it is not stored",
            DeliveryEffect::Duplicate => "event was stored before",
            DeliveryEffect::CallErased => "event dropped: its call was erased",
            DeliveryEffect::RecordingStored => "recording stored",
            DeliveryEffect::RecordedCallErased => "recording dropped: its call was erased",
            DeliveryEffect::RecordingsDisabled => "recording dropped: this service does not store recordings",
            DeliveryEffect::RecordingTypeUnused => "recording dropped: its type does not replace a recording",
            DeliveryEffect::RecordingUnreadable => "recording dropped: it could not be parsed",
        };
        Self { status: "success".to_owned(), message: message.to_owned() }
    }
}

/// Returns the outcome of a delivery for the metrics, if the status does not show it.
fn outcome_of(effect: DeliveryEffect) -> Option<&'static str> {
    match effect {
        DeliveryEffect::Applied
        | DeliveryEffect::Unused
        | DeliveryEffect::CallErased
        | DeliveryEffect::RecordingStored
        | DeliveryEffect::Test => None,
        DeliveryEffect::Unreadable => Some("quarantined"),
        DeliveryEffect::Duplicate => Some("duplicate"),
        DeliveryEffect::RecordedCallErased
        | DeliveryEffect::RecordingsDisabled
        | DeliveryEffect::RecordingTypeUnused
        | DeliveryEffect::RecordingUnreadable => Some("dropped"),
    }
}

impl From<PostCallError> for ApiError {
    fn from(error: PostCallError) -> Self {
        match error {
            // Only this status makes ElevenLabs send the event again.
            PostCallError::Write(WriteError::Failed(error)) => {
                let message = "the event could not be stored; try again later";
                Self::Unavailable(ErrorCode::StorageUnavailable, message, Some(error.to_string()))
            }
            PostCallError::Write(error) => error.into(),
            PostCallError::Recording(error) => Self::Internal(format!("the recording cannot be deleted: {error}")),
            PostCallError::TooLong => Self::body_rule("has more than 1 MiB besides the audio"),
            PostCallError::Stopping => stopping(),
        }
    }
}

#[OpenApi(tag = "Tag::Webhooks")]
impl PostCallApi {
    /// Store a post-call event
    ///
    /// Answers with 200 once the event is on disk, even if it cannot be parsed, and with 401 if the signature is
    /// invalid.
    #[oai(path = "/webhooks/elevenlabs/post-call", method = "post", operation_id = "store_post_call_event")]
    async fn store_post_call_event(
        &self,
        request: &Request,
        /// ElevenLabs' signature, `t=<seconds>,v0=<hex>`.
        #[oai(name = "ElevenLabs-Signature")]
        _signature: Header<Option<String>>,
        body: StreamedJson<EventBody>,
    ) -> Result<JsonOk<EventTaken>, Errors<PostCallErrors>> {
        let effect = match self.gate.receive(request, body.body).await? {
            SignedDelivery::Recording(recording) => {
                if let Ok(recording) = &recording {
                    request_context::set_conversation(&recording.event.conversation_id);
                }
                self.service.note_recording(recording).await
            }
            SignedDelivery::Event(event) => {
                // Held until the call is reconciled: the parsed event waits for the writer, in addition to the body,
                // and is parsed again afterwards.
                let reading = self.gate.acquire_parse_permit(&event).await;
                let body = self.gate.unpack(&event).await?;
                let parsed = self.service.parse(body).await.map_err(ApiError::from)?;
                if let Some(id) = &parsed.conversation_id {
                    request_context::set_conversation(id);
                }
                self.service.store(parsed, reading).await
            }
        };
        let effect = effect.map_err(ApiError::from)?;
        if let Some(outcome) = outcome_of(effect) {
            request_context::set_outcome(outcome);
        }
        Ok(JsonOk(effect.into()))
    }
}
