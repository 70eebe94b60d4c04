//! Sanitizes text for a terminal: words of callers must not move the cursor, set the title or reverse text.
//!
//! Only characters that a terminal interprets are replaced, and only for terminals. Files and pipes receive the text
//! unchanged.

use std::io::{self, Write};

/// Replaces all characters that a terminal interprets with U+FFFD, except newlines and tabs.
pub fn sanitize_for_terminal(text: &str) -> String {
    text.chars().map(|c| if is_obeyed(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Returns whether a terminal interprets the character: a control character, or a mark that changes the direction of
/// text.
fn is_obeyed(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    }
}

/// A writer to a terminal that replaces characters which the terminal interprets.
#[derive(Debug)]
pub struct Sanitizer<W> {
    out: W,
    /// Bytes of an incomplete character at the end of the last write.
    begun: Vec<u8>,
}

impl<W: Write> Sanitizer<W> {
    /// Creates a writer to `out`.
    pub fn new(out: W) -> Self {
        Self { out, begun: Vec::new() }
    }
}

impl<W: Write> Write for Sanitizer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = std::mem::take(&mut self.begun);
        text.extend_from_slice(bytes);
        let mut rest = &text[..];
        while !rest.is_empty() {
            match std::str::from_utf8(rest) {
                Ok(whole) => {
                    self.out.write_all(sanitize_for_terminal(whole).as_bytes())?;
                    break;
                }
                Err(error) => {
                    let (whole, broken) = rest.split_at(error.valid_up_to());
                    self.out.write_all(sanitize_for_terminal(&String::from_utf8_lossy(whole)).as_bytes())?;
                    let Some(length) = error.error_len() else {
                        self.begun = broken.to_vec();
                        break;
                    };
                    self.out.write_all("\u{fffd}".as_bytes())?;
                    rest = &broken[length..];
                }
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_replaced_and_words_are_not() {
        for (text, shown) in [
            ("Yeah, I'm parked.\n\tGary", "Yeah, I'm parked.\n\tGary"),
            ("日本語 – café 👩‍🚀", "日本語 – café 👩‍🚀"),
            ("\u{1b}]0;title\u{7}", "\u{fffd}]0;title\u{fffd}"),
            ("a\rb\u{8}\u{7f}\0", "a\u{fffd}b\u{fffd}\u{fffd}\u{fffd}"),
            ("\u{9b}31m\u{85}\u{80}", "\u{fffd}31m\u{fffd}\u{fffd}"),
            ("\u{202e}a\u{2066}b\u{2069}\u{200f}", "\u{fffd}a\u{fffd}b\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(sanitize_for_terminal(text), shown, "{text:?}");
            // A writer receives pieces that end within characters.
            for piece in 1..5 {
                let mut out = Sanitizer::new(Vec::new());
                for bytes in text.as_bytes().chunks(piece) {
                    assert_eq!(out.write(bytes).unwrap(), bytes.len());
                }
                assert_eq!(String::from_utf8(out.out).unwrap(), shown, "{text:?} in pieces of {piece}");
            }
        }
        let mut out = Sanitizer::new(Vec::new());
        out.write_all(b"a\xff\x9bb").unwrap();
        assert_eq!(String::from_utf8(out.out).unwrap(), "a\u{fffd}\u{fffd}b");
    }
}
