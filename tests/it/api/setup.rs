//! The setup of the service: last deliveries and what is missing.

use crate::support::service::Service;
use crate::support::turns::turn;
use crate::support::whole_call::{POST_CALL, SECRET, post_signed, record};
use serde_json::{Value, json};
use transcribe_hook::domain::Timestamp;

const INGEST: &str = "ingest_0123456789abcdef";

fn setup(service: &Service) -> Value {
    service.get("/api/v1/setup").expect(200).json()
}

fn webhook(service: &Service, name: &str) -> Value {
    let setup = setup(service);
    let path = format!("/webhooks/elevenlabs/{name}");
    setup["webhooks"].as_array().unwrap().iter().find(|hook| hook["path"] == path.as_str()).unwrap().clone()
}

fn parts(service: &Service) -> Vec<String> {
    let setup = setup(service);
    setup["missing"].as_array().unwrap().iter().map(|part| part["part"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn each_webhook_has_its_last_accepted_and_refused_delivery_with_the_reason() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    let nothing = webhook(&service, "transcription");
    for (field, value) in [("accepted", json!(0)), ("refused", json!(0)), ("last_accepted_at", Value::Null)] {
        assert_eq!(nothing[field], value, "{field}");
    }
    let before = Timestamp::now().to_string();
    service.deliver(&turn("conv_1", 1)).expect(201);
    service.deliver(&turn("conv_1", 1)).expect(201);
    let taken = webhook(&service, "transcription");
    assert_eq!((&taken["accepted"], &taken["refused"]), (&json!(2), &json!(0)));
    assert!(taken["last_accepted_at"].as_str().unwrap() >= before.as_str(), "{taken}");
    assert_eq!(taken["last_refused"], Value::Null);

    let mut wrong = turn("conv_1", 2);
    wrong["speaker"] = json!("dispatcher");
    let answer = service.deliver(&wrong).expect_error(400);
    let refused = webhook(&service, "transcription");
    assert_eq!(refused["refused"], 1);
    assert_eq!(refused["last_refused"]["status"], 400);
    assert_eq!(refused["last_refused"]["reason"], answer["details"]);

    service.post(POST_CALL, &json!({"type": "post_call_transcription"})).expect_error(401);
    assert_eq!(webhook(&service, "post-call")["last_refused"]["status"], 401);
    post_signed(&service, &record("conv_2", "words").to_string()).expect(200);
    let post_call = webhook(&service, "post-call");
    assert_eq!((&post_call["accepted"], &post_call["refused"]), (&json!(1), &json!(1)));
    // A refused delivery is remembered beside an accepted one.
    assert_eq!(post_call["last_refused"]["status"], 401);
    assert_eq!(webhook(&service, "history")["accepted"], 0);
}

#[test]
fn what_is_missing_is_named_with_its_flag() {
    let bare = Service::start();
    let missing = parts(&bare);
    assert_eq!(missing, ["signing_secret", "ingest_token", "api_token", "backups", "recordings"]);
    assert_eq!(webhook(&bare, "post-call")["enabled"], false);
    assert_eq!(webhook(&bare, "transcription")["authentication"], "none");
    for part in setup(&bare)["missing"].as_array().unwrap() {
        assert!(part["flag"].as_str().unwrap().starts_with("--"), "{part}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let flags = ["--elevenlabs-secret", SECRET, "--ingest-token", INGEST, "--audio-dir", path, "--backup-every", "1d"];
    let service = Service::start_with(&[&flags[..], &["--backup-dir", path]].concat());
    assert_eq!(parts(&service), ["api_token"]);
    let setup = setup(&service);
    assert_eq!(setup["backup_every_seconds"], 86_400);
    assert_eq!(setup["signing_secret"], true);
    assert_eq!(webhook(&service, "history")["authentication"], "ingest_token");
    // It is for whoever may read, and contains no secret.
    let text = setup.to_string();
    assert!(!text.contains(SECRET) && !text.contains(INGEST), "{text}");
    service.deliver(&turn("conv_1", 1)).expect_error(401);
    assert_eq!(webhook(&service, "transcription")["last_refused"]["status"], 401);
}

#[test]
fn the_database_and_the_unit_are_named_for_commands() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().canonicalize().unwrap().join("calls of today.db");
    let service = Service::start_on(&database, &[]);
    let setup = setup(&service);
    assert_eq!(setup["database"], database.to_str().unwrap());
    // This test is no unit of systemd, whatever runs it.
    assert_eq!(setup["systemd_unit"], Value::Null);
}

#[test]
fn the_setup_is_read_only_with_a_token() {
    let service = Service::start_guarded(&[]);
    service.get_with("/api/v1/setup", &[]).expect_error(401);
    let bearer = format!("Bearer {}", service.token());
    let setup = service.get_with("/api/v1/setup", &[("authorization", &bearer)]).expect(200).json();
    assert_eq!(setup["api_token"], true);
}
