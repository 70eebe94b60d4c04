//! Tests of audio files.

mod audio_event;
mod post_call_audio;
