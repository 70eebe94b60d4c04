//! Events of the greatest length that consist of tiny values: they are stored whole, read in bounded memory, and
//! returned in bounded memory. What is left out is remarked.

use crate::support::service::{Service, peak, wait_for};
use crate::support::whole_call::{SECRET, post_signed};
use serde_json::{Value, json};

/// Length of an event, in bytes: nearly the maximum.
const EVENT_BYTES: usize = 15_500_000;

/// Maximum memory for one event, in KiB. Without a bound it would be some gigabytes.
const MAX_ADDITIONAL_KIB: u64 = 256 * 1024;

/// A list of as many of this element as fit into an event.
fn list(element: &str) -> String {
    format!("[{}]", vec![element; EVENT_BYTES / (element.len() + 1)].join(","))
}

/// An object of as many fields with this value as fit into an event.
fn object(value: &str) -> String {
    let fields: Vec<_> = (0..EVENT_BYTES / (value.len() + 12)).map(|n| format!("\"k{n:07}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// An event of two turns, with these fields of the conversation after its transcript, and of the first turn.
fn event(id: &str, fields: &str, of_turn: &str) -> String {
    let turn = format!(r#"{{"role":"user","message":"The first words","time_in_call_secs":1{of_turn}}}"#);
    with_transcript(
        id,
        fields,
        &format!(r#"[{turn},{{"role":"agent","message":"The last words","time_in_call_secs":2}}]"#),
    )
}

fn with_transcript(id: &str, fields: &str, transcript: &str) -> String {
    format!(
        r#"{{"type":"post_call_transcription","event_timestamp":1790596855,"data":{{"conversation_id":"{id}",
        "status":"done","metadata":{{"start_time_unix_secs":1790596800}},"transcript":{transcript}{fields}}}}}"#
    )
}

/// Posts an event and reads its call in each way. Returns the number of its turns.
#[track_caller]
fn take(case: &str, id: &str, event: &str, is_remarked: bool) -> u64 {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET, "--log-level", "info,http=off"]);
    let before = peak(service.pid());
    post_signed(&service, event).expect(200);
    let call = wait_for("the call to be reconciled", || {
        let call = service.get(&format!("/api/v1/calls/{id}")).expect(200).json();
        call["matched"].is_number().then_some(call)
    });
    let (stored, error): (usize, Option<String>) = service
        .sqlite()
        .query_row("SELECT octet_length(body), error FROM webhook_events", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!((stored, error.is_some()), (event.len(), is_remarked), "{case}: {error:?}");
    for path in ["/tool_calls", "/transcriptions", ""] {
        service.get(&format!("/api/v1/calls/{id}{path}")).expect(200);
    }
    let conversation = service.get(&format!("/v1/convai/conversations/{id}"));
    if call["turn_count"].as_u64() <= Some(20_000) {
        let turns = &conversation.expect(200).json()["transcript"];
        assert!(turns.as_array().is_some_and(|turns| !turns.is_empty()), "{case}");
    } else {
        conversation.expect(400);
    }
    service.get("/api/v1/stats?include=results").expect(200);
    let grown = peak(service.pid()) - before;
    println!("{case}: {grown} KiB more");
    assert!(grown < MAX_ADDITIONAL_KIB, "{case}: {grown} KiB more for {} bytes", event.len());
    call["turn_count"].as_u64().unwrap()
}

#[test]
fn an_event_with_millions_of_tiny_tool_calls_is_read_in_bounded_memory() {
    let tools = format!(r#","tool_calls":{}"#, list("{}"));
    assert_eq!(take("calls", "conv_a", &event("conv_a", "", &tools), true), 2);
    let results = format!(r#","tool_results":{}"#, list(r#"{"a":0}"#));
    assert_eq!(take("results", "conv_a", &event("conv_a", "", &results), true), 2);
    let guardrails = format!(r#","triggered_guardrails":{}"#, list("0"));
    assert_eq!(take("guardrails", "conv_a", &event("conv_a", "", &guardrails), true), 2);
}

#[test]
fn an_event_with_a_million_measurements_criteria_values_or_tags_is_read_in_bounded_memory() {
    let metrics = format!(r#","conversation_turn_metrics":{{"metrics":{}}}"#, object(r#"{"elapsed_time":1}"#));
    take("metrics", "conv_a", &event("conv_a", "", &metrics), true);
    for (case, fields) in [
        ("criteria", format!(r#","analysis":{{"evaluation_criteria_results":{}}}"#, object("{}"))),
        ("values", format!(r#","analysis":{{"data_collection_results":{}}}"#, object(r#"{"value":1}"#))),
        ("tags", format!(r#","tag_ids":{}"#, list("\"a\""))),
        ("variables", format!(r#","conversation_initiation_client_data":{{"dynamic_variables":{}}}"#, object("0"))),
        ("something new", format!(r#","something_new":{}"#, list(r#"{"a":0}"#))),
    ] {
        assert_eq!(take(case, "conv_a", &event("conv_a", &fields, ""), true), 2);
    }
}

#[test]
fn a_transcript_of_half_a_million_tiny_turns_is_read_in_bounded_memory() {
    let turns = list(r#"{"role":"user","message":"x"}"#);
    assert!(take("turns", "conv_a", &with_transcript("conv_a", "", &turns), true) > 10_000);
    let text = Value::from(format!(r#"[{{"role":"user","message":"The words"}},{}"#, &list("{}")[1..])).to_string();
    assert_eq!(take("a text of turns", "conv_a", &with_transcript("conv_a", "", &text), true), 1);
}

#[test]
fn a_long_event_of_a_real_call_is_read_whole() {
    let turn = |n: u32| {
        json!({
            "role": if n.is_multiple_of(2) { "agent" } else { "user" },
            "message": format!("{n} Your reefer is warm. {}", "Could you check the set point? ".repeat(10)),
            "time_in_call_secs": n, "tool_calls": [], "tool_results": [], "feedback": null, "llm_override": null,
            "conversation_turn_metrics": {"metrics": {"convai_llm_service_ttfb": {"elapsed_time": 0.25}}},
            "rag_retrieval_info": null, "llm_usage": {"model_usage": {}}, "interrupted": false,
            "original_message": null, "source_medium": "audio", "agent_metadata": {"agent_id": "agent_1"},
        })
    };
    // What follows the transcript is read too.
    let analysis = r#","analysis":{"transcript_summary":"The reefer is warm."}"#;
    for count in [8000, 17_000] {
        let turns = Value::from((0..count).map(turn).collect::<Vec<_>>()).to_string();
        let event = with_transcript("conv_a", analysis, &turns);
        assert_eq!(take("a real call", "conv_a", &event, false), u64::from(count));
        assert!(event.len() < EVENT_BYTES, "{}", event.len());
    }
}
