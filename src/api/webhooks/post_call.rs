//! The post-call webhook: ElevenLabs' events.

use super::signed_body::{PostCallReceiver, SignedDelivery, stopping};
use crate::api::body::{JsonOk, StreamedJson};
use crate::api::error::{ApiError, Errors, PostCallErrors};
use crate::api::error_code::ErrorCode;
use crate::api::request_context;
use crate::api::tag::Tag;
use crate::ingest::WriteError;
use crate::ingest::post_call::{Accepted, PostCallError, PostCallService};
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
        Accepted::Applied.into()
    }
}

impl From<Accepted> for EventTaken {
    fn from(accepted: Accepted) -> Self {
        let message = match accepted {
            Accepted::Applied => "event stored",
            Accepted::Unused => "event stored; its type is not used",
            Accepted::Unreadable => "event stored; it could not be parsed",
            Accepted::Test => "test delivery received; it is not stored",
            Accepted::Duplicate => "event was stored before",
            Accepted::CallErased => "event dropped: its call was erased",
            Accepted::RecordingStored => "recording stored",
            Accepted::RecordedCallErased => "recording dropped: its call was erased",
            Accepted::RecordingsDisabled => "recording dropped: this service does not store recordings",
            Accepted::RecordingTypeUnused => "recording dropped: its type does not replace a recording",
            Accepted::RecordingUnreadable => "recording dropped: it could not be parsed",
        };
        Self { status: "success".to_owned(), message: message.to_owned() }
    }
}

/// Returns the outcome of a delivery for the metrics, if the status does not show it.
fn outcome_of(accepted: Accepted) -> Option<&'static str> {
    match accepted {
        Accepted::Applied | Accepted::Unused | Accepted::CallErased | Accepted::RecordingStored | Accepted::Test => {
            None
        }
        Accepted::Unreadable => Some("quarantined"),
        Accepted::Duplicate => Some("duplicate"),
        Accepted::RecordedCallErased
        | Accepted::RecordingsDisabled
        | Accepted::RecordingTypeUnused
        | Accepted::RecordingUnreadable => Some("dropped"),
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
        let accepted = match self.gate.receive(request, body.body).await? {
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
        let accepted = accepted.map_err(ApiError::from)?;
        if let Some(outcome) = outcome_of(accepted) {
            request_context::set_outcome(outcome);
        }
        Ok(JsonOk(accepted.into()))
    }
}
