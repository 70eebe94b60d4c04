//! Turns as an agent delivers them.

use serde_json::{Value, json};

/// A turn that is like no other one of the same conversation.
pub fn turn(conversation: &str, n: usize) -> Value {
    json!({
        "conversation_id": conversation,
        "speaker": if n.is_multiple_of(2) { "user" } else { "agent" },
        "message": format!("Turn number {n}: the reefer reads forty five degrees."),
        "timestamp": format!("2026-09-28T12:{:02}:{:02}.{:03}Z", n / 60_000 % 60, n / 1000 % 60, n % 1000),
    })
}
