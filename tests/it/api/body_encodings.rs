//! Encodings and content types of request bodies.

use crate::support::service::{Answer, Service, TURNS, peak, wait_for};
use crate::support::turns::turn;
use crate::support::whole_call::{POST_CALL, SECRET};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use serde_json::json;
use std::io::Write as _;
use transcribe_hook::domain::Timestamp;
use transcribe_hook::elevenlabs::signature::sign;
use transcribe_hook::secret::Secret;

const HISTORY: &str = "/webhooks/elevenlabs/history";
const JSON: (&str, &str) = ("content-type", "application/json");

/// A body in each of the ways of packing that are known, with the header's value.
fn packed(body: &[u8]) -> [(&'static str, Vec<u8>); 4] {
    let fast = Compression::fast();
    let (mut gzip, mut zlib, mut raw) =
        (GzEncoder::new(Vec::new(), fast), ZlibEncoder::new(Vec::new(), fast), DeflateEncoder::new(Vec::new(), fast));
    gzip.write_all(body).unwrap();
    zlib.write_all(body).unwrap();
    raw.write_all(body).unwrap();
    [
        ("gzip", gzip.finish().unwrap()),
        ("deflate", zlib.finish().unwrap()),
        ("Deflate, identity", raw.finish().unwrap()),
        ("identity", body.to_vec()),
    ]
}

fn signed(service: &Service, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let at = Timestamp::now().unix_micros().div_euclid(1_000_000);
    let signature = sign(&Secret::new(SECRET).unwrap(), at, body);
    service.post_raw(POST_CALL, &[headers, &[("elevenlabs-signature", &signature)]].concat(), body)
}

fn event(id: &str) -> String {
    json!({"type": "post_call_transcription", "event_timestamp": 1_790_596_855, "data": {
        "conversation_id": id, "status": "done", "transcript": [{"role": "user", "message": "I am \
         parked.", "time_in_call_secs": 1}],
        "metadata": {"start_time_unix_secs": 1_790_596_800}}})
    .to_string()
}

#[test]
fn packed_bodies_are_unpacked_wherever_json_is_taken() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    let long = |mut turn: serde_json::Value| {
        turn["message"] = json!("Your reefer is reading forty five degrees. ".repeat(1000));
        turn
    };
    for (n, turn) in [turn("conv_turns", 1), long(turn("conv_turns", 2))].into_iter().enumerate() {
        for (m, (coding, body)) in packed(turn.to_string().as_bytes()).into_iter().enumerate() {
            let answer = service.post_raw(TURNS, &[JSON, ("content-encoding", coding)], &body).expect(201);
            // The same turn, in whatever way it is packed.
            assert_eq!(answer.json()["sequence_number"], n + 1, "{coding}");
            assert_eq!(answer.header("idempotent-replayed").is_some(), m > 0, "{coding}");
        }
    }
    let history = json!({"conversation_id": "conv_history", "timestamp": "2026-09-28T12:00:08Z",
        "history": "{\"entries\":[{\"role\":\"user\",\"message\":\"I am parked.\"}]}"});
    for (coding, body) in packed(history.to_string().as_bytes()) {
        service.post_raw(HISTORY, &[JSON, ("content-encoding", coding)], &body).expect(200);
    }
    assert_eq!(service.get("/api/v1/calls/conv_history").expect(200).json()["turn_count"], 1);
    service.put("/api/v1/drivers/1", &json!({"name": "Maria", "phone_number": null})).expect(201);
    let dispatches = json!({"dispatches": [{"conversation_id": "conv_d", "driver_id": 1}]});
    for (coding, body) in packed(dispatches.to_string().as_bytes()) {
        service.post_raw("/api/v1/dispatches", &[JSON, ("content-encoding", coding)], &body).expect(200);
    }
    for (n, (coding, _)) in packed(b"").into_iter().enumerate() {
        let id = format!("conv_event_{n}");
        let body = packed(event(&id).as_bytes())[n].1.clone();
        signed(&service, &[JSON, ("content-encoding", coding)], &body).expect(200);
        let call = service.get(&format!("/api/v1/calls/{id}")).expect(200).json();
        assert_eq!((&call["status"], &call["turn_count"]), (&json!("completed"), &json!(1)), "{coding}");
    }
}

#[test]
fn a_packed_recording_is_kept_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_with(&["--elevenlabs-secret", SECRET, "--audio-dir", folder.path().to_str().unwrap()]);
    for length in [10, 3 << 20] {
        let audio: Vec<u8> = (0..length).map(|n: u32| n.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
        for n in 0..4 {
            let id = format!("conv_{length}_{n}");
            let body = json!({"type": "post_call_audio", "event_timestamp": 1_739_537_319,
                "data": {"agent_id": "agent_1", "conversation_id": id, "full_audio": STANDARD.encode(&audio)}});
            let (coding, body) = packed(body.to_string().as_bytes())[n].clone();
            signed(&service, &[JSON, ("content-encoding", coding)], &body).expect(200);
            assert!(std::fs::read(folder.path().join(format!("{id}.mp3"))).unwrap() == audio, "{coding} {length}");
        }
    }
}

#[test]
fn a_bomb_is_413_without_the_memory_and_what_is_broken_is_400() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    let bomb = vec![b' '; 64 << 20];
    let broken = |service: &Service, path: &str, coding: &str, body: &[u8]| {
        let headers = [JSON, ("content-encoding", coding)];
        if path == POST_CALL { signed(service, &headers, body) } else { service.post_raw(path, &headers, body) }
    };
    let before = peak(service.pid());
    for (coding, body) in packed(&bomb).into_iter().take(3) {
        for path in [TURNS, HISTORY, "/api/v1/dispatches", POST_CALL] {
            broken(&service, path, coding, &body).expect_error(413);
        }
    }
    let grown = peak(service.pid()) - before;
    assert!(grown < 48 * 1024, "{grown} KiB more");
    for path in [TURNS, HISTORY, "/api/v1/dispatches", POST_CALL] {
        for (coding, body) in packed(turn("conv_a", 1).to_string().as_bytes()).into_iter().take(3) {
            let longer = [&body[..], b"more"].concat();
            for bad in [&body[..body.len() - 1], &body[..body.len() / 2], b"", b"{\"a\": 1}", &longer] {
                let error = broken(&service, path, coding, bad).expect_error(400);
                assert!(error["details"].as_str().unwrap().starts_with("body:"), "{error}");
            }
        }
        for (other, named) in [("br", "br"), ("zstd", "zstd"), ("gzip, br", "gzip, br"), ("gzip,gzip", "gzip,gzip")] {
            let error = broken(&service, path, other, b"{}").expect_error(415);
            assert!(error["details"].as_str().unwrap().contains(named), "{error}");
        }
    }
    assert_eq!(service.turns_stored(), 0);
}

#[test]
fn a_signature_is_over_the_bytes_as_they_came() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    let plain = event("conv_a");
    let at = Timestamp::now().unix_micros().div_euclid(1_000_000);
    let signature = sign(&Secret::new(SECRET).unwrap(), at, plain.as_bytes());
    let (_, body) = packed(plain.as_bytes())[0].clone();
    let headers = [JSON, ("content-encoding", "gzip"), ("elevenlabs-signature", &*signature)];
    service.post_raw(POST_CALL, &headers, &body).expect_error(401);
}

#[test]
fn the_content_type_of_what_is_signed_does_not_matter_and_that_of_turns_does() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    let types = [
        "text/plain",
        "application/octet-stream",
        "application/json; charset=latin1; x=\"y",
        "nonsense",
        "text/html;;",
    ];
    for (n, kind) in types.iter().enumerate() {
        signed(&service, &[("content-type", kind)], event(&format!("conv_{n}")).as_bytes()).expect(200);
        service.get(&format!("/api/v1/calls/conv_{n}")).expect(200);
    }
    signed(&service, &[], event("conv_none").as_bytes()).expect(200);
    service.get("/api/v1/calls/conv_none").expect(200);
    // Not without a signature.
    service.post_raw(POST_CALL, &[("content-type", "text/plain")], event("conv_x").as_bytes()).expect_error(401);
    for path in [TURNS, HISTORY] {
        for headers in [&[][..], &[("content-type", "text/plain")], &[("content-type", "application/octet-stream")]] {
            service.post_raw(path, headers, turn("conv_t", 1).to_string().as_bytes()).expect_error(415);
        }
    }
    wait_for("nothing of them to be stored", || (service.get("/api/v1/calls/conv_t").status == 404).then_some(()));
}
