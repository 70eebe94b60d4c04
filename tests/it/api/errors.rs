//! Every error of every endpoint has the one shape, whoever made it: a handler, the framework, a panic.

use crate::support::documents::document;
use crate::support::openapi::{COMMITTED, send};
use crate::support::service::{Service, TURNS, status_of_code};
use crate::support::sse::Events;
use crate::support::turns::turn;
use poem::listener::TcpAcceptor;
use poem::{Endpoint, Route, Server};
use serde_json::{Value, json};
use std::collections::BTreeSet;
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
    let answer = post(&turn("conv_a", 1).to_string());
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

/// The codes that the document lists.
fn documented_codes() -> BTreeSet<String> {
    let document: Value = serde_json::from_str(COMMITTED).unwrap();
    let codes = document["components"]["schemas"]["ErrorCode"]["enum"].as_array().unwrap();
    codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_guides_table_of_codes_is_that_of_the_document() {
    let guide = document("openapi/README.md");
    let table = guide.split("\n| `code` | status | when |\n").nth(1).unwrap();
    let rows = table.lines().skip(1).map_while(|line| line.strip_prefix("| `"));
    let listed: BTreeSet<String> = rows.map(|row| row.split('`').next().unwrap().to_owned()).collect();
    assert_eq!(listed, documented_codes());
}

/// Codes that need a fault, a load or a race, which other tests provoke: those of faults, of erasures, and
/// `rare_errors`. No request is known that gets `invalid_request`.
const OF_FAULTS: [&str; 10] = [
    "call_locked",
    "deleted_meanwhile",
    "internal_error",
    "invalid_request",
    "not_ready",
    "partly_done",
    "query_too_slow",
    "queue_full",
    "shutting_down",
    "storage_unavailable",
];

#[test]
fn each_kind_of_error_has_its_code() {
    let audio = tempfile::tempdir().unwrap();
    let folder = audio.path().to_str().unwrap();
    let service = Service::start_with(&[
        "--api-token",
        "api_0123456789abcdef0123456789abcdef",
        "--api-token",
        "anna:list:0123456789abcdef",
        "--audio-dir",
        folder,
        "--max-streams",
        "1",
        "--refusals-per-minute",
        "2",
        "--max-body",
        "4KiB",
    ]);
    let bearer = ("Authorization", "Bearer api_0123456789abcdef0123456789abcdef");
    let json = ("Content-Type", "application/json");
    let put = |path: &str, body: Value| send(&service, "PUT", path, &[bearer, json], body.to_string().as_bytes());
    service.deliver(&turn("conv_a", 1)).expect(201);
    std::fs::write(audio.path().join("conv_a.mp3"), "0123").unwrap();
    assert_eq!(put("/api/v1/drivers/1", json!({"name": "M", "phone_number": "+15550100042"})).status, 201);
    let keyed = |n| {
        let turn = turn("conv_a", n).to_string();
        send(&service, "POST", TURNS, &[json, ("Idempotency-Key", "k")], turn.as_bytes())
    };
    assert_eq!(keyed(2).status, 201);
    let get = |path: &str| send(&service, "GET", path, &[bearer], b"");
    let stream = Events::open_with(service.address(), "/api/v1/events", &[bearer]).expect("a stream");
    let mut seen = BTreeSet::new();
    let mut check = |wanted: &str, sent: crate::support::openapi::Sent| {
        let body: Value = serde_json::from_str(&sent.text).unwrap_or_else(|error| panic!("{error}: {}", sent.text));
        assert_eq!(body["code"], wanted, "{}", sent.text);
        assert_eq!(status_of_code(wanted), Some(sent.status), "{}", sent.text);
        seen.insert(wanted.to_owned());
    };
    check("invalid_field", get("/api/v1/calls?limit=0"));
    check("invalid_field", get("/api/v1/calls?limits=5"));
    check("invalid_field", get("/api/v1/drivers/maria"));
    check("invalid_field", put("/api/v1/drivers/1", json!({"name": "M", "phone": "+15550100043"})));
    check("invalid_body", send(&service, "POST", TURNS, &[json], b"{"));
    check("invalid_body", send(&service, "PUT", "/api/v1/drivers/1", &[bearer, json], b"[]"));
    check("invalid_cursor", get("/api/v1/calls?cursor=x"));
    let low = [("Authorization", "Bearer 0123456789abcdef")];
    check("role_too_low", send(&service, "GET", "/api/v1/search?q=a", &low, b""));
    check("not_found", get("/api/v1/trucks"));
    check("call_not_found", get("/api/v1/calls/conv_b"));
    check("call_not_found", get("/api/v1/calls/conv_b/transcriptions"));
    check("driver_not_found", get("/api/v1/drivers/7"));
    check("dispatch_not_found", get("/api/v1/dispatches/conv_a"));
    check("endpoint_not_found", send(&service, "POST", "/api/v1/webhooks/0/test", &[bearer], b""));
    check("recording_not_found", get("/api/v1/calls/conv_b/audio"));
    check("method_not_allowed", send(&service, "PUT", "/api/v1/calls", &[bearer, json], b"{}"));
    check("phone_number_taken", put("/api/v1/drivers/2", json!({"name": "J", "phone_number": "+15550100042"})));
    check("body_too_large", send(&service, "POST", TURNS, &[json], &[b' '; 5 << 10]));
    check("unsupported_media_type", send(&service, "POST", TURNS, &[("Content-Type", "text/plain")], b"{}"));
    check("unsupported_encoding", send(&service, "POST", TURNS, &[json, ("Content-Encoding", "br")], b"{}"));
    let beyond = [bearer, ("Range", "bytes=9-")];
    check("range_not_satisfiable", send(&service, "GET", "/api/v1/calls/conv_a/audio", &beyond, b""));
    check("delivery_key_reused", keyed(3));
    check("overloaded", get("/api/v1/events"));
    check("invalid_signature", send(&service, "POST", "/webhooks/elevenlabs/post-call", &[json], b"{}"));
    check("foreign_origin", send(&service, "POST", "/mcp", &[json, ("Origin", "https://a.example")], b"{}"));
    check("unauthorized", send(&service, "GET", "/api/v1/calls", &[], b""));
    let limited = (0..5).map(|_| send(&service, "GET", "/api/v1/calls", &[], b"")).find(|sent| sent.status == 429);
    check("rate_limited", limited.expect("two failures are enough"));
    drop(stream);
    seen.extend(OF_FAULTS.map(str::to_owned));
    assert_eq!(seen, documented_codes(), "each code is provoked");
}
