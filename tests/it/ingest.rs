//! The per-turn webhook: what it takes, what it refuses, and what a repeat is.

use crate::harness::{Service, TURNS};
use serde_json::{Value, json};

/// A turn that is like no other one of the same `n`.
pub fn turn(conversation: &str, n: usize) -> Value {
    json!({
        "conversation_id": conversation,
        "speaker": if n.is_multiple_of(2) { "user" } else { "agent" },
        "message": format!("Turn number {n}: the reefer reads forty five degrees."),
        "timestamp": format!("2026-09-28T12:{:02}:{:02}.{:03}Z", n / 60_000 % 60, n / 1000 % 60, n % 1000),
    })
}

#[test]
fn a_turn_is_stored_and_answered_with_its_numbers() {
    let service = Service::start();
    let answer = service.deliver(&turn("conv_a", 1)).expect(201);
    assert_eq!(
        answer.json(),
        json!({"status": "success", "message": "transcription stored", "transcription_id": 1, "sequence_number": 1})
    );
    assert_eq!(answer.header("idempotent-replayed"), None);
    service.deliver(&turn("conv_a", 2)).expect(201);
    let _ = TURNS;
}
