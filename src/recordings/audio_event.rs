//! The body of an audio event, `{"type", "event_timestamp", "data": {"agent_id", "conversation_id", "full_audio"}}`, read
//! piece by piece: the audio goes out decoded while the rest is still to come.
//!
//! The fields may stand in any order, and others beside them. What makes an event an audio event is the text
//! `data.full_audio`, whatever its type is called as long as it is called audio, since the platform has announced types
//! that it has not described.

use crate::domain::ConversationId;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::read::DecoderReader;
use std::cell::RefCell;
use std::fmt;
use std::io::{self, Read, Write};
use std::rc::Rc;
use struson::reader::{JsonReader, JsonStreamReader, ReaderError, ReaderSettings, ValueType};

/// With or without padding, as senders differ.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Greatest length of everything in a body but its audio, in bytes. The platform's own have 300.
const MAX_REST: u64 = 1 << 20;

/// Greatest length of a text that is kept, in bytes.
const MAX_TEXT: u64 = 2048;

/// What an audio event says beside the audio itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioEvent {
    /// The call that was recorded.
    pub conversation_id: ConversationId,
    /// The event's type as it stands there.
    pub event_type: Option<String>,
    /// Length of the decoded audio, in bytes.
    pub audio_bytes: u64,
}

/// Why a body is no recording.
#[derive(Debug)]
pub enum Unreadable {
    /// The body broke off, or could not be received.
    BrokenOff(io::Error),
    /// The audio could not be written.
    Write(io::Error),
    /// The body is longer than it may be, or so much of it is not audio.
    TooLong,
    /// The body is not as described; the text says where.
    Malformed(String),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BrokenOff(error) => write!(f, "the recording broke off: {error}"),
            Self::Write(error) => write!(f, "the recording could not be written: {error}"),
            Self::TooLong => f.write_str("the recording is too long"),
            Self::Malformed(what) => write!(f, "the recording cannot be read: {what}"),
        }
    }
}

impl std::error::Error for Unreadable {}

/// Reads a body of at most `limit` bytes to its end and writes its audio to `out`.
///
/// # Errors
/// See [`Unreadable`]; some of the audio may have been written then.
pub fn read(body: impl Read, out: &mut impl Write, limit: u64) -> Result<AudioEvent, Unreadable> {
    Reading::of(body, limit).run(out)
}

/// Whether the audio of an audio event begins within these first bytes of a body.
pub fn begins_in(prefix: &[u8]) -> bool {
    let reading = Reading::of(prefix, u64::MAX);
    let state = reading.state.clone();
    // That the body breaks off is what a prefix does.
    let _ = reading.run(&mut io::sink());
    state.borrow().audio_began
}

/// What the reader of the JSON cannot know: how much may still come, and why no more does.
struct State {
    left: u64,
    rest_left: u64,
    in_audio: bool,
    audio_began: bool,
    failure: Option<Unreadable>,
}

/// A body that counts what is read from it.
struct Counted<R> {
    inner: R,
    state: Rc<RefCell<State>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state.borrow_mut();
        let count = match self.inner.read(buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                let told = io::Error::from(error.kind());
                state.failure = Some(Unreadable::BrokenOff(error));
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
            state.failure = Some(Unreadable::TooLong);
            Err(io::Error::from(io::ErrorKind::FileTooLarge))
        }
    }
}

/// A body without the byte order mark before it.
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

struct Reading<R: Read> {
    json: JsonStreamReader<WithoutMark<Counted<R>>>,
    state: Rc<RefCell<State>>,
    conversation_id: Option<String>,
    event_type: Option<String>,
    audio_bytes: Option<u64>,
}

impl<R: Read> Reading<R> {
    fn of(body: R, limit: u64) -> Self {
        let state = State { left: limit, rest_left: MAX_REST, in_audio: false, audio_began: false, failure: None };
        let state = Rc::new(RefCell::new(state));
        let body = WithoutMark { inner: Counted { inner: body, state: state.clone() }, begun: false };
        let settings = ReaderSettings { track_path: false, ..ReaderSettings::default() };
        let json = JsonStreamReader::new_custom(body, settings);
        Self { json, state, conversation_id: None, event_type: None, audio_bytes: None }
    }

    fn run(mut self, out: &mut impl Write) -> Result<AudioEvent, Unreadable> {
        self.event(out)?;
        let Self { json, state, conversation_id, event_type, audio_bytes } = self;
        json.consume_trailing_whitespace().map_err(|error| unreadable(&state, &error))?;
        let malformed = |what: &str| Unreadable::Malformed(what.to_owned());
        if event_type.as_deref().is_some_and(|named| !named.contains("audio")) {
            return Err(malformed("type is not that of a recording"));
        }
        let conversation_id = conversation_id.ok_or_else(|| malformed("data.conversation_id is missing"))?;
        let conversation_id = ConversationId::from_sender(&conversation_id)
            .map_err(|rule| Unreadable::Malformed(format!("data.conversation_id {rule}")))?;
        let audio_bytes = audio_bytes.ok_or_else(|| malformed("data.full_audio is missing"))?;
        if audio_bytes == 0 {
            return Err(malformed("data.full_audio is empty"));
        }
        Ok(AudioEvent { conversation_id, event_type, audio_bytes })
    }

    fn event(&mut self, out: &mut impl Write) -> Result<(), Unreadable> {
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

    fn data(&mut self, out: &mut impl Write) -> Result<(), Unreadable> {
        self.take(JsonReader::begin_object)?;
        while self.take(JsonReader::has_next)? {
            match &*self.take(JsonReader::next_name_owned)? {
                "conversation_id" => self.conversation_id = self.text()?,
                "full_audio" if self.take(JsonReader::peek)? == ValueType::String => {
                    if self.audio_bytes.is_some() {
                        return Err(Unreadable::Malformed("data.full_audio stands there twice".to_owned()));
                    }
                    self.audio_bytes = Some(self.audio(out)?);
                }
                _ => self.take(JsonReader::skip_value)?,
            }
        }
        self.take(JsonReader::end_object)
    }

    /// Decodes the text that comes next.
    fn audio(&mut self, out: &mut impl Write) -> Result<u64, Unreadable> {
        let set = |state: &mut State, in_audio| state.in_audio = in_audio;
        {
            let mut state = self.state.borrow_mut();
            // An event that says that it is something else is not taken for a recording because of a new field.
            state.audio_began |= self.event_type.as_deref().is_none_or(|named| named.contains("audio"));
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
                    out.write_all(&buffer[..count]).map_err(Unreadable::Write)?;
                    length += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(&self.state, &format_args!("data.full_audio: {error}"))),
            }
        }
        set(&mut self.state.borrow_mut(), false);
        Ok(length)
    }

    /// The text that comes next, if it is one, and of a length worth keeping.
    fn text(&mut self) -> Result<Option<String>, Unreadable> {
        if self.take(JsonReader::peek)? != ValueType::String {
            self.take(JsonReader::skip_value)?;
            return Ok(None);
        }
        let text = self.take(JsonReader::next_string)?;
        Ok(Some(text).filter(|text| text.len() as u64 <= MAX_TEXT))
    }

    fn take<T>(
        &mut self,
        step: impl FnOnce(&mut JsonStreamReader<WithoutMark<Counted<R>>>) -> Result<T, ReaderError>,
    ) -> Result<T, Unreadable> {
        step(&mut self.json).map_err(|error| unreadable(&self.state, &error))
    }
}

/// Why reading ended: what went wrong with the body itself goes before what its reader made of it.
fn unreadable(state: &Rc<RefCell<State>>, error: &dyn fmt::Display) -> Unreadable {
    state.borrow_mut().failure.take().unwrap_or_else(|| Unreadable::Malformed(error.to_string()))
}
