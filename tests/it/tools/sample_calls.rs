//! The sample calls of `tests/samples`: the service stores each of them as it was made, and the models of ElevenLabs'
//! SDK read their records.

use crate::support::sample_calls::{load_sample_calls, run_loader};
use crate::support::service::{Service, sdk_python};
use crate::support::whole_call::SECRET;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Number of calls that has each kind once.
const ALL_KINDS: u32 = 60;

fn calls(expected: &Value) -> &[Value] {
    expected["calls"].as_array().unwrap()
}

#[test]
fn sample_calls_of_every_kind_are_stored_as_they_were_made() {
    let folder = tempfile::tempdir().unwrap();
    let recordings = folder.path().join("recordings");
    let service = Service::start_with(&["--elevenlabs-secret", SECRET, "--audio-dir", recordings.to_str().unwrap()]);
    let expected = load_sample_calls(&service, ALL_KINDS);
    let expected_calls = calls(&expected);
    assert_eq!(expected_calls.len(), ALL_KINDS as usize);
    let stats = service.get("/api/v1/stats").expect(200).json();
    for status in ["completed", "failed", "in_progress"] {
        let count = expected["statistics"]["by"]["status"][status].as_u64().unwrap_or(0);
        assert_eq!(stats["all"][status], count, "{status}");
    }
    assert_eq!(stats["events"]["unreadable"], 0);
    let drivers = service.get("/api/v1/drivers?include_total=true").expect(200).json();
    assert_eq!(drivers["total"], expected["drivers"]);
    let list = service.get("/api/v1/calls?limit=1000&include_children=true").expect(200).json();
    let listed: BTreeMap<_, _> =
        list["data"].as_array().unwrap().iter().map(|call| (call["conversation_id"].as_str().unwrap(), call)).collect();
    assert_eq!(listed.len(), expected_calls.len());
    for call in expected_calls {
        let found = listed[call["conversation_id"].as_str().unwrap()];
        assert_eq!(found["status"], call["status"], "{call}");
        for field in ["driver_id", "duration_seconds", "outcome", "cost", "batch_id", "agent_id"] {
            // A call without a record has no agent.
            // Without a duration of ElevenLabs, it is the time from start to end.
            let known = match field {
                "agent_id" => call["record"] != "none" || call["status"] == "failed",
                "duration_seconds" => !call[field].is_null(),
                _ => true,
            };
            let (one, other) = (found[field].as_f64(), call[field].as_f64());
            assert!(!known || found[field] == call[field] || one.is_some() && one == other, "{field}: {found}\n{call}");
        }
    }
}

#[test]
fn each_sample_call_has_the_turns_that_were_said_in_it() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    let expected = load_sample_calls(&service, ALL_KINDS);
    let database = service.sqlite();
    let mut select = database
        .prepare(
            "SELECT count(*) FROM call_transcriptions \
             WHERE conversation_id = ?1 AND superseded_by IS NULL AND coalesce(in_record, 1) = 1",
        )
        .unwrap();
    let mut total = 0;
    for call in calls(&expected) {
        let turns: i64 = call["turns"].as_object().unwrap().values().map(|count| count.as_i64().unwrap()).sum();
        let stored: i64 = select.query_row([call["conversation_id"].as_str().unwrap()], |row| row.get(0)).unwrap();
        assert_eq!(stored, turns, "{call}");
        total += turns;
    }
    assert!(total > 800, "the very long call is among them: {total}");
}

#[test]
fn recordings_of_sample_calls_are_served_as_mp3() {
    let folder = tempfile::tempdir().unwrap();
    let recordings = folder.path().join("recordings");
    let service = Service::start_with(&["--elevenlabs-secret", SECRET, "--audio-dir", recordings.to_str().unwrap()]);
    let expected = load_sample_calls(&service, ALL_KINDS);
    let mut recorded = 0;
    for call in calls(&expected).iter().filter(|call| call["has_recording"] == true) {
        let id = call["conversation_id"].as_str().unwrap();
        assert_eq!(service.get(&format!("/api/v1/calls/{id}")).expect(200).json()["has_audio"], true);
        let file = std::fs::read(recordings.join(format!("{id}.mp3"))).unwrap();
        // MPEG-2 layer III at 8 kbit/s and 24 kHz: each frame has 24 bytes and lasts as many milliseconds.
        assert!(file.chunks(24).all(|frame| frame.starts_with(&[0xFF, 0xF3, 0x14, 0xC4])));
        assert_eq!(file.len() as u64 / 24, call["duration_seconds"].as_u64().unwrap() * 1000 / 24);
        recorded += 1;
    }
    assert_eq!(expected["recordings"], recorded);
    assert!(recorded > 0);
}

#[test]
fn elevenlabs_models_read_the_records_of_sample_calls() {
    const PROGRAM: &str = r"
import json, sys
from elevenlabs.types import GetConversationResponseModel

unknown = set()
def walk(value, place):
    if isinstance(value, (list, tuple)):
        for item in value:
            walk(item, place)
    elif isinstance(value, dict):
        for item in value.values():
            walk(item, place)
    elif hasattr(type(value), 'model_fields'):
        unknown.update(f'{place}.{name}' for name in value.__pydantic_extra__ or {})
        for name in type(value).model_fields:
            walk(getattr(value, name), f'{place}.{name}')

records = 0
for line in open(json.load(sys.stdin), encoding='utf-8'):
    body = json.loads(line)[2]
    if body.get('type') in ('post_call_transcription', 'unredacted_transcript'):
        walk(GetConversationResponseModel.model_validate({'transcript': [], **body['data']}), 'data')
        records += 1
print(json.dumps({'records': records, 'unknown': sorted(unknown)}))
";
    let folder = tempfile::tempdir().unwrap();
    let requests = folder.path().join("requests.jsonl");
    let expected = run_loader(&["--requests", requests.to_str().unwrap(), "--calls", "300"]);
    let read = sdk_python(PROGRAM, &json!(requests));
    let records = calls(&expected).iter().filter(|call| call["record"] != "none").count();
    assert!(read["records"].as_u64().unwrap() >= records as u64, "{read}");
    // ElevenLabs documents metrics also without `metrics` around them. Its model has no parent, only its list's filter.
    let known =
        |name: &str| name == "data.parent_conversation_id" || name.contains(".conversation_turn_metrics.convai_");
    let unknown = read["unknown"].as_array().unwrap().iter().filter_map(Value::as_str);
    assert_eq!(unknown.filter(|name| !known(name)).collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn sample_calls_are_repeatable_and_begin_with_one_of_each_kind() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, count: &str, seed: &str| {
        let requests = folder.path().join(name);
        let expected = run_loader(&["--requests", requests.to_str().unwrap(), "--calls", count, "--seed", seed]);
        (expected, std::fs::read_to_string(requests).unwrap())
    };
    let (first, requests) = run("first", "300", "1");
    assert_eq!(run("again", "300", "1"), (first.clone(), requests.clone()));
    assert_ne!(run("other", "300", "2").1, requests);
    let (none, no_requests) = run("none", "0", "1");
    assert_eq!((&none["calls"], &*no_requests), (&json!([]), ""));
    let (one, _) = run("one", "1", "1");
    assert_eq!(calls(&one), &calls(&first)[..1]);
    let kinds = |count| calls(&first).iter().take(count).map(|call| call["kind"].as_str().unwrap());
    assert_eq!(kinds(60).collect::<BTreeSet<_>>(), kinds(300).collect());
    assert!(kinds(60).count() == kinds(60).collect::<BTreeSet<_>>().len(), "no kind comes twice");
}
