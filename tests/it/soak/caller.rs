//! A caller: holds one call after the other, as an agent and ElevenLabs would report it, and reads it back.

use super::ledger::Turn;
use super::workload::{Chance, DRIVERS, history, record, turn, words};
use super::{Run, SECRET};
use crate::support::service::TURNS;
use serde_json::json;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use transcribe_hook::elevenlabs::signature::sign;
use transcribe_hook::secret::Secret;

const HISTORY: &str = "/webhooks/elevenlabs/history";
const POST_CALL: &str = "/webhooks/elevenlabs/post-call";
const JSON: (&str, &str) = ("content-type", "application/json");

/// Maximum time between two turns of a call, in milliseconds. Eight callers then bring some hundred turns a second.
const MAX_PAUSE_MS: u64 = 40;

struct Caller<'a> {
    run: &'a Run,
    number: usize,
    chance: Chance,
    /// Number of its turns in calls that all callers share.
    shared: usize,
}

pub fn hold_calls(run: &Run, number: usize) {
    let mut caller = Caller { run, number, chance: Chance::of(number), shared: 0 };
    for n in 0.. {
        if !run.goes_on() {
            return;
        }
        caller.hold(&format!("conv_soak_{number}_{n}"));
    }
}

impl Caller<'_> {
    fn hold(&mut self, call: &str) {
        let run = self.run;
        let driver = self.chance.once_in(2).then(|| 1 + self.chance.below(DRIVERS));
        if let Some(driver) = driver {
            let path = format!("/api/v1/dispatches/{call}");
            run.ask(|| run.service.put(&path, &json!({"driver_id": driver}))).expect(201);
        }
        let turns = usize::try_from(4 + self.chance.below(24)).unwrap();
        if self.chance.once_in(6) {
            self.by_histories(call, turns);
        } else {
            self.turn_by_turn(call, turns);
        }
        let found = run.ask(|| run.service.get(&format!("/api/v1/calls/{call}"))).expect(200).json();
        if let Some(driver) = driver {
            assert_eq!(found["driver_id"], driver, "{found}");
        }
    }

    /// Brings a call's turns one by one, some of them twice, and often its record with one that never came.
    fn turn_by_turn(&mut self, call: &str, turns: usize) {
        let recorded = self.chance.once_in(2);
        let lost = recorded.then(|| usize::try_from(self.chance.below(turns as u64)).unwrap());
        let keyed = self.chance.once_in(3);
        let mut held = Vec::new();
        for n in (0..turns).filter(|n| Some(*n) != lost) {
            let key = keyed.then(|| format!("{call}-{n}"));
            let stored = self.deliver(call, n, key.as_deref(), false);
            self.run.ledger.lock().unwrap().acknowledge(call, stored);
            held.push(n);
            assert_eq!(stored.sequence_number, i64::try_from(held.len()).unwrap(), "{call}");
            if self.chance.once_in(10) {
                let again = self.deliver(call, n, key.as_deref(), true);
                assert_eq!((again.id, again.sequence_number), (stored.id, stored.sequence_number), "{call}");
            }
            if self.chance.once_in(8) {
                self.speak_with_all();
            }
            self.pause();
        }
        if recorded {
            self.report(call, turns);
            held = (0..turns).collect();
        }
        self.read_back(call, &held);
    }

    /// Brings a call by its tool, which shows all that was said so far, and often its record.
    fn by_histories(&mut self, call: &str, turns: usize) {
        for so_far in (1..=turns).step_by(3).chain([turns]) {
            let body = history(call, so_far);
            self.run.ask(|| self.run.service.post(HISTORY, &body)).expect(200);
            self.run.tally.histories.fetch_add(1, SeqCst);
            self.run.ledger.lock().unwrap().complete(call, u32::try_from(so_far).unwrap());
            self.pause();
        }
        if self.chance.once_in(2) {
            self.report(call, turns);
        }
        self.read_back(call, &(0..turns).collect::<Vec<_>>());
    }

    /// Says a turn in a call that all callers share.
    fn speak_with_all(&mut self) {
        let call = format!("conv_shared_{}", self.run.bursts.load(SeqCst) / 4);
        let said = self.shared * super::CALLERS + self.number;
        self.shared += 1;
        let stored = self.deliver(&call, said, None, false);
        self.run.ledger.lock().unwrap().acknowledge(&call, stored);
    }

    fn deliver(&self, call: &str, n: usize, key: Option<&str>, again: bool) -> Turn {
        deliver(self.run, call, n, key, again)
    }

    /// Posts ElevenLabs' record of a call, sometimes twice.
    fn report(&mut self, call: &str, turns: usize) {
        let body = record(call, turns);
        for _ in 0..if self.chance.once_in(10) { 2 } else { 1 } {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            let signature = sign(&Secret::new(SECRET).unwrap(), now.cast_signed(), body.as_bytes());
            let headers = [JSON, ("ElevenLabs-Signature", &*signature)];
            self.run.ask(|| self.run.service.post_raw(POST_CALL, &headers, body.as_bytes())).expect(200);
            self.run.tally.events.fetch_add(1, SeqCst);
        }
        self.run.ledger.lock().unwrap().complete(call, u32::try_from(turns).unwrap());
    }

    /// Checks that the call has these turns, in this order.
    fn read_back(&self, call: &str, held: &[usize]) {
        let path = format!("/api/v1/calls/{call}/transcriptions?order=time&limit=1000");
        let page = self.run.ask(|| self.run.service.get(&path)).expect(200).json();
        let said: Vec<_> =
            page["data"].as_array().unwrap().iter().map(|turn| turn["message_text"].as_str().unwrap()).collect();
        assert_eq!(said, held.iter().map(|n| words(call, *n)).collect::<Vec<_>>(), "{call}");
        self.run.tally.reads.fetch_add(2, SeqCst);
    }

    fn pause(&mut self) {
        let time = Duration::from_millis(self.chance.below(MAX_PAUSE_MS));
        self.run.pause(time);
    }
}

/// Delivers a turn until it is stored, which it was before only if it comes again.
pub fn deliver(run: &Run, call: &str, n: usize, key: Option<&str>, again: bool) -> Turn {
    let body = turn(call, n).to_string();
    let mut headers = vec![JSON];
    headers.extend(key.map(|key| ("idempotency-key", key)));
    let answer = run.ask(|| {
        let started = Instant::now();
        let answer = run.service.post_raw(TURNS, &headers, body.as_bytes());
        run.tally.took(started.elapsed());
        answer
    });
    let answer = answer.expect(201);
    assert_eq!(answer.header("idempotent-replayed").is_some(), again, "{call}, turn {n}");
    let count = if again { &run.tally.repeats } else { &run.tally.turns };
    count.fetch_add(1, SeqCst);
    let body = answer.json();
    let number = |field: &str| body[field].as_i64().unwrap();
    let said = u32::try_from(n).unwrap();
    Turn { said, id: number("transcription_id"), sequence_number: number("sequence_number") }
}
