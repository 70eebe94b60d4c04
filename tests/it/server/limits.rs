//! Limits of connections: clients that hold them open, send slowly or read nothing keep nobody out, and excess is
//! refused clearly.

use crate::support::service::{Service, TURNS, peak, wait_for};
use crate::support::turns::turn;
use serde_json::json;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(2))).unwrap();
    stream
}

/// Reads until the service closes the connection.
fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}"),
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// A whole delivery on a connection of its own.
fn deliver(address: SocketAddr, n: usize) -> String {
    let body = turn("conv_honest", n).to_string();
    let mut stream = connect(address);
    let head =
        format!("POST {TURNS} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n");
    // A connection that gave its place to another takes nothing more.
    let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
    rest(&mut stream)
}

/// Keeps a thousand connections open that each say `beginning` and then, ever so slowly, `more`; meanwhile others
/// deliver.
fn hold_open(service: &Service, beginning: &str, more: &[u8]) {
    const ATTACKERS: usize = 1000;
    let address = service.address();
    let (end, opened) = (AtomicBool::new(false), AtomicUsize::new(0));
    let begin = || {
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_nonblocking(true).ok()?;
        stream.write_all(beginning.as_bytes()).ok()?;
        opened.fetch_add(1, Ordering::Relaxed);
        Some(stream)
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut streams: Vec<Option<TcpStream>> = (0..ATTACKERS).map(|_| begin()).collect();
            while !end.load(Ordering::Relaxed) {
                for stream in &mut streams {
                    if stream.as_mut().is_none_or(|stream| stream.write_all(more).is_err()) {
                        *stream = begin();
                    }
                }
            }
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for("the attackers to have come", || (opened.load(Ordering::Relaxed) >= ATTACKERS).then_some(()));
            for n in 0..20 {
                let started = Instant::now();
                let answer = deliver(address, n);
                assert!(answer.starts_with("HTTP/1.1 201"), "delivery {n}: {answer:?}");
                assert!(started.elapsed() < Duration::from_secs(5), "delivery {n} took {:?}", started.elapsed());
            }
        }));
        end.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let turns: i64 = service.sqlite().query_row("SELECT turn_count FROM calls", [], |row| row.get(0)).unwrap();
    assert_eq!(turns, 20);
    let peak = peak(service.pid());
    eprintln!("peak memory {peak} KiB");
    assert!(peak < 100 * 1024, "{peak} KiB");
}

#[test]
fn a_thousand_unfinished_heads_keep_nobody_out() {
    let service = Service::start_with(&["--max-connections", "1000"]);
    hold_open(&service, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"X-A: b\r\n");
}

#[test]
fn a_thousand_unfinished_bodies_keep_nobody_out() {
    let service = Service::start_with(&["--max-connections", "1000"]);
    let head = format!("POST {TURNS} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n");
    hold_open(&service, &format!("{head}Content-Length: 500000\r\n\r\n{{"), b" ");
}

#[test]
fn a_head_that_does_not_end_a_body_that_does_not_and_an_idle_connection_are_closed() {
    let flags = ["--header-timeout", "300ms", "--body-timeout", "400ms", "--idle-timeout", "500ms"];
    let service = Service::start_with(&flags);
    let post =
        format!("POST {TURNS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{{");
    for (begun, least) in
        [("", 300), ("GET /hea", 300), (post.as_str(), 400), ("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 500)]
    {
        wait_for("an end long before the time that is granted otherwise", || {
            let started = Instant::now();
            let mut stream = connect(service.address());
            stream.write_all(begun.as_bytes()).unwrap();
            let answer = rest(&mut stream);
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 200"), "{answer}");
            let took = started.elapsed();
            assert!(took >= Duration::from_millis(300), "{begun:?}: {took:?}");
            // On a slow machine what is sent may come after the time for a head.
            (Duration::from_millis(least)..Duration::from_secs(10)).contains(&took).then_some(())
        });
    }
    // The time for a head does not begin anew with each byte of it.
    let mut stream = connect(service.address());
    let started = Instant::now();
    while stream.write_all(b"G").is_ok() {
        assert!(started.elapsed() < Duration::from_mins(1), "a head of many bytes is closed too");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn a_request_at_work_is_not_closed_for_its_time() {
    let flags = ["--header-timeout", "100ms", "--body-timeout", "100ms", "--idle-timeout", "100ms"];
    let service = Service::start_with(&[&flags[..], &["--write-timeout", "2m"]].concat());
    let lock = rusqlite::Connection::open(service.database()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let address = service.address();
    // A slow machine may send the head or the body too late. A service that closes what is at work does so each time.
    let waiting = wait_for("a delivery that waits for the lock", || {
        let waiting = std::thread::spawn(move || deliver(address, 1));
        let started = Instant::now();
        wait_for("some times the time-outs", || (started.elapsed() > Duration::from_millis(700)).then_some(()));
        (!waiting.is_finished()).then_some(waiting)
    });
    lock.execute_batch("ROLLBACK").unwrap();
    let answer = waiting.join().unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

#[test]
fn when_every_connection_is_at_work_a_new_one_is_told_503_and_later_served() {
    let service = Service::start_with(&["--max-connections", "3", "--write-timeout", "2m"]);
    let address = service.address();
    let lock = rusqlite::Connection::open(service.database()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    // One that has not begun yet may have to give its place to a new one.
    let insist =
        move |n| wait_for("the delivery", || Some(deliver(address, n)).filter(|answer| answer.contains(" 201 ")));
    let at_work: Vec<_> = (0..3).map(|n| std::thread::spawn(move || insist(n))).collect();
    let told = wait_for("a connection to be told", || {
        let mut stream = connect(address);
        let _ = write!(stream, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        Some(rest(&mut stream)).filter(|answer| answer.starts_with("HTTP/1.1 503"))
    });
    let (head, body) = told.split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    assert!(head.contains("retry-after: 1") && head.contains("connection: close"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["status"], "error");
    assert!(head.contains(body["request_id"].as_str().unwrap()), "{head} {body}");
    lock.execute_batch("ROLLBACK").unwrap();
    for thread in at_work {
        let answer = thread.join().unwrap();
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }
    insist(3);
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let service = Service::start();
    let mut stream = connect(service.address());
    let _ = write!(stream, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(20_000));
    let answer = rest(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer:?}");
}

#[test]
fn long_bodies_share_a_bounded_memory_and_the_slowest_beyond_it_are_told_503() {
    let service = Service::start_with(&["--body-timeout", "10m"]);
    let mut body = turn("conv_long", 1);
    body["unknown"] = json!("x".repeat(500_000));
    let body = body.to_string();
    let (most, last) = body.split_at(body.len() - 10);
    let head = format!("POST {TURNS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n");
    let mut streams: Vec<_> = (0..150)
        .map(|_| {
            let mut stream = connect(service.address());
            write!(stream, "{head}Content-Length: {}\r\n\r\n", body.len()).unwrap();
            // One that was refused already takes no more.
            let _ = stream.write_all(most.as_bytes());
            stream
        })
        .collect();
    let refused = wait_for("those beyond the memory to be refused", || {
        let log = service.log();
        let refused = log.iter().filter(|line| line.contains("\"status\":503")).count();
        (refused >= 150 - (48 << 20) / 500_000).then_some(refused)
    });
    assert!(refused < 150, "some are taken");
    let (mut stored, mut told) = (0, 0);
    for stream in &mut streams {
        let _ = stream.write_all(last.as_bytes());
        let answer = rest(stream);
        stored += usize::from(answer.starts_with("HTTP/1.1 201"));
        told +=
            usize::from(answer.starts_with("HTTP/1.1 503") && answer.to_ascii_lowercase().contains("retry-after: 1"));
    }
    assert!(stored > 30, "{stored} were stored, {told} told 503");
    let peak = peak(service.pid());
    eprintln!("peak memory {peak} KiB; {stored} stored, {told} told");
    assert!(peak < 120 * 1024, "{peak} KiB");
    assert!(deliver(service.address(), 1).starts_with("HTTP/1.1 201"));
}

#[test]
fn an_answer_that_nobody_reads_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let service = Service::start_on(&database, &[]);
    for n in 0..200 {
        let mut long = turn("conv_long", n);
        long["message"] = json!("m".repeat(60_000));
        service.deliver(&long).expect(201);
    }
    service.stop();
    // Not before, since a slow machine may take as long for a turn.
    let service = Service::start_on(&database, &["--body-timeout", "300ms"]);
    let sockets = || {
        let files = std::fs::read_dir(format!("/proc/{}/fd", service.pid())).unwrap();
        let links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
    };
    let before = sockets();
    let mut stream = connect(service.address());
    let target = "/api/v1/calls/conv_long/transcriptions?limit=1000";
    write!(stream, "GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
    wait_for("the request to be answered", || {
        service.log().iter().any(|line| line.contains("/transcriptions\"")).then_some(())
    });
    // What the system has taken of the answer already is still there to be read; nothing is sent after it.
    wait_for("the answer to be given up", || (sockets() == before).then_some(()));
    let answer = rest(&mut stream);
    assert!(answer.len() < 8_000_000, "{} bytes came, which is all", answer.len());
}
