//! The post-call webhook: ElevenLabs' events.

use super::signed_body::{PostCallReceiver, SignedDelivery, stopping};
use super::wait::RECONCILED_HEADER;
use crate::api::body::{JsonOk, StreamedJson};
use crate::api::calls::operations::erase_recording;
use crate::api::error::{ApiError, Errors, PostCallErrors};
use crate::api::request_context;
use crate::api::tag::Tag;
use crate::domain::{ConversationId, EventOutcome, NewEvent};
use crate::ingest::event;
use crate::ingest::{WriteError, Writer};
use crate::recordings::{RecordingError, StoredRecording};
use crate::redaction::{Redactor, redact_body};
use crate::store::command::KeepEvent;
use crate::store::{self, Rejection};
use crate::telemetry::metrics::METRICS;
use bytes::Bytes;
use poem::Request;
use poem_openapi::param::Header;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use serde_json::json;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Maximum time that long events wait for the reconciliation of an earlier event's call.
const LONG_RECONCILED: Duration = Duration::from_secs(30);

pub(in crate::api) struct PostCallApi {
    pub(in crate::api) gate: PostCallReceiver,
    pub(in crate::api) writer: Writer,
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
        accepted("event stored").0
    }
}

fn accepted(message: &str) -> JsonOk<EventTaken> {
    JsonOk(EventTaken { status: "success".to_owned(), message: message.to_owned() })
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
        match self.gate.receive(request, body.body).await? {
            SignedDelivery::Recording(recording) => Ok(recorded(&self.gate, &self.writer, recording).await?),
            SignedDelivery::Event(event) => {
                // Held until the call is reconciled: the parsed event waits for the writer, in addition to the body,
                // and is parsed again afterwards.
                let reading = self.gate.acquire_parse_permit(&event).await;
                let body = self.gate.unpack(&event).await?;
                let read = read(self.writer.redactor(), body).await?;
                Ok(keep(&self.writer, read, reading).await?)
            }
        }
    }
}

/// Parses an event on a blocking thread.
async fn read(redactor: Option<Redactor>, body: Bytes) -> Result<NewEvent, ApiError> {
    let read = tokio::task::spawn_blocking(move || event::parse_body(redact_body(redactor, body))).await;
    read.map_err(|_| stopping())
}

/// Stores an event and everything that was parsed from it.
async fn keep(
    writer: &Writer,
    event: NewEvent,
    reading: Option<OwnedSemaphorePermit>,
) -> Result<JsonOk<EventTaken>, ApiError> {
    let (event_type, conversation) = (event.event_type.clone(), event.conversation_id.clone());
    let (outcome, remarks, answered_by) = (event.outcome, event.error.clone(), event.answered_by.clone());
    let kinds = event.remarks.clone();
    if let Some(id) = &conversation {
        request_context::set_conversation(id);
    }
    let event_type = event_type.as_deref().unwrap_or("(unknown)");
    let conversation_id = conversation.as_ref().map(ConversationId::as_str);
    let Some(kept) = store_event(writer, event).await? else {
        tracing::info!(conversation_id, event_type, "event dropped: call erased");
        return Ok(accepted("event dropped: its call was erased"));
    };
    let event_id = kept.event_id;
    if kept.replayed {
        request_context::set_outcome("duplicate");
        return Ok(accepted("event was stored before"));
    }
    event::count_event(outcome, &kinds);
    Ok(match outcome {
        EventOutcome::Applied => {
            let counts = match &conversation {
                Some(id) if kept.due => writer.requests().reconciled(id, RECONCILED_HEADER).await,
                _ => Ok(None),
            };
            if let Ok(counts) = counts {
                request_context::log_reconciliation(conversation_id, event_type, counts);
            } else {
                tracing::info!(conversation_id, event_type, "reconciliation of call deferred");
                if let (Some(id), Some(reading)) = (conversation.clone(), reading) {
                    let requests = writer.requests().clone();
                    tokio::spawn(async move {
                        let _ = requests.reconciled(&id, LONG_RECONCILED).await;
                        drop(reading);
                    });
                }
            }
            if let Some(remarks) = remarks {
                tracing::warn!(conversation_id, event_id, event_type, remarks, "parts of an event could not be parsed");
            }
            accepted("event stored")
        }
        EventOutcome::Ignored => {
            tracing::info!(conversation_id, event_id, event_type, answered_by, "stored event of an unused type");
            if let Some(remarks) = remarks {
                tracing::warn!(conversation_id, event_id, event_type, remarks, "parts of an event could not be parsed");
            }
            accepted("event stored; its type is not used")
        }
        EventOutcome::Unreadable => {
            request_context::set_outcome("quarantined");
            tracing::error!(conversation_id, event_id, event_type, error = remarks, "event stored but not parsed");
            accepted("event stored; it could not be parsed")
        }
    })
}

/// Stores an event. Returns `None` if its call was erased.
async fn store_event(writer: &Writer, event: NewEvent) -> Result<Option<store::Kept>, ApiError> {
    match writer.execute(KeepEvent(Box::new(event))).await {
        Ok(kept) => Ok(Some(kept)),
        Err(WriteError::Rejected(Rejection::Erased)) => Ok(None),
        // Only this status makes ElevenLabs send the event again.
        Err(WriteError::Failed(error)) => {
            Err(ApiError::Unavailable("the event could not be stored; try again later", Some(error.to_string())))
        }
        Err(other) => Err(other.into()),
    }
}

/// Stores a note in place of a recording's event: the time it was received and the result for the audio.
async fn recorded(
    gate: &PostCallReceiver,
    writer: &Writer,
    recording: Result<StoredRecording, RecordingError>,
) -> Result<JsonOk<EventTaken>, ApiError> {
    match recording {
        Ok(StoredRecording { event, path }) => {
            request_context::set_conversation(&event.conversation_id);
            let (conversation_id, bytes) = (event.conversation_id.as_str(), event.audio_bytes);
            let data = json!({"conversation_id": conversation_id, "audio_bytes": bytes, "kept": path.is_some()});
            let named = event.event_type.as_deref().filter(|named| named.contains("audio"));
            let note = json!({"type": named.unwrap_or("post_call_audio"), "data": data});
            if store_event(writer, event::parse_body(Bytes::from(note.to_string()))).await?.is_none() {
                erase_recording(gate.recordings(), event.conversation_id.clone()).await?;
                count_ignored();
                tracing::info!(conversation_id, "recording dropped: call erased");
                return Ok(accepted("recording dropped: its call was erased"));
            }
            if path.is_some() {
                METRICS.recordings_total.with_label_values(&["kept"]).inc();
                tracing::info!(conversation_id, bytes, "stored recording");
                Ok(accepted("recording stored"))
            } else {
                count_ignored();
                tracing::warn!(conversation_id, bytes, "recording dropped: --audio-dir is not set");
                Ok(accepted("recording dropped: this service does not store recordings"))
            }
        }
        // The part without the audio is too long.
        Err(RecordingError::TooLong) => {
            Err(ApiError::BadRequest("body: has more than 1 MiB besides the audio".to_owned()))
        }
        // A retry would not help. Only a note is stored, because the body was too long to hold in memory until it was
        // known to be no recording.
        Err(error) => {
            count_ignored();
            let why = error.to_string();
            let note = json!({"type": "post_call_audio", "data": {"kept": false, "error": &why}});
            let event = event::parse_body(Bytes::from(note.to_string()));
            let event = NewEvent { outcome: EventOutcome::Unreadable, error: Some(why), ..event };
            let event_id = store_event(writer, event).await?.and_then(|kept| kept.event_id);
            tracing::error!(event_id, %error, "recording dropped");
            Ok(accepted("recording dropped: it could not be parsed"))
        }
    }
}

/// Counts a recording that is acknowledged but not stored.
fn count_ignored() {
    METRICS.recordings_total.with_label_values(&["dropped"]).inc();
    request_context::set_outcome("dropped");
}
