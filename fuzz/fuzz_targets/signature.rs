//! The signature header: no header makes its reader panic, none is accepted for a body that was never signed, and a
//! header that ElevenLabs would send is accepted for its own body only.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use transcribe_hook::elevenlabs::signature::{SignatureError, Verifier, sign, verify};
use transcribe_hook::secret::Secret;

const NOW: i64 = 1_739_537_297;
const TOLERANCE: Duration = Duration::from_secs(1800);

fuzz_target!(|input: &[u8]| {
    let secrets = [Secret::new("wsec_first").expect("a secret"), Secret::new("wsec_second").expect("a secret")];
    match Verifier::begin(Some(input), &secrets, NOW, TOLERANCE) {
        Ok(mut verifier) => {
            assert!(input.len() <= 2048 && input.starts_with(b"t=") || input.contains(&b','), "it has both fields");
            verifier.update(b"a body that nobody signed");
            assert_eq!(verifier.finish(), Err(SignatureError::Mismatch));
        }
        Err(refusal) => {
            assert!(!matches!(refusal, SignatureError::NoSecret | SignatureError::Missing | SignatureError::Mismatch))
        }
    }
    // The input as a body, in pieces.
    let header = sign(&secrets[1], NOW, input);
    assert_eq!(verify(Some(header.as_bytes()), input, &secrets, NOW, TOLERANCE), Ok(()));
    let mut pieces = Verifier::begin(Some(header.as_bytes()), &secrets, NOW, TOLERANCE).expect("a good header");
    for piece in input.chunks(7) {
        pieces.update(piece);
    }
    assert_eq!(pieces.finish(), Ok(()));
    let longer = [input, b"x"].concat();
    assert_eq!(verify(Some(header.as_bytes()), &longer, &secrets, NOW, TOLERANCE), Err(SignatureError::Mismatch));
});
