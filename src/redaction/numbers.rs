//! Finds card numbers, social security numbers and telephone numbers, written and spoken.
//!
//! A run is a sequence of number tokens with only separators between them. A finding starts and ends at tokens of a
//! run. A card number must have its issuer's prefix and length, and a valid check digit. The other kinds have no check
//! digit, so their context is considered: a load number or a mileage is not a finding.

use super::finding::{PiiKind, Span};
use super::tokens::{Token, TokenKind};

/// A number token of a run.
struct NumberToken {
    /// Index of the token.
    token: usize,
    start: usize,
    end: usize,
    digits: String,
    spoken: bool,
    /// Separator before the token.
    gap: Separator,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Separator {
    /// No separator: the first token of a run.
    None,
    Space,
    Dash,
    Dot,
    /// A closing bracket, as after an area code.
    Bracket,
    /// A separator of spoken numbers: a comma, or a filler word.
    Pause,
}

/// Maximum number of digits of any kind.
const MAX_DIGITS: usize = 19;

pub(super) fn find(text: &str, tokens: &[Token]) -> Vec<Span> {
    let mut findings = Vec::new();
    let mut run: Vec<NumberToken> = Vec::new();
    let mut between: Vec<&Token> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let digits = match &token.what {
            TokenKind::Digits => &text[token.start..token.end],
            TokenKind::SpokenDigits(digits) => digits,
            _ => {
                between.push(token);
                continue;
            }
        };
        let spoken = matches!(token.what, TokenKind::SpokenDigits(_));
        let gap = run.last().and_then(|last| {
            // A longer token is never part of another number.
            let fits = digits.len() <= MAX_DIGITS && last.digits.len() <= MAX_DIGITS;
            gap(&text[last.end..token.start], &between, last.spoken || spoken).filter(|_| fits)
        });
        if gap.is_none() {
            findings.extend(NumberRun { text, tokens, units: &run }.findings());
            run.clear();
        }
        let (start, end) = (token.start, token.end);
        run.push(NumberToken {
            token: at,
            start,
            end,
            digits: digits.to_owned(),
            spoken,
            gap: gap.unwrap_or(Separator::None),
        });
        between.clear();
    }
    findings.extend(NumberRun { text, tokens, units: &run }.findings());
    findings
}

/// Returns the separator between two number tokens, or `None` if they cannot belong together.
fn gap(between: &str, tokens: &[&Token], spoken: bool) -> Option<Separator> {
    if spoken {
        if tokens.len() > 4 {
            return None;
        }
        let mut gap = Separator::Space;
        for token in tokens {
            gap = match &token.what {
                TokenKind::Punctuation('-' | '‐' | '‑' | '–' | '—') => Separator::Dash,
                TokenKind::Punctuation(',' | '.' | ';' | '…') => Separator::Pause,
                TokenKind::Word(word) if matches!(word.as_str(), "dash" | "hyphen" | "minus") => Separator::Dash,
                TokenKind::Word(word)
                    if matches!(word.as_str(), "um" | "uh" | "uhm" | "er" | "erm" | "ah" | "hmm" | "space") =>
                {
                    Separator::Pause
                }
                _ => return None,
            };
        }
        return Some(gap);
    }
    if between.chars().count() > 3 {
        return None;
    }
    let mut gap = Separator::Space;
    for c in between.chars() {
        gap = match c {
            ' ' | '\u{A0}' | '\t' if gap != Separator::Dot => gap,
            '-' | '‐' | '‑' => Separator::Dash,
            '.' if between.len() == 1 => Separator::Dot,
            ')' => Separator::Bracket,
            _ => return None,
        };
    }
    Some(gap)
}

/// The kind of a number according to the words around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Surroundings {
    Nothing,
    /// Not personal data: a load number, a mileage.
    Other,
    Phone,
    Social,
}

struct NumberRun<'a> {
    text: &'a str,
    tokens: &'a [Token],
    units: &'a [NumberToken],
}

impl NumberRun<'_> {
    fn findings(&self) -> Vec<Span> {
        let mut findings = Vec::new();
        // `from` is the end of the last finding.
        let (mut from, mut at) = (0, 0);
        while at < self.units.len() {
            let found = self.card(at).map(|end| (PiiKind::Card, end));
            let found = found.or_else(|| self.grouped_ssn(at).map(|end| (PiiKind::Ssn, end)));
            let found = found.or_else(|| self.grouped_phone(at).map(|end| (PiiKind::Phone, end)));
            if let Some((kind, end)) = found {
                findings.extend(self.classify_range(from, at));
                findings.push(self.finding(kind, at, end));
                (from, at) = (end, end);
            } else {
                at += 1;
            }
        }
        findings.extend(self.classify_range(from, self.units.len()));
        findings
    }

    fn finding(&self, kind: PiiKind, from: usize, to: usize) -> Span {
        let mut start = self.units[from].start;
        let before = &self.text[..start];
        if kind == PiiKind::Phone {
            if before.ends_with(['+', '(']) {
                start -= 1;
            }
            if let Some(plus) = self.plus(from) {
                start = plus;
            }
        }
        Span { kind, start, end: self.units[to - 1].end }
    }

    /// Returns the end of a card number that starts at this token.
    fn card(&self, from: usize) -> Option<usize> {
        let mut digits = String::new();
        let mut found = None;
        for (at, unit) in self.units.iter().enumerate().skip(from) {
            digits.push_str(&unit.digits);
            if digits.len() > MAX_DIGITS {
                break;
            }
            if is_card(&digits) {
                // Unusual lengths only count if there is no usual one.
                if matches!(digits.len(), 15 | 16) {
                    return Some(at + 1);
                }
                found = Some(at + 1);
            }
        }
        found
    }

    /// Returns the end of a social security number that starts at this token: groups of three, two and four digits.
    fn grouped_ssn(&self, from: usize) -> Option<usize> {
        let (groups, end) = self.groups(from, 3)?;
        let [area, group, serial] = <[String; 3]>::try_from(groups).ok()?;
        let lengths = (area.len(), group.len(), serial.len()) == (3, 2, 4);
        if !lengths || !is_ssn(&area, &group, &serial) || self.continues(from, end) {
            return None;
        }
        let spaced = self.units[from + 1].gap == Separator::Space;
        (!spaced || self.context(from) != Surroundings::Other).then_some(end)
    }

    /// Returns the next `count` groups with equal separators, and their end. A pause ends a group of spoken digits.
    fn groups(&self, from: usize, count: usize) -> Option<(Vec<String>, usize)> {
        let mut groups = vec![String::new()];
        let mut separator = None;
        let mut at = from;
        while let Some(unit) = self.units.get(at) {
            if at > from {
                let ends_group = !unit.spoken || unit.gap != Separator::Space;
                if ends_group {
                    if groups.len() == count {
                        break;
                    }
                    if *separator.get_or_insert(unit.gap) != unit.gap {
                        return None;
                    }
                    groups.push(String::new());
                }
            }
            let group = groups.last_mut().expect("there is one");
            group.push_str(&unit.digits);
            if group.len() > 4 {
                return None;
            }
            at += 1;
        }
        (groups.len() == count).then_some((groups, at))
    }

    /// Returns whether the tokens are part of a longer number with equal separators.
    fn continues(&self, from: usize, end: usize) -> bool {
        let gap = self.units[from + 1].gap;
        let before = self.units[from].gap;
        before == gap || self.units.get(end).is_some_and(|next| next.gap == gap)
    }

    /// Returns the end of a written telephone number that starts at this token, according to its grouping.
    fn grouped_phone(&self, from: usize) -> Option<usize> {
        let unit = &self.units[from];
        if self.plus(from).is_some() {
            return self.international(from);
        }
        if unit.spoken {
            return None;
        }
        let bracketed = self.text[..unit.start].ends_with('(');
        let length = |at: usize| self.units.get(at).filter(|unit| !unit.spoken).map_or(0, |unit| unit.digits.len());
        // 1-555-010-0042 and similar: the country code is a group.
        let first = from + usize::from(unit.digits == "1" && length(from + 1) == 3);
        let area = self.units.get(first)?;
        if !area.digits.starts_with(|c: char| c > '1') {
            return None;
        }
        let end = if [length(first), length(first + 1), length(first + 2)] == [3, 3, 4] {
            first + 3
        } else if [length(first), length(first + 1)] == [3, 7] {
            first + 2
        } else {
            return None;
        };
        let dashed = self.units[end - 1].gap;
        let part_of_more = matches!(dashed, Separator::Dash | Separator::Dot)
            && (unit.gap == dashed || self.units.get(end).is_some_and(|next| next.gap == dashed));
        if part_of_more || (!bracketed && dashed == Separator::Space && self.context(from) == Surroundings::Other) {
            return None;
        }
        Some(end)
    }

    /// Returns the byte position of a plus sign before a number.
    fn plus(&self, at: usize) -> Option<usize> {
        let unit = &self.units[at];
        let before = self.tokens.get(unit.token.checked_sub(1)?)?;
        match &before.what {
            TokenKind::Punctuation('+') if before.end == unit.start => Some(before.start),
            TokenKind::Word(word) if word == "plus" && unit.spoken => Some(before.start),
            _ => None,
        }
    }

    /// Returns the end of a number that starts with a plus: as many digits as possible, up to the maximum.
    fn international(&self, from: usize) -> Option<usize> {
        let (mut length, mut end) = (0, None);
        for (at, unit) in self.units.iter().enumerate().skip(from) {
            length += unit.digits.len();
            let most = if self.units[from].digits.starts_with('1') { 11 } else { 15 };
            if length > most {
                break;
            }
            if length >= 8 {
                end = Some(at + 1);
            }
        }
        end
    }

    /// Classifies all tokens of a range as one number.
    fn classify_range(&self, from: usize, to: usize) -> Option<Span> {
        let mut from = from;
        // "Oh, four …" is no zero.
        let interjection = self.units.get(from).is_some_and(|unit| unit.spoken && unit.digits == "0")
            && self.units.get(from + 1).is_some_and(|next| next.gap == Separator::Pause);
        if interjection && self.text[self.units[from].start..].starts_with(['o', 'O']) {
            from += 1;
        }
        let units = self.units.get(from..to).filter(|units| !units.is_empty())?;
        let length: usize = units.iter().map(|unit| unit.digits.len()).sum();
        if !(7..=11).contains(&length) {
            return None;
        }
        let digits: String = units.iter().map(|unit| unit.digits.as_str()).collect();
        let context = self.context(from);
        let in_one = units.len() == 1;
        let one_by_one = units.iter().any(|unit| unit.spoken) || units.iter().all(|unit| unit.digits.len() == 1);
        let above_one = |at: usize| digits.as_bytes()[at] > b'1';
        let kind = match (length, context) {
            (9, Surroundings::Social) if is_ssn(&digits[..3], &digits[3..5], &digits[5..]) => PiiKind::Ssn,
            (_, Surroundings::Other | Surroundings::Social) => return None,
            (10, _) if one_by_one && above_one(0) => PiiKind::Phone,
            (10, _) if in_one && above_one(0) && above_one(3) => PiiKind::Phone,
            (11, _)
                if (one_by_one || in_one || context == Surroundings::Phone)
                    && digits.starts_with('1')
                    && above_one(1) =>
            {
                PiiKind::Phone
            }
            (7 | 10, Surroundings::Phone) if above_one(0) => PiiKind::Phone,
            _ => return None,
        };
        Some(self.finding(kind, from, to))
    }

    /// Returns the kind according to the nearest significant word shortly before a number, or right after it.
    fn context(&self, from: usize) -> Surroundings {
        let first = self.units[from].token;
        let mut context = Surroundings::Nothing;
        let mut words = 0;
        for token in self.tokens[..first].iter().rev().take(16) {
            match &token.what {
                TokenKind::Word(word) => {
                    words += 1;
                    match word_context(word) {
                        // The words before "number" may name another kind.
                        Surroundings::Phone if word == "number" => context = Surroundings::Phone,
                        Surroundings::Nothing => {}
                        said => return said,
                    }
                }
                TokenKind::Punctuation(_) => {}
                TokenKind::Digits | TokenKind::SpokenDigits(_) | TokenKind::Placeholder => break,
            }
            if words == 6 {
                break;
            }
        }
        if context == Surroundings::Nothing {
            let last = self.units[self.units.len() - 1].token;
            for token in self.tokens.iter().skip(last + 1).take(5) {
                match &token.what {
                    TokenKind::Word(word) => match word_context(word) {
                        Surroundings::Nothing => {}
                        said => return said,
                    },
                    TokenKind::Punctuation(',' | '-') => {}
                    _ => break,
                }
            }
        }
        context
    }
}

fn word_context(word: &str) -> Surroundings {
    match word {
        "phone" | "call" | "cell" | "mobile" | "reach" | "text" | "dial" | "callback" | "telephone" | "fax" | "tel"
        | "number" => Surroundings::Phone,
        "social" | "ssn" => Surroundings::Social,
        "load" | "loads" | "order" | "ref" | "reference" | "po" | "bol" | "pro" | "trailer" | "truck" | "tractor"
        | "unit" | "mile" | "miles" | "mileage" | "odometer" | "invoice" | "confirmation" | "tracking"
        | "container" | "seal" | "pickup" | "delivery" | "appointment" | "dock" | "door" | "exit" | "zip" | "vin"
        | "plate" | "shipment" | "booking" | "manifest" | "ticket" | "account" | "usdot" | "mc" | "pounds" | "lbs"
        | "kilos" | "gallons" | "degrees" | "dollars" | "hours" | "minutes" | "pallets" | "cases" | "pieces"
        | "serial" | "part" => Surroundings::Other,
        _ => Surroundings::Nothing,
    }
}

/// Returns whether the digits are a possible social security number.
fn is_ssn(area: &str, group: &str, serial: &str) -> bool {
    !matches!(area, "000" | "666") && !area.starts_with('9') && group != "00" && serial != "0000"
}

/// Returns whether the digits are a card number: an issuer's prefix, a length of that issuer, and a valid check digit.
pub(super) fn is_card(digits: &str) -> bool {
    let prefix = |length: usize| digits.get(..length).and_then(|prefix| prefix.parse::<u32>().ok()).unwrap_or(0);
    let lengths: &[usize] = match (prefix(1), prefix(2), prefix(3), prefix(4)) {
        (4, ..) => &[13, 16, 19],
        (_, 51..=55, ..) | (.., 2200..=2204 | 2221..=2720) => &[16],
        (_, 34 | 37, ..) => &[15],
        (_, 36 | 38 | 39, ..) | (_, _, 300..=305, _) => &[14, 16, 19],
        (.., 3528..=3589) | (_, 50 | 56..=58 | 60..=69, ..) => &[16, 17, 18, 19],
        _ => return false,
    };
    lengths.contains(&digits.len()) && luhn(digits)
}

/// Returns whether the last digit is the Luhn check digit of the others.
fn luhn(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(at, byte)| {
            let digit = u32::from(byte - b'0');
            match (at % 2, digit) {
                (0, _) => digit,
                (_, 0..=4) => digit * 2,
                _ => digit * 2 - 9,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redaction::tokens::tokens;

    fn found(text: &str) -> Vec<(&'static str, &str)> {
        find(text, &tokens(text)).iter().map(|found| (found.kind.as_str(), &text[found.start..found.end])).collect()
    }

    #[test]
    fn each_kind_of_number_is_found_where_it_begins_and_ends() {
        let cases = [
            ("card 4111 1111 1111 1111 expires", "card", "4111 1111 1111 1111"),
            ("4111-1111-1111-1111", "card", "4111-1111-1111-1111"),
            ("amex 378282246310005", "card", "378282246310005"),
            (
                "four one one one, one one one one, one one one one, one one one one",
                "card",
                "four one one one, one one one one, one one one one, one one one one",
            ),
            ("078-05-1120", "ssn", "078-05-1120"),
            ("my social is 078051120", "ssn", "078051120"),
            ("call (555) 010-0042 now", "phone", "(555) 010-0042"),
            ("555.010.0042", "phone", "555.010.0042"),
            ("+15550100042", "phone", "+15550100042"),
            ("1-555-010-0042", "phone", "1-555-010-0042"),
            ("+49 89 1234567", "phone", "+49 89 1234567"),
            (
                "plus one five five five zero one zero zero zero four two",
                "phone",
                "plus one five five five zero one zero zero zero four two",
            ),
            ("reach me at 555 0100", "phone", "555 0100"),
            (
                "five five five, um, oh one oh, double oh four two",
                "phone",
                "five five five, um, oh one oh, double oh four two",
            ),
        ];
        for (text, kind, wanted) in cases {
            assert_eq!(found(text), [(kind, wanted)], "{text:?}");
        }
    }

    #[test]
    fn numbers_of_other_things_are_left() {
        for text in [
            "load 4711 at 45 degrees",
            "load number 5550100042",
            "4111 1111 1111 1112",
            "mileage 078051120",
            "000-12-3456",
            "900-12-3456",
            "078-05-0000",
            "078-00-1120",
            "078051120",
            "078-05-1120-3",
            "155.010.0042",
            "555-010-0042-1",
            "12345678901234567890",
            "confirmation 555 010 0042",
            "twenty four hours and forty five minutes",
            "",
        ] {
            assert_eq!(found(text), [], "{text:?}");
        }
    }

    #[test]
    fn a_card_has_a_prefix_a_length_and_a_check_digit() {
        for (digits, valid) in [
            ("4111111111111111", true),
            ("5555555555554444", true),
            ("2223003122003222", true),
            ("6011111111111117", true),
            ("30569309025904", true),
            ("4111111111111112", false),
            ("1111111111111117", false),
            ("0000000000000000", false),
            ("4", false),
            ("", false),
        ] {
            assert_eq!(is_card(digits), valid, "{digits}");
        }
    }
}
