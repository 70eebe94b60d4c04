//! What the platform posts after a call: taken only with its signature, which is over the raw bytes, so that nothing of a
//! body is believed before all of it has come.
//!
//! Events are small, and held in memory until then. A recording may be hundreds of megabytes: as soon as its audio
//! begins, the body goes through to a file aside, and the file is kept only if the signature fits.

use super::error::ApiError;
use crate::model::Timestamp;
use crate::recording::{Intake, Kept, Recordings, Unreadable, begins_in};
use crate::secret::Secret;
use crate::signature::{self, Verification};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use poem::http::HeaderMap;
use poem::web::headers::{ContentLength, HeaderMapExt as _};
use poem::{Body, Result};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
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

/// Greatest number of recordings that arrive at once.
const MAX_RECORDINGS: usize = 4;

/// How much memory the bodies of long events take at once, in bytes, if none may be longer. Before the last byte it is not
/// known who sends one.
const EVENTS_MEMORY: usize = 64 << 20;

/// Of how much of it the events may be read and stored at once, each of which takes some times the memory of its body.
const READ_AT_ONCE: usize = 16 << 20;

/// The unit in which this memory is given out, in bytes.
const PORTION: usize = 1024;

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
    pub body: Bytes,
    memory: Option<OwnedSemaphorePermit>,
}

/// Takes deliveries.
#[derive(Clone)]
pub struct Gate {
    settings: Arc<PostCallSettings>,
    recordings: Arc<Semaphore>,
    events_memory: Arc<Semaphore>,
    reading: Arc<Semaphore>,
}

impl Gate {
    /// Takes deliveries by these settings.
    pub fn new(settings: PostCallSettings) -> Self {
        let memory = EVENTS_MEMORY.max(settings.max_body).div_ceil(PORTION).min(Semaphore::MAX_PERMITS);
        Self {
            settings: Arc::new(settings),
            recordings: Arc::new(Semaphore::new(MAX_RECORDINGS)),
            events_memory: Arc::new(Semaphore::new(memory)),
            reading: Arc::new(Semaphore::new(READ_AT_ONCE / PORTION)),
        }
    }

    /// A gate that takes nothing.
    pub fn closed() -> Self {
        Self::new(PostCallSettings::closed())
    }

    /// Where recordings are kept, if they are.
    pub fn recordings(&self) -> Option<Recordings> {
        self.settings.recordings.clone()
    }

    /// Takes a body to its end and verifies it.
    ///
    /// # Errors
    /// 401 without a fitting signature; 413; 400 for a body that broke off; 503 when too much arrives at once or the disk
    /// does not take a recording.
    pub async fn take(&self, headers: &HeaderMap, body: Body) -> Result<Delivered, ApiError> {
        let settings = &*self.settings;
        let now = Timestamp::now().unix_micros().div_euclid(1_000_000);
        let header = headers.get(signature::HEADER).map(poem::http::HeaderValue::as_bytes);
        let mut verification = match Verification::begin(header, &settings.secrets, now, settings.tolerance) {
            Ok(begun) => begun,
            Err(refusal) => {
                drain(&mut std::pin::pin!(body.into_bytes_stream()), 1 << 20).await;
                return Err(unauthorized(refusal));
            }
        };
        let longest = settings.max_body.max(settings.max_audio_body);
        let announced = headers.typed_get::<ContentLength>().map_or(0, |ContentLength(length)| length);
        let Some(announced) = usize::try_from(announced).ok().filter(|length| *length <= longest) else {
            return Err(ApiError::TooLarge(longest));
        };
        let started = Instant::now();
        let mut pieces = std::pin::pin!(body.into_bytes_stream());
        let mut taken = BytesMut::new();
        let mut look_at = FIRST_LOOK;
        let mut memory = None;
        while let Some(piece) = next(&mut pieces, started + LONGEST.0).await? {
            verification.update(&piece);
            taken.extend_from_slice(&piece);
            if taken.len() >= look_at {
                if is_recording(&taken) {
                    drop(memory);
                    return self.stream(verification, taken.freeze(), pieces).await;
                }
                look_at = taken.len() * 2;
                let length = look_at.max(announced).min(settings.max_body);
                if !self.give_memory(&mut memory, length) {
                    drop((taken, memory));
                    drain(&mut pieces, settings.max_body).await;
                    return Err(ApiError::Unavailable("too many long events arrive at once; try again shortly", None));
                }
                taken.reserve(length.saturating_sub(taken.len()));
            }
            if taken.len() > settings.max_body {
                return Err(ApiError::TooLarge(settings.max_body));
            }
        }
        if is_recording(&taken) {
            let body = taken.freeze();
            return match self.stream(verification, body.clone(), pieces).await? {
                // Short enough to be kept as it came, like any other event that cannot be read.
                Delivered::Recording(Err(_)) if body.len() <= settings.max_body => {
                    Ok(Delivered::Event(Taken { body, memory }))
                }
                other => Ok(other),
            };
        }
        verification.finish().map_err(unauthorized)?;
        Ok(Delivered::Event(Taken { body: taken.freeze(), memory }))
    }

    /// Makes what was given for a body enough for this length, if there is so much left.
    fn give_memory(&self, given: &mut Option<OwnedSemaphorePermit>, length: usize) -> bool {
        let has = given.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let Ok(more) = u32::try_from(length.div_ceil(PORTION).saturating_sub(has)) else { return false };
        let Ok(more) = self.events_memory.clone().try_acquire_many_owned(more) else { return false };
        match given {
            Some(given) => given.merge(more),
            None => *given = Some(more),
        }
        true
    }

    /// Waits until a long event may be read and stored, for which what is given back is to be held. Short ones need not wait.
    pub async fn turn_to_read(&self, event: &Taken) -> Option<SemaphorePermit<'_>> {
        let portions = event.memory.as_ref()?.num_permits().min(READ_AT_ONCE / PORTION);
        self.reading.acquire_many(u32::try_from(portions).ok()?).await.ok()
    }

    /// Takes the rest of a recording, whose beginning was taken already.
    async fn stream(
        &self,
        mut verification: Verification,
        beginning: Bytes,
        mut pieces: impl Stream<Item = io::Result<Bytes>> + Unpin,
    ) -> Result<Delivered, ApiError> {
        let limit = self.settings.max_audio_body;
        let Ok(_place) = self.recordings.try_acquire() else {
            return Err(ApiError::Unavailable("too many recordings arrive at once; try again shortly", None));
        };
        let intake = Intake::start(self.settings.recordings.clone(), limit as u64)
            .map_err(|error| ApiError::Unavailable("a recording cannot be taken now", Some(error.to_string())))?;
        let end = Instant::now() + LONGEST.1;
        let mut length = beginning.len();
        intake.feed(beginning).await;
        while let Some(piece) = next(&mut pieces, end).await? {
            verification.update(&piece);
            length += piece.len();
            if length > limit {
                return Err(ApiError::TooLarge(limit));
            }
            intake.feed(piece).await;
        }
        if length > limit {
            return Err(ApiError::TooLarge(limit));
        }
        // Without this the intake is dropped, and with it the file aside.
        verification.finish().map_err(unauthorized)?;
        match intake.finish().await {
            Err(Unreadable::Write(error)) => Err(ApiError::Unavailable(
                "the recording could not be stored; try again later",
                Some(error.to_string()),
            )),
            other => Ok(Delivered::Recording(other)),
        }
    }
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
    while let Ok(Some(piece)) = next(pieces, end).await {
        length += piece.len();
        if length > longest {
            return;
        }
    }
}

/// The next piece of a body, which has to come in time, as all of them have to.
async fn next(
    pieces: &mut (impl Stream<Item = io::Result<Bytes>> + Unpin),
    end: Instant,
) -> Result<Option<Bytes>, ApiError> {
    let broke_off =
        |why: &dyn std::fmt::Display| ApiError::field("body", format_args!("could not be read to its end: {why}"));
    let end = end.min(Instant::now() + STALLED);
    match timeout_at(end, pieces.next()).await {
        Ok(piece) => piece.transpose().map_err(|error| broke_off(&error)),
        Err(_) => Err(broke_off(&"it came too slowly")),
    }
}

/// Whether a body's beginning is that of a recording.
fn is_recording(beginning: &[u8]) -> bool {
    const NAME: &[u8] = b"\"full_audio\"";
    // Events do not have the word, so that they are not read for it.
    beginning.windows(NAME.len()).any(|window| window == NAME) && begins_in(beginning)
}
