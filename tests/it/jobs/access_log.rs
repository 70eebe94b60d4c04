//! The queue of the access log: it never waits for the writer, and counts what it drops. Erasing old entries does not
//! hold it up.

use crate::support::export;
use crate::support::turns::turn;
use serde_json::json;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use transcribe_hook::domain::{Access, AccessAction, ConversationId, Credential, Identity, Role, Timestamp, UserName};
use transcribe_hook::elevenlabs::turn::parse_turn;
use transcribe_hook::ingest::WriteError;
use transcribe_hook::ingest::executor::Executor;
use transcribe_hook::jobs::access_log;
use transcribe_hook::store::{NullStore, Store, Write, Written};
use transcribe_hook::telemetry::metrics::METRICS;

/// Held by each test here, because the counters are those of the process.
static COUNTERS: Mutex<()> = Mutex::new(());

/// An executor that tells how many notes it is given, and works only when it is allowed to.
struct Gate {
    given: Sender<usize>,
    allowed: Mutex<Receiver<()>>,
}

impl Executor for Gate {
    fn execute_write(&self, write: Write) -> Result<Written, WriteError> {
        let Write::NoteAccesses(accesses) = write else { panic!("{write:?} stores no notes") };
        self.allowed.lock().unwrap().recv().map_err(|_| WriteError::Stopping)?;
        self.given.send(accesses.len()).unwrap();
        Ok(Written::Done)
    }
}

fn access(n: usize) -> Access {
    let identity = Identity { name: UserName::new("anna").ok(), role: Role::Read, credential: Credential::Token };
    let conversation_id = ConversationId::new(&format!("conv_{n}")).ok();
    Access { at: Timestamp::now(), identity, action: AccessAction::Read, conversation_id }
}

#[test]
fn a_note_never_waits_for_the_writer_and_what_is_dropped_is_counted() {
    const NOTES: usize = 20_000;
    let _counters = COUNTERS.lock();
    let (given, gifts) = channel();
    let (allow, allowed) = channel();
    let store: Arc<dyn Store> = Arc::new(NullStore);
    let gate = Gate { given, allowed: Mutex::new(allowed) };
    let count = |outcome| METRICS.access_log_entries_total.with_label_values(&[outcome]).get();
    let before = [count("stored"), count("dropped")];
    let (log, thread) = access_log::start(Duration::from_hours(24), &store, Box::new(gate)).unwrap();
    // The writer stores nothing, so the queue fills, and the rest is dropped.
    for n in 0..NOTES {
        log.note(access(n));
    }
    let dropped = count("dropped") - before[1];
    assert!((1..NOTES as u64).contains(&dropped), "{dropped}");
    for _ in 0..NOTES {
        allow.send(()).unwrap();
    }
    thread.join();
    let stored: usize = gifts.try_iter().sum();
    assert_eq!(stored as u64 + dropped, NOTES as u64, "what was not dropped is stored before the end");
    assert_eq!([count("stored") - before[0], count("dropped") - before[1]], [stored as u64, dropped]);
}

/// An executor that tells what it is given, and waits before it erases.
struct Slow {
    store: Arc<dyn Store>,
    given: Sender<&'static str>,
    allowed: Mutex<Receiver<()>>,
}

impl Executor for Slow {
    fn execute_write(&self, write: Write) -> Result<Written, WriteError> {
        if matches!(write, Write::PruneAccesses(_)) {
            self.given.send("prune").unwrap();
            self.allowed.lock().unwrap().recv().unwrap();
        } else {
            self.given.send("note").unwrap();
        }
        let outcome = self.store.apply(Timestamp::now(), &[write]).unwrap().remove(0);
        outcome.map_err(WriteError::Rejected)
    }
}

#[test]
fn what_is_noted_while_old_entries_are_erased_is_stored_in_between() {
    let _counters = COUNTERS.lock();
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(export::store(&folder.path().join("calls.db")));
    let mut said = turn("conv_a", 1);
    said["timestamp"] = json!(Timestamp::now().to_string());
    let said = Write::AppendTurn(parse_turn(said.to_string().as_bytes(), None).unwrap());
    let at = Timestamp::now().plus_seconds(-7200).unwrap();
    let old = (0..1200).map(|n| Access { at, ..access(n) }).collect();
    assert!(store.apply(Timestamp::now(), &[said, Write::NoteAccesses(old)]).unwrap().iter().all(Result::is_ok));
    let (given, writes) = channel();
    let (allow, allowed) = channel();
    let slow = Slow { store: store.clone(), given, allowed: Mutex::new(allowed) };
    let (log, thread) = access_log::start(Duration::from_hours(1), &store, Box::new(slow)).unwrap();
    assert_eq!(writes.recv().unwrap(), "prune");
    log.note(access(1));
    for _ in 0..3 {
        allow.send(()).unwrap();
    }
    thread.join();
    assert_eq!(writes.try_iter().collect::<Vec<_>>(), ["note", "prune", "prune"]);
    assert!(store.oldest_access().unwrap() > Some(at));
}
