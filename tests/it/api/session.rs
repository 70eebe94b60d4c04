//! Signing in: what a page in a browser does to read without showing the token each time.

use crate::support::openapi::{Sent, send};
use crate::support::service::Service;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;

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
    assert_eq!(
        session(&service, &[]),
        json!({"allowed": false, "sign_in": true, "expires_at": null, "role": null, "user": null})
    );
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
fn behind_https_the_cookie_is_for_this_host_and_https_only_and_none_stands_for_the_other() {
    let service = Service::start_with(&["--api-token", API]);
    let https = ("X-Forwarded-Proto", "https");
    let sent = sign_in(&service, API, &[https]);
    let attributes = sent.header("set-cookie").unwrap();
    assert!(
        attributes.starts_with("__Host-transcribe_hook_session=") && attributes.ends_with("; Secure"),
        "{attributes}"
    );
    assert!(attributes.contains("; Path=/;") && !attributes.contains("Domain"), "{attributes}");
    let (secure, plain) = (cookie(&sent), cookie(&sign_in(&service, API, &[])));
    let reads = |cookie: &str, https: Option<(&str, &str)>| {
        let headers: Vec<_> = [("Cookie", cookie)].into_iter().chain(https).collect();
        send(&service, "GET", CALLS, &headers, b"").status
    };
    assert_eq!((reads(&secure, Some(https)), reads(&plain, None)), (200, 200));
    let renamed = [format!("__Host-{plain}"), secure.replace("__Host-", "")];
    for cookie in [&secure, &plain, &renamed[0], &renamed[1]] {
        assert_eq!(reads(cookie, Some(https)), if *cookie == secure { 200 } else { 401 }, "{cookie}");
        assert_eq!(reads(cookie, None), if *cookie == plain { 200 } else { 401 }, "{cookie}");
    }
}

#[test]
fn signing_out_ends_the_session_and_its_streams_also_over_a_restart_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let service = Service::start_on(&database, &["--api-token", API]);
    let [mine, others] = [0, 1].map(|_| cookie(&sign_in(&service, API, &[])));
    let reads = |service: &Service, cookie: &str| send(service, "GET", CALLS, &[("Cookie", cookie)], b"").status;
    let mut stream = ureq::get(service.url("/api/v1/events")).header("Cookie", &mine).call().unwrap();
    let sent = send(&service, "DELETE", "/session", &[("Cookie", &mine)], b"");
    assert_eq!(sent.status, 200, "{}", sent.text);
    let removal = sent.header("set-cookie").unwrap();
    assert!(removal.starts_with("transcribe_hook_session=;") && removal.contains("Max-Age=0"), "{removal}");
    assert_eq!((reads(&service, &mine), reads(&service, &others)), (401, 200));
    assert_eq!(session(&service, &[("Cookie", &mine)])["allowed"], false);
    stream.body_mut().read_to_string().expect("the stream ends with its session");
    // Whoever is in no session ends none.
    send(&service, "DELETE", "/session", &[], b"");
    let forged = others.replace('.', ".A");
    send(&service, "DELETE", "/session", &[("Cookie", &forged)], b"");
    service.stop();
    let service = Service::start_on(&database, &["--api-token", API]);
    assert_eq!((reads(&service, &mine), reads(&service, &others)), (401, 200));
    let file = database.with_added_extension("signed-out");
    let text = std::fs::read_to_string(&file).unwrap();
    let code = mine.rsplit('.').next().unwrap();
    assert!(!text.contains(API) && !text.contains(code), "{text}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_sign_in_is_read_up_to_two_kibibytes_however_long_other_bodies_may_be() {
    let service = Service::start_with(&["--api-token", API]);
    let padded = |length: usize| {
        let body = json!({"token": API, "more": ""}).to_string();
        body.replace("\"more\":\"\"", &format!("\"more\":\"{}\"", "x".repeat(length - body.len())))
    };
    for (kind, body, status) in [
        ("application/json", padded(2048), 200),
        ("application/json", padded(2049), 413),
        ("application/x-www-form-urlencoded", format!("token={API}&more={}", "x".repeat(2048)), 413),
    ] {
        let sent = send(&service, "POST", "/session", &[("Content-Type", kind)], body.as_bytes());
        assert_eq!(sent.status, status, "{kind}: {}", sent.text);
    }
    // Of one that does not announce its length no more is waited for either.
    let answer = service.post_chunked("/session", &[JSON], std::io::Cursor::new(padded(4096)));
    assert_eq!(answer.status, 413);
}

#[test]
fn where_no_token_is_needed_nobody_signs_in() {
    let service = Service::start_with(&["--no-token"]);
    assert_eq!(
        session(&service, &[]),
        json!({"allowed": true, "sign_in": false, "expires_at": null, "role": "manage", "user": null})
    );
    assert_eq!(sign_in(&service, API, &[]).status, 401);
}
