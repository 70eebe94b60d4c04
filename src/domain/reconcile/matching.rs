//! Matching: which turn and which entry of a record are the same utterance?
//!
//! Only utterances of the same speaker are compared, ignoring case, white space and punctuation. Equal words match
//! first, including the full words of an interrupted utterance. Several equal ones match in order, nearest in time.
//! Then the rest is matched by similarity ([`super::likeness`]), the most similar first. The required similarity is
//! lower if the position fits: between the same neighbours, or at about the same time. It is never lower for a turn
//! whose exact words are those of an entry that another turn has taken, because the turn is a repeat of that one.

use super::likeness::{Comparisons, Gap, MAX_STEPS};
use super::words::NormalizedUtterance;
use crate::domain::Speaker;
use std::collections::HashMap;

/// A matching of live turns and utterances.
pub(super) struct Matching {
    /// The index of the utterance for each live turn. Each utterance is used at most once.
    pub(super) of_heard: Vec<Option<usize>>,
    /// Number of unmatched turns that were not compared with all utterances, because that would have taken too long.
    pub(super) uncompared: usize,
}

/// Matches live turns with utterances.
pub(super) fn match_utterances(heard: &[NormalizedUtterance], said: &[NormalizedUtterance]) -> Matching {
    match_utterances_within(MAX_STEPS, heard, said)
}

/// Matches live turns with utterances of equal words. Returns the index of the utterance for each turn.
pub(super) fn match_equal_utterances(
    heard: &[NormalizedUtterance],
    said: &[NormalizedUtterance],
) -> Vec<Option<usize>> {
    PartialMatching::of_equal_words(heard, said).of_heard
}

fn match_utterances_within(steps: usize, heard: &[NormalizedUtterance], said: &[NormalizedUtterance]) -> Matching {
    let mut pairs = PartialMatching::of_equal_words(heard, said);
    let uncompared = pairs.match_by_similarity(heard, said, steps);
    Matching { of_heard: pairs.of_heard, uncompared }
}

/// Returns for each unmatched turn the index of the utterance with its exact words that another turn has taken.
pub(super) fn repeats(
    heard: &[NormalizedUtterance],
    said: &[NormalizedUtterance],
    pairs: &[Option<usize>],
) -> Vec<Option<usize>> {
    let mut by_words: HashMap<(Speaker, &str), Vec<usize>> = HashMap::new();
    for (at, words) in said.iter().enumerate() {
        for text in [Some(&words.text), words.original.as_ref()].into_iter().flatten() {
            by_words.entry((words.speaker, text)).or_default().push(at);
        }
    }
    let repeat = |words: &NormalizedUtterance| {
        let same = by_words.get(&(words.speaker, words.text.as_str()))?;
        same.iter().copied().min_by_key(|at| words.micros_from(&said[*at]))
    };
    heard.iter().zip(pairs).map(|(words, pair)| if pair.is_none() { repeat(words) } else { None }).collect()
}

struct PartialMatching {
    of_heard: Vec<Option<usize>>,
    of_said: Vec<Option<usize>>,
}

impl PartialMatching {
    fn of_equal_words(heard: &[NormalizedUtterance], said: &[NormalizedUtterance]) -> Self {
        let mut pairs = Self { of_heard: vec![None; heard.len()], of_said: vec![None; said.len()] };
        pairs.match_equal_words(heard, said, |words| Some(&words.text));
        pairs.match_equal_words(heard, said, |words| words.original.as_ref());
        pairs
    }

    fn join(&mut self, heard: usize, said: usize) {
        self.of_heard[heard] = Some(said);
        self.of_said[said] = Some(heard);
    }

    /// Matches turns and utterances with equal words. `text` selects the utterance's words.
    fn match_equal_words<'a>(
        &mut self,
        heard: &'a [NormalizedUtterance],
        said: &'a [NormalizedUtterance],
        text: impl Fn(&'a NormalizedUtterance) -> Option<&'a String>,
    ) {
        #[derive(Default)]
        struct MatchGroup {
            heard: Vec<usize>,
            said: Vec<usize>,
        }
        let mut groups: HashMap<(Speaker, &str), MatchGroup> = HashMap::new();
        for (at, words) in said.iter().enumerate().filter(|(at, _)| self.of_said[*at].is_none()) {
            if let Some(text) = text(words) {
                groups.entry((words.speaker, text)).or_default().said.push(at);
            }
        }
        for (n, words) in heard.iter().enumerate().filter(|(n, _)| self.of_heard[*n].is_none()) {
            if let Some(group) = groups.get_mut(&(words.speaker, words.text.as_str())) {
                group.heard.push(n);
            }
        }
        for group in groups.into_values() {
            for (n, at) in in_order(&group.heard, &group.said, |n, at| heard[n].micros_from(&said[at])) {
                self.join(n, at);
            }
        }
    }

    /// Matches the rest by similarity, the most similar first. Returns the number of turns that were not compared with
    /// all utterances.
    fn match_by_similarity(
        &mut self,
        heard: &[NormalizedUtterance],
        said: &[NormalizedUtterance],
        steps: usize,
    ) -> usize {
        let left = |pairs: &[Option<usize>]| (0..pairs.len()).filter(|at| pairs[*at].is_none()).collect::<Vec<_>>();
        let (left_heard, left_said) = (left(&self.of_heard), left(&self.of_said));
        if left_heard.is_empty() || left_said.is_empty() {
            return 0;
        }
        let repeats = repeats(heard, said, &self.of_heard).iter().map(Option::is_some).collect();
        let gaps = self.unmatched_ranges(said.len());
        let mut likeness = Comparisons::new(heard, said, gaps, repeats, &left_heard, &left_said, steps);
        likeness.compare_likely(&left_heard, &left_said);
        self.join_all(likeness.candidates());
        let (left_heard, left_said) = (left(&self.of_heard), left(&self.of_said));
        let uncompared = likeness.compare_all(self.unmatched_ranges(said.len()), &left_heard, &left_said);
        self.join_all(likeness.candidates());
        uncompared.into_iter().filter(|n| self.of_heard[*n].is_none()).count()
    }

    /// Matches the candidates whose turn and utterance are both free, in order.
    fn join_all(&mut self, candidates: Vec<(usize, usize)>) {
        for (n, at) in candidates {
            if self.of_heard[n].is_none() && self.of_said[at].is_none() {
                self.join(n, at);
            }
        }
    }

    /// Returns for each turn the utterances of the nearest matched turns before and after it.
    fn unmatched_ranges(&self, said: usize) -> Vec<Gap> {
        let mut gaps = vec![(None, None); self.of_heard.len()];
        let mut last = None;
        for (n, pair) in self.of_heard.iter().enumerate() {
            gaps[n].0 = last;
            last = pair.or(last);
        }
        let mut next = None;
        for (n, pair) in self.of_heard.iter().enumerate().rev() {
            gaps[n].1 = next;
            next = pair.or(next);
        }
        // If the neighbours are crossed, nothing is between them.
        for gap in &mut gaps {
            if let (Some(after), Some(before)) = *gap {
                if after > before {
                    *gap = (Some(said), Some(0));
                }
            }
        }
        gaps
    }
}

/// Matches the shorter list with a part of the longer one, both in order, with the least sum of distances.
fn in_order(heard: &[usize], said: &[usize], apart: impl Fn(usize, usize) -> u64) -> Vec<(usize, usize)> {
    // Limits the table's size, so that it is filled quickly. A call that repeats an utterance more often is matched
    // from its beginning.
    const MAX_CELLS: usize = 1_000_000;
    let swapped = heard.len() > said.len();
    let (short, long) = if swapped { (said, heard) } else { (heard, said) };
    let pair = |s: usize, l: usize| if swapped { (l, s) } else { (s, l) };
    if short.len() == long.len() || short.len().saturating_mul(long.len()) > MAX_CELLS {
        return short.iter().zip(long).map(|(s, l)| pair(*s, *l)).collect();
    }
    // `least[i][j]` is the least sum of matching the first `i` of the short list within the first `j` of the long one.
    let cost = |i: usize, j: usize| {
        let (n, at) = pair(short[i], long[j]);
        u128::from(apart(n, at))
    };
    let mut least = vec![vec![u128::MAX; long.len() + 1]; short.len() + 1];
    least[0].fill(0);
    for i in 1..=short.len() {
        for j in i..=long.len() {
            let with = least[i - 1][j - 1].saturating_add(cost(i - 1, j - 1));
            least[i][j] = with.min(least[i][j - 1]);
        }
    }
    let mut found = Vec::with_capacity(short.len());
    let mut j = long.len();
    for i in (1..=short.len()).rev() {
        // Choose the earliest match.
        while j > i && least[i][j - 1] == least[i][j] {
            j -= 1;
        }
        found.push(pair(short[i - 1], long[j - 1]));
        j -= 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{match_utterances, match_utterances_within};
    use crate::domain::reconcile::words::{NormalizedUtterance, normalize};
    use crate::domain::{Speaker, Timestamp};

    fn words(said: &[(&str, i64)]) -> Vec<NormalizedUtterance> {
        let start = Timestamp::parse("2026-09-28T12:00:00Z").unwrap();
        said.iter()
            .map(|(text, second)| NormalizedUtterance::new(Speaker::Agent, text, None, start.plus_seconds(*second)))
            .collect()
    }

    #[test]
    fn turns_are_paired_by_words_then_likeness_and_place() {
        type Lines<'a> = &'a [(&'a str, i64)];
        let cases: &[(&str, Lines<'_>, Lines<'_>, &[Option<usize>])] = &[
            ("the same", &[("Hello there.", 0)], &[("hello there", 0)], &[Some(0)]),
            ("the nearest of the same", &[("Yes.", 40)], &[("Yes.", 3), ("Yes.", 41)], &[Some(1)]),
            (
                "reworded, in another order than they came",
                &[("please check the reefer set point now", 900), ("what is your arrival time in Gary", 901)],
                &[("What's your arrival time at Gary?", 0), ("Please check the set point of the reefer.", 5)],
                &[Some(1), Some(0)],
            ),
            (
                "one that is missing",
                &[("the trailer door is open since Joliet", 20)],
                &[("How are you?", 0), ("The trailer's door was open since Joliet.", 19)],
                &[Some(1)],
            ),
            ("other words", &[("The brakes squeak!", 0)], &[("Could you check the set point?", 1)], &[None]),
            (
                "a repeat, and one that is missing beside it",
                &[("Drop and hook at the shipper, please.", 20), ("Drop and hook at the shipper, please.", 22)],
                &[("It picks up at the shipper in Joliet, please.", 14), ("Drop and hook at the shipper, please.", 20)],
                &[Some(1), None],
            ),
            (
                "a repeat that is nearly the same as another one",
                &[("Drop and hook at the shipper, please.", 20), ("Drop and hook at the shipper, please.", 40)],
                &[("Drop and hook at the shipper, please.", 20), ("Drop and hook at this shipper please!", 41)],
                &[Some(0), Some(1)],
            ),
            (
                "the beginning of it",
                &[("Could you check the", 2)],
                &[("Could you check the set point and tell me?", 1)],
                &[Some(0)],
            ),
        ];
        for (case, heard, said, wanted) in cases {
            let paired = match_utterances(&words(heard), &words(said));
            assert_eq!((&*paired.of_heard, paired.uncompared), (*wanted, 0), "{case}");
        }
    }

    #[test]
    fn turns_that_the_bound_of_steps_left_out_are_counted() {
        let heard =
            words(&[("the brakes of this truck squeak", 5), ("the radio does not work at all", 9), ("hello", 0)]);
        let said =
            words(&[("Nobody said a word about any lights.", 3), ("Hello!", 0), ("We had rain all week long.", 8)]);
        assert_eq!(match_utterances_within(0, &heard, &said).uncompared, 2, "what has the same words needs no step");
        assert_eq!(match_utterances_within(100_000, &heard, &said).uncompared, 0);
        assert_eq!(
            match_utterances_within(0, &heard, &words(&[("hello", 1)])).uncompared,
            0,
            "nothing is left to compare with"
        );
    }

    #[test]
    fn a_text_is_folded_to_its_words() {
        for (text, folded) in
            [("Yeah, I'm  parked!", "yeah im parked"), ("It\u{2019}s 45\u{b0}.", "its 45"), (" ?! ", "?!")]
        {
            assert_eq!(normalize(text), folded);
        }
    }
}
