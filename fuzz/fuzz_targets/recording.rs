//! Recordings in one JSON body: however a body is cut, its reader returns the same result and the same audio.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Read;
use transcribe_hook::recordings::{AudioEvent, audio_starts_in, read};

const LIMIT: u64 = 1 << 16;

/// A body that arrives in pieces of a few bytes.
struct Pieces<'a> {
    rest: &'a [u8],
    length: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let length = self.length.min(out.len());
        self.length = self.length % 11 + 1;
        self.rest.read(&mut out[..length])
    }
}

fn audio_of(body: impl Read) -> (Option<AudioEvent>, Vec<u8>) {
    let mut audio = Vec::new();
    let event = read(body, &mut audio, LIMIT).ok();
    (event, audio)
}

fuzz_target!(|input: &[u8]| {
    let Some((&length, body)) = input.split_first() else { return };
    let (whole, audio) = audio_of(body);
    assert!(audio.len() as u64 <= LIMIT, "{} bytes of audio", audio.len());
    let (in_pieces, audio_in_pieces) = audio_of(Pieces { rest: body, length: usize::from(length) + 1 });
    assert_eq!(whole, in_pieces);
    if let Some(event) = whole {
        assert_eq!(audio, audio_in_pieces);
        assert_eq!(event.audio_bytes, audio.len() as u64);
        assert!(audio_starts_in(body), "a body with audio has its beginning");
        assert!(body.len() as u64 <= LIMIT);
    }
});
