//! `/metrics`: what is counted is what happened, in a form that Prometheus takes, and nothing of calls is in it.

use crate::support::metrics::{Scrape, promtool};
use crate::support::service::{Service, TURNS, wait_for};
use crate::support::turns::turn;
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};
use transcribe_hook::domain::Timestamp;
use transcribe_hook::elevenlabs::signature::sign;
use transcribe_hook::secret::Secret;

const HISTORY: &str = "/webhooks/elevenlabs/history";
const POST_CALL: &str = "/webhooks/elevenlabs/post-call";
const SECRET: &str = "wsec_0123456789abcdef0123456789abcdef";
const JSON: (&str, &str) = ("content-type", "application/json");

fn check(text: &str) {
    let mut child = promtool()
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tests/run has put promtool there");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && said.is_empty(), "promtool says: {said}");
}

#[test]
fn prometheus_itself_takes_the_metrics_and_finds_nothing_to_remark() {
    let service = Service::start();
    let first = service.get("/metrics").expect(200);
    assert_eq!(first.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    check(&first.text);
    service.deliver(&turn("conv_a", 1)).expect(201);
    service.deliver(&json!({})).expect(400);
    service.get("/api/v1/calls/conv_a").expect(200);
    let later = service.get("/metrics").expect(200).text;
    check(&later);
    assert!(later.contains("transcribe_hook_build_info{version=\"0.1.0\"} 1"), "{later}");
}

#[test]
fn each_delivery_of_a_turn_is_counted_by_what_became_of_it() {
    let service = Service::start();
    let before = Scrape::take(&service);
    assert_eq!(before.webhook("transcription", "stored"), 0, "each is there before the first");
    for n in 0..5 {
        service.deliver(&turn("conv_a", n)).expect(201);
    }
    service.deliver(&turn("conv_a", 4)).expect(201);
    service.deliver(&turn("conv_b", 1)).expect(201);
    service.deliver(&json!({"conversation_id": "conv_a"})).expect(400);
    service.get(TURNS).expect(405);
    service.post_raw(TURNS, &[("content-type", "text/plain")], b"hello").expect(415);
    let keyed = [JSON, ("idempotency-key", "k")];
    service.post_raw(TURNS, &keyed, turn("conv_b", 2).to_string().as_bytes()).expect(201);
    service.post_raw(TURNS, &keyed, turn("conv_b", 3).to_string().as_bytes()).expect(422);

    let after = Scrape::take(&service);
    let outcomes = after.outcomes("transcription");
    assert_eq!(outcomes, [("rejected", 4), ("duplicate", 1), ("stored", 7)].into());
    assert_eq!(after.whole("turns_stored_total{speaker=\"driver\"}"), 4);
    assert_eq!(after.whole("turns_stored_total{speaker=\"agent\"}"), 3);
    assert_eq!(after.whole("ingest_lag_seconds_count"), 7, "of what was stored, not of repeats");
    assert_eq!(after.whole("calls_open"), 2);
    assert_eq!(after.whole("write_queue_depth"), 0);
    // Each write waited for the one before it, so none shared a commit.
    assert_eq!(after.whole("write_batch_size_count") - before.whole("write_batch_size_count"), 9);
    assert_eq!(after.whole("write_batch_size_sum") - before.whole("write_batch_size_sum"), 9);
    assert_eq!(after.whole("commit_duration_seconds_count") - before.whole("commit_duration_seconds_count"), 9);
    let taken = |scrape: &Scrape| scrape.get::<f64>("commit_duration_seconds_sum");
    assert!(taken(&after) > taken(&before));
    let requests = |status| {
        after.whole(&format!(
            "http_request_duration_seconds_count{{method=\"POST\",route=\"{TURNS}\",status=\"{status}\"}}"
        ))
    };
    assert_eq!([201, 400, 415, 422].map(requests), [8, 1, 1, 1]);
}

#[test]
fn a_turn_that_comes_late_is_seen_to_come_late_and_one_from_the_future_not_to_come_early() {
    let service = Service::start();
    let said = |ago: i64, n: usize| {
        let at = Timestamp::now().plus_seconds(-ago).unwrap();
        let mut turn = turn("conv_a", n);
        turn["timestamp"] = json!(at.to_string());
        service.deliver(&turn).expect(201);
    };
    said(1000, 1);
    said(-1000, 2);
    let scrape = Scrape::take(&service);
    assert_eq!(scrape.whole("ingest_lag_seconds_bucket{le=\"0.1\"}"), 1);
    assert_eq!(scrape.whole("ingest_lag_seconds_bucket{le=\"300\"}"), 1);
    assert_eq!(scrape.whole("ingest_lag_seconds_bucket{le=\"3600\"}"), 2);
    let sum: f64 = scrape.get("ingest_lag_seconds_sum");
    assert!((1000.0..1200.0).contains(&sum), "{sum}");
}

#[test]
fn what_comes_after_a_call_is_counted_by_what_became_of_it() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    let post = |body: &str| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let signature = sign(&Secret::new(SECRET).unwrap(), now.cast_signed(), body.as_bytes());
        service.post_raw(POST_CALL, &[JSON, ("ElevenLabs-Signature", &signature)], body.as_bytes())
    };
    let record = json!({
        "type": "post_call_transcription", "event_timestamp": 1_790_596_855,
        "data": {
            "conversation_id": "conv_a", "agent_id": "agent_1", "status": "done",
            "transcript": [
                {"role": "agent", "message": "Hello, this is dispatch.", "time_in_call_secs": 0},
                {"role": "user", "message": "Go ahead.", "time_in_call_secs": 2},
                {"role": "agent", "message": "Where are you?", "time_in_call_secs": 3},
            ],
            "metadata": {"start_time_unix_secs": 1_790_596_800, "call_duration_secs": 5},
        },
    });
    post(&record.to_string()).expect(200);
    post(&record.to_string()).expect(200);
    post("no JSON").expect(200);
    service.post_raw(POST_CALL, &[JSON], b"{}").expect(401);
    post(
        &json!({"type": "post_call_audio", "event_timestamp": 1, "data": {"conversation_id": "conv_a",
            "full_audio": "AAAA"}})
        .to_string(),
    )
    .expect(200);
    let history = json!({
        "conversation_id": "conv_b", "timestamp": "2026-09-28T12:00:08Z",
        "history": json!({"entries": [{"role": "user", "message": "Yeah."}]}).to_string(),
    });
    service.post(HISTORY, &history).expect(200);
    service.post(HISTORY, &json!({"conversation_id": ""})).expect(400);

    let scrape = Scrape::take(&service);
    let expected = [("dropped", 1), ("quarantined", 1), ("duplicate", 1), ("stored", 1), ("unauthorized", 1)];
    assert_eq!(scrape.outcomes("post-call"), expected.into());
    assert_eq!(scrape.outcomes("history"), [("rejected", 1), ("stored", 1)].into());
    assert_eq!(scrape.whole("turns_stored_total{speaker=\"agent\"}"), 2, "turns that a record added are stored too");
    assert_eq!(scrape.whole("turns_stored_total{speaker=\"driver\"}"), 2);
    assert_eq!(scrape.whole("recordings_total{outcome=\"dropped\"}"), 1);
    assert_eq!(scrape.whole("recordings_total{outcome=\"kept\"}"), 0);
}

#[test]
fn nothing_that_a_client_makes_up_becomes_a_label() {
    let service = Service::start();
    service.deliver(&turn("conv_never_in_metrics", 1)).expect(201);
    service.get("/api/v1/calls/conv_never_in_metrics").expect(200);
    service.get("/api/v1/calls/conv_never_in_metrics_either").expect(404);
    service.get("/never_in_metrics").expect(404);
    let mut raw = TcpStream::connect(service.address()).unwrap();
    write!(raw, "NEVER_IN_METRICS /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let text = wait_for("the made-up method to be counted", || {
        let text = service.get("/metrics").expect(200).text;
        text.contains("method=\"other\",route=\"/healthz\",status=\"405\"").then_some(text)
    });
    assert!(!text.to_lowercase().contains("never_in_metrics"), "{text}");
    assert!(text.contains("method=\"GET\",route=\"(unknown)\",status=\"404\""), "{text}");
    assert!(text.contains("route=\"/api/v1/calls/{conversation_id}\",status=\"200\""), "{text}");
}

#[test]
fn a_client_that_goes_away_before_its_answer_is_counted_as_such() {
    let service = Service::start();
    let mut raw = TcpStream::connect(service.address()).unwrap();
    let head = "content-type: application/json\r\ncontent-length: 400\r\n\r\n{";
    write!(raw, "POST {TURNS} HTTP/1.1\r\nhost: x\r\n{head}").unwrap();
    drop(raw);
    wait_for("the hang-up to be counted", || {
        let scrape = Scrape::take(&service);
        let counted = scrape.webhook("transcription", "abandoned") + scrape.webhook("transcription", "rejected");
        (counted == 1).then_some(())
    });
}

#[test]
fn the_sizes_are_those_of_the_files_and_the_log_that_is_folded_in_is_measured() {
    let service = Service::start();
    let before = Scrape::take(&service);
    let mut delivered = 0;
    let grown = wait_for("the turns in the log, where each is first", || {
        for n in delivered..delivered + 200 {
            service.deliver(&turn("conv_a", n)).expect(201);
        }
        delivered += 200;
        Some(Scrape::take(&service)).filter(|scrape| scrape.whole("wal_size_bytes") > 100_000)
    });
    let free = grown.whole("disk_free_bytes");
    assert!(free > 1 << 20, "{free}");
    // Some quiet seconds later the log is folded in.
    wait_for("the log to be folded in", || {
        let scrape = Scrape::take(&service);
        let folded =
            scrape.whole("checkpoint_duration_seconds_count") > before.whole("checkpoint_duration_seconds_count");
        (folded && scrape.whole("wal_size_bytes") == 0).then_some(())
    });
    let size = std::fs::metadata(service.database()).unwrap().len();
    assert_eq!(Scrape::take(&service).whole("db_size_bytes"), size);
    assert!(size > before.whole("db_size_bytes"));
    assert_eq!(Scrape::take(&service).whole("checkpoint_failures_total"), 0);
}

#[test]
fn metrics_can_be_had_on_an_address_of_their_own_that_gives_nothing_else() {
    let service = Service::start_with(&["--metrics-listen", "127.0.0.1:0"]);
    service.deliver(&turn("conv_a", 1)).expect(201);
    let address = service.wait_logged("info", "args::metrics")["metrics_address"].as_str().unwrap().to_owned();
    let get = |path: &str| {
        let answer = ureq::get(format!("http://{address}{path}")).config().http_status_as_error(false).build().call();
        let mut answer = answer.unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    };
    let (status, text) = get("/metrics");
    assert_eq!(status, 200);
    let scrape = Scrape::of(&text);
    assert_eq!(scrape.webhook("transcription", "stored"), 1);
    assert_eq!(get("/api/v1/calls/conv_a").0, 404);
    assert_eq!(get("/openapi.json").0, 404);
    let mut kept_alive = TcpStream::connect(&address).unwrap();
    write!(kept_alive, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut begun = [0; 12];
    kept_alive.read_exact(&mut begun).unwrap();
    let database = service.database().to_owned();
    let _folder = service.stop();
    assert!(!database.with_extension("db-wal").exists(), "a scraper's open connection keeps nothing from its end");
}

#[test]
fn the_process_tells_of_itself_under_the_usual_names() {
    let service = Service::start();
    let scrape = || Scrape::take(&service);
    let number = |scrape: &Scrape, name: &str| scrape.0[name].parse::<f64>().unwrap();
    let first = scrape();
    let memory = number(&first, "process_resident_memory_bytes");
    assert!((1e6..1e9).contains(&memory), "{memory}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let started = number(&first, "process_start_time_seconds");
    assert!((now - 600.0..=now).contains(&started), "{started} at {now}");
    let connections: Vec<_> = (0..20).map(|_| TcpStream::connect(service.address()).unwrap()).collect();
    wait_for("more files to be open", || {
        (number(&scrape(), "process_open_fds") >= number(&first, "process_open_fds") + 20.0).then_some(())
    });
    drop(connections);
    assert!(number(&scrape(), "process_cpu_seconds_total") > number(&first, "process_cpu_seconds_total"));
}

#[test]
fn who_may_not_read_calls_may_not_read_metrics_either() {
    let token = "t0k3n-of-the-monitoring-system";
    let service = Service::start_with(&["--api-token", token]);
    let refused = service.get("/metrics");
    assert!(!refused.text.contains("transcribe_hook"), "{}", refused.text);
    refused.expect_error(401);
    let answer = ureq::get(service.url("/metrics")).header("authorization", format!("Bearer {token}")).call().unwrap();
    assert_eq!(answer.status(), 200);
}

/// A turn of much text; some hundred of them fill the WAL.
fn long(n: usize) -> serde_json::Value {
    let mut turn = turn("conv_a", n);
    turn["message"] = json!(format!("{n} {}", "the reefer reads forty five degrees ".repeat(1700)));
    turn
}

#[test]
fn a_log_that_grows_is_moved_into_the_file_while_turns_come() {
    let service = Service::start();
    let checkpoints = || Scrape::take(&service).whole("checkpoint_duration_seconds_count");
    let before = checkpoints();
    let mut largest = 0;
    for n in 0..600 {
        service.deliver(&long(n)).expect(201);
        largest = largest.max(std::fs::metadata(service.database().with_extension("db-wal")).unwrap().len());
    }
    assert!(checkpoints() >= before + 2, "{} checkpoints", checkpoints() - before);
    // 37 MB were stored.
    assert!(largest < 20 << 20, "the log grew to {largest} bytes");
}

#[test]
fn a_log_that_cannot_be_moved_into_the_file_is_counted_and_told_once() {
    let folder = tempfile::tempdir().unwrap();
    // Without the signal, a write past the limit is an error like any other.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_transcribe-hook")]);
    let service = Service::start_command(command, &folder.path().join("calls.db"), &[]);
    let limit = |bytes: &str| {
        let pid = service.pid().to_string();
        assert!(
            Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:")]).status().unwrap().success()
        );
    };
    let size = || std::fs::metadata(service.database()).unwrap().len();
    (0..40).for_each(|n| drop(service.deliver(&long(n)).expect(201)));
    // All of it: the limit below is not to stop this.
    let is_empty = || std::fs::metadata(folder.path().join("calls.db-wal")).is_ok_and(|log| log.len() == 0);
    wait_for("the log to be moved", || (size() > 2_000_000 && is_empty()).then_some(()));
    limit(&(size() + 100_000).to_string());
    // The limit holds for the log too, so it receives less than that.
    (40..52).for_each(|n| drop(service.deliver(&long(n)).expect(201)));
    let failures = || Scrape::take(&service).whole("checkpoint_failures_total");
    wait_for("two failures", || (failures() >= 2).then_some(()));
    let told = || service.logged("error", "checkpoint").len();
    assert_eq!(wait_for("the failure to be told", || Some(told()).filter(|told| *told > 0)), 1);
    limit("unlimited");
    (52..60).for_each(|n| drop(service.deliver(&long(n)).expect(201)));
    wait_for("the log to be moved in the end", || (size() > 3_500_000).then_some(()));
    let turns = service.get("/api/v1/calls/conv_a").expect(200).json()["turn_count"].clone();
    assert_eq!(turns, 60);
}

#[test]
fn records_are_counted_by_who_answered_and_the_channel() {
    use crate::support::whole_call::{SECRET as WHOLE_CALL_SECRET, post_signed, record};
    let service = Service::start_with(&["--elevenlabs-secret", WHOLE_CALL_SECRET]);
    let counted = |answered_by: &str, channel: &str| {
        let series = format!("records_reconciled_total{{answered_by=\"{answered_by}\",channel=\"{channel}\"}}");
        Scrape::take(&service).whole(&series)
    };
    assert_eq!((counted("voicemail", "phone"), counted("unknown", "unknown")), (0, 0), "each is there at the start");
    let mut event = record("conv_a", "Hello");
    event["data"]["metadata"]["phone_call"]["call_result"] = json!("voicemail");
    post_signed(&service, &event.to_string()).expect(200);
    wait_for("the record to be counted", || (counted("voicemail", "phone") == 1).then_some(()));
    // A turn that comes later is no record.
    service.deliver(&turn("conv_a", 3)).expect(201);
    post_signed(&service, &record("conv_b", "Hello").to_string()).expect(200);
    wait_for("the other record to be counted", || {
        let all = Scrape::take(&service);
        let series = |name: &&String| name.starts_with("transcribe_hook_records_reconciled_total");
        let sum: u64 =
            all.0.iter().filter(|(name, _)| series(name)).map(|(_, value)| value.parse::<u64>().unwrap()).sum();
        (sum == 2).then_some(())
    });
    assert_eq!(counted("voicemail", "phone"), 1);
}
