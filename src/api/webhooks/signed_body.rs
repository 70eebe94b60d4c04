//! What the platform posts after a call: taken only with its signature, which is over the raw bytes, so that nothing of a
//! body is believed before all of it has come. It is over the body as it came: a packed one is unpacked once it is verified.
//!
//! Events are small, and held in memory until then. A recording may be hundreds of megabytes: as soon as its audio
//! begins, the body goes through to a file aside, and the file is kept only if the signature fits.

use crate::api::body::{Gathering, memory_for, next_piece};
use crate::api::content_encoding::{coding_of, unpacked};
use crate::api::error::ApiError;
use crate::api::memory_budget::{Budget, Hold, Sender};
use crate::domain::Timestamp;
use crate::elevenlabs::signature::{self, Verification};
use crate::recordings::{Intake, Kept, Recordings, Unreadable, begins_in};
use crate::secret::Secret;
use crate::sys::gzip::{Coding, unpack_beginning};
use bytes::Bytes;
use futures_util::Stream;
use poem::web::headers::{ContentLength, HeaderMapExt as _};
use poem::{Body, Request, Result};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// What is taken after a call, and from whom.
#[derive(Debug, Clone)]
pub struct PostCallSettings {
    /// Any of these may have signed; without one nothing is taken.
    pub secrets: Vec<Secret>,
    /// How far the time of a signature may lie from the present, in either direction.
    pub tolerance: Duration,
    /// Greatest length of an event's body, in bytes.
    pub max_body: usize,
    /// Greatest length of a recording's body, in bytes.
    pub max_audio_body: usize,
    /// Where recordings are kept; without this they are dropped.
    pub recordings: Option<Recordings>,
}

impl PostCallSettings {
    /// Nothing is taken.
    pub fn closed() -> Self {
        Self { secrets: Vec::new(), tolerance: Duration::ZERO, max_body: 0, max_audio_body: 0, recordings: None }
    }
}

/// Maximum number of recordings that arrive at once, each in a file of its own.
const MAX_RECORDINGS: usize = 4;

/// Maximum number of files of recordings, which includes those that gave way and are not removed yet.
const MAX_FILES: usize = 2 * MAX_RECORDINGS;

/// How long a recording waits for faster ones to end.
const RECORDING_WAIT: Duration = Duration::from_secs(20);

/// Size of all events that are read and stored at once, in bytes. Each takes some times the memory of its body.
const READ_AT_ONCE: usize = 16 << 20;

/// Unit of [`READ_AT_ONCE`], in bytes.
const PORTION: usize = 1024;

/// Size up to which an event is read without waiting for others, in bytes.
const SHORT: usize = 64 * 1024;

/// How long nothing of a body may come.
const STALLED: Duration = Duration::from_secs(30);

/// How long an event may take to come, and how long a recording.
const LONGEST: (Duration, Duration) = (Duration::from_mins(1), Duration::from_mins(15));

/// From this length on it is looked whether a body is a recording, and again each time that it has doubled.
const FIRST_LOOK: usize = 64 * 1024;

/// A delivery that the platform has signed.
#[derive(Debug)]
pub enum Delivered {
    /// An event.
    Event(Taken),
    /// A recording, and what became of it.
    Recording(Result<Kept, Unreadable>),
}

/// The body of an event. Its share of the memory for long ones is given back when this goes.
#[derive(Debug)]
pub struct Taken {
    /// As it came.
    body: Bytes,
    coding: Option<Coding>,
    _memory: Option<Hold>,
}

/// Takes deliveries.
#[derive(Clone)]
pub struct Gate {
    settings: Arc<PostCallSettings>,
    places: Budget,
    files: Arc<Semaphore>,
    memory: Budget,
    reading: Arc<Semaphore>,
}

impl Gate {
    /// Takes deliveries by these settings; long events share this memory with other bodies.
    pub fn new(settings: PostCallSettings, memory: Budget) -> Self {
        Self {
            settings: Arc::new(settings),
            places: Budget::new(MAX_RECORDINGS, RECORDING_WAIT),
            files: Arc::new(Semaphore::new(MAX_FILES)),
            memory,
            reading: Arc::new(Semaphore::new(READ_AT_ONCE / PORTION)),
        }
    }

    /// A gate that takes nothing.
    pub fn closed() -> Self {
        Self::new(PostCallSettings::closed(), memory_for(0))
    }

    /// Where recordings are kept, if they are.
    pub fn recordings(&self) -> Option<Recordings> {
        self.settings.recordings.clone()
    }

    /// Takes a body to its end and verifies it. The signature is over the bytes as they came, packed or not.
    ///
    /// # Errors
    /// 401 without a fitting signature; 413; 415 for an unknown `Content-Encoding`; 400 for a body that broke off; 503 when
    /// too much arrives at once or the disk does not take a recording.
    pub async fn take(&self, request: &Request, body: Body) -> Result<Delivered, ApiError> {
        let (settings, headers) = (&*self.settings, request.headers());
        let now = Timestamp::now().unix_micros().div_euclid(1_000_000);
        let header = headers.get(signature::HEADER).map(poem::http::HeaderValue::as_bytes);
        let mut pieces = std::pin::pin!(body.into_bytes_stream());
        let mut verification = match Verification::begin(header, &settings.secrets, now, settings.tolerance) {
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
        let end = begun + LONGEST.0;
        let sender = Sender::of(request);
        // Long enough to tell a recording from an event.
        let mut gathering = Gathering::new(&self.memory, settings.max_body.max(2 * FIRST_LOOK));
        let mut look_at = FIRST_LOOK;
        while let Some(piece) = next(&mut pieces, end, gathering.hold()).await? {
            verification.update(&piece);
            if let Err(error) = gathering.add(piece, || sender).await {
                drop(gathering);
                drain(&mut pieces, settings.max_body).await;
                return Err(error);
            }
            if gathering.bytes().len() >= look_at {
                if is_recording(coding, gathering.bytes()) {
                    let (beginning, memory) = gathering.so_far();
                    let arriving = Arriving { beginning, memory, coding, sender, begun };
                    return self.stream(verification, arriving, pieces).await;
                }
                look_at = gathering.bytes().len() * 2;
            }
            if gathering.bytes().len() > settings.max_body {
                return Err(ApiError::TooLarge(settings.max_body));
            }
        }
        verification.finish().map_err(unauthorized)?;
        let (body, memory) = gathering.end();
        if !is_recording(coding, &body) {
            return Ok(Delivered::Event(Taken { body, coding, _memory: memory }));
        }
        let whole = Arriving { beginning: body.clone(), memory: None, coding, sender: sender.proved(), begun };
        match self.store(whole).await? {
            // Short enough to be kept as it came, like any other event that cannot be read.
            Delivered::Recording(Err(_)) if body.len() <= settings.max_body => {
                Ok(Delivered::Event(Taken { body, coding, _memory: memory }))
            }
            other => Ok(other),
        }
    }

    /// Waits until a long event may be read and stored, for which the returned permit is to be held. Short ones need not wait.
    pub async fn turn_to_read(&self, event: &Taken) -> Option<OwnedSemaphorePermit> {
        let length = if event.coding.is_some() { self.settings.max_body } else { event.body.len() };
        if length <= SHORT {
            return None;
        }
        let portions = length.min(READ_AT_ONCE) / PORTION;
        self.reading.clone().acquire_many_owned(u32::try_from(portions).ok()?).await.ok()
    }

    /// Unpacks an event's body if it came packed.
    ///
    /// # Errors
    /// 413 if it becomes too long; 400 if it is not packed as its head says.
    pub async fn unpack(&self, event: &Taken) -> Result<Bytes, ApiError> {
        let Some(coding) = event.coding else { return Ok(event.body.clone()) };
        let (packed, limit) = (event.body.clone(), self.settings.max_body);
        let unpacking = tokio::task::spawn_blocking(move || unpacked(coding, &packed, limit).map(Bytes::from));
        unpacking.await.map_err(|_| stopping())?
    }

    /// Takes the rest of a recording, whose beginning was taken already.
    async fn stream(
        &self,
        mut verification: Verification,
        arriving: Arriving,
        mut pieces: impl Stream<Item = io::Result<Bytes>> + Unpin,
    ) -> Result<Delivered, ApiError> {
        let mut length = arriving.beginning.len();
        let (place, intake) = self.begin(arriving).await?;
        let (end, limit) = (Instant::now() + LONGEST.1, self.settings.max_audio_body);
        while let Some(piece) = next(&mut pieces, end, Some(&place)).await? {
            verification.update(&piece);
            length += piece.len();
            if length > limit {
                return Err(ApiError::TooLarge(limit));
            }
            place.receive(piece.len());
            tokio::select! {
                () = intake.feed(piece) => {}
                error = place.displaced() => return Err(error),
            }
        }
        // Without this the intake is dropped, and with it the file aside.
        verification.finish().map_err(unauthorized)?;
        place.settle();
        self.finish(intake).await
    }

    /// Stores a short recording, which is there as a whole.
    async fn store(&self, arriving: Arriving) -> Result<Delivered, ApiError> {
        let (_place, intake) = self.begin(arriving).await?;
        self.finish(intake).await
    }

    /// Begins to take a recording, once there is a place for it.
    async fn begin(&self, arriving: Arriving) -> Result<(Hold, Intake), ApiError> {
        let Arriving { beginning, memory, coding, sender, begun } = arriving;
        let limit = self.settings.max_audio_body;
        if beginning.len() > limit {
            return Err(ApiError::TooLarge(limit));
        }
        let place = self.places.hold(sender, begun, beginning.len());
        match &memory {
            None => place.grow(1).await?,
            Some(memory) => tokio::select! {
                grown = place.grow(1) => grown?,
                error = memory.displaced() => return Err(error),
            },
        }
        let unavailable = |cause| ApiError::Unavailable("a recording cannot be taken now", cause);
        let file = self.files.clone().try_acquire_owned().map_err(|_| unavailable(None))?;
        let packed = coding.map(|coding| (coding, beginning.clone()));
        let intake = Intake::start(self.settings.recordings.clone(), packed, limit as u64, file)
            .map_err(|error| unavailable(Some(error.to_string())))?;
        intake.feed(beginning).await;
        Ok((place, intake))
    }

    /// Keeps a recording whose sender is proved.
    async fn finish(&self, intake: Intake) -> Result<Delivered, ApiError> {
        match intake.finish().await {
            Err(Unreadable::Write(error)) => Err(ApiError::Unavailable(
                "the recording could not be stored; try again later",
                Some(error.to_string()),
            )),
            other => Ok(Delivered::Recording(other)),
        }
    }
}

/// A recording as far as it has come.
struct Arriving {
    beginning: Bytes,
    /// Of the beginning.
    memory: Option<Hold>,
    coding: Option<Coding>,
    sender: Sender,
    begun: Instant,
}

pub(in crate::api) fn stopping() -> ApiError {
    ApiError::Unavailable("the service is stopping; try again shortly", None)
}

fn unauthorized(refusal: signature::Refusal) -> ApiError {
    // Every event is lost until somebody sets the clock.
    if let signature::Refusal::Stale { age, tolerance } = refusal {
        tracing::warn!(age_seconds = age, tolerance_seconds = tolerance, "refused a signature: {refusal}");
    }
    ApiError::Unauthorized { details: refusal.to_string(), challenge: signature::HEADER }
}

/// Lets a refused sender end, if it does so soon and within so many bytes, so that it hears why instead of a broken
/// connection.
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

/// Returns the next piece of a body, which has to come in time, as all of them have to.
async fn next(
    pieces: &mut (impl Stream<Item = io::Result<Bytes>> + Unpin),
    end: Instant,
    hold: Option<&Hold>,
) -> Result<Option<Bytes>, ApiError> {
    let end = end.min(Instant::now() + STALLED);
    let slow = |_| ApiError::field("body", "could not be read to its end: it came too slowly");
    timeout_at(end, next_piece(pieces, hold)).await.map_err(slow)?
}

/// Whether a body's beginning is that of a recording.
fn is_recording(coding: Option<Coding>, beginning: &[u8]) -> bool {
    const NAME: &[u8] = b"\"full_audio\"";
    let unpacked;
    let beginning = match coding {
        None => beginning,
        Some(coding) => {
            unpacked = unpack_beginning(coding, beginning, beginning.len().max(FIRST_LOOK));
            &unpacked
        }
    };
    // Events do not have the word, so that they are not read for it.
    beginning.windows(NAME.len()).any(|window| window == NAME) && begins_in(beginning)
}
