//! Telephone numbers: the stored form, and the forms in payloads.

use super::Invalid;

/// A telephone number in E.164: `+`, then 2 to 15 digits, the first of them not 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PhoneNumber(Box<str>);

/// Maximum length of a text that is parsed as a number, in bytes.
const MAX_TEXT_BYTES: usize = 512;

/// Minimum number of digits of a number without a prefix that includes its country code.
const MIN_INTERNATIONAL_DIGITS: usize = 11;

/// Minimum number of digits of a number with a prefix such as `00`.
const MIN_PREFIXED_DIGITS: usize = 7;

impl PhoneNumber {
    /// Validates a number in E.164 form.
    ///
    /// # Errors
    /// Any other form, including blanks and dashes.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let digits = text.strip_prefix('+').unwrap_or_default();
        let valid =
            (2..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(Invalid::rule("must be a number in E.164 form, for example +15550100042"))
        }
    }

    /// Parses a number from a payload, and returns it only if it is unambiguous.
    ///
    /// Accepted are the prefixes `+`, `00` and `011`; numbers of 11 to 15 digits without a prefix, which include their
    /// country code, like North American ones that begin with 1; ten digits in the North American grouping `(555)
    /// 010-0042`; blanks, dashes, dots, slashes, brackets and `(0)`; the URIs `tel:`, `sip:`, `whatsapp:` and similar;
    /// extensions, which are ignored. Ten digits without grouping are ambiguous, because they may or may not include a
    /// country code.
    pub fn from_payload(text: &str) -> Option<Self> {
        if text.len() > MAX_TEXT_BYTES {
            return None;
        }
        let text: String = text.chars().filter_map(plain).collect();
        let text = text.replace("%2B", "+").replace("%2b", "+");
        // `"Maria" <sip:+15550100042@example.com>;tag=1`
        let text = text.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(&*text, |(inner, _)| inner);
        let text = without_spreadsheet_marks(text.trim());
        let (scheme, rest) = match text.split_once(':') {
            Some((scheme, rest)) if !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphabetic()) => {
                (scheme, rest)
            }
            _ => ("", text),
        };
        let rest = rest.trim_start_matches('/');
        // In a SIP URI the parameters of the number stand before the host.
        let parameters = rest.split(['@', ';']).skip(1);
        let context = { parameters }.find_map(|parameter| parameter.strip_prefix("phone-context=+"));
        let user = rest.split(['@', ';', '?']).next().unwrap_or_default().trim();
        let number = without_extension(user);
        // Two numbers mean neither.
        let beside = rest.get(number.len()..).unwrap_or_default().split('@').next().unwrap_or_default();
        if beside.replace("phone-context=+", "").contains('+') {
            return None;
        }
        if !number.chars().all(|c| c.is_ascii_digit() || "+-./() []".contains(c)) {
            return None;
        }
        let digits: String = number.replace("(0)", "").chars().filter(char::is_ascii_digit).collect();
        let all_digits: String = number.chars().filter(char::is_ascii_digit).collect();
        let prefixed = |digits: &str| Self::new(&format!("+{digits}")).ok();
        let long = |digits: &&str| digits.len() >= MIN_PREFIXED_DIGITS;
        let number = number.trim();
        if number.starts_with('+') || number.starts_with("(+") {
            return prefixed(digits.strip_prefix("00").unwrap_or(&digits));
        }
        if let Some(context) = context {
            return prefixed(&format!("{context}{all_digits}"));
        }
        if let Some(rest) = digits.strip_prefix("00").filter(long) {
            return prefixed(rest);
        }
        // Shorter numbers may be national: those of Leeds, Buenos Aires and São Paulo begin with 011.
        if let Some(rest) = digits.strip_prefix("011").filter(|rest| rest.len() >= 10) {
            return prefixed(rest);
        }
        // WhatsApp identifies people by the international number.
        let whole =
            digits.len() >= MIN_INTERNATIONAL_DIGITS || (scheme.eq_ignore_ascii_case("whatsapp") && long(&&*digits));
        if whole && !all_digits.starts_with('0') {
            return prefixed(&digits);
        }
        is_north_american(number).then(|| prefixed(&format!("1{digits}")))?
    }

    /// Returns the number with its `+`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns the ASCII form of a character in a number, or `None` for invisible formatting characters.
fn plain(c: char) -> Option<char> {
    match c {
        '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}' => None,
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{FE63}' | '\u{FF0D}' => Some('-'),
        '\u{FF0B}' => Some('+'),
        '\u{FF10}'..='\u{FF19}' => char::from_digit(u32::from(c) - 0xFF10, 10),
        '\u{FF08}' => Some('('),
        '\u{FF09}' => Some(')'),
        '\u{B7}' | '\u{2022}' => Some('.'),
        c if c.is_whitespace() => Some(' '),
        c => Some(c),
    }
}

/// Returns a number without the marks of spreadsheets and data frames: `'+1555…`, `="+1555…"`, `15550100042.0`.
fn without_spreadsheet_marks(text: &str) -> &str {
    let text = text.strip_prefix('=').unwrap_or(text).trim_matches(['"', '\'']);
    match text.rsplit_once('.') {
        Some((whole, fraction)) if whole.len() >= MIN_PREFIXED_DIGITS && matches!(fraction, "0" | "00") => {
            if whole.trim_start_matches('+').bytes().all(|byte| byte.is_ascii_digit()) { whole } else { text }
        }
        _ => text,
    }
}

/// Returns the number without an extension such as `ext. 12`, `x12`, `#12` or `,12`.
fn without_extension(text: &str) -> &str {
    let Some(end) = text.find(|c: char| c.is_alphabetic() || matches!(c, '#' | ',')) else { return text };
    let (number, rest) = text.split_at(end);
    let word = rest.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default().to_ascii_lowercase();
    let extension = matches!(&*word, "" | "x" | "ext" | "extn" | "extension" | "p" | "w");
    if extension && number.bytes().any(|byte| byte.is_ascii_digit()) { number.trim_end() } else { text }
}

/// Returns whether ten digits have a grouping that only North American numbers have: `(555) 010-0042`, `555.010.0042`.
fn is_north_american(number: &str) -> bool {
    let groups: Vec<_> = number.split(|c: char| !c.is_ascii_digit()).filter(|group| !group.is_empty()).collect();
    let lengths: Vec<_> = groups.iter().map(|group| group.len()).collect();
    // Italian and Turkish numbers have the same groups, separated by blanks.
    lengths == [3, 3, 4] && !groups[0].starts_with(['0', '1']) && number.contains(['(', '-', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        PhoneNumber::from_payload(text).map(|number| number.as_str().to_owned())
    }

    #[test]
    fn every_form_of_a_number_means_that_number() {
        for text in [
            "+15550100042",
            " +1 555 010 0042 ",
            "+1 (555) 010-0042",
            "+1.555.010.0042",
            "+1/555/010/0042",
            "+1\u{A0}555\u{2011}010\u{2013}0042",
            "\u{202A}+15550100042\u{202C}",
            "\u{FF0B}1\u{FF15}550100042",
            "(+1) 555 010 0042",
            "0015550100042",
            "00 1 555 010 0042",
            "+0015550100042",
            "01115550100042",
            "011 1 555 010 0042",
            "15550100042",
            "1-555-010-0042",
            "1 (555) 010-0042",
            "(555) 010-0042",
            "555-010-0042",
            "555.010.0042",
            "tel:+15550100042",
            "tel:+1-555-010-0042;ext=12",
            "TEL:+15550100042",
            "tel:5550100042;phone-context=+1",
            "sip:5550100042;phone-context=+1@sip.example.com;user=phone",
            "15550100042.0",
            "+15550100042.0",
            "'+15550100042",
            "=\"+15550100042\"",
            "tel://+15550100042",
            "sip:+15550100042@sip.example.com",
            "sip:+15550100042@sip.example.com;user=phone",
            "sip:%2B15550100042@sip.example.com",
            "sip:15550100042@203.0.113.5:5060",
            "sips:+15550100042@example.com?subject=x",
            "\"Maria\" <sip:+15550100042@example.com>;tag=77",
            "<tel:+15550100042>",
            "+15550100042@example.com",
            "whatsapp:+15550100042",
            "whatsapp:15550100042",
            "callto:+15550100042",
            "+1 555 010 0042 ext. 12",
            "+15550100042x12",
            "+15550100042#12",
            "+15550100042,,12",
            "+1 555 010 0042 extension 12",
        ] {
            assert_eq!(read(text).as_deref(), Some("+15550100042"), "{text}");
        }
        for (text, number) in [
            ("+49 (0)30 123456", "+4930123456"),
            ("0049 (0) 30 123456", "+4930123456"),
            ("0049 30 123456", "+4930123456"),
            ("491701234567", "+491701234567"),
            ("whatsapp:4512345678", "+4512345678"),
        ] {
            assert_eq!(read(&text.replace("(0) ", "(0)")).as_deref(), Some(number), "{text}");
        }
    }

    #[test]
    fn what_does_not_mean_one_number_means_none() {
        for text in [
            "",
            "+",
            "anonymous",
            "Restricted",
            "sip:anonymous@anonymous.invalid",
            "sip:1042@pbx.example.com",
            "client:maria",
            "1042",
            "5550100042",
            "030 123456",
            "333 123 4567",
            "0114 234 5678",
            "011 4123-4567",
            "(011) 91234-5678",
            "0301234567890",
            "+0301234567",
            "+15550100042;+4930123456",
            "+15550100042, +4930123456",
            "+15550100042 / +4930123456",
            "5550100042.0",
            "+1555010004212345",
            "1555010004212345",
            "US.13491208655302741918",
            "+1 555 CALL NOW",
            "2026-09-28 12:00:05.5",
            "{{system__caller_id}}",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
