//! Live streams and short requests at a small number of connections: neither keeps the other out.

use crate::support::service::{Service, TURNS, wait_for};
use crate::support::sse::{Events, Step};
use crate::support::turns::turn;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

const STREAM: &str = "/api/v1/events";

/// A delivery on a connection of its own, and the answer's status.
fn deliver(service: &Service, n: usize) -> Option<u16> {
    let body = turn("conv_a", n).to_string();
    let mut stream = TcpStream::connect(service.address()).ok()?;
    let head = format!("POST {TURNS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n");
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.get(9..12)?.parse().ok()
}

/// A stream in a thread, which ends with the stream.
fn open(service: &Service) -> std::thread::JoinHandle<()> {
    let mut stream = Events::open(service.address(), STREAM, None);
    std::thread::spawn(move || while !matches!(stream.step(), Step::End) {})
}

#[test]
fn streams_at_every_connection_give_way_to_turns_the_oldest_first_and_a_quarter_stays() {
    let service = Service::start_with(&["--max-connections", "8", "--stream-heartbeat", "1s"]);
    let streams: Vec<_> = (0..8).map(|_| open(&service)).collect();
    for n in 0..40 {
        wait_for("the turn to be stored", || (deliver(&service, n)? == 201).then_some(()));
    }
    assert_eq!(service.turns_stored(), 40);
    // One place is enough for turns one after the other, and the oldest had it.
    wait_for("the oldest stream to end", || streams[0].is_finished().then_some(()));
    assert!(!streams[7].is_finished() && !streams[6].is_finished(), "the newest stay");
    assert!(streams.iter().filter(|stream| !stream.is_finished()).count() >= 2);
}

#[test]
fn turns_at_every_connection_leave_a_stream_alone() {
    let service = Service::start_with(&["--max-connections", "4", "--stream-heartbeat", "1s"]);
    let stream = open(&service);
    std::thread::scope(|scope| {
        for client in 0..8 {
            let service = &service;
            scope.spawn(move || {
                for n in 0..20 {
                    wait_for("the turn to be stored", || (deliver(service, client * 100 + n)? == 201).then_some(()));
                }
            });
        }
    });
    assert_eq!(service.turns_stored(), 160);
    assert!(!stream.is_finished(), "the one stream is within the streams' share");
}
