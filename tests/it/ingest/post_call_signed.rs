//! The post-call webhook takes what ElevenLabs signed, and nothing else, before it reads anything.

use crate::support::service::{Answer, Service, binary};
use crate::support::wording::Wording;
use insta::assert_snapshot;
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};
use transcribe_hook::elevenlabs::signature::sign;
use transcribe_hook::secret::Secret;

const PATH: &str = "/webhooks/elevenlabs/post-call";
const SECRET: &str = "wsec_0123456789abcdef0123456789abcdef";
const OTHER: &str = "wsec_fedcba9876543210fedcba9876543210";

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed()
}

fn event(id: &str) -> String {
    json!({"type": "call_initiation_failure", "event_timestamp": now(), "data": {
        "agent_id": "a", "conversation_id": id, "failure_reason": "busy", "metadata": {"type": "sip", "body": {}},
    }})
    .to_string()
}

fn post(service: &Service, body: &str, signature: &str) -> Answer {
    let headers = [("content-type", "application/json"), ("ElevenLabs-Signature", signature)];
    service.post_raw(PATH, &headers, body.as_bytes())
}

fn signed(secret: &str, at: i64, body: &str) -> String {
    sign(&Secret::new(secret).unwrap(), at, body.as_bytes())
}

/// Returns true if the call exists.
fn stored(service: &Service, id: &str) -> bool {
    service.get(&format!("/api/v1/calls/{id}")).status == 200
}

#[test]
fn an_event_is_taken_by_its_signature_only() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET, "--signature-tolerance", "1m"]);
    let body = event("conv_1");
    let good = signed(SECRET, now(), &body);
    let mut refusals = Wording::default();
    for (case, signature) in [
        ("an empty one", String::new()),
        ("one of too few digits", "t=1,v0=zz".to_owned()),
        ("by another secret", signed(OTHER, now(), &body)),
        ("of another body", signed(SECRET, now(), &format!("{body} "))),
        ("by another scheme", good.replace("v0", "v1")),
        ("too old", signed(SECRET, now() - 90, &body)),
        ("ahead", signed(SECRET, now() + 400, &body)),
    ] {
        let error = post(&service, &body, &signature).expect_error(401);
        refusals.add_without_numbers(case, error["details"].as_str().unwrap());
    }
    assert_snapshot!("refusals", refusals);
    service.post_raw(PATH, &[("content-type", "application/json")], body.as_bytes()).expect_error(401);
    // What cannot be read is refused for its signature all the same.
    post(&service, "no JSON", &good).expect_error(401);
    assert!(!stored(&service, "conv_1"));
    for _ in 0..2 {
        post(&service, &body, &good).expect(200);
    }
    assert!(stored(&service, "conv_1"));
    let log = service.log().join("\n");
    assert!(!log.contains(SECRET) && !log.contains(&good), "{log}");
}

#[test]
fn each_answer_says_what_became_of_the_event() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    let mut answers = Wording::default();
    let mut send = |case: &str, body: &str| {
        let answer = post(&service, body, &signed(SECRET, now(), body)).expect(200).json();
        assert_eq!(answer["status"], "success", "{case}");
        answers.add(case, answer["message"].as_str().unwrap());
    };
    let recording = r#"{"type": "post_call_audio", "data": {"conversation_id": "conv_1", "full_audio": "SUQz"}}"#;
    let record = event("conv_1");
    send("a record", &record);
    send("the same again", &record);
    send("another type", r#"{"type": "voice_removed", "data": {}}"#);
    send("no JSON", "{no JSON");
    send("a recording without --audio-dir", recording);
    service.delete("/api/v1/calls/conv_1").expect(204);
    send("a record of an erased call", &event("conv_1"));
    send("a recording of an erased call", recording);
    assert_snapshot!("answers", answers);
    assert_eq!(service.events_stored(), 2, "those of no call");
}

#[test]
fn a_signature_may_be_half_an_hour_old_or_ahead_unless_it_is_said_otherwise() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    // Some seconds are left for the request's way.
    for (n, (off, status)) in [(-1790, 200), (-1830, 401), (1790, 200), (1830, 401)].into_iter().enumerate() {
        let body = event(&format!("conv_{n}"));
        assert_eq!(post(&service, &body, &signed(SECRET, now() + off, &body)).status, status, "{off} s");
        assert_eq!(stored(&service, &format!("conv_{n}")), status == 200, "{off} s");
    }
}

#[test]
fn an_event_in_chunks_and_with_several_signatures_is_taken() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    let body = event("conv_1");
    let good = signed(SECRET, now(), &body);
    let (_, v0) = good.split_once(',').unwrap();
    let other = signed(OTHER, now(), &body);
    let headers = [("content-type", "application/json"), ("ElevenLabs-Signature", &*format!("{other},{v0}"))];
    service.post_chunked(PATH, &headers, std::io::Cursor::new(body.clone())).expect(200);
    assert!(stored(&service, "conv_1"));
    let headers = [("content-type", "application/json"), ("ElevenLabs-Signature", &*other)];
    service.post_chunked(PATH, &headers, std::io::Cursor::new(body)).expect_error(401);
}

#[test]
fn several_secrets_count_from_flag_variable_and_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secrets.txt");
    let third = "wsec_the_third_one_of_them_all";
    std::fs::write(&file, format!("{third}\n")).unwrap();
    let mut command = binary();
    command.env("TRANSCRIBE_HOOK_ELEVENLABS_SECRET", format!("{SECRET} {OTHER}"));
    let flags = ["--elevenlabs-secret-file", file.to_str().unwrap()];
    let service = Service::start_command(command, &folder.path().join("calls.db"), &flags);
    for (number, secret) in [SECRET, OTHER, third].into_iter().enumerate() {
        let body = event(&format!("conv_{number}"));
        post(&service, &body, &signed(secret, now(), &body)).expect(200);
        assert!(stored(&service, &format!("conv_{number}")));
    }
}

#[test]
fn without_a_secret_nothing_is_taken_and_the_answer_says_why() {
    let service = Service::start();
    let body = event("conv_1");
    let error = post(&service, &body, &signed(SECRET, now(), &body)).expect_error(401);
    assert!(error["details"].as_str().unwrap().contains("--elevenlabs-secret"), "{error}");
    assert!(!stored(&service, "conv_1"));
}

#[test]
fn a_refused_delivery_is_a_warning_with_its_reason_once_a_minute_for_each_cause() {
    let flags = ["--elevenlabs-secret", SECRET, "--ingest-token", "ingest_0123456789abcdef"];
    let service = Service::start_with(&flags);
    let body = event("conv_1");
    let stale = signed(SECRET, now() - 90_000, &body);
    for _ in 0..3 {
        post(&service, &body, &signed(OTHER, now(), &body)).expect_error(401);
        post(&service, &body, &stale).expect_error(401);
        service.deliver(&crate::support::turns::turn("conv_1", 1)).expect_error(401);
    }
    let warned = || -> Vec<String> {
        let lines = service.log().into_iter().filter_map(|line| serde_json::from_str::<serde_json::Value>(&line).ok());
        let warnings = lines.filter(|line| line["level"] == "warn");
        warnings.filter_map(|line| line["cause"].as_str().map(str::to_owned)).collect()
    };
    // The last line of the log comes after all of these.
    service.get("/healthz").expect(200);
    crate::support::service::wait_for("the requests in the log", || {
        (service.log().iter().filter(|line| line.contains("\"status\":401")).count() == 9).then_some(())
    });
    assert_eq!(warned(), ["signature", "signature_time", "no_ingest_token"]);
    let log = service.log().join("\n");
    assert!(!log.contains(SECRET) && !log.contains("ingest_0123"), "{log}");
}

#[test]
fn a_secret_that_is_none_is_refused_at_the_start_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    for (flag, value) in
        [("--elevenlabs-secret", "no_s\u{e9}cret"), ("--elevenlabs-secret-file", "/nowhere/secret.txt")]
    {
        let out = binary()
            .args(["serve", "--listen", "127.0.0.1:0", flag, value, "--database"])
            .arg(folder.path().join("calls.db"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(2), "{said}");
        assert!(said.contains(flag) && !said.contains("no_s\u{e9}cret"), "{said}");
    }
    let help = binary().args(["serve", "--help"]).env("TRANSCRIBE_HOOK_ELEVENLABS_SECRET", SECRET).output().unwrap();
    assert!(!String::from_utf8_lossy(&help.stdout).contains(SECRET));
}
