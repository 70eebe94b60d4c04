//! ElevenLabs' events as they are kept: whatever they are, once, for a later version that understands more of them.

use crate::support::database::of_schema;
use crate::support::samples::{SAMPLES, other_types, places, sample, with, without};
use crate::support::service::{Service, run, wait_for};
use crate::support::whole_call::{CALL, FIRST, SECRET, deliver, event, now, open, post, post_signed};
use serde_json::{Value, json};
use std::time::Duration;
use transcribe_hook::ingest::event;
use transcribe_hook::store::{Commands as _, Written};

#[test]
fn what_cannot_be_read_is_kept_and_can_be_replayed() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    for body in ["{not json", r#"{"type": "voice_removed", "data": {}}"#, SAMPLES[0].1, "\u{feff}"] {
        post_signed(&service, body).expect(200);
    }
    let outcomes = || -> Vec<(String, i64)> {
        let connection = service.sqlite();
        let mut select = connection.prepare("SELECT outcome, attempts FROM webhook_events ORDER BY id").unwrap();
        select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
    };
    let before = service.get(&format!("/api/v1/calls/{CALL}/transcriptions")).text;
    let database = service.database().to_str().unwrap().to_owned();
    let replay = |more: &[&str]| {
        let out = run(&[&["replay", "--json", "--database", &database], more].concat());
        (out.status.code(), String::from_utf8(out.stdout).unwrap())
    };
    assert_eq!(replay(&[]), (Some(0), "{\"applied\":1,\"ignored\":1,\"unreadable\":2}\n".to_owned()));
    assert_eq!(replay(&["--failed"]), (Some(0), "{\"applied\":0,\"ignored\":0,\"unreadable\":2}\n".to_owned()));
    assert_eq!(replay(&["--event", "3"]), (Some(0), "{\"applied\":1,\"ignored\":0,\"unreadable\":0}\n".to_owned()));
    assert_eq!(replay(&["--event", "9"]).0, Some(1));
    let shown: Vec<_> = outcomes().into_iter().collect();
    let wanted = [("unreadable", 3), ("ignored", 2), ("applied", 3), ("unreadable", 3)];
    assert_eq!(shown, wanted.map(|(outcome, attempts)| (outcome.to_owned(), attempts)));
    assert_eq!(service.get(&format!("/api/v1/calls/{CALL}/transcriptions")).text, before);
    let nowhere = service.database().with_file_name("nowhere.db");
    let out = run(&["replay", "--database", nowhere.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&out.stderr).contains("nowhere.db"), "{out:?}");
    assert!(out.status.code() == Some(1) && !nowhere.exists(), "a mistyped name makes no database");
}

#[test]
fn what_an_older_version_could_not_read_is_in_its_call_after_a_replay_beside_the_service() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    deliver(&service, "agent", FIRST, "2026-09-28T12:00:03Z");
    // As a version left it that knew no such event.
    let older = rusqlite::Connection::open(service.database()).unwrap();
    older.busy_timeout(Duration::from_secs(10)).unwrap();
    let digest: [u8; 32] = event(&sample(0)).digest;
    older
        .execute(
            "INSERT INTO webhook_events (digest, received_at, outcome, error, body) \
             VALUES (?1, '2026-09-28T12:01:00.000000Z', 'unreadable', 'what is this?', ?2)",
            rusqlite::params![digest, sample(0).to_string()],
        )
        .unwrap();
    let out = run(&["replay", "--failed", "--json", "--database", service.database().to_str().unwrap()]);
    assert_eq!(String::from_utf8_lossy(&out.stdout), "{\"applied\":1,\"ignored\":0,\"unreadable\":0}\n", "{out:?}");
    let call = service.get(&format!("/api/v1/calls/{CALL}")).expect(200).json();
    assert_eq!((&call["status"], &call["matched"], &call["added"]), (&json!("completed"), &json!(1), &json!(3)));
    // The service, which had the call in mind, goes on where the replay left it.
    assert_eq!(deliver(&service, "user", "One more thing.", "2026-09-28T12:00:50Z")["sequence_number"], 5);
    let before = service.events_stored();
    post_signed(&service, &sample(0).to_string()).expect(200);
    assert_eq!(service.events_stored(), before, "it was stored before");
}

#[test]
fn events_that_an_older_schema_left_unreadable_are_counted_and_healed() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let older = of_schema(9, folder.path(), &database);
    let body = format!("\u{feff}{}", sample(0));
    let digest: [u8; 32] = event::parse_body(body.clone().into()).digest;
    older
        .execute(
            "INSERT INTO webhook_events (digest, received_at, outcome, error, body) \
             VALUES (?1, '2026-09-28T12:01:00.000000Z', 'unreadable', 'the body is not JSON', ?2)",
            rusqlite::params![digest, body],
        )
        .unwrap();
    drop(older);
    let service = Service::start_on(&database, &["--elevenlabs-secret", SECRET]);
    let unread = || service.get("/api/v1/stats").expect(200).json()["events"]["unreadable"].clone();
    // The service does it by itself in the background, and a replay at once.
    let out = run(&["replay", "--json", "--database", database.to_str().unwrap()]);
    assert_eq!(String::from_utf8_lossy(&out.stdout), "{\"applied\":1,\"ignored\":0,\"unreadable\":0}\n", "{out:?}");
    assert_eq!(unread(), 0);
    assert_eq!(service.get(&format!("/api/v1/calls/{CALL}")).expect(200).json()["turn_count"], 4);
    // What the counts are asked of is an index, not the bodies of all events.
    let plan: String = service
        .sqlite()
        .query_row(
            "EXPLAIN QUERY PLAN SELECT id FROM webhook_events WHERE error IS NOT NULL AND outcome = 'unreadable' \
             ORDER BY id",
            [],
            |row| row.get(3),
        )
        .unwrap();
    assert!(plan.contains("webhook_events_error"), "{plan}");
}

#[test]
fn a_verdict_on_who_answered_is_kept_with_its_call_and_told_in_the_log() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    for (n, data) in [
        json!({"answered_by": "human"}),
        json!({"metadata": {"type": "twilio", "body": {"AnsweredBy": "machine_end_beep"}}}),
        json!({"answered_by": {"no": "word"}}),
        json!({"answered_by": "Yeah, I'm parked at the Pilot in Gary."}),
        json!([]),
    ]
    .into_iter()
    .enumerate()
    {
        let mut event = json!({"type": "call_answering_machine_detection", "event_timestamp": n, "data": data});
        if let Some(data) = event["data"].as_object_mut() {
            data.insert("conversation_id".to_owned(), json!(CALL));
        }
        post_signed(&service, &event.to_string()).expect(200);
    }
    let verdicts = || -> Vec<Value> {
        let stored = service.logged("info", "post_call").into_iter().filter(|line| line["event_id"].is_i64());
        stored.map(|line| line["answered_by"].clone()).collect()
    };
    let told = wait_for("the log", || Some(verdicts()).filter(|told| told.len() == 5));
    assert_eq!(told, [json!("human"), json!("machine_end_beep"), Value::Null, Value::Null, Value::Null]);
    assert!(!service.log().join("\n").contains("Gary"));
    let of_the_call = "SELECT count(*) FILTER (WHERE outcome = 'applied'), count(*) FILTER (WHERE outcome = 'ignored') \
                       FROM webhook_events WHERE conversation_id = ?1";
    let kept: (i64, i64) =
        service.sqlite().query_row(of_the_call, [CALL], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(kept, (2, 2));
    service.get(&format!("/api/v1/calls/{CALL}")).expect_error(404);
}

#[test]
fn no_sample_with_anything_missing_null_or_of_another_type_is_refused_or_lost() {
    let (store, _folder) = open();
    let mut kept = 0;
    for (n, _) in SAMPLES.iter().enumerate() {
        let whole = sample(n);
        for (m, place) in places(&whole).iter().enumerate() {
            let mut changed: Vec<_> = other_types().into_iter().map(|other| with(&whole, place, other)).collect();
            if !place.is_empty() {
                changed.push(without(&whole, place));
            }
            // A call for each place, which meets one change after the other.
            for changed in &mut changed {
                if let Some(id) = changed.pointer_mut("/data/conversation_id").filter(|id| id.is_string()) {
                    *id = json!(format!("conv_{n}_{m}"));
                }
            }
            let batch: Vec<_> = changed.iter().map(post).collect();
            for outcome in store.apply(now(), &batch).unwrap() {
                assert!(matches!(outcome, Ok(Written::Receipt(_))), "{outcome:?}");
                kept += 1;
            }
        }
    }
    assert!(kept > 500, "{kept}");
}
