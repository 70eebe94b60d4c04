//! Events that could not be read go with a call only if they name it as a conversation.

use crate::support::service::{Service, binary};
use crate::support::turns::turn;
use crate::support::whole_call::{SECRET, post_signed, post_signed_bytes};
use serde_json::{Value, json};
use std::path::Path;

fn bodies(service: &Service) -> Vec<String> {
    let connection = service.sqlite();
    let mut select = connection.prepare("SELECT CAST(body AS TEXT) FROM webhook_events ORDER BY id").unwrap();
    select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn json_of(database: &Path, args: &[&str]) -> Value {
    let out = binary().args(args).args(["--json", "--database"]).arg(database).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    serde_json::from_slice(&out.stdout).unwrap()
}

#[test]
fn a_call_with_the_name_of_a_json_key_does_not_take_the_quarantine_with_it() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    let about_nobody = [
        r#"{"type":"post_call_transcription","event_timestamp":1,"data":{"type":"conversation_id"}}"#,
        r#"{"type":"post_call_transcription","data":{"status":"done"},"conv_a":"type"}"#,
        r#"{"type":"post_call_transcription","data":{"words":"\"conversation_id\":\"conv_a\""}, cut"#,
        r#"{"type": "conv_a", "data": ["conv_a", "done"], "status": "conv_a", cut"#,
    ];
    let about_a = [
        r#"{"type":"post_call_transcription","data":{"conversation_id":"conv_a","transcript":[{"role":"ag"#,
        r#"{"type":"post_call_transcription","data": {"conversation\u005fid" : "conv\u005fa", cut"#,
    ];
    for body in about_nobody.iter().chain(&about_a) {
        post_signed(&service, body).expect(200);
    }
    let unreadable: i64 = service
        .sqlite()
        .query_row("SELECT count(*) FROM webhook_events WHERE conversation_id IS NULL", [], |row| row.get(0))
        .unwrap();
    assert_eq!(unreadable, 6, "they are all of no call");
    for id in ["type", "data", "status", "done", "conv_a"] {
        service.deliver(&turn(id, 1)).expect(201);
    }
    let names = |id: &str| json_of(service.database(), &["erase", "--conversation", id, "--dry-run"]);
    assert_eq!(names("type"), json!({"drivers": 0, "calls": 1, "events": 0, "dispatches": 0, "dry_run": true}));
    assert_eq!(names("conv_a")["events"], 2);
    for id in ["type", "data", "status", "done"] {
        service.delete(&format!("/api/v1/calls/{id}")).expect(204);
    }
    assert_eq!(bodies(&service).len(), 6, "only conversation ids count");
    service.delete("/api/v1/calls/conv_a").expect(204);
    assert_eq!(bodies(&service), about_nobody);
    service.delete("/api/v1/calls/conv_a").expect_error(404);
    // What only an unreadable event knows of is found, too.
    post_signed(&service, &about_a[0].replace("conv_a", "conv_b")).expect(200);
    service.delete("/api/v1/calls/conv_b").expect(204);
    post_signed(&service, &about_a[0].replace("conv_a", "conv_c")).expect(200);
    let erased = json_of(service.database(), &["erase", "--conversation", "conv_c", "--yes"]);
    assert_eq!((&erased["calls"], &erased["events"]), (&json!(0), &json!(1)));
    assert_eq!(bodies(&service), about_nobody);
}

#[test]
fn pruning_and_erasing_a_driver_keep_to_the_same_rule_and_count_before() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    service.put("/api/v1/drivers/7", &json!({"name": "Jo"})).expect(201);
    for id in ["type", "conv_b"] {
        service.put(&format!("/api/v1/dispatches/{id}"), &json!({"driver_id": 7})).expect(201);
        service.deliver(&turn(id, 1)).expect(201);
    }
    post_signed(&service, r#"{"type":"post_call_transcription","data":{"conversation_id":"conv_b", cut"#).expect(200);
    post_signed(&service, r#"{"type":"post_call_transcription","data":{"x":"conv_b", cut"#).expect(200);
    let count = |report: &Value| (report["calls"].clone(), report["events"].clone());
    let before = json_of(service.database(), &["erase", "--driver", "7", "--dry-run"]);
    assert_eq!(count(&before), (json!(2), json!(1)));
    // The calls become old, their events do not.
    let connection = rusqlite::Connection::open(service.database()).unwrap();
    connection
        .execute_batch(
            "UPDATE calls SET status = 'completed', call_start_time = '2020-01-01T00:00:00.000000Z', \
                call_end_time = '2020-01-01T00:00:01.000000Z', updated_at = '2020-01-01T00:00:01.000000Z', \
                created_at = '2020-01-01T00:00:00.000000Z'; \
             UPDATE call_transcriptions SET created_at = '2020-01-01T00:00:00.000000Z'",
        )
        .unwrap();
    drop(connection);
    let prune = |flag: &str| json_of(service.database(), &["prune", "--older-than", "90d", flag, "--trust-clock"]);
    assert_eq!(count(&prune("--dry-run")), (json!(2), json!(1)));
    assert_eq!(count(&prune("--yes")), (json!(2), json!(1)));
    assert_eq!(bodies(&service).len(), 1);
}

#[test]
fn an_event_of_any_coding_goes_with_its_call_and_comes_after_it_no_more() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    service.deliver(&turn("conv_a", 1)).expect(201);
    let utf16 = |text: &str| -> Vec<u8> {
        [0xfeff_u16].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
    };
    let deep = |n: u8| format!(r#"{{"type":"future_{n}","x":{{"conversation_id":"conv_a","words":"zanzibar"}}}}"#);
    post_signed_bytes(&service, &utf16(&deep(1))).expect(200);
    post_signed(&service, &deep(2)).expect(200);
    service.delete("/api/v1/calls/conv_a").expect(204);
    assert_eq!(bodies(&service), Vec::<String>::new());
    post_signed_bytes(&service, &utf16(&deep(3))).expect(200);
    post_signed(&service, &deep(4)).expect(200);
    post_signed(&service, r#"{"type":"post_call_transcription","data":{"conversation_id":"conv_a","transcript":[{"ro"#)
        .expect(200);
    assert_eq!(bodies(&service), Vec::<String>::new(), "what names an erased call is dropped");
}
