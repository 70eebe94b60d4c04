//! kill -9 and SIGTERM under load: what was acknowledged is there, with its numbers.

use crate::support::service::{Service, open};
use crate::support::turns::turn;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

type Acknowledged = HashMap<(String, usize), (i64, i64)>;

const CLIENTS: usize = 8;

/// Delivers turns from several clients until the process is gone, which is sent `signal` once `after` turns of this
/// round were acknowledged.
fn load(service: &Service, round: usize, after: usize, known: &Mutex<Acknowledged>, signal: &str) {
    let start = known.lock().unwrap().len();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                for n in 0.. {
                    let n = round * 1_000_000 + client * 10_000 + n;
                    let conversation = format!("conv_{}", n % 3);
                    let Ok(answer) = service.try_deliver(&turn(&conversation, n)) else { break };
                    if answer.status != 201 {
                        assert_eq!(answer.status, 503, "{}", answer.text);
                        break;
                    }
                    let body = answer.json();
                    let number = |field: &str| body[field].as_i64().unwrap();
                    let numbers = (number("transcription_id"), number("sequence_number"));
                    let mut known = known.lock().unwrap();
                    known.insert((conversation, n), numbers);
                    if known.len() == start + after {
                        service.signal(signal);
                    }
                }
            });
        }
    });
}

fn check(database: &Path, known: &Acknowledged) {
    let connection = open(database);
    let integrity: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
    let mut select = connection
        .prepare(
            "SELECT message_text, id, sequence_number FROM call_transcriptions WHERE conversation_id = ?1 ORDER BY id",
        )
        .unwrap();
    for conversation in ["conv_0", "conv_1", "conv_2"] {
        let stored: Vec<(String, i64, i64)> = select
            .query_map([conversation], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        for (index, (text, _, sequence)) in stored.iter().enumerate() {
            assert_eq!(*sequence, i64::try_from(index).unwrap() + 1, "a gap in {conversation} at {text:?}");
        }
        let by_text: HashMap<_, _> =
            stored.iter().map(|(text, id, sequence)| (text.as_str(), (*id, *sequence))).collect();
        assert_eq!(by_text.len(), stored.len(), "a double in {conversation}");
        for ((_, n), numbers) in known.iter().filter(|((c, _), _)| c == conversation) {
            let message = turn(conversation, *n)["message"].as_str().unwrap().to_owned();
            assert_eq!(by_text.get(message.as_str()), Some(numbers), "turn {n} of {conversation}");
        }
    }
}

#[test]
fn kill_9_under_load_loses_no_acknowledged_turn() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let known = Mutex::new(Acknowledged::new());
    for round in 0..6 {
        let service = Service::start_on(&database, &["--log-level", "info,http=off"]);
        // Ever later in the life of the process, so that checkpoints are met too.
        load(&service, round, 40 * (round + 1), &known, "KILL");
        service.wait();
        let service = Service::start_on(&database, &[]);
        let known = known.lock().unwrap();
        check(&database, &known);
        // A repeat after the crash is answered as before.
        let ((conversation, n), (id, sequence)) = known.iter().next().unwrap();
        let again = service.deliver(&turn(conversation, *n)).expect(201);
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(
            (again.json()["transcription_id"].as_i64(), again.json()["sequence_number"].as_i64()),
            (Some(*id), Some(*sequence))
        );
        service.signal("KILL");
        service.wait();
    }
}

#[test]
fn sigterm_under_load_loses_no_acknowledged_turn_and_leaves_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let known = Mutex::new(Acknowledged::new());
    for round in 0..3 {
        let service = Service::start_on(&database, &["--log-level", "info,http=off"]);
        load(&service, round, 100, &known, "TERM");
        let (status, _) = service.wait();
        assert!(status.success(), "{status}");
        assert!(!database.with_extension("db-wal").exists(), "the log is folded in");
        check(&database, &known.lock().unwrap());
    }
}
