//! Reconciles the turns that were heard of a call while it ran with what ElevenLabs' record says.
//!
//! Turns that came live are one side; they can be missing, reworded or repeated, and can come late. The record is the
//! other: the signed transcript that came after the call, or the unsigned history that a tool showed during it. [`plan`] is
//! a pure function of all that is stored of a call. It looks at what there is, never at the order in which it came, so
//! that any order of arrival ends in the same transcript:
//!
//! - A turn and an entry of the record are the same utterance if speaker and words agree ([`super::matching`] says how nearly).
//!   The turn keeps its number and its words as heard, and stands in the transcript with the record's words and time.
//! - An entry that nothing else stands for gets a turn of its own, after all others by number, in its place by order.
//! - A turn that the record does not have stays: it was acknowledged, so it is never lost, and is marked. Only where a
//!   complete record has the words of such a turn, taken by another turn already, it is a repeat of that one.
//! - Once there is a signed transcript, histories add nothing to it: anybody may have sent them.
//! - A turn is never taken away. One that another stands for says so, and is left out of the transcript.
//! - Where a record has only the beginning of long words, a turn that has them whole is not corrected by it.
//!
//! [`super::settle`] makes of it what is to be stored, in slices that a transaction has room for ([`super::settlement`]).

use super::Counts;

use super::matching::{Paired, pair_up, repeats};
use super::words::{Words, begins_with};
use crate::domain::{Entry, Message, Source, Speaker, Timestamp};
use std::collections::HashMap;

/// A stored turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its number in the call.
    pub sequence_number: i64,
    /// Who spoke.
    pub speaker: Speaker,
    /// The words as they were stored.
    pub text: String,
    /// When it was said, by its sender.
    pub timestamp: Timestamp,
    /// Where it came from.
    pub origin: Origin,
}

/// Where a stored turn came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// It was delivered as a turn.
    Heard,
    /// It was made for the entry of this index of the histories.
    History(u32),
    /// It was made for the entry of this index of the record after the call.
    PostCall(u32),
}

/// What the platform's records have of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// What tools showed during the call; it may lack the end.
    pub history: Vec<Entry>,
    /// The transcript after the call, which is complete.
    pub post_call: Option<Vec<Entry>>,
}

/// What is to become of a call's turns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Of every stored turn, by sequence number.
    pub standings: Vec<Standing>,
    /// Turns that are to be stored, in the order of their numbers, which follow the stored ones.
    pub additions: Vec<Addition>,
    /// The result in numbers.
    pub counts: Counts,
    /// How many turns without an entry were not compared with all entries, since that would have taken too long.
    pub uncompared: usize,
}

/// How a stored turn stands in the transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Which turn.
    pub sequence_number: i64,
    /// Its place in the transcript, from 1; `None` when another turn stands for it.
    pub place: Option<i64>,
    /// The number of the turn that stands for it.
    pub superseded_by: Option<i64>,
    /// The record's words where they differ from the stored ones.
    pub final_text: Option<Message>,
    /// Whether it was interrupted, where the record says so.
    pub interrupted: Option<bool>,
    /// When it was said; changes only for a turn that was made for an entry of a record.
    pub timestamp: Timestamp,
    /// When it was said by the record after the call.
    pub record_time: Option<Timestamp>,
    /// Whether the record after the call has it, if there is one and the turn stands for itself.
    pub in_record: Option<bool>,
}

/// A turn that only the record has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addition {
    /// What it is made for.
    pub entry: Entry,
    /// Which record has it.
    pub source: Source,
    /// Its place in the transcript, from 1.
    pub place: i64,
}

/// An utterance by all that the records say of it.
struct Said<'a> {
    entry: &'a Entry,
    /// Its index in the record after the call.
    post_call: Option<u32>,
    /// Its index in the histories, and its words there.
    history: Option<(u32, &'a str)>,
}

/// Decides what becomes of a call's turns.
pub fn plan(stored: &[Stored], known: &Known) -> Plan {
    let complete = known.post_call.is_some();
    let said = combined(known);
    let mut heard: Vec<&Stored> = stored.iter().filter(|turn| turn.origin == Origin::Heard).collect();
    // The order of arrival must not matter; it is left to tell apart what is the same in everything else.
    heard.sort_by_key(|turn| (turn.timestamp, turn.speaker.as_str(), &turn.text, turn.sequence_number));
    let (pairs, uncompared, repeat_of) = {
        let heard_words: Vec<_> =
            heard.iter().map(|turn| Words::new(turn.speaker, &turn.text, None, Some(turn.timestamp))).collect();
        let said_words: Vec<_> = said.iter().map(|said| words(said.entry)).collect();
        let Paired { of_heard: pairs, uncompared } = pair_up(&heard_words, &said_words);
        let repeat_of = if complete { repeats(&heard_words, &said_words, &pairs) } else { vec![None; heard.len()] };
        (pairs, uncompared, repeat_of)
    };

    // Who stands for each utterance, and who else was made for it.
    let mut standing_for: Vec<Option<i64>> = vec![None; said.len()];
    for (turn, pair) in heard.iter().zip(&pairs) {
        if let Some(at) = pair {
            standing_for[*at] = Some(turn.sequence_number);
        }
    }
    let mut made: Vec<&Stored> = stored.iter().filter(|turn| turn.origin != Origin::Heard).collect();
    made.sort_by_key(|turn| turn.sequence_number);
    let made_for = places_of(&made, &said);
    for (turn, at) in made.iter().zip(&made_for) {
        if let Some(at) = at {
            standing_for[*at].get_or_insert(turn.sequence_number);
        }
    }

    let order = transcript(&said, &heard, &pairs, &repeat_of);
    let mut plan = Plan { counts: count(&said, &heard, &pairs, &repeat_of, complete), uncompared, ..Plan::default() };
    let mut next = stored.iter().map(|turn| turn.sequence_number).max().unwrap_or(0) + 1;
    let mut places = vec![0; said.len()];
    let mut lone_places = vec![0; heard.len()];
    for (place, item) in (1..).zip(order) {
        match item {
            Item::Lone(at) => lone_places[at] = place,
            Item::Said(at) => {
                places[at] = place;
                if standing_for[at].is_none() {
                    standing_for[at] = Some(next);
                    next += 1;
                    let source = if said[at].post_call.is_some() { Source::PostCall } else { Source::History };
                    plan.additions.push(Addition { entry: said[at].entry.clone(), source, place });
                }
            }
        }
    }
    for (n, turn) in heard.iter().enumerate() {
        plan.standings.push(match (pairs[n], repeat_of[n]) {
            (Some(at), _) => standing(turn, &said[at], places[at]),
            (None, Some(at)) => superseded(turn, standing_for[at]),
            (None, None) => lone(turn, lone_places[n], complete),
        });
    }
    for (turn, at) in made.iter().zip(made_for) {
        plan.standings.push(match at {
            Some(at) if standing_for[at] == Some(turn.sequence_number) => standing(turn, &said[at], places[at]),
            // What the records no longer have is stood for by what they have last.
            _ => superseded(turn, at.and_then(|at| standing_for[at]).or(standing_for.last().copied().flatten())),
        });
    }
    plan.standings.sort_by_key(|standing| standing.sequence_number);
    plan
}

fn words(entry: &Entry) -> Words {
    let original = entry.original.as_ref().map(Message::as_str);
    Words::new(entry.speaker, entry.message.as_str(), original, entry.time)
}

/// What counts as said: the record after the call, and only where there is none, the histories.
fn combined(known: &Known) -> Vec<Said<'_>> {
    fn of_history(entry: &Entry) -> (u32, &str) {
        (entry.index, entry.message.as_str())
    }
    let Some(post_call) = &known.post_call else {
        return known
            .history
            .iter()
            .map(|entry| Said { entry, post_call: None, history: Some(of_history(entry)) })
            .collect();
    };
    let history_words: Vec<_> = known.history.iter().map(words).collect();
    let post_call_words: Vec<_> = post_call.iter().map(words).collect();
    let mut histories: Vec<Option<&Entry>> = vec![None; post_call.len()];
    for (entry, pair) in known.history.iter().zip(pair_up(&history_words, &post_call_words).of_heard) {
        if let Some(at) = pair {
            histories[at] = Some(entry);
        }
    }
    let pairs = post_call.iter().zip(histories);
    pairs
        .map(|(entry, history)| Said { entry, post_call: Some(entry.index), history: history.map(of_history) })
        .collect()
}

/// Which utterance each turn was made for, if it was made for one.
fn places_of(made: &[&Stored], said: &[Said<'_>]) -> Vec<Option<usize>> {
    let mut by_origin = HashMap::new();
    for (at, said) in said.iter().enumerate() {
        by_origin.extend(said.post_call.map(|index| (Origin::PostCall(index), at)));
        by_origin.extend(said.history.as_ref().map(|(index, _)| (Origin::History(*index), at)));
    }
    made.iter().map(|turn| by_origin.get(&turn.origin).copied()).collect()
}

/// What stands at a place of the transcript.
enum Item {
    /// An utterance of the records, by its index.
    Said(usize),
    /// A turn that no record has, by its index among those heard.
    Lone(usize),
}

/// The order of the conversation: that of the records, with the turns that they lack put in by time.
fn transcript(said: &[Said<'_>], heard: &[&Stored], pairs: &[Option<usize>], repeat_of: &[Option<usize>]) -> Vec<Item> {
    let mut lone = (0..heard.len()).filter(|n| pairs[*n].is_none() && repeat_of[*n].is_none()).peekable();
    let mut order = Vec::with_capacity(said.len());
    for (at, said) in said.iter().enumerate() {
        // An entry without a time goes right behind the one before it.
        while let Some(n) = lone.next_if(|n| said.entry.time.is_some_and(|time| heard[*n].timestamp < time)) {
            order.push(Item::Lone(n));
        }
        order.push(Item::Said(at));
    }
    order.extend(lone.map(Item::Lone));
    order
}

fn standing(turn: &Stored, said: &Said<'_>, place: i64) -> Standing {
    let message = &said.entry.message;
    let made = turn.origin != Origin::Heard;
    Standing {
        sequence_number: turn.sequence_number,
        place: Some(place),
        superseded_by: None,
        final_text: corrects(said.entry, &turn.text).then(|| message.clone()),
        interrupted: said.entry.interrupted,
        timestamp: said.entry.time.filter(|_| made).unwrap_or(turn.timestamp),
        record_time: said.entry.time.filter(|_| said.post_call.is_some()),
        in_record: said.post_call.map(|_| true),
    }
}

/// Whether the entry has other words than these, which were heard or shown.
fn corrects(entry: &Entry, text: &str) -> bool {
    let said = entry.message.as_str().trim();
    text.trim() != said && !(entry.cut_off && begins_with(text, said))
}

/// A turn that no record has; `complete` says whether there is a record that would.
fn lone(turn: &Stored, place: i64, complete: bool) -> Standing {
    Standing {
        sequence_number: turn.sequence_number,
        place: Some(place),
        superseded_by: None,
        final_text: None,
        interrupted: None,
        timestamp: turn.timestamp,
        record_time: None,
        in_record: complete.then_some(false),
    }
}

fn superseded(turn: &Stored, by: Option<i64>) -> Standing {
    Standing { place: None, superseded_by: by, ..lone(turn, 0, false) }
}

fn count(
    said: &[Said<'_>],
    heard: &[&Stored],
    pairs: &[Option<usize>],
    repeat_of: &[Option<usize>],
    complete: bool,
) -> Counts {
    let mut counts = Counts::default();
    let mut turns: Vec<Option<&Stored>> = vec![None; said.len()];
    for ((turn, pair), repeat) in heard.iter().zip(pairs).zip(repeat_of) {
        match (pair, repeat) {
            (Some(at), _) => turns[*at] = Some(turn),
            (None, Some(_)) => counts.repeated += 1,
            (None, None) => counts.live_only += 1,
        }
    }
    for (said, turn) in said.iter().zip(turns) {
        let history = said.history.map(|(_, text)| text).filter(|_| complete);
        let as_heard = turn.map(|turn| &*turn.text).or(history);
        match as_heard {
            Some(text) => {
                counts.matched += 1;
                counts.corrected += i64::from(corrects(said.entry, text));
            }
            None => counts.added += 1,
        }
    }
    counts
}
