//! A process that is killed between or within ElevenLabs' events leaves each of them stored or not at all, and its call
//! reconciled or noted as due. What the senders then repeat ends in the same calls as if nothing had been.

use crate::support::recorder::{Event, Moment, Recorder};
use crate::support::samples::{SAMPLES, sample};
use crate::support::service::{Service, TURNS, binary, open, wait_for};
use crate::support::whole_call::{CALL, FIRST, LAST, PARKED, POST_CALL, SECRET};
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::time::Duration;
use transcribe_hook::domain::Timestamp;
use transcribe_hook::elevenlabs::signature::sign;
use transcribe_hook::secret::Secret;

const HISTORY: &str = "/webhooks/elevenlabs/history";
const DATABASE: &str = "calls.db";
const AUDIO: &[u8] = b"ID3 and what follows it";

/// All that is sent of one call, and a report of another one: where to, and the body.
fn deliveries() -> Vec<(&'static str, String)> {
    let turn = |speaker: &str, message: &str, time: &str| {
        let turn = json!({"conversation_id": CALL, "speaker": speaker, "message": message, "timestamp": time});
        (TURNS, turn.to_string())
    };
    let entries = json!([{"role": "agent", "message": FIRST}, {"role": "user", "message": PARKED}]);
    let history =
        json!({"conversation_id": CALL, "timestamp": "2026-09-28T12:00:10Z", "history": {"entries": entries}});
    let mut traces = sample(1);
    traces["data"]["conversation_id"] = json!(CALL);
    let recording = json!({"type": "post_call_audio", "data": {"conversation_id": CALL,
        "full_audio": base64::Engine::encode(&base64::engine::general_purpose::STANDARD, AUDIO)}});
    vec![
        turn("agent", FIRST, "2026-09-28T12:00:03Z"),
        (HISTORY, history.to_string()),
        (POST_CALL, SAMPLES[0].1.to_owned()),
        turn("user", LAST, "2026-09-28T12:00:18Z"),
        (POST_CALL, SAMPLES[2].1.to_owned()),
        (POST_CALL, recording.to_string()),
        (POST_CALL, traces.to_string()),
        (POST_CALL, json!({"type": "voice_removed", "data": {}}).to_string()),
    ]
}

/// Returns whether a delivery was stored before, as a turn or an event; `None` if the service is gone.
fn send(service: &Service, (path, body): &(&str, String)) -> Option<bool> {
    let at = Timestamp::now().unix_micros().div_euclid(1_000_000);
    let signature = sign(&Secret::new(SECRET).unwrap(), at, body.as_bytes());
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)))
        .build()
        .into();
    let before = (*path == POST_CALL).then(|| service.events_stored());
    let answered = agent
        .post(service.url(path))
        .header("content-type", "application/json")
        .header("elevenlabs-signature", signature)
        .send(body);
    let answer = answered.ok()?;
    assert_eq!(answer.status(), if *path == TURNS { 201 } else { 200 });
    let headers = answer.headers().clone();
    answer.into_body().read_to_string().ok()?;
    Some(headers.contains_key("idempotent-replayed") || before == Some(service.events_stored()))
}

/// A service over the database in a folder, with a folder for recordings in it.
fn start(folder: &Path, command: std::process::Command) -> Service {
    let audio = folder.join("recordings");
    let flags = ["--elevenlabs-secret", SECRET, "--audio-dir", audio.to_str().unwrap()];
    Service::start_command(command, &folder.join(DATABASE), &flags)
}

/// A folder with an empty database.
fn prepared() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    start(folder.path(), binary()).stop();
    folder
}

/// Each query names what is there by half only.
const HALVES: [(&str, &str); 6] = [
    ("an unsound file", "SELECT * FROM pragma_integrity_check WHERE integrity_check <> 'ok'"),
    (
        "an event that is not in its call",
        "SELECT id FROM webhook_events e WHERE record IS NOT NULL AND NOT EXISTS \
         (SELECT 1 FROM calls c LEFT JOIN due_reconciliations d ON d.call_id = c.id \
          WHERE c.conversation_id = e.conversation_id AND (c.record_event_id IS NOT NULL OR d.facts = 1))",
    ),
    (
        "a call with an event that is not there",
        "SELECT conversation_id FROM calls WHERE record_event_id > 0 AND record_event_id NOT IN (SELECT id \
         FROM webhook_events)",
    ),
    (
        "a call whose turns are not 1, 2, 3 …",
        "SELECT c.conversation_id FROM calls c LEFT JOIN call_transcriptions t USING (conversation_id) \
         GROUP BY c.conversation_id HAVING count(t.id) <> c.turn_count OR ifnull(max(t.sequence_number), \
         0) <> c.turn_count",
    ),
    (
        "a call whose turns and record are not brought together",
        "SELECT c.conversation_id FROM calls c JOIN call_transcriptions t USING (conversation_id) WHERE matched IS NOT \
         NULL \
         AND c.id NOT IN (SELECT call_id FROM due_reconciliations) GROUP BY c.conversation_id HAVING \
         count(t.place) <> live_only + matched + added \
         OR count(t.place) + count(t.superseded_by) <> c.turn_count OR max(t.place) <> count(t.place)",
    ),
    (
        "a history that is not in its call",
        "SELECT conversation_id FROM call_histories JOIN calls c USING (conversation_id) WHERE matched IS NULL \
         AND c.id NOT IN (SELECT call_id FROM due_reconciliations)",
    ),
];

fn assert_nothing_is_there_by_half(folder: &Path, case: &str) {
    let connection = open(&folder.join(DATABASE));
    for (what, query) in HALVES {
        let mut select = connection.prepare(query).unwrap();
        let mut found = select.query([]).unwrap();
        if let Some(row) = found.next().unwrap() {
            panic!("{case}: {what}: {:?}", row.get_ref(0).unwrap());
        }
    }
    let recorded: bool = connection
        .query_row("SELECT EXISTS (SELECT 1 FROM webhook_events WHERE event_type = 'post_call_audio')", [], |row| {
            row.get(0)
        })
        .unwrap();
    let file = std::fs::read(folder.join(format!("recordings/{CALL}.mp3")));
    assert!(file.as_ref().map_or(!recorded, |audio| audio == AUDIO), "{case}: {recorded}, {file:?}");
}

/// Returns everything that a reader sees of the calls once they are reconciled, except the times and order of the rows'
/// writes: a turn that arrived between a record and its reconciliation has a smaller number.
fn seen(service: &Service) -> Vec<Value> {
    wait_for("all calls to be reconciled", || {
        let due = "SELECT count(*) FROM due_reconciliations";
        let left: i64 = service.sqlite().query_row(due, [], |row| row.get(0)).unwrap();
        (left == 0).then_some(())
    });
    let calls = service.get("/api/v1/calls?order=asc").expect(200).json()["data"].take();
    let turns =
        service.get(&format!("/api/v1/calls/{CALL}/transcriptions?order=time")).expect(200).json()["data"].take();
    let mut rows: Vec<_> =
        [calls, turns].into_iter().flat_map(|mut rows| rows.as_array_mut().unwrap().split_off(0)).collect();
    for row in &mut rows {
        if row["final_text"].is_null() {
            row["final_text"] = row["message_text"].take();
        }
        for by_arrival in [
            "created_at",
            "updated_at",
            "turn_count",
            "first_turn_time",
            "last_turn_time",
            "id",
            "sequence_number",
            "source",
            "timestamp",
            "message_text",
        ] {
            row.as_object_mut().unwrap().remove(by_arrival);
        }
    }
    rows
}

#[test]
fn kill_9_at_any_sync_leaves_no_event_half_applied_and_repeats_make_the_same_calls() {
    let recorder = Recorder::build();
    let all = deliveries();

    // Without a kill; it tells what is to come of it, and how many syncs come before the first delivery.
    let folder = prepared();
    let service = start(folder.path(), recorder.recording(binary(), folder.path()));
    service.get("/healthz").expect(200);
    assert!(all.iter().all(|delivery| send(&service, delivery) == Some(false)));
    let wanted = seen(&service);
    assert_eq!(wanted.len(), 2 + 4, "{wanted:#?}");
    service.stop();
    let events = recorder.events();
    let is_sync = |event: &&Event| matches!(event, Event::Synced(_) | Event::FolderSynced);
    let starting = events.iter().take_while(|event| !matches!(event, Event::Answered(_))).filter(is_sync).count();

    let mut kills = 0;
    for moment in [Moment::BeforeSync, Moment::AfterSync] {
        for n in starting + 1.. {
            let folder = prepared();
            let service = start(folder.path(), recorder.killing(binary(), folder.path(), n, moment));
            let stored = all.iter().take_while(|delivery| send(&service, delivery).is_some()).count();
            if stored == all.len() {
                break;
            }
            let case = format!("killed at sync {n}, {moment:?}, after {stored} answers");
            assert_eq!(service.wait().0.signal(), Some(9), "{case}");
            assert_nothing_is_there_by_half(folder.path(), &case);

            let service = start(folder.path(), binary());
            for (i, delivery) in all.iter().enumerate() {
                let before = send(&service, delivery).unwrap();
                // A history does not say so.
                let tells = delivery.0 != HISTORY;
                assert!(!tells || before || i >= stored, "{case}: delivery {i} was acknowledged and is not there");
                assert!(!before || i <= stored, "{case}: delivery {i} was never sent");
            }
            assert_eq!(seen(&service), wanted, "{case}");
            service.stop();
            assert_nothing_is_there_by_half(folder.path(), &case);
            kills += 1;
        }
    }
    // Each delivery's commit, that of what came of it, and the recording's file and folder.
    assert!(kills >= 2 * (all.len() + 2), "{kills} kills");
}

#[test]
fn kill_9_between_and_within_events_leaves_none_half_applied() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let event = |n: usize| {
        let entries: Vec<_> = (0..200)
            .map(|i| json!({"role": "user", "message": format!("Words {i} of call {n}"), "time_in_call_secs": i}))
            .collect();
        let id = format!("conv_{n}");
        json!({"type": "post_call_transcription", "event_timestamp": 1_790_596_855, "data": {"conversation_id": id,
            "status": "done", "transcript": entries, "metadata": {"start_time_unix_secs": 1_790_596_800}}})
        .to_string()
    };
    let mut acknowledged = 0;
    for round in 0..6 {
        let service = Service::start_on(&database, &["--elevenlabs-secret", SECRET]);
        let acked = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0.. {
                    let body = event(round * 1000 + n);
                    let at = Timestamp::now().unix_micros().div_euclid(1_000_000);
                    let signature = sign(&Secret::new(SECRET).unwrap(), at, body.as_bytes());
                    let answer = ureq::post(service.url(POST_CALL))
                        .header("content-type", "application/json")
                        .header("elevenlabs-signature", signature)
                        .send(body.as_bytes());
                    if answer.is_err() {
                        break;
                    }
                    acked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                }
            });
            wait_for("some events to be kept", || {
                (acked.load(std::sync::atomic::Ordering::SeqCst) >= 2 + round * 3).then_some(())
            });
            service.signal("KILL");
        });
        acknowledged += acked.into_inner();
        service.wait();
        let connection = open(&database);
        let number = |sql: &str| -> i64 { connection.query_row(sql, [], |row| row.get(0)).unwrap() };
        let events = number("SELECT count(*) FROM webhook_events");
        assert!(events >= i64::try_from(acknowledged).unwrap(), "{events} of {acknowledged}");
        // One that was not reconciled before the kill is, once the service runs again.
        let left = number("SELECT count(*) FROM due_reconciliations");
        let whole = "SELECT count(*) FROM webhook_events e JOIN calls c USING (conversation_id) \
            WHERE c.id NOT IN (SELECT call_id FROM due_reconciliations) AND c.status = 'completed' AND c.added = 200 \
            AND c.turn_count = 200 AND c.record_event_id = e.id \
            AND 200 = (SELECT count(*) FROM call_transcriptions t WHERE t.conversation_id = c.conversation_id)";
        assert_eq!(number(whole) + left, events);
        assert_eq!(number("SELECT count(*) FROM calls"), events);
    }
    let service = Service::start_on(&database, &["--elevenlabs-secret", SECRET]);
    let reconciled = "SELECT count(*) FROM calls WHERE status = 'completed' AND added = 200 AND turn_count = 200";
    wait_for("what was left to be reconciled", || {
        let number = |sql: &str| -> i64 { service.sqlite().query_row(sql, [], |row| row.get(0)).unwrap() };
        (number(reconciled) == number("SELECT count(*) FROM webhook_events")).then_some(())
    });
}
