//! Similarity of turns and entries in different words, without comparing all pairs.
//!
//! A comparison takes as many steps as both texts have letters, and a call of 2,000 turns has two million pairs. Each
//! turn is therefore compared with likely entries first: those that share rare words with it, those near it in time,
//! and those at its position between matched neighbours. The remaining turns are then compared with all remaining
//! entries, near positions first, until a limit of steps is reached. The turns that were left out are reported.

use super::words::NormalizedUtterance;
use crate::domain::Speaker;
use std::collections::HashMap;

/// The entries that the nearest matched turns before and after a turn are matched with.
pub(super) type Gap = (Option<usize>, Option<usize>);

/// Minimum similarity of two texts at any positions, from 0 to 1.
const MIN_SIMILARITY_ANYWHERE: f64 = 0.75;

/// Minimum similarity if the position fits. Unrelated sentences reach 0.3.
const MIN_SIMILARITY_IN_PLACE: f64 = 0.4;

/// Similarity of a whole text and its beginning.
const CUT_OFF_SIMILARITY: f64 = 0.9;

/// Minimum length of a beginning, in bytes. Shorter ones say too little.
const MIN_BEGINNING_BYTES: usize = 12;

/// Maximum time between two utterances at about the same position, in microseconds. Tools are called some seconds after
/// the words.
const MAX_NEAR_MICROS: u64 = 15_000_000;

/// Maximum number of characters of a text that are compared.
const MAX_COMPARED_CHARS: usize = 2000;

/// Maximum number of characters that are analysed in one call, in all texts.
const MAX_ANALYSED_CHARS: usize = 8_000_000;

/// Maximum number of steps of all comparisons in one call, which take some tenths of a second. Enough for an exact
/// result with 2,000 turns of 50 words.
pub(super) const MAX_STEPS: usize = 40_000_000;

/// Number of likely entries of each of the three kinds that a turn is compared with.
const LIKELY_ENTRIES: usize = 8;

/// Number of features of each of the two kinds that represent a text in look-ups of likely entries.
const FEATURES_PER_TEXT: usize = 48;

/// Minimum number of entries that makes a feature too common to be useful.
const COMMON_FEATURE_ENTRIES: usize = 128;

/// Number of buckets in a text's histogram.
const BUCKETS: usize = 64;

/// The comparisons of a call.
pub(super) struct Comparisons<'a> {
    heard: &'a [NormalizedUtterance],
    said: &'a [NormalizedUtterance],
    gaps: Vec<Gap>,
    /// True for each turn with the exact words of an entry that another turn has taken.
    repeats: Vec<bool>,
    heard_shapes: HashMap<usize, Bigrams<'a>>,
    /// Shapes of an entry's words, and of the full words of an interrupted utterance.
    said_shapes: HashMap<usize, Vec<Bigrams<'a>>>,
    /// Similarity, time difference, turn and entry of each similar pair.
    found: Vec<(f64, u64, usize, usize)>,
    steps: usize,
}

impl<'a> Comparisons<'a> {
    /// Analyses the unmatched texts.
    pub(super) fn new(
        heard: &'a [NormalizedUtterance],
        said: &'a [NormalizedUtterance],
        gaps: Vec<Gap>,
        repeats: Vec<bool>,
        left_heard: &[usize],
        left_said: &[usize],
        steps: usize,
    ) -> Self {
        let mut chars = MAX_ANALYSED_CHARS;
        let heard_shapes = left_heard.iter().map(|n| (*n, Bigrams::new(&heard[*n].text, &mut chars))).collect();
        let shapes_of = |words: &'a NormalizedUtterance, chars: &mut usize| {
            [Some(&words.text), words.original.as_ref()].into_iter().flatten().map(|t| Bigrams::new(t, chars)).collect()
        };
        let said_shapes = left_said.iter().map(|at| (*at, shapes_of(&said[*at], &mut chars))).collect();
        Self { heard, said, gaps, repeats, heard_shapes, said_shapes, found: Vec::new(), steps }
    }

    /// Compares each turn with likely entries.
    pub(super) fn compare_likely(&mut self, left_heard: &[usize], left_said: &[usize]) {
        for (turns, entries) in by_speaker(self.heard, left_heard, self.said, left_said) {
            let centers = centers(&self.gaps, &turns, &entries);
            let index = self.index(&entries);
            let mut scores = vec![0; entries.len()];
            let mut in_time: Vec<usize> = entries.clone();
            in_time.retain(|at| self.said[*at].time.is_some());
            in_time.sort_by_key(|at| self.said[*at].time);
            for (n, center) in turns.iter().zip(centers) {
                let sharing = self.sharing_features(*n, &entries, &index, &mut scores);
                let before = self.found.len();
                for at in &sharing {
                    self.compare(*n, *at);
                }
                // An entry of that similarity at any position would share features as well.
                if self.found[before..].iter().any(|(alike, ..)| *alike >= MIN_SIMILARITY_ANYWHERE) {
                    continue;
                }
                let mut near: Vec<usize> = around(&entries, center).collect();
                if let Some(time) = self.heard[*n].time {
                    let place = in_time.partition_point(|at| self.said[*at].time < Some(time));
                    near.extend(around(&in_time, place));
                }
                near.sort_unstable();
                near.dedup();
                near.retain(|at| !sharing.contains(at));
                for at in near {
                    self.compare(*n, at);
                }
            }
        }
    }

    /// Compares the rest with all remaining entries, near positions first. Returns the turns that were not compared
    /// with all of them.
    pub(super) fn compare_all(&mut self, gaps: Vec<Gap>, left_heard: &[usize], left_said: &[usize]) -> Vec<usize> {
        self.gaps = gaps;
        let mut uncompared = Vec::new();
        for (turns, entries) in by_speaker(self.heard, left_heard, self.said, left_said) {
            let centers = centers(&self.gaps, &turns, &entries);
            'widening: for distance in 0..entries.len() {
                for (n, center) in turns.iter().zip(&centers) {
                    let before = center.checked_sub(distance).filter(|_| distance > 0);
                    for place in [Some(center + distance), before].into_iter().flatten() {
                        let Some(at) = entries.get(place) else { continue };
                        if !self.compare(*n, *at) {
                            uncompared.extend(&turns);
                            break 'widening;
                        }
                    }
                }
            }
        }
        let whole = |n: &usize| self.heard_shapes.get(n).is_none_or(|shape| shape.whole);
        uncompared.extend(left_heard.iter().filter(|n| !left_said.is_empty() && !whole(n)));
        uncompared.sort_unstable();
        uncompared.dedup();
        uncompared
    }

    /// Returns the similar pairs found since the last call, as turn and entry, the most similar first.
    pub(super) fn candidates(&mut self) -> Vec<(usize, usize)> {
        let mut found = std::mem::take(&mut self.found);
        found.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2, a.3).cmp(&(b.1, b.2, b.3))));
        found.into_iter().map(|(_, _, n, at)| (n, at)).collect()
    }

    /// Compares a turn with an entry. Returns false if no steps are left.
    fn compare(&mut self, n: usize, at: usize) -> bool {
        let (Some(shape), Some(shapes)) = (self.heard_shapes.get(&n), self.said_shapes.get(&at)) else { return true };
        let (after, before) = self.gaps[n];
        let between = after.is_none_or(|after| at > after) && before.is_none_or(|before| at < before);
        let apart = self.heard[n].micros_from(&self.said[at]);
        let is_in_place = (between || apart <= MAX_NEAR_MICROS) && !self.repeats[n];
        let least = if is_in_place { MIN_SIMILARITY_IN_PLACE } else { MIN_SIMILARITY_ANYWHERE };
        let mut alike: f64 = 0.0;
        for other in shapes {
            let Some(likeness) = shape.similarity(other, least, &mut self.steps) else { return false };
            alike = alike.max(likeness);
        }
        if alike >= least {
            self.found.push((alike, apart, n, at));
        }
        true
    }

    /// Returns the features of entries, each with the index of its entry in the list, in order. Leaves out common
    /// features.
    fn index(&self, entries: &[usize]) -> Vec<(u32, u32)> {
        let mut index = Vec::new();
        for (place, at) in (0..).zip(entries) {
            let shapes = self.said_shapes.get(at).into_iter().flatten();
            index.extend(shapes.flat_map(|shape| &shape.features).map(|feature| (*feature, place)));
        }
        index.sort_unstable();
        index.dedup();
        let rare = index.chunk_by(|a, b| a.0 == b.0).filter(|having| having.len() <= COMMON_FEATURE_ENTRIES);
        rare.flatten().copied().collect()
    }

    /// Returns the entries that share most rare features with a turn. `scores` must hold a zero for each entry.
    fn sharing_features(
        &mut self,
        n: usize,
        entries: &[usize],
        index: &[(u32, u32)],
        scores: &mut [usize],
    ) -> Vec<usize> {
        let Some(shape) = self.heard_shapes.get(&n) else { return Vec::new() };
        let mut sharing = Vec::new();
        for feature in &shape.features {
            let from = index.partition_point(|(other, _)| other < feature);
            let having = &index[from..];
            let number = having.iter().take_while(|(other, _)| other == feature).count();
            let Some(left) = self.steps.checked_sub(number + 8) else { break };
            self.steps = left;
            for (_, place) in &having[..number] {
                let place = *place as usize;
                if scores[place] == 0 {
                    sharing.push(place);
                }
                // A rarer feature counts more.
                scores[place] += COMMON_FEATURE_ENTRIES / number;
            }
        }
        let heard = &self.heard[n];
        sharing
            .sort_by_key(|place| (usize::MAX - scores[*place], heard.micros_from(&self.said[entries[*place]]), *place));
        for place in &sharing {
            scores[*place] = 0;
        }
        sharing.truncate(LIKELY_ENTRIES);
        sharing.into_iter().map(|place| entries[place]).collect()
    }
}

/// Splits the unmatched turns and entries by speaker.
fn by_speaker(
    heard: &[NormalizedUtterance],
    left_heard: &[usize],
    said: &[NormalizedUtterance],
    left_said: &[usize],
) -> [(Vec<usize>, Vec<usize>); 2] {
    let of = |words: &[NormalizedUtterance], left: &[usize], speaker| -> Vec<usize> {
        left.iter().copied().filter(|at| words[*at].speaker == speaker).collect()
    };
    [Speaker::Agent, Speaker::Driver].map(|speaker| (of(heard, left_heard, speaker), of(said, left_said, speaker)))
}

/// Returns the expected index of each turn among the entries, spreading the turns of a gap evenly over it.
fn centers(gaps: &[Gap], turns: &[usize], entries: &[usize]) -> Vec<usize> {
    let mut centers = Vec::with_capacity(turns.len());
    for run in turns.chunk_by(|a, b| gaps[*a] == gaps[*b]) {
        let (after, before) = gaps[run[0]];
        let from = after.map_or(0, |after| entries.partition_point(|at| *at <= after));
        let to = before.map_or(entries.len(), |before| entries.partition_point(|at| *at < before));
        let there = to.saturating_sub(from);
        centers.extend((0..run.len()).map(|n| from + (2 * n + 1) * there / (2 * run.len())));
    }
    centers
}

/// Returns the items around an index of a list.
fn around(list: &[usize], place: usize) -> impl Iterator<Item = usize> {
    let from = place.saturating_sub(LIKELY_ENTRIES / 2).min(list.len());
    list[from..].iter().take(LIKELY_ENTRIES).copied()
}

/// An analysed text.
struct Bigrams<'a> {
    text: &'a str,
    /// Pairs of letters within words, sorted.
    pairs: Vec<u32>,
    /// Histogram of the pairs, for a fast upper bound of what two texts have in common.
    buckets: [u8; BUCKETS],
    /// Features for look-ups of similar texts.
    features: Vec<u32>,
    /// True if all characters that are compared were analysed.
    whole: bool,
}

impl<'a> Bigrams<'a> {
    fn new(text: &'a str, chars: &mut usize) -> Self {
        let compared = MAX_COMPARED_CHARS.min(*chars);
        let mut pairs = Vec::new();
        let mut last = ' ';
        let mut taken = 0;
        for c in text.chars().take(compared) {
            taken += 1;
            if last != ' ' || c != ' ' {
                pairs.push((last as u32).wrapping_mul(0x9e37_79b1) ^ (c as u32));
            }
            last = c;
        }
        *chars -= taken;
        pairs.sort_unstable();
        let mut buckets = [0u8; BUCKETS];
        for pair in &pairs {
            let bucket = &mut buckets[(pair.wrapping_mul(0x85eb_ca6b) >> 26) as usize];
            *bucket = bucket.saturating_add(1);
        }
        let whole = compared == MAX_COMPARED_CHARS || text.len() <= taken || text.chars().nth(taken).is_none();
        let features = if taken > 0 { features(text) } else { Vec::new() };
        Self { text, pairs, buckets, features, whole }
    }

    /// Returns Dice's coefficient of the pairs of letters: 1 for equal texts, 0 for nothing in common or for a result
    /// that is certainly below `least`. Returns `None` if too few steps are left.
    fn similarity(&self, other: &Self, least: f64, steps: &mut usize) -> Option<f64> {
        *steps = steps.checked_sub(BUCKETS)?;
        let total = self.pairs.len() + other.pairs.len();
        if total == 0 {
            return Some(0.0);
        }
        let (short, long) =
            if self.text.len() < other.text.len() { (self.text, other.text) } else { (other.text, self.text) };
        let cut_off = short.len() >= MIN_BEGINNING_BYTES && long.starts_with(short);
        let dice = |common: u32| 2.0 * f64::from(common) / f64::from(u32::try_from(total).unwrap_or(u32::MAX));
        // A full bucket may stand for a larger count.
        let full = self.buckets.iter().zip(&other.buckets).any(|(a, b)| *a == u8::MAX && *b == u8::MAX);
        let bound: u32 = self.buckets.iter().zip(&other.buckets).map(|(a, b)| u32::from(*a.min(b))).sum();
        if !cut_off && !full && dice(bound) < least {
            return Some(0.0);
        }
        *steps = steps.checked_sub(total)?;
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
        Some(if cut_off { dice(common).max(CUT_OFF_SIMILARITY) } else { dice(common) })
    }
}

/// Returns a selection of a text's letter trigrams and word pairs. Equal parts of two texts are selected in both.
fn features(text: &str) -> Vec<u32> {
    let beginning = text.char_indices().nth(MAX_COMPARED_CHARS).map_or(text, |(end, _)| &text[..end]);
    let letters: Vec<u32> = beginning.chars().map(u32::from).collect();
    let words: Vec<u32> = beginning.split(' ').map(|word| word.bytes().map(u32::from).fold(0, mix_hash)).collect();
    let mut features = smallest_hashes(letters.windows(3).map(|three| three.iter().copied().fold(3, mix_hash)));
    features.extend(smallest_hashes(words.windows(2).map(|two| two.iter().copied().fold(2, mix_hash))));
    features
}

/// Returns the smallest of some hashes.
fn smallest_hashes(hashes: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut hashes: Vec<u32> = hashes.collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes.truncate(FEATURES_PER_TEXT);
    hashes
}

/// Mixes a value into a hash.
const fn mix_hash(hash: u32, value: u32) -> u32 {
    let hash = (hash ^ value).wrapping_mul(0x9e37_79b1);
    (hash ^ (hash >> 15)).wrapping_mul(0x85eb_ca6b)
}
