//! ElevenLabs' published sample events, and changes of them.

use serde_json::{Value, json};

/// The sample bodies, by their type.
pub const SAMPLES: [(&str, &str); 4] = [
    ("post_call_transcription", include_str!("../../fixtures/elevenlabs/post_call_transcription.json")),
    ("post_call_transcription_otel", include_str!("../../fixtures/elevenlabs/post_call_transcription_otel.json")),
    ("call_initiation_failure", include_str!("../../fixtures/elevenlabs/call_initiation_failure_twilio.json")),
    ("call_initiation_failure", include_str!("../../fixtures/elevenlabs/call_initiation_failure_sip.json")),
];

/// A sample as JSON.
pub fn sample(n: usize) -> Value {
    serde_json::from_str(SAMPLES[n].1).unwrap()
}

/// Every place in a value, as JSON pointers, the deepest last.
pub fn places(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![(String::new(), value)];
    while let Some((place, value)) = open.pop() {
        match value {
            Value::Object(fields) => {
                open.extend(fields.iter().map(|(name, value)| (format!("{place}/{}", name.replace('/', "~1")), value)));
            }
            Value::Array(items) => {
                open.extend(items.iter().enumerate().map(|(i, item)| (format!("{place}/{i}"), item)));
            }
            _ => {}
        }
        found.push(place);
    }
    found
}

/// The value with what stands at a place taken away.
pub fn without(value: &Value, place: &str) -> Value {
    let mut changed = value.clone();
    let (parent, name) = place.rsplit_once('/').unwrap();
    match changed.pointer_mut(parent).unwrap() {
        Value::Object(fields) => drop(fields.shift_remove(&name.replace("~1", "/"))),
        Value::Array(items) => drop(items.remove(name.parse().unwrap())),
        other => panic!("{other} has no parts"),
    }
    changed
}

/// The value with something else at a place.
pub fn with(value: &Value, place: &str, other: Value) -> Value {
    let mut changed = value.clone();
    *changed.pointer_mut(place).unwrap() = other;
    changed
}

/// Returns values of other types than the expected one.
pub fn other_types() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(1.5),
        json!(i64::MAX),
        json!(1e300),
        json!(""),
        json!("  "),
        json!("x\u{0}y"),
        json!([]),
        json!([[null]]),
        json!({}),
        json!({"x": [1]}),
    ]
}
