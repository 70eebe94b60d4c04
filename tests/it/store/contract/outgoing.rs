//! Promises of every store about outgoing webhooks and alerts.

use super::{at, conversation, now, on_each_engine, turn};
use transcribe_hook::domain::{CallAlert, CallChange, CallStatus, NoticeType, SearchExpr};
use transcribe_hook::store::{
    Alert, AlertMatch, AlertSet, Change, DeliveryOutcome, EndpointId, Notice, OutgoingBatch, Scope, Settlement, Store,
    TryKey, Write, Written,
};

fn apply(store: &dyn Store, writes: &[Write]) {
    assert!(store.apply(now(), writes).unwrap().iter().all(Result::is_ok));
}

fn settle(store: &dyn Store, position: i64, outcomes: &[(i64, DeliveryOutcome)]) {
    let settlement = Settlement { position, outcomes: outcomes.to_vec(), ..Settlement::new(EndpointId::of_number(1)) };
    apply(store, &[Write::SettleDeliveries(Box::new(settlement))]);
}

fn next(store: &dyn Store) -> OutgoingBatch {
    store.outgoing(&EndpointId::of_number(1), now(), None).unwrap()
}

fn fresh(store: &dyn Store) -> Vec<(NoticeType, String)> {
    let told = |notice: &Notice| (notice.kind, notice.conversation_id.as_str().to_owned());
    next(store).fresh.iter().map(|pending| told(&pending.notice)).collect()
}

fn end(id: &str) -> Write {
    Write::ChangeCall(conversation(id), CallChange { status: Some(CallStatus::Completed), call_end_time: None })
}

#[test]
fn an_endpoint_is_told_what_is_committed_after_it_is_set_in_order() {
    on_each_engine(|store| {
        apply(store, &[turn("conv_before", "Words", None)]);
        assert_eq!(store.endpoints().unwrap(), []);
        assert!(next(store).is_off);
        apply(store, &[Write::SetEndpoints(vec![EndpointId::of_number(1)])]);
        assert_eq!(store.endpoints().unwrap(), [EndpointId::of_number(1)]);
        apply(store, &[turn("conv_a", "Words", None)]);
        apply(store, &[turn("conv_a", "More words", None), turn("conv_b", "Words", None)]);
        apply(store, &[end("conv_a")]);
        apply(store, &[Write::NoteRecordings(vec![conversation("conv_b")], true)]);
        let a = |kind| (kind, "conv_a".to_owned());
        let b = |kind| (kind, "conv_b".to_owned());
        let started = NoticeType::CallStarted;
        let wanted = [a(started), b(started), a(NoticeType::CallEnded), b(NoticeType::RecordingStored)];
        assert_eq!(fresh(store), wanted);
        assert!(next(store).fresh.iter().all(|pending| pending.notice.at == now()));
        // What is erased is told as that alone.
        apply(store, &[Write::EraseCall(conversation("conv_a"))]);
        assert_eq!(fresh(store), [b(started), b(NoticeType::RecordingStored), a(NoticeType::CallErased)]);
        // Setting the same again changes nothing.
        apply(store, &[Write::SetEndpoints(vec![EndpointId::of_number(1), EndpointId::of_number(2)])]);
        assert_eq!(fresh(store).len(), 3);
        assert_eq!(store.outgoing(&EndpointId::of_number(2), now(), None).unwrap().fresh, []);
        apply(store, &[Write::SetEndpoints(Vec::new())]);
        assert!(next(store).is_off && store.endpoint_state(&EndpointId::of_number(1)).unwrap().is_none());
    });
}

#[test]
fn a_delivery_that_waits_blocks_later_ones_of_its_call_only() {
    on_each_engine(|store| {
        apply(store, &[Write::SetEndpoints(vec![EndpointId::of_number(1)])]);
        apply(store, &[turn("conv_a", "Words", None), turn("conv_b", "Words", None)]);
        apply(store, &[end("conv_a")]);
        let ids: Vec<i64> = next(store).fresh.iter().map(|pending| pending.notice.id).collect();
        let [a_started, _, a_ended] = ids[..] else { panic!("{ids:?}") };
        let later = at("2026-09-28T13:00:00Z");
        settle(store, a_started, &[(a_started, DeliveryOutcome::Retry { at: later, status: Some(500) })]);
        let batch = next(store);
        assert_eq!((batch.due.len(), batch.next_try, batch.oldest), (0, Some(later), Some(now())));
        let blocked: Vec<bool> = batch.fresh.iter().map(|pending| pending.is_blocked).collect();
        assert_eq!(blocked, [false, true]);
        settle(store, a_ended, &[(a_ended, DeliveryOutcome::Blocked)]);
        let state = store.endpoint_state(&EndpointId::of_number(1)).unwrap().unwrap();
        assert_eq!((state.unsent, state.waiting, state.failed), (0, 2, 0));
        // Its time comes.
        let due = store.outgoing(&EndpointId::of_number(1), later, None).unwrap().due;
        assert_eq!(due.iter().map(|pending| (pending.notice.id, pending.tries)).collect::<Vec<_>>(), [(a_started, 1)]);
        // After it was given up, the later one is due.
        settle(store, 0, &[(a_started, DeliveryOutcome::Failed { status: None })]);
        let due = next(store).due;
        assert_eq!(due.iter().map(|pending| (pending.notice.id, pending.tries)).collect::<Vec<_>>(), [(a_ended, 0)]);
        settle(store, 0, &[(a_ended, DeliveryOutcome::Delivered)]);
        let state = store.endpoint_state(&EndpointId::of_number(1)).unwrap().unwrap();
        assert_eq!((state.waiting, state.failed, state.oldest), (0, 1, None));
        assert_eq!((state.failures[0].notice.id, state.failures[0].tries), (a_started, 2));
        apply(store, &[Write::RetryDeliveries(EndpointId::of_number(1), Vec::new())]);
        assert_eq!(next(store).due[0].notice.id, a_started);
        // A notice that is blocked when the earlier one is delivered meanwhile is due at once.
        apply(store, &[turn("conv_a", "Later words", None), Write::NoteRecordings(vec![conversation("conv_a")], true)]);
        let later = next(store).fresh[0].notice.id;
        settle(store, later, &[(a_started, DeliveryOutcome::Delivered), (later, DeliveryOutcome::Blocked)]);
        assert_eq!(next(store).due[0].notice.id, later);
    });
}

#[test]
fn a_retry_sends_given_up_deliveries_in_order_and_before_later_ones_that_wait() {
    on_each_engine(|store| {
        let endpoint = EndpointId::of_number(1);
        apply(store, &[Write::SetEndpoints(vec![endpoint.clone()])]);
        apply(store, &[turn("conv_a", "Words", None)]);
        for has_audio in [true, false, true] {
            apply(store, &[Write::NoteRecordings(vec![conversation("conv_a")], has_audio)]);
        }
        apply(store, &[end("conv_a")]);
        let ids: Vec<i64> = next(store).fresh.iter().map(|pending| pending.notice.id).collect();
        let [first, second, third, last] = ids[..] else { panic!("{ids:?}") };
        let failed = DeliveryOutcome::Failed { status: Some(500) };
        settle(store, third, &[(first, failed), (second, failed), (third, failed)]);
        let later = at("2026-09-28T13:00:00Z");
        let retry = DeliveryOutcome::Retry { at: later, status: Some(500) };
        settle(store, last, &[(last, retry)]);
        assert_eq!(next(store).last_try, Some(later));
        let due = || next(store).due.iter().map(|pending| pending.notice.id).collect::<Vec<_>>();
        apply(store, &[Write::RetryDeliveries(endpoint.clone(), vec![third, first])]);
        assert_eq!((due(), next(store).last_try), (vec![first], None));
        // The last one was being sent meanwhile, and fails: it waits for those before it.
        settle(store, 0, &[(last, retry)]);
        assert_eq!((due(), next(store).last_try), (vec![first], None));
        for (id, then) in [(first, vec![third]), (third, vec![last]), (last, vec![])] {
            settle(store, 0, &[(id, DeliveryOutcome::Delivered)]);
            assert_eq!(due(), then);
        }
        let state = store.endpoint_state(&endpoint).unwrap().unwrap();
        assert_eq!((state.waiting, state.failed, state.failures[0].notice.id), (0, 1, second));
    });
}

#[test]
fn what_is_planned_for_later_is_listed_in_the_order_of_its_times_if_it_is_requested() {
    on_each_engine(|store| {
        let endpoint = EndpointId::of_number(1);
        apply(store, &[Write::SetEndpoints(vec![endpoint.clone()])]);
        let turns: Vec<_> = (0..100).map(|n| turn(&format!("conv_{n}"), "Words", None)).collect();
        apply(store, &turns);
        let first = next(store).fresh[0].notice.id;
        // Later notices are planned earlier, two at each time, and the last two are due.
        let planned = |n: i64| now().plus_seconds((99 - n) / 2).unwrap();
        let retries: Vec<_> =
            (0..100).map(|n| (first + n, DeliveryOutcome::Retry { at: planned(n), status: None })).collect();
        settle(store, first + 99, &retries);
        let (mut seen, mut after) = (Vec::new(), TryKey { next_try: at("2000-01-01T00:00:00Z"), notice: 0 });
        loop {
            let batch = store.outgoing(&endpoint, now(), Some(after)).unwrap();
            assert_eq!(batch.due.len(), 2);
            let Some(last) = batch.planned.last() else { break };
            after = last.key;
            for row in batch.planned {
                assert_eq!((row.key.notice, row.last_try), (row.pending.notice.id, Some(now())));
                assert_eq!((row.pending.tries, row.pending.is_blocked), (1, false));
                assert_eq!(row.key.next_try, planned(row.key.notice - first));
                seen.push(row.key);
            }
        }
        assert!(seen.is_sorted() && seen.len() == 98, "{seen:?}");
        assert_eq!(next(store).planned, []);
    });
}

#[test]
fn an_endpoint_is_forgotten_in_slices_while_others_are_told() {
    const CALLS: usize = 1300;
    on_each_engine(|store| {
        let [old, new] = [1, 2].map(EndpointId::of_number);
        apply(store, &[Write::SetEndpoints(vec![old.clone()])]);
        let turns: Vec<_> = (0..CALLS).map(|n| turn(&format!("conv_{n}"), "Words", None)).collect();
        apply(store, &turns);
        let batch = next(store);
        let ids: Vec<i64> = batch.fresh.iter().map(|pending| pending.notice.id).collect();
        let last = ids[0] + i64::try_from(CALLS).unwrap() - 1;
        let retry = DeliveryOutcome::Retry { at: at("2026-09-28T13:00:00Z"), status: None };
        settle(store, last, &(ids[0]..=last).map(|id| (id, retry)).collect::<Vec<_>>());
        let set = |ids: &[&EndpointId]| {
            let set = Write::SetEndpoints(ids.iter().map(|&id| id.clone()).collect());
            store.apply(now(), &[set]).unwrap().remove(0).unwrap()
        };
        assert_eq!(set(&[&new]), Written::Begun);
        assert_eq!(store.endpoints().unwrap(), [old.clone(), new.clone()], "so a start finds what is left");
        apply(store, &[turn("conv_meanwhile", "Words", None)]);
        // One that comes back in between begins anew.
        assert_eq!(set(&[&new, &old]), Written::Begun);
        assert!(next(store).fresh.is_empty() && !next(store).is_off);
        apply(store, &[turn("conv_both", "Words", None)]);
        assert_eq!(fresh(store), [(NoticeType::CallStarted, "conv_both".to_owned())]);
        let mut slices = 0;
        while set(&[&new]) == Written::Begun {
            slices += 1;
        }
        assert!((1..10).contains(&slices), "{slices}");
        assert_eq!(store.endpoints().unwrap(), std::slice::from_ref(&new));
        let told = store.outgoing(&new, now(), None).unwrap().fresh;
        let told: Vec<_> = told.iter().map(|pending| pending.notice.conversation_id.as_str()).collect();
        assert_eq!(told, ["conv_meanwhile", "conv_both"]);
        assert_eq!(set(&[]), Written::Done);
        assert_eq!(store.endpoints().unwrap(), []);
    });
}

#[test]
fn an_endpoint_that_is_switched_off_keeps_its_place_until_a_retry() {
    on_each_engine(|store| {
        apply(store, &[Write::SetEndpoints(vec![EndpointId::of_number(1)])]);
        apply(store, &[turn("conv_a", "Words", None)]);
        let gone = Settlement { switch_off: true, ..Settlement::new(EndpointId::of_number(1)) };
        apply(store, &[Write::SettleDeliveries(Box::new(gone))]);
        assert!(next(store).is_off);
        let state = store.endpoint_state(&EndpointId::of_number(1)).unwrap().unwrap();
        assert_eq!((state.switched_off_at, state.unsent), (Some(now()), 1));
        apply(store, &[Write::RetryDeliveries(EndpointId::of_number(1), Vec::new())]);
        assert_eq!(fresh(store), [(NoticeType::CallStarted, "conv_a".to_owned())]);
        let unknown = store.apply(now(), &[Write::RetryDeliveries(EndpointId::of_number(2), Vec::new())]).unwrap();
        assert!(unknown[0].is_err());
    });
}

#[test]
fn alerts_match_whole_words_once_a_call_and_are_told() {
    on_each_engine(|store| {
        apply(store, &[Write::SetEndpoints(vec![EndpointId::of_number(1)])]);
        let words = ["A fire in the trailer", "The FIRE again", "A firewall", "An accident, no fire"];
        let turns: Vec<_> = words.into_iter().map(|words| turn("conv_a", words, None)).collect();
        apply(store, &turns);
        apply(store, &[turn("conv_b", "Fire and smoke", None)]);
        let alert =
            |name: &str, query: &str| Alert { name: name.to_owned(), wanted: SearchExpr::parse(query).unwrap() };
        let alerts = [alert("fire", "fire NOT smoke"), alert("crash", "accident OR crash*"), alert("none", "zebra")];
        assert_eq!(store.alert_position().unwrap(), None);
        let scan = store.scan_for_alerts(&AlertSet::new(alerts.to_vec()), 0).unwrap();
        let found: Vec<_> =
            scan.matches.iter().map(|m| (m.conversation_id.as_str(), &*m.name, m.transcription_id)).collect();
        assert_eq!(found, [("conv_a", "fire", 1), ("conv_a", "crash", 4)]);
        assert_eq!((scan.until, scan.has_more), (5, false));
        let head = store.head().unwrap();
        for _ in 0..2 {
            apply(store, &[Write::NoteAlerts(scan.matches.clone(), Some(scan.until))]);
        }
        assert_eq!(store.alert_position().unwrap(), Some(5));
        let matched: Vec<_> = next(store).fresh.into_iter().filter_map(|pending| pending.notice.alert).collect();
        assert_eq!(matched, ["fire", "crash"]);
        let alert = |name: &str, sequence_number| CallAlert { name: name.to_owned(), sequence_number };
        let wanted = [alert("fire", 1), alert("crash", 4)];
        assert_eq!(store.call(&conversation("conv_a")).unwrap().unwrap().alerts, wanted);
        assert_eq!(store.call(&conversation("conv_b")).unwrap().unwrap().alerts, []);
        let changes = store.since(&Scope::everything(), head, store.head().unwrap()).unwrap().changes;
        let alerted = changes.iter().filter_map(|(_, change)| match change {
            Change::Alerted(call) => Some((&*call.alerts, call.transferred)),
            _ => None,
        });
        assert_eq!(alerted.collect::<Vec<_>>(), [(&wanted[..], Some(false)); 2]);
        // A turn that is gone matches nothing.
        let gone = AlertMatch { conversation_id: conversation("conv_x"), transcription_id: 1, name: "fire".to_owned() };
        apply(store, &[Write::NoteAlerts(vec![gone], None)]);
        assert_eq!(store.alert_position().unwrap(), None);
    });
}
