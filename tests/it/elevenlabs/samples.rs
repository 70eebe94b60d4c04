//! ElevenLabs' samples, with each field missing, null or of another type, sent to the real endpoints.

use crate::support::samples::{SAMPLES, other_types, places, sample, with, without};
use crate::support::service::Service;
use crate::support::whole_call::{SECRET, post_signed};
use serde_json::{Value, json};
use std::collections::HashSet;
use transcribe_hook::elevenlabs::parse_batch;

/// A value with each place missing, null, and of another type, which changes from place to place.
fn changes(whole: &Value) -> Vec<Value> {
    let others = other_types();
    let mut changed = Vec::new();
    for (n, place) in places(whole).iter().enumerate() {
        if !place.is_empty() {
            changed.push(without(whole, place));
        }
        changed.push(with(whole, place, Value::Null));
        changed.push(with(whole, place, others[1 + n % (others.len() - 1)].clone()));
    }
    changed
}

#[test]
fn whatever_an_event_lacks_it_is_answered_200_and_kept_as_it_came() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET, "--log-level", "info,http=off"]);
    let mut sent = HashSet::new();
    for n in 0..SAMPLES.len() {
        for (m, mut changed) in changes(&sample(n)).into_iter().enumerate() {
            // A call for some changes at a time, since a call is made out of all its events with each.
            if let Some(id) = changed.pointer_mut("/data/conversation_id").filter(|id| id.is_string()) {
                *id = json!(format!("conv_{n}_{}", m / 10));
            }
            let body = changed.to_string();
            let answer = post_signed(&service, &body);
            assert_eq!(answer.status, 200, "{}: {body}", answer.text);
            sent.insert(body);
        }
    }
    let connection = service.sqlite();
    let mut select = connection.prepare("SELECT body FROM webhook_events").unwrap();
    let kept: HashSet<String> = select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert!(sent.len() > 500, "{}", sent.len());
    assert_eq!(kept, sent);
    service.get("/readyz").expect(200);
    assert!(!service.log().join("\n").contains("defect"), "no reader panicked");
}

#[test]
fn whatever_a_recordings_event_lacks_it_is_answered_200() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_with(&["--elevenlabs-secret", SECRET, "--audio-dir", folder.path().to_str().unwrap()]);
    let whole: Value = serde_json::from_str(include_str!("../../fixtures/elevenlabs/post_call_audio.json")).unwrap();
    for changed in changes(&whole) {
        let answer = post_signed(&service, &changed.to_string());
        assert_eq!(answer.status, 200, "{}: {changed}", answer.text);
    }
    service.get("/readyz").expect(200);
}

#[test]
fn whatever_a_batch_lacks_the_recipients_that_can_be_read_are() {
    let whole: Value = serde_json::from_str(include_str!("../../fixtures/elevenlabs/batch_call.json")).unwrap();
    let dispatched = |batch: &Value| parse_batch("btcal_1", batch).dispatches.len();
    assert_eq!(dispatched(&whole), 1);
    for place in places(&whole) {
        for other in other_types() {
            let changed = with(&whole, &place, other);
            // Nothing but what is said of the recipient decides whether there is a dispatch.
            let about_it = place.is_empty() || place == "/recipients" || place.starts_with("/recipients/0");
            let found = dispatched(&changed);
            assert!(about_it || found >= 1, "{place}: {changed}");
        }
    }
}

#[test]
fn whatever_a_history_lacks_it_is_stored_or_refused_by_the_fields_name() {
    let service = Service::start();
    let history: Value =
        serde_json::from_str(include_str!("../../fixtures/elevenlabs/conversation_history.json")).unwrap();
    let whole = json!({"conversation_id": "conv_1", "timestamp": "2026-09-28T12:00:10Z", "agent_id": "agent_1",
        "call_sid": "CA1", "driver_id": "1042", "user_id": "driver_1042", "history": history});
    for changed in changes(&whole) {
        for body in [changed.clone(), {
            let mut as_text = changed;
            if let Some(history) = as_text.get_mut("history") {
                *history = json!(history.to_string());
            }
            as_text
        }] {
            let answer = service.post("/webhooks/elevenlabs/history", &body);
            match answer.status {
                200 => {}
                _ => drop(answer.expect_error(400)),
            }
        }
    }
    service.get("/readyz").expect(200);
}
