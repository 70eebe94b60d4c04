//! Erasing a driver with many calls while much is going on.

use crate::support::service::{Answer, Service, wait_for};
use crate::support::turns::turn;
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A service with a driver who has so many calls.
fn with_calls(flags: &[&str], calls: usize) -> Service {
    let service = Service::start_with(&[flags, &["--log-level", "info,http=off"]].concat());
    service.put("/api/v1/drivers/7", &json!({"name": "Jo"})).expect(201);
    for n in 0..calls {
        let id = format!("conv_{n}");
        service.put(&format!("/api/v1/dispatches/{id}"), &json!({"driver_id": 7})).expect(201);
        service.deliver(&turn(&id, n)).expect(201);
    }
    service
}

fn erase(service: &Service, id: i64) -> Answer {
    service.delete(&format!("/api/v1/drivers/{id}?erase_calls=true"))
}

#[test]
fn overload_in_its_midst_is_503_that_says_what_was_done_and_asking_again_goes_on() {
    let service = with_calls(&["--queue-capacity", "1"], 150);
    let done = AtomicBool::new(false);
    let mut unfinished = 0;
    std::thread::scope(|scope| {
        for client in 0..12 {
            let (service, done) = (&service, &done);
            scope.spawn(move || {
                for n in 0.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    let status = service.deliver(&turn(&format!("other_{client}"), n)).status;
                    assert!([201, 503].contains(&status), "{status}");
                }
            });
        }
        let end = Instant::now() + Duration::from_mins(2);
        loop {
            let answer = erase(&service, 7);
            if answer.status == 204 {
                break;
            }
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
            assert_eq!(answer.expect_error(503)["code"], "partly_done");
            unfinished += 1;
            assert!(Instant::now() < end, "it goes on");
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(unfinished > 0, "the queue was full at times");
    let left: i64 = service
        .sqlite()
        .query_row("SELECT count(*) FROM calls WHERE conversation_id LIKE 'conv%'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0);
    erase(&service, 7).expect_error(404);
}

#[test]
fn one_driver_is_erased_at_a_time_and_reads_go_on() {
    // The second may come too late on a slow machine.
    wait_for("the second to be refused", || {
        let service = with_calls(&["--readers", "1"], 150);
        service.put("/api/v1/drivers/8", &json!({"name": "Maria"})).expect(201);
        let mut refused = false;
        std::thread::scope(|scope| {
            let first = scope.spawn(|| erase(&service, 7));
            wait_for("the first calls to be gone", || {
                (service.get("/api/v1/calls/conv_0").status == 404).then_some(())
            });
            while !first.is_finished() {
                if !refused {
                    let second = erase(&service, 9);
                    refused = second.status == 503;
                    assert!(!refused || second.header("retry-after").is_some());
                }
                let start = Instant::now();
                service.get("/api/v1/drivers/8").expect(200);
                assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
            }
            first.join().unwrap().expect(204);
        });
        erase(&service, 8).expect(204);
        refused.then_some(())
    });
}

#[test]
fn deleting_a_driver_with_more_calls_than_one_transaction_takes_keeps_them_all() {
    const CALLS: usize = 1_001;
    let service = with_calls(&[], 0);
    for from in (0..CALLS).step_by(500) {
        let dispatch = |n: usize| json!({"conversation_id": format!("conv_{n}"), "driver_id": 7});
        let dispatches: Vec<_> = (from..CALLS.min(from + 500)).map(dispatch).collect();
        service.post("/api/v1/dispatches", &json!({"dispatches": dispatches})).expect(200);
    }
    for n in 0..CALLS {
        service.deliver(&turn(&format!("conv_{n}"), n)).expect(201);
    }
    let with_driver = |table: &str| -> i64 {
        let sql = format!("SELECT count(*) FROM {table} WHERE driver_id = 7");
        service.sqlite().query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!((with_driver("calls"), with_driver("call_dispatches")), (1_001, 1_001));
    service.delete("/api/v1/drivers/7").expect(204);
    assert_eq!((with_driver("calls"), with_driver("call_dispatches")), (0, 0));
    let calls: i64 = service.sqlite().query_row("SELECT count(*) FROM calls", [], |row| row.get(0)).unwrap();
    assert_eq!(calls, 1_001);
    service.delete("/api/v1/drivers/7").expect_error(404);
}
