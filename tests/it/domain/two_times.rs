//! A turn has two times: its sender's, and that of ElevenLabs' record, which decides its position in the call.

use crate::support::database::of_schema;
use crate::support::export::exported;
use crate::support::samples::sample;
use crate::support::service::{Service, binary, run, wait_for};
use crate::support::whole_call::{
    CALL, FIRST, LAST, PARKED, SECRET, apply, deliver, event, live, open, post, post_signed,
};
use serde_json::{Value, json};
use std::fmt::Write as _;
use transcribe_hook::domain::Timestamp;

/// A call whose turns all arrived late. One has a date that its sender's model invented.
fn late_call() -> Service {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    deliver(&service, "agent", FIRST, "2026-09-28T12:00:09Z");
    deliver(&service, "user", PARKED, "2099-01-01T00:00:00Z");
    deliver(&service, "user", LAST, "1970-01-01T00:00:00Z");
    post_signed(&service, &sample(0).to_string()).expect(200);
    service
}

fn turns(service: &Service) -> Vec<Value> {
    let path = format!("/api/v1/calls/{CALL}/transcriptions?order=time");
    service.get(&path).expect(200).json()["data"].as_array().unwrap().clone()
}

/// The times of a call's cues, in milliseconds.
fn cues(service: &Service, id: &str) -> Vec<(u64, u64)> {
    let text = service.get(&format!("/api/v1/export?format=vtt&conversation_id={id}")).expect(200).text;
    let time = |text: &str| -> u64 {
        let parts: Vec<u64> = text.split([':', '.']).map(|part| part.parse().unwrap()).collect();
        ((parts[0] * 60 + parts[1]) * 60 + parts[2]) * 1000 + parts[3]
    };
    let lines = text.lines().filter_map(|line| line.split_once(" --> "));
    lines.map(|(begin, end)| (time(begin), time(end))).collect()
}

#[track_caller]
fn assert_one_after_the_other(cues: &[(u64, u64)]) {
    assert!(cues.iter().all(|(begin, end)| begin < end), "{cues:?}");
    assert!(cues.windows(2).all(|two| two[0].1 <= two[1].0), "{cues:?}");
}

#[test]
fn a_turn_keeps_its_senders_time_and_is_placed_by_the_records() {
    let service = late_call();
    let said = turns(&service);
    let shown: Vec<_> = said.iter().map(|turn| (&turn["timestamp"], &turn["record_time"])).collect();
    let at = |second: u32| json!(format!("2026-09-28T12:00:{second:02}.000000Z"));
    assert_eq!(shown[0].0, &at(9));
    assert_eq!(shown[1].0, "2099-01-01T00:00:00.000000Z");
    // ElevenLabs tells some of them to the microsecond; all lie within the call, in order.
    let start = Timestamp::parse("2026-09-28T12:00:00Z").unwrap().unix_micros();
    let offset = |turn: &Value| {
        let time = Timestamp::parse(turn["record_time"].as_str().unwrap()).unwrap();
        u64::try_from((time.unix_micros() - start) / 1000).unwrap()
    };
    let offsets: Vec<_> = said.iter().map(offset).collect();
    assert!(offsets.is_sorted() && offsets.iter().all(|offset| *offset < 47_000), "{offsets:?}");
    assert_eq!(offsets[0], 2120);
    let cues = cues(&service, CALL);
    assert_eq!(cues.iter().map(|(begin, _)| *begin).collect::<Vec<_>>(), offsets);
    assert_one_after_the_other(&cues);
    for format in ["text", "markdown"] {
        let text = service.get(&format!("/api/v1/export?format={format}&conversation_id={CALL}")).expect(200).text;
        assert!(!text.contains("631") && text.contains(&format!("00:00:{:02}", offsets[1] / 1000)), "{text}");
    }
    let connection = service.sqlite();
    // Later versions add columns behind them.
    let columns: Vec<String> = connection
        .prepare("SELECT name FROM pragma_table_info('transcript') WHERE cid IN (16, 17) ORDER BY cid DESC")
        .and_then(|mut select| select.query_map([], |row| row.get(0))?.collect())
        .unwrap();
    assert_eq!(columns, ["said_at", "record_time"]);
    let wrong: i64 = connection
        .query_row(
            "SELECT count(*) FROM transcript WHERE said_at NOT LIKE '2026-09-28T12:00%' OR said_at IS NOT record_time",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(wrong, 0);
    // Silence and talk lie within the call of 47 seconds.
    let stats = service.get("/api/v1/stats?started_after=2026-09-28T00:00:00Z").expect(200).json();
    assert!(stats["all"]["silence_seconds"].as_f64().is_some_and(|silence| silence <= 47.0), "{stats}");
}

#[test]
fn without_a_record_no_cue_is_at_an_invented_hour() {
    let service = Service::start();
    for (id, times) in [
        ("conv_later", ["2026-09-28T12:00:00Z", "2099-01-01T00:00:00Z", "2026-09-28T12:00:05Z"]),
        ("conv_earlier", ["2026-09-28T12:00:00Z", "1970-01-01T00:00:00Z", "2026-09-28T12:00:05Z"]),
        ("conv_first", ["1970-01-01T00:00:00Z", "2026-09-28T12:00:00Z", "2026-09-28T12:00:05Z"]),
    ] {
        for (n, time) in times.into_iter().enumerate() {
            let turn =
                json!({"conversation_id": id, "speaker": "user", "message": format!("Words {n}"), "timestamp": time});
            service.deliver(&turn).expect(201);
        }
        service.patch(&format!("/api/v1/calls/{id}"), &json!({"status": "completed"})).expect(200);
        let cues = cues(&service, id);
        assert_eq!(cues.len(), 3);
        assert_one_after_the_other(&cues);
        assert!(cues.iter().all(|(begin, _)| *begin < 3_600_000), "{id}: {cues:?}");
    }
    // One that is said after the end of its call is placed at the end.
    for (n, second) in [0, 9, 40].into_iter().enumerate() {
        let time = format!("2026-09-28T12:00:{second:02}Z");
        let turn =
            json!({"conversation_id": "conv_over", "speaker": "user", "message": format!("W {n}"), "timestamp": time});
        service.deliver(&turn).expect(201);
    }
    let end = json!({"status": "completed", "call_end_time": "2026-09-28T12:00:10Z"});
    service.patch("/api/v1/calls/conv_over", &end).expect(200);
    let begun: Vec<_> = cues(&service, "conv_over").iter().map(|(begin, _)| *begin).collect();
    assert_eq!(begun, [0, 9000, 10_000]);
}

#[test]
fn cues_of_turns_that_share_a_second_share_its_time_by_their_length() {
    let (store, folder) = open();
    let mut record = sample(0);
    let long = "I walked around the whole trailer and looked at every single door of it.";
    let entries = [(3, "Yes."), (3, long), (3, "No."), (4, "Thank you."), (4, "You are welcome."), (30, "Bye.")];
    record["data"]["transcript"] = entries
        .iter()
        .map(|(second, words)| json!({"role": "user", "message": words, "time_in_call_secs": second}))
        .collect();
    apply(&*store, &live("user", long, "2026-09-28T12:00:07Z"));
    apply(&*store, &post(&record));
    drop(store);
    let text = exported(&folder.path().join("calls.db"), &["--format", "vtt", "--conversation-id", CALL]);
    let service = Service::start_on(&folder.path().join("calls.db"), &[]);
    let cues = cues(&service, CALL);
    assert_eq!(cues.len(), entries.len(), "{text}");
    assert_one_after_the_other(&cues);
    assert_eq!((cues[0].0, cues[3].0, cues[5].0), (3000, 4000, 30_000), "{cues:?}");
    let length = |n: usize| cues[n].1 - cues[n].0;
    assert!(cues[2].1 <= 4000 && length(1) > 2 * length(0), "{cues:?}");
}

#[test]
fn an_export_has_both_times_and_one_of_an_older_version_is_read_and_completed() {
    let (store, folder) = open();
    apply(&*store, &live("agent", FIRST, "2026-09-28T12:00:09Z"));
    apply(&*store, &post(&sample(0)));
    drop(store);
    let text = exported(&folder.path().join("calls.db"), &["--format", "jsonl"]);
    assert!(text.contains("\"record_time\":\"2026-09-28T12:00:0"), "{text}");
    let mut older = String::new();
    for line in text.lines() {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line.as_object_mut().unwrap().remove("uncompared");
        for turn in line.get_mut("transcriptions").and_then(Value::as_array_mut).into_iter().flatten() {
            for column in ["record_time", "in_record"] {
                turn.as_object_mut().unwrap().remove(column);
            }
        }
        writeln!(older, "{line}").unwrap();
    }
    let (file, other) = (folder.path().join("older.jsonl"), folder.path().join("other.db"));
    std::fs::write(&file, older).unwrap();
    for wanted in [r#""bad":0,"stored":2,"unchanged":0"#, r#""bad":0,"stored":0,"unchanged":2"#] {
        let out = run(&["import", "calls", file.to_str().unwrap(), "--json", "--database", other.to_str().unwrap()]);
        let told: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{out:?}"));
        assert_eq!(told, serde_json::from_str::<Value>(&format!("{{{wanted}}}")).unwrap());
    }
    assert_eq!(exported(&other, &["--format", "jsonl"]), text);
}

#[test]
fn calls_that_an_older_version_stored_get_their_times_in_the_background() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let connection = of_schema(9, folder.path(), &database);
    let (body, read) = (sample(0).to_string(), event(&sample(0)));
    let digest: [u8; 32] = read.digest;
    let record = read.record.as_ref().unwrap().json.clone();
    let now = "2026-09-28T12:02:00.000000Z";
    connection
        .execute(
            "INSERT INTO webhook_events (digest, event_type, conversation_id, received_at, outcome, record, body) \
             VALUES (?1, 'post_call_transcription', ?2, ?3, 'applied', ?4, ?5)",
            rusqlite::params![digest, CALL, now, record, body],
        )
        .unwrap();
    // Its status was changed by hand since, which stays.
    connection
        .execute(
            "INSERT INTO calls (conversation_id, call_start_time, status, turn_count, first_turn_time, last_turn_time, \
             created_at, updated_at, record_event_id, live_only, matched, added, corrected, repeated) \
             VALUES (?1, '2026-09-28T12:00:00.000000Z', 'failed', 1, ?2, ?2, ?3, ?3, 1, 0, 1, 0, 0, 0)",
            [CALL, "2026-09-28T12:00:09.000000Z", now],
        )
        .unwrap();
    connection
        .execute(
            "INSERT INTO call_transcriptions (conversation_id, speaker_type, message_text, timestamp, sequence_number, \
             created_at, repeat_key, place) VALUES (?1, 'agent', ?2, '2026-09-28T12:00:09.000000Z', 1, ?3, 4294967296, \
             1)",
            [CALL, FIRST, now],
        )
        .unwrap();
    drop(connection);
    assert!(binary().args(["migrate", "--create", "--database"]).arg(&database).status().unwrap().success());
    let service = Service::start_on(&database, &[]);
    let first = wait_for("the turn's second time", || {
        turns(&service).into_iter().find(|turn| turn["sequence_number"] == 1 && !turn["record_time"].is_null())
    });
    assert_eq!(first["timestamp"], "2026-09-28T12:00:09.000000Z");
    assert_eq!(first["in_record"], true);
    let call = service.get(&format!("/api/v1/calls/{CALL}")).expect(200).json();
    assert_eq!(call["status"], "failed");
    // Its event is also parsed again in the background.
    wait_for("no call to be due", || {
        let sql = "SELECT (SELECT count(*) FROM due_reconciliations) + (SELECT count(*) FROM event_rereads)";
        let due: i64 = service.sqlite().query_row(sql, [], |row| row.get(0)).unwrap();
        (due == 0).then_some(())
    });
    assert_eq!(service.get(&format!("/api/v1/calls/{CALL}")).expect(200).json()["status"], "failed");
}
