//! Texts that are looked for in messages, from the beginning of a word.

use unicode_normalization::char::is_combining_mark;

/// First letter of the first script that is written without spaces. Later scripts are not told apart.
const FIRST_UNSPACED: char = '\u{E00}';

/// Returns the rest of a text with an asterisk before it, such as `*trailer`, which is also looked for within words.
pub fn part_of_word(text: &str) -> Option<&str> {
    text.strip_prefix('*').filter(|part| !part.is_empty())
}

/// Returns whether a text is only looked for where a word begins: if it begins with a digit, or with a letter of a
/// script that is written with spaces.
pub fn begins_at_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphanumeric() && c < FIRST_UNSPACED)
}

/// Returns whether a message contains a text where a word begins. Ignores the case of ASCII letters.
pub fn contains_from_word(message: &str, text: &str) -> bool {
    let wanted = text.as_bytes();
    if wanted.is_empty() {
        return true;
    }
    message.as_bytes().windows(wanted.len()).enumerate().any(|(at, found)| {
        found.eq_ignore_ascii_case(wanted) && message.get(..at).is_some_and(|before| !before.ends_with(continues_word))
    })
}

/// Returns whether a character is a part of a word for the search index: a letter, a digit, a mark over one of them, or
/// for private use.
fn continues_word(c: char) -> bool {
    let is_private = matches!(c, '\u{E000}'..='\u{F8FF}' | '\u{F0000}'..='\u{FFFFD}' | '\u{100000}'..='\u{10FFFD}');
    c.is_alphanumeric() || is_combining_mark(c) || is_private
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_where_a_word_begins() {
        for (message, text, is_found) in [
            ("The reefer reads", "reef", true),
            ("The reefer reads", "REEFER READ", true),
            ("The reefer reads", "eefer", false),
            ("I'm parked", "m parked", true),
            ("load-4711", "4711", true),
            ("load4711", "4711", false),
            ("señal señor", "señor", true),
            ("España", "aña", false),
            ("Cafe\u{301}teria", "teria", false),
            ("\u{E000}private", "private", false),
            ("\u{915}\u{94d} te", "te", true),
            ("ññ ñ", "ñ", true),
            ("short", "a longer text", false),
            ("", "a", false),
            ("any", "", true),
        ] {
            assert_eq!(contains_from_word(message, text), is_found, "{text:?} in {message:?}");
        }
    }

    #[test]
    fn an_asterisk_stands_before_a_part_of_a_word() {
        for (text, part) in [("*auf", Some("auf")), ("auf", None), ("*", None), ("auf*", None), ("**", Some("*"))] {
            assert_eq!(part_of_word(text), part, "{text:?}");
        }
    }

    #[test]
    fn scripts_without_spaces_have_no_beginnings_of_words() {
        for (text, begins) in
            [("reefer", true), ("4711", true), ("é", true), ("п", true), ("码头", false), ("?!", false), ("", false)]
        {
            assert_eq!(begins_at_word(text), begins, "{text:?}");
        }
    }
}
