//! Notices of calls: the types, the content, the signature, and nothing that was not asked for.

use crate::support::receiver::{Receiver, Request, WEBHOOK_SECRET};
use crate::support::service::{Service, wait_for};
use crate::support::turns::turn;
use crate::support::whole_call::{SECRET, post_signed, record};
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};

const CALL: &str = "conv_a";
const WORDS: &str = "Zanzibar";
const OTHER_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// A service that notifies this receiver.
fn notifying(receiver: &Receiver, more: &[&str]) -> Service {
    let url = receiver.url();
    let flags = ["--webhook-url", &url, "--webhook-secret", WEBHOOK_SECRET, "--elevenlabs-secret", SECRET];
    Service::start_with(&[&flags, more].concat())
}

/// Plays a call: a driver, turns, the record.
fn play(service: &Service) {
    service.put("/api/v1/drivers/1042", &json!({"name": "Maria Kowalski"})).expect(201);
    service.put(&format!("/api/v1/dispatches/{CALL}"), &json!({"driver_id": 1042})).expect(201);
    for n in 0..3 {
        service.deliver(&turn(CALL, n)).expect(201);
    }
    post_signed(service, &record(CALL, WORDS).to_string()).expect(200);
}

fn wait_kinds(receiver: &Receiver, call: &str, last: &str) -> Vec<String> {
    wait_for(last, || Some(receiver.kinds(call)).filter(|kinds| kinds.iter().any(|kind| kind == last)))
}

#[test]
fn a_call_is_told_from_its_start_to_its_erasure_signed_and_without_a_word_of_it() {
    let receiver = Receiver::start();
    let service = notifying(&receiver, &["--public-url", "https://calls.example.com"]);
    play(&service);
    assert_eq!(wait_kinds(&receiver, CALL, "call.reconciled"), ["call.started", "call.ended", "call.reconciled"]);
    service.patch(&format!("/api/v1/calls/{CALL}"), &json!({"status": "failed"})).expect(200);
    wait_kinds(&receiver, CALL, "call.updated");
    service.delete(&format!("/api/v1/calls/{CALL}")).expect(204);
    wait_kinds(&receiver, CALL, "call.erased");
    for request in receiver.requests() {
        request.verify(WEBHOOK_SECRET);
        let body = request.json();
        let text = body.to_string();
        assert!(![WORDS, "reefer", "Maria"].iter().any(|word| text.contains(word)), "{text}");
        let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&body), ["type", "timestamp", "data"]);
        let wanted = [
            "conversation_id",
            "status",
            "answered_by",
            "outcome",
            "driver_id",
            "duration_seconds",
            "turn_count",
            "url",
        ];
        assert_eq!(keys(&body["data"]), if request.kind() == "call.erased" { &wanted[..1] } else { &wanted });
        let sent: u64 = request.header("webhook-timestamp").parse().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!(now.abs_diff(sent) < 300, "{sent} at {now}");
        assert_eq!(request.header("content-type"), "application/json");
    }
    let ids: std::collections::HashSet<_> = receiver.requests().into_iter().map(|request| request.id).collect();
    assert_eq!(ids.len(), receiver.requests().len(), "each notice has an id of its own");
    let reconciled = receiver.accepted().into_iter().find(|request| request.kind() == "call.reconciled").unwrap();
    let data = &reconciled.json()["data"];
    let (status, driver, url) = (&data["status"], &data["driver_id"], &data["url"]);
    assert_eq!((status, driver), (&json!("completed"), &json!(1042)));
    assert_eq!(*url, json!(format!("https://calls.example.com/api/v1/calls/{CALL}")));
    // What everybody has received is deleted.
    wait_for("the outbox to be empty", || {
        let left: i64 =
            service.sqlite().query_row("SELECT count(*) FROM outgoing_events", [], |row| row.get(0)).unwrap();
        (left == 0).then_some(())
    });
}

#[test]
fn words_and_names_leave_only_with_the_flag() {
    let receiver = Receiver::start();
    let service = notifying(&receiver, &["--webhook-words"]);
    play(&service);
    wait_kinds(&receiver, CALL, "call.reconciled");
    let reconciled = receiver.accepted().into_iter().find(|request| request.kind() == "call.reconciled").unwrap();
    let data = &reconciled.json()["data"];
    assert_eq!(data["driver_name"], "Maria Kowalski");
    assert!(data["summary"].as_str().unwrap().starts_with(WORDS));
    assert!(data["title"].as_str().unwrap().starts_with(WORDS));
    assert_eq!(data["url"], format!("/api/v1/calls/{CALL}"));
}

#[test]
fn only_the_chosen_types_are_sent_to_each_receiver_once() {
    let (one, two) = (Receiver::start(), Receiver::start());
    let url = two.url();
    let service = notifying(&one, &["--webhook-events", "call.erased,call.reconciled", "--webhook-url", &url]);
    play(&service);
    service.deliver(&turn("conv_b", 1)).expect(201);
    service.delete("/api/v1/calls/conv_b").expect(204);
    for receiver in [&one, &two] {
        wait_kinds(receiver, CALL, "call.reconciled");
        wait_kinds(receiver, "conv_b", "call.erased");
        assert_eq!(receiver.requests().len(), 2);
    }
    let ids = |receiver: &Receiver| {
        let mut ids: Vec<_> = receiver.requests().into_iter().map(|request| request.id).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&one), ids(&two), "a notice has the same id everywhere");
}

#[test]
fn each_of_two_secrets_signs_each_notice() {
    let receiver = Receiver::start();
    let service = notifying(&receiver, &["--webhook-secret", OTHER_SECRET]);
    service.deliver(&turn(CALL, 1)).expect(201);
    let request = wait_for("a notice", || receiver.requests().into_iter().next());
    request.verify(WEBHOOK_SECRET);
    request.verify(OTHER_SECRET);
}

#[test]
fn an_endpoint_learns_what_is_committed_while_it_is_configured() {
    let receiver = Receiver::start();
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let url = receiver.url();
    let flags = ["--webhook-url", &*url, "--webhook-secret", WEBHOOK_SECRET];
    let stored = |service: &Service, table: &str| -> i64 {
        service.sqlite().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    for (round, flags) in [&[][..], &flags, &[], &flags].into_iter().enumerate() {
        let service = Service::start_on(&database, flags);
        service.deliver(&turn(&format!("conv_{round}"), 1)).expect(201);
        if flags.is_empty() {
            assert_eq!((stored(&service, "outgoing_events"), stored(&service, "outgoing_endpoints")), (0, 0));
        } else {
            wait_for("the notice", || {
                receiver.accepted().iter().any(|r| r.call() == format!("conv_{round}")).then_some(())
            });
        }
        service.stop();
    }
    let calls: Vec<_> = receiver.accepted().iter().map(Request::call).collect();
    assert_eq!(calls, ["conv_1", "conv_3"]);
}

#[test]
fn what_waits_about_an_erased_call_is_replaced_by_its_erasure() {
    let receiver = Receiver::answering(|_, _| crate::support::receiver::Reply::status(500));
    let service = notifying(&receiver, &["--webhook-retry-pause", "1h"]);
    service.deliver(&turn(CALL, 1)).expect(201);
    wait_for("a try", || receiver.requests().pop());
    // Before the deletion, whose notice would wait for an hour if it were refused.
    receiver.answer(|_, _| crate::support::receiver::Reply::status(200));
    service.delete(&format!("/api/v1/calls/{CALL}")).expect(204);
    wait_kinds(&receiver, CALL, "call.erased");
    assert_eq!(receiver.kinds(CALL), ["call.erased"]);
}
