//! Redaction: replaces personal data before it is stored.
//!
//! Four kinds are found in words, written or spoken in English: card numbers, e-mail addresses, telephone numbers, and
//! United States social security numbers. Each is replaced with its placeholder, such as `[card]`. Redaction is a pure
//! function of the text, so a repeated delivery has an equal result and is recognized as a duplicate. All kinds are
//! always searched, even if only some are replaced, because the digits of a card number must not be taken for a
//! telephone number.
//!
//! Not found are numbers that are spread over several turns, are spoken in another language, or have no indication of
//! their kind: nine digits are a social security number only if the words say so, or if they are grouped like one.
//!
//! - `tokens` splits a text; `numbers` and `email` find data in the tokens.
//! - `json` redacts JSON, and leaves all other bytes unchanged.
//! - `delivery` redacts received deliveries.

use super::finding::{PiiKind, RedactionCounts, Span};
use std::borrow::Cow;

/// A redactor of selected kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redactor(pub(super) [bool; 4]);

/// Maximum number of passes over a text. A replacement can rarely make the remaining text look like data again, and
/// never this often.
const MAX_PASSES: usize = 16;

impl Redactor {
    /// Creates a redactor of these kinds.
    pub fn new(kinds: &[PiiKind]) -> Self {
        Self(PiiKind::ALL.map(|kind| kinds.contains(&kind)))
    }

    /// Redacts a text, and adds the counts to `found`. Takes time in proportion to the length of the text.
    pub fn text<'a>(&self, text: &'a str, found: &mut RedactionCounts) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for _ in 0..MAX_PASSES {
            match self.redact_pass(&text, found) {
                Some(replaced) => text = Cow::Owned(replaced),
                None => break,
            }
        }
        text
    }

    fn redact_pass(self, text: &str, found: &mut RedactionCounts) -> Option<String> {
        let tokens = super::tokens::tokens(text);
        let mut findings = super::email::find(text, &tokens);
        findings.extend(super::numbers::find(text, &tokens));
        // Of two overlapping findings the first one is used, because an address may contain a number.
        findings.sort_by_key(|finding| (finding.start, std::cmp::Reverse(finding.end)));
        let mut out: Option<String> = None;
        // End of the copied text, and end of the last finding.
        let (mut copied, mut past) = (0, 0);
        for Span { kind, start, end } in findings {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(kinds: &[PiiKind], text: &str) -> (String, [u64; 4]) {
        let mut found = RedactionCounts::default();
        let text = Redactor::new(kinds).text(text, &mut found).into_owned();
        (text, PiiKind::ALL.map(|kind| found.count(kind)))
    }

    #[test]
    fn only_the_selected_kinds_are_replaced_and_counted() {
        let text = "4111 1111 1111 1111, a@b.co, 555-010-0042, 078-05-1120";
        for (kinds, wanted, counts) in [
            (&PiiKind::ALL[..], "[card], [email], [phone], [ssn]", [1, 1, 1, 1]),
            (&[PiiKind::Card], "[card], a@b.co, 555-010-0042, 078-05-1120", [1, 0, 0, 0]),
            (&[PiiKind::Email, PiiKind::Ssn], "4111 1111 1111 1111, [email], 555-010-0042, [ssn]", [0, 1, 0, 1]),
            (&[], text, [0; 4]),
        ] {
            assert_eq!(redacted(kinds, text), (wanted.to_owned(), counts), "{kinds:?}");
        }
    }

    #[test]
    fn the_digits_of_a_card_are_no_telephone_number_when_cards_are_not_replaced() {
        assert_eq!(redacted(&[PiiKind::Phone], "4111 1111 1111 1111").0, "4111 1111 1111 1111");
    }

    #[test]
    fn a_number_in_an_address_belongs_to_the_address() {
        assert_eq!(redacted(&PiiKind::ALL, "5550100042@example.com"), ("[email]".to_owned(), [0, 1, 0, 0]));
    }

    #[test]
    fn a_redacted_text_stays_as_it_is() {
        for text in ["call 555-010-0042 or a@b.co", "[card] [phone]", "my social: 078051120 078051120", "no data"] {
            let (once, _) = redacted(&PiiKind::ALL, text);
            assert_eq!(redacted(&PiiKind::ALL, &once), (once.clone(), [0; 4]), "{text:?}");
        }
    }
}
