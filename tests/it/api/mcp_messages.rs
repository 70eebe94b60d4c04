//! Messages to the MCP server over HTTP: versions, headers, errors of the protocol, access.

use crate::support::mcp::{MAX_MESSAGE_BYTES, any_message, post, request, tool_call};
use crate::support::random::for_any;
use crate::support::service::{Answer, Service};
use serde_json::{Value, json};

const TOKEN: &str = "api_0123456789abcdef0123456789abcdef";

const JSON: (&str, &str) = ("content-type", "application/json");

/// Sends a request of the current revision with its standard headers. `headers` replaces some of them; an empty value
/// removes one.
fn current(service: &Service, message: &Value, headers: &[(&'static str, &str)]) -> Answer {
    let mut message = message.clone();
    message["params"]["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let (method, name) = (message["method"].clone(), message["params"]["name"].clone());
    let mut all = vec![JSON];
    for header in [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", method.as_str().unwrap_or_default()),
        ("mcp-name", name.as_str().unwrap_or_default()),
    ] {
        all.push(headers.iter().find(|(other, _)| *other == header.0).copied().unwrap_or(header));
    }
    all.retain(|(_, value)| !value.is_empty());
    service.post_raw("/mcp", &all, message.to_string().as_bytes())
}

/// Returns the code of an answer that is an error of the protocol.
#[track_caller]
fn code(answer: Answer, status: u16) -> i64 {
    let body = answer.expect(status).json();
    assert_eq!(body["jsonrpc"], "2.0", "{body}");
    body["error"]["code"].as_i64().unwrap_or_else(|| panic!("an error: {body}"))
}

#[test]
fn the_current_revision_needs_no_handshake() {
    let service = Service::start();
    let discovered = current(&service, &request("server/discover", json!({})), &[]).expect(200).json();
    let result = &discovered["result"];
    assert_eq!(result["supportedVersions"], json!(["2026-07-28", "2025-11-25", "2025-06-18"]));
    assert_eq!((&result["resultType"], &result["cacheScope"]), (&json!("complete"), &json!("public")));
    assert!(result["ttlMs"].is_u64() && result["capabilities"]["tools"].is_object(), "{result}");
    assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "transcribe-hook");
    let listed = current(&service, &request("tools/list", json!({})), &[]).expect(200).json();
    for tool in listed["result"]["tools"].as_array().unwrap() {
        assert_eq!(tool["annotations"]["readOnlyHint"], true, "{tool}");
        assert!(tool["inputSchema"].is_object() && tool["outputSchema"]["properties"]["notice"].is_object(), "{tool}");
    }
    let called = current(&service, &tool_call("list_calls", json!({})), &[]).expect(200).json();
    assert_eq!((&called["result"]["resultType"], &called["result"]["isError"]), (&json!("complete"), &json!(false)));
    for method in ["ping", "initialize", "x/y"] {
        assert_eq!(code(current(&service, &request(method, json!({})), &[]), 404), -32601, "{method}");
    }
    assert_eq!(code(current(&service, &tool_call("erase_call", json!({})), &[]), 400), -32602);
    for (name, value) in [
        ("mcp-protocol-version", ""),
        ("mcp-protocol-version", "2025-11-25"),
        ("mcp-method", ""),
        ("mcp-method", "tools/list"),
        ("mcp-name", ""),
        ("mcp-name", "stats"),
    ] {
        let answer = current(&service, &tool_call("list_calls", json!({})), &[(name, value)]);
        assert_eq!(code(answer, 400), -32020, "{name}: {value}");
    }
    let encoded = [("mcp-name", "=?base64?bGlzdF9jYWxscw==?=")];
    current(&service, &tool_call("list_calls", json!({})), &encoded).expect(200);
}

#[test]
fn older_revisions_begin_with_a_handshake_and_keep_no_session() {
    let service = Service::start();
    for (requested, wanted) in
        [("2025-11-25", "2025-11-25"), ("2025-06-18", "2025-06-18"), ("2024-11-05", "2025-11-25"), ("x", "2025-11-25")]
    {
        let begin = request("initialize", json!({ "protocolVersion": requested, "capabilities": {} }));
        let answer = post(&service, &begin).expect(200);
        assert_eq!(answer.json()["result"]["protocolVersion"], wanted, "{requested}");
        assert_eq!(answer.header("mcp-session-id"), None);
    }
    for version in ["2025-11-25", "2025-06-18"] {
        let headers = [JSON, ("mcp-protocol-version", version), ("mcp-session-id", "any")];
        let ping = request("ping", json!({})).to_string();
        assert_eq!(service.post_raw("/mcp", &headers, ping.as_bytes()).expect(200).json()["result"], json!({}));
    }
    for version in ["2024-11-05", "2099-01-01", "none"] {
        let headers = [JSON, ("mcp-protocol-version", version)];
        let answer = service.post_raw("/mcp", &headers, request("ping", json!({})).to_string().as_bytes());
        assert_eq!(answer.json()["error"]["data"]["requested"], version);
        assert_eq!(code(answer, 400), -32022, "{version}");
    }
    assert_eq!(code(post(&service, &request("resources/list", json!({}))), 200), -32601);
    assert_eq!(code(post(&service, &request("server/discover", json!({}))), 200), -32601);
    assert_eq!(code(post(&service, &tool_call("erase_call", json!({}))), 200), -32602);
    assert_eq!(code(post(&service, &request("tools/call", json!({ "arguments": {} }))), 200), -32602);
    assert_eq!(code(post(&service, &request("tools/call", json!({ "name": "stats", "arguments": [] }))), 200), -32602);
    assert_eq!(code(post(&service, &request("tools/list", json!({ "cursor": "x" }))), 200), -32602);
    assert_eq!(code(post(&service, &request("initialize", json!({}))), 200), -32602);
}

#[test]
fn a_notification_or_response_is_accepted_without_an_answer() {
    let service = Service::start();
    for message in [
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1, "reason": "x" } }),
        json!({ "jsonrpc": "2.0", "method": "notifications/of_another_time", "params": null }),
        json!({ "jsonrpc": "2.0", "id": 1, "result": {} }),
    ] {
        let answer = post(&service, &message).expect(202);
        assert_eq!(answer.text, "", "{message}");
    }
}

#[test]
fn the_id_of_a_request_comes_back_and_other_ids_are_refused() {
    let service = Service::start();
    for id in [json!(0), json!(-7), json!(u64::MAX), json!(""), json!("\u{1F69A}\n\"")] {
        let answer = post(&service, &json!({ "jsonrpc": "2.0", "id": id, "method": "ping" })).expect(200).json();
        assert_eq!(answer, json!({ "jsonrpc": "2.0", "id": id, "result": {} }));
    }
    for id in [Value::Null, json!(1.5), json!(true), json!([1]), json!({})] {
        let answer = post(&service, &json!({ "jsonrpc": "2.0", "id": id, "method": "ping" }));
        assert_eq!(answer.json().get("id"), None, "{id}");
        assert_eq!(code(answer, 400), -32600, "{id}");
    }
}

#[test]
fn what_is_no_single_message_of_json_is_refused() {
    let service = Service::start();
    let ping = request("ping", json!({}));
    let raw = |content_type: &str, body: &[u8]| service.post_raw("/mcp", &[("content-type", content_type)], body);
    for (body, wanted) in [
        ("", -32700),
        ("{", -32700),
        ("null", -32600),
        ("[]", -32600),
        (&json!([ping, ping]).to_string(), -32600),
        (&json!({ "id": 1, "method": "ping" }).to_string(), -32600),
        (&json!({ "jsonrpc": "2.0", "id": 1, "method": 7 }).to_string(), -32600),
        (&json!({ "jsonrpc": "2.0", "id": 1, "method": "ping", "params": [] }).to_string(), -32600),
        (&"[".repeat(60_000), -32700),
    ] {
        assert_eq!(code(raw("application/json", body.as_bytes()), 400), wanted, "{body:.60}");
    }
    assert_eq!(code(raw("application/json", b"\xff\xfe"), 400), -32700);
    raw("text/plain", ping.to_string().as_bytes()).expect_error(415);
    let long = format!("{ping}{}", " ".repeat(MAX_MESSAGE_BYTES));
    raw("application/json; charset=utf-8", &long.as_bytes()[..MAX_MESSAGE_BYTES]).expect(200);
    raw("application/json", long.as_bytes()).expect_error(413);
    service.post_chunked("/mcp", &[JSON], std::io::Cursor::new(long.into_bytes())).expect_error(413);
    for answer in [service.get("/mcp"), service.delete("/mcp"), service.put("/mcp", &ping)] {
        assert_eq!(answer.header("allow"), Some("POST"));
        assert_eq!(answer.expect_error(405)["code"], "method_not_allowed");
    }
}

#[test]
fn whatever_is_sent_the_answer_is_one_of_the_protocol() {
    let service = Service::start();
    service.deliver(&crate::support::turns::turn("conv_a", 1)).expect(201);
    for_any(200, &any_message(), |message| {
        let headers =
            [JSON, ("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "stats")];
        for headers in [&headers[..1], &headers[..]] {
            let answer = service.post_raw("/mcp", headers, &message);
            assert!([200, 202, 400, 404].contains(&answer.status), "{}: {}", answer.status, answer.text);
            if answer.status != 202 {
                let body = answer.json();
                let has_result = body.get("result").is_some();
                assert!(body["jsonrpc"] == "2.0" && has_result != body["error"]["code"].is_i64(), "{body}");
                assert!(!has_result || body.get("id").is_some(), "{body}");
            }
        }
    });
    assert!(service.logged("ERROR", "start").is_empty(), "no panic");
}

#[test]
fn a_message_needs_the_token() {
    let service = Service::start_with(&["--api-token", TOKEN]);
    let ping = request("ping", json!({})).to_string();
    let bearer = format!("Bearer {TOKEN}");
    for headers in [&[JSON][..], &[JSON, ("authorization", "Bearer another_0123456789abcdef")]] {
        let answer = service.post_raw("/mcp", headers, ping.as_bytes());
        assert!(answer.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Bearer")));
        assert_eq!(answer.expect_error(401)["code"], "unauthorized");
    }
    let answer = service.post_raw("/mcp", &[JSON, ("authorization", &bearer)], ping.as_bytes()).expect(200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    service.get("/mcp").expect_error(401);
}

#[test]
fn a_page_of_another_origin_may_not_call_it() {
    let ping = request("ping", json!({})).to_string();
    let bearer = format!("Bearer {TOKEN}");
    let guarded = Service::start_with(&["--api-token", TOKEN]);
    let open = Service::start();
    let send = |service: &Service, headers: &[(&str, &str)]| {
        service.post_raw("/mcp", &[&[JSON], headers].concat(), ping.as_bytes())
    };
    for origin in
        ["https://evil.example", "null", "x", "http://127.0.0.1.evil.example", "https://localhost@evil.example"]
    {
        let token = ("authorization", bearer.as_str());
        for answer in [
            send(&guarded, &[("origin", origin), token]),
            send(&guarded, &[("origin", origin)]),
            send(&open, &[("origin", origin)]),
            // A page whose host name was made to point to this machine (DNS rebinding).
            send(
                &open,
                &[("origin", "http://evil.example"), ("host", "evil.example"), ("sec-fetch-site", "same-origin")],
            ),
        ] {
            assert_eq!(answer.expect_error(403)["code"], "foreign_origin", "{origin}");
        }
    }
    let own = [("origin", "https://calls.example.com"), ("host", "calls.example.com"), ("authorization", &bearer)];
    send(&guarded, &own).expect(200);
    send(&guarded, &own[..2]).expect_error(401);
    send(&guarded, &[("origin", "http://localhost:6274"), ("authorization", &bearer)]).expect(200);
    // A page on this machine may call it, but is no page of this service.
    send(&open, &[("origin", "http://localhost:6274")]).expect_error(401);
    send(&open, &[]).expect(200);
}
