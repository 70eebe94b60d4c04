//! The official MCP clients for Python and TypeScript use each tool, in each revision, over HTTP and standard input.

use crate::support::documents::blocks_in_chapter;
use crate::support::mcp::{Piped, request};
use crate::support::service::Service;
use crate::support::turns::turn;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

const TOKEN: &str = "api_0123456789abcdef0123456789abcdef";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn service() -> Service {
    let service = Service::start_with(&["--log-level", "debug"]);
    service.put("/api/v1/drivers/7", &json!({ "name": "Maria Kowalski" })).expect(201);
    for (n, id, path) in [(1, "conv_a/b?c", "conv_a%2Fb%3Fc"), (2, "conv_b", "conv_b"), (3, "conv_c", "conv_c")] {
        service.put(&format!("/api/v1/dispatches/{path}"), &json!({ "driver_id": 7 })).expect(201);
        service.deliver(&turn(id, n)).expect(201);
    }
    service
}

/// Runs a client's program, and checks its output.
#[track_caller]
fn does_its_work(program: &mut Command, version: Option<&str>) {
    let out = program.output().expect("tests/run has installed the client");
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program:?}: {errors}");
    let mut did: Value = serde_json::from_slice(&out.stdout).unwrap();
    // The older SDK for TypeScript does not tell the version.
    if did["version"].is_null() {
        did["version"] = version.into();
    }
    let texts = did.as_object_mut().unwrap().shift_remove("refused").unwrap();
    for (text, name) in [(&texts[0][0], "limit: "), (&texts[0][0], "status: "), (&texts[1][0], "conv_none")] {
        assert!(text.as_str().is_some_and(|text| text.contains(name)), "{texts}");
    }
    let tools = ["search_turns", "list_calls", "get_call", "driver_history", "stats"];
    assert_eq!(
        did,
        json!({
            "version": version,
            "server": "transcribe-hook",
            "tools": tools.map(|tool| (tool.to_owned(), json!(true))).into_iter().collect::<Value>(),
            "pages": [["conv_c", "conv_b"], ["conv_a/b?c"]],
            "found": ["conv_c", "conv_b", "conv_a/b?c"],
            "call": ["Maria Kowalski", [turn("conv_a", 1)["message"]]],
            "history": [7, 3, 3],
            "stats": 3,
            "unknown": -32602,
        })
    );
}

/// Runs a client against a service and against its file, in these modes, each with its version.
fn works_in(modes: &[(&str, &str)], program: impl Fn() -> Command) {
    let service = service();
    for (mode, version) in modes {
        let mut over_http = program();
        over_http.args([mode, "http", &service.url("/mcp"), TOKEN]);
        does_its_work(&mut over_http, Some(version));
        let mut over_stdio = program();
        over_stdio.args([mode, "stdio", env!("CARGO_BIN_EXE_transcribe-hook")]).arg(service.database());
        does_its_work(&mut over_stdio, Some(version));
    }
}

#[test]
fn the_python_client_works_in_each_revision() {
    let python = root().join("target/mcp/python/bin/python");
    works_in(&[("auto", "2026-07-28"), ("legacy", "2025-11-25")], || {
        let mut program = Command::new(&python);
        program.arg(root().join("tests/clients/mcp/work.py"));
        program
    });
}

#[test]
fn the_typescript_clients_work_in_each_revision() {
    let folder: PathBuf = root().join("target/clients/mcp");
    std::fs::create_dir_all(&folder).unwrap();
    let program = folder.join("work.mjs");
    std::fs::copy(root().join("tests/clients/mcp/work.mjs"), &program).unwrap();
    let modules = folder.join("node_modules");
    if modules.symlink_metadata().is_err() {
        std::os::unix::fs::symlink(root().join("target/mcp/node_modules"), modules).unwrap();
    }
    works_in(&[("auto", "2026-07-28"), ("2026-07-28", "2026-07-28"), ("legacy", "2025-11-25")], || {
        let mut node = Command::new("node");
        node.arg(&program);
        node
    });
}

#[test]
fn the_configurations_of_the_guide_work() {
    let blocks = blocks_in_chapter("openapi/README.md", "AI assistants", "json");
    let servers: Vec<Value> = blocks.iter().map(|block| serde_json::from_str(block).unwrap()).collect();
    let [http, stdio] = [0, 1].map(|n: usize| servers[n]["mcpServers"]["transcribe-hook"].clone());
    let service = Service::start_guarded(&[]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let path = text(&http["url"]).split_off("https://calls.example.com".len());
    let authorization = text(&http["headers"]["Authorization"]).replace("th_0123456789", &service.token());
    let begin = request("initialize", json!({ "protocolVersion": "2025-11-25", "capabilities": {} }));
    let headers = [("content-type", "application/json"), ("authorization", &authorization)];
    let answer = service.post_raw(&path, &headers, begin.to_string().as_bytes()).expect(200).json();
    assert_eq!((&http["type"], &answer["result"]["serverInfo"]["name"]), (&json!("http"), &json!("transcribe-hook")));
    let args: Vec<_> = stdio["args"].as_array().unwrap().iter().map(text).collect();
    assert_eq!(
        (text(&stdio["command"]), &args[..2]),
        ("transcribe-hook".to_owned(), &["mcp", "--database"].map(str::to_owned)[..])
    );
    let mut mcp = Piped::start(service.database());
    mcp.send(begin.to_string().as_bytes());
    assert_eq!(mcp.receive()["result"]["protocolVersion"], "2025-11-25");
}
