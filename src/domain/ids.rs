//! Identifiers of calls and drivers.

use super::Invalid;
use super::placeholder::{not_filled_in, unfilled};
use std::fmt;
use std::sync::Arc;

/// ElevenLabs' id of a call: 1 to 256 characters, opaque, compared byte by byte.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConversationId(Arc<str>);

impl ConversationId {
    /// Maximum length, in characters.
    pub const MAX_CHARS: usize = 256;

    /// Parses an identifier from a sender, and trims it.
    ///
    /// # Errors
    /// The errors of [`ConversationId::new`], or an unreplaced placeholder, which would be the id of all calls.
    pub fn from_sender(text: &str) -> Result<Self, Invalid> {
        let invisible = |c: char| c.is_whitespace() || matches!(c, '\u{FEFF}' | '\u{200B}' | '\u{2060}');
        let text = text.trim_matches(invisible);
        match unfilled(text) {
            Some(variable) => Err(not_filled_in(variable)),
            None => Self::new(text),
        }
    }

    /// Validates an identifier.
    ///
    /// # Errors
    /// The identifier is blank, too long, or contains U+0000, which neither PostgreSQL nor most analysis tools can
    /// store. Unlike in a message it is not replaced, because that could merge two calls.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        if text.trim().is_empty() {
            return Err(Invalid::rule("must not be blank"));
        }
        if text.len() > Self::MAX_CHARS && text.chars().count() > Self::MAX_CHARS {
            return Err(Invalid(format!("must be at most {} characters long", Self::MAX_CHARS).into()));
        }
        if text.contains('\0') {
            return Err(Invalid::rule("must not contain U+0000"));
        }
        Ok(Self(text.into()))
    }

    /// Returns the identifier as it was received.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The telephone provider's id of a call: 1 to 256 characters, opaque, compared byte by byte.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallSid(Box<str>);

impl CallSid {
    /// Parses an identifier from a sender by the rules of [`ConversationId::from_sender`].
    ///
    /// # Errors
    /// The errors of [`ConversationId::from_sender`].
    pub fn from_sender(text: &str) -> Result<Self, Invalid> {
        Ok(Self(ConversationId::from_sender(text)?.as_str().into()))
    }

    /// Returns the identifier as it was received.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The fleet's number for a driver, from 1 to 2^53 - 1. Every JSON parser reads whole numbers of this range exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DriverId(i64);

impl DriverId {
    /// Largest number.
    pub const MAX: i64 = (1 << 53) - 1;

    /// Creates an id.
    ///
    /// # Errors
    /// A number below 1 or above 2^53 - 1.
    pub fn new(number: i64) -> Result<Self, Invalid> {
        if (1..=Self::MAX).contains(&number) {
            Ok(Self(number))
        } else {
            Err(Invalid(format!("must be a whole number from 1 to {}", Self::MAX).into()))
        }
    }

    /// Parses an identifier that ElevenLabs delivers: digits, also in the form `driver_1042`.
    pub fn from_elevenlabs(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.strip_prefix("driver_").unwrap_or(text);
        // `parse` alone would accept a sign.
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Self::new(digits.parse().ok()?).ok()
    }

    /// Returns the number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for DriverId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
