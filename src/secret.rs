//! A word that only its owner and this service know: a webhook's signing secret, a token, an API key.
//!
//! It never shows itself, be it by `{:?}` or by an error, and is compared in constant time.

use crate::model::Invalid;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// A secret: 1 to 1024 visible ASCII characters.
///
/// The platform's own signing secrets are `wsec_` and 64 hexadecimal digits. Shorter ones are taken too, since people
/// have them already.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Takes white space off the ends, as a file's last line has it.
    ///
    /// # Errors
    /// None, too long, or with something else than visible ASCII in it. The rule does not repeat the text.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        if !(1..=1024).contains(&text.len()) {
            return Err(Invalid("must be 1 to 1024 characters long".into()));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Invalid("must be visible ASCII characters without blanks".into()));
        }
        Ok(Self(text.into()))
    }

    /// The secret itself, to sign with it or to present it to its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `presented` is this secret, in a time that does not tell how much of it is right.
    pub fn is(&self, presented: &[u8]) -> bool {
        // Digests are of one length, so that not even the secret's length is told.
        Sha256::digest(self.0.as_bytes()).ct_eq(&Sha256::digest(presented)).into()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORD: &str = "wsec_test_secret";

    #[test]
    fn a_secret_does_not_show_itself() {
        let secret = Secret::new(WORD).unwrap();
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "Secret(hidden) Some(Secret(hidden))");
        assert!(!format!("{:?}", Secret::new("wsec_\u{e9}_test_secret")).contains("wsec"));
    }

    #[test]
    fn only_the_whole_word_is_the_secret() {
        let secret = Secret::new(&format!(" {WORD}\n")).unwrap();
        assert_eq!(secret.reveal(), WORD);
        assert!(secret.is(WORD.as_bytes()));
        for other in ["", "wsec_test_secre", "wsec_test_secret ", "wsec_test_secres", "WSEC_TEST_SECRET"] {
            assert!(!secret.is(other.as_bytes()), "{other:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_secret_is_refused() {
        for bad in ["", "  ", "with a blank in it", "with\u{0}nul_in_the_middle", &"x".repeat(1025)] {
            assert!(Secret::new(bad).is_err(), "{bad:?}");
        }
    }
}
