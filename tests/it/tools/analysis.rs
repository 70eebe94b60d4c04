//! The chapter on analysis of `migrations/README.md`: its queries, run by the real tools on a file that is being
//! written to.

use crate::support::service::{Service, binary, open, wait_for};
use crate::support::tools::{blocks, output, tool};
use crate::support::turns::turn;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Ends the clients, also when the work fails.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A service with three whole calls of one driver, which gets turns of other calls while `work` runs.
fn while_turns_arrive(work: impl FnOnce(&Service, &Path, &AtomicUsize)) {
    let folder = tempfile::tempdir().unwrap();
    let secret = "wsec_0123456789abcdef0123456789abcdef";
    let database = folder.path().join("transcribe-hook.db");
    let service = Service::start_on(&database, &["--elevenlabs-secret", secret, "--log-level", "info,http=off"]);
    let driver = json!({"name": "Maria Kowalski", "phone_number": "+15550100042"});
    service.put("/api/v1/drivers/1042", &driver).expect(201);
    for _ in 0..3 {
        let out =
            binary().args(["simulate", "--elevenlabs-secret", secret, "--url", &service.url("")]).output().unwrap();
        assert!(out.status.success(), "{out:?}");
    }
    let (done, delivered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for client in 0..2 {
            let (service, done, delivered) = (&service, &done, &delivered);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let n = delivered.fetch_add(1, Ordering::Relaxed);
                    service.deliver(&turn(&format!("conv_{client}_{}", n % 7), n)).expect(201);
                }
            });
        }
        let _done = Done(&done);
        wait_for("some load", || (delivered.load(Ordering::Relaxed) > 20).then_some(()));
        work(&service, folder.path(), &delivered);
    });
}

#[test]
fn the_queries_answer_in_the_real_tools_while_turns_arrive() {
    while_turns_arrive(|_, folder, delivered| {
        let before = delivered.load(Ordering::Relaxed);
        let [sql] = &blocks("sql")[..] else { panic!("one block of SQL") };
        let mut sqlite = Command::new("sqlite3");
        std::fs::write(folder.join("queries.sql"), sql).unwrap();
        let answers = output(sqlite.args(["-readonly", "-header", "transcribe-hook.db", ".read queries.sql"]), folder);
        assert!(answers.contains("day|calls|completed|reached_goal|seconds"), "{answers}");
        assert!(answers.contains("Maria Kowalski|3|12|12"), "{answers}");
        // Each has a turn that was corrected, and one about its reefer.
        assert_eq!(answers.matches("conv_simulated_").count(), 6, "{answers}");
        let python = blocks("python");
        assert_eq!(python.len(), 3);
        let duckdb = output(tool("python").args(["-c", &python[0]]), folder);
        assert!(duckdb.contains("agent") && duckdb.contains("driver") && duckdb.contains("letters"), "{duckdb}");
        let all = "import duckdb; db = duckdb.connect(); \
            db.sql(\"ATTACH 'transcribe-hook.db' AS hook (TYPE sqlite, READ_ONLY)\"); \
            print(db.sql(\"SELECT count(*), sum(agent_turns) FROM hook.call_overview WHERE \
            driver_id = 1042\").fetchall())";
        assert_eq!(output(tool("python").args(["-c", all]), folder), "[(3, 12)]\n");
        let pandas = output(tool("python").args(["-c", &python[1]]), folder);
        assert!(pandas.contains("words") && pandas.contains("pause") && pandas.contains("agent"), "{pandas}");
        let table = binary().args(["export", "--format", "calls-csv"]).current_dir(folder).output().unwrap();
        assert!(table.status.success(), "{table:?}");
        std::fs::write(folder.join("calls.csv"), table.stdout).unwrap();
        // Whole numbers with gaps and phone numbers have their types, so none became a float.
        let check = "floats = calls.select_dtypes('float').dropna(axis=1, how='all')\n\
            print(calls.driver_id.dropna().unique().tolist(), calls.driver_id.isna().any(), \
            calls.driver_phone_number.dropna().unique().tolist(), \
            [c for c in floats if (floats[c].dropna() % 1 == 0).all()])";
        let weeks = output(tool("python").args(["-c", &format!("{}\n{check}", python[2])]), folder);
        assert!(weeks.contains("1042") && weeks.ends_with("[1042] True ['+15550100042'] []\n"), "{weeks}");
        let path = "/transcribe-hook/call_overview.json?driver_id=1042&_shape=array";
        let datasette = output(tool("datasette").args(["transcribe-hook.db", "--get", path]), folder);
        let calls: Value = serde_json::from_str(&datasette).unwrap();
        assert_eq!(calls.as_array().unwrap().len(), 3, "{calls}");
        assert_eq!(calls[0]["agent_turns"], 4, "{calls}");
        wait_for("turns to arrive meanwhile", || (delivered.load(Ordering::Relaxed) > before).then_some(()));
    });
}

/// Returns the number of turns in a file, if it is whole.
fn turns(database: &Path) -> usize {
    let connection = open(database);
    let integrity: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
    connection.query_row("SELECT count(*) FROM call_transcriptions", [], |row| row.get(0)).unwrap()
}

#[test]
fn sqlites_own_copy_is_whole_under_load_and_cp_lacks_what_is_in_the_log() {
    while_turns_arrive(|service, folder, delivered| {
        let [copying] = &blocks("sh")[..] else { panic!("one command that copies") };
        for round in 0..5 {
            let before = turns(service.database());
            output(Command::new("sh").args(["-euc", copying]), folder);
            let copy: PathBuf = folder.join("copy-for-analysis.db");
            assert!(turns(&copy) >= before, "what was there is in the copy");
            std::fs::remove_file(copy).unwrap();
            let sent = delivered.load(Ordering::Relaxed);
            wait_for("more turns", || (delivered.load(Ordering::Relaxed) > sent + round).then_some(()));
        }
    });
    // A turn that is acknowledged stands in the log at first, which cp of the one file leaves behind.
    let service = Service::start();
    service.deliver(&turn("conv_a", 1)).expect(201);
    let copy = service.database().with_file_name("copy.db");
    std::fs::copy(service.database(), &copy).unwrap();
    let connection = rusqlite::Connection::open(&copy).unwrap();
    let count: i64 = connection.query_row("SELECT count(*) FROM call_transcriptions", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 0, "that is why cp is no copy");
    assert_eq!(turns(service.database()), 1);
}
