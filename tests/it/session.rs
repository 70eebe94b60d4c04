//! Signing in: what a page in a browser does to read without showing the token each time.

use crate::harness::Service;
use crate::openapi::{Sent, send};
use serde_json::{Value, json};

const API: &str = "api_0123456789abcdef0123456789abcdef";
const CALLS: &str = "/api/v1/calls";
const JSON: (&str, &str) = ("Content-Type", "application/json");

fn sign_in(service: &Service, token: &str, headers: &[(&str, &str)]) -> Sent {
    let body = json!({"token": token}).to_string();
    send(service, "POST", "/session", &[&[JSON], headers].concat(), body.as_bytes())
}

/// The cookie that a browser would send after this answer.
fn cookie(sent: &Sent) -> String {
    assert_eq!(sent.status, 200, "{}", sent.text);
    sent.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

fn session(service: &Service, headers: &[(&str, &str)]) -> Value {
    let sent = send(service, "GET", "/session", headers, b"");
    assert_eq!(sent.status, 200, "{}", sent.text);
    serde_json::from_str(&sent.text).unwrap()
}

#[test]
fn a_session_reads_until_the_token_goes_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let service = Service::start_on(&database, &["--api-token", "another_token_of_old", "--api-token", API]);
    assert_eq!(session(&service, &[]), json!({"allowed": false, "sign_in": true, "expires_at": null}));
    assert_eq!(sign_in(&service, "another_token_of_new", &[]).status, 401);
    let sent = sign_in(&service, API, &[]);
    let attributes = sent.header("set-cookie").unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=604800"] {
        assert!(attributes.contains(part), "{attributes}");
    }
    assert!(!attributes.contains("Secure") && !attributes.contains(API), "{attributes}");
    let cookie = cookie(&sent);
    let with = [("Cookie", cookie.as_str())];
    assert_eq!(send(&service, "GET", CALLS, &with, b"").status, 200);
    let known = session(&service, &with);
    assert_eq!((&known["allowed"], known["expires_at"].is_string()), (&json!(true), true), "{known}");
    let tampered = cookie.replace("=1", "=2");
    assert_eq!(send(&service, "GET", CALLS, &[("Cookie", &tampered)], b"").status, 401);
    service.stop();
    let service = Service::start_on(&database, &["--api-token", API]);
    assert_eq!(send(&service, "GET", CALLS, &with, b"").status, 200, "it outlives a restart");
    service.stop();
    let service = Service::start_on(&database, &["--api-token", "another_token_of_old"]);
    assert_eq!(send(&service, "GET", CALLS, &with, b"").status, 401, "it ends with its token");
    assert_eq!(session(&service, &with)["expires_at"], Value::Null);
}

#[test]
fn a_form_signs_in_too_and_other_bodies_are_refused() {
    let service = Service::start_with(&["--api-token", API, "--max-body", "1KiB"]);
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let sent = send(&service, "POST", "/session", &form, format!("token={API}").as_bytes());
    let cookie = cookie(&sent);
    assert_eq!(send(&service, "GET", CALLS, &[("Cookie", &cookie)], b"").status, 200);
    for (kind, body, status) in [
        ("application/x-www-form-urlencoded", "tok=1", 400),
        ("application/json", "{\"token\": 7}", 400),
        ("application/json", "[", 400),
        ("text/plain", "token", 415),
    ] {
        assert_eq!(
            send(&service, "POST", "/session", &[("Content-Type", kind)], body.as_bytes()).status,
            status,
            "{body}"
        );
    }
    let long = "x".repeat(2000);
    assert_eq!(sign_in(&service, &long, &[]).status, 413);
}

#[test]
fn a_session_changes_something_only_for_the_services_own_page() {
    let service = Service::start_with(&["--api-token", API]);
    let cookie = cookie(&sign_in(&service, API, &[]));
    let own = service.url("");
    let put = |header: Option<(&str, &str)>| {
        let headers: Vec<_> = [JSON, ("Cookie", cookie.as_str())].into_iter().chain(header).collect();
        send(&service, "PUT", "/api/v1/drivers/7", &headers, br#"{"name": "Maria Kowalski"}"#).status
    };
    for foreign in [
        None,
        Some(("Origin", "https://evil.example")),
        Some(("Origin", "null")),
        Some(("Sec-Fetch-Site", "cross-site")),
        Some(("Sec-Fetch-Site", "same-site")),
        Some(("Sec-Fetch-Site", "none")),
    ] {
        assert_eq!(put(foreign), 401, "{foreign:?}");
    }
    assert_eq!(put(Some(("Origin", &own))), 201);
    assert_eq!(put(Some(("Sec-Fetch-Site", "same-origin"))), 200);
}

#[test]
fn behind_https_the_cookie_is_for_https_only() {
    let service = Service::start_with(&["--api-token", API]);
    let sent = sign_in(&service, API, &[("X-Forwarded-Proto", "https")]);
    assert!(sent.header("set-cookie").unwrap().ends_with("; Secure"));
}

#[test]
fn signing_out_takes_the_cookie_away() {
    let service = Service::start_with(&["--api-token", API]);
    let cookie = cookie(&sign_in(&service, API, &[]));
    let sent = send(&service, "DELETE", "/session", &[("Cookie", &cookie)], b"");
    assert_eq!(sent.status, 200, "{}", sent.text);
    let removal = sent.header("set-cookie").unwrap();
    assert!(removal.starts_with("transcribe_hook_session=;") && removal.contains("Max-Age=0"), "{removal}");
}

#[test]
fn where_no_token_is_configured_nobody_signs_in_and_this_machine_need_not() {
    let service = Service::start();
    assert_eq!(session(&service, &[]), json!({"allowed": true, "sign_in": false, "expires_at": null}));
    let outside = session(&service, &[("Host", "calls.example.com")]);
    assert_eq!(outside, json!({"allowed": false, "sign_in": false, "expires_at": null}));
    assert_eq!(sign_in(&service, API, &[]).status, 401);
}
