//! Redaction: what must not be kept is replaced before it is stored.
//!
//! Four kinds of things are found in words, written and spoken (in English): card numbers, e-mail addresses, telephone numbers
//! and social security numbers of the United States. Each becomes its placeholder, such as `[card]`. Everything here is a pure
//! function of the text: the same delivery again becomes the same, so that repeats are recognised by what is stored.
//! Whatever kinds are asked for, all are looked for, so that the digits of a card are not taken for a telephone's.
//!
//! What is not found: a number that is spread over several turns, one in another language, one without a sign of what
//! it is (nine digits are a social security number only if that is said, or if they are grouped as one).
//!
//! - `tokens` takes texts apart; `numbers` and `email` find things in them.
//! - `json` does the same inside of JSON, whose other bytes stay as they are.
//! - `delivery` does it to what arrives.

use super::finding::{Finding, Found, Kind};
use std::borrow::Cow;

/// Replaces what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redactor(pub(super) [bool; 4]);

/// How often a text is looked through at most. When something is replaced, what is left may look different, which hardly
/// ever happens once, and never so often.
const MAX_PASSES: usize = 16;

impl Redactor {
    /// For these kinds.
    pub fn new(kinds: &[Kind]) -> Self {
        Self(Kind::ALL.map(|kind| kinds.contains(&kind)))
    }

    /// The text with what was found replaced, which is added to `found`. Takes time in proportion to the text's length.
    pub fn text<'a>(&self, text: &'a str, found: &mut Found) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for _ in 0..MAX_PASSES {
            match self.once(&text, found) {
                Some(replaced) => text = Cow::Owned(replaced),
                None => break,
            }
        }
        text
    }

    fn once(self, text: &str, found: &mut Found) -> Option<String> {
        let tokens = super::tokens::tokens(text);
        let mut findings = super::email::find(text, &tokens);
        findings.extend(super::numbers::find(text, &tokens));
        // Of two that overlap the one that begins first is meant; an address may have a number in it.
        findings.sort_by_key(|finding| (finding.start, std::cmp::Reverse(finding.end)));
        let mut out: Option<String> = None;
        // Up to where the text is copied, and up to where something was found.
        let (mut copied, mut past) = (0, 0);
        for Finding { kind, start, end } in findings {
            if start < past {
                continue;
            }
            past = end;
            if self.0[kind as usize] {
                let out = out.get_or_insert_default();
                out.push_str(&text[copied..start]);
                out.push_str(kind.placeholder());
                copied = end;
                found.0[kind as usize] += 1;
            }
        }
        out.map(|mut out| {
            out.push_str(&text[copied..]);
            out
        })
    }
}
