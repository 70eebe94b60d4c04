//! Roles: what named tokens, and users whom a proxy signed in, may do, and which answers leave words out.

use crate::support::openapi::{Sent, filled, operations, send};
use crate::support::samples::sample;
use crate::support::service::{Service, TURNS, binary, wait_for};
use crate::support::turns::turn;
use crate::support::whole_call::{CALL, SECRET, post_signed};
use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;

const CALLS: &str = "/api/v1/calls";
const HISTORY: &str = "/webhooks/elevenlabs/history";
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Roles in ascending order.
const ROLES: [&str; 4] = ["ingest", "list", "read", "manage"];

/// Returns the secret of the token with a role.
fn secret(role: &str) -> String {
    format!("{role}_0123456789abcdef:with_a_colon")
}

/// Writes a file with one named token for each role.
fn token_file(folder: &Path) -> String {
    let file = folder.join("tokens");
    let lines: Vec<_> = ROLES.iter().map(|role| format!("anna-{role}:{role}:{}\n", secret(role))).collect();
    std::fs::write(&file, lines.concat()).unwrap();
    file.to_str().unwrap().to_owned()
}

/// Starts a service with one named token for each role.
fn with_roles(flags: &[&str]) -> (Service, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = token_file(folder.path());
    let own = ["--api-token-file", &file, "--refusals-per-minute", "0", "--elevenlabs-secret", SECRET];
    (Service::start_with(&[&own[..], flags].concat()), folder)
}

/// Sends a request with the token of a role.
fn send_as(service: &Service, role: &str, method: &str, path: &str) -> Sent {
    send(service, method, path, &[JSON, ("Authorization", &format!("Bearer {}", secret(role)))], b"")
}

fn get_as(service: &Service, role: &str, path: &str) -> Sent {
    send_as(service, role, "GET", path)
}

fn body(sent: &Sent) -> Value {
    serde_json::from_str(&sent.text).unwrap_or_else(|error| panic!("{error} in {:?}", sent.text))
}

#[track_caller]
fn assert_role_too_low(sent: &Sent) {
    assert_eq!((sent.status, &body(sent)["code"]), (403, &json!("role_too_low")), "{}", sent.text);
}

#[test]
fn every_operation_of_the_document_requires_the_role_that_it_names() {
    let (service, _folder) = with_roles(&[]);
    let mut checked = 0;
    for operation in operations() {
        let at = format!("{} {}", operation.method, operation.path);
        let requires_token = operation.details["security"].as_array().into_iter().flatten().any(|way| {
            let names: Vec<_> = way.as_object().unwrap().keys().collect();
            names == ["ApiToken"]
        });
        let required = operation.details["x-required-role"].as_str();
        assert_eq!(required.is_some(), requires_token, "{at}: every operation that requires a token has a role");
        assert_eq!(operation.statuses.contains(&403), requires_token || at == "POST /session", "{at}");
        let Some(required) = required else { continue };
        let rank = |role: &str| ROLES.iter().position(|known| *known == role).expect("a known role");
        assert!(rank(required) > 0, "{at}: {required}");
        // A stream ends after the stored events.
        let query = if operation.path.ends_with("/events") { "?follow=false" } else { "" };
        let path = filled(&operation.path) + query;
        for role in ROLES {
            let sent = send_as(&service, role, &operation.method, &path);
            if rank(role) < rank(required) {
                assert_role_too_low(&sent);
            } else {
                assert!(![401, 403].contains(&sent.status), "{at} as {role}: {} {}", sent.status, sent.text);
            }
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked}");
    for role in ROLES {
        let allowed = role != "ingest";
        assert_eq!(get_as(&service, role, "/metrics").status, if allowed { 200 } else { 403 }, "{role}");
        assert_eq!(get_as(&service, role, "/api/v1/trucks").status, 404, "{role}");
        let token = format!("Bearer {}", secret(role));
        let ping = br#"{"jsonrpc": "2.0", "id": 1, "method": "ping"}"#;
        let sent = send(&service, "POST", "/mcp", &[JSON, ("Authorization", &token)], ping);
        assert_eq!(sent.status, if ["read", "manage"].contains(&role) { 200 } else { 403 }, "/mcp as {role}");
    }
}

/// Puts a word that nobody else says into every text of a record that tells what was said.
fn marked_record(word: &str) -> Value {
    let mut event = sample(0);
    let data = &mut event["data"];
    for said in data["transcript"].as_array_mut().unwrap() {
        if said["message"].is_string() {
            said["message"] = json!(format!("{word} was said"));
        }
        for tool in said["tool_calls"].as_array_mut().into_iter().flatten() {
            tool["params_as_json"] = json!(format!("{{\"words\":\"{word}\"}}"));
        }
    }
    data["metadata"]["termination_reason"] = json!(format!("The tool end_call was called: {word}"));
    data["analysis"]["transcript_summary"] = json!(format!("{word} in the summary"));
    data["analysis"]["call_summary_title"] = json!(format!("{word} in the title"));
    for found in ["evaluation_criteria_results", "data_collection_results"] {
        for (_, result) in data["analysis"][found].as_object_mut().into_iter().flatten() {
            result["rationale"] = json!(format!("because of {word}"));
            if found == "data_collection_results" {
                result["value"] = json!(word);
            }
        }
    }
    event
}

#[test]
fn the_role_list_gets_no_word_that_was_said_and_the_role_read_gets_all() {
    const WORD: &str = "zanzibar";
    // An alert tells that its words were said.
    let (service, _folder) = with_roles(&["--alert", &format!("{WORD}={WORD}")]);
    let mut live = turn("conv_live", 1);
    live["message"] = json!(format!("{WORD} live"));
    let ingest = format!("Bearer {}", secret("ingest"));
    let delivered = send(&service, "POST", TURNS, &[JSON, ("Authorization", &ingest)], live.to_string().as_bytes());
    assert_eq!(delivered.status, 201, "{}", delivered.text);
    post_signed(&service, &marked_record(WORD).to_string()).expect(200);
    let mut part = sample(0);
    part["data"]["conversation_id"] = json!("conv_part");
    part["data"]["metadata"]["parent_conversation_id"] = json!(CALL);
    part["data"]["parent_conversation_id"] = json!(CALL);
    part["data"]["analysis"]["call_summary_title"] = json!(format!("{WORD} of the part"));
    post_signed(&service, &part.to_string()).expect(200);
    wait_for("the alert", || {
        let call = body(&get_as(&service, "read", &format!("{CALLS}/{CALL}")));
        (call["alerts"][0]["name"] == WORD).then_some(())
    });
    let mut with_words = 0;
    for operation in operations().into_iter().filter(|operation| operation.method == "GET") {
        let Some(required) = operation.details["x-required-role"].as_str() else { continue };
        if required == "manage" || operation.parameters.contains(&"q".to_owned()) && operation.path.ends_with("/search")
        {
            continue;
        }
        let query = if operation.path.ends_with("/events") { "?follow=false" } else { "" };
        let path = filled(&operation.path) + query;
        let as_reader = get_as(&service, "read", &path);
        with_words += usize::from(as_reader.text.contains(WORD));
        let sent = get_as(&service, "list", &path);
        assert!(!sent.text.contains(WORD), "{path}: {}", sent.text);
        assert_eq!(sent.status, if required == "list" { as_reader.status } else { 403 }, "{path}: {}", sent.text);
    }
    assert!(with_words >= 8, "{with_words} operations have words for readers");
    for more in ["?order=longest", "?order=asc&include_total=true", "?include_children=true"] {
        let path = format!("{CALLS}{more}");
        assert!(get_as(&service, "read", &path).text.contains(WORD), "{path}");
        let sent = get_as(&service, "list", &path);
        assert!(sent.status == 200 && !sent.text.contains(WORD), "{path}: {}", sent.text);
    }
    // What is left out is left out field by field; the rest is there.
    let reads = |role| body(&get_as(&service, role, &format!("{CALLS}/{CALL}")));
    let (short, full) = (reads("list"), reads("read"));
    for (name, value) in full.as_object().unwrap() {
        let left_out = ["last_message", "termination_reason", "title", "summary", "sentiment"].contains(&&**name);
        match name.as_str() {
            "analysis" => assert!(value.is_object() && short.get("analysis").is_none()),
            "child_conversations" => assert_eq!(short[name][0]["title"], Value::Null),
            "alerts" => assert_eq!((value.as_array().unwrap().len(), &short[name]), (1, &json!([]))),
            _ if left_out => assert_eq!(short[name], Value::Null, "{name}"),
            _ => assert_eq!(&short[name], value, "{name}"),
        }
    }
    assert!(full["child_conversations"][0]["title"].is_string(), "{full}");
}

#[test]
fn a_parameter_that_tells_what_was_said_requires_the_role_read() {
    let (service, _folder) = with_roles(&[]);
    for query in [
        "/api/v1/calls?q=a",
        "/api/v1/calls?%71=a",
        "/api/v1/stats?include=results",
        "/api/v1/calls?limit=1&q=",
        "/api/v1/calls?alert=a",
        "/api/v1/calls?has_alert=false",
        "/api/v1/calls?status=failed&has%5Falert=true",
        "/api/v1/stats?alert=a",
        "/api/v1/stats?has_alert=true",
    ] {
        assert_role_too_low(&get_as(&service, "list", query));
        let sent = get_as(&service, "read", query);
        assert!([200, 400].contains(&sent.status), "{query}: {}", sent.text);
    }
    assert_role_too_low(&get_as(&service, "list", "/api/v1/stats?include=metrics&include=%72esults"));
    for query in ["/api/v1/stats?include=metrics", "/api/v1/calls?status=completed", "/api/v1/drivers?q=a"] {
        assert_eq!(get_as(&service, "list", query).status, 200, "{query}");
    }
}

#[test]
fn a_token_for_ingest_stores_turns_and_nothing_else_does_then() {
    let (service, _folder) = with_roles(&["--ingest-token", "an_ingest_token_of_old"]);
    let stored = |headers: &[(&str, &str)], n| {
        let turn = turn("conv_1", n).to_string();
        send(&service, "POST", TURNS, &[&[JSON], headers].concat(), turn.as_bytes()).status
    };
    assert_eq!(stored(&[("Authorization", &format!("Bearer {}", secret("ingest")))], 1), 201);
    assert_eq!(stored(&[("X-Webhook-Token", &secret("ingest"))], 2), 201);
    assert_eq!(stored(&[("X-Webhook-Token", "an_ingest_token_of_old")], 3), 201);
    assert_eq!(stored(&[], 4), 401);
    for role in ["list", "read", "manage"] {
        assert_eq!(stored(&[("X-Webhook-Token", &secret(role))], 5), 401, "{role}");
    }
    assert_eq!(send(&service, "POST", HISTORY, &[JSON], b"{}").status, 401);
    assert_eq!(body(&get_as(&service, "manage", "/api/v1/setup"))["ingest_token"], true);
    // The token with a name is enough.
    let (service, _folder) = with_roles(&[]);
    assert_eq!(send(&service, "POST", HISTORY, &[JSON], b"{}").status, 401);
    assert!(!service.log().join("\n").contains("--ingest-token"), "the log of the start does not ask for one");
}

#[test]
fn a_session_has_the_name_and_the_role_of_its_token() {
    let (service, _folder) = with_roles(&[]);
    let sign_in = |role: &str| {
        let token = json!({"token": secret(role)}).to_string();
        send(&service, "POST", "/session", &[JSON], token.as_bytes())
    };
    assert_role_too_low(&sign_in("ingest"));
    for role in ["list", "read", "manage"] {
        let sent = sign_in(role);
        let known = body(&sent);
        assert_eq!(known["allowed"], true);
        assert_eq!((&known["role"], &known["user"]), (&json!(role), &json!(format!("anna-{role}"))));
        let cookie = sent.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        let get = |path: &str| send(&service, "GET", path, &[("Cookie", &cookie)], b"");
        let seen = body(&get("/session"));
        assert_eq!((&seen["role"], &seen["user"]), (&json!(role), &json!(format!("anna-{role}"))));
        assert_eq!(get(CALLS).status, 200);
        assert_eq!(get("/api/v1/search?q=a").status, if role == "list" { 403 } else { 200 }, "{role}");
        assert_eq!(get("/api/v1/setup").status, if role == "manage" { 200 } else { 403 }, "{role}");
    }
    let seen = body(&get_as(&service, "ingest", "/session"));
    assert_eq!((&seen["allowed"], &seen["role"]), (&json!(false), &json!("ingest")));
}

#[test]
fn a_token_file_beside_the_database_may_name_more_holders() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let lines = "anna:read:0123456789abcdef\na_token:with_one_colon\n\nbob:manage:an:old:token:with:colons\n";
    std::fs::write(folder.path().join("calls.db.token"), lines).unwrap();
    let service = Service::start_guarded_on(&database, &[]);
    let status = |token: &str, path: &str| {
        send(&service, "GET", path, &[("Authorization", &format!("Bearer {token}"))], b"").status
    };
    assert_eq!([status("0123456789abcdef", CALLS), status("0123456789abcdef", "/api/v1/setup")], [200, 403]);
    for manager in ["a_token:with_one_colon", "an:old:token:with:colons"] {
        assert_eq!(status(manager, "/api/v1/setup"), 200, "{manager}");
    }
    for whole_line in ["anna:read:0123456789abcdef", "bob:manage:an:old:token:with:colons", "with_one_colon"] {
        assert_eq!(status(whole_line, CALLS), 401, "{whole_line}");
    }
    // The command prints a token that manages, not the first line.
    let printed = binary().args(["token", "--database"]).arg(&database).output().unwrap();
    assert_eq!(String::from_utf8(printed.stdout).unwrap().trim(), "a_token:with_one_colon");
}

/// Returns the errors of a `serve` that ends with these flags, without having made a database.
fn refusal(flags: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let out =
        binary().args(["serve", "--listen", "127.0.0.1:0", "--database"]).arg(&database).args(flags).output().unwrap();
    assert_eq!((out.status.code(), database.exists()), (Some(2), false), "{flags:?}: {out:?}");
    String::from_utf8(out.stderr).unwrap()
}

#[test]
fn a_mistaken_name_or_role_ends_the_start_and_shows_no_secret() {
    for token in [
        "anna:reader:0123456789abcdef",
        "anna:Manage:0123456789abcdef",
        ":read:0123456789abcdef",
        "a_plain:token:0123456789abcdef",
        "anna:read:0123456789",
    ] {
        let said = refusal(&["--api-token", token]);
        assert!(said.contains("--api-token") && !said.contains("0123456789"), "{said}");
    }
    let said = refusal(&["--api-token", "anna:read:0123456789abcdef", "--api-token", "0123456789abcdef"]);
    assert!(said.contains("--api-token") && !said.contains("0123456789"), "{said}");
    let token = ["--api-token", "0123456789abcdef"];
    for flags in [
        &["--user-header", "X-User"][..],
        &["--user-header", "X-User", "--trusted-proxy", "127.0.0.1", "--no-token"],
        &["--user-header", "not a name", "--trusted-proxy", "127.0.0.1"],
        &["--user-header", "X-User", "--trusted-proxy", "127.0.0.1", "--user-role", "ingest"],
    ] {
        let with_token = !flags.contains(&"--no-token");
        assert!(refusal(&[if with_token { &token[..] } else { &[] }, flags].concat()).contains("--user-"), "{flags:?}");
    }
}

#[test]
fn a_user_whom_a_trusted_proxy_names_has_the_role_of_users() {
    const USER: &str = "anna@example.com";
    let flags = ["--trusted-proxy", "127.0.0.1", "--user-header", "X-Forwarded-User"];
    let (service, _folder) = with_roles(&flags);
    let by_proxy = ("x-forwarded-user", USER);
    let get = |path: &str, headers: &[(&str, &str)]| send(&service, "GET", path, headers, b"");
    let known = body(&get("/session", &[by_proxy]));
    assert_eq!(known, json!({"allowed": true, "sign_in": true, "expires_at": null, "role": "read", "user": USER}));
    assert_eq!(get("/api/v1/search?q=a", &[by_proxy]).status, 200);
    assert_role_too_low(&get("/api/v1/setup", &[by_proxy]));
    // A token of another kind, which the proxy may pass on, does not count; one of this service does.
    assert_eq!(get(CALLS, &[by_proxy, ("Authorization", "Bearer of.the.proxy")]).status, 200);
    let manager = format!("Bearer {}", secret("manage"));
    assert_eq!(get("/api/v1/setup", &[by_proxy, ("Authorization", &manager)]).status, 200);
    for nobody in
        [&[][..], &[("x-forwarded-user", "")], &[("x-forwarded-user", &"x".repeat(129))], &[by_proxy, by_proxy]]
    {
        assert_eq!(get(CALLS, nobody).status, 401, "{nobody:?}");
    }
    // The header alone does not store turns.
    let turn = turn("conv_1", 1).to_string();
    assert_eq!(send(&service, "POST", TURNS, &[JSON, by_proxy], turn.as_bytes()).status, 401);

    let flags = ["--trusted-proxy", "192.0.2.7", "--user-header", "X-Forwarded-User", "--user-role", "manage"];
    let (service, _folder) = with_roles(&flags);
    let claims = [by_proxy, ("x-forwarded-for", "192.0.2.7")];
    assert_eq!(send(&service, "GET", CALLS, &claims, b"").status, 401, "a proxy that is not trusted is not believed");
}

#[test]
fn a_page_of_another_origin_changes_nothing_through_a_user_whom_the_proxy_signed_in() {
    let flags = ["--trusted-proxy", "127.0.0.0/8", "--user-header", "Remote-User", "--user-role", "manage"];
    let (service, _folder) = with_roles(&flags);
    let put = |headers: &[(&str, &str)]| {
        let headers = [&[JSON, ("Remote-User", "anna")], headers].concat();
        send(&service, "PUT", "/api/v1/drivers/7", &headers, br#"{"name": "Jo Brandt"}"#).status
    };
    assert_eq!(put(&[("Sec-Fetch-Site", "cross-site")]), 401);
    assert_eq!(put(&[("Origin", "https://elsewhere.example")]), 401);
    assert_eq!(put(&[]), 401);
    assert_eq!(put(&[("Sec-Fetch-Site", "same-origin")]), 201);
}
