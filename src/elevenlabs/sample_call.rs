//! A sample call as ElevenLabs would deliver it, to test an installation.
//!
//! It consists of live turns with the typical mistakes of an agent's tool calls, the post-call event, and the expected
//! result.

use crate::domain::Timestamp;
use serde_json::{Value, json};

/// One utterance of the call.
struct Utterance {
    /// `agent` or `user`.
    role: &'static str,
    /// Seconds after the call's start.
    at: i64,
    /// Words that were spoken according to the record.
    spoken: &'static str,
    /// Words that the agent was going to speak before it was interrupted.
    meant: Option<&'static str>,
    live: LiveTurn,
}

/// Report of an utterance by the agent's tool call during the call.
#[derive(Clone, Copy)]
enum LiveTurn {
    AsSpoken,
    /// Twice, as after a timeout.
    Twice,
    /// In full, before the interruption.
    AsMeant,
    /// Never.
    Lost,
    /// Paraphrased, as language models do.
    Paraphrased(&'static str),
}

const CALL: [Utterance; 8] = [
    Utterance {
        role: "agent",
        at: 0,
        spoken: "Hi Maria, this is dispatch calling about load 88123. Are you near your trailer right now?",
        meant: None,
        live: LiveTurn::AsSpoken,
    },
    Utterance {
        role: "user",
        at: 6,
        spoken: "Yeah, I'm parked at the Pilot in Gary.",
        meant: None,
        live: LiveTurn::Twice,
    },
    Utterance {
        role: "agent",
        at: 9,
        spoken: "Great. Your reefer is reading forty five degrees. Could you check the set...",
        meant: Some(
            "Great. Your reefer is reading forty five degrees. Could you check the set point and tell me what it \
             shows?",
        ),
        live: LiveTurn::AsMeant,
    },
    Utterance {
        role: "user",
        at: 14,
        spoken: "Hold on, let me walk over. It says thirty four, but the unit is not running.",
        meant: None,
        live: LiveTurn::Lost,
    },
    Utterance {
        role: "agent",
        at: 21,
        spoken: "Thirty four is right for produce. Please restart the unit and wait until you hear the compressor.",
        meant: None,
        live: LiveTurn::AsSpoken,
    },
    Utterance {
        role: "user",
        at: 38,
        spoken: "Okay, it's running now, I can hear the compressor, and the reading goes down.",
        meant: None,
        live: LiveTurn::Paraphrased("OK, it is running now. I hear the compressor and the reading is going down."),
    },
    Utterance {
        role: "agent",
        at: 43,
        spoken: "Perfect. I'll call again in thirty minutes to check. Drive safely, Maria.",
        meant: None,
        live: LiveTurn::AsSpoken,
    },
    Utterance { role: "user", at: 47, spoken: "Will do, bye.", meant: None, live: LiveTurn::AsSpoken },
];

/// Duration of the call, in seconds.
const DURATION_SECONDS: i64 = 50;

/// A delivery of a live turn.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleDelivery {
    /// Body for the turn webhook.
    pub body: Value,
    /// Peculiarity of the delivery, for display.
    pub note: &'static str,
}

/// Returns the deliveries during a call that started at this time, in seconds since 1970, in order.
pub fn live_turns(conversation_id: &str, start: i64) -> Vec<SampleDelivery> {
    let mut deliveries = Vec::new();
    for utterance in &CALL {
        let deliver = |message: &str, note| {
            let timestamp = Timestamp::from_unix_micros((start + utterance.at) * 1_000_000)
                .expect("a present time is valid")
                .to_string();
            let body = json!({
                "conversation_id": conversation_id,
                "speaker": utterance.role,
                "message": message,
                "timestamp": timestamp,
            });
            SampleDelivery { body, note }
        };
        match utterance.live {
            LiveTurn::AsSpoken => deliveries.push(deliver(utterance.spoken, "")),
            LiveTurn::Twice => {
                deliveries.push(deliver(utterance.spoken, ""));
                deliveries.push(deliver(utterance.spoken, "repeated"));
            }
            LiveTurn::AsMeant => {
                deliveries.push(deliver(utterance.meant.unwrap_or(utterance.spoken), "then interrupted"));
            }
            LiveTurn::Lost => {}
            LiveTurn::Paraphrased(words) => deliveries.push(deliver(words, "paraphrased")),
        }
    }
    deliveries
}

/// Returns ElevenLabs' event after the call.
pub fn post_call(conversation_id: &str, start: i64) -> Value {
    let transcript: Vec<_> = CALL
        .iter()
        .map(|utterance| {
            json!({
                "role": utterance.role,
                "message": utterance.spoken,
                "original_message": utterance.meant,
                "interrupted": utterance.meant.is_some(),
                "time_in_call_secs": utterance.at,
                "source_medium": (utterance.role == "user").then_some("audio"),
                "tool_calls": [],
                "tool_results": [],
            })
        })
        .collect();
    json!({
        "type": "post_call_transcription",
        "event_timestamp": start + DURATION_SECONDS + 5,
        "data": {
            "agent_id": "agent_simulated",
            "agent_name": "Driver check-in",
            "conversation_id": conversation_id,
            "status": "done",
            "user_id": null,
            "transcript": transcript,
            "metadata": {
                "start_time_unix_secs": start,
                "call_duration_secs": DURATION_SECONDS,
                "cost": 296,
                "termination_reason": "Call ended by remote party",
                "main_language": "en",
                "phone_call": {
                    "type": "twilio",
                    "direction": "outbound",
                    "phone_number_id": "phnum_simulated",
                    "agent_number": "+15550100001",
                    "external_number": "+15550100042",
                    "stream_sid": "MZ0",
                    "call_sid": "CA0",
                },
            },
            "analysis": {
                "call_successful": "success",
                "transcript_summary": "The driver restarted the reefer unit, which had stopped; it cools again.",
                "call_summary_title": "Reefer restarted",
            },
            "conversation_initiation_client_data": {"dynamic_variables": {"load_id": "88123"}},
            "has_audio": false,
            "has_user_audio": false,
            "has_response_audio": false,
            "has_auxiliary_audio": false,
        },
    })
}

/// The expected counts of the reconciled call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedCall {
    /// Live turns that are not in the record.
    pub live_only: i64,
    /// Live turns that are in the record.
    pub matched: i64,
    /// Utterances that are only in the record.
    pub added: i64,
    /// Live turns whose words differ from the record.
    pub corrected: i64,
}

/// Expected counts after the post-call event was stored.
pub const EXPECTED: ExpectedCall = ExpectedCall { live_only: 0, matched: 7, added: 1, corrected: 2 };

/// Returns the expected transcript, in order: the speaker as stored (`agent` or `driver`), and the words.
pub fn spoken() -> Vec<(&'static str, &'static str)> {
    CALL.iter().map(|u| (if u.role == "user" { "driver" } else { u.role }, u.spoken)).collect()
}
