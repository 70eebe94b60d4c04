//! Words that mean the same to who searches, written otherwise than the index folds: it knows capitals of all scripts, and
//! accents of Latin letters and those that stand as marks of their own, but no accents of other scripts.
//!
//! Instead of the index, the query is made to know them: a word is looked for in each way in which it may be written. What
//! is found is marked where it stands, then, and a database that exists needs nothing new.

/// A letter, and the others that it may be written as. As a rule one letter of a word has such an accent.
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

/// What parts a letter from a vowel before it, beside any accent.
const PARTED: [(char, char); 2] = [('ι', 'ϊ'), ('υ', 'ϋ')];
const VOWELS: [char; 7] = ['α', 'ε', 'η', 'ι', 'ο', 'υ', 'ω'];

/// Up to how many words are written out for a query. Each has FTS5 open the index at another place.
pub(super) const MOST: usize = 512;

/// The text, which has one word or some, in each way in which it may be written; at most so many words of them all, which
/// are taken off that number. Where that is too little, as it stands and without accents.
pub(super) fn of(text: &str, left: &mut usize) -> Vec<String> {
    let words: Vec<Vec<String>> = text.split_whitespace().map(of_word).collect();
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

/// Without accents first.
fn of_word(word: &str) -> Vec<String> {
    let word = word.to_lowercase();
    let bare: Vec<char> = word.replace('ß', "ss").chars().map(bare).collect();
    let mut parted = vec![bare.clone()];
    for (at, pair) in (1..).zip(bare.windows(2)) {
        if let (true, Some((_, other))) = (VOWELS.contains(&pair[0]), PARTED.iter().find(|(of, _)| *of == pair[1])) {
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
    // With more than one accent.
    if !ways.contains(&word) {
        ways.push(word);
    }
    ways
}

fn bare(letter: char) -> char {
    let letter = ACCENTS.iter().find(|(_, others)| others.contains(letter)).map_or(letter, |(bare, _)| *bare);
    PARTED.iter().find(|(_, other)| *other == letter).map_or(letter, |(of, _)| *of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(text: &str) -> Vec<String> {
        of(text, &mut MOST.clone())
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
        let mut left = MOST;
        let long = "όλα ".repeat(20);
        assert_eq!(of(long.trim(), &mut left), [long.trim().to_owned(), "ολα ".repeat(20).trim().to_owned()]);
        assert_eq!(left, MOST);
        let mut all = 0;
        loop {
            let ways = of("υιυιυιυιυιυι", &mut left);
            if ways.len() <= 2 {
                break;
            }
            all += ways.len();
        }
        assert!(all > 0);
        assert!(all <= MOST, "{all}");
    }
}
