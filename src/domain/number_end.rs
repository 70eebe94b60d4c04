//! The end of a telephone number, which finds numbers in any spelling.

use super::{Invalid, PhoneNumber};

/// The last digits of a telephone number, or all of them.
///
/// Numbers are compared from their end, so a national number finds the international one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NumberEnd(Box<str>);

/// Minimum number of digits. Fewer would match too many numbers.
const MIN_DIGITS: usize = 4;

/// Maximum number of digits, as in E.164.
const MAX_DIGITS: usize = 15;

impl NumberEnd {
    /// Parses a number, or the end of one, in any usual spelling: with country code or without, with a leading `00` or
    /// 0, with blanks, dashes, dots, slashes and brackets.
    ///
    /// # Errors
    /// The text is not a number, or has too few or too many digits.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let invalid = || {
            let rule = format!("must be a telephone number or its last digits, {MIN_DIGITS} to {MAX_DIGITS} of them");
            Invalid(rule.into())
        };
        let digits = if let Some(number) = PhoneNumber::from_payload(text) {
            number.as_str().trim_start_matches('+').to_owned()
        } else {
            let national = text.replace("(0)", "");
            if !national.chars().all(|c| c.is_ascii_digit() || c.is_whitespace() || "+-./()[]".contains(c)) {
                return Err(invalid());
            }
            national.chars().filter(char::is_ascii_digit).collect()
        };
        // A leading zero stands for the country code.
        let end = if digits.len() > MIN_DIGITS { digits.trim_start_matches('0') } else { &digits };
        if (MIN_DIGITS..=MAX_DIGITS).contains(&end.len()) { Ok(Self(end.into())) } else { Err(invalid()) }
    }

    /// Returns the digits.
    pub fn digits(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_spelling_of_a_number_has_the_same_end() {
        for (text, digits) in [
            ("+15550100042", "15550100042"),
            ("+1 (555) 010-0042", "15550100042"),
            ("0015550100042", "15550100042"),
            ("tel:+15550100042", "15550100042"),
            ("5550100042", "5550100042"),
            ("010-0042", "100042"),
            ("0042", "0042"),
            (" 00 42 ", "0042"),
            ("0171 1234567", "1711234567"),
            ("+49 (0)171 1234567", "491711234567"),
        ] {
            assert_eq!(NumberEnd::parse(text).unwrap().digits(), digits, "{text}");
        }
        for text in ["", "042", "00042"[..3].as_ref(), "1234567890123456", "12x34", "\0\u{30}123", "anonymous"] {
            assert!(NumberEnd::parse(text).is_err(), "{text:?}");
        }
    }
}
