//! Splits a text into tokens for finding numbers: written digits, spoken digits, other words, and punctuation.
//!
//! Spoken digits are `four`, `oh`, `double five`, `forty one`, `eight hundred`. A placeholder of an earlier redaction
//! is a token of its own, which is never part of a number or a context.

use super::finding::PiiKind;

/// A byte range of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) what: TokenKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// Written digits.
    Digits,
    /// Spoken digits, converted to digits.
    SpokenDigits(String),
    /// Another word, in lower case; empty if longer than the maximum.
    Word(String),
    /// Any other character except whitespace.
    Punctuation(char),
    /// A placeholder of an earlier redaction.
    Placeholder,
}

/// Maximum length of a significant word, in bytes.
const MAX_WORD_BYTES: usize = 16;

/// Returns all tokens of a text, in order.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut rest = text.char_indices().peekable();
    while let Some((start, c)) = rest.next() {
        if c == '[' {
            if let Some(length) =
                PiiKind::ALL.into_iter().map(PiiKind::placeholder).find_map(|p| starts(text, start, p))
            {
                while rest.next_if(|(at, _)| *at < start + length).is_some() {}
                tokens.push(Token { start, end: start + length, what: TokenKind::Placeholder });
                continue;
            }
        }
        if c.is_whitespace() {
            continue;
        }
        let mut end = start + c.len_utf8();
        if !c.is_alphanumeric() {
            tokens.push(Token { start, end, what: TokenKind::Punctuation(c) });
            continue;
        }
        while let Some((at, c)) = rest.next_if(|(_, c)| c.is_alphanumeric() || matches!(c, '\'' | '’' | '_')) {
            end = at + c.len_utf8();
        }
        let word = &text[start..end];
        let what = if word.bytes().all(|byte| byte.is_ascii_digit()) {
            TokenKind::Digits
        } else if word.len() > MAX_WORD_BYTES {
            TokenKind::Word(String::new())
        } else {
            TokenKind::Word(word.to_lowercase())
        };
        tokens.push(Token { start, end, what });
    }
    spoken(text, &tokens)
}

fn starts(text: &str, at: usize, with: &str) -> Option<usize> {
    text[at..].starts_with(with).then_some(with.len())
}

fn digit(word: &str) -> Option<&'static str> {
    Some(match word {
        "zero" | "oh" | "o" => "0",
        "one" => "1",
        "two" => "2",
        "three" => "3",
        "four" => "4",
        "five" => "5",
        "six" => "6",
        "seven" => "7",
        "eight" => "8",
        "nine" => "9",
        _ => return None,
    })
}

fn teen(word: &str) -> Option<&'static str> {
    Some(match word {
        "ten" => "10",
        "eleven" => "11",
        "twelve" => "12",
        "thirteen" => "13",
        "fourteen" => "14",
        "fifteen" => "15",
        "sixteen" => "16",
        "seventeen" => "17",
        "eighteen" => "18",
        "nineteen" => "19",
        _ => return None,
    })
}

fn tens(word: &str) -> Option<&'static str> {
    Some(match word {
        "twenty" => "2",
        "thirty" => "3",
        "forty" | "fourty" => "4",
        "fifty" => "5",
        "sixty" => "6",
        "seventy" => "7",
        "eighty" => "8",
        "ninety" => "9",
        _ => return None,
    })
}

/// Converts words for digits to spoken digits.
fn spoken(text: &str, tokens: &[Token]) -> Vec<Token> {
    let mut out: Vec<Token> = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let TokenKind::Word(word) = &token.what else {
            out.push(token.clone());
            at += 1;
            continue;
        };
        // Returns the digit in the next token, which may follow a hyphen.
        let next_digit = || {
            let hyphen = usize::from(tokens.get(at + 1).is_some_and(|t| t.what == TokenKind::Punctuation('-')));
            let next = tokens.get(at + 1 + hyphen)?;
            let digit = match &next.what {
                TokenKind::Word(word) => digit(word)?.to_owned(),
                TokenKind::Digits if next.end - next.start == 1 => text[next.start..next.end].to_owned(),
                _ => return None,
            };
            Some((digit, at + 2 + hyphen, next.end))
        };
        let taken = if let Some(digit) = digit(word) {
            Some((digit.to_owned(), at + 1, token.end))
        } else if let Some(teen) = teen(word) {
            Some((teen.to_owned(), at + 1, token.end))
        } else if let Some(tens) = tens(word) {
            match next_digit().filter(|(digit, ..)| digit != "0") {
                Some((digit, next, end)) => Some((format!("{tens}{digit}"), next, end)),
                None => Some((format!("{tens}0"), at + 1, token.end)),
            }
        } else {
            let times = match word.as_str() {
                "double" => 2,
                "triple" | "treble" => 3,
                _ => 0,
            };
            next_digit().filter(|_| times > 0).map(|(digit, next, end)| (digit.repeat(times), next, end))
        };
        match (taken, out.last_mut()) {
            (Some((digits, next, end)), _) => {
                out.push(Token { start: token.start, end, what: TokenKind::SpokenDigits(digits) });
                at = next;
            }
            // As in "eight hundred" or "forty one hundred".
            (None, Some(Token { end, what: TokenKind::SpokenDigits(digits), .. }))
                if word == "hundred" && digits.len() <= 2 && !digits.starts_with('0') =>
            {
                digits.push_str("00");
                *end = token.end;
                at += 1;
            }
            _ => {
                out.push(token.clone());
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens as short text: digits, `~` before spoken ones, words, marks, and `#` for a placeholder.
    fn shown(text: &str) -> Vec<String> {
        let token = |token: &Token| match &token.what {
            TokenKind::Digits => text[token.start..token.end].to_owned(),
            TokenKind::SpokenDigits(digits) => format!("~{digits}"),
            TokenKind::Word(word) => word.clone(),
            TokenKind::Punctuation(c) => c.to_string(),
            TokenKind::Placeholder => "#".to_owned(),
        };
        tokens(text).iter().map(token).collect()
    }

    #[test]
    fn a_text_is_split_into_digits_words_and_marks() {
        let cases: [(&str, &[&str]); 16] = [
            ("", &[]),
            (" \n", &[]),
            ("Call 555-0100.", &["call", "555", "-", "0100", "."]),
            ("a1 1a", &["a1", "1a"]),
            ("I'm O’Neil_2", &["i'm", "o’neil_2"]),
            ("four oh two", &["~4", "~0", "~2"]),
            ("double five triple nine", &["~55", "~999"]),
            ("double", &["double"]),
            ("forty one, forty-two, forty", &["~41", ",", "~42", ",", "~40"]),
            ("twenty zero", &["~20", "~0"]),
            ("nineteen hundred", &["~1900"]),
            ("eight hundred hundred", &["~800", "hundred"]),
            ("zero hundred", &["~0", "hundred"]),
            ("sixty 5 and 55", &["~65", "and", "55"]),
            ("my [card] and [cards]", &["my", "#", "and", "[", "cards", "]"]),
            ("pneumonoultramicroscopic", &[""]),
        ];
        for (text, wanted) in cases {
            assert_eq!(shown(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn tokens_are_in_order_and_within_the_text_whatever_its_characters() {
        for text in ["ééé 4️⃣ ten\u{301} [phone][ssn]4", "İ ﬁfty-fíve ½ ٣٤", "\u{FEFF}nine-\u{200D}nine"]
        {
            let mut past = 0;
            for token in tokens(text) {
                assert!(past <= token.start && token.start < token.end, "{text:?}: {token:?}");
                assert!(text.is_char_boundary(token.start) && text.is_char_boundary(token.end), "{text:?}: {token:?}");
                past = token.end;
            }
            assert!(past <= text.len());
        }
    }
}
