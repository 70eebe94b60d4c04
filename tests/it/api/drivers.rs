//! Drivers and dispatches, and how a call finds its driver.

use crate::support::samples::{SAMPLES, sample, with};
use crate::support::service::Service;
use crate::support::turns::turn;
use crate::support::whole_call::{CALL, SECRET, post_signed};
use crate::support::wording::Wording;
use insta::assert_snapshot;
use serde_json::{Value, json};

const DRIVER: &str = "/api/v1/drivers/1042";

fn driver_of(service: &Service, conversation: &str) -> Value {
    service.get(&format!("/api/v1/calls/{conversation}")).expect(200).json()["driver_id"].clone()
}

#[test]
fn a_driver_is_created_replaced_read_and_deleted() {
    let service = Service::start();
    let made =
        service.put(DRIVER, &json!({"name": " Maria Kowalski ", "phone_number": "+15550100042"})).expect(201).json();
    assert_eq!((&made["id"], &made["name"]), (&json!(1042), &json!("Maria Kowalski")));
    assert_eq!(made["phone_number"], "+15550100042");
    assert_eq!(made["created_at"], made["updated_at"]);
    assert_eq!(service.get(DRIVER).expect(200).json(), made);
    // The same again changes nothing, not even the time of the last change.
    let again = service.put(DRIVER, &json!({"name": "Maria Kowalski", "phone_number": "+15550100042"})).expect(200);
    assert_eq!(again.json(), made);
    let replaced = service.put(DRIVER, &json!({"name": "Maria K."})).expect(200).json();
    assert_eq!(replaced["phone_number"], Value::Null);
    assert_eq!(replaced["created_at"], made["created_at"]);
    assert_ne!(replaced["updated_at"], made["updated_at"]);
    service.delete(DRIVER).expect(204);
    service.get(DRIVER).expect_error(404);
    service.delete(DRIVER).expect_error(404);
}

#[test]
fn a_driver_that_breaks_a_rule_is_400_and_named() {
    let service = Service::start();
    let mut errors = Wording::default();
    for (body, field) in [
        (json!({}), "name"),
        (json!({"name": ""}), "name"),
        (json!({"name": "x".repeat(201)}), "name"),
        (json!({"name": 5}), "name"),
        (json!({"name": "a\u{0}"}), "name"),
        (json!({"name": "M", "phone_number": "555-0100"}), "phone_number"),
        (json!({"name": "M", "phone_number": "+0555"}), "phone_number"),
        (json!({"name": "M", "phone_number": 15_550_100}), "phone_number"),
    ] {
        let error = service.put(DRIVER, &body).expect_error(400);
        let details = error["details"].as_str().unwrap();
        assert!(details.starts_with(&format!("{field}: ")), "{body}: {error}");
        errors.add_error(&body, details);
    }
    assert_snapshot!("driver_errors", errors);
    for id in ["0", "-1", "+1", "01", "abc", "1.5", "9007199254740992", "99999999999999999999"] {
        let error = service.put(&format!("/api/v1/drivers/{id}"), &json!({"name": "M"})).expect_error(400);
        assert!(error["details"].as_str().unwrap().starts_with("id: "), "{id}: {error}");
        service.get(&format!("/api/v1/drivers/{id}")).expect_error(400);
    }
}

#[test]
fn no_two_drivers_share_a_phone_number() {
    let service = Service::start();
    service.put(DRIVER, &json!({"name": "Maria", "phone_number": "+15550100042"})).expect(201);
    let error =
        service.put("/api/v1/drivers/7", &json!({"name": "Jo", "phone_number": "+15550100042"})).expect_error(409);
    assert!(error["details"].as_str().unwrap().contains("1042"), "{error}");
    service.get("/api/v1/drivers/7").expect_error(404);
}

#[test]
fn drivers_are_listed_page_by_page_in_the_order_of_their_numbers() {
    let service = Service::start();
    for id in [30, 4, 100, 2, 17] {
        service.put(&format!("/api/v1/drivers/{id}"), &json!({"name": format!("Driver {id}")})).expect(201);
    }
    let mut seen = Vec::new();
    let mut path = "/api/v1/drivers?limit=2&include_total=true".to_owned();
    loop {
        let page = service.get(&path).expect(200).json();
        assert_eq!(page["total"], 5);
        seen.extend(page["data"].as_array().unwrap().iter().map(|driver| driver["id"].as_i64().unwrap()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/v1/drivers?limit=2&include_total=true&cursor={cursor}");
    }
    assert_eq!(seen, [2, 4, 17, 30, 100]);
    service.get("/api/v1/drivers?name=Jo").expect_error(400);
}

#[test]
fn a_body_with_an_unknown_field_is_400_and_changes_nothing() {
    let service = Service::start();
    let stored = service.put(DRIVER, &json!({"name": "Maria", "phone_number": "+15550100042"})).expect(201).json();
    service.put("/api/v1/dispatches/conv_a", &json!({"driver_id": 1042, "batch_id": "btcal_1"})).expect(201);
    let dispatch = service.get("/api/v1/dispatches/conv_a").expect(200).json();
    let bulk = |item: Value| json!({"dispatches": [{"conversation_id": "conv_a", "driver_id": 1042}, item]});
    let wrong = [
        (service.put(DRIVER, &json!({"name": "Maria", "phone": "+15550100043"})), "phone", "phone_number"),
        (service.put(DRIVER, &json!({"name": "Maria", "id": 1042})), "id", "phone_number"),
        (service.put("/api/v1/dispatches/conv_a", &json!({"driver_id": 1042, "batch": "b"})), "batch", "batch_id"),
        (
            service.post("/api/v1/dispatches", &bulk(json!({"conversation_id": "c", "driver_id": 1042, "batch": "b"}))),
            "dispatches[1].batch",
            "batch_id",
        ),
        (service.post("/api/v1/dispatches", &json!({"dispatches": [], "dry_run": true})), "dry_run", "dispatches"),
    ];
    for (answer, unknown, known) in wrong {
        let error = answer.expect_error(400);
        let details = error["details"].as_str().unwrap();
        assert!(details.starts_with(&format!("{unknown}: ")) && details.contains(known), "{error}");
    }
    assert_eq!(service.get(DRIVER).expect(200).json(), stored);
    assert_eq!(service.get("/api/v1/dispatches/conv_a").expect(200).json(), dispatch);
    service.get("/api/v1/dispatches/c").expect_error(404);
    // A webhook takes what it does not know.
    let mut turn = turn("conv_a", 1);
    turn["stauts"] = json!("unknown");
    service.deliver(&turn).expect(201);
}

#[test]
fn the_errors_of_a_bulk_request_are_bounded() {
    let service = Service::start();
    let item = json!({"a": 1, "b": 1, "c": 1, "d": 1, "e": 1, "f": 1, "g": 1, "h": 1, "i": 1, "j": 1, "k": 1});
    let answer = service.post("/api/v1/dispatches", &json!({"dispatches": vec![item; 1000]}));
    assert!(answer.text.len() < 64 << 10, "{} bytes", answer.text.len());
    answer.expect_error(400);
}

#[test]
fn drivers_are_found_by_name_number_and_id() {
    let service = Service::start();
    for (id, name, number) in
        [(7, "Jo 100%", "+15550100043"), (55, "Maria Kowalski", "+15550100042"), (1042, "María", "+4930123456")]
    {
        service.put(&format!("/api/v1/drivers/{id}"), &json!({"name": name, "phone_number": number})).expect(201);
    }
    let found = |query: &str| {
        let page = service.get(&format!("/api/v1/drivers?include_total=true&{query}")).expect(200).json();
        let ids: Vec<_> =
            page["data"].as_array().unwrap().iter().map(|driver| driver["id"].as_i64().unwrap()).collect();
        assert_eq!(page["total"], ids.len(), "{query}");
        ids
    };
    assert_eq!(found("q=KOWAL"), [55]);
    assert_eq!(found("q=mar"), [55, 1042]);
    assert_eq!(found("q=%25"), [7]);
    assert_eq!(found("q=555-0100"), [7, 55]);
    assert_eq!(found("q=%2B1%20(555)%20010-0042"), [55]);
    assert_eq!(found("q=7"), [7]);
    assert_eq!(found("q=1042"), [1042]);
    assert_eq!(found("q=mar&ids=55,7"), [55]);
    assert_eq!(found("q=nobody"), [0; 0]);
    let first = service.get("/api/v1/drivers?q=mar&limit=1").expect(200).json();
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = service.get(&format!("/api/v1/drivers?q=mar&limit=1&cursor={cursor}")).expect(200).json();
    assert_eq!((&second["data"][0]["id"], &second["has_more"]), (&json!(1042), &json!(false)));
    for query in ["q=", "q=a%00", &format!("q={}", "x".repeat(201)), &format!("q=x&cursor={cursor}")] {
        service.get(&format!("/api/v1/drivers?{query}")).expect_error(400);
    }
}

#[test]
fn names_are_found_in_any_case_and_with_or_without_accents() {
    let service = Service::start();
    let names = ["María Núñez", "ÖZGÜR Işık", "Łukasz Wójcik", "أحمد الحسن", "Юрий Артёмов", "O’Brien", "Weiß", "Ai"];
    for (id, name) in (1..).zip(names) {
        service.put(&format!("/api/v1/drivers/{id}"), &json!({"name": name})).expect(201);
        let conversation = format!("conv_{id}");
        service.deliver(&turn(&conversation, id)).expect(201);
        service.put(&format!("/api/v1/dispatches/{conversation}"), &json!({"driver_id": id})).expect(201);
    }
    for (id, texts) in [
        (1, &["maria", "MARIA N", "María", "nunez", "NÚÑEZ", "Mari\u{301}a"][..]),
        (2, &["özgür", "OZGUR", "isik", "IŞIK"]),
        (3, &["lukasz", "ŁUKASZ", "wojcik"]),
        (4, &["احمد", "أَحْمَد", "الحسن"]),
        (5, &["ЮРИЙ", "артемов"]),
        (6, &["o'brien", "O’BRIEN"]),
        (7, &["weiss", "WEISS", "weiß"]),
    ] {
        for text in texts {
            let query = serde_urlencoded::to_string([("q", text)]).unwrap();
            let drivers = service.get(&format!("/api/v1/drivers?{query}&include_total=true")).expect(200).json();
            assert_eq!((&drivers["total"], &drivers["data"][0]["id"]), (&json!(1), &json!(id)), "{text}");
            let calls = service.get(&format!("/api/v1/calls?{query}&include_total=true")).expect(200).json();
            let found = &calls["data"][0]["conversation_id"];
            assert_eq!((&calls["total"], found), (&json!(1), &json!(format!("conv_{id}"))), "{text}");
            let history = crate::support::mcp::found(&service, "driver_history", json!({"q": text}));
            assert_eq!(history["driver"]["id"], id, "{text}");
        }
    }
    // A text that is folded to nothing finds nothing, not everything.
    let query = serde_urlencoded::to_string([("q", "\u{301}")]).unwrap();
    assert_eq!(service.get(&format!("/api/v1/drivers?{query}")).expect(200).json()["data"], json!([]));
    // Nothing in the file needs the function that folds names.
    let uses = "SELECT count(*) FROM sqlite_schema WHERE sql LIKE '%folded(%'";
    assert_eq!(service.sqlite().query_row(uses, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

#[test]
fn dispatches_are_listed_by_driver_and_batch_page_by_page() {
    let service = Service::start();
    for id in [1, 2] {
        service.put(&format!("/api/v1/drivers/{id}"), &json!({"name": "M"})).expect(201);
    }
    let dispatches: Vec<_> = (0..20)
        .map(|n| {
            json!({
                "conversation_id": format!("conv_{n:02}"), "driver_id": 1 + n % 2, "batch_id": format!("b{}", n % 3),
            })
        })
        .collect();
    service.post("/api/v1/dispatches", &json!({"dispatches": dispatches})).expect(200);
    let listed = |query: &str| {
        let mut seen = Vec::new();
        let mut path = format!("/api/v1/dispatches?{query}");
        loop {
            let page = service.get(&path).expect(200).json();
            let ids = page["data"].as_array().unwrap().iter().map(|row| row["conversation_id"].as_str().unwrap());
            seen.extend(ids.map(|id| id.trim_start_matches("conv_").parse::<u32>().unwrap()));
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("/api/v1/dispatches?{query}&cursor={cursor}");
        }
        seen
    };
    assert_eq!(listed("limit=3"), (0..20).collect::<Vec<_>>());
    assert_eq!(listed("limit=3&driver_id=2"), (0..20).filter(|n| n % 2 == 1).collect::<Vec<_>>());
    assert_eq!(listed("limit=2&batch_id=b1"), (0..20).filter(|n| n % 3 == 1).collect::<Vec<_>>());
    assert_eq!(listed("limit=1&driver_id=1&batch_id=b0"), [0, 6, 12, 18]);
    let page = service.get("/api/v1/dispatches?driver_id=1&limit=1&include_total=true").expect(200).json();
    assert_eq!(page["total"], 10);
    assert_eq!(page["data"][0], service.get("/api/v1/dispatches/conv_00").expect(200).json());
    for query in ["driver_id=0", "batch_id=", "batch_id=%20", "batch_id=a%00", "status=x", "cursor=x", "limit=0"] {
        service.get(&format!("/api/v1/dispatches?{query}")).expect_error(400);
    }
}

#[test]
fn the_first_turn_finds_the_driver_by_the_dispatch() {
    let service = Service::start();
    service.put(DRIVER, &json!({"name": "Maria"})).expect(201);
    service.put("/api/v1/dispatches/conv_a", &json!({"driver_id": 1042})).expect(201);
    service.deliver(&turn("conv_a", 1)).expect(201);
    assert_eq!(driver_of(&service, "conv_a"), 1042);
}

#[test]
fn a_call_is_kept_without_a_driver_and_a_later_dispatch_fills_it_in() {
    let service = Service::start();
    service.put(DRIVER, &json!({"name": "Maria"})).expect(201);
    service.deliver(&turn("conv_a", 1)).expect(201);
    service.deliver(&turn("conv_b", 1)).expect(201);
    assert_eq!(driver_of(&service, "conv_a"), Value::Null);
    service.put("/api/v1/dispatches/conv_a", &json!({"driver_id": 1042})).expect(201);
    assert_eq!(driver_of(&service, "conv_a"), 1042);
    let bulk = json!({"dispatches": [{"conversation_id": "conv_b", "driver_id": 1042}]});
    service.post("/api/v1/dispatches", &bulk).expect(200);
    assert_eq!(driver_of(&service, "conv_b"), 1042);
}

#[test]
fn a_dispatch_that_is_corrected_corrects_its_call() {
    let service = Service::start();
    service.put(DRIVER, &json!({"name": "Maria"})).expect(201);
    service.put("/api/v1/drivers/7", &json!({"name": "Jo"})).expect(201);
    service.put("/api/v1/dispatches/conv_a", &json!({"driver_id": 7})).expect(201);
    service.deliver(&turn("conv_a", 1)).expect(201);
    service.put("/api/v1/dispatches/conv_a", &json!({"driver_id": 1042})).expect(200);
    assert_eq!(driver_of(&service, "conv_a"), 1042);
}

#[test]
fn a_dispatch_is_created_replaced_read_and_deleted() {
    let service = Service::start();
    service.put(DRIVER, &json!({"name": "Maria"})).expect(201);
    let full = json!({
        "driver_id": 1042, "phone_number": "+15550100042", "batch_id": "btcal_1",
            "dispatched_at": "2026-09-28T11:59:40Z"
    });
    let made = service.put("/api/v1/dispatches/conv_a", &full).expect(201).json();
    assert_eq!(
        made,
        json!({
            "conversation_id": "conv_a", "driver_id": 1042, "phone_number": "+15550100042", "batch_id": "btcal_1",
            "dispatched_at": "2026-09-28T11:59:40.000000Z"
        })
    );
    // The time of the call is kept when a replacement does not name one.
    let replaced = service.put("/api/v1/dispatches/conv_a", &json!({"driver_id": 1042})).expect(200).json();
    assert_eq!(replaced["dispatched_at"], made["dispatched_at"]);
    assert_eq!(replaced["phone_number"], Value::Null);
    assert_eq!(service.get("/api/v1/dispatches/conv_a").expect(200).json(), replaced);
    service.delete("/api/v1/dispatches/conv_a").expect(204);
    service.get("/api/v1/dispatches/conv_a").expect_error(404);
    service.delete("/api/v1/dispatches/conv_a").expect_error(404);
}

#[test]
fn a_dispatch_that_breaks_a_rule_is_400_and_named() {
    let service = Service::start();
    service.put(DRIVER, &json!({"name": "Maria"})).expect(201);
    let mut errors = Wording::default();
    for (body, field) in [
        (json!({}), "driver_id"),
        (json!({"driver_id": 1043}), "driver_id"),
        (json!({"driver_id": "x"}), "driver_id"),
        (json!({"driver_id": 1042.5}), "driver_id"),
        (json!({"driver_id": 1042, "phone_number": "1"}), "phone_number"),
        (json!({"driver_id": 1042, "batch_id": " "}), "batch_id"),
        (json!({"driver_id": 1042, "dispatched_at": "noon"}), "dispatched_at"),
    ] {
        let error = service.put("/api/v1/dispatches/conv_a", &body).expect_error(400);
        let details = error["details"].as_str().unwrap();
        assert!(details.starts_with(&format!("{field}: ")), "{body}: {error}");
        errors.add_error(&body, details);
    }
    assert_snapshot!("dispatch_errors", errors);
}

#[test]
fn many_dispatches_are_stored_all_or_none_and_again_change_nothing() {
    let service = Service::start();
    service.put(DRIVER, &json!({"name": "Maria"})).expect(201);
    let item = |n: usize, driver: i64| json!({"conversation_id": format!("conv_{n}"), "driver_id": driver});
    let mut errors = Wording::default();
    let missing = json!({"dispatches": [item(0, 1042), item(1, 7), item(2, 8)]});
    let error = service.post("/api/v1/dispatches", &missing).expect_error(400);
    let details = error["details"].as_str().unwrap();
    let fields: Vec<_> = details.split("; ").map(|problem| problem.split(": ").next().unwrap()).collect();
    assert_eq!(fields, ["dispatches[1].driver_id", "dispatches[2].driver_id"], "{details}");
    errors.add_error(&missing, details);
    service.get("/api/v1/dispatches/conv_0").expect_error(404);
    let good = json!({"dispatches": (0..500).map(|n| item(n, 1042)).collect::<Vec<_>>()});
    let counts = |service: &Service| service.post("/api/v1/dispatches", &good).expect(200).json();
    assert_eq!(counts(&service), json!({"created": 500, "updated": 0, "unchanged": 0}));
    assert_eq!(counts(&service), json!({"created": 0, "updated": 0, "unchanged": 500}));
    for (body, field) in [
        (json!({}), "dispatches"),
        (json!({"dispatches": []}), "dispatches"),
        (json!({"dispatches": {}}), "dispatches"),
        (json!({"dispatches": [5]}), "dispatches[0]"),
        (json!({"dispatches": [{"driver_id": 1042}]}), "dispatches[0].conversation_id"),
        (json!({"dispatches": [item(1, 1042), item(1, 1042)]}), "dispatches[1].conversation_id"),
    ] {
        let error = service.post("/api/v1/dispatches", &body).expect_error(400);
        let details = error["details"].as_str().unwrap();
        assert!(details.starts_with(&format!("{field}: ")), "{body}: {error}");
        errors.add_error(&body, details);
    }
    assert_snapshot!("dispatches_errors", errors);
}

#[test]
fn deleting_a_driver_keeps_the_calls_and_dispatches() {
    let service = Service::start();
    service.put(DRIVER, &json!({"name": "Maria"})).expect(201);
    service.put("/api/v1/dispatches/conv_a", &json!({"driver_id": 1042})).expect(201);
    service.deliver(&turn("conv_a", 1)).expect(201);
    service.delete(DRIVER).expect(204);
    assert_eq!(driver_of(&service, "conv_a"), Value::Null);
    assert_eq!(service.get("/api/v1/dispatches/conv_a").expect(200).json()["driver_id"], Value::Null);
}

#[test]
fn certain_drivers_are_listed_by_their_numbers() {
    let service = Service::start();
    for id in 1..=5 {
        service.put(&format!("/api/v1/drivers/{id}"), &json!({"name": format!("Driver {id}")})).expect(201);
    }
    let ids = |path: &str| {
        let page = service.get(path).expect(200).json();
        let rows = page["data"].as_array().unwrap().iter().map(|driver| driver["id"].as_i64().unwrap());
        (rows.collect::<Vec<_>>(), page["total"].as_i64(), page["next_cursor"].as_str().map(str::to_owned))
    };
    assert_eq!(ids("/api/v1/drivers?ids=4,2,99,4&include_total=true"), (vec![2, 4], Some(2), None));
    let (rows, _, next) = ids("/api/v1/drivers?ids=5,3,1&limit=2");
    assert_eq!(rows, [1, 3]);
    assert_eq!(ids(&format!("/api/v1/drivers?ids=5,3,1&limit=2&cursor={}", next.unwrap())), (vec![5], None, None));
    let many: Vec<_> = (1..=101).map(|id| id.to_string()).collect();
    for bad in ["", "0", "1,", "1,x", "-1", "1%2C%2C2", &many.join(",")] {
        let body = service.get(&format!("/api/v1/drivers?ids={bad}")).expect_error(400);
        assert!(body["details"].as_str().unwrap().starts_with("ids: "), "{bad}: {body}");
    }
    ids(&format!("/api/v1/drivers?ids={}", many[1..].join(",")));
}

#[test]
fn each_way_of_naming_the_driver_counts_alone_and_the_surest_before_the_others() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    for n in 1..=5 {
        let phone = if n == 5 { json!("+15550100042") } else { Value::Null };
        service
            .put(&format!("/api/v1/drivers/{n}"), &json!({"name": format!("Driver {n}"), "phone_number": phone}))
            .expect(201);
    }
    let all = [
        ("/data/conversation_initiation_client_data/dynamic_variables/driver_id", json!("2"), "dynamic_variable"),
        ("/data/user_id", json!("driver_3"), "user_id"),
        ("/data/metadata/batch_call/batch_call_recipient_id", json!("driver_4"), "batch_recipient"),
        ("/data/metadata/phone_call/external_number", json!("+1 (555) 010-0042"), "phone_number"),
    ];
    // From the first on all, then all but the first, and so on.
    for from in 0..=all.len() {
        let id = format!("conv_{from}");
        let mut event = with(&sample(0), "/data/conversation_id", json!(id));
        event = with(&event, "/data/conversation_initiation_client_data/user_id", Value::Null);
        for (n, (place, value, _)) in all.iter().enumerate() {
            event = with(&event, place, if n < from { Value::Null } else { value.clone() });
        }
        post_signed(&service, &event.to_string()).expect(200);
        let call = service.get(&format!("/api/v1/calls/{id}")).expect(200).json();
        let others: Vec<_> =
            (3..).zip(all.iter().skip(1)).skip(from).map(|(n, (_, _, source))| format!("{source}: {n}")).collect();
        match all.get(from) {
            Some((_, _, source)) => {
                assert_eq!((&call["driver_id"], &call["driver_source"]), (&json!(from + 2), &json!(source)));
            }
            None => assert_eq!((&call["driver_id"], &call["driver_source"]), (&Value::Null, &Value::Null)),
        }
        let conflict = if others.is_empty() { Value::Null } else { json!(others.join(", ")) };
        assert_eq!(call["driver_conflict"], conflict);
    }
    service.put("/api/v1/dispatches/conv_0", &json!({"driver_id": 1})).expect(201);
    let call = service.get("/api/v1/calls/conv_0").expect(200).json();
    assert_eq!((&call["driver_id"], &call["driver_source"]), (&json!(1), &json!("dispatch")));
    assert!(call["driver_conflict"].as_str().unwrap().starts_with("dynamic_variable: 2, user_id: 3"), "{call}");
}

#[test]
fn a_driver_who_comes_after_the_call_is_found_by_what_its_record_says() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    post_signed(&service, SAMPLES[0].1).expect(200);
    let call = || service.get(&format!("/api/v1/calls/{CALL}")).expect(200).json();
    assert_eq!(call()["driver_id"], Value::Null);
    service.put("/api/v1/drivers/5", &json!({"name": "Jo", "phone_number": "+15550100042"})).expect(201);
    assert_eq!((&call()["driver_id"], &call()["driver_source"]), (&json!(5), &json!("phone_number")));
}
