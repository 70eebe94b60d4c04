//! Processes post-call deliveries with a verified signature: events are stored and reconciled, recordings are noted.

use super::event::{count_event, parse_body};
use super::job::WriteError;
use super::reconciler::MAX_RESPONSE_WAIT;
use super::writer::Writer;
use crate::domain::reconcile::Counts;
use crate::domain::{ConversationId, EventOutcome, NewEvent};
use crate::elevenlabs::{RecordingNote, TEST_EVENT_TYPE, unreadable_recording_note};
use crate::recordings::{AudioEvent, RecordingError, Recordings, StoredRecording};
use crate::store::command::{KeepEvent, NoteRecordings};
use crate::store::{Receipt, Rejection};
use crate::telemetry::metrics::METRICS;
use bytes::Bytes;
use std::io;
use std::time::Duration;

/// Maximum time that a long event's parse permit is held for the reconciliation of its call.
const MAX_HOLD: Duration = Duration::from_secs(30);

/// Storage of ElevenLabs' events and recordings. Cheap to clone.
#[derive(Clone)]
pub struct PostCallService {
    writer: Writer,
    recordings: Option<Recordings>,
}

/// The effect of a delivery. Its sender need not send it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryEffect {
    /// The event is stored and used.
    Applied,
    /// The event is stored; its type is not used.
    Unused,
    /// The event is stored, but could not be parsed.
    Unreadable,
    /// The event is a test of `doctor`, which is not stored.
    Test,
    /// The event was stored before.
    Duplicate,
    /// The event was dropped, because its call was erased.
    CallErased,
    /// The recording is stored.
    RecordingStored,
    /// The recording was dropped, because its call was erased.
    RecordedCallErased,
    /// The recording was dropped, because this service stores none.
    RecordingsDisabled,
    /// The recording was dropped, because its type does not replace another one, or is that of an unredacted copy.
    RecordingTypeUnused,
    /// The recording was dropped, because it could not be parsed.
    RecordingUnreadable,
}

/// Reason why a delivery was not accepted.
#[derive(Debug)]
pub enum PostCallError {
    /// The event was not stored.
    Write(WriteError),
    /// The recording of an erased call could not be deleted.
    Recording(io::Error),
    /// The part of a recording's body that is not audio is too long.
    TooLong,
    /// The service is stopping.
    Stopping,
}

impl From<WriteError> for PostCallError {
    fn from(error: WriteError) -> Self {
        Self::Write(error)
    }
}

impl PostCallService {
    /// Creates a service on a writer and the storage of recordings, if there is one.
    pub fn new(writer: Writer, recordings: Option<Recordings>) -> Self {
        Self { writer, recordings }
    }

    /// Parses an event from its redacted body, on a blocking thread.
    ///
    /// # Errors
    /// [`PostCallError::Stopping`].
    pub async fn parse(&self, body: Bytes) -> Result<NewEvent, PostCallError> {
        let parser = self.writer.event_parser();
        let parsed = tokio::task::spawn_blocking(move || parser.parse(body)).await;
        parsed.map_err(|_| PostCallError::Stopping)
    }

    /// Stores an event and everything that was parsed from it, and waits a short time for the reconciliation of its
    /// call. `hold` is dropped after the reconciliation, which parses the event again.
    ///
    /// # Errors
    /// See [`PostCallError`].
    pub async fn store(
        &self,
        event: NewEvent,
        hold: Option<impl Send + 'static>,
    ) -> Result<DeliveryEffect, PostCallError> {
        let (event_type, conversation) = (event.event_type.clone(), event.conversation_id.clone());
        let (outcome, remarks, answered_by) = (event.outcome, event.error.clone(), event.answered_by.clone());
        let kinds = event.remarks.clone();
        let event_type = event_type.as_deref().unwrap_or("(unknown)");
        if event_type == TEST_EVENT_TYPE {
            tracing::info!("test delivery received");
            return Ok(DeliveryEffect::Test);
        }
        let conversation_id = conversation.as_ref().map(ConversationId::as_str);
        let Some(receipt) = self.store_unless_erased(event).await? else {
            tracing::info!(conversation_id, event_type, "event dropped: call erased");
            return Ok(DeliveryEffect::CallErased);
        };
        let event_id = receipt.event_id;
        if receipt.replayed {
            return Ok(DeliveryEffect::Duplicate);
        }
        count_event(outcome, &kinds);
        match outcome {
            EventOutcome::Applied => {
                if let Some(answered_by) = answered_by {
                    tracing::info!(
                        conversation_id,
                        event_id,
                        event_type,
                        answered_by,
                        "stored answering machine detection"
                    );
                }
                let due = conversation.as_ref().filter(|_| receipt.due);
                self.await_reconciliation(due, conversation_id, event_type, hold).await;
            }
            EventOutcome::Ignored => {
                tracing::info!(conversation_id, event_id, event_type, answered_by, "stored event of an unused type");
            }
            EventOutcome::Unreadable => {
                tracing::error!(conversation_id, event_id, event_type, error = remarks, "event stored but not parsed");
                return Ok(DeliveryEffect::Unreadable);
            }
        }
        if let Some(remarks) = remarks {
            tracing::warn!(conversation_id, event_id, event_type, remarks, "parts of an event could not be parsed");
        }
        Ok(if outcome == EventOutcome::Applied { DeliveryEffect::Applied } else { DeliveryEffect::Unused })
    }

    /// Stores a note in place of a recording's event: the time it was received and the result for the audio.
    ///
    /// # Errors
    /// See [`PostCallError`].
    pub async fn note_recording(
        &self,
        recording: Result<StoredRecording, RecordingError>,
    ) -> Result<DeliveryEffect, PostCallError> {
        match recording {
            Ok(StoredRecording { event, path }) => self.note_received(event, path.is_some()).await,
            Err(RecordingError::TooLong) => Err(PostCallError::TooLong),
            // A retry would not help. Only a note is stored, because the body was too long to hold in memory until it
            // was known to be no recording.
            Err(error) => {
                let why = error.to_string();
                let event = parse_body(Bytes::from(unreadable_recording_note(&why)));
                let event = NewEvent { outcome: EventOutcome::Unreadable, error: Some(why), ..event };
                let event_id = self.store_unless_erased(event).await?.and_then(|receipt| receipt.event_id);
                count_recording("dropped");
                tracing::error!(event_id, %error, "recording dropped");
                Ok(DeliveryEffect::RecordingUnreadable)
            }
        }
    }

    /// Stores a note about a recording that was received completely.
    async fn note_received(&self, event: AudioEvent, kept: bool) -> Result<DeliveryEffect, PostCallError> {
        let (conversation_id, bytes) = (event.conversation_id.as_str(), event.audio_bytes);
        let note = RecordingNote {
            event_type: event.event_type.as_deref(),
            conversation_id: &event.conversation_id,
            audio_bytes: bytes,
            kept,
        };
        if self.store_unless_erased(parse_body(Bytes::from(note.body()))).await?.is_none() {
            if let Some(recordings) = self.recordings.clone() {
                recordings.remove_async(event.conversation_id.clone()).await.map_err(PostCallError::Recording)?;
            }
            count_recording("dropped");
            tracing::info!(conversation_id, "recording dropped: call erased");
            return Ok(DeliveryEffect::RecordedCallErased);
        }
        if kept {
            self.writer.execute(NoteRecordings(vec![event.conversation_id.clone()], true)).await?;
            count_recording("kept");
            tracing::info!(conversation_id, bytes, "stored recording");
            Ok(DeliveryEffect::RecordingStored)
        } else if self.recordings.is_none() {
            count_recording("dropped");
            tracing::warn!(conversation_id, bytes, "recording dropped: --audio-dir is not set");
            Ok(DeliveryEffect::RecordingsDisabled)
        } else {
            count_recording("dropped");
            let event_type = event.event_type.as_deref();
            tracing::warn!(conversation_id, bytes, event_type, "recording dropped: only post_call_audio replaces one");
            Ok(DeliveryEffect::RecordingTypeUnused)
        }
    }

    /// Stores an event. Returns `None` if its call was erased.
    async fn store_unless_erased(&self, event: NewEvent) -> Result<Option<Receipt>, WriteError> {
        match self.writer.execute(KeepEvent(Box::new(event))).await {
            Ok(receipt) => Ok(Some(receipt)),
            Err(WriteError::Rejected(Rejection::Erased)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits a short time for the reconciliation of the call of a stored event, if it is due.
    async fn await_reconciliation(
        &self,
        due: Option<&ConversationId>,
        conversation_id: Option<&str>,
        event_type: &str,
        hold: Option<impl Send + 'static>,
    ) {
        let counts = match due {
            Some(id) => self.writer.requests().reconciled(id, MAX_RESPONSE_WAIT).await,
            None => Ok(None),
        };
        match (counts, due, hold) {
            (Ok(Some(Counts { live_only, matched, added, corrected, repeated })), ..) => tracing::info!(
                conversation_id,
                by = event_type,
                live_only,
                matched,
                added,
                corrected,
                repeated,
                "reconciled call"
            ),
            (Ok(None), ..) => {
                tracing::info!(conversation_id, by = event_type, "stored record without transcript");
            }
            (Err(_), due, hold) => {
                tracing::info!(conversation_id, event_type, "reconciliation of call deferred");
                if let (Some(id), Some(hold)) = (due.cloned(), hold) {
                    let requests = self.writer.requests().clone();
                    tokio::spawn(async move {
                        let _ = requests.reconciled(&id, MAX_HOLD).await;
                        drop(hold);
                    });
                }
            }
        }
    }
}

fn count_recording(effect: &str) {
    METRICS.recordings_total.with_label_values(&[effect]).inc();
}
