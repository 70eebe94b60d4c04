//! Finds e-mail addresses, written ones and spoken ones such as `maria dot k at gmail dot com`.

use super::finding::{PiiKind, Span};
use super::tokens::{Token, TokenKind};

/// Maximum length of an address before its `@`, in bytes (RFC 5321).
const MAX_LOCAL_BYTES: usize = 64;

/// Maximum length of an address after its `@`, in bytes (RFC 5321).
const MAX_DOMAIN_BYTES: usize = 255;

pub(super) fn find(text: &str, tokens: &[Token]) -> Vec<Span> {
    let mut findings: Vec<Span> = text.match_indices('@').filter_map(|(at, _)| literal_address(text, at)).collect();
    // Speech recognition writes only some words of an address as signs.
    let is_other_sign = |token: &Token| {
        token.what == TokenKind::Punctuation('@')
            && !findings.iter().any(|found| (found.start..found.end).contains(&token.start))
    };
    let ats = (0..tokens.len()).filter(|at| is_word(tokens, *at, "at") || is_other_sign(&tokens[*at]));
    let spoken: Vec<_> = ats.filter_map(|at| spoken_address(tokens, at)).collect();
    findings.extend(spoken.into_iter().map(|(start, end)| Span { kind: PiiKind::Email, start, end }));
    findings
}

/// Returns the address around the `@` at this byte.
fn literal_address(text: &str, at: usize) -> Option<Span> {
    let local = |c: char| c.is_alphanumeric() || "._%+-'".contains(c);
    let before: usize = text[..at].chars().rev().take_while(|c| local(*c)).map(char::len_utf8).sum();
    let label = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.');
    let after = &text[at + 1..];
    let after: usize = after.chars().take_while(|c| label(*c)).map(char::len_utf8).sum();
    let domain = text[at + 1..at + 1 + after].trim_end_matches(['.', '-']);
    let start = at - before;
    let trimmed = text[start..at].trim_start_matches(['.', '-', '\'']);
    let (rest, top) = domain.rsplit_once('.')?;
    let valid = !trimmed.is_empty()
        && trimmed.len() <= MAX_LOCAL_BYTES
        && domain.len() <= MAX_DOMAIN_BYTES
        && top.chars().count() >= 2
        && top.chars().all(char::is_alphabetic)
        && !rest.is_empty()
        && !domain.contains("..");
    valid.then(|| Span { kind: PiiKind::Email, start: at - trimmed.len(), end: at + 1 + domain.len() })
}

fn word(tokens: &[Token], at: usize) -> Option<&str> {
    match &tokens.get(at)?.what {
        TokenKind::Word(word) => Some(word),
        _ => None,
    }
}

fn is_word(tokens: &[Token], at: usize, wanted: &str) -> bool {
    word(tokens, at) == Some(wanted)
}

/// Returns whether the token can be a part of an address: a word, or digits.
fn is_name(tokens: &[Token], at: usize) -> bool {
    matches!(
        tokens.get(at).map(|token| &token.what),
        Some(TokenKind::Word(_) | TokenKind::Digits | TokenKind::SpokenDigits(_))
    )
}

/// Words that join the parts of a spoken address.
const SEPARATORS: [&str; 5] = ["dot", "underscore", "dash", "hyphen", "point"];

/// Maximum number of parts before and after the word `at`.
const MAX_PARTS: usize = 6;

/// Maximum number of letters of a spelled name.
const MAX_LETTERS: usize = 32;

/// Returns the letter at a token of a spelled word. Elsewhere, an O counts as a digit.
fn letter(tokens: &[Token], at: usize) -> Option<&str> {
    match &tokens.get(at)?.what {
        TokenKind::Word(word) => {
            Some(&**word).filter(|word| word.len() == 1 && word.bytes().all(|b| b.is_ascii_alphabetic()))
        }
        TokenKind::SpokenDigits(_) if tokens[at].end - tokens[at].start == 1 => Some("o"),
        _ => None,
    }
}

fn is_letter(tokens: &[Token], at: usize) -> bool {
    letter(tokens, at).is_some()
}

/// Returns the last token of the domain label that begins at `from`: a word, a spelled one, or several with hyphens.
fn end_of_label(tokens: &[Token], from: usize) -> Option<usize> {
    word(tokens, from).or_else(|| letter(tokens, from))?;
    let mut end = from;
    while end - from < MAX_LETTERS && is_letter(tokens, end) && is_letter(tokens, end + 1) {
        end += 1;
    }
    let is_hyphen = |at| is_word(tokens, at, "dash") || is_word(tokens, at, "hyphen");
    while end - from < MAX_LETTERS && is_hyphen(end + 1) && word(tokens, end + 2).is_some() {
        end += 2;
    }
    Some(end)
}

/// Returns whether one of these signs is at a token, between two words and without blanks.
fn is_sign(tokens: &[Token], at: usize, signs: &[char]) -> bool {
    let Some([before, sign, after]) = at.checked_sub(1).and_then(|from| tokens.get(from..from + 3)) else {
        return false;
    };
    let glued = before.end == sign.start && sign.end == after.start;
    glued && matches!(sign.what, TokenKind::Punctuation(mark) if signs.contains(&mark))
}

/// Returns the byte range of the address around the word or sign `at`.
fn spoken_address(tokens: &[Token], at: usize) -> Option<(usize, usize)> {
    let by_sign = tokens[at].what == TokenKind::Punctuation('@');
    let is_dot = |at| is_word(tokens, at, "dot") || (by_sign && is_sign(tokens, at, &['.']));
    let is_join = |at| {
        SEPARATORS.iter().any(|word| is_word(tokens, at, word))
            || (by_sign && is_sign(tokens, at, &['.', '-', '+', '_']))
    };
    // After it: a word, followed by at least one "dot" and word. The last one is the top-level domain.
    let host = word(tokens, at + 1)?;
    let mut end = end_of_label(tokens, at + 1)?;
    let mut last = String::new();
    for _ in 0..MAX_PARTS {
        let Some(next) = end_of_label(tokens, end + 2).filter(|_| is_dot(end + 1)) else { break };
        last = (end + 2..=next).filter_map(|at| word(tokens, at).or_else(|| letter(tokens, at))).collect();
        end = next;
    }
    let known_end = matches!(
        &*last,
        "com" | "net" | "org" | "edu" | "gov" | "us" | "io" | "co" | "ca" | "mx" | "biz" | "info" | "uk"
    );
    let could_end = last.len() >= 2 && last.chars().all(char::is_alphabetic);
    if !could_end {
        return None;
    }
    // Before it: words, each two connected by a separator.
    let mut start = at.checked_sub(1).filter(|at| is_name(tokens, *at))?;
    let mut joined = matches!(tokens[start].what, TokenKind::Digits | TokenKind::SpokenDigits(_));
    // With separators before and after "at" it is an address, whatever its top-level domain is.
    let mut by_words = false;
    let mut parts = 0;
    while parts < MAX_PARTS && at - start < MAX_LETTERS {
        let Some(join) = start.checked_sub(1) else { break };
        let digits = |at: usize| matches!(tokens[at].what, TokenKind::Digits | TokenKind::SpokenDigits(_));
        if is_join(join) && join > 0 && is_name(tokens, join - 1) {
            start = join - 1;
            (joined, by_words) = (true, true);
            parts += 1;
        } else if is_letter(tokens, start) && is_letter(tokens, join) {
            // As in m a r i a at.
            start = join;
            joined = true;
        } else if digits(start) && is_name(tokens, join) && !is_word(tokens, join, "at") {
            // As in "maria seven nine at".
            start = join;
            parts += 1;
        } else {
            break;
        }
    }
    if !known_end && !by_words && !by_sign {
        return None;
    }
    if by_sign && tokens[at].start - tokens[start].start > MAX_LOCAL_BYTES {
        return None;
    }
    let provider = matches!(
        host,
        "gmail"
            | "yahoo"
            | "hotmail"
            | "outlook"
            | "icloud"
            | "aol"
            | "msn"
            | "live"
            | "proton"
            | "protonmail"
            | "comcast"
    );
    let said = tokens[..start].iter().rev().take(8).any(|token| {
        matches!(&token.what, TokenKind::Word(word)
            if matches!(word.as_str(), "email" | "mail" | "e" | "address"))
    });
    // "Look at schneider dot com" is no address.
    (joined || provider || said || by_sign).then(|| (tokens[start].start, tokens[end].end))
}

#[cfg(test)]
mod tests {
    use super::find;
    use crate::redaction::tokens::tokens;

    fn found(text: &str) -> Vec<&str> {
        find(text, &tokens(text)).iter().map(|finding| &text[finding.start..finding.end]).collect()
    }

    #[test]
    fn written_addresses_are_found_without_what_surrounds_them() {
        let long = format!("{}@example.com", "a".repeat(65));
        let cases: [(&str, &[&str]); 13] = [
            ("Write to maria.k+load@mail.example.com.", &["maria.k+load@mail.example.com"]),
            ("<jo@example.org>, 'o'neil@example.ie'", &["jo@example.org", "o'neil@example.ie"]),
            ("a@b.co-", &["a@b.co"]),
            ("...a@b.co", &["a@b.co"]),
            ("müller@bücher.example", &["müller@bücher.example"]),
            ("a@b", &[]),
            ("a@b.c", &[]),
            ("a@.com", &[]),
            ("a@b..com", &[]),
            ("a@b.c0m", &[]),
            ("@example.com", &[]),
            ("two @ five.dollars", &[]),
            (&long, &[]),
        ];
        for (text, wanted) in cases {
            assert_eq!(found(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn spoken_addresses_are_found_and_places_are_not() {
        let cases: [(&str, &[&str]); 10] = [
            ("it's maria dot k at gmail dot com okay", &["maria dot k at gmail dot com"]),
            ("jo underscore brandt at fleet dot example", &["jo underscore brandt at fleet dot example"]),
            ("maria seven nine at outlook dot com", &["maria seven nine at outlook dot com"]),
            ("my email is dispatch at schneider dot com", &["dispatch at schneider dot com"]),
            ("jo at mail dot big dash", &[]),
            ("Look at schneider dot com", &[]),
            ("meet me at the dock", &[]),
            ("at gmail dot com", &[]),
            ("maria at gmail", &[]),
            ("maria dot k at gmail dot", &[]),
        ];
        for (text, wanted) in cases {
            assert_eq!(found(text), wanted, "{text:?}");
        }
    }
}
