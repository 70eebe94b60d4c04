//! Random bodies, queries, paths and files are stored or refused, and never cause a 5xx, a panic or a hang.

use crate::support::random::for_any;
use crate::support::service::{Service, TURNS, binary};
use crate::support::turns::turn;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;

/// Any JSON value of some depth, with the names that mean something more often than by chance.
fn any_json() -> impl Strategy<Value = Value> {
    let names = prop_oneof![
        Just("conversation_id"),
        Just("speaker"),
        Just("message"),
        Just("timestamp"),
        Just("tool_call_id"),
        Just("parameters"),
        Just("name"),
        Just("driver_id"),
        Just("dispatches"),
        Just("call_end_time"),
        Just("x"),
    ]
    .prop_map(str::to_owned);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!("agent")),
        Just(json!("user")),
        Just(json!("2026-09-28T12:00:00Z")),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec((names.clone(), inner), 0..6).prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

/// Any valid turn that is cut off, or has one byte replaced or inserted, even within a character.
fn any_damaged_turn() -> impl Strategy<Value = Vec<u8>> {
    (any::<proptest::sample::Index>(), any::<u8>(), 0..3).prop_map(|(place, byte, how)| {
        let mut body = turn("conv_a", 1).to_string().into_bytes();
        let at = place.index(body.len());
        match how {
            0 => body[at] = byte,
            1 => body.truncate(at),
            _ => body.insert(at, byte),
        }
        body
    })
}

#[test]
fn no_body_makes_the_service_fail() {
    let service = Service::start_with(&["--log-level", "info,http=off"]);
    service.deliver(&turn("conv_a", 1)).expect(201);
    let bodies = prop_oneof![
        any_json().prop_map(|value| value.to_string().into_bytes()),
        any_damaged_turn(),
        proptest::collection::vec(any::<u8>(), 0..300),
    ];
    for_any(800, &bodies, |body| {
        let json = [("content-type", "application/json")];
        let answer = service.post_raw(TURNS, &json, &body);
        assert!(matches!(answer.status, 201 | 400 | 422), "{}: {}", answer.status, answer.text);
        if answer.status != 201 {
            let status = answer.status;
            answer.expect_error(status);
        }
        let answer = service.post_raw("/api/v1/dispatches", &json, &body);
        assert!(matches!(answer.status, 200 | 400), "{}: {}", answer.status, answer.text);
    });
    service.get("/readyz").expect(200);
}

#[test]
fn no_query_and_no_path_makes_the_service_fail() {
    let service = Service::start_with(&["--log-level", "info,http=off"]);
    service.deliver(&turn("conv_a", 1)).expect(201);
    let escaped = |bytes: Vec<u8>| {
        bytes.into_iter().fold(String::new(), |mut text, byte| {
            write!(text, "%{byte:02X}").unwrap();
            text
        })
    };
    let parameters = prop_oneof![
        Just("cursor"),
        Just("limit"),
        Just("q"),
        Just("status"),
        Just("order"),
        Just("driver_id"),
        Just("started_after"),
        Just("include_total"),
        Just("after_sequence"),
    ];
    let values = proptest::collection::vec(any::<u8>(), 0..40).prop_map(escaped);
    for_any(600, &(parameters, values), |(parameter, value)| {
        for path in [
            format!("/api/v1/calls?{parameter}={value}"),
            format!("/api/v1/calls/conv_a/transcriptions?{parameter}={value}"),
            format!("/api/v1/drivers?{parameter}={value}"),
            format!("/api/v1/calls/{value}"),
            format!("/api/v1/drivers/{value}"),
        ] {
            let answer = service.get(&path);
            assert!(matches!(answer.status, 200 | 400 | 404), "{path}: {} {}", answer.status, answer.text);
        }
    });
}

#[test]
fn no_file_makes_an_import_panic() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let files = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..400),
        // More often like a table than by chance.
        "(id|name|phone_number|conversation_id|driver_id|[a-z,\"\n\r]{0,9}|[0-9]{1,20}|,|\n|\"|\\{\\}|\\[){0,40}"
            .prop_map(String::into_bytes),
    ];
    for_any(40, &files, |content| {
        for (what, format) in [("drivers", "csv"), ("drivers", "jsonl"), ("dispatches", "csv"), ("dispatches", "jsonl")]
        {
            let mut child = binary()
                .args(["import", what, "-", "--format", format, "--skip-bad", "--database"])
                .arg(&database)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(&content).unwrap();
            let out = child.wait_with_output().unwrap();
            let errors = String::from_utf8_lossy(&out.stderr);
            assert!(matches!(out.status.code(), Some(0 | 1)), "{content:?}: {errors}");
            assert!(!errors.contains("panic"), "{content:?}: {errors}");
        }
    });
}
