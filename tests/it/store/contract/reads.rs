//! Promises of every store about its reads, its change feed and its maintenance.

use super::{at, conversation, dispatch, driver, now, on_each_engine, stored, turn};
use crate::support::samples::sample;
use crate::support::whole_call::{CALL, PARKED, apply, event, live, post, reconcile};
use serde_json::json;
use std::collections::{BTreeSet, HashSet};
use std::time::Duration;
use transcribe_hook::domain::{
    Access, AccessAction, CallChange, CallSid, CallStatus, ConversationId, Credential, DriverId, EventOutcome,
    Identity, NewInitiation, PhoneNumber, Role, SearchExpr, Speaker, Timestamp, UserName,
};
use transcribe_hook::store::{
    AccessLogRequest, Archive, ArchivePart, CallFilter, Change, ChangeBatch, DispatchPageRequest, DriverPageRequest,
    EventSelection, ExpiredCallQuery, FeedPosition, Forgotten, OrphanRows, Outcome, Rejection, ScanPage, Scope,
    SearchOrder, SearchQuery, Store, TranscriptItem, TurnOrder, Unfinished, Write, Written,
};

/// Long after everything that a test stores.
fn later() -> Timestamp {
    at("2026-12-24T00:00:00Z")
}

fn search_for(text: &str) -> SearchQuery {
    SearchQuery {
        wanted: SearchExpr::parse(text).unwrap(),
        speaker: None,
        kinds: Vec::new(),
        calls: CallFilter::default(),
        said_after: None,
        said_before: None,
        order: SearchOrder::Newest,
        after: None,
        limit: 100,
        with_total: true,
    }
}

/// The words of the turns that a search finds, all pages together.
fn found(store: &dyn Store, mut query: SearchQuery) -> Vec<String> {
    let mut words = Vec::new();
    loop {
        let page = store.search(&query).unwrap();
        words.extend(page.hits.into_iter().map(|hit| hit.turn.message.as_str().to_owned()));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return words,
        }
    }
}

/// Everything after a position that is committed now.
fn since(store: &dyn Store, scope: &Scope, mut after: FeedPosition) -> Vec<Change> {
    let head = store.head().unwrap();
    let mut changes = Vec::new();
    loop {
        let ChangeBatch { changes: more, end, has_more, .. } = store.since(scope, after, head).unwrap();
        changes.extend(more.into_iter().map(|(_, change)| change));
        if !has_more {
            return changes;
        }
        assert_ne!(end, after, "each answer goes on");
        after = end;
    }
}

fn row_id(store: &dyn Store, id: &str) -> i64 {
    store.call(&conversation(id)).unwrap().unwrap().id
}

fn unreadable() -> Write {
    Write::KeepEvent(Box::new(transcribe_hook::ingest::event::parse_body(b"no JSON"[..].into())))
}

#[test]
fn turns_are_found_by_words_and_filters_whether_indexed_or_not() {
    on_each_engine(|store| {
        let batch = [
            Write::PutDrivers(vec![driver(7, None)]),
            Write::PutDispatches(vec![dispatch("a", 7)]),
            turn("a", "The reefer alarm is on", None),
            turn("b", "The reefer is quiet", None),
            turn("b", "Good night", None),
        ];
        store.apply(now(), &batch).unwrap();
        for state in ["not indexed", "indexed"] {
            let both = ["The reefer is quiet", "The reefer alarm is on"];
            assert_eq!(found(store, search_for("reefer")), both, "{state}");
            assert_eq!(found(store, SearchQuery { limit: 1, ..search_for("reefer") }), both, "{state}");
            assert_eq!(store.search(&search_for("reefer")).unwrap().total, Some(2), "{state}");
            assert_eq!(found(store, search_for("reefer NOT alarm")), both[..1], "{state}");
            assert_eq!(found(store, search_for("zebra")), [""; 0], "{state}");
            let of_call = SearchQuery {
                calls: CallFilter { conversation_id: Some(conversation("a")), ..CallFilter::default() },
                ..search_for("reefer")
            };
            assert_eq!(found(store, of_call), both[1..], "{state}");
            let of_driver =
                SearchQuery { calls: CallFilter::of_driver(DriverId::new(7).unwrap()), ..search_for("reefer") };
            assert_eq!(found(store, of_driver), both[1..], "{state}");
            let of_agent = SearchQuery { speaker: Some(Speaker::Agent), ..search_for("reefer") };
            assert_eq!(found(store, of_agent), [""; 0], "{state}");
            while store.catch_up().unwrap().turns > 0 {}
        }
        assert_eq!(store.search(&search_for("reefer")).unwrap().unsearched, 0);
    });
}

#[test]
fn drivers_are_pages_by_their_number() {
    on_each_engine(|store| {
        store.apply(now(), &[Write::PutDrivers((1..=5).map(|id| driver(id, None)).collect())]).unwrap();
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let query = DriverPageRequest { after, limit: 2, with_total: true, ..DriverPageRequest::default() };
            let page = store.drivers(&query).unwrap();
            assert_eq!(page.total, Some(5));
            seen.extend(page.rows.iter().map(|driver| driver.id.get()));
            after = page.rows.last().map(|driver| driver.id);
            if !page.has_more {
                break;
            }
        }
        assert_eq!(seen, [1, 2, 3, 4, 5]);
        assert_eq!(store.driver(DriverId::new(3).unwrap()).unwrap().unwrap().name, "Driver 3");
        let text = |text: &str| {
            let query = DriverPageRequest { text: Some(text.to_owned()), limit: 9, ..DriverPageRequest::default() };
            let page = store.drivers(&query).unwrap();
            page.rows.iter().map(|driver| driver.id.get()).collect::<Vec<_>>()
        };
        assert_eq!(text("driver 3"), [3]);
        assert_eq!(text("_"), [0; 0]);
        let asked = [9, 4, 2].map(|id| DriverId::new(id).unwrap()).into();
        let found: Vec<_> = store.drivers_by_ids(&asked).unwrap().iter().map(|driver| driver.id.get()).collect();
        assert_eq!(found, [2, 4]);
    });
}

#[test]
fn a_caller_is_known_by_number_with_the_last_call_that_is_over() {
    on_each_engine(|store| {
        let number = PhoneNumber::new("+15550100001").unwrap();
        let drivers = vec![driver(1, Some("+15550100001")), driver(2, Some("+15550100002"))];
        store.apply(now(), &[Write::PutDrivers(drivers)]).unwrap();
        let caller = store.caller(&number).unwrap().unwrap();
        assert_eq!((caller.driver_id.get(), &*caller.name, &caller.last_call), (1, "Driver 1", &None));
        assert_eq!(store.caller(&PhoneNumber::new("+15550100003").unwrap()).unwrap(), None);
        let is_over = CallChange { status: Some(CallStatus::Completed), call_end_time: None };
        let batch = [
            Write::PutDispatches(vec![dispatch("a", 1), dispatch("b", 1), dispatch("c", 2)]),
            turn("a", "x", None),
            Write::ChangeCall(conversation("a"), is_over.clone()),
            turn("c", "x", None),
            Write::ChangeCall(conversation("c"), is_over),
            turn("b", "it still runs", None),
        ];
        store.apply(now(), &batch).unwrap();
        let last = store.caller(&number).unwrap().unwrap().last_call.unwrap();
        let call = store.call(&conversation("a")).unwrap().unwrap();
        assert_eq!((last.at, last.summary, last.outcome), (call.call_start_time, None, None));
    });
}

#[test]
fn an_initiation_names_the_driver_until_it_is_a_month_old() {
    on_each_engine(|store| {
        store.apply(now(), &[Write::PutDrivers(vec![driver(1, None)])]).unwrap();
        let initiation = |id: &str, driver: i64| {
            Write::StoreInitiation(NewInitiation {
                call_sid: CallSid::from_sender(id).unwrap(),
                conversation_id: Some(conversation(id)),
                driver_id: DriverId::new(driver).unwrap(),
            })
        };
        // A driver who was deleted meanwhile is nobody's.
        let outcomes = store.apply(now(), &[initiation("a", 1), initiation("b", 1), initiation("c", 9)]).unwrap();
        assert!(outcomes.iter().all(|outcome| *outcome == Ok(Written::Done)), "{outcomes:?}");
        let driver_of = |outcome: &Outcome| stored(outcome).new_call.unwrap().driver_id.map(DriverId::get);
        let outcomes = store.apply(now(), &[turn("a", "x", None), turn("c", "x", None)]).unwrap();
        assert_eq!(outcomes.iter().map(driver_of).collect::<Vec<_>>(), [Some(1), None]);
        // A clock that nothing agrees with deletes none.
        let outcomes = store.apply(later(), &[initiation("d", 1), turn("b", "x", None)]).unwrap();
        assert_eq!(driver_of(&outcomes[1]), Some(1));
        store.apply(now(), &[initiation("e", 1)]).unwrap();
        let Write::AppendTurn(mut said) = turn("today", "x", None) else { unreachable!("a turn") };
        said.timestamp = later();
        store.apply(later(), &[Write::AppendTurn(said)]).unwrap();
        let outcomes = store.apply(later(), &[initiation("f", 1), turn("e", "x", None)]).unwrap();
        assert_eq!(driver_of(&outcomes[1]), None);
        let outcomes = store.apply(later(), &[turn("d", "x", None), turn("f", "x", None)]).unwrap();
        assert_eq!(outcomes.iter().map(driver_of).collect::<Vec<_>>(), [Some(1), Some(1)]);
    });
}

#[test]
fn the_newest_initiations_of_a_driver_stay_and_linked_ones_do_not_count() {
    const MAX_UNLINKED: u32 = 100;
    on_each_engine(|store| {
        store.apply(now(), &[Write::PutDrivers(vec![driver(1, None), driver(2, None)])]).unwrap();
        let numbered = |n: u32| CallSid::from_sender(&format!("CA{n:04}")).unwrap();
        let ask = |n: u32, driver: i64, call: Option<&str>| {
            let driver_id = DriverId::new(driver).unwrap();
            let asked = NewInitiation { call_sid: numbered(n), conversation_id: call.map(conversation), driver_id };
            let at = now().plus_seconds(n.into()).unwrap();
            store.apply(at, &[Write::StoreInitiation(asked)]).unwrap().remove(0).unwrap();
        };
        ask(0, 1, Some("conv_linked"));
        ask(1, 2, None);
        for n in 2..=MAX_UNLINKED + 3 {
            ask(n, 1, None);
        }
        // A clock that was set back does not make the new one the oldest.
        let last =
            NewInitiation { call_sid: numbered(9999), conversation_id: None, driver_id: DriverId::new(1).unwrap() };
        store.apply(at("2026-09-28T00:00:00Z"), &[Write::StoreInitiation(last)]).unwrap();
        let linked = |call: &str, n: Option<u32>| {
            let Write::AppendTurn(mut said) = turn(call, "x", None) else { unreachable!("a turn") };
            said.call_sid = n.map(numbered);
            let outcomes = store.apply(now(), &[Write::AppendTurn(said)]).unwrap();
            stored(&outcomes[0]).new_call.unwrap().driver_id.map(DriverId::get)
        };
        assert_eq!(linked("conv_linked", None), Some(1));
        assert_eq!(linked("conv_other", Some(1)), Some(2));
        for (n, driver) in [(2, None), (3, None), (4, None), (5, Some(1)), (MAX_UNLINKED + 3, Some(1)), (9999, Some(1))]
        {
            assert_eq!(linked(&format!("conv_{n}"), Some(n)), driver, "{n}");
        }
    });
}

#[test]
fn dispatches_are_pages_by_their_conversation() {
    on_each_engine(|store| {
        let dispatches = ["d", "b", "a", "c"].map(|id| dispatch(id, if id == "b" { 2 } else { 1 })).to_vec();
        let writes = [Write::PutDrivers(vec![driver(1, None), driver(2, None)]), Write::PutDispatches(dispatches)];
        store.apply(now(), &writes).unwrap();
        let pages = |driver_id: Option<DriverId>| {
            let (mut after, mut seen) = (None, Vec::new());
            loop {
                let query = DispatchPageRequest {
                    driver_id,
                    after,
                    limit: 2,
                    with_total: true,
                    ..DispatchPageRequest::default()
                };
                let page = store.dispatches(&query).unwrap();
                seen.extend(page.rows.iter().map(|row| row.conversation_id.as_str().to_owned()));
                after = page.rows.last().map(|row| row.conversation_id.clone());
                if !page.has_more {
                    return (seen, page.total.unwrap());
                }
            }
        };
        assert_eq!(pages(None), (["a", "b", "c", "d"].map(str::to_owned).to_vec(), 4));
        assert_eq!(pages(DriverId::new(1).ok()), (["a", "c", "d"].map(str::to_owned).to_vec(), 3));
    });
}

#[test]
fn events_are_kept_as_they_came_and_those_that_cannot_be_read_are_counted() {
    on_each_engine(|store| {
        let record = sample(0);
        let outcomes = store.apply(now(), &[post(&record), unreadable(), post(&record)]).unwrap();
        let ids: Vec<_> = outcomes
            .iter()
            .map(|outcome| match outcome {
                Ok(Written::Receipt(receipt)) => (receipt.event_id.unwrap(), receipt.replayed),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!((ids[0], ids[2]), ((ids[0].0, false), (ids[0].0, true)));
        let stored = store.event(ids[0].0).unwrap().unwrap();
        assert_eq!((stored.outcome, stored.body), (EventOutcome::Applied, record.to_string().into_bytes()));
        assert_eq!(store.event(ids[1].0).unwrap().unwrap().outcome, EventOutcome::Unreadable);
        assert!(store.event(ids[1].0 + 1).unwrap().is_none());
        assert_eq!(store.event_ids(EventSelection::All, 0, 10).unwrap(), [ids[0].0, ids[1].0]);
        assert_eq!(store.event_ids(EventSelection::All, ids[0].0, 10).unwrap(), [ids[1].0]);
        assert_eq!(store.event_ids(EventSelection::All, 0, 1).unwrap(), [ids[0].0]);
        assert_eq!(store.event_ids(EventSelection::Unreadable, 0, 10).unwrap(), [ids[1].0]);
        let unread = store.unread_events().unwrap();
        assert_eq!((unread.unreadable, unread.ids, unread.remarked), (1, vec![ids[1].0], 0));
    });
}

#[test]
fn a_call_is_due_until_it_is_reconciled() {
    on_each_engine(|store| {
        let id = conversation(CALL);
        let nothing = store.due(0, i64::MAX, 10).unwrap();
        assert_eq!((nothing.calls.len(), nothing.count), (0, 0));
        store.apply(now(), &[live("user", PARKED, "2026-09-28T12:00:05Z")]).unwrap();
        assert!(store.material(&id).unwrap().is_none(), "a call without a record is not due");
        store.apply(now(), &[post(&sample(0))]).unwrap();
        let due = store.due(0, i64::MAX, 10).unwrap();
        assert_eq!((due.calls.as_slice(), due.count), (std::slice::from_ref(&id), 1));
        assert_eq!(store.due(due.last, i64::MAX, 10).unwrap().calls, []);
        let material = store.material(&id).unwrap().unwrap();
        assert_eq!((material.turns.len(), material.records.len()), (1, 1));
        reconcile(store);
        assert_eq!(store.due(0, i64::MAX, 10).unwrap().count, 0);
        assert!(store.material(&id).unwrap().is_none());
        assert!(store.call(&id).unwrap().unwrap().turn_count > 1);
    });
}

#[test]
fn statistics_are_of_the_selected_calls() {
    on_each_engine(|store| {
        apply(store, &Write::PutDrivers(vec![driver(7, None)]));
        apply(store, &Write::PutDispatches(vec![dispatch("a", 7)]));
        for write in [turn("a", "x", None), turn("b", "x", None), post(&sample(0))] {
            apply(store, &write);
        }
        let count = |filter: CallFilter| {
            let (mut calls, mut seconds) = (0, 0);
            store
                .figures(&filter, &mut |figures| {
                    calls += 1;
                    seconds += figures.duration_seconds.unwrap_or(0);
                })
                .unwrap();
            (calls, seconds)
        };
        assert_eq!(count(CallFilter::default()), (3, 47));
        assert_eq!(count(CallFilter::of_driver(DriverId::new(7).unwrap())).0, 1);
        assert_eq!(count(CallFilter { started_after: Some(later()), ..CallFilter::default() }).0, 0);
        assert_eq!(count(CallFilter { started_before: Some(later()), ..CallFilter::default() }).0, 3);
    });
}

#[test]
fn an_erased_call_is_known_as_such_and_goes_slice_by_slice() {
    on_each_engine(|store| {
        let turns: Vec<_> = (0..3000).map(|n| turn("long", &format!("words {n}"), None)).collect();
        store.apply(now(), &turns).unwrap();
        store.apply(now(), &[turn("other", "x", None)]).unwrap();
        assert!(!store.is_erased(&conversation("long")).unwrap());
        let mut outcome = store.apply(now(), &[Write::EraseCall(conversation("long"))]).unwrap().remove(0).unwrap();
        let mut slices = 0;
        while outcome == Written::Begun {
            let slice = store
                .continue_erasing(now(), Unfinished::Call(&conversation("long")))
                .unwrap()
                .expect("it is unfinished");
            assert_eq!(slice.conversation_id, conversation("long"));
            slices += 1;
            if slice.finished {
                outcome = Written::Done;
            }
        }
        assert_eq!(outcome, Written::Done);
        assert!(slices > 0, "a call of 3,000 turns is no single slice");
        for which in [Unfinished::Erasures, Unfinished::All, Unfinished::Call(&conversation("other"))] {
            assert_eq!(store.continue_erasing(now(), which).unwrap(), None);
        }
        assert!(store.is_erased(&conversation("long")).unwrap());
        assert!(store.call(&conversation("long")).unwrap().is_none());
        assert_eq!(store.call(&conversation("other")).unwrap().unwrap().turn_count, 1);
        assert_eq!(found(store, search_for("words")), [""; 0]);
        assert_eq!(store.purge(Duration::from_secs(5)).unwrap(), Forgotten::All, "nobody reads an older state");
        while !store.rest().unwrap() {}
    });
}

#[test]
fn what_is_old_is_found_and_what_is_not_is_left() {
    on_each_engine(|store| {
        let batch = [
            Write::PutDrivers(vec![driver(7, Some("+15550100042"))]),
            Write::PutDispatches(vec![dispatch("never_1", 7), dispatch("never_2", 7), dispatch("a", 7)]),
            turn("a", "x", None),
            turn("b", "x", None),
            unreadable(),
            Write::KeepEvent(Box::new(event(&json!({"type": "voice_removed", "data": {"conversation_id": "b"}})))),
        ];
        store.apply(now(), &batch).unwrap();
        let old = |before, after, limit| {
            let calls = store.old_calls(&ExpiredCallQuery { before, started_before: None, after, limit }).unwrap();
            calls
                .iter()
                .map(|call| (call.conversation_id.as_str().to_owned(), call.turns, call.key))
                .collect::<Vec<_>>()
        };
        assert_eq!(old(at("2026-09-28T11:00:00Z"), None, 10), []);
        let calls = old(later(), None, 10);
        assert_eq!(calls.iter().map(|(id, turns, _)| (id.as_str(), *turns)).collect::<Vec<_>>(), [("a", 1), ("b", 1)]);
        assert_eq!(old(later(), None, 1), calls[..1]);
        assert_eq!(old(later(), Some(calls[0].2), 10), calls[1..]);

        let dispatches = |after: Option<&ConversationId>, limit| store.old_dispatches(later(), after, limit).unwrap();
        assert_eq!(dispatches(None, 10), [conversation("never_1"), conversation("never_2")]);
        assert_eq!(dispatches(None, 1), [conversation("never_1")]);
        assert_eq!(dispatches(Some(&conversation("never_1")), 10), [conversation("never_2")]);
        assert_eq!(store.old_dispatches(at("2026-09-28T11:00:00Z"), None, 10).unwrap(), []);
        let of_driver = store.dispatches_of(DriverId::new(7).unwrap(), None, 10).unwrap();
        assert_eq!(of_driver.into_iter().collect::<HashSet<_>>(), ["a", "never_1", "never_2"].map(conversation).into());
        assert_eq!(store.dispatches_of(DriverId::new(8).unwrap(), None, 10).unwrap(), []);

        let events = |before| {
            let (mut ids, mut after) = (Vec::new(), 0);
            loop {
                let ScanPage { rows, next } = store.old_events(before, after, 1).unwrap();
                ids.extend(rows.iter().map(|event| event.id));
                match next {
                    Some(next) => after = next,
                    None => return ids,
                }
            }
        };
        let unreadable = store.event_ids(EventSelection::Unreadable, 0, 10).unwrap();
        assert!(events(later()).contains(&unreadable[0]));
        assert_eq!(events(at("2026-09-28T11:00:00Z")), [0_i64; 0]);
        store.apply(now(), &[Write::PruneEvents(unreadable.clone())]).unwrap();
        assert!(store.event(unreadable[0]).unwrap().is_none());
        assert_eq!(store.newest_arrival().unwrap(), Some(now()));
    });
}

#[test]
fn events_of_no_call_that_name_one_are_found() {
    on_each_engine(|store| {
        // Its own call cannot be read of it.
        let naming = json!({"type": "post_call_transcription", "data": {"x": {"conversation_id": "c"}}});
        store.apply(now(), &[post(&naming), unreadable()]).unwrap();
        let ids = store.event_ids(EventSelection::All, 0, 10).unwrap();
        let named = |id: &str| {
            let (mut found, mut after) = (Vec::new(), 0);
            loop {
                let ScanPage { rows, next } = store.events_naming(&HashSet::from([conversation(id)]), after).unwrap();
                found.extend(rows.into_iter().map(|naming| (naming.event.id, naming.calls)));
                match next {
                    Some(next) => after = next,
                    None => return found,
                }
            }
        };
        assert_eq!(named("c"), [(ids[0], vec![conversation("c")])]);
        assert_eq!(named("d"), []);
    });
}

#[test]
fn a_store_without_anything_has_no_arrival_and_nothing_open() {
    on_each_engine(|store| {
        assert_eq!(store.newest_arrival().unwrap(), None);
        assert_eq!(store.open_calls(10).unwrap(), 0);
        store.apply(now(), &[turn("a", "x", None), turn("b", "x", None)]).unwrap();
        assert_eq!((store.open_calls(10).unwrap(), store.open_calls(1).unwrap()), (2, 1));
        store.apply(now(), &[Write::EndStaleCalls(later(), later())]).unwrap();
        assert_eq!(store.open_calls(10).unwrap(), 0);
    });
}

#[test]
fn the_feed_tells_each_change_in_the_order_of_commits() {
    on_each_engine(|store| {
        let start = store.head().unwrap();
        store.apply(now(), &[turn("a", "one", None), turn("b", "one", None)]).unwrap();
        store.apply(now(), &[turn("a", "two", None)]).unwrap();
        let shown = |changes: &[Change]| {
            let one = |change: &Change| match change {
                Change::Turn(turn) => format!("{} {}", turn.conversation_id.as_str(), turn.message.as_str()),
                Change::Started(call) => format!("{} started", call.conversation_id.as_str()),
                Change::Updated(call) => format!("{} updated", call.conversation_id.as_str()),
                Change::Ended(call) => format!("{} ended", call.conversation_id.as_str()),
                Change::Alerted(call) => format!("{} alerted", call.conversation_id.as_str()),
                Change::Erased(_) => "erased".to_owned(),
            };
            changes.iter().map(one).collect::<Vec<_>>()
        };
        let all = shown(&since(store, &Scope::everything(), start));
        let turns: Vec<_> = all.iter().filter(|change| change.ends_with("one") || change.ends_with("two")).collect();
        assert_eq!(turns, ["a one", "b one", "a two"], "{all:?}");
        assert!(all.contains(&"a started".to_owned()) && all.contains(&"b started".to_owned()), "{all:?}");
        let only = Scope::Call { conversation_id: conversation("a"), call_id: row_id(store, "a") };
        let of_call = shown(&since(store, &only, start));
        assert!(of_call.iter().all(|change| change.starts_with("a ")), "{of_call:?}");

        let before = store.head().unwrap();
        assert!(start.is_behind(before));
        let (a, b) = (row_id(store, "a"), conversation("b"));
        store.apply(now(), &[Write::EraseCall(conversation("a")), turn("b", "two", None)]).unwrap();
        let touched = store.touched(before, store.head().unwrap()).unwrap();
        assert_eq!((touched.erased, touched.calls.contains(&b)), (vec![a], true));
        assert!(since(store, &Scope::everything(), before).contains(&Change::Erased(a)));
        assert!(store.since(&only, before, store.head().unwrap()).unwrap().over);
        let head = store.head().unwrap();
        let quiet = store.since(&Scope::everything(), head, head).unwrap();
        assert_eq!((quiet.changes.len(), quiet.has_more), (0, false));
    });
}

/// The kinds of a call's parts, and how many turns there are.
fn parts_of(archive: &dyn Archive, id: &str) -> (bool, BTreeSet<&'static str>, usize) {
    let (mut kinds, mut turns) = (BTreeSet::new(), 0);
    let exists = archive.parts(&conversation(id), &mut |part| {
        kinds.insert(match part {
            ArchivePart::Driver(_) => "driver",
            ArchivePart::Dispatch(_) => "dispatch",
            ArchivePart::Event(_) => "event",
            ArchivePart::Call(..) => "call",
            ArchivePart::Turn(_) => {
                turns += 1;
                "turn"
            }
        });
        Ok(())
    });
    (exists.unwrap(), kinds, turns)
}

#[test]
fn an_archive_reads_whole_calls_and_what_belongs_to_none() {
    on_each_engine(|store| {
        let Some(archive) = store.archive().unwrap() else { return };
        apply(store, &Write::PutDrivers(vec![driver(7, None), driver(8, None)]));
        apply(store, &Write::PutDispatches(vec![dispatch(CALL, 7), dispatch("never", 8)]));
        for write in
            [live("user", PARKED, "2026-09-28T12:00:05Z"), post(&sample(0)), unreadable(), turn("b", "x", None)]
        {
            apply(store, &write);
        }
        let which = CallFilter::default();
        let ids = archive.call_ids(&which, 0, 10).unwrap();
        assert_eq!(ids.iter().map(|(_, id)| id.as_str()).collect::<Vec<_>>(), [CALL, "b"]);
        assert_eq!(archive.call_ids(&which, ids[0].0, 10).unwrap(), ids[1..]);
        assert_eq!(archive.call_ids(&which, 0, 1).unwrap(), ids[..1]);
        let only = CallFilter { conversation_id: Some(conversation("b")), ..which };
        assert_eq!(archive.call_ids(&only, 0, 10).unwrap(), ids[1..]);

        let turn_count = store.call(&conversation(CALL)).unwrap().unwrap().turn_count;
        let (exists, kinds, turns) = parts_of(&*archive, CALL);
        assert_eq!((exists, turns), (true, usize::try_from(turn_count).unwrap()));
        assert_eq!(kinds, ["driver", "dispatch", "event", "call", "turn"].into());
        assert_eq!(parts_of(&*archive, "none"), (false, BTreeSet::new(), 0));
        let mut words = Vec::new();
        let mut take = |spoken| {
            if let TranscriptItem::Turn(turn) = spoken {
                words.push(turn.message.as_str().to_owned());
            }
            Ok(())
        };
        assert!(archive.transcript(&conversation(CALL), TurnOrder::Time, &mut take).unwrap());
        assert!(!archive.transcript(&conversation("none"), TurnOrder::Time, &mut take).unwrap());
        assert_eq!((words.len(), words.contains(&PARKED.to_owned())), (turns, true));
        for (kind, count) in [(OrphanRows::Drivers, 2), (OrphanRows::Dispatches, 1), (OrphanRows::Events, 1)] {
            let (mut rows, mut after) = (0, 0);
            loop {
                let more = archive.orphans(kind, after).unwrap();
                let Some((last, _)) = more.last() else { break };
                (rows, after) = (rows + more.len(), *last);
            }
            assert_eq!(rows, count, "{kind:?}");
        }
    });
}

#[test]
fn a_store_knows_its_place_and_sizes_and_can_be_copied() {
    on_each_engine(|store| {
        store.apply(now(), &[turn("a", "x", None)]).unwrap();
        store.in_place().unwrap();
        let sizes = store.sizes().unwrap();
        assert!(sizes.database + sizes.wal > 0 && sizes.free > 0, "{sizes:?}");
        if let Some(database) = store.copier().database() {
            assert!(database.is_file());
        }
        assert_eq!(stored(&store.apply(now(), &[turn("a", "y", None)]).unwrap()[0]).sequence_number, 2);
    });
}

#[test]
fn the_tool_calls_of_a_call_are_listed_between_its_turns() {
    on_each_engine(|store| {
        let id = conversation(CALL);
        assert!(store.tool_calls(&id).unwrap().is_empty());
        apply(store, &post(&sample(0)));
        let tools = store.tool_calls(&id).unwrap();
        let shown: Vec<_> =
            tools.iter().map(|tool| (tool.position, tool.after_place, &*tool.call.name, tool.call.is_error)).collect();
        assert_eq!(shown, [(1, 2, "log_turn", Some(false))]);
        store.apply(now(), &[Write::EraseCall(id.clone())]).unwrap();
        assert!(store.tool_calls(&id).unwrap().is_empty());
    });
}

#[test]
fn what_a_record_says_is_read_by_call_and_by_filter() {
    on_each_engine(|store| {
        let (parent, child) = (conversation(CALL), conversation("conv_child"));
        let mut of_child = sample(0);
        of_child["data"]["conversation_id"] = json!("conv_child");
        of_child["data"]["parent_conversation_id"] = json!(CALL);
        apply(store, &post(&sample(0)));
        apply(store, &post(&of_child));
        assert_eq!(store.tool_names(&[parent.clone(), conversation("none")]).unwrap(), [vec!["log_turn"], vec![]]);
        assert_eq!(store.transferred(&[parent.clone(), conversation("none")]).unwrap(), [false, false]);
        let children = |id: &ConversationId| -> Vec<_> {
            store.child_calls(id, 10).unwrap().into_iter().map(|call| call.conversation_id).collect()
        };
        assert_eq!((children(&parent), children(&child)), (vec![child.clone()], vec![]));
        let only = CallFilter { conversation_id: Some(parent), ..CallFilter::default() };
        let mut results = BTreeSet::new();
        store.results(&only, &mut |result| results.extend([result.name.to_owned()])).unwrap();
        assert!(
            results.is_superset(&["reached_driver", "reefer_set_point_f"].map(str::to_owned).into()),
            "{results:?}"
        );
        let mut measured = Vec::new();
        store.turn_metrics(&only, &mut |call| measured.push(call.milliseconds.to_owned())).unwrap();
        assert_eq!(measured.len(), 1);
        assert!(measured[0].contains("convai_tts_service_ttfb:"), "{measured:?}");
        assert!(store.rereads(i64::MAX, 10, 1 << 20).unwrap().is_empty(), "only older versions leave events to parse");
    });
}

#[test]
fn the_access_log_is_read_by_call_and_user_newest_first() {
    on_each_engine(|store| {
        let anna = UserName::new("anna").unwrap();
        let access = |name: Option<&UserName>, call: Option<&str>, time: &str| Access {
            at: at(time),
            identity: Identity { name: name.cloned(), role: Role::Read, credential: Credential::Token },
            action: AccessAction::Read,
            conversation_id: call.map(conversation),
        };
        let all = [
            access(Some(&anna), Some("conv_a"), "2026-09-28T12:00:00Z"),
            access(None, Some("conv_a"), "2026-09-28T12:01:00Z"),
            access(Some(&anna), None, "2026-09-28T12:02:00Z"),
        ];
        assert_eq!(store.oldest_access().unwrap(), None);
        store.apply(now(), &[Write::NoteAccesses(all.to_vec())]).unwrap().remove(0).unwrap();
        let request = AccessLogRequest { limit: 2, ..AccessLogRequest::default() };
        let list = |request: &AccessLogRequest| {
            let page = store.access_log(request).unwrap();
            let rows: Vec<_> = page.rows.into_iter().map(|row| (row.id, row.access)).collect();
            (rows, page.has_more)
        };
        let (first, has_more) = list(&request);
        assert_eq!(first.iter().map(|(_, access)| access).collect::<Vec<_>>(), [&all[2], &all[1]]);
        assert!(has_more);
        let (second, has_more) = list(&AccessLogRequest { before: Some(first[1].0), ..request.clone() });
        assert_eq!((&second[0].1, second.len(), has_more), (&all[0], 1, false));
        let of_call = AccessLogRequest { conversation_id: Some(conversation("conv_a")), ..request.clone() };
        assert_eq!(
            list(&of_call).0.into_iter().map(|(_, access)| access).collect::<Vec<_>>(),
            [all[1].clone(), all[0].clone()]
        );
        let of_user = AccessLogRequest { user: Some(anna.clone()), ..request.clone() };
        assert_eq!(
            list(&of_user).0.into_iter().map(|(_, access)| access).collect::<Vec<_>>(),
            [all[2].clone(), all[0].clone()]
        );
        // From a time on, and before another one.
        let of_time =
            AccessLogRequest { accessed_after: Some(all[1].at), accessed_before: Some(all[2].at), ..request.clone() };
        assert_eq!(list(&of_time).0.into_iter().map(|(_, access)| access).collect::<Vec<_>>(), [all[1].clone()]);
        let of_action = AccessLogRequest { action: Some(AccessAction::Erase), ..request.clone() };
        assert_eq!(list(&of_action), (Vec::new(), false));
        let both = AccessLogRequest { action: Some(AccessAction::Read), user: Some(anna), ..of_time };
        assert_eq!(list(&both), (Vec::new(), false));
        assert_eq!(store.oldest_access().unwrap(), Some(at("2026-09-28T12:00:00Z")));
    });
}

#[test]
fn old_entries_of_the_access_log_go_although_the_clock_was_ahead_when_the_first_was_noted() {
    on_each_engine(|store| {
        let noted = |time: &str| Access {
            at: at(time),
            identity: Identity { name: None, role: Role::Read, credential: Credential::Token },
            action: AccessAction::List,
            conversation_id: None,
        };
        let times = ["2036-01-01T00:00:00Z", "2026-09-28T12:00:00Z", "2026-09-28T13:00:00Z"];
        store.apply(now(), &[Write::NoteAccesses(times.map(noted).to_vec())]).unwrap().remove(0).unwrap();
        assert_eq!(store.oldest_access().unwrap(), Some(at(times[1])));
        let prune = || store.apply(now(), &[Write::PruneAccesses(now())]).unwrap().remove(0);
        assert_eq!(prune(), Ok(Written::Done));
        assert_eq!(prune(), Err(Rejection::NotFound));
        let request = AccessLogRequest { limit: 9, ..AccessLogRequest::default() };
        let left: Vec<_> = store.access_log(&request).unwrap().rows.into_iter().map(|row| row.access.at).collect();
        assert_eq!(left, [at(times[2]), at(times[0])]);
    });
}

#[test]
fn the_suite_calls_every_method_of_a_store() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let of = |folder: &str| -> String {
        let files = std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.is_file()).map(|path| std::fs::read_to_string(path).unwrap()).collect()
    };
    let contract = std::fs::read_to_string(root.join("src/store/contract.rs")).unwrap();
    let suite = of("tests/it/store/contract");
    let mut methods = 0;
    let mut is_trait = false;
    for line in contract.lines() {
        is_trait = line.starts_with("pub trait ") || is_trait && line != "}";
        if let (true, Some(rest)) = (is_trait, line.strip_prefix("    fn ")) {
            let name = rest.split(['(', '<']).next().unwrap();
            assert!(suite.contains(&format!(".{name}(")), "{name} is not called by the suite");
            methods += 1;
        }
    }
    assert!(methods > 30, "the traits are found: {methods}");
}
