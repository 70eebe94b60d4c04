//! Post-call deliveries of ElevenLabs, accepted only with a valid signature. The signature covers the raw bytes, so
//! nothing in a body is trusted before all of it was received; a compressed body is decompressed after its signature
//! was verified.
//!
//! Events are small, and are held in memory until then. A recording may have hundreds of megabytes: once its audio
//! begins, the body is streamed into a temporary file, and the file is kept only if the signature is valid.

use crate::api::body::{BodyBuffer, BufferedBody, memory_for, next_piece};
use crate::api::content_encoding::{coding_of, unpacked};
use crate::api::error::ApiError;
use crate::api::error_code::ErrorCode;
use crate::api::memory_budget::{Budget, Hold, Sender};
use crate::api::refusal_log::log_refusal;
use crate::domain::Timestamp;
use crate::elevenlabs::signature::{self, Verifier};
use crate::recordings::{RecordingError, RecordingUpload, Recordings, StoredRecording, audio_starts_in};
use crate::secret::Secret;
use crate::sys::gzip::{Coding, decompress_prefix};
use bytes::Bytes;
use futures_util::Stream;
use poem::web::headers::{ContentLength, HeaderMapExt as _};
use poem::{Body, Request, Result};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// Settings of the post-call webhook: secrets, limits and the folder for recordings.
#[derive(Debug, Clone)]
pub struct PostCallSettings {
    /// Secrets; one of them must have signed a delivery. Without a secret, all deliveries are rejected.
    pub secrets: Vec<Secret>,
    /// Maximum difference between the time of a signature and the present, in either direction.
    pub tolerance: Duration,
    /// Maximum size of an event's body, in bytes.
    pub max_body: usize,
    /// Maximum size of a recording's body, in bytes.
    pub max_audio_body: usize,
    /// Storage of recordings; without it they are dropped.
    pub recordings: Option<Recordings>,
}

impl PostCallSettings {
    /// Settings that reject all deliveries.
    pub fn disabled() -> Self {
        Self { secrets: Vec::new(), tolerance: Duration::ZERO, max_body: 0, max_audio_body: 0, recordings: None }
    }
}

/// Maximum number of recordings that are received concurrently, each in its own file.
const MAX_RECORDINGS: usize = 4;

/// Maximum number of recording files, including files of displaced recordings that are not deleted yet.
const MAX_FILES: usize = 2 * MAX_RECORDINGS;

/// Maximum time that a recording waits for faster ones to end.
const RECORDING_PERMIT_TIMEOUT: Duration = Duration::from_secs(20);

/// Total size of event bodies that may be parsed and stored concurrently, in bytes. Parsing takes several times the
/// memory of the body.
const PARSE_BUDGET_BYTES: usize = 16 << 20;

/// Size per semaphore permit of the parse budget, in bytes.
const PERMIT_BYTES: usize = 1024;

/// Maximum size of an event that is parsed without a permit, in bytes.
const ALWAYS_PARSED_BYTES: usize = 64 * 1024;

/// Maximum time between two chunks of a body.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum time to receive an event.
const EVENT_TIMEOUT: Duration = Duration::from_mins(1);

/// Maximum time to receive a recording.
const RECORDING_TIMEOUT: Duration = Duration::from_mins(15);

/// Size at which a body is first checked for being a recording, in bytes; it is checked again each time it has doubled.
const FIRST_SNIFF_BYTES: usize = 64 * 1024;

/// A delivery with a valid signature.
#[derive(Debug)]
pub enum SignedDelivery {
    /// An event.
    Event(ReceivedEvent),
    /// A recording, and the result of storing it.
    Recording(Result<StoredRecording, RecordingError>),
}

/// The body of an event. Dropping it releases its share of the memory budget.
#[derive(Debug)]
pub struct ReceivedEvent {
    /// The bytes as they were received, possibly compressed.
    body: Bytes,
    coding: Option<Coding>,
    _memory: Option<Hold>,
}

/// Receiver of post-call deliveries.
#[derive(Clone)]
pub struct PostCallReceiver {
    settings: Arc<PostCallSettings>,
    permits: Budget,
    files: Arc<Semaphore>,
    memory: Budget,
    reading: Arc<Semaphore>,
}

impl PostCallReceiver {
    /// Creates a receiver; long events share this memory budget with other bodies.
    pub fn new(settings: PostCallSettings, memory: Budget) -> Self {
        Self {
            settings: Arc::new(settings),
            permits: Budget::new(MAX_RECORDINGS, RECORDING_PERMIT_TIMEOUT),
            files: Arc::new(Semaphore::new(MAX_FILES)),
            memory,
            reading: Arc::new(Semaphore::new(PARSE_BUDGET_BYTES / PERMIT_BYTES)),
        }
    }

    /// Returns a receiver that rejects all deliveries.
    pub fn disabled() -> Self {
        Self::new(PostCallSettings::disabled(), memory_for(0))
    }

    /// Returns true if a signing secret is set. Without one, all deliveries are rejected.
    pub(in crate::api) fn has_secret(&self) -> bool {
        !self.settings.secrets.is_empty()
    }

    /// Returns the storage of recordings, if there is one.
    pub fn recordings(&self) -> Option<Recordings> {
        self.settings.recordings.clone()
    }

    /// Receives a body completely and verifies its signature, which covers the bytes as they were sent.
    ///
    /// # Errors
    /// 401: the signature is missing or invalid. 413: the body is too long. 415: the `Content-Encoding` is not
    /// supported. 400: the body is incomplete. 503: too many bodies arrive at once, or a recording cannot be written to
    /// disk.
    pub async fn receive(&self, request: &Request, body: Body) -> Result<SignedDelivery, ApiError> {
        let (settings, headers) = (&*self.settings, request.headers());
        let now = Timestamp::now().unix_micros().div_euclid(1_000_000);
        let header = headers.get(signature::HEADER).map(poem::http::HeaderValue::as_bytes);
        let mut pieces = std::pin::pin!(body.into_bytes_stream());
        let mut verification = match Verifier::begin(header, &settings.secrets, now, settings.tolerance) {
            Ok(begun) => begun,
            Err(refusal) => {
                drain(&mut pieces, 1 << 20).await;
                return Err(unauthorized(refusal));
            }
        };
        let coding = coding_of(headers)?;
        let longest = settings.max_body.max(settings.max_audio_body);
        let announced = headers.typed_get::<ContentLength>().map_or(0, |ContentLength(length)| length);
        if usize::try_from(announced).is_ok_and(|length| length > longest) {
            return Err(ApiError::TooLarge(longest));
        }
        let begun = Instant::now();
        let end = begun + EVENT_TIMEOUT;
        let sender = Sender::from_request(request);
        // Long enough to tell a recording from an event.
        let mut gathering = BodyBuffer::new(&self.memory, settings.max_body.max(2 * FIRST_SNIFF_BYTES));
        let mut sniff_at = FIRST_SNIFF_BYTES;
        while let Some(piece) = next(&mut pieces, end, gathering.hold()).await? {
            verification.update(&piece);
            if let Err(error) = gathering.add(piece, || sender).await {
                drop(gathering);
                drain(&mut pieces, settings.max_body).await;
                return Err(error);
            }
            if gathering.bytes().len() >= sniff_at {
                if is_recording(coding, gathering.bytes()) {
                    let BufferedBody { bytes: beginning, hold: memory } = gathering.so_far();
                    let arriving = IncomingRecording { beginning, memory, coding, sender, begun };
                    return self.stream(verification, arriving, pieces).await;
                }
                sniff_at = gathering.bytes().len() * 2;
            }
            if gathering.bytes().len() > settings.max_body {
                return Err(ApiError::TooLarge(settings.max_body));
            }
        }
        verification.finish().map_err(unauthorized)?;
        let BufferedBody { bytes: body, hold: memory } = gathering.end();
        if !is_recording(coding, &body) {
            return Ok(SignedDelivery::Event(ReceivedEvent { body, coding, _memory: memory }));
        }
        let whole = IncomingRecording { beginning: body.clone(), memory: None, coding, sender: sender.proved(), begun };
        match self.store(whole).await? {
            // A short body is stored as it was received, like any other event that cannot be parsed.
            SignedDelivery::Recording(Err(_)) if body.len() <= settings.max_body => {
                Ok(SignedDelivery::Event(ReceivedEvent { body, coding, _memory: memory }))
            }
            other => Ok(other),
        }
    }

    /// Waits until a long event may be parsed and stored. Hold the permit until then. Short events need no permit.
    pub async fn acquire_parse_permit(&self, event: &ReceivedEvent) -> Option<OwnedSemaphorePermit> {
        let length = if event.coding.is_some() { self.settings.max_body } else { event.body.len() };
        if length <= ALWAYS_PARSED_BYTES {
            return None;
        }
        let permits = length.min(PARSE_BUDGET_BYTES) / PERMIT_BYTES;
        self.reading.clone().acquire_many_owned(u32::try_from(permits).ok()?).await.ok()
    }

    /// Decompresses an event's body if it is compressed.
    ///
    /// # Errors
    /// 413: the decompressed body is too long. 400: the body does not match its `Content-Encoding`.
    pub async fn unpack(&self, event: &ReceivedEvent) -> Result<Bytes, ApiError> {
        let Some(coding) = event.coding else { return Ok(event.body.clone()) };
        let (packed, limit) = (event.body.clone(), self.settings.max_body);
        let unpacking = tokio::task::spawn_blocking(move || unpacked(coding, &packed, limit).map(Bytes::from));
        unpacking.await.map_err(|_| stopping())?
    }

    /// Receives the rest of a recording.
    async fn stream(
        &self,
        mut verification: Verifier,
        arriving: IncomingRecording,
        mut pieces: impl Stream<Item = io::Result<Bytes>> + Unpin,
    ) -> Result<SignedDelivery, ApiError> {
        let mut length = arriving.beginning.len();
        let (permit, intake) = self.begin(arriving).await?;
        let (end, limit) = (Instant::now() + RECORDING_TIMEOUT, self.settings.max_audio_body);
        while let Some(piece) = next(&mut pieces, end, Some(&permit)).await? {
            verification.update(&piece);
            length += piece.len();
            if length > limit {
                return Err(ApiError::TooLarge(limit));
            }
            permit.receive(piece.len());
            tokio::select! {
                () = intake.push(piece) => {}
                error = permit.displaced() => return Err(error),
            }
        }
        // On an error the upload is dropped, which deletes the temporary file.
        verification.finish().map_err(unauthorized)?;
        permit.settle();
        self.finish(intake).await
    }

    /// Stores a short recording that was received completely.
    async fn store(&self, arriving: IncomingRecording) -> Result<SignedDelivery, ApiError> {
        let (_permit, intake) = self.begin(arriving).await?;
        self.finish(intake).await
    }

    /// Begins to store a recording, as soon as a permit is free.
    async fn begin(&self, arriving: IncomingRecording) -> Result<(Hold, RecordingUpload), ApiError> {
        let IncomingRecording { beginning, memory, coding, sender, begun } = arriving;
        let limit = self.settings.max_audio_body;
        if beginning.len() > limit {
            return Err(ApiError::TooLarge(limit));
        }
        let permit = self.permits.hold(sender, begun, beginning.len());
        match &memory {
            None => permit.grow(1).await?,
            Some(memory) => tokio::select! {
                grown = permit.grow(1) => grown?,
                error = memory.displaced() => return Err(error),
            },
        }
        let unavailable =
            |cause| ApiError::Unavailable(ErrorCode::StorageUnavailable, "recordings cannot be stored now", cause);
        let file = self.files.clone().try_acquire_owned().map_err(|_| unavailable(None))?;
        let packed = coding.map(|coding| (coding, beginning.clone()));
        let intake = RecordingUpload::start(self.settings.recordings.clone(), packed, limit as u64, file)
            .map_err(|error| unavailable(Some(error.to_string())))?;
        intake.push(beginning).await;
        Ok((permit, intake))
    }

    /// Stores a recording with a verified sender.
    async fn finish(&self, intake: RecordingUpload) -> Result<SignedDelivery, ApiError> {
        match intake.finish().await {
            Err(RecordingError::Write(error)) => Err(ApiError::Unavailable(
                ErrorCode::StorageUnavailable,
                "the recording could not be stored; try again later",
                Some(error.to_string()),
            )),
            other => Ok(SignedDelivery::Recording(other)),
        }
    }
}

/// A recording, as far as it was received.
struct IncomingRecording {
    beginning: Bytes,
    /// Memory share of the beginning.
    memory: Option<Hold>,
    coding: Option<Coding>,
    sender: Sender,
    begun: Instant,
}

pub(in crate::api) fn stopping() -> ApiError {
    ApiError::stopping()
}

fn unauthorized(refusal: signature::SignatureError) -> ApiError {
    log_refusal(refusal.cause(), &refusal.to_string());
    ApiError::Unauthorized {
        code: ErrorCode::InvalidSignature,
        details: refusal.to_string(),
        challenge: signature::HEADER,
    }
}

/// Receives the rest of a rejected body, up to `longest` bytes and for a short time, because the sender then receives
/// the response instead of a broken connection.
async fn drain(pieces: &mut (impl Stream<Item = io::Result<Bytes>> + Unpin), longest: usize) {
    let end = Instant::now() + Duration::from_secs(2);
    let mut length = 0;
    while let Ok(Some(piece)) = next(pieces, end, None).await {
        length += piece.len();
        if length > longest {
            return;
        }
    }
}

/// Returns the next chunk of a body. Fails after a stall, or at the end of the body's time.
async fn next(
    pieces: &mut (impl Stream<Item = io::Result<Bytes>> + Unpin),
    end: Instant,
    hold: Option<&Hold>,
) -> Result<Option<Bytes>, ApiError> {
    let end = end.min(Instant::now() + STALL_TIMEOUT);
    let slow = |_| ApiError::body_rule("incomplete: received too slowly");
    timeout_at(end, next_piece(pieces, hold)).await.map_err(slow)?
}

/// Returns true if a body begins like a recording.
fn is_recording(coding: Option<Coding>, beginning: &[u8]) -> bool {
    const NAME: &[u8] = b"\"full_audio\"";
    let unpacked;
    let beginning = match coding {
        None => beginning,
        Some(coding) => {
            unpacked = decompress_prefix(coding, beginning, beginning.len().max(FIRST_SNIFF_BYTES));
            &unpacked
        }
    };
    // Events do not contain this name, so the search for it spares them the parser.
    beginning.windows(NAME.len()).any(|window| window == NAME) && audio_starts_in(beginning)
}
