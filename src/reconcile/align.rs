//! Which turn and which entry of a record are the same utterance.
//!
//! Only what one speaker said is compared. Letters' case, white space and punctuation do not count. First come those
//! whose words are the same, also as the words that an interrupted utterance would have had; of several that are the
//! same, in order, nearest in time. Then, among those left, a turn in other words: the more alike first, and less alike
//! where the place fits than where it does not. A place fits between the same neighbours, or at about the same time.

use crate::model::{Speaker, Timestamp};
use std::collections::HashMap;

/// How alike two texts must be, from 0 to 1, whatever their places.
const ALIKE_ANYWHERE: f64 = 0.75;

/// How alike they must be if the place fits. Sentences that have nothing to do with each other reach 0.3.
const ALIKE_IN_PLACE: f64 = 0.4;

/// What the whole of a text and its beginning count as. Shorter beginnings than the next number say too little.
const ALIKE_CUT_OFF: f64 = 0.9;
const LEAST_BEGINNING: usize = 12;

/// Within this time, in microseconds, two are at about the same place. Tools are called some seconds after the words.
const NEAR: u64 = 15_000_000;

/// How many comparisons are made at most; where there would be more, words that differ are not the same.
const MAX_COMPARISONS: usize = 4_000_000;

/// How much of a text is compared, in characters.
const COMPARED: usize = 2000;

/// How many steps comparisons may take in all; past them, what is left is not the same.
const MAX_STEPS: usize = 20_000_000;

/// How many letters may be taken apart for comparison in all.
const MAX_LETTERS: usize = 2_000_000;

/// The words of an utterance, as they are compared.
pub(super) struct Words {
    speaker: Speaker,
    text: String,
    original: Option<String>,
    time: Option<Timestamp>,
}

impl Words {
    pub(super) fn new(speaker: Speaker, text: &str, original: Option<&str>, time: Option<Timestamp>) -> Self {
        Self { speaker, text: fold(text), original: original.map(fold), time }
    }

    fn micros_from(&self, other: &Self) -> u64 {
        match (self.time, other.time) {
            (Some(a), Some(b)) => a.unix_micros().abs_diff(b.unix_micros()),
            _ => u64::MAX,
        }
    }
}

/// The text without case, punctuation and superfluous white space; a text of nothing else stays as it is.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_alphanumeric() {
            folded.extend(c.to_lowercase());
        } else if !matches!(c, '\'' | '’' | '‘') && !folded.is_empty() && !folded.ends_with(' ') {
            folded.push(' ');
        }
    }
    folded.truncate(folded.trim_end().len());
    if folded.is_empty() { text.trim().to_owned() } else { folded }
}

/// Whether a text goes on where another one ends, compared as in [`fold`].
pub(super) fn begins_with(text: &str, beginning: &str) -> bool {
    fold(text).starts_with(&fold(beginning))
}

/// For each that was heard, the index of what was said, if it is there. None is taken twice.
pub(super) fn pair_up(heard: &[Words], said: &[Words]) -> Vec<Option<usize>> {
    let mut pairs = Pairs { of_heard: vec![None; heard.len()], of_said: vec![None; said.len()] };
    pairs.by_words(heard, said, |words| Some(&words.text));
    pairs.by_words(heard, said, |words| words.original.as_ref());
    pairs.by_likeness(heard, said);
    pairs.of_heard
}

/// For each that was heard but is not paired, the index of what it repeats: its very words, which another one has taken.
pub(super) fn repeats(heard: &[Words], said: &[Words], pairs: &[Option<usize>]) -> Vec<Option<usize>> {
    let mut by_words: HashMap<(Speaker, &str), Vec<usize>> = HashMap::new();
    for (at, words) in said.iter().enumerate() {
        for text in [Some(&words.text), words.original.as_ref()].into_iter().flatten() {
            by_words.entry((words.speaker, text)).or_default().push(at);
        }
    }
    let repeat = |words: &Words| {
        let same = by_words.get(&(words.speaker, words.text.as_str()))?;
        same.iter().copied().min_by_key(|at| words.micros_from(&said[*at]))
    };
    heard.iter().zip(pairs).map(|(words, pair)| if pair.is_none() { repeat(words) } else { None }).collect()
}

struct Pairs {
    of_heard: Vec<Option<usize>>,
    of_said: Vec<Option<usize>>,
}

impl Pairs {
    fn join(&mut self, heard: usize, said: usize) {
        self.of_heard[heard] = Some(said);
        self.of_said[said] = Some(heard);
    }

    /// Pairs those of the same words, by whichever text of what was said.
    fn by_words<'a>(&mut self, heard: &'a [Words], said: &'a [Words], text: impl Fn(&'a Words) -> Option<&'a String>) {
        #[derive(Default)]
        struct Group {
            heard: Vec<usize>,
            said: Vec<usize>,
        }
        let mut groups: HashMap<(Speaker, &str), Group> = HashMap::new();
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

    /// Pairs those of other words, the most alike first.
    fn by_likeness(&mut self, heard: &[Words], said: &[Words]) {
        let left_heard: Vec<usize> = (0..heard.len()).filter(|n| self.of_heard[*n].is_none()).collect();
        let left_said: Vec<usize> = (0..said.len()).filter(|at| self.of_said[*at].is_none()).collect();
        if left_heard.len().saturating_mul(left_said.len()) > MAX_COMPARISONS {
            return;
        }
        let mut letters = MAX_LETTERS;
        let shapes_heard: Vec<_> = left_heard.iter().map(|n| Shape::of(&heard[*n].text, &mut letters)).collect();
        let shapes_said: Vec<_> = left_said
            .iter()
            .map(|at| {
                [Some(&said[*at].text), said[*at].original.as_ref()].map(|t| t.map(|t| Shape::of(t, &mut letters)))
            })
            .collect();
        let gaps = self.gaps(said.len());
        let mut steps = MAX_STEPS;
        let mut candidates = Vec::new();
        for (i, &n) in left_heard.iter().enumerate() {
            let (after, before) = gaps[n];
            let between = |at: usize| after.is_none_or(|after| at > after) && before.is_none_or(|before| at < before);

            for (j, &at) in left_said.iter().enumerate() {
                if said[at].speaker != heard[n].speaker {
                    continue;
                }
                let shapes = shapes_said[j].iter().flatten();
                let likeness = shapes.map(|shape| shapes_heard[i].likeness(shape, &mut steps)).fold(0.0, f64::max);
                let apart = heard[n].micros_from(&said[at]);
                let in_place = between(at) || apart <= NEAR;
                let least = if in_place { ALIKE_IN_PLACE } else { ALIKE_ANYWHERE };
                if likeness >= least {
                    candidates.push((likeness, apart, n, at));
                }
            }
        }
        candidates.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2, a.3).cmp(&(b.1, b.2, b.3))));
        for (_, _, n, at) in candidates {
            if self.of_heard[n].is_none() && self.of_said[at].is_none() {
                self.join(n, at);
            }
        }
    }

    /// For each that was heard, what the nearest paired ones before and after it are paired with.
    fn gaps(&self, said: usize) -> Vec<(Option<usize>, Option<usize>)> {
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
        // Where the neighbours are crossed, nothing is between them.
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

/// Pairs the shorter list with a part of the longer one, both in order, so that the sum of what lies between is least.
fn in_order(heard: &[usize], said: &[usize], apart: impl Fn(usize, usize) -> u64) -> Vec<(usize, usize)> {
    // A table of this size is quickly filled; a call that says one thing more often is paired from its beginning.
    const MAX_CELLS: usize = 1_000_000;
    let swapped = heard.len() > said.len();
    let (short, long) = if swapped { (said, heard) } else { (heard, said) };
    let pair = |s: usize, l: usize| if swapped { (l, s) } else { (s, l) };
    if short.len() == long.len() || short.len().saturating_mul(long.len()) > MAX_CELLS {
        return short.iter().zip(long).map(|(s, l)| pair(*s, *l)).collect();
    }
    // least[i][j]: the least sum with which the first i of the short list go into the first j of the long one.
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
        // As early as may be.
        while j > i && least[i][j - 1] == least[i][j] {
            j -= 1;
        }
        found.push(pair(short[i - 1], long[j - 1]));
        j -= 1;
    }
    found
}

/// A text taken apart into pairs of letters, within words.
struct Shape<'a> {
    text: &'a str,
    pairs: Vec<(char, char)>,
}

impl<'a> Shape<'a> {
    fn of(text: &'a str, letters: &mut usize) -> Self {
        let compared = COMPARED.min(*letters);
        let mut pairs = Vec::new();
        let mut last = ' ';
        for c in text.chars().take(compared) {
            if last != ' ' || c != ' ' {
                pairs.push((last, c));
            }
            last = c;
        }
        *letters -= pairs.len().min(*letters);
        pairs.sort_unstable();
        Self { text, pairs }
    }

    /// Dice's coefficient of the pairs of letters: 1 for the same, 0 for nothing in common.
    fn likeness(&self, other: &Self, steps: &mut usize) -> f64 {
        let total = self.pairs.len() + other.pairs.len();
        if total == 0 || *steps < total {
            return 0.0;
        }
        *steps -= total;
        let (short, long) =
            if self.text.len() < other.text.len() { (self.text, other.text) } else { (other.text, self.text) };
        let cut_off = short.len() >= LEAST_BEGINNING && long.starts_with(short);
        let (mut i, mut j, mut common) = (0, 0, 0u32);
        while let (Some(a), Some(b)) = (self.pairs.get(i), other.pairs.get(j)) {
            match a.cmp(b) {
                std::cmp::Ordering::Less => i += 1,
                std::cmp::Ordering::Greater => j += 1,
                std::cmp::Ordering::Equal => {
                    (i, j, common) = (i + 1, j + 1, common + 1);
                }
            }
        }
        let dice = 2.0 * f64::from(common) / f64::from(u32::try_from(total).unwrap_or(u32::MAX));
        if cut_off { dice.max(ALIKE_CUT_OFF) } else { dice }
    }
}
