//! Reconciles the live turns of a call with ElevenLabs' record of it.
//!
//! Live turns are delivered while the call runs. They can be missing, reworded, repeated or late. The record is either
//! the signed transcript after the call, which counts as complete, or the unsigned history that a tool sends during the
//! call, which does not. [`plan`] is a pure function of everything that is stored of a call. It never depends on the
//! order of arrival, so any order ends in the same transcript:
//!
//! - A turn and an entry of the record are the same utterance if the speaker and the words agree ([`super::matching`]
//!   defines how closely). The turn keeps its number and its live words, and appears in the transcript with the
//!   record's words and time.
//! - An entry without a turn gets a turn of its own, numbered after all others, at its position in the transcript.
//! - A turn without an entry stays, because it was acknowledged, and is marked. It only counts as a repeat if a
//!   complete record has its words and another turn has taken that entry.
//! - After a signed transcript, histories add nothing, because anybody may have sent them.
//! - A turn is never deleted. A superseded turn names its successor and is left out of the transcript.
//! - A turn that was created for an entry stays that entry's turn while speaker and words agree, wherever the entry is
//!   in later records. Otherwise the entry gets a new turn, which supersedes the old one ([`super::created`]).
//! - If the record truncates long words, a turn with the whole words is not corrected by it.
//!
//! If there are several transcripts, the one with most entries counts, whatever event it is from. A later event never
//! makes a call poorer. If no record says when a call began, its earliest turn does, or else the time of the event.
//! Once a signed record exists, histories change neither driver nor facts; different claims in them appear in
//! `driver_conflict`.
//!
//! A turn's row never changes its number, its live words or its sender's time. Reconciliation sets `final_text`,
//! `record_time`, `interrupted`, `in_record`, `place`, `superseded_by`, `kind` and `metrics`. A call without a record
//! has none of these but the kind. Only a created turn changes its words: under a signed transcript its row has that
//! transcript's words, so that a redacted record also redacts what an earlier one left in the table.
//!
//! [`super::settle`] turns a plan into data to store, in slices that fit into one transaction ([`super::settlement`]).

use super::Counts;
use serde::{Deserialize, Serialize};

use super::created::{Assignment, assign_created};
use super::matching::{Matching, match_utterances, repeats};
use super::utterance::{Origin, TurnRow, Utterance, normalized};
use super::words::{NormalizedUtterance, begins_with};
use crate::domain::{Entry, Message, Source, Speaker, Timestamp, TurnKind};
use std::collections::HashSet;

/// The records of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    /// Entries of histories that tools sent during the call. The end may be missing.
    pub history: Vec<Entry>,
    /// The transcript after the call, which is complete.
    pub post_call: Option<Vec<Entry>>,
}

/// The planned transcript of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The placement of each stored turn, ordered by sequence number.
    pub placements: Vec<TurnPlacement>,
    /// Turns to store, in the order of their numbers, which follow the stored ones.
    pub additions: Vec<MissingTurn>,
    /// Position of each entry of the record after the call, or else of the histories, in their order.
    pub entry_places: Vec<i64>,
    /// Numbers that describe the result.
    pub counts: Counts,
    /// Number of turns without an entry that were not compared with all entries, because that would have taken too
    /// long.
    pub uncompared: usize,
}

/// The placement of a stored turn in the transcript.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnPlacement {
    /// Number of the turn in its call.
    pub sequence_number: i64,
    /// Position in the transcript, from 1; `None` if the turn is superseded.
    pub place: Option<i64>,
    /// Number of the superseding turn.
    pub superseded_by: Option<i64>,
    /// The record's words, if they differ from the stored words.
    pub final_text: Option<Message>,
    /// True if the utterance was interrupted, if the record says so.
    pub interrupted: Option<bool>,
    /// Time of the turn. It changes only for a turn that was created for an entry of a record.
    pub timestamp: Timestamp,
    /// Time of the turn in the record after the call.
    pub record_time: Option<Timestamp>,
    /// True if the record after the call contains the turn. `None` without such a record, or if the turn is superseded.
    pub in_record: Option<bool>,
    /// Kind of the turn.
    pub kind: TurnKind,
    /// ElevenLabs' measurements of the turn, as JSON.
    pub metrics: Option<String>,
    /// New speaker and words of a turn that was created for an entry of a record. `None` if they stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewritten: Option<(Speaker, Message)>,
}

/// A turn to create for an entry without a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingTurn {
    /// The entry.
    pub entry: Entry,
    /// The record that contains the entry.
    pub source: Source,
    /// Position in the transcript, from 1.
    pub place: i64,
}

/// Plans the transcript of a call.
pub fn plan(stored: &[TurnRow], known: &Records) -> Plan {
    let complete = known.post_call.is_some();
    let said = merged_utterances(known);
    let mut heard: Vec<&TurnRow> = stored.iter().filter(|turn| turn.origin == Origin::Live).collect();
    // Sorts by content, because the order of arrival must not matter. The number only separates turns that are equal
    // otherwise.
    heard.sort_by_key(|turn| (turn.timestamp, turn.speaker.as_str(), &turn.text, turn.sequence_number));
    let (pairs, uncompared, repeat_of) = {
        let heard_words: Vec<_> = heard
            .iter()
            .map(|turn| NormalizedUtterance::new(turn.speaker, &turn.text, None, Some(turn.timestamp)))
            .collect();
        let said_words: Vec<_> = said.iter().map(|said| normalized(said.entry)).collect();
        let Matching { of_heard: pairs, uncompared } = match_utterances(&heard_words, &said_words);
        let repeat_of = if complete { repeats(&heard_words, &said_words, &pairs) } else { vec![None; heard.len()] };
        (pairs, uncompared, repeat_of)
    };

    // The turn that represents each utterance. Others that were created for the same entry are superseded.
    let mut turn_for: Vec<Option<i64>> = vec![None; said.len()];
    for (turn, pair) in heard.iter().zip(&pairs) {
        if let Some(at) = pair {
            turn_for[*at] = Some(turn.sequence_number);
        }
    }
    let mut made: Vec<&TurnRow> = stored.iter().filter(|turn| turn.origin != Origin::Live).collect();
    made.sort_by_key(|turn| (turn.superseded, turn.sequence_number));
    let made_for = assign_created(&made, &said, |at| turn_for[at].is_some());
    for (turn, assignment) in made.iter().zip(&made_for) {
        if let Assignment::Of(at) = assignment {
            turn_for[*at].get_or_insert(turn.sequence_number);
        }
    }

    let order = timeline(&said, &heard, &pairs, &repeat_of);
    let mut plan =
        Plan { counts: diff_counts(&said, &heard, &pairs, &repeat_of, complete), uncompared, ..Plan::default() };
    let mut next = stored.iter().map(|turn| turn.sequence_number).max().unwrap_or(0) + 1;
    let mut places = vec![0; said.len()];
    let mut lone_places = vec![0; heard.len()];
    for (place, item) in (1..).zip(order) {
        match item {
            TimelineEntry::Lone(at) => lone_places[at] = place,
            TimelineEntry::Said(at) => {
                places[at] = place;
                if turn_for[at].is_none() {
                    turn_for[at] = Some(next);
                    next += 1;
                    let source = if said[at].post_call.is_some() { Source::PostCall } else { Source::History };
                    plan.additions.push(MissingTurn { entry: said[at].entry.clone(), source, place });
                }
            }
        }
    }
    for (n, turn) in heard.iter().enumerate() {
        plan.placements.push(match (pairs[n], repeat_of[n]) {
            (Some(at), _) => matched(turn, &said[at], places[at]),
            (None, Some(at)) => superseded(turn, turn_for[at]),
            (None, None) => unmatched(turn, lone_places[n], complete),
        });
    }
    let texts = said.iter().map(|said| (said.entry.speaker, said.entry.message.as_str()));
    let said_texts: HashSet<_> = if made.is_empty() { HashSet::new() } else { texts.collect() };
    for (turn, assignment) in made.iter().zip(made_for) {
        plan.placements.push(match assignment {
            Assignment::Of(at) if turn_for[at] == Some(turn.sequence_number) => {
                let placement = matched(turn, &said[at], places[at]);
                if complete { with_words_of(placement, turn, said[at].entry) } else { placement }
            }
            Assignment::Of(at) | Assignment::Gone(Some(at)) => {
                let placement = superseded(turn, turn_for[at]);
                // Words that the transcript has anywhere may stay, so that a second plan changes nothing.
                let is_unsaid = complete && !said_texts.contains(&(turn.speaker, turn.text.as_str()));
                if is_unsaid { with_words_of(placement, turn, said[at].entry) } else { placement }
            }
            Assignment::Gone(None) => superseded(turn, None),
        });
    }
    plan.placements.sort_by_key(|placement| placement.sequence_number);
    plan.entry_places = places;
    plan
}

/// Returns the utterances: those of the record after the call, or of the histories if there is none.
fn merged_utterances(known: &Records) -> Vec<Utterance<'_>> {
    fn of_history(entry: &Entry) -> (u32, &str) {
        (entry.index, entry.message.as_str())
    }
    let Some(post_call) = &known.post_call else {
        return known
            .history
            .iter()
            .map(|entry| Utterance { entry, post_call: None, history: Some(of_history(entry)) })
            .collect();
    };
    let history_words: Vec<_> = known.history.iter().map(normalized).collect();
    let post_call_words: Vec<_> = post_call.iter().map(normalized).collect();
    let mut histories: Vec<Option<&Entry>> = vec![None; post_call.len()];
    for (entry, pair) in known.history.iter().zip(match_utterances(&history_words, &post_call_words).of_heard) {
        if let Some(at) = pair {
            histories[at] = Some(entry);
        }
    }
    let pairs = post_call.iter().zip(histories);
    pairs
        .map(|(entry, history)| Utterance { entry, post_call: Some(entry.index), history: history.map(of_history) })
        .collect()
}

/// An item of the transcript.
enum TimelineEntry {
    /// An utterance of the records, by its index.
    Said(usize),
    /// A turn without an utterance, by its index among the live turns.
    Lone(usize),
}

/// Returns the order of the conversation: that of the records, with other turns inserted by time.
fn timeline(
    said: &[Utterance<'_>],
    heard: &[&TurnRow],
    pairs: &[Option<usize>],
    repeat_of: &[Option<usize>],
) -> Vec<TimelineEntry> {
    let mut lone = (0..heard.len()).filter(|n| pairs[*n].is_none() && repeat_of[*n].is_none()).peekable();
    let mut order = Vec::with_capacity(said.len());
    for (at, said) in said.iter().enumerate() {
        // An entry without a time directly follows the one before it.
        while let Some(n) = lone.next_if(|n| said.entry.time.is_some_and(|time| heard[*n].timestamp < time)) {
            order.push(TimelineEntry::Lone(n));
        }
        order.push(TimelineEntry::Said(at));
    }
    order.extend(lone.map(TimelineEntry::Lone));
    order
}

fn matched(turn: &TurnRow, said: &Utterance<'_>, place: i64) -> TurnPlacement {
    let message = &said.entry.message;
    let made = turn.origin != Origin::Live;
    TurnPlacement {
        sequence_number: turn.sequence_number,
        place: Some(place),
        superseded_by: None,
        final_text: corrects(said.entry, &turn.text).then(|| message.clone()),
        interrupted: said.entry.interrupted,
        timestamp: said.entry.time.filter(|_| made).unwrap_or(turn.timestamp),
        record_time: said.entry.time.filter(|_| said.post_call.is_some()),
        in_record: said.post_call.map(|_| true),
        kind: said.entry.kind,
        metrics: said.entry.metrics.clone(),
        rewritten: None,
    }
}

/// Gives a created turn the speaker and the words of an entry of the signed transcript, except that a truncated entry
/// leaves the whole words.
fn with_words_of(mut placement: TurnPlacement, turn: &TurnRow, entry: &Entry) -> TurnPlacement {
    placement.final_text = None;
    let has_whole_words = entry.cut_off && begins_with(&turn.text, entry.message.as_str());
    if turn.speaker != entry.speaker || (turn.text != entry.message.as_str() && !has_whole_words) {
        placement.rewritten = Some((entry.speaker, entry.message.clone()));
        if placement.place.is_none() {
            placement.kind = TurnKind::of_words(entry.message.as_str());
        }
    }
    placement
}

/// Returns whether the entry's words differ from the turn's words.
fn corrects(entry: &Entry, text: &str) -> bool {
    let said = entry.message.as_str().trim();
    text.trim() != said && !(entry.cut_off && begins_with(text, said))
}

/// Returns the placement of a turn that no record contains. `complete` is true if there is a complete record.
fn unmatched(turn: &TurnRow, place: i64, complete: bool) -> TurnPlacement {
    TurnPlacement {
        sequence_number: turn.sequence_number,
        place: Some(place),
        superseded_by: None,
        final_text: None,
        interrupted: None,
        timestamp: turn.timestamp,
        record_time: None,
        in_record: complete.then_some(false),
        kind: TurnKind::of_words(&turn.text),
        metrics: None,
        rewritten: None,
    }
}

fn superseded(turn: &TurnRow, by: Option<i64>) -> TurnPlacement {
    TurnPlacement { place: None, superseded_by: by, ..unmatched(turn, 0, false) }
}

fn diff_counts(
    said: &[Utterance<'_>],
    heard: &[&TurnRow],
    pairs: &[Option<usize>],
    repeat_of: &[Option<usize>],
    complete: bool,
) -> Counts {
    let mut counts = Counts::default();
    let mut turns: Vec<Option<&TurnRow>> = vec![None; said.len()];
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::parse("2026-09-28T12:00:00Z").unwrap().plus_seconds(second).unwrap()
    }

    fn heard(number: i64, text: &str, second: i64) -> TurnRow {
        TurnRow {
            sequence_number: number,
            speaker: Speaker::Driver,
            text: text.to_owned(),
            timestamp: at(second),
            origin: Origin::Live,
            superseded: false,
        }
    }

    fn entries(said: &[&str]) -> Vec<Entry> {
        let entry = |(index, text): (u32, &&str)| Entry {
            index,
            speaker: Speaker::Driver,
            message: Message::new(text).unwrap(),
            original: None,
            interrupted: None,
            time: Some(at(10 * i64::from(index))),
            cut_off: false,
            kind: TurnKind::Speech,
            metrics: None,
        };
        (0..).zip(said).map(entry).collect()
    }

    /// The transcript of a plan: a turn's number or `+` for a new one, and its words.
    fn transcript(stored: &[TurnRow], plan: &Plan) -> Vec<String> {
        let mut items: Vec<(i64, String)> = Vec::new();
        for placement in &plan.placements {
            let turn = stored.iter().find(|turn| turn.sequence_number == placement.sequence_number).unwrap();
            let words = placement.final_text.as_ref().map_or(turn.text.as_str(), Message::as_str);
            items.extend(placement.place.map(|place| (place, format!("{} {words}", placement.sequence_number))));
        }
        items.extend(plan.additions.iter().map(|new| (new.place, format!("+ {}", new.entry.message.as_str()))));
        items.sort();
        items.into_iter().map(|(_, item)| item).collect()
    }

    #[test]
    fn turns_and_records_become_one_transcript() {
        type Case<'a> = (&'a str, &'a [(i64, &'a str, i64)], &'a [&'a str], Option<&'a [&'a str]>, &'a [&'a str]);
        let cases: [Case<'_>; 8] = [
            ("nothing", &[], &[], None, &[]),
            ("only live turns, by time", &[(1, "later", 9), (2, "earlier", 3)], &[], None, &["2 earlier", "1 later"]),
            (
                "a history adds what is missing",
                &[(1, "the door is open", 0)],
                &["the door is open", "I see."],
                None,
                &["1 the door is open", "+ I see."],
            ),
            (
                "a record corrects words",
                &[(1, "reefer is at forty five", 1)],
                &[],
                Some(&["The reefer is at 45 degrees, forty five."]),
                &["1 The reefer is at 45 degrees, forty five."],
            ),
            (
                "punctuation alone is a correction, too",
                &[(1, "im parked", 0)],
                &[],
                Some(&["I'm parked."]),
                &["1 I'm parked."],
            ),
            (
                "a record replaces a history",
                &[],
                &["one two three"],
                Some(&["one two three", "four"]),
                &["+ one two three", "+ four"],
            ),
            ("an empty record leaves the live turns", &[(1, "hello", 0)], &[], Some(&[]), &["1 hello"]),
            (
                "a turn without an entry stays, by its time",
                &[(1, "zebra crossing ahead", 15)],
                &[],
                Some(&["hello there", "bye now", "so long"]),
                &["+ hello there", "+ bye now", "1 zebra crossing ahead", "+ so long"],
            ),
        ];
        for (case, turns, history, record, wanted) in cases {
            let stored: Vec<_> = turns.iter().map(|(number, text, second)| heard(*number, text, *second)).collect();
            let known = Records { history: entries(history), post_call: record.map(entries) };
            assert_eq!(transcript(&stored, &plan(&stored, &known)), wanted, "{case}");
        }
    }

    #[test]
    fn a_second_plan_over_the_stored_result_adds_nothing() {
        let mut stored = vec![heard(1, "im parked", 0)];
        let known = Records { history: Vec::new(), post_call: Some(entries(&["I'm parked.", "At the Pilot."])) };
        let first = plan(&stored, &known);
        for (number, new) in (2..).zip(&first.additions) {
            let origin = Origin::PostCall(new.entry.index);
            let text = new.entry.message.as_str().to_owned();
            stored.push(TurnRow { text, origin, ..heard(number, "", 10) });
        }
        let second = plan(&stored, &known);
        assert_eq!((first.additions.len(), second.additions.len()), (1, 0));
        assert_eq!(transcript(&stored, &second), ["1 I'm parked.", "2 At the Pilot."]);
    }
}
