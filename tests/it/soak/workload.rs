//! Words of the calls of a run. They are computed from the call's name and the turn's number, so the stored words can
//! be compared without a copy.

use crate::support::service::Service;
use serde_json::{Value, json};

/// Drivers who are called.
pub const DRIVERS: u64 = 20;

/// Numbers that look like chance and are the same in every run.
pub struct Chance(u64);

impl Chance {
    pub fn of(seed: usize) -> Self {
        Self((seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1)
    }

    /// Below `most`.
    pub fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }

    /// Once in so many times.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// In ElevenLabs' words.
pub fn speaker(n: usize) -> &'static str {
    if n.is_multiple_of(2) { "agent" } else { "user" }
}

/// Returns the words of turn `n` of a call. No two turns of a call are alike.
pub fn words(call: &str, n: usize) -> String {
    const MORE: [&str; 4] = [
        "the reefer reads forty five degrees, and it should read thirty four.",
        "I am parked at the Joliet terminal.",
        "could you check the set point and tell me what it shows? Take your time, I will wait here on the line.",
        "yes.",
    ];
    format!("Turn {n} of {call}: {}", MORE[(n + call.len()) % MORE.len()])
}

/// Start of a call, in seconds since 1970; any time in the past will do.
const START: i64 = 1_790_596_800;

/// A turn as the webhook takes it.
pub fn turn(call: &str, n: usize) -> Value {
    let at = transcribe_hook::domain::Timestamp::from_unix_micros((START + 2 * i64::try_from(n).unwrap()) * 1_000_000);
    json!({
        "conversation_id": call, "speaker": speaker(n), "message": words(call, n), "timestamp": at.unwrap().to_string(),
    })
}

/// The first turns of a call, as ElevenLabs' tool shows them.
pub fn history(call: &str, turns: usize) -> Value {
    let entries: Vec<_> = (0..turns).map(|n| json!({"role": speaker(n), "message": words(call, n)})).collect();
    json!({
        "conversation_id": call, "timestamp": "2026-09-28T12:00:08Z",
        "history": json!({"entries": entries}).to_string(),
    })
}

/// Returns ElevenLabs' event after a call of so many turns.
pub fn record(call: &str, turns: usize) -> String {
    let transcript: Vec<_> = (0..turns)
        .map(|n| json!({"role": speaker(n), "message": words(call, n), "time_in_call_secs": 2 * n}))
        .collect();
    json!({
        "type": "post_call_transcription", "event_timestamp": START + 600,
        "data": {
            "agent_id": "agent_1", "conversation_id": call, "status": "done", "transcript": transcript,
            "metadata": {"start_time_unix_secs": START, "call_duration_secs": 2 * turns},
            "analysis": {"call_successful": "success", "transcript_summary": "The driver was called."},
        },
    })
    .to_string()
}

pub fn put_drivers(service: &Service) {
    for id in 1..=DRIVERS {
        let name = format!("Driver {id}");
        service.put(&format!("/api/v1/drivers/{id}"), &json!({"name": name, "phone_number": null})).expect(201);
    }
}
