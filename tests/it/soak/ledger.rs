//! A ledger of acknowledged writes and their senders, and its comparison with the file.

use super::workload::words;
use crate::support::service::open;
use std::collections::HashMap;
use std::path::Path;

/// A turn that was acknowledged, by its place in what is said.
#[derive(Clone, Copy)]
pub struct Turn {
    pub said: u32,
    pub id: i64,
    pub sequence_number: i64,
}

/// A turn in the file: its id, its place in the call, and its words.
type Row = (i64, i64, String);

/// A call as its caller knows it.
#[derive(Default)]
pub struct Call {
    /// Turns that were acknowledged one by one.
    pub acknowledged: Vec<Turn>,
    /// Number of the call's turns including those of a history or a record, whose numbers are unknown.
    pub whole: Option<u32>,
}

#[derive(Default)]
pub struct Ledger {
    calls: HashMap<String, Call>,
    /// Turns that were stored before the run.
    old: HashMap<String, Call>,
    /// The greatest id that was acknowledged.
    pub newest: i64,
    /// Number of the run's turns that were acknowledged one by one.
    pub acknowledged: u64,
}

impl Ledger {
    pub fn acknowledge(&mut self, call: &str, turn: Turn) {
        self.newest = self.newest.max(turn.id);
        self.acknowledged += 1;
        if !self.calls.contains_key(call) {
            self.calls.insert(call.to_owned(), Call::default());
        }
        self.calls.get_mut(call).unwrap().acknowledged.push(turn);
    }

    /// Notes a turn that was stored before the run.
    pub fn acknowledge_old(&mut self, call: &str, turn: Turn) {
        self.old.entry(call.to_owned()).or_default().acknowledged.push(turn);
    }

    /// Notes that a call of before the run was erased.
    pub fn erase(&mut self, call: &str) {
        self.old.remove(call);
    }

    /// Notes that a call has so many turns now, whoever brought them.
    pub fn complete(&mut self, call: &str, turns: u32) {
        self.calls.entry(call.to_owned()).or_default().whole = Some(turns);
    }

    /// Returns the number of turns that the run must have stored.
    pub fn turns(&self) -> u64 {
        self.calls.values().map(|call| call.whole.map_or(call.acknowledged.len() as u64, u64::from)).sum()
    }

    /// Each call that was acknowledged is there with its turns and their numbers, and nothing else is.
    pub fn compare(mut self, database: &Path) {
        assert!(!self.old.is_empty(), "some old calls are kept");
        self.calls.extend(std::mem::take(&mut self.old));
        let connection = open(database);
        let integrity: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(integrity, "ok");
        let mut select = connection
            .prepare(
                "SELECT conversation_id, id, sequence_number, message_text FROM call_transcriptions \
                 ORDER BY conversation_id, sequence_number",
            )
            .unwrap();
        let mut rows = select.query([]).unwrap();
        let mut present: Option<(String, Vec<Row>)> = None;
        while let Some(row) = rows.next().unwrap() {
            let id: String = row.get(0).unwrap();
            let turn = (row.get(1).unwrap(), row.get(2).unwrap(), row.get(3).unwrap());
            match &mut present {
                Some((present, turns)) if *present == id => turns.push(turn),
                _ => {
                    if let Some((id, turns)) = present.replace((id, vec![turn])) {
                        self.compare_call(&id, &turns);
                    }
                }
            }
        }
        if let Some((id, turns)) = present {
            self.compare_call(&id, &turns);
        }
        assert!(self.calls.is_empty(), "lost: {:?}", self.calls.keys().collect::<Vec<_>>());
    }

    fn compare_call(&mut self, id: &str, stored: &[Row]) {
        let call = self.calls.remove(id).unwrap_or_else(|| panic!("{id} was never held"));
        let mut newest = 0;
        for (n, (id_of_turn, sequence_number, _)) in stored.iter().enumerate() {
            assert_eq!(*sequence_number, i64::try_from(n).unwrap() + 1, "a gap in {id}");
            assert!(*id_of_turn > newest, "in {id} the order of numbers is not that of commits");
            newest = *id_of_turn;
        }
        for turn in &call.acknowledged {
            let stored = &stored[usize::try_from(turn.sequence_number - 1).unwrap()..];
            let found = stored.first().unwrap_or_else(|| panic!("{id} has lost turn {}", turn.said));
            let said = words(id, turn.said as usize);
            assert_eq!(found, &(turn.id, turn.sequence_number, said), "in {id}");
        }
        match call.whole {
            None => assert_eq!(stored.len(), call.acknowledged.len(), "{id} has turns that nobody sent"),
            Some(turns) => {
                let mut said: Vec<_> = stored.iter().map(|(_, _, said)| said.as_str()).collect();
                said.sort_unstable();
                let mut wanted: Vec<_> = (0..turns as usize).map(|n| words(id, n)).collect();
                wanted.sort_unstable();
                assert_eq!(said, wanted, "in {id}");
            }
        }
    }
}
