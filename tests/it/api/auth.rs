//! Permissions: every path of the document, and what tokens, places and proxies change about it.

use crate::support::openapi::{Sent, filled, operations, send};
use crate::support::service::{Service, TURNS, binary, run, wait_for};
use crate::support::turns::turn;
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Output;

const API: &str = "api_0123456789abcdef0123456789abcdef";
const INGEST: &str = "ingest_0123456789abcdef0123456789abcdef";
const HISTORY: &str = "/webhooks/elevenlabs/history";
const INITIATION: &str = "/webhooks/elevenlabs/initiation";
const SIGNED: &str = "/webhooks/elevenlabs/post-call";
const CALLS: &str = "/api/v1/calls";

/// Paths that tell nothing of any call.
const PUBLIC: [&str; 5] = ["/docs", "/healthz", "/openapi.json", "/readyz", "/session"];

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Returns the message of a 401, after a check of its headers.
#[track_caller]
fn refused(sent: &Sent) -> String {
    assert_eq!(sent.status, 401, "{}", sent.text);
    assert!(sent.header("www-authenticate").unwrap().starts_with("Bearer realm=\"transcribe-hook\""));
    let body: Value = serde_json::from_str(&sent.text).unwrap();
    let fields: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["status", "code", "message", "details", "request_id"]);
    body["details"].as_str().unwrap().to_owned()
}

fn get(service: &Service, path: &str, headers: &[(&str, &str)]) -> Sent {
    send(service, "GET", path, headers, b"")
}

#[test]
fn no_path_and_method_of_the_document_answers_data_without_a_token() {
    let flags = ["--api-token", API, "--ingest-token", INGEST, "--refusals-per-minute", "0"];
    let service = Service::start_with(&flags);
    let words = "words that only a token gives";
    let call = "conv_1901kaj4pr1penza6bbkscg6hgkc";
    let mut stored = turn(call, 1);
    stored["message"] = words.into();
    let delivered = send(&service, "POST", TURNS, &[JSON, ("X-Webhook-Token", INGEST)], stored.to_string().as_bytes());
    assert_eq!(delivered.status, 201, "{}", delivered.text);
    let mut templates: BTreeSet<_> = operations().into_iter().map(|operation| operation.path).collect();
    assert!(templates.len() > 10);
    // What is there although the document does not have it, and what may come.
    templates.extend(["/", "/docs", "/openapi.json", "/metrics", "/viewer", "/api/v1/export"].map(str::to_owned));
    let mut walked = 0;
    for template in &templates {
        let path = filled(template);
        for method in ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"] {
            let at = format!("{method} {path}");
            let sent = send(&service, method, &path, &[JSON], b"");
            assert!(!sent.text.contains(words), "{at} gives words away");
            let public = PUBLIC.contains(&template.as_str()) || template == "/";
            if template == SIGNED {
                assert!([401, 405].contains(&sent.status), "{at}: {}", sent.status);
            } else if !public {
                assert_eq!(sent.status, 401, "{at}: {}", sent.text);
                assert!(sent.header("www-authenticate").is_some(), "{at}");
            }
            walked += 1;
        }
    }
    assert!(walked > 100, "{walked}");
    // The same paths answer with the token, so that it was the token that they lacked.
    let bearer = format!("Bearer {API}");
    let read = get(&service, &format!("{CALLS}/{call}/transcriptions"), &[("Authorization", &bearer)]);
    assert!(read.status == 200 && read.text.contains(words), "{}", read.text);
}

#[test]
fn any_spelling_of_a_path_needs_the_token() {
    let service = Service::start_with(&["--api-token", API, "--refusals-per-minute", "0"]);
    for path in ["/api/v1/%63alls", "//api/v1/calls", "/api/v1/calls/", "/API/v1/calls", "/docs/../api/v1/calls", "/x"]
    {
        refused(&get(&service, path, &[]));
    }
}

#[test]
fn any_of_several_api_tokens_reads_and_manages() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    std::fs::write(&file, format!("{API}\na_newer_token_for_later\n")).unwrap();
    let service =
        Service::start_with(&["--api-token", "another_token_of_old", "--api-token-file", file.to_str().unwrap()]);
    for token in ["another_token_of_old", API, "a_newer_token_for_later"] {
        assert_eq!(get(&service, CALLS, &[("Authorization", &format!("Bearer {token}"))]).status, 200, "{token}");
        assert_eq!(get(&service, CALLS, &[("authorization", &format!("bearer {token}"))]).status, 200, "{token}");
    }
    let driver = br#"{"name": "Maria Kowalski"}"#;
    let bearer = format!("Bearer {API}");
    assert_eq!(send(&service, "PUT", "/api/v1/drivers/7", &[JSON, ("Authorization", &bearer)], driver).status, 201);
    for wrong in [&API[1..], &API[..API.len() - 1], &API.to_uppercase(), &format!("{API} {API}")] {
        let sent = get(&service, CALLS, &[("Authorization", &format!("Bearer {wrong}"))]);
        let details = refused(&sent);
        assert!(!details.contains("0123456789"), "{details}");
        assert!(sent.header("www-authenticate").unwrap().ends_with("error=\"invalid_token\""), "{wrong:?}");
    }
    refused(&get(&service, CALLS, &[("Authorization", &format!("Basic {API}"))]));
    refused(&get(&service, CALLS, &[("X-Webhook-Token", API)]));
    let log = wait_for("the refusals to be logged", || {
        let log = service.log().join("\n");
        (log.matches("\"status\":401").count() == 6).then_some(log)
    });
    assert!(!log.contains("0123456789") && !log.contains("another_token"), "{log}");
}

#[test]
fn an_sdk_shows_the_token_where_it_has_its_key_and_only_there() {
    let service = Service::start_with(&["--api-token", API]);
    assert_eq!(get(&service, "/v1/convai/conversations", &[("xi-api-key", API)]).status, 200);
    refused(&get(&service, "/v1/convai/conversations", &[("xi-api-key", INGEST)]));
    refused(&get(&service, CALLS, &[("xi-api-key", API)]));
}

#[test]
fn turns_and_histories_need_the_ingest_token_once_there_is_one() {
    let open = Service::start();
    open.deliver(&turn("conv_a", 1)).expect(201);
    let service = Service::start_with(&["--ingest-token", INGEST]);
    let bearer = format!("Bearer {INGEST}");
    let body = turn("conv_a", 1).to_string();
    for path in [TURNS, HISTORY] {
        for headers in [&[JSON][..], &[JSON, ("X-Webhook-Token", API)], &[JSON, ("xi-api-key", INGEST)]] {
            refused(&send(&service, "POST", path, headers, body.as_bytes()));
        }
    }
    assert_eq!(service.sqlite().query_row("SELECT count(*) FROM calls", [], |row| row.get::<_, i64>(0)).unwrap(), 0);
    for (n, header) in [("Authorization", bearer.as_str()), ("X-Webhook-Token", INGEST)].into_iter().enumerate() {
        let body = turn("conv_a", n + 1).to_string();
        let sent = send(&service, "POST", TURNS, &[JSON, header], body.as_bytes());
        assert_eq!(sent.status, 201, "{}", sent.text);
    }
    let history = r#"{"conversation_id": "conv_b", "timestamp": "2026-09-28T12:00:08Z",
        "history": {"entries": [{"role": "user", "message": "Yes."}]}}"#;
    let sent = send(&service, "POST", HISTORY, &[JSON, ("X-Webhook-Token", INGEST)], history.as_bytes());
    assert_eq!(sent.status, 200, "{}", sent.text);
    // Storing is not reading.
    let service = Service::start_guarded(&["--ingest-token", INGEST]);
    refused(&get(&service, CALLS, &[("Authorization", &bearer)]));
    assert_eq!(get(&service, CALLS, &[("Authorization", &format!("Bearer {}", service.token()))]).status, 200);
}

#[test]
fn a_foreign_page_changes_nothing_through_a_browser_on_this_machine() {
    let service = Service::start();
    let driver = br#"{"name": "Maria Kowalski"}"#;
    let put =
        |headers: &[(&str, &str)]| send(&service, "PUT", "/api/v1/drivers/7", &[&[JSON], headers].concat(), driver);
    for headers in
        [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Site", "same-site"), ("Origin", "https://evil.example")]
    {
        refused(&put(&[headers]));
    }
    refused(&put(&[("Origin", "null")]));
    let own = service.url("");
    assert_eq!(put(&[("Origin", &own)]).status, 201);
    assert_eq!(put(&[("Sec-Fetch-Site", "same-origin")]).status, 200);
    assert_eq!(put(&[]).status, 200, "no browser");
}

#[test]
fn everybody_reads_where_that_is_said_to_be_meant_and_only_there() {
    let outside = [("Host", "calls.example.com"), ("X-Forwarded-For", "203.0.113.9")];
    let service = Service::start_with(&["--no-token"]);
    assert_eq!(get(&service, CALLS, &outside).status, 200);
    let log = service.log();
    let warnings: Vec<_> = log.iter().filter(|line| line.contains("\"level\":\"warn\"")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("--no-token"), "{log:?}");
    assert!(!service.database().with_added_extension("token").exists());
    let said = why(&["--no-token", "--api-token", API]);
    assert!(said.contains("--no-token") && said.contains("--api-token"), "{said}");
}

#[test]
fn an_address_that_others_reach_needs_a_token_and_then_refuses_them_without_it() {
    let service = Service::start_with(&["--listen", "0.0.0.0:0", "--api-token", API]);
    let log = service.log().join("\n");
    assert!(log.contains("--ingest-token"), "it says that everybody can store turns: {log}");
    let port = service.address().port();
    let here = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let answer =
        ureq::get(format!("http://{here}{CALLS}")).config().http_status_as_error(false).build().call().unwrap();
    assert_eq!(answer.status(), 401, "a token is needed from this machine too");
}

/// Returns the error of a `serve` that ends with these flags.
fn why(flags: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let out: Output =
        binary().args(["serve", "--listen", "127.0.0.1:0", "--database"]).arg(&database).args(flags).output().unwrap();
    assert!(!out.status.success() && !database.exists(), "{out:?}");
    String::from_utf8(out.stderr).unwrap()
}

#[test]
fn a_token_that_could_be_guessed_is_refused_and_not_repeated() {
    for flag in ["--api-token", "--ingest-token"] {
        let said = why(&[flag, "shorty_fifteen_"]);
        assert!(said.contains(flag) && said.contains("16 characters") && !said.contains("shorty"), "{said}");
    }
    assert!(why(&["--trusted-proxy", "10.0.0.0/33"]).contains("--trusted-proxy"));
    let help = String::from_utf8(run(&["serve", "--help"]).stdout).unwrap();
    assert!(help.contains("--trusted-proxy") && help.contains("TRANSCRIBE_HOOK_API_TOKEN_FILE"), "{help}");
}

#[test]
fn an_address_that_is_refused_too_often_is_told_to_wait_but_a_right_token_is_not() {
    let flags =
        ["--api-token", API, "--refusals-per-minute", "5", "--trusted-proxy", "127.0.0.1", "--log-level", "debug"];
    let service = Service::start_with(&flags);
    let from = |address: &str| get(&service, CALLS, &[("X-Forwarded-For", address), ("Authorization", "Bearer wrong")]);
    for _ in 0..5 {
        refused(&from("203.0.113.9"));
    }
    let sent = from("203.0.113.9");
    assert_eq!(sent.status, 429, "{}", sent.text);
    let seconds: u32 = sent.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=12).contains(&seconds), "{seconds}");
    assert!(sent.header("www-authenticate").is_none());
    refused(&from("203.0.113.10"));
    // A client cannot take another's address by saying so itself.
    assert_eq!(from("198.51.100.1, 203.0.113.9").status, 429);
    let bearer = format!("Bearer {API}");
    let right = get(&service, CALLS, &[("X-Forwarded-For", "203.0.113.9"), ("Authorization", &bearer)]);
    assert_eq!(right.status, 200, "{}", right.text);
    // Signing in and signatures are counted with the rest.
    let sign_in =
        send(&service, "POST", "/session", &[JSON, ("X-Forwarded-For", "203.0.113.9")], br#"{"token": "wrong"}"#);
    assert_eq!(sign_in.status, 429, "{}", sign_in.text);
    let signed = send(&service, "POST", SIGNED, &[JSON, ("X-Forwarded-For", "203.0.113.9")], b"{}");
    assert_eq!(signed.status, 429, "{}", signed.text);
    wait_for("the log to name the client of each refusal", || {
        let log = service.log();
        let of_client = |line: &&String| line.contains("\"203.0.113.9\"") && line.contains("\"status\":401");
        (log.iter().filter(of_client).count() == 5).then_some(())
    });
}

#[test]
fn a_proxy_that_is_not_trusted_is_not_believed() {
    let service = Service::start_with(&["--api-token", API, "--refusals-per-minute", "2"]);
    for n in 0..2 {
        refused(&get(&service, CALLS, &[("X-Forwarded-For", &format!("203.0.113.{n}"))]));
    }
    assert_eq!(get(&service, CALLS, &[("X-Forwarded-For", "203.0.113.77")]).status, 429);
}

#[test]
fn a_refused_signature_says_which_header_it_goes_by() {
    let service = Service::start();
    let sent = send(&service, "POST", SIGNED, &[JSON], b"{}");
    assert_eq!((sent.status, sent.header("www-authenticate")), (401, Some("elevenlabs-signature")));
}

#[test]
fn the_document_says_which_operation_needs_which_credentials() {
    let document: Value = serde_json::from_slice(&run(&["generate", "openapi"]).stdout).unwrap();
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    assert_eq!(schemes["ApiToken"]["scheme"], "bearer");
    assert_eq!(schemes["WebhookToken"]["name"], "X-Webhook-Token");
    for operation in operations() {
        let security = document["paths"][&operation.path][operation.method.to_lowercase()]["security"].clone();
        let ways: Vec<Vec<String>> = security
            .as_array()
            .map(|ways| ways.iter().map(|way| way.as_object().unwrap().keys().cloned().collect()).collect())
            .unwrap_or_default();
        let at = format!("{} {}", operation.method, operation.path);
        assert!(ways.iter().flatten().all(|way| schemes.contains_key(way)), "{at}: {ways:?}");
        let expected: &[&[&str]] = match operation.path.as_str() {
            path if PUBLIC.contains(&path) || path == SIGNED => &[],
            TURNS | HISTORY | INITIATION => &[&[], &["IngestToken"], &["WebhookToken"]],
            path if path.starts_with("/v1/convai/") => &[&["ApiToken"], &["ElevenLabsKey"], &["Session"]],
            _ => &[&["ApiToken"], &["Session"]],
        };
        assert_eq!(ways, expected, "{at}");
        if !PUBLIC.contains(&operation.path.as_str()) {
            assert!(operation.statuses.is_superset(&BTreeSet::from([401, 429])), "{at}: {:?}", operation.statuses);
        }
    }
}
