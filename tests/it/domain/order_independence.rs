//! One call in every order: live turns, histories, ElevenLabs' reports and all else that touches a call, as often as
//! they may come, end in the same call.

use crate::support::samples::sample;
use crate::support::whole_call::{
    CALL, CUT_OFF, FIRST, IN_FULL, LAST, PARKED, apply, history, live, now, open, post, reconcile, transcript, turns,
};
use proptest::prelude::{Just, ProptestConfig, Strategy as _};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use transcribe_hook::domain::{ConversationId, DriverId, NewDispatch, NewDriver, PhoneNumber, Timestamp};
use transcribe_hook::store::{Commands as _, Reads as _, Store, TurnOrder, Write};

/// All that must be the same in whatever order things came: the call but for its row's own numbers and times, and the
/// transcript.
fn state(store: &dyn Store) -> String {
    let mut call = store.call(&ConversationId::new(CALL).unwrap()).unwrap().unwrap();
    // A row's number, which goes by the order of arrival.
    call.report.record_event_id = None;
    let kinds: Vec<_> = turns(store, TurnOrder::Time).into_iter().map(|turn| (turn.kind, turn.metrics)).collect();
    format!(
        "{:?} {:?} {} {:?} {:#?} {:#?} {kinds:?} {:#?}",
        call.status,
        call.driver_id,
        call.call_start_time,
        call.call_end_time,
        call.report,
        transcript(store),
        store.tool_calls(&ConversationId::new(CALL).unwrap()).unwrap(),
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

/// A call with a lost turn, a reworded one, a repeated one and one that no record has, and whatever else touches it.
fn deliveries() -> Vec<Write> {
    // Later ones that know less: without the transcript, as with `exclude_transcript`, or with a part of it.
    let later = |transcript: Option<Value>, at: i64| {
        let mut later = sample(0);
        later["event_timestamp"] = json!(at);
        later["data"]["analysis"]["call_summary_title"] = json!(format!("Title of {at}"));
        match transcript {
            Some(part) => later["data"]["transcript"] = part,
            None => drop(later["data"].as_object_mut().unwrap().shift_remove("transcript")),
        }
        post(&later)
    };
    let about_it = |n: usize| {
        let mut other = sample(n);
        other["data"]["conversation_id"] = json!(CALL);
        other
    };
    let verdict = json!({"type": "answering_machine_detection", "event_timestamp": 1_790_596_805,
        "data": {"conversation_id": CALL, "result": {"answered_by": "human"}}});
    let other_verdict = json!({"type": "answering_machine_detection", "event_timestamp": 1_790_596_808,
        "data": {"conversation_id": CALL, "answered_by": "machine_start"}});
    let mut unredacted = sample(0);
    unredacted["type"] = json!("unredacted_transcript");
    unredacted["data"]["transcript"][1]["message"] = json!("The name is Maria Kowalski.");
    let dispatch = NewDispatch {
        conversation_id: ConversationId::new(CALL).unwrap(),
        driver_id: DriverId::new(7).unwrap(),
        phone_number: None,
        batch_id: None,
        dispatched_at: None,
    };
    vec![
        live("agent", FIRST, "2026-09-28T12:00:03Z"),
        live("user", "yeah i am parked at the pilot, in Gary", "2026-09-28T12:00:09Z"),
        live("agent", IN_FULL, "2026-09-28T12:00:12Z"),
        live("agent", IN_FULL, "2026-09-28T12:00:14Z"),
        live("user", "Completely different: the brakes squeak, and the radio is on!", "2026-09-28T12:00:40Z"),
        history(&[("agent", FIRST), ("user", PARKED)], "2026-09-28T12:00:10Z"),
        history(&[("agent", FIRST), ("user", PARKED), ("agent", IN_FULL)], "2026-09-28T12:00:13Z"),
        post(&sample(0)),
        later(None, 1_790_599_999),
        later(Some(json!([{"role": "user", "message": PARKED, "time_in_call_secs": 8}])), 1_790_599_998),
        later(Some(Value::Null), 1_790_599_997),
        post(&about_it(1)),
        post(&about_it(2)),
        post(&about_it(3)),
        post(&verdict),
        post(&other_verdict),
        post(&unredacted),
        live("user", "...", "2026-09-28T12:00:41Z"),
        Write::PutDispatches(vec![dispatch]),
        Write::EndStaleCalls(
            Timestamp::parse("2030-01-01T00:00:00Z").unwrap(),
            Timestamp::parse("2030-01-01T00:00:00Z").unwrap(),
        ),
    ]
}

/// A new database with the drivers whom the deliveries name.
fn with_drivers() -> (std::sync::Arc<impl Store>, tempfile::TempDir) {
    let (store, folder) = open();
    let driver = |n: i64, phone: Option<&str>| NewDriver {
        id: DriverId::new(n).unwrap(),
        name: format!("Driver {n}"),
        phone_number: phone.map(|phone| PhoneNumber::new(phone).unwrap()),
    };
    apply(&*store, &Write::PutDrivers(vec![driver(7, None), driver(1042, Some("+15550100042"))]));
    (store, folder)
}

#[test]
fn any_order_and_repetition_of_what_comes_ends_in_the_same_call() {
    let all = deliveries();
    let (store, _folder) = with_drivers();
    for write in &all {
        apply(&*store, write);
    }
    let wanted = state(&*store);
    let said: Vec<_> = transcript(&*store).into_iter().map(|(_, words, _)| words).collect();
    assert_eq!(said.len(), 6, "{said:#?}");
    assert_eq!(said[..4], [FIRST, PARKED, CUT_OFF, LAST]);
    assert!(wanted.contains("Silence") && wanted.contains("log_turn"), "{wanted}");
    // What was told last of the call, and who was dispatched, is what counts.
    let facts = ["Title of 1790599999", "Call ended by remote party"];
    assert!(facts.iter().all(|fact| wanted.contains(fact)), "{wanted}");
    assert!(wanted.contains("Some(DriverId(7))") && wanted.contains("user_id: 1042"), "{wanted}");
    // Each comes twice.
    let order = Just((0..all.len()).chain(0..all.len()).collect::<Vec<_>>()).prop_shuffle();
    let config = ProptestConfig { cases: 50, failure_persistence: None, ..ProptestConfig::default() };
    let checked = TestRunner::new(config).run(&order, |order| {
        let (store, _folder) = with_drivers();
        for n in &order {
            apply(&*store, &all[*n]);
            assert_sound(&*store);
        }
        assert_eq!(state(&*store), wanted, "{order:?}");
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Records of one call of different lengths and kinds, with and without a redacted name. The longest is redacted.
fn growing_records() -> Vec<Write> {
    const HELLO: (&str, &str) = ("agent", "Hello this is dispatch");
    const NAMED: (&str, &str) = ("user", "I am Zebediah ok");
    const REDACTED: (&str, &str) = ("user", "I am [NAME] ok");
    let record = |at: i64, said: &[(&str, &str)]| {
        let line = |(n, (role, message)): (i64, &(&str, &str))| {
            json!({"role": role, "message": message,
            "time_in_call_secs": 5 * n})
        };
        let mut record = sample(0);
        record["event_timestamp"] = json!(at);
        record["data"]["transcript"] = (0..).zip(said).map(line).collect();
        post(&record)
    };
    let mut traces = sample(1);
    traces["data"]["conversation_id"] = json!(CALL);
    let spans = &mut traces["data"]["otlp_traces"]["resourceSpans"][0]["scopeSpans"][0]["spans"];
    spans[1]["attributes"][1]["value"]["stringValue"] = json!(NAMED.1);
    vec![
        post(&traces),
        record(1_790_596_900, &[NAMED]),
        record(1_790_596_901, &[HELLO, NAMED]),
        record(1_790_596_899, &[HELLO, REDACTED]),
        record(1_790_596_898, &[HELLO, ("agent", "Are you parked?"), REDACTED, ("user", "Bye")]),
        history(&[NAMED], "2026-09-28T12:00:10Z"),
        history(&[HELLO, NAMED], "2026-09-28T12:00:13Z"),
        live("agent", "hello, this is dispatch", "2026-09-28T12:00:03Z"),
    ]
}

#[test]
fn records_that_grow_at_any_place_give_words_to_their_speakers_in_any_order() {
    let all = growing_records();
    let order = Just((0..all.len()).chain(0..all.len()).collect::<Vec<_>>()).prop_shuffle();
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
    let wanted = std::cell::OnceCell::new();
    let checked = TestRunner::new(config).run(&order, |order| {
        let (store, _folder) = open();
        for n in &order {
            apply(&*store, &all[*n]);
            assert_sound(&*store);
        }
        let said: Vec<_> = transcript(&*store).into_iter().map(|(who, words, _)| (who, words)).collect();
        let said: Vec<_> = said.iter().map(|(who, words)| (*who, words.as_str())).collect();
        let lines = [
            ("agent", "Hello this is dispatch"),
            ("agent", "Are you parked?"),
            ("driver", "I am [NAME] ok"),
            ("driver", "Bye"),
        ];
        assert_eq!(said, lines, "{order:?}");
        for turn in turns(&*store, TurnOrder::Sequence) {
            assert!(!turn.message.as_str().contains("Zebediah"), "{order:?}");
        }
        let state = state(&*store);
        assert_eq!(&state, wanted.get_or_init(|| state.clone()), "{order:?}");
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn a_call_without_a_start_of_its_own_begins_the_same_in_whatever_order_things_come() {
    let failure = |n: usize, at: i64| {
        let mut failure = sample(n);
        failure["data"]["conversation_id"] = json!(CALL);
        failure["event_timestamp"] = json!(at);
        post(&failure)
    };
    let mut without_start = sample(0);
    without_start["data"]["metadata"].as_object_mut().unwrap().shift_remove("start_time_unix_secs");
    let hello = live("agent", "Hello?", "2026-09-28T12:00:03Z");
    let is_there = live("agent", "Is anybody there?", "2026-09-28T12:00:01Z");
    let (first, second) = (failure(2, 1_790_596_802), failure(3, 1_790_596_805));
    for (all, start) in [
        (vec![first.clone(), second.clone()], "2026-09-28T12:00:05.000000Z"),
        (vec![first, hello.clone(), is_there.clone(), second], "2026-09-28T12:00:01.000000Z"),
        (vec![post(&without_start), hello, is_there], "2026-09-28T12:00:01.000000Z"),
    ] {
        let order = Just((0..all.len()).collect::<Vec<_>>()).prop_shuffle();
        let config = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
        let wanted = std::cell::OnceCell::new();
        let checked = TestRunner::new(config).run(&order, |order| {
            let (store, _folder) = open();
            for n in &order {
                apply(&*store, &all[*n]);
            }
            let state = state(&*store);
            assert!(state.contains(start), "{order:?}: {state}");
            assert_eq!(&state, wanted.get_or_init(|| state.clone()), "{order:?}");
            Ok(())
        });
        checked.unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn who_answered_is_the_same_in_whatever_order_things_come() {
    let record = |at: i64, result: &str, said: bool| {
        let mut record = sample(0);
        record["event_timestamp"] = json!(at);
        record["data"]["metadata"]["phone_call"]["call_result"] = json!(result);
        let words = json!([{"role": "user", "message": "Mhm", "ignored_as_backchannel": true, "time_in_call_secs": 1}]);
        record["data"]["transcript"] = if said { words } else { json!([]) };
        post(&record)
    };
    let mut failure = sample(2);
    failure["data"]["conversation_id"] = json!(CALL);
    let verdict = |at: i64, verdict: &str| {
        post(&json!({"type": "answering_machine_detection", "event_timestamp": at,
            "data": {"conversation_id": CALL, "answered_by": verdict}}))
    };
    let silence = live("user", "...", "2026-09-28T12:00:03Z");
    let hello = live("user", "Hello?", "2026-09-28T12:00:05Z");
    let (early, late) = (verdict(1_790_596_801, "human"), verdict(1_790_596_809, "machine_end_beep"));
    for (all, wanted) in [
        (vec![early.clone(), silence.clone(), late.clone()], ["InProgress", "Voicemail"]),
        (vec![early.clone(), post(&failure), late.clone()], ["Failed", "Voicemail"]),
        (vec![post(&failure), record(1_790_596_900, "busy", false), silence.clone()], ["Failed", "Busy"]),
        (vec![record(1_790_596_900, "busy", false), silence.clone(), hello], ["Completed", "Busy"]),
        (vec![early, record(1_790_596_900, "answered", false), silence.clone()], ["Completed", "Human"]),
        (
            vec![late, record(1_790_596_900, "busy", false), record(1_790_596_901, "answered", true)],
            ["Completed", "Voicemail"],
        ),
    ] {
        let order = Just((0..all.len()).chain(0..all.len()).collect::<Vec<_>>()).prop_shuffle();
        let config = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
        let first = std::cell::OnceCell::new();
        let checked = TestRunner::new(config).run(&order, |order| {
            let (store, _folder) = open();
            for n in &order {
                apply(&*store, &all[*n]);
            }
            let call = store.call(&ConversationId::new(CALL).unwrap()).unwrap().unwrap();
            assert_eq!(
                [format!("{:?}", call.status), format!("{:?}", call.report.answered_by.unwrap())],
                wanted,
                "{order:?}"
            );
            let state = state(&*store);
            assert_eq!(&state, first.get_or_init(|| state.clone()), "{order:?}");
            Ok(())
        });
        checked.unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn one_batch_of_everything_is_the_same_as_one_by_one() {
    let all = deliveries();
    let (store, _folder) = with_drivers();
    for write in &all {
        apply(&*store, write);
    }
    let (together, _other) = with_drivers();
    assert!(together.apply(now(), &all).unwrap().iter().all(Result::is_ok));
    reconcile(&*together);
    assert_eq!(state(&*together), state(&*store));
    assert_sound(&*together);
}
