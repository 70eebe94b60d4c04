//! Receivers that fail: retries, order, the end of retries, pauses, 410, redirects and answers without an end.

use crate::support::metrics::Scrape;
use crate::support::receiver::{Receiver, Reply, Request, WEBHOOK_SECRET};
use crate::support::service::{Service, wait_for};
use crate::support::tls::free_port;
use crate::support::turns::turn;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use transcribe_hook::domain::Timestamp;
use transcribe_hook::elevenlabs::turn::parse_turn;
use transcribe_hook::store::{Commands as _, EndpointId, Reads as _, Write};

fn flags<'a>(url: &'a str, pause: &'a str) -> [&'a str; 6] {
    ["--webhook-url", url, "--webhook-secret", WEBHOOK_SECRET, "--webhook-retry-pause", pause]
}

fn notifying(receiver: &Receiver, pause: &str) -> Service {
    Service::start_with(&flags(&receiver.url(), pause))
}

fn on(database: &Path, receiver: &Receiver) -> Service {
    Service::start_on(database, &flags(&receiver.url(), "10ms"))
}

/// Starts and ends a call.
fn play(service: &Service, call: &str) {
    service.deliver(&turn(call, 1)).expect(201);
    service.patch(&format!("/api/v1/calls/{call}"), &json!({"status": "completed"})).expect(200);
}

const BOTH: [&str; 2] = ["call.started", "call.ended"];

fn endpoint(service: &Service) -> Value {
    service.get("/api/v1/webhooks").expect(200).json()["data"][0].take()
}

#[test]
fn a_refused_notice_is_sent_again_with_the_same_id_before_later_ones_of_its_call() {
    for fault in [Reply::status(500), Reply::status(404), Reply::status(302), Reply::Close] {
        let case = format!("{fault:?}");
        // The fault lasts until the other call is told of, however late a slow machine plays that.
        let other_told = AtomicBool::new(false);
        let receiver = Receiver::answering(move |request, earlier| {
            if request.kind() == "call.ended" && request.call() == "conv_b" {
                other_told.store(true, Ordering::SeqCst);
            }
            let lasts = earlier < 2 || !other_told.load(Ordering::SeqCst);
            if request.kind() == "call.started" && request.call() == "conv_a" && lasts {
                fault.clone()
            } else {
                Reply::status(200)
            }
        });
        let service = notifying(&receiver, "20ms");
        for call in ["conv_a", "conv_b"] {
            play(&service, call);
        }
        for call in ["conv_a", "conv_b"] {
            wait_for("both notices", || (receiver.kinds(call) == BOTH).then_some(()));
        }
        let tries: Vec<_> = receiver.requests().into_iter().filter(|r| r.call() == "conv_a").collect();
        let (ended, started) = tries.split_last().unwrap();
        assert!(started.len() >= 3 && started.iter().all(|r| r.kind() == "call.started"), "{case}: {tries:?}");
        assert_eq!(ended.kind(), "call.ended", "{case}");
        assert!(started.iter().all(|r| r.id == tries[0].id) && ended.id != tries[0].id, "{case}");
        let retried = u64::try_from(started.len() - 1).unwrap();
        let last = |call: &str| receiver.requests().iter().rposition(|r| r.call() == call);
        assert!(last("conv_b") < last("conv_a"), "{case}: another call goes on");
        let outcomes = || {
            let scrape = Scrape::take(&service);
            ["delivered", "retried", "failed"]
                .map(|outcome| scrape.whole(&format!("outgoing_deliveries_total{{outcome=\"{outcome}\"}}")))
        };
        wait_for("the metric", || (outcomes() == [4, retried, 0]).then_some(()));
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let other = Receiver::start();
    let location = format!("Location: {}\r\n", other.url());
    let receiver =
        Receiver::answering(
            move |_, earlier| {
                if earlier == 0 { Reply::Status(307, location.clone()) } else { Reply::status(200) }
            },
        );
    let service = notifying(&receiver, "10ms");
    service.deliver(&turn("conv_a", 1)).expect(201);
    wait_for("the second try", || receiver.accepted().pop());
    assert_eq!(other.requests().len(), 0);
}

#[test]
fn an_answer_without_an_end_is_read_in_part_and_counts() {
    let receiver = Receiver::answering(|_, _| Reply::Endless);
    let service = notifying(&receiver, "10ms");
    play(&service, "conv_a");
    wait_for("both notices", || (receiver.kinds("conv_a") == BOTH).then_some(()));
    wait_for("the outcome to be stored", || (endpoint(&service)["waiting"] == 0).then_some(()));
    assert_eq!(receiver.requests().len(), 2);
}

#[test]
fn a_header_without_an_end_is_cut_off_and_is_no_answer() {
    let receiver =
        Receiver::answering(|_, earlier| if earlier == 0 { Reply::EndlessHeader } else { Reply::status(200) });
    let service = notifying(&receiver, "10ms");
    play(&service, "conv_a");
    wait_for("both notices", || (receiver.kinds("conv_a") == BOTH).then_some(()));
    let requests = receiver.requests();
    assert_eq!(requests.iter().filter(|request| !request.accepted).count(), 2, "{requests:?}");
    // It is not read until the time-out.
    assert!(requests[1].at - requests[0].at < Duration::from_secs(10));
}

#[test]
fn a_try_that_a_clock_planned_which_was_ahead_is_made_now() {
    let hours = |number: i64| Timestamp::now().plus_seconds(number * 3600).unwrap().to_string();
    // By years, and by less than a receiver may ask for.
    for (tried, planned) in [(hours(0), "2099-01-01T00:00:00.000000Z".to_owned()), (hours(12), hours(13))] {
        let receiver = Receiver::answering(|_, earlier| Reply::status(if earlier == 0 { 500 } else { 200 }));
        let service = notifying(&receiver, "1h");
        play(&service, "conv_a");
        wait_for("the first failure to be stored", || (endpoint(&service)["waiting"] == 2).then_some(()));
        let file = rusqlite::Connection::open(service.database()).unwrap();
        file.busy_timeout(Duration::from_secs(10)).unwrap();
        let set = "UPDATE outgoing_deliveries SET last_try = ?1, next_try = ?2 WHERE state = 'waiting'";
        assert_eq!(file.execute(set, [tried, planned]).unwrap(), 1);
        wait_for("the notice", || (receiver.kinds("conv_a").len() == 1).then_some(()));
        assert_eq!(receiver.kinds("conv_a"), ["call.started"]);
    }
}

#[test]
fn what_waits_for_a_receiver_that_is_no_longer_configured_is_deleted_in_slices() {
    const WAITING: i64 = 1700;
    let receiver = Receiver::answering(|_, _| Reply::status(410));
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let service = on(&database, &receiver);
    play(&service, "conv_a");
    wait_for("the endpoint to be off", || (endpoint(&service)["status"] == "switched_off").then_some(()));
    service.stop();
    let file = rusqlite::Connection::open(&database).unwrap();
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
                INSERT INTO outgoing_events (type, conversation_id, at) \
                SELECT 'call.ended', 'conv_a', '2026-09-28T12:00:00.000000Z' FROM n";
    file.execute(many, [WAITING]).unwrap();
    let some = "INSERT INTO outgoing_deliveries (endpoint, event_id, conversation_id, state) \
                SELECT p.id, e.id, 'conv_a', 'blocked' FROM outgoing_events e, outgoing_endpoints p \
                ORDER BY e.id LIMIT 800";
    file.execute(some, []).unwrap();
    drop(file);
    let other = Receiver::start();
    let service = on(&database, &other);
    let count = |table: &str| -> i64 {
        service.sqlite().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    let tables = ["outgoing_endpoints", "outgoing_deliveries", "outgoing_events"];
    wait_for("the rows to go", || (tables.map(count) == [1, 0, 0]).then_some(()));
    play(&service, "conv_b");
    wait_for("both notices", || (other.kinds("conv_b") == BOTH).then_some(()));
    assert!(other.kinds("conv_a").is_empty());
}

#[test]
fn what_is_next_is_found_quickly_behind_many_deliveries_that_wait() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let store = crate::support::export::store(&database);
    let endpoint = EndpointId::of_number(1);
    let apply = |writes: &[Write]| assert!(store.apply(Timestamp::now(), writes).unwrap().iter().all(Result::is_ok));
    apply(&[Write::SetEndpoints(vec![endpoint.clone()])]);
    let file = rusqlite::Connection::open(&database).unwrap();
    file.execute_batch(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) \
         INSERT INTO outgoing_events (type, conversation_id, at) \
         SELECT 'call.ended', 'conv_' || (i / 2), '2026-09-28T12:00:00.000000Z' FROM n;
         INSERT INTO outgoing_deliveries (endpoint, event_id, conversation_id, state, next_try) \
         SELECT p.id, e.id, e.conversation_id, iif(e.id % 2, 'blocked', 'waiting'), \
            iif(e.id % 2, '', '2099-01-01T00:00:00.000000Z') FROM outgoing_events e, outgoing_endpoints p;
         UPDATE outgoing_endpoints SET position = 100000;",
    )
    .unwrap();
    let turns: Vec<_> = (0..64)
        .map(|n| Write::AppendTurn(parse_turn(turn(&format!("fresh_{n}"), 1).to_string().as_bytes(), None).unwrap()))
        .collect();
    apply(&turns);
    let start = Instant::now();
    for _ in 0..20 {
        let batch = store.outgoing(&endpoint, Timestamp::now(), None).unwrap();
        assert_eq!((batch.fresh.len(), batch.due.len()), (64, 0));
        assert!(batch.fresh.iter().all(|pending| !pending.is_blocked));
    }
    // Reading all that waits for each of them takes many times as long.
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
fn after_ten_tries_a_notice_is_given_up_shown_and_can_be_retried() {
    let receiver = Receiver::answering(|request, _| {
        if request.call() == "conv_a" && request.kind() == "call.started" {
            Reply::status(503)
        } else {
            Reply::status(200)
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let service = Service::start_on(&database, &flags(&receiver.url(), "100us"));
    play(&service, "conv_a");
    // The later notice of the call goes out once the earlier one is given up.
    wait_for("the later notice", || (receiver.kinds("conv_a") == ["call.ended"]).then_some(()));
    let tries = |receiver: &Receiver| receiver.requests().iter().filter(|r| r.kind() == "call.started").count();
    assert_eq!(tries(&receiver), 10);
    let check = |service: &Service| {
        let state = endpoint(service);
        assert_eq!((&state["failed"], &state["waiting"], &state["unsent"]), (&json!(1), &json!(0), &json!(0)));
        let failed = &state["failed_deliveries"][0];
        assert_eq!(failed["type"], "call.started");
        assert_eq!((&failed["conversation_id"], &failed["tries"]), (&json!("conv_a"), &json!(10)));
        assert_eq!(failed["last_status"], 503);
        state["id"].as_str().unwrap().to_owned()
    };
    wait_for("the outcomes to be stored", || (endpoint(&service)["waiting"] == 0).then_some(()));
    check(&service);
    service.stop();
    let service = Service::start_on(&database, &flags(&receiver.url(), "100us"));
    let id = check(&service);
    receiver.answer(|_, _| Reply::status(200));
    service.post(&format!("/api/v1/webhooks/{id}/retry"), &json!({})).expect(204);
    wait_for("the retry", || (receiver.kinds("conv_a").len() == 2).then_some(()));
    wait_for("the failure to be gone", || (endpoint(&service)["failed"] == 0).then_some(()));
}

#[test]
fn a_receiver_that_asks_for_a_pause_gets_it() {
    let receiver = Receiver::answering(|_, earlier| {
        if earlier == 0 { Reply::Status(429, "Retry-After: 2\r\n".to_owned()) } else { Reply::status(200) }
    });
    let service = notifying(&receiver, "1ms");
    service.deliver(&turn("conv_a", 1)).expect(201);
    wait_for("the second try", || receiver.accepted().pop());
    let requests = receiver.requests();
    assert!(requests[1].at - requests[0].at >= Duration::from_millis(1950), "{requests:?}");
}

#[test]
fn a_pause_that_a_receiver_asks_for_outlasts_a_restart() {
    let receiver = Receiver::answering(|_, _| Reply::Status(429, "Retry-After: 600\r\n".to_owned()));
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let service = on(&database, &receiver);
    service.deliver(&turn("conv_a", 1)).expect(201);
    wait_for("the outcome to be stored", || (endpoint(&service)["waiting"] == 1).then_some(()));
    service.stop();
    receiver.answer(|_, _| Reply::status(200));
    let service = on(&database, &receiver);
    play(&service, "conv_b");
    wait_for("the notices of another call", || (receiver.kinds("conv_b") == BOTH).then_some(()));
    assert_eq!(receiver.requests().iter().filter(|request| request.call() == "conv_a").count(), 1);
}

#[test]
fn a_receiver_that_is_gone_is_switched_off_until_a_retry_even_over_a_restart() {
    let receiver = Receiver::answering(|_, _| Reply::status(410));
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let service = on(&database, &receiver);
    play(&service, "conv_a");
    wait_for("the endpoint to be off", || (endpoint(&service)["status"] == "switched_off").then_some(()));
    wait_for("the metric", || (Scrape::take(&service).whole("outgoing_endpoints_off") == 1).then_some(()));
    service.stop();
    assert_eq!(receiver.requests().len(), 1);
    receiver.answer(|_, _| Reply::status(200));
    let service = on(&database, &receiver);
    play(&service, "conv_b");
    wait_for("the metric", || (Scrape::take(&service).whole("outgoing_endpoints_off") == 1).then_some(()));
    let state = endpoint(&service);
    assert_eq!((&state["status"], &state["unsent"]), (&json!("switched_off"), &json!(4)));
    assert_eq!(receiver.requests().len(), 1, "nothing was sent");
    let id = state["id"].as_str().unwrap();
    // A test is sent, but switches nothing on.
    assert_eq!(service.post(&format!("/api/v1/webhooks/{id}/test"), &json!({})).expect(200).json()["delivered"], true);
    assert_eq!(endpoint(&service)["status"], "switched_off");
    service.post(&format!("/api/v1/webhooks/{id}/retry"), &json!({})).expect(204);
    for call in ["conv_a", "conv_b"] {
        wait_for("both notices", || (receiver.kinds(call) == BOTH).then_some(()));
    }
}

#[test]
fn a_receiver_that_drips_its_answers_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (sender, requests) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let (mut connection, sender) = (connection.unwrap(), sender.clone());
            std::thread::spawn(move || {
                let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
                while !request.ends_with(b"}}") {
                    let length = connection.read(&mut buffer).unwrap_or(0);
                    request.extend_from_slice(&buffer[..length]);
                    if length == 0 {
                        return;
                    }
                }
                let _ = sender.send(Instant::now());
                let head = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n";
                let mut is_open = connection.write_all(head).is_ok();
                while is_open {
                    std::thread::sleep(Duration::from_millis(20));
                    is_open = connection.write_all(b"x").is_ok();
                }
            });
        }
    });
    let service = Service::start_with(&flags(&url, "1h"));
    play(&service, "conv_a");
    let first = requests.recv_timeout(Duration::from_secs(30)).unwrap();
    let second = requests.recv_timeout(Duration::from_secs(30)).unwrap();
    assert!(second - first < Duration::from_secs(10), "the time-out of a request is longer: {:?}", second - first);
    wait_for("both to count as received", || (endpoint(&service)["waiting"] == 0).then_some(()));
}

#[test]
fn a_silent_or_dead_receiver_delays_neither_another_one_nor_a_turn() {
    let (good, silent) = (Receiver::start(), Receiver::answering(|_, _| Reply::Silence));
    let (good_url, silent_url, dead_url) = (good.url(), silent.url(), format!("http://127.0.0.1:{}/", free_port()));
    let more = ["--webhook-url", &silent_url, "--webhook-url", &dead_url];
    let service = Service::start_with(&[&flags(&good_url, "1ms"), &more[..]].concat());
    for n in 0..40 {
        play(&service, &format!("conv_{n}"));
    }
    for n in 0..40 {
        let call = format!("conv_{n}");
        wait_for("both notices", || (good.kinds(&call) == BOTH).then_some(()));
    }
    // The silent one is still in its first request, whose time-out is far away.
    assert_eq!(silent.requests().len(), 1);
    let states = service.get("/api/v1/webhooks").expect(200).json();
    let unsent = |n: usize| states["data"][n]["unsent"].as_u64().unwrap();
    assert_eq!(unsent(1), 80);
    assert!(unsent(2) > 0, "a dead receiver is not tried for each notice");
}

#[test]
fn what_a_dead_receiver_missed_reaches_it_when_it_is_back() {
    let receiver = Receiver::answering(|_, _| Reply::status(500));
    let service = notifying(&receiver, "5ms");
    for n in 0..30 {
        play(&service, &format!("conv_{n}"));
    }
    // Several failures in a row pause the endpoint.
    wait_for("some failures", || (receiver.requests().len() >= 8).then_some(()));
    receiver.answer(|_, _| Reply::status(200));
    for n in 0..30 {
        let call = format!("conv_{n}");
        wait_for("both notices", || (receiver.kinds(&call) == BOTH).then_some(()));
    }
    wait_for("the lag to be gone", || (Scrape::take(&service).whole("outgoing_lag_seconds") == 0).then_some(()));
}

/// Stores deliveries of this many erased calls that wait for a later try.
fn add_waiting(database: &Path, number: usize) {
    let file = rusqlite::Connection::open(database).unwrap();
    file.busy_timeout(Duration::from_secs(10)).unwrap();
    file.execute_batch(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {number}) \
         INSERT INTO outgoing_events (type, conversation_id, at) \
         SELECT 'call.erased', 'waits_' || i, '2026-09-28T12:00:00.000000Z' FROM n;
         INSERT INTO outgoing_deliveries (endpoint, event_id, conversation_id, state, tries, next_try, last_try) \
         SELECT p.id, e.id, e.conversation_id, 'waiting', 1, \
            strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '+' || (3600 + e.id % 100) || ' seconds'), \
            strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '-60 seconds') \
         FROM outgoing_events e, outgoing_endpoints p WHERE e.conversation_id GLOB 'waits_*';
         UPDATE outgoing_endpoints SET position = (SELECT max(id) FROM outgoing_events), switched_off_at = NULL;"
    ))
    .unwrap();
}

#[test]
fn what_waits_for_later_is_sent_once_when_the_receiver_answers_again_and_no_row_is_changed_before() {
    const WAITING: usize = 300;
    // Some are refused for ever.
    let refuses = |request: &Request| request.kind() == "call.erased" && request.call().ends_with('7');
    let receiver = Receiver::answering(|_, _| Reply::status(410));
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let url = receiver.url();
    let flags = flags(&url, "1h");
    let start = || Service::start_on(&database, &flags);
    let service = start();
    play(&service, "conv_a");
    wait_for("the endpoint to be off", || (endpoint(&service)["status"] == "switched_off").then_some(()));
    service.stop();
    add_waiting(&database, WAITING);
    receiver.answer(move |request, _| Reply::status(if refuses(request) { 500 } else { 200 }));
    let service = start();
    let retry = || {
        let id = endpoint(&service)["id"].as_str().unwrap().to_owned();
        service.post(&format!("/api/v1/webhooks/{id}/retry"), &json!({})).expect(204);
    };
    retry();
    let due = || -> i64 {
        let due = "SELECT count(*) FROM outgoing_deliveries WHERE state = 'waiting' AND next_try = ''";
        service.sqlite().query_row(due, [], |row| row.get(0)).unwrap()
    };
    let mut most_due = 0;
    wait_for("what waits to be sent", || {
        most_due = most_due.max(due());
        (receiver.accepted().len() == WAITING * 9 / 10).then_some(())
    });
    assert_eq!(most_due, 0, "rows that are made due at once would hold the writer");
    wait_for("the outcomes", || (endpoint(&service)["waiting"] == WAITING / 10).then_some(()));
    let tries = |receiver: &Receiver| receiver.requests().iter().filter(|request| refuses(request)).count();
    assert_eq!(tries(&receiver), WAITING / 10, "each is tried once");
    receiver.answer(|_, _| Reply::status(200));
    retry();
    wait_for("the rest to be sent", || (receiver.accepted().len() == WAITING).then_some(()));
    wait_for("the outcomes", || (endpoint(&service)["waiting"] == 0).then_some(()));
}

#[test]
fn what_waits_beyond_a_million_is_dropped_and_counted() {
    let receiver = Receiver::answering(|_, _| Reply::status(410));
    let service = notifying(&receiver, "10ms");
    service.deliver(&turn("conv_a", 1)).expect(201);
    wait_for("the endpoint to be off", || (endpoint(&service)["status"] == "switched_off").then_some(()));
    let file = rusqlite::Connection::open(service.database()).unwrap();
    file.busy_timeout(Duration::from_secs(10)).unwrap();
    let jump = "UPDATE sqlite_sequence SET seq = 1000000 WHERE name = 'outgoing_events'";
    file.execute(jump, []).unwrap();
    for call in ["conv_b", "conv_c"] {
        service.deliver(&turn(call, 1)).expect(201);
    }
    let state = endpoint(&service);
    assert_eq!((&state["unsent"], &state["dropped"]), (&json!(2), &json!(2)));
}
