//! The platform's signatures: the header `ElevenLabs-Signature: t=<unix seconds>,v0=<hex>` of its post-call webhooks.
//!
//! `v0` is the HMAC-SHA256, keyed with the whole secret as text, of `t`, a full stop and the raw body. That is what the
//! platform's documentation and its SDKs do; where the SDKs differ from each other, this takes what either takes: any of
//! several `v0` by any of several secrets, in either case of hexadecimal, with blanks after a comma.
//!
//! Time comes in as an argument, and nothing of the body is looked at but its bytes. The body may come in pieces, so
//! that a long one need not be in memory. What is compared is compared in constant time.

use crate::secret::Secret;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use std::fmt;
use std::time::Duration;

/// The header's name.
pub const HEADER: &str = "elevenlabs-signature";

/// Greatest length of a header that is looked at, in bytes. The platform's own have 80.
const MAX_HEADER: usize = 2048;

/// Greatest number of `v0` that are tried. Each is compared with the digest of each secret.
const MAX_SIGNATURES: usize = 16;

/// Why a delivery is not taken for the platform's. None of it says anything about a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No secret is configured, so nothing can be verified.
    NoSecret,
    /// There is no signature.
    Missing,
    /// The header is not of the form `t=…,v0=…`; the text says what is wrong.
    Malformed(&'static str),
    /// The time in it lies too far from this machine's clock.
    Stale {
        /// Seconds that it lies behind the clock; negative where it lies ahead.
        age: i64,
        /// Seconds that are tolerated in either direction.
        tolerance: u64,
    },
    /// It was made with another secret, for another body or at another time.
    Mismatch,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSecret => f.write_str(
                "no signing secret is configured, so nothing can be verified: start the service with \
                 --elevenlabs-secret",
            ),
            Self::Missing => f.write_str("the header ElevenLabs-Signature is missing"),
            Self::Malformed(what) => write!(f, "the header ElevenLabs-Signature must be t=<seconds>,v0=<hex>: {what}"),
            Self::Stale { age, tolerance } => {
                let (seconds, place) = (age.unsigned_abs(), if *age < 0 { "ahead of" } else { "behind" });
                write!(
                    f,
                    "the signature's time lies {seconds} s {place} this machine's clock, {tolerance} s are tolerated: check \
                     the clock, or set --signature-tolerance"
                )
            }
            Self::Mismatch => f.write_str("the signature does not fit the body and the secret"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Verifies a body that is there as a whole.
///
/// `header` is the header's value, `now` the present in seconds since 1970. The time in the signature may lie as far from
/// it as `tolerance`, be it before or behind: either clock may be wrong. The SDKs allow 30 minutes into the past.
///
/// # Errors
/// See [`Refusal`].
pub fn verify(
    header: Option<&[u8]>,
    body: &[u8],
    secrets: &[Secret],
    now: i64,
    tolerance: Duration,
) -> Result<(), Refusal> {
    let mut verification = Verification::begin(header, secrets, now, tolerance)?;
    verification.update(body);
    verification.finish()
}

/// The header's value for a body, as the platform makes it.
pub fn sign(secret: &Secret, at: i64, body: &[u8]) -> String {
    let mut mac = keyed(secret, at.to_string().as_bytes());
    mac.update(body);
    let hex = mac.finalize().into_bytes().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    format!("t={at},v0={hex}")
}

/// A verification under way: a body's pieces come one by one.
pub struct Verification {
    signatures: Vec<[u8; DIGEST]>,
    macs: Vec<Hmac<Sha256>>,
}

const DIGEST: usize = 32;

impl Verification {
    /// Reads the header and looks at its time, before anything of the body is read.
    ///
    /// # Errors
    /// Any [`Refusal`] but [`Refusal::Mismatch`].
    pub fn begin(header: Option<&[u8]>, secrets: &[Secret], now: i64, tolerance: Duration) -> Result<Self, Refusal> {
        if secrets.is_empty() {
            return Err(Refusal::NoSecret);
        }
        let Parts { time, signatures } = read(header.ok_or(Refusal::Missing)?)?;
        let at: i64 = time.parse().map_err(|_| Refusal::Malformed("t must be a whole number of seconds"))?;
        let age = now.saturating_sub(at);
        if age.unsigned_abs() > tolerance.as_secs() {
            return Err(Refusal::Stale { age, tolerance: tolerance.as_secs() });
        }
        let macs = secrets.iter().map(|secret| keyed(secret, time.as_bytes())).collect();
        Ok(Self { signatures, macs })
    }

    /// Takes the next piece of the body.
    pub fn update(&mut self, piece: &[u8]) {
        for mac in &mut self.macs {
            mac.update(piece);
        }
    }

    /// Whether the pieces were the body that was signed.
    ///
    /// # Errors
    /// [`Refusal::Mismatch`].
    pub fn finish(self) -> Result<(), Refusal> {
        // Each pair is tried, so that the time does not tell which one fitted.
        let mut fits = false;
        for mac in &self.macs {
            for signature in &self.signatures {
                fits |= mac.clone().verify_slice(signature).is_ok();
            }
        }
        if fits { Ok(()) } else { Err(Refusal::Mismatch) }
    }
}

/// What is signed begins with the time as it stands in the header.
fn keyed(secret: &Secret, time: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()).expect("HMAC takes a key of any length");
    mac.update(time);
    mac.update(b".");
    mac
}

struct Parts<'a> {
    time: &'a str,
    signatures: Vec<[u8; DIGEST]>,
}

/// Takes the header apart. Elements of other schemes than `t` and `v0` are passed over, since more may come.
fn read(header: &[u8]) -> Result<Parts<'_>, Refusal> {
    if header.len() > MAX_HEADER {
        return Err(Refusal::Malformed("it is longer than 2048 bytes"));
    }
    let text = std::str::from_utf8(header).map_err(|_| Refusal::Malformed("it is not text"))?;
    let mut time = None;
    let mut signatures = Vec::new();
    for element in text.split(',') {
        match element.trim().split_once('=') {
            // Two times would leave open which one was meant to be near the present.
            Some(("t", _)) if time.is_some() => return Err(Refusal::Malformed("t stands there twice")),
            Some(("t", digits)) => {
                if !(1..=18).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(Refusal::Malformed("t must be a whole number of seconds"));
                }
                time = Some(digits);
            }
            Some(("v0", hex)) => {
                let digest = unhex(hex).ok_or(Refusal::Malformed("v0 must be 64 hexadecimal digits"))?;
                if signatures.len() == MAX_SIGNATURES {
                    return Err(Refusal::Malformed("there are more than 16 v0"));
                }
                signatures.push(digest);
            }
            _ => {}
        }
    }
    let time = time.ok_or(Refusal::Malformed("t is missing"))?;
    if signatures.is_empty() {
        return Err(Refusal::Malformed("v0 is missing"));
    }
    Ok(Parts { time, signatures })
}

fn unhex(text: &str) -> Option<[u8; DIGEST]> {
    let digits = text.as_bytes();
    let mut digest = [0; DIGEST];
    if digits.len() != 2 * DIGEST {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(digest)
}
