//! Unsigned words do not outrank the signed record, whichever came first.

use crate::support::samples::{sample, with};
use crate::support::service::{Service, run};
use crate::support::whole_call::{CALL, FIRST, PARKED, SECRET, deliver, post_history, post_signed};
use serde_json::{Value, json};

/// Returns deliveries that a person without a secret may send about a call.
fn forged() -> Vec<Value> {
    let history = |entries: Value, more: Value| {
        let mut body = json!({"conversation_id": CALL, "timestamp": "2026-09-28T12:00:50Z",
            "history": {"entries": entries}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    vec![
        history(json!([]), json!({"driver_id": "7", "user_id": "driver_7", "agent_id": "agent_of_somebody"})),
        history(
            json!([{"role": "agent", "message": "Never said."}, {"role": "user", "message": "I agree to everything."}]),
            json!({"driver_id": 7}),
        ),
        // Words of the record, more of them, and at other places.
        history(
            json!([{"role": "user", "message": format!("{PARKED} And I was drinking.")},
                {"role": "user", "message": PARKED}, {"role": "agent", "message": FIRST}]),
            json!({"user_id": "7"}),
        ),
    ]
}

fn service() -> Service {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    for (id, name) in [(7, "Jo"), (1042, "Maria")] {
        service.put(&format!("/api/v1/drivers/{id}"), &json!({ "name": name })).expect(201);
    }
    service
}

/// Returns the call and its transcript, without the sources and times of its rows and without the statistics of live
/// turns.
fn seen(service: &Service) -> (Value, Vec<(Value, Value, Value)>) {
    let mut call = service.get(&format!("/api/v1/calls/{CALL}")).expect(200).json();
    let fields = call.as_object_mut().unwrap();
    for field in
        ["id", "created_at", "updated_at", "turn_count", "first_turn_time", "last_turn_time", "driver_conflict"]
    {
        fields.remove(field);
    }
    for field in ["matched", "added", "corrected"] {
        fields.remove(field);
    }
    // A turn that the history came first with has an earlier number.
    fields["last_message"].as_object_mut().unwrap().remove("sequence_number");
    let turns = service.get(&format!("/api/v1/calls/{CALL}/transcriptions?order=time")).expect(200).json();
    let words = |turn: &Value| {
        let text = if turn["final_text"].is_null() { &turn["message_text"] } else { &turn["final_text"] };
        (turn["speaker_type"].clone(), text.clone(), turn["in_record"].clone())
    };
    (call, turns["data"].as_array().unwrap().iter().map(words).collect())
}

fn records() -> Vec<Value> {
    let nobody = {
        let mut record = sample(0);
        let data = record["data"].as_object_mut().unwrap();
        for field in ["conversation_initiation_client_data", "user_id"] {
            data.remove(field);
        }
        data["metadata"].as_object_mut().unwrap().remove("phone_call");
        data["metadata"].as_object_mut().unwrap().remove("batch_call");
        record
    };
    vec![sample(0), nobody]
}

#[test]
fn an_unsigned_history_changes_nothing_of_a_call_with_a_signed_record_whichever_comes_first() {
    for record in records() {
        let alone = service();
        post_signed(&alone, &record.to_string()).expect(200);
        let wanted = seen(&alone);
        for (n, forged) in forged().into_iter().enumerate() {
            let (before, after) = (service(), service());
            post_history(&before, &forged).expect(200);
            post_signed(&before, &record.to_string()).expect(200);
            post_signed(&after, &record.to_string()).expect(200);
            post_history(&after, &forged).expect(200);
            for service in [&before, &after] {
                assert_eq!(seen(service), wanted, "history {n}");
                let call = service.get(&format!("/api/v1/calls/{CALL}")).expect(200).json();
                let conflict = call["driver_conflict"].as_str().expect("the claim is shown");
                assert!(conflict.contains("7 (history)"), "{conflict}");
                let kept: i64 =
                    service.sqlite().query_row("SELECT count(*) FROM call_histories", [], |row| row.get(0)).unwrap();
                assert_eq!(kept, 1, "it is stored all the same");
            }
        }
    }
}

#[test]
fn a_record_without_words_closes_who_was_called_but_not_the_transcript() {
    let service = service();
    post_history(&service, &forged()[1]).expect(200);
    let call = || service.get(&format!("/api/v1/calls/{CALL}")).expect(200).json();
    assert_eq!(call()["driver_id"], 7, "until there is a record, the history is all that is known");
    // As ElevenLabs sends it where transcripts are excluded: what was shown during the call is all there is of its
    // words.
    post_signed(&service, &with(&sample(0), "/data/transcript", Value::Null).to_string()).expect(200);
    assert_eq!((&call()["driver_id"], &call()["status"]), (&json!(1042), &json!("completed")));
    let words: Vec<_> = seen(&service).1.into_iter().map(|(_, words, _)| words).collect();
    assert_eq!(words, ["Never said.", "I agree to everything."]);
}

#[test]
fn a_late_turn_of_a_recorded_call_stands_in_its_transcript_and_is_marked() {
    let service = service();
    post_signed(&service, &sample(0).to_string()).expect(200);
    let wanted = seen(&service);
    let late = deliver(&service, "user", "The brakes squeak, and the radio is on.", "2026-09-28T12:00:40Z");
    let (call, turns) = seen(&service);
    assert_eq!(
        (&call["driver_id"], &call["status"], &call["live_only"]),
        (&json!(1042), &json!("completed"), &json!(1))
    );
    let marked: Vec<_> = turns.iter().filter(|(_, _, in_record)| *in_record == false).collect();
    assert_eq!(marked.len(), 1);
    assert_eq!(marked[0].1, "The brakes squeak, and the radio is on.");
    let others: Vec<_> = turns.iter().filter(|(_, _, in_record)| *in_record == true).cloned().collect();
    assert_eq!(others, wanted.1);
    assert_eq!(late["sequence_number"], 5);
}

#[test]
fn erasing_a_driver_leaves_calls_that_only_an_unsigned_history_gives_to_that_driver() {
    let service = service();
    // A call of the other driver that has no record yet, and one of this driver that has one.
    let claim = |call: &str| {
        let body = json!({"conversation_id": call, "timestamp": "2026-09-28T12:00:50Z", "driver_id": 1042,
            "history": {"entries": [{"role": "user", "message": "I am somebody else."}]}});
        post_history(&service, &body).expect(200);
    };
    claim("conv_of_another");
    claim("conv_dispatched");
    service.put("/api/v1/dispatches/conv_dispatched", &json!({"driver_id": 7})).expect(201);
    post_signed(&service, &sample(0).to_string()).expect(200);
    let driver = |call: &str| service.get(&format!("/api/v1/calls/{call}")).expect(200).json()["driver_id"].clone();
    assert_eq!(
        (driver("conv_of_another"), driver("conv_dispatched"), driver(CALL)),
        (json!(1042), json!(7), json!(1042))
    );
    let database = service.database().to_str().unwrap().to_owned();
    let out = run(&["erase", "--driver", "1042", "--dry-run", "--json", "--database", &database]);
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&report["calls"], &report["unproven"]), (&json!(1), &json!(1)), "{report}");
    service.delete("/api/v1/drivers/1042?erase_calls=true").expect(204);
    service.get(&format!("/api/v1/calls/{CALL}")).expect_error(404);
    assert_eq!((driver("conv_of_another"), driver("conv_dispatched")), (Value::Null, json!(7)));
}
