//! Expired calls are erased: by the command and by the service, wholly or not at all, and nothing else with them.

use crate::support::service::{Service, binary, open, wait_for};
use crate::support::turns::turn;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use transcribe_hook::domain::driver_form::{parse_dispatch, parse_driver};
use transcribe_hook::domain::validation::FieldReader;
use transcribe_hook::domain::{CallChange, CallEnd, CallStatus, ConversationId, DriverId, Timestamp};
use transcribe_hook::elevenlabs::turn::parse_turn;
use transcribe_hook::elevenlabs::{parse_history, sample_call};
use transcribe_hook::ingest::executor::reconcile_in;
use transcribe_hook::ingest::{event, reconciler};
use transcribe_hook::store::sqlite::{Options, SqliteStore};
use transcribe_hook::store::{Commands as _, Write};

const DAY: i64 = 24 * 3600;

/// A database whose items arrived at other times than now.
struct Past(SqliteStore);

impl Past {
    fn open(database: &Path) -> Self {
        let options = Options { path: database.to_owned(), busy_timeout: Duration::from_secs(5), readers: 1 };
        // A process that another test starts holds the lock of a store that was just closed, until it runs its program.
        Self(wait_for("the store to open", || SqliteStore::open(&options).ok()))
    }

    fn arrived(&self, at: Timestamp, write: Write) {
        self.0.apply(at, &[write]).unwrap().remove(0).unwrap();
    }

    fn turn(&self, id: &str, said: Timestamp, arrived: Timestamp) {
        let mut turn = turn(id, 1);
        turn["timestamp"] = json!(said.to_string());
        self.arrived(arrived, Write::AppendTurn(parse_turn(turn.to_string().as_bytes(), None).unwrap()));
    }

    fn over(&self, id: &str, end: Timestamp) {
        let change = CallChange { status: Some(CallStatus::Completed), call_end_time: Some(CallEnd::At(end)) };
        self.arrived(end, Write::ChangeCall(ConversationId::new(id).unwrap(), change));
    }

    fn record(&self, id: &str, began: Timestamp, arrived: Timestamp) {
        let event = sample_call::post_call(id, began.unix_micros().div_euclid(1_000_000));
        self.arrived(arrived, Write::KeepEvent(Box::new(event::parse_body(event.to_string().into()))));
        reconciler::reconcile_all_due(&self.0, |slices| reconcile_in(&self.0, arrived, slices)).unwrap();
    }

    fn unreadable(&self, arrived: Timestamp) {
        let event = event::parse_body(format!("{{\"of\": \"{arrived}\", cut").into());
        self.arrived(arrived, Write::KeepEvent(Box::new(event)));
    }

    fn dispatch(&self, id: &str, at: Timestamp) {
        let fields = FieldReader::from_json(
            json!({"conversation_id": id, "driver_id": 1042, "dispatched_at": at.to_string()}).to_string().as_bytes(),
        );
        self.arrived(at, Write::PutDispatches(vec![parse_dispatch(fields.unwrap(), None).unwrap()]));
    }

    fn driver(&self) {
        let fields = FieldReader::from_json(br#"{"name": "Maria Kowalski"}"#).unwrap();
        let driver = parse_driver(fields, Some(DriverId::new(1042).unwrap())).unwrap();
        self.arrived(Timestamp::now(), Write::PutDrivers(vec![driver]));
    }
}

fn ago(days: i64) -> Timestamp {
    Timestamp::now().plus_seconds(-days * DAY).unwrap()
}

fn prune(database: &Path, flags: &[&str]) -> Output {
    binary().args(["prune", "--older-than", "90d", "--database"]).arg(database).args(flags).output().unwrap()
}

fn report(out: &Output) -> (Value, Value, Value) {
    assert!(out.status.success(), "{out:?}");
    let mut report: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("{error} in {out:?}"));
    (report["calls"].take(), report["events"].take(), report["dispatches"].take())
}

fn column(database: &Path, sql: &str) -> Vec<String> {
    let connection = open(database);
    let mut select = connection.prepare(sql).unwrap();
    select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn calls(database: &Path) -> Vec<String> {
    column(database, "SELECT conversation_id FROM calls ORDER BY conversation_id")
}

/// One of each that is old, and one of each that is not.
fn fill(database: &Path) {
    let past = Past::open(database);
    past.driver();
    past.turn("old_over", ago(101), ago(101));
    past.over("old_over", ago(100));
    past.dispatch("old_over", ago(101));
    past.turn("new_over_of_old_start", ago(101), ago(101));
    past.over("new_over_of_old_start", ago(80));
    past.turn("old_silent", ago(100), ago(100));
    past.turn("new_that_still_runs", ago(100), ago(1));
    // A language model that made the time up, either way.
    let (long_ago, to_come) = ("2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z");
    past.turn("new_with_an_old_time", Timestamp::parse(long_ago).unwrap(), ago(10));
    past.over("new_with_an_old_time", ago(10));
    past.turn("old_with_a_time_to_come", Timestamp::parse(to_come).unwrap(), ago(100));
    past.arrived(
        ago(99),
        Write::ChangeCall(
            ConversationId::new("old_with_a_time_to_come").unwrap(),
            CallChange { status: Some(CallStatus::Failed), call_end_time: None },
        ),
    );
    // Fetched today.
    past.record("old_fetched", ago(100), Timestamp::now());
    past.record("new_fetched", ago(80), Timestamp::now());
    past.unreadable(ago(100));
    past.unreadable(ago(1));
    past.dispatch("old_never_answered", ago(100));
    past.dispatch("new_never_answered", ago(1));
    past.dispatch("new_that_still_runs", ago(100));
    // By which it is seen that the clock is right.
    past.turn("new_today", ago(0), ago(0));
}

fn assert_pruned(database: &Path) {
    let new = ["new_fetched", "new_over_of_old_start", "new_that_still_runs", "new_today", "new_with_an_old_time"];
    assert_eq!(calls(database), new);
    let dispatches = column(database, "SELECT conversation_id FROM call_dispatches ORDER BY conversation_id");
    assert_eq!(dispatches, ["new_never_answered", "new_that_still_runs"]);
    let events = column(database, "SELECT ifnull(conversation_id, 'unreadable') FROM webhook_events ORDER BY id");
    assert_eq!(events, ["new_fetched", "unreadable"]);
}

#[test]
fn what_is_old_goes_by_the_last_sign_of_life_and_dry_runs_say_so_before() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    fill(&database);
    let all = calls(&database);
    assert_eq!(all.len(), 9);
    assert_eq!(prune(&database, &[]).status.code(), Some(2), "it is to be meant");
    assert_eq!(report(&prune(&database, &["--dry-run", "--json"])), (json!(4), json!(1), json!(1)));
    assert_eq!(calls(&database), all);
    assert_eq!(report(&prune(&database, &["--yes", "--json"])), (json!(4), json!(1), json!(1)));
    assert_pruned(&database);
    assert_eq!(report(&prune(&database, &["--yes", "--json"])), (json!(0), json!(0), json!(0)));
    // What was pruned may be fetched again, unlike what was erased, and is pruned again.
    Past::open(&database).record("old_fetched", ago(100), Timestamp::now());
    assert_eq!(report(&prune(&database, &["--yes", "--json"])), (json!(1), json!(0), json!(0)));
    let too_short = binary().args(["prune", "--older-than", "1h", "--yes"]).output().unwrap();
    assert_eq!(too_short.status.code(), Some(2), "{too_short:?}");
    let missing = prune(&folder.path().join("missing.db"), &["--yes"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(!folder.path().join("missing.db").exists());
}

#[test]
fn a_service_with_a_retention_erases_by_itself_with_recordings_while_turns_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    fill(&database);
    let audio = folder.path().join("recordings");
    std::fs::create_dir(&audio).unwrap();
    for id in ["old_over", "new_that_still_runs"] {
        std::fs::write(audio.join(format!("{id}.mp3")), "audio").unwrap();
    }
    let flags = ["--retention", "90d", "--audio-dir", audio.to_str().unwrap(), "--stale-after", "0s"];
    let service = Service::start_on(&database, &flags);
    wait_for("the old to be gone", || (calls(&database).len() == 5).then_some(()));
    for n in 0..20 {
        service.deliver(&turn("new_that_still_runs", n * 1000)).expect(201);
    }
    let told = service.wait_logged("info", "retention::schedule");
    assert_eq!((&told["calls"], &told["events"], &told["dispatches"]), (&json!(4), &json!(1), &json!(1)), "{told}");
    assert_pruned(&database);
    let recordings: Vec<_> = std::fs::read_dir(&audio).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(recordings, ["new_that_still_runs.mp3"]);
    let shorter = binary().args(["serve", "--retention", "1d", "--stale-after", "2d"]).output().unwrap();
    assert_eq!(shorter.status.code(), Some(2), "{shorter:?}");
    assert!(String::from_utf8_lossy(&shorter.stderr).contains("--stale-after"), "{shorter:?}");
}

#[test]
fn killed_while_it_prunes_it_leaves_each_call_whole_or_gone() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let add_calls = |from: usize| {
        let past = Past::open(&database);
        for n in from..from + 150 {
            let id = format!("conv_{n}");
            past.dispatch(&id, ago(100));
            past.turn(&id, ago(100), ago(100));
            let body = json!({"conversation_id": id, "timestamp": ago(100).to_string(),
                "history": {"entries": [{"role": "user", "message": "Yeah, I'm parked."}]}});
            let history = parse_history(body.to_string().as_bytes()).unwrap();
            past.arrived(ago(100), Write::KeepHistory(Box::new(history)));
            past.record(&id, ago(100), ago(100));
        }
    };
    let calls =
        |database: &Path| -> Vec<String> { calls(database).into_iter().filter(|id| id.starts_with("conv_")).collect() };
    let past = Past::open(&database);
    past.driver();
    // By which it is seen that the clock is right.
    past.turn("today", ago(0), ago(0));
    drop(past);
    // Four times in its midst; on a busy machine it may be through before it is killed. Every second time the service
    // does it.
    let (mut midst, mut round) = (0, 0);
    while midst < 4 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_transcribe-hook"));
        if round % 2 == 0 {
            command.args(["prune", "--older-than", "90d", "--yes"]);
        } else {
            command.args(["serve", "--retention", "90d", "--listen", "127.0.0.1:0"]);
        }
        if calls(&database).is_empty() {
            add_calls(150 * round);
        }
        let before = calls(&database).len();
        let mut child =
            command.arg("--database").arg(&database).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // It comes some way, and then is killed wherever it happens to be.
        wait_for("some calls to be gone", || {
            let count = calls(&database).len();
            (count == 0 || count + 5 <= before).then_some(())
        });
        let _ = child.kill();
        child.wait().unwrap();
        round += 1;
        midst += usize::from(!calls(&database).is_empty());
        assert!(round < 100, "it is never killed in its midst");
        let halves = column(
            &database,
            "SELECT conversation_id FROM (SELECT conversation_id FROM calls UNION SELECT conversation_id \
             FROM webhook_events \
             UNION SELECT conversation_id FROM call_transcriptions UNION SELECT conversation_id FROM call_histories \
             UNION SELECT conversation_id FROM call_dispatches) k \
             WHERE NOT EXISTS (SELECT 1 FROM calls c WHERE c.conversation_id = k.conversation_id AND c.turn_count = \
                (SELECT count(*) FROM call_transcriptions t WHERE t.conversation_id = k.conversation_id)) \
             OR k.conversation_id <> 'today' AND (k.conversation_id NOT IN (SELECT conversation_id \
             FROM webhook_events) OR k.conversation_id NOT IN (SELECT conversation_id FROM call_histories) \
             OR k.conversation_id NOT IN (SELECT conversation_id FROM call_dispatches))",
        );
        assert_eq!(halves, Vec::<String>::new());
        assert_eq!(column(&database, "PRAGMA integrity_check"), ["ok"]);
    }
}
