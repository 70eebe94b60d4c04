//! The command `webhook`, the flags, and who may ask.

use crate::support::receiver::{Receiver, Reply, WEBHOOK_SECRET};
use crate::support::service::{Service, run, wait_for};
use crate::support::turns::turn;
use serde_json::Value;

fn webhook(service: &Service, args: &[&str]) -> (Option<i32>, Value) {
    let (url, database) = (service.url(""), service.database().to_str().unwrap().to_owned());
    let out = run(&[&["webhook"], args, &["--json", "--url", &url, "--database", &database]].concat());
    (out.status.code(), serde_json::from_slice(&out.stdout).unwrap_or_default())
}

#[test]
fn the_command_lists_tests_and_retries_by_the_token_file() {
    let receiver = Receiver::answering(|_, _| Reply::status(410));
    let url = receiver.url();
    let service = Service::start_guarded(&["--webhook-url", &url, "--webhook-secret", WEBHOOK_SECRET]);
    service.get("/api/v1/webhooks").expect_error(401);
    service.deliver(&turn("conv_a", 1)).expect(201);
    let listed = wait_for("the endpoint to be off", || {
        let (code, listed) = webhook(&service, &["list"]);
        assert_eq!(code, Some(0));
        (listed["data"][0]["status"] == "switched_off").then_some(listed)
    });
    // The rest of the URL may be secret.
    let shown = listed["data"][0]["url"].as_str().unwrap();
    assert_eq!(shown.len(), url.find("/notices").unwrap());
    assert!(url.starts_with(shown) && !listed.to_string().contains("hidden_word"), "{listed}");
    let id = listed["data"][0]["id"].as_str().unwrap();
    let (code, tested) = webhook(&service, &["test", id]);
    assert_eq!((code, &tested["data"][0]["result"]["status"]), (Some(1), &Value::from(410)));
    receiver.answer(|_, _| Reply::status(202));
    let (code, tested) = webhook(&service, &["test"]);
    assert_eq!((code, &tested["data"][0]["result"]["delivered"]), (Some(0), &Value::from(true)));
    let test = receiver.requests().into_iter().rfind(|request| request.kind() == "webhook.test").unwrap();
    test.verify(WEBHOOK_SECRET);
    assert_eq!(webhook(&service, &["retry", id]).0, Some(0));
    wait_for("the notice", || (receiver.kinds("conv_a") == ["call.started"]).then_some(()));
    assert_eq!(webhook(&service, &["retry", "0123456789abcdef"]).0, Some(2));
    assert!(!service.log().join("\n").contains("hidden_word"));
}

#[test]
fn what_cannot_be_an_endpoint_or_a_secret_is_refused_at_the_start() {
    let good = ["--webhook-url", "https://h.example/x"];
    let secret = ["--webhook-secret", WEBHOOK_SECRET];
    for flags in [
        &good[..],
        &["--webhook-url", "http://h.example/hidden_word", secret[0], secret[1]],
        &["--webhook-url", "https://anna:hidden_word@h.example/x", secret[0], secret[1]],
        &[good[0], good[1], "--webhook-secret", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        &[good[0], good[1], "--webhook-secret", "whsec_short"],
        &[good[0], good[1], secret[0], secret[1], "--webhook-events", "call.paused"],
        &[good[0], good[1], secret[0], secret[1], "--webhook-retry-pause", "0s"],
        &["--public-url", "calls.example.com"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("calls.db");
        let command = ["serve", "--listen", "127.0.0.1:0", "--database", database.to_str().unwrap()];
        let out = run(&[&command, flags].concat());
        assert_eq!(out.status.code(), Some(2), "{flags:?}");
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(!said.contains("LPZIo2") && !said.contains("hidden_word"), "{said}");
    }
}

#[test]
fn an_endpoint_that_is_not_configured_is_not_found() {
    let service = Service::start();
    assert_eq!(service.get("/api/v1/webhooks").expect(200).json()["data"], Value::Array(Vec::new()));
    for action in ["test", "retry"] {
        let path = format!("/api/v1/webhooks/0123456789abcdef/{action}");
        assert_eq!(service.post(&path, &Value::Null).expect_error(404)["code"], "endpoint_not_found");
    }
}
