//! A transaction that does not fit into SQLite's cache fails, another process commits, and the first one goes on: what
//! the failed one left behind must not reach a commit of anybody.

use crate::support::database::{assert_sound, expected, stored};
use crate::support::service::{Service, binary, open, wait_for};
use crate::support::turns::turn;
use crate::support::whole_call::{SECRET, post_signed};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use transcribe_hook::domain::reconcile::settle;
use transcribe_hook::domain::{
    Access, AccessAction, CallChange, CallSid, CallStatus, ConversationId, Credential, DriverId, Identity, NewDispatch,
    NewDriver, NewEvent, NewInitiation, Role, Timestamp, UserName,
};
use transcribe_hook::elevenlabs::turn::parse_turn;
use transcribe_hook::elevenlabs::{parse_history, sample_call};
use transcribe_hook::ingest::event;
use transcribe_hook::store::sqlite::{Options, SqliteStore};
use transcribe_hook::store::{
    AlertMatch, ArchiveRecord, Commands as _, DeliveryOutcome, EndpointId, Maintenance as _, Reads as _, Settlement,
    StoredTurn, Write, Written,
};

const KINDS: usize = 26;

/// Drivers that the other process imports. They take more pages than the failed transaction leaves in the WAL.
const IMPORTED: i64 = 4000;

/// The place of a kind in [`of_each_kind`]. Without a wildcard, so that a new kind must be added to both.
fn kind(write: &Write) -> usize {
    match write {
        Write::AppendTurn(_) => 0,
        Write::PutDrivers(_) => 1,
        Write::DeleteDriver(_) => 2,
        Write::PutDispatches(_) => 3,
        Write::DeleteDispatch(_) => 4,
        Write::ChangeCall(..) => 5,
        Write::EraseCall(_) => 6,
        Write::PruneCall(..) => 7,
        Write::PruneEvents(_) => 8,
        Write::PruneDispatches(_) => 9,
        Write::KeepEvent(_) => 10,
        Write::ReplayEvent(..) => 11,
        Write::KeepHistory(_) => 12,
        Write::EndStaleCalls(..) => 13,
        Write::Restore(_) => 14,
        Write::Probe => 15,
        Write::Reconcile(_) => 16,
        Write::NoteRecordings(..) => 17,
        Write::RereadEvent(..) => 18,
        Write::StoreInitiation(_) => 19,
        Write::NoteAccesses(_) => 20,
        Write::PruneAccesses(_) => 21,
        Write::NoteAlerts(..) => 22,
        Write::SetEndpoints(_) => 23,
        Write::SettleDeliveries(_) => 24,
        Write::RetryDeliveries(..) => 25,
        Write::ContinueRestore(..) => unreachable!("it goes on with a call that another write has begun"),
    }
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn now() -> Timestamp {
    at("2026-09-28T13:00:00Z")
}

fn conversation(id: &str) -> ConversationId {
    ConversationId::new(id).unwrap()
}

fn said(id: &str, n: usize, message: &str) -> Write {
    let mut turn = turn(id, n);
    turn["message"] = json!(message);
    Write::AppendTurn(parse_turn(turn.to_string().as_bytes(), None).unwrap())
}

fn driver(id: i64) -> NewDriver {
    NewDriver { id: DriverId::new(id).unwrap(), name: format!("Driver {id}"), phone_number: None }
}

fn dispatch(id: &str) -> NewDispatch {
    NewDispatch {
        conversation_id: conversation(id),
        driver_id: DriverId::new(1).unwrap(),
        phone_number: None,
        batch_id: None,
        dispatched_at: Some(at("2026-09-28T11:00:00Z")),
    }
}

fn access(time: &str) -> Access {
    let identity = Identity { name: UserName::new("anna").ok(), role: Role::Read, credential: Credential::Token };
    Access { at: at(time), identity, action: AccessAction::Read, conversation_id: Some(conversation("conv_kept")) }
}

fn event(body: &str) -> NewEvent {
    event::parse_body(body.to_owned().into_bytes().into())
}

fn unreadable() -> NewEvent {
    event("{\"cut\": ")
}

fn record(id: &str) -> NewEvent {
    event(&sample_call::post_call(id, 1_790_596_800).to_string())
}

fn history(id: &str) -> Write {
    let entries = json!([{"role": "user", "message": "I am parked."}]);
    let body = json!({"conversation_id": id, "timestamp": "2026-09-28T12:00:10Z", "history": {"entries": entries}});
    Write::KeepHistory(Box::new(parse_history(body.to_string().as_bytes()).unwrap()))
}

/// Returns the writes before the test, which make each write of [`of_each_kind`] do something.
fn before() -> Vec<Write> {
    let mut writes = vec![
        Write::SetEndpoints(vec![EndpointId::of_number(1)]),
        Write::PutDrivers(vec![driver(1), driver(2)]),
        Write::PutDispatches(vec![dispatch("conv_dispatched"), dispatch("conv_never")]),
        Write::KeepEvent(Box::new(unreadable())),
        Write::KeepEvent(Box::new(record("conv_event"))),
        Write::NoteAccesses(vec![access("2026-09-28T12:00:00Z")]),
    ];
    for id in ["conv_changed", "conv_erased", "conv_pruned", "conv_kept"] {
        writes.extend((0..5).map(|n| said(id, n, &format!("Words {n} of {id}"))));
    }
    writes
}

/// Returns the reconciliation of `conv_event`, which is the same over every store that [`before`] was written to.
fn reconciliation() -> Write {
    let attacked = Attacked::new();
    let material = attacked.store.material(&conversation("conv_event")).unwrap().expect("a record came");
    let slice = settle(material, now()).next_slice().expect("something is to be stored");
    Write::Reconcile(Box::new(slice))
}

fn of_each_kind() -> Vec<Write> {
    let archived =
        json!({"id": 50, "name": "Restored", "created_at": now().to_string(), "updated_at": now().to_string()});
    let completed = CallChange { status: Some(CallStatus::Completed), call_end_time: None };
    let alert =
        AlertMatch { conversation_id: conversation("conv_kept"), transcription_id: 20, name: "fire".to_owned() };
    let mut settlement = Settlement::new(EndpointId::of_number(1));
    settlement.position = 1;
    settlement.outcomes = vec![(1, DeliveryOutcome::Retry { at: now(), status: None })];
    let writes = vec![
        said("conv_new", 1, "Words of a new call"),
        Write::PutDrivers((10..40).map(driver).collect()),
        Write::DeleteDriver(DriverId::new(2).unwrap()),
        Write::PutDispatches(vec![dispatch("conv_changed"), dispatch("conv_other")]),
        Write::DeleteDispatch(conversation("conv_dispatched")),
        Write::ChangeCall(conversation("conv_changed"), completed),
        Write::EraseCall(conversation("conv_erased")),
        Write::PruneCall(conversation("conv_pruned"), at("2027-01-01T00:00:00Z")),
        Write::PruneEvents(vec![1]),
        Write::PruneDispatches(vec![conversation("conv_never")]),
        Write::KeepEvent(Box::new(record("conv_changed"))),
        Write::ReplayEvent(2, Box::new(record("conv_event"))),
        history("conv_changed"),
        Write::EndStaleCalls(at("2027-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z")),
        Write::Restore(Box::new(ArchiveRecord::Driver(archived.as_object().unwrap().clone()))),
        Write::Probe,
        reconciliation(),
        Write::NoteRecordings(vec![conversation("conv_kept"), conversation("conv_to_come")], true),
        Write::RereadEvent(2, Box::new(record("conv_event_of_an_older_version"))),
        Write::StoreInitiation(NewInitiation {
            call_sid: CallSid::from_sender("CA1").unwrap(),
            conversation_id: Some(conversation("conv_kept")),
            driver_id: DriverId::new(1).unwrap(),
        }),
        Write::NoteAccesses(vec![access("2026-09-28T12:30:00Z")]),
        Write::PruneAccesses(at("2026-09-28T12:15:00Z")),
        Write::NoteAlerts(vec![alert], Some(1)),
        Write::SetEndpoints(vec![EndpointId::of_number(1), EndpointId::of_number(2)]),
        Write::SettleDeliveries(Box::new(settlement)),
        Write::RetryDeliveries(EndpointId::of_number(1), Vec::new()),
    ];
    assert!(writes.iter().map(kind).eq(0..KINDS), "each kind is there once");
    writes
}

/// Imports drivers by a process of its own.
fn import_drivers(database: &Path, first: i64) {
    let name = "n".repeat(150);
    let mut lines = vec!["id,name".to_owned()];
    lines.extend((first..first + IMPORTED).map(|id| format!("{id},{id} {name}")));
    let file = database.with_extension("csv");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let out = binary().args(["import", "drivers"]).arg(file).arg("--database").arg(database).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

/// A store, and what it has acknowledged.
struct Attacked {
    folder: tempfile::TempDir,
    store: SqliteStore,
    acknowledged: Vec<(i64, i64)>,
    imported: i64,
}

impl Attacked {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Self::open(&folder.path().join("calls.db"));
        let mut attacked = Self { folder, store, acknowledged: Vec::new(), imported: 0 };
        attacked.acknowledge(&before());
        rusqlite::Connection::open(attacked.database()).unwrap().execute_batch(POISON).unwrap();
        let listed = "INSERT INTO event_rereads VALUES (2)";
        rusqlite::Connection::open(attacked.database()).unwrap().execute_batch(listed).unwrap();
        attacked
    }

    fn open(database: &Path) -> SqliteStore {
        let options = Options { path: database.to_owned(), busy_timeout: Duration::from_secs(10), readers: 1 };
        SqliteStore::open(&options).unwrap()
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("calls.db")
    }

    fn wal(&self) -> PathBuf {
        self.folder.path().join("calls.db-wal")
    }

    fn acknowledge(&mut self, writes: &[Write]) {
        for outcome in self.store.apply(now(), writes).unwrap() {
            if let Written::Turn(StoredTurn { transcription_id, sequence_number, .. }) = outcome.unwrap() {
                self.acknowledged.push((transcription_id, sequence_number));
            }
        }
    }

    /// Fails with so many bytes of words before the write.
    fn fail(&self, write: &Write, bytes: usize) {
        let words = "w".repeat(60_000);
        let mut batch: Vec<_> =
            (0..bytes / words.len()).map(|n| said("conv_failed", n, &format!("{n} {words}"))).collect();
        batch.push(write.clone());
        batch.push(said("conv_failed", 999, "poison"));
        self.store.apply(now(), &batch).expect_err("the last write is refused");
    }

    /// Another process commits.
    fn import(&mut self) {
        import_drivers(&self.database(), 1000);
        self.imported = IMPORTED;
    }

    /// All that was acknowledged is there, also if all processes are killed now, whose files then stay as they are.
    fn assert_nothing_is_lost(&self, case: &str) {
        let killed = tempfile::tempdir().unwrap();
        // By another process: closing the file here would give up the locks that this one holds.
        let copied = Command::new("cp").arg(self.database()).arg(self.wal()).arg(killed.path()).status().unwrap();
        assert!(copied.success());
        let after_kill = killed.path().join("calls.db");
        drop(Self::open(&after_kill));
        for (database, when) in [(self.database(), "alive"), (after_kill, "killed")] {
            let case = format!("{case}, {when}");
            assert_sound(&database, &case);
            let found: Vec<_> = stored(&database).into_iter().map(|(_, id, sequence)| (id, sequence)).collect();
            let lost: Vec<_> = self.acknowledged.iter().filter(|turn| !found.contains(turn)).collect();
            assert!(lost.is_empty(), "{case}: {lost:?}");
            let imported: i64 = open(&database)
                .query_row("SELECT count(*) FROM drivers WHERE id >= 1000", [], |row| row.get(0))
                .unwrap();
            assert_eq!(imported, self.imported, "{case}");
        }
    }
}

const POISON: &str = "CREATE TRIGGER refuses BEFORE INSERT ON call_transcriptions WHEN NEW.message_text LIKE \
    '%poison%' BEGIN SELECT RAISE(ABORT, 'refused by a rule'); END";

fn attack(write: &Write, bytes: usize) {
    let case = format!("{} after {bytes} bytes", kind(write));
    let mut attacked = Attacked::new();
    // With an empty WAL, rolling back reads nothing of the WAL.
    assert!(attacked.store.rest().unwrap());
    attacked.fail(write, bytes);
    attacked.assert_nothing_is_lost(&format!("{case}, failed"));
    attacked.import();
    attacked.assert_nothing_is_lost(&format!("{case}, another process has committed"));
    attacked.acknowledge(&[said("conv_kept", 100, "Words afterwards")]);
    attacked.assert_nothing_is_lost(&format!("{case}, a turn was stored"));
    // Now the write alone does what it is for.
    let outcome = attacked.store.apply(now(), std::slice::from_ref(write)).unwrap().remove(0);
    assert!(outcome.is_ok(), "{case}: {outcome:?}");
    attacked.store.apply(now(), &[said("conv_kept", 101, "Words at the end")]).unwrap();
    assert!(attacked.store.rest().unwrap());
    assert_sound(&attacked.database(), &case);
}

#[test]
fn a_large_transaction_that_fails_costs_no_other_commit_whatever_it_was_to_do() {
    for write in of_each_kind() {
        attack(&write, 2_400_000);
    }
}

#[test]
fn a_transaction_of_tens_of_megabytes_fails_without_harm_as_well() {
    attack(&said("conv_new", 1, "Words of a new call"), 72_000_000);
}

#[test]
fn an_event_of_megabytes_that_fails_costs_neither_an_import_beside_it_nor_the_next_turn() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let mut service = Service::start_on(&database, &["--elevenlabs-secret", SECRET]);
    let mut acknowledged = Vec::new();
    let mut deliver = |service: &Service, n: usize| {
        let turn = turn("conv_a", n);
        let answer = service.deliver(&turn).expect(201);
        acknowledged.push(expected(&turn, &answer));
        assert_eq!(stored(&database), acknowledged);
    };
    deliver(&service, 0);
    let poison = POISON.replace(
        "BEFORE INSERT ON call_transcriptions WHEN NEW.message_text",
        "AFTER INSERT ON webhook_events WHEN NEW.body",
    );
    rusqlite::Connection::open(&database).unwrap().execute_batch(&poison).unwrap();
    for round in 0..2_usize {
        let wal = database.with_extension("db-wal");
        wait_for("the WAL to be moved into the database", || (wal.metadata().unwrap().len() == 0).then_some(()));
        let mut event = sample_call::post_call(&format!("conv_event_{round}"), 1_790_596_800);
        event["data"]["transcript"][0]["message"] = json!("poison");
        event["data"]["padding"] = json!("p".repeat(1_900_000 + 20_000 * round));
        assert_eq!(post_signed(&service, &event.to_string()).status, 503);
        import_drivers(&database, 1 + i64::try_from(round).unwrap() * IMPORTED);
        deliver(&service, 10 * round + 1);
        if round % 2 == 1 {
            service.signal("KILL");
            service.wait();
            service = Service::start_on(&database, &["--elevenlabs-secret", SECRET]);
            deliver(&service, 10 * round + 2);
        }
        assert_sound(&database, "after an event that failed");
    }
    assert_eq!(service.get("/api/v1/drivers?include_total=true&limit=1").expect(200).json()["total"], 2 * IMPORTED);
}
