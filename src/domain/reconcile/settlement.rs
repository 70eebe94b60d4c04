//! From all that is stored of a call to what is to be stored, in slices.
//!
//! A slice is what one transaction has room for, so that a long call does not hold up the turns of others. Ordinary calls are
//! one slice. Of a longer one, turns that only the record has come first, then those that step back, then the others by
//! place: no slice shows words twice that were not shown twice before.

use super::Counts;
use super::plan::{Known, Origin, Plan, Standing, Stored, plan};
use crate::domain::{
    Combined, ConversationId, DriverClaims, Entry, Facts, History, Message, Record, Source, Timestamp,
};
use std::collections::VecDeque;

/// Maximum number of rows of a slice.
const MAX_ROWS: usize = 512;

/// Length of a slice's words from which on nothing is added to it, in bytes.
const MAX_BYTES: usize = 512 * 1024;

/// The state of a call that a plan was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// The call's row number.
    pub call_id: i64,
    /// The last thing that made it due.
    pub version: i64,
    /// The first one.
    pub since: i64,
    /// Number of slices that were stored since.
    pub slices: i64,
    /// Number of turns.
    pub turn_count: i64,
}

/// All that is stored of a call, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Material {
    /// The call.
    pub conversation_id: ConversationId,
    /// Its state.
    pub base: Base,
    /// Whether what records say of the call as a whole is to be written again.
    pub facts: bool,
    /// Its turns by number, and how each stands.
    pub turns: Vec<(Stored, Standing)>,
    /// Signed records, with their events' numbers.
    pub records: Vec<(i64, Record)>,
    /// Unsigned histories.
    pub history: History,
    /// Who was called, as those who sent histories say.
    pub tool_claims: DriverClaims,
    /// The agent that spoke, as those who sent histories say.
    pub tool_agent: Option<String>,
}

/// What is to be stored of a call, or a slice of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciliation {
    /// The call.
    pub conversation_id: ConversationId,
    /// What it is based on.
    pub base: Base,
    /// Turns that only the record has; they get the next numbers.
    pub additions: Vec<Added>,
    /// Turns that stand otherwise than before. A number above the base's turn count is that of one of the additions.
    pub standings: Vec<Standing>,
    /// With the last slice, the call as a whole.
    pub whole: Option<Box<Whole>>,
}

/// A turn that only the record has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// What it is made for.
    pub entry: Entry,
    /// Which record has it.
    pub source: Source,
    /// Its place in the transcript, from 1.
    pub place: i64,
    /// When it was said, by the entry or what is around it.
    pub timestamp: Timestamp,
}

/// A call as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// The result in numbers, if any record has words.
    pub counts: Option<Counts>,
    /// Number of turns that could not be compared with all of the record.
    pub uncompared: i64,
    /// Who was called, by signed records, or where there is none, by those who sent histories.
    pub claims: DriverClaims,
    /// The agent that spoke, where there is no signed record.
    pub tool_agent: Option<String>,
    /// What signed records say of it, if that is to be written.
    pub facts: Option<Box<FactsWrite>>,
    /// Whether any turn stands otherwise than before.
    pub restood: bool,
    /// Whether one of them has another time.
    pub retimed: bool,
}

/// What signed records say of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactsWrite {
    /// What they say.
    pub facts: Facts,
    /// When it ended, as far as that follows from them.
    pub end: Option<Timestamp>,
    /// When it was reported.
    pub reported: Option<Timestamp>,
    /// The event that knows most.
    pub event_id: i64,
    /// Whether nothing is to be written unless the call begins at another time now.
    pub only_a_new_start: bool,
}

/// What is to be stored of a call, on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    conversation_id: ConversationId,
    base: Base,
    additions: VecDeque<Added>,
    standings: VecDeque<Standing>,
    /// With the last slice.
    whole: Option<Box<Whole>>,
    /// Number of turns when it was planned.
    planned_at: i64,
    /// Numbers of additions that are stored.
    numbers: Vec<i64>,
}

/// Plans a call. `now` is the time of turns for which there is no other.
pub fn settle(material: Material, now: Timestamp) -> Settlement {
    let Material { conversation_id, base, turns, records, history, .. } = material;
    let (event_ids, records): (Vec<i64>, Vec<Record>) = records.into_iter().unzip();
    let mut combined = Combined::of(records);
    let signed = combined.best.is_some();
    let known = Known { history: history.entries(), post_call: combined.transcript.take() };
    let (stored, before): (Vec<Stored>, Vec<Standing>) = turns.into_iter().unzip();
    let recorded = known.post_call.is_some() || !known.history.is_empty();
    let plan = if recorded { plan(&stored, &known) } else { Plan::default() };
    let last_said = plan.standings.iter().map(|standing| standing.timestamp).max().unwrap_or(now);
    let additions = timed(plan.additions, last_said);
    let changed = |(standing, before): (Standing, &Standing)| (standing != *before).then_some(standing);
    let retimed = plan.standings.iter().zip(&before).any(|(standing, before)| standing.timestamp != before.timestamp);
    let mut standings: Vec<Standing> = plan.standings.into_iter().zip(&before).filter_map(changed).collect();
    standings.sort_by_key(|standing| (standing.place.is_some(), standing.place));
    let claims = if signed { combined.facts.claims.clone() } else { material.tool_claims };
    let whole = Whole {
        counts: recorded.then_some(plan.counts),
        uncompared: i64::try_from(plan.uncompared).unwrap_or(i64::MAX),
        claims,
        tool_agent: material.tool_agent.filter(|_| !signed),
        facts: facts(combined, known.post_call.as_deref(), &event_ids, material.facts).map(Box::new),
        restood: !standings.is_empty(),
        retimed,
    };
    Settlement {
        conversation_id,
        base,
        additions,
        standings: standings.into(),
        whole: Some(Box::new(whole)),
        planned_at: base.turn_count,
        numbers: Vec::new(),
    }
}

/// Additions with their times: an entry without one was said after the one before it.
fn timed(additions: Vec<super::plan::Addition>, mut last: Timestamp) -> VecDeque<Added> {
    let timed = |addition: super::plan::Addition| {
        let super::plan::Addition { entry, source, place } = addition;
        last = entry.time.unwrap_or(last);
        Added { entry, source, place, timestamp: last }
    };
    additions.into_iter().map(timed).collect()
}

/// What is to be written of the records: all if one came, else only what depends on the turns where no record says when the
/// call began.
fn facts(combined: Combined, transcript: Option<&[Entry]>, event_ids: &[i64], record_came: bool) -> Option<FactsWrite> {
    let event_id = event_ids[combined.best?];
    let facts = combined.facts;
    if !record_came && facts.start.is_some() {
        return None;
    }
    let last_words = transcript.and_then(|entries| entries.iter().filter_map(|entry| entry.time).max());
    let end = facts.duration_seconds.and_then(|seconds| facts.start?.plus_seconds(seconds));
    let end = end.or(last_words).or(combined.event_time);
    Some(FactsWrite { end, reported: combined.event_time, event_id, facts, only_a_new_start: !record_came })
}

impl Settlement {
    /// The result in numbers, if any record has words.
    pub fn counts(&self) -> Option<Counts> {
        self.whole.as_ref()?.counts
    }

    /// Number of turns that could not be compared with all of the record.
    pub fn uncompared(&self) -> i64 {
        self.whole.as_ref().map_or(0, |whole| whole.uncompared)
    }

    /// The next slice; `None` when all are stored. [`Self::stored`] comes before the next call.
    pub fn next_slice(&mut self) -> Option<Reconciliation> {
        self.whole.as_ref()?;
        let (mut rows, mut bytes) = (0, 0);
        let mut has_room = |length: usize| {
            let room = rows < MAX_ROWS && bytes < MAX_BYTES;
            (rows, bytes) = (rows + 1, bytes + length);
            room
        };
        let length = |added: &Added| added.entry.message.as_str().len();
        let mut additions = Vec::new();
        while let Some(added) = self.additions.pop_front_if(|added| has_room(length(added))) {
            additions.push(added);
        }
        let mut standings = Vec::new();
        if self.additions.is_empty() {
            let length =
                |standing: &Standing| standing.final_text.as_ref().map_or(0, |text: &Message| text.as_str().len());
            while let Some(standing) = self.standings.pop_front_if(|standing| has_room(length(standing))) {
                let superseded_by = standing.superseded_by.map(|number| self.number(number));
                standings.push(Standing { superseded_by, ..standing });
            }
        }
        let last = self.additions.is_empty() && self.standings.is_empty();
        let whole = if last { self.whole.take() } else { None };
        Some(Reconciliation {
            conversation_id: self.conversation_id.clone(),
            base: self.base,
            additions,
            standings,
            whole,
        })
    }

    /// Notes that a slice with so many additions was stored, and how many turns the call has now.
    pub fn stored(&mut self, additions: usize, turn_count: i64) {
        let first = turn_count - i64::try_from(additions).unwrap_or(0) + 1;
        self.numbers.extend((first..).take(additions));
        self.base.turn_count = turn_count;
        self.base.slices += 1;
    }

    /// The number by which a turn is stored that had this number when the call was planned, or in the next slice.
    fn number(&self, planned: i64) -> i64 {
        let Ok(addition) = usize::try_from(planned - self.planned_at - 1) else { return planned };
        match self.numbers.get(addition) {
            Some(number) => *number,
            None => self.base.turn_count + i64::try_from(addition - self.numbers.len()).unwrap_or(0) + 1,
        }
    }
}

impl Reconciliation {
    /// Length of the words in it, in bytes.
    pub fn len_bytes(&self) -> usize {
        let added = self.additions.iter().map(|added| added.entry.message.as_str().len());
        let corrected = self.standings.iter().filter_map(|standing| standing.final_text.as_ref());
        added.chain(corrected.map(|text| text.as_str().len())).sum()
    }
}

impl Stored {
    /// The origin of a turn by its source, and by the index of the entry that it was made for.
    pub fn origin_of(source: Source, record_index: Option<u32>) -> Origin {
        match (source, record_index) {
            (Source::History, Some(index)) => Origin::History(index),
            (Source::PostCall, Some(index)) => Origin::PostCall(index),
            _ => Origin::Heard,
        }
    }
}
