//! A live viewer: sees each turn that is committed, once and in order, although it goes away now and then.

use super::Run;
use serde_json::Value;
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::sync::atomic::Ordering::SeqCst;

/// After so many turns it goes away and comes back.
const STAYS: u64 = 500;

/// The observations of a viewer.
#[derive(Default)]
struct Seen {
    turns: u64,
    /// The last turn's number.
    newest: i64,
    /// By conversation, the last turn's place.
    places: HashMap<String, i64>,
    /// Position to continue from.
    last_event: Option<String>,
}

/// Watches until the last turn of the run has been seen, and returns how many there were.
pub fn watch(run: &Run) -> u64 {
    let agent: ureq::Agent = ureq::Agent::config_builder().build().into();
    let mut seen = Seen::default();
    while !seen.all(run) {
        let mut request = agent.get(run.service.url("/api/v1/events"));
        if let Some(id) = &seen.last_event {
            request = request.header("last-event-id", id);
        }
        let answer = request.call().expect("streams are answered");
        let stays_until = seen.turns + STAYS;
        let mut event = [const { String::new() }; 2];
        for line in BufReader::new(answer.into_body().into_reader()).lines() {
            let line = line.expect("a stream goes on until it is left");
            match line.split_once(": ") {
                Some(("id", id)) => seen.last_event = Some(id.to_owned()),
                Some(("event", name)) => name.clone_into(&mut event[0]),
                Some(("data", data)) => data.clone_into(&mut event[1]),
                // The end of an event, or a sign of life.
                _ => seen.take(&std::mem::take(&mut event)),
            }
            if line.is_empty() && (seen.turns >= stays_until || seen.all(run)) {
                break;
            }
        }
        run.viewings.fetch_add(1, SeqCst);
    }
    seen.turns
}

impl Seen {
    /// Returns true if nothing more is expected.
    fn all(&self, run: &Run) -> bool {
        run.failed.load(SeqCst) || run.last_turn.get().is_some_and(|last| self.newest >= *last)
    }

    fn take(&mut self, [name, data]: &[String; 2]) {
        if name != "transcription" {
            return;
        }
        let turn: Value = serde_json::from_str(data).unwrap();
        let id = turn["id"].as_i64().unwrap();
        assert!(id > self.newest, "turn {id} was shown after {}", self.newest);
        self.newest = id;
        self.turns += 1;
        let conversation = turn["conversation_id"].as_str().unwrap();
        let place = self.places.entry(conversation.to_owned()).or_default();
        *place += 1;
        assert_eq!(turn["sequence_number"], *place, "a gap in {conversation}");
    }
}
