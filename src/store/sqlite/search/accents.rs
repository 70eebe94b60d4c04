//! Variants of a word that mean the same to a user but that the index does not fold. FTS5 folds the case of all
//! scripts, accents of Latin letters, and accents that are separate combining characters, but no accents of other
//! scripts.
//!
//! The query searches for each variant of a word instead of changing the index. The snippet therefore marks the word as
//! it was spoken, existing databases need no migration, and any program with SQLite 3.38 or later can use the index.

/// Letters and their accented variants. A word usually has one accented letter.
const ACCENTS: [(char, &str); 11] = [
    ('α', "ά"),
    ('ε', "έ"),
    ('η', "ή"),
    ('ι', "ί"),
    ('ϊ', "ΐ"),
    ('ο', "ό"),
    ('υ', "ύ"),
    ('ϋ', "ΰ"),
    ('ω', "ώ"),
    ('е', "ё"), // Cyrillic
    ('ا', "أإآٱ"),
];

/// Letters that also have a diaeresis, which separates them from a preceding vowel.
const DIAERESES: [(char, char); 2] = [('ι', 'ϊ'), ('υ', 'ϋ')];
const VOWELS: [char; 7] = ['α', 'ε', 'η', 'ι', 'ο', 'υ', 'ω'];

/// Maximum number of words that a query is expanded to. For each word FTS5 reads another part of the index.
pub(super) const MAX_WORDS: usize = 512;

/// Returns all variants of a text of one or more words, and reduces `left` by their number of words. If `left` is too
/// small, returns the text as it is and without accents.
pub(super) fn variants(text: &str, left: &mut usize) -> Vec<String> {
    let words: Vec<Vec<String>> = text.split_whitespace().map(word_variants).collect();
    let number =
        words.iter().try_fold(1_usize, |number, of_word| number.checked_mul(of_word.len())).unwrap_or(usize::MAX);
    if number <= 1 {
        return vec![text.to_owned()];
    }
    let cost = number.saturating_mul(words.len());
    if cost > *left {
        let bare: Vec<_> = words.iter().map(|of_word| of_word[0].as_str()).collect();
        return vec![text.to_owned(), bare.join(" ")];
    }
    *left -= cost;
    let mut words = words.into_iter();
    let first = words.next().unwrap_or_default();
    words.fold(first, |texts, of_word| {
        let longer = |text: &String| of_word.iter().map(|word| format!("{text} {word}")).collect::<Vec<_>>();
        texts.iter().flat_map(longer).collect()
    })
}

/// Returns the variants of a word, the one without accents first.
fn word_variants(word: &str) -> Vec<String> {
    let word = word.to_lowercase();
    let bare: Vec<char> = word.replace('ß', "ss").chars().map(without_accent).collect();
    let mut parted = vec![bare.clone()];
    for (at, pair) in (1..).zip(bare.windows(2)) {
        if let (true, Some((_, other))) = (VOWELS.contains(&pair[0]), DIAERESES.iter().find(|(of, _)| *of == pair[1])) {
            let mut with = bare.clone();
            with[at] = *other;
            parted.push(with);
        }
    }
    let mut ways = Vec::new();
    for letters in parted {
        ways.push(String::from_iter(&letters));
        for (at, letter) in letters.iter().enumerate() {
            let with = |other: char, length: usize| {
                letters[..at].iter().copied().chain([other]).chain(letters[at + length..].iter().copied()).collect()
            };
            let others = ACCENTS.iter().find(|(of, _)| of == letter).map_or("", |(_, others)| others);
            ways.extend(others.chars().map(|other| with(other, 1)));
            if letters[at..].starts_with(&['s', 's']) {
                ways.push(with('ß', 2));
            }
        }
    }
    // The word has more than one accent.
    if !ways.contains(&word) {
        ways.push(word);
    }
    ways
}

fn without_accent(letter: char) -> char {
    let letter = ACCENTS.iter().find(|(_, others)| others.contains(letter)).map_or(letter, |(bare, _)| *bare);
    DIAERESES.iter().find(|(_, other)| *other == letter).map_or(letter, |(of, _)| *of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(text: &str) -> Vec<String> {
        variants(text, &mut MAX_WORDS.clone())
    }

    #[test]
    fn a_word_is_looked_for_with_each_of_its_accents() {
        assert_eq!(ways("Reefer alarm"), ["Reefer alarm"]);
        assert_eq!(ways("ёлке"), ["елке", "ёлке", "елкё"]);
        assert_eq!(ways("Ναι"), ["ναι", "νάι", "ναί", "ναϊ", "νάϊ", "ναΐ"]);
        assert!(ways("γαιδαρου").contains(&"γαϊδάρου".to_owned()));
        assert_eq!(ways("STRASSE"), ["strasse", "straße"]);
        assert_eq!(ways("straße"), ["strasse", "straße"]);
        assert_eq!(ways("это дом его"), ["это дом его", "это дом ёго"]);
    }

    #[test]
    fn what_would_be_too_many_is_looked_for_as_it_stands_and_bare() {
        let mut left = MAX_WORDS;
        let long = "όλα ".repeat(20);
        assert_eq!(variants(long.trim(), &mut left), [long.trim().to_owned(), "ολα ".repeat(20).trim().to_owned()]);
        assert_eq!(left, MAX_WORDS);
        let mut all = 0;
        loop {
            let ways = variants("υιυιυιυιυιυι", &mut left);
            if ways.len() <= 2 {
                break;
            }
            all += ways.len();
        }
        assert!(all > 0);
        assert!(all <= MAX_WORDS, "{all}");
    }
}
