//! Converts the stored data of a call to the changes to store, in slices.
//!
//! A slice fits into one transaction, so a long call does not delay other calls' turns. Most calls are one slice. For a
//! longer call, turns to create are stored first, then superseded turns, then the others by position. No slice
//! therefore shows words twice that were not shown twice before.

use super::Counts;
use super::plan::{Plan, Records, TurnPlacement, plan};
use super::utterance::{Origin, TurnRow};
use crate::domain::{
    Answer, AnsweredBy, CallDetails, CallResult, CallStatus, Channel, ConversationId, DriverClaims, Entry, Facts,
    History, MergedRecord, Message, PlacedToolCall, Record, Source, Speaker, Timestamp, ToolCall, TurnKind,
};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Maximum number of rows in a slice.
const MAX_ROWS: usize = 512;

/// Size of a slice's words that ends the slice, in bytes.
const MAX_TEXT_BYTES: usize = 512 * 1024;

/// The state of a call that a plan is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Row id of the call.
    pub call_id: i64,
    /// Number of the latest note that the call is due.
    pub version: i64,
    /// Number of the first such note.
    pub since: i64,
    /// Number of slices that were stored since.
    pub slices: i64,
    /// Number of turns.
    pub turn_count: i64,
}

/// The stored data of a call that reconciliation needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Material {
    /// The call.
    pub conversation_id: ConversationId,
    /// State of the call.
    pub base: Base,
    /// True if the facts in the records must be written again.
    pub facts: bool,
    /// Turns by number, with their present placement.
    pub turns: Vec<(TurnRow, TurnPlacement)>,
    /// Signed records, with the ids of their events.
    pub records: Vec<(i64, Record)>,
    /// Unsigned histories.
    pub history: History,
    /// Claims about the driver by senders of histories.
    pub tool_claims: DriverClaims,
    /// The agent, according to senders of histories.
    pub tool_agent: Option<String>,
}

/// A reconciled call, or a slice of it, to store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconciliation {
    /// The call.
    pub conversation_id: ConversationId,
    /// The state that it is based on.
    pub base: Base,
    /// Turns to create. They get the next numbers.
    pub additions: Vec<CreatedTurn>,
    /// Turns whose placement changed. Numbers above the base's turn count refer to created turns.
    pub placements: Vec<TurnPlacement>,
    /// Facts of the whole call, only in the last slice.
    pub whole: Option<Box<WholeCall>>,
}

/// A turn to create for an entry of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedTurn {
    /// The entry.
    pub entry: Entry,
    /// The record that contains the entry.
    pub source: Source,
    /// Position in the transcript, from 1.
    pub place: i64,
    /// Time of the turn, from the entry or its neighbours.
    pub timestamp: Timestamp,
}

/// Facts of a whole call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WholeCall {
    /// Numbers that describe the result, if any record has words.
    pub counts: Option<Counts>,
    /// Number of turns that could not be compared with the whole record.
    pub uncompared: i64,
    /// Claims about the driver by signed records, or by senders of histories if there are none.
    pub claims: DriverClaims,
    /// True if there is a signed record that is readable. Otherwise what an earlier one said of the call stays.
    pub signed: bool,
    /// The agent, if there is no signed record.
    pub tool_agent: Option<String>,
    /// Facts from signed records, if they must be written.
    pub facts: Option<Box<FactsWrite>>,
    /// The one who answered, if any readable record exists.
    pub answer: Option<Answer>,
    /// Facts from signed records that nobody changes by hand.
    pub details: Box<CallDetails>,
    /// True if the transcript has as many turns as ElevenLabs counted, false if it has fewer.
    pub record_complete: Option<bool>,
    /// Calls of tools, in order.
    pub tools: Vec<PlacedToolCall>,
    /// True if the placement of any turn changed.
    pub placements_changed: bool,
    /// True if the time of any turn changed.
    pub times_changed: bool,
}

/// Facts of a call from signed records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactsWrite {
    /// The facts.
    pub facts: Facts,
    /// End of the call, as far as the records imply it.
    pub end: Option<Timestamp>,
    /// Time of the event.
    pub reported: Option<Timestamp>,
    /// Id of the most authoritative event.
    pub event_id: i64,
    /// True if the facts must only be written if the call's start changed.
    pub only_a_new_start: bool,
}

/// The changes of a call that are not stored yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    conversation_id: ConversationId,
    base: Base,
    additions: VecDeque<CreatedTurn>,
    placements: VecDeque<TurnPlacement>,
    /// Facts for the last slice.
    whole: Option<Box<WholeCall>>,
    /// Number of turns when the plan was made.
    planned_at: i64,
    /// Numbers of created turns that are stored.
    numbers: Vec<i64>,
}

/// Plans a call. `now` is the time of turns without any other time.
pub fn settle(material: Material, now: Timestamp) -> Settlement {
    let Material { conversation_id, base, turns, records, history, .. } = material;
    let (event_ids, records): (Vec<i64>, Vec<Record>) = records.into_iter().unzip();
    let has_records = !records.is_empty();
    let mut combined = MergedRecord::merge(records);
    let signed = combined.best.is_some();
    let known = Records { history: history.entries(), post_call: combined.transcript.take() };
    let (stored, before): (Vec<TurnRow>, Vec<TurnPlacement>) = turns.into_iter().unzip();
    let recorded = known.post_call.is_some() || !known.history.is_empty();
    let plan = if recorded { plan(&stored, &known) } else { Plan::default() };
    let driver_spoke = driver_spoke(&stored, &plan, &known);
    let tools = placed(&combined, known.post_call.as_deref(), &plan.entry_places);
    let last_said = plan.placements.iter().map(|placement| placement.timestamp).max().unwrap_or(now);
    let additions = timed(plan.additions, last_said);
    let changed = |(placement, before): (TurnPlacement, &TurnPlacement)| (placement != *before).then_some(placement);
    let times_changed =
        plan.placements.iter().zip(&before).any(|(placement, before)| placement.timestamp != before.timestamp);
    let mut placements: Vec<TurnPlacement> = plan.placements.into_iter().zip(&before).filter_map(changed).collect();
    placements.sort_by_key(|placement| (placement.place.is_some(), placement.place));
    let claims = if signed { combined.facts.claims.clone() } else { material.tool_claims };
    let taken = known.post_call.as_ref().map_or(0, Vec::len);
    let record_complete =
        combined.facts.counted_turns.map(|counted| usize::try_from(counted).is_ok_and(|counted| counted <= taken));
    let answer = has_records.then(|| combined.facts.answer.resolve(driver_spoke));
    let details = Box::new(std::mem::take(&mut combined.facts.details));
    let whole = WholeCall {
        counts: recorded.then_some(plan.counts),
        uncompared: i64::try_from(plan.uncompared).unwrap_or(i64::MAX),
        claims,
        signed,
        tool_agent: material.tool_agent.filter(|_| !signed),
        facts: facts(
            combined,
            known.post_call.as_deref(),
            &event_ids,
            material.facts,
            driver_spoke,
            details.queue_wait_seconds.is_some(),
        )
        .map(Box::new),
        answer,
        details,
        record_complete,
        tools,
        placements_changed: !placements.is_empty(),
        times_changed,
    };
    Settlement {
        conversation_id,
        base,
        additions,
        placements: placements.into(),
        whole: Some(Box::new(whole)),
        planned_at: base.turn_count,
        numbers: Vec::new(),
    }
}

/// Adds times to the turns to create. An entry without a time gets that of the one before it.
fn timed(additions: Vec<super::plan::MissingTurn>, mut last: Timestamp) -> VecDeque<CreatedTurn> {
    let timed = |addition: super::plan::MissingTurn| {
        let super::plan::MissingTurn { entry, source, place } = addition;
        last = entry.time.unwrap_or(last);
        CreatedTurn { entry, source, place, timestamp: last }
    };
    additions.into_iter().map(timed).collect()
}

/// Returns whether the call has anything from the driver: words, a nod or pressed keys.
fn driver_spoke(stored: &[TurnRow], plan: &Plan, known: &Records) -> bool {
    let said = |entry: &Entry| entry.speaker == Speaker::Driver && entry.kind.is_human();
    let heard = |turn: &TurnRow| {
        let at = plan.placements.binary_search_by_key(&turn.sequence_number, |placement| placement.sequence_number);
        // Without any record there is no plan.
        at.map_or_else(
            |_| TurnKind::of_words(&turn.text).is_human(),
            |at| plan.placements[at].place.is_some() && plan.placements[at].kind.is_human(),
        )
    };
    known.post_call.as_ref().unwrap_or(&known.history).iter().any(said)
        || stored.iter().any(|turn| turn.origin == Origin::Live && turn.speaker == Speaker::Driver && heard(turn))
}

/// Returns the tool calls with their positions between the turns.
fn placed(combined: &MergedRecord, transcript: Option<&[Entry]>, places: &[i64]) -> Vec<PlacedToolCall> {
    let entries: Vec<_> = transcript.unwrap_or_default().iter().zip(places).collect();
    let after = |call: &ToolCall| {
        let before = if combined.tools_of_transcript {
            entries.partition_point(|(entry, _)| entry.index <= call.index)
        } else {
            // Indexes of different records cannot be compared. Times increase, but for entries without one.
            let is_later = |(entry, _): &&(&Entry, &i64)| entry.time.zip(call.at).is_some_and(|(time, at)| time > at);
            entries.iter().position(|pair| is_later(&pair)).unwrap_or(entries.len())
        };
        before.checked_sub(1).map_or(0, |last| *entries[last].1)
    };
    let place =
        |(position, call): (i64, &ToolCall)| PlacedToolCall { position, after_place: after(call), call: call.clone() };
    (1..).zip(&combined.tools).map(place).collect()
}

/// Returns the facts to write: all after a new record; otherwise only a new start, which may depend on the turns.
///
/// ElevenLabs also calls a conversation done that nobody answered. It failed, unless there are words of the driver.
fn facts(
    combined: MergedRecord,
    transcript: Option<&[Entry]>,
    event_ids: &[i64],
    record_came: bool,
    driver_spoke: bool,
    was_queued: bool,
) -> Option<FactsWrite> {
    let event_id = event_ids[combined.best?];
    let mut facts = combined.facts;
    let unanswered = facts.answer.call_result.filter(|result| CallResult::is_unanswered(*result));
    // Each turn of the driver may change the status of such a call.
    let record_came = record_came || unanswered.is_some();
    if let Some(result) = unanswered.filter(|_| !driver_spoke && facts.status == Some(CallStatus::Completed)) {
        facts.status = Some(CallStatus::Failed);
        facts.termination_reason = Some(result.as_str().to_owned());
    }
    // A record that is parsed again may know that the call was queued, and so when the talk began.
    if !record_came && facts.start.is_some() && !was_queued {
        return None;
    }
    let last_words = transcript.and_then(|entries| entries.iter().filter_map(|entry| entry.time).max());
    let end = facts.duration_seconds.and_then(|seconds| facts.start?.plus_seconds(seconds));
    let end = end.or(last_words).or(combined.event_time);
    Some(FactsWrite { end, reported: combined.event_time, event_id, facts, only_a_new_start: !record_came })
}

impl Settlement {
    /// Returns numbers that describe the result, if any record has words.
    pub fn counts(&self) -> Option<Counts> {
        self.whole.as_ref()?.counts
    }

    /// Returns the number of turns that could not be compared with the whole record.
    pub fn uncompared(&self) -> i64 {
        self.whole.as_ref().map_or(0, |whole| whole.uncompared)
    }

    /// Returns who answered and the channel, as far as known.
    pub fn reached(&self) -> (Option<AnsweredBy>, Option<Channel>) {
        let Some(whole) = &self.whole else { return (None, None) };
        let answered_by = whole.answer.as_ref().and_then(|answer| answer.by);
        (answered_by, whole.details.channel)
    }

    /// Returns whether a new record has fewer turns than ElevenLabs counted.
    pub fn is_incomplete(&self) -> bool {
        self.whole.as_ref().is_some_and(|whole| whole.facts.is_some() && whole.record_complete == Some(false))
    }

    /// Returns the next slice, or `None` if all are stored. [`Self::stored`] must be called before the next call.
    pub fn next_slice(&mut self) -> Option<Reconciliation> {
        self.whole.as_ref()?;
        let (mut rows, mut bytes) = (0, 0);
        let mut has_room = |length: usize| {
            let room = rows < MAX_ROWS && bytes < MAX_TEXT_BYTES;
            (rows, bytes) = (rows + 1, bytes + length);
            room
        };
        let length = |added: &CreatedTurn| added.entry.message.as_str().len();
        let mut additions = Vec::new();
        while let Some(added) = self.additions.pop_front_if(|added| has_room(length(added))) {
            additions.push(added);
        }
        let mut placements = Vec::new();
        if self.additions.is_empty() {
            let length = TurnPlacement::len_bytes;
            while let Some(placement) = self.placements.pop_front_if(|placement| has_room(length(placement))) {
                let superseded_by = placement.superseded_by.map(|number| self.number(number));
                placements.push(TurnPlacement { superseded_by, ..placement });
            }
        }
        let last = self.additions.is_empty() && self.placements.is_empty();
        let whole = if last { self.whole.take() } else { None };
        Some(Reconciliation {
            conversation_id: self.conversation_id.clone(),
            base: self.base,
            additions,
            placements,
            whole,
        })
    }

    /// Records that a slice with this number of additions was stored. `turn_count` is the call's number of turns now.
    pub fn stored(&mut self, additions: usize, turn_count: i64) {
        let first = turn_count - i64::try_from(additions).unwrap_or(0) + 1;
        self.numbers.extend((first..).take(additions));
        self.base.turn_count = turn_count;
        self.base.slices += 1;
    }

    /// Returns the stored number of a turn that has this number in the plan.
    fn number(&self, planned: i64) -> i64 {
        let Ok(addition) = usize::try_from(planned - self.planned_at - 1) else { return planned };
        match self.numbers.get(addition) {
            Some(number) => *number,
            None => self.base.turn_count + i64::try_from(addition - self.numbers.len()).unwrap_or(0) + 1,
        }
    }
}

impl Reconciliation {
    /// Returns the length of the slice's words and tool calls, in bytes.
    pub fn len_bytes(&self) -> usize {
        let added = self.additions.iter().map(|added| added.entry.message.as_str().len());
        let corrected = self.placements.iter().map(TurnPlacement::len_bytes);
        let tools =
            self.whole.iter().flat_map(|whole| &whole.tools).flat_map(|tool| [&tool.call.arguments, &tool.call.result]);
        let tools = tools.flatten().map(String::len);
        added.chain(corrected).chain(tools).sum()
    }

    /// Returns whether the slice replaces stored words, so that the old ones must leave the disk.
    pub fn replaces_words(&self) -> bool {
        self.placements.iter().any(|placement| placement.rewritten.is_some())
    }
}

impl TurnPlacement {
    /// Returns the length of the words to store, in bytes.
    fn len_bytes(&self) -> usize {
        let rewritten = self.rewritten.as_ref().map(|(_, words)| words);
        self.final_text.iter().chain(rewritten).map(|words: &Message| words.as_str().len()).sum()
    }
}

impl TurnRow {
    /// Returns the origin of a turn from its source and the index of its entry.
    pub fn origin_of(source: Source, record_index: Option<u32>) -> Origin {
        match (source, record_index) {
            (Source::History, Some(index)) => Origin::History(index),
            (Source::PostCall, Some(index)) => Origin::PostCall(index),
            _ => Origin::Live,
        }
    }
}
