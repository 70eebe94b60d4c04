//! Messages to the MCP server, over HTTP and over standard input.

use crate::support::service::{Answer, Service, binary};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::Index;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, ExitStatus, Stdio};

/// Maximum size of a result, in bytes of JSON.
pub const MAX_RESULT_BYTES: usize = 40_000;

/// Maximum size of a message, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// A request in the form of the revisions with a handshake.
pub fn request(method: &str, params: Value) -> Value {
    let mut message = json!({ "jsonrpc": "2.0", "id": 1, "method": method });
    message["params"] = params;
    message
}

/// A call of a tool.
pub fn tool_call(tool: &str, arguments: Value) -> Value {
    let mut message = request("tools/call", json!({ "name": tool }));
    message["params"]["arguments"] = arguments;
    message
}

/// Sends a message over HTTP.
pub fn post(service: &Service, message: &Value) -> Answer {
    service.post_raw("/mcp", &[("content-type", "application/json")], message.to_string().as_bytes())
}

/// Calls a tool over HTTP, and returns its result, which may be an error of the tool.
#[track_caller]
pub fn call(service: &Service, tool: &str, arguments: Value) -> Value {
    let answer = post(service, &tool_call(tool, arguments)).expect(200).json();
    assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(1)), "{answer}");
    answer["result"].clone()
}

/// Calls a tool over HTTP, and returns what it found.
#[track_caller]
pub fn found(service: &Service, tool: &str, arguments: Value) -> Value {
    let result = call(service, tool, arguments);
    assert_eq!(result["isError"], false, "{result}");
    let content = &result["structuredContent"];
    assert!(content.to_string().len() <= MAX_RESULT_BYTES, "{} bytes", content.to_string().len());
    assert_eq!(serde_json::from_str::<Value>(result["content"][0]["text"].as_str().unwrap()).unwrap(), *content);
    assert!(content["notice"].as_str().is_some_and(|notice| !notice.is_empty()), "{content}");
    content.clone()
}

/// The command `mcp`, which runs until it is dropped.
pub struct Piped {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Piped {
    pub fn start(database: &Path) -> Self {
        let mut command = binary();
        command.args(["mcp", "--database"]).arg(database).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().expect("starts");
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().expect("is piped")));
        Self { child, input, output }
    }

    /// Writes a line.
    pub fn send(&mut self, line: &[u8]) {
        let input = self.input.as_mut().expect("the input is open");
        input.write_all(line).and_then(|()| input.write_all(b"\n")).and_then(|()| input.flush()).expect("it reads");
    }

    /// Reads the next response.
    pub fn receive(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it writes");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"))
    }

    /// Calls a tool, and returns what it found.
    #[track_caller]
    pub fn found(&mut self, tool: &str, arguments: Value) -> Value {
        self.send(tool_call(tool, arguments).to_string().as_bytes());
        let answer = self.receive();
        assert_eq!(answer["result"]["isError"], false, "{answer}");
        answer["result"]["structuredContent"].clone()
    }

    /// Ends the input, and waits for the end of the command.
    pub fn end(mut self) -> ExitStatus {
        drop(self.input.take());
        self.child.wait().expect("it ends")
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A message that is valid but for one or more changes, in a single line.
pub fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let names = ["search_turns", "list_calls", "get_call", "driver_history", "stats", "erase_call", ""];
    let methods = ["tools/call", "tools/list", "initialize", "ping", "server/discover", "notifications/cancelled", "x"];
    let leaf = || {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            Just(json!("conv_a")),
            Just(json!([])),
            Just(json!({})),
            Just(json!(["speech", 7])),
        ]
    };
    let arguments = proptest::sample::select(vec![
        "q",
        "conversation_id",
        "driver_id",
        "cursor",
        "limit",
        "order",
        "kind",
        "zone",
        "by",
        "include",
        "status",
        "started_after",
        "after_sequence",
        "number",
        "x",
    ]);
    let arguments = proptest::collection::btree_map(arguments, leaf(), 0..4);
    let meta = prop_oneof![
        Just(Value::Null),
        Just(json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28" })),
        Just(json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        })),
        leaf(),
    ];
    let message =
        (proptest::sample::select(methods.to_vec()), proptest::sample::select(names.to_vec()), arguments, meta);
    let message = (message, leaf(), any::<bool>()).prop_map(|((method, name, arguments, meta), other, is_valid)| {
        let id = if is_valid { json!(7) } else { other.clone() };
        let params = json!({
            "name": name, "arguments": arguments, "_meta": meta, "protocolVersion": "2025-11-25", "requestId": other,
        });
        json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string().into_bytes()
    });
    (message, any::<Index>(), any::<u8>(), 0..6).prop_map(|(mut message, place, byte, how)| {
        let at = place.index(message.len());
        match how {
            0 => message[at] = byte,
            1 => message.truncate(at),
            2 => {
                message.remove(at);
            }
            _ => {}
        }
        message.retain(|byte| *byte != b'\n');
        message
    })
}
