//! Erasing a call or a driver: nothing of it is left in any byte of any file, and it does not come back by itself.

use crate::support::fake_elevenlabs::{FakeElevenLabs, KEY};
use crate::support::files::{files_below, memmem, with_any};
use crate::support::search::{index_state, with_index};
use crate::support::service::{Service, binary, wait_for};
use crate::support::turns::turn;
use crate::support::whole_call::{RECORD_START, SECRET, post_signed, record};
use insta::assert_snapshot;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use transcribe_hook::domain::{ConversationId, Timestamp};
use transcribe_hook::elevenlabs::parse_history;
use transcribe_hook::elevenlabs::turn::parse_turn;
use transcribe_hook::ingest::event;
use transcribe_hook::store::sqlite::{Options, SqliteStore};
use transcribe_hook::store::{Commands as _, Forgotten, Maintenance as _, Write};

const POST_CALL: &str = "/webhooks/elevenlabs/post-call";

/// Everything that can be kept about a call, with `words` in each of it.
fn make_known(service: &Service, id: &str, words: &str) {
    service
        .put(&format!("/api/v1/dispatches/{id}"), &json!({"driver_id": 1042, "batch_id": format!("{words}-batch")}))
        .expect(201);
    let mut said = turn(id, 1);
    said["message"] = json!(format!("{words} in a turn"));
    let body = said.to_string();
    let key = format!("{words}-key");
    let headers = [("content-type", "application/json"), ("Idempotency-Key", &*key)];
    service.post_raw("/webhooks/elevenlabs/transcription", &headers, body.as_bytes()).expect(201);
    let entries = json!([{"role": "user", "message": format!("{words} in a history")}]);
    let history = json!({"conversation_id": id, "timestamp": "2026-09-28T12:00:10Z", "history": {"entries": entries}});
    service.post("/webhooks/elevenlabs/history", &history).expect(200);
    assert_eq!(post_signed(service, &record(id, words).to_string()).status, 200);
    let audio = json!({"type": "post_call_audio", "event_timestamp": RECORD_START,
        "data": {"agent_id": words, "conversation_id": id, "full_audio": "U0VDUkVU"}});
    assert_eq!(post_signed(service, &audio.to_string()).status, 200);
    // What cannot be read names the call all the same.
    let broken =
        format!("{{\"type\": \"post_call_transcription\", \"conversation_id\": \"{id}\", \"{words} is cut off");
    assert_eq!(post_signed(service, &broken).status, 200);
}

fn with_recordings(folder: &Path) -> Service {
    let audio = folder.join("recordings");
    let flags = ["--elevenlabs-secret", SECRET, "--audio-dir", audio.to_str().unwrap(), "--log-level", "info,http=off"];
    let service = Service::start_on(&folder.join("calls.db"), &flags);
    service.put("/api/v1/drivers/1042", &json!({"name": "Maria Kowalski", "phone_number": "+15550100042"})).expect(201);
    service
}

#[test]
fn nothing_of_an_erased_call_is_left_in_any_file_though_others_write_and_read_on() {
    let folder = tempfile::tempdir().unwrap();
    let service = with_recordings(folder.path());
    make_known(&service, "conv_erased", "zanzibar");
    make_known(&service, "conv_kept", "montevideo");
    // Some of them stand in indexes, too: of tables, and of the search.
    let texts = ["zanzibar", "conv_erased", "SECRET"].map(str::to_owned);
    let indexed = || -> i64 {
        let sql = "SELECT count(*) FROM turn_search WHERE turn_search MATCH 'zanzibar'";
        if index_state(service.database()).is_none() {
            return 0;
        }
        with_index(service.database()).query_row(sql, [], |row| row.get(0)).unwrap()
    };
    wait_for("the words to be found by the search", || (indexed() > 0).then_some(()));
    assert!(!with_any(folder.path(), &texts).is_empty());
    let done = AtomicBool::new(false);
    let delivered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for client in 0..3 {
            let (service, done, delivered) = (&service, &done, &delivered);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let n = delivered.fetch_add(1, Ordering::Relaxed);
                    service.deliver(&turn(&format!("conv_{client}"), n)).expect(201);
                    service.get("/api/v1/calls?limit=100&q=degrees").expect(200);
                }
            });
        }
        wait_for("some load", || (delivered.load(Ordering::Relaxed) > 50).then_some(()));
        service.delete("/api/v1/calls/conv_erased").expect(204);
        let start = Instant::now();
        // The other call's recording has the same words.
        std::fs::remove_file(folder.path().join("recordings/conv_kept.mp3")).unwrap();
        wait_for("the words to be gone", || with_any(folder.path(), &texts).is_empty().then_some(()));
        let took = start.elapsed();
        done.store(true, Ordering::Relaxed);
        assert!(took < Duration::from_secs(10), "{took:?}");
    });
    assert_eq!(indexed(), 0);
    service.get("/api/v1/dispatches/conv_erased").expect(404);
    let kept = service.get("/api/v1/calls/conv_kept").expect(200).json();
    assert_eq!(kept["summary"], "montevideo in the summary");
    let connection = service.sqlite();
    let integrity: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
    // With no load at all as well.
    wait_for("quiet", || (service.database().with_extension("db-wal").metadata().unwrap().len() == 0).then_some(()));
    service.delete("/api/v1/calls/conv_kept").expect(204);
    let texts = ["montevideo", "conv_kept"].map(str::to_owned);
    wait_for("the words to be gone", || with_any(folder.path(), &texts).is_empty().then_some(()));
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

#[test]
fn rows_that_moved_between_pages_leave_nothing_behind_when_they_are_erased() {
    // SQLite's own overwriting leaves copies where pages were split, which only many rows of many sizes bring about.
    let folder = tempfile::tempdir().unwrap();
    let options = Options { path: folder.path().join("calls.db"), busy_timeout: Duration::from_secs(5), readers: 1 };
    let store = SqliteStore::open(&options).unwrap();
    let now = Timestamp::parse("2026-09-28T13:00:00Z").unwrap();
    let apply = |writes: &[Write]| assert!(store.apply(now, writes).unwrap().iter().all(Result::is_ok));
    let (mut dice, mut live, mut erased) = (Dice(7), Vec::new(), Vec::new());
    let words = |n: usize| format!("WORDS{n:04}");
    for n in 0..1500 {
        let many = |dice: &mut Dice, n: usize| format!("{} ", words(n)).repeat(1 + dice.below(25));
        match dice.below(10) {
            0..4 => {
                live.push(n);
                let body = json!({"conversation_id": format!("conv_{n:04}"), "speaker": "user",
                    "message": many(&mut dice, n), "timestamp": "2026-09-28T12:00:05Z"});
                apply(&[Write::AppendTurn(parse_turn(body.to_string().as_bytes(), None).unwrap())]);
            }
            4 | 5 if !live.is_empty() => {
                let of = live[dice.below(live.len())];
                let body = json!({"conversation_id": format!("conv_{of:04}"), "timestamp": "2026-09-28T12:00:10Z",
                    "history": {"entries": [{"role": "agent", "message": many(&mut dice, of)}]}});
                apply(&[Write::KeepHistory(Box::new(parse_history(body.to_string().as_bytes()).unwrap()))]);
            }
            6 | 7 if !live.is_empty() => {
                let of = live[dice.below(live.len())];
                let mut event = record(&format!("conv_{of:04}"), &many(&mut dice, of));
                event["event_timestamp"] = json!(RECORD_START + i64::try_from(n).unwrap());
                apply(&[Write::KeepEvent(Box::new(event::parse_body(event.to_string().into())))]);
            }
            8 | 9 if live.len() > 20 => {
                let of = live.swap_remove(dice.below(live.len()));
                erased.push(of);
                apply(&[Write::EraseCall(ConversationId::new(&format!("conv_{of:04}")).unwrap())]);
                if dice.below(20) == 0 {
                    assert_eq!(store.purge(Duration::ZERO).unwrap(), Forgotten::All);
                }
            }
            _ => {}
        }
    }
    assert!(erased.len() > 100 && live.len() > 100, "{} {}", erased.len(), live.len());
    assert_eq!(store.purge(Duration::ZERO).unwrap(), Forgotten::All);
    let gone: Vec<_> = erased.iter().flat_map(|n| [words(*n), format!("conv_{n:04}")]).collect();
    let all: Vec<u8> = files_below(folder.path()).iter().flat_map(|path| std::fs::read(path).unwrap()).collect();
    let left: Vec<_> = gone.iter().filter(|text| memmem(&all, text.as_bytes())).collect();
    assert_eq!(left, Vec::<&String>::new());
    assert!(live.iter().all(|n| memmem(&all, words(*n).as_bytes())), "the others are there");
}

#[test]
fn what_elevenlabs_reports_of_an_erased_call_later_is_not_kept_but_a_new_turn_is() {
    let folder = tempfile::tempdir().unwrap();
    let service = with_recordings(folder.path());
    make_known(&service, "conv_a", "zanzibar");
    service.delete("/api/v1/calls/conv_a").expect(204);
    let answer = post_signed(&service, &record("conv_a", "zanzibar").to_string());
    assert_eq!((answer.status, service.events_stored()), (200, 0));
    let audio = json!({"type": "post_call_audio", "event_timestamp": RECORD_START,
        "data": {"agent_id": "agent_1", "conversation_id": "conv_a", "full_audio": "U0VDUkVU"}});
    let answer = post_signed(&service, &audio.to_string());
    assert_eq!((answer.status, service.events_stored()), (200, 0));
    let history = json!({"conversation_id": "conv_a", "timestamp": "2026-09-28T12:00:10Z",
        "history": {"entries": [{"role": "user", "message": "zanzibar"}]}});
    service.post("/webhooks/elevenlabs/history", &history).expect(200);
    service.get("/api/v1/calls/conv_a").expect(404);
    assert_eq!(std::fs::read_dir(folder.path().join("recordings")).unwrap().count(), 0);
    // Nor does a later backfill ask for it.
    let elevenlabs = FakeElevenLabs::start(vec![record("conv_a", "zanzibar")["data"].clone()], 10);
    let out = binary()
        .args(["backfill", "--since", "2026-01-01T00:00:00Z", "--elevenlabs-base-url", &elevenlabs.url(), "--json"])
        .arg("--database")
        .arg(service.database())
        .env("TRANSCRIBE_HOOK_ELEVENLABS_API_KEY", KEY)
        .output()
        .unwrap();
    assert!(out.status.success(), "{out:?}");
    assert!(!elevenlabs.requests().iter().any(|path| path.contains("conv_a")), "{:?}", elevenlabs.requests());

    // The same turn once more is a new one: nothing remembers the one before.
    let mut said = turn("conv_a", 1);
    said["message"] = json!("zanzibar in a turn");
    let answer = service.deliver(&said).expect(201);
    assert_eq!((answer.header("idempotent-replayed"), &answer.json()["sequence_number"]), (None, &json!(1)));
    assert_eq!(post_signed(&service, &record("conv_a", "zanzibar").to_string()).status, 200);
    let call = service.get("/api/v1/calls/conv_a").expect(200).json();
    assert_eq!((&call["turn_count"], &call["summary"]), (&json!(1), &Value::Null));
    // As it is after a restart.
    let database = service.database().to_owned();
    service.stop();
    let service = Service::start_on(&database, &["--elevenlabs-secret", SECRET]);
    let answer = post_signed(&service, &record("conv_a", "zanzibar").to_string());
    assert_eq!((answer.status, service.events_stored()), (200, 0));
    assert!(service.post_raw(POST_CALL, &[("content-type", "application/json")], b"{}").status == 401);
}

fn command(args: &[&str], folder: &Path) -> Output {
    let mut command = binary();
    command.args(args).arg("--database").arg(folder.join("calls.db")).arg("--audio-dir").arg(folder.join("recordings"));
    command.output().unwrap()
}

fn report(out: &Output) -> Value {
    assert!(out.status.success(), "{out:?}");
    serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("{error} in {out:?}"))
}

/// Two drivers with two calls each, and a dispatch without a call.
fn two_drivers(folder: &Path) -> Service {
    let service = with_recordings(folder);
    service.put("/api/v1/drivers/7", &json!({"name": "Jo Brandt", "phone_number": "+15550100007"})).expect(201);
    for (id, words) in
        [("conv_1", "zanzibar"), ("conv_2", "zanzibar"), ("conv_3", "montevideo"), ("conv_4", "montevideo")]
    {
        make_known(&service, id, words);
    }
    for id in ["conv_3", "conv_4", "conv_5"] {
        service.put(&format!("/api/v1/dispatches/{id}"), &json!({"driver_id": 7, "phone_number": "+15550100007"}));
    }
    service.put("/api/v1/dispatches/conv_6", &json!({"driver_id": 1042, "phone_number": "+15550100042"})).expect(201);
    service
}

fn assert_only_the_second_driver_is_left(service: &Service, folder: &Path) {
    let gone = ["zanzibar", "Kowalski", "+15550100042", "conv_1", "conv_2", "conv_6"].map(str::to_owned);
    let start = Instant::now();
    while let Some(left) = with_any(folder, &gone).first() {
        assert!(start.elapsed() < Duration::from_secs(20), "{left:?}");
        std::thread::yield_now();
    }
    let calls = service.get("/api/v1/calls").expect(200).json();
    assert_eq!(calls["data"].as_array().unwrap().len(), 2);
    assert_eq!(service.get("/api/v1/calls/conv_4").expect(200).json()["driver_id"], 7);
    service.get("/api/v1/dispatches/conv_5").expect(200);
    let mut recordings: Vec<_> =
        std::fs::read_dir(folder.join("recordings")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    recordings.sort();
    assert_eq!(recordings, ["conv_3.mp3", "conv_4.mp3"]);
}

#[test]
fn all_of_a_driver_is_erased_by_one_request() {
    let folder = tempfile::tempdir().unwrap();
    let service = two_drivers(folder.path());
    service.delete("/api/v1/drivers/1042?erase_calls=yes").expect_error(400);
    service.delete("/api/v1/drivers/1042?erase_all=true").expect_error(400);
    service.delete("/api/v1/drivers/1042?erase_calls=true").expect(204);
    assert_only_the_second_driver_is_left(&service, folder.path());
    service.delete("/api/v1/drivers/1042?erase_calls=true").expect_error(404);
    // Without it, calls stay.
    service.delete("/api/v1/drivers/7?erase_calls=false").expect(204);
    assert_eq!(service.get("/api/v1/calls/conv_4").expect(200).json()["driver_id"], Value::Null);
}

#[test]
fn an_erasure_that_fails_half_way_says_what_it_did_and_continues_when_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let service = two_drivers(folder.path());
    // A folder in the place of a recording cannot be deleted as a file.
    let recording = folder.path().join("recordings/conv_2.mp3");
    std::fs::remove_file(&recording).unwrap();
    std::fs::create_dir(&recording).unwrap();
    let error = service.delete("/api/v1/drivers/1042?erase_calls=true").expect_error(500);
    assert!(error["details"].as_str().is_some_and(|done| done.contains("1 calls")), "{error}");
    service.get("/api/v1/calls/conv_1").expect(404);
    service.get("/api/v1/calls/conv_2").expect(200);
    let logged = service.wait_logged("warn", "driver_erasure");
    assert_eq!((&logged["driver_id"], &logged["calls"]), (&json!(1042), &json!(1)), "{logged}");
    assert!(service.logged("info", "driver_erasure").is_empty());
    std::fs::remove_dir(&recording).unwrap();
    service.delete("/api/v1/drivers/1042?erase_calls=true").expect(204);
    assert_only_the_second_driver_is_left(&service, folder.path());
}

#[test]
fn the_command_erases_beside_the_service_and_says_before_what_it_would_erase() {
    let folder = tempfile::tempdir().unwrap();
    let service = two_drivers(folder.path());
    // The first turn of a call that runs is in the service's memory.
    service.deliver(&turn("conv_4", 5)).expect(201);
    for flags in [&["erase", "--driver", "1042"][..], &["erase", "--yes"], &["erase", "--driver", "x", "--yes"]] {
        assert_eq!(command(flags, folder.path()).status.code(), Some(2), "{flags:?}");
    }
    let out = command(&["erase", "--driver", "1042", "--dry-run", "--json"], folder.path());
    assert_eq!(report(&out), json!({"drivers": 1, "calls": 2, "events": 2, "dispatches": 1, "dry_run": true}));
    service.get("/api/v1/calls/conv_1").expect(200);
    let out = command(&["erase", "--driver", "1042", "--yes", "--json"], folder.path());
    assert_eq!(report(&out), json!({"drivers": 1, "calls": 2, "events": 2, "dispatches": 1, "dry_run": false}));
    // When the command has ended, nothing is left, although the service has written nothing since.
    let gone = ["zanzibar", "Kowalski"].map(str::to_owned);
    assert_eq!(with_any(folder.path(), &gone), []);
    assert_only_the_second_driver_is_left(&service, folder.path());
    let out = command(&["erase", "--conversation", "conv_4", "--yes"], folder.path());
    assert_snapshot!("command", String::from_utf8_lossy(&out.stdout));
    let out = command(&["erase", "--conversation", "conv_4", "--yes"], folder.path());
    assert_eq!(out.status.code(), Some(1));
    // The service has noticed, too.
    let answer = service.deliver(&turn("conv_4", 5)).expect(201);
    assert_eq!((answer.header("idempotent-replayed"), &answer.json()["sequence_number"]), (None, &json!(1)));
}

#[test]
fn who_reads_an_older_state_keeps_the_words_and_the_operator_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let service = with_recordings(folder.path());
    make_known(&service, "conv_a", "zanzibar");
    let reader = service.sqlite();
    reader.execute_batch("BEGIN").unwrap();
    let _: i64 = reader.query_row("SELECT count(*) FROM calls", [], |row| row.get(0)).unwrap();
    service.delete("/api/v1/calls/conv_a").expect(204);
    service.wait_logged("warn", "purge_schedule");
    // Meanwhile everything goes on.
    service.deliver(&turn("conv_b", 1)).expect(201);
    service.get("/api/v1/calls/conv_a").expect(404);
    assert!(!with_any(folder.path(), &["zanzibar".to_owned()]).is_empty());
    reader.execute_batch("COMMIT").unwrap();
    wait_for("the words to be gone", || with_any(folder.path(), &["zanzibar".to_owned()]).is_empty().then_some(()));
    let purged = service.wait_logged("info", "purge_schedule");
    assert!(purged["seconds"].is_u64(), "{purged}");
}
