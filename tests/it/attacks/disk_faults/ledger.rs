//! A ledger of what was sent and what was acknowledged, and the check that a database holds exactly that.

use crate::support::service::{Answer, open};
use crate::support::turns::turn;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A turn's numbers: its own, and that in its call.
type Numbers = (i64, i64);

#[derive(Default)]
pub(super) struct Ledger {
    /// The turns of each call, with the numbers of those that were acknowledged.
    calls: BTreeMap<String, BTreeMap<usize, Option<Numbers>>>,
    /// Drivers that another process has committed.
    pub(super) drivers: BTreeSet<i64>,
    pub(super) acknowledged: usize,
}

/// Number of turns per long one.
pub(super) const TURNS_PER_LONG_ONE: usize = 8;

/// The turn of this number.
pub(super) fn body(id: &str, n: usize) -> Value {
    let mut turn = turn(id, n);
    let words = if n.is_multiple_of(TURNS_PER_LONG_ONE) { 10_000 } else { n % 8 };
    turn["message"] = format!("{n} {}", "words ".repeat(words)).into();
    turn
}

impl Ledger {
    pub(super) fn sent(&mut self, id: &str, n: usize) {
        self.calls.entry(id.to_owned()).or_default().entry(n).or_default();
    }

    /// Notes an answer. Whether a turn that was not acknowledged is stored is not known.
    pub(super) fn answered(&mut self, id: &str, n: usize, answer: &Answer) {
        if answer.status != 201 {
            assert!([500, 503].contains(&answer.status), "{}: {}", answer.status, answer.text);
            return;
        }
        let body = answer.json();
        let number = |field: &str| body[field].as_i64().unwrap();
        let numbers = (number("transcription_id"), number("sequence_number"));
        let known = self.calls.get_mut(id).unwrap().get_mut(&n).unwrap();
        assert!(known.is_none_or(|known| known == numbers), "turn {n} of {id} was {known:?}, and is {numbers:?}");
        self.acknowledged += usize::from(known.is_none());
        *known = Some(numbers);
    }

    pub(super) fn unknown(&self) -> Vec<(String, usize)> {
        let turns = self.calls.iter().flat_map(|(id, turns)| turns.iter().map(move |(n, numbers)| (id, n, numbers)));
        turns.filter(|(.., numbers)| numbers.is_none()).map(|(id, n, _)| (id.clone(), *n)).collect()
    }

    pub(super) fn erased(&mut self, id: &str) {
        self.calls.remove(id);
    }

    /// The call that has been there for longest, if there are more than so many.
    pub(super) fn oldest_beyond(&self, count: usize) -> Option<String> {
        self.calls.keys().next().filter(|_| self.calls.len() > count).cloned()
    }

    /// Asserts that the database holds each turn once, under its numbers, without a gap, and nothing else. None may be
    /// unknown any more.
    pub(super) fn compare(&self, database: &Path, case: &str) {
        let connection = open(database);
        let mut select = connection
            .prepare("SELECT conversation_id, message_text, id, sequence_number FROM call_transcriptions ORDER BY id")
            .unwrap();
        let mut found: BTreeMap<String, Vec<(String, Numbers)>> = BTreeMap::new();
        let mut rows = select.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let turn = (row.get(1).unwrap(), (row.get(2).unwrap(), row.get(3).unwrap()));
            found.entry(row.get(0).unwrap()).or_default().push(turn);
        }
        assert_eq!(found.keys().collect::<Vec<_>>(), self.calls.keys().collect::<Vec<_>>(), "{case}");
        for (id, turns) in &self.calls {
            let found = &found[id];
            for (place, (_, (_, sequence))) in (1..).zip(found) {
                assert_eq!(*sequence, place, "{case}: a gap in {id}");
            }
            let mut expected: Vec<_> = turns
                .iter()
                .map(|(n, numbers)| (body(id, *n)["message"].as_str().unwrap().to_owned(), numbers.unwrap()))
                .collect();
            expected.sort_by_key(|(_, numbers)| *numbers);
            assert!(*found == expected, "{case}: {id} has {} turns of {}", found.len(), expected.len());
        }
        let drivers: BTreeSet<i64> = connection
            .prepare("SELECT id FROM drivers")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(drivers, self.drivers, "{case}");
    }
}
