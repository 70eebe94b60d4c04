//! The command `mcp`: the MCP server over standard input and output, on a file that a service may have open.

use crate::support::mcp::{MAX_MESSAGE_BYTES, Piped, any_message, found, request, tool_call};
use crate::support::random::for_any;
use crate::support::service::{Service, run, wait_for};
use crate::support::turns::turn;
use crate::support::whole_call::{SECRET, post_signed, record};
use serde_json::json;

#[test]
fn it_reads_while_the_service_runs_stops_and_starts_again() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let service = Service::start_on(&database, &[]);
    service.deliver(&turn("conv_a", 1)).expect(201);
    let mut mcp = Piped::start(&database);
    let mut count = |wanted: usize| {
        let found = mcp.found("search_turns", json!({ "q": "reefer", "limit": 100 }));
        assert_eq!(found["turns"].as_array().unwrap().len(), wanted, "{found}");
        assert_eq!(mcp.found("stats", json!({}))["all"]["agent"]["turns"], wanted.div_ceil(2));
        let one = mcp.found("get_call", json!({ "conversation_id": "conv_a" }));
        assert_eq!((&one["call"]["turn_count"], &one["tool_calls"]), (&json!(wanted), &json!([])));
        assert_eq!(one["call"]["has_audio"], false);
    };
    count(1);
    service.deliver(&turn("conv_a", 2)).expect(201);
    count(2);
    service.stop();
    count(2);
    // The command holds no lock, so the service starts beside it.
    let service = Service::start_on(&database, &[]);
    service.deliver(&turn("conv_a", 3)).expect(201);
    count(3);
    assert!(mcp.end().success(), "the end of the input is the end");
}

#[test]
fn it_finds_on_a_file_what_the_service_finds() {
    let folder = tempfile::tempdir().unwrap();
    let (database, audio) = (folder.path().join("calls.db"), folder.path().join("audio"));
    std::fs::create_dir(&audio).unwrap();
    std::fs::write(audio.join("conv_a.mp3"), "0123").unwrap();
    let service =
        Service::start_on(&database, &["--elevenlabs-secret", SECRET, "--audio-dir", audio.to_str().unwrap()]);
    service.put("/api/v1/drivers/7", &json!({ "name": "Maria Kowalski" })).expect(201);
    for call in ["conv_a", "conv_b"] {
        service.put(&format!("/api/v1/dispatches/{call}"), &json!({ "driver_id": 7 })).expect(201);
        post_signed(&service, &record(call, "reefer").to_string()).expect(200);
    }
    // A start notes recordings that were copied into the folder.
    service.stop();
    let service = Service::start_on(&database, &["--audio-dir", audio.to_str().unwrap()]);
    wait_for("the note of the recording", || {
        let noted = service.get("/api/v1/calls?has_audio=true").expect(200).json();
        (noted["data"].as_array().unwrap().len() == 1).then_some(())
    });
    let mut mcp = Piped::start(&database);
    let mut audio = Vec::new();
    for (tool, arguments) in [
        ("get_call", json!({ "conversation_id": "conv_a" })),
        ("get_call", json!({ "conversation_id": "conv_b" })),
        ("list_calls", json!({ "has_audio": true })),
        ("search_turns", json!({ "q": "reefer" })),
        ("driver_history", json!({ "q": "Maria" })),
        ("stats", json!({ "include": ["results"] })),
    ] {
        let by_service = found(&service, tool, arguments.clone());
        audio.extend(by_service["call"]["has_audio"].as_bool());
        assert_eq!(mcp.found(tool, arguments), by_service, "{tool}");
    }
    assert_eq!(audio, [true, false]);
}

#[test]
fn it_answers_each_request_in_a_line_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    Service::start_on(&database, &[]).stop();
    let mut mcp = Piped::start(&database);
    for silent in [
        "",
        "  \r",
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#,
    ] {
        mcp.send(silent.as_bytes());
    }
    let begin = request("initialize", json!({ "protocolVersion": "2025-11-25", "capabilities": {} })).to_string();
    mcp.send(format!("{begin}\r").as_bytes());
    assert_eq!(mcp.receive()["result"]["protocolVersion"], "2025-11-25");
    mcp.send("x".repeat(10 * MAX_MESSAGE_BYTES).as_bytes());
    let refused = mcp.receive();
    assert_eq!((&refused["error"]["code"], refused.get("id")), (&json!(-32600), None));
    mcp.send(b"[]");
    assert_eq!(mcp.receive()["error"]["code"], -32600);
    let mut discover = request("server/discover", json!({}));
    discover["params"]["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    mcp.send(discover.to_string().as_bytes());
    assert_eq!(mcp.receive()["result"]["resultType"], "complete");
    discover["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = "1900-01-01".into();
    mcp.send(discover.to_string().as_bytes());
    assert_eq!(mcp.receive()["error"]["code"], -32022);
    // A line that is as long as a message may be.
    let ping = request("ping", json!({})).to_string();
    mcp.send(format!("{ping}{}", " ".repeat(MAX_MESSAGE_BYTES - ping.len())).as_bytes());
    assert_eq!(mcp.receive()["result"], json!({}));
    // The last line needs no end.
    assert!(mcp.end().success());
}

#[test]
fn it_lives_on_whatever_it_reads() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let service = Service::start_on(&database, &[]);
    service.deliver(&turn("conv_a", 1)).expect(201);
    let mcp = std::cell::RefCell::new(Piped::start(&database));
    for_any(200, &any_message(), |message| {
        let mut mcp = mcp.borrow_mut();
        mcp.send(&message);
        let mut probe = tool_call("list_calls", json!({}));
        probe["id"] = "probe".into();
        mcp.send(probe.to_string().as_bytes());
        let first = mcp.receive();
        let answer = if first["id"] == "probe" { first } else { mcp.receive() };
        assert_eq!((&answer["id"], &answer["result"]["isError"]), (&json!("probe"), &json!(false)), "{answer}");
    });
    assert!(mcp.into_inner().end().success());
}

#[test]
fn a_file_that_is_missing_or_something_else_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none.db");
    let out = run(&["mcp", "--database", missing.to_str().unwrap()]);
    assert_eq!((out.status.code(), missing.exists()), (Some(1), false));
    let other = folder.path().join("other.db");
    std::fs::write(&other, "words").unwrap();
    assert_eq!(run(&["mcp", "--database", other.to_str().unwrap()]).status.code(), Some(1));
    assert_eq!(crate::support::database::names_in(folder.path()), ["other.db"]);
}
