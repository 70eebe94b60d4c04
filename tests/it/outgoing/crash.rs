//! kill -9 while notices are sent: the receiver's ledger has each one, in order for each call.

use crate::support::receiver::{Receiver, Reply, WEBHOOK_SECRET};
use crate::support::service::{Service, wait_for};
use crate::support::turns::turn;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Starts and ends calls from several clients until the process is gone, which is killed after some calls. Notes the
/// steps that were acknowledged.
fn load(service: &Service, round: usize, acknowledged: &Mutex<BTreeMap<String, usize>>) {
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let done = &done;
            scope.spawn(move || {
                for n in 0.. {
                    let call = format!("conv_{round}_{client}_{n}");
                    let started = service.try_deliver(&turn(&call, 1)).is_ok_and(|answer| answer.status == 201);
                    if !started {
                        break;
                    }
                    acknowledged.lock().unwrap().insert(call.clone(), 1);
                    let end = json!({"status": "completed"});
                    let ended = service.try_patch(&format!("/api/v1/calls/{call}"), &end);
                    if !ended.is_ok_and(|answer| answer.status == 200) {
                        break;
                    }
                    acknowledged.lock().unwrap().insert(call, 2);
                    if done.fetch_add(1, Ordering::Relaxed) == 15 * (round + 1) {
                        service.signal("KILL");
                    }
                }
            });
        }
    });
}

#[test]
fn kill_9_loses_no_notice_and_keeps_the_order_of_each_call() {
    // Every third request fails at first, so that retries are cut off too.
    let number = AtomicUsize::new(0);
    let receiver = Receiver::answering(move |_, earlier| {
        let fails = earlier == 0 && number.fetch_add(1, Ordering::Relaxed).is_multiple_of(3);
        Reply::status(if fails { 500 } else { 200 })
    });
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let url = receiver.url();
    let flags = ["--webhook-url", &url, "--webhook-secret", WEBHOOK_SECRET, "--webhook-retry-pause", "20ms"];
    let flags = [&flags[..], &["--log-level", "info,http=off"]].concat();
    let acknowledged = Mutex::default();
    for round in 0..4 {
        let service = Service::start_on(&database, &flags);
        load(&service, round, &acknowledged);
        service.wait();
    }
    let _service = Service::start_on(&database, &flags);
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.len() > 40);
    for (call, steps) in &acknowledged {
        let wanted = &["call.started", "call.ended"][..*steps];
        wait_for("the notices of a call", || {
            let kinds = receiver.kinds(call);
            assert!(kinds.iter().zip(["call.started", "call.ended"]).all(|(is, wanted)| is == wanted), "{kinds:?}");
            (kinds.len() >= wanted.len()).then_some(())
        });
    }
    for request in receiver.requests() {
        request.verify(WEBHOOK_SECRET);
    }
}
