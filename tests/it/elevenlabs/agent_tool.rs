//! `generate elevenlabs-tool`: judged by ElevenLabs' own schema, and by sending what the tool would send.

use crate::support::service::{Service, TURNS, binary, run, sdk_python};
use serde_json::{Map, Value, json};

fn generate(flags: &[&str]) -> Value {
    let out = run(&[&["generate", "elevenlabs-tool"], flags].concat());
    assert!(out.status.success(), "{out:?}");
    serde_json::from_slice(&out.stdout).unwrap()
}

/// A script that prints for each tool what ElevenLabs' model does not know or refuses: an empty list for a right tool.
const SCHEMA: &str = r"
import json, sys
from elevenlabs.types.tool_request_model import ToolRequestModel
def unknown(model, place):
    found = [place + '.' + name for name in (getattr(model, '__pydantic_extra__', None) or {})]
    for name in type(model).model_fields:
        value = getattr(model, name)
        values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
        for below in values:
            if hasattr(type(below), 'model_fields'):
                found += unknown(below, place + '.' + name)
    return found
def judge(tool):
    try:
        return unknown(ToolRequestModel.model_validate({'tool_config': tool}), '')
    except Exception as error:
        return [str(error)]
print(json.dumps([judge(tool) for tool in json.load(sys.stdin)]))
";

#[test]
fn a_driver_variable_is_refused_for_a_tool_that_would_not_send_it() {
    let refused = |kind: &str, flags: &[&str]| {
        let generate = ["generate", "elevenlabs-tool", "--url", "https://h.example", "--kind", kind];
        let out = binary().args(generate).args(flags).output().unwrap();
        assert_eq!(out.status.code(), Some(2), "{out:?}");
        assert!(out.stdout.is_empty() && String::from_utf8_lossy(&out.stderr).contains(flags[0]), "{out:?}");
    };
    refused("turn", &["--driver-variable", "driver_id"]);
    refused("initiation", &["--driver-variable", "driver_id"]);
    refused("initiation", &["--call-sid"]);
}

#[test]
fn the_tools_are_as_elevenlabs_schema_wants_them() {
    let url = "https://calls.example.com";
    let tools = [
        generate(&["--url", url]),
        generate(&["--url", url, "--kind", "turn"]),
        generate(&["--url", url, "--kind", "history", "--secret-id", "sec_1", "--driver-variable", "driver_id"]),
        generate(&["--url", url, "--call-sid"]),
        // Two wrong tools, to show that the script finds faults.
        json!({"type": "webhook", "name": "x", "description": "y", "api_schema": {"url": "https://x", "verb": "GET"}}),
        json!({"type": "webhook", "name": "x", "description": "y"}),
    ];
    let judged: Vec<Vec<String>> = serde_json::from_value(sdk_python(SCHEMA, &json!(tools))).unwrap();
    assert_eq!(judged[..4], [vec![], vec![], vec![], vec![""; 0]], "{judged:?}");
    assert!(judged[4].iter().any(|place| place.contains("verb")) && !judged[5].is_empty(), "{judged:?}");
    let properties = &tools[3]["api_schema"]["request_body_schema"]["properties"];
    assert_eq!(properties["call_sid"]["dynamic_variable"], "system__call_sid");
}

#[test]
fn a_tool_posts_to_the_service_with_elevenlabs_variables_and_its_secret() {
    let tool =
        generate(&["--url", "https://calls.example.com/", "--secret-id", "sec_abc", "--driver-variable", "truck"]);
    let schema = &tool["api_schema"];
    assert_eq!(schema["url"], "https://calls.example.com/webhooks/elevenlabs/history");
    assert_eq!(schema["method"], "POST");
    assert_eq!(schema["request_headers"]["X-Webhook-Token"]["secret_id"], "sec_abc");
    let properties = schema["request_body_schema"]["properties"].as_object().unwrap();
    let variables: Map<String, Value> =
        properties.iter().map(|(name, property)| (name.clone(), property["dynamic_variable"].clone())).collect();
    assert_eq!(
        Value::from(variables),
        json!({
            "conversation_id": "system__conversation_id",
            "agent_id": "system__agent_id",
            "driver_id": "truck",
            "timestamp": "system__time_utc",
            "history": "system__conversation_history",
        })
    );
    assert_eq!((&tool["execution_mode"], &tool["pre_tool_speech"]), (&json!("async"), &json!("off")));
    // A variable that not every call has would keep calls from starting, so none is there unasked.
    let plain = generate(&["--url", "https://calls.example.com"]);
    assert_eq!(plain["api_schema"]["request_headers"], json!({}));
    assert!(!plain.to_string().contains("driver_id"), "{plain}");
}

#[test]
fn the_service_takes_what_the_turn_tool_sends() {
    let tool = generate(&["--url", "https://calls.example.com", "--kind", "turn"]);
    let schema = &tool["api_schema"];
    assert_eq!(schema["url"], format!("https://calls.example.com{TURNS}"));
    let properties = schema["request_body_schema"]["properties"].as_object().unwrap();
    let sent: Map<String, Value> = properties
        .iter()
        .map(|(name, property)| {
            let value = match property["dynamic_variable"].as_str() {
                Some("system__conversation_id") => json!("conv_1901kaj4pr1penza6bbkscg6hgkc"),
                Some("system__time_utc") => json!("2026-09-28T12:00:08.123456+00:00"),
                Some(other) => panic!("{other} has no value here"),
                None => property["enum"].get(1).cloned().unwrap_or(json!("Parked at the Pilot in Gary.")),
            };
            (name.clone(), value)
        })
        .collect();
    Service::start().deliver(&Value::from(sent)).expect(201);
}

#[test]
fn a_url_that_elevenlabs_cannot_call_is_refused() {
    for url in ["http://calls.example.com", "calls.example.com", "", "https://", "http://127.0.0.1:8080"] {
        let out = run(&["generate", "elevenlabs-tool", "--url", url]);
        assert_eq!(out.status.code(), Some(2), "{url}");
        assert!(String::from_utf8_lossy(&out.stderr).contains("https://"), "{out:?}");
    }
    let by_variable = binary()
        .args(["generate", "elevenlabs-tool"])
        .env("TRANSCRIBE_HOOK_URL", "https://h.example")
        .env("TRANSCRIBE_HOOK_KIND", "turn")
        .output()
        .unwrap();
    assert!(by_variable.status.success(), "{by_variable:?}");
}
