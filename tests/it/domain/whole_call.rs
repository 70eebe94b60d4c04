//! A call made whole: what came live, what tools showed and what ElevenLabs posted afterwards, in any order.

use crate::support::samples::{SAMPLES, sample, with};
use crate::support::service::{Service, wait_for};
use crate::support::whole_call::{
    CALL, CUT_OFF, FIRST, IN_FULL, LAST, PARKED, SECRET, apply, deliver, live, open, post, post_history, post_signed,
    reconcile, transcript, turns,
};
use serde_json::{Value, json};
use transcribe_hook::domain::{ConversationId, DriverId, Message, NewDispatch, NewDriver, Timestamp};
use transcribe_hook::store::{Commands as _, Reads as _, Receipt, Store, TurnOrder, Write, Written};

#[test]
fn a_turn_keeps_its_words_as_heard_and_gains_the_records() {
    let (store, _folder) = open();
    apply(&*store, &live("agent", IN_FULL, "2026-09-28T12:00:12Z"));
    apply(&*store, &live("user", "I am parked at the Pilot in Gary", "2026-09-28T12:00:20Z"));
    assert!(matches!(apply(&*store, &post(&sample(0))), Written::Receipt(Receipt { due: true, .. })));
    let counts = store.call(&ConversationId::new(CALL).unwrap()).unwrap().unwrap().report.reconciled.unwrap();
    assert_eq!((counts.matched, counts.added, counts.corrected, counts.live_only, counts.repeated), (2, 2, 2, 0, 0));
    let stored = turns(&*store, TurnOrder::Sequence);
    let shown: Vec<_> = stored
        .iter()
        .map(|turn| {
            (turn.message.as_str(), turn.final_text.as_ref().map(Message::as_str), turn.source.as_str(), turn.place)
        })
        .collect();
    assert_eq!(
        shown,
        [
            (IN_FULL, Some(CUT_OFF), "live", Some(3)),
            ("I am parked at the Pilot in Gary", Some(PARKED), "live", Some(2)),
            (FIRST, None, "post_call", Some(1)),
            (LAST, None, "post_call", Some(4)),
        ]
    );
    assert_eq!(stored[0].interrupted, Some(true));
    let again = apply(&*store, &post(&sample(0)));
    assert!(matches!(again, Written::Receipt(Receipt { replayed: true, .. })));
    assert_eq!(turns(&*store, TurnOrder::Sequence), stored);
}

#[test]
fn the_last_message_is_the_one_that_was_said_last_however_much_the_record_adds_before_it() {
    let (store, _folder) = open();
    let last = |store: &dyn Store| {
        let call = store.call(&ConversationId::new(CALL).unwrap()).unwrap().unwrap();
        call.last_message.map(|last| (last.sequence_number, last.message.as_str().to_owned()))
    };
    let said = |number: i64, words: &str| Some((number, words.to_owned()));
    apply(&*store, &live("agent", "Good bye, Maria.", "2026-09-28T13:00:12Z"));
    apply(&*store, &live("user", "...", "2026-09-28T13:00:14Z"));
    assert_eq!(last(&*store), said(1, "Good bye, Maria."), "silence is no message");
    apply(&*store, &live("user", "One moment.", "2026-09-28T13:00:09Z"));
    assert_eq!(last(&*store), said(1, "Good bye, Maria."), "it arrived last and was said before");
    let mut event = sample(0);
    let mut entries: Vec<_> = (0..60)
        .map(|n| json!({"role": "user", "message": format!("Stop {n} is done."), "time_in_call_secs": 10 * n}))
        .collect();
    entries.push(json!({"role": "user", "message": "One moment.", "time_in_call_secs": 700}));
    entries.push(json!({"role": "agent", "message": "Good bye, Maria.", "time_in_call_secs": 702}));
    event["data"]["transcript"] = json!(entries);
    apply(&*store, &post(&event));
    assert_eq!(last(&*store), said(1, "Good bye, Maria."), "60 turns of the record arrived after it");
    // A turn that comes later and that the record lacks is the last until it is reconciled with the record.
    let late = live("user", "Wait, which dock?", "2026-09-28T13:40:00Z");
    store.apply(Timestamp::now(), std::slice::from_ref(&late)).unwrap().remove(0).unwrap();
    assert_eq!(last(&*store), said(64, "Wait, which dock?"));
    reconcile(&*store);
    assert_eq!(last(&*store), said(64, "Wait, which dock?"));
}

#[test]
fn a_later_event_without_words_takes_none_away() {
    let (store, _folder) = open();
    apply(&*store, &post(&sample(0)));
    let before = transcript(&*store);
    let mut poorer = sample(0);
    poorer["event_timestamp"] = json!(1_790_599_999);
    for transcript in [json!([]), Value::Null, json!([{"role": "user", "message": "Hm."}])] {
        poorer["data"]["transcript"] = transcript;
        apply(&*store, &post(&poorer));
        assert_eq!(self::transcript(&*store), before);
    }
}

/// ElevenLabs' traces of the call with these spans in them, `user` or `agent` and the words.
fn traces(said: &[(&str, &str)]) -> Value {
    let spans: Vec<_> = (0i64..)
        .zip(said)
        .map(|(n, (who, words))| {
            json!({"name": "elevenlabs.turn",
                "startTimeUnixNano": ((1_790_596_800 + 5 * n) * 1_000_000_000).to_string(),
                "attributes": [{"key": format!("elevenlabs.{who}.text"), "value": {"stringValue": words}}]})
        })
        .collect();
    json!({"type": "post_call_transcription_otel", "event_timestamp": 1_790_596_850, "data": {"conversation_id": CALL,
        "otlp_traces": {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}}})
}

#[test]
fn a_record_of_less_does_not_take_the_place_of_fuller_traces() {
    let said = [("agent", FIRST), ("user", PARKED), ("agent", CUT_OFF)];
    let partly =
        with(&sample(0), "/data/transcript", json!([{"role": "user", "message": PARKED, "time_in_call_secs": 5}]));
    for order in [[traces(&said), partly.clone()], [partly, traces(&said)]] {
        let (store, _folder) = open();
        for event in &order {
            apply(&*store, &post(event));
        }
        let words: Vec<_> = transcript(&*store).into_iter().map(|(_, words, _)| words).collect();
        assert_eq!(words, [FIRST, PARKED, CUT_OFF]);
        let call = store.call(&ConversationId::new(CALL).unwrap()).unwrap().unwrap();
        assert_eq!(call.report.title.as_deref(), Some("Reefer temperature check"), "what it says beside stands");
    }
}

#[test]
fn traces_that_cut_long_words_off_leave_those_that_were_heard_in_full() {
    let long = "I walked around the trailer and looked at it. ".repeat(100);
    let (store, _folder) = open();
    apply(&*store, &live("user", &long, "2026-09-28T12:00:01Z"));
    apply(&*store, &post(&traces(&[("user", &long[..4096]), ("agent", "Thank you.")])));
    assert_eq!(transcript(&*store)[0].1.trim(), long.trim());
    let counts = store.call(&ConversationId::new(CALL).unwrap()).unwrap().unwrap().report.reconciled.unwrap();
    assert_eq!((counts.matched, counts.corrected, counts.added), (1, 0, 1));
    // Short words are whole, so that what follows them live is corrected.
    let (store, _folder) = open();
    apply(&*store, &live("user", "I'm parked, and the radio is on", "2026-09-28T12:00:01Z"));
    apply(&*store, &post(&traces(&[("user", "I'm parked,")])));
    assert_eq!(transcript(&*store)[0].1, "I'm parked,");
}

#[test]
fn a_failed_goal_is_no_failed_call_and_a_failed_call_says_why() {
    let (store, _folder) = open();
    let call = |id: &str| store.call(&ConversationId::new(id).unwrap()).unwrap().unwrap();
    let missed = with(&sample(0), "/data/analysis/call_successful", json!("failure"));
    apply(&*store, &post(&missed));
    assert_eq!(call(CALL).status.as_str(), "completed");
    assert_eq!(call(CALL).report.outcome.unwrap().as_str(), "failure");
    apply(&*store, &post(&sample(2)));
    let failed = call("conv_8801k9czkv3qepy815bm59nt04qk");
    assert_eq!((failed.status.as_str(), failed.turn_count), ("failed", 0));
    assert_eq!(failed.report.termination_reason.as_deref(), Some("busy"));
}

#[test]
fn a_call_is_made_whole_over_http_and_a_late_turn_is_no_second_one() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    service.put("/api/v1/drivers/1042", &json!({"name": "Maria", "phone_number": "+15550100042"})).expect(201);
    service.put("/api/v1/drivers/7", &json!({"name": "Jo"})).expect(201);
    deliver(&service, "agent", FIRST, "2026-09-28T12:00:03Z");
    let told = json!({"conversation_id": CALL, "timestamp": "2026-09-28T12:00:10Z", "user_id": "driver_7",
        "history": json!({"entries": [{"role": "agent", "message": FIRST}, {"role": "user",
            "message": PARKED}]}).to_string()});
    for _ in 0..2 {
        let answer = post_history(&service, &told).expect(200);
        assert_eq!(answer.json(), json!({"status": "success"}));
    }
    let call = || service.get(&format!("/api/v1/calls/{CALL}")).expect(200).json();
    assert_eq!((&call()["driver_id"], &call()["driver_source"]), (&json!(7), &json!("user_id")));
    assert_eq!(call()["turn_count"], 2, "the history's first entry is the turn that came live");
    for _ in 0..2 {
        post_signed(&service, SAMPLES[0].1).expect(200);
        assert_eq!(service.events_stored(), 1, "the second time it was stored before");
    }
    let late = deliver(&service, "user", LAST, "2026-09-28T12:00:18Z");
    assert_eq!(late["sequence_number"], 5);
    let whole = call();
    for (field, value) in [
        ("status", json!("completed")),
        ("call_start_time", json!("2026-09-28T12:00:00.000000Z")),
        ("call_end_time", json!("2026-09-28T12:00:47.000000Z")),
        ("duration_seconds", json!(47)),
        ("direction", json!("outbound")),
        ("termination_reason", json!("Call ended by remote party")),
        ("outcome", json!("success")),
        ("title", json!("Reefer temperature check")),
        ("main_language", json!("en")),
        ("cost", json!(296)),
        ("external_number", json!("+15550100042")),
        ("driver_id", json!(1042)),
        ("driver_source", json!("dynamic_variable")),
        ("driver_conflict", json!("user_id: 7 (history)")),
        ("matched", json!(3)),
        ("added", json!(1)),
        ("corrected", json!(0)),
        ("live_only", json!(0)),
        ("repeated", json!(0)),
    ] {
        assert_eq!(whole[field], value, "{field} in {whole}");
    }
    assert_eq!(whole["analysis"]["call_summary_title"], "Reefer temperature check");
    let path = format!("/api/v1/calls/{CALL}/transcriptions");
    let mut said = Vec::new();
    let mut next = format!("{path}?order=time&limit=2");
    loop {
        let page = service.get(&next).expect(200).json();
        said.extend(
            page["data"].as_array().unwrap().iter().map(|turn| turn["message_text"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        next = format!("{path}?order=time&limit=2&cursor={cursor}");
    }
    assert_eq!(said, [FIRST, PARKED, CUT_OFF, LAST]);
    let by_default = service.get(&path).expect(200).json();
    let words: Vec<_> =
        by_default["data"].as_array().unwrap().iter().map(|turn| turn["message_text"].clone()).collect();
    assert_eq!(words, said, "the conversation's order is the default");
    let total = service.get(&format!("{path}?include_total=true")).expect(200).json()["total"].clone();
    assert_eq!(total, 4, "the superseded turn is not counted");
    assert_eq!(whole["last_message"]["message_text"], LAST);
    let by_number = service.get(&format!("{path}?order=sequence")).expect(200).json();
    let replaced: Vec<_> = by_number["data"].as_array().unwrap().iter().map(|turn| &turn["superseded_by"]).collect();
    assert_eq!(replaced, [&Value::Null, &Value::Null, &Value::Null, &json!(5), &Value::Null]);
    service.put(&format!("/api/v1/dispatches/{CALL}"), &json!({"driver_id": 7})).expect(201);
    assert_eq!(call()["driver_source"], "dispatch");
    let conflict = "dynamic_variable: 1042, user_id: 1042, batch_recipient: 1042, phone_number: 1042";
    assert_eq!(call()["driver_conflict"], conflict);
    let told = wait_for("the log", || service.log().into_iter().find(|line| line.contains("\"live_only\":")));
    let told: Value = serde_json::from_str(&told).unwrap();
    for (count, number) in [("live_only", 0), ("matched", 2), ("added", 2), ("corrected", 0), ("repeated", 0)] {
        assert_eq!(told[count], number, "{count} in {told}");
    }
    let log = service.log().join("\n");
    assert!(!log.contains("Gary") && !log.contains("reefer"), "no words of a call reach the log");
    service.delete(&format!("/api/v1/calls/{CALL}")).expect(204);
    let events: i64 = service.sqlite().query_row("SELECT count(*) FROM webhook_events", [], |row| row.get(0)).unwrap();
    assert_eq!(events, 0, "the events are erased with the call");
}

#[test]
fn a_call_of_which_nothing_more_comes_is_ended_until_its_record_corrects_that() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET, "--stale-after", "1s"]);
    let never = Service::start_with(&["--stale-after", "0"]);
    for service in [&never, &service] {
        deliver(service, "agent", FIRST, "2026-09-28T12:00:03Z");
    }
    let call = || service.get(&format!("/api/v1/calls/{CALL}")).expect(200).json();
    let ended = wait_for("the call to be ended", || Some(call()).filter(|call| call["status"] == "completed"));
    assert_eq!(ended["termination_reason"], "inactivity");
    assert_eq!(ended["call_end_time"], "2026-09-28T12:00:03.000000Z");
    let status = never.get(&format!("/api/v1/calls/{CALL}")).expect(200).json()["status"].clone();
    assert_eq!(status, "in_progress", "0 never ends any");
    post_signed(&service, &sample(0).to_string()).expect(200);
    assert_eq!(call()["termination_reason"], "Call ended by remote party");
    assert_eq!(call()["call_end_time"], "2026-09-28T12:00:47.000000Z");
}

#[test]
fn a_link_to_a_driver_does_not_put_the_end_of_a_stale_call_off() {
    let (store, _folder) = open();
    let at = |time: &str| Timestamp::parse(time).unwrap();
    let apply_at = |time: &str, write: &Write| store.apply(at(time), std::slice::from_ref(write)).unwrap().remove(0);
    apply_at("2026-09-28T12:00:00Z", &live("agent", FIRST, "2026-09-28T12:00:00Z")).unwrap();
    let driver =
        Write::PutDrivers(vec![NewDriver { id: DriverId::new(7).unwrap(), name: "Jo".to_owned(), phone_number: None }]);
    apply_at("2026-09-28T13:00:00Z", &driver).unwrap();
    let dispatch = NewDispatch {
        conversation_id: ConversationId::new(CALL).unwrap(),
        driver_id: DriverId::new(7).unwrap(),
        phone_number: None,
        batch_id: None,
        dispatched_at: None,
    };
    apply_at("2026-09-28T13:00:00Z", &Write::PutDispatches(vec![dispatch])).unwrap();
    let ended = |before: &str| match apply_at("2026-09-28T14:00:00Z", &Write::EndStaleCalls(at(before), at(before))) {
        Ok(Written::Ended(ended)) => ended.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(ended("2026-09-28T12:00:00Z"), 0);
    assert_eq!(ended("2026-09-28T12:00:01Z"), 1, "the link of an hour later is no turn");
}
