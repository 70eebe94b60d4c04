//! The guide's client in Python does what the guide says: all pages, every change once, waiting while it is told to.

use crate::support::documents::blocks_in_chapter;
use crate::support::service::{Service, wait_for};
use crate::support::sse::Events;
use crate::support::tls::free_port;
use crate::support::turns::turn;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

const TOKEN: &str = "api_0123456789abcdef0123456789abcdef";

/// More than one page.
const CALLS: usize = 60;

/// The running client, and the lines that it has printed: a word and JSON.
struct Client {
    child: Child,
    lines: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Client {
    fn start(base: &str) -> Self {
        let program = blocks_in_chapter("openapi/README.md", "A client in Python", "python").remove(0);
        let mut command = Command::new("python3");
        command.args(["-c", &program, base]).env("TOKEN", TOKEN).stdout(Stdio::piped());
        let mut child = command.spawn().expect("tests/run has installed Python");
        let out = BufReader::new(child.stdout.take().expect("is piped"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let told = lines.clone();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let (kind, data) = line.split_once(' ').unwrap_or_else(|| panic!("{line:?} has no data"));
                let data = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error} in {line}"));
                told.lock().unwrap().push((kind.to_owned(), data));
            }
        });
        Self { child, lines }
    }

    /// Returns what it has printed of this kind.
    fn told(&self, kind: &str) -> Vec<Value> {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter(|(of, _)| of == kind).map(|(_, data)| data.clone()).collect()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_guides_client_reads_all_pages_and_every_change_once_across_overload_and_restart() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    // A port that nobody is given by chance before the service is back.
    let address = format!("127.0.0.1:{}", free_port());
    let limits = ["--max-streams", "1", "--stream-heartbeat", "100ms"];
    let flags = [&["--listen", &address, "--api-token", TOKEN][..], &limits].concat();
    let service = Service::start_on(&database, &flags);
    for n in 0..CALLS {
        service.deliver(&turn(&format!("conv_{n}"), n)).expect(201);
    }
    let bearer = format!("Bearer {TOKEN}");
    let other = Events::open_with(service.address(), "/api/v1/events", &[("Authorization", &bearer)]);
    let client = Client::start(&service.url(""));
    wait_for("the client to be told to wait", || {
        service.log().iter().any(|line| line.contains("\"status\":503")).then_some(())
    });
    assert!(client.told("call").is_empty(), "it waits for the stream");
    drop(other);
    let ids = |rows: Vec<Value>| -> Vec<String> {
        rows.iter().map(|row| row["conversation_id"].as_str().unwrap().to_owned()).collect()
    };
    let listed = wait_for("all calls to be listed", || Some(client.told("call")).filter(|calls| calls.len() == CALLS));
    assert_eq!(ids(listed).into_iter().collect::<BTreeSet<_>>().len(), CALLS, "each once");
    service.deliver(&turn("conv_new", 1)).expect(201);
    wait_for("the turn to be told", || (client.told("transcription").len() == 1).then_some(()));

    service.stop();
    let service = Service::start_on(&database, &flags);
    // One that may come before the client is back, and what ends a call.
    service.deliver(&turn("conv_new", 2)).expect(201);
    let ended = json!({"status": "completed"}).to_string();
    let headers = [("Authorization", &*bearer), ("Content-Type", "application/json")];
    let sent = crate::support::openapi::send(&service, "PATCH", "/api/v1/calls/conv_new", &headers, ended.as_bytes());
    assert_eq!(sent.status, 200);
    let ended = wait_for("the end to be told", || Some(client.told("call_ended")).filter(|ended| !ended.is_empty()));
    assert_eq!(ids(ended), ["conv_new"]);
    let turns: Vec<_> = client.told("transcription").iter().map(|turn| turn["sequence_number"].clone()).collect();
    assert_eq!(turns, [1, 2], "each once");
}
