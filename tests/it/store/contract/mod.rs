//! Promises of every store. The suite knows only `dyn Store`; a second engine joins it with one line in [`engines`].

mod outgoing;
mod reads;

use std::sync::Arc;
use std::time::Duration;
use transcribe_hook::domain::{
    CallChange, CallEnd, CallStatus, ConversationId, DeliveryKey, DriverId, Message, NewDispatch, NewDriver, NewTurn,
    PhoneNumber, Source, Speaker, Timestamp,
};
use transcribe_hook::store::sqlite::{Options, SqliteStore};
use transcribe_hook::store::{
    BadLink, CallFilter, CallPageRequest, CallRank, Counts, DriverPageRequest, RankedCallRequest, Rejection, SortOrder,
    Store, StoredTurn, TurnOrder, TurnQuery, Write, Written,
};

/// A new, empty store of each engine; what it needs lives as long as the store.
fn engines() -> Vec<(&'static str, Arc<dyn Store>, tempfile::TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { path: folder.path().join("calls.db"), busy_timeout: Duration::from_secs(5), readers: 2 };
    vec![("SQLite", Arc::new(SqliteStore::open(&options).unwrap()), folder)]
}

/// Runs a case of the suite on each engine.
fn on_each_engine(case: impl Fn(&dyn Store)) {
    for (engine, store, _folder) in engines() {
        eprintln!("on {engine}");
        case(&*store);
    }
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn now() -> Timestamp {
    at("2026-09-28T12:30:00Z")
}

fn conversation(id: &str) -> ConversationId {
    ConversationId::new(id).unwrap()
}

fn turn(id: &str, words: &str, key: Option<&str>) -> Write {
    Write::AppendTurn(NewTurn {
        conversation_id: conversation(id),
        speaker: Speaker::Driver,
        message: Message::new(words).unwrap(),
        timestamp: at("2026-09-28T12:00:00Z"),
        delivery_key: key.map(|key| DeliveryKey::new(key).unwrap()),
        source: Source::Live,
        call_sid: None,
    })
}

fn driver(id: i64, phone: Option<&str>) -> NewDriver {
    NewDriver {
        id: DriverId::new(id).unwrap(),
        name: format!("Driver {id}"),
        phone_number: phone.map(|phone| PhoneNumber::new(phone).unwrap()),
    }
}

fn dispatch(id: &str, driver: i64) -> NewDispatch {
    NewDispatch {
        conversation_id: conversation(id),
        driver_id: DriverId::new(driver).unwrap(),
        phone_number: None,
        batch_id: None,
        dispatched_at: None,
    }
}

fn stored(outcome: &Result<Written, Rejection>) -> StoredTurn {
    match outcome {
        Ok(Written::Turn(stored)) => *stored,
        other => panic!("no turn: {other:?}"),
    }
}

fn sequence(store: &dyn Store, id: &str) -> Vec<(i64, String)> {
    let query = TurnQuery {
        conversation_id: conversation(id),
        after_sequence: 0,
        order: TurnOrder::Sequence,
        after: None,
        limit: 1000,
        with_total: false,
    };
    let page = store.turns(&query).unwrap().unwrap();
    page.rows.into_iter().map(|turn| (turn.sequence_number, turn.message.as_str().to_owned())).collect()
}

#[test]
fn a_batch_is_done_in_order_and_each_write_is_answered() {
    on_each_engine(|store| {
        let batch = [turn("a", "one", None), turn("b", "one", None), turn("a", "two", None), turn("a", "three", None)];
        let outcomes = store.apply(now(), &batch).unwrap();
        let numbers: Vec<_> = outcomes.iter().map(|o| stored(o).sequence_number).collect();
        assert_eq!(numbers, [1, 1, 2, 3]);
        let ids: Vec<_> = outcomes.iter().map(|o| stored(o).transcription_id).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        assert!(stored(&outcomes[0]).new_call.is_some() && stored(&outcomes[2]).new_call.is_none());
        let next = store.apply(now(), &[turn("a", "four", None)]).unwrap();
        assert_eq!(stored(&next[0]).sequence_number, 4);
        assert_eq!(sequence(store, "a").iter().map(|(n, _)| *n).collect::<Vec<_>>(), [1, 2, 3, 4]);
    });
}

#[test]
fn a_repeat_is_known_within_a_batch_and_across_batches() {
    on_each_engine(|store| {
        let batch = [turn("a", "x", None), turn("a", "x", None), turn("a", "x", Some("k")), turn("a", "x", Some("k"))];
        let outcomes = store.apply(now(), &batch).unwrap();
        let shown: Vec<_> = outcomes.iter().map(stored).map(|s| (s.sequence_number, s.replayed)).collect();
        assert_eq!(shown, [(1, false), (1, true), (2, false), (2, true)]);
        let again = store.apply(now(), &[turn("a", "x", None), turn("a", "x", Some("k"))]).unwrap();
        let shown: Vec<_> = again.iter().map(stored).map(|s| (s.sequence_number, s.replayed)).collect();
        assert_eq!(shown, [(1, true), (2, true)]);
    });
}

#[test]
fn a_reused_key_concerns_only_its_own_write() {
    on_each_engine(|store| {
        let batch = [turn("a", "x", Some("k")), turn("a", "y", Some("k")), turn("a", "z", None)];
        let outcomes = store.apply(now(), &batch).unwrap();
        assert_eq!(outcomes[1], Err(Rejection::KeyReused));
        assert_eq!(sequence(store, "a"), [(1, "x".to_owned()), (2, "z".to_owned())]);
    });
}

#[test]
fn what_a_batch_does_to_a_call_is_seen_by_its_later_writes() {
    on_each_engine(|store| {
        let end = CallChange {
            status: Some(CallStatus::Completed),
            call_end_time: Some(CallEnd::At(at("2026-09-28T12:05:00Z"))),
        };
        let batch = [
            turn("a", "one", None),
            turn("a", "two", None),
            Write::ChangeCall(conversation("a"), end.clone()),
            turn("a", "three", None),
            Write::EraseCall(conversation("a")),
            Write::ChangeCall(conversation("a"), end),
            turn("a", "anew", None),
        ];
        let outcomes = store.apply(now(), &batch).unwrap();
        let Ok(Written::Call(call)) = &outcomes[2] else { panic!("{:?}", outcomes[2]) };
        assert_eq!((call.turn_count, call.status), (2, CallStatus::Completed));
        assert_eq!(outcomes[4], Ok(Written::Done));
        assert_eq!(outcomes[5], Err(Rejection::NotFound));
        assert_eq!(sequence(store, "a"), [(1, "anew".to_owned())]);
        assert_eq!(store.call(&conversation("a")).unwrap().unwrap().status, CallStatus::InProgress);
    });
}

#[test]
fn an_end_before_the_start_is_rejected() {
    on_each_engine(|store| {
        let early = CallChange { status: None, call_end_time: Some(CallEnd::At(at("2026-09-28T11:59:59Z"))) };
        let outcomes =
            store.apply(now(), &[turn("a", "x", None), Write::ChangeCall(conversation("a"), early)]).unwrap();
        assert_eq!(outcomes[1], Err(Rejection::EndsBeforeStart { start: at("2026-09-28T12:00:00Z") }));
    });
}

#[test]
fn a_call_finds_its_driver_by_a_dispatch_before_or_after_its_first_turn() {
    on_each_engine(|store| {
        let batch = [
            Write::PutDrivers(vec![driver(1, None), driver(2, None)]),
            Write::PutDispatches(vec![dispatch("before", 1)]),
            turn("before", "x", None),
            turn("after", "x", None),
            Write::PutDispatches(vec![dispatch("after", 2)]),
        ];
        let outcomes = store.apply(now(), &batch).unwrap();
        assert_eq!(stored(&outcomes[2]).new_call.unwrap().driver_id, Some(DriverId::new(1).unwrap()));
        assert_eq!(stored(&outcomes[3]).new_call.unwrap().driver_id, None);
        let driver_of = |id| store.call(&conversation(id)).unwrap().unwrap().driver_id;
        assert_eq!(driver_of("before"), Some(DriverId::new(1).unwrap()));
        assert_eq!(driver_of("after"), Some(DriverId::new(2).unwrap()));
        store.apply(now(), &[Write::DeleteDriver(DriverId::new(2).unwrap())]).unwrap();
        assert_eq!(driver_of("after"), None);
        assert_eq!(store.dispatch(&conversation("after")).unwrap().unwrap().driver_id, None);
    });
}

#[test]
fn a_bulk_change_is_done_wholly_or_not_at_all_and_names_every_bad_element() {
    on_each_engine(|store| {
        let drivers =
            vec![driver(1, Some("+15550100001")), driver(2, Some("+15550100002")), driver(3, Some("+15550100001"))];
        let outcomes = store.apply(now(), &[Write::PutDrivers(drivers)]).unwrap();
        let Err(Rejection::Elements(bad)) = &outcomes[0] else { panic!("{:?}", outcomes[0]) };
        let all = DriverPageRequest { limit: 10, with_total: true, ..DriverPageRequest::default() };
        assert_eq!(
            bad.iter().map(|b| (b.index, b.why)).collect::<Vec<_>>(),
            [(2, BadLink::PhoneTaken(DriverId::new(1).unwrap()))]
        );
        assert_eq!(store.drivers(&all).unwrap().total, Some(0));
        let good = vec![driver(1, Some("+15550100001")), driver(2, None)];
        for expected in
            [Counts { created: 2, updated: 0, unchanged: 0 }, Counts { created: 0, updated: 0, unchanged: 2 }]
        {
            let outcomes = store.apply(now(), &[Write::PutDrivers(good.clone())]).unwrap();
            assert_eq!(outcomes[0], Ok(Written::Drivers(expected)));
        }
        let dispatches = vec![dispatch("a", 1), dispatch("b", 8), dispatch("c", 9)];
        let outcomes = store.apply(now(), &[Write::PutDispatches(dispatches)]).unwrap();
        let Err(Rejection::Elements(bad)) = &outcomes[0] else { panic!("{:?}", outcomes[0]) };
        assert_eq!(bad.iter().map(|b| b.index).collect::<Vec<_>>(), [1, 2]);
        assert!(store.dispatch(&conversation("a")).unwrap().is_none());
    });
}

#[test]
fn what_is_not_there_is_said_to_be_not_there() {
    on_each_engine(|store| {
        let batch = [
            Write::EraseCall(conversation("a")),
            Write::ChangeCall(conversation("a"), CallChange::default()),
            Write::DeleteDriver(DriverId::new(1).unwrap()),
            Write::DeleteDispatch(conversation("a")),
            Write::Probe,
        ];
        let outcomes = store.apply(now(), &batch).unwrap();
        assert!(outcomes[..4].iter().all(|outcome| *outcome == Err(Rejection::NotFound)), "{outcomes:?}");
        assert_eq!(outcomes[4], Ok(Written::Done));
        assert!(store.call(&conversation("a")).unwrap().is_none());
        assert!(store.driver(DriverId::new(1).unwrap()).unwrap().is_none());
        let query = TurnQuery {
            conversation_id: conversation("a"),
            after_sequence: 0,
            order: TurnOrder::Time,
            after: None,
            limit: 1,
            with_total: true,
        };
        assert!(store.turns(&query).unwrap().is_none());
    });
}

#[test]
fn a_batch_that_is_empty_or_only_repeats_is_no_trouble() {
    on_each_engine(|store| {
        assert!(store.apply(now(), &[]).unwrap().is_empty());
        store.apply(now(), &[turn("a", "x", None)]).unwrap();
        let before = store.call(&conversation("a")).unwrap().unwrap();
        let outcomes = store.apply(at("2026-09-28T13:00:00Z"), &[turn("a", "x", None)]).unwrap();
        assert!(stored(&outcomes[0]).replayed);
        assert_eq!(store.call(&conversation("a")).unwrap().unwrap(), before, "a repeat leaves no trace");
        while !store.rest().unwrap() {}
    });
}

#[test]
fn lists_are_pages_of_one_order() {
    on_each_engine(|store| {
        let batch: Vec<_> = (0..5).map(|n| turn(&format!("conv_{n}"), "x", None)).collect();
        store.apply(now(), &batch).unwrap();
        let filter = CallFilter::default();
        let mut query =
            CallPageRequest { filter, order: SortOrder::Descending, after: None, limit: 2, with_total: true };
        let mut seen = Vec::new();
        loop {
            let page = store.calls(&query).unwrap();
            assert_eq!(page.total, Some(5));
            seen.extend(page.rows.into_iter().map(|call| call.conversation_id.as_str().to_owned()));
            query.after = page.next;
            if page.next.is_none() {
                break;
            }
        }
        assert_eq!(seen, ["conv_4", "conv_3", "conv_2", "conv_1", "conv_0"]);
    });
}

#[test]
fn ranked_lists_are_pages_of_calls_that_are_over() {
    on_each_engine(|store| {
        let turns = |id: &str, n: usize| (0..n).map(|i| turn(id, &format!("{i}"), None)).collect::<Vec<_>>();
        let batch = [turns("conv_a", 1), turns("conv_b", 3), turns("conv_c", 1), turns("conv_d", 9)].concat();
        store.apply(now(), &batch).unwrap();
        let change = CallChange { status: Some(CallStatus::Completed), call_end_time: None };
        for id in ["conv_a", "conv_b", "conv_c"] {
            store.apply(now(), &[Write::ChangeCall(conversation(id), change.clone())]).unwrap().remove(0).unwrap();
        }
        let filter = CallFilter::default();
        let mut request =
            RankedCallRequest { filter, rank: CallRank::MostTurns, after: None, limit: 1, with_total: true };
        let mut seen = Vec::new();
        loop {
            let page = store.ranked_calls(&request).unwrap();
            assert_eq!(page.total, Some(3));
            let last = page.rows.last().unwrap().key;
            seen.extend(page.rows.into_iter().map(|ranked| ranked.call.conversation_id.as_str().to_owned()));
            if !page.has_more {
                break;
            }
            request.after = Some(last);
        }
        assert_eq!(seen, ["conv_b", "conv_c", "conv_a"], "the call that runs is left out");
    });
}

#[test]
fn batches_of_any_size_are_read_back_as_they_were_written() {
    on_each_engine(|store| {
        // From less than a page to more than any cache holds.
        let sizes = [(1, 10), (31, 100), (32, 3000), (33, 4000), (120, 4000), (256, 64_000), (7, 64_000), (64, 50)];
        let mut said = 0;
        for (turns, length) in sizes {
            let words = |n: usize| format!("{n} {}", "x".repeat(length));
            let batch: Vec<_> = (said..said + turns).map(|n| turn("conv_sizes", &words(n), None)).collect();
            let outcomes = store.apply(now(), &batch).unwrap();
            assert!(outcomes.iter().all(Result::is_ok));
            let end = said + turns;
            while said < end {
                let query = TurnQuery {
                    conversation_id: conversation("conv_sizes"),
                    order: TurnOrder::Sequence,
                    after_sequence: i64::try_from(said).unwrap(),
                    after: None,
                    limit: 1000,
                    with_total: true,
                };
                // A page ends at 8 MiB of text, too.
                let page = store.turns(&query).unwrap().unwrap();
                assert!(!page.rows.is_empty());
                for (n, stored) in (said..).zip(&page.rows) {
                    assert_eq!(stored.message.as_str(), words(n));
                }
                said += page.rows.len();
                assert_eq!(page.has_more, said < end);
            }
            assert_eq!(said, end);
        }
    });
}

#[test]
fn a_repeat_is_known_although_thousands_of_calls_came_since() {
    on_each_engine(|store| {
        let words = |n: usize| turn(&format!("conv_{n}"), "Hello?", None);
        let calls: Vec<_> = (0..5000).map(words).collect();
        for batch in calls.chunks(500) {
            assert!(store.apply(now(), batch).unwrap().iter().all(Result::is_ok));
        }
        for n in [0, 1, 2500, 4999, 0] {
            let outcomes = store.apply(now(), &[words(n)]).unwrap();
            let Ok(Written::Turn(stored)) = &outcomes[0] else { panic!("{outcomes:?}") };
            assert!(stored.replayed);
            assert_eq!(stored.sequence_number, 1);
        }
    });
}
