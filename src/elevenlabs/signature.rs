//! ElevenLabs' webhook signatures: the header `ElevenLabs-Signature: t=<unix seconds>,v0=<hex>` of post-call webhooks.
//!
//! `v0` is the HMAC-SHA256 of `t`, a full stop and the raw body, keyed with the whole secret as text. ElevenLabs'
//! documentation and SDKs define it so. Where the SDKs differ from each other, this module accepts what either accepts:
//! any of several `v0` by any of several secrets, hexadecimal digits in either case, and blanks after a comma.
//!
//! The time is an argument, and the body is not interpreted. The body can be verified in pieces, so a long one need not
//! be in memory. Comparisons take constant time.

use crate::secret::Secret;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use std::time::Duration;

/// Name of the signature header.
pub const HEADER: &str = "elevenlabs-signature";

/// Maximum length of a signature header, in bytes. ElevenLabs' own have 80.
const MAX_HEADER_BYTES: usize = 2048;

/// Maximum number of `v0` in a header. Each is compared with the digest of each secret.
const MAX_SIGNATURES: usize = 16;

/// The reason why a signature was refused. No variant reveals anything about a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No secret is configured, so nothing can be verified.
    #[error("no signing secret is configured; start the service with --elevenlabs-secret")]
    NoSecret,
    /// The header is missing.
    #[error("the header ElevenLabs-Signature is missing")]
    Missing,
    /// The header is not of the form `t=…,v0=…`; the text is the reason.
    #[error("the header ElevenLabs-Signature must be t=<seconds>,v0=<hex>: {0}")]
    Malformed(&'static str),
    /// The signature's time is too far from this machine's clock.
    #[error(
        "the signature's time is {} s {} this machine's clock, the maximum is {tolerance} s: check the clock, or set \
         --signature-tolerance",
        age.unsigned_abs(), if *age < 0 { "ahead of" } else { "behind" }
    )]
    Stale {
        /// Age of the signature, in seconds; negative if its time is in the future.
        age: i64,
        /// Maximum age and maximum time in the future, in seconds.
        tolerance: u64,
    },
    /// The signature was made with another secret, for another body or at another time.
    #[error("the signature does not match the body and the secret")]
    Mismatch,
}

impl SignatureError {
    /// Returns the name of the cause, without details.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::NoSecret => "no_secret",
            Self::Missing => "no_signature",
            Self::Malformed(_) => "malformed_signature",
            Self::Stale { .. } => "signature_time",
            Self::Mismatch => "signature",
        }
    }
}

/// Verifies a complete body.
///
/// `header` is the header's value, `now` the present in seconds since 1970. The signature's time may be up to
/// `tolerance` before or after `now`, because either clock may be wrong. The SDKs allow 30 minutes into the past.
///
/// # Errors
/// See [`SignatureError`].
pub fn verify(
    header: Option<&[u8]>,
    body: &[u8],
    secrets: &[Secret],
    now: i64,
    tolerance: Duration,
) -> Result<(), SignatureError> {
    let mut verification = Verifier::begin(header, secrets, now, tolerance)?;
    verification.update(body);
    verification.finish()
}

/// Returns the header's value for a body, as ElevenLabs computes it.
pub fn sign(secret: &Secret, at: i64, body: &[u8]) -> String {
    let mut mac = mac_for(secret, at.to_string().as_bytes());
    mac.update(body);
    format!("t={at},v0={:x}", mac.finalize().into_bytes())
}

/// A verification in progress, which receives the body in pieces.
pub struct Verifier {
    signatures: Vec<[u8; DIGEST_BYTES]>,
    macs: Vec<Hmac<Sha256>>,
}

const DIGEST_BYTES: usize = 32;

impl Verifier {
    /// Parses the header and checks its time, before any of the body is read.
    ///
    /// # Errors
    /// Any [`SignatureError`] except [`SignatureError::Mismatch`].
    pub fn begin(
        header: Option<&[u8]>,
        secrets: &[Secret],
        now: i64,
        tolerance: Duration,
    ) -> Result<Self, SignatureError> {
        if secrets.is_empty() {
            return Err(SignatureError::NoSecret);
        }
        let Parts { time, signatures } = read(header.ok_or(SignatureError::Missing)?)?;
        let at: i64 = time.parse().map_err(|_| SignatureError::Malformed("t must be a whole number of seconds"))?;
        let age = now.saturating_sub(at);
        if age.unsigned_abs() > tolerance.as_secs() {
            return Err(SignatureError::Stale { age, tolerance: tolerance.as_secs() });
        }
        let macs = secrets.iter().map(|secret| mac_for(secret, time.as_bytes())).collect();
        Ok(Self { signatures, macs })
    }

    /// Adds the next piece of the body.
    pub fn update(&mut self, piece: &[u8]) {
        for mac in &mut self.macs {
            mac.update(piece);
        }
    }

    /// Checks that the pieces are the signed body.
    ///
    /// # Errors
    /// [`SignatureError::Mismatch`].
    pub fn finish(self) -> Result<(), SignatureError> {
        // Every pair is compared, so the duration does not reveal the matching one.
        let mut fits = false;
        for mac in &self.macs {
            for signature in &self.signatures {
                fits |= mac.clone().verify_slice(signature).is_ok();
            }
        }
        if fits { Ok(()) } else { Err(SignatureError::Mismatch) }
    }
}

/// Returns the MAC of a secret, fed with the beginning of the signed text: the time as written in the header.
fn mac_for(secret: &Secret, time: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes a key of any length");
    mac.update(time);
    mac.update(b".");
    mac
}

struct Parts<'a> {
    time: &'a str,
    signatures: Vec<[u8; DIGEST_BYTES]>,
}

/// Parses the header. Schemes other than `t` and `v0` are ignored, because ElevenLabs may add some.
fn read(header: &[u8]) -> Result<Parts<'_>, SignatureError> {
    if header.len() > MAX_HEADER_BYTES {
        return Err(SignatureError::Malformed("longer than 2048 bytes"));
    }
    let text = std::str::from_utf8(header).map_err(|_| SignatureError::Malformed("not valid UTF-8"))?;
    let mut time = None;
    let mut signatures = Vec::new();
    for element in text.split(',') {
        match element.trim().split_once('=') {
            // With two times it would be undefined which one is checked against the clock.
            Some(("t", _)) if time.is_some() => return Err(SignatureError::Malformed("t is repeated")),
            Some(("t", digits)) => {
                if !(1..=18).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(SignatureError::Malformed("t must be a whole number of seconds"));
                }
                time = Some(digits);
            }
            Some(("v0", hex)) => {
                let digest = decode_hex(hex).ok_or(SignatureError::Malformed("v0 must be 64 hexadecimal digits"))?;
                if signatures.len() == MAX_SIGNATURES {
                    return Err(SignatureError::Malformed("more than 16 v0"));
                }
                signatures.push(digest);
            }
            _ => {}
        }
    }
    let time = time.ok_or(SignatureError::Malformed("t is missing"))?;
    if signatures.is_empty() {
        return Err(SignatureError::Malformed("v0 is missing"));
    }
    Ok(Parts { time, signatures })
}

fn decode_hex(text: &str) -> Option<[u8; DIGEST_BYTES]> {
    let digits = text.as_bytes();
    let mut digest = [0; DIGEST_BYTES];
    if digits.len() != 2 * DIGEST_BYTES {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_739_537_297;
    const HEX: &str = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";

    fn begin(header: &str) -> Result<(), SignatureError> {
        let secrets = [Secret::new("wsec_test").unwrap()];
        Verifier::begin(Some(header.as_bytes()), &secrets, NOW, Duration::from_mins(1)).map(|_| ())
    }

    #[test]
    fn a_header_is_accepted_in_every_form_that_an_sdk_accepts() {
        for header in [
            format!("t={NOW},v0={HEX}"),
            format!("v0={HEX},t={NOW}"),
            format!(" t={NOW} , v0={HEX} "),
            format!("t={NOW},v0={}", HEX.to_uppercase()),
            format!("t={NOW},v1=later,v0={HEX},,x"),
            format!("t={NOW}{}", format!(",v0={HEX}").repeat(MAX_SIGNATURES)),
            format!("t={},v0={HEX}", NOW - 60),
            format!("t={},v0={HEX}", NOW + 60),
        ] {
            assert_eq!(begin(&header), Ok(()), "{header}");
        }
    }

    #[test]
    fn a_header_of_another_form_is_malformed_and_a_time_too_far_away_stale() {
        for header in [
            String::new(),
            "t".to_owned(),
            format!("v0={HEX}"),
            format!("t={NOW}"),
            format!("t={NOW},t={NOW},v0={HEX}"),
            format!("t=-{NOW},v0={HEX}"),
            format!("t=+{NOW},v0={HEX}"),
            format!("t= {NOW},v0={HEX}"),
            format!("t=,v0={HEX}"),
            format!("t={},v0={HEX}", "9".repeat(19)),
            format!("t={NOW}.5,v0={HEX}"),
            format!("t={NOW},v0={}", &HEX[1..]),
            format!("t={NOW},v0={HEX}0"),
            format!("t={NOW},v0={}", HEX.replace('a', "g")),
            format!("t={NOW},v0={}", HEX.replace("0a", "é")),
            format!("t={NOW}{}", format!(",v0={HEX}").repeat(MAX_SIGNATURES + 1)),
            format!("t={NOW},v0={HEX},{}", "x".repeat(MAX_HEADER_BYTES)),
        ] {
            assert!(matches!(begin(&header), Err(SignatureError::Malformed(_))), "{header}: {:?}", begin(&header));
        }
        for (at, age) in [(NOW - 61, 61), (NOW + 61, -61), (999_999_999_999_999_999, NOW - 999_999_999_999_999_999)] {
            assert_eq!(begin(&format!("t={at},v0={HEX}")), Err(SignatureError::Stale { age, tolerance: 60 }));
        }
    }

    #[test]
    fn any_of_several_secrets_verifies_and_no_other_body_does() {
        let secrets = [Secret::new("wsec_new").unwrap(), Secret::new("wsec_old").unwrap()];
        for secret in &secrets {
            let header = sign(secret, NOW, b"body");
            let verified =
                |body: &[u8], at| verify(Some(header.as_bytes()), body, &secrets, at, Duration::from_mins(1));
            assert_eq!(verified(b"body", NOW), Ok(()));
            assert_eq!(verified(b"body ", NOW), Err(SignatureError::Mismatch));
            assert!(matches!(verified(b"body", NOW + 61), Err(SignatureError::Stale { .. })));
        }
        let other = sign(&Secret::new("wsec_other").unwrap(), NOW, b"body");
        let verified = |header: Option<&str>, secrets: &[Secret]| {
            verify(header.map(str::as_bytes), b"body", secrets, NOW, Duration::from_mins(1))
        };
        assert_eq!(verified(Some(&other), &secrets), Err(SignatureError::Mismatch));
        assert_eq!(verified(None, &secrets), Err(SignatureError::Missing));
        assert_eq!(verified(Some(&other), &[]), Err(SignatureError::NoSecret));
    }
}
