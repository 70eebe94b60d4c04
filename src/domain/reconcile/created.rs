//! Assignment of created turns to the entries of later records.
//!
//! A record after the first one may have more entries at its beginning or in its middle, so the index of an entry says
//! little. A created turn therefore belongs to an entry only if the speaker and the words agree, as those of a live
//! turn must. Entries without a live turn are preferred, because the other turns are superseded anyway, and turns that
//! appear in the transcript are preferred to those that are superseded already, so that a second plan changes nothing.

use super::matching::{match_equal_utterances, match_utterances, repeats};
use super::utterance::{Origin, TurnRow, Utterance, normalized};
use super::words::NormalizedUtterance;
use std::collections::HashMap;
use std::ops::Range;

/// The assignment of a created turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Assignment {
    /// The turn belongs to the utterance with this index.
    Of(usize),
    /// No record contains the turn. The utterance with this index supersedes it, if there is any.
    Gone(Option<usize>),
}

/// Assigns created turns to utterances, each to at most one. `made` must be sorted with superseded turns last.
/// `has_live_turn` returns whether a live turn represents an utterance.
pub(super) fn assign_created(
    made: &[&TurnRow],
    said: &[Utterance<'_>],
    has_live_turn: impl Fn(usize) -> bool,
) -> Vec<Assignment> {
    if made.is_empty() {
        return Vec::new();
    }
    let by_origin = by_origin(said);
    let mut pairs = Pairs { of_made: vec![None; made.len()], is_taken: vec![false; said.len()] };
    // Almost all turns still belong to the entry that they were created for.
    for (n, turn) in made.iter().enumerate().filter(|(_, turn)| !turn.superseded) {
        let Some(at) = by_origin.get(&turn.origin).copied() else { continue };
        let entry = said[at].entry;
        let is_same = entry.speaker == turn.speaker && entry.message.as_str() == turn.text;
        if is_same && !pairs.is_taken[at] && !has_live_turn(at) {
            pairs.join(n, at);
        }
    }
    if pairs.of_made.iter().all(Option::is_some) {
        return pairs.of_made.into_iter().map(|at| at.map_or(Assignment::Gone(None), Assignment::Of)).collect();
    }
    let made_words: Vec<_> = made
        .iter()
        .map(|turn| NormalizedUtterance::new(turn.speaker, &turn.text, None, Some(turn.timestamp)))
        .collect();
    let said_words: Vec<_> = said.iter().map(|said| normalized(said.entry)).collect();
    // Turns whose words were stored from one of these entries have exactly its words. These are compared first, so that
    // a second plan neither exchanges nor rewrites turns whose words differ in punctuation only.
    let made_exactly: Vec<_> =
        made.iter().map(|turn| NormalizedUtterance::verbatim(turn.speaker, &turn.text, Some(turn.timestamp))).collect();
    let said_exactly: Vec<_> = said
        .iter()
        .map(|said| NormalizedUtterance::verbatim(said.entry.speaker, said.entry.message.as_str(), said.entry.time))
        .collect();
    let appearing = made.partition_point(|turn| !turn.superseded);
    for with_live_turns in [false, true] {
        for turns in [0..appearing, appearing..made.len()] {
            let is_open = |at: usize| with_live_turns || !has_live_turn(at);
            pairs.match_words(turns.clone(), &made_exactly, &said_exactly, is_open, match_equal_utterances);
            let by_words = if with_live_turns { match_alike } else { match_equal_utterances };
            pairs.match_words(turns, &made_words, &said_words, is_open, by_words);
        }
    }
    let repeats = repeats(&made_words, &said_words, &pairs.of_made);
    let successor = |(turn, repeat): (&&TurnRow, Option<usize>)| {
        repeat.or_else(|| by_origin.get(&turn.origin).copied()).or(said.len().checked_sub(1))
    };
    let successors = made.iter().zip(repeats).map(successor);
    let of_made = pairs.of_made.into_iter().zip(successors);
    of_made.map(|(at, successor)| at.map_or(Assignment::Gone(successor), Assignment::Of)).collect()
}

fn match_alike(heard: &[NormalizedUtterance], said: &[NormalizedUtterance]) -> Vec<Option<usize>> {
    match_utterances(heard, said).of_heard
}

/// Returns the index of the utterance with each origin.
fn by_origin(said: &[Utterance<'_>]) -> HashMap<Origin, usize> {
    let mut by_origin = HashMap::new();
    for (at, said) in said.iter().enumerate() {
        by_origin.extend(said.post_call.map(|index| (Origin::PostCall(index), at)));
        by_origin.extend(said.history.as_ref().map(|(index, _)| (Origin::History(*index), at)));
    }
    by_origin
}

struct Pairs {
    /// Index of the utterance of each turn.
    of_made: Vec<Option<usize>>,
    /// True for each utterance with a turn.
    is_taken: Vec<bool>,
}

impl Pairs {
    fn join(&mut self, n: usize, at: usize) {
        self.of_made[n] = Some(at);
        self.is_taken[at] = true;
    }

    /// Matches free turns among `turns` with free utterances that `is_open` accepts, by `match_all`.
    fn match_words(
        &mut self,
        turns: Range<usize>,
        made: &[NormalizedUtterance],
        said: &[NormalizedUtterance],
        is_open: impl Fn(usize) -> bool,
        match_all: impl Fn(&[NormalizedUtterance], &[NormalizedUtterance]) -> Vec<Option<usize>>,
    ) {
        let turns: Vec<_> = turns.filter(|n| self.of_made[*n].is_none()).collect();
        let entries: Vec<_> = (0..said.len()).filter(|at| !self.is_taken[*at] && is_open(*at)).collect();
        if turns.is_empty() || entries.is_empty() {
            return;
        }
        let turn_words: Vec<_> = turns.iter().map(|n| made[*n].clone()).collect();
        let entry_words: Vec<_> = entries.iter().map(|at| said[*at].clone()).collect();
        for (n, at) in turns.iter().zip(match_all(&turn_words, &entry_words)) {
            if let Some(at) = at {
                self.join(*n, entries[at]);
            }
        }
    }
}
