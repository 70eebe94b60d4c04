//! Figures over many calls: what they are made of, by day and driver, and that keeping them changes nothing.

use crate::support::service::Service;
use crate::support::whole_call::{CALL, SECRET, deliver, post_signed};
use serde_json::{Value, json};

const STATS: &str = "/api/v1/stats";

/// Fifteen characters: by the estimate one second.
const SECOND: &str = "é234567890 2345";

fn said(service: &Service, conversation: &str, speaker: &str, seconds: usize, time: &str) {
    let message = SECOND.repeat(seconds);
    let turn = json!({"conversation_id": conversation, "speaker": speaker, "message": message, "timestamp": time});
    service.deliver(&turn).expect(201);
}

fn stats(service: &Service, query: &str) -> Value {
    service.get(&format!("{STATS}?{query}")).expect(200).json()
}

/// Forgets what is kept of calls, so that it is made anew.
fn forget(service: &Service) -> usize {
    rusqlite::Connection::open(service.database()).unwrap().execute("DELETE FROM call_figures", []).unwrap()
}

#[test]
fn who_talked_how_much_is_made_of_characters_and_times() {
    let service = Service::start();
    said(&service, "conv_a", "agent", 2, "2026-09-28T12:00:00Z");
    said(&service, "conv_a", "user", 1, "2026-09-28T12:00:05Z");
    // Begins before the driver can have said it all.
    said(&service, "conv_a", "agent", 1, "2026-09-28T12:00:05.4Z");
    let all = stats(&service, "")["all"].clone();
    let expected = json!({
        "calls": 1, "in_progress": 1, "completed": 0, "failed": 0,
        "with_duration": 0, "duration_seconds": 0.0, "mean_seconds": null,
        "agent": {
            "turns": 2, "characters": 45, "seconds": 3.0, "share_of_characters": 0.75, "share_of_seconds": 0.8824,
        },
        "driver": {
            "turns": 1, "characters": 15, "seconds": 0.4, "share_of_characters": 0.25, "share_of_seconds": 0.1176,
        },
        "silence_seconds": 3.0, "reached": 0, "given_up": 0,
    });
    assert_eq!(all, expected);
    // The same once it is over and kept, and when what was kept is gone.
    let end = json!({"status": "completed", "call_end_time": "2026-09-28T12:01:30.5Z"});
    service.patch("/api/v1/calls/conv_a", &end).expect(200);
    let over = stats(&service, "");
    for part in ["agent", "driver", "silence_seconds"] {
        assert_eq!(over["all"][part], expected[part], "{part}");
    }
    assert_eq!(over["all"]["duration_seconds"], 91.0);
    assert_eq!((&over["median_seconds"], &over["p90_seconds"]), (&json!(91.0), &json!(91.0)));
    assert_eq!(forget(&service), 1);
    assert_eq!(stats(&service, ""), over);
    // A turn that comes late counts, although the call was over.
    service.patch("/api/v1/calls/conv_a", &json!({"status": "failed"})).expect(200);
    said(&service, "conv_a", "user", 3, "2026-09-28T12:00:20Z");
    let late = stats(&service, "");
    assert_eq!((&late["all"]["driver"]["turns"], &late["all"]["driver"]["characters"]), (&json!(2), &json!(60)));
    assert_eq!(late["all"]["silence_seconds"], 3.0 + 13.6);
    forget(&service);
    assert_eq!(stats(&service, ""), late);
}

#[test]
fn a_pause_of_more_than_five_minutes_is_no_silence() {
    let service = Service::start();
    said(&service, "conv_a", "agent", 2, "2026-09-28T12:00:00Z");
    said(&service, "conv_a", "user", 1, "2026-09-28T12:00:05Z");
    // Five minutes of silence, and then a millisecond more.
    said(&service, "conv_a", "agent", 1, "2026-09-28T12:05:06Z");
    said(&service, "conv_a", "agent", 1, "2026-09-28T12:10:07.001Z");
    // Hours later, the call goes on.
    said(&service, "conv_a", "user", 2, "2026-09-28T20:00:00Z");
    said(&service, "conv_a", "agent", 1, "2026-09-28T20:00:10Z");
    let figures = || {
        let stats = stats(&service, "")["all"].clone();
        [&stats["silence_seconds"], &stats["agent"]["seconds"], &stats["driver"]["seconds"]].map(Value::clone)
    };
    let expected = [json!(3.0 + 300.0 + 8.0), json!(5.0), json!(3.0)];
    assert_eq!(figures(), expected);
    service.patch("/api/v1/calls/conv_a", &json!({"status": "completed"})).expect(200);
    assert_eq!(figures(), expected, "stored");
    assert_eq!(forget(&service), 1);
    assert_eq!(figures(), expected, "computed");
}

#[test]
fn calls_are_counted_by_day_of_a_zone_by_driver_and_in_a_range() {
    let service = Service::start();
    for (id, name) in [(1, "Maria Kowalski"), (2, "Jo Brandt")] {
        service.put(&format!("/api/v1/drivers/{id}"), &json!({"name": name})).expect(201);
    }
    // Clocks in Chicago go back at 7:00 UTC on November 1st, which has 25 hours there.
    let calls = [
        ("conv_a", Some(1), "2026-11-01T04:59:59Z", "completed"),
        ("conv_b", Some(1), "2026-11-01T05:00:00Z", "completed"),
        ("conv_c", Some(2), "2026-11-02T05:59:59Z", "failed"),
        ("conv_d", None, "2026-11-02T06:00:00Z", "in_progress"),
    ];
    for (conversation, driver, time, status) in calls {
        if let Some(driver) = driver {
            let dispatch = json!({"driver_id": driver});
            service.put(&format!("/api/v1/dispatches/{conversation}"), &dispatch).expect(201);
        }
        said(&service, conversation, "agent", 1, time);
        service.patch(&format!("/api/v1/calls/{conversation}"), &json!({"status": status})).expect(200);
    }
    let days = |query: &str| -> Vec<(String, u64, u64, u64)> {
        let stats = stats(&service, query);
        let number = |day: &Value, name: &str| day[name].as_u64().unwrap();
        let days = stats["days"].as_array().unwrap().iter();
        days.map(|day| {
            let date = day["date"].as_str().unwrap().to_owned();
            (date, number(day, "calls"), number(day, "completed"), number(day, "failed"))
        })
        .collect()
    };
    let day = |date: &str, calls, completed, failed| (date.to_owned(), calls, completed, failed);
    assert_eq!(days(""), [day("2026-11-01", 2, 2, 0), day("2026-11-02", 2, 0, 1)]);
    assert_eq!(
        days("zone=America/Chicago"),
        [day("2026-10-31", 1, 1, 0), day("2026-11-01", 2, 1, 1), day("2026-11-02", 1, 0, 0)]
    );
    assert_eq!(stats(&service, "zone=america/chicago")["zone"], "America/Chicago");
    let range = "started_after=2026-11-01T05:00:00Z&started_before=2026-11-02T06:00:00Z";
    assert_eq!(days(range), [day("2026-11-01", 1, 1, 0), day("2026-11-02", 1, 0, 1)]);
    assert_eq!(days(&format!("{range}&driver_id=2")), [day("2026-11-02", 1, 0, 1)]);
    assert_eq!(days("driver_id=3"), []);
    let drivers = stats(&service, "")["drivers"].clone();
    let drivers: Vec<_> =
        drivers.as_array().unwrap().iter().map(|d| (&d["driver_id"], &d["name"], &d["calls"])).collect();
    assert_eq!(
        drivers,
        [
            (&json!(1), &json!("Maria Kowalski"), &json!(2)),
            (&Value::Null, &Value::Null, &json!(1)),
            (&json!(2), &json!("Jo Brandt"), &json!(1)),
        ]
    );
    for (query, field) in [
        ("zone=Mars/Olympus", "zone"),
        ("zone=", "zone"),
        ("zone=../../etc/passwd", "zone"),
        ("driver_id=0", "driver_id"),
        ("started_after=yesterday", "started_after"),
        ("by=month", "by"),
    ] {
        let error = service.get(&format!("{STATS}?{query}")).expect_error(400);
        assert!(error["details"].as_str().unwrap().starts_with(field), "{query}: {error}");
    }
}

#[test]
fn what_was_reconciled_is_summed_up_and_replaced_turns_do_not_count() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    deliver(&service, "agent", crate::support::whole_call::FIRST, "2026-09-28T12:00:02Z");
    deliver(&service, "user", "Something that the record lacks.", "2026-09-28T12:00:03Z");
    post_signed(&service, crate::support::samples::SAMPLES[0].1).expect(200);
    // Takes the place of the row that the record made.
    deliver(&service, "user", "It says thirty four. I'll bump the set point.", "2026-09-28T12:00:18Z");
    let stats = stats(&service, "");
    let call = service.get(&format!("/api/v1/calls/{CALL}")).expect(200).json();
    for name in ["live_only", "matched", "added", "corrected", "repeated"] {
        assert_eq!(stats["reconciliation"][name], call[name], "{name}");
    }
    assert_eq!(stats["reconciliation"]["calls"], 1);
    assert_eq!(stats["all"]["duration_seconds"].as_f64(), call["duration_seconds"].as_f64());
    let page =
        service.get(&format!("/api/v1/calls/{CALL}/transcriptions?order=sequence&limit=1000")).expect(200).json();
    let turns = page["data"].as_array().unwrap();
    assert!(turns.iter().any(|turn| !turn["superseded_by"].is_null()), "one is replaced");
    for speaker in ["agent", "driver"] {
        let standing = turns.iter().filter(|t| t["superseded_by"].is_null() && t["speaker_type"] == speaker);
        let text =
            |turn: &Value| turn["final_text"].as_str().or(turn["message_text"].as_str()).unwrap().chars().count();
        let (count, characters) = standing.fold((0, 0), |(n, sum), turn| (n + 1, sum + text(turn)));
        let told = &stats["all"][speaker];
        assert_eq!((&told["turns"], &told["characters"]), (&json!(count), &json!(characters)), "{speaker}");
    }
    assert_eq!(forget(&service), 1);
    assert_eq!(self::stats(&service, ""), stats);
}
