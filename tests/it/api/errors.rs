//! Every error of every endpoint has the one shape, whoever made it: a handler, the framework, a panic.

use crate::support::service::{Service, TURNS};
use poem::listener::TcpAcceptor;
use poem::{Endpoint, Route, Server};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use transcribe_hook::server::RequestLayer;

/// Sends bytes as they are and reads the answer until the service closes the connection.
fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_path_that_does_not_exist_is_404() {
    let service = Service::start();
    for path in ["/nope", "/api/v1/", "/api/v1/calls/", "/api/v2/calls", "/webhooks/elevenlabs/transcription/x", "//"] {
        service.get(path).expect_error(404);
    }
}

#[test]
fn a_wrong_method_is_405_and_says_which_are_right() {
    let service = Service::start();
    let answer = service.get(TURNS);
    assert_eq!(answer.header("allow"), Some("POST"));
    assert!(answer.expect_error(405)["details"].as_str().unwrap().contains("POST"));
    let answer = service.post("/api/v1/calls/conv_a", &json!({}));
    assert_eq!(answer.header("allow"), Some("DELETE, GET, HEAD, PATCH"));
    answer.expect_error(405);
}

#[test]
fn a_request_id_is_echoed_when_it_is_fit_to_be_logged_and_else_replaced() {
    let service = Service::start();
    let answer = service.post_raw(TURNS, &[("x-request-id", "abc-123")], b"");
    assert_eq!(answer.header("x-request-id"), Some("abc-123"));
    assert_eq!(answer.expect_error(415)["request_id"], "abc-123");
    for unfit in ["two words", &"x".repeat(129)] {
        let answer = service.post_raw(TURNS, &[("x-request-id", unfit)], b"");
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert!(id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    }
    let ids: std::collections::HashSet<_> =
        (0..50).map(|_| service.get("/healthz").header("x-request-id").unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 50, "each request has its own");
}

#[test]
fn a_body_that_never_ends_as_announced_stores_nothing_and_hurts_nobody() {
    let service = Service::start();
    let mut stream = TcpStream::connect(service.address()).unwrap();
    write!(
        stream,
        "POST {TURNS} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{{\""
    )
    .unwrap();
    drop(stream);
    let answer = raw(service.address(), "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: nonsense\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let answer = raw(service.address(), "nonsense\r\n\r\n");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    service.get("/healthz").expect(200);
    assert_eq!(service.get("/api/v1/calls").expect(200).json()["data"], json!([]));
}

#[test]
fn a_chunked_body_without_a_length_is_taken_and_still_limited() {
    let service = Service::start_with(&["--max-body", "1KiB"]);
    let post = |body: &str| {
        raw(
            service.address(),
            &format!(
                "POST {TURNS} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
                 transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
                body.len()
            ),
        )
    };
    let answer = post(&crate::support::turns::turn("conv_a", 1).to_string());
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let answer = post(&format!("{{\"message\":\"{}\"}}", "m".repeat(2000)));
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

/// Words that no response may contain.
const WORDS: &str = "words of a call";

/// An endpoint that panics with words of a call in its message.
struct Panics;

impl Endpoint for Panics {
    type Output = poem::Response;

    async fn call(&self, request: poem::Request) -> poem::Result<poem::Response> {
        panic!("on {} with {WORDS}", request.uri())
    }
}

#[test]
fn a_panic_is_500_in_the_one_shape_and_the_service_lives_on() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let app = RequestLayer::new_routed(Route::new().at("/panics", Panics), r#"{"paths": {"/panics": {"get": {}}}}"#);
    runtime.spawn(async move {
        let acceptor = TcpAcceptor::from_std(listener).unwrap();
        Server::new_with_acceptor(acceptor).run(app).await
    });
    for _ in 0..2 {
        let answer = raw(address, "GET /panics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
        let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(body["status"], "error");
        assert_eq!(body["details"], Value::Null);
        assert!(!answer.contains(WORDS), "{answer}");
    }
}
