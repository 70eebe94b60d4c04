//! Logs: one event a request, with its identifiers, in three forms, and the words of a call in none.

use crate::support::service::{Service, TURNS, binary, wait_for};
use crate::support::turns::turn;
use crate::support::wording::Wording;
use insta::assert_snapshot;
use serde_json::{Value, json};
use std::process::{Command, Stdio};

fn events(service: &Service) -> Vec<Value> {
    service.log().iter().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
}

fn request_events(service: &Service, count: usize) -> Vec<Value> {
    wait_for("the log's lines", || {
        let events: Vec<_> = events(service).into_iter().filter(|event| event["target"] == "http").collect();
        (events.len() >= count).then_some(events)
    })
}

#[test]
fn each_request_is_one_event_with_its_route_and_identifiers() {
    let service = Service::start();
    service.post_raw(
        TURNS,
        &[("content-type", "application/json"), ("x-request-id", "req-1")],
        turn("conv_a", 1).to_string().as_bytes(),
    );
    service.get("/api/v1/calls/conv_a/transcriptions?limit=5");
    service.get("/api/v1/calls/conv_zzz");
    service.get("/nope/secret-path");
    let events = request_events(&service, 4);
    assert_eq!(events.len(), 4, "{events:?}");
    let expected = [
        ("POST", TURNS, 201, Some("conv_a")),
        ("GET", "/api/v1/calls/{conversation_id}/transcriptions", 200, Some("conv_a")),
        ("GET", "/api/v1/calls/{conversation_id}", 404, Some("conv_zzz")),
        ("GET", "(unknown)", 404, None),
    ];
    for (event, (method, route, status, conversation)) in events.iter().zip(expected) {
        assert_eq!(event["method"], method, "{event}");
        assert_eq!(event["route"], route, "{event}");
        assert_eq!(event["status"], status, "{event}");
        assert_eq!(event["conversation_id"].as_str(), conversation, "{event}");
        assert!(event["duration_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{event}");
        assert_eq!(event["level"], "info", "{event}");
        assert!(event["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{event}");
    }
    assert_eq!(events[0]["request_id"], "req-1");
}

#[test]
fn a_client_that_hangs_up_is_logged_and_its_turn_is_stored_all_the_same() {
    let service = Service::start_with(&["--write-timeout", "30s"]);
    service.deliver(&turn("conv_a", 1)).expect(201);
    let lock = rusqlite::Connection::open(service.database()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut stream = std::net::TcpStream::connect(service.address()).unwrap();
    let body = turn("conv_a", 2).to_string();
    std::io::Write::write_all(
        &mut stream,
        format!(
            "POST {TURNS} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    )
    .unwrap();
    wait_for("the service to have read the request before the connection goes", || {
        let ends = [stream.peer_addr(), stream.local_addr()].map(|end| format!(":{:04X}", end.unwrap().port()));
        let connections = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let of_service = connections
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .find(|line| line[1].ends_with(&ends[0]) && line[2].ends_with(&ends[1]))?;
        of_service[4].ends_with(":00000000").then_some(())
    });
    drop(stream);
    lock.execute_batch("ROLLBACK").unwrap();
    wait_for("the turn", || (service.get("/api/v1/calls/conv_a").json()["turn_count"] == 2).then_some(()));
    // The line has either status: 499 if the service noticed that the client is gone, else 201.
    wait_for("the request in the log", || {
        let deliveries = events(&service).into_iter().filter(|event| event["route"] == TURNS).count();
        (deliveries == 2).then_some(())
    });
}

#[test]
fn a_call_that_begins_without_a_driver_is_a_warning() {
    let service = Service::start_guarded(&[]);
    service.deliver(&turn("conv_a", 1)).expect(201);
    service.deliver(&turn("conv_a", 2)).expect(201);
    request_events(&service, 2);
    let warnings: Vec<_> = events(&service).into_iter().filter(|event| event["level"] == "warn").collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0]["conversation_id"], "conv_a");
}

#[test]
fn no_log_of_any_level_holds_the_words_of_a_call() {
    const WORDS: &str = "xylophone-in-the-trailer";
    let mut command = binary();
    command.env("TRANSCRIBE_HOOK_LOG_LEVEL", "trace");
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_command(command, &folder.path().join("calls.db"), &[]);
    let mut said = turn("conv_a", 1);
    said["message"] = json!(WORDS);
    service.deliver(&said).expect(201);
    service.deliver(&said).expect(201);
    said["speaker"] = json!(WORDS);
    service.deliver(&said).expect_error(400);
    service.deliver(&json!(WORDS)).expect_error(400);
    service.deliver(&json!({"message": {"deep": WORDS}})).expect_error(400);
    service.get(&format!("/api/v1/calls?q={WORDS}")).expect(200);
    service.get("/api/v1/calls/conv_a/transcriptions").expect(200);
    let lines = wait_for("the log's lines", || {
        let lines = service.log();
        (lines.iter().filter(|line| line.contains("\"target\":\"http\"")).count() >= 7).then_some(lines)
    });
    for line in lines {
        assert!(!line.contains(WORDS), "{line}");
    }
}

/// The standard error of a service in the given format, which took one turn and refused another.
fn log_of(format: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let errors = folder.path().join("log");
    let mut child = binary()
        .args(["serve", "--listen", "127.0.0.1:0", "--log-format", format, "--database"])
        .arg(folder.path().join("calls.db"))
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(&errors).unwrap())
        .spawn()
        .unwrap();
    let log = || std::fs::read_to_string(&errors).unwrap();
    let address = wait_for("the service", || {
        let log = log();
        let from = log.find("http://")? + "http://".len();
        log.get(from..)?.split([',', '"', ' ']).next().filter(|address| address.contains(':')).map(str::to_owned)
    });
    let url = format!("http://{address}{TURNS}");
    let status = ureq::post(&url).send_json(turn("conv_a", 1)).unwrap().status();
    assert_eq!(status, 201);
    wait_for("the request's line", || log().contains("POST /webhooks").then_some(()));
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    log().lines().map(str::to_owned).collect()
}

#[test]
fn the_cloud_form_has_the_fields_that_google_cloud_logging_knows() {
    let lines = log_of("cloud");
    let events: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let request = events.iter().find(|event| event.get("httpRequest").is_some()).unwrap();
    assert_eq!(request["severity"], "INFO");
    assert_eq!(request["httpRequest"]["requestMethod"], "POST");
    assert_eq!(request["httpRequest"]["requestUrl"], TURNS);
    assert_eq!(request["httpRequest"]["status"], 201);
    let latency = request["httpRequest"]["latency"].as_str().unwrap();
    assert!(latency.strip_suffix('s').unwrap().parse::<f64>().unwrap() > 0.0, "{latency}");
    assert_eq!(request["logging.googleapis.com/labels"]["conversation_id"], "conv_a");
    assert!(request["logging.googleapis.com/labels"]["request_id"].is_string());
    assert_eq!(request["message"], format!("POST {TURNS} 201"));
    assert_eq!(request["time"].as_str().unwrap().len(), "2026-09-28T12:00:00.000000Z".len());
    let warning = events.iter().find(|event| event["severity"] == "WARNING").unwrap();
    assert_eq!(warning["logging.googleapis.com/labels"]["conversation_id"], "conv_a");
}

#[test]
fn the_text_form_is_one_line_an_event_without_colours_in_a_file() {
    let lines = log_of("text");
    assert!(lines.iter().any(|line| line.contains(" INFO http: POST ") && line.contains("status=201")), "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains('\u{1b}')), "{lines:?}");
    let listening = lines.iter().find(|line| line.contains(" address=")).unwrap();
    let field = |name: &str| listening.split(' ').find_map(|word| word.strip_prefix(name)).unwrap();
    let mut shown = Wording::default();
    shown.hide(field("address="), "[address]");
    shown.hide(field("database="), "[database]");
    shown.hide(env!("CARGO_PKG_VERSION"), "[version]");
    let own = lines.iter().filter(|line| !line.contains(" http: ")).map(|line| line.split_once(' ').unwrap().1);
    shown.add("serve, a turn, SIGTERM", &own.collect::<Vec<_>>().join("\n"));
    assert_snapshot!("lines", shown);
}
