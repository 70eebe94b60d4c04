//! The API guide says what is: every example in it is sent, in order, to one fresh service, and answered as shown.

use crate::support::openapi::{Sent, operations, send};
use crate::support::service::Service;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use transcribe_hook::domain::Timestamp;
use transcribe_hook::elevenlabs::signature::sign;
use transcribe_hook::secret::Secret;

const GUIDE: &str = include_str!("../../../openapi/README.md");

/// Placeholder of the cursor in the previous response.
const CURSOR: &str = "{next_cursor}";

/// Placeholder of the signature of the request's body at the present time.
const SIGNATURE: &str = "t={now},v0={signature}";

/// The secret that the guide's service is started with.
const SECRET: &str = "wsec_0123456789abcdef0123456789abcdef";

/// Placeholder of the token that the service generated. Requests without another token send it.
const TOKEN: &str = "th_0123456789";

/// Placeholder of a body that is too long to be shown.
const ELIDED: &str = "…";

/// A request of the guide and the answer below it.
struct Example {
    /// Line of the request in the guide.
    line: usize,
    method: String,
    target: String,
    request_headers: Vec<(String, String)>,
    request_body: String,
    status: u16,
    reason: String,
    answer_headers: Vec<(String, String)>,
    answer_body: String,
}

impl Example {
    /// Returns true if it is a request of this operation.
    fn fits(&self, method: &str, template: &str) -> bool {
        let path = self.target.split('?').next().unwrap_or_default();
        let (wanted, given): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
        self.method == method
            && wanted.len() == given.len()
            && wanted.iter().zip(&given).all(|(wanted, given)| wanted.starts_with('{') || wanted == given)
    }
}

/// The `http` blocks, each with the number of its first line.
fn blocks(markdown: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (i, line) in markdown.lines().enumerate() {
        match &mut open {
            None if line == "```http" => open = Some((i + 2, String::new())),
            Some(_) if line == "```" => blocks.extend(open.take()),
            Some((_, text)) => {
                text.push_str(line);
                text.push('\n');
            }
            None => {}
        }
    }
    assert!(open.is_none(), "the last block is closed");
    blocks
}

/// First line, headers and body.
fn message(text: &str) -> (&str, Vec<(String, String)>, &str) {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_default();
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?} is no header"));
        (name.to_owned(), value.to_owned())
    });
    (first, headers.collect(), body.trim_end())
}

fn examples() -> Vec<Example> {
    let blocks = blocks(GUIDE);
    let (pairs, rest) = blocks.as_chunks::<2>();
    assert!(rest.is_empty(), "every request has its answer");
    let read = |[(line, request), (answer_line, answer)]: &[(usize, String); 2]| {
        let (request_line, request_headers, request_body) = message(request);
        let [method, target, "HTTP/1.1"] = request_line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("line {line}: {request_line:?} is no request line")
        };
        let (status_line, answer_headers, answer_body) = message(answer);
        let status = status_line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split_once(' '));
        let (status, reason) =
            status.unwrap_or_else(|| panic!("line {answer_line}: {status_line:?} is no status line"));
        Example {
            line: *line,
            method: method.to_owned(),
            target: target.to_owned(),
            request_headers,
            request_body: request_body.to_owned(),
            status: status.parse().expect("a status"),
            reason: reason.to_owned(),
            answer_headers,
            answer_body: answer_body.to_owned(),
        }
    };
    pairs.iter().map(read).collect()
}

/// The times at which the service stored something, as the guide has them and as they were.
type Times = HashMap<String, String>;

/// Compares field by field; those that differ from run to run must have the shape that the guide shows, and where the
/// guide shows one time twice it must be the same time twice.
fn compare(shown: &Value, got: &Value, sent: &Sent, times: &mut Times, at: &str) {
    match (shown, got) {
        (Value::Object(shown), Value::Object(got)) => {
            let names = |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(shown), names(got), "{at}: the fields");
            for (name, shown) in shown {
                let (got, at) = (&got[name], format!("{at}.{name}"));
                match name.as_str() {
                    "created_at" | "updated_at" | "expires_at" | "started_at" | "last_accepted_at" | "at"
                        if !shown.is_null() =>
                    {
                        let (shown, got) = (instant(shown, &at), instant(got, &at));
                        let before = times.entry(shown).or_insert_with(|| got.clone());
                        assert_eq!(*before, got, "{at}: the same time as before");
                    }
                    "request_id" => {
                        assert_eq!(got.as_str(), sent.header("x-request-id"), "{at}: as in the header");
                        // An id that the client chose is shown as it is; the service's own are alike in length.
                        let own = |id: &Value| {
                            id.as_str().is_some_and(|id| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()))
                        };
                        assert!((own(shown) && own(got)) || shown == got, "{at}: {got} where the guide has {shown}");
                    }
                    "database" => {
                        let is_absolute = |path: &Value| path.as_str().is_some_and(|path| path.starts_with('/'));
                        assert!(is_absolute(shown) && is_absolute(got), "{at}: {got} where the guide has {shown}");
                    }
                    "next_cursor" => {
                        let cursor = |cursor: &Value| match cursor {
                            Value::Null => false,
                            Value::String(text) if !text.is_empty() && text.bytes().all(is_url_safe) => true,
                            other => panic!("{at}: {other} is no cursor"),
                        };
                        assert_eq!(cursor(shown), cursor(got), "{at}: {got} where the guide has {shown}");
                    }
                    _ => compare(shown, got, sent, times, &at),
                }
            }
        }
        (Value::Array(shown), Value::Array(got)) => {
            assert_eq!(shown.len(), got.len(), "{at}: the number of elements");
            for (i, (shown, got)) in shown.iter().zip(got).enumerate() {
                compare(shown, got, sent, times, &format!("{at}[{i}]"));
            }
        }
        _ => assert_eq!(shown, got, "{at}: the guide has the first, the service answers the second"),
    }
}

fn is_url_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_".contains(&byte)
}

/// Server-sent events: what stands above the data, and the data.
fn events(text: &str) -> Vec<(String, Value)> {
    let read = |event: &str| {
        let (head, data) = event.split_once("\ndata: ").unwrap_or_else(|| panic!("{event:?} has no data"));
        (head.to_owned(), serde_json::from_str(data).unwrap_or_else(|error| panic!("{error} in {data}")))
    };
    text.trim_end().split("\n\n").map(read).collect()
}

/// RFC 3339, UTC, six digits of fraction.
fn instant(value: &Value, at: &str) -> String {
    let text = value.as_str().unwrap_or_else(|| panic!("{at}: {value} is no text"));
    let read = Timestamp::parse(text).unwrap_or_else(|error| panic!("{at}: {text} {error}"));
    assert_eq!(read.to_string(), text, "{at}: in the one form of all times");
    text.to_owned()
}

#[test]
fn every_example_of_the_guide_is_answered_as_shown() {
    assert!(GUIDE.contains(&format!("--elevenlabs-secret {SECRET}")));
    assert!(GUIDE.contains(&format!("`{TOKEN}`")));
    let service = Service::start_guarded(&["--elevenlabs-secret", SECRET]);
    let token = service.token();
    let bearer = format!("Bearer {token}");
    let secret = Secret::new(SECRET).expect("a secret");
    let (mut cursor, mut times) = (None, Times::new());
    for example in examples() {
        let at = format!("openapi/README.md:{}: {} {}", example.line, example.method, example.target);
        let target = if example.target.contains(CURSOR) {
            example.target.replace(CURSOR, cursor.as_deref().unwrap_or_else(|| panic!("{at}: there is no cursor yet")))
        } else {
            example.target.clone()
        };
        let now = Timestamp::now().unix_micros() / 1_000_000;
        let body = example.request_body.replace(TOKEN, &token);
        let signature = sign(&secret, now, body.as_bytes());
        let value = |value: &'_ str| if value == SIGNATURE { signature.clone() } else { value.to_owned() };
        let headers: Vec<_> = example.request_headers.iter().map(|(n, v)| (n.as_str(), value(v))).collect();
        let mut headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        if !headers.iter().any(|(name, _)| ["Authorization", "Cookie", "xi-api-key"].contains(name)) {
            headers.push(("Authorization", &bearer));
        }
        let sent = send(&service, &example.method, &target, &headers, body.as_bytes());
        assert_eq!(sent.status, example.status, "{at}: {}", sent.text);
        let reason = ureq::http::StatusCode::from_u16(sent.status).ok().and_then(|status| status.canonical_reason());
        assert_eq!(reason, Some(example.reason.as_str()), "{at}");
        for (name, value) in &example.answer_headers {
            assert_eq!(sent.header(name), Some(value.as_str()), "{at}: {name}");
        }
        // A repeat, and a request to come back later, are never told in passing.
        for name in ["Idempotent-Replayed", "Retry-After"] {
            let shown = example.answer_headers.iter().any(|(shown, _)| shown == name);
            assert_eq!(sent.header(name).is_some(), shown, "{at}: {name}");
        }
        match example.answer_body.as_str() {
            "" => assert_eq!(sent.text, "", "{at}: no body"),
            ELIDED => assert!(sent.text.len() > 4096, "{at}: {ELIDED} stands for a long body only"),
            body if sent.header("content-type") == Some("text/event-stream") => {
                let (shown, got) = (events(body), events(&sent.text));
                let names =
                    |events: &[(String, Value)]| events.iter().map(|(head, _)| head.clone()).collect::<Vec<_>>();
                assert_eq!(names(&shown), names(&got), "{at}: the events");
                for ((head, shown), (_, got)) in shown.iter().zip(&got) {
                    compare(shown, got, &sent, &mut times, &format!("{at}: {head}"));
                }
            }
            body if sent.header("content-type").is_some_and(|kind| kind.starts_with("text/vtt")) => {
                assert_eq!(sent.text.trim_end(), body, "{at}");
            }
            body => {
                let shown: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{at}: {error}: {body}"));
                let pretty = serde_json::to_string_pretty(&shown).expect("a value");
                assert_eq!(body, pretty, "{at}: bodies of answers are laid out alike");
                let got: Value = serde_json::from_str(&sent.text).unwrap_or_else(|error| panic!("{at}: {error}"));
                compare(&shown, &got, &sent, &mut times, &at);
                if example.status >= 400 {
                    let fields: Vec<_> = got.as_object().expect("an object").keys().collect();
                    assert_eq!(fields, ["status", "code", "message", "details", "request_id"], "{at}");
                }
                if let Some(next) = got["next_cursor"].as_str() {
                    cursor = Some(next.to_owned());
                }
            }
        }
    }
}

#[test]
fn a_followed_stream_begins_and_idles_as_the_guide_shows() {
    use std::io::{BufRead as _, BufReader, Write as _};
    let blocks = crate::support::documents::blocks(GUIDE);
    let [(_, shown)] = &blocks.into_iter().filter(|(language, _)| language == "sse").collect::<Vec<_>>()[..] else {
        panic!("one stream is shown")
    };
    let service = Service::start_with(&["--stream-heartbeat", "100ms"]);
    service.deliver(&crate::support::turns::turn("conv_a", 1)).expect(201);
    let mut connection = std::net::TcpStream::connect(service.address()).expect("a connection");
    connection.set_read_timeout(Some(std::time::Duration::from_mins(1))).expect("a time-out");
    let request = "GET /api/v1/calls/conv_a/events HTTP/1.0\r\nHost: h\r\n\r\n";
    connection.write_all(request.as_bytes()).expect("sent");
    let lines = BufReader::new(connection).lines().map(|line| line.expect("a line of the stream"));
    let mut sent = lines.skip_while(|line| !line.is_empty()).skip(1);
    for line in shown.lines() {
        // Between the first turn and the heartbeat is the call.
        let found = if line == ":" {
            sent.find(|sent| sent == ":").expect("a heartbeat")
        } else {
            sent.next().expect("another line")
        };
        let beginning = line.split("\"conversation_id\"").next().unwrap_or_default();
        assert!(found.starts_with(beginning) && found.is_empty() == line.is_empty(), "{found} instead of {line}");
    }
}

#[test]
fn the_guide_shows_success_and_error_of_every_operation() {
    let examples = examples();
    for operation in operations() {
        let statuses: BTreeSet<u16> = examples
            .iter()
            .filter(|example| example.fits(&operation.method, &operation.path))
            .map(|example| example.status)
            .collect();
        let name = format!("{} {}", operation.method, operation.path);
        // Bytes that nobody reads, and what needs a receiver of webhooks.
        if !["/audio", "/backup", "/test", "/retry"].iter().any(|end| operation.path.ends_with(end)) {
            assert!(statuses.iter().any(|status| (200..300).contains(status)), "{name} has no example of success");
        }
        // Only a broken disk or a stopping service makes the first two fail, which no reader can try; the third has its
        // own, and the last always answers with 200.
        let unfailing = ["/healthz", "/readyz", "/session", "/webhooks/elevenlabs/initiation"];
        if !unfailing.contains(&operation.path.as_str()) {
            assert!(statuses.iter().any(|status| *status >= 400), "{name} has no example of an error");
        }
        for status in statuses {
            // That of a wrong method stands for all operations.
            assert!(operation.statuses.contains(&status) || status == 405, "{name} does not document its {status}");
        }
    }
}

#[test]
fn the_guide_names_every_status_path_and_query_parameter() {
    for operation in operations() {
        for status in &operation.statuses {
            assert!(GUIDE.contains(&format!("\n| {status} ")), "the table of statuses lacks {status}");
        }
        assert!(GUIDE.contains(&format!("`{} {}`", operation.method, operation.path)), "{} is named", operation.path);
        for parameter in operation.parameters {
            assert!(GUIDE.contains(&format!("`{parameter}`")), "{parameter} of {} is named", operation.path);
        }
    }
}
