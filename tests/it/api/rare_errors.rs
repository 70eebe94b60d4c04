//! Codes of errors that need a race, a slow read or a stop, each provoked for real.

use crate::support::service::{Service, TURNS, wait_for};
use crate::support::whole_call::{SECRET, post_signed};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[test]
fn a_driver_that_is_deleted_while_it_is_stored_is_told_so() {
    let service = Service::start();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    service.delete("/api/v1/drivers/1");
                }
            });
        }
        let put = || service.put("/api/v1/drivers/1", &json!({ "name": "Maria Kowalski" }));
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for("a deletion between storing and reading", || Some(put()).filter(|answer| answer.status == 503))
        }));
        done.store(true, Ordering::Relaxed);
        let answer = found.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        assert!(answer.header("retry-after").is_some());
        assert_eq!(answer.expect_error(503)["code"], "deleted_meanwhile");
    });
}

/// Returns whether the process has a thread that runs a deep read.
fn reads_deeply(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut names = threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
    names.any(|name| name.trim() == "deep read")
}

#[test]
fn a_read_beyond_its_time_is_told_so() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    let words = "Your reefer is reading forty five degrees. ".repeat(34);
    let turn = |n| json!({ "role": "agent", "time_in_call_secs": n, "message": format!("{n} {words}") });
    for call in 0..2 {
        let event = json!({ "type": "post_call_transcription", "event_timestamp": 1_790_596_855, "data": {
            "conversation_id": format!("conv_{call}"), "status": "done",
                "transcript": (0..9000).map(turn).collect::<Value>(),
            "metadata": { "start_time_unix_secs": 1_790_596_800 } } });
        post_signed(&service, &event.to_string()).expect(200);
    }
    // The process is stopped while it reads, until the time of the read is over. A read that was quicker than the
    // signal is tried again.
    let answer = wait_for("a read that takes too long", || {
        std::thread::scope(|scope| {
            // No index has texts without a letter or digit.
            let read = scope.spawn(|| service.get("/api/v1/calls?q=~~~"));
            wait_for("the read to begin", || (reads_deeply(service.pid()) || read.is_finished()).then_some(()));
            service.signal("STOP");
            let stopped = Instant::now();
            if !read.is_finished() {
                wait_for("its time to be over", || (stopped.elapsed() > Duration::from_secs(6)).then_some(()));
            }
            service.signal("CONT");
            Some(read.join().unwrap()).filter(|answer| answer.status == 503)
        })
    });
    assert!(answer.header("retry-after").is_some());
    assert_eq!(answer.expect_error(503)["code"], "query_too_slow");
}

#[test]
fn a_stream_that_is_asked_for_while_the_service_stops_is_told_so() {
    // A service that stops waits a second for the rest of a head. A slow machine may send it later.
    wait_for("an answer", || {
        let service = Service::start();
        let begin = |head: &str| {
            let mut stream = TcpStream::connect(service.address()).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            stream
        };
        let mut asking = begin("GET /api/v1/events HTTP/1.1\r\nhost: x\r\n");
        // A request that runs keeps the service from ending at once.
        let _running = begin(&format!(
            "POST {TURNS} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{{"
        ));
        service.get("/healthz").expect(200);
        service.signal("TERM");
        wait_for("connections to be refused", || TcpStream::connect(service.address()).is_err().then_some(()));
        let _ = asking.write_all(b"\r\n");
        let mut answer = String::new();
        if asking.read_to_string(&mut answer).is_err() || answer.is_empty() {
            return None;
        }
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(body["code"], "shutting_down");
        let (status, _) = service.wait();
        assert!(status.success());
        Some(())
    });
}
