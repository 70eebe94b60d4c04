//! A call made whole: what came live, what tools showed and what the platform posted afterwards, in any order.

use crate::platform::{SAMPLES, other_types, places, sample, with, without};
use proptest::prelude::{Just, ProptestConfig, Strategy as _};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use transcribe_hook::elevenlabs::read_history;
use transcribe_hook::events;
use transcribe_hook::ingest::read_turn;
use transcribe_hook::model::{ConversationId, NewEvent, Timestamp, Turn};
use transcribe_hook::store::sqlite::{Options, SqliteStore};
use transcribe_hook::store::{Kept, Store, TurnOrder, TurnQuery, Write, Written};

/// The conversation of the samples.
const CALL: &str = "conv_1901kaj4pr1penza6bbkscg6hgkc";

const FIRST: &str = "Hi Maria, this is dispatch calling about load 88123. Are you near your trailer right now?";
const PARKED: &str = "Yeah, I'm parked at the Pilot in Gary.";
const CUT_OFF: &str = "Great. Your reefer is reading forty five degrees. Could you check the set...";
const IN_FULL: &str =
    "Great. Your reefer is reading forty five degrees. Could you check the set point and tell me what it shows?";
const LAST: &str = "It says thirty four. I'll bump the set point.";

fn open() -> (Arc<SqliteStore>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { path: folder.path().join("calls.db"), busy_timeout: Duration::from_secs(5), readers: 1 };
    (Arc::new(SqliteStore::open(&options).unwrap()), folder)
}

fn now() -> Timestamp {
    Timestamp::parse("2026-09-28T13:00:00Z").unwrap()
}

fn event(value: &Value) -> NewEvent {
    events::of_body(value.to_string().into_bytes().into())
}

fn live(speaker: &str, message: &str, time: &str) -> Write {
    let body = json!({"conversation_id": CALL, "speaker": speaker, "message": message, "timestamp": time});
    Write::AppendTurn(read_turn(body.to_string().as_bytes(), None).unwrap())
}

fn history(entries: &[(&str, &str)], time: &str) -> Write {
    let entries: Vec<_> = entries.iter().map(|(role, message)| json!({"role": role, "message": message})).collect();
    let body = json!({"conversation_id": CALL, "timestamp": time, "history": {"entries": entries}});
    Write::KeepHistory(Box::new(read_history(body.to_string().as_bytes()).unwrap()))
}

fn post(value: &Value) -> Write {
    Write::KeepEvent(Box::new(event(value)))
}

fn apply(store: &dyn Store, write: &Write) -> Written {
    store.apply(now(), std::slice::from_ref(write)).unwrap().remove(0).unwrap()
}

fn turns(store: &dyn Store, order: TurnOrder) -> Vec<Turn> {
    let query = TurnQuery {
        conversation_id: ConversationId::new(CALL).unwrap(),
        after_sequence: 0,
        order,
        after: None,
        limit: 1000,
        with_total: false,
    };
    store.turns(&query).unwrap().map_or(Vec::new(), |page| page.rows)
}

/// The transcript as a reader of the call has it.
fn transcript(store: &dyn Store) -> Vec<(&'static str, String, Option<bool>)> {
    let words = |turn: &Turn| turn.final_text.as_ref().unwrap_or(&turn.message).as_str().to_owned();
    turns(store, TurnOrder::Time).iter().map(|turn| (turn.speaker.as_str(), words(turn), turn.interrupted)).collect()
}

/// All that must be the same in whatever order things came.
fn state(store: &dyn Store) -> String {
    let call = store.call(&ConversationId::new(CALL).unwrap()).unwrap().unwrap();
    let report = &call.report;
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:#?}",
        call.status,
        call.call_end_time,
        report.reconciled,
        report.title,
        report.termination_reason,
        report.duration_seconds,
        transcript(store)
    )
}

/// Turns are numbered 1, 2, 3 …, and each that another one stands for names one that stands in the transcript.
fn assert_sound(store: &dyn Store) {
    let all = turns(store, TurnOrder::Sequence);
    let numbers: Vec<_> = all.iter().map(|turn| turn.sequence_number).collect();
    assert_eq!(numbers, (1..).take(all.len()).collect::<Vec<_>>());
    for turn in &all {
        if let Some(by) = turn.superseded_by {
            let by = all.iter().find(|other| other.sequence_number == by).expect("a turn that is there");
            assert_eq!(by.superseded_by, None);
        }
    }
}

/// A call with a lost turn, a reworded one, a repeated one and one that no record has.
fn deliveries() -> Vec<Write> {
    let mut without_words = sample(0);
    without_words["event_timestamp"] = json!(1_790_599_999);
    without_words["data"].as_object_mut().unwrap().shift_remove("transcript");
    let mut traces = sample(1);
    traces["data"]["conversation_id"] = json!(CALL);
    let mut failure = sample(2);
    failure["data"]["conversation_id"] = json!(CALL);
    vec![
        live("agent", FIRST, "2026-09-28T12:00:03Z"),
        live("user", "yeah i am parked at the pilot, in Gary", "2026-09-28T12:00:09Z"),
        live("agent", IN_FULL, "2026-09-28T12:00:12Z"),
        live("agent", IN_FULL, "2026-09-28T12:00:14Z"),
        live("user", "Completely different: the brakes squeak, and the radio is on!", "2026-09-28T12:00:40Z"),
        history(&[("agent", FIRST), ("user", PARKED)], "2026-09-28T12:00:10Z"),
        history(&[("agent", FIRST), ("user", PARKED), ("agent", IN_FULL)], "2026-09-28T12:00:13Z"),
        post(&sample(0)),
        post(&without_words),
        post(&traces),
        post(&failure),
    ]
}

#[test]
fn any_order_and_repetition_of_what_comes_ends_in_the_same_call() {
    let all = deliveries();
    let (store, _folder) = open();
    all.iter().for_each(|write| drop(apply(&*store, write)));
    let wanted = state(&*store);
    let said: Vec<_> = transcript(&*store).into_iter().map(|(_, words, _)| words).collect();
    assert_eq!(said.len(), 5, "{said:#?}");
    assert_eq!(said[..4], [FIRST, PARKED, CUT_OFF, LAST]);
    let order = Just((0..all.len()).chain(0..4).collect::<Vec<_>>()).prop_shuffle();
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
    let checked = TestRunner::new(config).run(&order, |order| {
        let (store, _folder) = open();
        for n in &order {
            apply(&*store, &all[*n]);
            assert_sound(&*store);
        }
        assert_eq!(state(&*store), wanted, "{order:?}");
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn one_batch_of_everything_is_the_same_as_one_by_one() {
    let all = deliveries();
    let (store, _folder) = open();
    all.iter().for_each(|write| drop(apply(&*store, write)));
    let (together, _other) = open();
    assert!(together.apply(now(), &all).unwrap().iter().all(Result::is_ok));
    assert_eq!(state(&*together), state(&*store));
    assert_sound(&*together);
}

#[test]
fn a_turn_keeps_its_words_as_heard_and_gains_the_records() {
    let (store, _folder) = open();
    apply(&*store, &live("agent", IN_FULL, "2026-09-28T12:00:12Z"));
    apply(&*store, &live("user", "I am parked at the Pilot in Gary", "2026-09-28T12:00:20Z"));
    let Written::Kept(Kept { reconciled: Some(counts), .. }) = apply(&*store, &post(&sample(0))) else { panic!() };
    assert_eq!((counts.matched, counts.added, counts.corrected, counts.live_only, counts.repeated), (2, 2, 2, 0, 0));
    let stored = turns(&*store, TurnOrder::Sequence);
    let shown: Vec<_> = stored
        .iter()
        .map(|turn| {
            (
                turn.message.as_str(),
                turn.final_text.as_ref().map(|text| text.as_str()),
                turn.source.as_str(),
                turn.place,
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (IN_FULL, Some(CUT_OFF), "live", Some(3)),
            ("I am parked at the Pilot in Gary", Some(PARKED), "live", Some(2)),
            (FIRST, None, "post_call", Some(1)),
            (LAST, None, "post_call", Some(4)),
        ]
    );
    assert_eq!(stored[0].interrupted, Some(true));
    let again = apply(&*store, &post(&sample(0)));
    assert!(matches!(again, Written::Kept(Kept { replayed: true, .. })));
    assert_eq!(turns(&*store, TurnOrder::Sequence), stored);
}

#[test]
fn no_sample_with_anything_missing_null_or_of_another_type_is_refused_or_lost() {
    let (store, _folder) = open();
    let mut kept = 0;
    for (n, _) in SAMPLES.iter().enumerate() {
        let whole = sample(n);
        for (m, place) in places(&whole).iter().enumerate() {
            let mut changed: Vec<_> = other_types().into_iter().map(|other| with(&whole, place, other)).collect();
            if !place.is_empty() {
                changed.push(without(&whole, place));
            }
            // A call for each place, which meets one change after the other.
            for changed in &mut changed {
                if let Some(id) = changed.pointer_mut("/data/conversation_id").filter(|id| id.is_string()) {
                    *id = json!(format!("conv_{n}_{m}"));
                }
            }
            let batch: Vec<_> = changed.iter().map(post).collect();
            for outcome in store.apply(now(), &batch).unwrap() {
                assert!(matches!(outcome, Ok(Written::Kept(_))), "{outcome:?}");
                kept += 1;
            }
        }
    }
    assert!(kept > 500, "{kept}");
}

#[test]
fn a_later_event_without_words_takes_none_away() {
    let (store, _folder) = open();
    apply(&*store, &post(&sample(0)));
    let before = transcript(&*store);
    let mut poorer = sample(0);
    poorer["event_timestamp"] = json!(1_790_599_999);
    for transcript in [json!([]), Value::Null, json!([{"role": "user", "message": "Hm."}])] {
        poorer["data"]["transcript"] = transcript;
        apply(&*store, &post(&poorer));
        assert_eq!(self::transcript(&*store), before);
    }
}

#[test]
fn a_failed_goal_is_no_failed_call_and_a_failed_call_says_why() {
    let (store, _folder) = open();
    let call = |id: &str| store.call(&ConversationId::new(id).unwrap()).unwrap().unwrap();
    let missed = with(&sample(0), "/data/analysis/call_successful", json!("failure"));
    apply(&*store, &post(&missed));
    assert_eq!(call(CALL).status.as_str(), "completed");
    assert_eq!(call(CALL).report.outcome.unwrap().as_str(), "failure");
    apply(&*store, &post(&sample(2)));
    let failed = call("conv_8801k9czkv3qepy815bm59nt04qk");
    assert_eq!((failed.status.as_str(), failed.turn_count), ("failed", 0));
    assert_eq!(failed.report.termination_reason.as_deref(), Some("busy"));
}
