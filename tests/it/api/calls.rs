//! Reading and managing calls: filters, order, pages, changes by hand, erasing.

use crate::support::service::Service;
use crate::support::turns::turn;
use crate::support::whole_call::{SECRET, post_signed, record};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Ten calls, an hour apart from 00:00 on, the even ones completed, every third one of driver 1.
fn ten_calls() -> Service {
    let service = Service::start();
    service.put("/api/v1/drivers/1", &json!({"name": "Maria Kowalski"})).expect(201);
    for n in 0..10 {
        let id = format!("conv_{n}");
        let mut turn = turn(&id, n);
        turn["timestamp"] = json!(format!("2026-09-28T{n:02}:00:00Z"));
        turn["message"] = json!(format!("Load {n} is at 100%_of\\weight."));
        service.deliver(&turn).expect(201);
        if n % 2 == 0 {
            service.patch(&format!("/api/v1/calls/{id}"), &json!({"status": "completed"})).expect(200);
        }
        if n % 3 == 0 {
            service.put(&format!("/api/v1/dispatches/{id}"), &json!({"driver_id": 1})).expect(201);
        }
    }
    service
}

fn ids(page: &Value) -> Vec<String> {
    page["data"].as_array().unwrap().iter().map(|call| call["conversation_id"].as_str().unwrap().to_owned()).collect()
}

fn listed(service: &Service, query: &str) -> Vec<String> {
    ids(&service.get(&format!("/api/v1/calls?{query}")).expect(200).json())
}

#[test]
fn calls_are_listed_newest_first_and_the_other_way_round_when_asked() {
    let service = ten_calls();
    let newest_first: Vec<_> = (0..10).rev().map(|n| format!("conv_{n}")).collect();
    assert_eq!(listed(&service, ""), newest_first);
    let oldest_first: Vec<_> = (0..10).map(|n| format!("conv_{n}")).collect();
    assert_eq!(listed(&service, "order=asc"), oldest_first);
}

/// All ids of a list, read in pages of this size.
fn paged(service: &Service, query: &str, limit: usize) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = service.get(&format!("/api/v1/calls?{query}&limit={limit}{cursor}")).expect(200).json();
        all.extend(ids(&page));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

#[test]
fn calls_that_are_over_are_listed_by_length_turns_and_cost() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    // Lengths, costs and numbers of turns in different orders, with equal ones.
    for (n, seconds, cost, turns) in [(0, 60, 5, 3), (1, 300, 2, 1), (2, 60, 9, 2), (3, 900, 2, 3)] {
        let mut event = record(&format!("conv_{n}"), "words");
        let data = &mut event["data"];
        data["metadata"]["call_duration_secs"] = json!(seconds);
        data["metadata"]["cost"] = json!(cost);
        data["transcript"] = (0..turns)
            .map(|t| json!({"role": "agent", "message": format!("Turn {t}."), "time_in_call_secs": t}))
            .collect();
        post_signed(&service, &event.to_string()).expect(200);
    }
    service.deliver(&turn("conv_running", 1)).expect(201);
    for (order, wanted) in [
        ("longest", ["conv_3", "conv_1", "conv_2", "conv_0"]),
        ("most_turns", ["conv_3", "conv_0", "conv_2", "conv_1"]),
        ("costliest", ["conv_2", "conv_0", "conv_3", "conv_1"]),
    ] {
        let query = format!("order={order}");
        assert_eq!(listed(&service, &query), wanted, "{order}");
        for limit in [1, 2, 3] {
            assert_eq!(paged(&service, &query, limit), wanted, "{order} in pages of {limit}");
        }
        let counted = service.get(&format!("/api/v1/calls?{query}&include_total=true&limit=1")).expect(200).json();
        assert_eq!(counted["total"], 4, "{order}");
        assert_eq!(listed(&service, &format!("{query}&status=in_progress")), [""; 0], "{order}");
        assert_eq!(listed(&service, &format!("{query}&max_seconds=60")).len(), 2, "{order}");
    }
    // A call without a record has no cost.
    service.deliver(&turn("conv_5", 1)).expect(201);
    service.patch("/api/v1/calls/conv_5", &json!({"status": "completed"})).expect(200);
    assert!(!listed(&service, "order=costliest").contains(&"conv_5".to_owned()));
    assert_eq!(listed(&service, "order=longest").len(), 5);
    let page = service.get("/api/v1/calls?order=longest&limit=1").expect(200).json();
    let cursor = page["next_cursor"].as_str().unwrap();
    service.get(&format!("/api/v1/calls?order=costliest&limit=1&cursor={cursor}")).expect_error(400);
}

#[test]
fn conversations_by_text_follow_the_longest_calls() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    for (n, seconds) in [(0, 60), (1, 300), (2, 900)] {
        let mut event = record(&format!("conv_{n}"), "words");
        event["data"]["metadata"]["call_duration_secs"] = json!(seconds);
        post_signed(&service, &event.to_string()).expect(200);
    }
    let mut event = record("sms_event", "words");
    event["data"]["metadata"]["call_duration_secs"] = json!(100_000);
    event["data"]["metadata"]["sms"] = json!({"sms_user_phone_number": "+15550100042", "direction": "inbound"});
    event["data"]["metadata"]["phone_call"] = Value::Null;
    post_signed(&service, &event.to_string()).expect(200);
    assert_eq!(service.get("/api/v1/calls/sms_event").expect(200).json()["channel"], "sms");
    let in_order = ["conv_2", "conv_1", "conv_0", "sms_event"];
    assert_eq!(listed(&service, "order=longest"), in_order);
    // More threads of days than are looked at one by one before all calls are sorted.
    let database = rusqlite::Connection::open(service.database()).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    let sql = "INSERT INTO calls (conversation_id, call_start_time, call_end_time, status, turn_count, created_at, \
        updated_at, channel, duration_seconds) \
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1100) \
        SELECT 'thread_' || i, call_start_time, call_end_time, status, 0, created_at, updated_at, \
            iif(i % 2, 'whatsapp', 'text'), 200000 + i FROM n, calls WHERE conversation_id = 'conv_0'";
    assert_eq!(database.execute(sql, []).unwrap(), 1100);
    let threads = (1..=1100).rev().map(|n| format!("thread_{n}"));
    let all: Vec<_> = ["conv_2", "conv_1", "conv_0"].map(str::to_owned).into_iter().chain(threads).collect();
    let all: Vec<_> = all.into_iter().chain(["sms_event".to_owned()]).collect();
    for limit in [1, 2, 20, 150, 1000] {
        // Pages of one call would take too long to the end.
        if limit > 2 {
            assert_eq!(paged(&service, "order=longest", limit), all, "in pages of {limit}");
        } else {
            let page = service.get(&format!("/api/v1/calls?order=longest&limit={limit}")).expect(200).json();
            assert_eq!(ids(&page), all[..limit]);
        }
    }
    assert_eq!(listed(&service, "order=longest&channel=phone"), all[..3]);
    assert_eq!(listed(&service, "order=longest&channel=sms"), ["sms_event"]);
    assert_eq!(listed(&service, "order=longest&channel=whatsapp&limit=2"), ["thread_1099", "thread_1097"]);
    assert_eq!(listed(&service, "order=longest&min_seconds=800&limit=2"), ["conv_2", "thread_1100"]);
    let total = service.get("/api/v1/calls?order=longest&include_total=true&limit=1").expect(200).json();
    assert_eq!(total["total"], all.len());
}

#[test]
fn filters_narrow_the_list_together() {
    let service = ten_calls();
    assert_eq!(listed(&service, "status=in_progress&order=asc"), ["conv_1", "conv_3", "conv_5", "conv_7", "conv_9"]);
    assert_eq!(listed(&service, "driver_id=1&order=asc"), ["conv_0", "conv_3", "conv_6", "conv_9"]);
    assert_eq!(listed(&service, "driver_id=1&status=completed&order=asc"), ["conv_0", "conv_6"]);
    assert_eq!(listed(&service, "driver_id=2"), [""; 0]);
    // Half-open: the one that starts at the lower bound is in, the one at the upper bound is not.
    let range = "started_after=2026-09-28T03:00:00Z&started_before=2026-09-28T07:00:00%2B02:00&order=asc";
    assert_eq!(listed(&service, range), ["conv_3", "conv_4"]);
    assert_eq!(listed(&service, "has_driver=true&order=asc"), ["conv_0", "conv_3", "conv_6", "conv_9"]);
    assert_eq!(listed(&service, "has_driver=false&status=completed&order=asc"), ["conv_2", "conv_4", "conv_8"]);
    assert_eq!(listed(&service, "has_driver=false&driver_id=1"), [""; 0]);
    assert_eq!(listed(&service, "q=CONV_7"), ["conv_7"]);
    assert_eq!(listed(&service, "q=kowalski&order=asc"), ["conv_0", "conv_3", "conv_6", "conv_9"]);
    assert_eq!(listed(&service, "q=load%204"), ["conv_4"]);
    // What is special in a pattern stands for itself.
    assert_eq!(listed(&service, "q=100%25_of%5Cweight").len(), 10);
    assert_eq!(listed(&service, "q=100%25%25"), [""; 0]);
    assert_eq!(listed(&service, "q=Load_4"), [""; 0]);
}

#[test]
fn pages_follow_one_another_without_gap_or_repeat_while_calls_arrive() {
    let service = ten_calls();
    let mut seen = Vec::new();
    let mut path = "/api/v1/calls?limit=3&include_total=true".to_owned();
    loop {
        let page = service.get(&path).expect(200).json();
        seen.extend(ids(&page));
        // A call that starts later than all, and one that starts in the midst of what was seen.
        let n = seen.len();
        let mut newer = turn(&format!("new_{n}"), 1);
        newer["timestamp"] = json!(format!("2027-01-01T00:00:{n:02}Z"));
        service.deliver(&newer).expect(201);
        assert_eq!(page["has_more"], json!(page["next_cursor"] != Value::Null));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/api/v1/calls?limit=3&include_total=true&cursor={cursor}"),
            None => break,
        }
    }
    let expected: Vec<_> = (0..10).rev().map(|n| format!("conv_{n}")).collect();
    assert_eq!(seen, expected);
}

#[test]
fn calls_of_one_instant_are_paged_apart() {
    let service = Service::start();
    for n in 0..7 {
        let mut turn = turn(&format!("conv_{n}"), 1);
        turn["timestamp"] = json!("2026-09-28T12:00:00Z");
        service.deliver(&turn).expect(201);
    }
    for order in ["asc", "desc"] {
        let mut seen = BTreeSet::new();
        let mut path = format!("/api/v1/calls?limit=2&order={order}");
        loop {
            let page = service.get(&path).expect(200).json();
            for id in ids(&page) {
                assert!(seen.insert(id.clone()), "{id} came twice");
            }
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("/api/v1/calls?limit=2&order={order}&cursor={cursor}");
        }
        assert_eq!(seen.len(), 7);
    }
}

#[test]
fn a_total_is_counted_only_when_asked() {
    let service = ten_calls();
    assert_eq!(service.get("/api/v1/calls?limit=2").expect(200).json().get("total"), None);
    assert_eq!(service.get("/api/v1/calls?limit=2&include_total=true").expect(200).json()["total"], 10);
    let filtered = service.get("/api/v1/calls?status=completed&limit=2&include_total=true").expect(200).json();
    assert_eq!(filtered["total"], 5);
}

#[test]
fn a_query_that_breaks_a_rule_is_400_and_names_the_parameter() {
    let service = ten_calls();
    let cursor = service.get("/api/v1/calls?limit=2").expect(200).json()["next_cursor"].as_str().unwrap().to_owned();
    let cases = [
        ("limit=0".to_owned(), "limit"),
        ("limit=1001".to_owned(), "limit"),
        ("limit=many".to_owned(), "limit"),
        ("limit=5&limit=6".to_owned(), "limit"),
        ("status=over".to_owned(), "status"),
        ("driver_id=0".to_owned(), "driver_id"),
        ("driver_id=x".to_owned(), "driver_id"),
        ("started_after=today".to_owned(), "started_after"),
        ("started_before=2026-09-31".to_owned(), "started_before"),
        ("started_before=2026-09-28T12:00:00%202:00".to_owned(), "started_before"),
        ("has_driver=perhaps".to_owned(), "has_driver"),
        ("order=up".to_owned(), "order"),
        ("include_total=yes".to_owned(), "include_total"),
        ("q=".to_owned(), "q"),
        ("q=a%00b".to_owned(), "q"),
        ("offset=5".to_owned(), "offset"),
        ("Status=completed".to_owned(), "Status"),
        ("cursor=nonsense".to_owned(), "cursor"),
        ("cursor=".to_owned(), "cursor"),
        (format!("cursor={cursor}&status=completed"), "cursor"),
        (format!("cursor={cursor}&order=asc"), "cursor"),
    ];
    for (query, parameter) in cases {
        let error = service.get(&format!("/api/v1/calls?{query}")).expect_error(400);
        assert!(error["details"].as_str().unwrap().contains(parameter), "{query}: {error}");
    }
    // The length of a page is no part of what a cursor belongs to.
    service.get(&format!("/api/v1/calls?limit=7&include_total=true&cursor={cursor}")).expect(200);
}

#[test]
fn a_calls_turns_are_paged_by_sequence_and_by_time() {
    let service = Service::start();
    // Arrival order 1 to 9; said in the opposite order, three at a time at one instant.
    for n in 1..=9 {
        let mut turn = turn("conv_a", n);
        turn["timestamp"] = json!(format!("2026-09-28T12:00:{:02}Z", 10 - (n - 1) / 3));
        service.deliver(&turn).expect(201);
    }
    let numbers = |query: &str| {
        let mut seen = Vec::new();
        let mut path = format!("/api/v1/calls/conv_a/transcriptions?{query}");
        loop {
            let page = service.get(&path).expect(200).json();
            seen.extend(page["data"].as_array().unwrap().iter().map(|turn| turn["sequence_number"].as_i64().unwrap()));
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("/api/v1/calls/conv_a/transcriptions?{query}&cursor={cursor}");
        }
        seen
    };
    assert_eq!(numbers(""), [7, 8, 9, 4, 5, 6, 1, 2, 3]);
    assert_eq!(numbers("limit=2"), [7, 8, 9, 4, 5, 6, 1, 2, 3]);
    assert_eq!(numbers("limit=2&order=asc"), [7, 8, 9, 4, 5, 6, 1, 2, 3]);
    assert_eq!(numbers("limit=2&order=desc"), [3, 2, 1, 6, 5, 4, 9, 8, 7]);
    assert_eq!(numbers("limit=2&order=desc&after_sequence=3"), [6, 5, 4, 9, 8, 7]);
    assert_eq!(numbers("limit=2&order=sequence"), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    // The former name, and who continues after a number: by arrival, from the beginning on.
    assert_eq!(numbers("limit=4&order=time"), [7, 8, 9, 4, 5, 6, 1, 2, 3]);
    assert_eq!(numbers("limit=2&order=time&after_sequence=3"), [7, 8, 9, 4, 5, 6]);
    assert_eq!(numbers("limit=2&after_sequence=0"), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(numbers("limit=2&after_sequence=7"), [8, 9]);
    let total = |query: &str| {
        let page = service.get(&format!("/api/v1/calls/conv_a/transcriptions?include_total=true&{query}"));
        page.expect(200).json()["total"].clone()
    };
    assert_eq!(total("limit=1"), 9);
    assert_eq!(total("after_sequence=7"), 2);
    assert_eq!(total("after_sequence=99"), 0);
    for query in ["after_sequence=-1", "after_sequence=x", "order=speaker", "limit=0", "cursor=x", "speaker=agent"] {
        service.get(&format!("/api/v1/calls/conv_a/transcriptions?{query}")).expect_error(400);
    }
    service.get("/api/v1/calls/conv_b/transcriptions").expect_error(404);
}

#[test]
fn a_bound_may_be_a_date_or_have_its_plus_as_it_is_typed() {
    let service = ten_calls();
    // A date is the start of its day in UTC, for both bounds.
    assert_eq!(listed(&service, "started_after=2026-09-28").len(), 10);
    assert_eq!(listed(&service, "started_before=2026-09-28").len(), 0);
    assert_eq!(listed(&service, "started_after=2026-09-28&started_before=2026-09-29").len(), 10);
    assert_eq!(listed(&service, "started_after=2026-09-29").len(), 0);
    // A `+` that is not written as `%2B` is a blank for whoever decodes the query.
    for offset in ["+02:00", "%2B02:00", "+0200", "+02", "%2002:00"] {
        let query = format!("started_after=2026-09-28T10:00:00{offset}&order=asc");
        assert_eq!(listed(&service, &query), ["conv_8", "conv_9"], "{query}");
    }
    for path in ["/api/v1/search?q=load&said_after=2026-09-28", "/api/v1/stats?started_after=2026-09-28"] {
        service.get(path).expect(200);
    }
    let error = service.get("/api/v1/calls?started_after=2026-09-28T10:00:00+2:00").expect_error(400);
    assert!(error["details"].as_str().unwrap().contains("%2B"), "{error}");
    // In a body, a date alone is no time.
    service.patch("/api/v1/calls/conv_0", &json!({"call_end_time": "2026-09-29"})).expect_error(400);
}

#[test]
fn a_call_has_its_drivers_name_and_its_last_words() {
    let service = ten_calls();
    let call = |id: &str| service.get(&format!("/api/v1/calls/{id}")).expect(200).json();
    assert_eq!(call("conv_3")["driver_name"], "Maria Kowalski");
    assert_eq!(call("conv_4")["driver_name"], Value::Null);
    let mut last = turn("conv_4", 11);
    last["speaker"] = json!("user");
    last["message"] = json!("All right, good night.");
    last["timestamp"] = json!("2026-09-28T04:07:00Z");
    service.deliver(&last).expect(201);
    // One that was said before it and arrives after it is not the last.
    last["message"] = json!("Then I wait.");
    last["timestamp"] = json!("2026-09-28T04:06:00Z");
    service.deliver(&last).expect(201);
    let wanted = json!({
        "speaker_type": "driver",
        "message_text": "All right, good night.",
        "final_text": null,
        "timestamp": "2026-09-28T04:07:00.000000Z",
        "sequence_number": 2,
    });
    assert_eq!(call("conv_4")["last_message"], wanted);
    let page = service.get("/api/v1/calls?order=asc").expect(200).json();
    assert_eq!(page["data"][4]["last_message"], wanted);
    assert_eq!(page["data"][3]["driver_name"], "Maria Kowalski");
    assert_eq!(page["data"][3]["last_message"]["message_text"], "Load 3 is at 100%_of\\weight.");
    // A driver's new name is that of the calls.
    service.put("/api/v1/drivers/1", &json!({"name": "Maria Reyes"})).expect(200);
    assert_eq!(call("conv_3")["driver_name"], "Maria Reyes");
}

#[test]
fn a_page_of_calls_with_long_last_words_is_bounded() {
    let service = Service::start();
    for n in 0..200 {
        let mut long = turn(&format!("conv_{n}"), n);
        long["message"] = json!("m".repeat(65_000));
        service.deliver(&long).expect(201);
    }
    let page = service.get("/api/v1/calls?limit=1000").expect(200);
    assert!(page.text.len() < 9 << 20, "{} bytes", page.text.len());
    assert_eq!(page.json()["has_more"], true);
}

#[test]
fn a_change_with_an_unknown_field_is_400_and_changes_nothing() {
    let service = ten_calls();
    let before = service.get("/api/v1/calls/conv_1").expect(200).json();
    let error = service.patch("/api/v1/calls/conv_1", &json!({"stauts": "failed"})).expect_error(400);
    let details = error["details"].as_str().unwrap();
    assert!(["stauts", "status", "call_end_time"].iter().all(|name| details.contains(name)), "{error}");
    let error = service.patch("/api/v1/calls/conv_1", &json!({"status": "failed", "turn_count": 5})).expect_error(400);
    assert!(error["details"].as_str().unwrap().contains("turn_count"), "{error}");
    assert_eq!(service.get("/api/v1/calls/conv_1").expect(200).json(), before);
}

#[test]
fn a_call_is_changed_by_hand() {
    let service = Service::start();
    service.deliver(&turn("conv_a", 1)).expect(201);
    let end = "2026-09-28T14:02:41+02:00";
    let call = service.patch("/api/v1/calls/conv_a", &json!({"status": "completed", "call_end_time": end}));
    let call = call.expect(200).json();
    assert_eq!(call["status"], "completed");
    assert_eq!(call["call_end_time"], "2026-09-28T12:02:41.000000Z");
    assert_eq!(service.get("/api/v1/calls/conv_a").expect(200).json(), call);
    // What is left out stays; null takes the end away.
    let call = service.patch("/api/v1/calls/conv_a", &json!({"status": "failed"})).expect(200).json();
    assert_eq!(call["call_end_time"], "2026-09-28T12:02:41.000000Z");
    let call = service.patch("/api/v1/calls/conv_a", &json!({"call_end_time": null})).expect(200).json();
    assert_eq!((&call["call_end_time"], &call["status"]), (&Value::Null, &json!("failed")));
    // A change that changes nothing leaves no trace.
    assert_eq!(service.patch("/api/v1/calls/conv_a", &json!({})).expect(200).json(), call);
    assert_eq!(service.patch("/api/v1/calls/conv_a", &json!({"status": "failed"})).expect(200).json(), call);
}

#[test]
fn a_change_that_breaks_a_rule_is_400_and_changes_nothing() {
    let service = Service::start();
    service.deliver(&turn("conv_a", 1)).expect(201);
    let before = service.get("/api/v1/calls/conv_a").expect(200).json();
    for (change, field) in [
        (json!({"call_end_time": "2026-09-28T11:59:59Z"}), "call_end_time"),
        (json!({"call_end_time": "later", "status": "completed"}), "call_end_time"),
        (json!({"call_end_time": 12}), "call_end_time"),
        (json!({"status": "done"}), "status"),
        (json!({"status": 1}), "status"),
        (json!([]), "body"),
    ] {
        let error = service.patch("/api/v1/calls/conv_a", &change).expect_error(400);
        assert!(error["details"].as_str().unwrap().contains(field), "{change}: {error}");
    }
    assert_eq!(service.get("/api/v1/calls/conv_a").expect(200).json(), before);
    service.patch("/api/v1/calls/conv_b", &json!({"status": "failed"})).expect_error(404);
}

#[test]
fn erasing_a_call_erases_its_turns_and_a_later_turn_makes_it_anew() {
    let service = Service::start();
    for n in 1..=3 {
        service.deliver(&turn("conv_a", n)).expect(201);
    }
    service.deliver(&turn("conv_b", 1)).expect(201);
    service.delete("/api/v1/calls/conv_a").expect(204);
    service.get("/api/v1/calls/conv_a").expect_error(404);
    service.get("/api/v1/calls/conv_a/transcriptions").expect_error(404);
    service.delete("/api/v1/calls/conv_a").expect_error(404);
    let left: i64 =
        service.sqlite().query_row("SELECT count(*) FROM call_transcriptions", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 1);
    let anew = service.deliver(&turn("conv_a", 2)).expect(201).json();
    assert_eq!(anew["sequence_number"], 1);
    assert_eq!(anew["transcription_id"], 5, "a turn's number is never used twice");
}

#[test]
fn a_conversation_id_may_hold_anything_that_a_path_can_carry() {
    let service = Service::start();
    let id = "käse/../x y?%#é";
    let mut first = turn("x", 1);
    first["conversation_id"] = json!(id);
    service.deliver(&first).expect(201);
    let encoded = "k%C3%A4se%2F..%2Fx%20y%3F%25%23%C3%A9";
    assert_eq!(service.get(&format!("/api/v1/calls/{encoded}")).expect(200).json()["conversation_id"], id);
    service.delete(&format!("/api/v1/calls/{encoded}")).expect(204);
}
