//! Failures of the environment: locks, files that may not grow, folders that become read-only, a row that the database
//! refuses. Full disks are in `full_disk`.

use crate::support::database::{expected, fill, stored};
use crate::support::samples::SAMPLES;
use crate::support::service::{Service, binary, wait_for};
use crate::support::turns::turn;
use crate::support::whole_call::{CALL, SECRET, post_signed};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Holds the database's write lock, as another process would.
struct Lock(rusqlite::Connection);

impl Lock {
    fn take(database: &Path) -> Self {
        let connection = rusqlite::Connection::open(database).unwrap();
        connection.busy_timeout(Duration::from_secs(10)).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        Self(connection)
    }

    fn release(self) {
        self.0.execute_batch("ROLLBACK").unwrap();
    }
}

#[test]
fn a_lock_that_another_process_holds_for_a_second_is_waited_out() {
    let service = Service::start();
    let lock = Lock::take(service.database());
    std::thread::scope(|scope| {
        let delivery = scope.spawn(|| service.deliver(&turn("conv_a", 1)).expect(201));
        let since = Instant::now();
        wait_for("a second to pass", || (since.elapsed() >= Duration::from_secs(1)).then_some(()));
        assert!(!delivery.is_finished(), "it waits for the lock");
        lock.release();
        delivery.join().unwrap();
    });
}

#[test]
fn a_lock_that_is_held_for_good_is_500_and_the_service_recovers() {
    let service = Service::start_with(&["--write-timeout", "1s"]);
    wait_for("the first turn", || (service.deliver(&turn("conv_a", 1)).status == 201).then_some(()));
    let lock = Lock::take(service.database());
    let error = service.deliver(&turn("conv_a", 2)).expect_error(500);
    assert_eq!(
        (&error["code"], &error["details"]),
        (&json!("internal_error"), &Value::Null),
        "the cause is for the log"
    );
    wait_for("the cause in the log", || {
        service.events().into_iter().find(|line| line["status"] == 500 && line["error"].is_string())
    });
    let not_ready = service.get("/readyz");
    assert_eq!(not_ready.header("retry-after"), Some("1"));
    assert_eq!(not_ready.expect_error(503)["code"], "not_ready");
    service.get("/healthz").expect(200);
    // Reads still succeed.
    assert_eq!(service.get("/api/v1/calls/conv_a").expect(200).json()["turn_count"], 1);
    lock.release();
    // A slow machine may need more than one write timeout.
    wait_for("the service to be ready", || (service.get("/readyz").status == 200).then_some(()));
    let stored =
        wait_for("the turn to be stored", || Some(service.deliver(&turn("conv_a", 2))).filter(|a| a.status == 201));
    assert_eq!(stored.json()["sequence_number"], 2);
}

#[test]
fn an_event_that_cannot_be_stored_is_503_and_stored_when_elevenlabs_retries() {
    let service = Service::start_with(&["--write-timeout", "1s", "--elevenlabs-secret", SECRET]);
    let lock = Lock::take(service.database());
    for body in [SAMPLES[0].1, "{no JSON"] {
        post_signed(&service, body).expect_error(503);
    }
    lock.release();
    for body in [SAMPLES[0].1, "{no JSON"] {
        let before = service.events_stored();
        wait_for("it to be stored", || Some(post_signed(&service, body)).filter(|answer| answer.status == 200));
        assert_eq!(service.events_stored(), before + 1, "nothing of it was there");
    }
    assert_eq!(service.get(&format!("/api/v1/calls/{CALL}")).expect(200).json()["turn_count"], 4);
}

#[test]
fn a_full_queue_is_503_with_retry_after_and_acknowledged_turns_are_stored() {
    const CLIENTS: usize = 40;
    let service = Service::start_with(&["--queue-capacity", "8", "--write-timeout", "30s"]);
    service.deliver(&turn("conv_a", 0)).expect(201);
    let lock = Mutex::new(Some(Lock::take(service.database())));
    let refused = Mutex::new(0);
    let acknowledged = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for n in 1..=CLIENTS {
            let (service, lock, refused, acknowledged) = (&service, &lock, &refused, &acknowledged);
            scope.spawn(move || {
                let turn = turn("conv_a", n);
                let answer = service.deliver(&turn);
                if answer.status == 201 {
                    acknowledged.lock().unwrap().push(expected(&turn, &answer));
                    return;
                }
                assert_eq!(answer.header("retry-after"), Some("1"));
                assert_eq!(answer.expect_error(503)["code"], "queue_full");
                let mut refused = refused.lock().unwrap();
                *refused += 1;
                // The writer holds its first batch, and eight writes wait. The others are refused at once.
                if *refused == CLIENTS - 20 {
                    if let Some(lock) = lock.lock().unwrap().take() {
                        lock.release();
                    }
                }
            });
        }
    });
    let stored = stored(service.database());
    let acknowledged = acknowledged.into_inner().unwrap();
    assert_eq!(stored.len(), acknowledged.len() + 1, "what was refused was not stored");
    for turn in acknowledged {
        assert!(stored.contains(&turn), "{turn:?}");
    }
}

#[test]
fn a_row_that_the_database_refuses_fails_alone_and_not_its_neighbours() {
    let service = Service::start_with(&["--write-timeout", "30s"]);
    service.deliver(&turn("conv_a", 0)).expect(201);
    rusqlite::Connection::open(service.database())
        .unwrap()
        .execute_batch(
            "CREATE TRIGGER refuses BEFORE INSERT ON call_transcriptions WHEN NEW.message_text LIKE '%poison%' \
             BEGIN SELECT RAISE(ABORT, 'refused by a rule'); END",
        )
        .unwrap();
    // While the lock is held, the deliveries gather and become one batch.
    let lock = Lock::take(service.database());
    std::thread::scope(|scope| {
        let deliveries: Vec<_> = (1..=9)
            .map(|n| {
                let service = &service;
                scope.spawn(move || {
                    let mut turn = turn("conv_a", n);
                    if n == 5 {
                        turn["message"] = json!("poison");
                    }
                    (n, service.deliver(&turn))
                })
            })
            .collect();
        let since = Instant::now();
        wait_for("the deliveries to gather", || (since.elapsed() >= Duration::from_millis(500)).then_some(()));
        lock.release();
        for delivery in deliveries {
            let (n, answer) = delivery.join().unwrap();
            answer.expect(if n == 5 { 500 } else { 201 });
        }
    });
    let numbers: Vec<_> = stored(service.database()).into_iter().map(|(_, _, number)| number).collect();
    assert_eq!(numbers, (1..=9).collect::<Vec<_>>());
    wait_for("the cause in the log", || {
        service.events().into_iter().find(|line| line["status"] == 500 && line["error"].is_string())
    });
}

#[test]
fn a_file_that_may_not_grow_is_500_loses_nothing_and_is_recovered_from() {
    let folder = tempfile::tempdir().unwrap();
    // Without the signal, a write past the limit is an error like any other.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_transcribe-hook")]);
    let service = Service::start_command(command, &folder.path().join("calls.db"), &[]);
    let limit = |bytes: &str| {
        let set =
            Command::new("prlimit").args(["--pid", &service.pid().to_string(), &format!("--fsize={bytes}:")]).status();
        assert!(set.unwrap().success());
    };
    limit("2000000");
    let mut acknowledged = Vec::new();
    fill(&service, 0, &mut acknowledged).expect_error(500);
    assert!(acknowledged.len() > 10, "{}", acknowledged.len());
    limit("unlimited");
    let turn = turn("conv_a", 1_000_000);
    let answer = service.deliver(&turn).expect(201);
    acknowledged.push(expected(&turn, &answer));
    assert_eq!(stored(service.database()), acknowledged);
}

#[test]
fn a_folder_that_becomes_read_only_loses_nothing() {
    const NOBODY: u32 = 65_534;
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let mode = |mode| std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode)).unwrap();
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    mode(0o777);
    let mut command = binary();
    if is_root {
        command.uid(NOBODY).gid(NOBODY);
    }
    let service = Service::start_command(command, &database, &[]);
    let mut acknowledged = Vec::new();
    let mut deliver = |n: usize| {
        let turn = turn("conv_a", n);
        let answer = service.deliver(&turn);
        match answer.status {
            201 => acknowledged.push(expected(&turn, &answer)),
            _ => drop(answer.expect_error(500)),
        }
    };
    (0..20).for_each(&mut deliver);
    mode(0o555);
    (20..40).for_each(&mut deliver);
    // The checkpoint of an idle moment also works in the read-only folder.
    let wal = database.with_extension("db-wal");
    wait_for("the checkpoint", || wal.metadata().is_ok_and(|wal| wal.len() == 0).then_some(()));
    (40..60).for_each(&mut deliver);
    mode(0o777);
    (60..80).for_each(&mut deliver);
    assert!(acknowledged.len() >= 40, "with the folder writable all are stored: {}", acknowledged.len());
    assert_eq!(stored(&database), acknowledged);
}
