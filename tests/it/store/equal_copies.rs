//! Stores that execute the same batches hold the same rows: the base of any second copy of the data.

use crate::support::samples::sample;
use crate::support::service::wait_for;
use crate::support::whole_call::event;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof};
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use rusqlite::types::Value as Column;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use transcribe_hook::domain::reconcile::settle;
use transcribe_hook::domain::{
    Access, AccessAction, CallChange, CallEnd, CallSid, CallStatus, ConversationId, Credential, DeliveryKey, DriverId,
    Identity, Message, NewDispatch, NewDriver, NewEvent, NewInitiation, NewTurn, PhoneNumber, Role, Source, Speaker,
    Timestamp, UserName,
};
use transcribe_hook::elevenlabs::parse_history;
use transcribe_hook::export::{ExportFormat, archived, export};
use transcribe_hook::ingest::event::parse_body;
use transcribe_hook::store::sqlite::{Options, ReadOnly, SqliteStore};
use transcribe_hook::store::{
    AlertMatch, ArchiveRecord, ArchivedCall, CallFilter, Commands as _, DeliveryOutcome, EndpointId, Maintenance as _,
    Outcome, Reads as _, Settlement, Unfinished, Write, Written,
};

/// Turns of the long call, more than one transaction restores or erases.
const LONG: usize = 1_100;

/// Distance of the ids of restored rows from those that the stores assign themselves.
const MOVED_BY: i64 = 10_000;

/// A step of a history of a store. Numbers select among what there is.
#[derive(Debug, Clone)]
enum Step {
    Batch(Vec<Kind>),
    /// Erases the next slice of a call.
    ContinueErasing,
    /// Closes one of the stores and opens it again.
    Reopen,
    /// One of the stores does its idle maintenance.
    Rest,
}

/// A kind of write, with the numbers that select its content.
#[derive(Debug, Clone)]
enum Kind {
    AppendTurn(u8, u8, Option<u8>),
    PutDrivers(u8, u8),
    DeleteDriver(u8),
    PutDispatches(u8, u8),
    DeleteDispatch(u8),
    ChangeCall(u8, u8),
    EraseCall(u8),
    PruneCall(u8, u8),
    PruneEvents(u8),
    PruneDispatches(u8),
    KeepEvent(u8, u8),
    ReplayEvent(u8),
    RereadEvent(u8),
    KeepHistory(u8, u8),
    Reconcile(u8),
    EndStaleCalls(u8),
    Restore(u8),
    ContinueRestore,
    Probe,
    NoteRecordings(u8, bool),
    StoreInitiation(u8, u8),
    NoteAccesses(u8, u8),
    PruneAccesses(u8),
    NoteAlerts(u8, u8),
    SetEndpoints(u8),
    SettleDeliveries(u8, u8),
    RetryDeliveries(u8),
}

fn kinds() -> impl Strategy<Value = Kind> {
    let (n, m) = (any::<u8>, any::<u8>);
    prop_oneof![
        8 => (n(), m(), proptest::option::weighted(0.3, 0..4_u8)).prop_map(|(a, b, c)| Kind::AppendTurn(a, b, c)),
        3 => (n(), m()).prop_map(|(a, b)| Kind::PutDrivers(a, b)),
        1 => n().prop_map(Kind::DeleteDriver),
        4 => (n(), m()).prop_map(|(a, b)| Kind::PutDispatches(a, b)),
        3 => n().prop_map(Kind::DeleteDispatch),
        2 => (n(), m()).prop_map(|(a, b)| Kind::ChangeCall(a, b)),
        1 => n().prop_map(Kind::EraseCall),
        1 => (n(), m()).prop_map(|(a, b)| Kind::PruneCall(a, b)),
        1 => n().prop_map(Kind::PruneEvents),
        1 => n().prop_map(Kind::PruneDispatches),
        4 => (n(), m()).prop_map(|(a, b)| Kind::KeepEvent(a, b)),
        2 => n().prop_map(Kind::ReplayEvent),
        2 => n().prop_map(Kind::RereadEvent),
        2 => (n(), m()).prop_map(|(a, b)| Kind::KeepHistory(a, b)),
        6 => n().prop_map(Kind::Reconcile),
        1 => n().prop_map(Kind::EndStaleCalls),
        2 => n().prop_map(Kind::Restore),
        2 => Just(Kind::ContinueRestore),
        1 => Just(Kind::Probe),
        1 => (n(), any::<bool>()).prop_map(|(n, has_audio)| Kind::NoteRecordings(n, has_audio)),
        2 => (n(), m()).prop_map(|(a, b)| Kind::StoreInitiation(a, b)),
        2 => (n(), m()).prop_map(|(a, b)| Kind::NoteAccesses(a, b)),
        1 => n().prop_map(Kind::PruneAccesses),
        2 => (n(), m()).prop_map(|(n, m)| Kind::NoteAlerts(n, m)),
        2 => n().prop_map(Kind::SetEndpoints),
        3 => (n(), m()).prop_map(|(n, m)| Kind::SettleDeliveries(n, m)),
        1 => n().prop_map(Kind::RetryDeliveries),
    ]
}

fn histories() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        10 => proptest::collection::vec(kinds(), 1..8).prop_map(Step::Batch),
        1 => Just(Step::ContinueErasing),
        2 => Just(Step::Reopen),
        1 => Just(Step::Rest),
    ];
    proptest::collection::vec(step, 1..24)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::parse("2026-09-28T12:00:00Z").unwrap().plus_seconds(seconds).unwrap()
}

fn call(n: u8) -> ConversationId {
    // Not in the order of the alphabet.
    ConversationId::new(["conv_m", "conv_b", "conv_z", "conv_a", "conv_restored"][usize::from(n) % 5]).unwrap()
}

fn driver(n: u8) -> DriverId {
    DriverId::new(i64::from(n % 3) + 1).unwrap()
}

fn access(n: u8, m: u8) -> Access {
    let name = UserName::new(["anna", "bea"][usize::from(n) % 2]).ok().filter(|_| !m.is_multiple_of(3));
    let identity = Identity { name, role: Role::ALL[usize::from(m) % 4], credential: Credential::Session };
    let action = [AccessAction::Read, AccessAction::Listen, AccessAction::Erase][usize::from(n) % 3];
    let conversation_id = Some(call(n)).filter(|_| !m.is_multiple_of(5));
    Access { at: at(i64::from(m) * 20), identity, action, conversation_id }
}

fn endpoint(n: u8) -> EndpointId {
    EndpointId::of_number(u64::from(n))
}

fn record(n: u8, m: u8) -> NewEvent {
    let mut body = sample(usize::from(m % 3));
    body["data"]["conversation_id"] = json!(call(n).as_str());
    match m % 7 {
        5 => {
            let verdict = ["human", "machine_start", "fax", "unknown"][usize::from(m / 7) % 4];
            return event(&json!({"type": "answering_machine_detection", "event_timestamp": 1_790_599_000,
                "data": {"conversation_id": call(n).as_str(), "answered_by": verdict}}));
        }
        6 => {
            body["data"]["metadata"]["phone_call"]["call_result"] = json!(["busy", "answered"][usize::from(m / 7) % 2]);
            body["data"]["tag_ids"] = json!([format!("tag_{m}"), "tag"]);
        }
        0 => return parse_body(format!("{{\"conversation_id\": \"{}\", \"cut", call(n)).into_bytes().into()),
        1 => body["data"]["transcript"] = json!([]),
        2 => body["event_timestamp"] = json!(1_790_599_000 + i64::from(m)),
        _ => {}
    }
    event(&body)
}

/// Returns the records to restore: a driver, a dispatch, an event, a call and a long one, all with their own ids.
fn exported() -> (Vec<ArchiveRecord>, Arc<ArchivedCall>) {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("source.db");
    let store = open(&database);
    let turn = |id: &str, n: usize| {
        Write::AppendTurn(NewTurn {
            conversation_id: ConversationId::new(id).unwrap(),
            speaker: if n.is_multiple_of(2) { Speaker::Agent } else { Speaker::Driver },
            message: Message::new(&format!("Words {n}")).unwrap(),
            timestamp: at(i64::try_from(n).unwrap()),
            delivery_key: None,
            source: Source::Live,
            call_sid: None,
        })
    };
    let mut batch = vec![
        Write::PutDrivers(vec![NewDriver { id: DriverId::new(50).unwrap(), name: "Jo".into(), phone_number: None }]),
        Write::PutDispatches(vec![NewDispatch {
            conversation_id: ConversationId::new("conv_never").unwrap(),
            driver_id: DriverId::new(50).unwrap(),
            phone_number: None,
            batch_id: None,
            dispatched_at: None,
        }]),
        Write::KeepEvent(Box::new(event(&json!({"type": "workspace_news", "data": {}})))),
    ];
    batch.extend((0..5).map(|n| turn("conv_restored", n)));
    batch.extend((0..LONG).map(|n| turn("conv_long", n)));
    store.apply(at(0), &batch).unwrap();
    let mut lines = Vec::new();
    let source = ReadOnly::open(&database).unwrap();
    export(&source, &CallFilter::default(), &ExportFormat::JsonLines.into(), &mut lines, &mut |_| {}).unwrap();
    let mut all: Vec<_> = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let mut long = None;
    let moved = |row: &mut transcribe_hook::store::Row| {
        if let Some(id) = row.get("id").and_then(serde_json::Value::as_i64) {
            row.insert("id".to_owned(), json!(id + MOVED_BY));
        }
        // Begins with the id of the call.
        if let Some(key) = row.get("repeat_key").and_then(serde_json::Value::as_i64) {
            row.insert("repeat_key".to_owned(), json!(key + (MOVED_BY << 32)));
        }
    };
    let things = all.drain(..).map(|line| match archived(line).unwrap() {
        ArchiveRecord::Event(mut row) => {
            moved(&mut row);
            ArchiveRecord::Event(row)
        }
        ArchiveRecord::Call(call) => {
            let mut call = ArchivedCall::clone(&call);
            moved(&mut call.row);
            call.turns.iter_mut().for_each(moved);
            let call = Arc::new(call);
            if call.turns.len() == LONG {
                long = Some(call.clone());
            }
            ArchiveRecord::Call(call)
        }
        other => other,
    });
    let things: Vec<_> = things.collect();
    (things, long.expect("the long call was exported"))
}

fn open(database: &Path) -> SqliteStore {
    let options = Options { path: database.to_owned(), busy_timeout: Duration::from_secs(5), readers: 1 };
    // A process that another test starts holds the lock of a store that was just closed, until it runs its program.
    wait_for("the store to open", || SqliteStore::open(&options).ok())
}

/// The content of each table but the search index's own and the list of migrations, which holds when they ran.
fn rows(database: &Path) -> Vec<(String, Vec<Vec<Column>>)> {
    let connection = rusqlite::Connection::open(database).unwrap();
    let tables: Vec<(String, bool)> = connection
        .prepare("SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type = 'table' ORDER BY name")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let own = |name: &str| !name.starts_with("search_") && name != "refinery_schema_history" && name != "sqlite_schema";
    let read = |(name, without_rowid): (String, bool)| {
        let columns = if without_rowid { "*" } else { "rowid, *" };
        let rest = if name == "sqlite_sequence" { "WHERE name NOT LIKE 'search%'" } else { "" };
        let mut select = connection.prepare(&format!("SELECT {columns} FROM {name} {rest} ORDER BY 1, 2")).unwrap();
        let width = select.column_count();
        let all = select.query_map([], |row| (0..width).map(|n| row.get(n)).collect::<Result<Vec<_>, _>>()).unwrap();
        let all = all.collect::<Result<Vec<_>, _>>().unwrap();
        (name, all)
    };
    tables.into_iter().filter(|(name, _)| own(name)).map(read).collect()
}

/// Two stores with the same past.
struct Copies {
    folder: tempfile::TempDir,
    first: SqliteStore,
    second: Option<SqliteStore>,
    events: Vec<NewEvent>,
    restorable: (Vec<ArchiveRecord>, Arc<ArchivedCall>),
    restored: usize,
    /// Number of writes of each kind that took effect.
    effects: [usize; 27],
}

impl Copies {
    fn new(restorable: (Vec<ArchiveRecord>, Arc<ArchivedCall>)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let first = open(&folder.path().join("first.db"));
        let second = Some(open(&folder.path().join("second.db")));
        Self { folder, first, second, events: Vec::new(), restorable, restored: 0, effects: [0; 27] }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn second(&self) -> &SqliteStore {
        self.second.as_ref().expect("it is open")
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each kind")]
    fn write(&mut self, kind: &Kind) -> Option<Write> {
        Some(match *kind {
            Kind::AppendTurn(n, m, key) => Write::AppendTurn(NewTurn {
                conversation_id: call(n),
                speaker: if m % 2 == 0 { Speaker::Agent } else { Speaker::Driver },
                message: Message::new(&if m % 7 == 6 { "...".to_owned() } else { format!("Words {}", m % 7) }).unwrap(),
                timestamp: at(i64::from(m % 7)),
                delivery_key: key.map(|key| DeliveryKey::new(&format!("key {key}")).unwrap()),
                source: Source::Live,
                call_sid: (m % 3 == 0).then(|| CallSid::from_sender(&format!("CA{}", n % 5)).unwrap()),
            }),
            Kind::PutDrivers(n, m) => Write::PutDrivers(
                [driver(n), driver(m)]
                    .map(|id| NewDriver {
                        id,
                        name: format!("Driver {id} {}", m % 2),
                        phone_number: (m % 3 == 0).then(|| PhoneNumber::new(&format!("+1555010004{id}")).unwrap()),
                    })
                    .into(),
            ),
            Kind::DeleteDriver(n) => Write::DeleteDriver(driver(n)),
            Kind::PutDispatches(n, m) => Write::PutDispatches(vec![NewDispatch {
                conversation_id: call(n),
                driver_id: driver(m),
                phone_number: (m % 2 == 0).then(|| PhoneNumber::new("+15550100042").unwrap()),
                batch_id: (m % 4 == 0).then(|| "batch".to_owned()),
                dispatched_at: None,
            }]),
            Kind::DeleteDispatch(n) => Write::DeleteDispatch(call(n)),
            Kind::ChangeCall(n, m) => Write::ChangeCall(
                call(n),
                CallChange {
                    status: [None, Some(CallStatus::Completed), Some(CallStatus::InProgress)][usize::from(m) % 3],
                    call_end_time: [None, Some(CallEnd::Unknown), Some(CallEnd::At(at(99)))][usize::from(m / 3) % 3],
                },
            ),
            Kind::EraseCall(n) if n % 6 == 5 => Write::EraseCall(ConversationId::new("conv_long").unwrap()),
            Kind::EraseCall(n) => Write::EraseCall(call(n)),
            Kind::PruneCall(n, m) => Write::PruneCall(call(n), at(i64::from(m) * 40)),
            Kind::PruneEvents(n) => Write::PruneEvents(vec![i64::from(n % 8), i64::from(n % 8) + 1]),
            Kind::PruneDispatches(n) => Write::PruneDispatches(vec![call(n), call(n.wrapping_add(1))]),
            Kind::KeepEvent(n, m) => {
                let event = record(n, m);
                self.events.push(event.clone());
                Write::KeepEvent(Box::new(event))
            }
            Kind::ReplayEvent(n) => {
                let which = usize::from(n) % self.events.len().max(1);
                Write::ReplayEvent(i64::from(n % 6) + 1, Box::new(self.events.get(which)?.clone()))
            }
            Kind::RereadEvent(n) => {
                // As a migration to a version that reads more of events.
                for name in ["first.db", "second.db"] {
                    rusqlite::Connection::open(self.path(name))
                        .unwrap()
                        .execute_batch("INSERT OR IGNORE INTO event_rereads SELECT id FROM webhook_events ORDER BY id")
                        .unwrap();
                }
                let which = usize::from(n) % self.events.len().max(1);
                Write::RereadEvent(i64::from(n % 6) + 1, Box::new(self.events.get(which)?.clone()))
            }
            Kind::KeepHistory(n, m) => {
                let entries: Vec<_> =
                    (0..m % 4).map(|k| json!({"role": "user", "message": format!("Words {k}")})).collect();
                let body = json!({"conversation_id": call(n).as_str(), "timestamp": at(i64::from(m)).to_string(),
                    "history": {"entries": entries}});
                Write::KeepHistory(Box::new(parse_history(body.to_string().as_bytes()).unwrap()))
            }
            Kind::Reconcile(n) => {
                let due = self.first.due(0, i64::MAX, 20).unwrap().calls;
                let id = due.get(usize::from(n) % due.len().max(1))?;
                Write::Reconcile(Box::new(settle(self.first.material(id).unwrap()?, at(5000)).next_slice()?))
            }
            Kind::EndStaleCalls(n) => Write::EndStaleCalls(at(i64::from(n) * 30), at(i64::from(n) * 30)),
            Kind::Restore(n) => {
                let thing = &self.restorable.0[usize::from(n) % self.restorable.0.len()];
                Write::Restore(Box::new(thing.clone()))
            }
            Kind::ContinueRestore if self.restored == 0 => {
                Write::Restore(Box::new(ArchiveRecord::Call(self.restorable.1.clone())))
            }
            Kind::ContinueRestore => Write::ContinueRestore(self.restorable.1.clone(), self.restored),
            Kind::Probe => Write::Probe,
            Kind::StoreInitiation(n, m) => Write::StoreInitiation(NewInitiation {
                call_sid: CallSid::from_sender(&format!("CA{}", n % 5)).unwrap(),
                conversation_id: (m % 2 == 0).then(|| call(m)),
                driver_id: driver(m),
            }),
            Kind::NoteAlerts(n, m) => {
                let (conversation_id, transcription_id) = (call(n), i64::from(m % 20) + 1);
                let matched = AlertMatch { conversation_id, transcription_id, name: format!("alert {}", m % 2) };
                Write::NoteAlerts(vec![matched], (m % 5 > 0).then_some(transcription_id))
            }
            Kind::SetEndpoints(n) => Write::SetEndpoints((0..n % 3).map(endpoint).collect()),
            Kind::SettleDeliveries(n, m) => {
                let id = i64::from(n % 16) + 1;
                let outcomes = [
                    DeliveryOutcome::Delivered,
                    DeliveryOutcome::Retry { at: at(i64::from(m)), status: Some(500) },
                    DeliveryOutcome::Failed { status: None },
                    DeliveryOutcome::Blocked,
                ];
                let switch_off = m % 11 == 0;
                let outcomes = vec![(id, outcomes[usize::from(m) % 4]), (id + 1, outcomes[usize::from(n) % 4])];
                let settlement = Settlement { endpoint: endpoint(m % 2), position: id, outcomes, switch_off };
                Write::SettleDeliveries(Box::new(settlement))
            }
            Kind::RetryDeliveries(n) => Write::RetryDeliveries(endpoint(n % 2), Vec::new()),
            Kind::NoteRecordings(n, has_audio) => {
                Write::NoteRecordings(vec![call(n), call(n.wrapping_add(1))], has_audio)
            }
            Kind::NoteAccesses(n, m) => Write::NoteAccesses(vec![access(n, m), access(m, n)]),
            Kind::PruneAccesses(n) => Write::PruneAccesses(at(i64::from(n) * 30)),
        })
    }

    fn note(&mut self, write: &Write, outcome: &Outcome) {
        match (write, outcome) {
            (Write::Restore(_), Ok(Written::Begun)) => self.restored = 500,
            (Write::ContinueRestore(..), Ok(_)) => self.restored += 500,
            _ => {}
        }
        if outcome.is_ok() {
            self.effects[kind(write)] += 1;
        }
    }

    fn step(&mut self, n: i64, step: &Step) {
        match step {
            Step::Batch(kinds) => {
                let batch: Vec<_> = kinds.iter().filter_map(|kind| self.write(kind)).collect();
                let json = serde_json::to_string(&batch).unwrap();
                let read: Vec<Write> = serde_json::from_str(&json).unwrap();
                assert_eq!(read, batch, "a batch survives JSON");
                let now = at(n * 60);
                let outcomes = self.first.apply(now, &batch).unwrap();
                assert_eq!(self.second().apply(now, &read).unwrap(), outcomes);
                for (write, outcome) in batch.iter().zip(&outcomes) {
                    self.note(write, outcome);
                }
            }
            Step::ContinueErasing => {
                let now = at(n * 60);
                let erased = self.first.continue_erasing(now, Unfinished::Erasures).unwrap();
                assert_eq!(self.second().continue_erasing(now, Unfinished::Erasures).unwrap(), erased);
            }
            Step::Reopen => {
                self.second = None;
                self.second = Some(open(&self.path("second.db")));
            }
            Step::Rest => {
                self.second().catch_up().unwrap();
                self.second().rest().unwrap();
            }
        }
    }
}

/// The place of a kind in [`Copies::effects`]. Without a wildcard, so that a new kind must be added.
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
        Write::Reconcile(_) => 13,
        Write::EndStaleCalls(..) => 14,
        Write::Restore(_) => 15,
        Write::ContinueRestore(..) => 16,
        Write::Probe => 17,
        Write::NoteRecordings(..) => 18,
        Write::RereadEvent(..) => 19,
        Write::StoreInitiation(_) => 20,
        Write::NoteAccesses(_) => 21,
        Write::PruneAccesses(_) => 22,
        Write::NoteAlerts(..) => 23,
        Write::SetEndpoints(_) => 24,
        Write::SettleDeliveries(_) => 25,
        Write::RetryDeliveries(..) => 26,
    }
}

#[test]
fn stores_that_execute_the_same_batches_hold_the_same_rows() {
    let restorable = exported();
    let mut effects = [0; 27];
    let config = ProptestConfig { cases: 48, ..ProptestConfig::default() };
    let total = std::cell::RefCell::new(&mut effects);
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::default()))
        .run(&histories(), |history| {
            let mut copies = Copies::new(restorable.clone());
            for (n, step) in (1..).zip(&history) {
                copies.step(n, step);
            }
            copies.second = None;
            let (first, second) = (rows(&copies.path("first.db")), rows(&copies.path("second.db")));
            for (first, second) in first.iter().zip(&second) {
                assert_eq!(first, second, "after {history:#?}");
            }
            assert!(first.len() > 8 && first.len() == second.len());
            for (all, new) in total.borrow_mut().iter_mut().zip(copies.effects) {
                *all += new;
            }
            Ok(())
        })
        .unwrap();
    assert!(effects.iter().all(|count| *count > 0), "each kind of write took effect: {effects:?}");
}
