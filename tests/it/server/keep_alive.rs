//! Responses that keep their connection, and the headers that say so.

use crate::support::service::{Service, TURNS};
use crate::support::turns::turn;
use crate::support::whole_call::{POST_CALL, SECRET};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

/// An answer: its status, its lines `Connection`, and its body.
#[derive(Debug)]
struct Raw {
    status: u16,
    connection: Vec<String>,
}

fn read(stream: &mut BufReader<TcpStream>) -> Option<Raw> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let status = line[9..12].parse().unwrap();
    let (mut connection, mut length) = (Vec::new(), None);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "connection" => connection.push(value.trim().to_ascii_lowercase()),
            "content-length" => length = Some(value.trim().parse().unwrap()),
            _ => {}
        }
    }
    let mut body = vec![0; length.expect("these answers say their length")];
    stream.read_exact(&mut body).unwrap();
    Some(Raw { status, connection })
}

fn connect(service: &Service) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(service.address()).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_mins(1))).unwrap();
    BufReader::new(stream)
}

fn send(stream: &mut BufReader<TcpStream>, bytes: &str) {
    stream.get_mut().write_all(bytes.as_bytes()).unwrap();
}

fn post(path: &str, kind: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn refusals_without_a_body_or_of_a_short_one_keep_the_connection() {
    let flags =
        ["--elevenlabs-secret", SECRET, "--ingest-token", "ingest_0123456789abcdef", "--refusals-per-minute", "0"];
    let service = Service::start_with(&flags);
    let body = turn("conv_a", 1).to_string();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    let chunked = format!(
        "POST {TURNS} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: \
         chunked\r\n\r\n\
         5\r\nhello\r\n0\r\n\r\n"
    );
    let mut stream = connect(&service);
    for _ in 0..2 {
        for (request, status) in [
            (get("/api/v1/calls/none"), 404),
            (get("/nowhere"), 404),
            (get(TURNS), 401),
            (get("/api/v1/calls?limit=0"), 400),
            ("DELETE /api/v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".to_owned(), 405),
            (post(TURNS, "application/json", &body), 401),
            (post("/nowhere", "application/json", &body), 404),
            (post("/api/v1/calls", "application/json", &body), 405),
            (post("/api/v1/dispatches", "text/plain", &body), 415),
            (post("/api/v1/dispatches", "application/json", "[]"), 400),
            (post(POST_CALL, "application/json", &body), 401),
            (chunked.clone(), 401),
            (get("/healthz"), 200),
        ] {
            send(&mut stream, &request);
            let answer = read(&mut stream).unwrap_or_else(|| panic!("the connection was closed at {request}"));
            assert_eq!(answer.status, status, "{request}");
            assert!(answer.connection.is_empty(), "{answer:?} to {request}");
        }
    }
}

#[test]
fn a_long_body_that_nobody_wants_ends_the_connection_and_that_is_said() {
    let service = Service::start_with(&["--ingest-token", "ingest_0123456789abcdef"]);
    for expects in ["", "Expect: 100-continue\r\n"] {
        let mut stream = connect(&service);
        let length = if expects.is_empty() { 400_000 } else { 1000 };
        send(
            &mut stream,
            &format!(
                "POST {TURNS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{expects}Content-Length: \
                 {length}\r\n\r\n"
            ),
        );
        let answer = read(&mut stream).unwrap();
        assert_eq!((answer.status, answer.connection), (401, vec!["close".to_owned()]), "{expects}");
        assert!(read(&mut stream).is_none(), "it is closed");
    }
}

#[test]
fn a_client_of_http_1_0_is_told_once_whether_its_connection_stays() {
    let service = Service::start_with(&["--api-token", "api_0123456789abcdef0123456789abcdef"]);
    let mut stream = connect(&service);
    for (path, status) in [("/healthz", 200), ("/api/v1/calls/none", 401), ("/nowhere", 401), ("/healthz", 200)] {
        send(&mut stream, &format!("GET {path} HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"));
        let answer = read(&mut stream).unwrap();
        assert_eq!((answer.status, answer.connection), (status, vec!["keep-alive".to_owned()]), "{path}");
    }
    let long = format!(
        "POST {TURNS} HTTP/1.0\r\nConnection: keep-alive\r\nContent-Type: text/plain\r\nContent-Length: 400000\r\n\r\n"
    );
    send(&mut stream, &long);
    let answer = read(&mut stream).unwrap();
    assert_eq!((answer.status, answer.connection), (415, vec!["close".to_owned()]));
    assert!(read(&mut stream).is_none(), "it is closed");
    let mut stream = connect(&service);
    send(&mut stream, "GET /healthz HTTP/1.0\r\nHost: x\r\n\r\n");
    let answer = read(&mut stream).unwrap();
    assert!(!answer.connection.contains(&"keep-alive".to_owned()), "{answer:?}");
    assert!(read(&mut stream).is_none(), "it is closed");
}
