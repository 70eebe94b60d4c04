//! The configured alerts, and a quick test that finds the alerts that a text may match.
//!
//! Most turns match no alert. Indexing each of them, and asking the index for each alert, would take more time than
//! storing the turns. So of each alert some words are known without which no text matches it.

use super::Alert;
use crate::domain::SearchExpr;
use std::collections::HashMap;

/// Alerts with the words that texts of theirs contain.
#[derive(Debug, Clone, Default)]
pub struct AlertSet {
    alerts: Vec<Alert>,
    /// Words in lower case, with the alerts that a text with the word may match.
    words: HashMap<String, Vec<usize>>,
    /// First letters of words.
    prefixes: HashMap<String, Vec<usize>>,
    /// Lengths of the prefixes, in bytes.
    prefix_lengths: Vec<usize>,
    /// Alerts that any text may match.
    unfiltered: Vec<usize>,
}

/// Alerts that the texts so far may match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates(Vec<bool>);

/// A word that a text must contain.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trigger {
    Word(String),
    Prefix(String),
}

/// Words that a matching ASCII text contains at least one of; `None` if any text may match.
type Triggers = Option<Vec<Trigger>>;

impl AlertSet {
    /// Creates a set.
    pub fn new(alerts: Vec<Alert>) -> Self {
        let mut set = Self::default();
        for (at, alert) in alerts.iter().enumerate() {
            let Some(triggers) = triggers(&alert.wanted) else {
                set.unfiltered.push(at);
                continue;
            };
            for trigger in triggers {
                match trigger {
                    Trigger::Word(word) => set.words.entry(word).or_default().push(at),
                    Trigger::Prefix(prefix) => set.prefixes.entry(prefix).or_default().push(at),
                }
            }
        }
        set.prefix_lengths = set.prefixes.keys().map(String::len).collect();
        set.prefix_lengths.sort_unstable();
        set.prefix_lengths.dedup();
        Self { alerts, ..set }
    }

    /// Returns whether there are no alerts.
    pub fn is_empty(&self) -> bool {
        self.alerts.is_empty()
    }

    /// Returns no candidates. [`Self::add_candidates`] adds some.
    pub fn no_candidates(&self) -> Candidates {
        Candidates(vec![false; self.alerts.len()])
    }

    /// Adds the alerts that the text may match. Returns whether there are any.
    pub fn add_candidates(&self, text: &str, candidates: &mut Candidates) -> bool {
        if self.alerts.is_empty() {
            return false;
        }
        if !text.is_ascii() {
            candidates.0.fill(true);
            return true;
        }
        let mut has_any = candidates.add(&self.unfiltered);
        let mut lower = String::new();
        for word in text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
            lower.clear();
            lower.extend(word.chars().map(|c| c.to_ascii_lowercase()));
            if let Some(alerts) = self.words.get(&lower) {
                has_any |= candidates.add(alerts);
            }
            for &length in self.prefix_lengths.iter().take_while(|&&length| length <= lower.len()) {
                if let Some(alerts) = self.prefixes.get(&lower[..length]) {
                    has_any |= candidates.add(alerts);
                }
            }
        }
        has_any
    }

    /// Returns these alerts.
    pub fn of<'a>(&'a self, candidates: &'a Candidates) -> impl Iterator<Item = &'a Alert> {
        self.alerts.iter().zip(&candidates.0).filter(|(_, is_candidate)| **is_candidate).map(|(alert, _)| alert)
    }
}

impl Candidates {
    fn add(&mut self, alerts: &[usize]) -> bool {
        for &at in alerts {
            self.0[at] = true;
        }
        !alerts.is_empty()
    }
}

fn triggers(wanted: &SearchExpr) -> Triggers {
    match wanted {
        SearchExpr::Words { text, prefix } => triggers_of_words(text, *prefix),
        // One part is enough; the one with the longest words matches least.
        SearchExpr::All(parts) => parts
            .iter()
            .filter_map(triggers)
            .max_by_key(|triggers| triggers.iter().map(Trigger::selectivity).min().unwrap_or((true, usize::MAX))),
        SearchExpr::Any(parts) => {
            let parts: Option<Vec<_>> = parts.iter().map(triggers).collect();
            parts.map(|parts| parts.into_iter().flatten().collect())
        }
        SearchExpr::AndNot(some, _) => triggers(some),
    }
}

/// Words are split and folded here as the index does it with ASCII text, and more widely with other text.
fn triggers_of_words(text: &str, prefix: bool) -> Triggers {
    if text.chars().any(never_folds_to_ascii) && !text.chars().any(|c| c.is_ascii_alphanumeric()) {
        return Some(Vec::new());
    }
    let words: Vec<&str> = text.split(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric()).collect();
    let words = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>();
    // What follows it has no letter, or only letters that the index keeps as they are.
    let last = words.iter().rposition(|word| word.contains(|c: char| c.is_ascii_alphanumeric()))?;
    let trigger = |(at, word): (usize, &&str)| {
        let letters = word.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(word.len());
        let lower = word[..letters].to_ascii_lowercase();
        let is_whole = letters == word.len() && !(prefix && at == last);
        match (lower.is_empty(), is_whole) {
            (true, _) => None,
            (false, true) => Some(Trigger::Word(lower)),
            (false, false) => Some(Trigger::Prefix(lower)),
        }
    };
    words.iter().enumerate().filter_map(trigger).max_by_key(Trigger::selectivity).map(|trigger| vec![trigger])
}

impl Trigger {
    /// Greater if fewer texts contain it.
    fn selectivity(&self) -> (bool, usize) {
        match self {
            Self::Word(word) => (true, word.len()),
            Self::Prefix(prefix) => (false, prefix.len()),
        }
    }
}

/// Returns whether this is a letter that the index knows and keeps as it is, so that no ASCII text has it. The index
/// folds Latin letters only. Letters of other scripts are not in this list, which only costs time.
fn never_folds_to_ascii(c: char) -> bool {
    let is_known = matches!(c,
        '\u{391}'..='\u{3C9}' // Greek
        | '\u{400}'..='\u{4FF}' // Cyrillic
        | '\u{5D0}'..='\u{5EA}' // Hebrew
        | '\u{620}'..='\u{64A}' // Arabic
        | '\u{904}'..='\u{939}' // Devanagari
        | '\u{A05}'..='\u{A39}' // Gurmukhi
        | '\u{4E00}'..='\u{9FCC}' // Chinese
        | '\u{AC00}'..='\u{D7A3}' // Korean
    );
    is_known && c.is_alphabetic()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(queries: &[&str]) -> AlertSet {
        let alert = |query: &&str| Alert { name: (*query).to_owned(), wanted: SearchExpr::parse(query).unwrap() };
        AlertSet::new(queries.iter().map(alert).collect())
    }

    fn candidates(set: &AlertSet, text: &str) -> Vec<String> {
        let mut found = set.no_candidates();
        let has_any = set.add_candidates(text, &mut found);
        let names: Vec<_> = set.of(&found).map(|alert| alert.name.clone()).collect();
        assert_eq!(has_any, !names.is_empty(), "{text}");
        names
    }

    #[test]
    fn a_text_is_compared_with_alerts_of_its_words_only() {
        let queries = ["fire", "smoke*", "\"the docking door\"", "flat AND puncture", "ice OR snow", "brake NOT test"];
        let alerts = set(&queries);
        for (text, expected) in [
            ("All good.", &[][..]),
            ("FIRE!", &["fire"]),
            ("fires, a firewood", &[]),
            ("smoking? It smokes.", &["smoke*"]),
            ("smo", &[]),
            ("docking", &["\"the docking door\""]), // may match: the text has its longest word
            ("a door", &[]),
            ("a flat roof", &[]),
            ("a puncture", &["flat AND puncture"]),
            ("Snow, not ice", &["ice OR snow"]),
            ("brake test", &["brake NOT test"]),
            ("está", &queries), // texts with other letters are not tested
        ] {
            let mut found = candidates(&alerts, text);
            found.sort_unstable();
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn words_with_other_letters_are_tested_by_their_beginning_or_not_at_all() {
        let alerts = set(&["señal", "éclair", "пожар", "حريق", "load-4711", "\"fire —\"*", "ice-🔥*"]);
        for (text, expected) in [
            ("firewood", &["éclair", "\"fire —\"*"][..]),
            ("icy iceberg", &["éclair", "ice-🔥*"]),
            ("senal", &["señal", "éclair"][..]),
            ("signal", &["éclair"]),
            ("load 4711", &["éclair", "load-4711"]),
        ] {
            assert_eq!(candidates(&alerts, text), expected, "{text}");
        }
    }
}
