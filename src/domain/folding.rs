//! Folding of names for search: spellings that a person takes for the same become the same text.

use unicode_normalization::char::{canonical_combining_class, decompose_canonical};

/// Letters that Unicode does not decompose, in lower case, with the letters that people type for them.
const LETTERS: [(char, &str); 22] = [
    ('ß', "ss"),
    ('æ', "ae"),
    ('œ', "oe"),
    ('ø', "o"),
    ('đ', "d"),
    ('ð', "d"),
    ('þ', "th"),
    ('ł', "l"),
    ('ħ', "h"),
    ('ŧ', "t"),
    ('ŋ', "n"),
    ('ı', "i"),
    ('ς', "σ"),
    // Arabic: alef wasla, alef maqsura, teh marbuta, and the Persian forms of yeh and kaf.
    ('ٱ', "ا"),
    ('ى', "ي"),
    ('ة', "ه"),
    ('ی', "ي"),
    ('ک', "ك"),
    // Apostrophes.
    ('’', "'"),
    ('‘', "'"),
    ('ʼ', "'"),
    // A blank that does not break the line.
    ('\u{a0}', " "),
];

/// Returns a name without case, accents and vowel points, so `MARIA` finds `María` and `lukasz` finds `Łukasz`.
///
/// The result is only for comparisons. It may be empty, or longer than the name.
pub fn fold(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    let mut folded = String::with_capacity(name.len());
    for c in name.chars() {
        // The letters of most names, which need no table.
        if c.is_ascii() {
            folded.push(c.to_ascii_lowercase());
            continue;
        }
        c.to_lowercase().for_each(|lower| fold_letter(lower, &mut folded));
    }
    folded
}

/// Appends a letter in lower case without its marks.
fn fold_letter(lower: char, folded: &mut String) {
    decompose_canonical(lower, |c| {
        // Marks of class 0, such as Indic vowel signs, are letters of their own.
        if canonical_combining_class(c) != 0 || is_invisible(c) {
            return;
        }
        match LETTERS.iter().find(|(letter, _)| *letter == c) {
            Some((_, plain)) => folded.push_str(plain),
            None => folded.push(c),
        }
    });
}

/// Returns true for characters that change only the look of a name: joiners, direction marks, and the Arabic tatweel.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{640}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_name_are_folded_to_one_text() {
        for (spellings, folded) in [
            (&["María", "MARÍA", "maria", "Mari\u{301}a"][..], "maria"),
            (&["ÖZGÜR", "özgür", "Ozgur"], "ozgur"),
            (&["Işık", "IŞIK", "isik", "İsik"], "isik"),
            (&["Łukasz", "ŁUKASZ", "lukasz"], "lukasz"),
            (&["Søren Ærø", "soren aero"], "soren aero"),
            (&["Weiß", "WEISS", "WEIẞ"], "weiss"),
            (&["Юрий", "ЮРИЙ", "юрии"], "юрии"),
            (&["Артём", "АРТЕМ"], "артем"),
            (&["Νίκος", "ΝΙΚΟΣ", "νικοσ"], "νικοσ"),
            (&["أحمد", "احمد", "أَحْمَد", "أحمـد", "\u{200f}أحمد"], "احمد"),
            (&["فاطمة", "فاطمه"], "فاطمه"),
            (&["علی", "علي", "على"], "علي"),
            (&["Nguyễn Văn Đức", "NGUYEN VAN DUC"], "nguyen van duc"),
            (&["O’Brien", "o'brien", "OʼBrien"], "o'brien"),
            (&["Jean\u{a0}Luc", "jean luc"], "jean luc"),
            (&["김", "\u{1100}\u{1175}\u{11b7}"], "\u{1100}\u{1175}\u{11b7}"),
            (&["राम"], "राम"),
        ] {
            for spelling in spellings {
                assert_eq!(fold(spelling), folded, "{spelling}");
            }
        }
        // A vowel sign is a letter, not an accent.
        assert_ne!(fold("राम"), fold("रम"));
        assert_eq!(fold("\u{301}\u{640}"), "");
    }

    #[test]
    fn a_folded_name_is_folded_to_itself() {
        for name in ["María Łukasz", "Weiß", "İŞIK", "أَحْمَد", "Nguyễn", "김민수", "ΐ", "ﬁ", "Ǆ"]
        {
            let folded = fold(name);
            assert_eq!(fold(&folded), folded, "{name}");
        }
    }
}
