//! Recordings of calls.

mod audio_event;
mod folder;
mod upload;

pub use audio_event::{AudioEvent, RecordingError, audio_starts_in, read};
pub use folder::{Recordings, file_name};
pub use upload::{RecordingUpload, StoredRecording};
