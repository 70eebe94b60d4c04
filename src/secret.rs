//! Secrets shared with this service: webhook signing secrets, tokens, API keys.
//!
//! A secret never appears in `{:?}` or in an error, and is compared in constant time.

use crate::domain::Invalid;
use hmac::{Hmac, Mac as _};
use rustix::rand::GetRandomFlags;
use sha2::{Digest as _, Sha256};
use std::io;
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

/// A secret: 1 to 1024 visible ASCII characters.
///
/// ElevenLabs' own signing secrets are `wsec_` and 64 hexadecimal digits. Shorter ones are accepted because some are in
/// use.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Maximum length, in characters.
    const MAX_CHARS: usize = 1024;

    /// Creates a secret, without surrounding whitespace such as a file's trailing newline.
    ///
    /// # Errors
    /// The secret is empty, too long, or not visible ASCII. The error never contains the secret.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        if !(1..=Self::MAX_CHARS).contains(&text.len()) {
            return Err(Invalid(format!("must be 1 to {} characters", Self::MAX_CHARS).into()));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Invalid("must be visible ASCII without blanks".into()));
        }
        Ok(Self(text.into()))
    }

    /// Returns the secret itself, to sign with it or to send it to its owner.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns whether `presented` is this secret, in constant time.
    pub fn matches(&self, presented: &[u8]) -> bool {
        // Digests have one length, so the comparison does not reveal the secret's length either.
        Sha256::digest(self.0.as_bytes()).ct_eq(&Sha256::digest(presented)).into()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// Returns random bytes from the operating system, suitable for a secret.
///
/// # Errors
/// The operating system cannot provide them.
pub fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        filled += rustix::rand::getrandom(&mut bytes[filled..], GetRandomFlags::empty())?;
    }
    Ok(bytes)
}

/// A set of accepted secrets. Only their digests are stored.
#[derive(Clone, Default)]
pub struct Tokens(Box<[[u8; 32]]>);

impl Tokens {
    /// Creates a set of these secrets.
    pub fn new(secrets: &[Secret]) -> Self {
        Self(secrets.iter().map(|secret| Sha256::digest(secret.0.as_bytes()).into()).collect())
    }

    /// Returns whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether `presented` is in the set.
    pub fn contains(&self, presented: &[u8]) -> bool {
        self.position(presented).is_some()
    }

    /// Returns the position of `presented` in the set, or the last one of several. All tokens are compared, so the
    /// duration does not depend on which one matches, or how far.
    pub fn position(&self, presented: &[u8]) -> Option<usize> {
        let presented = Sha256::digest(presented);
        self.last_match(|digest| digest[..].ct_eq(&presented))
    }

    /// Returns the position of the last digest that `matches`, after it was applied to all of them.
    fn last_match(&self, matches: impl Fn(&[u8; 32]) -> Choice) -> Option<usize> {
        let mut found = 0;
        for (digest, number) in self.0.iter().zip(1_u64..) {
            found.conditional_assign(&number, matches(digest));
        }
        usize::try_from(found).ok()?.checked_sub(1)
    }

    /// Returns a MAC of `message` keyed with `presented`, or `None` if `presented` is not in the set.
    pub fn sign(&self, presented: &[u8], message: &[u8]) -> Option<[u8; 32]> {
        self.contains(presented)
            .then(|| code(&Sha256::digest(presented).into(), message).finalize().into_bytes().into())
    }

    /// Returns the position of the secret in the set that [`Tokens::sign`] used for the MAC `presented` of `message`.
    pub fn verify(&self, message: &[u8], presented: &[u8]) -> Option<usize> {
        self.last_match(|digest| code(digest, message).finalize().into_bytes().ct_eq(presented))
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokens({} hidden)", self.0.len())
    }
}

fn code(digest: &[u8; 32], message: &[u8]) -> Hmac<Sha256> {
    let mut code = Hmac::<Sha256>::new_from_slice(digest).expect("a key of any length");
    code.update(message);
    code
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
        assert_eq!(secret.expose(), WORD);
        assert!(secret.matches(WORD.as_bytes()));
        for other in ["", "wsec_test_secre", "wsec_test_secret ", "wsec_test_secres", "WSEC_TEST_SECRET"] {
            assert!(!secret.matches(other.as_bytes()), "{other:?}");
        }
    }

    #[test]
    fn any_of_several_tokens_will_do_and_no_other() {
        let tokens = Tokens::new(&[Secret::new("one").unwrap(), Secret::new("two").unwrap()]);
        assert!(
            tokens.contains(b"one") && tokens.contains(b"two") && !tokens.contains(b"three") && !tokens.contains(b"")
        );
        assert!(!Tokens::default().contains(b"") && Tokens::default().is_empty() && !tokens.is_empty());
        assert_eq!(format!("{tokens:?}"), "Tokens(2 hidden)");
        let code = tokens.sign(b"two", b"words").unwrap();
        assert_eq!((tokens.verify(b"words", &code), tokens.verify(b"word", &code)), (Some(1), None));
        assert_eq!(tokens.verify(b"words", &code[1..]), None);
        assert_eq!(Tokens::new(&[Secret::new("one").unwrap()]).verify(b"words", &code), None);
        assert_eq!([b"one", b"two", b"six"].map(|token| tokens.position(token)), [Some(0), Some(1), None]);
        assert_eq!(tokens.sign(b"three", b"words"), None);
    }

    #[test]
    fn what_cannot_be_a_secret_is_refused() {
        for bad in ["", "  ", "with a blank in it", "with\u{0}nul_in_the_middle", &"x".repeat(1025)] {
            assert!(Secret::new(bad).is_err(), "{bad:?}");
        }
    }
}
