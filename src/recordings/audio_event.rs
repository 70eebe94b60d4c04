//! A streaming parser of audio events, `{"type", "event_timestamp", "data": {"agent_id", "conversation_id",
//! "full_audio"}}`. Audio is decoded while the rest of the body is still being received.
//!
//! The fields may be in any order, and others are ignored. An audio event is recognized by a string `data.full_audio`
//! and any type whose name contains "audio", because ElevenLabs has announced types without describing them.

use crate::domain::ConversationId;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::read::DecoderReader;
use std::cell::RefCell;
use std::fmt;
use std::io::{self, Read, Write};
use std::rc::Rc;
use struson::reader::{JsonReader, JsonStreamReader, ReaderError, ReaderSettings, ValueType};

/// Base64 with or without padding, because senders differ.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Maximum size of a body without its audio, in bytes. ElevenLabs' own have 300.
const MAX_NON_AUDIO_BYTES: u64 = 1 << 20;

/// Maximum length of a string field, in bytes.
const MAX_TEXT_BYTES: u64 = 2048;

/// An audio event without the audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioEvent {
    /// Conversation that was recorded.
    pub conversation_id: ConversationId,
    /// Event type as received.
    pub event_type: Option<String>,
    /// Size of the decoded audio, in bytes.
    pub audio_bytes: u64,
}

/// The reason why a body is not a valid recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The body ended early, or could not be received.
    #[error("the recording ended early: {0}")]
    BrokenOff(io::Error),
    /// The audio could not be written.
    #[error("cannot write the recording: {0}")]
    Write(io::Error),
    /// The body, or its part that is not audio, exceeds the maximum size.
    #[error("the recording is too long")]
    TooLong,
    /// The body does not have the documented form; the text names the field.
    #[error("invalid recording: {0}")]
    Malformed(String),
}

/// Reads a body of at most `limit` bytes completely, and writes its audio to `out`.
///
/// # Errors
/// See [`RecordingError`]. Some audio may have been written.
pub fn read(body: impl Read, out: &mut impl Write, limit: u64) -> Result<AudioEvent, RecordingError> {
    AudioEventReader::new(body, limit).run(out)
}

/// Returns whether the audio of an audio event starts within these first bytes of a body.
pub fn audio_starts_in(prefix: &[u8]) -> bool {
    let reading = AudioEventReader::new(prefix, u64::MAX);
    let state = reading.state.clone();
    // A prefix always ends early, so the error is ignored.
    let _ = reading.run(&mut io::sink());
    state.borrow().audio_began
}

/// State that is shared with the body's reader: the remaining limits, and the reason for an error.
struct ReaderState {
    left: u64,
    rest_left: u64,
    in_audio: bool,
    audio_began: bool,
    failure: Option<RecordingError>,
}

/// A body that counts and limits the bytes that are read from it.
struct LimitedReader<R> {
    inner: R,
    state: Rc<RefCell<ReaderState>>,
}

impl<R: Read> Read for LimitedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state.borrow_mut();
        let count = match self.inner.read(buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                let told = io::Error::from(error.kind());
                state.failure = Some(RecordingError::BrokenOff(error));
                return Err(told);
            }
        };
        let length = count as u64;
        let rest = if state.in_audio { 0 } else { length };
        if let (Some(left), Some(rest_left)) = (state.left.checked_sub(length), state.rest_left.checked_sub(rest)) {
            state.left = left;
            state.rest_left = rest_left;
            Ok(count)
        } else {
            state.failure = Some(RecordingError::TooLong);
            Err(io::Error::from(io::ErrorKind::FileTooLarge))
        }
    }
}

/// A body without a leading byte order mark.
struct WithoutMark<R> {
    inner: R,
    begun: bool,
}

impl<R: Read> Read for WithoutMark<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const MARK: &[u8] = b"\xEF\xBB\xBF";
        let mut count = self.inner.read(buffer)?;
        if !std::mem::replace(&mut self.begun, true) && buffer[..count].starts_with(MARK) {
            buffer.copy_within(MARK.len()..count, 0);
            count -= MARK.len();
            if count == 0 {
                return self.inner.read(buffer);
            }
        }
        Ok(count)
    }
}

struct AudioEventReader<R: Read> {
    json: JsonStreamReader<WithoutMark<LimitedReader<R>>>,
    state: Rc<RefCell<ReaderState>>,
    conversation_id: Option<String>,
    event_type: Option<String>,
    audio_bytes: Option<u64>,
}

impl<R: Read> AudioEventReader<R> {
    fn new(body: R, limit: u64) -> Self {
        let state = ReaderState {
            left: limit,
            rest_left: MAX_NON_AUDIO_BYTES,
            in_audio: false,
            audio_began: false,
            failure: None,
        };
        let state = Rc::new(RefCell::new(state));
        let body = WithoutMark { inner: LimitedReader { inner: body, state: state.clone() }, begun: false };
        let settings = ReaderSettings { track_path: false, ..ReaderSettings::default() };
        let json = JsonStreamReader::new_custom(body, settings);
        Self { json, state, conversation_id: None, event_type: None, audio_bytes: None }
    }

    fn run(mut self, out: &mut impl Write) -> Result<AudioEvent, RecordingError> {
        self.event(out)?;
        let Self { json, state, conversation_id, event_type, audio_bytes } = self;
        json.consume_trailing_whitespace().map_err(|error| unreadable(&state, &error))?;
        let malformed = |what: &str| RecordingError::Malformed(what.to_owned());
        if event_type.as_deref().is_some_and(|named| !is_audio(named)) {
            return Err(malformed("type: must be the type of an audio event"));
        }
        let conversation_id = conversation_id.ok_or_else(|| malformed("data.conversation_id: is required"))?;
        let conversation_id = ConversationId::from_sender(&conversation_id)
            .map_err(|rule| RecordingError::Malformed(format!("data.conversation_id: {rule}")))?;
        let audio_bytes = audio_bytes.ok_or_else(|| malformed("data.full_audio: is required"))?;
        if audio_bytes == 0 {
            return Err(malformed("data.full_audio: must not be empty"));
        }
        Ok(AudioEvent { conversation_id, event_type, audio_bytes })
    }

    fn event(&mut self, out: &mut impl Write) -> Result<(), RecordingError> {
        self.take(JsonReader::begin_object)?;
        while self.take(JsonReader::has_next)? {
            match &*self.take(JsonReader::next_name_owned)? {
                "data" if self.take(JsonReader::peek)? == ValueType::Object => self.data(out)?,
                "type" => self.event_type = self.text()?,
                _ => self.take(JsonReader::skip_value)?,
            }
        }
        self.take(JsonReader::end_object)
    }

    fn data(&mut self, out: &mut impl Write) -> Result<(), RecordingError> {
        self.take(JsonReader::begin_object)?;
        while self.take(JsonReader::has_next)? {
            match &*self.take(JsonReader::next_name_owned)? {
                "conversation_id" => self.conversation_id = self.text()?,
                "full_audio" if self.take(JsonReader::peek)? == ValueType::String => {
                    if self.audio_bytes.is_some() {
                        return Err(RecordingError::Malformed("data.full_audio: duplicate field".to_owned()));
                    }
                    self.audio_bytes = Some(self.audio(out)?);
                }
                _ => self.take(JsonReader::skip_value)?,
            }
        }
        self.take(JsonReader::end_object)
    }

    /// Decodes the next string as audio.
    fn audio(&mut self, out: &mut impl Write) -> Result<u64, RecordingError> {
        let set = |state: &mut ReaderState, in_audio| state.in_audio = in_audio;
        {
            let mut state = self.state.borrow_mut();
            // A type that names something else takes precedence over a field `full_audio`.
            state.audio_began |= self.event_type.as_deref().is_none_or(is_audio);
            set(&mut state, true);
        }
        let text = self.json.next_string_reader().map_err(|error| unreadable(&self.state, &error))?;
        let mut decoded = DecoderReader::new(text, &BASE64);
        let mut buffer = [0; 16 * 1024];
        let mut length = 0;
        loop {
            match decoded.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    out.write_all(&buffer[..count]).map_err(RecordingError::Write)?;
                    length += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(&self.state, &format_args!("data.full_audio: {error}"))),
            }
        }
        set(&mut self.state.borrow_mut(), false);
        Ok(length)
    }

    /// Returns the next value if it is a string of a plausible length.
    fn text(&mut self) -> Result<Option<String>, RecordingError> {
        if self.take(JsonReader::peek)? != ValueType::String {
            self.take(JsonReader::skip_value)?;
            return Ok(None);
        }
        let text = self.take(JsonReader::next_string)?;
        Ok(Some(text).filter(|text| text.len() as u64 <= MAX_TEXT_BYTES))
    }

    fn take<T>(
        &mut self,
        step: impl FnOnce(&mut JsonStreamReader<WithoutMark<LimitedReader<R>>>) -> Result<T, ReaderError>,
    ) -> Result<T, RecordingError> {
        step(&mut self.json).map_err(|error| unreadable(&self.state, &error))
    }
}

/// Returns whether an event type, in any case, is that of a recording.
fn is_audio(named: &str) -> bool {
    named.to_ascii_lowercase().contains("audio")
}

/// Returns the cause of an error: a failure of the body takes precedence over the resulting parse error.
fn unreadable(state: &Rc<RefCell<ReaderState>>, error: &dyn fmt::Display) -> RecordingError {
    state.borrow_mut().failure.take().unwrap_or_else(|| RecordingError::Malformed(error.to_string()))
}
