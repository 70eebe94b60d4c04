//! `simulate`: a whole call against a running service, which must come out whole; and that it sees what is wrong.

use crate::support::service::{Service, binary, sdk_python};
use crate::support::tls::free_port;
use crate::support::wording::Wording;
use insta::assert_snapshot;
use serde_json::{Value, json};
use std::process::{Output, Stdio};
use transcribe_hook::elevenlabs::sample_call;

const SECRET: &str = "wsec_0123456789abcdef0123456789abcdef";

fn simulate(service: &Service, secret: &str, flags: &[&str]) -> Output {
    binary()
        .args(["simulate", "--url", &service.url("")])
        .args(flags)
        .env("TRANSCRIBE_HOOK_ELEVENLABS_SECRET", secret)
        .output()
        .unwrap()
}

#[test]
fn a_simulated_call_shows_the_tokens_that_the_service_wants() {
    let tokens = ["--ingest-token", "ingest_0123456789abcdef", "--api-token", "api_0123456789abcdef"];
    let service = Service::start_with(&[&["--elevenlabs-secret", SECRET], &tokens[..]].concat());
    let out = simulate(&service, SECRET, &tokens);
    assert!(out.status.success(), "{out:?}");
    let out = simulate(&service, SECRET, &tokens[..2]);
    assert!(!out.status.success() && String::from_utf8_lossy(&out.stderr).contains("--api-token"), "{out:?}");
}

#[test]
fn a_simulated_call_comes_out_whole() {
    let service =
        Service::start_with(&["--elevenlabs-secret", "wsec_an_older_one_that_goes", "--elevenlabs-secret", SECRET]);
    let out = simulate(&service, SECRET, &[]);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{said}\n{}", String::from_utf8_lossy(&out.stderr));
    let id = said.split_whitespace().find(|word| word.starts_with("conv_simulated_")).unwrap();
    let mut shown = Wording::default();
    shown.hide(id.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()), "[conversation]");
    shown.hide(service.url(""), "[url]");
    shown.add_without_numbers("simulate", &said);
    assert_snapshot!("simulate", shown);
    let again = simulate(&service, SECRET, &["--json"]);
    let report: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(report["problems"], json!([]), "{report}");
    assert_eq!(report["transcriptions"].as_array().unwrap().len(), 8);
    let calls = service.get("/api/v1/calls?q=conv_simulated_").expect(200).json();
    assert_eq!(calls["data"].as_array().unwrap().len(), 2, "each call is one of its own");
    let log = service.log().join("\n");
    assert!(!log.contains("wsec_") && !log.contains("reefer"), "{log}");
}

#[test]
fn whoever_looks_on_may_leave_before_the_end() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    let url = service.url("");
    let tool = ["generate", "elevenlabs-tool", "--url", "https://calls.example.com"];
    for args in [&["simulate", "--url", &url][..], &["simulate", "--json", "--url", &url], &tool] {
        let mut child = binary()
            .args(args)
            .env("TRANSCRIBE_HOOK_ELEVENLABS_SECRET", SECRET)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success() && out.stderr.is_empty(), "{args:?}: {out:?}");
    }
    let calls = service.get("/api/v1/calls?status=completed").expect(200).json();
    assert_eq!(calls["data"].as_array().unwrap().len(), 2, "each call was played to its end");
}

#[test]
fn what_is_wrong_with_an_installation_is_said() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    let other = simulate(&service, "wsec_quite_another_secret", &[]);
    assert_eq!(other.status.code(), Some(1));
    let said = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(said.contains("401"), "{said}");
    // What a failed run stored would be a live call for hours.
    let calls = service.get("/api/v1/calls").expect(200).json();
    assert_eq!(calls["data"], json!([]), "{calls}");
    let none = binary().args(["simulate", "--url", &service.url("")]).output().unwrap();
    assert!(String::from_utf8_lossy(&none.stderr).contains("--elevenlabs-secret"), "{none:?}");
    let open = Service::start();
    let closed = simulate(&open, SECRET, &[]);
    let said = String::from_utf8_lossy(&closed.stderr).into_owned();
    assert!(said.contains("401") && said.contains("--elevenlabs-secret"), "{said}");
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let gone = binary().args(["simulate", "--url", &nobody, "--elevenlabs-secret", SECRET]).output().unwrap();
    assert_eq!(gone.status.code(), Some(1), "{gone:?}");
}

/// Says what ElevenLabs' model of a conversation does not take or know.
const MODEL: &str = r"
import json, sys
from elevenlabs.types.get_conversation_response_model import GetConversationResponseModel
try:
    model = GetConversationResponseModel.model_validate(json.load(sys.stdin))
    print(json.dumps(list(model.__pydantic_extra__ or [])))
except Exception as error:
    print(json.dumps([str(error)]))
";

#[test]
fn the_simulated_record_is_as_elevenlabs_model_wants_it() {
    let data = sample_call::post_call("conv_1", 1_790_000_000)["data"].take();
    assert_eq!(sdk_python(MODEL, &data), json!([]));
    assert_ne!(sdk_python(MODEL, &json!({"conversation_id": "conv_1"})), json!([]), "what is wrong is found");
}
