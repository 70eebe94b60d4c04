//! Signing keys of the Standard Webhooks specification.

use crate::domain::Invalid;
use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use std::fmt;

/// Prefix of a secret.
const PREFIX: &str = "whsec_";

/// A key of 24 to 64 bytes, written as `whsec_` and base64.
#[derive(Clone)]
pub struct SigningKey(Box<[u8]>);

impl SigningKey {
    /// Decodes a secret.
    ///
    /// # Errors
    /// The secret is not `whsec_` and 24 to 64 bytes in base64. The error never contains it.
    pub fn new(secret: &Secret) -> Result<Self, Invalid> {
        let rule = || {
            let text = "must be whsec_ and 24 to 64 bytes in base64, as `echo whsec_$(openssl rand -base64 32)` prints";
            Invalid(text.into())
        };
        let encoded = secret.expose().strip_prefix(PREFIX).ok_or_else(rule)?;
        let bytes = STANDARD_NO_PAD.decode(encoded.trim_end_matches('=')).map_err(|_| rule())?;
        if (24..=64).contains(&bytes.len()) { Ok(Self(bytes.into())) } else { Err(rule()) }
    }

    /// Returns a signature, as in the header `webhook-signature`.
    fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut code = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length");
        code.update(format!("{id}.{timestamp}.").as_bytes());
        code.update(body);
        format!("v1,{}", STANDARD.encode(code.finalize().into_bytes()))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(hidden)")
    }
}

/// Returns the value of the header `webhook-signature`: a signature with each key. The timestamp is in seconds since
/// 1970.
pub(super) fn signatures(keys: &[SigningKey], id: &str, timestamp: i64, body: &[u8]) -> String {
    keys.iter().map(|key| key.sign(id, timestamp, body)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Result<SigningKey, Invalid> {
        SigningKey::new(&Secret::new(text).unwrap())
    }

    #[test]
    fn a_signature_is_that_of_the_specification() {
        // The example of the specification's libraries.
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body), signature);
        let both = signatures(&[key.clone(), key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(both, format!("{signature} {signature}"));
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_shown() {
        assert!(key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAAA=").is_ok());
        let short = STANDARD.encode([7; 23]);
        let long = STANDARD.encode([7; 65]);
        for bad in [
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_",
            "whsec_!!",
            &format!("whsec_{short}"),
            &format!("whsec_{long}"),
        ] {
            let error = key(bad).unwrap_err().to_string();
            assert!(!error.contains(&bad[6..]) || bad.len() < 8, "{error}");
        }
        assert_eq!(format!("{:?}", key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()), "SigningKey(hidden)");
    }
}
