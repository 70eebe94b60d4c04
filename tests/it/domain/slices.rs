//! A long call is stored in slices: what comes between two of them, or another process that does the same, neither
//! doubles nor loses a turn, and no call keeps others waiting.

use crate::support::samples::with;
use crate::support::whole_call::{CALL, live, now, open, post, reconcile, transcript, turns};
use serde_json::{Value, json};
use transcribe_hook::domain::reconcile::settle;
use transcribe_hook::domain::{ConversationId, Message};
use transcribe_hook::ingest::reconciler;
use transcribe_hook::store::{Commands as _, Reads as _, Rejection, Store, TurnOrder, Unfinished, Write, Written};

const TURNS: usize = 900;

fn words(n: usize) -> String {
    format!("Sentence number {n} is about dock {} and the {} trailer.", n % 41, n % 13)
}

/// A record of so many turns; those whose number ends in 9 were not heard.
fn record() -> Value {
    let transcript: Vec<_> = (0..TURNS)
        .map(|n| json!({"role": "user", "message": words(n).to_uppercase(), "time_in_call_secs": n}))
        .collect();
    with(&crate::support::samples::sample(0), "/data/transcript", json!(transcript))
}

fn heard() -> Vec<Write> {
    let time = |n: usize| format!("2026-09-28T12:{:02}:{:02}Z", n / 60, n % 60);
    (0..TURNS).filter(|n| n % 10 != 9).map(|n| live("user", &words(n), &time(n))).collect()
}

fn store_all(store: &dyn Store, writes: &[Write]) {
    for batch in writes.chunks(100) {
        assert!(store.apply(now(), batch).unwrap().iter().all(Result::is_ok));
    }
}

#[test]
fn turns_and_records_that_come_between_the_slices_of_a_call_end_in_the_same_call() {
    let extra: Vec<_> =
        (0..8).map(|n| live("user", &format!("Extra words {n}."), &format!("2026-09-28T12:00:0{n}Z"))).collect();
    let (quiet, _folder) = open();
    store_all(&*quiet, &heard());
    store_all(&*quiet, &extra);
    store_all(&*quiet, &[post(&record())]);
    reconcile(&*quiet);
    let wanted = transcript(&*quiet);
    assert_eq!(wanted.len(), TURNS + extra.len());

    let (store, _other) = open();
    store_all(&*store, &heard());
    store_all(&*store, &[post(&record())]);
    let (mut slices, mut more) = (0, extra.clone().into_iter());
    while store.due(0, i64::MAX, 1).unwrap().count > 0 {
        let material = store.material(&ConversationId::new(CALL).unwrap()).unwrap().unwrap();
        let mut settlement = settle(material, now());
        while let Some(slice) = settlement.next_slice() {
            slices += 1;
            assert!(slice.additions.len() + slice.placements.len() <= 512);
            let additions = slice.additions.len();
            let done = store.apply(now(), &[Write::Reconcile(Box::new(slice))]).unwrap().remove(0);
            let Ok(Written::Reconciled { turn_count }) = done else { panic!("{done:?}") };
            settlement.stored(additions, turn_count);
            store_all(&*store, &more.next().into_iter().collect::<Vec<_>>());
            if slices == 2 {
                // The same again, as a later event.
                let mut again = record();
                again["event_timestamp"] = json!(1_790_599_999);
                store_all(&*store, &[post(&again)]);
            }
            // No reader sees more than what was heard and what was said.
            let seen = transcript(&*store);
            assert!(seen.len() <= TURNS + extra.len(), "{} lines", seen.len());
        }
    }
    assert!(slices > 3, "{slices} slices");
    store_all(&*store, &more.collect::<Vec<_>>());
    reconcile(&*store);
    assert_eq!(transcript(&*store), wanted);
    let stored = turns(&*store, TurnOrder::Sequence);
    for turn in &stored {
        if let Some(by) = turn.superseded_by {
            let by = &stored[usize::try_from(by).unwrap() - 1];
            assert_eq!(by.superseded_by, None);
        }
    }
    let corrected = stored.iter().filter(|turn| turn.final_text.as_ref().map(Message::as_str).is_some()).count();
    assert_eq!(corrected, TURNS * 9 / 10);
}

#[test]
fn of_two_that_reconcile_a_call_at_once_only_one_is_stored() {
    let (store, _folder) = open();
    store_all(&*store, &heard());
    store_all(&*store, &[post(&record())]);
    let id = ConversationId::new(CALL).unwrap();
    let mut plans = [(); 2].map(|()| settle(store.material(&id).unwrap().unwrap(), now()));
    let apply = |write: Write| store.apply(now(), &[write]).unwrap().remove(0);
    let [first, second] = plans.each_mut().map(|plan| Write::Reconcile(Box::new(plan.next_slice().unwrap())));
    assert!(matches!(apply(first), Ok(Written::Reconciled { .. })));
    assert_eq!(apply(second), Err(Rejection::Outdated));
    reconcile(&*store);
    assert_eq!(transcript(&*store).len(), TURNS);
    // A plan of before is void also when the call is due again.
    let mut late = settle_due(&*store, &live("user", "One more.", "2026-09-28T12:20:00Z"));
    reconcile(&*store);
    store_all(&*store, &[live("user", "And another.", "2026-09-28T12:21:00Z")]);
    assert_eq!(apply(Write::Reconcile(Box::new(late.next_slice().unwrap()))), Err(Rejection::Outdated));
    reconcile(&*store);
    assert_eq!(transcript(&*store).len(), TURNS + 2);
    // Of a call that was erased, too.
    let mut late = settle_due(&*store, &live("user", "The last one.", "2026-09-28T12:22:00Z"));
    apply(Write::EraseCall(id.clone())).unwrap();
    while store.continue_erasing(now(), Unfinished::Erasures).unwrap().is_some() {}
    assert_eq!(apply(Write::Reconcile(Box::new(late.next_slice().unwrap()))), Err(Rejection::NotFound));
    assert_eq!(store.due(0, i64::MAX, 1).unwrap().count, 0);
    assert!(store.call(&id).unwrap().is_none());
}

/// A plan of the call after a write.
fn settle_due(store: &dyn Store, write: &Write) -> transcribe_hook::domain::reconcile::Settlement {
    store_all(store, std::slice::from_ref(write));
    settle(store.material(&ConversationId::new(CALL).unwrap()).unwrap().unwrap(), now())
}

#[test]
fn a_call_under_constant_fire_has_its_turn_and_lets_others_have_theirs() {
    let (store, _folder) = open();
    let of = |call: &str, n: usize| {
        let body = json!({"conversation_id": call, "speaker": "user", "message": format!("Words {n}"),
            "timestamp": format!("2026-09-28T12:00:{:02}Z", n % 60)});
        Write::AppendTurn(transcribe_hook::elevenlabs::turn::parse_turn(body.to_string().as_bytes(), None).unwrap())
    };
    let calls: Vec<_> = (0..5).map(|n| format!("conv_{n}")).collect();
    for call in &calls {
        let mut record = crate::support::samples::sample(0);
        record["data"]["conversation_id"] = json!(call);
        store_all(&*store, &[post(&record)]);
    }
    // Something comes for each call with every commit, so that all are always due.
    let mut stored: Vec<String> = Vec::new();
    for n in 0..20 {
        let due = store.due(1, i64::MAX, 1).unwrap();
        let id = due.calls[0].clone();
        let mut settlement = settle(store.material(&id).unwrap().unwrap(), now());
        store_all(&*store, &calls.iter().map(|call| of(call, n)).collect::<Vec<_>>());
        let slice = settlement.next_slice().unwrap();
        let done = store.apply(now(), &[Write::Reconcile(Box::new(slice))]).unwrap().remove(0);
        assert!(matches!(done, Ok(Written::Reconciled { .. })), "{done:?}");
        stored.push(id.as_str().to_owned());
    }
    for call in &calls {
        assert_eq!(stored.iter().filter(|stored| *stored == call).count(), 4, "{stored:?}");
    }
    reconciler::reconcile_all_due_in(&*store).unwrap();
    assert_eq!(store.due(0, i64::MAX, 1).unwrap().count, 0);
}
