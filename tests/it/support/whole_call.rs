//! The call of the published samples: its live turns, histories and events.

use crate::support::service::{Answer, Service, wait_for};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use transcribe_hook::domain::{ConversationId, NewEvent, Timestamp, Turn};
use transcribe_hook::elevenlabs::signature::sign;
use transcribe_hook::elevenlabs::turn::parse_turn;
use transcribe_hook::elevenlabs::{parse_history, sample_call};
use transcribe_hook::ingest::executor::reconcile_in;
use transcribe_hook::ingest::{event, reconciler};
use transcribe_hook::secret::Secret;
use transcribe_hook::store::sqlite::{Options, SqliteStore};
use transcribe_hook::store::{Store, TurnOrder, TurnQuery, Write, Written};

pub const POST_CALL: &str = "/webhooks/elevenlabs/post-call";
pub const SECRET: &str = "wsec_of_the_whole_call";

/// Start of the calls of [`record`].
pub const RECORD_START: i64 = 1_790_000_000;

/// Returns ElevenLabs' event after a call with these words.
pub fn record(id: &str, words: &str) -> Value {
    let mut event = sample_call::post_call(id, RECORD_START);
    event["data"]["transcript"][0]["message"] = json!(format!("{words} in the record"));
    event["data"]["analysis"]["transcript_summary"] = json!(format!("{words} in the summary"));
    event["data"]["metadata"]["phone_call"]["external_number"] = json!("+15550100099");
    event["data"]["analysis"]["call_summary_title"] = json!(format!("{words} in the title"));
    event
}

/// Posts an event as ElevenLabs does, and waits until its call is reconciled.
pub fn post_signed(service: &Service, body: &str) -> Answer {
    post_signed_bytes(service, body.as_bytes())
}

/// Posts a body that need not be text, with its signature, and waits until its call is reconciled.
pub fn post_signed_bytes(service: &Service, body: &[u8]) -> Answer {
    once_reconciled(service, || send_signed(service, body))
}

/// Posts a history, and waits until its call is reconciled.
pub fn post_history(service: &Service, body: &Value) -> Answer {
    once_reconciled(service, || service.post("/webhooks/elevenlabs/history", body))
}

/// Sends something, and waits until no call is to be reconciled where the answer did not wait for that, as happens on a
/// slow machine.
fn once_reconciled(service: &Service, send: impl FnOnce() -> Answer) -> Answer {
    let began = Instant::now();
    let answer = send();
    if answer.status < 300 && began.elapsed() >= reconciler::MAX_RESPONSE_WAIT {
        let due = "SELECT EXISTS (SELECT 1 FROM due_reconciliations)";
        wait_for("the call to be reconciled", || {
            service.sqlite().query_row(due, [], |row| row.get(0)).ok().filter(|due: &bool| !due)
        });
    }
    answer
}

/// Posts a body with its signature. The answer waits for the call for a short time only.
pub fn send_signed(service: &Service, body: &[u8]) -> Answer {
    let at = Timestamp::now().unix_micros().div_euclid(1_000_000);
    let signature = sign(&Secret::new(SECRET).unwrap(), at, body);
    let headers = [("content-type", "application/json"), ("elevenlabs-signature", signature.as_str())];
    service.post_raw(POST_CALL, &headers, body)
}

pub fn deliver(service: &Service, speaker: &str, message: &str, time: &str) -> Value {
    let turn = json!({"conversation_id": CALL, "speaker": speaker, "message": message, "timestamp": time});
    once_reconciled(service, || service.deliver(&turn)).expect(201).json()
}

/// The conversation of the samples.
pub const CALL: &str = "conv_1901kaj4pr1penza6bbkscg6hgkc";
pub const FIRST: &str = "Hi Maria, this is dispatch calling about load 88123. Are you near your trailer right now?";
pub const PARKED: &str = "Yeah, I'm parked at the Pilot in Gary.";
pub const CUT_OFF: &str = "Great. Your reefer is reading forty five degrees. Could you check the set...";
pub const IN_FULL: &str =
    "Great. Your reefer is reading forty five degrees. Could you check the set point and tell me what it shows?";
pub const LAST: &str = "It says thirty four. I'll bump the set point.";

pub fn open() -> (Arc<SqliteStore>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { path: folder.path().join("calls.db"), busy_timeout: Duration::from_secs(5), readers: 1 };
    (Arc::new(SqliteStore::open(&options).unwrap()), folder)
}

pub fn now() -> Timestamp {
    Timestamp::parse("2026-09-28T13:00:00Z").unwrap()
}

pub fn event(value: &Value) -> NewEvent {
    event::parse_body(value.to_string().into_bytes().into())
}

pub fn live(speaker: &str, message: &str, time: &str) -> Write {
    let body = json!({"conversation_id": CALL, "speaker": speaker, "message": message, "timestamp": time});
    Write::AppendTurn(parse_turn(body.to_string().as_bytes(), None).unwrap())
}

pub fn history(entries: &[(&str, &str)], time: &str) -> Write {
    let entries: Vec<_> = entries.iter().map(|(role, message)| json!({"role": role, "message": message})).collect();
    let body = json!({"conversation_id": CALL, "timestamp": time, "history": {"entries": entries}});
    Write::KeepHistory(Box::new(parse_history(body.to_string().as_bytes()).unwrap()))
}

pub fn post(value: &Value) -> Write {
    Write::KeepEvent(Box::new(event(value)))
}

/// Reconciles all calls that are due, at the time of the tests.
pub fn reconcile(store: &dyn Store) {
    reconciler::reconcile_all_due(store, |slices| reconcile_in(store, now(), slices)).unwrap();
}

/// Does a write, and then what the service does in the background.
pub fn apply(store: &dyn Store, write: &Write) -> Written {
    let written = store.apply(now(), std::slice::from_ref(write)).unwrap().remove(0).unwrap();
    reconcile(store);
    written
}

pub fn turns(store: &dyn Store, order: TurnOrder) -> Vec<Turn> {
    let query = TurnQuery {
        conversation_id: ConversationId::new(CALL).unwrap(),
        after_sequence: 0,
        order,
        after: None,
        limit: 1000,
        with_total: false,
    };
    store.turns(&query).unwrap().map_or(Vec::new(), |page| page.rows)
}

/// The transcript as a reader of the call has it.
pub fn transcript(store: &dyn Store) -> Vec<(&'static str, String, Option<bool>)> {
    let words = |turn: &Turn| turn.final_text.as_ref().unwrap_or(&turn.message).as_str().to_owned();
    turns(store, TurnOrder::Time).iter().map(|turn| (turn.speaker.as_str(), words(turn), turn.interrupted)).collect()
}
