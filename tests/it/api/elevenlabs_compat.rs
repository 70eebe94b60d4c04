//! ElevenLabs' own read operations, asked by its official SDK, which `tests/run` installs, and by hand.

use crate::support::samples::{SAMPLES, sample, with};
use crate::support::service::{Service, sdk_python};
use crate::support::whole_call::{CALL, FIRST, SECRET, deliver, post_signed};
use serde_json::{Value, json};

/// Asks for what is given by method and arguments, and prints the answers; those with a model are judged by it first.
const SDK: &str = r#"
import json, sys, httpx
from elevenlabs import ElevenLabs
from elevenlabs.core.api_error import ApiError
from elevenlabs.types.get_conversation_response_model import GetConversationResponseModel
from elevenlabs.types.get_conversations_page_response_model import GetConversationsPageResponseModel

asked = json.load(sys.stdin)
client = ElevenLabs(api_key="xi-no-key-is-needed-here", base_url=asked["url"])
conversations = client.conversational_ai.conversations

def listed(filters):
    rows, pages, cursor = [], 0, None
    while True:
        page = conversations.list(cursor=cursor, **filters)
        rows += [row.conversation_id for row in page.conversations]
        pages, cursor = pages + 1, page.next_cursor
        if not page.has_more:
            return {"ids": rows, "pages": pages}

def got(id):
    raw = httpx.get(asked["url"] + "/v1/convai/conversations/" + id).json()
    GetConversationResponseModel.model_validate(raw)
    whole = conversations.get(id)
    return {"status": whole.status, "user_id": whole.user_id, "has_audio": whole.has_audio,
            "start": whole.metadata.start_time_unix_secs, "said": [[t.role, t.message] for t in whole.transcript]}

def heard(id):
    try:
        return b"".join(conversations.audio.get(id)).hex()
    except ApiError as error:
        return error.status_code

raw = httpx.get(asked["url"] + "/v1/convai/conversations").json()
GetConversationsPageResponseModel.model_validate(raw)
print(json.dumps({
    "lists": [listed(filters) for filters in asked["lists"]],
    "got": {id: got(id) for id in asked["get"]},
    "heard": {id: heard(id) for id in asked["hear"]},
}))
"#;

fn ask(service: &Service, lists: &[Value], get: &[&str], hear: &[&str]) -> Value {
    sdk_python(SDK, &json!({"url": service.url(""), "lists": lists, "get": get, "hear": hear}))
}

#[test]
fn the_official_sdk_reads_this_store_by_its_base_url() {
    let audio = tempfile::tempdir().unwrap();
    let service = Service::start_with(&["--elevenlabs-secret", SECRET, "--audio-dir", audio.path().to_str().unwrap()]);
    let event = |n: i64, user_id: &Value| {
        let mut event = sample(0);
        event["data"]["conversation_id"] = json!(format!("conv_{n}"));
        event["data"]["metadata"]["start_time_unix_secs"] = json!(1_790_000_000 + n);
        event["data"]["user_id"] = user_id.clone();
        event["data"]["conversation_initiation_client_data"]["user_id"] = Value::Null;
        event["data"]["agent_id"] = json!(if n == 3 { "agent_other" } else { "agent_one" });
        event.to_string()
    };
    for (n, user_id) in
        (1..=7).zip([json!("maria@example.com"), json!("driver_1042"), json!("driver_7")].iter().cycle())
    {
        post_signed(&service, &event(n, user_id)).expect(200);
    }
    // Of this one no record names the user, but a dispatch the driver.
    service.put("/api/v1/drivers/7", &json!({"name": "Jo"})).expect(201);
    service.put(&format!("/api/v1/dispatches/{CALL}"), &json!({"driver_id": 7})).expect(201);
    deliver(&service, "agent", FIRST, "2026-09-28T12:00:03Z");

    let before = ask(
        &service,
        &[
            json!({"page_size": 3}),
            json!({"page_size": 3, "sort_direction": "asc", "call_start_after_unix": 1_790_000_003,
                "call_start_before_unix": 1_790_000_007}),
            json!({"user_id": "maria@example.com", "page_size": 2}),
            json!({"user_id": "driver_7"}),
            json!({"user_id": "nobody"}),
            json!({"agent_id": "agent_other"}),
            json!({"search": "load 88123", "page_size": 100, "summary_mode": "include",
                "exclude_statuses": ["initiated", "processing"]}),
            json!({"exclude_statuses": ["in-progress"], "main_languages": ["en", "es"], "call_successful": "success",
                "call_duration_min_secs": 47, "call_duration_max_secs": 47, "page_size": 100}),
            json!({"call_successful": "failure"}),
            json!({"call_duration_min_secs": 48}),
            json!({"call_duration_min_secs": i64::MIN, "call_duration_max_secs": i64::MAX, "page_size": 1}),
            json!({"call_duration_max_secs": -1}),
            json!({"exclude_statuses": ["done", "failed"]}),
        ],
        &[CALL, "conv_1"],
        &[CALL, "conv_1"],
    );
    let lists = before["lists"].as_array().unwrap();
    let newest_first = [CALL, "conv_7", "conv_6", "conv_5", "conv_4", "conv_3", "conv_2", "conv_1"];
    assert_eq!(lists[0], json!({"ids": newest_first, "pages": 3}));
    assert_eq!(lists[1], json!({"ids": ["conv_3", "conv_4", "conv_5", "conv_6"], "pages": 2}));
    assert_eq!(lists[2], json!({"ids": ["conv_7", "conv_4", "conv_1"], "pages": 2}));
    assert_eq!(lists[3], json!({"ids": [CALL, "conv_6", "conv_3"], "pages": 1}));
    assert_eq!(lists[4], json!({"ids": [], "pages": 1}));
    assert_eq!(lists[5], json!({"ids": ["conv_3"], "pages": 1}));
    assert_eq!(lists[6], json!({"ids": newest_first, "pages": 1}));
    assert_eq!(lists[7], json!({"ids": newest_first[1..], "pages": 1}));
    assert_eq!(lists[8], json!({"ids": [], "pages": 1}));
    assert_eq!(lists[9], json!({"ids": [], "pages": 1}));
    assert_eq!(lists[10], json!({"ids": newest_first, "pages": 8}));
    assert_eq!(lists[11], json!({"ids": [], "pages": 1}));
    assert_eq!(lists[12], json!({"ids": [CALL], "pages": 1}));
    let so_far = json!({"status": "in-progress", "user_id": "7", "has_audio": false, "start": 1_790_596_803,
        "said": [["agent", FIRST]]});
    assert_eq!(before["got"][CALL], so_far);
    assert_eq!(before["got"]["conv_1"]["user_id"], "maria@example.com");
    assert_eq!(before["got"]["conv_1"]["said"].as_array().unwrap().len(), 5, "also those without words");
    assert_eq!(before["heard"], json!({CALL: 404, "conv_1": 404}));

    for id in [CALL, "conv_2"] {
        let recording = json!({"type": "post_call_audio", "event_timestamp": 1_790_596_860,
            "data": {"agent_id": "a", "conversation_id": id, "full_audio": "SUQzBAAA"}});
        post_signed(&service, &recording.to_string()).expect(200);
    }
    let heard = ask(&service, &[], &[CALL, "conv_2"], &[CALL]);
    assert_eq!(
        (&heard["got"][CALL]["has_audio"], &heard["got"][CALL]["status"]),
        (&json!(true), &json!("in-progress"))
    );
    assert_eq!(heard["got"]["conv_2"]["has_audio"], true);
    assert_eq!(heard["heard"][CALL], "494433040000");
    post_signed(&service, SAMPLES[0].1).expect(200);
    let after = ask(&service, &[json!({"user_id": "driver_1042"})], &[CALL], &[CALL]);
    assert_eq!(
        (&after["got"][CALL]["status"], &after["got"][CALL]["user_id"]),
        (&json!("done"), &json!("driver_1042"))
    );
    assert_eq!(
        after["lists"][0]["ids"],
        json!([CALL, "conv_5", "conv_2"]),
        "the record's user is the call's from now on"
    );
}

#[test]
fn filters_that_cannot_be_answered_are_refused_and_the_others_must_be_right() {
    let service = Service::start();
    deliver(&service, "agent", FIRST, "2026-09-28T12:00:03Z");
    let list = "/v1/convai/conversations";
    service.get(&format!("{list}/{CALL}?format=json&whatever=1")).expect(200);
    service.get(&format!("{list}?main_languages=en&main_languages=es&page_size=100")).expect(200);
    for (path, field) in [
        (format!("{list}?page_size=0"), "page_size"),
        (format!("{list}?page_size=x"), "page_size"),
        (format!("{list}?user_id=a&user_id=b"), "user_id"),
        (format!("{list}?sort_direction=up"), "sort_direction"),
        (format!("{list}?call_start_after_unix=9223372036854775807"), "call_start_after_unix"),
        (format!("{list}?cursor=bm8"), "cursor"),
        (format!("{list}?call_successful=perhaps"), "call_successful"),
        (format!("{list}?exclude_statuses=over"), "exclude_statuses"),
        (format!("{list}?phone_number_ids=phnum_1"), "phone_number_ids"),
        (format!("{list}?rating_min=4"), "rating_min"),
        (format!("{list}?text_only=false"), "text_only"),
        (format!("{list}?limit=10"), "limit"),
        (format!("{list}?agent_id=%00"), "agent_id"),
        (format!("{list}/{CALL}?format=opentelemetry"), "format"),
    ] {
        let error = service.get(&path).expect_error(400);
        assert!(error["details"].as_str().is_some_and(|details| details.contains(field)), "{path}: {error}");
    }
}

#[test]
fn a_conversation_is_given_back_as_elevenlabs_sent_it_and_before_that_as_far_as_it_is_known() {
    let audio = tempfile::tempdir().unwrap();
    let service = Service::start_with(&["--elevenlabs-secret", SECRET, "--audio-dir", audio.path().to_str().unwrap()]);
    let path = format!("/v1/convai/conversations/{CALL}");
    service.get(&path).expect_error(404);
    deliver(&service, "agent", FIRST, "2026-09-28T12:00:03Z");
    let so_far = service.get(&path).expect(200).json();
    assert_eq!(so_far["status"], "in-progress");
    assert_eq!(so_far["transcript"][0]["message"], FIRST);
    post_signed(&service, SAMPLES[0].1).expect(200);
    let as_sent = with(&sample(0)["data"], "/has_audio", json!(false));
    assert_eq!(service.get(&path).expect(200).json(), as_sent);
    let mut poorer = sample(0);
    poorer["event_timestamp"] = json!(1_790_599_999);
    poorer["data"].as_object_mut().unwrap().shift_remove("transcript");
    post_signed(&service, &poorer.to_string()).expect(200);
    assert_eq!(service.get(&path).expect(200).json(), as_sent, "the fullest one");
    post_signed(&service, SAMPLES[2].1).expect(200);
    let list = |query: &str| service.get(&format!("/v1/convai/conversations?{query}")).expect(200).json();
    let first = list("page_size=1");
    assert_eq!(first["conversations"][0]["conversation_id"], CALL);
    assert_eq!(first["conversations"][0]["call_duration_secs"], 47);
    let next = list(&format!("page_size=1&cursor={}", first["next_cursor"].as_str().unwrap()));
    assert_eq!((&next["conversations"][0]["status"], &next["has_more"]), (&json!("failed"), &json!(false)));
    assert_eq!(list("call_start_after_unix=1790596801")["conversations"], json!([]));
    assert_eq!(list("search=Gary&call_start_before_unix=1790596801")["conversations"].as_array().unwrap().len(), 1);
    assert_eq!(list("user_id=nobody")["conversations"], json!([]));
    service.get(&format!("{path}/audio")).expect_error(404);
    let recording = json!({"type": "post_call_audio", "event_timestamp": 1_790_596_860,
        "data": {"agent_id": "a", "conversation_id": CALL, "full_audio": "SUQzBAAA"}});
    post_signed(&service, &recording.to_string()).expect(200);
    let answer = service.get(&format!("{path}/audio")).expect(200);
    assert_eq!((answer.header("content-type"), answer.text.as_bytes()), (Some("audio/mpeg"), &b"ID3\x04\0\0"[..]));
    assert_eq!(service.get(&path).expect(200).json()["has_audio"], true);
}

#[test]
fn a_list_without_summaries_is_to_be_had() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    post_signed(&service, SAMPLES[0].1).expect(200);
    let summary = |query: &str| {
        let page = service.get(&format!("/v1/convai/conversations?{query}")).expect(200).json();
        page["conversations"][0]["transcript_summary"].clone()
    };
    assert!(summary("").is_string() && summary("summary_mode=include").is_string());
    assert_eq!(summary("summary_mode=exclude"), Value::Null);
}

#[test]
fn a_recording_is_given_in_parts_as_elsewhere() {
    let audio = tempfile::tempdir().unwrap();
    let service = Service::start_with(&["--elevenlabs-secret", SECRET, "--audio-dir", audio.path().to_str().unwrap()]);
    let recording = json!({"type": "post_call_audio", "event_timestamp": 1_790_596_860,
        "data": {"agent_id": "a", "conversation_id": CALL, "full_audio": "SUQzBAAA"}});
    post_signed(&service, &recording.to_string()).expect(200);
    let path = format!("/v1/convai/conversations/{CALL}/audio");
    let whole = service.get(&path).expect(200);
    assert_eq!((whole.header("content-length"), whole.header("accept-ranges")), (Some("6"), Some("bytes")));
    let part = service.get_with(&path, &[("Range", "bytes=1-2")]).expect(206);
    assert_eq!((part.header("content-range"), part.text.as_str()), (Some("bytes 1-2/6"), "D3"));
    service.get_with(&path, &[("Range", "bytes=6-")]).expect_error(416);
}

/// Reads conversations with ElevenLabs' SDK for JavaScript, which refuses what lacks a field of its model.
const JAVASCRIPT: &str = r#"
const { ElevenLabsClient } = require("@elevenlabs/elevenlabs-js");
const [url, ...ids] = process.argv.slice(1);
const client = new ElevenLabsClient({ apiKey: "xi-no-key-is-needed-here", baseUrl: url });
(async () => {
  const { conversations } = await client.conversationalAi.conversations.list({ pageSize: 100 });
  const got = [];
  for (const id of ids) {
    const one = await client.conversationalAi.conversations.get(id);
    got.push([one.conversationId, one.status, one.transcript.length, one.hasUserAudio]);
  }
  console.log(JSON.stringify({ listed: conversations.map((one) => one.conversationId).sort(), got }));
})();
"#;

#[test]
fn the_other_official_sdk_reads_every_record_however_poor_it_is() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    deliver(&service, "agent", FIRST, "2026-09-28T12:00:03Z");
    let event = |id: &str, strip: &[&str]| {
        let mut event = with(&sample(0), "/data/conversation_id", json!(id));
        for pointer in strip {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            event.pointer_mut(parent).unwrap().as_object_mut().unwrap().shift_remove(name);
        }
        post_signed(&service, &event.to_string()).expect(200);
    };
    event("conv_whole", &[]);
    event("conv_no_audio", &["/data/has_audio", "/data/has_user_audio", "/data/has_response_audio"]);
    event("conv_no_status", &["/data/status", "/data/agent_id", "/data/user_id", "/data/analysis"]);
    event("conv_no_metadata", &["/data/metadata", "/data/transcript/0/time_in_call_secs"]);
    event("conv_no_transcript", &["/data/transcript", "/data/conversation_initiation_client_data"]);
    for (id, pointer, odd) in [
        ("conv_analysis", "/data/analysis", json!({"call_successful": true, "evaluation_criteria_results": []})),
        ("conv_error", "/data/metadata/error", json!("line busy")),
        ("conv_phone", "/data/metadata/phone_call", json!({"type": "twilio", "direction": "outbound"})),
        ("conv_user", "/data/user_id", json!(1042)),
        (
            "conv_tools",
            "/data/transcript/0",
            json!({"role": "agent", "message": "Hello", "time_in_call_secs": 1.5, "interrupted": "no", "llm_usage": [],
                "tool_calls": "none", "tool_results": [{"tool_name": "x"}]}),
        ),
    ] {
        let mut event = with(&sample(0), "/data/conversation_id", json!(id));
        *event.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = odd;
        post_signed(&service, &event.to_string()).expect(200);
    }
    post_signed(&service, &with(&sample(2), "/data/conversation_id", json!("conv_failed")).to_string()).expect(200);
    let ids = [
        CALL,
        "conv_whole",
        "conv_no_audio",
        "conv_no_status",
        "conv_no_metadata",
        "conv_no_transcript",
        "conv_failed",
        "conv_analysis",
        "conv_error",
        "conv_phone",
        "conv_user",
        "conv_tools",
    ];
    let tools = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/document-tools");
    let out = std::process::Command::new("node")
        .current_dir(tools)
        .args(["-e", JAVASCRIPT, &service.url("")])
        .args(ids)
        .output()
        .expect("tests/run has installed node");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let read: Value = serde_json::from_slice(&out.stdout).unwrap();
    let mut listed: Vec<_> = ids.to_vec();
    listed.sort_unstable();
    assert_eq!(read["listed"], json!(listed));
    let got = read["got"].as_array().unwrap();
    for (id, one) in ids.iter().zip(got) {
        assert_eq!((&one[0], one[3].is_boolean()), (&json!(id), true), "{one}");
    }
    assert_eq!(got[0][1], "in-progress");
    assert_eq!(got[6][1], "failed");
    // The same by the SDK for Python.
    ask(&service, &[json!({})], &ids, &[]);
}

#[test]
fn words_that_are_known_are_given_although_the_record_has_them_in_another_form_or_not_at_all() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    let turns = json!([{"role": "agent", "message": FIRST}, {"role": "user", "message": "Yes."}]);
    deliver(&service, "agent", FIRST, "2026-09-28T12:00:03Z");
    for (id, name, transcript, count) in [
        (CALL, "status", json!("done"), 1),
        ("conv_entries", "transcript", json!({"entries": turns}), 2),
        ("conv_text", "transcript", json!(turns.to_string()), 2),
        ("conv_messages", "messages", turns, 2),
        ("conv_content", "transcript", json!([{"role": "agent", "content": FIRST}]), 1),
        ("conv_object", "transcript", json!([{"role": "agent", "message": {"text": FIRST}}]), 1),
    ] {
        let mut data = json!({"conversation_id": id, "status": "done"});
        data[name] = transcript;
        let event = json!({"type": "post_call_transcription", "event_timestamp": 1_790_596_860, "data": data});
        post_signed(&service, &event.to_string()).expect(200);
        let given = service.get(&format!("/v1/convai/conversations/{id}")).expect(200).json();
        assert_eq!(given["transcript"].as_array().map(Vec::len), Some(count), "{id}: {given}");
        assert_eq!(given["transcript"][0]["message"], FIRST, "{id}: {given}");
    }
}

/// Validates the answers by the SDK's models, and prints what they have of tools and turns.
const UNDERSTOOD: &str = r#"
import json, sys, httpx
from elevenlabs import ElevenLabs
from elevenlabs.types.get_conversation_response_model import GetConversationResponseModel
from elevenlabs.types.get_conversations_page_response_model import GetConversationsPageResponseModel

asked = json.load(sys.stdin)
listed = httpx.get(asked["url"] + "/v1/convai/conversations").json()
row = GetConversationsPageResponseModel.model_validate(listed).conversations[0]
raw = httpx.get(asked["url"] + "/v1/convai/conversations/conv_a").json()
GetConversationResponseModel.model_validate(raw)
whole = ElevenLabs(api_key="no key", base_url=asked["url"]).conversational_ai.conversations.get("conv_a")
print(json.dumps({
    "listed": [row.tool_names, row.agent_name, row.cost_fiat, row.conversation_initiation_source, row.call_successful],
    "tags": whole.tag_ids, "agent_name": whole.agent_name, "environment": whole.environment,
    "media": [turn.source_medium for turn in whole.transcript],
    "called": [[call.tool_name for call in turn.tool_calls] for turn in whole.transcript],
    "results": [[[of.tool_name, of.result_value, of.is_error] for of in turn.tool_results] for turn in whole.transcript],
    "ttfb": whole.transcript[1].conversation_turn_metrics.metrics["convai_llm_service_ttfb"].elapsed_time,
}))
"#;

#[test]
fn what_is_understood_has_the_fields_of_the_official_sdk() {
    let service = crate::support::understood::whole();
    let read = sdk_python(UNDERSTOOD, &json!({"url": service.url("")}));
    assert_eq!(
        read["listed"],
        json!([["greeting", "set_point", "end_call"], "Reefer checks", 0.25, "twilio", "unknown"])
    );
    assert_eq!(
        (&read["tags"], &read["agent_name"], &read["environment"], &read["ttfb"]),
        (&json!(["late", "reefer"]), &json!("Reefer checks"), &json!("production"), &json!(0.25))
    );
    assert_eq!(read["media"], json!(["audio", null, "dtmf", null, "audio", null]));
    assert_eq!(read["called"], json!([["greeting"], ["set_point"], [], [], [], ["end_call"]]));
    assert_eq!(
        read["results"],
        json!([[], [["set_point", "{\"ok\":true}", false]], [], [], [], [["end_call", "failed", true]]])
    );
}
